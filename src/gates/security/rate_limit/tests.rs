//! Tests of the verdict on made-up bursts. Real limiters are in `tests/rate_limit.rs`.

use super::announced::Announced;
use super::burst::{Back, Burst, Kind, Route, Shot, is_limited};
use super::judge::{judge, stopped};
use super::*;
use crate::domain::verdict::{Severity, Verdict};

fn shot(status: u16, retry: Option<u64>) -> Shot {
    Shot { status, announced: Announced { retry_s: retry, ..Announced::default() }, took_ms: 2 }
}

fn said(change: impl FnOnce(&mut Burst), expect: &str) {
    let mut burst = Burst {
        shots: vec![shot(200, None), shot(429, Some(5))],
        limited_at: Some(2),
        back: Back::After { seconds: 5 },
        ..Burst::default()
    };
    change(&mut burst);
    let route = Route { kind: Kind::Public, method: "GET", path: "/teas".into(), body: None };
    let outcome = judge(&[(route, burst)], false);
    let noted = outcome.findings.iter().filter(|f| f.severity > Severity::Low);
    let rules: Vec<&str> = noted.map(|f| f.rule.as_str()).collect();
    let got = format!("{}: {}", outcome.reason.as_deref().unwrap_or(outcome.verdict.word()), rules.join(" "));
    assert_eq!(got.trim_end_matches([' ', ':']), expect, "{outcome:#?}");
}

#[test]
fn each_verdict() {
    said(|_| {}, "pass");
    said(|b| (b.limited_at, b.counted) = (None, true), "pass");
    said(|b| b.back = Back::Later { seconds: 900 }, "pass");
    said(|b| b.limited_at = None, "fail: unlimited");
    said(|b| b.bypassed = vec!["x-forwarded-for"], "fail: bypass");
    said(|b| b.shots[1] = shot(429, None), "warn: no-retry-after");
    said(|b| b.shots[1] = shot(503, None), "warn: status-503 no-retry-after");
    said(|b| b.jumps = 3, "warn: per-instance");
    said(|b| b.back = Back::Never, "warn: no-recovery");
    said(|b| b.shots[1] = shot(403, Some(5)), "warn: status-403");
    said(|b| (b.limited_at, b.held_back) = (None, true), "warn: held-back");
    said(|b| b.limited_at = Some(1), "always-limited");
}

#[test]
fn what_was_shown_stays_shown() {
    let route = || Route { kind: Kind::Login, method: "POST", path: "/login".into(), body: None };
    let open = Burst { shots: vec![shot(401, None); 30], ..Burst::default() };
    let shut = Burst { shots: vec![shot(404, None); 30], ..Burst::default() };
    let lost = judge(&[(route(), shut)], false);
    assert_eq!((lost.verdict, lost.reason.as_deref()), (Verdict::Error, Some("no-login")));
    let cut = stopped(&[(route(), open.clone())], Outcome::error("unreachable", "gone"));
    assert_eq!((cut.verdict, cut.findings[0].rule.as_str()), (Verdict::Error, "login-unlimited"));
    let exempt = judge(&[(route(), open)], true);
    assert_eq!((exempt.verdict, exempt.reason.as_deref()), (Verdict::Error, Some("loopback-exempt")));
}

#[test]
fn a_503_is_a_limit_only_after_other_answers() {
    assert!(is_limited(&shot(429, None), None) && is_limited(&shot(503, Some(1)), None));
    assert!(is_limited(&shot(503, None), Some(&shot(200, None))));
    assert!(!is_limited(&shot(503, None), Some(&shot(503, None))) && !is_limited(&shot(503, None), None));
    assert!(is_limited(&shot(423, None), Some(&shot(401, None))));
    assert!(!is_limited(&shot(403, None), Some(&shot(403, None))) && !is_limited(&shot(403, None), None));
}

#[test]
fn settings_that_cannot_work_are_told() {
    let wrong = |toml: &str| {
        let config: Config = toml::from_str(toml).unwrap();
        config.validate().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(wrong("burst = 300\nroutes = [\"/teas\"]"), "");
    for (toml, expect) in [
        ("burst = 0", "between 1 and"),
        ("rps = 1000", "between 1 and 50"),
        ("max_wait = \"1h\"", "not be longer"),
        ("routes = [\"teas\"]", "does not start with /"),
    ] {
        assert!(wrong(toml).contains(expect), "{toml}: {}", wrong(toml));
    }
}
