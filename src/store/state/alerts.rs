//! Alerts, transitions, notification groups, silences and acknowledgements.

use super::{Result, State};
use crate::domain::alert::{Ack, Alert, NotifGroup, Silence, Transition};
use crate::domain::clock::Timestamp;
use crate::domain::incident::Incident;
use crate::domain::notification::NewOutbox;

/// Everything one evaluation or one flush decided. Commits as a whole or not at all: a state change and the intent to
/// tell someone about it are one transaction.
#[derive(Debug, Clone, Default)]
pub struct AlertingCommit {
    /// Upserted by (rule, fingerprint).
    pub alerts: Vec<Alert>,
    /// (rule, fingerprint) of alerts that are over and forgotten.
    pub forget: Vec<(String, String)>,
    pub transitions: Vec<Transition>,
    /// Upserted by key.
    pub groups: Vec<NotifGroup>,
    /// Ignored when (channel, group_key, seq) exists.
    pub outbox: Vec<NewOutbox>,
    /// Upserted by id; id 0 is new.
    pub incidents: Vec<Incident>,
}

impl AlertingCommit {
    pub fn is_empty(&self) -> bool {
        self.alerts.is_empty()
            && self.forget.is_empty()
            && self.transitions.is_empty()
            && self.groups.is_empty()
            && self.outbox.is_empty()
            && self.incidents.is_empty()
    }
}

impl State {
    /// Unsent older rows of the same (channel, group_key) become `coalesced` when a newer one is inserted.
    pub async fn commit_alerting(&self, _commit: AlertingCommit) -> Result<()> {
        unimplemented!()
    }
    /// Every alert that is not forgotten, by rule and fingerprint.
    pub async fn alerts(&self) -> Result<Vec<Alert>> {
        unimplemented!()
    }
    /// Oldest first, `from <= at <= to`; of one service when given.
    pub async fn transitions(
        &self,
        _service: Option<&str>,
        _from: Timestamp,
        _to: Timestamp,
    ) -> Result<Vec<Transition>> {
        unimplemented!()
    }
    pub async fn notif_groups(&self) -> Result<Vec<NotifGroup>> {
        unimplemented!()
    }
    /// Next running number for an episode.
    pub async fn next_episode_number(&self) -> Result<i64> {
        unimplemented!()
    }
    pub async fn add_silence(&self, _silence: Silence, _actor: &str) -> Result<()> {
        unimplemented!()
    }
    /// Ends a silence now; false when there is none.
    pub async fn expire_silence(&self, _id: &str, _at: Timestamp, _actor: &str) -> Result<bool> {
        unimplemented!()
    }
    /// Silences that end after `at`.
    pub async fn silences(&self, _at: Timestamp) -> Result<Vec<Silence>> {
        unimplemented!()
    }
    /// Records the ack, sets `acked_until` of the group with this episode, audits. Error when no open group has it.
    pub async fn add_ack(&self, _ack: Ack) -> Result<NotifGroup> {
        unimplemented!()
    }
    pub async fn acks(&self, _from: Timestamp, _to: Timestamp) -> Result<Vec<Ack>> {
        unimplemented!()
    }
}
