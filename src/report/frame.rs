//! The frame every section is drawn in: the window, the reader's clock, and how figures and times are printed.

use std::time::Duration;

use chrono_tz::Tz;
use serde::Serialize;

use super::Inputs;
use super::gather::{Gathered, SignalData};
use crate::chart::{Unit, clock_label};
use crate::domain::alert::{AlertSeverity, AlertState};
use crate::domain::clock::Timestamp;
use crate::domain::metric::Labels;
use crate::domain::units;

/// How alerts about what users say are named: FeedbackSevere, FeedbackSpike.
pub const FEEDBACK_ALERTS: &str = "FeedbackS";

/// A number with its print form; figure and unit apart, so that the unit can be set softer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// `None`: there was no data. Never zero for that.
    pub value: Option<f64>,
    pub figure: String,
    pub unit: String,
    /// Both in one, `640 ms`; `–` without data.
    pub text: String,
}

impl Figure {
    pub fn of(unit: &Unit, value: Option<f64>) -> Figure {
        let value = value.filter(|v| v.is_finite());
        let (figure, name) = unit.split(value.unwrap_or(f64::NAN));
        let text = if name.is_empty() { figure.clone() } else { format!("{figure} {name}") };
        Figure { value, figure, unit: name, text }
    }
    /// Whole things: events are estimated by extrapolation and printed without a fraction.
    pub fn events(value: Option<f64>) -> Figure {
        Figure::of(&Unit::Count, value.map(f64::round))
    }
    pub fn ratio(value: Option<f64>) -> Figure {
        Figure::of(&Unit::Ratio, value)
    }
}

/// An instant as people and machines read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// Milliseconds since the epoch.
    pub at: Timestamp,
    /// `2026-11-22T01:12:00Z`.
    pub utc: String,
    /// `01:12` in UTC, with seconds in short windows.
    pub utc_clock: String,
    /// `02:12`; `Mon 02:12` on another day than go-live.
    pub local: String,
    /// `Sun 22 Nov 2026, 02:12 CET`.
    pub full: String,
}

/// An alert from firing to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Firing {
    pub name: String,
    pub fingerprint: String,
    pub labels: Labels,
    pub severity: AlertSeverity,
    pub episode: Option<String>,
    /// When the condition first held.
    pub active_at: Option<Timestamp>,
    pub from: Timestamp,
    /// `None`: still firing at the end.
    pub to: Option<Timestamp>,
    /// What was measured when it fired.
    pub text: String,
}

/// Gathered data with what every section asks of it.
pub struct Frame<'a> {
    pub g: &'a Gathered,
    pub inputs: &'a Inputs,
    pub zone: Tz,
    pub firings: Vec<Firing>,
}

impl<'a> Frame<'a> {
    pub fn new(g: &'a Gathered, inputs: &'a Inputs) -> Frame<'a> {
        let named = inputs.service_config.timezone.as_deref().unwrap_or(&g.launch.timezone);
        Frame { g, inputs, zone: named.parse().unwrap_or(Tz::UTC), firings: firings(g) }
    }

    pub fn window(&self) -> Duration {
        self.g.window_end.since(self.g.live_at)
    }
    pub fn lived(&self) -> Duration {
        self.g.end.since(self.g.live_at)
    }
    /// The window has ended, or the release was taken back.
    pub fn over(&self) -> bool {
        self.g.end >= self.g.window_end || self.rolled_back()
    }
    pub fn rolled_back(&self) -> bool {
        use crate::domain::launch::LaunchState::RolledBack;
        self.g.events.iter().any(|e| e.to == Some(RolledBack)) || self.g.launch.state == RolledBack
    }
    pub fn window_words(&self) -> String {
        let whole = hours(self.window());
        if self.g.end >= self.g.window_end { whole } else { format!("{} of {whole}", units::prose(self.lived())) }
    }

    /// A limit that the specification gives for a window of 24 h, shrunk with shorter windows, never below `floor`:
    /// five minutes down are nothing to wait for in a window of two.
    pub fn scaled(&self, of_a_day: Duration, floor: Duration) -> Duration {
        let share = (self.window().as_secs_f64() / 86_400.0).min(1.0);
        let scaled = Duration::from_secs((of_a_day.as_secs_f64() * share).round() as u64);
        scaled.max(floor).min(of_a_day)
    }

    pub fn moment(&self, at: Timestamp) -> Moment {
        let span = self.window().as_millis() as i64;
        let local = at.utc().with_timezone(&self.zone);
        let clock = clock_label(at, self.zone, span);
        let same_day = local.date_naive() == self.g.live_at.utc().with_timezone(&self.zone).date_naive();
        Moment {
            at,
            utc: at.rfc3339(),
            utc_clock: clock_label(at, Tz::UTC, span),
            local: if same_day { clock.clone() } else { format!("{} {clock}", local.format("%a")) },
            full: format!("{}, {clock} {}", local.format("%a %-d %b %Y"), local.format("%Z")),
        }
    }
    pub fn clock(&self, at: Timestamp) -> String {
        self.moment(at).local
    }

    pub fn signal(&self, name: &str) -> Option<&'a SignalData> {
        self.g.signals.iter().find(|s| s.signal.name == name)
    }
    /// Points from go-live on.
    pub fn live_points(&self, signal: &'a SignalData) -> &'a [(Timestamp, f64)] {
        let from = signal.chart.partition_point(|p| p.0 < self.g.live_at);
        &signal.chart[from..]
    }
    /// Values of the frozen baseline.
    pub fn baseline_values(&self, name: &str) -> Vec<f64> {
        let series = self.g.baseline.as_ref().and_then(|b| b.series.iter().find(|s| s.name == name));
        series.map(|s| s.points.iter().map(|p| p.1).filter(|v| v.is_finite()).collect()).unwrap_or_default()
    }

    /// Slots with data of slots due since go-live, 0 to 1; `None` before the first slot is due.
    pub fn coverage(&self, points: &[(Timestamp, f64)], step: Duration) -> Option<f64> {
        let due = (self.lived().as_millis() / step.as_millis().max(1)) as usize;
        let have = points.iter().filter(|p| p.0 > self.g.live_at && p.0 <= self.g.end).count();
        // The first slot after go-live may miss its rate: two samples are needed. It is not held against the coverage.
        (due > 0).then(|| if have + 1 >= due && have > 0 { 1.0 } else { have as f64 / due as f64 })
    }

    pub fn in_window(&self, at: Timestamp) -> bool {
        at >= self.g.live_at && at <= self.g.end
    }
}

/// A window's length as people name it: `24 h`, not `1 d`.
fn hours(d: Duration) -> String {
    let s = d.as_secs();
    if s.is_multiple_of(3600) && s <= 72 * 3600 && s > 0 { format!("{} h", s / 3600) } else { units::prose(d) }
}

/// Firing stretches from transitions, by start, then name.
fn firings(g: &Gathered) -> Vec<Firing> {
    let mut open: std::collections::BTreeMap<(String, String), Firing> = Default::default();
    let mut pending: std::collections::BTreeMap<(String, String), Timestamp> = Default::default();
    let mut done = Vec::new();
    let mut transitions: Vec<_> = g.transitions.iter().collect();
    transitions.sort_by_key(|t| t.at);
    for t in transitions {
        let key = (t.rule.clone(), t.fingerprint.clone());
        match t.to {
            AlertState::Pending => {
                pending.entry(key).or_insert(t.at);
            }
            AlertState::Firing => {
                let active_at = pending.remove(&key);
                open.entry(key).or_insert_with(|| Firing {
                    name: t.labels.get("alertname").unwrap_or(&t.rule).to_string(),
                    fingerprint: t.fingerprint.clone(),
                    labels: t.labels.clone(),
                    severity: AlertSeverity::of(&t.labels),
                    episode: t.episode.clone(),
                    active_at,
                    from: t.at,
                    to: None,
                    text: t.text.clone(),
                });
            }
            AlertState::Resolved | AlertState::Inactive => {
                pending.remove(&key);
                if let Some(mut firing) = open.remove(&key) {
                    firing.to = Some(t.at);
                    done.push(firing);
                }
            }
            // Not seen is neither firing nor over.
            AlertState::Unknown => {}
        }
    }
    done.extend(open.into_values());
    // A dead-man switch fires by design and says nothing about the service.
    done.retain(|f| f.name != "DeadMansSwitch");
    done.sort_by(|a, b| (a.from, &a.name, &a.fingerprint).cmp(&(b.from, &b.name, &b.fingerprint)));
    done
}
