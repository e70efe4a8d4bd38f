//! Launches, their events, and markers.

use super::{Result, State};
use crate::domain::clock::Timestamp;
use crate::domain::launch::{Launch, LaunchEvent, Move};
use crate::domain::marker::Marker;
use crate::domain::notification::NewOutbox;

impl State {
    /// Inserts a planned launch with its audit row. Refused when the service has an open launch.
    pub async fn plan_launch(&self, _launch: &Launch, _actor: &str) -> Result<()> {
        unimplemented!()
    }
    /// Compare-and-set on `rev`; state, fields, event, audit row, `marker` and `notices` commit together.
    /// A repeated idempotency key returns the launch as it is now without moving it.
    pub async fn move_launch(
        &self,
        _id: &str,
        _mv: Move,
        _marker: Option<Marker>,
        _notices: Vec<NewOutbox>,
    ) -> Result<Launch> {
        unimplemented!()
    }
    /// Sets a new window end and length, with event and audit row; compare-and-set on `expected_rev`.
    pub async fn extend_window(
        &self,
        _id: &str,
        _expected_rev: i64,
        _window_end: Timestamp,
        _window_ms: i64,
        _actor: &str,
        _reason: &str,
    ) -> Result<Launch> {
        unimplemented!()
    }
    pub async fn launch(&self, _id: &str) -> Result<Option<Launch>> {
        unimplemented!()
    }
    pub async fn open_launch(&self, _service: &str) -> Result<Option<Launch>> {
        unimplemented!()
    }
    /// All launches, newest plan first.
    pub async fn launches(&self) -> Result<Vec<Launch>> {
        unimplemented!()
    }
    pub async fn add_launch_event(&self, _event: LaunchEvent) -> Result<()> {
        unimplemented!()
    }
    /// Oldest first.
    pub async fn launch_events(&self, _launch: &str) -> Result<Vec<LaunchEvent>> {
        unimplemented!()
    }
    /// False when a marker with this service and `dedup_key` exists already.
    pub async fn add_marker(&self, _marker: Marker) -> Result<bool> {
        unimplemented!()
    }
    /// Markers of `service` with `from <= at <= to`, oldest first.
    pub async fn markers(&self, _service: &str, _from: Timestamp, _to: Timestamp) -> Result<Vec<Marker>> {
        unimplemented!()
    }
}
