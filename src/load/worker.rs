//! One load thread: its own single-threaded runtime, its share of the connections and of the arrivals.
//!
//! Arrivals are numbered; the pacer releases them when they are due and a free connection claims the next. When every
//! connection is busy an arrival waits, and the time it waits is part of its latency: that is the point of an open model.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use hdrhistogram::Histogram;
use tokio::sync::Notify;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use super::connection::{self, Answer, Connection, Endpoint, Fault, Scratch};
use super::http1::{self, Request};
use super::pacer::Pacer;
use super::schedule::Schedule;
use super::{Model, Plan, Shot};

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
    shots: Vec<Request>,
    turn: Cell<usize>,
    schedule: Option<Schedule>,
    /// Arrivals of this thread: index `first`, `first + step`, …
    first: u64,
    step: u64,
    released: Cell<u64>,
    claimed: Cell<u64>,
    over: Cell<bool>,
    due: Notify,
    scratch: Scratch,
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
    let shots = shots(plan, endpoint);
    // Threads begin at different places of the mix.
    let turn = Cell::new(index as usize % shots.len().max(1));
    let thread = Rc::new(Thread {
        plan,
        endpoint,
        shared,
        started,
        shots,
        turn,
        schedule,
        first: u64::from(index),
        step: u64::from(plan.threads),
        released: Cell::new(0),
        claimed: Cell::new(0),
        over: Cell::new(false),
        due: Notify::new(),
        scratch: connection::scratch(),
        tally: RefCell::new(Tally::new(seconds)),
    });
    // The remainder goes to the first threads, so that the sum is what was asked for.
    let connections = plan.connections / plan.threads + u32::from(index < plan.connections % plan.threads);
    runtime.block_on(tokio::task::unconstrained(async {
        // All in one task, without tokio's budget for fairness: one turn of the event loop serves everything that came in.
        let mut all: FuturesUnordered<_> = (0..connections).map(|_| thread.connection()).collect();
        tokio::join!(thread.pace(cancel), async { while all.next().await.is_some() {} });
    }));
    // Released arrivals that nobody claimed were due and never sent.
    let unsent = thread.released.get() - thread.claimed.get();
    drop(runtime);
    let thread = Rc::try_unwrap(thread).unwrap_or_else(|_| unreachable!("every task of the thread has ended"));
    let mut tally = thread.tally.into_inner();
    tally.unsent += unsent;
    tally
}

/// The mix as ready-made requests.
fn shots(plan: &Plan, endpoint: &Endpoint) -> Vec<Request> {
    let authority = endpoint.authority();
    let spelt = |shot: &Shot| std::iter::repeat_n(http1::spell(shot, &authority, &plan.headers), shot.weight as usize);
    plan.shots.iter().flat_map(spelt).collect()
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
        let mut alarm = pin!(tokio::time::sleep(self.plan.timeout));
        while let Some(due) = self.claim().await {
            // In the closed model nothing waits between the two.
            let sent = if self.schedule.is_some() { Instant::now() } else { due };
            let outcome = within(alarm.as_mut(), sent + self.plan.timeout, self.shoot(&mut open)).await;
            if outcome.is_err() {
                open = None;
            }
            self.record(due, sent, &outcome);
            if matches!(outcome, Err(Fault::Connect | Fault::Tls)) {
                tokio::time::sleep(RECONNECT_PAUSE).await;
            }
        }
    }

    async fn shoot(&self, open: &mut Option<Connection>) -> Result<Answer, Fault> {
        if open.as_mut().is_none_or(|connection| !connection.is_open(&self.scratch)) {
            *open = None;
        }
        let connection = match open {
            Some(connection) => connection,
            // Boxed: what a handshake needs is not kept a thousand times while requests go to and fro.
            None => open.insert(Box::pin(self.endpoint.connect()).await.map_err(|e| e.fault)?),
        };
        let turn = self.turn.get();
        self.turn.set(if turn + 1 < self.shots.len() { turn + 1 } else { 0 });
        connection.send(&self.shots[turn], &self.scratch).await
    }

    fn record(&self, due: Instant, sent: Instant, outcome: &Result<Answer, Fault>) {
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

/// `work`, or a time-out at `deadline`. The alarm is set anew only when it goes off: arming a timer for each request and
/// taking it back costs more than the request.
async fn within<T>(
    mut alarm: Pin<&mut Sleep>,
    deadline: Instant,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        while alarm.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(Err(Fault::Timeout));
            }
            alarm.as_mut().reset(deadline.into());
        }
        Poll::Pending
    })
    .await
}

fn micros(d: Duration) -> u64 {
    d.as_micros().clamp(1, u128::from(LATENCY_US_MAX)) as u64
}
