//! Series in memory as a [`SeriesReader`].

use futures_util::future::BoxFuture;

use crate::domain::clock::Timestamp;
use crate::domain::metric::{Matcher, ReadError, Sample, Series, SeriesReader};

/// A reader over series held in memory: rule tests, simulations, results of other queries.
#[derive(Debug, Clone, Default)]
pub struct MemoryReader {
    /// Each label set at most once; samples ascending in time.
    pub series: Vec<Series>,
}

impl SeriesReader for MemoryReader {
    fn select<'a>(
        &'a self,
        matchers: &'a [Matcher],
        start: Timestamp,
        end: Timestamp,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Series>, ReadError>> {
        Box::pin(async move {
            let mut left = limit;
            let mut found = Vec::new();
            for series in self.series.iter().filter(|s| matchers.iter().all(|m| m.matches(&s.labels))) {
                let from = series.samples.partition_point(|s| s.t < start);
                let to = series.samples.partition_point(|s| s.t <= end);
                let samples: Vec<Sample> = series.samples.get(from..to).unwrap_or_default().to_vec();
                left = left.checked_sub(samples.len()).ok_or(ReadError::TooManySamples { limit })?;
                if !samples.is_empty() {
                    found.push(Series { labels: series.labels.clone(), samples });
                }
            }
            found.sort_by(|a, b| a.labels.cmp(&b.labels));
            Ok(found)
        })
    }
}
