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

/// A rule that says all that a test may set.
const SITE: &str = r#"
groups:
- name: g
  rules:
  - {record: twice, expr: x * 2}
  - alert: A
    expr: x > 1
    labels: {site: '{{ $externalLabels.site }}'}
    annotations: {url: '{{ $externalURL }}', v: '{{ $value }}'}
"#;

/// What stands in `tests`, and whether promtool takes it.
const CASES: &[(&str, bool)] = &[
    (
        "external_labels: {site: muc}
  external_url: http://a/
  alert_rule_test:
  - {eval_time: 1m, alertname: A, exp_alerts: [{exp_labels: {site: muc}, exp_annotations: {url: 'http://a/', v: 2}}]}",
        true,
    ),
    (
        "external_labels: {site: muc}
  alert_rule_test:
  - {eval_time: 1m, alertname: A, exp_alerts: [{exp_labels: {site: ber}, exp_annotations: {url: '', v: 2}}]}",
        false,
    ),
    (
        "alert_rule_test: [{eval_time: 0, alertname: A, exp_alerts: }]\n  promql_expr_test: [{expr: y, exp_samples: }]",
        true,
    ),
    ("alert_rule_test: [{eval_time: 1m}]", false),
    ("promql_expr_test: [{expr: twice, exp_samples: [{labels: twice, value: 2}]}]", true),
    ("promql_expr_test: [{expr: x * 0, exp_samples: [{labels: '{}'}]}]", true),
    ("promql_expr_test: [{expr: x, exp_samples: [{labels: x, value: '1'}]}]", false),
    ("promql_expr_test: [{expr: x * NaN, exp_samples: [{value: .nan}]}]", false),
    ("promql_expr_test: [{expr: x * NaN, exp_samples: [{value: NaN}]}]", false),
    ("promql_expr_test: [{expr: x * Inf, exp_samples: [{value: .inf}]}]", true),
    ("promql_expr_test: [{expr: x * Inf, exp_samples: [{value: +Inf}]}]", false),
    ("promql_expr_test: [{expr: x * 1e3, exp_samples: [{value: 1e3}]}]", true),
    ("promql_expr_test: [{expr: 0.1 + 0.2, exp_samples: [{value: 0.3}]}]", false),
    ("promql_expr_test: [{expr: '\"a\"'}]", false),
    ("promql_expr_test: [{expr: 'sum('}]", false),
    ("promql_expr_test: [{expr: 'x[1m]'}]", false),
    ("promql_expr_test: [{expr: x, eval_time: 90}]", false),
    ("promql_expr_test: [{expr: y, eval_time: 1.5m}]", false),
    ("promql_expr_test: [{expr: y, eval_time: -1m}]", false),
    ("promql_expr_test: [{expr: y, eval_time: ''}]", false),
    ("promql_expr_test: [{expr: y, eval_time: 0s}, {expr: y, eval_time: 0}]", true),
    // Between two evaluations only what came before the first of them is seen.
    ("promql_expr_test: [{expr: x, eval_time: 90s, exp_samples: [{labels: x, value: 2}]}]", true),
    ("promql_expr_test: [{expr: fast, eval_time: 90s, exp_samples: [{labels: fast, value: 2}]}]", false),
    ("promql_expr_test: [{expr: 'x offset -1m', exp_samples: [{labels: x, value: 2}]}]", false),
    ("promql_expr_test: [{expr: 'count_over_time(x[90s:])', eval_time: 3m, exp_samples: [{value: 2}]}]", true),
    ("exp_samples: []", false),
    ("name: yes", true),
    ("name:\n  input_series:\n  alert_rule_test:\n  external_labels:", true),
];

/// Values of a series.
const VALUES: &[(&str, bool)] = &[
    ("  -1   +2x1 NaN Inf -Inf +Inf 1e3 .5 5. nAn inf", true),
    ("stale stale _ _x0 _x3 1x3 -2+4x3 1-2x4 stale+1x2 1.5e-3+1x2 1e3x2", true),
    ("1_000", false),
    ("0x1f", false),
    ("_x", false),
    ("-_", false),
    ("1 + 2x3", false),
    ("1-2", false),
    ("1--2x3", false),
    ("1x2x3", false),
    ("1x+3", false),
    ("1,2", false),
    ("stalex2", false),
    ("Infx2", false),
    ("{{schema:0}}", false),
    ("infinity", false),
    ("gone", false),
];

#[tokio::test]
async fn every_key_and_notation_is_taken_as_promtool_takes_it() {
    let series = "- interval: 1m\n  input_series: [{series: x, values: '1 2 3'}]\n";
    let mut cases: Vec<(String, bool)> = Vec::new();
    for (keys, ok) in CASES {
        let series = if keys.contains("input_series") { "- interval: 1m\n" } else { series };
        cases.push((format!("rule_files: [rules.yml]\ntests:\n{series}  {keys}\n"), *ok));
    }
    for (values, ok) in VALUES {
        cases.push((format!("tests:\n- interval: 1m\n  input_series: [{{series: x, values: '{values}'}}]\n"), *ok));
    }
    for (text, ok) in [
        ("", true),
        ("tests:", true),
        ("rule_files: ['none*.yml', none.yml]", true),
        ("rule_files: ['*/../r?l[a-z]s.yml', '[']", false),
        ("rule_files: [rules.yml]\ngroup_eval_order: [g, other]\nevaluation_interval: 0s", true),
        ("rule_files: [rules.yml]\ngroup_eval_order: [g, g]", false),
        ("rule_files: [tests.yml]\ntests: [{interval: 1m}]", false),
        ("wrong: 1", false),
        ("tests: [{interval: 1m, input_series: [{values: '1'}]}]", false),
        ("tests: [{interval: 1m, input_series: [{series: x}]}]", true),
        ("tests: [{interval: 1m, input_series: [{series: 'x > 1', values: 1}]}]", false),
        ("tests: [{interval: 1m, input_series: [{series: 'x{a=~\"b\"}', values: 1}]}]", false),
        // The later of two series counts; braces alone can name one.
        (
            "tests: [{interval: 1m, input_series: [{series: x, values: 1}, {series: '{__name__=\"x\"}', values: 2}],
  promql_expr_test: [{expr: x, exp_samples: [{labels: x, value: 2}]}]}]",
            true,
        ),
        (
            "rule_files: ['*.yml']\nevaluation_interval: 10s\ntests: [{interval: 10s, input_series: [{series: x, values: 1x50}],
  promql_expr_test: [{expr: 'count_over_time(x[55s:])', eval_time: 5m, exp_samples: [{value: 6}]}]}]",
            false, // The pattern finds the test itself.
        ),
        (
            "rule_files: ['r*.yml']\nevaluation_interval: 10s\ntests: [{interval: 10s, input_series: [{series: x, values: 1x50}],
  promql_expr_test: [{expr: 'count_over_time(x[55s:])', eval_time: 5m, exp_samples: [{value: 6}]}]}]",
            true,
        ),
    ] {
        cases.push((text.to_string(), ok));
    }
    let mut differing = Vec::new();
    for (text, expected) in cases {
        let (dir, path) = folder(&text);
        std::fs::write(dir.path().join("rules.yml"), SITE).unwrap();
        let ours = file(&path).await;
        let theirs = promtool(&path);
        if ours.as_ref().is_ok_and(Vec::is_empty) != expected || theirs.is_some_and(|ok| ok != expected) {
            differing.push(format!("expected {expected}, promtool says {theirs:?}, we say {ours:?}:\n{text}"));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

/// Keys that Debian's promtool does not know yet.
#[tokio::test]
async fn newer_keys_are_taken() {
    for (text, expected) in [
        ("fuzzy_compare: true\ntests: [{promql_expr_test: [{expr: 0.1 + 0.2, exp_samples: [{value: 0.3}]}]}]", true),
        (
            "fuzzy_compare: true\ntests: [{promql_expr_test: [{expr: '1', exp_samples: [{value: 1.000000000000001}]}]}]",
            false,
        ),
        (
            "tests: [{input_series: [{series: x, values: 1 2}], promql_expr_test: [{expr: x, eval_time: 1m, exp_samples: [{labels: x, value: 2}]}]}]",
            true,
        ),
        (
            "tests: [{start_timestamp: 1609459200, promql_expr_test: [{expr: time(), eval_time: 1m, exp_samples: [{value: 1609459260}]}]}]",
            true,
        ),
        (
            "tests: [{start_timestamp: '2021-01-01T00:00:00Z', input_series: [{series: x, values: 1 2}], promql_expr_test: [{expr: timestamp(x), eval_time: 1m, exp_samples: [{value: 1609459260}]}]}]",
            true,
        ),
        (
            "rule_files: [rules.yml]\ntests: [{start_timestamp: '2021-01-01T00:00:00Z', input_series: [{series: x, values: 1 2}], alert_rule_test: [{eval_time: 1m, alertname: A, exp_alerts: [{exp_annotations: {v: 2, url: ''}}]}]}]",
            true,
        ),
    ] {
        let (dir, path) = folder(text);
        std::fs::write(dir.path().join("rules.yml"), SITE).unwrap();
        let ours = file(&path).await.unwrap();
        assert_eq!(ours.is_empty(), expected, "{text}\n{ours:?}");
    }
    for (text, expected) in [
        ("tests: [{start_timestamp: soon}]", "neither seconds since 1970"),
        ("tests: [{promql_expr_test: [{expr: '1', exp_samples: [{histogram: '{{count:1}}'}]}]}]", "not supported"),
    ] {
        let (_dir, path) = folder(text);
        let told = file(&path).await.unwrap().join("\n");
        assert!(told.contains(expected), "{told}");
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
