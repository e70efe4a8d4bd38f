//! Tests of the gate: each flow with every kind of proof that people have, on real repositories of git.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::domain::clock::{ManualClock, SystemClock, Timestamp};
use crate::domain::release::ReleaseId;
use crate::gates::testing;

const SHOP: &[(&str, &str)] = &[
    ("src/app.js", "app.post('/login', login)\napp.post('/checkout', checkout)\n"),
    ("test/cart.test.js", "test('adds up', () => {})\n"),
];

fn files<'f>(more: &[(&'f str, &'f str)]) -> Vec<(&'f str, &'f str)> {
    SHOP.iter().copied().chain(more.iter().copied()).collect()
}

fn junit(checkout: &str) -> String {
    format!(
        "<testsuite name='e2e'><testcase classname='shop' name='login works'/><testcase classname='shop' name='checkout pays'>{checkout}</testcase></testsuite>"
    )
}

/// Today, as git and the file system see it.
fn now() -> Timestamp {
    SystemClock::shared().now()
}

async fn run(root: &Path, at: Timestamp, change: impl FnOnce(&mut Config)) -> Outcome {
    let repo = testing::open(root);
    let commit = repo.git.as_ref().map(|git| git.run(&["rev-parse", "HEAD"]).unwrap().trim().to_string());
    let mut config = crate::gates::Config::default();
    change(&mut config.release.qa);
    let (_run, ctx) = testing::context(|ctx| {
        ctx.clock = ManualClock::at(at);
        ctx.repo = Some(repo);
        ctx.rid = ReleaseId { commit, version: Some("v1.4.0".into()), ..ReleaseId::default() };
        ctx.config = Arc::new(config);
    });
    Qa.check(&ctx).await
}

/// (files in git, files left by a build, verdict, rules)
async fn check(committed: &[(&str, &str)], left: &[(&str, &str)], expect: &str) -> Outcome {
    let (dir, _) = testing::git_repo(&files(committed));
    let head = testing::git(dir.path(), &["rev-parse", "HEAD"]);
    for (path, text) in left {
        testing::write(dir.path(), path, text.replace("HEAD", &head).as_bytes());
    }
    let outcome = run(dir.path(), now(), |_| {}).await;
    said(&outcome, expect);
    outcome
}

fn said(outcome: &Outcome, expect: &str) {
    let rules: Vec<&str> = outcome.findings.iter().map(|f| f.rule.as_str()).collect();
    let reason = outcome.reason.clone().map(|r| format!(" {r}")).unwrap_or_default();
    let got = format!("{}{reason}: {}", outcome.verdict.word(), rules.join(" "));
    assert_eq!(got.trim_end_matches([' ', ':']), expect, "{outcome:#?}");
}

const BOUND: &str = "{\"commit\": \"HEAD\"}";

#[tokio::test]
async fn green_and_bound_passes() {
    let report = junit("");
    let outcome = check(&[], &[("junit.xml", &report), ("junit.xml.hc.json", BOUND)], "pass").await;
    assert_eq!(outcome.summary, "2 flows proved for this release: login, checkout");
    assert_eq!((outcome.tier, outcome.covered), (Some(Tier::E2), Some(2)));
    let playwright = r#"{"config": {"configFile": "p", "metadata": {"gitCommit": {"hash": "HEAD"}}}, "suites": [{"title": "a.spec.ts", "specs": [
        {"title": "in", "tags": ["login"], "tests": [{"status": "expected"}]}, {"title": "pays @checkout", "tests": [{"status": "flaky"}]}]}]}"#;
    check(&[], &[("playwright-report/results.json", playwright)], "pass").await;
    let ctrf = r#"{"results": {"tool": {"name": "x"}, "summary": {"tests": 2, "failed": 0}, "environment": {"commit": "HEAD"},
        "tests": [{"name": "login", "status": "passed"}, {"name": "checkout", "status": "passed"}]}}"#;
    check(&[], &[("ctrf/ctrf-report.json", ctrf)], "pass").await;
}

#[tokio::test]
async fn a_red_flow_fails() {
    let report = junit("<failure message='no button'/>");
    let outcome = check(&[], &[("junit.xml", &report), ("junit.xml.hc.json", BOUND)], "fail: flow-failed").await;
    assert!(outcome.summary.contains("failed: checkout"), "{}", outcome.summary);
    assert!(
        outcome.hint.unwrap().contains("Run the suite with @checkout or: hypercare attest release.qa --flow checkout")
    );
    // Red is red, with or without a commit.
    check(&[], &[("junit.xml", &report)], "fail: weak-proof flow-failed").await;
}

#[tokio::test]
async fn weak_proof_warns() {
    let report = junit("");
    let outcome = check(&[], &[("junit.xml", &report)], "warn: weak-proof weak-proof").await;
    assert!(outcome.hint.unwrap().contains("REPORT.hc.json"), "{}", outcome.summary);
    let ticked = "# QA 1.4.0\nVersion: 1.4.0\n- [x] login\n- [x] checkout in the sandbox\n";
    let outcome = check(&[("QA.md", ticked)], &[], "warn: weak-proof weak-proof").await;
    assert!(outcome.summary.contains("unsigned"), "{}", outcome.summary);
}

#[tokio::test]
async fn an_older_report_is_no_proof_of_today() {
    let (dir, _) = testing::git_repo(&files(&[]));
    let old = testing::git(dir.path(), &["rev-parse", "HEAD"]);
    testing::write(dir.path(), "junit.xml", junit("").as_bytes());
    testing::write(dir.path(), "junit.xml.hc.json", format!("{{\"commit\": \"{old}\"}}").as_bytes());
    testing::write(dir.path(), "NOTES.md", b"a document");
    testing::write(dir.path(), ".gitignore", b"junit.xml*\n");
    testing::git(dir.path(), &["add", "NOTES.md"]);
    testing::git(dir.path(), &["commit", "-q", "-m", "a document"]);
    said(&run(dir.path(), now(), |_| {}).await, "pass");
    testing::write(dir.path(), "src/app.js", b"app.post('/login', l)\napp.post('/checkout', other)\n");
    testing::git(dir.path(), &["commit", "-q", "-am", "another product"]);
    let outcome = run(dir.path(), now(), |_| {}).await;
    said(&outcome, "warn: weak-proof weak-proof");
    assert!(outcome.summary.contains("src/app.js has changed since"), "{}", outcome.summary);
    let late = now().plus(std::time::Duration::from_secs(8 * 86_400));
    let outcome = run(dir.path(), late, |_| {}).await;
    assert!(outcome.summary.contains("older than 7d"), "{}", outcome.summary);
}

#[tokio::test]
async fn open_boxes_are_open() {
    let list = "- [x] login\n- [ ] checkout\n- [x] gift cards TODO\n";
    let outcome = check(&[("docs/qa-checklist.md", list)], &[], "fail: weak-proof flow-open item-open").await;
    assert!(outcome.summary.contains("open: checkout"), "{}", outcome.summary);
    let place = outcome.findings.iter().find(|f| f.rule == "item-open").map(|f| (f.file.clone(), f.line));
    assert_eq!(place, Some((Some("docs/qa-checklist.md".into()), Some(3))));
    // A list that nobody has begun is a template: it opens nothing, and proves nothing.
    let report = junit("");
    let template = ("QA.md", "- [ ] login\n- [ ] logout\n- [ ] gift cards\n");
    check(&[template], &[("junit.xml", &report), ("junit.xml.hc.json", BOUND)], "pass").await;
    check(&[("QA.md", "- [x] login ❌\n- [x] checkout\n")], &[], "fail: flow-failed no-ticket weak-proof").await;
    check(&[("QA.md", "- [x] login ❌ SHOP-3\n- [x] checkout\n")], &[], "fail: flow-failed weak-proof").await;
}

#[tokio::test]
async fn ticks_before_the_last_change_are_open() {
    let list = "Date: 2020-01-01\n- [x] login\n- [x] checkout\n";
    let outcome = check(&[("QA.md", list)], &[], "fail: flow-open flow-open").await;
    assert!(outcome.findings[0].message.contains("checked 2020-01-01, before the commit of"), "{outcome:#?}");
    let other = "Version: 1.3.0\n- [x] login\n- [x] checkout\n";
    let outcome = check(&[("QA.md", other)], &[], "fail: flow-open flow-open").await;
    assert!(outcome.findings[0].message.contains("checked on 1.3.0, the release is v1.4.0"), "{outcome:#?}");
}

#[tokio::test]
async fn exports_of_test_management_tools() {
    let row = |version: &str, result: &str| {
        format!(
            "Title,Status,Tested By,Tested On,Version\nLogin,Passed,Ann,2026-11-20,{version}\nCheckout,{result},Ann,2026-11-20,{version}\n"
        )
    };
    check(&[("qa-run.csv", &row("1.4.0", "Passed"))], &[], "pass").await;
    check(&[("qa-run.csv", &row("1.3.0", "Passed"))], &[], "fail: flow-open flow-open").await;
    check(&[("qa-run.csv", &row("1.4.0", "Failed"))], &[], "fail: flow-failed no-ticket").await;
    let unsigned = "Title,Status\nLogin,Passed\nCheckout,Passed\n";
    check(&[("testrail.csv", unsigned)], &[], "warn: weak-proof weak-proof").await;
    check(&[("testrail.csv", "Title,Status\nLogin,perhaps\n")], &[], "fail: flow-open flow-open").await;
}

#[tokio::test]
async fn nothing_at_all_fails_with_a_list() {
    let (dir, _) = testing::git_repo(&[SHOP[0]]);
    let outcome = run(dir.path(), now(), |_| {}).await;
    said(&outcome, "fail: flow-open flow-open");
    assert_eq!(outcome.summary, "no QA checklist and no tests; the product has: login, checkout");
    assert_eq!((outcome.findings[1].file.as_deref(), outcome.findings[1].line), (Some("src/app.js"), Some(2)));
}

#[tokio::test]
async fn what_cannot_be_told_is_an_error() {
    let tests = "test('logs in', () => {})\ntest('checkout pays', () => {})\n";
    let outcome = check(&[("e2e/shop.spec.js", tests)], &[], "error no-report: no-report no-report").await;
    assert!(outcome.summary.starts_with("login, checkout tested by the sources"), "{}", outcome.summary);
    check(
        &[("e2e/shop.spec.js", tests)],
        &[("junit.xml", "<testsuite><testcase name='a'>")],
        "error unreadable-report: no-report no-report",
    )
    .await;
    let expect = "error unreadable-report: no-report no-report";
    let empty = check(&[("e2e/shop.spec.js", tests)], &[("junit.xml", "<testsuites/>")], expect).await;
    assert!(empty.summary.contains("lists no test"));
    let (_run, ctx) = testing::context(|_| {});
    assert_eq!(Qa.check(&ctx).await.reason.as_deref(), Some("no-repository"));
}

#[tokio::test]
async fn a_library_has_no_flows() {
    let (dir, _) = testing::git_repo(&[("src/lib.rs", "pub fn login(user: &str) {}\n"), ("tests/a.rs", "")]);
    said(&run(dir.path(), now(), |_| {}).await, "skip no-flows");
    let (dir, _) = testing::git_repo(&[("README.md", "hello")]);
    said(&run(dir.path(), now(), |_| {}).await, "skip no-source");
    // Flows by configuration are wanted, whatever the sources show.
    let outcome = run(dir.path(), now(), |config| config.flows = vec!["import".into()]).await;
    said(&outcome, "fail: flow-open");
}

#[test]
fn problems_come_all_at_once() {
    let bad = Config {
        flows: vec!["auto".into(), "login".into()],
        lists: vec!["{".into()],
        max_age: Span::secs(0),
        ..Config::default()
    };
    assert!(bad.validate().len() >= 2, "{:?}", bad.validate());
    assert!(Config::default().validate().is_empty());
    assert_eq!(Config { flows: vec![], ..Config::default() }.validate().len(), 1);
}
