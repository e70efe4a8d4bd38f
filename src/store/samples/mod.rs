//! `samples.db`: series, samples, gaps. A durable head of recent batches, sealed into compressed chunks.

use futures_util::future::BoxFuture;

use super::state::Result;
use crate::domain::clock::Timestamp;
use crate::domain::gap::Gap;
use crate::domain::metric::{LabelledSample, Matcher, Metadata, ReadError, Series, SeriesReader};

/// Handle on `samples.db`. Cheap to clone.
#[derive(Clone)]
pub struct Samples {}

/// What an append did. Refused samples are counted, never an error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Appended {
    pub accepted: u64,
    pub out_of_order: u64,
    pub duplicate: u64,
    pub too_far_ahead: u64,
    pub series_limit: u64,
    pub new_series: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct SampleStats {
    pub series: u64,
    pub head_samples: u64,
    pub chunk_samples: u64,
    pub chunk_bytes: u64,
    pub file_bytes: u64,
}

impl Samples {
    /// Durable when it returns. Samples of one series must come in ascending time.
    pub async fn append(&self, _batch: Vec<LabelledSample>) -> Result<Appended> {
        unimplemented!()
    }
    pub async fn record_metadata(&self, _metadata: Vec<Metadata>) -> Result<()> {
        unimplemented!()
    }
    pub async fn metadata(&self) -> Result<Vec<Metadata>> {
        unimplemented!()
    }
    /// Extends the last gap of the same target and reason when they touch, else inserts.
    pub async fn record_gap(&self, _gap: Gap) -> Result<()> {
        unimplemented!()
    }
    /// Gaps that overlap `[from, to]`, by start.
    pub async fn gaps(&self, _from: Timestamp, _to: Timestamp) -> Result<Vec<Gap>> {
        unimplemented!()
    }
    pub async fn label_names(&self) -> Result<Vec<String>> {
        unimplemented!()
    }
    pub async fn label_values(&self, _name: &str) -> Result<Vec<String>> {
        unimplemented!()
    }
    /// Label sets of series that match and have samples in the range.
    pub async fn series(
        &self,
        _matchers: &[Matcher],
        _start: Timestamp,
        _end: Timestamp,
    ) -> Result<Vec<crate::domain::metric::Labels>> {
        unimplemented!()
    }
    pub async fn stats(&self) -> Result<SampleStats> {
        unimplemented!()
    }
    /// Seals what is old enough, drops what retention allows; in slices, callable at any time.
    pub async fn maintain(&self, _now: Timestamp, _keep_from: Timestamp) -> Result<()> {
        unimplemented!()
    }
}

impl SeriesReader for Samples {
    fn select<'a>(
        &'a self,
        _matchers: &'a [Matcher],
        _start: Timestamp,
        _end: Timestamp,
        _limit: usize,
    ) -> BoxFuture<'a, std::result::Result<Vec<Series>, ReadError>> {
        unimplemented!()
    }
}
