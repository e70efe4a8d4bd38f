//! The only room that speaks SQL: `state.db` (launches, alerts, outbox, evidence…) and `samples.db` (series).
//!
//! Each function is one sentence of the trade. One writer task owns the write connection of each file; readers use a
//! separate pool. Nothing here knows a gate, a rule or a channel. Read `state/mod.rs` and `samples/mod.rs` next.

pub mod samples;
pub mod state;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::clock::SharedClock;
use crate::domain::launch::MoveRefused;

pub use samples::Samples;
pub use state::State;

/// `[store]`: where the databases live.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder that holds `state.db` and `samples.db`, relative to the configuration file.
    #[schemars(extend("format" = "path"))]
    pub path: PathBuf,
    /// `embedded`. Reading from an existing Prometheus-compatible store is not built yet.
    pub engine: Engine,
    /// Raw samples are kept this long.
    pub retention: crate::domain::units::Span,
    /// Hard cap of `samples.db` in GiB; the oldest samples go first.
    pub max_gib: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    #[default]
    Embedded,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            path: "hypercare-data".into(),
            engine: Engine::Embedded,
            retention: crate::domain::units::Span::secs(30 * 86_400),
            max_gib: 10,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another daemon holds the folder. Exit code 75.
    #[error("{path} is in use by another hypercare daemon ({holder})")]
    Locked { path: String, holder: String },
    /// Exit code 74.
    #[error("{file} was written by a newer hypercare (schema {found}, this program knows {known})")]
    NewerSchema { file: String, found: i64, known: i64 },
    #[error("{file} is damaged: {detail}")]
    Corrupt { file: String, detail: String },
    #[error("the disk is full")]
    DiskFull,
    #[error(transparent)]
    Refused(#[from] MoveRefused),
    #[error("{0} not found")]
    NotFound(String),
    #[error("the store is shut down")]
    Closed,
    #[error("database: {0}")]
    Database(String),
    #[error("file {path}: {source}")]
    Io { path: String, source: std::io::Error },
}

/// Who opens the store: the daemon takes the exclusive lock, a command line tool works beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Daemon,
    Client,
}

/// Both databases. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pub state: State,
    pub samples: Samples,
    pub clock: SharedClock,
    dir: Arc<PathBuf>,
}

impl Store {
    /// Creates the folder (with a `.gitignore`), takes the lock for [`Role::Daemon`], migrates, starts the writers.
    pub async fn open(_dir: &Path, _role: Role, _clock: SharedClock) -> Result<Store, StoreError> {
        unimplemented!()
    }
    pub fn dir(&self) -> &Path {
        &self.dir
    }
    /// Drains the writers, writes `clean_shutdown`, releases the lock.
    pub async fn close(&self) {
        unimplemented!()
    }
}
