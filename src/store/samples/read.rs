//! A read: what the index knows at one moment, then the bodies of the pages it names, then samples.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::TryStreamExt;
use sqlx::Row;

use super::Inner;
use super::batch::Point;
use super::compact::{Loaded, ascending};
use super::index::Index;
use super::page::{Directory, Place, Reader};
use crate::domain::clock::Timestamp;
use crate::domain::metric::{Labels, Matcher, ReadError, Sample, Series, SeriesScan};
use crate::store::StoreError;
use crate::store::state::Result;

/// Above this many samples, unpacking leaves the async thread.
const INLINE_SAMPLES_MAX: u64 = 20_000;

/// One series, the head's samples of it, and its places in `Sight::pages` by position.
struct Wanted {
    labels: Labels,
    head: Vec<Point>,
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
    pub head_samples: usize,
    page_samples: u64,
}

impl Sight {
    pub fn of(index: &Index, matchers: &[Matcher], start: i64, end: i64) -> Sight {
        let mut sight = Sight { pages: Vec::new(), series: Vec::new(), head_samples: 0, page_samples: 0 };
        // Series with samples in pages, ascending, and where they stand in `series`.
        let (mut sealed, mut stands) = (Vec::new(), Vec::new());
        for id in index.select(matchers) {
            let Some(entry) = index.series.get(&id) else { continue };
            let head = entry.between(start, end).to_vec();
            sight.head_samples += head.len();
            if entry.sealed_to.is_some_and(|t| t >= start) {
                sealed.push(id);
                stands.push(sight.series.len());
            }
            sight.series.push(Wanted { labels: entry.labels.clone(), head, places: Vec::new() });
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
        self.page_samples < INLINE_SAMPLES_MAX
    }

    /// The series one by one; `loaded` are the pages in the order of `pages`.
    pub fn scan(self, loaded: Vec<Loaded>, range: (i64, i64), limit: usize) -> Scan {
        let readers = loaded.iter().map(|_| Reader::default()).collect();
        let pages = self.pages.iter().map(|p| p.id).collect();
        let bound = self.head_samples + self.page_samples as usize;
        let series = self.series.into_iter();
        Scan { series, bound, pages, loaded, readers, range, limit, left: limit, points: Vec::new() }
    }
}

/// See [`Sight::scan`].
pub(super) struct Scan {
    series: std::vec::IntoIter<Wanted>,
    bound: usize,
    pages: Vec<i64>,
    loaded: Vec<Loaded>,
    readers: Vec<Reader>,
    range: (i64, i64),
    limit: usize,
    left: usize,
    points: Vec<Point>,
}

impl SeriesScan for Scan {
    fn next_into(&mut self, samples: &mut Vec<Sample>) -> std::result::Result<Option<Labels>, ReadError> {
        for mut wanted in self.series.by_ref() {
            self.points.clear();
            for (page, place) in wanted.places {
                let (directory, body) = &self.loaded[page];
                self.readers[page]
                    .read(directory, body, place, self.range, &mut self.points)
                    .map_err(|e| ReadError::Storage(format!("page {}: {e}", self.pages[page])))?;
            }
            self.points.append(&mut wanted.head);
            ascending(&mut self.points);
            let many = self.points.len();
            self.left = self.left.checked_sub(many).ok_or(ReadError::TooManySamples { limit: self.limit })?;
            if many > 0 {
                samples.clear();
                samples.extend(
                    self.points.iter().map(|&(t, v)| Sample { t: Timestamp::from_ms(t), v: f64::from_bits(v) }),
                );
                return Ok(Some(wanted.labels));
            }
        }
        Ok(None)
    }

    fn samples_at_most(&self) -> usize {
        self.bound
    }
}

impl Scan {
    /// All of them, sorted by labels.
    pub fn collect(mut self) -> std::result::Result<Vec<Series>, ReadError> {
        let mut found = Vec::with_capacity(self.series.len());
        let mut samples = Vec::new();
        while let Some(labels) = self.next_into(&mut samples)? {
            found.push(Series { labels, samples: samples.clone() });
        }
        found.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(found)
    }
}

/// The bodies of pages, by number; `None` when one of them is gone.
pub(super) async fn bodies(
    inner: &Inner,
    wanted: BTreeMap<i64, Arc<Directory>>,
) -> Result<Option<BTreeMap<i64, Loaded>>> {
    let mut found = BTreeMap::new();
    if wanted.is_empty() {
        return Ok(Some(found));
    }
    let ids: Vec<i64> = wanted.keys().copied().collect();
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
            found.insert(id, (directory.clone(), body));
        }
    }
    Ok((found.len() == wanted.len()).then_some(found))
}
