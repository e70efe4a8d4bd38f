//! `state.db`: what must never be lost. WAL with `synchronous=FULL`.
//!
//! One file per subject, each an `impl State` block. A function that changes something is one transaction, audit row
//! included; a function that reads is one statement, so it sees one moment.

pub mod alerts;
pub mod audit;
pub mod baseline;
mod chain;
pub mod evidence;
pub mod feedback;
pub mod gates;
pub mod incidents;
pub mod launches;
pub mod liveness;
pub mod outbox;
pub mod reports;
mod row;

use std::path::Path;
use std::sync::{Arc, Mutex};

use sqlx::sqlite::SqliteSynchronous;

use super::db::{Db, Kind, Reader};
use super::reserve::Reserve;
use super::writer::WriterStats;
use crate::domain::clock::SharedClock;

/// Handle on `state.db`. Cheap to clone.
#[derive(Clone)]
pub struct State {
    db: Arc<Db>,
    /// For the few rows whose caller gives no instant.
    clock: SharedClock,
    /// The boot that beats through this handle, for [`State::last_beat`] and the goodbye.
    boot: Arc<Mutex<Option<String>>>,
}

pub type Result<T> = std::result::Result<T, super::StoreError>;

const KIND: Kind = Kind {
    file: "state.db",
    // A commit is on the disk before anybody acts on it: the outbox's promise outlives a power cut.
    synchronous: SqliteSynchronous::Full,
    cache: "-1024",
    migrations: &[
        include_str!("../../../migrations/state/0001_meta.sql"),
        include_str!("../../../migrations/state/0002_launches.sql"),
        include_str!("../../../migrations/state/0003_markers.sql"),
        include_str!("../../../migrations/state/0004_evidence.sql"),
        include_str!("../../../migrations/state/0005_gate_runs.sql"),
        include_str!("../../../migrations/state/0006_alerts.sql"),
        include_str!("../../../migrations/state/0007_outbox.sql"),
        include_str!("../../../migrations/state/0008_silences.sql"),
        include_str!("../../../migrations/state/0009_incidents.sql"),
        include_str!("../../../migrations/state/0010_feedback.sql"),
        include_str!("../../../migrations/state/0011_baselines.sql"),
        include_str!("../../../migrations/state/0012_reports.sql"),
        include_str!("../../../migrations/state/0013_audit.sql"),
        include_str!("../../../migrations/state/0014_liveness.sql"),
    ],
};

impl State {
    pub(super) async fn open(dir: &Path, reserve: Arc<Reserve>, clock: SharedClock) -> Result<State> {
        let (db, ()) = Db::open(dir, &KIND, reserve, |_| Box::pin(async { Ok(()) })).await?;
        Ok(State { db: Arc::new(db), clock, boot: Arc::default() })
    }
    pub(super) async fn close(&self) {
        self.db.close().await;
    }
    #[cfg(test)]
    pub(super) fn database(&self) -> &Db {
        &self.db
    }
    async fn reader(&self) -> Result<Reader> {
        self.db.reader().await
    }
    /// Changes whenever this process or another commits.
    pub async fn revision(&self) -> Result<u64> {
        self.db.revision().await
    }
    /// Answers once the writer has done everything queued before: proof that it lives.
    pub async fn ping(&self) -> Result<()> {
        self.db.ping().await
    }
    pub fn writer_stats(&self) -> &WriterStats {
        self.db.stats()
    }
    /// Size of the file and its log in bytes.
    pub fn file_bytes(&self) -> u64 {
        self.db.bytes()
    }
}

#[cfg(test)]
mod tests;
