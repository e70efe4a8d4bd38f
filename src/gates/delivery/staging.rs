//! Gate `delivery.staging`: is there a staging system, does it run this very release, is it apart from production, and has
//! anybody tested it?
//!
//! Tests on another build, or on production's own database, prove nothing about launch day. Asks health and version a few
//! times, politely; reads the environments of both systems (`environments.rs`) and what tells of tests: the smoke list that
//! `release.post_deploy` has just walked, reports of end-to-end suites, imported reports that name the target. The verdict
//! is `judge.rs`. To fix a failure: deploy this release to staging, run the tests there, keep their report.

mod environments;
mod judge;

use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{packages, run};
use crate::domain::problem::Problem;
use crate::domain::units::Span;
use crate::domain::verdict::{Class, Outcome, Tier, Verdict};
use crate::gates::context::off_thread;
use crate::gates::import::kind::Content;
use crate::gates::proof::{COMMIT, Fixture, Page, Proof};
use crate::gates::release::endpoint_answers::{self as answers, Named};
use crate::gates::release::{post_deploy, qa};
use crate::gates::web::trouble;
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage};
use crate::net::safety::{Intent, Prober, Target};
use crate::net::{NetError, Request, Response};

/// `[gates.delivery.staging]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Older reports of tests say nothing about today. Default: 7d.
    pub max_age: Span,
    /// Must people have accepted it: a report called `uat` or `acceptance`, or a signature for `release.qa`? Default: no.
    pub require_uat: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config { max_age: Span::secs(7 * 86_400), require_uat: false }
    }
}

impl Config {
    /// Problems by path below `gates.delivery.staging`.
    pub fn validate(&self) -> Result<(), Vec<Problem>> {
        match self.max_age.get().is_zero() {
            true => Err(vec![Problem::at(["max_age"], "no report is that young").hint("write for example 7d")]),
            false => Ok(()),
        }
    }
}

pub struct Staging;

pub static ABOUT: About = About {
    id: "delivery.staging",
    section: Section::Delivery,
    class: Class::B,
    line: "staging/UAT environment available and tested",
    min_tier: Tier::E3,
    attestable: false,
    stage: Stage::Passive,
    lock: Lock::TargetShared,
    needs: &["release.post_deploy"],
    // A platform that sleeps has a minute to wake up.
    timeout: Duration::from_secs(120),
    skipped_for: &[],
    reads: "health and version of the target, five times; the settings files and manifests of staging and production; the \
            walk of release.post_deploy; reports of end-to-end and acceptance tests; imported reports about the target",
    decides: "it is up, is not production's address, serves this commit or version on every call, shares no database with \
              production, and was tested: the smoke list is green now, or a report of this release has a test and no \
              failure; other major versions of databases and runtimes than production's, flaky tests, plain http and \
              shared caches warn; a build that does not say what it is, is an error",
    fix: "deploy this release to staging first, then run the tests there",
};

impl Gate for Staging {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn proof(&self) -> Option<Proof> {
        let shop = |what, commit: &str| {
            Fixture::of(what)
                .page(Page::json("/", "{}"))
                .page(Page::json("/health", "{\"status\": \"pass\"}"))
                .page(Page::json("/version", format!("{{\"commit\": \"{commit}\"}}")))
                .left(
                    "e2e-results/junit.xml",
                    "<testsuite name=\"e2e\"><testcase classname=\"shop\" name=\"pays\"/></testsuite>",
                )
                .left("e2e-results/junit.xml.hc.json", format!("{{\"commit\": \"{COMMIT}\"}}\n"))
        };
        Some(Proof {
            good: shop("staging runs this release and was tested", COMMIT),
            bad: shop("another build is up", "0123456789abcdef0123456789abcdef01234567"),
        })
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let target = match ctx.need_target() {
                Ok(target) => target,
                Err(outcome) => {
                    let Some(repo) = ctx.repo.clone() else { return *outcome };
                    let facts = ctx.facts.clone();
                    return off_thread(move || packages::settled(*outcome, &["no-target"], &repo, &facts)).await;
                }
            };
            let mut seen = Seen { target: target.name.clone(), url: target.url.to_string(), ..Seen::default() };
            seen.production = production_twin(target, &ctx.guard.targets);
            // Nothing is asked of production in the name of staging.
            if seen.production.is_none()
                && let Err(error) = ask(ctx, target, &mut seen).await
            {
                return trouble(&error);
            }
            told_of_tests(ctx, &mut seen);
            let (rid, config, signed) =
                (ctx.rid.clone(), ctx.config.clone(), ctx.attested("release.qa").next().is_some());
            seen.signed = signed;
            let (repo, key) = (ctx.repo.clone(), ctx.fingerprint_key.clone());
            let in_ci = run::inside(|name| std::env::var(name).ok(), rid.commit.as_deref()).is_some();
            let now = ctx.clock.now();
            off_thread(move || {
                if let Some(repo) = &repo {
                    let mut reading = config.release.qa.clone();
                    reading.max_age = config.delivery.staging.max_age;
                    let (reports, unreadable) = qa::test_reports(repo, &reading, &rid, in_ci, now);
                    seen.reports = reports;
                    seen.unreadable = unreadable;
                    seen.environments = environments::compare(repo, &config.delivery.env_config, key.as_ref());
                }
                judge::judge(&seen, &config.delivery.staging, &rid)
            })
            .await
        })
    }
}

/// Everything the verdict rests on.
#[derive(Debug, Default)]
struct Seen {
    target: String,
    url: String,
    /// The production target at the same address.
    production: Option<String>,
    /// What health said last: path and status. `None`: none of the paths is there, home was asked.
    health: Option<(String, u16)>,
    /// How long it took to wake up, seconds.
    woke_s: u64,
    /// What each call of the version endpoint named.
    versions: Vec<Named>,
    version_path: Option<String>,
    /// The version came out of a cache although it was asked for afresh.
    cached: bool,
    smoke: Option<(Verdict, String)>,
    imported: Vec<Imported>,
    reports: Vec<qa::Report>,
    unreadable: Vec<(String, String)>,
    environments: environments::Compared,
    signed: bool,
}

/// A report about the target that somebody imported.
#[derive(Debug, Serialize)]
struct Imported {
    file: String,
    tests: u64,
    failures: u64,
    flaky: u64,
    /// Why it proves nothing, or nothing yet.
    stale: Option<String>,
}

/// The target under another name: itself, or the production target that answers at the same host and port.
fn production_twin(target: &Target, all: &[Target]) -> Option<String> {
    let place = |url: &Url| (url.host_str().map(str::to_ascii_lowercase), url.port_or_known_default());
    if target.is_production() {
        return Some(target.name.clone());
    }
    all.iter().find(|t| t.is_production() && place(&t.url) == place(&target.url)).map(|t| t.name.clone())
}

/// A platform that scales to zero has so long to answer.
const WAKE_MAX: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_secs(3);
/// Enough to meet more than one instance behind a balancer, and polite.
const CALLS: usize = 5;

async fn ask(ctx: &GateContext, target: &Target, seen: &mut Seen) -> Result<(), NetError> {
    let prober = ctx.prober(ABOUT.id, Intent::Passive);
    let endpoints = &ctx.config.release.endpoints;
    let mut bases: Vec<&Url> = vec![&target.url];
    bases.extend(target.ops_url.as_ref().filter(|ops| **ops != target.url));
    let begun = Instant::now();
    loop {
        let last = healthy(&prober, &bases, &endpoints.health, &ctx.guard.run, seen).await?;
        seen.woke_s = begun.elapsed().as_secs();
        if !matches!(last, 502..=504) || begun.elapsed() + PAUSE > WAKE_MAX {
            break;
        }
        (ctx.progress)(ABOUT.id, &format!("answers {last}, waiting for it to wake up"));
        tokio::time::sleep(PAUSE).await;
    }
    for base in bases.into_iter().rev() {
        for path in &endpoints.version {
            let first = get(&prober, base, path, &ctx.guard.run).await?;
            let named = says(&first);
            if first.status != 200 || named == Named::default() {
                continue;
            }
            seen.version_path = Some(path.clone());
            seen.versions.push(named);
            seen.cached |= from_cache(&first);
            for _ in 1..CALLS {
                let again = get(&prober, base, path, &ctx.guard.run).await?;
                seen.cached |= from_cache(&again);
                seen.versions.push(says(&again));
            }
            return Ok(());
        }
    }
    Ok(())
}

/// The first health path that is there; else home. Gives the status.
async fn healthy(
    prober: &Prober,
    bases: &[&Url],
    paths: &[String],
    run: &str,
    seen: &mut Seen,
) -> Result<u16, NetError> {
    for base in bases {
        for path in paths.iter().map(String::as_str) {
            let status = get(prober, base, path, run).await?.status;
            if status != 404 {
                seen.health = Some((path.to_string(), status));
                return Ok(status);
            }
        }
    }
    let status = get(prober, bases[0], "/", run).await?.status;
    seen.health = Some(("/".into(), status));
    Ok(status)
}

/// With a query of its own, so that no cache in between knows the answer.
async fn get(prober: &Prober, base: &Url, path: &str, run: &str) -> Result<Response, NetError> {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url.set_query(Some(&format!("hc={run}")));
    let request = Request { truncate: true, ..Request::get(url) };
    prober.send(request.header("accept", "*/*").header("cache-control", "no-cache")).await
}

/// What the body names; else a header that says it.
fn says(response: &Response) -> Named {
    let named = answers::named(&response.text());
    if named != Named::default() {
        return named;
    }
    let header = |names: [&str; 3]| names.iter().find_map(|n| response.header(n)).map(str::to_string);
    Named {
        version: header(["x-version", "x-app-version", "x-release"]),
        commit: header(["x-commit", "x-git-sha", "x-revision"]),
    }
}

fn from_cache(response: &Response) -> bool {
    response.header("age").and_then(|a| a.trim().parse::<u64>().ok()).is_some_and(|age| age > 0)
}

/// What tells of tests outside the repository.
fn told_of_tests(ctx: &GateContext, seen: &mut Seen) {
    let earlier = ctx.earlier.lock().unwrap_or_else(|e| e.into_inner());
    seen.smoke = earlier
        .get(post_deploy::ABOUT.id)
        .filter(|result| result.tier == Some(Tier::E3))
        .map(|result| (result.verdict, result.summary.clone()));
    for piece in ctx.evidence_for(ABOUT.id) {
        let Content::Tests(run) = &piece.report.content else { continue };
        let why = match piece.report.target.as_deref() {
            None => Some("it names no target".to_string()),
            Some(_) => piece.standing.why().map(str::to_string),
        };
        seen.imported.push(Imported {
            file: piece.report.file.clone(),
            tests: run.tests.saturating_sub(run.skipped),
            failures: run.failures,
            flaky: run.flaky,
            stale: why,
        });
    }
}

#[cfg(test)]
mod tests;
