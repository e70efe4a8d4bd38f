//! Upkeep: old head samples become pages, pages of a closed window become few, old ones rollups (`retain.rs`). In slices, so
//! that an append never waits long.
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
/// And no longer than this many samples in the head: some 4 bytes each.
const HEAD_SAMPLES_MAX: u64 = 800_000;
/// A page belongs to one window of this length, aligned to the epoch. Measured on a day of a web shop's series: six
/// hours at 15 s pack smallest (0.72 bytes a value; 0.76 for two hours, 0.73 for a day) and unpack fastest.
pub(super) const WINDOW_MS: i64 = 6 * 3_600_000;
/// Samples of a page: some 100 KB, which one series' query can afford to read.
pub(super) const PAGE_SAMPLES: usize = 131_072;
/// Series looked at under one lock.
pub(super) const SLICE_SERIES: usize = 256;

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
    /// Seals what is old enough, compacts closed windows, rolls up and drops what retention lets go; in slices, callable at
    /// any time.
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
        self.retain(now, keep_from).await?;
        packed
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
        let points = entry.between(i64::MIN, cutoff);
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

pub(super) async fn bump_epoch(connection: &mut SqliteConnection) -> Result<()> {
    sqlx::query("UPDATE meta SET value = value + 1 WHERE key = 'epoch'").execute(connection).await?;
    Ok(())
}
