//! Gate `release.endpoints`: do `/status`, `/health`, `/metrics` and `/version` answer, and do they tell the truth?
//!
//! Balancers, the watch and people in a hurry all ask these four. A catch-all page that answers everything with 200 fakes
//! them, so an unknown path is asked as well; a version that is not the release's means the wrong build is up. Sends some
//! fifty plain GETs, operators' address first. Bodies are read in `endpoint_answers.rs`; the verdict is in `judge.rs`, and
//! `drift.rs` lists where the OpenAPI document and the source's routes disagree.
//! To fix a failure: serve the missing endpoint; inject commit and version at build time.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use url::Url;

use super::endpoint_answers::{self as answers, Named};
use crate::domain::problem::Problem;
use crate::domain::service::Profile;
use crate::domain::verdict::{Class, Outcome, Tier};
use crate::gates::context::{not_asked, off_thread};
use crate::gates::proof::{COMMIT, Fixture, Page, Proof};
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage};
use crate::net::safety::{Intent, Prober, Target};
use crate::net::{NetError, Request, Response};

mod drift;
mod judge;

use judge::judge;

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
            it matters, and a path that cannot exist; the repository's OpenAPI documents and the routes of its source",
    decides: "all four answer with content of their own (a worker: health and metrics; a static site: version); the version \
              is the release's commit or version on every call; metrics parse; health is fast, not cacheable and tells \
              strangers no details, or the gate warns; routes that only the source or only the document knows are listed",
    fix: "serve the missing endpoint; inject the commit at build time: --build-arg GIT_SHA=$(git rev-parse HEAD)",
};

impl Gate for Endpoints {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn proof(&self) -> Option<Proof> {
        let shop = |what, commit: &str| {
            let page = |path, body: String| Page::json(path, body).headers(&[("cache-control", "no-store")]);
            Fixture::of(what)
                .settings(|config| config.release.endpoints.calls = 4)
                .page(page("/", "{}".into()))
                .page(page("/health", "{\"status\": \"pass\"}".into()))
                .page(page("/status", "{\"status\": \"ok\", \"components\": {\"db\": \"ok\"}}".into()))
                .page(page("/version", format!("{{\"commit\": \"{commit}\"}}")))
                .page(Page::new("/metrics", "text/plain; version=0.0.4", "# TYPE up gauge\nup 1\n"))
        };
        Some(Proof {
            good: shop("the four endpoints answer for this commit", COMMIT),
            bad: shop("another build is up", "0123456789abcdef0123456789abcdef01234567"),
        })
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
                Ok(seen) => {
                    let outcome = judge(&seen, config, ctx.profile, &ctx.rid);
                    let Some(repo) = ctx.repo.clone() else { return outcome };
                    let (facts, config) = (ctx.facts.clone(), config.clone());
                    off_thread(move || drift::beside(outcome, &repo, &facts, &config)).await
                }
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

#[cfg(test)]
mod tests;
