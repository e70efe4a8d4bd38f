//! Gate `release.post_deploy`: is there a list of what to look at right after the deploy, and is staging green by it now?
//!
//! The minutes after a deploy are the cheapest in which to find a broken asset, a wrong version, a login that fails. Reads
//! `smoke.toml` (`smoke.rs`), or prose and tagged suites that stand in for it, and walks through the list on the target,
//! twice. Without a target the list is declared, not demonstrated. Looking is `post_deploy/look.rs`, the verdict
//! `post_deploy/judge.rs`. To fix a failure: `hypercare smoke init`, review, commit.

mod judge;
mod look;

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::smoke::walk::{Walk, Walker, walk};
use super::smoke::{LIMIT, Smoke};
use crate::domain::problem::Problem;
use crate::domain::service::Profile;
use crate::domain::verdict::{Class, Outcome, Tier};
use crate::gates::context::not_asked;
use crate::gates::proof::{COMMIT, Fixture, Page, Proof};
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage};
use crate::net::NetError;
use crate::net::safety::{Intent, Target};

/// `[gates.release.post_deploy]`
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The list, relative to the repository. Default: `smoke.toml` at the root, else the shallowest file of that name.
    pub file: Option<String>,
    /// Paths that the list must ask for, besides health, version, home and login. Default: none.
    pub critical: Vec<String>,
}

impl Config {
    /// Problems by path below `gates.release.post_deploy`.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.file.as_deref().is_some_and(|f| f.starts_with('/') || f.split('/').any(|p| p == "..")) {
            problems.push(Problem::at(["file"], "must lie inside the repository"));
        }
        for path in self.critical.iter().filter(|p| !p.starts_with('/')) {
            problems.push(Problem::at(["critical"], format!("`{path}` does not start with /")));
        }
        problems
    }
}

pub struct PostDeploy;

pub static ABOUT: About = About {
    id: "release.post_deploy",
    section: Section::Release,
    class: Class::B,
    line: "post-deploy checklist created (smoke test UI/API)",
    min_tier: Tier::E3,
    attestable: false,
    stage: Stage::Passive,
    lock: Lock::TargetShared,
    needs: &[],
    // Two walks through the checklist's five minutes; a list with another limit answers from it.
    timeout: Duration::from_secs(660),
    skipped_for: &[],
    reads: "smoke.toml, documents called post-deploy or smoke, suites tagged smoke (Playwright, Cypress, Postman, pytest), \
            the routes that the sources show, and the target",
    decides: "each item is a request with a look at its body, or has an owner; health, version, home and login are among \
              them; writes clean up; the target answers every item right, twice, within the limit; an answer that an \
              unknown path gives as well does not count; without a target, or with prose or suites alone, it warns; \
              without any list it fails; a page that needs a browser is an error",
    fix: "hypercare smoke init writes smoke.toml from your routes; review and commit it",
};

impl Gate for PostDeploy {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn proof(&self) -> Option<Proof> {
        let list = "[[item]]\nname = \"it is up\"\nrequest = \"GET /health\"\njson = { status = \"pass\" }\n\
                    [[item]]\nname = \"this very release answers\"\nrequest = \"GET /version\"\nrelease = true\n";
        let shop = |what, health: &str| {
            Fixture::of(what)
                .file("smoke.toml", list)
                .page(Page::json("/", "{}"))
                .page(Page::json("/health", format!("{{\"status\": \"{health}\"}}")))
                .page(Page::json("/version", format!("{{\"commit\": \"{COMMIT}\"}}")))
        };
        Some(Proof { good: shop("staging is green by its list", "pass"), bad: shop("one item is red", "fail") })
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { look_and_walk(ctx).await.unwrap_or_else(|outcome| *outcome) })
    }
}

async fn look_and_walk(ctx: &GateContext) -> Result<Outcome, Box<Outcome>> {
    // Without anything to look at, the target's silence is what there is to say.
    if ctx.repo.is_none() && ctx.unreachable.is_some() {
        ctx.need_target()?;
    }
    let repo = ctx.need_repo()?.clone();
    let (config, facts, profile) = (ctx.config.clone(), ctx.facts.clone(), ctx.profile);
    let looked = tokio::task::spawn_blocking(move || look::look(&repo, &config.release, &facts, profile)).await;
    let seen = match looked {
        Ok(seen) => seen,
        Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
        Err(_) => return Ok(Outcome::error("stopped", "the run was stopped before the gate had ended")),
    };
    let smoke = match judge::declared(&seen) {
        Ok(smoke) => smoke,
        Err(outcome) => return Err(outcome),
    };
    // A list without a target is a promise; a target that is down is no answer.
    let target = match (&ctx.target, &ctx.unreachable) {
        (None, None) => return Ok(judge::not_walked(&seen)),
        _ => ctx.need_target()?,
    };
    let mut walks = Vec::new();
    for round in ["first", "second"] {
        let told = |item: &str| (ctx.progress)(ABOUT.id, &format!("{round} walk: {item}"));
        match walk_once(ctx, smoke, target, told).await {
            Ok(walk) => walks.push(walk),
            Err(error) => return Ok(judge::stopped(&seen, &walks, not_asked(&error))),
        }
        // Red is red: the second walk is there to confirm green.
        if walks.iter().any(|w| w.red().next().is_some() || w.is_silent()) {
            break;
        }
    }
    Ok(judge::walked(&seen, smoke, &walks, &target.name))
}

async fn walk_once(ctx: &GateContext, smoke: &Smoke, target: &Target, told: impl Fn(&str)) -> Result<Walk, NetError> {
    let (passive, active) = (ctx.prober(ABOUT.id, Intent::Passive), ctx.prober(ABOUT.id, Intent::Active));
    let allowed = match target.active && !target.is_production() {
        true => Ok(&active),
        false => {
            Err(format!("{} is not open to requests that write: set active = true on its [gates] target", target.name))
        }
    };
    let who = Walker { passive: &passive, active: allowed, base: &target.url, release: &ctx.rid, run: &ctx.guard.run };
    // Retries, assets and politeness come on top of the list's own limit, but not without end.
    let most = smoke.limit().min(LIMIT) + Duration::from_secs(15);
    match tokio::time::timeout(most, walk(smoke, &who, told)).await {
        Ok(walk) => walk,
        Err(_) => Err(NetError::Timeout(most)),
    }
}

/// Those that have pages for people.
fn has_pages(profile: Profile) -> bool {
    matches!(profile, Profile::WebApp | Profile::StaticSite | Profile::Auto)
}

#[cfg(test)]
mod tests;
