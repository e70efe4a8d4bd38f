//! What a reader of samples finds: series by number, unpacked one at a time. `metric.rs` has the trait that gives it, and
//! names all of this.

use std::sync::Arc;

use super::clock::Timestamp;
use super::metric::{Labels, ReadError, Sample, Series};
use super::rollup::{RolledScan, Wanted};

/// What a scan should find.
#[derive(Debug, Clone, Copy)]
pub struct Need {
    /// Both inclusive.
    pub start: Timestamp,
    pub end: Timestamp,
    /// Samples in all.
    pub limit: usize,
    /// Where raw samples are gone; `None`: nothing instead of them.
    pub rolled: Option<Wanted>,
}

/// Samples of one series as two columns of one length: times in milliseconds, ascending, and values. Series that were
/// scraped together may share their times.
#[derive(Debug, Clone, Default)]
pub struct Columns {
    pub times: Arc<Vec<i64>>,
    pub values: Vec<f64>,
}

impl Columns {
    /// `times` stay what they are when they are the same again, so that whoever computed something from them sees it.
    pub fn set(&mut self, points: impl ExactSizeIterator<Item = (i64, f64)> + Clone) {
        if self.times.len() != points.len() || points.clone().zip(&*self.times).any(|((t, _), known)| t != *known) {
            self.times = Arc::new(points.clone().map(|(t, _)| t).collect());
        }
        self.values.clear();
        self.values.extend(points.map(|(_, v)| v));
    }
    pub fn samples(&self) -> impl ExactSizeIterator<Item = Sample> {
        self.times.iter().zip(&self.values).map(|(t, v)| Sample { t: Timestamp::from_ms(*t), v: *v })
    }
}

/// Series that were found, by number, in an order that does not depend on how they are stored. Unpacking is arithmetic
/// without I/O: it may be done on threads for that.
pub trait SeriesScan: Send + Sync {
    /// How many there are; some may have no sample.
    fn count(&self) -> usize;
    fn labels(&self, nth: usize) -> &Labels;
    /// Unpacks for one thread, fastest in the order of the numbers.
    fn reader(&self) -> Box<dyn ColumnReader + '_>;
    /// A bound of the samples: what it will cost to unpack them.
    fn samples_at_most(&self) -> usize;
    /// Rollups, when the range begins before raw samples do.
    fn rolled(&self) -> Option<&dyn RolledScan> {
        None
    }
}

pub trait ColumnReader {
    /// The samples of a series replace what is in `columns`.
    fn read(&mut self, nth: usize, columns: &mut Columns) -> Result<(), ReadError>;
}

/// Unpacks all of them, sorted by labels; those without samples are left out.
pub fn unpacked(scan: &dyn SeriesScan) -> Result<Vec<Series>, ReadError> {
    let (mut reader, mut columns, mut found) = (scan.reader(), Columns::default(), Vec::with_capacity(scan.count()));
    for nth in 0..scan.count() {
        reader.read(nth, &mut columns)?;
        if !columns.values.is_empty() {
            found.push(Series { labels: scan.labels(nth).clone(), samples: columns.samples().collect() });
        }
    }
    found.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(found)
}

impl SeriesScan for Vec<Series> {
    fn count(&self) -> usize {
        self.len()
    }
    fn labels(&self, nth: usize) -> &Labels {
        &self[nth].labels
    }
    fn reader(&self) -> Box<dyn ColumnReader + '_> {
        Box::new(self.as_slice())
    }
    fn samples_at_most(&self) -> usize {
        self.iter().map(|s| s.samples.len()).sum()
    }
}

impl ColumnReader for &[Series] {
    fn read(&mut self, nth: usize, columns: &mut Columns) -> Result<(), ReadError> {
        columns.set(self[nth].samples.iter().map(|s| (s.t.ms(), s.v)));
        Ok(())
    }
}
