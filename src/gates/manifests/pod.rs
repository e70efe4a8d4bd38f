//! What a Kubernetes workload runs: pod template, containers, probes, resources, volumes.

use std::collections::BTreeMap;

use super::Place;
use super::kubernetes::Object;
use crate::gates::import::located::{Node, Value};

/// A thing that makes pods, or a pod itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    pub place: Place,
    pub api: String,
    pub kind: String,
    pub name: String,
    pub namespace: String,
    /// Labels of its pods.
    pub labels: BTreeMap<String, String>,
    /// `spec.replicas` and its line.
    pub replicas: Option<(i64, u32)>,
    /// `Recreate`, `RollingUpdate`, … as written.
    pub strategy: Option<(String, u32)>,
    pub restart_policy: Option<(String, u32)>,
    pub containers: Vec<Container>,
    pub init_containers: Vec<Container>,
    /// Anti-affinity or topology spread.
    pub spread: bool,
    /// Names of claims that its volumes use; templates of a StatefulSet by their own names.
    pub claims: Vec<String>,
    /// Volumes without a disk behind them: `emptyDir`.
    pub scratch: Vec<String>,
    /// Volumes on the node's disk: `hostPath`.
    pub host_paths: Vec<String>,
    /// Volumes of a network file system.
    pub network_volumes: Vec<String>,
    /// Annotations of the object and of its pods.
    pub annotations: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Container {
    pub name: String,
    pub line: u32,
    pub image: String,
    /// Name, number, protocol.
    pub ports: Vec<(Option<String>, i64, String)>,
    pub readiness: Option<Probe>,
    pub liveness: Option<Probe>,
    pub startup: Option<Probe>,
    /// `resources.requests` and `.limits` by resource; a limit without a request is also the request.
    pub requests: BTreeMap<String, String>,
    pub limits: BTreeMap<String, String>,
    /// Volume name and path.
    pub mounts: Vec<(String, String)>,
    /// Command and arguments, joined.
    pub command: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    pub line: u32,
    pub action: Action,
    pub initial_delay: i64,
    pub period: i64,
    pub timeout: i64,
    pub failure_threshold: i64,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Path, port, scheme, host (empty: the pod).
    Http {
        path: String,
        port: String,
        host: String,
    },
    Tcp {
        port: String,
        host: String,
    },
    Grpc {
        port: String,
        service: String,
    },
    Exec(Vec<String>),
    /// Settings without an action.
    Nothing,
}

/// Kinds with a pod template that we judge, and where it stands.
fn template(object: &Object) -> Option<&Node> {
    let spec = object.spec();
    match (object.kind.as_str(), object.group()) {
        ("Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet", "apps" | "extensions") => {
            Some(spec.get("template"))
        }
        ("ReplicationController", "") => Some(spec.get("template")),
        ("DeploymentConfig", "apps.openshift.io" | "") => Some(spec.get("template")),
        ("Rollout", "argoproj.io") if spec.has("template") => Some(spec.get("template")),
        ("Job", "batch") => Some(spec.get("template")),
        ("CronJob", "batch") => Some(spec.at(&["jobTemplate", "spec", "template"])),
        ("Pod", "") => Some(&object.body),
        _ => None,
    }
}

impl Workload {
    /// `None` for objects that make no pods.
    pub fn of(object: &Object) -> Option<Workload> {
        let template = template(object)?;
        let spec = object.spec();
        let pod = template.get("spec");
        let at = |node: &Node, key: &str| node.get(key).text().map(|t| (t.to_string(), node.line_of(key)));
        let strategy = ["strategy", "updateStrategy"].into_iter().find_map(|k| at(spec.get(k), "type"));
        let volumes = pod.get("volumes").items();
        let with = |key: &str| -> Vec<String> {
            volumes.iter().filter(|v| v.has(key)).filter_map(|v| v.get("name").text()).map(String::from).collect()
        };
        let templates =
            spec.get("volumeClaimTemplates").items().iter().filter_map(|c| c.at(&["metadata", "name"]).text());
        let claims = volumes.iter().filter_map(|v| v.at(&["persistentVolumeClaim", "claimName"]).text());
        let annotations = [object.annotations(), template.at(&["metadata", "annotations"])];
        let affinity = pod.at(&["affinity", "podAntiAffinity"]);
        let containers = |key: &str| pod.get(key).items().iter().map(container).collect();
        Some(Workload {
            place: object.place.clone(),
            api: object.api.clone(),
            kind: object.kind.clone(),
            name: object.name.clone(),
            namespace: object.namespace.clone(),
            labels: texts(template.at(&["metadata", "labels"])),
            replicas: spec.get("replicas").integer().map(|n| (n, spec.line_of("replicas"))),
            strategy,
            restart_policy: at(pod, "restartPolicy"),
            containers: containers("containers"),
            init_containers: containers("initContainers"),
            spread: !affinity.entries().is_empty() || !pod.get("topologySpreadConstraints").items().is_empty(),
            claims: claims.chain(templates).map(String::from).collect(),
            scratch: with("emptyDir"),
            host_paths: with("hostPath"),
            network_volumes: ["nfs", "cephfs", "glusterfs", "azureFile"].into_iter().flat_map(with).collect(),
            annotations: annotations.into_iter().flat_map(texts).collect(),
        })
    }

    /// `Deployment shop`.
    pub fn title(&self) -> String {
        format!("{} {}", self.kind, if self.name.is_empty() { "(no name)" } else { &self.name })
    }
    /// Ends by itself.
    pub fn is_job(&self) -> bool {
        matches!(self.kind.as_str(), "Job" | "CronJob")
    }
    /// More copies serve more requests.
    pub fn is_scalable(&self) -> bool {
        matches!(
            self.kind.as_str(),
            "Deployment" | "Rollout" | "DeploymentConfig" | "ReplicaSet" | "ReplicationController"
        )
    }
    /// The line of the object's name or kind: where a reader looks first.
    pub fn line(&self) -> u32 {
        self.place.line
    }
}

fn texts(node: &Node) -> BTreeMap<String, String> {
    node.entries().iter().filter_map(|(k, _, v)| Some((k.clone(), v.text()?.to_string()))).collect()
}

fn container(node: &Node) -> Container {
    let text = |key: &str| node.get(key).text().unwrap_or_default().to_string();
    let resources = node.get("resources");
    let limits = texts(resources.get("limits"));
    let mut requests = limits.clone();
    requests.extend(texts(resources.get("requests")));
    let port = |p: &Node| {
        let protocol = p.get("protocol").text().unwrap_or("TCP").to_ascii_uppercase();
        Some((p.get("name").text().map(String::from), p.get("containerPort").integer()?, protocol))
    };
    let mount = |m: &Node| Some((m.get("name").text()?.to_string(), m.get("mountPath").text()?.to_string()));
    Container {
        name: text("name"),
        line: node.line,
        image: text("image"),
        ports: node.get("ports").items().iter().filter_map(port).collect(),
        readiness: probe(node, "readinessProbe"),
        liveness: probe(node, "livenessProbe"),
        startup: probe(node, "startupProbe"),
        requests,
        limits,
        mounts: node.get("volumeMounts").items().iter().filter_map(mount).collect(),
        command: ["command", "args"].into_iter().flat_map(|k| node.get(k).texts()).collect::<Vec<_>>().join(" "),
    }
}

fn probe(container: &Node, key: &str) -> Option<Probe> {
    let node = container.get(key);
    if !matches!(node.value, Value::Map(_)) {
        return None;
    }
    let text = |node: &Node, key: &str| node.get(key).text().unwrap_or_default().to_string();
    let (http, tcp, grpc, exec) = (node.get("httpGet"), node.get("tcpSocket"), node.get("grpc"), node.get("exec"));
    let action = if http.is_there() {
        let path = http.get("path").text().unwrap_or("/").to_string();
        Action::Http { path, port: text(http, "port"), host: text(http, "host") }
    } else if tcp.is_there() {
        Action::Tcp { port: text(tcp, "port"), host: text(tcp, "host") }
    } else if grpc.is_there() {
        Action::Grpc { port: text(grpc, "port"), service: text(grpc, "service") }
    } else if exec.is_there() {
        Action::Exec(exec.get("command").texts().into_iter().map(String::from).collect())
    } else {
        Action::Nothing
    };
    let number = |key: &str, default: i64| node.get(key).integer().unwrap_or(default);
    Some(Probe {
        line: container.line_of(key),
        action,
        initial_delay: number("initialDelaySeconds", 0),
        period: number("periodSeconds", 10),
        timeout: number("timeoutSeconds", 1),
        failure_threshold: number("failureThreshold", 3),
    })
}

impl Probe {
    /// The port asked, unless the probe asks another host.
    pub fn port(&self) -> Option<&str> {
        match &self.action {
            Action::Http { port, host, .. } | Action::Tcp { port, host } if host.is_empty() => Some(port),
            Action::Grpc { port, .. } => Some(port),
            _ => None,
        }
    }
}

impl Container {
    /// `Some(why)` when the container declares ports and the probe asks for none of them.
    pub fn port_not_exposed(&self, probe: &Probe) -> Option<PortTrouble> {
        let port = probe.port()?;
        let tcp = |p: &&(Option<String>, i64, String)| p.2 == "TCP";
        match port.parse::<i64>() {
            Ok(number) if self.ports.is_empty() || self.ports.iter().filter(tcp).any(|p| p.1 == number) => None,
            Ok(_) => Some(PortTrouble::NotDeclared),
            Err(_) if self.ports.iter().filter(tcp).any(|p| p.0.as_deref() == Some(port)) => None,
            Err(_) => Some(PortTrouble::NoSuchName),
        }
    }
}

/// Why a probe's port is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortTrouble {
    /// A name that no port has: the probe always fails.
    NoSuchName,
    /// A number beside the declared ones: works, if something listens there.
    NotDeclared,
}

#[cfg(test)]
mod tests {
    use super::super::kubernetes::parse;
    use super::*;

    #[test]
    fn a_deployment_in_full() {
        let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: shop}\nspec:\n  replicas: 2\n  strategy: {type: Recreate}\n  template:\n    metadata: {labels: {app: shop}}\n    spec:\n      topologySpreadConstraints: [{maxSkew: 1}]\n      volumes: [{name: up, persistentVolumeClaim: {claimName: pvc}}, {name: t, emptyDir: {}}]\n      containers:\n      - name: web\n        image: acme/shop:1\n        ports: [{name: http, containerPort: 8080}, {containerPort: 53, protocol: UDP}]\n        readinessProbe:\n          httpGet: {path: /ready, port: http}\n          timeoutSeconds: 3\n        livenessProbe: {tcpSocket: {port: 53}}\n        startupProbe: {exec: {command: [a, b]}}\n        resources: {limits: {memory: 1Gi}, requests: {cpu: 100m}}\n        volumeMounts: [{name: up, mountPath: /up}]\n";
        let objects = parse("k.yaml", text).unwrap();
        let w = Workload::of(&objects[0]).unwrap();
        assert_eq!((w.replicas, w.strategy.clone(), w.spread), (Some((2, 5)), Some(("Recreate".into(), 6)), true));
        assert_eq!(
            (w.claims.clone(), w.scratch.clone(), w.labels["app"].as_str()),
            (vec!["pvc".into()], vec!["t".into()], "shop")
        );
        let c = &w.containers[0];
        let ready = c.readiness.as_ref().unwrap();
        assert_eq!((ready.line, ready.timeout, ready.period, c.port_not_exposed(ready)), (16, 3, 10, None));
        assert_eq!(c.port_not_exposed(c.liveness.as_ref().unwrap()), Some(PortTrouble::NotDeclared));
        assert_eq!(c.startup.as_ref().unwrap().port(), None);
        assert_eq!((c.requests["memory"].as_str(), c.requests["cpu"].as_str()), ("1Gi", "100m"));
    }

    #[test]
    fn only_what_makes_pods() {
        let of = |text: &str| Workload::of(&parse("k.yaml", text).unwrap()[0]).map(|w| w.title());
        assert_eq!(of("apiVersion: v1\nkind: Service\nmetadata: {name: a}\n"), None);
        assert_eq!(of("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {}\n"), Some("Pod a".into()));
        assert_eq!(of("apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: a}\n"), Some("CronJob a".into()));
        assert_eq!(of("apiVersion: x.io/v1\nkind: Deployment\nmetadata: {name: a}\n"), None);
    }
}
