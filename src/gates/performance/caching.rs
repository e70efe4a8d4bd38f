//! Gate `performance.caching`: is what may be cached cached, and nothing private?
//!
//! Looks at the static files of the front page (lifetime, validators), at whether a shared cache answers the second time,
//! and at Redis' own counters. Correctness outranks speed: an answer to a signed-in actor that a shared cache may keep, or
//! that anybody gets afterwards, blocks the launch although the gate is advisory (`escalate`).
//! Sources: RFC 9111, RFC 9211 (`Cache-Status`), ASVS 5 14.3.2. `directives.rs` reads headers, `look.rs` asks, `judge.rs` is
//! the verdict.
//! To fix a failure: `Cache-Control: private, no-store` on what belongs to one user, `immutable` on hashed files.

mod directives;
mod judge;
mod look;
#[cfg(test)]
mod tests;

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::domain::problem::Problem;
use crate::domain::secret::Secret;
use crate::domain::verdict::{Class, Outcome, Tier};
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage};
use crate::net::safety::Intent;

/// `[gates.performance.caching]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The Redis that is used as a cache: a reference to `redis://[user:password@]host:port`. Only `INFO` is asked.
    pub redis: Option<Secret>,
    /// Hits of all look-ups from which Redis passes, 0 to 1. The checklist's number: 0.8.
    pub hit_ratio: f64,
    /// Look-ups below which a ratio says nothing. Default: 1000.
    pub min_lookups: u64,
    /// Paths to look at beside the known routes: `["/account"]`.
    pub paths: Vec<String>,
    /// Routes that are asked at most. Default: 30.
    pub max_routes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config { redis: None, hit_ratio: 0.8, min_lookups: 1000, paths: Vec::new(), max_routes: 30 }
    }
}

impl Config {
    /// Problems by path below `gates.performance.caching`.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !(self.hit_ratio > 0.0 && self.hit_ratio <= 1.0) {
            problems.push(Problem::at(["hit_ratio"], "must be above 0 and at most 1"));
        }
        if let Some(bad) = self.paths.iter().find(|p| !p.starts_with('/')) {
            problems.push(Problem::at(["paths"], format!("`{bad}` is not a path of this site: it begins with /")));
        }
        if !(1..=200).contains(&self.max_routes) {
            problems.push(Problem::at(["max_routes"], "must lie between 1 and 200"));
        }
        problems
    }
}

pub static ABOUT: About = About {
    id: "performance.caching",
    section: Section::Performance,
    class: Class::C,
    line: "Redis, CDN, or in-memory caching applied",
    min_tier: Tier::E3,
    attestable: false,
    stage: Stage::Exclusive,
    lock: Lock::TargetShared,
    needs: &["performance.load"],
    timeout: Duration::from_secs(240),
    skipped_for: &[],
    reads: "cache headers of the front page, its static files and the known GET routes, each twice; the same routes as the \
            first actor, as the second and as nobody; INFO of the configured Redis; cache settings of the repository",
    decides: "a shared cache that answers the second time, or Redis with 80 % hits of at least 1,000 look-ups, passes; static \
              files without a lifetime or validators, a lower ratio, or a cache that is only declared warn; without any, the \
              load test decides. A signed-in actor's answer that shared caches may keep, or that others get, and a cookie \
              on a cacheable answer block",
    fix: "Cache-Control: private, no-store for what belongs to one user; public, max-age=31536000, immutable for hashed files",
};

pub struct Caching;

impl Gate for Caching {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { check(ctx).await.unwrap_or_else(|outcome| *outcome) })
    }
}

async fn check(ctx: &GateContext) -> Result<Outcome, Box<Outcome>> {
    let target = ctx.need_target()?.clone();
    let config = &ctx.config.performance.caching;
    let inventory = ctx.inventory().await;
    let mut actors = Vec::new();
    for actor in ctx.actors().iter().take(2) {
        match ctx.signed_in(actor).await {
            Ok(headers) => actors.push(headers),
            Err(why) => {
                return Err(Box::new(Outcome::error("no-credentials", why).hint("correct the entry of [gates] actor")));
            }
        }
    }
    let prober = ctx.prober(ABOUT.id, Intent::Passive);
    let canary = crate::gates::web::canary(&ctx.guard.run);
    let asker = look::Asker { prober: &prober, base: &target.url, actors: &actors, config, canary: &canary };
    (ctx.progress)(ABOUT.id, "looks at static files and routes");
    let seen = asker.all(&inventory).await.map_err(|e| Box::new(crate::gates::web::trouble(&e)))?;
    let redis = match &config.redis {
        None => None,
        Some(secret) => Some(match secret.reveal() {
            Err(error) => Err(error.to_string()),
            Ok(url) => match url.expose().parse::<Url>() {
                Err(_) => Err("the reference holds no redis:// address".into()),
                Ok(url) => crate::net::redis::info(&url).await.map_err(|e| e.to_string()),
            },
        }),
    };
    let declared = ctx.facts.of("cache").next().map(|fact| format!("{} ({})", fact.value, fact.place()));
    let earlier = ctx.earlier.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let load = earlier.get("performance.load").map(|result| result.verdict);
    drop(earlier);
    Ok(judge::judge(&judge::Seen { look: seen, redis, declared, load, actors: actors.len() }, config))
}
