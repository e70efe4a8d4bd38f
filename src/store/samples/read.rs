//! A read: what the index knows at one moment, then the bodies of the pages it names, then samples.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use futures_util::TryStreamExt;
use sqlx::Row;

use super::Inner;
use super::batch::Point;
use super::head::Part;
use super::index::Index;
use super::page::{Directory, Kin, Place};
use super::rollup::Rolled;
use super::splice::{Loaded, Splicer};
use crate::domain::metric::{ColumnReader, Columns, Labels, Matcher, ReadError, SeriesScan};
use crate::domain::rollup::RolledScan;
use crate::store::StoreError;
use crate::store::state::Result;

/// Above this many samples, unpacking leaves the async thread.
const INLINE_SAMPLES_MAX: u64 = 20_000;

/// One series, the head's samples of it, and its places in `Sight::pages` by position.
struct Wanted {
    id: u32,
    labels: Labels,
    head: Part,
    places: Vec<(usize, Place)>,
}

/// A page that has samples of the series wanted.
pub(super) struct Seen {
    pub id: i64,
    pub directory: Arc<Directory>,
}

/// What a read needs, as the index has it at one moment: a sample is in the head or in a page of it, never in neither.
pub(super) struct Sight {
    pub pages: Vec<Seen>,
    series: Vec<Wanted>,
    /// At least so many, and at most.
    pub head_samples: (usize, usize),
    page_samples: u64,
}

impl Sight {
    pub fn of(index: &Index, matchers: &[Matcher], start: i64, end: i64) -> Sight {
        let mut sight = Sight { pages: Vec::new(), series: Vec::new(), head_samples: (0, 0), page_samples: 0 };
        // Series with samples in pages, ascending, and where they stand in `series`.
        let (mut sealed, mut stands) = (Vec::new(), Vec::new());
        let rolled = index.rollups.until().is_some_and(|until| start < until);
        for id in index.select(matchers) {
            let Some(entry) = index.series.get(&id) else { continue };
            let head = entry.head.part(start, end);
            if head.samples_at_most() == 0 && !rolled && entry.sealed_to.is_none_or(|t| t < start) {
                // Thirteen months of series that ended should not slow down what is asked of today.
                continue;
            }
            sight.head_samples.0 += head.samples_at_least();
            sight.head_samples.1 += head.samples_at_most();
            if entry.sealed_to.is_some_and(|t| t >= start) {
                sealed.push(id);
                stands.push(sight.series.len());
            }
            sight.series.push(Wanted { id, labels: entry.labels.clone(), head, places: Vec::new() });
        }
        let mut pages: Vec<_> = index.pages.iter().filter(|(_, p)| p.start <= end && p.end >= start).collect();
        pages.sort_by_key(|(id, p)| (p.start, **id));
        for (id, page) in pages {
            let before = sight.page_samples;
            page.directory.each(&sealed, (start, end), |at, place| {
                sight.page_samples += page.directory.count(place);
                sight.series[stands[at]].places.push((sight.pages.len(), place));
            });
            if sight.page_samples > before {
                sight.pages.push(Seen { id: *id, directory: page.directory.clone() });
            }
        }
        sight
    }

    /// Small enough to be unpacked where it is asked for.
    pub fn is_small(&self) -> bool {
        // The head's unpack several times as fast.
        self.page_samples + self.head_samples.1 as u64 / 4 < INLINE_SAMPLES_MAX
    }

    /// The series by number; `loaded` are the pages in the order of `pages`.
    pub fn scan(mut self, loaded: Vec<Loaded>, range: (i64, i64), limit: usize) -> Scan {
        // Equal whatever page a series is in, and the order of the columns in each.
        self.series.sort_by(|a, b| Kin::of(&a.labels).cmp(&Kin::of(&b.labels)));
        let bound = self.head_samples.1 + self.page_samples as usize;
        let pages = self.pages.iter().map(|p| p.id).collect();
        Scan { series: self.series, bound, pages, loaded, range, limit, read: AtomicUsize::new(0), rolled: None }
    }
}

/// See [`Sight::scan`].
pub(super) struct Scan {
    series: Vec<Wanted>,
    bound: usize,
    pages: Vec<i64>,
    loaded: Vec<Loaded>,
    range: (i64, i64),
    limit: usize,
    /// Samples, by all readers.
    read: AtomicUsize,
    /// When the range begins before raw samples do.
    pub rolled: Option<Rolled>,
}

impl Scan {
    /// By number.
    pub fn ids(&self) -> Vec<u32> {
        self.series.iter().map(|s| s.id).collect()
    }
}

impl SeriesScan for Scan {
    fn count(&self) -> usize {
        self.series.len()
    }
    fn labels(&self, nth: usize) -> &Labels {
        &self.series[nth].labels
    }
    fn reader(&self) -> Box<dyn ColumnReader + '_> {
        Box::new(ScanReader { scan: self, splicer: Splicer::new(&self.loaded, self.range), head: Vec::new() })
    }
    fn samples_at_most(&self) -> usize {
        self.bound + self.rolled.as_ref().map_or(0, |rolled| rolled.bound)
    }
    fn rolled(&self) -> Option<&dyn RolledScan> {
        self.rolled.as_ref().map(|rolled| rolled as &dyn RolledScan)
    }
}

struct ScanReader<'s> {
    scan: &'s Scan,
    splicer: Splicer<'s>,
    /// Unpacked, of one series.
    head: Vec<Point>,
}

impl ColumnReader for ScanReader<'_> {
    fn read(&mut self, nth: usize, columns: &mut Columns) -> std::result::Result<(), ReadError> {
        let (scan, wanted) = (self.scan, &self.scan.series[nth]);
        self.head.clear();
        wanted.head.read(scan.range.0, scan.range.1, &mut self.head);
        self.splicer
            .read(&wanted.places, &self.head, columns)
            .map_err(|(page, e)| ReadError::Storage(format!("page {}: {e}", scan.pages[page])))?;
        let many = columns.values.len();
        if scan.read.fetch_add(many, Relaxed) + many > scan.limit {
            return Err(ReadError::TooManySamples { limit: scan.limit });
        }
        Ok(())
    }
}

/// The bodies of pages, by number, from memory where they are still there; `None` when one of them is gone.
pub(super) async fn bodies(
    inner: &Inner,
    wanted: BTreeMap<i64, Arc<Directory>>,
) -> Result<Option<BTreeMap<i64, Loaded>>> {
    let mut found = BTreeMap::new();
    let mut ids: Vec<i64> = Vec::new();
    {
        let mut warm = inner.warm();
        for (id, directory) in &wanted {
            match warm.get(*id) {
                Some(body) => _ = found.insert(*id, (directory.clone(), body)),
                None => ids.push(*id),
            }
        }
    }
    if ids.is_empty() {
        return Ok(Some(found));
    }
    let mut reader = inner.db.reader().await?;
    let mut rows =
        sqlx::query("SELECT id, crc, body FROM page WHERE id IN (SELECT value FROM json_each(?1)) ORDER BY id")
            .bind(serde_json::to_string(&ids)?)
            .fetch(&mut *reader);
    while let Some(row) = rows.try_next().await? {
        let (id, crc): (i64, i64) = (row.try_get("id")?, row.try_get("crc")?);
        let body: Vec<u8> = row.try_get("body")?;
        if i64::from(crc32fast::hash(&body)) != crc {
            return Err(StoreError::corrupt(format!("page {id} of samples does not match its checksum")));
        }
        if let Some(directory) = wanted.get(&id) {
            found.insert(id, (directory.clone(), Arc::new(body)));
        }
    }
    Ok((found.len() == wanted.len()).then_some(found))
}
