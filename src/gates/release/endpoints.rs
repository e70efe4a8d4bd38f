//! Gate `release.endpoints`: do `/status`, `/health`, `/metrics` and `/version` answer, and do they tell the truth?
//!
//! Balancers, the watch and people in a hurry all ask these four. A catch-all page that answers everything with 200 fakes
//! them, so an unknown path is asked as well; a version that is not the release's means the wrong build is up. Sends some
//! fifty plain GETs, operators' address first. Bodies are read in `endpoint_answers.rs`; the verdict is `judge`.
//! To fix a failure: serve the missing endpoint; inject commit and version at build time.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use url::Url;

use super::endpoint_answers::{self as answers, Named};
use crate::domain::exposition;
use crate::domain::problem::Problem;
use crate::domain::release::ReleaseId;
use crate::domain::service::Profile;
use crate::domain::verdict::{Class, Finding, Outcome, Severity, Tier};
use crate::gates::context::not_asked;
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage};
use crate::net::safety::{Intent, Prober, Target};
use crate::net::{NetError, Request, Response};

/// `[gates.release.endpoints]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Paths asked for liveness, first answer wins.
    pub health: Vec<String>,
    /// Paths asked for readiness. None is required.
    pub ready: Vec<String>,
    /// Paths asked for the status; only the first is the checklist's, others warn.
    pub status: Vec<String>,
    /// Paths asked for metrics.
    pub metrics: Vec<String>,
    /// Paths asked for version and commit.
    pub version: Vec<String>,
    /// 95th percentile of the health endpoint, milliseconds. Default: 1000.
    pub p95_ms: f64,
    /// Calls of health and of version: enough to meet every instance behind a balancer. Default: 20.
    pub calls: u32,
}

impl Default for Config {
    fn default() -> Self {
        let paths = |list: &[&str]| list.iter().map(|p| p.to_string()).collect();
        Config {
            health: paths(&["/health", "/healthz", "/livez", "/actuator/health"]),
            ready: paths(&["/ready", "/readyz"]),
            status: paths(&["/status", "/api/status", "/-/status"]),
            metrics: paths(&["/metrics", "/actuator/prometheus"]),
            version: paths(&["/version", "/build-info", "/actuator/info", "/version.json", "/version.txt"]),
            p95_ms: 1000.0,
            calls: 20,
        }
    }
}

impl Config {
    /// Problems by path below `gates.release.endpoints`.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for role in Role::ALL {
            let paths = role.paths(self);
            if paths.is_empty() && role != Role::Ready {
                problems.push(Problem::at([role.word()], "names no path"));
            }
            for path in paths.iter().filter(|p| !p.starts_with('/')) {
                problems.push(Problem::at([role.word()], format!("`{path}` does not start with /")));
            }
        }
        if !(self.p95_ms.is_finite() && self.p95_ms > 0.0) {
            problems.push(Problem::at(["p95_ms"], "must be above zero"));
        }
        if !(1..=CALLS_MAX).contains(&self.calls) {
            problems.push(Problem::at(["calls"], format!("must lie between 1 and {CALLS_MAX}")));
        }
        problems
    }
}

/// At ten requests a second two hundred calls of two endpoints fill the gate's minute.
const CALLS_MAX: u32 = 200;

/// What an endpoint is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    Status,
    Health,
    Ready,
    Metrics,
    Version,
}

impl Role {
    const ALL: [Role; 5] = [Role::Status, Role::Health, Role::Ready, Role::Metrics, Role::Version];

    fn word(self) -> &'static str {
        match self {
            Role::Status => "status",
            Role::Health => "health",
            Role::Ready => "ready",
            Role::Metrics => "metrics",
            Role::Version => "version",
        }
    }

    fn paths(self, config: &Config) -> &[String] {
        match self {
            Role::Status => &config.status,
            Role::Health => &config.health,
            Role::Ready => &config.ready,
            Role::Metrics => &config.metrics,
            Role::Version => &config.version,
        }
    }

    /// Those that a profile must have.
    fn required(profile: Profile) -> &'static [Role] {
        match profile {
            Profile::Worker => &[Role::Health, Role::Metrics],
            Profile::StaticSite => &[Role::Version],
            Profile::Auto | Profile::WebApp | Profile::WebApi => {
                &[Role::Status, Role::Health, Role::Metrics, Role::Version]
            }
        }
    }
}

pub struct Endpoints;

pub static ABOUT: About = About {
    id: "release.endpoints",
    section: Section::Release,
    class: Class::B,
    line: "/status, /health, /metrics, /version endpoints ready",
    min_tier: Tier::E3,
    attestable: false,
    stage: Stage::Passive,
    lock: Lock::TargetShared,
    needs: &[],
    timeout: Duration::from_secs(60),
    skipped_for: &[],
    reads: "the four endpoints and readiness under their usual names, on ops_url first and then on url, twenty times where \
            it matters, and a path that cannot exist",
    decides: "all four answer with content of their own (a worker: health and metrics; a static site: version); the version \
              is the release's commit or version on every call; metrics parse; health is fast, not cacheable and tells \
              strangers no details, or the gate warns",
    fix: "serve the missing endpoint; inject the commit at build time: --build-arg GIT_SHA=$(git rev-parse HEAD)",
};

impl Gate for Endpoints {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let target = match ctx.need_target() {
                Ok(target) => target,
                Err(outcome) => return *outcome,
            };
            let config = &ctx.config.release.endpoints;
            let prober = ctx.prober(ABOUT.id, Intent::Passive);
            match ask(&prober, target, config, ctx.profile, &ctx.guard.run).await {
                Ok(seen) => judge(&seen, config, ctx.profile, &ctx.rid),
                Err(error) => not_asked(&error),
            }
        })
    }
}

/// One answer, as far as the verdict and the transcript need it.
#[derive(Debug, Clone, Default, Serialize)]
struct Answer {
    path: String,
    /// Asked on `ops_url`.
    ops: bool,
    status: u16,
    content_type: Option<String>,
    cache_control: Option<String>,
    duration_ms: f64,
    #[serde(skip)]
    body: String,
}

/// Everything the verdict rests on.
#[derive(Debug, Default)]
struct Seen {
    /// The answer that was taken for each role.
    found: BTreeMap<Role, Answer>,
    /// What stood in the way of a role: 401, 302, 429, 500 instead of 200.
    blocked: BTreeMap<Role, Answer>,
    /// Answers to the path that cannot exist, by `ops`.
    unknown: BTreeMap<bool, Answer>,
    health_ms: Vec<f64>,
    /// Statuses of the repeated calls other than 200.
    odd: BTreeMap<Role, BTreeMap<u16, u32>>,
    /// What each call of the version endpoint named, with how often.
    versions: BTreeMap<Named, u32>,
    /// Every answer in order.
    transcript: Vec<Answer>,
}

/// Enough of a body to compare and to parse; the metrics endpoint is the longest.
async fn get(prober: &Prober, base: &Url, path: &str, ops: bool) -> Result<Answer, NetError> {
    let mut url = base.clone();
    let prefix = base.path().trim_end_matches('/');
    url.set_path(&format!("{prefix}{path}"));
    url.set_query(None);
    let request = Request { truncate: true, ..Request::get(url) }.header("accept", "*/*");
    let response = prober.send(request).await?;
    Ok(answer(path, ops, &response))
}

fn answer(path: &str, ops: bool, response: &Response) -> Answer {
    let header = |name: &str| response.header(name).map(|v| v.chars().filter(|c| !c.is_control()).take(100).collect());
    Answer {
        path: path.into(),
        ops,
        status: response.status,
        content_type: header("content-type"),
        cache_control: header("cache-control"),
        duration_ms: response.duration.as_secs_f64() * 1000.0,
        body: response.text().into_owned(),
    }
}

async fn ask(prober: &Prober, target: &Target, config: &Config, profile: Profile, run: &str) -> Result<Seen, NetError> {
    let mut seen = Seen::default();
    let mut bases: Vec<(bool, &Url)> = Vec::new();
    if let Some(ops) = target.ops_url.as_ref().filter(|o| **o != target.url) {
        bases.push((true, ops));
    }
    bases.push((false, &target.url));
    // An operators' address that is down is no reason to give up: the endpoints may be on the public one.
    let mut up: Vec<(bool, &Url)> = Vec::new();
    let mut failure = None;
    for (ops, base) in bases {
        match get(prober, base, &format!("/hc-{run}-unknown"), ops).await {
            Ok(answer) => {
                seen.transcript.push(answer.clone());
                seen.unknown.insert(ops, answer);
                up.push((ops, base));
            }
            Err(error @ (NetError::Refused(_) | NetError::Stopped(_))) => return Err(error),
            Err(error) => failure = Some(error),
        }
    }
    if let Some(error) = failure.filter(|_| up.is_empty()) {
        return Err(error);
    }
    let wanted = Role::required(profile);
    for role in
        Role::ALL.into_iter().filter(|r| wanted.contains(r) || (*r == Role::Ready && wanted.contains(&Role::Health)))
    {
        find(prober, &up, role, config, &mut seen).await?;
    }
    for role in [Role::Health, Role::Version] {
        repeat(prober, &up, role, config, &mut seen).await?;
    }
    Ok(seen)
}

/// The first path that answers with something of its own.
async fn find(
    prober: &Prober,
    bases: &[(bool, &Url)],
    role: Role,
    config: &Config,
    seen: &mut Seen,
) -> Result<(), NetError> {
    for (ops, base) in bases {
        for path in role.paths(config) {
            let answer = get(prober, base, path, *ops).await?;
            seen.transcript.push(answer.clone());
            let fallback = seen.unknown.get(ops).is_some_and(|u| is_fallback(&answer, u));
            if answer.status == 200 && !fallback {
                seen.found.insert(role, answer);
                return Ok(());
            }
            if answer.status != 404 && !fallback {
                seen.blocked.entry(role).or_insert(answer);
            }
        }
    }
    Ok(())
}

/// Is this what the path that cannot exist got as well? Pages may carry a nonce or the path itself, so HTML of the same
/// kind is the same page.
fn is_fallback(answer: &Answer, unknown: &Answer) -> bool {
    let html = |a: &Answer| a.content_type.as_deref().is_some_and(|t| t.starts_with("text/html"));
    answer.status == unknown.status && (answer.body == unknown.body || (html(answer) && html(unknown)))
}

async fn repeat(
    prober: &Prober,
    bases: &[(bool, &Url)],
    role: Role,
    config: &Config,
    seen: &mut Seen,
) -> Result<(), NetError> {
    let Some(first) = seen.found.get(&role).cloned() else { return Ok(()) };
    let Some((_, base)) = bases.iter().find(|(ops, _)| *ops == first.ops) else { return Ok(()) };
    let note = |answer: &Answer, seen: &mut Seen| {
        if answer.status != 200 {
            *seen.odd.entry(role).or_default().entry(answer.status).or_default() += 1;
        } else if role == Role::Health {
            seen.health_ms.push(answer.duration_ms);
        } else {
            *seen.versions.entry(answers::named(&answer.body)).or_default() += 1;
        }
    };
    note(&first, seen);
    for _ in 1..config.calls {
        let answer = get(prober, base, &first.path, first.ops).await?;
        note(&answer, seen);
        seen.transcript.push(answer);
    }
    Ok(())
}

/// The value that `share` of the sorted values do not exceed (nearest rank).
fn percentile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

#[derive(Debug, Default)]
struct Findings {
    fails: Vec<Finding>,
    warns: Vec<Finding>,
    notes: Vec<Finding>,
}

fn finding(rule: &str, severity: Severity, path: &str, message: impl Into<String>, fix: impl Into<String>) -> Finding {
    let route = format!("GET {path}");
    Finding::new(rule, severity, message).fix(fix).identified_by(&[rule, &route]).route(route)
}

/// Pure: what was seen, to a verdict.
fn judge(seen: &Seen, config: &Config, profile: Profile, rid: &ReleaseId) -> Outcome {
    let required = Role::required(profile);
    let unlocked = |answer: &Answer| !matches!(answer.status, 401 | 403);
    if !seen.unknown.is_empty()
        && seen.unknown.values().chain(seen.blocked.values()).all(|a| !unlocked(a))
        && seen.found.is_empty()
    {
        return Outcome::error("no-credentials", "every path asks for credentials")
            .hint("let the four endpoints answer without them, or name an ops_url that does")
            .evidence("endpoints", evidence(seen));
    }
    let mut out = Findings::default();
    let mut unknown_release = false;
    for role in required.iter().copied() {
        match (seen.found.get(&role), seen.blocked.get(&role)) {
            (Some(answer), _) => correct(role, answer, seen, config, rid, &mut out, &mut unknown_release),
            // Metrics behind a password are ready; who may scrape them is for security.exposure.
            (None, Some(blocked)) if role == Role::Metrics && !unlocked(blocked) => out.notes.push(finding(
                "metrics-authenticated",
                Severity::Info,
                &blocked.path,
                format!("{} asks for credentials ({}), so it was not parsed", blocked.path, blocked.status),
                "nothing to do",
            )),
            (None, blocked) => missing(role, blocked, config, &mut out),
        }
    }
    catch_all(seen, &mut out);
    if !seen.found.contains_key(&Role::Ready) && required.contains(&Role::Health) {
        let fix = "answer 503 while a dependency is down, and 200 on the health endpoint";
        out.notes.push(finding("no-readiness", Severity::Info, &config.ready.join(" "), "no readiness endpoint", fix));
    }
    conclude(seen, out, required, unknown_release, rid)
}

fn missing(role: Role, blocked: Option<&Answer>, config: &Config, out: &mut Findings) {
    let first = role.paths(config).first().map_or("", |p| p.as_str());
    let (message, fix) = match blocked.map(|b| (b.status, b.path.as_str())) {
        Some((status @ 300..=399, path)) => {
            (format!("{path} redirects ({status})"), "answer without a login".to_string())
        }
        Some((status @ (401 | 403), path)) => {
            (format!("{path} asks for credentials ({status})"), "answer without a login".into())
        }
        Some((429, path)) => (format!("{path} is rate limited (429)"), "leave the endpoint out of the limiter".into()),
        Some((status, path)) => (format!("{path} answers {status}"), "mend the endpoint".into()),
        None => (
            format!("no {} endpoint: {} answer nothing of their own", role.word(), role.paths(config).join(", ")),
            format!("serve {first}"),
        ),
    };
    out.fails.push(finding(&format!("missing-{}", role.word()), Severity::High, first, message, fix));
}

fn correct(
    role: Role,
    answer: &Answer,
    seen: &Seen,
    config: &Config,
    rid: &ReleaseId,
    out: &mut Findings,
    unknown_release: &mut bool,
) {
    let path = answer.path.as_str();
    if let Some(odd) = seen.odd.get(&role) {
        let list: Vec<String> = odd.iter().map(|(status, n)| format!("{n}x {status}")).collect();
        let (rule, fix) = match odd.contains_key(&429) {
            true => ("rate-limited", "leave the endpoint out of the limiter"),
            false => ("unsteady", "every instance must answer 200"),
        };
        out.fails.push(finding(
            rule,
            Severity::High,
            path,
            format!("{path} also answered {} of {} calls", list.join(", "), config.calls),
            fix,
        ));
    }
    match role {
        Role::Health => health(answer, seen, config, out),
        Role::Status => {
            if config.status.first().is_some_and(|first| first != path) {
                let first = &config.status[0];
                out.warns.push(finding(
                    "status-alias",
                    Severity::Low,
                    path,
                    format!("the status is at {path}, not at {first}"),
                    format!("serve it at {first} too"),
                ));
            }
            if !serde_json::from_str::<serde_json::Value>(&answer.body).is_ok_and(|v| v.is_object() || v.is_array()) {
                out.warns.push(finding(
                    "status-not-json",
                    Severity::Low,
                    path,
                    format!("{path} is no JSON with the state of each part"),
                    "answer {\"status\": …, \"components\": {…}}",
                ));
            }
        }
        Role::Metrics => match exposition::parse(answer.content_type.as_deref(), answer.body.as_bytes()) {
            Ok(parsed) if parsed.samples.is_empty() => {
                out.fails.push(finding(
                    "metrics-empty",
                    Severity::High,
                    path,
                    format!("{path} holds no sample"),
                    "register the metrics before the server starts",
                ));
            }
            Ok(_) if !answer.ops => out.notes.push(finding(
                "metrics-public",
                Severity::Info,
                path,
                format!("{path} is open on the public address"),
                "serve it on an internal address and name that as ops_url; security.exposure judges it",
            )),
            Ok(_) => {}
            Err(error) => out.fails.push(finding(
                "metrics-broken",
                Severity::High,
                path,
                format!("{path}: {error}"),
                "serve the Prometheus text format with its content type",
            )),
        },
        Role::Version => version(answer, seen, rid, out, unknown_release),
        Role::Ready => {}
    }
}

fn health(answer: &Answer, seen: &Seen, config: &Config, out: &mut Findings) {
    let path = answer.path.as_str();
    if let Some(status) = answers::claims_trouble(&answer.body) {
        out.fails.push(finding(
            "health-lies",
            Severity::High,
            path,
            format!("{path} answers 200 and says `{status}`"),
            "answer 503 while unhealthy",
        ));
    }
    if let Some(p95) = percentile(&seen.health_ms, 0.95).filter(|p| *p > config.p95_ms) {
        let message = format!("{path} p95 is {p95:.0} ms, limit {:.0} ms", config.p95_ms);
        out.warns.push(finding(
            "health-slow",
            Severity::Medium,
            path,
            message,
            "check dependencies in the background, not in the request",
        ));
    }
    if !answer.cache_control.as_deref().is_some_and(|c| c.to_ascii_lowercase().contains("no-store")) {
        out.warns.push(finding(
            "health-cacheable",
            Severity::Low,
            path,
            format!("{path} may be cached"),
            "send Cache-Control: no-store",
        ));
    }
    // Operators may see details on their own address.
    if let Some(detail) = answers::detail(&answer.body).filter(|_| !answer.ops) {
        let detail: String = detail.chars().take(60).collect();
        out.warns.push(finding(
            "health-detail",
            Severity::Medium,
            path,
            format!("{path} tells strangers about `{detail}`"),
            "say pass or fail only; serve details on ops_url",
        ));
    }
}

fn version(answer: &Answer, seen: &Seen, rid: &ReleaseId, out: &mut Findings, unknown_release: &mut bool) {
    let path = answer.path.as_str();
    if seen.versions.len() > 1 {
        let list: Vec<String> = seen.versions.iter().map(|(n, count)| format!("{} ({count}x)", shown(n))).collect();
        out.fails.push(finding(
            "version-skew",
            Severity::High,
            path,
            format!("{path} differs between calls: {}", list.join(", ")),
            "roll every instance to the release",
        ));
        return;
    }
    let Some(named) = seen.versions.keys().next() else { return };
    let commit = named.commit.as_deref().zip(rid.commit.as_deref()).map(|(a, b)| answers::same_commit(a, b));
    let version = named.version.as_deref().zip(rid.version.as_deref()).map(|(a, b)| answers::same_version(a, b));
    match (commit, version) {
        // A version may lag in a file, but a wrong commit is a wrong build.
        (Some(false), _) | (_, Some(false)) => {
            let release =
                shown(&Named { version: rid.version.clone(), commit: rid.short_commit().map(str::to_string) });
            let message = format!("{path} says {}, the release is {release}", shown(named));
            out.fails.push(finding(
                "version-wrong",
                Severity::High,
                path,
                message,
                "deploy the release, or inject the commit at build time: --build-arg GIT_SHA=$(git rev-parse HEAD)",
            ));
        }
        (None, None) if *named == Named::default() => {
            out.fails.push(finding(
                "version-empty",
                Severity::High,
                path,
                format!("{path} names neither version nor commit"),
                "answer {\"version\": …, \"commit\": …}",
            ));
        }
        (None, None) => *unknown_release = true,
        (Some(true), _) | (_, Some(true)) => {}
    }
}

fn shown(named: &Named) -> String {
    match (&named.version, &named.commit) {
        (Some(v), Some(c)) => format!("{v} at {c}"),
        (Some(one), None) | (None, Some(one)) => one.clone(),
        (None, None) => "nothing".into(),
    }
}

fn catch_all(seen: &Seen, out: &mut Findings) {
    for unknown in seen.unknown.values().filter(|u| (200..300).contains(&u.status)) {
        out.warns.push(finding(
            "catch-all",
            Severity::Medium,
            "/<unknown>",
            format!("a path that cannot exist answers {}", unknown.status),
            "answer 404 to unknown paths; a balancer may take the page for health",
        ));
    }
}

fn conclude(seen: &Seen, out: Findings, required: &[Role], unknown_release: bool, rid: &ReleaseId) -> Outcome {
    let found = required.iter().filter(|r| seen.found.contains_key(r)).count() as u64;
    let words: Vec<&str> = required.iter().map(|r| r.word()).collect();
    let first = |list: &[Finding]| list.first().map(|f| (f.message.clone(), f.fix.clone())).unwrap_or_default();
    let more = |n: usize| if n > 1 { format!(" and {} more", n - 1) } else { String::new() };
    let outcome = if !out.fails.is_empty() {
        let (message, fix) = first(&out.fails);
        Outcome::fail(format!("{message}{}", more(out.fails.len()))).hint(format!("{message}: {fix}"))
    } else if unknown_release {
        let named = seen.versions.keys().next().map(shown).unwrap_or_default();
        Outcome::error("no-release-identity", format!("the target says {named}, but the release is not known"))
            .hint("run in the release's git checkout with --repo, or set version in [gates]")
    } else if !out.warns.is_empty() {
        let (message, fix) = first(&out.warns);
        Outcome::warn(format!("{} answer, but {message}{}", words.join(", "), more(out.warns.len()))).hint(fix)
    } else {
        let release = rid.version.as_deref().or(rid.short_commit()).unwrap_or("the release");
        Outcome::pass(format!("{} answer; {release} is up", words.join(", ")))
    };
    let outcome = if outcome.reason.is_none() { outcome.value(found, required.len()).tier(Tier::E3) } else { outcome };
    outcome
        // A missing endpoint was looked for: it is inspected too.
        .covered(required.len() as u64, required.len() as u64)
        .findings(out.fails.into_iter().chain(out.warns).chain(out.notes).collect())
        .evidence("endpoints", evidence(seen))
}

/// Rows of the transcript kept; the calls after them repeat.
const TRANSCRIPT_ROWS_MAX: usize = 500;

fn evidence(seen: &Seen) -> serde_json::Value {
    serde_json::json!({
        "found": seen.found.iter().map(|(role, a)| (role.word(), a.path.as_str())).collect::<BTreeMap<_, _>>(),
        "versions": seen.versions.iter().map(|(n, count)| serde_json::json!({"named": n, "calls": count})).collect::<Vec<_>>(),
        "health_ms": {"p50": percentile(&seen.health_ms, 0.5), "p95": percentile(&seen.health_ms, 0.95), "calls": seen.health_ms.len()},
        "transcript": seen.transcript.iter().take(TRANSCRIPT_ROWS_MAX).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use axum::Router;
    use axum::response::{Html, IntoResponse, Json, Redirect};
    use axum::routing::get;

    use super::*;
    use crate::domain::verdict::Verdict;
    use crate::gates::testing;

    const COMMIT: &str = "9f3c2e1d00000000000000000000000000000000";

    async fn serve(router: Router) -> Url {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    fn health() -> impl IntoResponse {
        ([("cache-control", "no-store")], Json(serde_json::json!({"status": "pass"})))
    }

    fn metrics() -> impl IntoResponse {
        ([("content-type", "text/plain; version=0.0.4")], "# TYPE up gauge\nup 1\n")
    }

    fn version() -> impl IntoResponse {
        Json(serde_json::json!({"version": "1.4.0", "commit": "9f3c2e1d"}))
    }

    /// All four, each as a separate router so that tests can leave one out or put another in its place.
    fn parts() -> BTreeMap<&'static str, Router> {
        let status = || async { Json(serde_json::json!({"status": "ok", "components": {"db": "ok"}})) };
        [
            ("health", Router::new().route("/health", get(|| async { self::health() }))),
            ("status", Router::new().route("/status", get(status))),
            ("metrics", Router::new().route("/metrics", get(|| async { self::metrics() }))),
            ("version", Router::new().route("/version", get(|| async { self::version() }))),
        ]
        .into()
    }

    fn all(parts: BTreeMap<&'static str, Router>) -> Router {
        parts.into_values().fold(Router::new(), Router::merge)
    }

    async fn run_as(url: &Url, ops_url: Option<&Url>, profile: Profile, rid: ReleaseId) -> Outcome {
        let (_dir, ctx) = testing::context(|ctx| {
            ctx.target = Some(Target {
                name: "staging".into(),
                url: url.clone(),
                ops_url: ops_url.cloned(),
                active: false,
                load: false,
            });
            ctx.profile = profile;
            ctx.rid = rid;
            let mut config = crate::gates::Config::default();
            config.release.endpoints.calls = 4;
            ctx.config = Arc::new(config);
        });
        Endpoints.check(&ctx).await
    }

    fn rid() -> ReleaseId {
        ReleaseId { commit: Some(COMMIT.into()), version: Some("v1.4.0".into()), ..ReleaseId::default() }
    }

    async fn check(router: Router, verdict: Verdict, rules: &[&str]) -> Outcome {
        let url = serve(router).await;
        let outcome = run_as(&url, None, Profile::WebApi, rid()).await;
        let got: Vec<&str> =
            outcome.findings.iter().filter(|f| f.severity != Severity::Info).map(|f| f.rule.as_str()).collect();
        assert_eq!((outcome.verdict, got), (verdict, rules.to_vec()), "{outcome:#?}");
        outcome
    }

    #[tokio::test]
    async fn four_true_answers_pass() {
        let outcome = check(all(parts()), Verdict::Pass, &[]).await;
        assert_eq!(outcome.summary, "status, health, metrics, version answer; v1.4.0 is up");
        assert_eq!((outcome.tier, outcome.covered, outcome.known), (Some(Tier::E3), Some(4), Some(4)));
        let rules: Vec<&str> = outcome.findings.iter().map(|f| f.rule.as_str()).collect();
        assert_eq!(rules, ["metrics-public", "no-readiness"]);
    }

    #[tokio::test]
    async fn each_missing_endpoint_fails() {
        for role in ["health", "status", "metrics", "version"] {
            let mut parts = parts();
            parts.remove(role);
            check(all(parts), Verdict::Fail, &[&format!("missing-{role}")]).await;
        }
    }

    #[tokio::test]
    async fn a_catch_all_fakes_nothing() {
        let page = || async { Html("<!doctype html><title>Shop</title>") };
        check(
            Router::new().fallback(page),
            Verdict::Fail,
            &["missing-status", "missing-health", "missing-metrics", "missing-version", "catch-all"],
        )
        .await;
        check(all(parts()).fallback(page), Verdict::Warn, &["catch-all"]).await;
    }

    #[tokio::test]
    async fn the_wrong_build_fails() {
        let with = |body: serde_json::Value| {
            let mut parts = parts();
            parts.insert("version", Router::new().route("/version", get(move || async move { Json(body) })));
            all(parts)
        };
        let outcome = check(with(serde_json::json!({"commit": "aaaaaaa"})), Verdict::Fail, &["version-wrong"]).await;
        assert_eq!(outcome.findings[0].message, "/version says aaaaaaa, the release is v1.4.0 at 9f3c2e1");
        check(with(serde_json::json!({"version": "1.3.9"})), Verdict::Fail, &["version-wrong"]).await;
        check(with(serde_json::json!({"version": "1.4.0"})), Verdict::Pass, &[]).await;
        check(with(serde_json::json!({"name": "shop"})), Verdict::Fail, &["version-empty"]).await;

        let calls = Arc::new(AtomicU32::new(0));
        let mut parts = parts();
        let flip = move || {
            let even = calls.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
            async move { Json(serde_json::json!({"commit": if even { "9f3c2e1d" } else { "aaaaaaa" }})) }
        };
        parts.insert("version", Router::new().route("/version", get(flip)));
        check(all(parts), Verdict::Fail, &["version-skew"]).await;
    }

    #[tokio::test]
    async fn an_unknown_release_is_an_error_not_a_failure() {
        let url = serve(all(parts())).await;
        let outcome = run_as(&url, None, Profile::WebApi, ReleaseId::default()).await;
        assert_eq!((outcome.verdict, outcome.reason.as_deref()), (Verdict::Error, Some("no-release-identity")));
    }

    #[tokio::test]
    async fn careless_answers_warn() {
        let with = |role: &'static str, router: Router| {
            let mut parts = parts();
            parts.insert(role, router);
            all(parts)
        };
        let chatty = || async {
            ([("cache-control", "no-store")], Json(serde_json::json!({"status": "ok", "db": {"host": "10.0.0.5"}})))
        };
        check(with("health", Router::new().route("/healthz", get(chatty))), Verdict::Warn, &["health-detail"]).await;
        check(
            with("health", Router::new().route("/health", get(|| async { "ok" }))),
            Verdict::Warn,
            &["health-cacheable"],
        )
        .await;
        let status = || async { Json(serde_json::json!({})) };
        check(with("status", Router::new().route("/api/status", get(status))), Verdict::Warn, &["status-alias"]).await;
        check(
            with("status", Router::new().route("/status", get(|| async { "fine" }))),
            Verdict::Warn,
            &["status-not-json"],
        )
        .await;
    }

    #[tokio::test]
    async fn lies_login_pages_and_broken_metrics_fail() {
        let with = |role: &'static str, router: Router| {
            let mut parts = parts();
            parts.insert(role, router);
            all(parts)
        };
        let lies = || async { ([("cache-control", "no-store")], Json(serde_json::json!({"status": "DOWN"}))) };
        check(with("health", Router::new().route("/health", get(lies))), Verdict::Fail, &["health-lies"]).await;
        let login = || async { Redirect::to("/login") };
        let outcome =
            check(with("health", Router::new().route("/health", get(login))), Verdict::Fail, &["missing-health"]).await;
        assert!(outcome.findings[0].message.contains("/health redirects (303)"), "{}", outcome.findings[0].message);
        let broken = || async { ([("content-type", "text/plain")], "up one\n") };
        check(with("metrics", Router::new().route("/metrics", get(broken))), Verdict::Fail, &["metrics-broken"]).await;
        let locked = || async { axum::http::StatusCode::UNAUTHORIZED };
        check(with("metrics", Router::new().route("/metrics", get(locked))), Verdict::Pass, &[]).await;
    }

    #[tokio::test]
    async fn operators_have_an_address_of_their_own() {
        let mut parts = parts();
        let ops =
            serve(Router::new().merge(parts.remove("metrics").unwrap()).merge(parts.remove("health").unwrap())).await;
        let url = serve(all(parts)).await;
        let outcome = run_as(&url, Some(&ops), Profile::WebApi, rid()).await;
        assert_eq!(outcome.verdict, Verdict::Pass, "{outcome:#?}");
        assert!(outcome.findings.iter().all(|f| f.rule != "metrics-public"));
    }

    #[tokio::test]
    async fn profiles_ask_for_less() {
        let mut parts = parts();
        let site = serve(parts.remove("version").unwrap()).await;
        assert_eq!(run_as(&site, None, Profile::StaticSite, rid()).await.verdict, Verdict::Pass);
        let _ = parts.remove("status");
        let worker = serve(all(parts)).await;
        assert_eq!(run_as(&worker, None, Profile::Worker, rid()).await.verdict, Verdict::Pass);
    }

    #[tokio::test]
    async fn cannot_tell() {
        let closed = Url::parse("http://127.0.0.1:1").unwrap();
        let outcome = run_as(&closed, None, Profile::WebApi, rid()).await;
        assert_eq!((outcome.verdict, outcome.reason.as_deref()), (Verdict::Error, Some("unreachable")));
        let locked = serve(Router::new().fallback(|| async { axum::http::StatusCode::UNAUTHORIZED })).await;
        let outcome = run_as(&locked, None, Profile::WebApi, rid()).await;
        assert_eq!((outcome.verdict, outcome.reason.as_deref()), (Verdict::Error, Some("no-credentials")));
        let (_dir, ctx) = testing::context(|_| {});
        assert_eq!(Endpoints.check(&ctx).await.reason.as_deref(), Some("no-target"));
    }

    #[test]
    fn slow_health_warns() {
        let answer =
            Answer { path: "/health".into(), status: 200, cache_control: Some("no-store".into()), ..Answer::default() };
        let seen = Seen { health_ms: vec![10.0; 18].into_iter().chain([1500.0, 1600.0]).collect(), ..Seen::default() };
        let mut out = Findings::default();
        super::health(&answer, &seen, &Config::default(), &mut out);
        assert_eq!(out.warns[0].message, "/health p95 is 1500 ms, limit 1000 ms");
        assert_eq!(percentile(&[3.0, 1.0, 2.0], 0.5), Some(2.0));
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn config_is_checked() {
        assert_eq!(Config::default().validate(), []);
        let bad = Config { health: vec!["health".into()], version: vec![], p95_ms: 0.0, calls: 0, ..Config::default() };
        let keys: Vec<String> = bad.validate().iter().map(|p| p.path.join(".")).collect();
        assert_eq!(keys, ["health", "version", "p95_ms", "calls"]);
    }
}
