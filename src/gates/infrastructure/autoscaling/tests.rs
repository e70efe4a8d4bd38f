//! Tests of the gate: each rule good and bad, what does not apply, and what cannot be told.

use super::*;
use crate::domain::verdict::Verdict;
use crate::gates::testing;

fn check(files: &[(&str, &str)], verdict: Verdict, expect: &[&str]) -> Outcome {
    check_with(&Config::default(), files, verdict, expect)
}

/// Verdict, and `rule file:line` of every finding that is no note.
fn check_with(config: &Config, files: &[(&str, &str)], verdict: Verdict, expect: &[&str]) -> Outcome {
    let (_dir, repo) = testing::repo(files);
    let outcome = judge(&look(&repo, config));
    testing::says(&outcome, verdict, expect);
    outcome
}

const SHOP: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: shop}\nspec:\n  template:\n    metadata: {labels: {app: shop}}\n    spec:\n      topologySpreadConstraints: [{maxSkew: 1, topologyKey: kubernetes.io/hostname}]\n      containers:\n      - name: web\n        image: acme/shop:1\n        resources: {requests: {cpu: 100m, memory: 128Mi}}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: shop}\nspec: {selector: {app: shop}}\n";
const HPA: &str = "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: shop}\nspec:\n  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: shop}\n  minReplicas: 2\n  maxReplicas: 9\n  metrics:\n  - type: Resource\n    resource: {name: cpu, target: {type: Utilization, averageUtilization: 70}}\n";

fn both(shop: &str, hpa: &str, verdict: Verdict, expect: &[&str]) -> Outcome {
    check(&[("d.yaml", shop), ("h.yaml", hpa)], verdict, expect)
}

#[test]
fn a_sound_autoscaler_passes() {
    let outcome = both(SHOP, HPA, Verdict::Pass, &[]);
    assert_eq!((outcome.covered, outcome.tier), (Some(1), Some(Tier::E1)));
    // Two replicas are enough, three are advised.
    assert_eq!(outcome.findings.iter().map(|f| f.rule.as_str()).collect::<Vec<_>>(), ["min-replicas-advised"]);
}

#[test]
fn autoscalers_that_never_scale() {
    let fixed = SHOP.replace("spec:\n  template", "spec:\n  replicas: 3\n  template");
    both(&fixed, HPA, Verdict::Fail, &["fixed-replicas d.yaml:5"]);
    let bare = SHOP.replace("requests: {cpu: 100m, memory: 128Mi}", "requests: {memory: 128Mi}");
    let outcome = both(&bare, HPA, Verdict::Fail, &["no-requests d.yaml:10"]);
    assert!(outcome.hint.unwrap().contains("HPA shop uses cpu but Deployment shop sets no requests.cpu"));
    // A limit without a request is the request.
    let limited = SHOP.replace("requests: {cpu", "limits: {cpu");
    both(&limited, HPA, Verdict::Pass, &[]);
    let ranged =
        format!("{bare}---\napiVersion: v1\nkind: LimitRange\nspec: {{limits: [{{defaultRequest: {{cpu: 1}}}}]}}\n");
    both(&ranged, HPA, Verdict::Pass, &[]);
    both(
        SHOP,
        &HPA.replace("kind: Deployment, name: shop", "kind: Deployment, name: shoppe"),
        Verdict::Fail,
        &["no-autoscaler d.yaml:1", "dangling-target h.yaml:5"],
    );
    both(SHOP, &HPA.replace("maxReplicas: 9", "maxReplicas: 1"), Verdict::Fail, &["max-replicas h.yaml:7"]);
    both(SHOP, &HPA.replace("  maxReplicas: 9\n", ""), Verdict::Fail, &["max-replicas h.yaml:1"]);
    let vertical = "apiVersion: autoscaling.k8s.io/v1\nkind: VerticalPodAutoscaler\nmetadata: {name: v}\nspec: {targetRef: {name: shop}}\n";
    let files = [("d.yaml", SHOP), ("h.yaml", HPA), ("v.yaml", vertical)];
    check(&files, Verdict::Fail, &["vertical-conflict v.yaml:1"]);
    let off = vertical.replace("targetRef", "updatePolicy: {updateMode: \"Off\"}, targetRef");
    check(&[files[0], files[1], ("v.yaml", &off)], Verdict::Pass, &[]);
}

#[test]
fn weak_autoscalers_warn() {
    for (from, to, expect) in [
        ("minReplicas: 2", "minReplicas: 1", "min-replicas h.yaml:6"),
        ("maxReplicas: 9", "maxReplicas: 2", "max-replicas h.yaml:7"),
        ("averageUtilization: 70", "averageUtilization: 95", "target-range h.yaml:9"),
        ("averageUtilization: 70", "averageUtilization: 10", "target-range h.yaml:9"),
        (
            "  metrics:",
            "  behavior: {scaleDown: {stabilizationWindowSeconds: 0}}\n  metrics:",
            "scale-down-window h.yaml:8",
        ),
    ] {
        both(SHOP, &HPA.replace(from, to), Verdict::Warn, &[expect]);
    }
    let together =
        SHOP.replace("      topologySpreadConstraints: [{maxSkew: 1, topologyKey: kubernetes.io/hostname}]\n", "");
    both(&together, HPA, Verdict::Warn, &["no-spread d.yaml:1"]);
}

#[test]
fn keda_scales_too() {
    let keda = "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: k}\nspec:\n  scaleTargetRef: {name: shop}\n  minReplicaCount: 2\n  triggers: [{type: kafka}]\n";
    both(SHOP, keda, Verdict::Pass, &[]);
    both(SHOP, &keda.replace("  minReplicaCount: 2\n", ""), Verdict::Warn, &["min-replicas h.yaml:1"]);
    both(
        SHOP,
        &keda.replace("name: shop", "name: x"),
        Verdict::Fail,
        &["no-autoscaler d.yaml:1", "dangling-target h.yaml:5"],
    );
}

#[test]
fn workloads_without_an_autoscaler() {
    check(&[("d.yaml", SHOP)], Verdict::Fail, &["no-autoscaler d.yaml:1"]);
    let sized = SHOP.replace("spec:\n  template", "spec:\n  replicas: 3\n  template");
    check(&[("d.yaml", &sized)], Verdict::Warn, &["no-autoscaler d.yaml:5"]);
    let single = Config { singletons: vec!["shop".into()], ..Config::default() };
    let outcome = check_with(&single, &[("d.yaml", SHOP)], Verdict::Skip, &[]);
    assert_eq!(outcome.reason.as_deref(), Some("nothing-to-scale"));
    for exempt in [
        SHOP.replace("acme/shop:1", "postgres:16"),
        SHOP.replace("image: acme/shop:1", "image: acme/shop:1\n        args: [--leader-elect]"),
        SHOP.replace("kind: Deployment", "kind: DaemonSet"),
        SHOP.replace("selector: {app: shop}", "selector: {app: other}"),
    ] {
        check(&[("d.yaml", &exempt)], Verdict::Skip, &[]);
    }
}

#[test]
fn sessions_in_memory_and_a_second_replica() {
    let app = "const session = require('express-session');\napp.use(session({ secret: s }));\n";
    check(&[("d.yaml", SHOP), ("h.yaml", HPA), ("src/a.js", app)], Verdict::Fail, &["local-sessions src/a.js:2"]);
    let cluster = "module.exports = { apps: [{ script: 'a.js', instances: 4, exec_mode: 'cluster' }] }\n";
    check(&[("ecosystem.config.js", cluster), ("src/a.js", app)], Verdict::Fail, &["local-sessions src/a.js:2"]);
    let scaled = "services:\n  web:\n    image: acme/shop\n    deploy: {replicas: 3}\n";
    check(&[("compose.yaml", scaled), ("src/a.js", app)], Verdict::Fail, &["local-sessions src/a.js:2"]);
    check(&[("src/a.js", app)], Verdict::Skip, &[]);
}

#[test]
fn scaling_groups_of_a_cloud() {
    let group = "resource \"aws_autoscaling_group\" \"web\" {\n  min_size = 2\n  max_size = 6\n}\n";
    let policy = "resource \"aws_autoscaling_policy\" \"p\" {\n}\n";
    check(&[("main.tf", &format!("{group}{policy}"))], Verdict::Pass, &[]);
    check(&[("main.tf", group)], Verdict::Warn, &["no-policy main.tf:1"]);
    let fixed = format!("{}{policy}", group.replace("max_size = 6", "max_size = 2"));
    check(&[("main.tf", &fixed)], Verdict::Warn, &["max-replicas main.tf:1"]);
}

#[test]
fn without_kubernetes_it_is_skipped_with_proof() {
    let outcome = check(
        &[("compose.yaml", "services:\n  web:\n    image: acme/shop\n"), ("a.yml", "x: 1\n")],
        Verdict::Skip,
        &[],
    );
    assert_eq!(outcome.reason.as_deref(), Some("no-k8s"));
    assert_eq!(
        outcome.summary,
        "1 YAML, JSON and Terraform file looked into: no Kubernetes workload, no autoscaler, no scaling group; it runs by compose.yaml"
    );
}

#[test]
fn cannot_tell() {
    let template = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {{ .Values.a }}\n";
    let outcome = check(&[("k.yaml", template)], Verdict::Error, &[]);
    assert_eq!(outcome.reason.as_deref(), Some("not-rendered"));
    let outcome = check(&[("k.yaml", "apiVersion: v1\nkind: Pod\nmetadata: [\n")], Verdict::Error, &[]);
    assert_eq!(outcome.reason.as_deref(), Some("unreadable"));
    // A broken compose file says nothing about a cluster.
    both(SHOP, HPA, Verdict::Pass, &[]);
    check(&[("d.yaml", SHOP), ("h.yaml", HPA), ("compose.yaml", "services: [\n")], Verdict::Pass, &[]);
}

#[test]
fn comments_and_annotations_allow() {
    let comment = SHOP.replace("spec:\n  template", "spec:\n  # hypercare:allow infrastructure.autoscaling -- sized by the black friday test\n  replicas: 3\n  template");
    check(&[("d.yaml", &comment)], Verdict::Pass, &["no-autoscaler d.yaml:6 (allowed)"]);
    let annotated = SHOP.replace("metadata: {name: shop}\nspec:\n  template", "metadata: {name: shop, annotations: {ignore-check.kube-linter.io/unset-cpu-requirements: small}}\nspec:\n  template").replace("cpu: 100m, ", "");
    both(&annotated, HPA, Verdict::Pass, &["no-requests d.yaml:10 (allowed)"]);
}

#[test]
fn what_the_load_test_saw() {
    let (_dir, repo) = testing::repo(&[("d.yaml", SHOP), ("h.yaml", HPA)]);
    let mut seen = look(&repo, &Config::default());
    seen.observed = Some(false);
    assert_eq!(judge(&seen).verdict, Verdict::Warn);
    seen.observed = Some(true);
    assert_eq!((judge(&seen).verdict, judge(&seen).tier), (Verdict::Pass, Some(Tier::E3)));
}
