//! Markers: something that happened at an instant and may explain what came after.

use serde::{Deserialize, Serialize};

use super::clock::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarkerKind {
    Deploy,
    Config,
    Flag,
    Rollback,
    Scale,
    Migration,
    Incident,
    Maintenance,
    Note,
}

impl MarkerKind {
    pub const ALL: [MarkerKind; 9] = [
        MarkerKind::Deploy,
        MarkerKind::Config,
        MarkerKind::Flag,
        MarkerKind::Rollback,
        MarkerKind::Scale,
        MarkerKind::Migration,
        MarkerKind::Incident,
        MarkerKind::Maintenance,
        MarkerKind::Note,
    ];
    pub fn word(self) -> &'static str {
        match self {
            MarkerKind::Deploy => "deploy",
            MarkerKind::Config => "config",
            MarkerKind::Flag => "flag",
            MarkerKind::Rollback => "rollback",
            MarkerKind::Scale => "scale",
            MarkerKind::Migration => "migration",
            MarkerKind::Incident => "incident",
            MarkerKind::Maintenance => "maintenance",
            MarkerKind::Note => "note",
        }
    }
    pub fn parse(word: &str) -> Option<MarkerKind> {
        MarkerKind::ALL.into_iter().find(|k| k.word() == word)
    }
}

/// `dedup_key` is unique per service: a webhook delivered twice makes one marker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    pub service: String,
    pub kind: MarkerKind,
    pub at: Timestamp,
    pub received_at: Timestamp,
    pub source: String,
    pub actor: String,
    pub text: String,
    pub dedup_key: String,
}
