//! Lists of backups by the tools that make them: what was saved, when, and whether it ended well. Whether one can be
//! restored, no list tells.

pub mod barman;
pub mod borg;
pub mod pgbackrest;
pub mod restic;

use serde::{Deserialize, Serialize};

use super::kept::{self, Word};
use crate::domain::clock::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// The tool's own name for it.
    pub id: String,
    /// Stanza, server or host.
    pub of: String,
    /// `full`, `incr`, `diff`, `snapshot`.
    pub kind: String,
    pub ended_at: Option<Timestamp>,
    pub bytes: Option<u64>,
    /// It ended, and the tool found no error in it.
    pub ok: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backups {
    #[serde(deserialize_with = "kept::word")]
    pub tool: Word,
    pub version: Option<String>,
    /// As the report lists them.
    pub backups: Vec<Backup>,
    /// What the tool complains about.
    pub troubles: Vec<String>,
}

impl Backups {
    /// The youngest that ended well.
    pub fn newest(&self) -> Option<&Backup> {
        self.backups.iter().filter(|b| b.ok).max_by_key(|b| b.ended_at)
    }
}
