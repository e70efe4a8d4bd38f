//! A [`Message`] as people read it: plain text, subject, and the mail's HTML. Pure functions; the same facts in the same
//! order on every channel, cut from the bottom. Knows no channel's protocol.
//!
//! Texts come from outside: control characters are dropped, lengths are bounded, HTML is escaped by the template engine.

use chrono::TimeZone as _;
use serde::Serialize;

use crate::domain::alert::{AlertSeverity, AlertState};
use crate::domain::clock::Timestamp;
use crate::domain::notification::{AlertLine, Message, MessageKind};

/// Instances named one by one; the rest is a number.
pub const ALERTS_SHOWN: usize = 5;
/// Characters of one fact or summary: a 100 KB annotation must not fill a mail.
const FACT_CHARS_MAX: usize = 600;
/// Characters of the longer text.
const BODY_CHARS_MAX: usize = 12_000;
/// Facts shown.
const FACTS_MAX: usize = 24;

/// Without control characters (line ends and tabs stay), cut at a character to `max` with `…`.
pub fn tidy(text: &str, max: usize) -> String {
    let kept = |c: &char| {
        (!c.is_control() || matches!(c, '\n' | '\t')) && !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut out: String = text.chars().filter(kept).take(max + 1).collect();
    if out.chars().count() > max {
        // One for the surplus, one for the ellipsis.
        out.pop();
        out.pop();
        out.push('…');
    }
    out
}

/// [`tidy`] on one line: for headers, subjects and list items.
pub fn tidy_line(text: &str, max: usize) -> String {
    tidy(&text.replace(['\r', '\n', '\t'], " "), max).trim().to_string()
}

/// The mail's subject: stable within a thread, `Re:` in followers of a message that was sent. The moves of a launch
/// follow no first message: several may have been coalesced into the one that is read first.
pub fn subject(message: &Message) -> String {
    let title = tidy_line(&message.title, 150);
    match &message.thread {
        Some(thread) if !thread.root && message.kind != MessageKind::LaunchStateChanged => format!("Re: {title}"),
        _ => title,
    }
}

/// `02:14:30 Europe/Berlin, 01:14:30 UTC, 22 Nov 2026`: the reader's clock and everybody's.
pub fn clocks(at: Timestamp, zone: &str) -> String {
    let utc = at.utc();
    match zone.parse::<chrono_tz::Tz>() {
        Ok(tz) if tz != chrono_tz::UTC => {
            let local = tz.from_utc_datetime(&utc.naive_utc());
            format!("{} {zone}, {} UTC", local.format("%-d %b %Y %H:%M:%S"), utc.format("%-d %b %H:%M:%S"))
        }
        _ => format!("{} UTC", utc.format("%-d %b %Y %H:%M:%S")),
    }
}

/// What templates see: everything already bounded and cleaned, nothing left to compute.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct View {
    pub title: String,
    pub service: String,
    pub headline: String,
    /// First fact: what a phone shows below the subject.
    pub preheader: String,
    /// `fail`, `warn`, `pass`, `error` or `accent`: which colour the first line has beside its words.
    pub tone: &'static str,
    pub facts: Vec<FactView>,
    pub alerts: Vec<AlertView>,
    /// Alerts that are not shown one by one.
    pub more: usize,
    pub runbook: Option<String>,
    pub rollback: Option<String>,
    /// Paragraphs of the longer text.
    pub body: Vec<String>,
    /// Safe HTML of a report.
    pub html: Option<String>,
    pub times: String,
    pub reference: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FactView {
    pub label: String,
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlertView {
    pub state: &'static str,
    pub name: String,
    pub summary: String,
    /// Labels that tell it from the others: without name, service and severity.
    pub labels: String,
    pub since: String,
}

/// Prepares `message` for templates; `reference` is the outbox id, shown small so that people can name a message.
pub fn view(message: &Message, reference: &str) -> View {
    let facts: Vec<FactView> = message
        .facts
        .iter()
        .take(FACTS_MAX)
        .map(|f| FactView { label: tidy_line(&f.label, 60), text: tidy_line(&f.text, FACT_CHARS_MAX) })
        .collect();
    let headline = tidy_line(&message.headline, 300);
    let body = tidy(&message.body, BODY_CHARS_MAX);
    View {
        title: tidy_line(&message.title, 150),
        service: tidy_line(&message.service, 80),
        preheader: facts.first().map_or_else(|| headline.clone(), |f| format!("{}: {}", f.label, f.text)),
        headline,
        tone: tone(message),
        facts,
        alerts: message.alerts.iter().take(ALERTS_SHOWN).map(|a| alert(a, &message.timezone)).collect(),
        more: message.alerts.len().saturating_sub(ALERTS_SHOWN),
        runbook: message.runbook.as_deref().filter(|r| is_link(r)).map(|r| tidy_line(r, 500)),
        rollback: message.rollback.as_deref().map(|r| tidy_line(r, 500)),
        body: body.split("\n\n").map(|p| p.trim().to_string()).filter(|p| !p.is_empty()).collect(),
        html: message.html.clone(),
        times: clocks(message.created_at, &message.timezone),
        reference: tidy_line(reference, 80),
    }
}

/// Only what a mail program may open: never `javascript:`.
fn is_link(text: &str) -> bool {
    text.starts_with("https://") || text.starts_with("http://")
}

fn tone(message: &Message) -> &'static str {
    match (message.kind, message.severity) {
        (MessageKind::AlertResolved, _) => "pass",
        (MessageKind::AlertUnknown, _) => "error",
        (MessageKind::AlertFiring, AlertSeverity::Critical) => "fail",
        (MessageKind::AlertFiring, _) => "warn",
        _ => "accent",
    }
}

fn alert(line: &AlertLine, zone: &str) -> AlertView {
    let labels: Vec<String> = line
        .labels
        .iter()
        .filter(|(name, _)| !matches!(*name, "alertname" | "service" | "severity"))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    AlertView {
        state: match line.state {
            AlertState::Firing => "firing",
            AlertState::Resolved => "resolved",
            other => other.word(),
        },
        name: tidy_line(&line.name, 120),
        summary: tidy_line(&line.summary, FACT_CHARS_MAX),
        labels: tidy_line(&labels.join(" "), 200),
        since: clocks(line.resolved_at.unwrap_or(line.since), zone),
    }
}

/// The whole message as plain text, the most important line first. Complete: a reader without HTML misses nothing.
pub fn plain(view: &View) -> String {
    let mut out = vec![view.headline.clone(), String::new()];
    out.extend(view.facts.iter().map(|f| format!("{}: {}", f.label, f.text)));
    if let Some(rollback) = &view.rollback {
        out.push(format!("Roll back: {rollback}"));
    }
    for a in &view.alerts {
        let mut line = format!("- {} {}", a.state, a.name);
        for part in [&a.labels, &a.summary] {
            if !part.is_empty() {
                line.push_str(&format!(" · {part}"));
            }
        }
        out.push(format!("{line} · since {}", a.since));
    }
    if view.more > 0 {
        out.push(format!("- and {} more", view.more));
    }
    if let Some(runbook) = &view.runbook {
        out.push(format!("Runbook: {runbook}"));
    }
    if !view.body.is_empty() {
        out.push(String::new());
        out.push(view.body.join("\n\n"));
    }
    out.push(String::new());
    out.push(view.times.clone());
    out.push(format!("hypercare · {}", view.reference));
    out.join("\n") + "\n"
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::domain::metric::Labels;
    use crate::domain::notification::{Fact, Thread};

    /// A critical alert of two instances at 22 Nov 2026 01:14:30 UTC.
    pub(crate) fn example() -> Message {
        let at = Timestamp::parse("2026-11-22T01:14:30Z").unwrap();
        let line = |instance: &str| AlertLine {
            name: "Http5xxHigh".into(),
            state: AlertState::Firing,
            severity: AlertSeverity::Critical,
            labels: Labels::new([
                ("alertname", "Http5xxHigh"),
                ("service", "checkout"),
                ("severity", "critical"),
                ("instance", instance),
            ]),
            summary: "12.4 % of requests fail".into(),
            value: Some(0.124),
            since: Timestamp::parse("2026-11-22T01:12:00Z").unwrap(),
            resolved_at: None,
        };
        Message {
            kind: MessageKind::AlertFiring,
            service: "checkout".into(),
            severity: AlertSeverity::Critical,
            title: "[checkout] Http5xxHigh".into(),
            headline: "FIRING critical · checkout · Http5xxHigh · #214".into(),
            facts: vec![
                Fact::new("Measured", "5xx ratio 12.4 % (limit 5 %, baseline 0.3 %) over 5 m to 02:14:30"),
                Fact::new("Felt by", "310 failed requests a minute"),
                Fact::new("Nearest change", "3 min after deploy 1.4.2 (9f3c2e1) by ana"),
            ],
            alerts: vec![line("shop-1:9000"), line("shop-2:9000")],
            runbook: Some("https://wiki.shop.example/5xx".into()),
            rollback: Some("kubectl rollout undo deployment/checkout".into()),
            thread: Some(Thread { key: "0192-episode".into(), root: true }),
            created_at: at,
            timezone: "Europe/Berlin".into(),
            body: String::new(),
            html: None,
            attachments: Vec::new(),
            data: serde_json::json!({"rule": "pack/Http5xxHigh"}),
        }
    }

    #[test]
    fn says_the_same_facts_in_the_order_of_importance() {
        insta::assert_snapshot!(plain(&view(&example(), "0192-id")));
    }

    #[test]
    fn a_follower_answers_the_same_subject() {
        let mut message = example();
        assert_eq!(subject(&message), "[checkout] Http5xxHigh");
        message.thread = Some(Thread { key: "x".into(), root: false });
        assert_eq!(subject(&message), "Re: [checkout] Http5xxHigh");
    }

    #[test]
    fn hostile_text_is_cut_and_cleaned() {
        let mut message = example();
        message.facts[0].text = format!("a\r\nb\u{1b}[31m\u{202e}{}", "x".repeat(100_000));
        message.title = "a\r\nBcc: evil@example.org\0".into();
        message.runbook = Some("javascript:alert(1)".into());
        message.alerts = vec![message.alerts[0].clone(); 50];
        let view = view(&message, "id");
        assert!(view.facts[0].text.starts_with("a  b[31mx"), "{}", view.facts[0].text);
        assert_eq!(view.facts[0].text.chars().count(), FACT_CHARS_MAX);
        assert_eq!(subject(&message), "a  Bcc: evil@example.org");
        assert_eq!(view.runbook, None);
        assert_eq!((view.alerts.len(), view.more), (5, 45));
    }

    #[test]
    fn both_clocks_and_only_one_in_utc() {
        let at = Timestamp::parse("2026-11-22T23:30:00Z").unwrap();
        assert_eq!(clocks(at, "Europe/Berlin"), "23 Nov 2026 00:30:00 Europe/Berlin, 22 Nov 23:30:00 UTC");
        assert_eq!(clocks(at, "UTC"), "22 Nov 2026 23:30:00 UTC");
        assert_eq!(clocks(at, "Nowhere/Land"), "22 Nov 2026 23:30:00 UTC");
    }
}
