//! Gate `performance.load`: the target holds the rate it must bear, within its latency and error budget.
//!
//! Why at launch: launch day is the first day of real load, and a limit found by users costs more than one found by us.
//! It touches the target with the full rate, so it needs `load = true` on the target and holds it exclusively. Open
//! model: arrivals do not wait for answers (`crate::load`). A tired generator is `error`, never a slow service.
//! Source of the thresholds: the checklist ("load tested for target RPS"). Fix: find the first saturated resource.

mod imported;

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::domain::problem::Problem;
use crate::domain::service::Profile;
use crate::domain::units::{Span, number};
use crate::domain::verdict::{Class, Finding, Outcome, Severity, Tier};
use crate::gates::context::{LoadTotals, not_asked};
use crate::gates::evidence::looked_not;
use crate::gates::proof::{Fixture, Page, Proof};
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage};
use crate::load::{self, LoadError, Model, Plan, Report, Shot};
use crate::net::safety::{Intent, Prober};
use crate::net::{NetError, Request};

/// `[gates.performance.load]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Requests per second that must be held. The checklist's number.
    pub target_rps: f64,
    /// The rate climbs over this time; left out of every figure, so that autoscalers and caches may warm up.
    pub ramp: Span,
    /// The rate is held and measured this long.
    pub hold: Span,
    /// 95th percentile, milliseconds, from the scheduled instant.
    pub p95_ms: f64,
    /// 99th percentile, milliseconds.
    pub p99_ms: f64,
    /// Share of requests that may fail (5xx, time-out, reset), 0 to 1.
    pub error_rate: f64,
    /// Paths requested in turn. `["auto"]` is the front page.
    pub mix: Vec<String>,
    /// Keep-alive connections.
    pub connections: u32,
    /// Never more than this, whatever `target_rps` says: a cap for a staging system shared with others.
    pub max_rps: Option<f64>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            target_rps: 10_000.0,
            ramp: Span::secs(30),
            hold: Span::secs(120),
            p95_ms: 500.0,
            p99_ms: 1000.0,
            error_rate: 0.01,
            mix: vec!["auto".into()],
            connections: 128,
            max_rps: None,
        }
    }
}

impl Config {
    /// Every problem at once; paths are relative to this table.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (key, value) in [("target_rps", self.target_rps), ("p95_ms", self.p95_ms), ("p99_ms", self.p99_ms)] {
            if !(value.is_finite() && value > 0.0) {
                problems.push(Problem::at([key], "must be above zero"));
            }
        }
        if !(0.0..=1.0).contains(&self.error_rate) {
            problems.push(Problem::at(["error_rate"], "must lie between 0 and 1").hint("1 % is 0.01"));
        }
        if self.hold.get() < Duration::from_secs(1) {
            problems.push(Problem::at(["hold"], "must be at least 1s"));
        }
        if self.connections == 0 || self.connections > load::CONNECTIONS_MAX {
            problems.push(Problem::at(["connections"], "must lie between 1 and 20000"));
        }
        if self.mix.iter().any(|path| path != "auto" && !path.starts_with('/')) {
            problems.push(Problem::at(["mix"], "paths start with /").hint("for example [\"/\", \"/api/products\"]"));
        }
        problems
    }

    fn rate(&self) -> f64 {
        self.max_rps.map_or(self.target_rps, |cap| cap.min(self.target_rps))
    }
}

/// Above this share of failing requests for five seconds the test ends: the answer is known.
const ABORT_ERROR_RATIO: f64 = 0.1;
/// The rate counts as held from this share on; the rest is rounding of schedules.
const ACHIEVED_MIN: f64 = 0.98;
/// More 429 than this and a limiter was measured, not the service.
const THROTTLED_MAX: f64 = 0.01;
/// The last third may be slower than the first by this factor; more is a leak or a queue.
const DRIFT_MAX: f64 = 1.5;
/// Drift of a few milliseconds is noise.
const DRIFT_MS_MIN: f64 = 20.0;
/// After the load the service must answer as before within this time.
const RECOVERY_MAX: Duration = Duration::from_secs(60);
/// Rates above this need a second thread on the generator's side.
const RPS_PER_THREAD: f64 = 15_000.0;

pub struct Load;

pub static ABOUT: About = About {
    id: "performance.load",
    section: Section::Performance,
    class: Class::A,
    line: "load tested for target RPS (e.g. >= 10k req/s)",
    min_tier: Tier::E2,
    attestable: false,
    stage: Stage::Exclusive,
    lock: Lock::TargetExclusive,
    needs: &[],
    // The gate bounds itself by ramp, hold and recovery; this only catches a hang.
    timeout: Duration::from_secs(3600),
    skipped_for: &[Profile::Worker],
    reads: "the target with load = true, at target_rps over the paths of mix; where that is not possible, imported reports \
            of k6, oha, wrk, vegeta, Gatling, Locust, JMeter and others",
    decides: "rate held to 98 %, failures within error_rate, p95 and p99 from the scheduled instant, drift of the last third at \
              most 1.5 x, recovery within 60 s. An imported report of this release needs 60 s and 10,000 requests on \
              staging and at most 14 days; from 60 % of the rate on, or with percentiles of a closed loop, it warns",
    fix: "find what saturates first (CPU, connection pool, database, upstream), or lower target_rps if the number is wrong",
};

impl Gate for Load {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn proof(&self) -> Option<Proof> {
        // Small enough for any machine: what is shown is the judgement, not the speed.
        let shop = |what, status| {
            let page = Page::json("/", "{}").status(status);
            Fixture::of(what).page(page).settings(|config| {
                let load = &mut config.performance.load;
                (load.target_rps, load.connections) = (50.0, 8);
                (load.ramp, load.hold) = (Span::secs(1), Span::secs(2));
            })
        };
        Some(Proof { good: shop("every request is answered", 200), bad: shop("every request fails under load", 500) })
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let own = measure(ctx).await.unwrap_or_else(|outcome| *outcome);
            let other = looked_not(&own).then(|| imported::outcome(ctx, &own)).flatten();
            other.unwrap_or(own)
        })
    }
}

async fn measure(ctx: &GateContext) -> Result<Outcome, Box<Outcome>> {
    let config = &ctx.config.performance.load;
    let target = ctx.need_target()?;
    if !target.load {
        let hint =
            format!("set load = true on the [gates] target {} if it may be loaded, never on production", target.name);
        return Err(Box::new(
            Outcome::error("not-allowed", format!("{} does not allow a load test", target.name)).hint(hint),
        ));
    }
    ctx.guard.authorise(&target.url, Intent::Load).await.map_err(|e| Box::new(not_asked(&e)))?;
    let prober = ctx.prober(ABOUT.id, Intent::Load);
    let before = calm_latency(&prober, &target.url).await.map_err(|e| Box::new(not_asked(&e)))?;

    let plan = plan(config, &target.url);
    let (started_at, cancel) = (ctx.clock.now(), ctx.guard.stop.child_token());
    let told = |s: load::Snapshot| {
        let (done, total) = (s.elapsed.as_secs().min(s.total.as_secs()), s.total.as_secs());
        (ctx.progress)(
            ABOUT.id,
            &format!("{done} of {total} s · {} req/s · {} errors", number(s.rps.round()), s.errors),
        );
    };
    // Dropping this future (time limit of the runner) must end the load as well.
    let _guard = cancel.clone().drop_guard();
    let report = load::run(plan, told, cancel).await.map_err(|e| {
        Box::new(match e {
            LoadError::Unreachable(..) => Outcome::error("unreachable", e.to_string()),
            LoadError::Plan(_) | LoadError::Thread(_) => Outcome::error("generator", e.to_string()),
        })
    })?;
    let ended_at = ctx.clock.now();
    let recovered = recovery(&prober, &target.url, before).await;

    *ctx.load_totals.lock().unwrap_or_else(|e| e.into_inner()) = Some(LoadTotals {
        requests: report.requests,
        by_status: report.by_status.clone(),
        started_at,
        ended_at,
        achieved_rps: report.achieved_rate,
        p95_ms: report.latency_ms.p95,
        p99_ms: report.latency_ms.p99,
    });
    Ok(judge(config, &report, recovered, is_loopback(&target.url)))
}

fn plan(config: &Config, base: &Url) -> Plan {
    let path = |path: &String| if path == "auto" { base.path().to_string() } else { path.clone() };
    let rate = config.rate();
    Plan {
        base: base.clone(),
        shots: config.mix.iter().map(|p| Shot::get(path(p))).collect(),
        headers: Vec::new(),
        model: Model::Open { rate },
        ramp: config.ramp.get(),
        hold: config.hold.get(),
        connections: config.connections,
        timeout: Duration::from_secs(10),
        threads: if rate > RPS_PER_THREAD { 2.min(config.connections) } else { 1 },
        abort_error_ratio: Some(ABORT_ERROR_RATIO),
    }
}

/// Median of a few unhurried requests: what "recovered" is measured against.
async fn calm_latency(prober: &Prober, url: &Url) -> Result<Duration, NetError> {
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(prober.send(Request::get(url.clone())).await?.duration);
    }
    all.sort();
    Ok(all[all.len() / 2])
}

/// How long the service took to answer as before, or `None` when it did not within [`RECOVERY_MAX`].
async fn recovery(prober: &Prober, url: &Url, before: Duration) -> Option<Duration> {
    let started = tokio::time::Instant::now();
    let calm = (before * 3).max(before + Duration::from_millis(50));
    while started.elapsed() < RECOVERY_MAX {
        if calm_latency(prober, url).await.is_ok_and(|now| now <= calm) {
            return Some(started.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    None
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Pure: figures → verdict.
fn judge(config: &Config, report: &Report, recovered: Option<Duration>, loopback: bool) -> Outcome {
    let (p95, p99) = (report.latency_ms.p95, report.latency_ms.p99);
    let answered: u64 = report.by_status.values().sum();
    let share = |n: u64| if report.requests == 0 { 0.0 } else { n as f64 / report.requests as f64 };
    let throttled = share(report.by_status.get(&429).copied().unwrap_or(0));
    let failed = share(report.failed());
    let where_ = if loopback { ", on loopback" } else { "" };
    let summary = format!(
        "{} of {} req/s held {} s, p95 {} ms, p99 {} ms{where_}",
        number(report.achieved_rate.round()),
        number(config.target_rps),
        number(report.duration_s.round()),
        number(p95),
        number(p99),
    );
    let done = |outcome: Outcome| {
        outcome
            .value(report.achieved_rate, config.target_rps)
            .tier(Tier::E3)
            .evidence("load", serde_json::to_value(report).unwrap_or_default())
    };
    if report.requests == 0 || answered == 0 {
        return done(Outcome::error("nothing-measured", format!("no request was answered: {:?}", report.errors)));
    }
    if report.stopped.as_deref() == Some("interrupted") {
        return done(Outcome::error("interrupted", "the load test was interrupted"));
    }
    if report.generator.saturated {
        let lag = number(report.generator.lag_p99_ms);
        return done(
            Outcome::error(
                "generator-saturated",
                format!("{summary}; the generator was the bottleneck (lag p99 {lag} ms)"),
            )
            .hint("run the gate from a machine of its own, or with more cores"),
        );
    }
    if throttled > THROTTLED_MAX {
        let text = format!("{} % of the answers were 429: a rate limiter was measured", number(throttled * 100.0));
        return done(Outcome::error("throttled", text).hint("exempt this source from the limiter on staging"));
    }

    let mut findings = Vec::new();
    let mut miss = |rule: &str, text: String| {
        findings
            .push(Finding::new(rule, Severity::High, text).identified_by(&["performance.load", rule]).fix(ABOUT.fix));
    };
    if report.achieved_rate < ACHIEVED_MIN * config.rate() {
        miss("rate", format!("{} of {} req/s", number(report.achieved_rate), number(config.rate())));
    }
    if failed > config.error_rate {
        let allowed = number(config.error_rate * 100.0);
        miss("errors", format!("{} % of requests failed (≤ {allowed} %): {:?}", number(failed * 100.0), report.errors));
    }
    for (rule, value, limit) in [("p95", p95, config.p95_ms), ("p99", p99, config.p99_ms)] {
        if value > limit {
            miss(rule, format!("{rule} {} ms (≤ {} ms)", number(value), number(limit)));
        }
    }
    let [first, last] = report.p95_ms_thirds;
    if last > first * DRIFT_MAX && last - first > DRIFT_MS_MIN {
        miss(
            "drift",
            format!("p95 rose from {} ms in the first third to {} ms in the last", number(first), number(last)),
        );
    }
    if recovered.is_none() {
        miss("recovery", format!("not back to normal {} s after the load", RECOVERY_MAX.as_secs()));
    }
    if let Some(why) = &report.stopped {
        miss("aborted", format!("the test was ended early: {why}"));
    }
    let hint = format!(
        "reached {} of {} req/s, p99 {} ms",
        number(report.achieved_rate),
        number(config.target_rps),
        number(p99)
    );
    if !findings.is_empty() {
        return done(Outcome::fail(summary).findings(findings).hint(hint));
    }
    if config.rate() < config.target_rps {
        let text = format!("{summary}; capped at {} by max_rps", number(config.rate()));
        return done(Outcome::warn(text).hint("raise max_rps to the target, or test a system of its own"));
    }
    done(Outcome::pass(summary))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{GeneratorHealth, Latency};
    use std::collections::BTreeMap;

    fn report() -> Report {
        Report {
            schema: "hypercare.load/v1",
            url: "http://127.0.0.1/".into(),
            model: "open",
            connections: 64,
            requests: 10_000,
            errors: BTreeMap::new(),
            by_status: BTreeMap::from([(200, 10_000)]),
            target_rate: Some(1000.0),
            achieved_rate: 1000.0,
            duration_s: 10.0,
            bytes: 1,
            latency_ms: Latency { p95: 20.0, p99: 40.0, ..Latency::default() },
            uncorrected_latency_ms: Latency::default(),
            generator: GeneratorHealth { cpu_user_s: None, cpu_system_s: None, lag_p99_ms: 0.2, saturated: false },
            seconds: Vec::new(),
            p95_ms_thirds: [20.0, 21.0],
            stopped: None,
        }
    }

    fn check(change: impl FnOnce(&mut Report, &mut Config), expect: &str) {
        let (mut report, mut config) = (report(), Config { target_rps: 1000.0, ..Config::default() });
        change(&mut report, &mut config);
        let outcome = judge(&config, &report, Some(Duration::ZERO), true);
        let rules = outcome.findings.iter().map(|f| f.rule.as_str()).collect::<Vec<_>>().join(",");
        let reason = outcome.reason.clone().unwrap_or(rules);
        assert_eq!(format!("{} {reason}", outcome.verdict.word()).trim(), expect, "{outcome:?}");
    }

    #[test]
    fn figures_decide() {
        check(|_, _| {}, "pass");
        check(|r, _| r.achieved_rate = 970.0, "fail rate");
        check(|r, _| r.latency_ms.p99 = 1500.0, "fail p99");
        check(|r, _| r.errors = BTreeMap::from([("timeout".into(), 200)]), "fail errors");
        check(|r, _| r.p95_ms_thirds = [20.0, 60.0], "fail drift");
        check(|r, _| r.stopped = Some("more than 10 % errors for 5 s".into()), "fail aborted");
        check(|_, c| c.max_rps = Some(1000.0), "pass");
        check(|r, c| (c.target_rps, c.max_rps, r.achieved_rate) = (5000.0, Some(1000.0), 1000.0), "warn");
    }

    #[test]
    fn what_says_nothing_about_the_service_is_an_error() {
        check(|r, _| (r.generator.saturated, r.achieved_rate) = (true, 100.0), "error generator-saturated");
        check(|r, _| r.by_status = BTreeMap::from([(200, 9000), (429, 1000)]), "error throttled");
        check(|r, _| (r.requests, r.by_status) = (10, BTreeMap::new()), "error nothing-measured");
        check(|r, _| r.stopped = Some("interrupted".into()), "error interrupted");
    }

    #[test]
    fn a_service_that_does_not_recover_fails() {
        let config = Config { target_rps: 1000.0, ..Config::default() };
        let outcome = judge(&config, &report(), None, false);
        assert_eq!(outcome.findings[0].rule, "recovery");
    }

    #[test]
    fn problems_come_all_at_once() {
        let config =
            Config { target_rps: 0.0, error_rate: 5.0, mix: vec!["api".into()], connections: 0, ..Config::default() };
        assert_eq!(config.validate().len(), 4);
        assert!(Config::default().validate().is_empty());
    }
}
