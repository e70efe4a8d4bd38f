//! The safety engine: the one choke point through which gates reach a target. Authorisation, budgets, circuit breaker,
//! deny list, request ledger. A refusal exits 4 and names the host.
//!
//! `safety/budget.rs` holds pace and breaker, `safety/proof.rs` the proof of control, `safety/ledger.rs` the ledger.

mod budget;
mod ledger;
mod proof;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

use self::budget::{Host, Turn};
use self::ledger::{Ledger, Line};
use super::address;
use super::client::{Client, NetError, Redirects, Request, Response};
use crate::domain::clock::SharedClock;

pub use self::proof::PROOF_PATH;

/// `[gates] safety = {…}`: what one gate may spend on one target.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Safety {
    /// Requests per second.
    pub rps: u32,
    /// Connections at once.
    pub concurrency: u32,
    /// Requests per gate.
    pub max_requests: u64,
}

impl Default for Safety {
    fn default() -> Self {
        Safety { rps: 10, concurrency: 4, max_requests: 5000 }
    }
}

/// One entry of `[gates] target = […]`.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// `staging`, `production`, …
    pub name: String,
    pub url: Url,
    /// Where operators' endpoints live (`/metrics`, `/health`); default: `url`.
    #[serde(default)]
    pub ops_url: Option<Url>,
    /// Active probes may run. Never true for production.
    #[serde(default)]
    pub active: bool,
    /// The load test may run.
    #[serde(default)]
    pub load: bool,
}

impl Target {
    /// By its name: `production`, `prod` or `live`. Never probed actively, whatever `active` says.
    pub fn is_production(&self) -> bool {
        matches!(self.name.to_ascii_lowercase().as_str(), "production" | "prod" | "live")
    }
    fn has_host(&self, url: &Url) -> bool {
        let same = |own: &Url| own.host().is_some() && own.host() == url.host();
        same(&self.url) || self.ops_url.as_ref().is_some_and(same)
    }
}

/// What a gate wants to do to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// Plain GETs a browser might send.
    Passive,
    /// Probes that try to break something.
    Active,
    /// The load lane.
    Load,
}

/// The most a gate reads of one answer.
pub const RESPONSE_BYTES_MAX: usize = 1 << 20;

/// The same where a browser renders what it reads: half of a script is none.
pub const PAGE_PART_BYTES_MAX: usize = 8 << 20;

/// The longest a gate waits for one answer.
pub const REQUEST_TIMEOUT_MAX: Duration = Duration::from_secs(10);

/// Longest time between two looks at the STOP file while something is under way: a stop takes at most a second.
const STOP_LOOK: Duration = Duration::from_millis(500);

/// Redirects a gate may follow on one host.
const REDIRECTS_MAX: u8 = 5;

/// Paths that a request which changes something never touches (gates.md 0.4).
static DENIED: LazyLock<regex::Regex> = LazyLock::new(|| {
    regex::Regex::new("(?i)pay|charge|refund|checkout|send|email|sms|notify|invite|webhook|delete|logout-all")
        .expect("a fixed pattern")
});

/// Is a request that changes something refused on this path?
pub fn is_denied(path: &str) -> bool {
    DENIED.is_match(path)
}

/// Shared by all gates of one run.
pub struct Guard {
    pub client: Client,
    pub safety: Safety,
    pub targets: Vec<Target>,
    /// `DIR/requests.ndjson` is the ledger.
    pub run_dir: PathBuf,
    pub run: String,
    pub clock: SharedClock,
    /// Cancel it (Ctrl-C, SIGTERM) and every prober stops within a second.
    pub stop: CancellationToken,
    project_dir: PathBuf,
    ledger: Ledger,
    hosts: Mutex<BTreeMap<String, Arc<Host>>>,
    /// Requests sent, by gate.
    sent: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    /// Hosts whose proof of control was looked for in this run.
    proofs: tokio::sync::Mutex<BTreeMap<String, bool>>,
}

impl Guard {
    /// Creates `run_dir` and opens the ledger in it.
    pub fn new(
        client: Client,
        safety: Safety,
        targets: Vec<Target>,
        run_dir: PathBuf,
        run: String,
        clock: SharedClock,
    ) -> std::io::Result<Arc<Guard>> {
        let ledger = Ledger::open(&run_dir)?;
        let project_dir = proof::project_dir(&run_dir);
        Ok(Arc::new(Guard {
            client,
            safety,
            targets,
            run_dir,
            run,
            clock,
            stop: CancellationToken::new(),
            project_dir,
            ledger,
            hosts: Mutex::default(),
            sent: Mutex::default(),
            proofs: tokio::sync::Mutex::default(),
        }))
    }

    /// May `url` be touched with this intent? Loopback is implicitly allowed; any other host needs a declared target
    /// (Active and Load: `active`/`load = true` plus proof of control). Production is passive only.
    pub async fn authorise(&self, url: &Url, intent: Intent) -> Result<(), NetError> {
        let host = url.host_str().unwrap_or("?").to_string();
        let declared: Vec<&Target> = self.targets.iter().filter(|t| t.has_host(url)).collect();
        if intent != Intent::Passive && declared.iter().any(|t| t.is_production()) {
            return Err(NetError::Refused(format!("{host} is production: only passive requests go there")));
        }
        if address::is_loopback(url) {
            return Ok(());
        }
        if declared.is_empty() {
            return Err(NetError::Refused(format!(
                "{host} is not a declared target; name it with --url or in [gates] target"
            )));
        }
        let (permitted, key, what) = match intent {
            Intent::Passive => return Ok(()),
            Intent::Active => (declared.iter().any(|t| t.active), "active", "active probes"),
            Intent::Load => (declared.iter().any(|t| t.load), "load", "a load test"),
        };
        if !permitted {
            return Err(NetError::Refused(format!(
                "{host} does not allow {what}; set {key} = true on its [gates] target if it is yours and not production"
            )));
        }
        self.prove(url, &host, what).await
    }

    async fn prove(&self, url: &Url, host: &str, what: &str) -> Result<(), NetError> {
        let Some(token) = proof::token(&self.project_dir) else {
            return Err(NetError::Refused(format!(
                "{host}: {what} need proof of control, and {} holds no token of at least 16 characters",
                self.project_dir.join("token").display()
            )));
        };
        let mut proofs = self.proofs.lock().await;
        let proved = match proofs.get(host) {
            Some(known) => *known,
            None => {
                let proved = proof::is_proved(&self.client, url, &token).await;
                proofs.insert(host.to_string(), proved);
                proved
            }
        };
        if proved {
            return Ok(());
        }
        Err(NetError::Refused(format!(
            "{host}: {what} need proof of control; serve the line {token} at {}",
            url.join(PROOF_PATH).map_or_else(|_| PROOF_PATH.to_string(), |u| super::redact_url(&u))
        )))
    }

    /// The prober of one gate. All probers of a gate share its budget.
    pub fn prober(self: &Arc<Guard>, gate: &str, intent: Intent) -> Prober {
        let (sent, bytes_max) = (self.counter(gate), RESPONSE_BYTES_MAX);
        Prober {
            guard: self.clone(),
            gate: gate.into(),
            intent,
            api: None,
            provokes: false,
            sent,
            bytes_max,
            own: None,
        }
    }

    /// The prober of a gate for one service that is no target, but that the operator gave a token for: a forge's API.
    /// GETs to that origin only; pace, budget and ledger as everywhere.
    pub fn api_prober(self: &Arc<Guard>, gate: &str, api: &Url) -> Prober {
        Prober { api: Some(api.origin()), ..self.prober(gate, Intent::Passive) }
    }

    /// Requests that `gate` has sent so far.
    pub fn requests_of(&self, gate: &str) -> u64 {
        self.counter(gate).load(Ordering::Relaxed)
    }

    /// Counts requests that a gate sent through the load lane, past its probers.
    pub fn count(&self, gate: &str, requests: u64) {
        self.counter(gate).fetch_add(requests, Ordering::Relaxed);
    }

    fn counter(&self, gate: &str) -> Arc<AtomicU64> {
        let mut sent = self.sent.lock().unwrap_or_else(|e| e.into_inner());
        sent.entry(gate.to_string()).or_default().clone()
    }

    /// Has somebody asked to stop, by token or by the file `.hypercare/STOP`?
    pub fn stop_asked(&self) -> bool {
        self.stop.is_cancelled() || self.project_dir.join("STOP").exists()
    }

    /// Ends when a stop is asked for; then every request under way is dropped.
    pub async fn stopped(&self) {
        while !self.stop_asked() {
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = tokio::time::sleep(STOP_LOOK) => {}
            }
        }
    }

    fn host(&self, url: &Url) -> Arc<Host> {
        let name = url.host_str().unwrap_or("").to_string();
        let mut hosts = self.hosts.lock().unwrap_or_else(|e| e.into_inner());
        hosts.entry(name).or_insert_with(|| Arc::new(Host::new(&self.safety))).clone()
    }
}

/// A gate's way to a target. Cheap to clone; the budget is shared by the clones.
#[derive(Clone)]
pub struct Prober {
    guard: Arc<Guard>,
    gate: Arc<str>,
    intent: Intent,
    /// Where it may go although that is no target.
    api: Option<url::Origin>,
    /// A 5xx may be what its requests are after.
    provokes: bool,
    sent: Arc<AtomicU64>,
    bytes_max: usize,
    /// A pace of its own, not the hosts' shared one.
    own: Option<Arc<Host>>,
}

/// The fastest pace that a gate may ask for itself.
pub const PACE_MAX: u32 = 50;

impl Prober {
    /// Adds `User-Agent` and `X-Hypercare-Run`, waits for its turn in the budget, writes the ledger, never follows a
    /// redirect to another host, caps the body at 1 MiB (a page's parts: 8 MiB) and the wait at 10 s.
    pub async fn send(&self, request: Request) -> Result<Response, NetError> {
        let guard = &*self.guard;
        self.check_method(&request)?;
        if self.api.as_ref() != Some(&request.url.origin()) {
            guard.authorise(&request.url, self.intent).await?;
        }
        let host = self.own.clone().unwrap_or_else(|| guard.host(&request.url));
        tokio::select! {
            biased;
            () = guard.stopped() => Err(NetError::Stopped("a stop was asked for".into())),
            answer = self.take_turn(&host, self.tamed(request)) => answer,
        }
    }

    /// The same prober, reading up to [`PAGE_PART_BYTES_MAX`] of an answer: for what a browser renders.
    pub fn for_pages(self) -> Prober {
        Prober { bytes_max: PAGE_PART_BYTES_MAX, ..self }
    }

    /// The same prober for requests that are malformed on purpose: a 5xx to them is what the gate looks for, and says
    /// nothing of the host's health, so that the breaker does not count it. Broken connections and time-outs count as ever.
    /// Whoever uses it asks something valid after each 5xx, through an ordinary prober.
    pub fn provoking(&self) -> Prober {
        Prober { provokes: true, ..self.clone() }
    }

    /// The same prober at `rps` requests per second, at most [`PACE_MAX`], one at a time: for the question whether a host
    /// bears with haste. Whom it may ask, how much in all, ledger and stop stay as they are.
    pub fn at_pace(&self, rps: u32) -> Prober {
        let safety = Safety { rps: rps.clamp(1, PACE_MAX), concurrency: 1, ..self.guard.safety.clone() };
        Prober { own: Some(Arc::new(Host::new(&safety))), ..self.clone() }
    }

    /// GET with the defaults of [`Request::get`].
    pub async fn get(&self, url: Url) -> Result<Response, NetError> {
        self.send(Request::get(url)).await
    }

    /// Requests sent so far.
    pub fn requests(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    fn check_method(&self, request: &Request) -> Result<(), NetError> {
        let host = request.url.host_str().unwrap_or("?");
        if matches!(request.method.as_str(), "GET" | "HEAD" | "OPTIONS") {
            return Ok(());
        }
        if self.intent == Intent::Passive {
            return Err(NetError::Refused(format!("{} {host} is not a passive request", request.method)));
        }
        if DENIED.is_match(request.url.path()) {
            return Err(NetError::Refused(format!(
                "{} {} might pay, send or delete something on {host}",
                request.method,
                request.url.path()
            )));
        }
        Ok(())
    }

    /// The request within the bounds every gate must keep.
    fn tamed(&self, mut request: Request) -> Request {
        request
            .headers
            .retain(|(n, _)| !n.eq_ignore_ascii_case("user-agent") && !n.eq_ignore_ascii_case("x-hypercare-run"));
        request.headers.push(("user-agent".into(), super::USER_AGENT.into()));
        request.headers.push(("x-hypercare-run".into(), self.guard.run.clone()));
        request.timeout = request.timeout.min(REQUEST_TIMEOUT_MAX);
        request.body_bytes_limit = request.body_bytes_limit.min(self.bytes_max);
        request.redirects = match request.redirects {
            Redirects::None => Redirects::None,
            Redirects::SameHost(n) | Redirects::Follow(n) => Redirects::SameHost(n.min(REDIRECTS_MAX)),
        };
        request
    }

    async fn take_turn(&self, host: &Host, request: Request) -> Result<Response, NetError> {
        let limit = self.guard.safety.max_requests;
        if self.sent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < limit).then_some(n + 1)).is_err() {
            return Err(NetError::Stopped(format!("the budget of {limit} requests per gate is used up")));
        }
        let _slot = host.slots.acquire().await.map_err(|_| NetError::Stopped("shutting down".into()))?;
        tokio::time::sleep_until(host.turn(Instant::now())).await;
        loop {
            match host.before(Instant::now()) {
                Turn::Go => break,
                Turn::WaitUntil(until) => tokio::time::sleep_until(until).await,
                Turn::Stopped => {
                    let name = request.url.host_str().unwrap_or("?");
                    return Err(NetError::Stopped(format!("{name} answers too often with 5xx or not at all")));
                }
            }
        }
        let (method, url) = (request.method.clone(), super::redact_url(&request.url));
        let time = ledger::time(self.guard.clock.now());
        let answer = self.guard.client.send(request).await;
        let (status, bytes, error) = match &answer {
            Ok(response) => (Some(response.status), response.body.len(), None),
            Err(error) => (None, 0, Some(error.to_string())),
        };
        self.guard.ledger.write(&Line { time, method: &method, url, status, error, gate: &self.gate, bytes });
        let bad = match &answer {
            Ok(response) => response.status >= 500,
            Err(NetError::Connect(_) | NetError::Timeout(_) | NetError::Protocol(_) | NetError::Tls(_)) => true,
            Err(_) => false,
        };
        let provoked = self.provokes && answer.as_ref().is_ok_and(|response| response.status >= 500);
        if !provoked {
            host.after(bad, Instant::now());
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests_support::{Served, serve};
    use super::*;
    use crate::domain::clock::{ManualClock, Timestamp};

    fn guard(dir: &std::path::Path, targets: Vec<Target>, safety: Safety) -> Arc<Guard> {
        let clock = ManualClock::at(Timestamp::from_ms(1_800_000_000_000));
        let run_dir = dir.join(".hypercare/runs/r1");
        Guard::new(Client::new(), safety, targets, run_dir, "r1".into(), clock).unwrap()
    }
    fn target(name: &str, url: &str, active: bool) -> Target {
        Target { name: name.into(), url: url.parse().unwrap(), ops_url: None, active, load: false }
    }
    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn hosts_are_authorised_by_intent_and_refusals_name_them() {
        let dir = tempfile::tempdir().unwrap();
        let guard = guard(
            dir.path(),
            vec![
                target("staging", "http://staging.invalid/", true),
                target("production", "http://shop.invalid/", true),
            ],
            Safety::default(),
        );
        let refusal = async |u: &str, intent| guard.authorise(&url(u), intent).await.unwrap_err().to_string();
        assert!(guard.authorise(&url("http://127.0.0.1:1/"), Intent::Load).await.is_ok());
        assert!(guard.authorise(&url("http://shop.invalid/x"), Intent::Passive).await.is_ok());
        assert!(refusal("http://other.invalid/", Intent::Passive).await.contains("other.invalid is not a declared"));
        assert!(refusal("http://shop.invalid/", Intent::Active).await.contains("shop.invalid is production"));
        assert!(refusal("http://staging.invalid/", Intent::Load).await.contains("load = true"));
        let token = std::fs::read_to_string(dir.path().join(".hypercare/token"));
        assert!(token.is_err(), "made only when somebody needs it");
        let unproved = refusal("http://staging.invalid/", Intent::Active).await;
        let token = std::fs::read_to_string(dir.path().join(".hypercare/token")).unwrap();
        assert!(unproved.contains(token.trim()) && unproved.contains(PROOF_PATH), "{unproved}");
    }

    #[tokio::test]
    async fn proof_of_control_is_the_token_on_a_line_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let token = proof::token(dir.path()).unwrap();
        assert_eq!(proof::token(dir.path()).unwrap(), token, "kept");
        let served = token.clone();
        let server = serve(move |request| {
            Served::ok(&if request.starts_with("GET /.well-known/hypercare.txt ") {
                format!("hi\n{served}\n")
            } else {
                String::new()
            })
        })
        .await;
        assert!(proof::is_proved(&Client::new(), &url(&server.url("/a/b")), &token).await);
        assert!(!proof::is_proved(&Client::new(), &url(&server.url("/")), &format!("{token}0")).await);
    }

    #[tokio::test]
    async fn every_request_is_marked_counted_and_in_the_ledger() {
        let dir = tempfile::tempdir().unwrap();
        let server = serve(|request| {
            assert!(request.contains("user-agent: hypercare/") && request.contains("x-hypercare-run: r1"), "{request}");
            Served::ok("fine")
        })
        .await;
        let guard = guard(dir.path(), vec![], Safety { rps: 1000, concurrency: 4, max_requests: 2 });
        let prober = guard.prober("security.headers", Intent::Passive);
        let request = Request::get(url(&server.url("/a?token=abc"))).header("User-Agent", "curl");
        assert_eq!(prober.send(request).await.unwrap().status, 200);
        prober.get(url(&server.url("/b"))).await.unwrap();
        assert!(matches!(prober.get(url(&server.url("/c"))).await, Err(NetError::Stopped(_))));
        assert_eq!(prober.requests(), 2);
        let ledger = std::fs::read_to_string(guard.run_dir.join("requests.ndjson")).unwrap();
        let line: serde_json::Value = serde_json::from_str(ledger.lines().next().unwrap()).unwrap();
        assert_eq!(line["gate"], "security.headers");
        assert_eq!((&line["status"], &line["bytes"]), (&200.into(), &4.into()));
        assert!(line["url"].as_str().unwrap().ends_with("/a?token=…"), "{line}");
        assert_eq!(ledger.lines().count(), 2);
    }

    #[tokio::test]
    async fn unsafe_requests_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let guard = guard(dir.path(), vec![], Safety::default());
        let post = |path: &str| Request::post(url(&format!("http://127.0.0.1:1{path}")), "text/plain", "x");
        let passive = guard.prober("g", Intent::Passive).send(post("/orders")).await;
        assert!(matches!(passive, Err(NetError::Refused(_))));
        let active = guard.prober("g", Intent::Active);
        assert!(matches!(active.send(post("/api/refund/1")).await, Err(NetError::Refused(_))));
        assert!(matches!(active.send(post("/orders")).await, Err(NetError::Connect(_))));
        assert!(matches!(active.get(url("http://elsewhere.invalid/")).await, Err(NetError::Refused(_))));
    }

    #[tokio::test]
    async fn an_api_prober_reads_its_own_origin_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let guard = guard(dir.path(), vec![], Safety::default());
        let prober = guard.api_prober("g", &url("https://api.forge.invalid/v1"));
        // Refused by nobody; it is the name that does not exist.
        let asked = prober.get(url("https://api.forge.invalid/v1/x")).await;
        assert!(!matches!(asked, Err(NetError::Refused(_))), "{asked:?}");
        for other in ["https://forge.invalid/", "http://api.forge.invalid/", "https://api.forge.invalid:444/"] {
            assert!(matches!(prober.get(url(other)).await, Err(NetError::Refused(_))), "{other}");
        }
        let post = Request::post(url("https://api.forge.invalid/v1/x"), "text/plain", "x");
        assert!(matches!(prober.send(post).await, Err(NetError::Refused(_))));
    }

    #[tokio::test]
    async fn errors_that_were_provoked_do_not_open_the_breaker() {
        let dir = tempfile::tempdir().unwrap();
        let server = serve(|_| Served::with(500, &[], b"")).await;
        let guard = guard(dir.path(), vec![], Safety { rps: 1000, ..Safety::default() });
        let prober = guard.prober("g", Intent::Active);
        for _ in 0..40 {
            assert_eq!(prober.provoking().get(url(&server.url("/"))).await.unwrap().status, 500);
        }
        assert_eq!(prober.requests(), 40, "one budget");
        let host = guard.host(&url(&server.url("/")));
        assert_eq!(host.before(Instant::now()), Turn::Go);
        for _ in 0..20 {
            prober.get(url(&server.url("/"))).await.unwrap();
        }
        assert!(matches!(host.before(Instant::now()), Turn::WaitUntil(_)), "those of valid requests do");
    }

    #[tokio::test]
    async fn a_stop_ends_what_is_under_way() {
        let dir = tempfile::tempdir().unwrap();
        let server = serve(|_| Served::Hang).await;
        let guard = guard(dir.path(), vec![], Safety::default());
        let prober = guard.prober("g", Intent::Passive);
        let hanging = prober.get(url(&server.url("/")));
        let (answer, ()) = tokio::join!(hanging, async {
            tokio::task::yield_now().await;
            std::fs::write(dir.path().join(".hypercare/STOP"), "").unwrap();
        });
        assert_eq!(answer.unwrap_err(), NetError::Stopped("a stop was asked for".into()));
    }

    #[tokio::test]
    async fn a_target_in_trouble_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let server = serve(|_| Served::with(503, &[], b"")).await;
        let guard = guard(dir.path(), vec![], Safety { rps: 10_000, ..Safety::default() });
        let prober = guard.prober("g", Intent::Passive);
        for _ in 0..20 {
            assert_eq!(prober.get(url(&server.url("/"))).await.unwrap().status, 503);
        }
        // The pause passes at once on tokio's paused clock; the trial answers 503 again, and that is the end.
        tokio::time::pause();
        tokio::time::advance(budget::BREAKER_PAUSE).await;
        tokio::time::resume();
        assert_eq!(prober.get(url(&server.url("/"))).await.unwrap().status, 503);
        assert!(matches!(prober.get(url(&server.url("/"))).await, Err(NetError::Stopped(_))));
    }
}
