//! Were the alerts worth waking for? Fired, needed, resolved by themselves, undelivered, and which rule to tune.

use std::collections::BTreeMap;
use std::time::Duration;

use super::frame::{Firing, Frame};
use super::incidents::{alerts_of, first_accepted};
use super::model::{AlertQuality, AlertRow};
use crate::domain::alert::AlertSeverity;
use crate::domain::notification::MessageKind;
use crate::domain::units;

/// An alert that was gone this soon, and nobody took, woke somebody for nothing.
const SELF_RESOLVED: Duration = Duration::from_secs(300);
/// Fire and resolve cycles in the window that make a rule flap.
const FLAPS: usize = 3;
/// A critical alert should be taken within this.
pub const ACK_OBJECTIVE: Duration = Duration::from_secs(15 * 60);

pub fn section(frame: &Frame) -> AlertQuality {
    let g = frame.g;
    let in_incident: Vec<&Firing> = g.incidents.iter().flat_map(|i| alerts_of(frame, i)).collect();
    let acked = |f: &Firing| {
        g.acks.iter().any(|a| {
            f.episode.as_ref() == Some(&a.episode)
                || g.outbox.iter().any(|s| {
                    s.thread.as_ref() == Some(&a.episode) && s.alerts.iter().any(|(_, labels)| *labels == f.labels)
                })
        })
    };
    let needed = |f: &Firing| acked(f) || in_incident.iter().any(|i| std::ptr::eq(*i, f));
    let soon = frame.scaled(SELF_RESOLVED, Duration::from_secs(5));
    let alone = |f: &Firing| !needed(f) && f.to.is_some_and(|t| t.since(f.from) < soon);
    let mut by_name: BTreeMap<&str, Vec<&Firing>> = BTreeMap::new();
    for f in &frame.firings {
        by_name.entry(&f.name).or_default().push(f);
    }
    let mut rows: Vec<AlertRow> = by_name
        .into_iter()
        .map(|(name, all)| {
            let actionable = all.iter().filter(|f| needed(f)).count();
            let self_resolved = all.iter().filter(|f| alone(f)).count();
            let longest = all.iter().map(|f| f.to.unwrap_or(g.end).since(f.from)).max().unwrap_or_default();
            let advice = match (self_resolved, all.len()) {
                (s, n) if n >= FLAPS && s * 2 >= n => format!("flaps: add keep_firing_for: {}", units::prose(soon)),
                (s, n) if s > 0 && s == n => {
                    format!("was over before anyone came: lengthen `for` by {}", units::prose(longest))
                }
                _ => String::new(),
            };
            AlertRow {
                name: name.into(),
                severity: all.iter().map(|f| f.severity).max().unwrap_or(AlertSeverity::Info).word().into(),
                fired: all.len(),
                actionable,
                self_resolved,
                longest: units::prose(longest),
                advice,
            }
        })
        .collect();
    rows.sort_by(|a, b| b.fired.cmp(&a.fired).then(a.name.cmp(&b.name)));
    let (fired, actionable) = (frame.firings.len(), frame.firings.iter().filter(|f| needed(f)).count());
    let undelivered = g.outbox.iter().filter(|s| s.dead.is_some()).count();
    let slowest = g
        .outbox
        .iter()
        .filter(|s| s.kind == MessageKind::AlertFiring)
        .filter_map(|s| s.accepted_at.map(|t| (t.since(s.enqueued_at), &s.channel)))
        .max_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(a.1)));
    let patience = frame.scaled(ACK_OBJECTIVE, Duration::from_secs(60));
    let mut unacked_critical: Vec<String> = frame
        .firings
        .iter()
        .filter(|f| f.severity == AlertSeverity::Critical && !acked(f))
        .filter(|f| f.to.unwrap_or(g.end).since(f.from) > patience)
        .map(|f| f.name.clone())
        .collect();
    unacked_critical.dedup();
    let noise = (fired > 0).then(|| 1.0 - actionable as f64 / fired as f64);
    let untold = frame
        .firings
        .iter()
        .filter(|f| f.severity == AlertSeverity::Critical && first_accepted(frame, &[f]).is_none())
        .count();
    let sentence = match fired {
        0 => "No alert fired.".to_string(),
        n => {
            let mut s = format!("{n} alert{} fired, {actionable} of them led to action", if n == 1 { "" } else { "s" });
            if untold > 0 {
                s.push_str(&format!("; {untold} critical reached nobody"));
            }
            s.push('.');
            s
        }
    };
    AlertQuality {
        sentence,
        rows,
        fired,
        actionable,
        noise,
        undelivered,
        slowest_delivery: slowest.map(|(d, channel)| format!("{} on {channel}", units::prose(d))),
        unacked_critical,
    }
}
