//! What users said, after redaction. Raw text never reaches these values.

use serde::{Deserialize, Serialize};

use super::clock::Timestamp;

/// Series `feedback_up{service, source}`: 1 when a poll of the source was answered, else 0.
pub const UP: &str = "feedback_up";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeedbackKind {
    Review,
    Issue,
    Post,
    Ticket,
    Survey,
    Form,
}

/// A phrase that speaks of harm: `crash`, `login`, `payment`, `data_loss`, `security`, `slow`, `install`, `register`,
/// `accessibility`. `start..end` is the byte span in `text`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cue {
    pub name: String,
    pub start: usize,
    pub end: usize,
}

/// Key: (source, external_id, revision). An edit is a new revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeedbackItem {
    pub source: String,
    pub external_id: String,
    pub revision: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub fetched_at: Timestamp,
    pub kind: FeedbackKind,
    /// HMAC(instance key, source + author): counts people, names nobody. Empty when the author is unknown.
    pub author_hash: String,
    /// 1 to 5.
    pub rating: Option<u8>,
    pub title: String,
    pub text: String,
    pub url: Option<String>,
    pub app_version: Option<String>,
    pub platform: Option<String>,
    pub labels: Vec<String>,
    /// How many pieces of personal data were replaced.
    pub redactions: u32,
    /// -1 to 1, estimated; `None` when the language is not understood.
    pub sentiment: Option<f64>,
    pub cues: Vec<Cue>,
}

/// Where a source goes on; opaque to everybody else. Items and cursor commit in one transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor(pub Option<String>);

/// One answer of a source.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FeedbackPage {
    pub items: Vec<FeedbackItem>,
    pub next: Cursor,
    /// Another page waits: poll again at once.
    pub more: bool,
    /// The service asked for patience.
    pub not_before: Option<Timestamp>,
}
