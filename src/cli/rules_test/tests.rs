//! Whole test files, with the real promtool as a second opinion.

use super::*;

const RULES: &str = r#"
groups:
- name: g
  rules:
  - record: job:up:sum
    expr: sum by (job) (up)
  - alert: Down
    expr: job:up:sum == 0
    for: 2m
    keep_firing_for: 1m
    labels: {severity: page}
    annotations: {summary: "{{ $labels.job }} has {{ $value }}"}
"#;

const TESTS: &str = r#"
rule_files: [rules*.yml]
evaluation_interval: 1m
tests:
- name: outage
  interval: 1m
  input_series:
  - {series: 'up{job="a",instance="1"}', values: '1 0x5 1x5'}
  - {series: 'up{job="b",instance="1"}', values: '1x3 stale _x3 5-1x2'}
  alert_rule_test:
  - {eval_time: 2m, alertname: Down}
  - eval_time: 3m30s
    alertname: Down
    exp_alerts:
    - exp_labels: {severity: page, job: a}
      exp_annotations: {summary: a has 0}
  - eval_time: 7m
    alertname: Down
    exp_alerts:
    - exp_labels: {severity: page, job: a}
      exp_annotations: {summary: a has 0}
  - {eval_time: 9m, alertname: Down}
  promql_expr_test:
  - expr: job:up:sum
    eval_time: 3m
    exp_samples:
    - {labels: 'job:up:sum{job="a"}', value: 0}
    - {labels: 'job:up:sum{job="b"}', value: 1}
  - expr: job:up:sum{job="b"}
    eval_time: 5m
  - expr: ALERTS
    eval_time: 1m
    exp_samples:
    - {labels: 'ALERTS{alertname="Down",alertstate="pending",job="a",severity="page"}', value: 1}
  - expr: count_over_time(up{job="b"}[20m])
    eval_time: 10m
    exp_samples: [{labels: '{job="b",instance="1"}', value: 7}]
"#;

fn folder(tests: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("rules.yml"), RULES).unwrap();
    let path = dir.path().join("tests.yml");
    std::fs::write(&path, tests).unwrap();
    (dir, path)
}

/// With the real promtool beside us, where there is one.
fn promtool(path: &Path) -> Option<bool> {
    let output = std::process::Command::new("promtool").args(["test", "rules"]).arg(path).output().ok()?;
    Some(output.status.success())
}

#[tokio::test]
async fn promtool_agrees() {
    let (_dir, path) = folder(TESTS);
    let failures = file(&path).await.unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    // Debian's promtool does not know `keep_firing_for`; the rest it must see as we do.
    for (from, to) in [("value: 1}", "value: 2}"), ("a has 0}", "a has 1}"), ("eval_time: 2m,", "eval_time: 4m,")] {
        let without = RULES.replace("    keep_firing_for: 1m\n", "");
        let good = TESTS.replace("eval_time: 7m", "eval_time: 5m");
        for (text, expected) in [(good.clone(), true), (good.replacen(from, to, 1), false)] {
            let (dir, path) = folder(&text);
            std::fs::write(dir.path().join("rules.yml"), &without).unwrap();
            assert_eq!(file(&path).await.unwrap().is_empty(), expected, "{from}");
            assert!(promtool(&path).is_none_or(|ok| ok == expected), "{from}: promtool differs");
        }
    }
}

#[tokio::test]
async fn differences_are_told() {
    let (_dir, path) = folder(&TESTS.replacen("value: 0}", "value: 3}", 1).replacen("has 0}", "has 9}", 1));
    let told = file(&path).await.unwrap().join("\n");
    assert!(told.contains("outage: alertname Down, time 3m30s") && told.contains("a has 9"), "{told}");
    assert!(told.contains("exp: job:up:sum{job=\"a\"} 3") && told.contains("got: job:up:sum{job=\"a\"} 0"), "{told}");
    let (_dir, path) = folder("tests: [{interval: 1x}]");
    assert!(file(&path).await.unwrap()[0].contains("is not a duration"));
}
