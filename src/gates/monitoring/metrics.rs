//! Gate `monitoring.metrics`: are there metrics, do they follow reality, and does somebody collect them?
//!
//! A `/metrics` page proves little: middleware mounted after the router, a registry per worker or a stale exporter look
//! the same until launch day. So this sends a counted number of requests and holds the counter against it, looks for
//! unknown paths among the labels, and asks who scrapes. Names are found in `red.rs`, Prometheus is read in
//! `prometheus_api.rs`, the verdict is in `judge.rs`. To fix a failure: count in the outermost middleware, on one registry.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use url::Url;

use super::prometheus_api::{self, ScrapeTarget};
use super::red::{self, Given, Growth, Red};
use crate::domain::exposition::{self, Exposition};
use crate::domain::problem::Problem;
use crate::domain::service::Profile;
use crate::domain::verdict::{Class, Finding, Outcome, Severity, Tier};
use crate::gates::context::{LoadTotals, not_asked};
use crate::gates::proof::{Fixture, Page, Proof, REQUESTS};
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage};
use crate::net::safety::{Intent, Prober, Target};
use crate::net::{NetError, Request, Response, redact_url};

mod judge;

use judge::judge;

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

    fn proof(&self) -> Option<Proof> {
        let shop = |what, count: &str| {
            let body = format!(
                "# TYPE http_requests_total counter\nhttp_requests_total{{code=\"200\",route=\"/\"}} {count}\n\
                 # TYPE http_request_duration_seconds histogram\nhttp_request_duration_seconds_bucket{{le=\"+Inf\"}} {count}\n\
                 http_request_duration_seconds_sum {count}\nhttp_request_duration_seconds_count {count}\n\
                 # TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 1\n\
                 # TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes 1e7\n"
            );
            Fixture::of(what).page(Page::json("/", "{}")).page(Page::new("/metrics", "text/plain; version=0.0.4", body))
        };
        Some(Proof {
            good: shop("the counter follows the requests", REQUESTS),
            bad: shop("the counter stands still", "7"),
        })
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

#[cfg(test)]
mod tests;
