//! One load thread: its own single-threaded runtime, its share of the connections and of the arrivals.
//!
//! Arrivals are numbered; the pacer releases them when they are due and a free connection claims the next. When every
//! connection is busy an arrival waits, and the time it waits is part of its latency: that is the point of an open model.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use http_body_util::Full;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, Endpoint, Fault};
use super::pacer::Pacer;
use super::schedule::Schedule;
use super::{Model, Plan};

/// Seen by all threads and by whoever shows progress.
#[derive(Default)]
pub struct Shared {
    pub requests: AtomicU64,
    pub errors: AtomicU64,
    pub stop: AtomicBool,
}

/// Latencies are recorded in microseconds with three significant digits, up to ten minutes.
const LATENCY_US_MAX: u64 = 600_000_000;

/// After a failed connect the connection waits this long, so that a dead server is not stormed.
const RECONNECT_PAUSE: Duration = Duration::from_millis(20);

/// How often a waiting thread looks whether it should stop.
const STOP_LOOK_EVERY: Duration = Duration::from_millis(200);

pub fn histogram() -> Histogram<u64> {
    // The bounds are constants within hdrhistogram's limits.
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).unwrap_or_else(|_| unreachable!("bounds are valid"))
}

/// One second of the hold.
#[derive(Clone)]
pub struct SecondTally {
    pub requests: u64,
    pub errors: u64,
    pub latency: Histogram<u64>,
}

/// What one thread measured during the hold; the ramp only warms up.
pub struct Tally {
    pub requests: u64,
    pub bytes: u64,
    pub by_status: BTreeMap<u16, u64>,
    pub faults: BTreeMap<Fault, u64>,
    pub corrected: Histogram<u64>,
    pub uncorrected: Histogram<u64>,
    /// How late the pacer released arrivals: the generator's own fault.
    pub lag: Histogram<u64>,
    /// Arrivals that were due and never sent.
    pub unsent: u64,
    pub seconds: Vec<SecondTally>,
}

impl Tally {
    fn new(seconds: usize) -> Tally {
        // Two digits do for a second. Fixed bounds: a histogram that grows by itself does not when it saturates.
        let latency = Histogram::new_with_bounds(1, LATENCY_US_MAX, 2).unwrap_or_else(|_| histogram());
        Tally {
            requests: 0,
            bytes: 0,
            by_status: BTreeMap::new(),
            faults: BTreeMap::new(),
            corrected: histogram(),
            uncorrected: histogram(),
            lag: histogram(),
            unsent: 0,
            seconds: vec![SecondTally { requests: 0, errors: 0, latency }; seconds],
        }
    }
}

struct Thread<'a> {
    plan: &'a Plan,
    endpoint: &'a Endpoint,
    shared: &'a Shared,
    started: Instant,
    /// Shots spelt out by weight, walked in turn.
    shots: Vec<hyper::Request<Bytes>>,
    turn: Cell<usize>,
    schedule: Option<Schedule>,
    /// Arrivals of this thread: index `first`, `first + step`, …
    first: u64,
    step: u64,
    released: Cell<u64>,
    claimed: Cell<u64>,
    over: Cell<bool>,
    due: Notify,
    tally: RefCell<Tally>,
}

/// Runs one thread's share to its end. Called on a thread of its own.
pub fn run(
    index: u32,
    plan: &Plan,
    endpoint: &Endpoint,
    shared: &Shared,
    started: Instant,
    cancel: &CancellationToken,
) -> Tally {
    let seconds = plan.hold.as_secs_f64().ceil() as usize;
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Tally::new(seconds);
    };
    let schedule = match plan.model {
        Model::Open { rate } => Some(Schedule::new(rate, plan.ramp, plan.hold)),
        Model::Closed => None,
    };
    let thread = Rc::new(Thread {
        plan,
        endpoint,
        shared,
        started,
        shots: shots(plan, endpoint),
        turn: Cell::new(index as usize),
        schedule,
        first: u64::from(index),
        step: u64::from(plan.threads),
        released: Cell::new(0),
        claimed: Cell::new(0),
        over: Cell::new(false),
        due: Notify::new(),
        tally: RefCell::new(Tally::new(seconds)),
    });
    // The remainder goes to the first threads, so that the sum is what was asked for.
    let connections = plan.connections / plan.threads + u32::from(index < plan.connections % plan.threads);
    runtime.block_on(async {
        let all = futures_util::future::join_all((0..connections).map(|_| thread.connection()));
        let watch = async { tokio::join!(thread.pace(cancel), all) };
        watch.await;
    });
    // Released arrivals that nobody claimed were due and never sent.
    let unsent = thread.released.get() - thread.claimed.get();
    drop(runtime);
    let thread = Rc::try_unwrap(thread).unwrap_or_else(|_| unreachable!("every task of the thread has ended"));
    let mut tally = thread.tally.into_inner();
    tally.unsent += unsent;
    tally
}

/// The mix as ready-made requests.
fn shots(plan: &Plan, endpoint: &Endpoint) -> Vec<hyper::Request<Bytes>> {
    let mut out = Vec::new();
    for shot in &plan.shots {
        let mut request = hyper::Request::builder()
            .method(shot.method.as_str())
            .uri(shot.path.as_str())
            .header("host", endpoint.authority())
            .header("user-agent", concat!("hypercare/", env!("CARGO_PKG_VERSION")));
        for (name, value) in &plan.headers {
            request = request.header(name.as_str(), value.as_str());
        }
        if let Ok(request) = request.body(shot.body.clone()) {
            out.extend(std::iter::repeat_n(request, shot.weight as usize));
        }
    }
    out
}

impl Thread<'_> {
    fn stopping(&self, cancel: &CancellationToken) -> bool {
        cancel.is_cancelled() || self.shared.stop.load(Ordering::Relaxed)
    }

    /// Releases arrivals as they come due, and says when it is over.
    async fn pace(&self, cancel: &CancellationToken) {
        let pacer = Pacer::new();
        let end = self.started + self.plan.ramp + self.plan.hold;
        match &self.schedule {
            None => {
                while Instant::now() < end && !self.stopping(cancel) {
                    tokio::time::sleep(STOP_LOOK_EVERY.min(end.saturating_duration_since(Instant::now()))).await;
                }
            }
            Some(schedule) => {
                let mut n = 0u64;
                while let Some(offset) = schedule.due(self.first + n * self.step) {
                    let due = self.started + offset;
                    let now = Instant::now();
                    if due > now {
                        if self.stopping(cancel) {
                            break;
                        }
                        pacer.wait(due.min(now + STOP_LOOK_EVERY)).await;
                        continue;
                    }
                    if due >= self.started + self.plan.ramp {
                        self.tally.borrow_mut().lag.saturating_record(micros(now - due));
                    }
                    n += 1;
                    self.released.set(n);
                    self.due.notify_one();
                    // A burst after a stall must not keep the connections from working.
                    if n.is_multiple_of(64) {
                        tokio::task::yield_now().await;
                    }
                }
            }
        }
        self.over.set(true);
        self.due.notify_waiters();
    }

    /// The next arrival to send and when it was due; `None` when there will be no more.
    async fn claim(&self) -> Option<Instant> {
        loop {
            let notified = self.due.notified();
            match &self.schedule {
                None if self.over.get() => return None,
                None => return Some(Instant::now()),
                Some(schedule) => {
                    let n = self.claimed.get();
                    // What is released when time is up is still sent, within the grace of one time-out.
                    if n < self.released.get() {
                        let grace = self.started + self.plan.ramp + self.plan.hold + self.plan.timeout;
                        if self.over.get() && Instant::now() > grace {
                            return None;
                        }
                        self.claimed.set(n + 1);
                        // Others wait too: a permit is one, arrivals may be many.
                        if n + 1 < self.released.get() {
                            self.due.notify_one();
                        }
                        return schedule.due(self.first + n * self.step).map(|offset| self.started + offset);
                    }
                    if self.over.get() {
                        return None;
                    }
                }
            }
            notified.await;
        }
    }

    async fn connection(&self) {
        let mut open: Option<Connection> = None;
        while let Some(due) = self.claim().await {
            let sent = Instant::now();
            let outcome =
                tokio::time::timeout(self.plan.timeout, self.shoot(&mut open)).await.unwrap_or(Err(Fault::Timeout));
            if outcome.is_err() {
                open = None;
            }
            self.record(due, sent, &outcome);
            if matches!(outcome, Err(Fault::Connect | Fault::Tls)) {
                tokio::time::sleep(RECONNECT_PAUSE).await;
            }
        }
    }

    async fn shoot(&self, open: &mut Option<Connection>) -> Result<super::connection::Answer, Fault> {
        if open.as_ref().is_none_or(Connection::is_closed) {
            *open = Some(self.endpoint.connect().await.map_err(|e| e.fault)?);
        }
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let shot = &self.shots[turn % self.shots.len()];
        let mut request = hyper::Request::new(Full::new(shot.body().clone()));
        *request.method_mut() = shot.method().clone();
        *request.uri_mut() = shot.uri().clone();
        *request.headers_mut() = shot.headers().clone();
        match open {
            Some(connection) => connection.send(request).await,
            None => Err(Fault::Connect),
        }
    }

    fn record(&self, due: Instant, sent: Instant, outcome: &Result<super::connection::Answer, Fault>) {
        let now = Instant::now();
        let failed = !matches!(outcome, Ok(answer) if answer.status < 500);
        self.shared.requests.fetch_add(1, Ordering::Relaxed);
        if failed {
            self.shared.errors.fetch_add(1, Ordering::Relaxed);
        }
        let hold_from = self.started + self.plan.ramp;
        let Some(offset) = due.checked_duration_since(hold_from) else { return };
        let mut tally = self.tally.borrow_mut();
        tally.requests += 1;
        let latency = micros(now - due);
        tally.corrected.saturating_record(latency);
        tally.uncorrected.saturating_record(micros(now - sent));
        match outcome {
            Ok(answer) => {
                tally.bytes += answer.bytes;
                *tally.by_status.entry(answer.status).or_default() += 1;
            }
            Err(fault) => *tally.faults.entry(*fault).or_default() += 1,
        }
        if let Some(second) = tally.seconds.get_mut(offset.as_secs() as usize) {
            second.requests += 1;
            second.errors += u64::from(failed);
            second.latency.saturating_record(latency);
        }
    }
}

fn micros(d: Duration) -> u64 {
    d.as_micros().clamp(1, u128::from(LATENCY_US_MAX)) as u64
}
