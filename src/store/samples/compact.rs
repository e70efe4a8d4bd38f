//! Compaction: the many small pages of a window become few large ones, ordered by metric, so that a query
//! over one metric reads its own pages and no others, and buckets of one histogram stand side by side.
//!
//! New pages are written and shown first, the old ones go last: a crash in between leaves samples twice, which readers
//! merge and the next compaction mends.

use std::collections::{BTreeMap, BTreeSet};

use super::Samples;
use super::batch::{Damaged, Point};
use super::index::{Index, Page};
use super::page::{Kin, Strand};
use super::read::bodies;
use super::seal::{NewPage, PAGE_SAMPLES, WINDOW_MS, pack};
use super::splice::{Loaded, Splicer};
use crate::domain::clock::Timestamp;
use crate::domain::metric::{Columns, Labels};
use crate::store::StoreError;
use crate::store::state::Result;

/// Series compacted together: bounds the memory, some 20 MB at 15 s.
const SERIES_AT_ONCE: usize = 16_384;
/// Small pages that a window may have before it is compacted although it is open.
const SMALL_PAGES_MAX: usize = 24;
/// Longer stretches of one series are cut: a query for five minutes should not unpack six hours at one second.
const COLUMN_SAMPLES: usize = 2_880;

impl Samples {
    /// Compacts every window that samples have moved past, or that is crowded.
    pub(super) async fn compact(&self, now: Timestamp) -> Result<()> {
        let slots = ripe(&self.inner.read(), now);
        for slot in slots {
            let (old, series) = inputs(&self.inner.read(), slot);
            for some in series.chunks(SERIES_AT_ONCE) {
                let pages = self.compacted(slot, &old, some).await?;
                // One at a time: each is a transaction of a hundred kilobytes.
                for page in pages {
                    self.add_pages(vec![page]).await?;
                }
            }
            self.remove_pages(old).await?;
            self.shrink().await?;
        }
        Ok(())
    }

    async fn compacted(&self, slot: i64, old: &[i64], series: &[u32]) -> Result<Vec<NewPage>> {
        let mut strands: Vec<(u32, Labels)> = {
            let index = self.inner.read();
            series.iter().filter_map(|id| index.series.get(id).map(|e| (*id, e.labels.clone()))).collect()
        };
        strands.sort_by(|a, b| Kin::of(&a.1).cmp(&Kin::of(&b.1)));
        let loaded = self.touched(old, series).await?;
        tokio::task::spawn_blocking(move || repack(slot, &loaded, strands))
            .await
            .map_err(|_| StoreError::Database("compacting samples panicked".into()))?
            .map_err(|e| StoreError::corrupt(format!("a page of samples: {e}")))
    }

    /// Those of `pages` that have samples of `series`, which ascend.
    pub(super) async fn touched(&self, pages: &[i64], series: &[u32]) -> Result<Vec<Loaded>> {
        let directories: BTreeMap<i64, _> = {
            let index = self.inner.read();
            let touched = |id: &i64| {
                let directory = &index.pages.get(id)?.directory;
                let mut any = false;
                directory.each(series, (i64::MIN, i64::MAX), |_, _| any = true);
                any.then(|| (*id, directory.clone()))
            };
            pages.iter().filter_map(touched).collect()
        };
        let loaded = bodies(&self.inner, directories)
            .await
            .map_err(|e| self.inner.db.noticed(e))?
            .ok_or_else(|| StoreError::corrupt("a page disappeared while it was read for upkeep"))?;
        Ok(loaded.into_values().collect())
    }

    /// Gives back to the file system what old pages and batches held, when that is much.
    async fn shrink(&self) -> Result<()> {
        /// Below this part of the file, free pages are left for what comes next.
        const FREE_PART: i64 = 32;
        /// Fewer free pages than this are not worth a transaction; a transaction gives back up to 512.
        const FREE_MIN: i64 = 64;
        loop {
            let (free, all): (i64, i64) = self
                .inner
                .db
                .write(|c| {
                    Box::pin(async move {
                        Ok(sqlx::query_as("SELECT * FROM pragma_freelist_count(), pragma_page_count()")
                            .fetch_one(c)
                            .await?)
                    })
                })
                .await?;
            if free < FREE_MIN || free < all / FREE_PART {
                return Ok(());
            }
            self.inner
                .db
                .write(|c| {
                    Box::pin(async move {
                        sqlx::raw_sql("PRAGMA incremental_vacuum(512)").execute(c).await?;
                        Ok(())
                    })
                })
                .await?;
        }
    }
}

/// Windows whose pages should be made anew. Most are over: newer samples are sealed already, or the window is long past.
/// One that is still open is compacted when it has many small pages, each time it has doubled: then a query does not unpack
/// hundreds of them, and each sample is packed again but once or twice.
fn ripe(index: &Index, now: Timestamp) -> Vec<i64> {
    let newest = index.pages.values().map(|p| p.end).max().unwrap_or(i64::MIN);
    let over = |slot: i64| slot + WINDOW_MS <= newest || slot + 2 * WINDOW_MS <= now.ms();
    // Of each window: unfinished pages, their samples, finished samples.
    let mut windows: BTreeMap<i64, (usize, u64, u64)> = BTreeMap::new();
    for page in index.pages.values() {
        let window = windows.entry(page.slot).or_default();
        if page.level == 0 {
            *window = (window.0 + 1, window.1 + page.samples, window.2);
        } else {
            window.2 += page.samples;
        }
    }
    let crowded = |pages: usize, small: u64, large: u64| pages >= SMALL_PAGES_MAX && small >= large;
    let ripe = |slot: i64, (pages, small, large)| pages > 0 && (over(slot) || crowded(pages, small, large));
    windows.into_iter().filter(|(slot, of)| ripe(*slot, *of)).map(|(slot, _)| slot).collect()
}

/// The unfinished pages of a window, finished ones that share a series with them, and all series of both.
fn inputs(index: &Index, slot: i64) -> (Vec<i64>, Vec<u32>) {
    let of_slot = |level: u8| index.pages.iter().filter(move |(_, p)| p.slot == slot && p.level == level);
    let all = |page: &Page| page.directory.series().map(|(id, _)| id).collect::<Vec<u32>>();
    let mut old: Vec<i64> = of_slot(0).map(|(id, _)| *id).collect();
    let mut series: BTreeSet<u32> = of_slot(0).flat_map(|(_, p)| all(p)).collect();
    for (id, page) in of_slot(1) {
        let own = all(page);
        if own.iter().any(|s| series.contains(s)) {
            old.push(*id);
            series.extend(own);
        }
    }
    old.sort_unstable();
    (old, series.into_iter().collect())
}

/// All samples of `series` in these pages, in new pages of a good size, in the order given.
fn repack(slot: i64, pages: &[Loaded], series: Vec<(u32, Labels)>) -> std::result::Result<Vec<NewPage>, Damaged> {
    let mut splicer = Splicer::new(pages, (i64::MIN, i64::MAX));
    let mut columns = Columns::default();
    let (mut packed, mut strands, mut waiting) = (Vec::new(), Vec::new(), 0);
    for (id, labels) in series {
        let places = pages
            .iter()
            .enumerate()
            .flat_map(|(at, (directory, _))| directory.find(id, i64::MIN, i64::MAX).map(move |place| (at, place)));
        splicer.read(&places.collect::<Vec<_>>(), &[], &mut columns).map_err(|(_, damaged)| damaged)?;
        let points: Vec<Point> = columns.samples().map(|s| (s.t.ms(), s.v.to_bits())).collect();
        waiting += points.len();
        strands.extend(cut(points).map(|points| Strand { series: id, labels: labels.clone(), points }));
        if waiting >= PAGE_SAMPLES {
            packed.push(pack(1, slot, std::mem::take(&mut strands)));
            waiting = 0;
        }
    }
    if !strands.is_empty() {
        packed.push(pack(1, slot, strands));
    }
    Ok(packed)
}

/// Cuts at times that depend on the number of samples alone, so that series of one target go on sharing their times.
fn cut(points: Vec<Point>) -> impl Iterator<Item = Vec<Point>> {
    let parts = points.len().div_ceil(COLUMN_SAMPLES).next_power_of_two() as i64;
    let length = WINDOW_MS / parts;
    let pieces: Vec<Vec<Point>> =
        points.chunk_by(|a, b| a.0.div_euclid(length) == b.0.div_euclid(length)).map(<[Point]>::to_vec).collect();
    pieces.into_iter()
}
