//! Gate `performance.concurrency`: a thousand people are signed in at one instant, and each sees only what is his.
//!
//! On launch day everybody comes at once. Session stores overflow, pools run dry, and code that keeps "the current user"
//! in a place that requests share shows one person's page to another, which no test with one user ever finds. Signs in
//! `users` accounts over the ramp, keeps them all asking for their own page through the hold (`crate::load::users`), signs
//! them out; beside it the database's connections are counted where `[gates] database` names one. The verdict is
//! `concurrency/judge.rs`, who the users are `concurrency/people.rs`. To fix a failure: widen what saturates first; keep
//! nothing of a request in globals.

mod judge;
mod people;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::domain::problem::Problem;
use crate::domain::secret::Secret;
use crate::domain::service::Profile;
use crate::domain::units::{Span, number};
use crate::domain::verdict::{Class, Outcome, Tier};
use crate::gates::actors::{Format, TOKENS};
use crate::gates::context::not_asked;
use crate::gates::database::{self, connections::Connections};
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage};
use crate::load::LoadError;
use crate::load::users::{self, Ask, Plan};
use crate::net::safety::{Intent, is_denied};

/// `[gates.performance.concurrency]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Sessions held at one instant. The checklist's number.
    pub users: u32,
    /// Accounts, one `name,password` a line, relative to the repository; the first `users` of them are taken.
    pub file: Option<String>,
    /// Names of accounts with one password, `{n}` counts from 1: `hc-user-{n}`.
    pub pattern: Option<String>,
    /// The password of the accounts of `pattern`.
    pub password: Option<Secret>,
    /// Path of the login. Default: found among the routes.
    pub login: Option<String>,
    /// Body of the login: `json` or `form`.
    pub format: Format,
    pub username_field: String,
    pub password_field: String,
    /// Where the answer holds a bearer token, as a JSON pointer. Default: the usual names; cookies are kept anyway.
    pub token: Option<String>,
    /// Path whose answer names the user. Default: found among the routes.
    pub me: Option<String>,
    /// Path of the logout, `POST` unless written as `GET /logout`. Default: found among the routes.
    pub logout: Option<String>,
    /// Users arrive over this time.
    pub ramp: Span,
    /// All of them stay this long.
    pub hold: Span,
    /// Between two requests of one user.
    pub every: Span,
    /// 95th percentile of the login, milliseconds; up to two and a half times it warns.
    pub p95_ms: f64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            users: 1000,
            file: None,
            pattern: None,
            password: None,
            login: None,
            format: Format::Json,
            username_field: "username".into(),
            password_field: "password".into(),
            token: None,
            me: None,
            logout: None,
            ramp: Span::secs(60),
            hold: Span::secs(60),
            every: Span::secs(5),
            p95_ms: 2000.0,
        }
    }
}

/// More than these need a generator of their own.
const USERS_MAX: u32 = 10_000;

impl Config {
    /// Problems by path below `gates.performance.concurrency`.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !(1..=USERS_MAX).contains(&self.users) {
            problems.push(Problem::at(["users"], format!("must lie between 1 and {USERS_MAX}")));
        }
        if self.file.is_some() && self.pattern.is_some() {
            problems.push(Problem::at(["pattern"], "stands beside `file`: one of them names the accounts"));
        }
        match (&self.pattern, &self.password) {
            (Some(pattern), _) if !pattern.contains("{n}") => {
                let text = "lacks {n}: one account is not many users";
                problems.push(Problem::at(["pattern"], text).hint("write for example hc-user-{n}"));
            }
            (Some(_), None) => problems.push(Problem::at(["password"], "is needed beside `pattern`")),
            (None, Some(_)) => problems.push(Problem::at(["password"], "stands without `pattern`")),
            _ => {}
        }
        if self.file.as_deref().is_some_and(|f| f.starts_with('/') || f.split('/').any(|p| p == "..")) {
            problems.push(Problem::at(["file"], "must lie inside the repository"));
        }
        for (key, path) in [("login", &self.login), ("me", &self.me), ("logout", &self.logout)] {
            let bare = path.as_deref().map(|p| p.strip_prefix("GET ").unwrap_or(p));
            if bare.is_some_and(|p| !p.starts_with('/')) {
                problems.push(Problem::at([key], "is no path of the target: it begins with /"));
            }
        }
        if self.hold.get().is_zero() || self.every.get().is_zero() {
            problems.push(Problem::at(["hold"], "hold and every are longer than nothing"));
        }
        if self.every.get() > self.hold.get() {
            problems.push(Problem::at(["every"], "is longer than the hold: nobody would be asked while all are there"));
        }
        if !(self.p95_ms.is_finite() && self.p95_ms > 0.0) {
            problems.push(Problem::at(["p95_ms"], "must be above zero"));
        }
        problems
    }
}

pub struct Concurrency;

pub static ABOUT: About = About {
    id: "performance.concurrency",
    section: Section::Performance,
    class: Class::B,
    line: "concurrent users simulated (e.g. 1k logins)",
    min_tier: Tier::E2,
    attestable: false,
    stage: Stage::Exclusive,
    lock: Lock::TargetExclusive,
    needs: &["performance.load"],
    // The gate bounds itself by ramp, hold and leaving; this only catches a hang.
    timeout: Duration::from_secs(1800),
    skipped_for: &[Profile::Worker, Profile::StaticSite],
    reads: "the target with load = true: the accounts of `file` or `pattern` sign in over the ramp, ask for their own page \
            through the hold, and sign out; the database's connections beside it; where nobody signs in, as many visitors",
    decides: "99 % of the users hold a session at one instant and 99 % of the requests succeed; login p95 within p95_ms (up \
              to 2.5 times it warns); nobody is given another's page or session; no 5xx; at most 80 % of the database's \
              connections, or it warns; signing out ends the session on the server, or it warns",
    fix: "widen what saturates first: session store, connection pool, workers; keep nothing of a request in globals",
};

impl Gate for Concurrency {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { measure(ctx).await.unwrap_or_else(|outcome| *outcome) })
    }
}

/// From the first byte sent to the last received.
const TIMEOUT: Duration = Duration::from_secs(10);

async fn measure(ctx: &GateContext) -> Result<Outcome, Box<Outcome>> {
    let config = &ctx.config.performance.concurrency;
    let target = ctx.need_target()?;
    if !target.load {
        let hint =
            format!("set load = true on the [gates] target {} if it may be loaded, never on production", target.name);
        let text = format!("{} does not allow a load test", target.name);
        return Err(Box::new(Outcome::error("not-allowed", text).hint(hint)));
    }
    ctx.guard.authorise(&target.url, Intent::Load).await.map_err(|e| Box::new(not_asked(&e)))?;
    let routes = people::routes(config, &*ctx.inventory().await);
    let people = people::gather(config, &routes, ctx.repo.as_ref())?;
    let prefix = target.url.path().trim_end_matches('/');
    let at = |path: &str| format!("{prefix}{path}");
    let logins: Vec<Option<Ask>> = match &routes.login {
        None => vec![None; config.users as usize],
        Some(path) => people.iter().map(|person| Some(person.login(config, &at(path)))).collect(),
    };
    let pages: Vec<String> = match (&routes.login, &routes.me) {
        (Some(_), Some(me)) => vec![at(me)],
        (Some(_), None) => return Err(Box::new(judge::no_page())),
        (None, _) => {
            let own = |path: &String| if path == "auto" { target.url.path().to_string() } else { path.clone() };
            ctx.config.performance.load.mix.iter().map(own).collect()
        }
    };
    let writes = [&routes.login, &routes.logout.as_ref().map(|(_, path)| path.clone())];
    if let Some(path) = writes.into_iter().flatten().find(|path| is_denied(path)) {
        let text = format!("{path} might pay, send or delete something");
        return Err(Box::new(Outcome::error("refused", text).hint("name another path: login, logout")));
    }
    let logout = routes.logout.as_ref().map(|(method, path)| Ask { method, ..Ask::get(at(path)) });
    let signs_in = routes.login.is_some();
    let names: Vec<String> = people.iter().map(|p| p.name.clone()).collect();
    let plan = Plan {
        base: target.url.clone(),
        logins,
        tokens: match &config.token {
            Some(pointer) => vec![pointer.clone()],
            None => TOKENS.iter().map(|t| t.to_string()).collect(),
        },
        pages,
        logout,
        tell: people::tell(&names),
        headers: vec![("user-agent".into(), "hypercare".into()), ("x-hypercare-run".into(), ctx.guard.run.clone())],
        ramp: config.ramp.get(),
        hold: config.hold.get(),
        every: config.every.get(),
        timeout: TIMEOUT,
    };
    let cancel = ctx.guard.stop.child_token();
    let _guard = cancel.clone().drop_guard();
    // A STOP file ends it as Ctrl-C does.
    let (asked, told) = (ctx.guard.clone(), cancel.clone());
    let watch = tokio::spawn(async move {
        asked.stopped().await;
        told.cancel();
    });
    let pool = tokio::spawn(pool(ctx.config.clone(), cancel.clone()));
    let told = |p: users::Progress| {
        let (done, total) = (p.elapsed.as_secs().min(p.total.as_secs()), p.total.as_secs());
        let text = format!("{done} of {total} s · {} sessions held · {} requests", p.held, number(p.requests as f64));
        (ctx.progress)(ABOUT.id, &text);
    };
    let ran = users::run(plan, told, cancel.clone()).await;
    watch.abort();
    let interrupted = cancel.is_cancelled();
    cancel.cancel();
    let pool = pool.await.unwrap_or_default();
    let mut report = ran.map_err(|e| {
        Box::new(match e {
            LoadError::Unreachable(..) => Outcome::error("unreachable", e.to_string()),
            LoadError::Plan(_) | LoadError::Thread(_) => Outcome::error("generator", e.to_string()),
        })
    })?;
    report.interrupted |= interrupted;
    ctx.guard.count(ABOUT.id, report.steps.values().map(|s| s.requests).sum());
    Ok(judge::judge(&judge::Seen { report, pool, names, signs_in, routes }, config))
}

/// Between two counts of the database's connections.
const POOL_EVERY: Duration = Duration::from_secs(2);

/// The most connections that the database held, where one is named and answers.
async fn pool(config: Arc<crate::gates::Config>, cancel: tokio_util::sync::CancellationToken) -> Option<Connections> {
    let url = config.database.url.as_ref()?;
    let mut session = database::Session::open(url, config.database.tls).await.ok()?;
    let mut most: Option<Connections> = None;
    while !cancel.is_cancelled() {
        if let Ok(now) = session.connections().await {
            most = most.into_iter().chain([now]).max_by_key(|c| c.used);
        }
        tokio::select! {
            () = cancel.cancelled() => {}
            () = tokio::time::sleep(POOL_EVERY) => {}
        }
    }
    most
}

#[cfg(test)]
mod tests;
