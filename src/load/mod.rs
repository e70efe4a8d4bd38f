//! The load generator: an open model by default, so that a slow server cannot slow down the question.
//!
//! Arrivals are scheduled at a constant rate and latency is counted from the *scheduled* instant (no coordinated
//! omission, Gil Tene's term); the uncorrected figure is kept beside it. Knows no gate and no safety rule: whoever calls
//! [`run`] has asked `net::safety` first. Read `schedule.rs` (when), `worker.rs` (how), `report.rs` (what comes out).

mod connection;
mod cpu;
mod http1;
mod pacer;
mod report;
mod schedule;
pub mod users;
mod worker;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use url::Url;

pub use report::{ACHIEVED_MIN, GeneratorHealth, Latency, Report, Second};
pub use schedule::Schedule;

/// One kind of request of the mix. All targets share scheme, host and port with [`Plan::base`].
#[derive(Debug, Clone)]
pub struct Shot {
    pub method: String,
    /// Path and query, starting with `/`.
    pub path: String,
    pub body: Bytes,
    /// Share of the mix, in parts.
    pub weight: u32,
}

impl Shot {
    pub fn get(path: impl Into<String>) -> Shot {
        Shot { method: "GET".into(), path: path.into(), body: Bytes::new(), weight: 1 }
    }
}

/// How arrivals come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Model {
    /// At this rate per second, whatever the server does.
    Open { rate: f64 },
    /// As fast as the connections answer.
    Closed,
}

/// What to send, how fast, for how long.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Scheme, host and port.
    pub base: Url,
    pub shots: Vec<Shot>,
    pub headers: Vec<(String, String)>,
    pub model: Model,
    /// The rate climbs linearly from zero over this time; left out of every figure.
    pub ramp: Duration,
    pub hold: Duration,
    pub connections: u32,
    /// From the instant a request is sent to its last byte.
    pub timeout: Duration,
    /// OS threads, each with its own runtime and its share of the connections.
    pub threads: u32,
    /// Stop when more than this share of requests failed for [`ABORT_AFTER`] on end.
    pub abort_error_ratio: Option<f64>,
}

impl Plan {
    /// GET `url` at `rate`, 64 connections, 10 s hold, no ramp.
    pub fn get(url: &Url, model: Model) -> Plan {
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_string(),
        };
        Plan {
            base: url.clone(),
            shots: vec![Shot::get(path)],
            headers: Vec::new(),
            model,
            ramp: Duration::ZERO,
            hold: Duration::from_secs(10),
            connections: 64,
            timeout: Duration::from_secs(10),
            threads: 1,
            abort_error_ratio: None,
        }
    }
}

/// Errors must last this long before a run is aborted: one hiccup is a measurement, not a reason to stop.
pub const ABORT_AFTER: Duration = Duration::from_secs(5);

/// More connections than this would run into descriptor limits before they tell anything.
pub const CONNECTIONS_MAX: u32 = 20_000;

/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{0}")]
    Plan(String),
    #[error("cannot reach {0}: {1}")]
    Unreachable(String, String),
    #[error("starting a load thread: {0}")]
    Thread(std::io::Error),
}

/// Live figures, for progress.
#[derive(Debug, Clone, Copy, Default)]
pub struct Snapshot {
    pub elapsed: Duration,
    pub total: Duration,
    pub requests: u64,
    pub errors: u64,
    /// Answers per second since the last snapshot.
    pub rps: f64,
}

/// Runs the plan and returns its figures. Cancelling ends it within a second, with what was measured so far. Connects
/// once beforehand, so that a wrong address is an error and not a report full of errors.
pub async fn run(
    plan: Plan,
    mut progress: impl FnMut(Snapshot),
    cancel: CancellationToken,
) -> Result<Report, LoadError> {
    check(&plan)?;
    allow_descriptors(plan.connections);
    let plan = Arc::new(plan);
    let endpoint = Arc::new(connection::Endpoint::resolve(&plan.base).await?);
    endpoint.connect().await.map_err(|e| LoadError::Unreachable(endpoint.authority(), e.to_string()))?;

    let shared = Arc::new(worker::Shared::default());
    let cpu_before = cpu::own();
    let started = Instant::now();
    let mut threads = Vec::new();
    for index in 0..plan.threads {
        let (plan, endpoint, shared, cancel) = (plan.clone(), endpoint.clone(), shared.clone(), cancel.clone());
        let (done, joined) = tokio::sync::oneshot::channel();
        std::thread::Builder::new()
            .name(format!("load-{index}"))
            .spawn(move || {
                let _ = done.send(worker::run(index, &plan, &endpoint, &shared, started, &cancel));
            })
            .map_err(LoadError::Thread)?;
        threads.push(joined);
    }

    let total = plan.ramp + plan.hold;
    let mut collected = Vec::new();
    let mut tick = tokio::time::interval(PROGRESS_EVERY);
    let (mut last_answers, mut last_at, mut bad_since) = (0, started, None::<Instant>);
    let (mut last_requests, mut last_errors) = (0, 0);
    let mut stopped = None;
    for mut thread in threads {
        loop {
            tokio::select! {
                done = &mut thread => {
                    if let Ok(tally) = done {
                        collected.push(tally);
                    }
                    break;
                }
                _ = tick.tick() => {
                    let (requests, errors) = (shared.requests.load(Ordering::Relaxed), shared.errors.load(Ordering::Relaxed));
                    let seconds = last_at.elapsed().as_secs_f64();
                    let rps = if seconds > 0.0 { (requests - last_answers) as f64 / seconds } else { 0.0 };
                    (last_answers, last_at) = (requests, Instant::now());
                    progress(Snapshot { elapsed: started.elapsed(), total, requests, errors, rps });
                    let (sent, failed) = (requests - last_requests, errors - last_errors);
                    (last_requests, last_errors) = (requests, errors);
                    let limit = plan.abort_error_ratio.unwrap_or(f64::INFINITY);
                    let bad = sent > 0 && failed as f64 / sent as f64 > limit;
                    bad_since = if bad { bad_since.or(Some(Instant::now())) } else { None };
                    if bad_since.is_some_and(|since| since.elapsed() >= ABORT_AFTER) {
                        stopped = Some(format!("more than {:.0} % errors for {} s", limit * 100.0, ABORT_AFTER.as_secs()));
                        shared.stop.store(true, Ordering::Relaxed);
                    }
                }
            }
        }
    }
    if stopped.is_none() && cancel.is_cancelled() {
        stopped = Some("interrupted".into());
    }
    let cpu = cpu::own().zip(cpu_before).map(|(after, before)| after.since(before));
    Ok(report::build(&plan, collected, started.elapsed(), cpu, stopped))
}

/// Sockets besides the connections: runtimes, files, whatever else the process has open.
const DESCRIPTORS_SPARE: u64 = 256;

/// Raises the soft limit of open descriptors, as far as the hard one goes, so that a thousand connections need no
/// `ulimit -n`. What still fails then shows as errors of class `connect`.
fn allow_descriptors(connections: u32) {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let wanted = u64::from(connections) + DESCRIPTORS_SPARE;
        let limit = getrlimit(Resource::Nofile);
        if limit.current.is_some_and(|now| now < wanted) {
            let current = Some(limit.maximum.map_or(wanted, |most| most.min(wanted)));
            let _ = setrlimit(Resource::Nofile, Rlimit { current, maximum: limit.maximum });
        }
    }
}

fn check(plan: &Plan) -> Result<(), LoadError> {
    let wrong = |text: &str| Err(LoadError::Plan(text.into()));
    if plan.shots.is_empty() || plan.shots.iter().all(|s| s.weight == 0) {
        return wrong("the mix is empty");
    }
    if plan.hold.is_zero() {
        return wrong("the duration is zero");
    }
    if plan.connections == 0 || plan.connections > CONNECTIONS_MAX {
        return wrong("connections must be between 1 and 20000");
    }
    if plan.threads == 0 || plan.threads > plan.connections {
        return wrong("threads must be between 1 and the number of connections");
    }
    match plan.model {
        Model::Open { rate } if !(rate.is_finite() && rate > 0.0) => wrong("the rate must be above zero"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
