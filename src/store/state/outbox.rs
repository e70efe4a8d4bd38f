//! The outbox: claim with a lease, send outside the transaction, settle.

use std::time::Duration;

use super::{Result, State};
use crate::domain::clock::Timestamp;
use crate::domain::notification::{DeliveryAttempt, NewOutbox, OutboxRow, OutboxState, Settle};

/// Depth per channel.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct OutboxDepth {
    pub channel: String,
    pub pending: u64,
    pub delivered: u64,
    pub dead: u64,
    pub oldest_pending: Option<Timestamp>,
}

impl State {
    /// Ignores rows whose (channel, group_key, seq) exists.
    pub async fn enqueue(&self, _rows: Vec<NewOutbox>) -> Result<()> {
        unimplemented!()
    }
    /// Rows of `channel` that are due (`not_before <= now`, not leased or lease over), critical first then oldest,
    /// and only the lowest unsettled `seq` of each group. Sets `lease_until = now + lease` and counts the attempt.
    pub async fn claim_outbox(
        &self,
        _channel: &str,
        _now: Timestamp,
        _lease: Duration,
        _limit: u32,
    ) -> Result<Vec<OutboxRow>> {
        unimplemented!()
    }
    /// Records the attempt and the row's new state in one transaction.
    pub async fn settle_outbox(&self, _id: &str, _attempt: DeliveryAttempt, _settle: Settle) -> Result<()> {
        unimplemented!()
    }
    /// Frees every lease (start of the daemon: the previous owner is gone).
    pub async fn release_leases(&self) -> Result<u64> {
        unimplemented!()
    }
    /// Next instant at which some row becomes due, for the dispatcher's sleep.
    pub async fn next_outbox_due(&self) -> Result<Option<Timestamp>> {
        unimplemented!()
    }
    /// Newest first.
    pub async fn outbox(&self, _state: Option<OutboxState>, _limit: u32) -> Result<Vec<OutboxRow>> {
        unimplemented!()
    }
    pub async fn outbox_row(&self, _id: &str) -> Result<Option<OutboxRow>> {
        unimplemented!()
    }
    /// Rows enqueued in `[from, to]`, oldest first, of one service when given.
    pub async fn outbox_between(
        &self,
        _service: Option<&str>,
        _from: Timestamp,
        _to: Timestamp,
    ) -> Result<Vec<OutboxRow>> {
        unimplemented!()
    }
    pub async fn delivery_attempts(&self, _outbox_id: &str) -> Result<Vec<DeliveryAttempt>> {
        unimplemented!()
    }
    /// Makes a pending or dead row due at once, with an audit row; false when there is none.
    pub async fn retry_outbox(&self, _id: &str, _now: Timestamp, _actor: &str) -> Result<bool> {
        unimplemented!()
    }
    pub async fn drop_outbox(&self, _id: &str, _now: Timestamp, _actor: &str, _reason: &str) -> Result<bool> {
        unimplemented!()
    }
    pub async fn outbox_depths(&self) -> Result<Vec<OutboxDepth>> {
        unimplemented!()
    }
}
