//! Gate `security.rate_limit`: does somebody who asks too often get told to wait, and can he not talk himself out of it?
//!
//! Without a limit one script tries a million passwords, or one customer's loop takes the service from all others. A bounded
//! burst goes to the login (with an account that does not exist), to a public route, to search and GraphQL, until the answer
//! is 429; then forged client addresses are tried, and the way back is waited for. Bursts are `burst.rs`, what answers
//! announce is `announced.rs`, the verdict `judge.rs`. To fix a failure: a limiter keyed on account and client address, with
//! one store for all instances. ASVS 5 2.4.1, 6.3.1; API4:2023; WSTG-ATHN-03.

mod announced;
mod burst;
mod judge;

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::domain::problem::Problem;
use crate::domain::service::Profile;
use crate::domain::units::Span;
use crate::domain::verdict::{Class, Outcome, Tier};
use crate::gates::actors::Format;
use crate::gates::proof::{Fixture, Page, Proof};
use crate::gates::web::trouble;
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage};
use crate::net::address::is_loopback;
use crate::net::safety::{Intent, PACE_MAX, is_denied};
use burst::{Burster, Kind, Route};

/// `[gates.security.rate_limit]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Requests to one route before it counts as unlimited.
    pub burst: u32,
    /// How fast, requests per second.
    pub rps: u32,
    /// Logins before the login counts as unlimited; the account does not exist, so that nobody is locked out.
    pub login_attempts: u32,
    /// So long the way back is waited for, per route.
    pub max_wait: Span,
    /// Path of the login. Default: found among the routes.
    pub login: Option<String>,
    /// Body of the login: `json` or `form`.
    pub format: Format,
    pub username_field: String,
    pub password_field: String,
    /// Paths of public routes. Default: one that is found, and search.
    pub routes: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            burst: 120,
            rps: 20,
            login_attempts: 30,
            max_wait: Span::secs(90),
            login: None,
            format: Format::Json,
            username_field: "username".into(),
            password_field: "password".into(),
            routes: Vec::new(),
        }
    }
}

/// A burst is a question, not an attack.
const BURST_MAX: u32 = 1000;
const RPS_MAX: u32 = PACE_MAX;

impl Config {
    /// Problems by path below `gates.security.rate_limit`.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let within = [
            ("burst", self.burst, BURST_MAX),
            ("rps", self.rps, RPS_MAX),
            ("login_attempts", self.login_attempts, 200),
        ];
        for (key, value, most) in within {
            if !(1..=most).contains(&value) {
                problems.push(Problem::at([key], format!("must lie between 1 and {most}")));
            }
        }
        if self.max_wait.get() > Duration::from_secs(600) {
            problems.push(Problem::at(["max_wait"], "must not be longer than 10m"));
        }
        for path in self.routes.iter().chain(&self.login).filter(|p| !p.starts_with('/')) {
            problems.push(Problem::at(["routes"], format!("`{path}` does not start with /")));
        }
        if self.routes.len() > ROUTES_MAX {
            problems.push(Problem::at(["routes"], format!("names more than {ROUTES_MAX} routes")));
        }
        problems
    }
}

/// Public routes that are asked, beside the login.
const ROUTES_MAX: usize = 4;

pub struct RateLimit;

pub static ABOUT: About = About {
    id: "security.rate_limit",
    section: Section::Security,
    class: Class::A,
    line: "rate limiting/throttling for public APIs",
    min_tier: Tier::E3,
    attestable: false,
    stage: Stage::Exclusive,
    lock: Lock::TargetExclusive,
    needs: &[
        "performance.load",
        "performance.concurrency",
        "performance.db_index",
        "performance.caching",
        "monitoring.metrics",
        "infrastructure.autoscaling",
    ],
    // Five routes, each with its burst and its way back.
    timeout: Duration::from_secs(1200),
    skipped_for: &[Profile::Worker],
    reads: "a bounded burst to the login (an account that does not exist), a public route, search and GraphQL; RateLimit, \
            X-RateLimit and Retry-After in the answers; the same under forged client addresses; the way back",
    decides: "each answers 429 within the burst, or counts down from a larger quota, and lets nobody through who writes \
              another address into a header; without Retry-After, with nginx' 503, with a counter per instance or without \
              a way back it warns",
    fix: "add a limiter keyed on account and client address with a shared store, e.g. 100 a minute and 5 for the login",
};

impl Gate for RateLimit {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn proof(&self) -> Option<Proof> {
        let shop = |what, page: fn(Page) -> Page| {
            let login = Page::json("/login", "{}").status(401);
            let settings: fn(&mut crate::gates::Config) = |all| {
                let own = &mut all.security.rate_limit;
                own.routes = vec!["/teas".into()];
                own.login = Some("/login".into());
                (own.burst, own.login_attempts, own.rps) = (30, 30, PACE_MAX);
            };
            Fixture::of(what)
                .page(Page::json("/", "{}"))
                .page(page(Page::json("/teas", "[]")))
                .page(page(login))
                .settings(settings)
        };
        Some(Proof {
            good: shop("the sixth request within a second is told to wait", |page| page.at_most(5)),
            bad: shop("whoever asks is answered, as often as he likes", |page| page),
        })
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { ask(ctx).await.unwrap_or_else(|outcome| *outcome) })
    }
}

async fn ask(ctx: &GateContext) -> Result<Outcome, Box<Outcome>> {
    let config = &ctx.config.security.rate_limit;
    let target = ctx.need_target()?;
    if !target.active {
        let text = format!("{} does not allow a burst of requests", target.name);
        let hint =
            format!("set active = true on the [gates] target {} if it is yours, never on production", target.name);
        return Err(Box::new(Outcome::error("not-allowed", text).hint(hint)));
    }
    let inventory = ctx.inventory().await;
    let prober = ctx.prober(ABOUT.id, Intent::Active).provoking().at_pace(config.rps.min(RPS_MAX));
    let burster = Burster { prober: &prober, target, config, clock: ctx.clock.clone() };
    let mut routes = burster.choose(&inventory, &ctx.guard.run).await.map_err(|e| Box::new(trouble(&e)))?;
    if let Some(login) = routes.iter().find(|r| r.kind == Kind::Login).filter(|r| is_denied(&r.path)) {
        let text = format!("{} might pay, send or delete something", login.path);
        return Err(Box::new(Outcome::error("refused", text).hint("name another path: login")));
    }
    // The login's window is the longest, and its limiter may hold everything back.
    routes.sort_by_key(|route| route.kind == Kind::Login);
    let mut seen: Vec<(Route, burst::Burst)> = Vec::new();
    for route in routes {
        (ctx.progress)(ABOUT.id, &format!("{}: burst", route.name()));
        match burster.burst(&route).await {
            Ok(burst) => seen.push((route, burst)),
            // What was shown stays shown.
            Err(error) => return Err(Box::new(judge::stopped(&seen, trouble(&error)))),
        }
    }
    let exempt = match is_loopback(&target.url) {
        true => burster.is_exempt(&seen).await.map_err(|e| Box::new(judge::stopped(&seen, trouble(&e))))?,
        false => false,
    };
    Ok(judge::judge(&seen, exempt))
}

#[cfg(test)]
mod tests;
