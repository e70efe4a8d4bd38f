//! What marked requests left in the log, to a verdict. Pure.

use std::time::Duration;

use serde_json::json;

use super::ABOUT;
use crate::domain::units::{count, number};
use crate::domain::verdict::{Finding, Outcome, Severity, Tier};
use crate::gates::monitoring::logs::canary::Sighting;
use crate::gates::monitoring::logs::source::Config;

#[derive(Debug)]
pub struct Seen {
    pub sighting: Sighting,
    /// Until the last line was there. `None`: not all came.
    pub lag: Option<Duration>,
    /// A body with a password and a card number was sent.
    pub writes: bool,
    /// One line, with the made-up values masked.
    pub sample: Option<String>,
    pub source: String,
    pub central: bool,
}

const SAMPLE_CHARS_MAX: usize = 500;

pub fn judge(seen: &Seen, config: &Config) -> Outcome {
    let (sighting, source) = (&seen.sighting, &seen.source);
    let (sent, arrived) = (sighting.arrived.len(), sighting.arrived.iter().filter(|a| **a).count());
    let sample: Option<String> = seen.sample.as_ref().map(|s| s.chars().take(SAMPLE_CHARS_MAX).collect());
    let evidence = json!({
        "source": source, "central": seen.central, "sent": sent, "arrived": arrived,
        "lag_s": seen.lag.map(|l| l.as_secs_f64()), "json": sighting.json, "logfmt": sighting.logfmt,
        "text": sighting.text, "without_zone": sighting.without_zone, "forged": sighting.forged.len(),
        "leaks": sighting.leaks, "body_sent": seen.writes, "sample": sample,
    });
    let done = |outcome: Outcome| outcome.covered(arrived as u64, sent as u64).evidence("logging", evidence.clone());
    let mut findings = Vec::new();
    let mut miss = |rule: &str, severity, text: String, fix: &str| {
        findings.push(Finding::new(rule, severity, text).fix(fix).identified_by(&[ABOUT.id, rule]));
    };
    let mut kinds: Vec<&str> = sighting.leaks.iter().map(|l| l.what).collect();
    kinds.sort_unstable();
    kinds.dedup();
    for what in kinds {
        let (name, fix) = match what {
            "bearer" => ("the bearer token of a request", "redact the header: redact: [\"req.headers.authorization\"]"),
            "password" => ("the password of a request", "redact the field: redact: [\"req.body.password\"]"),
            _ => ("the card number of a request", "redact the field, or do not log bodies at all"),
        };
        miss("leak", Severity::High, format!("{name} stands in clear in {source}"), fix);
    }
    if !sighting.forged.is_empty() {
        let text = format!("a line end in a request began a line of its own in {source}");
        miss("forged-line", Severity::High, text, "log as JSON, or escape CR and LF (CWE-117)");
    }
    // What was not read may hold the missing line, or the leaked password.
    if sighting.cut && sighting.leaks.is_empty() && sighting.forged.is_empty() {
        let text = format!("{source} is too busy: not all of it could be read");
        return done(Outcome::error("too-much", text).hint("name a command that filters, for example by container"));
    }
    if arrived == 0 {
        let waited = config.max_lag.get().as_secs() * 5;
        let text = format!("{sent} requests reached the target, but no line arrived in {source} within {waited} s");
        miss(
            "no-lines",
            Severity::High,
            text,
            "check the log transport; is the access log on for paths that do not exist?",
        );
    } else if arrived < sent {
        let text = format!("{arrived} of {sent} requests left a line in {source}");
        let fix = "log every request, or sample whole traces; flush before the process ends";
        miss("incomplete", Severity::Medium, text, fix);
    }
    if let Some(lag) = seen.lag.filter(|lag| *lag > config.max_lag.get()) {
        let (lag, limit) = (number(lag.as_secs_f64().round()), number(config.max_lag.get().as_secs_f64()));
        let text = format!("lines arrive in {source} after {lag} s (≤ {limit} s)");
        miss("lag", Severity::Medium, text, "shorten the shipper's batches");
    }
    let lines = sighting.json + sighting.logfmt + sighting.text;
    if sighting.text > 0 {
        let text = format!("{} of {lines} lines are plain text", sighting.text);
        miss("text-format", Severity::Medium, text, "log one JSON object a line");
    } else if sighting.without_zone > 0 {
        let text = format!("{} without a time that has a zone", count(sighting.without_zone, "line is"));
        miss("no-zone", Severity::Medium, text, "write times as RFC 3339 with Z, or as seconds since the epoch");
    }
    if arrived > 0 && !seen.central {
        let text = format!("{source} is one machine's file: with the machine its log is gone");
        miss(
            "local-only",
            Severity::Medium,
            text,
            "ship it to a central store and name that: command, or central = true",
        );
    }
    if !seen.writes {
        let text = "no password was sent: the target is not open to requests that write";
        miss("body-not-sent", Severity::Info, text.into(), "set active = true on its [gates] target");
    }
    findings.sort_by_key(|f| std::cmp::Reverse(f.severity));
    let noted = findings.iter().filter(|f| f.severity >= Severity::Medium).count();
    let more = if noted > 1 { format!(" and {} more", noted - 1) } else { String::new() };
    let outcome = match findings.first().filter(|f| f.severity >= Severity::Medium) {
        Some(first) => {
            let text = format!("{}{more}", first.message);
            let outcome = if first.severity >= Severity::High { Outcome::fail(text) } else { Outcome::warn(text) };
            outcome.hint(first.fix.clone())
        }
        None => {
            let lag = number((seen.lag.unwrap_or_default().as_secs_f64() * 10.0).round() / 10.0);
            let secrets = match seen.writes {
                true => "no secret among them",
                false => "no token among them; no password could be tried",
            };
            Outcome::pass(format!("{sent} of {sent} requests left their lines in {source} within {lag} s, {secrets}"))
        }
    };
    done(outcome.tier(Tier::E3).findings(findings))
}
