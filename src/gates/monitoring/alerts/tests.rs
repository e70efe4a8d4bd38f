//! The engine against rules whose truth was written by hand, and against the real promtool.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::read::Recorded;
use super::truth::{RECORDS, RULES};
use super::world::{Case, HEALTHY};
use super::*;
use crate::domain::verdict::Verdict;
use crate::gates::monitoring::{alert_backlog, alert_cpu, alert_errors, alert_memory};
use crate::gates::testing;
use crate::gates::{Gate, facts::Facts};
use crate::promql;

fn rule(expr: &str, wait: &str) -> Rule {
    Rule {
        name: "Tried".into(),
        text: expr.into(),
        expr: promql::parse(expr).map_err(|e| e.to_string()),
        wait: Duration::from_secs_f64(promql::duration_seconds(wait).unwrap()),
        labels: BTreeMap::new(),
        file: "rules.yml".into(),
        line: 1,
        templated: false,
    }
}

fn records() -> BTreeMap<String, Vec<Recorded>> {
    let one = |(name, expr): &(&str, &str)| {
        let expr = promql::parse(expr).unwrap();
        (name.to_string(), vec![Recorded { name: name.to_string(), expr, labels: BTreeMap::new() }])
    };
    RECORDS.iter().map(one).collect()
}

#[tokio::test]
async fn rules_are_judged_as_a_person_would() {
    let (records, config) = (records(), Config::default());
    let mut wrong = Vec::new();
    for (family, expr, wait, truth) in RULES {
        let rule = rule(expr, wait);
        let subject = Subject::new(&rule, &records).unwrap_or_else(|| panic!("{expr}: {:?}", rule.expr));
        let mut said = None;
        if grade::serves(&subject, *family) {
            let grade = grade::grade(&subject, *family, &config).await;
            let reasons: Vec<&str> = grade.reasons.iter().map(|r| r.rule).collect();
            said = Some((grade.standing, reasons, grade.table));
        }
        let same = match (&said, truth) {
            (Some((standing, reasons, _)), Some((wanted, because))) => standing == wanted && reasons == because,
            (None, None) => true,
            _ => false,
        };
        if !same {
            wrong.push(format!("{family:?} {expr} for {wait}\n  wanted {truth:?}\n  got {said:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), RULES.len(), wrong.join("\n"));
}

/// Every rule's decisive case, run by the tool that Prometheus comes with: it fires in the very minute we say, and is
/// silent the minute before.
#[tokio::test]
async fn promtool_sees_the_same() {
    let (records, config) = (records(), Config::default());
    let dir = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for (nth, (family, expr, wait, _)) in RULES.iter().enumerate() {
        let rule = rule(expr, wait);
        let subject = Subject::new(&rule, &records).unwrap();
        if !grade::serves(&subject, *family) {
            continue;
        }
        let grade = grade::grade(&subject, *family, &config).await;
        // What already fires before the change has no minute to compare.
        let early = grade.reasons.iter().any(|r| matches!(r.rule, "fires-when-healthy" | "inverted" | "absolute"));
        let Some((rules, test)) = grade.test.filter(|_| !early) else { continue };
        let folder = dir.path().join(nth.to_string());
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("rules.yml"), rules).unwrap();
        std::fs::write(folder.join("test.yml"), test).unwrap();
        files.push(folder.join("test.yml"));
    }
    assert!(files.len() > 60, "{}", files.len());
    let output = std::process::Command::new("promtool").args(["test", "rules"]).args(&files).output();
    let output = output.expect("promtool is missing: run tests/setup.sh");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
}

const GOOD: &str = "groups:\n- name: shop\n  rules:\n  - alert: Errors\n    expr: sum(rate(http_requests_total{status=~\"5..\"}[5m])) / sum(rate(http_requests_total[5m])) > 0.05\n    for: 5m\n    labels: {severity: page}\n  - alert: Cpu\n    expr: 1 - avg by (instance) (rate(node_cpu_seconds_total{mode=\"idle\"}[5m])) > 0.8\n    for: 5m\n  - alert: Memory\n    expr: node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes < 0.1\n    for: 5m\n  - alert: Backlog\n    expr: deriv(rabbitmq_queue_messages_ready[10m]) > 0\n    for: 5m\n";

const GATES: [&dyn Gate; 4] =
    [&alert_errors::AlertErrors, &alert_cpu::AlertCpu, &alert_memory::AlertMemory, &alert_backlog::AlertBacklog];

async fn run(gate: &dyn Gate, files: &[(&str, &str)], prometheus: Option<&str>, queue: bool) -> Outcome {
    let (_repo_dir, repo) = testing::repo(files);
    let (_dir, ctx) = testing::context(|ctx| {
        ctx.repo = Some(repo);
        if queue {
            ctx.facts = Arc::new(testing::facts(&[("queue", "rabbitmq")]));
        }
        let mut config = crate::gates::Config::default();
        config.monitoring.alerts.prometheus = prometheus.map(|p| p.parse().unwrap());
        ctx.config = Arc::new(config);
    });
    gate.check(&ctx).await
}

#[tokio::test]
async fn good_rules_without_a_server_warn() {
    for (gate, place) in GATES.into_iter().zip([4, 8, 11, 14]) {
        let outcome = run(gate, &[("rules.yml", GOOD)], None, true).await;
        assert_eq!((outcome.verdict, outcome.tier), (Verdict::Warn, Some(Tier::E2)), "{outcome:#?}");
        assert!(
            outcome.summary.contains("nobody was asked whether it is loaded") && outcome.findings.is_empty(),
            "{outcome:#?}"
        );
        assert!(outcome.evidence[0].content["rules"][0]["at"] == format!("rules.yml:{place}"), "{outcome:#?}");
    }
}

#[tokio::test]
async fn a_library_runs_nowhere() {
    for gate in GATES {
        let library = run(gate, &[("pyproject.toml", "[project]\nname = \"x\"\n")], None, false).await;
        let told = (library.verdict, library.reason.as_deref());
        // Without a queue there is no backlog, deployed or not.
        assert!(matches!(told, (Verdict::Skip, Some("not-deployed" | "no-queue"))), "{library:#?}");
    }
}

#[tokio::test]
async fn nothing_and_nothing_readable() {
    for gate in GATES {
        let documents = run(gate, &[("README.md", "x")], None, true).await;
        assert_eq!((documents.verdict, documents.reason.as_deref()), (Verdict::Skip, Some("not-deployed")));
        let none = run(gate, &[("README.md", "x"), ("Dockerfile", "")], None, true).await;
        assert_eq!(none.verdict, Verdict::Fail);
        assert!(
            none.summary.contains("there are no alert rules") && none.hint.as_ref().unwrap().contains("for: 5m"),
            "{none:#?}"
        );
        let broken =
            run(gate, &[("rules.yml", "groups:\n- name: x\n  rules:\n  - alert: Y\n    expr: \"up\n")], None, true)
                .await;
        assert_eq!(
            (broken.verdict, broken.reason.as_deref()),
            (Verdict::Error, Some("unreadable-rules")),
            "{broken:#?}"
        );
        let jsonnet = "{\n  alert: 'X',\n  expr: 'up == 0',\n}";
        let outcome = run(gate, &[("mixin/alerts.libsonnet", &jsonnet.replace("  alert", "alert"))], None, true).await;
        assert_eq!(outcome.reason.as_deref(), Some("not-rendered"), "{outcome:#?}");
    }
    let (_dir, ctx) = testing::context(|_| {});
    assert_eq!(GATES[0].check(&ctx).await.reason.as_deref(), Some("no-repository"));
}

#[tokio::test]
async fn not_applicable() {
    let backlog = run(GATES[3], &[("package.json", "{}")], None, false).await;
    assert_eq!(backlog.reason.as_deref(), Some("no-queue"));
    let cpu = run(GATES[1], &[("serverless.yml", "service: x")], None, false).await;
    assert_eq!((cpu.verdict, cpu.reason.as_deref()), (Verdict::Skip, Some("serverless")), "{cpu:#?}");
    assert!(cpu.summary.contains("Serverless Framework"));
    // A rule on a queue is proof that there is one.
    assert_eq!(run(GATES[3], &[("rules.yml", GOOD)], None, false).await.verdict, Verdict::Warn);
}

#[tokio::test]
async fn alarms_of_others_are_declared_only() {
    let terraform =
        "resource \"aws_cloudwatch_metric_alarm\" \"errors\" {\n  metric_name = \"HTTPCode_Target_5XX_Count\"\n}\n";
    let outcome = run(GATES[0], &[("alarms.tf", terraform)], None, false).await;
    assert_eq!((outcome.verdict, outcome.tier), (Verdict::Warn, Some(Tier::E1)), "{outcome:#?}");
    assert_eq!(outcome.findings[0].line, Some(1));
}

#[tokio::test]
async fn an_alert_that_reaches_nobody_warns() {
    let to_nobody = "route: {receiver: 'null'}\nreceivers:\n- name: 'null'\n";
    let outcome = run(GATES[0], &[("rules.yml", GOOD), ("alertmanager.yml", to_nobody)], None, false).await;
    assert_eq!(outcome.findings[0].rule, "unrouted", "{outcome:#?}");
    assert!(
        outcome.summary.contains("severity=\"page\" falls through to receiver \"null\" in alertmanager.yml"),
        "{outcome:#?}"
    );
}

#[tokio::test]
async fn a_rule_may_be_allowed_where_it_stands() {
    let rule = |comment: &str| {
        format!(
            "groups:\n- name: shop\n  rules:\n  {comment}\n  - alert: Errors\n    expr: sum(rate(http_requests_total{{status=~\"5..\"}}[5m])) / sum(rate(http_requests_total[5m])) > 5\n"
        )
    };
    let check = async |comment: &str| {
        let outcome = run(GATES[0], &[("rules.yml", &rule(comment))], None, false).await;
        let suppressed = outcome.findings.iter().filter(|f| f.suppressed.is_some()).count();
        (outcome.verdict, suppressed, outcome.summary)
    };
    let (verdict, suppressed, said) = check("# plain").await;
    assert_eq!((verdict, suppressed), (Verdict::Fail, 0), "{said}");
    let (verdict, suppressed, said) =
        check("# hypercare:allow monitoring.alert_errors -- another system watches errors").await;
    assert_eq!((verdict, suppressed), (Verdict::Warn, 1), "{said}");
    assert!(said.contains("allowed where it stands"), "{said}");
    let (verdict, suppressed, said) = check("# hypercare:allow monitoring.alert_errors").await;
    assert_eq!((verdict, suppressed), (Verdict::Fail, 0), "{said}");
    let (verdict, ..) = check("# hypercare:allow monitoring.alert_cpu -- another gate").await;
    assert_eq!(verdict, Verdict::Fail);
}

#[tokio::test]
async fn the_best_rule_counts_and_the_others_are_notes() {
    let two = GOOD.replace("  - alert: Memory", "  - alert: Idle\n    expr: 1 - avg by (instance) (rate(node_cpu_seconds_total{mode=\"idle\"}[5m])) < 0.2\n  - alert: Memory");
    let outcome = run(GATES[1], &[("rules.yml", &two)], None, false).await;
    assert_eq!(outcome.verdict, Verdict::Warn);
    let notes: Vec<_> = outcome.findings.iter().map(|f| (f.rule.as_str(), f.severity, f.line)).collect();
    assert_eq!(notes, [("inverted", Severity::Info, Some(11))], "{outcome:#?}");
}

/// A stand-in for the parts of Prometheus' API that are asked for; the real server is asked in `tests/e2e`.
async fn server(has_series: bool, loaded: bool, firings: usize) -> String {
    use axum::extract::{Path, Query};
    let rules = json!([{"type": "alerting", "name": "Errors", "health": "ok", "duration": 300, "labels": {},
        "query": "sum(rate(http_requests_total{status=~\"5..\"}[5m])) / sum(rate(http_requests_total[5m])) > 0.05"}]);
    let answer = move |Path(path): Path<String>, Query(query): Query<BTreeMap<String, String>>| {
        let rules = rules.clone();
        async move {
            let data = match path.as_str() {
                "rules" if query["type"] == "alert" && loaded => json!({"groups": [{"rules": rules}]}),
                "rules" => json!({"groups": []}),
                "query" => json!({"result": if has_series { json!([{"value": [0, "1"]}]) } else { json!([]) }}),
                _ => {
                    let values: Vec<_> = (0..firings).map(|n| json!([n * 600, "1"])).collect();
                    json!({"result": [{"values": values}]})
                }
            };
            axum::Json(json!({"status": "success", "data": data}))
        }
    };
    let router = axum::Router::new().route("/api/v1/{path}", axum::routing::get(answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

#[tokio::test]
async fn a_server_proves_that_the_rule_lives() {
    let files = [("rules.yml", GOOD)];
    let errors = GATES[0];
    let alive = run(errors, &files, Some(&server(true, true, 2).await), false).await;
    assert_eq!((alive.verdict, alive.tier), (Verdict::Pass, Some(Tier::E3)), "{alive:#?}");
    let dead = run(errors, &files, Some(&server(false, true, 0).await), false).await;
    assert_eq!((dead.verdict, dead.findings[0].rule.as_str()), (Verdict::Fail, "dead-selector"), "{dead:#?}");
    // The place is that of the rule in the repository; a status that only errors have is not asked for.
    assert_eq!((dead.findings[0].line, dead.findings[0].message.contains("http_requests_total{}")), (Some(4), true));
    let noisy = run(errors, &files, Some(&server(true, true, 9).await), false).await;
    assert_eq!((noisy.verdict, noisy.findings[0].rule.as_str()), (Verdict::Warn, "noisy"), "{noisy:#?}");
    let unloaded = run(errors, &files, Some(&server(true, false, 0).await), false).await;
    assert_eq!((unloaded.verdict, unloaded.findings[0].rule.as_str()), (Verdict::Fail, "not-loaded"), "{unloaded:#?}");
    let gone = run(errors, &files, Some("http://127.0.0.1:9/"), false).await;
    assert_eq!((gone.verdict, gone.reason.as_deref()), (Verdict::Error, Some("unreachable")), "{gone:#?}");
}

#[test]
fn settings_are_checked() {
    let bad = Config { max_detection: Span::secs(5), exclude: vec!["a{b".into()], ..Config::default() };
    assert_eq!(bad.validate().len(), 2);
    assert!(Config::default().validate().is_empty());
    let _ = Facts::default();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// A pattern's sample is one that the pattern takes.
    #[test]
    fn samples_match_their_patterns(pattern in "([a-c5]|\\.|\\.\\+|\\[a-z\\]\\*|\\(x\\|y\\)|\\[0-9\\]\\{2\\}|\\\\d){1,6}") {
        let regex = crate::domain::metric::anchored(&pattern);
        if let (Ok(regex), Some(sample)) = (regex, world::sample(&pattern)) {
            prop_assert!(regex.is_match(&sample), "{} {}", pattern, sample);
        }
    }

    /// Whatever an expression selects, a world can be made or refused, and nothing panics.
    #[test]
    fn any_expression_is_survived(text in "(sum|rate|\\(|\\)|[a-z_]{1,12}_total|\\{status=~\"5..\"\\}|\\[5m\\]|>|0\\.5| and | / ){1,12}") {
        if let Ok(expr) = promql::parse(&text) {
            let (rule, none) = (Rule { expr: Ok(expr), ..rule("up", "5m") }, BTreeMap::new());
            let subject = Subject::new(&rule, &none).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let case = Case { errors: 1.0, ..HEALTHY };
            let _ = runtime.block_on(async { subject.world(&[case]).await.map(|w| w.rows.len()) });
        }
    }
}
