//! Incidents: what users may have felt, from first sign to recovery.

use serde::{Deserialize, Serialize};

use super::clock::Timestamp;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    pub id: i64,
    pub service: String,
    pub title: String,
    /// 1 to 3.
    pub sev: u8,
    pub opened_at: Timestamp,
    pub closed_at: Option<Timestamp>,
    /// Alert episodes that belong to it.
    pub episodes: Vec<String>,
    /// `alert`, or the person who opened it by hand.
    pub opened_by: String,
}
