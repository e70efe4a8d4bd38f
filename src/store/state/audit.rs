//! The audit trail: who did what, before and after; rows chained by hash.

use super::evidence::ChainCheck;
use super::{Result, State};
use crate::domain::clock::Timestamp;

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct AuditEntry {
    pub seq: i64,
    pub at: Timestamp,
    pub actor: String,
    /// `launch.move`, `alert.ack`, `silence.add`, `outbox.drop`, …
    pub action: String,
    pub subject: String,
    pub before: Option<String>,
    pub after: Option<String>,
    pub reason: Option<String>,
    pub hash: String,
}

impl State {
    /// Appends a row of its own (functions that change state append theirs in their own transaction).
    pub async fn audit(
        &self,
        _at: Timestamp,
        _actor: &str,
        _action: &str,
        _subject: &str,
        _reason: Option<&str>,
    ) -> Result<()> {
        unimplemented!()
    }
    /// Newest first.
    pub async fn audit_log(&self, _limit: u32) -> Result<Vec<AuditEntry>> {
        unimplemented!()
    }
    pub async fn verify_audit(&self) -> Result<ChainCheck> {
        unimplemented!()
    }
}
