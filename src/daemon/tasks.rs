//! The full list of the daemon's tasks, how they are started, watched over and stopped.
//!
//! | task | does |
//! |---|---|
//! | ingest | writes what collectors bring |
//! | collect NAME | polls one target at its slots |
//! | feedback NAME | polls one feedback source |
//! | alerts | evaluates rules, flushes groups into the outbox |
//! | dispatch | sends the outbox |
//! | lifecycle | moves launches, runs gates, writes reports |
//! | send | sends samples to the store elsewhere, when there is one |
//! | upkeep | seals samples, rolls up and drops what retention lets go, replaces a damaged file |
//! | liveness | says that the daemon lives |

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::poll::{Ingest, sleep_until};
use super::{Setup, feedback, lifecycle, liveness, poll};
use crate::alerts::engine::{self, Engine};
use crate::alerts::standing::Board;
use crate::domain::problem::Problem;
use crate::domain::secret::Secret;
use crate::net::{Client, Request};
use crate::notify::{self, dispatcher::Dispatcher};
use crate::remote::Sender;
use crate::sources;
use crate::store::{Store, StoreError};
use crate::telemetry::own;

/// A task that ended too early is started again after this long.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// Two evaluations are at least this far apart.
const TICK_MIN: Duration = Duration::from_millis(20);
/// And this far, when samples or feedback arrived but no rule is due: what people did meanwhile is in the database, and
/// looking there after each of many scrapes would cost more than the scrapes.
const LOOKS_APART: Duration = Duration::from_secs(1);

/// Samples are sealed and expired this often.
const UPKEEP_EVERY: Duration = Duration::from_secs(60);
/// A damaged file is replaced at most this often.
const MEND_EVERY: Duration = Duration::from_secs(10);

/// Tasks have this long to end by themselves at shutdown.
const DRAIN_MAX: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the configuration cannot be built: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Config(Vec<Problem>),
    #[error(transparent)]
    Alerts(#[from] engine::EngineError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A running daemon. Cancel its token, then call [`Daemon::stopped`].
pub struct Daemon {
    tracker: TaskTracker,
    store: Store,
    /// True once rules were evaluated on this boot.
    pub ready: Arc<AtomicBool>,
    /// Forms of `[feedback.NAME.from.form]` with their service, for the web room to mount.
    pub forms: BTreeMap<String, (String, Arc<sources::feedback::form::Form>)>,
    /// Signalled when something new should be evaluated at once.
    pub arrived: Arc<Notify>,
    /// How the rules stand.
    pub board: Board,
}

/// Builds every room from its slice of `setup` and starts the tasks. Nothing is started when something cannot be built.
pub async fn start(store: Store, setup: Arc<Setup>, shutdown: CancellationToken) -> Result<Daemon, StartError> {
    let clock = store.clock.clone();
    let boot = uuid::Uuid::new_v4().to_string();
    liveness::record_downtime(&store, clock.now()).await?;
    store.state.release_leases().await?;
    store.keep_reserve().await;

    let client = Client::new();
    let mut problems = Vec::new();
    let collector_context = sources::metric::Context {
        client: client.clone(),
        clock: clock.clone(),
        instance_seed: seed(&boot),
        default_service: setup.only_service(),
    };
    let mut collectors = Vec::new();
    for (name, config) in &setup.metrics {
        match sources::metric::build(name, config, &collector_context) {
            Ok(built) => collectors.extend(built),
            Err(found) => problems.extend(found.into_iter().map(|p| p.under(&["metric", name]))),
        }
    }
    let feedback_context = sources::feedback::Context {
        client: client.clone(),
        clock: clock.clone(),
        instance_key: store.state.instance_key().await?,
        default_service: setup.only_service(),
    };
    let (mut listeners, mut forms, mut heard) = (Vec::new(), BTreeMap::new(), Vec::new());
    for (name, config) in &setup.feedback {
        match sources::feedback::build(name, config, &feedback_context) {
            Ok(built) => {
                if let Some(form) = &built.form {
                    forms.insert(name.clone(), (built.service.clone(), form.clone()));
                }
                if !heard.contains(&built.service) {
                    heard.push(built.service.clone());
                }
                listeners.push(built);
            }
            Err(found) => problems.extend(found.into_iter().map(|p| p.under(&["feedback", name]))),
        }
    }
    let channel_context = notify::channel::Context { client: client.clone(), clock: clock.clone() };
    let mut channels = BTreeMap::new();
    for (name, config) in &setup.channels {
        match notify::channel::build(name, config, &channel_context) {
            Ok(channel) => {
                channels.insert(name.clone(), channel);
            }
            Err(found) => problems.extend(found.into_iter().map(|p| p.under(&["channel", name]))),
        }
    }
    if !problems.is_empty() {
        return Err(StartError::Config(problems));
    }
    let rules = engine::Setup {
        services: setup.services.clone(),
        config: setup.alerts.clone(),
        rule_files: setup.rule_files.clone(),
        routes: setup.routes.clone(),
        channels: setup.channels.keys().cloned().collect(),
        external_url: Some(setup.external_url.clone()),
        feedback_services: heard,
    };
    let engine = Engine::open(store.clone(), rules, clock.clone()).await?;
    let board = engine.board();

    let sender = sender(&store, &setup, &client).await?;

    let tracker = TaskTracker::new();
    let arrived = Arc::new(Notify::new());
    let ready = Arc::new(AtomicBool::new(false));
    let (ingest, pump) = Ingest::new(store.clone(), arrived.clone());
    tracker.spawn(pump);
    for collector in collectors {
        let name = format!("collect {}", collector.name);
        let work = poll::collect(collector, ingest.clone(), clock.clone(), shutdown.clone());
        tracker.spawn(guarded(name, work));
    }
    for listener in listeners.into_iter().filter(|l| l.source.is_some()) {
        let name = format!("feedback {}", listener.name);
        let work = feedback::listen(listener, store.clone(), ingest.clone(), arrived.clone(), shutdown.clone());
        tracker.spawn(guarded(name, work));
    }
    // Collectors and listeners hold the only senders: when they have ended, the pump empties the queue and ends too.
    drop(ingest);
    if let Some(sender) = sender {
        tracker.spawn(guarded("send", sender.run(shutdown.clone())));
    }
    let dispatcher = Dispatcher::new(store.clone(), channels, clock.clone());
    let outbox_changed = dispatcher.wake_handle();
    tracker.spawn(guarded("dispatch", dispatcher.run(shutdown.clone())));
    tracker.spawn(supervised("alerts", shutdown.clone(), {
        let (engine, store) = (Arc::new(Mutex::new(engine)), store.clone());
        let (arrived, ready, shutdown) = (arrived.clone(), ready.clone(), shutdown.clone());
        move || {
            let signals = Signals { arrived: arrived.clone(), outbox: outbox_changed.clone(), ready: ready.clone() };
            evaluate(engine.clone(), store.clone(), client.clone(), signals, shutdown.clone())
        }
    }));
    tracker.spawn(supervised("lifecycle", shutdown.clone(), {
        let (store, setup, shutdown) = (store.clone(), setup.clone(), shutdown.clone());
        move || lifecycle::tick_forever(store.clone(), setup.clone(), shutdown.clone())
    }));
    tracker.spawn(supervised("upkeep", shutdown.clone(), {
        let (store, setup, shutdown) = (store.clone(), setup.clone(), shutdown.clone());
        move || upkeep(store.clone(), setup.clone(), shutdown.clone())
    }));
    tracker.spawn(supervised("liveness", shutdown.clone(), {
        let (store, shutdown) = (store.clone(), shutdown.clone());
        move || liveness::beat(store.clone(), boot.clone(), shutdown.clone())
    }));
    tracker.close();
    Ok(Daemon { tracker, store, ready, forms, arrived, board })
}

/// Who sends samples elsewhere. The queue begins before the first collector: what it brings is to be sent, too. When
/// nothing is sent any more, nothing waits.
async fn sender(store: &Store, setup: &Setup, client: &Client) -> Result<Option<Sender>, StoreError> {
    match &setup.remote {
        Some(remote) => {
            store.samples.keep_outgoing().await?;
            Ok(Some(Sender::new(store.samples.clone(), remote, client.clone(), store.clock.clone())))
        }
        None => {
            let batches = store.samples.drop_outgoing().await?;
            if batches > 0 {
                tracing::warn!(
                    batches,
                    "[store] engine is embedded again: samples that waited to be sent stay here only"
                );
            }
            Ok(None)
        }
    }
}

impl Daemon {
    /// Waits until every task has ended (their token must be cancelled), then closes the store.
    pub async fn stopped(self) {
        if tokio::time::timeout(DRAIN_MAX, self.tracker.wait()).await.is_err() {
            tracing::warn!("some tasks did not end in time; what they held is retried at the next start");
        }
        self.store.close().await;
    }
}

/// How the rule loop talks to the other tasks.
struct Signals {
    arrived: Arc<Notify>,
    outbox: Arc<Notify>,
    ready: Arc<AtomicBool>,
}

/// Evaluates when something arrives or is due, never less often than rules ask.
async fn evaluate(
    engine: Arc<Mutex<Engine>>,
    store: Store,
    client: Client,
    signals: Signals,
    shutdown: CancellationToken,
) {
    let mut engine = engine.lock().await;
    let mut due = store.clock.now();
    loop {
        let now = store.clock.now();
        let begun = store.clock.monotonic();
        let late = now.since(due);
        match engine.tick(now).await {
            Ok(report) => {
                if report.rules_evaluated > 0 {
                    own::rules_evaluated(store.clock.monotonic().saturating_sub(begun), late);
                }
                if !signals.ready.swap(true, Ordering::SeqCst) {
                    liveness::notify_manager(true);
                }
                if report.messages > 0 {
                    signals.outbox.notify_one();
                }
                if let Some(url) = engine.ping_due(now) {
                    tokio::spawn(ping(url.clone(), client.clone()));
                }
            }
            Err(error) => tracing::error!(%error, "evaluating rules failed"),
        }
        // At least a moment between two looks, so that a burst of scrapes is evaluated together.
        due = engine.next_wake(store.clock.now()).max(now.plus(TICK_MIN));
        tokio::select! {
            stopped = sleep_until(due, &store.clock, &shutdown) => {
                if stopped.is_err() {
                    return;
                }
            }
            () = signals.arrived.notified() => {
                let look = store.clock.now().plus(TICK_MIN).max(now.plus(LOOKS_APART)).min(due);
                if sleep_until(look, &store.clock, &shutdown).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Tells the outside watcher that we could page somebody now. When this stays away, it is their turn to notice.
async fn ping(url: Secret, client: Client) {
    let target =
        url.reveal().map_err(|e| e.to_string()).and_then(|u| url::Url::parse(u.expose()).map_err(|e| e.to_string()));
    let sent = match target {
        Ok(target) => client.send(Request::get(target)).await.map(drop).map_err(|e| e.to_string()),
        Err(error) => Err(error),
    };
    if let Err(error) = sent {
        tracing::warn!(%error, "the dead-man switch could not be pinged");
    }
}

async fn upkeep(store: Store, setup: Arc<Setup>, shutdown: CancellationToken) {
    loop {
        let now = store.clock.now();
        if let Err(error) = store.samples.renew().await {
            tracing::error!(%error, "the damaged samples.db could not be replaced");
        }
        match keep_from(&store, &setup).await {
            Ok(pinned) => {
                let keep = now.minus(setup.retention.get()).min(pinned);
                store.samples.set_limits(setup.samples_bytes_max, Some(pinned));
                // A store elsewhere answers all queries: rollups would never be read.
                let kept = if setup.remote.is_some() { Duration::ZERO } else { setup.rollup_retention.get() };
                store.samples.keep_rollups(kept);
                if let Err(error) = store.samples.maintain(now, keep).await {
                    tracing::error!(%error, "upkeep of the samples failed");
                }
            }
            Err(error) => tracing::error!(%error, "reading launches for upkeep failed"),
        }
        // Damage is mended when it is met, but a disk that goes on damaging is not written to all day.
        if sleep_until(now.plus(MEND_EVERY), &store.clock, &shutdown).await.is_err() {
            return;
        }
        tokio::select! {
            stopped = sleep_until(now.plus(UPKEEP_EVERY), &store.clock, &shutdown) => {
                if stopped.is_err() {
                    return;
                }
            }
            () = store.samples.damaged() => {}
        }
    }
}

/// Samples of open launches and of their baselines are never dropped.
async fn keep_from(store: &Store, setup: &Setup) -> Result<crate::domain::clock::Timestamp, StoreError> {
    let open = store.state.launches().await?.into_iter().filter(|l| l.state.is_open());
    let starts = open.map(|l| l.live_at.unwrap_or(l.planned_at).minus(setup.launch_config(&l.service).baseline.get()));
    Ok(starts.min().unwrap_or(crate::domain::clock::Timestamp::MAX))
}

/// A task that owns what it works with: a panic ends it and is logged, the others go on.
async fn guarded(name: impl Into<String>, work: impl Future<Output = ()>) {
    let name = name.into();
    if AssertUnwindSafe(work).catch_unwind().await.is_err() {
        tracing::error!(task = %name, "a task stopped on a fault of its own");
    }
}

/// A task that can be started again: whatever ends it before shutdown, it comes back.
async fn supervised<F: Future<Output = ()>>(
    name: &'static str,
    shutdown: CancellationToken,
    mut start: impl FnMut() -> F,
) {
    loop {
        let ended = AssertUnwindSafe(start()).catch_unwind().await;
        if shutdown.is_cancelled() {
            return;
        }
        tracing::error!(task = name, panicked = ended.is_err(), "a task ended early; starting it again");
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(RESTART_AFTER) => {}
        }
    }
}

/// Spreads the collectors' slots differently on each instance.
fn seed(boot: &str) -> u64 {
    let digest = ring::digest::digest(&ring::digest::SHA256, boot.as_bytes());
    u64::from_le_bytes(digest.as_ref()[..8].try_into().unwrap_or_default())
}
