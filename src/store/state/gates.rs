//! Gate runs, and the receipts that gates read back.

use super::{Result, State};
use crate::domain::clock::Timestamp;
use crate::domain::evidence::Evidence;
use crate::domain::verdict::GateRun;

/// What `announce` leaves behind: one channel's acceptance of one release's announcement.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Announcement {
    pub service: String,
    pub version: Option<String>,
    pub commit: Option<String>,
    pub channel: String,
    pub at: Timestamp,
    /// SHA-256 of the text.
    pub digest: String,
    /// `pending`, `delivered`, `dead`: read from the outbox row that carried it.
    pub state: String,
    pub remote_id: Option<String>,
    pub acked_by: Option<String>,
}

impl State {
    /// Stores the run and appends `evidence` (gate id, item) to the ledger, in one transaction.
    pub async fn save_gate_run(&self, _run: &GateRun, _evidence: &[(String, Evidence)]) -> Result<()> {
        unimplemented!()
    }
    pub async fn gate_run(&self, _run: &str) -> Result<Option<GateRun>> {
        unimplemented!()
    }
    pub async fn latest_gate_run(&self, _service: &str) -> Result<Option<GateRun>> {
        unimplemented!()
    }
    /// Newest run that started at or before `at`.
    pub async fn gate_run_before(&self, _service: &str, _at: Timestamp) -> Result<Option<GateRun>> {
        unimplemented!()
    }
    /// Announcements of a service, newest first; their state follows the outbox.
    pub async fn announcements(&self, _service: &str) -> Result<Vec<Announcement>> {
        unimplemented!()
    }
}
