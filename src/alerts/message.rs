//! A group and its alerts as a message: the same facts in the same order on every channel, most important first, because
//! channels cut from the bottom. Pure; knows no channel.
//!
//! State and severity stand in words, never in colour or emoji alone. Texts come from outside and stay data.

use chrono_tz::Tz;

use super::group::News;
use super::measure::Measure;
use crate::domain::alert::{Ack, Alert, AlertSeverity, AlertState, NotifGroup, NotifyReason};
use crate::domain::clock::Timestamp;
use crate::domain::marker::Marker;
use crate::domain::notification::{AlertLine, Fact, Message, MessageKind, Thread};
use crate::domain::service::ServiceConfig;
use crate::domain::units;

/// Alerts listed in one message; the rest are counted.
const LINES_MAX: usize = 50;
/// Instances named in one line.
const INSTANCES_MAX: usize = 5;
/// A change longer ago than this explains nothing.
pub const MARKER_NEAR: std::time::Duration = std::time::Duration::from_secs(6 * 3600);
/// Longest text of one fact, in characters.
const FACT_CHARS_MAX: usize = 1000;

/// Everything a message may speak of.
pub struct Context<'a> {
    /// As it is after this flush.
    pub group: &'a NotifGroup,
    pub reason: NotifyReason,
    pub news: &'a News<'a>,
    pub service: Option<&'a ServiceConfig>,
    pub measure: &'a dyn Fn(&Alert) -> Measure,
    /// Nearest change before the first alert became active.
    pub marker: Option<&'a Marker>,
    /// Other alerts that fire on the same service.
    pub others: &'a [&'a Alert],
    pub ack: Option<&'a Ack>,
    /// Worst value of the first alert while it fired.
    pub peak: Option<f64>,
    /// Messages and people since the first alert became active, when the service has feedback sources.
    pub complaints: Option<(usize, usize)>,
    pub external_url: Option<&'a str>,
    /// First message of the episode.
    pub root: bool,
    pub now: Timestamp,
}

pub fn build(c: &Context<'_>) -> Message {
    let kind = kind(c.reason);
    let lead = lead(c.news);
    let severity = super::group::severity(c.news).max(match c.reason {
        NotifyReason::AllResolved => c.group.told_severity.unwrap_or_default(),
        _ => AlertSeverity::Info,
    });
    let name = name(c.group, lead);
    let service = &c.group.service;
    let zone = zone(c.service);
    let runbook = lead
        .and_then(|a| a.annotations.get("runbook_url").or_else(|| a.annotations.get("runbook")))
        .filter(|u| !u.is_empty())
        .cloned()
        .or_else(|| c.service.and_then(|s| s.runbook.as_ref()).map(ToString::to_string));
    Message {
        kind,
        service: service.clone(),
        severity,
        title: if service.is_empty() { name.clone() } else { format!("[{service}] {name}") },
        headline: headline(kind, severity, service, &name, c.group.number),
        facts: facts(c, kind, lead, zone),
        alerts: lines(c.news),
        runbook,
        rollback: c.service.and_then(|s| s.rollback.clone()).filter(|_| kind != MessageKind::AlertResolved),
        thread: Some(Thread { key: c.group.episode.clone(), root: c.root }),
        created_at: c.now,
        timezone: zone.name().to_string(),
        body: String::new(),
        html: None,
        attachments: Vec::new(),
        data: data(c),
    }
}

fn kind(reason: NotifyReason) -> MessageKind {
    match reason {
        NotifyReason::AllResolved => MessageKind::AlertResolved,
        NotifyReason::UnknownState => MessageKind::AlertUnknown,
        NotifyReason::First
        | NotifyReason::NewInGroup
        | NotifyReason::SomeResolved
        | NotifyReason::Repeat
        | NotifyReason::Escalation
        | NotifyReason::SeverityRaised
        | NotifyReason::StormDigest
        | NotifyReason::None => MessageKind::AlertFiring,
    }
}

/// The alert the message is about: what is new and worst, else what fires, else what is over.
fn lead<'a>(news: &News<'a>) -> Option<&'a Alert> {
    let worst = |alerts: &[&'a Alert]| {
        // The first of the worst, in the engine's order: the same alert in the same situation.
        alerts.iter().copied().rev().max_by_key(|a| a.severity())
    };
    worst(&news.new).or_else(|| worst(&news.live)).or_else(|| worst(&news.over)).or_else(|| worst(&news.flashes))
}

/// The alert's name when the group has one, else the group's labels: it must not change within a thread.
fn name(group: &NotifGroup, lead: Option<&Alert>) -> String {
    if let Some(name) = group.labels.get("alertname") {
        return name.to_string();
    }
    let rest: Vec<String> =
        group.labels.iter().filter(|(n, _)| *n != "service").map(|(n, v)| format!("{n}={v}")).collect();
    match rest.is_empty() {
        false => rest.join(" "),
        true if group.labels.is_empty() => lead.map_or("alert", Alert::name).to_string(),
        true => "alerts".to_string(),
    }
}

fn headline(kind: MessageKind, severity: AlertSeverity, service: &str, name: &str, number: i64) -> String {
    let state = match kind {
        MessageKind::AlertResolved => "RESOLVED",
        MessageKind::AlertUnknown => "UNKNOWN",
        _ => "FIRING",
    };
    let service = if service.is_empty() { String::new() } else { format!(" · {service}") };
    format!("{state} {}{service} · {name} · #{number}", severity.word())
}

fn facts(c: &Context<'_>, kind: MessageKind, lead: Option<&Alert>, zone: Tz) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut add = |label: &str, text: String| {
        if !text.is_empty() {
            facts.push(Fact::new(label, text.chars().take(FACT_CHARS_MAX).collect::<String>()));
        }
    };
    if let Some(alert) = lead {
        add("Measured", measured(c, alert, kind, zone));
        if kind == MessageKind::AlertResolved {
            add("Lasted", lasted(alert, c.now));
            add("Worst", c.peak.map(|p| (c.measure)(alert).value(p)).unwrap_or_default());
        }
        add("Summary", alert.annotations.get("summary").cloned().unwrap_or_default());
        add("Description", alert.annotations.get("description").cloned().unwrap_or_default());
    }
    add("Felt by users", felt(c));
    add("Change", change(c, lead));
    add("Where", instances(&c.news.live));
    add("Resolved", instances_named(&c.news.over, c.news.live.is_empty()));
    add("Also firing", others(c.others));
    if let Some(ack) = c.ack {
        let comment = if ack.comment.is_empty() { String::new() } else { format!(": {}", ack.comment) };
        add("Acknowledged", format!("by {} until {}{comment}", ack.by, clock(ack.until, zone)));
    } else if kind != MessageKind::AlertResolved {
        add("Acknowledge", format!("hypercare ack {} --for 60m --comment \"…\"", c.group.number));
    }
    if let Some(url) = c.external_url {
        add("Launch room", url.to_string());
    }
    add("Time", both_clocks(c.now, zone));
    facts
}

fn measured(c: &Context<'_>, alert: &Alert, kind: MessageKind, zone: Tz) -> String {
    let since = alert.active_at.map(|t| format!(", since {}", clock(t, zone))).unwrap_or_default();
    match kind {
        MessageKind::AlertUnknown => {
            let blind = alert.missing_since.map(|t| format!(" since {}", clock(t, zone))).unwrap_or_default();
            let last = alert
                .value
                .map(|v| format!("; last seen: {}", (c.measure)(alert).sentence(Some(v))))
                .unwrap_or_default();
            format!("we can no longer see this: no data{blind}{last}")
        }
        MessageKind::AlertResolved => {
            let at = alert.resolved_at.map(|t| format!(" at {}", clock(t, zone))).unwrap_or_default();
            format!("no longer true{at}; last: {}", (c.measure)(alert).sentence(alert.value))
        }
        _ => {
            let to = alert.data_as_of.map(|t| format!(" to {}", clock(t, zone))).unwrap_or_default();
            format!("{}{to}{since}", (c.measure)(alert).sentence(alert.value))
        }
    }
}

fn lasted(alert: &Alert, now: Timestamp) -> String {
    let Some(from) = alert.fired_at.or(alert.active_at) else { return String::new() };
    units::prose(alert.resolved_at.unwrap_or(now).since(from))
}

fn felt(c: &Context<'_>) -> String {
    match c.complaints {
        Some((0, _)) => "no message from users since it began".into(),
        Some((1, _)) => "1 message since it began".into(),
        Some((items, people)) => format!("{items} messages by {people} people since it began"),
        None => String::new(),
    }
}

/// `3 min after deploy 1.4.2 by ana`.
fn change(c: &Context<'_>, lead: Option<&Alert>) -> String {
    let (Some(marker), Some(active)) = (c.marker, lead.and_then(|a| a.active_at)) else { return String::new() };
    if marker.at > active {
        return String::new();
    }
    let by = if marker.actor.is_empty() { String::new() } else { format!(" by {}", marker.actor) };
    let after = active.since(marker.at);
    let after = if after.as_secs() == 0 { "right".into() } else { units::prose(after) };
    format!("{after} after {} {}{by}", marker.kind.word(), marker.text).replace("  ", " ")
}

fn instances(alerts: &[&Alert]) -> String {
    let mut names: Vec<&str> = alerts.iter().filter_map(|a| a.labels.get("instance")).collect();
    names.sort_unstable();
    names.dedup();
    shortened(&names)
}

/// What is over while other alerts of the group still fire.
fn instances_named(alerts: &[&Alert], all: bool) -> String {
    if all {
        return String::new();
    }
    let names: Vec<String> = alerts
        .iter()
        .map(|a| a.labels.get("instance").map_or_else(|| a.name().to_string(), |i| format!("{} on {i}", a.name())))
        .collect();
    shortened(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

fn others(alerts: &[&Alert]) -> String {
    let mut names: Vec<String> = alerts.iter().map(|a| format!("{} ({})", a.name(), a.severity().word())).collect();
    names.sort();
    names.dedup();
    shortened(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

fn shortened(names: &[&str]) -> String {
    let more = names.len().saturating_sub(INSTANCES_MAX);
    let shown = names[..names.len().min(INSTANCES_MAX)].join(", ");
    if more > 0 { format!("{shown}, +{more}") } else { shown }
}

fn lines(news: &News<'_>) -> Vec<AlertLine> {
    let all = news.live.iter().chain(&news.over).chain(&news.flashes);
    all.take(LINES_MAX)
        .map(|a| AlertLine {
            name: a.name().into(),
            state: a.state,
            severity: a.severity(),
            labels: a.labels.clone(),
            summary: a.annotations.get("summary").cloned().unwrap_or_default(),
            value: a.value,
            since: a.active_at.or(a.fired_at).unwrap_or(a.last_eval),
            resolved_at: a.resolved_at.filter(|_| a.state == AlertState::Resolved),
        })
        .collect()
}

/// What machines want and people need not read.
fn data(c: &Context<'_>) -> serde_json::Value {
    let alerts = |list: &[&Alert]| {
        list.iter().take(LINES_MAX).map(|a| serde_json::json!({
        "rule": a.rule, "fingerprint": a.fingerprint, "episode": a.episode, "state": a.state.word(), "expr": a.expr,
        "annotations": a.annotations,
    })).collect::<Vec<_>>()
    };
    serde_json::json!({
        "episode": c.group.episode,
        "number": c.group.number,
        "reason": c.reason.word(),
        "group": c.group.labels,
        "firing": alerts(&c.news.live),
        "resolved": alerts(&c.news.over).into_iter().chain(alerts(&c.news.flashes)).collect::<Vec<_>>(),
    })
}

/// The service's zone; UTC when it has none or one nobody knows.
fn zone(service: Option<&ServiceConfig>) -> Tz {
    service.and_then(|s| s.timezone.as_deref()).and_then(|z| z.parse().ok()).unwrap_or(Tz::UTC)
}

fn clock(at: Timestamp, zone: Tz) -> String {
    at.utc().with_timezone(&zone).format("%H:%M:%S").to_string()
}

/// `Sun 22 Nov 2026 13:00:05 CET (12:00:05 UTC)`.
fn both_clocks(at: Timestamp, zone: Tz) -> String {
    let local = at.utc().with_timezone(&zone).format("%a %d %b %Y %H:%M:%S %Z").to_string();
    if zone == Tz::UTC { local } else { format!("{local} ({} UTC)", clock(at, Tz::UTC)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::measure::Unit;
    use crate::domain::marker::MarkerKind;
    use crate::domain::metric::Labels;
    use std::collections::BTreeMap;
    use std::time::Duration;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_ms(Timestamp::parse("2026-11-22T02:00:00Z").unwrap().ms() + s * 1000)
    }

    fn alert(name: &str, state: AlertState, instance: &str) -> Alert {
        let labels = Labels::new([
            ("alertname", name),
            ("severity", "critical"),
            ("service", "checkout"),
            ("instance", instance),
        ]);
        Alert {
            fingerprint: format!("{:016x}", labels.fingerprint()),
            rule: format!("g/{name}"),
            service: "checkout".into(),
            labels,
            annotations: BTreeMap::from([("summary".into(), "12.4 % fail".into())]),
            state,
            value: Some(0.124),
            active_at: Some(at(720)),
            fired_at: Some(at(840)),
            resolved_at: (state == AlertState::Resolved).then(|| at(1440)),
            last_eval: at(870),
            data_as_of: Some(at(870)),
            last_true: None,
            missing_since: (state == AlertState::Unknown).then(|| at(860)),
            episode: None,
            expr: "x > 0.05".into(),
        }
    }

    fn group() -> NotifGroup {
        NotifGroup {
            labels: Labels::new([("alertname", "Http5xxHigh"), ("service", "checkout")]),
            told_severity: Some(AlertSeverity::Critical),
            seq: 1,
            ..NotifGroup::opened("0/x", "checkout", "e-1", 214, at(840))
        }
    }

    fn service() -> ServiceConfig {
        ServiceConfig {
            timezone: Some("Europe/Berlin".into()),
            rollback: Some("make rollback".into()),
            runbook: Some("https://wiki.example/checkout".parse().unwrap()),
            ..ServiceConfig::default()
        }
    }

    fn message(reason: NotifyReason, news: &News<'_>, others: &[&Alert]) -> Message {
        let (group, service) = (group(), service());
        let marker = Marker {
            service: "checkout".into(),
            kind: MarkerKind::Deploy,
            at: at(540),
            received_at: at(540),
            source: "cli".into(),
            actor: "ana".into(),
            text: "1.4.2".into(),
            dedup_key: "d".into(),
        };
        build(&Context {
            group: &group,
            reason,
            news,
            service: Some(&service),
            measure: &|_| Measure {
                what: "5xx ratio".into(),
                unit: Unit::Ratio,
                limit: Some(0.05),
                below: false,
                window: Some(Duration::from_secs(300)),
            },
            marker: Some(&marker),
            others,
            ack: None,
            peak: Some(0.4),
            complaints: Some((3, 2)),
            external_url: None,
            root: true,
            now: at(875),
        })
    }

    fn text(m: &Message) -> Vec<String> {
        m.facts.iter().map(|f| format!("{}: {}", f.label, f.text)).collect()
    }

    #[test]
    fn a_firing_message_says_what_over_what_since_when_and_after_what() {
        let (a, b) = (alert("Http5xxHigh", AlertState::Firing, "a:1"), alert("Http5xxHigh", AlertState::Firing, "b:1"));
        let other = alert("CpuHigh", AlertState::Firing, "a:1");
        let news = News { live: vec![&a, &b], new: vec![&a, &b], ..News::default() };
        let m = message(NotifyReason::First, &news, &[&other]);
        assert_eq!(m.headline, "FIRING critical · checkout · Http5xxHigh · #214");
        assert_eq!(m.title, "[checkout] Http5xxHigh");
        assert_eq!(
            text(&m),
            [
                "Measured: 5xx ratio 12.4 % (limit 5 %) over 5 min to 03:14:30, since 03:12:00",
                "Summary: 12.4 % fail",
                "Felt by users: 3 messages by 2 people since it began",
                "Change: 3 min after deploy 1.4.2 by ana",
                "Where: a:1, b:1",
                "Also firing: CpuHigh (critical)",
                "Acknowledge: hypercare ack 214 --for 60m --comment \"…\"",
                "Time: Sun 22 Nov 2026 03:14:35 CET (02:14:35 UTC)",
            ]
        );
        assert_eq!(
            (m.rollback.as_deref(), m.runbook.as_deref()),
            (Some("make rollback"), Some("https://wiki.example/checkout"))
        );
    }

    #[test]
    fn a_resolve_adds_duration_and_worst_value_in_the_same_thread() {
        let over = alert("Http5xxHigh", AlertState::Resolved, "a:1");
        let m = message(NotifyReason::AllResolved, &News { over: vec![&over], ..News::default() }, &[]);
        assert_eq!((m.kind, m.severity), (MessageKind::AlertResolved, AlertSeverity::Critical));
        assert_eq!(m.title, "[checkout] Http5xxHigh");
        let facts = text(&m);
        assert!(
            facts.contains(&"Lasted: 10 min".to_string()) && facts.contains(&"Worst: 40 %".to_string()),
            "{facts:?}"
        );
        assert_eq!(m.rollback, None);
    }

    #[test]
    fn unknown_says_what_cannot_be_seen_and_since_when() {
        let blind = alert("Http5xxHigh", AlertState::Unknown, "a:1");
        let m = message(
            NotifyReason::UnknownState,
            &News { live: vec![&blind], new: vec![&blind], ..News::default() },
            &[],
        );
        assert!(m.headline.starts_with("UNKNOWN critical"));
        assert!(
            m.facts[0].text.starts_with("we can no longer see this: no data since 03:14:20; last seen"),
            "{}",
            m.facts[0].text
        );
    }

    #[test]
    fn many_instances_are_counted() {
        let alerts: Vec<Alert> = (0..8).map(|i| alert("A", AlertState::Firing, &format!("i{i}"))).collect();
        let live: Vec<&Alert> = alerts.iter().collect();
        let m = message(NotifyReason::First, &News { new: live.clone(), live, ..News::default() }, &[]);
        assert!(text(&m).contains(&"Where: i0, i1, i2, i3, i4, +3".to_string()));
    }
}
