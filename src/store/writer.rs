//! The one writer task of a file: whole closures come in over a channel, each runs as one `BEGIN IMMEDIATE` transaction.
//!
//! A caller that goes away cancels nothing: the transaction belongs to this task, and no `select!` or timeout wraps it
//! (sqlx's SQLite transactions are not safe to cancel: sqlx #2054, #3932). Nothing but the database is awaited here.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

use super::StoreError;

/// Writes waiting at most; beyond it callers wait for room. Sources batch, so this is minutes of work.
const QUEUE_LENGTH_MAX: usize = 1024;
/// How often `BEGIN IMMEDIATE` is tried again while another process holds the write lock (each try waits the busy
/// timeout of 5 s): a storage hiccup of a minute must not become lost samples.
const BUSY_TRIES: u32 = 12;

type Job = Box<dyn for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, ()> + Send>;

/// Gives the writer another connection for its own; `None` when there is none, which ends it.
pub(super) type Swap = Box<dyn FnOnce(SqliteConnection) -> BoxFuture<'static, Option<SqliteConnection>> + Send>;

enum Order {
    Run(Job),
    Replace(Swap),
    Stop(oneshot::Sender<()>),
}

/// What the writer did since start.
#[derive(Debug, Default)]
pub struct WriterStats {
    pub queued: AtomicU64,
    pub commits: AtomicU64,
    pub failures: AtomicU64,
    pub busy_micros: AtomicU64,
}

#[derive(Clone)]
pub(super) struct Writer {
    tx: mpsc::Sender<Order>,
    pub(super) stats: Arc<WriterStats>,
}

impl Writer {
    /// Starts the task; it ends, and closes `connection`, with [`Writer::stop`] or when the last handle is gone.
    pub(super) fn start(mut connection: SqliteConnection) -> Writer {
        let (tx, mut rx) = mpsc::channel(QUEUE_LENGTH_MAX);
        tokio::spawn(async move {
            let mut stopped = None;
            while let Some(order) = rx.recv().await {
                match order {
                    Order::Run(job) => job(&mut connection).await,
                    Order::Replace(swap) => match swap(connection).await {
                        Some(new) => connection = new,
                        None => return,
                    },
                    Order::Stop(done) => {
                        stopped = Some(done);
                        break;
                    }
                }
            }
            rx.close();
            if let Err(error) = connection.close().await {
                tracing::warn!(%error, "closing the database failed");
            }
            if let Some(done) = stopped {
                let _ = done.send(());
            }
        });
        Writer { tx, stats: Arc::default() }
    }

    /// Runs `work` as one transaction, then `after` in the same task before any later write; answers when both are done.
    pub(super) async fn write_then<T, F, A>(&self, work: F, after: A) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
        A: FnOnce(&T) + Send + 'static,
    {
        self.work_then(|connection| Box::pin(transaction(connection, work)), after).await
    }

    /// [`Writer::write_then`] without a transaction around it: `work` may find one statement enough.
    pub(super) async fn work_then<T, F, A>(&self, work: F, after: A) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
        A: FnOnce(&T) + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let stats = self.stats.clone();
        let job: Job = Box::new(move |connection| {
            Box::pin(async move {
                let begun = Instant::now();
                let worked = AssertUnwindSafe(work(connection)).catch_unwind().await;
                let result = worked.unwrap_or_else(|_| Err(StoreError::Database("a write panicked".into())));
                stats.busy_micros.fetch_add(begun.elapsed().as_micros() as u64, Ordering::Relaxed);
                stats.queued.fetch_sub(1, Ordering::Relaxed);
                match &result {
                    Ok(value) => {
                        after(value);
                        stats.commits.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(StoreError::Refused(_) | StoreError::NotFound(_)) => {}
                    Err(_) => drop(stats.failures.fetch_add(1, Ordering::Relaxed)),
                }
                drop(answer.send(result));
            })
        });
        self.stats.queued.fetch_add(1, Ordering::Relaxed);
        if self.tx.send(Order::Run(job)).await.is_err() {
            self.stats.queued.fetch_sub(1, Ordering::Relaxed);
            return Err(StoreError::Closed);
        }
        answered.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Everything queued before runs on the old connection, everything after on the new one.
    pub(super) async fn replace(&self, swap: Swap) -> Result<(), StoreError> {
        self.tx.send(Order::Replace(swap)).await.map_err(|_| StoreError::Closed)
    }

    /// Runs `read` on the write connection, outside a transaction.
    pub(super) async fn inspect<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| Box::pin(async move { drop(answer.send(read(connection).await)) }));
        self.tx.send(Order::Run(job)).await.map_err(|_| StoreError::Closed)?;
        answered.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Lets everything queued so far finish, then closes the connection. Later writes answer [`StoreError::Closed`].
    pub(super) async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        if self.tx.send(Order::Stop(done)).await.is_ok() {
            let _ = stopped.await;
        }
    }
}

/// All of `work` or nothing.
pub(super) async fn transaction<T, F>(connection: &mut SqliteConnection, work: F) -> Result<T, StoreError>
where
    F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>>,
{
    begin(connection).await?;
    let worked = AssertUnwindSafe(async { work(&mut *connection).await }).catch_unwind().await;
    let result = match worked {
        Ok(Ok(value)) => sqlx::raw_sql("COMMIT").execute(&mut *connection).await.map(|_| value).map_err(Into::into),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(StoreError::Database("a write panicked; it was rolled back".into())),
    };
    if result.is_err() {
        // SQLite may have rolled back by itself (disk full); then there is nothing left to undo.
        let _ = sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await;
    }
    result
}

async fn begin(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    for tried in 1.. {
        match sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut *connection).await.map_err(StoreError::from) {
            Ok(_) => break,
            Err(StoreError::Busy) if tried < BUSY_TRIES => {
                tracing::warn!(tried, "another process holds the database's write lock");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
