//! The way from rule to person, to a verdict. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use url::Url;

use super::ABOUT;
use super::alertmanager::{Alertmanager, Counters, Labels};
use super::canary::{ANSWER_MAX, Canary};
use crate::domain::clock::Timestamp;
use crate::domain::units::{count, prose};
use crate::domain::verdict::{Finding, Outcome, Severity, Tier};
use crate::gates::monitoring::alerts::route;
use crate::net::redact_url;

/// Everything the verdict rests on.
#[derive(Debug, Default)]
pub struct Seen {
    /// The Alertmanager that was asked.
    pub place: String,
    /// Those that Prometheus sends to; `None`: no Prometheus was named.
    pub active: Option<Vec<Url>>,
    pub alerts: BTreeMap<String, Labels>,
    pub labels: Labels,
    pub ways: Vec<Way>,
    pub silence: Option<String>,
    pub rise: Option<(Counters, Duration)>,
}

/// Where one alert goes.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Way {
    pub alert: String,
    pub receivers: Vec<String>,
    /// None of them reaches anybody.
    pub nowhere: bool,
    /// The always-firing alert that inhibits it.
    pub muted_by: Option<&'static str>,
}

/// The canary's way first, then those of the urgent alerts.
pub fn ways(alertmanager: &Alertmanager, canary: &Labels, alerts: &BTreeMap<String, Labels>) -> Vec<Way> {
    let config = &alertmanager.config;
    let way = |labels: &Labels| {
        let receivers = route::receivers(config, labels);
        Way {
            alert: labels.get("alertname").cloned().unwrap_or_default(),
            nowhere: receivers.iter().all(|name| route::is_null(config, name) != Some(false)),
            muted_by: route::muted_by(config, labels),
            receivers,
        }
    };
    std::iter::once(canary).chain(alerts.values()).map(way).collect()
}

fn done(seen: &Seen, outcome: Outcome) -> Outcome {
    let active: Option<Vec<String>> = seen.active.as_ref().map(|all| all.iter().map(redact_url).collect());
    let rise = seen.rise.as_ref().map(|(rise, after)| json!({"after_s": after.as_secs(), "rise": rise}));
    outcome.evidence(
        "alert_delivery",
        json!({"alertmanager": seen.place, "prometheus_sends_to": active, "labels": seen.labels, "ways": seen.ways,
               "silence": seen.silence, "notifications": rise}),
    )
}

fn fail(seen: &Seen, findings: Vec<Finding>) -> Outcome {
    let more = if findings.len() > 1 { format!(" and {} more", findings.len() - 1) } else { String::new() };
    let outcome = Outcome::fail(format!("{}{more}", findings[0].message)).hint(findings[0].fix.clone());
    done(seen, outcome.tier(Tier::E3).findings(findings))
}

fn finding(rule: &str, about: &str, message: String, fix: impl Into<String>) -> Finding {
    Finding::new(rule, Severity::High, message).fix(fix).identified_by(&[ABOUT.id, rule, about])
}

/// No Alertmanager was named, and none is known.
pub fn nowhere(seen: &Seen) -> Outcome {
    if seen.active.is_some() {
        let text = "Prometheus sends its alerts to no Alertmanager".to_string();
        let fix = "name one in prometheus.yml: alerting: alertmanagers:";
        return fail(seen, vec![finding("no-alertmanager", "", text, fix)]);
    }
    done(seen, Outcome::error("no-alertmanager", "no Alertmanager to ask"))
        .hint("[gates.monitoring.alert_delivery] alertmanager = URL, or prometheus in [gates.monitoring.alerts]")
}

/// What keeps alerts from people, before any is sent.
pub fn blocked(seen: &Seen) -> Option<Outcome> {
    let mut findings = Vec::new();
    for way in &seen.ways {
        let severity = seen.alerts.get(&way.alert).unwrap_or(&seen.labels).get("severity");
        let labels = severity.map_or_else(|| "its labels".to_string(), |s| format!("severity=\"{s}\""));
        if way.nowhere {
            let names = way.receivers.join(", ");
            let text = format!("{}: {labels} falls through to receiver \"{names}\", which reaches nobody", way.alert);
            let fix = format!("add a route for {labels} to a receiver with an integration in alertmanager.yml");
            findings.push(finding("null-route", &way.alert, text, fix));
        } else if let Some(by) = way.muted_by {
            let text = format!("{}: an inhibition rule keeps it down as long as {by} fires", way.alert);
            findings.push(finding("inhibited", &way.alert, text, "narrow the rule's target_matchers"));
        }
    }
    if let Some(silence) = &seen.silence {
        let text = format!("a silence keeps such alerts down: {silence}");
        findings.push(finding("silenced", "", text, "expire the silence: amtool silence expire ID"));
    }
    if findings.is_empty() { None } else { Some(fail(seen, findings)) }
}

pub fn not_allowed(seen: &Seen) -> Outcome {
    let to = seen.ways.first().map(|w| w.receivers.join(", ")).unwrap_or_default();
    let text = format!("alerts lead to {to}, but no canary may be sent, so nobody knows whether they arrive");
    done(seen, Outcome::error("canary-not-allowed", text))
        .hint("[gates.monitoring.alert_delivery] canary = true: it says TEST, and pages whoever the labels page")
}

pub fn acknowledged(seen: &Seen, canary: &Canary) -> Outcome {
    let Some(answer) = &canary.answer else { return not_allowed(seen) };
    let after = prose(answer.at.since(canary.posted));
    let text = format!("{} had the canary and gave its code back {after} after it was sent", answer.by);
    let evidence = json!({"posted": canary.posted, "answered": answer.at, "by": answer.by, "run": canary.run});
    let pass = Outcome::pass(text).tier(Tier::E3).evidence("canary", evidence);
    let mut outcome = done(seen, pass.covered(seen.ways.len() as u64, seen.ways.len() as u64));
    if seen.active.is_none() {
        // The half of the way before Alertmanager was not looked at.
        outcome.verdict = crate::domain::verdict::Verdict::Warn;
        outcome.summary += "; whether Prometheus sends to this Alertmanager is not known";
        outcome = outcome.hint("prometheus = URL in [gates.monitoring.alerts]");
    }
    outcome
}

fn give_back(canary: &Canary, now: Timestamp) -> String {
    let left = ANSWER_MAX.saturating_sub(now.since(canary.posted));
    format!("whoever got it, within {}: hypercare attest {} --code CODE, then check again", prose(left), ABOUT.id)
}

pub fn awaited(seen: &Seen, canary: &Canary, now: Timestamp) -> Outcome {
    let text =
        format!("the canary went out {} ago, and its code has not come back yet", prose(now.since(canary.posted)));
    done(seen, Outcome::warn(text).tier(Tier::E3).findings(vec![open(canary)]).hint(give_back(canary, now)))
}

fn open(canary: &Canary) -> Finding {
    let text = format!("nobody has given back the code of the canary of {}", canary.posted.rfc3339());
    Finding::new("not-acknowledged", Severity::Medium, text)
        .fix(format!("hypercare attest {} --code CODE", ABOUT.id))
        .identified_by(&[ABOUT.id, "not-acknowledged"])
}

/// The canary is on its way.
pub fn posted(seen: &Seen, canary: &Canary) -> Outcome {
    let Some((rise, after)) = &seen.rise else { return awaited(seen, canary, canary.posted) };
    let names: Vec<&str> = rise.by_integration.keys().map(String::as_str).collect();
    if rise.failed > 0 {
        let text = format!("{} failed: {}", count(rise.failed as usize, "notification"), names.join(", "));
        let fix = "see Alertmanager's log for the reason, mend the receiver's address or token";
        return fail(seen, vec![finding("failing-integration", &names.join(","), text, fix)]);
    }
    if rise.sent == 0 {
        let text = format!("no notification left Alertmanager within {} s", after.as_secs());
        let fix = "see group_wait and Alertmanager's log; max_wait must be longer than group_wait";
        return fail(seen, vec![finding("not-delivered", "", text, fix)]);
    }
    let text = format!(
        "a TEST alert left by {} after {} s; its code has not come back yet",
        names.join(", "),
        after.as_secs()
    );
    done(seen, Outcome::warn(text).tier(Tier::E3).findings(vec![open(canary)]).hint(give_back(canary, canary.posted)))
}
