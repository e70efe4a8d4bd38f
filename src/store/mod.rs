//! The only room that speaks SQL: `state.db` (launches, alerts, outbox, evidence…) and `samples.db` (series).
//!
//! Each function is one sentence of the trade. One writer task owns the write connection of each file; readers use a
//! separate pool. Nothing here knows a gate, a rule or a channel. Read `state/mod.rs` and `samples/mod.rs` next.

mod db;
mod engine;
mod lock;
mod reserve;
pub mod samples;
pub mod state;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use crate::domain::clock::{SharedClock, Timestamp};
use crate::domain::launch::MoveRefused;
use crate::domain::metric::{Labels, Matcher, SeriesReader};
use crate::domain::query::Listing;

pub use engine::{Engine, Remote};
use lock::FolderLock;
use reserve::Reserve;
pub use samples::Samples;
pub use state::State;
pub use writer::WriterStats;

/// `[store]`: where the databases live.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder that holds `state.db` and `samples.db`, relative to the configuration file.
    #[schemars(extend("format" = "path"))]
    pub path: PathBuf,
    /// `embedded`, or where a Prometheus, Mimir, Thanos or VictoriaMetrics reads and writes.
    pub engine: Engine,
    /// Raw samples are kept this long.
    pub retention: crate::domain::units::Span,
    /// Rollups (5 min and 1 h) are made of raw samples when those go, and kept this long; `0s`: none are made.
    pub rollup_retention: crate::domain::units::Span,
    /// Hard cap of `samples.db` in GiB; the oldest samples go first.
    pub max_gib: u32,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            path: "hypercare-data".into(),
            engine: Engine::default(),
            retention: crate::domain::units::Span::secs(30 * 86_400),
            rollup_retention: crate::domain::units::Span::secs(395 * 86_400),
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
    /// Exit code 74.
    #[error("{file} is not a hypercare database; [store] path must name a folder of its own")]
    Foreign { file: String },
    #[error("{file} is damaged: {detail}")]
    Corrupt { file: String, detail: String },
    #[error("the disk is full")]
    DiskFull,
    #[error(transparent)]
    Refused(#[from] MoveRefused),
    #[error("{0} not found")]
    NotFound(String),
    /// The store that is configured elsewhere could not be asked.
    #[error("{0}")]
    Elsewhere(String),
    #[error("the store is shut down")]
    Closed,
    /// Another process held the write lock for too long.
    #[error("the database is busy")]
    Busy,
    #[error("database: {0}")]
    Database(String),
    #[error("file {path}: {source}")]
    Io { path: String, source: std::io::Error },
}

/// Stands for the file's name until the caller that knows it fills it in.
const SOME_FILE: &str = "the store";

impl StoreError {
    fn corrupt(detail: impl Into<String>) -> StoreError {
        StoreError::Corrupt { file: SOME_FILE.into(), detail: detail.into() }
    }
    fn in_file(self, path: &Path) -> StoreError {
        match self {
            StoreError::Corrupt { file, detail } if file == SOME_FILE || Some(&*file) == file_name(path) => {
                StoreError::Corrupt { file: path.display().to_string(), detail }
            }
            StoreError::NewerSchema { found, known, .. } => {
                StoreError::NewerSchema { file: path.display().to_string(), found, known }
            }
            StoreError::Foreign { .. } => StoreError::Foreign { file: path.display().to_string() },
            other => other,
        }
    }
}

fn file_name(path: &Path) -> Option<&str> {
    path.file_name().and_then(|n| n.to_str())
}

/// `SQLITE_IOERR_SHMSIZE`.
const SHM_SIZE: &str = "4874";

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> StoreError {
        // https://www.sqlite.org/rescode.html: the low byte is the primary code.
        let code = match &error {
            sqlx::Error::Database(e) => e.code().and_then(|c| c.parse::<i64>().ok()).map(|c| c & 0xff),
            _ => None,
        };
        match (code, &error) {
            (Some(5 | 6), _) => StoreError::Busy,
            (Some(11), _) => StoreError::corrupt("the database image is malformed"),
            (Some(26), _) => StoreError::corrupt("it is not a database"),
            (Some(13), _) => StoreError::DiskFull,
            // The log's index in shared memory found no room.
            (Some(10), sqlx::Error::Database(e)) if e.code().as_deref() == Some(SHM_SIZE) => StoreError::DiskFull,
            (_, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_)) => StoreError::corrupt(error.to_string()),
            (_, sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed) => StoreError::Closed,
            _ => StoreError::Database(error.to_string()),
        }
    }
}

impl From<serde_json::Error> for StoreError {
    fn from(error: serde_json::Error) -> StoreError {
        StoreError::corrupt(format!("a stored document does not read: {error}"))
    }
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
    /// Where queries are answered, when it is not here.
    elsewhere: Option<Arc<dyn SeriesReader>>,
    dir: Arc<PathBuf>,
    reserve: Arc<Reserve>,
    /// Emptied by [`Store::close`].
    lock: Arc<Mutex<Option<FolderLock>>>,
}

impl Store {
    /// Creates the folder (with a `.gitignore`), takes the lock for [`Role::Daemon`], migrates, starts the writers.
    pub async fn open(dir: &Path, role: Role, clock: SharedClock) -> Result<Store, StoreError> {
        prepare_folder(dir)?;
        let lock = match role {
            Role::Daemon => Some(FolderLock::take(dir)?),
            Role::Client => None,
        };
        let reserve = Arc::new(Reserve::new(dir));
        let state = State::open(dir, reserve.clone(), clock.clone());
        let samples = Samples::open(dir, role, reserve.clone(), clock.clone());
        let (state, samples) = tokio::try_join!(state, samples)?;
        let (dir, lock) = (Arc::new(dir.to_path_buf()), Arc::new(Mutex::new(lock)));
        Ok(Store { state, samples, clock, elsewhere: None, dir, reserve, lock })
    }
    /// Keeps room on the disk for alerts, from now on: 32 MiB beside the databases, given up when the disk is full.
    pub async fn keep_reserve(&self) {
        let reserve = self.reserve.clone();
        let _ = tokio::task::spawn_blocking(move || reserve.keep()).await;
    }
    /// The same store, whose samples are read elsewhere; its own are what was collected here of late.
    pub fn read_from(mut self, elsewhere: Arc<dyn SeriesReader>) -> Store {
        self.elsewhere = Some(elsewhere);
        self
    }
    /// Where queries read: the samples here, unless [`Store::read_from`] named another place.
    pub fn reader(&self) -> Arc<dyn SeriesReader> {
        match &self.elsewhere {
            Some(elsewhere) => elsewhere.clone(),
            None => Arc::new(self.samples.clone()),
        }
    }
    /// Label sets of series that match and have samples in the range, sorted; from where queries read.
    pub async fn label_sets(
        &self,
        matchers: &[Matcher],
        start: Timestamp,
        end: Timestamp,
    ) -> Result<Vec<Labels>, StoreError> {
        match self.elsewhere.as_ref().and_then(|e| e.engine()) {
            Some(engine) => {
                let matches = [matchers.to_vec()];
                let of = Listing { matches: &matches, start, end };
                engine.label_sets(of).await.map_err(|e| StoreError::Elsewhere(e.to_string()))
            }
            None => self.samples.series(matchers, start, end).await,
        }
    }
    pub fn dir(&self) -> &Path {
        &self.dir
    }
    /// Drains the writers, writes `clean_shutdown`, releases the lock.
    pub async fn close(&self) {
        if let Err(error) = self.state.say_goodbye().await
            && !matches!(error, StoreError::Closed)
        {
            tracing::warn!(%error, "clean shutdown was not recorded");
        }
        self.samples.close().await;
        self.state.close().await;
        drop(self.lock.lock().unwrap_or_else(|e| e.into_inner()).take());
    }
    /// Changes whenever this process or another commits to either file: for pages that push what is new.
    pub async fn revision(&self) -> Result<(u64, u64), StoreError> {
        Ok((self.state.revision().await?, self.samples.revision().await?))
    }
}

/// Data folder: only its owner may look inside, and git never takes it in by accident.
fn prepare_folder(dir: &Path) -> Result<(), StoreError> {
    let io = |source| StoreError::Io { path: dir.display().to_string(), source };
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(io)?;
    let ignore = dir.join(".gitignore");
    if !ignore.exists() {
        std::fs::write(ignore, "*\n").map_err(io)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
