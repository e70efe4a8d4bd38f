//! The frozen baseline of a launch: what was normal before go-live.

use super::{Result, State};
use crate::domain::clock::Timestamp;

/// One series of figures before go-live, by 5-minute bucket.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct BaselineSeries {
    /// `traffic`, `error_ratio`, `latency_p95`, … or a selector.
    pub name: String,
    /// The PromQL that gave it.
    pub query: String,
    pub unit: String,
    /// (bucket start, mean over the bucket); buckets without data are absent.
    pub points: Vec<(Timestamp, f64)>,
    /// Buckets with data of buckets due, 0 to 1.
    pub coverage: f64,
}

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Baseline {
    pub launch: String,
    pub frozen_at: Timestamp,
    pub from: Timestamp,
    pub to: Timestamp,
    /// SHA-256 over the series.
    pub hash: String,
    pub series: Vec<BaselineSeries>,
}

impl State {
    /// Writes once: a second freeze for the same launch is ignored and returns false.
    pub async fn freeze_baseline(&self, _baseline: &Baseline) -> Result<bool> {
        unimplemented!()
    }
    pub async fn baseline(&self, _launch: &str) -> Result<Option<Baseline>> {
        unimplemented!()
    }
}
