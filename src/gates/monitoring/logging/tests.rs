//! Tests of the verdict on made-up sightings. Real loggers are in `tests/logging.rs`.

use std::time::Duration;

use super::judge::{Seen, judge};
use crate::domain::verdict::{Outcome, Severity};
use crate::gates::monitoring::logs::canary::{Leak, Sighting};
use crate::gates::monitoring::logs::source::Config;

fn said(change: impl FnOnce(&mut Seen), expect: &str) -> Outcome {
    let sighting = Sighting { arrived: vec![true; 5], json: 5, ..Sighting::default() };
    let lag = Some(Duration::from_secs(2));
    let mut seen = Seen { sighting, lag, writes: true, sample: None, source: "the log".into(), central: true };
    change(&mut seen);
    let outcome = judge(&seen, &Config::default());
    let noted = outcome.findings.iter().filter(|f| f.severity > Severity::Low);
    let rules: Vec<&str> = noted.map(|f| f.rule.as_str()).collect();
    let reason = outcome.reason.clone().map(|r| format!(" {r}")).unwrap_or_default();
    let got = format!("{}{reason}: {}", outcome.verdict.word(), rules.join(" "));
    assert_eq!(got.trim_end_matches([' ', ':']), expect, "{outcome:#?}");
    outcome
}

#[test]
fn each_verdict() {
    said(|_| {}, "pass");
    let unasked = said(|s| s.writes = false, "pass");
    assert!(unasked.summary.contains("no password could be tried"), "{}", unasked.summary);
    said(|s| s.sighting.leaks = vec![Leak { what: "bearer", line: 0 }, Leak { what: "bearer", line: 1 }], "fail: leak");
    said(|s| s.sighting.forged = vec![3], "fail: forged-line");
    said(|s| (s.sighting.arrived, s.lag) = (vec![false; 5], None), "fail: no-lines");
    said(|s| (s.sighting.arrived[2], s.lag) = (false, None), "warn: incomplete");
    said(|s| s.lag = Some(Duration::from_secs(61)), "warn: lag");
    said(|s| s.sighting.text = 5, "warn: text-format");
    said(|s| s.sighting.without_zone = 1, "warn: no-zone");
    said(|s| s.central = false, "warn: local-only");
}

#[test]
fn a_log_that_was_cut_short_proves_nothing() {
    let cut = |s: &mut Seen| {
        (s.sighting.arrived, s.sighting.cut, s.lag) = (vec![false; 5], true, None);
    };
    said(cut, "error too-much");
    // The leak may stand in what was not read.
    said(|s| s.sighting.cut = true, "error too-much");
    let leaked = |s: &mut Seen| {
        cut(s);
        s.sighting.leaks = vec![Leak { what: "card", line: 0 }];
    };
    assert!(said(leaked, "fail: leak no-lines").summary.contains("card number"));
}

#[test]
fn settings_that_cannot_work_are_told() {
    let wrong = |toml: &str| {
        let config: Config = toml::from_str(toml).unwrap();
        config.validate().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(wrong("command = [\"journalctl\"]"), "");
    assert!(wrong("file = \"a.log\"\ncommand = [\"journalctl\"]").contains("one of them"));
    assert!(wrong("max_lag = \"1h\"").contains("between 1s and 5m"));
}
