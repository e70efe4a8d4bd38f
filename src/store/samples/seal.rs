//! Upkeep: old head samples become pages, pages of a closed window become few, old pages go, forgotten series are removed.
//! In slices, so that an append never waits long.
//!
//! A slice writes pages and takes their samples out of the head in memory; the head's batches are deleted only when every
//! series is through. A crash in between leaves batches whose samples are in a page, and replay skips those: doing it all
//! again changes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::SqliteConnection;

use super::index::{Index, Page};
use super::outgoing::set_aside;
use super::page::{self, Strand};
use super::{Inner, Samples};
use crate::domain::clock::Timestamp;
use crate::store::StoreError;
use crate::store::state::Result;

/// Samples stay in the head at least this long: alerts and the launch room read the last hour from memory.
const HEAD_KEEPS: Duration = Duration::from_secs(3600);
/// Sealing waits until the oldest batch is this old, so that pages are worth their directory.
const HEAD_AGE_MAX: Duration = Duration::from_secs(2 * 3600);
/// And no longer than this many samples in the head: 16 bytes each, so 13 MB.
const HEAD_SAMPLES_MAX: u64 = 800_000;
/// A page belongs to one window of this length, aligned to the epoch. Measured on a day of a web shop's series: six
/// hours at 15 s pack smallest (0.72 bytes a value; 0.76 for two hours, 0.73 for a day) and unpack fastest.
pub(super) const WINDOW_MS: i64 = 6 * 3_600_000;
/// Samples of a page: some 100 KB, which one series' query can afford to read.
pub(super) const PAGE_SAMPLES: usize = 131_072;
/// Series looked at under one lock.
const SLICE_SERIES: usize = 256;
/// Pages dropped per transaction.
const SLICE_PAGES: usize = 64;

/// A page that is not in the file yet.
pub(super) struct NewPage {
    pub page: Page,
    pub body: Vec<u8>,
}

/// Start of the window that `t` lies in.
pub(super) fn slot_of(t: i64) -> i64 {
    t.div_euclid(WINDOW_MS) * WINDOW_MS
}

impl Samples {
    /// Seals what is old enough, compacts closed windows, drops what retention allows; in slices, callable at any time.
    pub async fn maintain(&self, now: Timestamp, keep_from: Timestamp) -> Result<()> {
        self.writable()?;
        let Ok(_one_at_a_time) = self.inner.upkeep.try_lock() else { return Ok(()) };
        self.inner.warm().cool();
        let packed = match self.room() {
            Ok(()) => self.seal(now).await.and(self.compact(now).await),
            Err(error) => Err(error),
        };
        // Also when packing found no room: dropping makes some.
        let lost = self.trim_outgoing(keep_from).await?;
        if lost > 0 {
            tracing::error!(samples = lost, "waited too long to be sent to the store elsewhere and were let go");
        }
        self.drop_before(keep_from).await?;
        self.drop_over_cap().await?;
        self.forget_series(keep_from).await?;
        packed
    }

    /// Hard cap of the file in bytes, and the instant from which an open launch needs its samples: nothing newer is dropped
    /// for space. Default: 10 GiB, nothing pinned.
    pub fn set_limits(&self, bytes_max: u64, pinned_from: Option<Timestamp>) {
        *self.inner.limits.lock().unwrap_or_else(|e| e.into_inner()) = (bytes_max, pinned_from);
    }

    pub(super) async fn seal(&self, now: Timestamp) -> Result<()> {
        let Some((cutoff, last_batch)) = due(&self.inner, now) else { return Ok(()) };
        let ids: Vec<u32> = self.inner.read().series.keys().copied().collect();
        let (mut strands, mut waiting) = (Vec::new(), 0);
        for slice in ids.chunks(SLICE_SERIES) {
            let mut found = old_strands(&self.inner.read(), slice, cutoff);
            waiting += found.iter().map(|s| s.points.len()).sum::<usize>();
            strands.append(&mut found);
            if waiting >= PAGE_SAMPLES {
                self.seal_slice(std::mem::take(&mut strands)).await?;
                waiting = 0;
            }
        }
        self.seal_slice(strands).await?;
        let inner = self.inner.clone();
        self.inner
            .db
            .write_then(
                move |c| {
                    Box::pin(async move {
                        set_aside(&mut *c, last_batch).await?;
                        sqlx::query("DELETE FROM head_batch WHERE id <= ?1").bind(last_batch).execute(&mut *c).await?;
                        bump_epoch(c).await
                    })
                },
                move |()| {
                    let mut index = inner.write();
                    while index.batches.front().is_some_and(|b| b.id <= last_batch) {
                        index.batches.pop_front();
                    }
                },
            )
            .await
    }

    async fn seal_slice(&self, strands: Vec<Strand>) -> Result<()> {
        if strands.is_empty() {
            return Ok(());
        }
        // Packing is arithmetic for milliseconds: off the threads that serve everybody.
        let pack_all = move || by_window(strands).into_iter().map(|(slot, s)| pack(0, slot, s)).collect();
        let pages = tokio::task::spawn_blocking(pack_all)
            .await
            .map_err(|_| StoreError::Database("packing samples panicked".into()))?;
        self.add_pages(pages).await
    }

    /// Writes pages, then shows them to readers and takes their samples out of the head.
    pub(super) async fn add_pages(&self, pages: Vec<NewPage>) -> Result<()> {
        let inner = self.inner.clone();
        self.inner
            .db
            .write_then(
                move |c| {
                    Box::pin(async move {
                        let mut written = Vec::with_capacity(pages.len());
                        for new in pages {
                            written.push((insert(c, &new).await?, new.page));
                        }
                        bump_epoch(c).await?;
                        Ok(written)
                    })
                },
                move |written| {
                    let mut index = inner.write();
                    written.iter().for_each(|(id, page)| index.add_page(*id, page.clone()));
                },
            )
            .await?;
        Ok(())
    }

    pub(super) async fn remove_pages(&self, ids: Vec<i64>) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let (inner, wanted) = (self.inner.clone(), serde_json::to_string(&ids)?);
        self.inner
            .db
            .write_then(
                move |c| {
                    Box::pin(async move {
                        sqlx::query("DELETE FROM page WHERE id IN (SELECT value FROM json_each(?1))")
                            .bind(wanted)
                            .execute(&mut *c)
                            .await?;
                        bump_epoch(c).await
                    })
                },
                move |()| {
                    let mut index = inner.write();
                    let mut warm = inner.warm();
                    ids.iter().for_each(|id| {
                        index.pages.remove(id);
                        warm.remove(*id);
                    });
                },
            )
            .await
    }

    async fn drop_before(&self, keep_from: Timestamp) -> Result<()> {
        while self.drop_pages(keep_from.ms()).await? == SLICE_PAGES {}
        let old = keep_from.ms();
        self.inner
            .db
            .write(move |c| {
                Box::pin(async move {
                    sqlx::query("DELETE FROM gap WHERE to_t < ?1").bind(old).execute(c).await?;
                    Ok(())
                })
            })
            .await
    }

    async fn drop_over_cap(&self) -> Result<()> {
        let (bytes_max, pinned) = *self.inner.limits.lock().unwrap_or_else(|e| e.into_inner());
        let pinned = pinned.map_or(i64::MAX, Timestamp::ms);
        while self.used_bytes().await? > bytes_max {
            if self.drop_pages(pinned).await? == 0 {
                tracing::warn!(bytes_max, "samples.db is over its cap and an open launch needs all that is left");
                break;
            }
        }
        Ok(())
    }

    /// Drops the oldest pages that end before `before`, a slice at most; returns how many.
    async fn drop_pages(&self, before: i64) -> Result<usize> {
        let mut old: Vec<(i64, i64)> = {
            let index = self.inner.read();
            index.pages.iter().filter(|(_, p)| p.end < before).map(|(id, p)| (p.end, *id)).collect()
        };
        old.sort_unstable();
        old.truncate(SLICE_PAGES);
        let ids: Vec<i64> = old.into_iter().map(|(_, id)| id).collect();
        let many = ids.len();
        if many > 0 {
            self.remove_pages(ids).await?;
            self.inner.write().changes.note(i64::MIN);
        }
        Ok(many)
    }

    /// Bytes in use, without pages that wait to be used again.
    async fn used_bytes(&self) -> Result<u64> {
        let used: i64 = sqlx::query_scalar(
            "SELECT (page_count - freelist_count) * page_size
             FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()",
        )
        .fetch_one(&mut *self.inner.db.reader().await?)
        .await
        .map_err(|e| self.inner.db.noticed(e.into()))?;
        Ok(used as u64)
    }

    /// Removes series whose last sample is older than `keep_from` and that are in no page any more.
    async fn forget_series(&self, keep_from: Timestamp) -> Result<()> {
        let ids: Vec<u32> = {
            let index = self.inner.read();
            let old = |e: &super::index::Entry| e.head.is_empty() && e.sealed_to.is_none_or(|t| t < keep_from.ms());
            let mut ids: Vec<u32> = index.series.iter().filter(|(_, e)| old(e)).map(|(id, _)| *id).collect();
            if !ids.is_empty() {
                let kept: std::collections::HashSet<u32> =
                    index.pages.values().flat_map(|p| p.directory.series().map(|(id, _)| id)).collect();
                ids.retain(|id| !kept.contains(id));
            }
            ids
        };
        for slice in ids.chunks(SLICE_SERIES) {
            let (inner, published, slice) = (self.inner.clone(), self.inner.clone(), slice.to_vec());
            self.inner
                .db
                .write_then(
                    move |c| {
                        Box::pin(async move {
                            // An append may have come between: what has samples stays.
                            let gone = still_empty(&inner.read(), &slice);
                            sqlx::query("DELETE FROM series WHERE id IN (SELECT value FROM json_each(?1))")
                                .bind(serde_json::to_string(&gone)?)
                                .execute(&mut *c)
                                .await?;
                            bump_epoch(c).await?;
                            Ok(gone)
                        })
                    },
                    move |gone: &Vec<u32>| {
                        let mut index = published.write();
                        gone.iter().for_each(|&id| index.remove(id));
                    },
                )
                .await?;
        }
        Ok(())
    }
}

fn still_empty(index: &Index, ids: &[u32]) -> Vec<u32> {
    ids.iter().copied().filter(|id| index.series.get(id).is_some_and(|e| e.head.is_empty())).collect()
}

/// What to seal: all samples up to a time, which covers all batches up to an id.
fn due(inner: &Inner, now: Timestamp) -> Option<(i64, i64)> {
    let index = inner.read();
    let oldest = index.batches.front()?;
    let full = index.head_samples > HEAD_SAMPLES_MAX;
    if !full && oldest.max_t > now.minus(HEAD_AGE_MAX).ms() {
        return None;
    }
    let ripe = now.minus(HEAD_KEEPS).ms();
    let mut left = index.head_samples;
    let (mut cutoff, mut last) = (i64::MIN, None);
    for batch in &index.batches {
        // A head that is full although nothing in it is old gives up its older half.
        if batch.max_t > ripe && !(full && left > HEAD_SAMPLES_MAX / 2) {
            break;
        }
        left = left.saturating_sub(batch.count);
        cutoff = cutoff.max(batch.max_t);
        last = Some(batch.id);
    }
    Some((cutoff, last?))
}

/// Head samples up to `cutoff` of these series.
fn old_strands(index: &Index, ids: &[u32], cutoff: i64) -> Vec<Strand> {
    let old = |id: &u32| {
        let entry = index.series.get(id)?;
        let points = entry.between(i64::MIN, cutoff).to_vec();
        (!points.is_empty()).then(|| Strand { series: *id, labels: entry.labels.clone(), points })
    };
    ids.iter().filter_map(old).collect()
}

/// Cuts strands where windows meet.
fn by_window(strands: Vec<Strand>) -> BTreeMap<i64, Vec<Strand>> {
    let mut windows: BTreeMap<i64, Vec<Strand>> = BTreeMap::new();
    for strand in strands {
        for points in strand.points.chunk_by(|a, b| slot_of(a.0) == slot_of(b.0)) {
            let part = Strand { series: strand.series, labels: strand.labels.clone(), points: points.to_vec() };
            windows.entry(slot_of(points[0].0)).or_default().push(part);
        }
    }
    windows
}

pub(super) fn pack(level: u8, slot: i64, strands: Vec<Strand>) -> NewPage {
    let (directory, body) = page::build(strands);
    NewPage { page: Page::new(level, slot, body.len() as u64, directory), body }
}

pub(super) async fn insert(connection: &mut SqliteConnection, new: &NewPage) -> Result<i64> {
    let page = &new.page;
    let directory = page.directory.encode();
    Ok(sqlx::query_scalar(
        "INSERT INTO page (level, slot, start_t, end_t, samples, directory, crc, body, directory_crc)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) RETURNING id",
    )
    .bind(i64::from(page.level))
    .bind(page.slot)
    .bind(page.start)
    .bind(page.end)
    .bind(page.samples as i64)
    .bind(&directory)
    .bind(i64::from(crc32fast::hash(&new.body)))
    .bind(&new.body)
    .bind(i64::from(crc32fast::hash(&directory)))
    .fetch_one(connection)
    .await?)
}

async fn bump_epoch(connection: &mut SqliteConnection) -> Result<()> {
    sqlx::query("UPDATE meta SET value = value + 1 WHERE key = 'epoch'").execute(connection).await?;
    Ok(())
}
