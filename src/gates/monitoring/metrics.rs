//! Gate `monitoring.metrics`: are there metrics, do they follow reality, and does somebody collect them?
//!
//! A `/metrics` page proves little: middleware mounted after the router, a registry per worker or a stale exporter look
//! the same until launch day. So this sends a counted number of requests and holds the counter against it, looks for
//! unknown paths among the labels, and asks who scrapes. Names are found in `red.rs`, Prometheus is read in
//! `prometheus_api.rs`, the verdict is `judge`. To fix a failure: count in the outermost middleware, on one registry.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use url::Url;

use super::prometheus_api::{self, ScrapeTarget};
use super::red::{self, Given, Growth, Red};
use crate::domain::clock::Timestamp;
use crate::domain::exposition::{self, Exposition};
use crate::domain::problem::Problem;
use crate::domain::service::Profile;
use crate::domain::units::number;
use crate::domain::verdict::{Class, Finding, Outcome, Severity, Tier};
use crate::gates::context::{LoadTotals, not_asked};
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage};
use crate::net::safety::{Intent, Prober, Target};
use crate::net::{NetError, Request, Response, redact_url};

/// `[gates.monitoring.metrics]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Paths asked for metrics, on ops_url first; the first that answers is taken.
    pub paths: Vec<String>,
    /// The known route that the counted requests go to. Default: the target's own path.
    pub route: Option<String>,
    /// How many. Default: 20, two seconds at the usual ten a second.
    pub requests: u32,
    /// Name of the counter, as on its lines, when the guess is wrong: `http_requests_total`.
    pub counter: Option<String>,
    /// Its label that holds the status.
    pub status_label: Option<String>,
    /// Name of the latency histogram.
    pub latency: Option<String>,
    /// Base URL of the Prometheus server that scrapes the target; its host must be loopback or a declared target.
    pub prometheus: Option<Url>,
    /// What hypercare's own watch scrapes; filled in by the program, not by the user.
    #[serde(skip)]
    #[schemars(skip)]
    pub watched: Vec<Url>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            paths: vec!["/metrics".into(), "/actuator/prometheus".into()],
            route: None,
            requests: 20,
            counter: None,
            status_label: None,
            latency: None,
            prometheus: None,
            watched: Vec::new(),
        }
    }
}

impl Config {
    /// Problems by path below `gates.monitoring.metrics`.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.paths.is_empty() {
            problems.push(Problem::at(["paths"], "names no path"));
        }
        let route = self.route.iter().map(|r| ("route", r));
        for (key, path) in self.paths.iter().map(|p| ("paths", p)).chain(route).filter(|(_, p)| !p.starts_with('/')) {
            problems.push(Problem::at([key], format!("`{path}` does not start with /")));
        }
        if !(5..=500).contains(&self.requests) {
            problems.push(Problem::at(["requests"], "must lie between 5 and 500"));
        }
        problems
    }

    fn given(&self) -> Given<'_> {
        Given {
            requests: self.counter.as_deref(),
            status_label: self.status_label.as_deref(),
            latency: self.latency.as_deref(),
        }
    }
}

pub struct Metrics;

pub static ABOUT: About = About {
    id: "monitoring.metrics",
    section: Section::Monitoring,
    class: Class::B,
    line: "metrics collection: Prometheus / Grafana / OpenTelemetry",
    min_tier: Tier::E3,
    attestable: false,
    stage: Stage::Exclusive,
    lock: Lock::TargetShared,
    needs: &["performance.load"],
    timeout: Duration::from_secs(300),
    skipped_for: &[Profile::StaticSite],
    reads: "the metrics endpoint on ops_url, then url, before and after a counted number of requests and a few to unknown \
            paths; what the load test counted; the Prometheus server named in the settings",
    decides: "the exposition parses; a request counter with a status and a latency histogram exist; the counter grows by \
              the requests sent, within 2 %; no counter falls; no family has 1,000 series; unknown paths stay out of \
              labels; the load test's requests are all counted; somebody scrapes the endpoint, or the gate warns",
    fix: "count in the outermost middleware, on one registry for all workers, with the route's template as label",
};

impl Gate for Metrics {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let target = match ctx.need_target() {
                Ok(target) => target,
                Err(outcome) => return *outcome,
            };
            let config = &ctx.config.monitoring.metrics;
            let prober = ctx.prober(ABOUT.id, Intent::Passive);
            let run = ctx.guard.run.clone();
            let load = ctx.load_totals.lock().unwrap_or_else(|e| e.into_inner()).clone();
            match look(&prober, target, config, &run, load).await {
                Ok(seen) => judge(&seen, config, ctx.profile, ctx.clock.now()),
                Err(Stop::Net(error)) => not_asked(&error),
                Err(Stop::Outcome(outcome)) => *outcome,
            }
        })
    }
}

/// Why there is nothing to judge.
enum Stop {
    Net(NetError),
    Outcome(Box<Outcome>),
}

impl From<NetError> for Stop {
    fn from(error: NetError) -> Stop {
        Stop::Net(error)
    }
}

fn stop(outcome: Outcome) -> Stop {
    Stop::Outcome(Box::new(outcome))
}

/// What a Prometheus server was found to say.
#[derive(Debug, Clone, PartialEq, Serialize)]
enum Scraper {
    /// No server is configured; does hypercare's own watch scrape it?
    Watch(bool),
    Target(ScrapeTarget),
    NoSuchTarget,
    /// The counter's name yields series there, or not.
    Blind(String),
}

/// Everything the verdict rests on.
struct Seen {
    endpoint: Url,
    red: Red,
    sizes: Vec<(String, usize)>,
    series: usize,
    families: usize,
    /// Requests sent to the known route, and the counter's growth meanwhile.
    route: String,
    sent: u64,
    growth: Option<Growth>,
    /// The counter's growth over a pause without requests of ours, but for the scrape.
    idle: f64,
    backwards: Option<String>,
    /// The process says it was started anew in between.
    restarted: bool,
    /// (metric, label) that took up an unknown path.
    canary: Option<(String, String)>,
    /// The counter's sum at the end, when the process is the one that bore the load.
    total_after_load: Option<(LoadTotals, f64)>,
    scraper: Scraper,
}

/// A pause to see how much the counter moves by itself, and how late it may follow.
const PAUSE: Duration = Duration::from_millis(500);
/// Some exporters count after the answer has left.
const LATE_LOOKS: u32 = 4;
/// Unknown paths asked for.
const CANARIES: u32 = 10;
/// Looks at the endpoint in a row, to meet more than one worker behind it.
const EXTRA_LOOKS: u32 = 5;

async fn look(
    prober: &Prober,
    target: &Target,
    config: &Config,
    run: &str,
    load: Option<LoadTotals>,
) -> Result<Seen, Stop> {
    let endpoint = find_endpoint(prober, target, config).await?;
    let route = config.route.clone().unwrap_or_else(|| target.url.path().to_string());
    let base = |path: &str| {
        let mut url = target.url.clone();
        url.set_path(path);
        url.set_query(None);
        url
    };
    // A counter with labels shows no series before its first request.
    let mut statuses = BTreeSet::from([prober.send(close(base(&route))).await?.status]);
    let quiet = scrape(prober, &endpoint).await?;
    tokio::time::sleep(PAUSE).await;
    let before = scrape(prober, &endpoint).await?;
    let red = red::find(&before, &config.given());
    let none = BTreeSet::new();
    let idle = red.requests.as_ref().map_or(0.0, |r| red::growth(&quiet, &before, r, &none).matching);

    let mut sent = 0;
    for _ in 0..config.requests {
        statuses.insert(prober.send(close(base(&route))).await?.status);
        sent += 1;
    }
    let mut after = scrape(prober, &endpoint).await?;
    if let Some(requests) = &red.requests {
        for _ in 0..LATE_LOOKS {
            if red::growth(&before, &after, requests, &statuses).matching + slack(sent) >= sent as f64 {
                break;
            }
            tokio::time::sleep(PAUSE).await;
            after = scrape(prober, &endpoint).await?;
        }
    }
    let growth = red.requests.as_ref().map(|r| red::growth(&before, &after, r, &statuses));

    for i in 0..CANARIES {
        prober.send(close(base(&format!("/hc-{run}-{i}")))).await?;
    }
    let mut last = scrape(prober, &endpoint).await?;
    let mut backwards =
        [red::backwards(&quiet, &before), red::backwards(&before, &after), red::backwards(&after, &last)]
            .into_iter()
            .flatten()
            .next();
    let mut starts: Vec<Option<f64>> = [&quiet, &before, &after, &last].map(red::process_start).to_vec();
    for _ in 0..EXTRA_LOOKS {
        let next = scrape(prober, &endpoint).await?;
        backwards = backwards.or_else(|| red::backwards(&last, &next));
        starts.push(red::process_start(&next));
        last = next;
    }
    let total = red.requests.as_ref().map(|r| red::series(&last, &r.name).values().sum::<f64>());
    let bore_the_load =
        |load: &LoadTotals| red::process_start(&last).is_none_or(|start| start < load.started_at.seconds());
    Ok(Seen {
        sizes: red::sizes(&last),
        series: last.samples.len(),
        families: last.families.len(),
        route,
        sent,
        growth,
        idle,
        backwards,
        restarted: grew_once(&starts),
        canary: red::label_holding(&last, &format!("hc-{run}")),
        total_after_load: load.filter(|l| l.requests > 0 && bore_the_load(l)).zip(total),
        scraper: scraper(prober, config, &endpoint, &red).await?,
        endpoint,
        red,
    })
}

/// One step up and none down: a restart. Up and down: several processes that answer in turn.
fn grew_once(starts: &[Option<f64>]) -> bool {
    let starts: Vec<f64> = starts.iter().flatten().copied().collect();
    let ups = starts.windows(2).filter(|w| w[1] > w[0]).count();
    ups == 1 && starts.windows(2).all(|w| w[1] >= w[0])
}

/// A new connection each time: a kept one would always reach the same worker.
fn close(url: Url) -> Request {
    Request { truncate: true, ..Request::get(url) }.header("connection", "close")
}

async fn find_endpoint(prober: &Prober, target: &Target, config: &Config) -> Result<Url, Stop> {
    let bases = target.ops_url.iter().chain([&target.url]);
    let (mut refusal, mut failure, mut asked) = (None, None, Vec::new());
    for base in bases {
        for path in &config.paths {
            let mut url = base.clone();
            url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
            url.set_query(None);
            match prober.send(close(url.clone())).await {
                Ok(answer) if answer.status == 200 && !is_page(&answer) => return Ok(url),
                Ok(answer) if matches!(answer.status, 401 | 403) => refusal = Some(url.clone()),
                Ok(answer) => asked.push(format!("{} ({})", redact_url(&url), answer.status)),
                Err(error @ (NetError::Refused(_) | NetError::Stopped(_))) => return Err(error.into()),
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
    }
    if let Some(url) = refusal {
        return Err(stop(
            Outcome::error("no-credentials", format!("{} asks for credentials", redact_url(&url)))
                .hint("name an ops_url on which the metrics are open, such as a loopback address"),
        ));
    }
    if let Some(error) = failure.filter(|_| asked.is_empty()) {
        return Err(error.into());
    }
    let message = format!("no metrics endpoint: {}", asked.join(", "));
    Err(stop(
        Outcome::fail(message.clone())
            .tier(Tier::E3)
            .findings(vec![
                Finding::new("no-metrics", Severity::High, message)
                    .fix("serve Prometheus metrics at /metrics")
                    .identified_by(&["no-metrics"]),
            ])
            .hint("serve Prometheus metrics at /metrics, or set paths in [gates.monitoring.metrics]"),
    ))
}

/// A single-page application answers every path with its page.
fn is_page(answer: &Response) -> bool {
    answer.header("content-type").is_some_and(|t| t.starts_with("text/html"))
}

async fn scrape(prober: &Prober, endpoint: &Url) -> Result<Exposition, Stop> {
    let accept = "application/openmetrics-text;version=1.0.0;q=0.9,text/plain;version=0.0.4;q=0.5";
    let request = Request { truncate: false, ..close(endpoint.clone()) }.header("accept", accept);
    let answer = match prober.send(request).await {
        Err(error @ NetError::BodyTooLarge(_)) => {
            return Err(stop(
                Outcome::error("too-large", error.to_string())
                    .hint("serve fewer series: one family should have fewer than 1,000"),
            ));
        }
        other => other?,
    };
    if answer.status != 200 {
        return Err(stop(Outcome::error(
            "unsteady",
            format!("{} answered {} on a later call", redact_url(endpoint), answer.status),
        )));
    }
    exposition::parse(answer.header("content-type"), &answer.body).map_err(|error| {
        let message = format!("{} is no exposition: {error}", redact_url(endpoint));
        stop(
            Outcome::fail(message.clone())
                .tier(Tier::E3)
                .findings(vec![
                    Finding::new("broken-exposition", Severity::High, message)
                        .fix("hypercare metrics check URL lists every problem")
                        .identified_by(&["broken-exposition"]),
                ])
                .hint("hypercare metrics check URL lists every problem with its line"),
        )
    })
}

async fn scraper(prober: &Prober, config: &Config, endpoint: &Url, red: &Red) -> Result<Scraper, Stop> {
    let Some(server) = &config.prometheus else {
        // The watch may scrape the live address while the gates look at staging: the path tells that it is meant.
        let same = |w: &Url| w.path() == endpoint.path() || w.path() == "/";
        return Ok(Scraper::Watch(config.watched.iter().any(same)));
    };
    let api = |path: &str| {
        let mut url = server.clone();
        url.set_path(&format!("{}/api/v1/{path}", server.path().trim_end_matches('/')));
        url
    };
    let ask = async |url: Url| -> Result<String, Stop> {
        let shown = redact_url(&url);
        let answer = prober.send(Request::get(url)).await?;
        match answer.status {
            200 => Ok(answer.text().into_owned()),
            status => Err(stop(
                Outcome::error("unreachable", format!("{shown} answered {status}"))
                    .hint("correct prometheus in [gates.monitoring.metrics]"),
            )),
        }
    };
    let mut targets = api("targets");
    targets.set_query(Some("state=active"));
    let found = prometheus_api::target_of(&ask(targets).await?, endpoint).map_err(|why| {
        stop(Outcome::error("unreachable", format!("{} is no Prometheus: {why}", redact_url(server))))
    })?;
    let Some(found) = found else { return Ok(Scraper::NoSuchTarget) };
    if let Some(requests) = &red.requests {
        let mut query = api("query");
        query.query_pairs_mut().append_pair("query", &format!("count({})", requests.name));
        let json: serde_json::Value = serde_json::from_str(&ask(query).await?).unwrap_or_default();
        if json["data"]["result"].as_array().is_none_or(Vec::is_empty) {
            return Ok(Scraper::Blind(requests.name.clone()));
        }
    }
    Ok(Scraper::Target(found))
}

/// Two per cent, and never less than one request.
fn slack(sent: u64) -> f64 {
    (sent as f64 * 0.02).max(1.0)
}

/// A family with more series than this will hurt whoever stores it.
const SERIES_PER_FAMILY_MAX: usize = 1000;
/// Share of the load test's requests that the counter must know.
const LOAD_SHARE_MIN: f64 = 0.98;

fn finding(rule: &str, severity: Severity, object: &str, message: impl Into<String>, fix: &str) -> Finding {
    Finding::new(rule, severity, message).route(object).fix(fix).identified_by(&[rule, object])
}

/// Pure: what was seen, to a verdict.
fn judge(seen: &Seen, config: &Config, profile: Profile, now: Timestamp) -> Outcome {
    let mut fails = Vec::new();
    let mut warns = Vec::new();
    let endpoint = redact_url(&seen.endpoint);
    let mut error = None;

    if let Some(name) = &seen.backwards {
        if seen.restarted {
            error = Some(
                Outcome::error("restarted", "the process was restarted while it was looked at")
                    .hint("run again when the target is steady"),
            );
        } else {
            fails.push(finding(
                "backwards",
                Severity::High,
                name,
                format!("{name} went backwards: several workers, each with a registry of its own"),
                "share one registry: multiprocess mode, or aggregate in the primary",
            ));
        }
    }
    if profile == Profile::Worker {
        if seen.red.jobs.is_none() {
            fails.push(finding(
                "no-work-counter",
                Severity::High,
                &endpoint,
                "no counter of jobs, tasks or messages",
                "count what the worker has done",
            ));
        }
    } else {
        judge_red(seen, &mut fails, &mut warns);
        error = error.or_else(|| judge_movement(seen, &mut fails));
    }
    for (part, found, fix) in [
        ("CPU time", &seen.red.cpu, "register the process collector"),
        ("memory", &seen.red.memory, "register the process collector"),
    ] {
        if found.is_none() {
            warns.push(finding(
                "no-process-metrics",
                Severity::Low,
                part,
                format!("no metric of the process's {part}"),
                fix,
            ));
        }
    }
    for (family, size) in seen.sizes.iter().filter(|(_, n)| *n >= SERIES_PER_FAMILY_MAX) {
        warns.push(finding(
            "many-series",
            Severity::Medium,
            family,
            format!("{family} has {size} series"),
            "drop the label that holds ids or raw paths",
        ));
    }
    if let Some((metric, label)) = &seen.canary {
        warns.push(finding(
            "raw-path-label",
            Severity::Medium,
            metric,
            format!("{metric} took an unknown path into label {label}: anybody can make it grow"),
            "label with the route's template, and unknown routes with one word",
        ));
    }
    if let Some((load, total)) = &seen.total_after_load
        && *total < load.requests as f64 * LOAD_SHARE_MIN
    {
        let counted = number(*total);
        fails.push(finding(
            "load-not-counted",
            Severity::High,
            &endpoint,
            format!("the load test sent {} requests, the counter knows {counted}", load.requests),
            "count in the outermost middleware, on one registry for all workers",
        ));
    }
    judge_scraper(seen, now, &mut fails, &mut warns);
    conclude(seen, config, fails, warns, error)
}

fn judge_red(seen: &Seen, fails: &mut Vec<Finding>, warns: &mut Vec<Finding>) {
    let endpoint = redact_url(&seen.endpoint);
    match &seen.red.requests {
        None => fails.push(finding(
            "no-request-counter",
            Severity::High,
            &endpoint,
            "no counter of HTTP requests",
            "count requests by method, route and status",
        )),
        Some(requests) if requests.status_label.is_none() => fails.push(finding(
            "no-status-label",
            Severity::High,
            &requests.name,
            format!("{} carries no status", requests.name),
            "add the status as a label, or errors cannot be seen",
        )),
        Some(_) => {}
    }
    match &seen.red.latency {
        None => fails.push(finding(
            "no-latency",
            Severity::High,
            &endpoint,
            "no histogram of request durations",
            "observe every request's duration in seconds",
        )),
        Some(family) if seen.red.latency_is_summary => warns.push(finding(
            "latency-summary",
            Severity::Low,
            family,
            format!("{family} is a summary: its quantiles cannot be added up over instances"),
            "use a histogram",
        )),
        Some(_) => {}
    }
}

/// Does the counter follow the requests? `Some` when it cannot be told.
fn judge_movement(seen: &Seen, fails: &mut Vec<Finding>) -> Option<Outcome> {
    let (growth, name) = (seen.growth.as_ref()?, &seen.red.requests.as_ref()?.name);
    // A sum over workers in turn means nothing.
    if seen.backwards.is_some() {
        return None;
    }
    let (sent, slack) = (seen.sent as f64, slack(seen.sent));
    // The look before was itself a request, counted after its own answer was written.
    let fits = |grown: f64| grown >= sent - slack && grown <= sent + slack + 1.0;
    if fits(growth.matching) || fits(growth.largest) {
        return None;
    }
    let grown = number(growth.matching);
    let message = format!("{name} grew {grown} for {} requests on {}", seen.sent, seen.route);
    if growth.matching < sent - slack {
        let fix = "middleware is mounted after the router, or counts on another port";
        fails.push(finding(
            "counter-stuck",
            Severity::High,
            name,
            format!("{message}: {fix}"),
            "count in the outermost middleware",
        ));
        return None;
    }
    // Others use the target: then the number says nothing.
    if seen.idle > 1.0 + slack {
        return Some(
            Outcome::error("noisy", format!("{message}, but also {} while nothing was sent", number(seen.idle)))
                .hint("run while nobody else uses the target, or set route to one that nobody calls"),
        );
    }
    fails.push(finding("counted-twice", Severity::High, name, message, "mount the middleware once"));
    None
}

fn judge_scraper(seen: &Seen, now: Timestamp, fails: &mut Vec<Finding>, warns: &mut Vec<Finding>) {
    let endpoint = redact_url(&seen.endpoint);
    match &seen.scraper {
        Scraper::Watch(true) => {}
        Scraper::Watch(false) => warns.push(finding(
            "not-scraped",
            Severity::Medium,
            &endpoint,
            "nobody is known to scrape it",
            "set prometheus in [gates.monitoring.metrics], or watch it: [metric.app.from.prometheus]",
        )),
        Scraper::NoSuchTarget => fails.push(finding(
            "not-a-target",
            Severity::High,
            &endpoint,
            "Prometheus has no such target",
            "add it to scrape_configs",
        )),
        Scraper::Blind(name) => fails.push(finding(
            "not-queryable",
            Severity::High,
            name,
            format!("Prometheus scrapes the target, but {name} has no series there"),
            "look for metric_relabel_configs that drop it",
        )),
        Scraper::Target(target) => {
            if let Some(trouble) = target.trouble(now) {
                fails.push(finding("target-down", Severity::High, &endpoint, trouble, "mend the scrape"));
            }
        }
    }
}

fn conclude(seen: &Seen, config: &Config, fails: Vec<Finding>, warns: Vec<Finding>, error: Option<Outcome>) -> Outcome {
    let more = |n: usize| if n > 1 { format!(" and {} more", n - 1) } else { String::new() };
    let grown = seen.growth.as_ref().map(|g| g.matching);
    let moved = match (&seen.red.requests, grown) {
        (Some(requests), Some(grown)) => format!("{} grew {} for {} requests", requests.name, number(grown), seen.sent),
        _ => format!("{} series", seen.series),
    };
    let outcome = match (fails.first(), error, warns.first()) {
        (Some(first), _, _) => Outcome::fail(format!("{}{}", first.message, more(fails.len()))).hint(first.fix.clone()),
        (None, Some(error), _) => error,
        (None, None, Some(first)) => {
            Outcome::warn(format!("{moved}, but {}{}", first.message, more(warns.len()))).hint(first.fix.clone())
        }
        (None, None, None) => Outcome::pass(format!("{moved}; {} families, {} series", seen.families, seen.series)),
    };
    let outcome = if outcome.reason.is_none() { outcome.tier(Tier::E3) } else { outcome };
    let outcome = match grown {
        Some(grown) => outcome.value(grown, config.requests),
        None => outcome,
    };
    outcome
        .covered(seen.families as u64, seen.families as u64)
        .findings(fails.into_iter().chain(warns).collect())
        .evidence("metrics", evidence(seen))
}

/// Families listed in the evidence.
const EVIDENCE_ROWS_MAX: usize = 200;

fn evidence(seen: &Seen) -> serde_json::Value {
    serde_json::json!({
        "endpoint": redact_url(&seen.endpoint),
        "roles": seen.red,
        "families": seen.families, "series": seen.series,
        "largest": seen.sizes.iter().take(EVIDENCE_ROWS_MAX).collect::<Vec<_>>(),
        "movement": {"route": seen.route, "sent": seen.sent, "growth": seen.growth, "idle": seen.idle},
        "load": seen.total_after_load.as_ref().map(|(load, total)| serde_json::json!({"sent": load.requests, "counted": total})),
        "scraper": seen.scraper,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use axum::Router;
    use axum::extract::Request as Incoming;
    use axum::middleware::{Next, from_fn};
    use axum::routing::get;

    use super::*;
    use crate::domain::verdict::Verdict;
    use crate::gates::testing;

    /// A shop that counts `per_request` for each request that is not for its metrics, and shows what `page` makes of it.
    fn shop(per_request: u64, page: fn(u64, &[String]) -> String) -> Router {
        let count = Arc::new(AtomicU64::new(0));
        let paths = Arc::new(std::sync::Mutex::new(Vec::<String>::new()));
        let (counting, seen) = (count.clone(), paths.clone());
        let metrics = move || {
            let body = page(count.load(Ordering::SeqCst), &paths.lock().unwrap());
            async move { ([("content-type", "text/plain; version=0.0.4")], body) }
        };
        Router::new().route("/", get(|| async { "shop" })).route("/metrics", get(metrics)).layer(from_fn(
            move |request: Incoming, next: Next| {
                let path = request.uri().path().to_string();
                let (counting, seen) = (counting.clone(), seen.clone());
                async move {
                    let answer = next.run(request).await;
                    if path == "/" {
                        counting.fetch_add(per_request, Ordering::SeqCst);
                    } else if path != "/metrics" {
                        seen.lock().unwrap().push(path);
                    }
                    answer
                }
            },
        ))
    }

    fn good(count: u64, _: &[String]) -> String {
        format!(
            "# TYPE http_requests_total counter\nhttp_requests_total{{code=\"200\",route=\"/\"}} {count}\n\
             # TYPE http_request_duration_seconds histogram\nhttp_request_duration_seconds_bucket{{le=\"+Inf\"}} {count}\n\
             http_request_duration_seconds_sum {count}\nhttp_request_duration_seconds_count {count}\n\
             # TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 1\n\
             # TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes 1e7\n"
        )
    }

    async fn serve(router: Router) -> Url {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    async fn run(url: &Url, profile: Profile, change: impl FnOnce(&mut Config), load: Option<LoadTotals>) -> Outcome {
        let (_dir, ctx) = testing::context(|ctx| {
            ctx.target =
                Some(Target { name: "staging".into(), url: url.clone(), ops_url: None, active: false, load: false });
            ctx.profile = profile;
            let mut config = crate::gates::Config::default();
            config.monitoring.metrics.watched = vec![url.clone()];
            change(&mut config.monitoring.metrics);
            ctx.config = Arc::new(config);
            *ctx.load_totals.get_mut().unwrap() = load;
        });
        Metrics.check(&ctx).await
    }

    async fn check(router: Router, verdict: Verdict, rules: &[&str]) -> Outcome {
        let url = serve(router).await;
        let outcome = run(&url, Profile::WebApi, |_| {}, None).await;
        let got: Vec<&str> = outcome.findings.iter().map(|f| f.rule.as_str()).collect();
        assert_eq!((outcome.verdict, got), (verdict, rules.to_vec()), "{outcome:#?}");
        outcome
    }

    #[tokio::test]
    async fn a_counter_that_follows_passes() {
        let outcome = check(shop(1, good), Verdict::Pass, &[]).await;
        assert_eq!(outcome.summary, "http_requests_total grew 20 for 20 requests; 4 families, 6 series");
        assert_eq!(
            (outcome.value, outcome.threshold, outcome.tier),
            (Some(20.0.into()), Some(20.into()), Some(Tier::E3))
        );
    }

    #[tokio::test]
    async fn a_counter_that_does_not_follow_fails() {
        let stuck = check(shop(0, good), Verdict::Fail, &["counter-stuck"]).await;
        assert!(stuck.summary.contains("grew 0 for 20 requests on /"), "{}", stuck.summary);
        check(shop(2, good), Verdict::Fail, &["counted-twice"]).await;
    }

    #[tokio::test]
    async fn missing_parts_of_red() {
        let without = |_: u64, _: &[String]| {
            "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 1\n".to_string()
        };
        check(shop(1, without), Verdict::Fail, &["no-request-counter", "no-latency", "no-process-metrics"]).await;
        let no_status = |n: u64, p: &[String]| good(n, p).replace("{code=\"200\",route=\"/\"}", "");
        check(shop(1, no_status), Verdict::Fail, &["no-status-label"]).await;
    }

    #[tokio::test]
    async fn raw_paths_in_labels_warn() {
        let raw = |n: u64, paths: &[String]| {
            let rows: String =
                paths.iter().map(|p| format!("http_requests_total{{code=\"404\",route=\"{p}\"}} 1\n")).collect();
            good(n, paths).replacen("# TYPE http_request_d", &format!("{rows}# TYPE http_request_d"), 1)
        };
        let outcome = check(shop(1, raw), Verdict::Warn, &["raw-path-label"]).await;
        assert!(outcome.summary.contains("took an unknown path into label route"), "{}", outcome.summary);
    }

    #[tokio::test]
    async fn workers_with_a_registry_each_fail() {
        let turn = Arc::new(AtomicU64::new(0));
        let page = move || {
            let turn = turn.fetch_add(1, Ordering::SeqCst);
            async move { ([("content-type", "text/plain")], good(100 * (turn % 2) + turn, &[])) }
        };
        let router = Router::new().route("/", get(|| async { "" })).route("/metrics", get(page));
        check(router, Verdict::Fail, &["backwards"]).await;
    }

    #[tokio::test]
    async fn the_load_test_must_be_counted() {
        let url = serve(shop(1, good)).await;
        let load = LoadTotals { requests: 5000, ..LoadTotals::default() };
        let outcome = run(&url, Profile::WebApi, |_| {}, Some(load)).await;
        assert_eq!(outcome.findings[0].rule, "load-not-counted", "{outcome:#?}");
        let load = LoadTotals { requests: 10, ..LoadTotals::default() };
        assert_eq!(run(&url, Profile::WebApi, |_| {}, Some(load)).await.verdict, Verdict::Pass);
    }

    #[tokio::test]
    async fn somebody_must_scrape() {
        let url = serve(shop(1, good)).await;
        let outcome = run(&url, Profile::WebApi, |c| c.watched.clear(), None).await;
        assert_eq!((outcome.verdict, outcome.findings[0].rule.as_str()), (Verdict::Warn, "not-scraped"));

        let prometheus = |health: &'static str, scraped: Url, result: serde_json::Value| {
            let targets = serde_json::json!({"data": {"activeTargets": [{"scrapeUrl": scraped.as_str(), "health": health, "lastError": "", "scrapeInterval": "15s"}]}});
            let query = serde_json::json!({"data": {"result": result}});
            serve(
                Router::new()
                    .route("/api/v1/targets", get(move || async move { axum::Json(targets) }))
                    .route("/api/v1/query", get(move || async move { axum::Json(query) })),
            )
        };
        let metrics = url.join("/metrics").unwrap();
        let one = serde_json::json!([{"value": [0, "1"]}]);
        for (health, scraped, result, expect) in [
            ("up", metrics.clone(), one.clone(), None),
            ("down", metrics.clone(), one.clone(), Some("target-down")),
            ("up", metrics.clone(), serde_json::json!([]), Some("not-queryable")),
            ("up", url.join("/other").unwrap(), one, Some("not-a-target")),
        ] {
            let server = prometheus(health, scraped, result).await;
            let outcome = run(&url, Profile::WebApi, |c| c.prometheus = Some(server), None).await;
            assert_eq!(outcome.findings.first().map(|f| f.rule.as_str()), expect, "{outcome:#?}");
        }
    }

    #[tokio::test]
    async fn a_worker_counts_work() {
        let jobs = |_: u64, _: &[String]| {
            "# TYPE jobs_processed_total counter\njobs_processed_total 7\n# TYPE process_cpu_seconds_total counter\n\
             process_cpu_seconds_total 1\n# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes 1\n"
                .to_string()
        };
        let url = serve(shop(1, jobs)).await;
        assert_eq!(run(&url, Profile::Worker, |_| {}, None).await.verdict, Verdict::Pass);
        assert_eq!(run(&url, Profile::WebApi, |_| {}, None).await.verdict, Verdict::Fail);
    }

    #[tokio::test]
    async fn broken_missing_locked_and_down() {
        let with = |status: u16, kind: &'static str, body: &'static str| {
            let page = move || async move {
                (axum::http::StatusCode::from_u16(status).unwrap(), [("content-type", kind)], body)
            };
            Router::new().route("/", get(|| async { "" })).route("/metrics", get(page))
        };
        check(with(200, "text/plain", "up one\n"), Verdict::Fail, &["broken-exposition"]).await;
        check(with(404, "text/plain", ""), Verdict::Fail, &["no-metrics"]).await;
        check(with(200, "text/html", "<p>shop</p>"), Verdict::Fail, &["no-metrics"]).await;
        let locked = check(with(401, "text/plain", ""), Verdict::Error, &[]).await;
        assert_eq!(locked.reason.as_deref(), Some("no-credentials"));
        let closed = Url::parse("http://127.0.0.1:1/").unwrap();
        let down = run(&closed, Profile::WebApi, |_| {}, None).await;
        assert_eq!((down.verdict, down.reason.as_deref()), (Verdict::Error, Some("unreachable")));
    }

    #[test]
    fn restarts_and_turns() {
        assert!(grew_once(&[Some(1.0), Some(1.0), Some(2.0)]));
        assert!(!grew_once(&[Some(1.0), Some(2.0), Some(1.0)]) && !grew_once(&[None, None]));
    }

    #[test]
    fn config_is_checked() {
        assert_eq!(Config::default().validate(), []);
        let bad = Config { paths: vec!["metrics".into()], route: Some("x".into()), requests: 1, ..Config::default() };
        assert_eq!(bad.validate().len(), 3);
    }
}
