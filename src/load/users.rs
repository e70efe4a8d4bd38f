//! Many users at once: each with a connection, a cookie jar and an account of its own. Each signs in during the ramp, asks
//! for its own page again and again while all the others do, and signs out at the end.
//!
//! A closed model on purpose: the question is how many *sessions* the service holds at one instant and whether each still
//! belongs to its user, not how many requests a second it serves (that is [`super::run`]). HTTP/1.1 by `hyper`.

mod browser;
mod report;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

use browser::Browser;
pub use report::{MixUp, Report, StepReport};

use super::connection::Endpoint;
use super::worker::histogram;
use super::{LoadError, allow_descriptors};

/// One request of a user.
#[derive(Clone)]
pub struct Ask {
    pub method: &'static str,
    /// Path and query, starting with `/`.
    pub path: String,
    pub content_type: Option<&'static str>,
    pub body: Bytes,
}

impl Ask {
    pub fn get(path: impl Into<String>) -> Ask {
        Ask { method: "GET", path: path.into(), content_type: None, body: Bytes::new() }
    }
}

/// Whose page an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    Own,
    /// The user of that number.
    Other(usize),
    /// It names no user.
    Nobody,
}

/// Tells whose page user number N was given: called with N and the body.
pub type Tell = Arc<dyn Fn(usize, &[u8]) -> Whose + Send + Sync>;

/// What users do.
#[derive(Clone)]
pub struct Plan {
    /// Scheme, host and port.
    pub base: Url,
    /// One per user: its login. `None`: visitors who do not sign in.
    pub logins: Vec<Option<Ask>>,
    /// Where a login's answer may hold a bearer token, as JSON pointers.
    pub tokens: Vec<String>,
    /// Paths that are asked in turn; the first one names the user.
    pub pages: Vec<String>,
    pub logout: Option<Ask>,
    pub tell: Tell,
    pub headers: Vec<(String, String)>,
    /// Users arrive evenly over this time.
    pub ramp: Duration,
    /// All of them stay this long after the last one has signed in.
    pub hold: Duration,
    /// Between two requests of one user.
    pub every: Duration,
    /// From the first byte sent to the last received.
    pub timeout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    Login,
    Page,
    Logout,
}

/// Live figures.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    pub elapsed: Duration,
    pub total: Duration,
    pub held: i64,
    pub requests: u64,
}

const TELL_EVERY: Duration = Duration::from_millis(500);
/// After the hold users leave over this time, so that signing out is no stampede.
const LEAVING: Duration = Duration::from_secs(5);

struct Shared {
    plan: Plan,
    endpoint: Endpoint,
    start: Instant,
    cancel: CancellationToken,
    steps: Mutex<BTreeMap<Step, (StepReport, Histogram<u64>)>>,
    lag: Mutex<Histogram<u64>>,
    held: AtomicI64,
    requests: AtomicU64,
    /// Users whose login is over, well or not.
    settled: AtomicUsize,
    /// When the last of them was: the hold counts from there, or slow logins would eat it up.
    all_in: OnceLock<Duration>,
}

impl Shared {
    fn settle(&self) {
        if self.settled.fetch_add(1, Ordering::Relaxed) + 1 == self.plan.logins.len() {
            let _ = self.all_in.set(self.start.elapsed().max(self.plan.ramp));
        }
    }

    /// When users begin to leave; as long as somebody is still signing in, the latest that it can be.
    fn end(&self) -> Duration {
        self.all_in.get().copied().unwrap_or(self.plan.ramp + self.plan.timeout) + self.plan.hold
    }
}

/// What became of one user.
#[derive(Default)]
struct Life {
    /// From the login's answer to the last answer of the own page.
    session: Option<(Duration, Duration)>,
    arrived: bool,
    lost: bool,
    seen: BTreeMap<usize, u64>,
    own: u64,
    nobody: u64,
    /// Digest of the session's id.
    id: Option<u64>,
    signed_out: bool,
    outlived: bool,
}

/// Runs the plan. Cancelling ends it within a second, with what was seen so far.
pub async fn run(
    plan: Plan,
    mut progress: impl FnMut(Progress),
    cancel: CancellationToken,
) -> Result<Report, LoadError> {
    if plan.logins.is_empty() || plan.pages.is_empty() {
        return Err(LoadError::Plan("no users, or nothing that they ask for".into()));
    }
    allow_descriptors(plan.logins.len() as u32);
    let endpoint = Endpoint::resolve(&plan.base).await?;
    endpoint.dial().await.map_err(|e| LoadError::Unreachable(endpoint.authority(), e.to_string()))?;
    let (users, total) = (plan.logins.len(), plan.ramp + plan.hold + LEAVING);
    let shared = Arc::new(Shared {
        plan,
        endpoint,
        start: Instant::now(),
        cancel: cancel.clone(),
        steps: Mutex::default(),
        lag: Mutex::new(histogram()),
        held: AtomicI64::new(0),
        requests: AtomicU64::new(0),
        settled: AtomicUsize::new(0),
        all_in: OnceLock::new(),
    });
    let mut tasks = tokio::task::JoinSet::new();
    for user in 0..users {
        tasks.spawn(live(user, shared.clone()));
    }
    let (mut lives, mut tick) = (Vec::with_capacity(users), tokio::time::interval(TELL_EVERY));
    loop {
        tokio::select! {
            life = tasks.join_next() => match life {
                Some(Ok(life)) => lives.push(life),
                Some(Err(_)) => {}
                None => break,
            },
            _ = tick.tick() => progress(Progress {
                elapsed: shared.start.elapsed(),
                total,
                held: shared.held.load(Ordering::Relaxed),
                requests: shared.requests.load(Ordering::Relaxed),
            }),
        }
    }
    Ok(report::report(users, lives, &shared, cancel.is_cancelled()))
}

async fn live(user: usize, shared: Arc<Shared>) -> (usize, Life) {
    let mut life = Life::default();
    let cancel = shared.cancel.clone();
    tokio::select! {
        () = cancel.cancelled() => {}
        () = days(user, &shared, &mut life) => {}
    }
    if life.session.is_some() && !life.lost {
        shared.held.fetch_sub(1, Ordering::Relaxed);
    }
    (user, life)
}

/// The user's day: sign in, ask, sign out.
async fn days(user: usize, shared: &Shared, life: &mut Life) {
    let plan = &shared.plan;
    let share = user as f64 / plan.logins.len() as f64;
    wait(shared, plan.ramp.mul_f64(share)).await;
    let mut browser = Browser::default();
    if let Some(login) = &plan.logins[user] {
        let answer = browser.ask(shared, Step::Login, login).await;
        shared.settle();
        let Ok(answer) = answer else { return };
        browser.keep_token(&answer.body, &plan.tokens);
        if answer.status >= 400 || !browser.is_signed_in() {
            return;
        }
        life.id = browser.session_id();
    } else {
        shared.settle();
    }
    life.arrived = true;
    let from = shared.start.elapsed();
    let mut at = from;
    let mut nth = 0;
    while at < shared.end() {
        wait(shared, at).await;
        let page = nth % plan.pages.len();
        nth += 1;
        at += plan.every;
        let answer = match browser.ask(shared, Step::Page, &Ask::get(plan.pages[page].clone())).await {
            Ok(answer) => answer,
            Err(_) => continue,
        };
        if !(200..300).contains(&answer.status) {
            // What is busy may come back; who is sent to the login has lost his session.
            let away = matches!(answer.status, 401 | 403) || (300..400).contains(&answer.status);
            if away && plan.logins[user].is_some() && page == 0 {
                if life.session.is_some() {
                    shared.held.fetch_sub(1, Ordering::Relaxed);
                }
                life.lost = true;
                return;
            }
            continue;
        }
        if page == 0 && plan.logins[user].is_some() {
            match (plan.tell)(user, &answer.body) {
                Whose::Own => life.own += 1,
                Whose::Other(other) => *life.seen.entry(other).or_default() += 1,
                Whose::Nobody => life.nobody += 1,
            }
        }
        if life.session.is_none() {
            shared.held.fetch_add(1, Ordering::Relaxed);
        }
        life.session = Some((from, shared.start.elapsed()));
    }
    let Some(logout) = plan.logout.as_ref().filter(|_| plan.logins[user].is_some()) else { return };
    wait(shared, shared.end() + LEAVING.mul_f64(share)).await;
    // A copy of the session: signing out must end it on the server, not only in the browser.
    let kept = browser.kept();
    if browser.ask(shared, Step::Logout, logout).await.is_ok_and(|answer| answer.status < 400) {
        life.signed_out = true;
        browser.restore(kept);
        let again = browser.ask(shared, Step::Logout, &Ask::get(plan.pages[0].clone())).await;
        life.outlived = again.is_ok_and(|a| a.status == 200 && (plan.tell)(user, &a.body) == Whose::Own);
    }
}

/// Until an instant since the start; notes how late it was.
async fn wait(shared: &Shared, at: Duration) {
    let due = shared.start + at;
    if due <= Instant::now() {
        return;
    }
    tokio::time::sleep_until(due).await;
    let late = Instant::now().saturating_duration_since(due);
    let mut lag = shared.lag.lock().unwrap_or_else(PoisonError::into_inner);
    lag.saturating_record((late.as_micros() as u64).max(1));
}
