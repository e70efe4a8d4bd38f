//! Metric sources: the trait, the registry, and the collector that adds `up`, report series, staleness and gaps.

pub mod host;
pub mod http;
pub mod prometheus;

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::domain::clock::{SharedClock, Timestamp};
use crate::domain::gap::{Gap, GapReason};
use crate::domain::metric::{LabelledSample, Metadata};
use crate::domain::problem::Problem;
use crate::net::Client;

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

/// One good answer of a source, before the collector has added anything.
#[derive(Debug, Clone, Default)]
pub struct Scrape {
    /// Without `job`/`instance`: the collector adds them.
    pub samples: Vec<LabelledSample>,
    pub metadata: Vec<Metadata>,
    pub body_bytes: u64,
}

/// A failed poll: never evidence of recovery, always a gap with a reason. `detail` is redacted.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}: {detail}", .reason.word())]
pub struct SourceError {
    pub reason: GapReason,
    pub detail: String,
    /// Series that describe the failure itself (`probe_success 0`, …).
    pub samples: Vec<LabelledSample>,
}

pub trait MetricSource: Send + Sync {
    /// Looks once. `slot` is the timestamp samples without one of their own get.
    fn poll<'a>(&'a self, slot: Timestamp) -> BoxFuture<'a, Result<Scrape, SourceError>>;
}

/// What goes to the store after one poll: samples (with `up`, report series, stale markers), metadata, and the gap.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub target: String,
    pub samples: Vec<LabelledSample>,
    pub metadata: Vec<Metadata>,
    pub gap: Option<Gap>,
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

/// One target of one source, with its schedule and its memory of which series it gave last.
pub struct Collector {
    /// `NAME` or `NAME/instance`: the target in gaps.
    pub name: String,
    pub service: String,
    pub interval: Duration,
    pub timeout: Duration,
    pub source: Box<dyn MetricSource>,
}

impl Collector {
    /// First slot after `after`: absolute multiples of the interval, offset by a hash of name and seed.
    pub fn next_slot(&self, _after: Timestamp) -> Timestamp {
        unimplemented!()
    }
    /// Polls once within the timeout. Never fails: a failure is a gap, `up 0` and stale markers.
    pub async fn collect(&mut self, _slot: Timestamp) -> Batch {
        unimplemented!()
    }
    /// Stale markers for everything, when the target is removed.
    pub fn retire(&mut self, _slot: Timestamp) -> Batch {
        unimplemented!()
    }
}

/// Builds the collectors of one `[metric.NAME]`.
pub fn build(_name: &str, _config: &Config, _ctx: &Context) -> Result<Vec<Collector>, Vec<Problem>> {
    unimplemented!()
}
