//! What happened, in five to ten lines, written from events.

use std::time::Duration;

use super::feedback::short;
use super::frame::Frame;
use super::model::{Feedback, Happening, Incidents};
use crate::chart::Unit;
use crate::domain::alert::AlertSeverity;
use crate::domain::clock::Timestamp;
use crate::domain::launch::LaunchState;
use crate::domain::marker::MarkerKind;
use crate::domain::units;

const LINES_MAX: usize = 10;
/// The daemon was away this long before it is worth a line.
const AWAY: Duration = Duration::from_secs(60);

struct Line {
    at: Timestamp,
    /// 0 stays, higher numbers go first when there are too many.
    weight: u8,
    tone: &'static str,
    text: String,
}

pub fn lines(frame: &Frame, incidents: &Incidents, _feedback: &Feedback) -> Vec<Happening> {
    let g = frame.g;
    let mut lines: Vec<Line> = Vec::new();
    let mut say = |at: Timestamp, weight: u8, tone: &'static str, text: String| {
        if at >= g.live_at && at <= g.end {
            lines.push(Line { at, weight, tone, text });
        }
    };
    let version = g.launch.version.as_deref().map(|v| format!(" {v}")).unwrap_or_default();
    let forced = g.events.iter().any(|e| e.kind == "force");
    let by = if forced { ", forced past the gates" } else { "" };
    say(g.live_at, 0, if forced { "warn" } else { "pass" }, format!("{}{version} went live{by}.", g.launch.service));
    for e in &g.events {
        match (e.kind.as_str(), e.to) {
            ("move", Some(LaunchState::RolledBack)) => {
                let why = if e.text.is_empty() { String::new() } else { format!(": {}", e.text) };
                say(e.at, 0, "fail", format!("Rolled back{why}."));
            }
            ("move", Some(LaunchState::Aborted)) => say(e.at, 0, "fail", format!("Aborted: {}.", e.text)),
            ("stage", _) => say(e.at, 2, "skip", format!("Stage {}.", e.text)),
            ("extend", _) => say(e.at, 2, "skip", format!("Window extended: {}.", e.text)),
            _ => {}
        }
    }
    for m in &g.markers {
        // Go-live leaves a deploy marker of its own.
        if m.kind == MarkerKind::Deploy && m.at == g.live_at || m.kind == MarkerKind::Incident {
            continue;
        }
        let text = if m.text.is_empty() { m.kind.word().to_string() } else { format!("{}: {}", m.kind.word(), m.text) };
        say(m.at, 3, "skip", format!("{}.", capital(&text)));
    }
    let mut covered: Vec<&str> = Vec::new();
    for i in &incidents.rows {
        let failed = i
            .failed_requests
            .value
            .filter(|v| *v >= 1.0)
            .map(|_| format!(", {} requests failed", i.failed_requests.text));
        let end = match i.to {
            Some(_) => format!("{} lasted {}", i.severity, i.duration),
            None => format!("{}, not over", i.severity),
        };
        say(i.from.at, 0, i.tone, format!("“{}”: {end}{}.", i.title, failed.unwrap_or_default()));
        covered.extend(i.alerts.iter().map(String::as_str));
        if let Some(to) = &i.to {
            say(to.at, 2, "pass", format!("“{}” is over.", i.title));
        }
    }
    let mut told: Vec<&str> = Vec::new();
    for f in frame.firings.iter().filter(|f| !covered.contains(&f.name.as_str())) {
        if told.contains(&f.name.as_str()) {
            continue;
        }
        told.push(&f.name);
        let times = frame.firings.iter().filter(|o| o.name == f.name).count();
        let tail = match (times, f.to) {
            (1, Some(to)) => format!(", over after {}", units::prose(to.since(f.from))),
            (1, None) => ", still firing".to_string(),
            (n, _) => format!(", {n} times in all"),
        };
        let tone = if f.severity == AlertSeverity::Critical { "fail" } else { "warn" };
        say(
            f.from,
            if f.severity == AlertSeverity::Info { 4 } else { 1 },
            tone,
            format!("{} fired ({}){tail}.", f.name, f.severity.word()),
        );
    }
    let complaint =
        g.feedback.iter().filter(|i| frame.in_window(i.created_at) && !i.cues.is_empty()).min_by_key(|i| i.created_at);
    if let Some(item) = complaint {
        say(item.created_at, 1, "warn", format!("First complaint, on {}: “{}”", item.source, short(item, 90)));
    }
    if let Some(signal) = frame.signal("traffic") {
        let peak = frame.live_points(signal).iter().copied().reduce(|a, b| if b.1 > a.1 { b } else { a });
        if let Some((at, v)) = peak.filter(|p| p.1 > 0.0) {
            say(at, 3, "skip", format!("Traffic peaked at {}.", Unit::Other("req/s".into()).text(v)));
        }
    }
    let away = frame.scaled(AWAY, Duration::from_secs(5));
    for gap in g.gaps.iter().filter(|gap| gap.target == "*" && gap.to.since(gap.from) >= away) {
        say(
            gap.from,
            1,
            "error",
            format!(
                "hypercare saw nothing for {} ({}).",
                units::prose(gap.to.since(gap.from)),
                gap.reason.word().replace('_', " ")
            ),
        );
    }
    let spoken = if frame.over() { "The window closed" } else { "Now" };
    let calm = incidents.rows.is_empty() && frame.firings.is_empty();
    say(
        g.end,
        0,
        "skip",
        if calm {
            format!("{spoken}: no alert fired, no incident.")
        } else {
            format!(
                "{spoken}: {} alert{} fired, {} incident{}.",
                frame.firings.len(),
                plural(frame.firings.len()),
                incidents.rows.len(),
                plural(incidents.rows.len())
            )
        },
    );
    // Too many: the least weighty go first, the latest of equals first.
    while lines.len() > LINES_MAX {
        let worst = (0..lines.len()).max_by_key(|i| (lines[*i].weight, lines[*i].at, *i)).unwrap_or(0);
        lines.remove(worst);
    }
    lines.sort_by(|a, b| (a.at, a.weight, &a.text).cmp(&(b.at, b.weight, &b.text)));
    lines
        .into_iter()
        .map(|l| Happening { time: frame.moment(l.at), tone: l.tone, mark: mark(l.tone), text: l.text })
        .collect()
}

pub fn mark(tone: &str) -> &'static str {
    match tone {
        "pass" => "✔",
        "warn" => "▲",
        "fail" => "✘",
        "error" => "?",
        _ => "○",
    }
}

fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
