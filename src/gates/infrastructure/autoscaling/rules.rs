//! Rules for autoscalers and for what they should scale.

use super::{Config, Row, Seen};
use crate::gates::infrastructure::allowed;
use crate::gates::manifests::Place;
use crate::gates::manifests::cluster::{Autoscaler, Cluster};
use crate::gates::manifests::images;
use crate::gates::manifests::pod::Workload;
use crate::gates::manifests::scaling_group::{Role, ScalingGroup};

/// Fewer replicas than this and one crash is an outage.
const REPLICAS_MIN: i64 = 2;
/// What is advised: one may go while another is away already.
const REPLICAS_ADVISED: i64 = 3;
/// Seconds that load must stay low before replicas go; Kubernetes' own default.
const SCALE_DOWN_WINDOW_MIN: i64 = 300;

pub(super) fn kind_of(autoscaler: &Autoscaler) -> &'static str {
    if autoscaler.keda { "ScaledObject" } else { "HPA" }
}

fn title(autoscaler: &Autoscaler) -> String {
    format!("{} {}", kind_of(autoscaler), autoscaler.name)
}

pub(super) fn is_backing(workload: &Workload) -> bool {
    workload.containers.iter().any(|c| images::is_backing(&c.image))
}

/// Why nothing has to scale a workload.
fn exempt(cluster: &Cluster, position: usize, workload: &Workload, config: &Config) -> Option<String> {
    if config.singletons.contains(&workload.name) {
        return Some("named in singletons".into());
    }
    if workload.is_job() {
        return Some("ends by itself".into());
    }
    if cluster.autoscaler_of(position).is_some() {
        return None;
    }
    if !workload.is_scalable() {
        return Some(format!("a {} is not scaled by load", workload.kind));
    }
    if is_backing(workload) {
        return Some("a store, not a stateless server".into());
    }
    if workload.containers.iter().any(|c| c.command.contains("leader-elect")) {
        return Some("elects a leader".into());
    }
    if workload.claims.iter().any(|c| !cluster.shared_claims.contains(c)) {
        return Some("writes to a disk of its own".into());
    }
    if cluster.service_of(position).is_none() {
        return Some("no Service sends it requests".into());
    }
    workload.containers.iter().any(|c| images::is_around(&c.image)).then(|| "a tool beside the product".into())
}

pub(super) fn workloads(cluster: &Cluster, config: &Config, seen: &mut Seen) {
    for (position, workload) in cluster.workloads.iter().enumerate() {
        let by = cluster.autoscaler_of(position);
        let bounds = |a: &Autoscaler| {
            let text = |n: Option<(i64, u32)>| n.map_or("default".to_string(), |(n, _)| n.to_string());
            format!("{}, {} to {}", title(a), text(a.min), text(a.max))
        };
        let exempt = exempt(cluster, position, workload, config);
        seen.rows.push(Row {
            place: workload.place.clone(),
            what: workload.title(),
            replicas: workload.replicas.map(|(n, _)| n),
            scaled_by: by.map(bounds).unwrap_or_default(),
            exempt: exempt.clone(),
        });
        if exempt.is_some() {
            continue;
        }
        let before = (seen.fails.len(), seen.warns.len());
        match by {
            None => unscaled(workload, seen),
            Some(autoscaler) => scaled(cluster, workload, autoscaler, seen),
        }
        if !workload.spread && by.and_then(|a| a.max).or(workload.replicas).is_some_and(|(n, _)| n >= REPLICAS_MIN) {
            let fix = "add topologySpreadConstraints over kubernetes.io/hostname, or podAntiAffinity";
            seen.warn("no-spread", &workload.place, &workload.title(), "may have all its replicas on one node", fix);
        }
        let ignored = |rule: &str| match rule {
            "no-requests" => vec!["container-resources", "unset-cpu-requirements", "unset-memory-requirements"],
            "fixed-replicas" => vec!["deployment-targeted-by-hpa-does-not-have-replicas-configured"],
            "no-spread" => vec!["no-anti-affinity", "deployment-has-host-podantiaffinity"],
            _ => vec![],
        };
        let (fails, warns) = before;
        for finding in seen.fails[fails..].iter_mut().chain(&mut seen.warns[warns..]) {
            finding.suppressed = allowed::annotation(workload, &ignored(&finding.rule));
        }
    }
}

/// Nothing scales it: with several fixed replicas somebody at least sized it.
fn unscaled(workload: &Workload, seen: &mut Seen) {
    let what = workload.title();
    let replicas = workload.replicas.map_or(1, |(n, _)| n);
    let place = Place::new(&workload.place.file, workload.replicas.map_or(workload.place.line, |(_, line)| line));
    let fix = "add a HorizontalPodAutoscaler (autoscaling/v2) with minReplicas: 2 and averageUtilization: 70, or name it in singletons";
    if replicas >= REPLICAS_MIN {
        seen.warn("no-autoscaler", &place, &what, &format!("has {replicas} replicas, whatever the load"), fix);
    } else {
        seen.fail("no-autoscaler", &place, &what, "has one replica and no autoscaler behind its Service", fix);
    }
}

fn scaled(cluster: &Cluster, workload: &Workload, autoscaler: &Autoscaler, seen: &mut Seen) {
    let what = workload.title();
    if let Some((n, line)) = workload.replicas {
        let problem = format!("fixes replicas: {n} beside {}: every deploy sets it back", title(autoscaler));
        let place = Place::new(&workload.place.file, line);
        seen.fail("fixed-replicas", &place, &what, &problem, "remove replicas: the autoscaler decides");
    }
    let same = |n: &str| n.is_empty() || workload.namespace.is_empty() || n == workload.namespace;
    if !cluster.defaulted.iter().any(|n| same(n)) {
        requests(workload, autoscaler, seen);
    }
    let resource = autoscaler.metrics.iter().any(|m| !m.resource.is_empty());
    let vertical = cluster.vertical.iter().find(|v| v.acts && v.target_name == workload.name && same(&v.namespace));
    if let Some(vertical) = vertical.filter(|_| resource) {
        let problem = format!("is changed by VPA {} and by {} for the same resource", vertical.name, title(autoscaler));
        seen.fail(
            "vertical-conflict",
            &vertical.place,
            &what,
            &problem,
            "set the VPA's updateMode: \"Off\", or scale on another metric",
        );
    }
}

/// A share of nothing is never exceeded.
fn requests(workload: &Workload, autoscaler: &Autoscaler, seen: &mut Seen) {
    for metric in autoscaler.metrics.iter().filter(|m| m.utilization.is_some() && !m.resource.is_empty()) {
        let counted = |name: &str| metric.container.as_deref().is_none_or(|c| c == name);
        let without =
            workload.containers.iter().find(|c| counted(&c.name) && !c.requests.contains_key(&metric.resource));
        if let Some(container) = without {
            let (scaler, resource) = (title(autoscaler), &metric.resource);
            let problem = format!(
                "uses {resource} but {} sets no requests.{resource} on container {}: it will never scale",
                workload.title(),
                container.name
            );
            let place = Place::new(&workload.place.file, container.line);
            seen.fail("no-requests", &place, &scaler, &problem, &format!("set resources.requests.{resource}"));
        }
    }
}

pub(super) fn autoscalers(cluster: &Cluster, config: &Config, seen: &mut Seen) {
    for autoscaler in &cluster.autoscalers {
        let what = title(autoscaler);
        let at = |line: u32| Place::new(&autoscaler.place.file, line);
        let targets = cluster.scaled(autoscaler);
        if targets.is_empty() {
            let known =
                ["Deployment", "StatefulSet", "ReplicaSet", "ReplicationController", "Rollout", "DeploymentConfig"];
            let named = format!("{} {}", autoscaler.target_kind, autoscaler.target_name);
            if known.contains(&autoscaler.target_kind.as_str()) {
                let problem = format!("scales {named}, which no manifest describes");
                seen.fail(
                    "dangling-target",
                    &at(autoscaler.target_line),
                    &what,
                    &problem,
                    "correct scaleTargetRef, or commit the workload",
                );
            } else {
                let problem = format!("scales {named}, a kind that is not looked into");
                seen.warn(
                    "unknown-target",
                    &at(autoscaler.target_line),
                    &what,
                    &problem,
                    "check by hand that it exists",
                );
            }
        }
        bounds(autoscaler, seen);
        for metric in &autoscaler.metrics {
            let [low, high] = config.target_percent.map(i64::from);
            if let Some(percent) = metric.utilization.filter(|p| !(low..=high).contains(p)) {
                let problem = format!("aims at {percent} % of {}, outside {low} to {high} %", metric.resource);
                seen.warn(
                    "target-range",
                    &at(metric.line),
                    &what,
                    &problem,
                    "aim at 50 to 80 %: below it is waste, above it is too late",
                );
            }
        }
        if let Some((seconds, line)) = autoscaler.scale_down_window.filter(|(s, _)| *s < SCALE_DOWN_WINDOW_MIN) {
            let problem = format!("takes replicas away after {seconds} s of less load");
            seen.warn("scale-down-window", &at(line), &what, &problem, "set stabilizationWindowSeconds: 300 or more");
        }
    }
}

fn bounds(autoscaler: &Autoscaler, seen: &mut Seen) {
    let what = title(autoscaler);
    // KEDA scales to nothing by default, Kubernetes to one; KEDA's default maximum is a hundred.
    let (default_min, default_max) = if autoscaler.keda { (0, Some(100)) } else { (1, None) };
    let place = |line: Option<u32>| Place::new(&autoscaler.place.file, line.unwrap_or(autoscaler.place.line));
    let min = autoscaler.min.map_or(default_min, |(n, _)| n);
    let min_place = place(autoscaler.min.map(|(_, line)| line));
    if min < REPLICAS_MIN {
        let problem = format!("may go down to {min}: one crash is an outage");
        seen.warn("min-replicas", &min_place, &what, &problem, "set minReplicas: 2, better 3");
    } else if min < REPLICAS_ADVISED {
        let problem = format!("may go down to {min}; {REPLICAS_ADVISED} are advised");
        seen.note("min-replicas-advised", &min_place, &what, &problem, "set minReplicas: 3");
    }
    match autoscaler.max.map(|(n, _)| n).or(default_max) {
        Some(max) if max < min => {
            let problem = format!("has a maximum of {max} below its minimum of {min}");
            seen.fail(
                "max-replicas",
                &place(autoscaler.max.map(|(_, l)| l)),
                &what,
                &problem,
                "set maxReplicas above minReplicas",
            );
        }
        Some(max) if max == min => {
            let problem = format!("has {max} as minimum and maximum: it cannot scale");
            seen.warn(
                "max-replicas",
                &place(autoscaler.max.map(|(_, l)| l)),
                &what,
                &problem,
                "set maxReplicas above minReplicas",
            );
        }
        Some(_) => {}
        None => seen.fail(
            "max-replicas",
            &autoscaler.place,
            &what,
            "has no maxReplicas: the cluster refuses it",
            "set maxReplicas",
        ),
    }
}

pub(super) fn groups(groups: &[ScalingGroup], seen: &mut Seen) {
    let policies = groups.iter().filter(|g| g.role == Role::Policy).count();
    for group in groups.iter().filter(|g| g.role != Role::Policy) {
        let what = format!("{} {}", group.kind, group.name);
        let text = |n: Option<i64>| n.map_or("?".to_string(), |n| n.to_string());
        seen.rows.push(Row {
            place: group.place.clone(),
            what: what.clone(),
            replicas: None,
            scaled_by: format!("{} to {}", text(group.min), text(group.max)),
            exempt: None,
        });
        match (group.min, group.max) {
            (Some(min), Some(max)) if max < min => {
                seen.fail(
                    "max-replicas",
                    &group.place,
                    &what,
                    &format!("has a maximum of {max} below its minimum of {min}"),
                    "raise the maximum",
                );
            }
            (Some(min), Some(max)) if max == min => {
                seen.warn(
                    "max-replicas",
                    &group.place,
                    &what,
                    &format!("has {max} as minimum and maximum: it cannot scale"),
                    "raise the maximum",
                );
            }
            (Some(min), _) if min < REPLICAS_MIN => {
                seen.warn(
                    "min-replicas",
                    &group.place,
                    &what,
                    &format!("may go down to {min}: one crash is an outage"),
                    "set a minimum of 2",
                );
            }
            _ => {}
        }
        if group.role == Role::Group && policies == 0 {
            seen.warn(
                "no-policy",
                &group.place,
                &what,
                "has no scaling policy beside it",
                "add a target tracking policy",
            );
        }
    }
}
