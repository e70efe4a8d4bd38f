//! Incidents.

use super::{Result, State};
use crate::domain::clock::Timestamp;
use crate::domain::incident::Incident;

impl State {
    /// Inserts (id 0) or updates; returns the id.
    pub async fn save_incident(&self, _incident: &Incident) -> Result<i64> {
        unimplemented!()
    }
    /// Incidents that overlap `[from, to]`, oldest first.
    pub async fn incidents(&self, _service: &str, _from: Timestamp, _to: Timestamp) -> Result<Vec<Incident>> {
        unimplemented!()
    }
}
