//! The dispatcher: one sender per channel that claims due rows, sends outside any transaction and settles; and a
//! housekeeper that hands critical rows over when their channel does not accept.
//!
//! Delivery is at least once: a crash between send and settle sends again under the same id. A row ends delivered or
//! dead, and dead ones stay visible. Nothing here knows a protocol or a template.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::bucket::Bucket;
use super::channel::{AttachedFile, Channel, Receipt, SendError};
use super::circuit::{Allowance, Circuit};
use super::retry;
use crate::domain::alert::AlertSeverity;
use crate::domain::clock::{SharedClock, Timestamp};
use crate::domain::notification::{DeliveryAttempt, Fact, NewOutbox, OutboxRow, OutboxState, Settle};
use crate::domain::secret::redact;
use crate::store::{Store, StoreError};

/// A critical message that is not accepted after this long also goes to the failover channel.
pub const FAILOVER_AFTER: Duration = Duration::from_secs(120);
/// Other processes enqueue too (`go`, `announce`, `channel test`); this is how soon their messages are seen.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// Shortest, so that a row due now never spins the loop.
const SLEEP_MIN: Duration = Duration::from_millis(50);
/// How often waiting rows are looked over.
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(5);
/// Waiting rows that one look takes in.
const LOOK_ROWS_MAX: u32 = 500;
/// The store answers in milliseconds; after an error it gets time.
const STORE_ERROR_WAIT: Duration = Duration::from_secs(2);
/// A report file that goes along.
const ATTACHMENT_BYTES_MAX: usize = 10 << 20;

/// One channel with what is remembered about it.
struct Sender {
    name: String,
    channel: Box<dyn Channel>,
    memory: Mutex<Memory>,
}

struct Memory {
    circuit: Circuit,
    bucket: Bucket,
    /// The receiver said that it is gone for good (404, 410): nothing is sent until the configuration is read again.
    gone: Option<String>,
}

/// Sends what the outbox holds. Build one, keep its [`Dispatcher::wake_handle`], then [`Dispatcher::run`].
pub struct Dispatcher {
    senders: BTreeMap<String, Arc<Sender>>,
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    clock: SharedClock,
    wake: Arc<Notify>,
    /// Rows already handed to their failover channel; the outbox's own key makes a repeat harmless.
    handed: Mutex<BTreeSet<String>>,
    known: BTreeSet<String>,
}

impl Dispatcher {
    pub fn new(store: Store, channels: BTreeMap<String, Box<dyn Channel>>, clock: SharedClock) -> Dispatcher {
        let known = channels.keys().cloned().collect();
        let shared = Shared { store, clock, wake: Arc::new(Notify::new()), handed: Mutex::new(BTreeSet::new()), known };
        let sender = |(name, channel): (String, Box<dyn Channel>)| {
            let bucket = Bucket::new(channel.rate());
            let memory = Mutex::new(Memory { circuit: Circuit::default(), bucket, gone: None });
            (name.clone(), Arc::new(Sender { name, channel, memory }))
        };
        Dispatcher { senders: channels.into_iter().map(sender).collect(), shared: Arc::new(shared) }
    }

    /// `notify_one` after enqueueing; not needed for correctness, only for speed.
    pub fn wake_handle(&self) -> Arc<Notify> {
        self.shared.wake.clone()
    }

    /// Runs until `shutdown`; what is on its way then is finished and settled. Frees the leases of the process before.
    pub async fn run(self, shutdown: CancellationToken) {
        match self.shared.store.state.release_leases().await {
            Ok(0) => {}
            Ok(n) => tracing::info!(rows = n, "took over messages of an earlier run"),
            Err(error) => tracing::error!(%error, "cannot free leases; they end by themselves"),
        }
        let (woken, _) = watch::channel(0u64);
        let mut tasks = tokio::task::JoinSet::new();
        for sender in self.senders.values() {
            let (sender, shared) = (sender.clone(), self.shared.clone());
            tasks.spawn(send_forever(sender, shared, woken.subscribe(), shutdown.clone()));
        }
        let mut housekeeping = tokio::time::interval(HOUSEKEEPING_EVERY);
        housekeeping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.shared.wake.notified() => woken.send_modify(|n| *n += 1),
                _ = housekeeping.tick() => {
                    if self.housekeep(self.shared.clock.now()).await > 0 {
                        woken.send_modify(|n| *n += 1);
                    }
                }
            }
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Sends what is due on one channel now and looks after nothing else: for a command that works without a daemon.
    /// Returns how many rows were tried.
    pub async fn send_due(&self, channel: &str) -> usize {
        match self.senders.get(channel) {
            Some(sender) => pass(sender, &self.shared, self.shared.clock.now()).await,
            None => 0,
        }
    }

    /// One round over all channels at `now`, for tests. Returns how many rows were tried or handed over.
    pub async fn tick(&self, now: Timestamp) -> usize {
        let mut done = 0;
        for sender in self.senders.values() {
            done += pass(sender, &self.shared, now).await;
        }
        done + self.housekeep(now).await
    }

    /// Looks over what waits: critical rows past [`FAILOVER_AFTER`], rows of channels that are gone or were removed, and
    /// rows whose time is over. Returns how many it moved.
    async fn housekeep(&self, now: Timestamp) -> usize {
        let shared = &self.shared;
        let waiting = match shared.waiting().await {
            Ok(waiting) => waiting,
            Err(error) => {
                tracing::error!(%error, "cannot look over the outbox");
                return 0;
            }
        };
        let mut moved = 0;
        for row in waiting {
            let gone = match self.senders.get(&row.new.channel) {
                Some(sender) => sender.memory.lock().unwrap_or_else(|e| e.into_inner()).gone.clone(),
                None => Some("there is no such channel any more".to_string()),
            };
            let late = row.new.priority == AlertSeverity::Critical && now >= row.new.enqueued_at.plus(FAILOVER_AFTER);
            if (late || gone.is_some()) && shared.hand_over(&row, now).await {
                moved += 1;
            }
            let Some(why) = gone else { continue };
            let over = now >= row.new.give_up_at || shared.failover_of(&row).is_some();
            if over && row.state == OutboxState::Pending {
                let error = format!("channel {} is disabled: {why}", row.new.channel);
                shared
                    .settle(&row, now, Duration::ZERO, "permanent", &error, Settle::Dead { error: error.clone() })
                    .await;
                moved += 1;
            }
        }
        moved
    }
}

async fn send_forever(
    sender: Arc<Sender>,
    shared: Arc<Shared>,
    mut woken: watch::Receiver<u64>,
    shutdown: CancellationToken,
) {
    while !shutdown.is_cancelled() {
        // Subscribed before looking: an enqueue during the pass wakes the next one.
        woken.mark_unchanged();
        let now = shared.clock.now();
        let sent = pass(&sender, &shared, now).await;
        let sleep = match sent {
            0 => shared.sleep(&sender, now).await,
            _ => Duration::ZERO,
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = woken.changed() => {}
            () = tokio::time::sleep(sleep) => {}
        }
    }
}

/// Claims what may go now and sends it. Returns how many rows were tried.
async fn pass(sender: &Sender, shared: &Shared, now: Timestamp) -> usize {
    let limit = match shared.allowed(sender, now).await {
        0 => return 0,
        n => n,
    };
    // Twice the timeout: a lease ends only after its send has ended, whatever happened to us.
    let lease = sender.channel.timeout() * 2;
    let rows = match shared.store.state.claim_outbox(&sender.name, now, lease, limit).await {
        Ok(rows) => rows,
        Err(error) => {
            tracing::error!(%error, channel = %sender.name, "cannot claim messages");
            return 0;
        }
    };
    sender.memory().bucket.take(rows.len() as u32);
    join_all(rows.iter().map(|row| try_one(sender, shared, row))).await;
    rows.len()
}

async fn try_one(sender: &Sender, shared: &Shared, row: &OutboxRow) {
    let started = shared.clock.monotonic();
    let at = shared.clock.now();
    let files = shared.files(row).await;
    let limit = sender.channel.timeout();
    let result = match tokio::time::timeout(limit, sender.channel.send(row, &files)).await {
        Ok(result) => result,
        Err(_) => Err(SendError::Retry { detail: format!("no answer within {} s", limit.as_secs()), after: None }),
    };
    let took = shared.clock.monotonic().saturating_sub(started);
    let now = shared.clock.now();
    sender.learn(&result, now);
    let (outcome, detail, settle) = match result {
        Ok(Receipt { remote_id, detail }) => ("delivered", detail, Settle::Delivered { remote_id }),
        Err(SendError::Retry { detail, after }) => {
            let not_before = retry::next_try(&row.new.id, row.attempts, now, after);
            match not_before < row.new.give_up_at {
                true => ("retry", detail.clone(), Settle::Retry { not_before, error: detail }),
                false => ("retry", detail.clone(), Settle::Dead { error: format!("given up: {detail}") }),
            }
        }
        // The configuration may name another receiver tomorrow: the row waits, unless somebody else takes it now.
        Err(SendError::Permanent { detail, disable: true }) if shared.failover_of(row).is_none() => {
            let not_before = now.plus(retry::RETRY_AFTER_MAX);
            ("permanent", detail.clone(), Settle::Retry { not_before, error: detail })
        }
        Err(SendError::Permanent { detail, .. }) => ("permanent", detail.clone(), Settle::Dead { error: detail }),
    };
    match &settle {
        Settle::Delivered { .. } => {
            tracing::info!(channel = %sender.name, id = %row.new.id, title = %row.new.message.title, "delivered");
        }
        Settle::Retry { error, not_before } => {
            tracing::warn!(channel = %sender.name, id = %row.new.id, %error, next = %not_before, "not accepted yet");
        }
        Settle::Dead { error } => {
            tracing::error!(channel = %sender.name, id = %row.new.id, %error, "given up; see `hypercare outbox list`");
            // Whoever is critical enough for a second way gets it now, not after two minutes.
            shared.hand_over(row, now).await;
        }
    }
    shared.settle(row, at, took, outcome, &detail, settle).await;
}

impl Sender {
    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn learn(&self, result: &Result<Receipt, SendError>, now: Timestamp) {
        let mut memory = self.memory();
        match result {
            // "Come back in 20 s" is an answer: the receiver is there.
            Ok(_) | Err(SendError::Permanent { .. } | SendError::Retry { after: Some(_), .. }) => {
                memory.circuit.answered()
            }
            Err(SendError::Retry { after: None, .. }) => {
                let was_open = memory.circuit.is_open();
                memory.circuit.failed(now);
                if memory.circuit.is_open() && !was_open {
                    tracing::error!(channel = %self.name, "channel is down; one message every 30 s tries it");
                }
            }
        }
        if let Err(SendError::Permanent { disable: true, detail }) = result {
            tracing::error!(channel = %self.name, %detail, "the receiver is gone; channel disabled until the next reload");
            memory.gone = Some(detail.clone());
        }
    }
}

impl Shared {
    /// Pending and leased rows, newest first.
    async fn waiting(&self) -> Result<Vec<OutboxRow>, StoreError> {
        let mut rows = self.store.state.outbox(Some(OutboxState::Pending), LOOK_ROWS_MAX).await?;
        rows.extend(self.store.state.outbox(Some(OutboxState::Leased), LOOK_ROWS_MAX).await?);
        Ok(rows)
    }

    /// How many rows may be claimed now.
    async fn allowed(&self, sender: &Sender, now: Timestamp) -> u32 {
        let (free, critical, probe) = {
            let mut memory = sender.memory();
            if memory.gone.is_some() {
                return 0;
            }
            let probe = match memory.circuit.allows(now) {
                Allowance::NothingUntil(_) => return 0,
                Allowance::OneProbe => true,
                Allowance::Everything => false,
            };
            (memory.bucket.free(now), memory.bucket.free_critical(now), probe)
        };
        let limit = if probe { 1 } else { sender.channel.parallel() };
        if free > 0 {
            return limit.min(free);
        }
        // Only the reserve is left. Claims hand out critical rows first, so one may be claimed when one is due.
        let due = |row: &OutboxRow| {
            row.new.channel == sender.name && row.new.priority == AlertSeverity::Critical && row.new.not_before <= now
        };
        let waits = critical > 0
            && self
                .store
                .state
                .outbox(Some(OutboxState::Pending), LOOK_ROWS_MAX)
                .await
                .is_ok_and(|rows| rows.iter().any(due));
        u32::from(waits)
    }

    /// How long a sender that found nothing may sleep.
    async fn sleep(&self, sender: &Sender, now: Timestamp) -> Duration {
        let due = match self.store.state.next_outbox_due().await {
            Ok(due) => due,
            Err(error) => {
                tracing::error!(%error, "cannot read the outbox");
                return STORE_ERROR_WAIT;
            }
        };
        let mut memory = sender.memory();
        if memory.gone.is_some() {
            return SLEEP_MAX;
        }
        let mut at = due.unwrap_or(Timestamp::MAX);
        if let Allowance::NothingUntil(probe) = memory.circuit.allows(now) {
            at = at.max(probe);
        }
        if memory.bucket.free(now) == 0 {
            at = at.max(memory.bucket.refilled_at(now));
        }
        // A row that is due but not ours, or out of order, must not make us spin.
        at.since(now).clamp(if at <= now { Duration::from_secs(1) } else { SLEEP_MIN }, SLEEP_MAX)
    }

    /// The files that go with a row; what cannot be read is left out, the message goes nevertheless.
    async fn files(&self, row: &OutboxRow) -> Vec<AttachedFile> {
        let mut files = Vec::new();
        for attachment in &row.new.message.attachments {
            match self.store.state.report(attachment.report).await {
                Ok(Some(report)) if report.bytes.len() <= ATTACHMENT_BYTES_MAX => {
                    let (name, mime) = (attachment.name.clone(), attachment.mime.clone());
                    files.push(AttachedFile { name, mime, bytes: report.bytes });
                }
                Ok(found) => {
                    let size = found.map(|r| r.bytes.len());
                    tracing::warn!(id = %row.new.id, name = %attachment.name, ?size, "attachment left out");
                }
                Err(error) => tracing::error!(%error, id = %row.new.id, "cannot read an attachment"),
            }
        }
        files
    }

    /// The other way for a row, when it has one that exists.
    fn failover_of<'a>(&self, row: &'a OutboxRow) -> Option<&'a str> {
        row.new.failover.as_deref().filter(|f| *f != row.new.channel && self.known.contains(*f))
    }

    /// Also enqueues `row` for its failover channel, marked. True when it did so for the first time.
    async fn hand_over(&self, row: &OutboxRow, now: Timestamp) -> bool {
        let Some(to) = self.failover_of(row) else { return false };
        if self.handed.lock().unwrap_or_else(|e| e.into_inner()).contains(&row.new.id) {
            return false;
        }
        if let Err(error) = self.store.state.enqueue(vec![marked(row, to, now)]).await {
            tracing::error!(%error, id = %row.new.id, to, "cannot hand a message over");
            return false;
        }
        tracing::warn!(id = %row.new.id, from = %row.new.channel, to, "not accepted in time: also sent to the failover");
        let mut handed = self.handed.lock().unwrap_or_else(|e| e.into_inner());
        handed.insert(row.new.id.clone());
        // Ids grow with time: the first is the oldest, and long settled.
        while handed.len() > 4096 {
            handed.pop_first();
        }
        drop(handed);
        self.wake.notify_one();
        true
    }

    async fn settle(
        &self,
        row: &OutboxRow,
        at: Timestamp,
        took: Duration,
        outcome: &str,
        detail: &str,
        settle: Settle,
    ) {
        let detail = redact(&super::message::tidy_line(detail, 1000));
        let attempt = DeliveryAttempt {
            outbox_id: row.new.id.clone(),
            channel: row.new.channel.clone(),
            at,
            duration_ms: took.as_millis() as u64,
            outcome: outcome.into(),
            detail,
        };
        // Should this fail, the lease ends and the row is sent once more under the same id.
        if let Err(error) = self.store.state.settle_outbox(&row.new.id, attempt, settle).await {
            tracing::error!(%error, id = %row.new.id, "cannot record a delivery");
        }
    }
}

/// `row` for another channel: a row of its own with the same place in its group, and a first line that says so.
fn marked(row: &OutboxRow, to: &str, now: Timestamp) -> NewOutbox {
    let mut message = row.new.message.clone();
    message.headline = format!("FAILOVER for {} · {}", row.new.channel, message.headline);
    let why = format!("{} has not accepted this message; it keeps being tried", row.new.channel);
    message.facts.push(Fact::new("Why here", why));
    NewOutbox {
        id: id_at(now),
        channel: to.to_string(),
        message,
        not_before: now,
        // Nobody stands behind the failover.
        failover: None,
        enqueued_at: now,
        ..row.new.clone()
    }
}

/// A uuid v7 of the given instant.
pub fn id_at(now: Timestamp) -> String {
    let ms = now.ms().max(0) as u64;
    let at = uuid::Timestamp::from_unix(uuid::NoContext, ms / 1000, (ms % 1000) as u32 * 1_000_000);
    uuid::Uuid::new_v7(at).to_string()
}

#[cfg(test)]
mod tests;
