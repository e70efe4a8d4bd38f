//! Many users at once: each with a connection, a cookie jar and an account of its own. Each signs in during the ramp, asks
//! for its own page again and again while all the others do, and signs out at the end.
//!
//! A closed model on purpose: the question is how many *sessions* the service holds at one instant and whether each still
//! belongs to its user, not how many requests a second it serves (that is [`super::run`]). HTTP/1.1 by `hyper`.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hdrhistogram::Histogram;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, SET_COOKIE};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::connection::{Endpoint, Fault, Stream};
use super::report::Latency;
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

/// What one kind of request gave.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct StepReport {
    pub requests: u64,
    pub by_status: BTreeMap<u16, u64>,
    /// By class: `connect`, `timeout`, `reset`, `protocol`, `tls`.
    pub errors: BTreeMap<String, u64>,
    pub latency_ms: Latency,
}

/// Users who were given somebody else's page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MixUp {
    pub user: usize,
    pub saw: usize,
    pub times: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    pub users: usize,
    /// Signed in, or arrived where nobody signs in.
    pub arrived: usize,
    /// Most sessions held at one instant; each proven by an answer of its own page after that instant.
    pub peak: usize,
    /// (second since the start, sessions held)
    pub held: Vec<(u64, usize)>,
    pub steps: BTreeMap<Step, StepReport>,
    pub mix_ups: Vec<MixUp>,
    /// Page answers that named the user, and that named nobody.
    pub own: u64,
    pub nobody: u64,
    /// Session ids or tokens that more than one user was given.
    pub shared_sessions: usize,
    /// Sessions that ended before the hold did.
    pub lost: usize,
    /// Signed out and then asked again: still signed in.
    pub outlived: usize,
    pub signed_out: usize,
    /// How late requests were sent, 99th percentile: a tired generator, not a slow service.
    pub lag_p99_ms: f64,
    /// The run was cut short from outside.
    pub interrupted: bool,
}

/// Live figures.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    pub elapsed: Duration,
    pub total: Duration,
    pub held: i64,
    pub requests: u64,
}

/// An answer is read so far; the user's name stands near its beginning.
const BODY_BYTES_MAX: usize = 256 * 1024;
const COOKIES_MAX: usize = 50;
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
    Ok(report(users, lives, &shared, cancel.is_cancelled()))
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

struct Answer {
    status: u16,
    body: Bytes,
}

/// Connection, cookies and token of one user.
#[derive(Default)]
struct Browser {
    connection: Option<SendRequest<Full<Bytes>>>,
    cookies: BTreeMap<String, String>,
    token: Option<String>,
}

impl Browser {
    async fn ask(&mut self, shared: &Shared, step: Step, ask: &Ask) -> Result<Answer, Fault> {
        let begun = Instant::now();
        shared.requests.fetch_add(1, Ordering::Relaxed);
        let answer = match tokio::time::timeout(shared.plan.timeout, self.exchange(shared, ask)).await {
            Ok(answer) => answer,
            Err(_) => Err(Fault::Timeout),
        };
        if answer.is_err() {
            self.connection = None;
        }
        let mut steps = shared.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let (report, latency) = steps.entry(step).or_insert_with(|| (StepReport::default(), histogram()));
        report.requests += 1;
        match &answer {
            Ok(answer) => {
                *report.by_status.entry(answer.status).or_default() += 1;
                latency.saturating_record((begun.elapsed().as_micros() as u64).max(1));
            }
            Err(fault) => *report.errors.entry(fault.word().to_string()).or_default() += 1,
        }
        answer
    }

    async fn exchange(&mut self, shared: &Shared, ask: &Ask) -> Result<Answer, Fault> {
        // A server may close an idle connection at any time: that is no error of the service, once.
        let idle = self.connection.as_ref().is_some_and(|c| c.is_ready());
        let connection = match self.connection.take().filter(|_| idle) {
            Some(open) => open,
            None => open(&shared.endpoint).await?,
        };
        let connection = self.connection.insert(connection);
        connection.ready().await.map_err(|_| Fault::Reset)?;
        let mut request = hyper::Request::builder()
            .method(ask.method)
            .uri(&ask.path)
            .header(HOST, shared.endpoint.authority())
            .header("accept", "*/*");
        for (name, value) in &shared.plan.headers {
            request = request.header(name, value);
        }
        if let Some(kind) = ask.content_type {
            request = request.header(CONTENT_TYPE, kind);
        }
        if !self.cookies.is_empty() {
            let all: Vec<String> = self.cookies.iter().map(|(n, v)| format!("{n}={v}")).collect();
            request = request.header(COOKIE, all.join("; "));
        }
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::new(ask.body.clone())).map_err(|_| Fault::Protocol)?;
        let answer = connection.send_request(request).await.map_err(|_| Fault::Reset)?;
        let status = answer.status().as_u16();
        let text = |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let set: Vec<String> = answer.headers().get_all(SET_COOKIE).iter().take(COOKIES_MAX).map(text).collect();
        let body = Limited::new(answer.into_body(), BODY_BYTES_MAX).collect().await;
        let body = match body {
            Ok(body) => body.to_bytes(),
            // The rest is left unread, so the connection is of no more use.
            Err(_) => {
                self.connection = None;
                return Err(Fault::Protocol);
            }
        };
        self.keep_cookies(&set);
        Ok(Answer { status, body })
    }

    fn keep_cookies(&mut self, set: &[String]) {
        for line in set {
            let Some((name, value)) = line.split(';').next().and_then(|pair| pair.split_once('=')) else { continue };
            let (name, value) = (name.trim().to_string(), value.trim().to_string());
            let gone = value.is_empty() || line.to_ascii_lowercase().contains("max-age=0");
            match gone {
                true => drop(self.cookies.remove(&name)),
                false if self.cookies.len() < COOKIES_MAX => drop(self.cookies.insert(name, value)),
                false => {}
            }
        }
    }

    fn keep_token(&mut self, body: &[u8], pointers: &[String]) {
        let Ok(json) = serde_json::from_slice::<serde_json::Value>(body) else { return };
        self.token = pointers.iter().find_map(|p| json.pointer(p)?.as_str()).map(str::to_string);
    }

    fn is_signed_in(&self) -> bool {
        self.token.is_some() || !self.cookies.is_empty()
    }

    /// The longest of what was handed out: a language or a theme is shorter than any session.
    fn session_id(&self) -> Option<u64> {
        let id = self.token.as_ref().into_iter().chain(self.cookies.values()).max_by_key(|v| v.len())?;
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        Some(hasher.finish())
    }

    fn kept(&self) -> (BTreeMap<String, String>, Option<String>) {
        (self.cookies.clone(), self.token.clone())
    }

    fn restore(&mut self, (cookies, token): (BTreeMap<String, String>, Option<String>)) {
        (self.cookies, self.token) = (cookies, token);
    }
}

async fn open(endpoint: &Endpoint) -> Result<SendRequest<Full<Bytes>>, Fault> {
    match endpoint.dial().await.map_err(|e| e.fault)? {
        Stream::Plain(stream) => shake(stream).await,
        Stream::Tls(stream) => shake(stream).await,
    }
}

async fn shake<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, Fault>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|_| Fault::Protocol)?;
    // Ends with the sender.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(sender)
}

fn report(users: usize, mut lives: Vec<(usize, Life)>, shared: &Shared, interrupted: bool) -> Report {
    lives.sort_by_key(|(user, _)| *user);
    let mut out = Report { users, interrupted, ..Report::default() };
    let mut changes: Vec<(Duration, i64)> = Vec::new();
    let (mut ids, mut twice) = (BTreeSet::new(), BTreeSet::new());
    for (user, life) in &lives {
        out.arrived += usize::from(life.arrived);
        out.lost += usize::from(life.lost);
        out.own += life.own;
        out.nobody += life.nobody;
        out.signed_out += usize::from(life.signed_out);
        out.outlived += usize::from(life.outlived);
        out.mix_ups.extend(life.seen.iter().map(|(saw, times)| MixUp { user: *user, saw: *saw, times: *times }));
        if let Some((from, until)) = life.session {
            changes.extend([(from, 1), (until, -1)]);
        }
        if let Some(id) = life.id {
            if !ids.insert(id) {
                twice.insert(id);
            }
        }
    }
    out.shared_sessions = twice.len();
    changes.sort();
    let mut held = 0i64;
    let mut curve: BTreeMap<u64, usize> = BTreeMap::new();
    for (at, change) in changes {
        held += change;
        let now = held.max(0) as usize;
        out.peak = out.peak.max(now);
        let second = curve.entry(at.as_secs()).or_default();
        *second = now.max(*second);
    }
    out.held = curve.into_iter().collect();
    let steps = std::mem::take(&mut *shared.steps.lock().unwrap_or_else(PoisonError::into_inner));
    let told = |(step, (report, latency)): (Step, (StepReport, Histogram<u64>))| {
        (step, StepReport { latency_ms: Latency::of(&latency), ..report })
    };
    out.steps = steps.into_iter().map(told).collect();
    let lag = shared.lag.lock().unwrap_or_else(PoisonError::into_inner);
    out.lag_p99_ms = if lag.is_empty() { 0.0 } else { lag.value_at_quantile(0.99) as f64 / 1000.0 };
    out
}
