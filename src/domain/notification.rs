//! What is sent: the message as frozen when it was decided, the outbox row that carries it, and what came of each try.

use serde::{Deserialize, Serialize};

use super::alert::{AlertSeverity, AlertState, NotifyReason};
use super::clock::Timestamp;
use super::metric::Labels;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MessageKind {
    #[serde(rename = "alert.firing")]
    AlertFiring,
    #[serde(rename = "alert.resolved")]
    AlertResolved,
    #[serde(rename = "alert.unknown")]
    AlertUnknown,
    #[serde(rename = "launch.state_changed")]
    LaunchStateChanged,
    #[serde(rename = "release.announced")]
    ReleaseAnnounced,
    #[serde(rename = "report.ready")]
    ReportReady,
    #[serde(rename = "channel.test")]
    ChannelTest,
}

impl MessageKind {
    /// The event type of the webhook body: `alert.firing`.
    pub fn word(self) -> &'static str {
        match self {
            MessageKind::AlertFiring => "alert.firing",
            MessageKind::AlertResolved => "alert.resolved",
            MessageKind::AlertUnknown => "alert.unknown",
            MessageKind::LaunchStateChanged => "launch.state_changed",
            MessageKind::ReleaseAnnounced => "release.announced",
            MessageKind::ReportReady => "report.ready",
            MessageKind::ChannelTest => "channel.test",
        }
    }
}

/// `label: text`, in the order of importance: channels cut from the bottom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    pub label: String,
    pub text: String,
}

impl Fact {
    pub fn new(label: impl Into<String>, text: impl Into<String>) -> Fact {
        Fact { label: label.into(), text: text.into() }
    }
}

/// One alert inside a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertLine {
    pub name: String,
    pub state: AlertState,
    pub severity: AlertSeverity,
    pub labels: Labels,
    pub summary: String,
    pub value: Option<f64>,
    pub since: Timestamp,
    pub resolved_at: Option<Timestamp>,
}

/// The conversation a message belongs to; the first message of a key is its root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thread {
    /// The group's episode, or the launch's id for launch news.
    pub key: String,
    /// First message of the thread.
    pub root: bool,
}

/// A file that goes with the message, by reference: a row of `report`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// File name: `report.html`.
    pub name: String,
    pub mime: String,
    /// Id of the stored report whose bytes are attached at send time.
    pub report: i64,
}

/// Everything a channel needs, frozen at enqueue. Texts come from outside: data, never markup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    pub kind: MessageKind,
    pub service: String,
    pub severity: AlertSeverity,
    /// Stable within a thread: the mail subject. `[checkout] Http5xxHigh`.
    pub title: String,
    /// First line, state and severity in words: `FIRING critical · checkout · Http5xxHigh · #214`.
    pub headline: String,
    pub facts: Vec<Fact>,
    pub alerts: Vec<AlertLine>,
    pub runbook: Option<String>,
    /// The command that rolls back, when the launch names one.
    pub rollback: Option<String>,
    pub thread: Option<Thread>,
    pub created_at: Timestamp,
    /// IANA zone for the second clock.
    pub timezone: String,
    /// A longer plain text (announcement, report summary); may be empty.
    pub body: String,
    /// HTML of a report mail, already safe; `None` for everything else.
    pub html: Option<String>,
    pub attachments: Vec<Attachment>,
    /// Extra recipients' view for machines: goes into the webhook's `data`.
    pub data: serde_json::Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutboxState {
    Pending,
    Leased,
    Delivered,
    /// A newer message of the same group made it needless before it was sent.
    Coalesced,
    /// Given up; visible on the status page and in the report.
    Dead,
    /// Dropped by a person.
    Dropped,
}

impl OutboxState {
    pub const ALL: [OutboxState; 6] = [
        OutboxState::Pending,
        OutboxState::Leased,
        OutboxState::Delivered,
        OutboxState::Coalesced,
        OutboxState::Dead,
        OutboxState::Dropped,
    ];
    pub fn word(self) -> &'static str {
        match self {
            OutboxState::Pending => "pending",
            OutboxState::Leased => "leased",
            OutboxState::Delivered => "delivered",
            OutboxState::Coalesced => "coalesced",
            OutboxState::Dead => "dead",
            OutboxState::Dropped => "dropped",
        }
    }
    pub fn parse(word: &str) -> Option<OutboxState> {
        OutboxState::ALL.into_iter().find(|s| s.word() == word)
    }
}

/// A row to be put into the outbox. `(channel, group_key, seq)` is unique: enqueueing twice is harmless.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewOutbox {
    /// uuid v7: idempotency key, webhook-id and Message-ID, the same on every try.
    pub id: String,
    pub channel: String,
    pub group_key: String,
    pub seq: i64,
    pub reason: NotifyReason,
    pub priority: AlertSeverity,
    pub message: Message,
    pub not_before: Timestamp,
    pub give_up_at: Timestamp,
    /// Channel that also gets it when this one has not accepted within `failover_after`.
    pub failover: Option<String>,
    pub enqueued_at: Timestamp,
}

/// A stored row with its fate so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutboxRow {
    #[serde(flatten)]
    pub new: NewOutbox,
    pub state: OutboxState,
    pub attempts: u32,
    pub lease_until: Option<Timestamp>,
    pub accepted_at: Option<Timestamp>,
    /// Redacted.
    pub last_error: Option<String>,
    /// What the remote side called it: Message-ID, request id.
    pub remote_id: Option<String>,
}

/// One try.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeliveryAttempt {
    pub outbox_id: String,
    pub channel: String,
    pub at: Timestamp,
    pub duration_ms: u64,
    /// `delivered`, `retry`, `permanent`.
    pub outcome: String,
    /// Status or error, redacted, ≤ 1 KiB.
    pub detail: String,
}

/// How a try ends for the row.
#[derive(Debug, Clone, PartialEq)]
pub enum Settle {
    Delivered { remote_id: Option<String> },
    Retry { not_before: Timestamp, error: String },
    Dead { error: String },
}
