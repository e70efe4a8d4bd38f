//! Metric source `prometheus`: scrapes Prometheus text or OpenMetrics, as Prometheus would. The reference for a new
//! metric source. Source of the rules: watch.md 2.1.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use url::Url;

use super::collector::{Labeller, Target};
use super::{
    BasicAuth, Collector, Context, Credentials, MetricSource, Scrape, SourceError, TIMEOUT_DEFAULT, check_labels,
    check_times, check_url, instance_of, service_of,
};
use crate::domain::clock::Timestamp;
use crate::domain::exposition::{self, LIMITS, ParseErrorKind, Readings, Template};
use crate::domain::gap::GapReason;
use crate::domain::metric::{Round, Sample};
use crate::domain::problem::Problem;
use crate::domain::secret::Secret;
use crate::domain::units::Span;
use crate::net::{Client, Redirects, Request};

/// What we read, best first; the weights fall so that a server that has all sends OpenMetrics.
pub const ACCEPT: &str = "application/openmetrics-text;version=1.0.0;q=0.6,\
    text/plain;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1";

/// Redirects a target may answer with.
const REDIRECTS_MAX: u8 = 3;

/// Targets of one `[metric.NAME]`: hundreds belong to a service discovery, which is not here.
const TARGETS_MAX: usize = 200;

/// A body longer than this is parsed on a blocking thread, so that it delays no other task.
const PARSE_INLINE_BYTES_MAX: usize = 64 << 10;
/// Where the last body is known, this one most likely has the same lines, and is read several times as fast.
const FOLLOW_INLINE_BYTES_MAX: usize = 256 << 10;

/// `[metric.NAME.from.prometheus]`: scrape Prometheus text or OpenMetrics.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The service these series describe. Default: the only one configured.
    #[serde(default)]
    pub service: Option<String>,
    /// URLs to scrape; one without a path gets `/metrics`.
    pub targets: Vec<Url>,
    /// Time between scrapes. Default 15 s, Prometheus' habit: four samples in a one-minute rate.
    #[serde(default = "interval_default")]
    pub interval: Span,
    /// From connect to last byte. Default: 10 s, or the interval when that is shorter.
    #[serde(default)]
    pub timeout: Option<Span>,
    /// Keep the target's own `job`, `instance` and `service` labels where they conflict with ours. Default: false, theirs
    /// become `exported_…`.
    #[serde(default)]
    pub honor_labels: bool,
    /// Labels added to every series.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Sent as `Authorization: Bearer …`.
    #[serde(default)]
    pub bearer_token: Option<Secret>,
    /// Sent as `Authorization: Basic …`.
    #[serde(default)]
    pub basic_auth: Option<BasicAuth>,
}

fn interval_default() -> Span {
    Span::secs(15)
}

/// A configuration without problems.
pub struct Checked {
    config: Config,
    credentials: Credentials,
}

impl Config {
    /// Finds every problem. Pure.
    pub fn validate(&self) -> Result<Checked, Vec<Problem>> {
        let mut problems = Vec::new();
        let credentials = Credentials { bearer: self.bearer_token.clone(), basic: self.basic_auth.clone() };
        if self.targets.is_empty() || self.targets.len() > TARGETS_MAX {
            problems.push(
                Problem::at(["targets"], format!("must name 1 to {TARGETS_MAX} URLs"))
                    .hint("targets = [\"http://127.0.0.1:9000/metrics\"]"),
            );
        }
        let mut seen = std::collections::BTreeSet::new();
        for url in &self.targets {
            check_url(url, "targets", &mut problems);
            if !seen.insert(url) {
                problems.push(Problem::at(["targets"], format!("{} is listed twice", crate::net::redact_url(url))));
            }
        }
        check_times(self.interval, self.timeout, &mut problems);
        check_labels(&self.labels, &mut problems);
        credentials.check(&mut problems);
        if problems.is_empty() { Ok(Checked { config: self.clone(), credentials }) } else { Err(problems) }
    }
}

impl Checked {
    pub(super) fn build(self, job: &str, ctx: &Context) -> Result<Vec<Collector>, Vec<Problem>> {
        let config = &self.config;
        let service = service_of(config.service.as_ref(), ctx)?;
        let timeout = config.timeout.map_or(TIMEOUT_DEFAULT.min(config.interval.get()), Span::get);
        let instances: Vec<String> = config.targets.iter().map(instance_of).collect();
        let collectors = config.targets.iter().zip(&instances).map(|(url, instance)| {
            let mut url = url.clone();
            // Two exporters behind one address differ by their path.
            let shared = instances.iter().filter(|other| *other == instance).count() > 1;
            let instance = if shared { format!("{instance}{}", url.path()) } else { instance.clone() };
            if url.path() == "/" {
                url.set_path("/metrics");
            }
            let target = Target {
                job,
                only: config.targets.len() == 1,
                instance,
                service: service.clone(),
                labels: &config.labels,
                honor_labels: config.honor_labels,
                interval: config.interval.get(),
                timeout,
                sample_limit: LIMITS.samples,
            };
            let source = Source {
                client: ctx.client.clone(),
                url,
                timeout,
                credentials: self.credentials.clone(),
                labeller: target.labeller(),
                template: Mutex::default(),
            };
            Collector::new(target, Box::new(source), ctx)
        });
        Ok(collectors.collect())
    }
}

struct Source {
    client: Client,
    url: Url,
    timeout: Duration,
    credentials: Credentials,
    labeller: Labeller,
    /// Of the last body.
    template: Mutex<Template>,
}

impl MetricSource for Source {
    fn poll<'a>(&'a self, slot: Timestamp) -> BoxFuture<'a, Result<Scrape, SourceError>> {
        self.scrape(slot).boxed()
    }
}

impl Source {
    async fn scrape(&self, slot: Timestamp) -> Result<Scrape, SourceError> {
        let request = Request {
            timeout: self.timeout,
            body_bytes_limit: LIMITS.body_bytes,
            redirects: Redirects::Follow(REDIRECTS_MAX),
            ..Request::get(self.url.clone())
        }
        .header("accept", ACCEPT)
        .header("x-prometheus-scrape-timeout-seconds", self.timeout.as_secs_f64().to_string());
        let response = self.client.send(self.credentials.sign(request)?).await?;
        if response.status != 200 {
            return Err(SourceError::new(GapReason::HttpStatus, format!("status {}", response.status)));
        }
        // Without a content type the oldest format is meant.
        let content_type = response.header("content-type").unwrap_or("text/plain").to_string();
        let body = response.body.clone();
        let mut template = std::mem::take(&mut *self.template.lock().unwrap_or_else(PoisonError::into_inner));
        let (labeller, known) = (self.labeller.clone(), !template.is_empty());
        let parse = move || {
            let complete = |labels| labeller.complete(&labels);
            let parsed = exposition::parse_within(Some(&content_type), &body, &LIMITS, &mut template, &complete);
            (parsed, template)
        };
        let inline_max = if known { FOLLOW_INLINE_BYTES_MAX } else { PARSE_INLINE_BYTES_MAX };
        let (parsed, template) = if response.body.len() <= inline_max {
            parse()
        } else {
            tokio::task::spawn_blocking(parse)
                .await
                .map_err(|e| SourceError::new(GapReason::Parse, format!("parsing stopped: {e}")))?
        };
        *self.template.lock().unwrap_or_else(PoisonError::into_inner) = template;
        let parsed = parsed.map_err(|e| {
            let reason = if e.kind == ParseErrorKind::Limit { GapReason::Limit } else { GapReason::Parse };
            SourceError::new(reason, e.to_string())
        })?;
        Ok(scrape_of(parsed, slot, response.body.len()))
    }
}

fn scrape_of(parsed: Readings, slot: Timestamp, body_bytes: usize) -> Scrape {
    let at = |time: Option<i64>| time.map_or(slot, Timestamp::from_ms);
    let samples = parsed.values.into_iter().map(|(v, time)| Sample { t: at(time), v }).collect();
    let round = Some(Round { roster: parsed.roster, samples });
    Scrape { samples: Vec::new(), round, metadata: parsed.families, body_bytes: body_bytes as u64 }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::{self as metric, Batch, test_context};
    use super::*;
    use crate::domain::metric::is_stale;
    use crate::net::tests_support::{Served, serve};

    const TEXT: &str = "text/plain; version=0.0.4";

    fn build(toml: &str) -> Result<Vec<Collector>, Vec<Problem>> {
        metric::build("app", &toml::from_str(toml).unwrap(), &test_context())
    }
    fn one(url: &str, extra: &str) -> Collector {
        every("1s", url, extra)
    }
    fn every(interval: &str, url: &str, extra: &str) -> Collector {
        let text = format!("[from.prometheus]\ntargets = [\"{url}\"]\ninterval = \"{interval}\"\n{extra}");
        build(&text).unwrap().remove(0)
    }
    async fn gap(answer: Served) -> (GapReason, String) {
        // Time enough for a long body on a busy machine, unless there is none to come.
        let interval = if matches!(answer, Served::Hang) { "1s" } else { "30s" };
        let server = serve(move |_| answer.clone()).await;
        let batch = every(interval, &server.url("/metrics"), "").collect(Timestamp::from_ms(0)).await;
        assert_eq!(value(&batch, "up"), Some(0.0));
        let gap = batch.gap.unwrap();
        (gap.reason, gap.detail)
    }
    fn value(batch: &Batch, name: &str) -> Option<f64> {
        batch.clone().flattened().samples.iter().find(|s| s.labels.name() == name).map(|s| s.sample.v)
    }

    #[tokio::test]
    async fn a_good_scrape_is_labelled_and_a_vanished_series_marked() {
        let polls = AtomicUsize::new(0);
        let server = serve(move |request| {
            assert!(request.contains("accept: application/openmetrics-text") && request.starts_with("GET /metrics "));
            assert!(request.contains("x-prometheus-scrape-timeout-seconds: 1\r\n"), "{request}");
            let second = polls.fetch_add(1, Ordering::SeqCst) > 0;
            let rest = if second { "" } else { "gone{x=\"1\"} 3\n" };
            Served::typed(
                TEXT,
                format!("# HELP a_total A.\n# TYPE a_total counter\na_total 5\nold 1 1000\n{rest}").as_bytes(),
            )
        })
        .await;
        let mut collector = one(&server.url(""), "labels = { zone = \"a\" }");
        let slot = Timestamp::from_ms(1_800_000_000_000);
        let first = collector.collect(slot).await.flattened();
        assert_eq!(first.gap, None);
        let a = &first.samples[0];
        let instance = server.address.to_string();
        assert_eq!(
            a.labels.to_string(),
            format!("a_total{{instance=\"{instance}\",job=\"app\",service=\"shop\",zone=\"a\"}}")
        );
        assert_eq!((a.sample.t, first.samples[1].sample.t.ms()), (slot, 1000));
        assert_eq!((value(&first, "up"), value(&first, "scrape_samples_scraped")), (Some(1.0), Some(3.0)));
        assert_eq!(first.metadata[0].help, "A.");
        let second = collector.collect(slot.plus(Duration::from_secs(1))).await;
        assert!(is_stale(value(&second, "gone").unwrap()));
        assert!(second.metadata.is_empty(), "unchanged");
    }

    #[tokio::test]
    async fn each_failure_has_its_reason() {
        assert_eq!(gap(Served::with(500, &[], b"oops")).await, (GapReason::HttpStatus, "status 500".into()));
        assert_eq!(gap(Served::Hang).await.0, GapReason::Timeout);
        assert_eq!(gap(Served::Close).await.0, GapReason::Parse);
        let (reason, detail) = gap(Served::typed(TEXT, b"a 1\nb{x=} 2\n")).await;
        assert_eq!((reason, detail.as_str()), (GapReason::Parse, "line 2, column 5: expected `\"`, found `}`"));
        assert_eq!(gap(Served::typed("text/html", b"<html>")).await.0, GapReason::Parse);
        let many: String = (0..=LIMITS.samples).map(|i| format!("a{{i=\"{i}\"}} 1\n")).collect();
        assert_eq!(gap(Served::typed(TEXT, many.as_bytes())).await.0, GapReason::Limit);
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&vec![b'\n'; 64 << 20]).unwrap();
        let bomb = encoder.finish().unwrap();
        let packed = Served::with(200, &[("content-type", TEXT), ("content-encoding", "gzip")], &bomb);
        assert_eq!(gap(packed).await.0, GapReason::Limit);
    }

    #[tokio::test]
    async fn an_endless_body_ends_and_a_closed_port_is_a_gap() {
        let server = serve(|_| Served::Endless).await;
        let mut collector = one(&server.url("/metrics"), "");
        let reason = collector.collect(Timestamp::from_ms(0)).await.gap.unwrap().reason;
        assert!(matches!(reason, GapReason::Limit | GapReason::Timeout), "{reason:?}");
        let closed = format!("http://{}", server.address);
        drop(server);
        tokio::task::yield_now().await;
        let gap = one(&closed, "").collect(Timestamp::from_ms(0)).await.gap.unwrap();
        assert_eq!(gap.reason, GapReason::Connect, "{gap:?}");
    }

    #[tokio::test]
    async fn credentials_are_read_at_use_and_stay_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let server = serve(|request| {
            Served::typed(TEXT, format!("ok {}\n", u8::from(request.contains("Bearer t0ps3cret"))).as_bytes())
        })
        .await;
        let mut collector = one(&server.url(""), &format!("bearer_token = \"${{file:{}}}\"", path.display()));
        let batch = collector.collect(Timestamp::from_ms(0)).await;
        assert_eq!(batch.gap.unwrap().reason, GapReason::Disabled, "the file is missing");
        std::fs::write(&path, "t0ps3cret\n").unwrap();
        assert_eq!(value(&collector.collect(Timestamp::from_ms(0)).await, "ok"), Some(1.0));
    }

    #[test]
    fn every_problem_is_found_at_once() {
        let problems = build(
            "[from.prometheus]\ntargets = [\"ftp://x\", \"http://u:p@y\", \"http://z\", \"http://z\"]\ninterval = \"10ms\"\n\
             timeout = \"1m\"\nlabels = { job = \"x\", \"9a\" = \"y\" }",
        )
        .err()
        .unwrap();
        let paths: Vec<String> = problems.iter().map(|p| p.path.join(".")).collect();
        assert_eq!(
            paths,
            ["targets", "targets", "targets", "interval", "timeout", "labels.9a", "labels.job"]
                .map(|p| format!("from.prometheus.{p}"))
        );
        let no_service = Context { default_service: None, ..test_context() };
        let config = toml::from_str("[from.prometheus]\ntargets = [\"http://z\"]").unwrap();
        assert_eq!(
            metric::build("a", &config, &no_service).err().unwrap()[0].path.join("."),
            "from.prometheus.service"
        );
    }

    #[test]
    fn targets_are_told_apart() {
        let built = build("[from.prometheus]\ntargets = [\"http://a:1\", \"http://b:1/x\", \"http://b:1/y\"]").unwrap();
        let names: Vec<&str> = built.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["app/a:1", "app/b:1/x", "app/b:1/y"]);
    }
}
