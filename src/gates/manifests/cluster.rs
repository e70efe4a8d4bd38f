//! Kubernetes objects joined: which pods a Service reaches, what an autoscaler scales, what a budget protects.
//!
//! A repository may describe the same thing several times (bases, overlays, releases). A selector finds the workloads
//! nearest to its own file, so that one variant is never joined with another.

use std::collections::BTreeMap;

use super::Place;
use super::kubernetes::Object;
use super::pod::Workload;
use crate::gates::import::located::Node;

#[derive(Debug, Default)]
pub struct Cluster {
    pub workloads: Vec<Workload>,
    pub services: Vec<Selecting>,
    pub budgets: Vec<Selecting>,
    pub autoscalers: Vec<Autoscaler>,
    pub vertical: Vec<Vertical>,
    /// Namespaces (empty: unsaid) in which a LimitRange gives containers default requests.
    pub defaulted: Vec<String>,
    /// Claims that more than one pod may write: name and line.
    pub shared_claims: Vec<String>,
    /// All kinds seen, with the first place of each.
    pub kinds: BTreeMap<String, Place>,
    /// Serverless services: Knative.
    pub managed: Vec<Place>,
}

/// A Service or a PodDisruptionBudget.
#[derive(Debug, Clone, PartialEq)]
pub struct Selecting {
    pub place: Place,
    pub name: String,
    pub namespace: String,
    pub labels: BTreeMap<String, String>,
    /// `matchExpressions`: key, operator, values.
    pub expressions: Vec<(String, String, Vec<String>)>,
}

/// A HorizontalPodAutoscaler or KEDA's ScaledObject.
#[derive(Debug, Clone, PartialEq)]
pub struct Autoscaler {
    pub place: Place,
    pub keda: bool,
    pub name: String,
    pub namespace: String,
    pub target_kind: String,
    pub target_name: String,
    pub target_line: u32,
    pub min: Option<(i64, u32)>,
    pub max: Option<(i64, u32)>,
    pub metrics: Vec<Metric>,
    /// `behavior.scaleDown.stabilizationWindowSeconds`.
    pub scale_down_window: Option<(i64, u32)>,
}

/// What an autoscaler looks at.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// `cpu`, `memory`; empty for anything that is no resource of the pod.
    pub resource: String,
    /// Share of the request, in percent; `None` for absolute values.
    pub utilization: Option<i64>,
    /// Only this container's use counts.
    pub container: Option<String>,
    pub line: u32,
}

/// A VerticalPodAutoscaler.
#[derive(Debug, Clone, PartialEq)]
pub struct Vertical {
    pub place: Place,
    pub name: String,
    pub namespace: String,
    pub target_name: String,
    /// It changes running pods; `Off` and `Initial` do not.
    pub acts: bool,
}

impl Cluster {
    pub fn of(objects: Vec<Object>) -> Cluster {
        let mut out = Cluster::default();
        for object in &objects {
            out.kinds.entry(object.kind.clone()).or_insert_with(|| object.place.clone());
            let spec = object.spec();
            match (object.kind.as_str(), object.group()) {
                ("Service", "") => out.services.extend(selecting(object, spec.get("selector"))),
                ("Service", "serving.knative.dev") => out.managed.push(object.place.clone()),
                ("PodDisruptionBudget", "policy") => out.budgets.extend(selecting(object, spec.get("selector"))),
                ("HorizontalPodAutoscaler", "autoscaling") => out.autoscalers.push(horizontal(object)),
                ("ScaledObject", "keda.sh" | "keda.k8s.io") => out.autoscalers.push(keda(object)),
                ("VerticalPodAutoscaler", _) => out.vertical.push(vertical(object)),
                ("LimitRange", "") => {
                    let gives = |l: &Node| l.has("defaultRequest") || l.has("default");
                    if spec.get("limits").items().iter().any(gives) {
                        out.defaulted.push(object.namespace.clone());
                    }
                }
                ("PersistentVolumeClaim", "") => {
                    if spec.get("accessModes").texts().contains(&"ReadWriteMany") {
                        out.shared_claims.push(object.name.clone());
                    }
                }
                _ => out.workloads.extend(Workload::of(object)),
            }
        }
        out
    }

    /// Positions of the workloads whose pods `from` selects, nearest files only.
    pub fn selected(&self, from: &Selecting) -> Vec<usize> {
        if from.labels.is_empty() && from.expressions.is_empty() {
            return Vec::new();
        }
        let fits = |w: &Workload| same_namespace(&w.namespace, &from.namespace) && from.selects(&w.labels);
        self.nearest(&from.place.file, fits)
    }

    /// The Service that brings requests to the workload at `position`.
    pub fn service_of(&self, position: usize) -> Option<&Selecting> {
        self.services.iter().find(|s| self.selected(s).contains(&position))
    }

    /// Positions of the workloads that the autoscaler names.
    pub fn scaled(&self, by: &Autoscaler) -> Vec<usize> {
        let fits = |w: &Workload| {
            same_namespace(&w.namespace, &by.namespace) && w.name == by.target_name && w.kind == by.target_kind
        };
        self.nearest(&by.place.file, fits)
    }

    /// The autoscaler of the workload at `position`.
    pub fn autoscaler_of(&self, position: usize) -> Option<&Autoscaler> {
        self.autoscalers.iter().find(|a| self.scaled(a).contains(&position))
    }

    pub fn budget_of(&self, position: usize) -> Option<&Selecting> {
        self.budgets.iter().find(|b| self.selected(b).contains(&position))
    }

    fn nearest(&self, file: &str, fits: impl Fn(&Workload) -> bool) -> Vec<usize> {
        let near = |w: &Workload| if w.place.file == file { usize::MAX } else { shared(file, &w.place.file) };
        let found: Vec<(usize, usize)> =
            self.workloads.iter().enumerate().filter(|(_, w)| fits(w)).map(|(i, w)| (i, near(w))).collect();
        let best = found.iter().map(|(_, n)| *n).max();
        found.into_iter().filter(|(_, n)| Some(*n) == best).map(|(i, _)| i).collect()
    }
}

/// How many leading folders two paths share.
fn shared(a: &str, b: &str) -> usize {
    let folders = |p: &str| p.rsplit_once('/').map_or(String::new(), |(f, _)| f.to_string());
    let (a, b) = (folders(a), folders(b));
    a.split('/').zip(b.split('/')).take_while(|(x, y)| x == y).count()
}

/// A namespace that a manifest leaves out may be any.
fn same_namespace(a: &str, b: &str) -> bool {
    a == b || a.is_empty() || b.is_empty()
}

impl Selecting {
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        let expression = |(key, operator, values): &(String, String, Vec<String>)| {
            let value = labels.get(key);
            match operator.as_str() {
                "In" => value.is_some_and(|v| values.contains(v)),
                "NotIn" => value.is_none_or(|v| !values.contains(v)),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        };
        self.labels.iter().all(|(k, v)| labels.get(k) == Some(v)) && self.expressions.iter().all(expression)
    }
}

fn selecting(object: &Object, selector: &Node) -> Option<Selecting> {
    let plain = if selector.has("matchLabels") || selector.has("matchExpressions") {
        selector.get("matchLabels")
    } else {
        selector
    };
    let labels = plain.entries().iter().filter_map(|(k, _, v)| Some((k.clone(), v.text()?.to_string()))).collect();
    let expression = |e: &Node| {
        let values = e.get("values").texts().into_iter().map(String::from).collect();
        Some((e.get("key").text()?.to_string(), e.get("operator").text()?.to_string(), values))
    };
    Some(Selecting {
        place: object.place.clone(),
        name: object.name.clone(),
        namespace: object.namespace.clone(),
        labels,
        expressions: selector.get("matchExpressions").items().iter().filter_map(expression).collect(),
    })
}

fn number(node: &Node, key: &str) -> Option<(i64, u32)> {
    Some((node.get(key).integer()?, node.line_of(key)))
}

fn horizontal(object: &Object) -> Autoscaler {
    let spec = object.spec();
    let target = spec.get("scaleTargetRef");
    let mut metrics: Vec<Metric> = spec.get("metrics").items().iter().map(metric).collect();
    // Version 1 knows processor time only; without any metric the default is 80 % of it.
    let old = ["targetCPUUtilizationPercentage", "targetAverageUtilization"];
    if let Some((percent, line)) = old.into_iter().find_map(|k| number(spec, k)) {
        metrics.push(Metric { resource: "cpu".into(), utilization: Some(percent), container: None, line });
    } else if metrics.is_empty() {
        metrics.push(Metric {
            resource: "cpu".into(),
            utilization: Some(80),
            container: None,
            line: object.place.line,
        });
    }
    Autoscaler {
        place: object.place.clone(),
        keda: false,
        name: object.name.clone(),
        namespace: object.namespace.clone(),
        target_kind: target.get("kind").text().unwrap_or_default().to_string(),
        target_name: target.get("name").text().unwrap_or_default().to_string(),
        target_line: spec.line_of("scaleTargetRef"),
        min: number(spec, "minReplicas"),
        max: number(spec, "maxReplicas"),
        metrics,
        scale_down_window: number(spec.at(&["behavior", "scaleDown"]), "stabilizationWindowSeconds"),
    }
}

fn metric(node: &Node) -> Metric {
    let resource = if node.has("containerResource") { node.get("containerResource") } else { node.get("resource") };
    let percent = resource
        .at(&["target", "averageUtilization"])
        .integer()
        .or_else(|| resource.get("targetAverageUtilization").integer());
    Metric {
        resource: resource.get("name").text().unwrap_or_default().to_string(),
        utilization: percent,
        container: resource.get("container").text().map(String::from),
        line: node.line,
    }
}

fn keda(object: &Object) -> Autoscaler {
    let spec = object.spec();
    let target = spec.get("scaleTargetRef");
    let trigger = |t: &Node| {
        let kind = t.get("type").text().unwrap_or_default();
        let by_share =
            t.get("metricType").text().or(t.at(&["metadata", "type"]).text()).unwrap_or("Utilization") == "Utilization";
        let value = t.at(&["metadata", "value"]).integer().filter(|_| by_share);
        let resource = if matches!(kind, "cpu" | "memory") { kind.to_string() } else { String::new() };
        Metric {
            utilization: value.filter(|_| !resource.is_empty()),
            container: t.at(&["metadata", "containerName"]).text().map(String::from),
            line: t.line,
            resource,
        }
    };
    Autoscaler {
        place: object.place.clone(),
        keda: true,
        name: object.name.clone(),
        namespace: object.namespace.clone(),
        target_kind: target.get("kind").text().unwrap_or("Deployment").to_string(),
        target_name: target.get("name").text().unwrap_or_default().to_string(),
        target_line: spec.line_of("scaleTargetRef"),
        min: number(spec, "minReplicaCount"),
        max: number(spec, "maxReplicaCount"),
        metrics: spec.get("triggers").items().iter().map(trigger).collect(),
        scale_down_window: number(
            spec.at(&["advanced", "horizontalPodAutoscalerConfig", "behavior", "scaleDown"]),
            "stabilizationWindowSeconds",
        ),
    }
}

fn vertical(object: &Object) -> Vertical {
    let spec = object.spec();
    let mode = spec.at(&["updatePolicy", "updateMode"]).text().unwrap_or("Auto");
    Vertical {
        place: object.place.clone(),
        name: object.name.clone(),
        namespace: object.namespace.clone(),
        target_name: spec.at(&["targetRef", "name"]).text().unwrap_or_default().to_string(),
        acts: !matches!(mode.to_ascii_lowercase().as_str(), "off" | "initial" | "false"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::kubernetes::parse;
    use super::*;

    fn cluster(files: &[(&str, &str)]) -> Cluster {
        Cluster::of(files.iter().flat_map(|(path, text)| parse(path, text).unwrap()).collect())
    }

    const SHOP: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: shop}\nspec: {template: {metadata: {labels: {app: shop, tier: web}}}}\n";
    const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: shop}\nspec: {selector: {app: shop}}\n";

    #[test]
    fn selectors_find_the_nearest() {
        let all = cluster(&[("k/a/d.yaml", SHOP), ("k/b/d.yaml", SHOP), ("k/b/s.yaml", SERVICE)]);
        assert_eq!(all.selected(&all.services[0]), [1]);
        assert!(all.service_of(0).is_none() && all.service_of(1).is_some());
        let apart = cluster(&[("k/deployments/d.yaml", SHOP), ("k/services/s.yaml", SERVICE)]);
        assert_eq!(apart.selected(&apart.services[0]), [0]);
        let other = SERVICE.replace("name: shop}", "name: shop, namespace: b}");
        let shop = SHOP.replace("name: shop}", "name: shop, namespace: a}");
        let all = cluster(&[("d.yaml", &shop), ("s.yaml", &other)]);
        assert!(all.selected(&all.services[0]).is_empty());
    }

    #[test]
    fn expressions_select() {
        let budget = "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: p}\nspec: {selector: {matchExpressions: [{key: app, operator: In, values: [x, shop]}, {key: old, operator: DoesNotExist}]}}\n";
        let all = cluster(&[("d.yaml", SHOP), ("p.yaml", budget)]);
        assert!(all.budget_of(0).is_some());
        let not = budget.replace("In, values: [x, shop]", "NotIn, values: [shop]");
        assert!(cluster(&[("d.yaml", SHOP), ("p.yaml", &not)]).budget_of(0).is_none());
    }

    #[test]
    fn autoscalers_of_every_age() {
        let hpa = |version: &str, rest: &str| {
            format!(
                "apiVersion: autoscaling/{version}\nkind: HorizontalPodAutoscaler\nmetadata: {{name: h}}\nspec:\n  scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: shop}}\n  minReplicas: 2\n  maxReplicas: 9\n{rest}"
            )
        };
        for (version, rest, expect) in [
            (
                "v2",
                "  metrics: [{type: Resource, resource: {name: memory, target: {averageUtilization: 70}}}]\n",
                ("memory", Some(70)),
            ),
            (
                "v2beta1",
                "  metrics: [{type: Resource, resource: {name: cpu, targetAverageUtilization: 60}}]\n",
                ("cpu", Some(60)),
            ),
            ("v1", "  targetCPUUtilizationPercentage: 55\n", ("cpu", Some(55))),
            ("v1", "", ("cpu", Some(80))),
            ("v2", "  metrics: [{type: Pods, pods: {}}]\n", ("", None)),
        ] {
            let all = cluster(&[("d.yaml", SHOP), ("h.yaml", &hpa(version, rest))]);
            let a = all.autoscaler_of(0).unwrap();
            assert_eq!((a.metrics[0].resource.as_str(), a.metrics[0].utilization), expect, "{version} {rest}");
            assert_eq!((a.min, a.max), (Some((2, 6)), Some((9, 7))));
        }
        let keda = "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: k}\nspec:\n  scaleTargetRef: {name: shop}\n  minReplicaCount: 1\n  triggers: [{type: cpu, metricType: Utilization, metadata: {value: '60'}}, {type: kafka}]\n";
        let all = cluster(&[("d.yaml", SHOP), ("k.yaml", keda)]);
        let a = all.autoscaler_of(0).unwrap();
        assert_eq!((a.keda, a.metrics.len(), a.metrics[0].utilization), (true, 2, Some(60)));
    }
}
