//! One database file: how it is opened, with which pragmas and why, how its schema grows, and its readers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Sqlite, SqliteConnection, SqlitePool};

use super::StoreError;
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
    readers: SqlitePool,
}

/// A connection of the reader pool: `query_only`.
pub(super) type Reader = PoolConnection<Sqlite>;

impl Db {
    /// Opens or creates the file, brings its schema up to date, and hands the write connection to `prepare` before the
    /// writer task takes it over.
    pub(super) async fn open<T>(
        dir: &Path,
        kind: &Kind,
        prepare: impl for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>>,
    ) -> Result<(Db, T), StoreError> {
        let path = dir.join(kind.file);
        let opened = async {
            let mut connection = connect(&path, kind).await?;
            migrate(&mut connection, kind).await?;
            let prepared = prepare(&mut connection).await?;
            Ok((connection, prepared))
        };
        let (connection, prepared) = opened.await.map_err(|e: StoreError| e.in_file(&path))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS_MAX)
            .min_connections(0)
            .idle_timeout(READER_IDLE)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_lazy_with(
                options(&path).pragma("query_only", "1").pragma("cache_size", "-512").disable_statement_logging(),
            );
        Ok((Db { path, writer: Writer::start(connection), readers }, prepared))
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
        self.writer.write_then(work, after).await.map_err(|e| e.in_file(&self.path))
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
        self.readers.acquire().await.map_err(|e| match e {
            sqlx::Error::PoolClosed => StoreError::Closed,
            e => StoreError::from(e).in_file(&self.path),
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
        speak.await.map_err(|e| e.in_file(&self.path))
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
        self.readers.close().await;
    }

    #[cfg(test)]
    pub(super) fn writer(&self) -> &Writer {
        &self.writer
    }
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
        return Err(StoreError::Corrupt { file: kind.file.into(), detail: "it is not a hypercare database".into() });
    }
    if found > known || found < 0 {
        return Err(StoreError::NewerSchema { file: kind.file.into(), found, known });
    }
    Ok(found)
}
