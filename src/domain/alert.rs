//! Alerts: their states, what one looks like, and how a change is recorded. The state machine is `alerts/state.rs`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::clock::Timestamp;
use super::metric::Labels;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    Inactive,
    /// True, but not yet for as long as `for` asks.
    Pending,
    Firing,
    /// We can no longer see whether it fires.
    Unknown,
    Resolved,
}

impl AlertState {
    pub const ALL: [AlertState; 5] =
        [AlertState::Inactive, AlertState::Pending, AlertState::Firing, AlertState::Unknown, AlertState::Resolved];
    pub fn word(self) -> &'static str {
        match self {
            AlertState::Inactive => "inactive",
            AlertState::Pending => "pending",
            AlertState::Firing => "firing",
            AlertState::Unknown => "unknown",
            AlertState::Resolved => "resolved",
        }
    }
    pub fn parse(word: &str) -> Option<AlertState> {
        AlertState::ALL.into_iter().find(|s| s.word() == word)
    }
}

/// From the `severity` label; anything unknown is a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertSeverity {
    Info,
    #[default]
    Warning,
    Critical,
}

impl AlertSeverity {
    pub fn word(self) -> &'static str {
        match self {
            AlertSeverity::Info => "info",
            AlertSeverity::Warning => "warning",
            AlertSeverity::Critical => "critical",
        }
    }
    /// `page` and `critical` are critical, `info` and `none` are info, the rest is a warning.
    pub fn of(labels: &Labels) -> AlertSeverity {
        match labels.get("severity") {
            Some("critical" | "page") => AlertSeverity::Critical,
            Some("info" | "none") => AlertSeverity::Info,
            _ => AlertSeverity::Warning,
        }
    }
}

/// One alert instance: one rule × one label set. `labels` carry `alertname`, `service` and `severity`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Sixteen hex digits of the labels' fingerprint; unique together with `rule`.
    pub fingerprint: String,
    /// `group/alertname`.
    pub rule: String,
    pub service: String,
    pub labels: Labels,
    pub annotations: BTreeMap<String, String>,
    pub state: AlertState,
    /// NaN is stored as `None`.
    pub value: Option<f64>,
    /// First true evaluation of this stretch.
    pub active_at: Option<Timestamp>,
    pub fired_at: Option<Timestamp>,
    pub resolved_at: Option<Timestamp>,
    pub last_eval: Timestamp,
    /// Newest sample the value rests on.
    pub data_as_of: Option<Timestamp>,
    /// While firing: last evaluation that was true (for `keep_firing_for`).
    pub last_true: Option<Timestamp>,
    /// Data missing since, when `on_missing` holds the state.
    pub missing_since: Option<Timestamp>,
    /// Born on pending → firing, ends at resolve. A uuid.
    pub episode: Option<String>,
    pub expr: String,
}

impl Alert {
    pub fn name(&self) -> &str {
        self.labels.get("alertname").unwrap_or(&self.rule)
    }
    pub fn severity(&self) -> AlertSeverity {
        AlertSeverity::of(&self.labels)
    }
}

/// One recorded change of an alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    pub at: Timestamp,
    pub fingerprint: String,
    pub rule: String,
    pub service: String,
    pub labels: Labels,
    pub from: AlertState,
    pub to: AlertState,
    pub episode: Option<String>,
    pub value: Option<f64>,
    /// `condition`, `data_missing`, `data_back`, `rule_removed`, `restart`.
    pub reason: String,
    /// One line of what was measured (the annotation `summary`, or the value against the rule).
    pub text: String,
}

/// Alerts that are told together: one route × one set of `group_by` labels. The group's episode is the thread and
/// dedup key of every channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NotifGroup {
    /// Route index and group labels, as text.
    pub key: String,
    pub service: String,
    pub labels: Labels,
    pub channels: Vec<String>,
    pub failover: Option<String>,
    /// A uuid; born with the first firing member, ends when all are resolved. A re-fire within 10 min re-opens it.
    pub episode: String,
    /// Running number of the episode, for people: `#214`.
    pub number: i64,
    /// Fingerprint → what the world was last told of it.
    pub told: BTreeMap<String, AlertState>,
    /// Highest severity told so far in this episode.
    pub told_severity: Option<AlertSeverity>,
    pub opened_at: Timestamp,
    pub closed_at: Option<Timestamp>,
    pub last_sent: Option<Timestamp>,
    /// When this group must next decide whether it has something to say. Committed with the transition that set it.
    pub next_flush: Option<Timestamp>,
    pub acked_until: Option<Timestamp>,
    pub acked_by: Option<String>,
    /// Sequence number of the last message of this group; grows over episodes.
    pub seq: i64,
}

impl NotifGroup {
    /// An episode that begins: nobody was told of anything yet.
    pub fn opened(key: &str, service: &str, episode: &str, number: i64, opened_at: Timestamp) -> NotifGroup {
        NotifGroup {
            key: key.into(),
            service: service.into(),
            labels: Labels::empty(),
            channels: Vec::new(),
            failover: None,
            episode: episode.into(),
            number,
            told: BTreeMap::new(),
            told_severity: None,
            opened_at,
            closed_at: None,
            last_sent: None,
            next_flush: None,
            acked_until: None,
            acked_by: None,
            seq: 0,
        }
    }
}

/// Why a group speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotifyReason {
    First,
    NewInGroup,
    AllResolved,
    SomeResolved,
    Repeat,
    Escalation,
    UnknownState,
    SeverityRaised,
    StormDigest,
    None,
}

impl NotifyReason {
    pub fn word(self) -> &'static str {
        match self {
            NotifyReason::First => "first",
            NotifyReason::NewInGroup => "new_in_group",
            NotifyReason::AllResolved => "all_resolved",
            NotifyReason::SomeResolved => "some_resolved",
            NotifyReason::Repeat => "repeat",
            NotifyReason::Escalation => "escalation",
            NotifyReason::UnknownState => "unknown_state",
            NotifyReason::SeverityRaised => "severity_raised",
            NotifyReason::StormDigest => "storm_digest",
            NotifyReason::None => "none",
        }
    }
}

/// A silence mutes alerts whose labels match all matchers (equality only in `matchers`: label → value).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Silence {
    pub id: String,
    pub matchers: BTreeMap<String, String>,
    pub author: String,
    pub comment: String,
    pub from: Timestamp,
    pub until: Timestamp,
}

impl Silence {
    pub fn mutes(&self, labels: &Labels, now: Timestamp) -> bool {
        self.from <= now && now < self.until && self.matchers.iter().all(|(n, v)| labels.get(n).unwrap_or("") == v)
    }
}

/// An acknowledgement of a group's episode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ack {
    pub episode: String,
    pub by: String,
    pub at: Timestamp,
    pub until: Timestamp,
    pub comment: String,
}
