//! The door for whole batches: series with many samples each, as remote write, OTLP and `hypercare import` bring them.

use super::StoreError;
use super::samples::{Appended, Samples};
use crate::domain::metric::{LabelledSample, Labels, Sample};

/// Series with their samples in ascending time. A series may come more than once.
pub type SeriesBatch = Vec<(Labels, Vec<Sample>)>;

/// Durable when it returns.
///
/// BRIDGE: `Samples::append` takes one sample at a time. When the samples store takes a batch as it is, this body is the
/// one place to change.
pub async fn take(samples: &Samples, batch: SeriesBatch) -> Result<Appended, StoreError> {
    let total = batch.iter().map(|(_, samples)| samples.len()).sum();
    let mut flat = Vec::with_capacity(total);
    for (labels, samples) in batch {
        flat.extend(samples.into_iter().map(|sample| LabelledSample { labels: labels.clone(), sample }));
    }
    samples.append(flat).await
}
