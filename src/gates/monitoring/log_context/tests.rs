//! Tests of what a line carries and of the verdict. Real loggers are in `tests/logging.rs`.

use super::judge::{Seen, Sent, judge};
use crate::domain::verdict::{Outcome, Severity};
use crate::gates::monitoring::logs::Lines;

const TRACE: &str = "00000000000000001234567890abcdef";

fn sent(signed: bool) -> Sent {
    Sent {
        trace: TRACE.into(),
        id: "hcr-1".into(),
        path: "/users/17".into(),
        mark: "hcv1-0".into(),
        template: Some("/users/{id}".into()),
        user: signed.then(|| Some("u-1".into())),
    }
}

fn said(signed: bool, lines: &[&str], expect: &str) -> Outcome {
    let lines = Lines { lines: lines.iter().map(|l| l.replace("TRACE", TRACE)).collect(), cut: false };
    let outcome = judge(&Seen::of(&[sent(signed)], &lines, "the log".into()));
    let noted = outcome.findings.iter().filter(|f| f.severity > Severity::Low);
    let rules: Vec<&str> = noted.map(|f| f.rule.as_str()).collect();
    let reason = outcome.reason.clone().map(|r| format!(" {r}")).unwrap_or_default();
    let got = format!("{}{reason}: {}", outcome.verdict.word(), rules.join(" "));
    assert_eq!(got.trim_end_matches([' ', ':']), expect, "{outcome:#?}");
    outcome
}

const GOOD: &str = r#"{"level":30,"trace_id":"TRACE","route":"/users/:id","method":"GET","status":200,"duration_ms":3,"userId":"u-1"}"#;

#[test]
fn each_verdict() {
    said(false, &[GOOD], "pass");
    said(true, &[GOOD], "pass");
    let without = |part: &str| GOOD.replace(part, "");
    let marked = r#"{"level":30,"url":"/users/17?hc=hcv1-0","method":"GET","status":200,"duration_ms":3}"#;
    said(false, &[marked], "fail: no-id raw-path");
    let own = r#"{"reqId":"7","route":"/users/:id","path":"/users/17?hc=hcv1-0","method":"GET","status":200,"duration_ms":3}"#;
    said(false, &[own], "warn: not-propagated");
    said(false, &[GOOD, GOOD, GOOD, GOOD, marked], "warn: some-without-id");
    said(false, &[&GOOD.replace("/users/:id", "/users/17")], "warn: raw-path");
    said(false, &[&without(r#","duration_ms":3"#)], "warn: no-fields");
    said(true, &[&without(r#","userId":"u-1""#)], "fail: no-user");
    said(true, &[&GOOD.replace("u-1", "ada@shop.example")], "fail: no-user email-as-user");
    let error = r#"{"level":50,"msg":"boom at hcv1-0"}"#;
    let many: Vec<&str> = std::iter::repeat_n(GOOD, 19).chain([error]).collect();
    said(false, &many, "fail: error-without-id");
    let foreign = r#"{"level":50,"reqId":"7","msg":"boom at hcv1-0"}"#;
    let many: Vec<&str> = std::iter::repeat_n(GOOD, 19).chain([foreign]).collect();
    said(false, &many, "fail: error-without-id");
    said(false, &["2026-11-22 10:00:00 INFO GET /users/17?hc=hcv1-0 200"], "fail: no-id no-fields");
}

#[test]
fn lines_of_others_are_nobodys() {
    said(false, &[], "error no-lines");
    said(false, &[r#"{"trace_id":"00000000000000001234567890abcdee"}"#, "hcv1-01", "hcr-11"], "error no-lines");
    let others = r#"{"trace_id":"00000000000000001234567890abcdee","msg":"not ours"}"#;
    said(false, &[GOOD, others, GOOD], "pass");
    let nobodys = r#"{"level":30,"msg":"loaded the user"}"#;
    said(false, &[GOOD, nobodys, GOOD], "warn: lines-without-id");
    said(false, &[nobodys, GOOD, nobodys], "pass");
    let nested =
        r#"{"trace":{"id":"TRACE"},"http":{"route":"/users/<int:id>","method":"GET","status_code":200},"elapsed":1}"#;
    said(false, &[nested], "pass");
    let logfmt = "trace_id=TRACE route=/users/{id} method=GET status=200 duration=3";
    said(false, &[logfmt], "pass");
}

#[test]
fn a_log_that_was_cut_short_proves_nothing() {
    let lines = Lines { lines: vec![GOOD.replace("TRACE", TRACE)], cut: true };
    assert_eq!(judge(&Seen::of(&[sent(false)], &lines, "the log".into())).reason.as_deref(), Some("too-much"));
}
