//! One database file: how it is opened, with which pragmas and why, how its schema grows, and its readers.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Sqlite, SqliteConnection, SqlitePool};

use tokio::sync::{Notify, RwLock, oneshot};

use super::StoreError;
use super::reserve::Reserve;
use super::writer::{Writer, WriterStats};

/// "HYPC": marks the file as ours, so that a foreign database is refused rather than migrated.
const APPLICATION_ID: i64 = 0x4859_5043;
/// SQLite waits this long for another process' write lock before it says busy.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Two readers: a dashboard's long query must not block an alert's.
const READERS_MAX: u32 = 2;
/// Idle readers go, and their memory with them.
const READER_IDLE: Duration = Duration::from_secs(60);
/// A WAL that grew in a burst is cut back to this at the next checkpoint.
const WAL_BYTES_MAX: &str = "67108864";

/// What differs between the two files.
pub(super) struct Kind {
    pub(super) file: &'static str,
    pub(super) synchronous: SqliteSynchronous,
    /// Page cache of the writer in KiB, as SQLite wants it: negative.
    pub(super) cache: &'static str,
    /// Schema changes in order, one per file; the position (from 1) is the schema's number. Never edited once released.
    pub(super) migrations: &'static [&'static str],
}

/// A file with its writer and its readers.
pub(super) struct Db {
    pub(super) path: PathBuf,
    writer: Writer,
    readers: Arc<RwLock<SqlitePool>>,
    reserve: Arc<Reserve>,
    damage: Mutex<Option<String>>,
    damage_found: Notify,
}

/// A connection of the reader pool: `query_only`.
pub(super) type Reader = PoolConnection<Sqlite>;

impl Db {
    /// Opens or creates the file, brings its schema up to date, and hands the write connection to `prepare` before the
    /// writer task takes it over.
    pub(super) async fn open<T>(
        dir: &Path,
        kind: &Kind,
        reserve: Arc<Reserve>,
        prepare: impl for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>>,
    ) -> Result<(Db, T), StoreError> {
        let path = dir.join(kind.file);
        let (connection, prepared) = begin(&path, kind, prepare).await?;
        let readers = Arc::new(RwLock::new(readers(&path)));
        let writer = Writer::start(connection);
        Ok((Db { path, writer, readers, reserve, damage: Mutex::default(), damage_found: Notify::new() }, prepared))
    }

    /// Moves the file to `aside` and begins a new one, which `prepare` fills. Reads end first, writes wait.
    pub(super) async fn replace<T: Send + 'static>(
        &self,
        kind: &'static Kind,
        aside: PathBuf,
        prepare: impl for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (path, pool) = (self.path.clone(), self.readers.clone());
        let (answer, answered) = oneshot::channel();
        let swap = move |old: SqliteConnection| -> BoxFuture<'static, Option<SqliteConnection>> {
            Box::pin(async move {
                let mut pool = pool.write().await;
                pool.close().await;
                // It is damaged: that it does not close cleanly is no news.
                let _ = old.close().await;
                let begun = match move_aside(&path, &aside) {
                    Ok(()) => begin(&path, kind, prepare).await,
                    Err(error) => Err(error),
                };
                let (connection, result) = match begun {
                    Ok((connection, prepared)) => (Some(connection), Ok(prepared)),
                    Err(error) => (None, Err(error)),
                };
                *pool = readers(&path);
                drop(answer.send(result));
                connection
            })
        };
        self.writer.replace(Box::new(swap)).await?;
        let prepared = answered.await.unwrap_or(Err(StoreError::Closed))?;
        self.damage.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(prepared)
    }

    /// What was met of damage since the file was opened.
    pub(super) fn damage(&self) -> Option<String> {
        self.damage.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns once [`Db::damage`] has something to say.
    pub(super) async fn damaged(&self) {
        while self.damage().is_none() {
            self.damage_found.notified().await;
        }
    }

    /// Every error of this file comes by here: damage is remembered, a full disk gives up its reserve.
    pub(super) fn noticed(&self, error: StoreError) -> StoreError {
        match &error {
            StoreError::Corrupt { detail, .. } => {
                let mut damage = self.damage.lock().unwrap_or_else(PoisonError::into_inner);
                damage.get_or_insert_with(|| detail.clone());
                self.damage_found.notify_one();
            }
            StoreError::DiskFull => self.reserve.spend(),
            _ => {}
        }
        error.in_file(&self.path)
    }

    /// Is there room for what can be done without?
    pub(super) fn has_room(&self) -> bool {
        self.reserve.stands()
    }

    /// One transaction. Queued behind earlier writes; never cancelled by the caller's going away.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
    {
        self.write_then(work, |_| ()).await
    }

    /// As [`Db::write`]; `after` sees the result once it is committed and before any later write runs.
    pub(super) async fn write_then<T, F, A>(&self, work: F, after: A) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
        A: FnOnce(&T) + Send + 'static,
    {
        self.writer.write_then(work, after).await.map_err(|e| self.noticed(e))
    }

    /// As [`Writer::work_then`].
    pub(super) async fn work_then<T, F, A>(&self, work: F, after: A) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
        A: FnOnce(&T) + Send + 'static,
    {
        self.writer.work_then(work, after).await.map_err(|e| e.in_file(&self.path))
    }

    pub(super) async fn reader(&self) -> Result<Reader, StoreError> {
        self.readers.read().await.acquire().await.map_err(|e| match e {
            sqlx::Error::PoolClosed => StoreError::Closed,
            e => self.noticed(StoreError::from(e)),
        })
    }

    /// Answers when everything queued before has run and the connection still speaks.
    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        let speak = self.writer.inspect(|c| {
            Box::pin(async move {
                sqlx::query("SELECT 1").execute(c).await?;
                Ok(())
            })
        });
        speak.await.map_err(|e| self.noticed(e))
    }

    /// Changes whenever anybody, this process or another, commits to the file.
    pub(super) async fn revision(&self) -> Result<u64, StoreError> {
        let others: i64 = self
            .writer
            .inspect(|c| {
                Box::pin(async move { Ok(sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut *c).await?) })
            })
            .await?;
        let own = self.stats().commits.load(std::sync::atomic::Ordering::Relaxed);
        Ok((others as u64).wrapping_shl(40).wrapping_add(own))
    }

    pub(super) fn stats(&self) -> &WriterStats {
        &self.writer.stats
    }

    /// Size of the file and its write-ahead log in bytes.
    pub(super) fn bytes(&self) -> u64 {
        let wal = PathBuf::from(format!("{}-wal", self.path.display()));
        [&self.path, &wal].iter().filter_map(|p| std::fs::metadata(p).ok()).map(|m| m.len()).sum()
    }

    pub(super) async fn close(&self) {
        self.writer.stop().await;
        self.readers.read().await.close().await;
    }

    #[cfg(test)]
    pub(super) fn writer(&self) -> &Writer {
        &self.writer
    }
}

/// Connects, brings the schema up to date, prepares.
async fn begin<T>(
    path: &Path,
    kind: &Kind,
    prepare: impl for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>>,
) -> Result<(SqliteConnection, T), StoreError> {
    let mut connection = connect(path, kind).await.map_err(|e| e.in_file(path))?;
    let prepared = match migrate(&mut connection, kind).await {
        Ok(()) => prepare(&mut connection).await,
        Err(error) => Err(error),
    };
    match prepared {
        Ok(prepared) => Ok((connection, prepared)),
        Err(error) => {
            // Now and not some time later: the caller may move the file.
            let _ = connection.close().await;
            Err(error.in_file(path))
        }
    }
}

fn readers(path: &Path) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(READERS_MAX)
        .min_connections(0)
        .idle_timeout(READER_IDLE)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_lazy_with(
            options(path).pragma("query_only", "1").pragma("cache_size", "-512").disable_statement_logging(),
        )
}

/// The file, its write-ahead log and the log's index.
pub(super) fn with_logs(path: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|suffix| PathBuf::from(format!("{}{suffix}", path.display())))
}

/// Gives the file and its log another name; nobody in this process may have it open.
pub(super) fn move_aside(path: &Path, aside: &Path) -> Result<(), StoreError> {
    for (from, to) in with_logs(path).into_iter().zip(with_logs(aside)) {
        match std::fs::rename(&from, to) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::Io { path: from.display().to_string(), source });
            }
            _ => {}
        }
    }
    Ok(())
}

/// A file that was set aside, to read from: no schema is brought up to date, nothing is made.
pub(super) async fn open_existing(path: &Path) -> Result<SqliteConnection, StoreError> {
    Ok(SqliteConnection::connect_with(&options(path).disable_statement_logging()).await?)
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY_TIMEOUT)
        // Temporary b-trees are small here; a file for them would be one more thing that can be full.
        .pragma("temp_store", "MEMORY")
        .statement_cache_capacity(64)
}

async fn connect(path: &Path, kind: &Kind) -> Result<SqliteConnection, StoreError> {
    let options = options(path)
        .create_if_missing(true)
        // Free pages can be given back; set once, when the file is made.
        .auto_vacuum(SqliteAutoVacuum::Incremental)
        // Readers never wait for the writer, nor it for them.
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(kind.synchronous)
        .pragma("cache_size", kind.cache)
        .pragma("journal_size_limit", WAL_BYTES_MAX)
        .disable_statement_logging();
    // Turning a new file to WAL needs a lock that no busy timeout waits for: two programs may start at the same moment.
    let mut tried = 0;
    loop {
        match SqliteConnection::connect_with(&options).await.map_err(StoreError::from) {
            Err(StoreError::Busy) if tried < 50 => {
                tried += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            other => return other,
        }
    }
}

/// All pending changes in one transaction: either the schema is new or it is untouched, with one fsync at start.
/// (sqlx's own migrator commits, and so fsyncs, once per file.)
async fn migrate(connection: &mut SqliteConnection, kind: &Kind) -> Result<(), StoreError> {
    let known = kind.migrations.len() as i64;
    if schema_version(connection, kind).await? == known {
        return Ok(());
    }
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
    // Again under the lock: another process may have been faster.
    let found = schema_version(&mut tx, kind).await?;
    for sql in &kind.migrations[found as usize..] {
        sqlx::raw_sql(*sql).execute(&mut *tx).await?;
    }
    // Numbers of our own, not text from outside: a pragma takes no parameters.
    let stamp = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {known};");
    sqlx::raw_sql(AssertSqlSafe(stamp)).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

async fn schema_version(connection: &mut SqliteConnection, kind: &Kind) -> Result<i64, StoreError> {
    let found: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *connection).await?;
    let owner: i64 = sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut *connection).await?;
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema").fetch_one(&mut *connection).await?;
    let known = kind.migrations.len() as i64;
    if (tables > 0 || found != 0) && owner != APPLICATION_ID {
        return Err(StoreError::Foreign { file: kind.file.into() });
    }
    if found > known || found < 0 {
        return Err(StoreError::NewerSchema { file: kind.file.into(), found, known });
    }
    Ok(found)
}
