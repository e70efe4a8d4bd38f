//! Tests of the gate: each rule in a good and a bad description, what does not apply, and what cannot be told.

use super::*;
use crate::domain::verdict::Verdict;
use crate::gates::testing;

/// Verdict, and `rule file:line` of every finding that is no note.
fn check(files: &[(&str, &str)], verdict: Verdict, expect: &[&str]) -> Outcome {
    check_with(&Config::default(), files, verdict, expect)
}

fn check_with(config: &Config, files: &[(&str, &str)], verdict: Verdict, expect: &[&str]) -> Outcome {
    let (_dir, repo) = testing::repo(files);
    let outcome = judge(&look(&repo, config, false));
    testing::says(&outcome, verdict, expect);
    outcome
}

/// A deployment with a service and a budget; `container` lines are indented by six.
fn shop(container: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: shop}}\nspec:\n  replicas: 2\n  template:\n    metadata: {{labels: {{app: shop}}}}\n    spec:\n      containers:\n      - name: web\n        image: acme/shop:1\n        ports: [{{name: http, containerPort: 8080}}]\n        resources: {{limits: {{memory: 256Mi}}}}\n{container}---\napiVersion: v1\nkind: Service\nmetadata: {{name: shop}}\nspec: {{selector: {{app: shop}}}}\n---\napiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {{name: shop}}\nspec: {{maxUnavailable: 1, selector: {{matchLabels: {{app: shop}}}}}}\n"
    )
}

const READY: &str = "        readinessProbe: {httpGet: {path: /ready, port: http}, timeoutSeconds: 2}\n";
const LIVE: &str = "        livenessProbe: {httpGet: {path: /live, port: 8080}}\n";

#[test]
fn a_sound_deployment_passes() {
    let outcome = check(&[("k8s/shop.yaml", &shop(&format!("{READY}{LIVE}")))], Verdict::Pass, &[]);
    assert_eq!((outcome.covered, outcome.tier), (Some(1), Some(Tier::E1)));
}

#[test]
fn probes_of_pods() {
    let same = "        livenessProbe: {httpGet: {path: /ready, port: http}}\n";
    for (container, verdict, expect) in [
        (LIVE.to_string(), Verdict::Fail, vec!["no-readiness k8s/shop.yaml:10"]),
        (READY.to_string(), Verdict::Warn, vec!["no-liveness k8s/shop.yaml:10"]),
        (format!("{READY}{same}"), Verdict::Fail, vec!["identical-probes k8s/shop.yaml:15"]),
        // An open port depends on nothing: one probe may serve for both.
        (
            "        readinessProbe: {tcpSocket: {port: http}}\n        livenessProbe: {tcpSocket: {port: http}}\n"
                .to_string(),
            Verdict::Pass,
            vec![],
        ),
        (
            format!("{READY}        livenessProbe: {{httpGet: {{path: /live, port: admin}}}}\n"),
            Verdict::Fail,
            vec!["probe-port k8s/shop.yaml:15"],
        ),
        (
            format!("{READY}        livenessProbe: {{tcpSocket: {{port: 9}}}}\n"),
            Verdict::Warn,
            vec!["probe-port k8s/shop.yaml:15"],
        ),
        (
            format!("{READY}        livenessProbe: {{periodSeconds: 3}}\n"),
            Verdict::Fail,
            vec!["probe-empty k8s/shop.yaml:15"],
        ),
        (
            format!("{READY}        livenessProbe: {{httpGet: {{path: /live, port: http}}, timeoutSeconds: 10}}\n"),
            Verdict::Warn,
            vec!["probe-timeout k8s/shop.yaml:15"],
        ),
        (
            format!(
                "{READY}        livenessProbe: {{httpGet: {{path: /live, port: http}}, initialDelaySeconds: 60}}\n"
            ),
            Verdict::Warn,
            vec!["no-startup k8s/shop.yaml:15"],
        ),
        (
            format!("{READY}        livenessProbe: {{httpGet: {{path: /health/db, port: http}}}}\n"),
            Verdict::Warn,
            vec!["liveness-dependency k8s/shop.yaml:15"],
        ),
        (
            format!("{READY}        livenessProbe: {{exec: {{command: [pg_isready, -h, db]}}}}\n"),
            Verdict::Warn,
            vec!["liveness-dependency k8s/shop.yaml:15"],
        ),
        (
            format!("{READY}        livenessProbe: {{exec: {{command: [pg_isready, -h, localhost]}}}}\n"),
            Verdict::Pass,
            vec![],
        ),
    ] {
        check(&[("k8s/shop.yaml", &shop(&container))], verdict, &expect);
    }
}

#[test]
fn copies_budgets_and_memory() {
    let good = shop(&format!("{READY}{LIVE}"));
    let without_budget = good.rsplit_once("---\n").unwrap().0;
    let exact = [
        (good.replace("replicas: 2", "replicas: 1"), "single-replica k.yaml:5"),
        (without_budget.to_string(), "no-budget k.yaml:1"),
        (good.replace("  template:\n", "  strategy: {type: Recreate}\n  template:\n"), "recreate k.yaml:6"),
        (good.replace("limits: {memory", "requests: {memory"), "no-memory-limit k.yaml:10"),
    ];
    for (text, expect) in exact {
        check(&[("k.yaml", &text)], Verdict::Warn, &[expect]);
    }
    let never = good.replace("    spec:\n      containers", "    spec:\n      restartPolicy: Never\n      containers");
    check(&[("k.yaml", &never)], Verdict::Fail, &["restart-never k.yaml:9"]);
}

#[test]
fn a_worker_needs_no_readiness_and_a_job_nothing() {
    let worker = shop(LIVE).replace("selector: {app: shop}", "selector: {app: other}");
    check(&[("k.yaml", &worker)], Verdict::Pass, &[]);
    let job = "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: j}\nspec: {}\n";
    let outcome = check(&[("k.yaml", job)], Verdict::Error, &[]);
    assert_eq!(outcome.reason.as_deref(), Some("nothing-to-inspect"));
}

#[test]
fn annotations_and_comments_allow() {
    let annotated = shop(LIVE).replace(
        "    metadata: {labels: {app: shop}}",
        "    metadata: {labels: {app: shop}, annotations: {kube-score/ignore: 'pod-probes, x'}}",
    );
    check(&[("k.yaml", &annotated)], Verdict::Pass, &["no-readiness k.yaml:10 (allowed)"]);
    let comment = shop(LIVE).replace(
        "      - name: web\n",
        "      # hypercare:allow infrastructure.restart_health/no-readiness -- warms up in milliseconds\n      - name: web\n",
    );
    check(&[("k.yaml", &comment)], Verdict::Pass, &["no-readiness k.yaml:11 (allowed)"]);
}

const HEALTHY: &str = "healthcheck: {test: [CMD, wget, -q, 'http://127.0.0.1/'], interval: 10s, timeout: 3s}";

#[test]
fn compose_services() {
    let file = |lines: &str| format!("services:\n  web:\n    image: acme/shop\n{lines}");
    let healthy = format!("    {HEALTHY}\n");
    for (lines, verdict, expect) in [
        (format!("    restart: always\n{healthy}"), Verdict::Warn, vec![]),
        (format!("    deploy: {{restart_policy: {{condition: on-failure}}}}\n{healthy}"), Verdict::Warn, vec![]),
        (healthy.clone(), Verdict::Fail, vec!["no-restart compose.yaml:2"]),
        (format!("    restart: 'no'\n{healthy}"), Verdict::Fail, vec!["no-restart compose.yaml:4"]),
        (
            format!("    deploy: {{restart_policy: {{condition: none}}}}\n    restart: always\n{healthy}"),
            Verdict::Fail,
            vec!["no-restart compose.yaml:4"],
        ),
        ("    restart: always\n".into(), Verdict::Fail, vec!["no-healthcheck compose.yaml:2"]),
        (
            "    restart: always\n    healthcheck: {disable: true}\n".into(),
            Verdict::Fail,
            vec!["no-healthcheck compose.yaml:5"],
        ),
        ("    restart: always\n    healthcheck: {disable: false}\n".into(), Verdict::Warn, vec![]),
        (
            "    restart: always\n    healthcheck: {test: x, interval: 1s, timeout: 1m30s}\n".into(),
            Verdict::Warn,
            vec!["probe-timeout compose.yaml:5"],
        ),
        (
            "    restart: ${POLICY}\n    healthcheck: {test: x}\n".into(),
            Verdict::Warn,
            vec!["restart-unknown compose.yaml:4"],
        ),
    ] {
        check(&[("compose.yaml", &file(&lines))], verdict, &expect);
    }
    let outcome = check(
        &[("compose.yaml", &file(""))],
        Verdict::Fail,
        &["no-restart compose.yaml:2", "no-healthcheck compose.yaml:2"],
    );
    let hint = outcome.hint.unwrap();
    assert!(hint.contains("compose service web: add restart: unless-stopped and healthcheck: {test:"), "{hint}");
}

#[test]
fn an_image_named_by_a_variable_may_be_anything() {
    for image in ["$SHOP_IMAGE", "acme/${SHOP}:${TAG}"] {
        let text = format!("services:\n  web:\n    image: {image}\n    restart: always\n");
        check(&[("compose.yaml", &text)], Verdict::Warn, &["no-healthcheck compose.yaml:2"]);
    }
}

#[test]
fn a_rehearsed_host_passes() {
    let text = format!("services:\n  web:\n    image: acme/shop\n    restart: always\n    {HEALTHY}\n");
    let (_dir, repo) = testing::repo(&[("compose.yaml", &text)]);
    let mut seen = look(&repo, &Config::default(), false);
    seen.rehearsed = true;
    assert_eq!((judge(&seen).verdict, judge(&seen).tier), (Verdict::Pass, Some(Tier::E3)));
}

#[test]
fn what_stands_behind_the_product_only_warns_without_a_check() {
    let text = format!(
        "services:\n  web:\n    image: acme/shop\n    restart: always\n    {HEALTHY}\n  db:\n    image: postgres:16\n    restart: always\n  migrate:\n    image: acme/shop\n    command: npx prisma migrate deploy\n  tools:\n    image: acme/tools\n    profiles: [tools]\n"
    );
    check(&[("compose.yaml", &text)], Verdict::Warn, &["no-healthcheck compose.yaml:6"]);
}

#[test]
fn the_images_own_check_counts_if_it_can_work() {
    let compose = "services:\n  web:\n    build: .\n    restart: always\n";
    for (dockerfile, verdict, expect) in [
        ("FROM node:22\nHEALTHCHECK --timeout=3s CMD curl -f localhost\n", Verdict::Warn, vec![]),
        ("FROM node:22-slim\nHEALTHCHECK CMD curl -f localhost\n", Verdict::Fail, vec!["probe-client Dockerfile:2"]),
        ("FROM node:22-slim\nRUN apt-get install -y curl\nHEALTHCHECK CMD curl -f localhost\n", Verdict::Warn, vec![]),
        (
            "FROM gcr.io/distroless/nodejs\nHEALTHCHECK CMD node check.js\n",
            Verdict::Fail,
            vec!["probe-client Dockerfile:2"],
        ),
        ("FROM a\nHEALTHCHECK CMD true\nHEALTHCHECK NONE\n", Verdict::Fail, vec!["no-healthcheck Dockerfile:3"]),
        ("FROM node:22\n", Verdict::Fail, vec!["no-healthcheck compose.yaml:2"]),
    ] {
        check(&[("compose.yaml", compose), ("Dockerfile", dockerfile)], verdict, &expect);
    }
}

#[test]
fn an_image_alone() {
    check(&[("Dockerfile", "FROM a\nEXPOSE 80\n")], Verdict::Fail, &["no-healthcheck Dockerfile:1"]);
    check(&[("Dockerfile", "FROM a\n")], Verdict::Warn, &["no-healthcheck Dockerfile:1"]);
    check(&[("Dockerfile", "FROM a\nHEALTHCHECK CMD b\n")], Verdict::Warn, &["runtime-unknown Dockerfile:1"]);
    let elsewhere = Config { deployed_elsewhere: true, ..Config::default() };
    check_with(&elsewhere, &[("Dockerfile", "FROM a\nEXPOSE 80\n")], Verdict::Warn, &["no-healthcheck Dockerfile:1"]);
}

#[test]
fn pm2_apps() {
    let file = |options: &str| format!("module.exports = {{ apps: [{{\n  script: 'a.js',\n{options}\n}}] }}\n");
    for (options, verdict, expect) in [
        ("  max_memory_restart: '1G',", Verdict::Warn, vec![]),
        ("  autorestart: false, max_memory_restart: '1G',", Verdict::Fail, vec!["no-restart ecosystem.config.js:3"]),
        ("  autorestart: true,", Verdict::Warn, vec!["no-memory-limit ecosystem.config.js:1"]),
        ("  watch: true, max_memory_restart: '1G',", Verdict::Warn, vec!["watch ecosystem.config.js:3"]),
        ("  max_restarts: 0, max_memory_restart: '1G',", Verdict::Fail, vec!["no-restart ecosystem.config.js:3"]),
    ] {
        check(&[("ecosystem.config.js", &file(options))], verdict, &expect);
    }
    check(&[("ecosystem.config.js", "module.exports = { apps: make() }\n")], Verdict::Error, &[]);
}

#[test]
fn units_of_systemd() {
    for (service, verdict, expect) in [
        ("Restart=always\nRestartSec=5\n", Verdict::Warn, vec![]),
        ("Restart=on-failure\n", Verdict::Warn, vec!["restart-limits shop.service:2"]),
        ("Restart=on-abort\nRestartSec=5\n", Verdict::Warn, vec!["weak-restart shop.service:2"]),
        ("ExecStart=/bin/shop\n", Verdict::Fail, vec!["no-restart shop.service:1"]),
        ("Restart=on-success\n", Verdict::Fail, vec!["no-restart shop.service:2"]),
        ("Type=oneshot\n", Verdict::Error, vec![]),
    ] {
        check(&[("shop.service", &format!("[Service]\n{service}"))], verdict, &expect);
    }
    check(&[("a.service", "[Service]\n"), ("a.timer", "[Timer]\n")], Verdict::Error, &[]);
}

#[test]
fn programs_of_supervisor() {
    check(&[("supervisord.conf", "[program:web]\ncommand=a\n")], Verdict::Warn, &[]);
    check(
        &[("supervisord.conf", "[program:web]\nautorestart=false\n")],
        Verdict::Fail,
        &["no-restart supervisord.conf:2"],
    );
    check(&[("supervisord.conf", "[program:job]\nautorestart=false\nstartsecs=0\n")], Verdict::Error, &[]);
}

#[test]
fn platforms() {
    check(&[("Procfile", "web: npm start\nworker: w\n")], Verdict::Warn, &["no-healthcheck Procfile:1"]);
    check(&[("fly.toml", "app = 'a'\n[checks.up]\ntype = 'http'\n")], Verdict::Pass, &[]);
    check(&[("fly.toml", "app = 'a'\n[[restart]]\npolicy = 'never'\n")], Verdict::Fail, &["no-restart fly.toml:3"]);
    let outcome = check(&[("vercel.json", "{}")], Verdict::Skip, &[]);
    assert_eq!((outcome.reason.as_deref(), outcome.summary.contains("vercel.json:1")), (Some("managed"), true));
}

#[test]
fn cannot_tell() {
    let outcome = check(&[("src/a.js", "x\n")], Verdict::Error, &[]);
    assert_eq!(outcome.reason.as_deref(), Some("no-runtime"));
    let outcome = check(&[("docker-compose.dev.yml", "services:\n  a:\n    image: b\n")], Verdict::Error, &[]);
    assert!(outcome.summary.contains("docker-compose.dev.yml (development)"), "{}", outcome.summary);
    let outcome = check(&[("compose.yaml", "services: [\n")], Verdict::Error, &[]);
    assert_eq!(outcome.reason.as_deref(), Some("unreadable"));
    let template = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {{ .Values.a }}\n";
    let outcome = check(&[("k8s/pod.yaml", template)], Verdict::Error, &[]);
    assert_eq!(outcome.reason.as_deref(), Some("not-rendered"));
    // What was shown stays shown.
    check(&[("k8s/pod.yaml", template), ("s.service", "[Service]\n")], Verdict::Fail, &["no-restart s.service:1"]);
}

#[test]
fn a_base_and_its_release_say_it_once() {
    let text = shop(LIVE);
    let outcome = check(
        &[("k/base/a.yaml", &text), ("k/release.yaml", &text)],
        Verdict::Fail,
        &["no-readiness k/base/a.yaml:10"],
    );
    assert!(outcome.summary.ends_with("(also in 1 other file)"), "{}", outcome.summary);
}
