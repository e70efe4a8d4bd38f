//! Reports and postmortems as written.

use super::{Result, State};
use crate::domain::clock::Timestamp;
use crate::domain::notification::NewOutbox;

#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct StoredReport {
    /// 0 when not stored yet.
    pub id: i64,
    pub launch: String,
    /// `go_live` or `postmortem`.
    pub kind: String,
    /// `html`, `md`, `json`.
    pub format: String,
    pub as_of: Timestamp,
    /// Over database rows read, config, templates and version.
    pub input_hash: String,
    /// SHA-256 of `bytes`.
    pub bytes_hash: String,
    #[serde(skip)]
    pub bytes: Vec<u8>,
    pub made_at: Timestamp,
}

/// Makes the rows that announce stored documents, from their ids.
pub type Notices = Box<dyn FnOnce(&[i64]) -> Vec<NewOutbox> + Send>;

impl State {
    /// Stores the documents and enqueues what announces them, in one transaction. Keyed by (launch, kind, format, as_of):
    /// a repeat returns the ids stored before and enqueues nothing. `notices` get the ids to fill their attachments.
    pub async fn save_reports(&self, _reports: Vec<StoredReport>, _notices: Notices) -> Result<Vec<i64>> {
        unimplemented!()
    }
    pub async fn report(&self, _id: i64) -> Result<Option<StoredReport>> {
        unimplemented!()
    }
    /// Newest first, without bytes.
    pub async fn reports(&self, _launch: &str) -> Result<Vec<StoredReport>> {
        unimplemented!()
    }
}
