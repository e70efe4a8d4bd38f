//! Metric source `http`: asks a URL as a user would and times every phase. Names are blackbox_exporter's, so that known
//! dashboards and rules work. A probe that fails is a good measurement of a bad target: `probe_success 0`, no gap.
//!
//! A failure is confirmed before it may wake anybody: the probe is run again after 5 s and after 10 s where the interval
//! leaves room, and `probe_confirmed_failures` counts failed attempts in a row, across polls too. Rules ask for ≥ 2.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use url::Url;

use super::collector::Target;
use super::{
    BasicAuth, Collector, Context, Credentials, MetricSource, Scrape, SourceError, check_labels, check_times,
    check_url, instance_of, sample, service_of,
};
use crate::domain::clock::Timestamp;
use crate::domain::metric::{LabelledSample, Metadata, MetricKind};
use crate::domain::problem::Problem;
use crate::domain::secret::Secret;
use crate::domain::units::Span;
use crate::net::client::NetError;
use crate::net::probe::{Phases, ProbeFailed, Probed, probe_trusting};
use crate::net::tls::Trust;
use crate::net::{Redirects, Request};

/// When a failed probe is run again, from the start of the first attempt.
const CONFIRM_AFTER: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(10)];

/// What is read of an answer.
const BODY_BYTES_MAX: usize = 1 << 20;

/// Redirects followed unless the configuration says otherwise.
const REDIRECTS_DEFAULT: u8 = 5;

/// `[metric.NAME.from.http]`: probe a URL.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The service this probe watches. Default: the only one configured.
    #[serde(default)]
    pub service: Option<String>,
    pub url: Url,
    /// Default: GET.
    #[serde(default = "method_default")]
    pub method: String,
    /// Sent with the request. Credentials belong in `bearer_token` or `basic_auth`.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Sent as it is.
    #[serde(default)]
    pub body: Option<String>,
    /// What a good answer looks like. Default: any 2xx.
    #[serde(default)]
    pub expect: Expect,
    /// How many redirects are followed; 0 judges the redirect itself. Default: 5.
    #[serde(default = "redirects_default")]
    pub redirects: u8,
    /// Time between probes. Default: 15 s.
    #[serde(default = "interval_default")]
    pub interval: Span,
    /// Of one attempt, from name look-up to last byte. Default: 5 s, or the interval when that is shorter.
    #[serde(default)]
    pub timeout: Option<Span>,
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

fn method_default() -> String {
    "GET".into()
}
fn redirects_default() -> u8 {
    REDIRECTS_DEFAULT
}
fn interval_default() -> Span {
    Span::secs(15)
}
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// What a good answer looks like.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// Accepted statuses. Default: 200 to 299.
    pub status: Vec<u16>,
    /// Regular expression that must be found in the body (of which 1 MiB is read).
    pub body: Option<String>,
    /// Slower than this is a failure. Default: only the timeout counts.
    pub max_latency: Option<Span>,
}

/// A configuration without problems.
pub struct Checked {
    config: Config,
    body: Option<regex::Regex>,
    credentials: Credentials,
}

impl Config {
    /// Finds every problem. Pure.
    pub fn validate(&self) -> Result<Checked, Vec<Problem>> {
        let mut problems = Vec::new();
        let credentials = Credentials { bearer: self.bearer_token.clone(), basic: self.basic_auth.clone() };
        check_url(&self.url, "url", &mut problems);
        check_times(self.interval, self.timeout, &mut problems);
        check_labels(&self.labels, &mut problems);
        credentials.check(&mut problems);
        if self.method.is_empty() || !self.method.bytes().all(|b| b.is_ascii_uppercase()) {
            problems.push(Problem::at(["method"], "is not an HTTP method").hint("GET, HEAD, POST, …"));
        }
        if let Some(bad) = self.expect.status.iter().find(|s| !(100..600).contains(*s)) {
            problems.push(Problem::at(["expect", "status"], format!("{bad} is not an HTTP status")));
        }
        let body = self.expect.body.as_deref().map(regex::Regex::new).transpose().unwrap_or_else(|e| {
            problems.push(Problem::at(["expect", "body"], format!("is not a regular expression: {}", last_line(&e))));
            None
        });
        if problems.is_empty() { Ok(Checked { config: self.clone(), body, credentials }) } else { Err(problems) }
    }
}

/// regex explains itself over many lines; the last one says what is wrong.
fn last_line(error: &regex::Error) -> String {
    error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_string()
}

impl Checked {
    pub(super) fn build(self, job: &str, ctx: &Context) -> Result<Vec<Collector>, Vec<Problem>> {
        let service = service_of(self.config.service.as_ref(), ctx)?;
        let interval = self.config.interval.get();
        let timeout = self.config.timeout.map_or(TIMEOUT_DEFAULT.min(interval), Span::get);
        let labels = self.config.labels.clone();
        let target = Target {
            job,
            only: true,
            instance: instance_of(&self.config.url),
            service,
            labels: &labels,
            honor_labels: false,
            interval,
            // The attempts keep their own timeout; together they fit into the interval.
            timeout: interval,
            sample_limit: 0,
        };
        let source = Source {
            checked: self,
            trust: Trust::system(),
            timeout,
            confirm: CONFIRM_AFTER.into_iter().filter(|after| *after + timeout <= interval).collect(),
            failures: AtomicU32::new(0),
        };
        Ok(vec![Collector::new(target, Box::new(source), ctx)])
    }
}

struct Source {
    checked: Checked,
    trust: Trust,
    timeout: Duration,
    confirm: Vec<Duration>,
    /// Failed attempts in a row.
    failures: AtomicU32,
}

/// Why an attempt failed; the word is the label of `probe_failure`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Dns,
    Connect,
    Tls,
    Timeout,
    Limit,
    Protocol,
    Refused,
    Secret,
    Status,
    Body,
    Latency,
}

impl Why {
    fn word(self) -> &'static str {
        match self {
            Why::Dns => "dns",
            Why::Connect => "connect",
            Why::Tls => "tls",
            Why::Timeout => "timeout",
            Why::Limit => "limit",
            Why::Protocol => "protocol",
            Why::Refused => "refused",
            Why::Secret => "secret",
            Why::Status => "status",
            Why::Body => "body",
            Why::Latency => "latency",
        }
    }
    fn of(error: &NetError) -> Why {
        match error {
            NetError::Dns(_) => Why::Dns,
            NetError::Connect(_) => Why::Connect,
            NetError::Tls(_) => Why::Tls,
            NetError::Timeout(_) => Why::Timeout,
            NetError::BodyTooLarge(_) => Why::Limit,
            NetError::Protocol(_) => Why::Protocol,
            NetError::Refused(_) | NetError::Stopped(_) => Why::Refused,
        }
    }
}

/// One attempt, judged.
struct Attempt {
    answer: Option<Probed>,
    phases: Phases,
    why: Option<Why>,
}

impl MetricSource for Source {
    fn poll<'a>(&'a self, slot: Timestamp) -> BoxFuture<'a, Result<Scrape, SourceError>> {
        self.look(slot).boxed()
    }
}

impl Source {
    async fn look(&self, slot: Timestamp) -> Result<Scrape, SourceError> {
        let started = tokio::time::Instant::now();
        let first = self.attempt().await;
        let mut failures = self.count(&first);
        if first.why.is_some() {
            for after in &self.confirm {
                tokio::time::sleep_until(started + *after).await;
                failures = self.count(&self.attempt().await);
                if failures == 0 {
                    break;
                }
            }
        }
        let mut samples = series(&first, self.checked.body.is_some(), slot);
        samples.push(sample("probe_confirmed_failures", &[], slot, failures.into()));
        Ok(Scrape {
            samples,
            round: None,
            metadata: Arc::new(metadata()),
            body_bytes: first.answer.map_or(0, |a| a.response.body.len() as u64),
        })
    }

    fn count(&self, attempt: &Attempt) -> u32 {
        if attempt.why.is_none() {
            self.failures.store(0, Ordering::Relaxed);
            return 0;
        }
        self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    async fn attempt(&self) -> Attempt {
        let config = &self.checked.config;
        let mut request = Request {
            method: config.method.clone(),
            body: config.body.clone().unwrap_or_default().into(),
            timeout: self.timeout,
            body_bytes_limit: BODY_BYTES_MAX,
            truncate: true,
            redirects: if config.redirects == 0 { Redirects::None } else { Redirects::Follow(config.redirects) },
            ..Request::get(config.url.clone())
        };
        request.headers.extend(config.headers.iter().map(|(n, v)| (n.clone(), v.clone())));
        let Ok(request) = self.checked.credentials.sign(request) else {
            return Attempt { answer: None, phases: Phases::default(), why: Some(Why::Secret) };
        };
        match probe_trusting(&self.trust, request).await {
            Ok(probed) => Attempt { why: self.judge(&probed), phases: probed.phases, answer: Some(probed) },
            Err(ProbeFailed { error, phases }) => Attempt { answer: None, phases, why: Some(Why::of(&error)) },
        }
    }

    fn judge(&self, probed: &Probed) -> Option<Why> {
        let expect = &self.checked.config.expect;
        let status = probed.response.status;
        let is_expected =
            if expect.status.is_empty() { (200..300).contains(&status) } else { expect.status.contains(&status) };
        if !is_expected {
            return Some(Why::Status);
        }
        if self.checked.body.as_ref().is_some_and(|body| !body.is_match(&probed.response.text())) {
            return Some(Why::Body);
        }
        let is_slow = expect.max_latency.is_some_and(|max| probed.response.duration > max.get());
        is_slow.then_some(Why::Latency)
    }
}

/// The series of one attempt. What is unknown is absent, never zero.
fn series(attempt: &Attempt, has_regex: bool, slot: Timestamp) -> Vec<LabelledSample> {
    let total: Duration = attempt.phases.named().iter().map(|(_, d)| *d).sum();
    let mut out = vec![
        sample("probe_success", &[], slot, f64::from(u8::from(attempt.why.is_none()))),
        sample("probe_duration_seconds", &[], slot, total.as_secs_f64()),
        sample("probe_dns_lookup_time_seconds", &[], slot, attempt.phases.resolve.as_secs_f64()),
    ];
    for (phase, time) in attempt.phases.named() {
        out.push(sample("probe_http_duration_seconds", &[("phase", phase)], slot, time.as_secs_f64()));
    }
    if let Some(why) = attempt.why {
        out.push(sample("probe_failure", &[("reason", why.word())], slot, 1.0));
    }
    let Some(probed) = &attempt.answer else { return out };
    out.push(sample("probe_http_status_code", &[], slot, probed.response.status.into()));
    out.push(sample("probe_http_redirects", &[], slot, probed.redirects.into()));
    out.push(sample("probe_http_ssl", &[], slot, f64::from(u8::from(probed.tls_version.is_some()))));
    out.push(sample("probe_http_uncompressed_body_length", &[], slot, probed.response.body.len() as f64));
    out.push(sample("probe_ip_protocol", &[], slot, if probed.address.is_ipv4() { 4.0 } else { 6.0 }));
    if has_regex {
        let failed = f64::from(u8::from(attempt.why == Some(Why::Body)));
        out.push(sample("probe_failed_due_to_regex", &[], slot, failed));
    }
    if let Some(expiry) = probed.cert_expiry {
        out.push(sample("probe_ssl_earliest_cert_expiry", &[], slot, expiry.seconds()));
    }
    if let Some(facts) = &probed.response.tls {
        // Rules compare what is left with the whole lifetime: fixed days are wrong for 47-day certificates.
        let lifetime = facts.not_after.since(facts.not_before).as_secs_f64();
        out.push(sample("probe_ssl_leaf_lifetime_seconds", &[], slot, lifetime));
    }
    if let Some(version) = &probed.tls_version {
        out.push(sample("probe_tls_version_info", &[("version", version)], slot, 1.0));
    }
    out
}

fn metadata() -> Vec<Metadata> {
    [
        ("probe_success", "", "1 when the probe saw what it expects."),
        ("probe_duration_seconds", "seconds", "Time of the whole probe."),
        ("probe_http_duration_seconds", "seconds", "Time by phase, summed over redirects."),
        ("probe_http_status_code", "", "Status of the last answer."),
        ("probe_dns_lookup_time_seconds", "seconds", "Time of the name look-up."),
        (
            "probe_ssl_earliest_cert_expiry",
            "seconds",
            "Earliest end of validity in the chain, seconds since the epoch.",
        ),
        ("probe_failed_due_to_regex", "", "1 when the body lacks what it must contain."),
        ("probe_failure", "", "1 with the reason of a failed probe."),
        ("probe_confirmed_failures", "", "Failed attempts in a row."),
    ]
    .into_iter()
    .map(|(family, unit, help)| Metadata {
        family: family.into(),
        kind: MetricKind::Gauge,
        help: help.into(),
        unit: unit.into(),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::{self as metric, Batch, test_context};
    use super::*;
    use crate::domain::metric::is_stale;
    use crate::net::tests_support::{Served, https, serve};

    fn build(toml: &str) -> Result<Vec<Collector>, Vec<Problem>> {
        metric::build("home", &toml::from_str(toml).unwrap(), &test_context())
    }
    fn one(url: &str, extra: &str) -> Collector {
        build(&format!("[from.http]\nurl = \"{url}\"\ninterval = \"2s\"\n{extra}")).unwrap().remove(0)
    }
    fn value(batch: &Batch, name: &str) -> Option<f64> {
        batch.clone().flattened().samples.iter().find(|s| s.labels.name() == name).map(|s| s.sample.v)
    }
    fn reason(batch: &Batch) -> Option<String> {
        let mut all = batch.clone().flattened().samples.into_iter();
        let found = all.find(|s| s.labels.name() == "probe_failure" && !is_stale(s.sample.v));
        found.and_then(|s| s.labels.get("reason").map(String::from))
    }
    const SLOT: Timestamp = Timestamp::from_ms(1_800_000_000_000);

    #[tokio::test]
    async fn a_good_answer_has_phases_status_and_no_failure() {
        let server = serve(|_| Served::ok("Your Basket is empty")).await;
        let batch = one(&server.url("/"), "expect = { status = [200], body = \"Basket\" }").collect(SLOT).await;
        assert_eq!((value(&batch, "probe_success"), value(&batch, "probe_http_status_code")), (Some(1.0), Some(200.0)));
        assert_eq!((value(&batch, "probe_confirmed_failures"), value(&batch, "up")), (Some(0.0), Some(1.0)));
        assert_eq!((value(&batch, "probe_failed_due_to_regex"), reason(&batch), &batch.gap), (Some(0.0), None, &None));
        let phases = batch
            .clone()
            .flattened()
            .samples
            .iter()
            .filter(|s| s.labels.name() == "probe_http_duration_seconds")
            .count();
        assert_eq!(phases, 5);
        assert_eq!(value(&batch, "probe_ssl_earliest_cert_expiry"), None);
    }

    #[tokio::test]
    async fn failures_say_why_and_are_counted_across_polls() {
        let server = serve(|request| match request.split(' ').nth(1) {
            Some("/500") => Served::with(500, &[], b"oops"),
            Some("/hang") => Served::Hang,
            Some("/close") => Served::Close,
            _ => Served::ok("Sold out"),
        })
        .await;
        for (path, extra, expect) in [
            ("/500", "", "status"),
            ("/", "expect = { status = [204] }", "status"),
            ("/", "expect = { body = \"Basket\" }", "body"),
            ("/", "expect = { max_latency = \"0\" }", "latency"),
            ("/hang", "timeout = \"200ms\"", "timeout"),
            ("/close", "", "protocol"),
        ] {
            let mut collector = one(&server.url(path), extra);
            let batch = collector.collect(SLOT).await;
            assert_eq!(reason(&batch).as_deref(), Some(expect), "{path} {extra}");
            assert_eq!((value(&batch, "probe_success"), value(&batch, "up")), (Some(0.0), Some(1.0)));
            assert_eq!(value(&batch, "probe_confirmed_failures"), Some(1.0));
            assert_eq!(value(&collector.collect(SLOT).await, "probe_confirmed_failures"), Some(2.0));
        }
        assert_eq!(reason(&one("http://nowhere.invalid/", "").collect(SLOT).await).as_deref(), Some("dns"));
    }

    #[tokio::test]
    async fn a_failure_is_confirmed_within_the_interval() {
        let attempts = std::sync::Arc::new(AtomicU32::new(0));
        let seen = attempts.clone();
        let server = serve(move |_| match seen.fetch_add(1, Ordering::SeqCst) {
            0 => Served::with(503, &[], b""),
            _ => Served::ok("recovered"),
        })
        .await;
        let config = format!("[from.http]\nurl = \"{}\"\ninterval = \"15s\"\ntimeout = \"5s\"", server.url("/"));
        let checked = match toml::from_str::<metric::Config>(&config).unwrap().from {
            metric::From::Http(config) => config.validate().ok().unwrap(),
            _ => unreachable!("the test says http"),
        };
        let confirm = [10, 20].map(Duration::from_millis).to_vec();
        let (trust, timeout) = (Trust::system(), Duration::from_secs(5));
        let source = Source { checked, trust, timeout, confirm, failures: AtomicU32::new(0) };
        let scrape = source.poll(SLOT).await.unwrap();
        let find = |name: &str| scrape.samples.iter().find(|s| s.labels.name() == name).unwrap().sample.v;
        assert_eq!(
            (find("probe_success"), find("probe_confirmed_failures")),
            (0.0, 0.0),
            "raw result kept, not confirmed"
        );
        assert_eq!(attempts.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_certificate_shows_its_end_and_a_foreign_one_fails() {
        let (server, trust) = https(|_| Served::ok("x")).await;
        let batch = one(&server.url("/"), "").collect(SLOT).await;
        assert_eq!(reason(&batch).as_deref(), Some("tls"));
        let config: Config = toml::from_str(&format!("url = \"{}\"", server.url("/"))).unwrap();
        let checked = config.validate().ok().unwrap();
        let timeout = Duration::from_secs(5);
        let source = Source { checked, trust, timeout, confirm: vec![], failures: AtomicU32::new(0) };
        let scrape = source.poll(SLOT).await.unwrap();
        let expiry = scrape.samples.iter().find(|s| s.labels.name() == "probe_ssl_earliest_cert_expiry").unwrap();
        assert!(expiry.sample.v > SLOT.seconds());
    }

    #[test]
    fn every_problem_is_found_at_once() {
        let problems = build(
            "[from.http]\nurl = \"file:///etc/passwd\"\nmethod = \"get\"\ninterval = \"1h\"\nexpect = { status = [99], body = \"(\" }",
        )
        .err()
        .unwrap();
        let paths: Vec<String> = problems.iter().map(|p| p.path.join(".")).collect();
        assert_eq!(
            paths,
            ["url", "interval", "method", "expect.status", "expect.body"].map(|p| format!("from.http.{p}"))
        );
    }
}
