//! Gate `monitoring.alert_delivery`: does an alert reach a person, now?
//!
//! Rules, routes and receivers can all look right while nobody is paged: the token of the pager has lapsed, a silence of
//! last month still holds, the mail goes to a list that nobody reads. So a canary alert with a one-time code travels the
//! whole way, and a person who got it gives the code back (`hypercare attest monitoring.alert_delivery --code …`). Asks
//! Prometheus and Alertmanager (`alertmanager.rs`), keeps the canary beside the runs (`canary.rs`), decides in `judge.rs`.
//! To fix a failure: route the alerts' labels to a receiver that reaches somebody. SRE workbook, chapter 5; OpenAPI of
//! Alertmanager's API v2.

mod alertmanager;
pub mod canary;
mod judge;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::domain::problem::Problem;
use crate::domain::units::Span;
use crate::domain::verdict::{Class, Outcome, Tier};
use crate::gates::web::trouble;
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage};
use crate::net::safety::Intent;
use alertmanager::{Alertmanager, Counters, Labels};
use canary::Canary;

/// `[gates.monitoring.alert_delivery]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Base URL of the Alertmanager; its host must be loopback or a declared target. Default: the first that the Prometheus
    /// of `[gates.monitoring.alerts]` sends to.
    pub alertmanager: Option<Url>,
    /// May a canary alert be posted? It pages whoever the labels page. Default: no.
    pub canary: bool,
    /// Labels of the canary: those of your most urgent alerts. Default: `{ severity = "critical" }`.
    pub labels: BTreeMap<String, String>,
    /// The canary's notification must have left Alertmanager after so long; longer than its `group_wait`. Default: 60s.
    pub max_wait: Span,
    /// A code that was given back proves the way for so long. Default: 7d.
    pub max_age: Span,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            alertmanager: None,
            canary: false,
            labels: BTreeMap::from([("severity".into(), "critical".into())]),
            max_wait: Span::secs(60),
            max_age: Span::secs(7 * 86_400),
        }
    }
}

impl Config {
    /// Problems by path below `gates.monitoring.alert_delivery`.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let named = |name: &str| {
            name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                && !name.starts_with(|c: char| c.is_ascii_digit())
        };
        for name in self.labels.keys().filter(|n| n.is_empty() || !named(n) || *n == "alertname") {
            problems.push(Problem::at(["labels", name.as_str()], "is no label of a canary"));
        }
        if !(1..=600).contains(&self.max_wait.get().as_secs()) {
            problems.push(Problem::at(["max_wait"], "must lie between 1s and 10m"));
        }
        if self.max_age.get().is_zero() {
            problems.push(Problem::at(["max_age"], "must be above zero"));
        }
        problems
    }
}

pub struct AlertDelivery;

pub static ABOUT: About = About {
    id: "monitoring.alert_delivery",
    section: Section::Monitoring,
    class: Class::A,
    line: "monitoring & alerting",
    min_tier: Tier::E3,
    attestable: false,
    stage: Stage::Rehearsal,
    lock: Lock::TargetExclusive,
    needs: &["monitoring.alert_errors"],
    // The wait for the notification, and what is asked before and after.
    timeout: Duration::from_secs(900),
    skipped_for: &[],
    reads: "the Alertmanagers that Prometheus sends to; Alertmanager's configuration, silences and notification counters; \
            with canary = true a TEST alert that resolves itself after two minutes, and the code that a person gives back",
    decides: "the labels of the urgent alerts lead to a receiver that is no null, silenced or inhibited one; the canary's \
              notification leaves without a failure; its code comes back within 30 minutes (delivered but not \
              acknowledged warns); no Alertmanager, a null route or a failing integration fails",
    fix: "route the alerts' labels to a receiver that reaches somebody",
};

impl Gate for AlertDelivery {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { follow(ctx).await.unwrap_or_else(|outcome| *outcome) })
    }
}

/// Between two looks at the counters.
const LOOK_EVERY: Duration = Duration::from_secs(1);

async fn follow(ctx: &GateContext) -> Result<Outcome, Box<Outcome>> {
    let config = &ctx.config.monitoring.alert_delivery;
    let failed = |e| Box::new(trouble(&e));
    let passive = ctx.prober(ABOUT.id, Intent::Passive);
    let monitoring = &ctx.config.monitoring;
    let prometheus = monitoring.alerts.prometheus.as_ref().or(monitoring.metrics.prometheus.as_ref());
    let mut seen = judge::Seen { labels: config.labels.clone(), ..judge::Seen::default() };
    if let Some(server) = prometheus {
        let told = alertmanager::of_prometheus(&passive, server).await?;
        (seen.active, seen.alerts) = (Some(told.active), told.alerts);
    }
    let first = seen.active.as_ref().and_then(|active| active.first().cloned());
    let url = match (&config.alertmanager, first) {
        (Some(url), _) => url.clone(),
        (None, Some(url)) => url,
        (None, None) => return Ok(judge::nowhere(&seen)),
    };
    let alertmanager = Alertmanager::open(&passive, &url).await?;
    seen.place = crate::net::redact_url(&url);
    let mut labels: Labels = config.labels.clone();
    labels.insert("alertname".into(), canary::ALERT.into());
    seen.ways = judge::ways(&alertmanager, &labels, &seen.alerts);
    seen.silence = alertmanager.silence(&passive, &labels).await.map_err(failed)?;
    if let Some(outcome) = judge::blocked(&seen) {
        return Ok(outcome);
    }
    let (kept, now) = (Canary::read(&ctx.guard.run_dir), ctx.clock.now());
    if let Some(canary) = kept.filter(|c| c.place == seen.place && c.labels == labels) {
        if canary.counts(now, config.max_age.get()) {
            return Ok(judge::acknowledged(&seen, &canary));
        }
        if canary.is_awaited(now) {
            return Ok(judge::awaited(&seen, &canary, now));
        }
    }
    if !config.canary {
        return Ok(judge::not_allowed(&seen));
    }
    let before = alertmanager.counters(&passive).await.map_err(failed)?;
    let (canary, code) = Canary::new(&seen.place, &labels, &ctx.guard.run, now)
        .ok_or_else(|| Box::new(Outcome::error("no-code", "the system gives no random numbers")))?;
    // Written first: a canary that nobody knows of is a false alarm.
    canary
        .write(&ctx.guard.run_dir)
        .map_err(|e| Box::new(Outcome::error("not-kept", format!("the canary's record cannot be written: {e}"))))?;
    let active = ctx.prober(ABOUT.id, Intent::Active);
    alertmanager.post(&active, &canary, code.expose(), &ctx.service).await?;
    let begun = Instant::now();
    let mut rise = Counters::default();
    while begun.elapsed() < config.max_wait.get() {
        let waited = begun.elapsed().as_secs();
        (ctx.progress)(ABOUT.id, &format!("TEST alert posted {waited} s ago, waiting for its notification"));
        tokio::time::sleep(LOOK_EVERY).await;
        rise = alertmanager.counters(&passive).await.map_err(failed)?.since(&before);
        if rise.sent > rise.failed || rise.failed > 0 && begun.elapsed() > config.max_wait.get() / 2 {
            break;
        }
    }
    seen.rise = Some((rise, begun.elapsed()));
    Ok(judge::posted(&seen, &canary))
}

#[cfg(test)]
mod tests;
