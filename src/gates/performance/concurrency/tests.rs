//! Tests of the verdict on made-up runs, and of whose page an answer is. Real logins are in `tests/concurrency.rs`.

use std::collections::BTreeMap;

use super::judge::{Seen, judge};
use super::people::{self, Routes};
use super::*;
use crate::domain::verdict::{Outcome, Severity};
use crate::load::users::{MixUp, Report, Step, StepReport, Whose};

fn said(outcome: &Outcome, expect: &str) {
    let noted = outcome.findings.iter().filter(|f| f.severity > Severity::Low);
    let rules: Vec<&str> = noted.map(|f| f.rule.as_str()).collect();
    let reason = outcome.reason.clone().map(|r| format!(" {r}")).unwrap_or_default();
    let got = format!("{}{reason}: {}", outcome.verdict.word(), rules.join(" "));
    assert_eq!(got.trim_end_matches([' ', ':']), expect, "{outcome:#?}");
}

fn step(by_status: &[(u16, u64)]) -> StepReport {
    let by_status: BTreeMap<u16, u64> = by_status.iter().copied().collect();
    StepReport { requests: by_status.values().sum(), by_status, ..StepReport::default() }
}

/// A hundred users who met nothing bad.
fn seen(change: impl FnOnce(&mut Seen)) -> Outcome {
    let steps = [(Step::Login, step(&[(200, 100)])), (Step::Page, step(&[(200, 1000)]))];
    let report = Report {
        users: 100,
        arrived: 100,
        peak: 100,
        own: 1000,
        steps: steps.into_iter().collect(),
        ..Report::default()
    };
    let names = (1..=100).map(|n| format!("hc-user-{n}")).collect();
    let mut seen = Seen { report, pool: None, names, signs_in: true, routes: Routes::default() };
    change(&mut seen);
    judge(&seen, &Config::default())
}

fn step_of(seen: &mut Seen, which: Step) -> &mut StepReport {
    seen.report.steps.get_mut(&which).unwrap()
}

#[test]
fn each_verdict() {
    said(&seen(|_| {}), "pass");
    said(&seen(|s| s.report.mix_ups = vec![MixUp { user: 1, saw: 2, times: 1 }]), "fail: mix-up");
    said(&seen(|s| s.report.shared_sessions = 1), "fail: shared-session");
    said(&seen(|s| s.report.peak = 98), "fail: sessions");
    said(&seen(|s| *step_of(s, Step::Page) = step(&[(200, 980), (404, 20)])), "fail: errors");
    said(&seen(|s| *step_of(s, Step::Page) = step(&[(200, 999), (500, 1)])), "fail: server-error");
    said(&seen(|s| step_of(s, Step::Login).latency_ms.p95 = 2001.0), "warn: slow-login");
    said(&seen(|s| step_of(s, Step::Login).latency_ms.p95 = 5001.0), "fail: slow-login");
    said(&seen(|s| s.pool = Some(Connections { used: 81, most: 100 })), "warn: pool");
    said(&seen(|s| s.pool = Some(Connections { used: 100, most: 100 })), "fail: pool");
    said(&seen(|s| s.pool = Some(Connections { used: 80, most: 100 })), "pass");
    said(&seen(|s| (s.report.signed_out, s.report.outlived) = (100, 1)), "warn: logout");
}

#[test]
fn what_was_not_measured_is_never_a_pass() {
    said(&seen(|s| s.report.interrupted = true), "error interrupted");
    said(&seen(|s| s.report.steps.clear()), "error nothing-measured");
    said(&seen(|s| *step_of(s, Step::Login) = step(&[(200, 80), (429, 20)])), "error throttled");
    said(&seen(|s| s.report.own = 0), "error no-page");
    said(&seen(|s| s.report.lag_p99_ms = 251.0), "error generator-saturated");
    let refused = seen(|s| {
        (s.report.arrived, s.report.peak, s.report.own) = (0, 0, 0);
        *step_of(s, Step::Login) = step(&[(401, 100)]);
        s.report.steps.remove(&Step::Page);
    });
    said(&refused, "error no-users");
    let mixed = seen(|s| {
        s.report.interrupted = true;
        s.report.mix_ups = vec![MixUp { user: 0, saw: 2, times: 1 }];
    });
    said(&mixed, "fail: mix-up");
    assert!(!format!("{mixed:?}").contains("hc-user-"), "accounts are told by digest");
}

#[test]
fn an_answer_tells_whose_it_is() {
    let names: Vec<String> = ["hc-user-1", "hc-user-11", "ada@shop.example"].map(String::from).to_vec();
    let tell = people::tell(&names);
    for (user, body, expect) in [
        (0, "{\"user\": \"hc-user-1\"}", Whose::Own),
        (0, "{\"user\": \"hc-user-11\"}", Whose::Other(1)),
        (1, "<p>Hello, <b>hc-user-11</b>!</p>", Whose::Own),
        (0, "<p>Hello, hc-user-11.</p>", Whose::Other(1)),
        (2, "{\"data\": {\"mail\": \"Ada@shop.example\"}}", Whose::Own),
        (2, "Signed in as ada@shop.example.", Whose::Own),
        (0, "{\"balance\": 3}", Whose::Nobody),
        (0, "", Whose::Nobody),
    ] {
        assert_eq!(tell(user, body.as_bytes()), expect, "{user} {body}");
    }
}

#[test]
fn settings_that_cannot_work_are_told() {
    let wrong = |toml: &str| {
        let config: Config = toml::from_str(toml).unwrap();
        config.validate().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(wrong("pattern = \"u{n}\"\npassword = \"${env:P}\""), "");
    for (toml, expect) in [
        ("pattern = \"bob\"\npassword = \"${env:P}\"", "one account is not many users"),
        ("pattern = \"u{n}\"", "is needed beside"),
        ("password = \"${env:P}\"", "stands without"),
        ("file = \"../users.csv\"", "inside the repository"),
        ("users = 0", "between 1 and"),
        ("me = \"me\"", "begins with /"),
        ("every = \"2m\"", "longer than the hold"),
    ] {
        assert!(wrong(toml).contains(expect), "{toml}: {}", wrong(toml));
    }
}
