//! Rules for pods. Kubernetes restarts containers by itself and ignores a Dockerfile's HEALTHCHECK; what it cannot know
//! is when a pod may get requests (readiness) and when it is stuck (liveness).

use super::{Row, Seen};
use crate::domain::verdict::Finding;
use crate::gates::infrastructure::allowed;
use crate::gates::manifests::Place;
use crate::gates::manifests::cluster::Cluster;
use crate::gates::manifests::images::is_backing;
use crate::gates::manifests::pod::{Action, Container, PortTrouble, Probe, Workload};

/// A boot longer than this wants a startup probe: liveness would kill what has not begun.
const BOOT_SECONDS_MAX: i64 = 30;

pub(super) fn judge(cluster: &Cluster, seen: &mut Seen) {
    for (position, workload) in cluster.workloads.iter().enumerate() {
        let served = cluster.service_of(position).is_some();
        let mut row = Row {
            place: workload.place.clone(),
            what: workload.title(),
            restart: workload.restart_policy.as_ref().map_or("Always".into(), |(p, _)| p.clone()),
            health: health(workload),
            orchestrated: true,
            exempt: None,
        };
        if workload.is_job() {
            row.exempt = Some("ends by itself".into());
        } else if workload.containers.is_empty() {
            restart(workload, seen);
            row.exempt = Some("names no container".into());
        } else {
            let from = [seen.fails.len(), seen.warns.len(), seen.notes.len()];
            restart(workload, seen);
            readiness(cluster, workload, served, seen);
            for container in &workload.containers {
                probes(workload, container, seen);
            }
            if served {
                copies(cluster, position, workload, seen);
            }
            memory(workload, seen);
            ignored(workload, seen, from);
        }
        seen.rows.push(row);
    }
}

fn health(workload: &Workload) -> String {
    let has = |of: fn(&Container) -> bool| workload.containers.iter().any(of);
    let probes = [
        ("readiness", has(|c| c.readiness.is_some())),
        ("liveness", has(|c| c.liveness.is_some())),
        ("startup", has(|c| c.startup.is_some())),
    ];
    let named: Vec<&str> = probes.into_iter().filter(|(_, yes)| *yes).map(|(name, _)| name).collect();
    if named.is_empty() { "none".into() } else { named.join(", ") }
}

/// The checks of kube-score and kube-linter behind our rules.
fn checks(rule: &str) -> &'static [&'static str] {
    match rule {
        "no-readiness" => &["pod-probes", "no-readiness-probe"],
        "no-liveness" => &["pod-probes", "no-liveness-probe"],
        "identical-probes" => &["pod-probes", "pod-probes-identical"],
        "probe-port" => &["liveness-port", "readiness-port", "startup-port"],
        "no-budget" => &["deployment-has-poddisruptionbudget", "statefulset-has-poddisruptionbudget"],
        "single-replica" => &["deployment-replicas", "minimum-three-replicas"],
        "recreate" => &["deployment-strategy", "no-rolling-update-strategy"],
        "no-memory-limit" => &["container-resources", "unset-memory-requirements"],
        "restart-never" => &["restart-policy"],
        _ => &[],
    }
}

/// Marks what the workload's own annotations ignore, among the findings added since `from`.
fn ignored(workload: &Workload, seen: &mut Seen, from: [usize; 3]) {
    let mark = |list: &mut Vec<Finding>, from: usize| {
        for finding in &mut list[from..] {
            finding.suppressed = allowed::annotation(workload, checks(&finding.rule));
        }
    };
    mark(&mut seen.fails, from[0]);
    mark(&mut seen.warns, from[1]);
    mark(&mut seen.notes, from[2]);
}

fn restart(workload: &Workload, seen: &mut Seen) {
    let what = workload.title();
    if let Some((policy, line)) = workload.restart_policy.as_ref().filter(|(p, _)| p == "Never") {
        let place = Place::new(&workload.place.file, *line);
        seen.fail("restart-never", &place, &what, &format!("restartPolicy: {policy}"), "set restartPolicy: Always");
    }
    if workload.kind == "Pod" {
        let problem = "a bare pod: nobody makes a new one when its node is gone";
        seen.warn("bare-pod", &workload.place, &what, problem, "make it a Deployment");
    }
}

fn readiness(cluster: &Cluster, workload: &Workload, served: bool, seen: &mut Seen) {
    let what = workload.title();
    let line = workload.containers.first().map_or(workload.place.line, |c| c.line);
    let place = Place::new(&workload.place.file, line);
    let port = workload.containers.iter().flat_map(|c| &c.ports).map(|p| p.1).next().unwrap_or(8080);
    // One probe of each kind is enough for a pod: its sidecars need none.
    if workload.containers.iter().all(|c| c.readiness.is_none()) {
        let fix = format!(
            "add readinessProbe: {{httpGet: {{path: /ready, port: {port}}}, periodSeconds: 5, timeoutSeconds: 2}}"
        );
        if served {
            seen.fail("no-readiness", &place, &what, "no readiness probe, and a Service sends it requests", fix);
        } else if cluster.services.is_empty() {
            let problem =
                "no readiness probe; no Service is described here, so it cannot be told whether it gets requests";
            seen.warn("no-readiness", &place, &what, problem, fix);
        }
    }
    let native = workload.init_containers.iter().chain(&workload.containers);
    if native.into_iter().all(|c| c.liveness.is_none()) {
        let fix = format!(
            "add livenessProbe: {{httpGet: {{path: /live, port: {port}}}, periodSeconds: 10, timeoutSeconds: 2}}, on a path that tests no dependency"
        );
        seen.warn("no-liveness", &place, &what, "no liveness probe: a stuck process stays", fix);
    }
}

fn probes(workload: &Workload, container: &Container, seen: &mut Seen) {
    let what = format!("{}, container {}", workload.title(), container.name);
    let at = |line: u32| Place::new(&workload.place.file, line);
    let named =
        [("readiness", &container.readiness), ("liveness", &container.liveness), ("startup", &container.startup)];
    for (kind, probe) in named.into_iter().filter_map(|(k, p)| Some((k, p.as_ref()?))) {
        let port = probe.port().unwrap_or_default();
        match container.port_not_exposed(probe) {
            Some(PortTrouble::NoSuchName) => {
                let problem = format!("the {kind} probe asks port {port}, and no port has that name: it always fails");
                seen.fail(
                    "probe-port",
                    &at(probe.line),
                    &what,
                    &problem,
                    format!("name a port {port} or give its number"),
                );
            }
            Some(PortTrouble::NotDeclared) => {
                let problem = format!("the {kind} probe asks port {port}, which is none of the declared ones");
                seen.warn(
                    "probe-port",
                    &at(probe.line),
                    &what,
                    &problem,
                    format!("declare containerPort: {port} or correct the probe"),
                );
            }
            None => {}
        }
        if probe.timeout >= probe.period && probe.timeout > 1 {
            let problem = format!(
                "the {kind} probe's timeout of {} s is not below its period of {} s",
                probe.timeout, probe.period
            );
            seen.warn(
                "probe-timeout",
                &at(probe.line),
                &what,
                &problem,
                "make timeoutSeconds smaller than periodSeconds",
            );
        }
        if probe.action == Action::Nothing {
            let problem = format!("the {kind} probe asks nothing");
            seen.fail("probe-empty", &at(probe.line), &what, &problem, "give it httpGet, tcpSocket, grpc or exec");
        }
    }
    let Some(liveness) = &container.liveness else { return };
    // Whether a port is open depends on nothing else, so one probe may serve for both.
    let port_alone = matches!(liveness.action, Action::Tcp { .. });
    if !port_alone && container.readiness.as_ref().is_some_and(|r| r.action == liveness.action) {
        let problem = "the liveness probe is the readiness probe: when a dependency is out, every pod is restarted";
        let fix = "let livenessProbe ask a path that tests no dependency (/live), or remove it";
        seen.fail("identical-probes", &at(liveness.line), &what, problem, fix);
    } else if let Some(other) = dependency(liveness) {
        let problem = format!("the liveness probe tests {other}: its outage restarts this pod");
        seen.warn(
            "liveness-dependency",
            &at(liveness.line),
            &what,
            &problem,
            "test the process itself; dependencies belong into readiness",
        );
    }
    if liveness.initial_delay > BOOT_SECONDS_MAX && container.startup.is_none() {
        let problem = format!("waits {} s before liveness, for a slow start", liveness.initial_delay);
        let fix = format!(
            "replace the delay by startupProbe: {{periodSeconds: 5, failureThreshold: {}}}",
            liveness.initial_delay / 5 * 2
        );
        seen.warn("no-startup", &at(liveness.line), &what, &problem, fix);
    }
}

/// What else a liveness probe asks than the pod itself.
fn dependency(probe: &Probe) -> Option<String> {
    match &probe.action {
        Action::Http { host, .. } | Action::Tcp { host, .. } if !host.is_empty() && !is_local(host) => {
            Some(format!("host {host}"))
        }
        Action::Http { path, .. } => {
            let path = path.to_ascii_lowercase();
            let part = |w: &str| path.split(['/', '-', '_', '.', '?']).any(|p| p == w);
            ["ready", "readiness", "readyz", "database", "db", "redis", "dependencies", "deep"]
                .into_iter()
                .any(part)
                .then(|| format!("dependencies, by its path {path}"))
        }
        Action::Exec(words) => {
            let text = words.join(" ");
            let words: Vec<&str> = text.split_whitespace().collect();
            let after = |flag: &str| words.iter().position(|w| *w == flag).and_then(|i| words.get(i + 1)).copied();
            let asks = ["pg_isready", "mysqladmin", "redis-cli", "psql", "mysql", "mongosh"];
            let client = asks.iter().any(|c| words.iter().any(|w| w.ends_with(c)));
            let host = after("-h").or(after("--host")).filter(|h| client && !is_local(h));
            host.map(|h| format!("host {h}"))
        }
        _ => None,
    }
}

fn is_local(host: &str) -> bool {
    matches!(host.trim_matches(['"', '\'']), "localhost" | "127.0.0.1" | "::1" | "0.0.0.0") || host.contains('$')
}

/// How many there are, and what happens to them during a deploy or a drain.
fn copies(cluster: &Cluster, position: usize, workload: &Workload, seen: &mut Seen) {
    let what = workload.title();
    let autoscaler = cluster.autoscaler_of(position);
    let replicas = autoscaler.map(|a| a.min.map_or(1, |(n, _)| n)).or(workload.replicas.map(|(n, _)| n)).unwrap_or(1);
    // A database and whatever holds a disk of its own cannot simply be doubled.
    let single = workload.containers.iter().any(|c| is_backing(&c.image)) || !workload.claims.is_empty();
    let line = workload.replicas.map_or(workload.place.line, |(_, line)| line);
    if workload.is_scalable() && replicas < 2 && !single && autoscaler.is_none() {
        let problem = "one replica: every deploy of a node and every crash is an outage";
        seen.warn("single-replica", &Place::new(&workload.place.file, line), &what, problem, "set replicas: 2 or more");
    }
    let budgeted = workload.is_scalable() || workload.kind == "StatefulSet";
    if budgeted && replicas >= 2 && cluster.budget_of(position).is_none() {
        let problem = "no PodDisruptionBudget: a drained node may take all replicas at once";
        seen.warn("no-budget", &workload.place, &what, problem, "add a PodDisruptionBudget with maxUnavailable: 1");
    }
    if let Some((strategy, line)) =
        workload.strategy.as_ref().filter(|(s, _)| s == "Recreate" && workload.is_scalable() && !single)
    {
        let problem = format!("strategy {strategy}: nothing answers during a deploy");
        seen.warn(
            "recreate",
            &Place::new(&workload.place.file, *line),
            &what,
            &problem,
            "set strategy: {type: RollingUpdate}",
        );
    }
}

fn memory(workload: &Workload, seen: &mut Seen) {
    let without: Vec<&Container> = workload.containers.iter().filter(|c| !c.limits.contains_key("memory")).collect();
    if let Some(first) = without.first() {
        let names: Vec<&str> = without.iter().map(|c| c.name.as_str()).collect();
        let problem = format!("no memory limit for {}: a leak takes the node with it", names.join(", "));
        let place = Place::new(&workload.place.file, first.line);
        seen.warn("no-memory-limit", &place, &workload.title(), &problem, "set resources.limits.memory");
    }
}
