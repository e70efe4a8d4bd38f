//! Gate `monitoring.log_context`: can one request be followed through the log, by its trace, its user and its route?
//!
//! At 3 a.m. somebody holds one trace id, or one angry user's. Lines that do not carry the id of their request are noise.
//! Requests with a known `traceparent` (W3C Trace Context) and `X-Request-Id` are sent to a path that does not exist and to
//! known routes, as nobody and as an actor; their lines are searched for the very ids, the route's template, method,
//! status, duration, and the actor's id. The verdict is `judge.rs`. To fix a failure: bind the context once per request.

mod judge;

use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use super::logs::canary::Canary;
use super::logs::source::{Source, unread};
use crate::domain::verdict::{Class, Outcome, Tier};
use crate::gates::inventory::values;
use crate::gates::web::trouble;
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage};
use crate::net::Request;
use crate::net::safety::Intent;
use judge::{Seen, Sent};

pub struct LogContext;

pub static ABOUT: About = About {
    id: "monitoring.log_context",
    section: Section::Monitoring,
    class: Class::B,
    line: "logs include traceId, userId, route context",
    min_tier: Tier::E3,
    attestable: false,
    stage: Stage::Passive,
    lock: Lock::TargetShared,
    needs: &["monitoring.logging"],
    // Five times the longest max_lag, and the looks themselves.
    timeout: Duration::from_secs(1800),
    skipped_for: &[],
    reads: "some ten requests with a trace id and a request id of their own, to a path that does not exist and to known \
            routes, as nobody and as an actor; the log of [gates.monitoring.logs] since",
    decides: "95 % of the lines of these requests carry the id that was sent (from 80 % on, or with ids of the service's own, \
              it warns), as do all of errors; lines of nobody warn; method, status, duration; the route's template rather than the raw path; an \
              actor's lines his id, which is no e-mail address; without an actor the user is left out",
    fix: "bind the context once per request: pino child, AsyncLocalStorage, contextvars, MDC, the OpenTelemetry log bridge",
};

impl Gate for LogContext {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { follow(ctx).await.unwrap_or_else(|outcome| *outcome) })
    }
}

/// Known routes that are asked.
const ROUTES_MAX: usize = 3;
/// Up to so many times max_lag is waited.
const PATIENCE: u32 = 5;
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A request's second line may take a moment longer than its first.
const STRAGGLERS: Duration = Duration::from_secs(1);

async fn follow(ctx: &GateContext) -> Result<Outcome, Box<Outcome>> {
    let config = &ctx.config.monitoring.logs;
    ctx.need_target()?;
    let source = Source::open(ctx, ctx.clock.now())?;
    let canary =
        Canary::fresh().ok_or_else(|| Box::new(Outcome::error("no-canary", "the system gives no random numbers")))?;
    let sent = send(ctx, &canary).await?;
    let (sent_at, limit) = (Instant::now(), config.max_lag.get() * PATIENCE);
    loop {
        let lines = source.read().await.map(|read| read.lines).unwrap_or_default();
        let complete = sent.iter().all(|s| lines.iter().any(|line| s.is_in(line)));
        if complete || sent_at.elapsed() >= limit {
            tokio::time::sleep(STRAGGLERS).await;
            let lines = source.read().await.map_err(|why| Box::new(unread(&config.name(), &why)))?;
            return Ok(judge::judge(&Seen::of(&sent, &lines, config.name())));
        }
        let waited = sent_at.elapsed().as_secs();
        (ctx.progress)(ABOUT.id, &format!("{} requests sent, waiting {waited} s for their lines", sent.len()));
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What is asked: (path and query, template if it is known).
async fn targets(ctx: &GateContext) -> Vec<(String, Option<String>)> {
    let inventory = ctx.inventory().await;
    let mut known: Vec<(String, Option<String>)> = Vec::new();
    for op in inventory.operations.iter().filter(|op| op.method == "GET") {
        let path = op.seen.first().cloned().unwrap_or_else(|| values::path(op, |_| None));
        known.push((path.split('?').next().unwrap_or_default().to_string(), Some(op.template.clone())));
    }
    // Those with a parameter tell a template from a path.
    known.sort_by_key(|(path, template)| template.as_deref() == Some(path));
    known.truncate(ROUTES_MAX);
    if known.is_empty() {
        known.push(("/".into(), None));
    }
    known
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    NotFound,
    Known,
    /// As an actor.
    Signed,
}

async fn send(ctx: &GateContext, canary: &Canary) -> Result<Vec<Sent>, Box<Outcome>> {
    let target = ctx.need_target()?;
    let prober = ctx.prober(ABOUT.id, Intent::Passive);
    let actor = ctx.actors().first();
    let signed = match actor {
        Some(actor) => Some(ctx.signed_in(actor).await.map_err(|why| {
            Box::new(Outcome::error("not-signed-in", why).hint("correct the actor in [[gates.actor]]"))
        })?),
        None => None,
    };
    let mut plan = vec![(Kind::NotFound, canary.path(0), None); 2];
    for (path, template) in targets(ctx).await {
        plan.push((Kind::Known, path.clone(), template.clone()));
        if signed.is_some() {
            plan.push((Kind::Signed, path, template));
        }
    }
    let mut out = Vec::new();
    for (nth, (kind, path, template)) in plan.into_iter().enumerate() {
        let mark = canary.path(nth).trim_start_matches('/').to_string();
        let sent = Sent {
            trace: format!("{:0>30}{nth:02x}", canary.nonce.trim_start_matches("hcv")),
            id: format!("hcr-{}-{nth}", canary.nonce.trim_start_matches("hcv")),
            path: if kind == Kind::NotFound { format!("/{mark}") } else { path },
            mark,
            template,
            user: actor.filter(|_| kind == Kind::Signed).map(|a| a.id.clone()),
        };
        let mut url = target.url.clone();
        url.set_path(&format!("{}{}", target.url.path().trim_end_matches('/'), sent.path));
        url.set_query((kind != Kind::NotFound).then(|| format!("hc={}", sent.mark)).as_deref());
        let mut request = Request::get(url)
            .header("traceparent", format!("00-{}-{:016x}-01", sent.trace, nth + 1))
            .header("x-request-id", sent.id.clone());
        for (name, value) in signed.iter().flatten().filter(|_| kind == Kind::Signed) {
            request = request.header(name.clone(), value.clone());
        }
        prober.send(Request { truncate: true, ..request }).await.map_err(|e| Box::new(trouble(&e)))?;
        out.push(sent);
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
