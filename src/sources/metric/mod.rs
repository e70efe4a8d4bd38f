//! Metric sources: the trait and the registry. `collector.rs` adds target labels, `up`, report series, staleness, gaps.
//!
//! One file per source, one shape: `Config`, `validate`, `build`, `poll`. Copy `prometheus.rs` for a new one, add a
//! variant to [`From`], and the compiler names the rest. Must not know the store, nor who polls when.

mod collector;
pub mod host;
pub mod http;
mod memory;
pub mod prometheus;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::domain::clock::{SharedClock, Timestamp};
use crate::domain::gap::{Gap, GapReason};
use crate::domain::metric::{LabelledSample, Labels, Metadata, NAME, Round, Sample};
use crate::domain::problem::Problem;
use crate::domain::secret::{Secret, authorization};
use crate::domain::units::Span;
use crate::net::{Client, Request};

pub use crate::domain::secret::BasicAuth;

pub use collector::Collector;

/// `[metric.NAME]`: one source of series. The kind is a key: `[metric.app.from.prometheus]`.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub from: From,
}

/// The registry of metric sources.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum From {
    /// Scrape Prometheus text or OpenMetrics.
    Prometheus(prometheus::Config),
    /// Probe a URL.
    Http(http::Config),
    /// This machine: CPU, memory, disks, load.
    Host(host::Config),
}

impl From {
    /// The kind's key in the configuration.
    pub fn word(&self) -> &'static str {
        match self {
            From::Prometheus(_) => "prometheus",
            From::Http(_) => "http",
            From::Host(_) => "host",
        }
    }
}

/// One good answer of a source, before the collector has added anything.
#[derive(Debug, Clone, Default)]
pub struct Scrape {
    /// Without `job`/`instance`: the collector adds them. A sample whose time is not the slot's brought its own.
    pub samples: Vec<LabelledSample>,
    /// Instead of `samples`, with all their labels.
    pub round: Option<Round>,
    pub metadata: Arc<Vec<Metadata>>,
    pub body_bytes: u64,
}

/// A failed poll: never evidence of recovery, always a gap with a reason. `detail` is redacted.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}: {detail}", .reason.word())]
pub struct SourceError {
    pub reason: GapReason,
    pub detail: String,
    /// Series that describe the failure itself.
    pub samples: Vec<LabelledSample>,
}

impl SourceError {
    pub fn new(reason: GapReason, detail: impl AsRef<str>) -> SourceError {
        SourceError { reason, detail: crate::domain::secret::redact(detail.as_ref()), samples: Vec::new() }
    }
}

impl std::convert::From<crate::net::NetError> for SourceError {
    fn from(error: crate::net::NetError) -> SourceError {
        SourceError::new(error.gap_reason(), error.to_string())
    }
}

pub trait MetricSource: Send + Sync {
    /// Looks once. `slot` is the timestamp samples without one of their own get.
    fn poll<'a>(&'a self, slot: Timestamp) -> BoxFuture<'a, Result<Scrape, SourceError>>;
}

/// What goes to the store after one poll: samples (with `up`, report series, stale markers), metadata, and the gap.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub target: String,
    pub rounds: Vec<Round>,
    /// In no round.
    pub samples: Vec<LabelledSample>,
    /// Only when it differs from the poll before.
    pub metadata: Vec<Metadata>,
    pub gap: Option<Gap>,
}

impl Batch {
    pub fn sample_count(&self) -> usize {
        self.samples.len() + self.rounds.iter().map(|round| round.samples.len()).sum::<usize>()
    }
    /// With everything in `samples`.
    pub fn flattened(mut self) -> Batch {
        let of_rounds: Vec<LabelledSample> =
            self.rounds.drain(..).flat_map(|r| r.listed().collect::<Vec<_>>()).collect();
        self.samples.splice(..0, of_rounds);
        self
    }
}

/// What building a source may need.
#[derive(Clone)]
pub struct Context {
    pub client: Client,
    pub clock: SharedClock,
    /// Seeds the schedule's offset so that instances do not poll in step.
    pub instance_seed: u64,
    /// The service most sources belong to when the configuration names only one.
    pub default_service: Option<String>,
}

/// All problems of one `[metric.NAME]`, with paths from `from.KIND` on. Pure: no network, no files.
pub fn validate(config: &Config) -> Vec<Problem> {
    let result = match &config.from {
        From::Prometheus(c) => c.validate().map(drop),
        From::Http(c) => c.validate().map(drop),
        From::Host(c) => c.validate().map(drop),
    };
    under(&config.from, result.err().unwrap_or_default())
}

/// Builds the collectors of one `[metric.NAME]`. Paths of problems start at `from.KIND`: the caller knows the rest.
pub fn build(name: &str, config: &Config, ctx: &Context) -> Result<Vec<Collector>, Vec<Problem>> {
    let built = match &config.from {
        From::Prometheus(c) => c.validate().and_then(|checked| checked.build(name, ctx)),
        From::Http(c) => c.validate().and_then(|checked| checked.build(name, ctx)),
        From::Host(c) => c.validate().and_then(|checked| checked.build(name, ctx)),
    };
    built.map_err(|problems| under(&config.from, problems))
}

fn under(from: &From, problems: Vec<Problem>) -> Vec<Problem> {
    problems.into_iter().map(|p| p.under(&["from", from.word()])).collect()
}

/// Shorter intervals than this would measure us more than the target.
const INTERVAL_MIN: Span = Span::millis(500);
/// Longer ones are older than PromQL looks back (5 min), so the series would flicker.
const INTERVAL_MAX: Span = Span::secs(240);

fn check_times(interval: Span, timeout: Option<Span>, problems: &mut Vec<Problem>) {
    if !(INTERVAL_MIN..=INTERVAL_MAX).contains(&interval) {
        problems.push(
            Problem::at(["interval"], format!("{interval} is not between {INTERVAL_MIN} and {INTERVAL_MAX}"))
                .hint("15s suits most; queries look back 5 minutes"),
        );
    }
    if let Some(timeout) = timeout
        && (timeout > interval || timeout == Span::default())
    {
        problems.push(Problem::at(["timeout"], format!("must be above 0 and at most the interval, {interval}")));
    }
}

fn check_url(url: &Url, key: &str, problems: &mut Vec<Problem>) {
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        problems.push(Problem::at([key], "must be an http:// or https:// URL with a host"));
    }
    if url.password().is_some() {
        problems.push(
            Problem::at([key], "holds a password")
                .hint("use basic_auth = { username = \"…\", password = \"${env:NAME}\" }"),
        );
    }
}

/// Label names ours may not collide with, and the grammar of the rest.
fn check_labels(labels: &BTreeMap<String, String>, problems: &mut Vec<Problem>) {
    for name in labels.keys() {
        let legal =
            name.bytes().enumerate().all(|(i, b)| b.is_ascii_alphabetic() || b == b'_' || i > 0 && b.is_ascii_digit());
        if name.is_empty() || !legal || name.starts_with("__") {
            problems.push(Problem::at(["labels", name], "is not a label name").hint("letters, digits and _"));
        } else if ["job", "instance", "service"].contains(&name.as_str()) {
            problems.push(Problem::at(["labels", name], "is set by hypercare itself"));
        }
    }
}

/// The service of a source: its own, or the only one there is.
fn service_of(own: Option<&String>, ctx: &Context) -> Result<String, Vec<Problem>> {
    own.or(ctx.default_service.as_ref()).cloned().ok_or_else(|| {
        vec![Problem::at(["service"], "which service do these series describe?").hint("add service = \"NAME\"")]
    })
}

/// `host:port` of a URL, the value of label `instance`.
fn instance_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or("");
    url.port_or_known_default().map_or_else(|| host.to_string(), |port| format!("{host}:{port}"))
}

/// How a source shows who it is. Read at each use, so that a rotation needs no restart.
#[derive(Debug, Clone, Default)]
struct Credentials {
    bearer: Option<Secret>,
    basic: Option<BasicAuth>,
}

impl Credentials {
    fn check(&self, problems: &mut Vec<Problem>) {
        if self.bearer.is_some() && self.basic.is_some() {
            problems.push(Problem::at(["basic_auth"], "and bearer_token cannot both be given"));
        }
    }

    fn sign(&self, request: Request) -> Result<Request, SourceError> {
        let missing = |e: crate::domain::secret::SecretError| SourceError::new(GapReason::Disabled, e.to_string());
        let value = authorization(self.bearer.as_ref(), self.basic.as_ref()).map_err(missing)?;
        Ok(match value {
            Some(value) => request.header("authorization", value),
            None => request,
        })
    }
}

/// One sample of a series that hypercare makes itself.
fn sample(name: &str, labels: &[(&str, &str)], slot: Timestamp, value: f64) -> LabelledSample {
    let labels = Labels::new(labels.iter().copied().chain([(NAME, name)]));
    LabelledSample { labels, sample: Sample { t: slot, v: value } }
}

#[cfg(test)]
pub(crate) fn test_context() -> Context {
    Context {
        client: Client::new(),
        clock: crate::domain::clock::SystemClock::shared(),
        instance_seed: 7,
        default_service: Some("shop".into()),
    }
}

/// What a timeout defaults to when the interval is longer.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
