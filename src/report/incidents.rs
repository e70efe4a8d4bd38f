//! Incidents: what users may have felt, in numbers; who noticed, how fast, and how long it took.
//!
//! Definitions (watch.md 6.2): impact start = first degraded slot around the incident, else the first time its alert's
//! condition held. MTTD = first acceptance by a human channel − impact start; MTTA = first ack − that acceptance;
//! MTTR = impact end − impact start. Detection by users = a feedback item with a severe cue before the first alert.

use std::time::Duration;

use super::frame::{FEEDBACK_ALERTS, Figure, Firing, Frame};
use super::model::{IncidentRow, Incidents, TimelineRow};
use crate::domain::alert::AlertSeverity;
use crate::domain::clock::Timestamp;
use crate::domain::feedback::FeedbackItem;
use crate::domain::incident::Incident;
use crate::domain::marker::Marker;
use crate::domain::notification::MessageKind;
use crate::domain::units;

/// Share of failed requests at which a slot is down, and the requests it takes to say so.
pub const DOWN_RATIO: f64 = 0.5;
pub const DOWN_REQUESTS_MIN: f64 = 10.0;
/// Share at which it is degraded.
pub const DEGRADED_RATIO: f64 = 0.05;
/// How far before an incident its impact is looked for.
const LOOK_BACK: Duration = Duration::from_secs(30 * 60);
/// A change this close before an incident is named beside it.
const CHANGE_NEAR: Duration = Duration::from_secs(30 * 60);
/// Medians of fewer repairs say nothing (VOID, Davidovič).
const MEDIAN_MIN: usize = 5;

/// One slot of the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    Up,
    Degraded,
    Down,
    /// Neither requests nor probes could be seen.
    Unseen,
}

/// The window slot by slot.
#[derive(Debug, Clone)]
pub struct Minutes {
    /// (end of slot, state, failed requests per second if known).
    pub slots: Vec<(Timestamp, Slot, Option<f64>)>,
    pub slot: Duration,
}

impl Minutes {
    pub fn total(&self, which: Slot) -> Duration {
        self.slot * self.slots.iter().filter(|s| s.1 == which).count() as u32
    }
    fn between(&self, from: Timestamp, to: Timestamp, which: Slot) -> Duration {
        self.slot * self.slots.iter().filter(|s| s.1 == which && s.0 > from && s.0 <= to.plus(self.slot)).count() as u32
    }
}

/// Down: at least half of at least ten requests fail, or every probe does. Degraded: at least 5 % fail, or some probe.
pub fn minutes(frame: &Frame) -> Minutes {
    let g = frame.g;
    let step = g.slot;
    let count = (frame.lived().as_millis() / step.as_millis().max(1)) as u32;
    let find = |points: &[(Timestamp, f64)], at: Timestamp| {
        points.binary_search_by_key(&at, |p| p.0).ok().map(|i| points[i].1)
    };
    let window = super::signals::rate_window(step, frame.inputs.interval).as_secs_f64();
    let slots = (1..=count)
        .map(|i| {
            let at = g.live_at.plus(step * i);
            let (bad, all, probe) = (find(&g.error_rate, at), find(&g.traffic, at), find(&g.probe, at));
            let ratio = match (bad, all) {
                (Some(bad), Some(all)) if all > 0.0 => Some((bad / all, all * window)),
                _ => None,
            };
            let state = match (ratio, probe) {
                (Some((r, n)), _) if r >= DOWN_RATIO && n >= DOWN_REQUESTS_MIN => Slot::Down,
                (_, Some(p)) if p <= 0.0 => Slot::Down,
                (Some((r, n)), _) if r >= DEGRADED_RATIO && n >= DOWN_REQUESTS_MIN => Slot::Degraded,
                (_, Some(p)) if p < 0.5 => Slot::Degraded,
                (None, None) if all.is_none() => Slot::Unseen,
                _ => Slot::Up,
            };
            (at, state, bad)
        })
        .collect();
    Minutes { slots, slot: step }
}

/// Numbers of one incident, for verdict and postmortem.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    pub sev: u8,
    pub from: Timestamp,
    /// `None`: not over.
    pub to: Option<Timestamp>,
    pub duration: Duration,
    pub down: Duration,
    pub degraded: Duration,
    pub unseen: Duration,
    pub failed_requests: Option<f64>,
    /// Largest share of an objective's budget.
    pub budget: Option<f64>,
    pub mttd: Option<Duration>,
    pub mtta: Option<Duration>,
    pub mttr: Option<Duration>,
    pub first_alert: Option<Timestamp>,
    pub first_report: Option<Timestamp>,
}

pub fn section(frame: &Frame, minutes: &Minutes) -> Incidents {
    let rows: Vec<IncidentRow> = frame.g.incidents.iter().map(|i| row(frame, minutes, i)).collect();
    let sentence = match rows.len() {
        0 => "No incident.".to_string(),
        n => {
            let open = rows.iter().filter(|r| r.to.is_none()).count();
            let total: Duration = rows.iter().map(|r| r.facts.duration).sum();
            let repairs: Vec<f64> = rows.iter().filter_map(|r| r.facts.mttr).map(|d| d.as_secs_f64()).collect();
            let median = (repairs.len() >= MEDIAN_MIN)
                .then(|| crate::domain::stats::median(&repairs))
                .flatten()
                .map(|s| format!("; median repair {}", units::prose(Duration::from_secs_f64(s))));
            format!(
                "{n} incident{}, {} in all{}{}.",
                if n == 1 { "" } else { "s" },
                units::prose(total),
                if open > 0 { format!(", {open} not over") } else { String::new() },
                median.unwrap_or_default()
            )
        }
    };
    Incidents { rows, sentence }
}

/// Alerts of an incident: by episode, else those that fired while it was open.
pub fn alerts_of<'f>(frame: &'f Frame, incident: &Incident) -> Vec<&'f Firing> {
    let by_episode: Vec<&Firing> =
        frame.firings.iter().filter(|f| f.episode.as_ref().is_some_and(|e| incident.episodes.contains(e))).collect();
    if !by_episode.is_empty() {
        return by_episode;
    }
    let end = incident.closed_at.unwrap_or(frame.g.end);
    frame.firings.iter().filter(|f| f.from <= end && f.to.unwrap_or(end) >= incident.opened_at).collect()
}

/// A person who speaks of harm: any cue but mere slowness of words.
fn severe(item: &FeedbackItem) -> bool {
    !item.cues.is_empty()
}

fn row(frame: &Frame, minutes: &Minutes, incident: &Incident) -> IncidentRow {
    let g = frame.g;
    let alerts = alerts_of(frame, incident);
    let closed = incident.closed_at.unwrap_or(g.end);
    let (from, to) = impact(frame, minutes, incident, &alerts);
    let until = to.unwrap_or(closed);
    let first_alert = alerts.iter().map(|f| f.from).min();
    let accepted = first_accepted(frame, &alerts);
    let acked = first_ack(frame, &alerts, accepted);
    let first_report = g
        .feedback
        .iter()
        .filter(|i| severe(i) && i.created_at >= from && i.created_at <= until)
        .map(|i| i.created_at)
        .min();
    let failed = failed_between(minutes, from, until);
    let budget = g
        .slos
        .iter()
        .filter_map(|s| super::slo::spent_between(frame, s, from, until))
        .fold(None, |a: Option<f64>, b| Some(a.map_or(b, |a| a.max(b))));
    let facts = Facts {
        sev: incident.sev,
        from,
        to,
        duration: until.since(from),
        down: minutes.between(from, until, Slot::Down),
        degraded: minutes.between(from, until, Slot::Degraded),
        unseen: minutes.between(from, until, Slot::Unseen),
        failed_requests: failed,
        budget,
        mttd: accepted.map(|t| t.since(from)),
        mtta: accepted.zip(acked).map(|(t, a)| a.since(t)),
        mttr: to.map(|t| t.since(from)),
        first_alert,
        first_report,
    };
    let mut names: Vec<String> = alerts.iter().map(|f| f.name.clone()).collect();
    names.dedup();
    names.sort();
    names.dedup();
    let detected_by = match (facts.first_report, first_alert) {
        (Some(report), Some(alert)) if report < alert => {
            format!("a user, {} before the alert", units::prose(alert.since(report)))
        }
        (Some(_), None) => "a user".into(),
        (_, Some(_)) => format!("alert {}", alerts.first().map_or("", |f| f.name.as_str())),
        (None, None) => incident.opened_by.clone(),
    };
    let prose = |d: Option<Duration>, none: &str| d.map_or(none.to_string(), units::prose);
    IncidentRow {
        number: incident.id,
        title: incident.title.clone(),
        severity: format!("SEV{}", incident.sev),
        tone: if incident.sev <= 2 { "fail" } else { "warn" },
        from: frame.moment(from),
        to: to.map(|t| frame.moment(t)),
        duration: if to.is_some() {
            units::prose(facts.duration)
        } else {
            format!("{}, not over", units::prose(facts.duration))
        },
        failed_requests: Figure::events(failed),
        down: units::prose(facts.down),
        degraded: units::prose(facts.degraded),
        budget: Figure::ratio(budget),
        mttd: prose(facts.mttd, "nothing was accepted"),
        mtta: prose(facts.mtta, "nobody acknowledged"),
        mttr: prose(facts.mttr, "not over"),
        detected_by,
        alerts: names,
        nearest_change: nearest_change(frame, from).map(|m| change_words(m, from)),
        timeline: timeline(frame, from.minus(Duration::from_secs(60)), closed.max(until)),
        facts,
    }
}

/// First and last instant of impact: the run of bad slots around the incident, else its alerts' own times.
fn impact(frame: &Frame, minutes: &Minutes, incident: &Incident, alerts: &[&Firing]) -> (Timestamp, Option<Timestamp>) {
    let bad = |s: &(Timestamp, Slot, Option<f64>)| matches!(s.1, Slot::Down | Slot::Degraded);
    let horizon = incident.opened_at.minus(LOOK_BACK.min(frame.window() / 4));
    let close = incident.closed_at.unwrap_or(frame.g.end);
    // Bad slots that belong to this incident: from the horizon to its close, and not to one that ended before.
    let previous_close = frame
        .g
        .incidents
        .iter()
        .filter(|i| i.id != incident.id)
        .filter_map(|i| i.closed_at)
        .filter(|t| *t <= incident.opened_at)
        .max()
        .unwrap_or(Timestamp::MIN);
    let mine = |t: Timestamp| t > horizon.max(previous_close) && t <= close.plus(minutes.slot);
    let first_bad = minutes.slots.iter().filter(|s| bad(s) && mine(s.0)).map(|s| s.0.minus(minutes.slot)).min();
    let last_bad = minutes.slots.iter().filter(|s| bad(s) && mine(s.0)).map(|s| s.0).max();
    let condition = alerts.iter().map(|f| f.active_at.unwrap_or(f.from)).min();
    let from = first_bad.or(condition).unwrap_or(incident.opened_at).max(frame.g.live_at);
    let recovered =
        incident.closed_at.or_else(|| symptoms_gone(alerts).filter(|t| last_bad.is_none_or(|bad| bad <= *t)));
    let to = recovered
        .map(|closed| last_bad.or(alerts.iter().filter_map(|f| f.to).max()).unwrap_or(closed).min(closed).max(from));
    (from, to)
}

/// When the last alert that measures the service resolved, if all have. An incident stays open for a while after that,
/// and alerts about what users say stay for an hour; neither is time in which anybody was harmed.
fn symptoms_gone(alerts: &[&Firing]) -> Option<Timestamp> {
    let measured = alerts.iter().filter(|f| !f.name.starts_with(FEEDBACK_ALERTS));
    measured.map(|f| f.to).collect::<Option<Vec<Timestamp>>>()?.into_iter().max()
}

/// First acceptance of a firing message of these alerts by any channel.
pub fn first_accepted(frame: &Frame, alerts: &[&Firing]) -> Option<Timestamp> {
    frame
        .g
        .outbox
        .iter()
        .filter(|s| s.kind == MessageKind::AlertFiring && about(s, alerts))
        .filter_map(|s| s.accepted_at)
        .min()
}

fn about(sent: &super::gather::Sent, alerts: &[&Firing]) -> bool {
    sent.alerts.iter().any(|(name, labels)| alerts.iter().any(|f| f.labels == *labels || f.name == *name))
}

fn first_ack(frame: &Frame, alerts: &[&Firing], accepted: Option<Timestamp>) -> Option<Timestamp> {
    let threads: Vec<&String> =
        frame.g.outbox.iter().filter(|s| about(s, alerts)).filter_map(|s| s.thread.as_ref()).collect();
    frame
        .g
        .acks
        .iter()
        .filter(|a| threads.contains(&&a.episode) || alerts.iter().any(|f| f.episode.as_ref() == Some(&a.episode)))
        .map(|a| a.at)
        .filter(|t| accepted.is_none_or(|from| *t >= from))
        .min()
}

fn failed_between(minutes: &Minutes, from: Timestamp, to: Timestamp) -> Option<f64> {
    let rates: Vec<f64> =
        minutes.slots.iter().filter(|s| s.0 > from && s.0 <= to.plus(minutes.slot)).filter_map(|s| s.2).collect();
    (!rates.is_empty()).then(|| rates.iter().sum::<f64>() * minutes.slot.as_secs_f64())
}

fn nearest_change<'a>(frame: &'a Frame, from: Timestamp) -> Option<&'a Marker> {
    use crate::domain::marker::MarkerKind::{Incident, Maintenance, Note};
    let near = CHANGE_NEAR.min(frame.window() / 2);
    frame
        .g
        .markers
        .iter()
        .filter(|m| !matches!(m.kind, Incident | Maintenance | Note))
        .rfind(|m| m.at <= from && from.since(m.at) <= near)
}

fn change_words(marker: &Marker, from: Timestamp) -> String {
    let text = if marker.text.is_empty() { String::new() } else { format!(" {}", marker.text) };
    format!("{} after {}{text}", units::prose(from.since(marker.at)), marker.kind.word())
}

/// What happened between two instants, one row each, by time.
pub fn timeline(frame: &Frame, from: Timestamp, to: Timestamp) -> Vec<TimelineRow> {
    let g = frame.g;
    let mut rows: Vec<(Timestamp, u8, String, String)> = Vec::new();
    let inside = |t: Timestamp| t >= from && t <= to;
    for m in g.markers.iter().filter(|m| inside(m.at)) {
        rows.push((m.at, 0, "change".into(), format!("{}: {}", m.kind.word(), m.text)));
    }
    for e in g.events.iter().filter(|e| inside(e.at)) {
        let text = match (e.to, e.text.is_empty()) {
            (Some(to), true) => format!("launch is {}", to.word().replace('_', " ")),
            (Some(to), false) => format!("launch is {}: {}", to.word().replace('_', " "), e.text),
            (None, _) => format!("{}: {}", e.kind, e.text),
        };
        rows.push((e.at, 1, "launch".into(), text));
    }
    for f in &frame.firings {
        if inside(f.from) {
            let severity = if f.severity == AlertSeverity::Critical { "critical" } else { f.severity.word() };
            let text = if f.text.is_empty() { String::new() } else { format!(": {}", f.text) };
            rows.push((f.from, 2, "alert".into(), format!("{} fires ({severity}){text}", f.name)));
        }
        if let Some(end) = f.to.filter(|t| inside(*t)) {
            rows.push((
                end,
                6,
                "alert".into(),
                format!("{} is over after {}", f.name, units::prose(end.since(f.from))),
            ));
        }
    }
    for s in &g.outbox {
        if let Some(at) = s.accepted_at.filter(|t| inside(*t)) {
            let late = units::prose(at.since(s.enqueued_at));
            rows.push((
                at,
                3,
                "delivery".into(),
                format!("{} took “{}” ({late} after it was written)", s.channel, s.title),
            ));
        }
        if let Some(error) = &s.dead
            && inside(s.enqueued_at)
        {
            rows.push((
                s.enqueued_at,
                3,
                "delivery".into(),
                format!("{} never took “{}”: {error}", s.channel, s.title),
            ));
        }
    }
    for a in g.acks.iter().filter(|a| inside(a.at)) {
        // People appear by role; who it was stands in the audit trail.
        let comment = if a.comment.is_empty() { String::new() } else { format!(": {}", a.comment) };
        rows.push((a.at, 4, "ack".into(), format!("acknowledged{comment}")));
    }
    for i in g.feedback.iter().filter(|i| severe(i) && inside(i.created_at)) {
        let cues: Vec<&str> = i.cues.iter().map(|c| c.name.as_str()).collect();
        rows.push((
            i.created_at,
            5,
            "user".into(),
            format!("{} says: {} ({})", i.source, super::feedback::short(i, 120), cues.join(", ")),
        ));
    }
    for gap in g.gaps.iter().filter(|gap| inside(gap.from)) {
        rows.push((
            gap.from,
            7,
            "blind".into(),
            format!(
                "{} could not be seen for {} ({})",
                gap.target,
                units::prose(gap.to.since(gap.from)),
                gap.reason.word()
            ),
        ));
    }
    rows.sort();
    rows.dedup();
    rows.into_iter().map(|(at, _, source, text)| TimelineRow { time: frame.moment(at), source, text }).collect()
}
