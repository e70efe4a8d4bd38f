//! Collectors → bounded ingest queue → the samples store. One task per target, so that a slow one delays only itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::domain::clock::{SharedClock, Timestamp};
use crate::domain::gap::{Gap, GapReason};
use crate::sources::metric::{Batch, Collector};
use crate::store::Store;
use crate::telemetry::own;

/// Batches that may wait for the writer. When full, collectors wait half an interval and then skip their slot.
const QUEUE_BATCHES: usize = 8192;

/// Batches that wait for the writer are written together until they have so many samples.
const TOGETHER_SAMPLES_MAX: usize = 20_000;

/// Polls at the same time over all targets, so that a thousand targets do not open a thousand sockets at once.
const POLLS_AT_ONCE: usize = 32;

/// No sleep is longer than this without comparing the wall clock: timers may pause while the machine sleeps.
pub const SLEEP_MAX: Duration = Duration::from_secs(30);

/// The way into the samples store.
#[derive(Clone)]
pub struct Ingest {
    queue: mpsc::Sender<Batch>,
    polls: Arc<Semaphore>,
}

impl Ingest {
    /// The queue and the task that empties it into the store. `arrived` is signalled after each append, so that rules
    /// see what was just scraped.
    pub fn new(store: Store, arrived: Arc<Notify>) -> (Ingest, impl Future<Output = ()>) {
        let (queue, mut batches) = mpsc::channel::<Batch>(QUEUE_BATCHES);
        let pump = async move {
            while let Some(first) = batches.recv().await {
                let (mut many, mut waiting) = (first.sample_count(), vec![first]);
                while many < TOGETHER_SAMPLES_MAX
                    && let Ok(next) = batches.try_recv()
                {
                    many += next.sample_count();
                    waiting.push(next);
                }
                save(&store, many, waiting).await;
                arrived.notify_one();
            }
        };
        (Ingest { queue, polls: Arc::new(Semaphore::new(POLLS_AT_ONCE)) }, pump)
    }

    /// For what is not polled: own metrics, gaps.
    pub async fn push(&self, batch: Batch) {
        // The receiver lives until every sender is gone, so this fails only while the daemon stops.
        let _ = self.queue.send(batch).await;
    }
}

/// A storage error is never evidence about the target: it is logged and counted, what was to be stored is dropped.
async fn save(store: &Store, many: usize, batches: Vec<Batch>) {
    let (mut rounds, mut others, mut told) = (Vec::new(), Vec::new(), Vec::new());
    for mut batch in batches {
        rounds.append(&mut batch.rounds);
        others.append(&mut batch.samples);
        told.push(batch);
    }
    if let Err(error) = store.samples.append_rounds(rounds, others).await {
        own::unstored(many as u64);
        let targets: Vec<&str> = told.iter().map(|b| b.target.as_str()).collect();
        tracing::error!(target_name = %targets.join(", "), %error, "saving samples failed");
    }
    for Batch { target, metadata, gap, .. } in told {
        let metadata = if metadata.is_empty() { Ok(()) } else { store.samples.record_metadata(metadata).await };
        let gap = match gap {
            Some(gap) => store.samples.record_gap(gap).await,
            None => Ok(()),
        };
        for error in [metadata, gap].into_iter().filter_map(Result::err) {
            tracing::error!(target_name = %target, %error, "saving what a poll told failed");
        }
    }
}

/// Polls one target at its slots until shutdown. A slot that was missed is skipped, never made up for.
pub async fn collect(mut collector: Collector, ingest: Ingest, clock: SharedClock, shutdown: CancellationToken) {
    let mut last_slot = clock.now();
    loop {
        let slot = collector.next_slot(last_slot.max(clock.now().minus(Duration::from_millis(1))));
        if sleep_until(slot, &clock, &shutdown).await.is_err() {
            break;
        }
        last_slot = slot;
        let Ok(permit) = ingest.polls.acquire().await else { break };
        let batch = collector.collect(slot).await;
        own::scrape_slot(batch.gap.as_ref().map_or("ok", |gap| gap.reason.word()));
        drop(permit);
        match tokio::time::timeout(collector.interval / 2, ingest.queue.reserve()).await {
            Ok(Ok(place)) => place.send(batch),
            Ok(Err(_)) => break,
            Err(_) => {
                tracing::warn!(target_name = %collector.name, "the ingest queue is full; slot skipped");
                let gap = Gap {
                    target: collector.name.clone(),
                    from: slot,
                    to: slot.plus(collector.interval),
                    reason: GapReason::Backpressure,
                    detail: "ingest queue full".into(),
                };
                ingest.push(Batch { target: collector.name.clone(), gap: Some(gap), ..Batch::default() }).await;
            }
        }
    }
}

/// Sleeps until the wall clock reads `until`. `Err` when shutdown came first.
pub async fn sleep_until(until: Timestamp, clock: &SharedClock, shutdown: &CancellationToken) -> Result<(), Stopped> {
    loop {
        let left = until.since(clock.now());
        if left.is_zero() {
            return Ok(());
        }
        tokio::select! {
            () = shutdown.cancelled() => return Err(Stopped),
            () = tokio::time::sleep(left.min(SLEEP_MAX)) => {}
        }
    }
}

/// The daemon is stopping.
#[derive(Debug, Clone, Copy)]
pub struct Stopped;
