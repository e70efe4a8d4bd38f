//! The evidence ledger: append-only, each row chained to the one before by hash.

use super::{Result, State};
use crate::domain::evidence::LedgerEntry;

/// Outcome of recomputing the chain.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ChainCheck {
    pub rows: u64,
    /// Sequence number of the first row that does not fit, and why.
    pub broken_at: Option<(i64, String)>,
    pub head: String,
}

impl State {
    /// Newest first, at most `limit`; of one gate or one run when given.
    pub async fn ledger(&self, _gate: Option<&str>, _run: Option<&str>, _limit: u32) -> Result<Vec<LedgerEntry>> {
        unimplemented!()
    }
    /// Content by digest (`sha256:…`, a unique prefix will do).
    pub async fn evidence_content(&self, _digest: &str) -> Result<Option<serde_json::Value>> {
        unimplemented!()
    }
    pub async fn verify_ledger(&self) -> Result<ChainCheck> {
        unimplemented!()
    }
}
