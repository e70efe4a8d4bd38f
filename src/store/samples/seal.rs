//! Upkeep: old head samples become chunks, old chunks go, forgotten series are removed. In slices, so that an append never
//! waits long.
//!
//! A slice writes chunks of some series and moves their `sealed_to` in one transaction; the head's batches are deleted only
//! when every series is through. A crash in between leaves batches whose samples lie below `sealed_to`, and replay skips
//! those: doing it all again changes nothing.

use std::time::Duration;

use sqlx::SqliteConnection;

use super::codec::{self, Point};
use super::{Inner, Samples};
use crate::domain::clock::Timestamp;
use crate::store::StoreError;
use crate::store::state::Result;

/// Samples stay in the head at least this long: alerts and the launch room read the last hour from memory.
const HEAD_KEEPS: Duration = Duration::from_secs(3600);
/// Sealing waits until the oldest batch is this old, so that chunks are worth their header.
const HEAD_AGE_MAX: Duration = Duration::from_secs(2 * 3600);
/// And no longer than this many samples in the head: 16 bytes each, so 16 MB.
const HEAD_SAMPLES_MAX: u64 = 1_000_000;
/// Cut of a long chunk: two days' worth would be decoded for five minutes' question.
const CHUNK_SAMPLES: usize = 960;
/// Series per slice; about 500 samples each make 64 chunks, a transaction of a few ms.
const SLICE_SERIES: usize = 64;
/// Chunks dropped per slice.
const SLICE_CHUNKS: i64 = 256;
/// Series looked at per slice when the forgotten ones are removed.
const SLICE_FORGET: usize = 512;

struct Sealed {
    series: u32,
    start: i64,
    end: i64,
    count: usize,
    blob: Vec<u8>,
}

impl Samples {
    /// Seals what is old enough, drops what retention allows; in slices, callable at any time.
    pub async fn maintain(&self, now: Timestamp, keep_from: Timestamp) -> Result<()> {
        self.writable()?;
        let Ok(_one_at_a_time) = self.inner.upkeep.try_lock() else { return Ok(()) };
        self.seal(now).await?;
        self.drop_before(keep_from).await?;
        self.drop_over_cap().await?;
        self.forget_series(keep_from).await
    }

    /// Hard cap of the file in bytes, and the instant from which an open launch needs its samples: nothing newer is dropped
    /// for space. Default: 10 GiB, nothing pinned.
    pub fn set_limits(&self, bytes_max: u64, pinned_from: Option<Timestamp>) {
        *self.inner.limits.lock().unwrap_or_else(|e| e.into_inner()) = (bytes_max, pinned_from);
    }

    async fn seal(&self, now: Timestamp) -> Result<()> {
        let Some((cutoff, last_batch)) = due(&self.inner, now) else { return Ok(()) };
        let ids: Vec<u32> = self.inner.read().series.keys().copied().collect();
        for slice in ids.chunks(SLICE_SERIES) {
            let points: Vec<(u32, Vec<Point>)> = {
                let index = self.inner.read();
                let old = |id: &u32| {
                    let head = index.series.get(id)?.between(i64::MIN, cutoff);
                    (!head.is_empty()).then(|| (*id, head.to_vec()))
                };
                slice.iter().filter_map(old).collect()
            };
            if points.is_empty() {
                continue;
            }
            // Packing is arithmetic for milliseconds: off the threads that serve everybody.
            let sealed = tokio::task::spawn_blocking(move || points.into_iter().flat_map(pack).collect::<Vec<_>>())
                .await
                .map_err(|_| StoreError::Database("packing samples panicked".into()))?;
            let inner = self.inner.clone();
            self.inner
                .db
                .write_then(
                    move |c| Box::pin(async move { write_chunks(c, sealed).await }),
                    move |ends| {
                        let mut index = inner.write();
                        ends.iter().for_each(|&(id, end)| index.sealed(id, end));
                    },
                )
                .await?;
        }
        let inner = self.inner.clone();
        self.inner
            .db
            .write_then(
                move |c| {
                    Box::pin(async move {
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

    async fn drop_before(&self, keep_from: Timestamp) -> Result<()> {
        while self.drop_chunks(keep_from.ms()).await? == SLICE_CHUNKS as u64 {}
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
            if self.drop_chunks(pinned).await? == 0 {
                tracing::warn!(bytes_max, "samples.db is over its cap and an open launch needs all that is left");
                break;
            }
        }
        Ok(())
    }

    /// Drops the oldest chunks that end before `before`, a slice at most; returns how many.
    async fn drop_chunks(&self, before: i64) -> Result<u64> {
        self.inner
            .db
            .write(move |c| {
                Box::pin(async move {
                    let gone: Vec<(i64, i64)> = sqlx::query_as(
                        "DELETE FROM chunk WHERE id IN (SELECT id FROM chunk WHERE end_t < ?1 ORDER BY end_t LIMIT ?2)
                         RETURNING count, length(blob)",
                    )
                    .bind(before)
                    .bind(SLICE_CHUNKS)
                    .fetch_all(&mut *c)
                    .await?;
                    if !gone.is_empty() {
                        count(c, -gone.iter().map(|g| g.0).sum::<i64>(), -gone.iter().map(|g| g.1).sum::<i64>())
                            .await?;
                        bump_epoch(c).await?;
                    }
                    Ok(gone.len() as u64)
                })
            })
            .await
    }

    /// Bytes in use, without pages that wait to be used again.
    async fn used_bytes(&self) -> Result<u64> {
        let used: i64 = sqlx::query_scalar(
            "SELECT (page_count - freelist_count) * page_size
             FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()",
        )
        .fetch_one(&mut *self.inner.db.reader().await?)
        .await?;
        Ok(used as u64)
    }

    /// Removes series whose last sample is older than `keep_from` and that have no chunk left.
    async fn forget_series(&self, keep_from: Timestamp) -> Result<()> {
        let old = |e: &super::index::Entry| e.head.is_empty() && e.sealed_to.is_none_or(|t| t < keep_from.ms());
        let ids: Vec<u32> = self.inner.read().series.iter().filter(|(_, e)| old(e)).map(|(id, _)| *id).collect();
        for slice in ids.chunks(SLICE_FORGET) {
            let wanted = serde_json::to_string(slice)?;
            let inner = self.inner.clone();
            self.inner
                .db
                .write_then(
                    move |c| {
                        Box::pin(async move {
                            let gone: Vec<u32> = sqlx::query_scalar(
                                "DELETE FROM series WHERE id IN (SELECT value FROM json_each(?1))
                                   AND NOT EXISTS (SELECT 1 FROM chunk WHERE series_id = series.id)
                                   AND coalesce(sealed_to, 0) < ?2 RETURNING id",
                            )
                            .bind(wanted)
                            .bind(keep_from.ms())
                            .fetch_all(&mut *c)
                            .await?;
                            if !gone.is_empty() {
                                bump_epoch(c).await?;
                            }
                            Ok(gone)
                        })
                    },
                    move |gone: &Vec<u32>| {
                        let mut index = inner.write();
                        gone.iter().for_each(|&id| index.remove(id));
                    },
                )
                .await?;
        }
        Ok(())
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

fn pack((series, points): (u32, Vec<Point>)) -> Vec<Sealed> {
    let pack = |points: &[Point]| {
        let (first, last) = (points.first()?, points.last()?);
        Some(Sealed { series, start: first.0, end: last.0, count: points.len(), blob: codec::encode_chunk(points) })
    };
    points.chunks(CHUNK_SAMPLES).filter_map(pack).collect()
}

/// Returns the new `sealed_to` of each series.
async fn write_chunks(connection: &mut SqliteConnection, sealed: Vec<Sealed>) -> Result<Vec<(u32, i64)>> {
    let mut ends = Vec::with_capacity(sealed.len());
    for chunk in &sealed {
        sqlx::query(
            "INSERT INTO chunk (series_id, start_t, end_t, count, crc, blob) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT DO NOTHING",
        )
        .bind(i64::from(chunk.series))
        .bind(chunk.start)
        .bind(chunk.end)
        .bind(chunk.count as i64)
        .bind(i64::from(crc32fast::hash(&chunk.blob)))
        .bind(&chunk.blob)
        .execute(&mut *connection)
        .await?;
        sqlx::query("UPDATE series SET sealed_to = max(coalesce(sealed_to, ?2), ?2) WHERE id = ?1")
            .bind(i64::from(chunk.series))
            .bind(chunk.end)
            .execute(&mut *connection)
            .await?;
        ends.push((chunk.series, chunk.end));
    }
    let samples = sealed.iter().map(|s| s.count as i64).sum();
    let bytes = sealed.iter().map(|s| s.blob.len() as i64).sum();
    count(connection, samples, bytes).await?;
    bump_epoch(connection).await?;
    Ok(ends)
}

async fn count(connection: &mut SqliteConnection, samples: i64, bytes: i64) -> Result<()> {
    sqlx::query("UPDATE meta SET value = value + iif(key = 'chunk_samples', ?1, ?2) WHERE key <> 'epoch'")
        .bind(samples)
        .bind(bytes)
        .execute(connection)
        .await?;
    Ok(())
}

async fn bump_epoch(connection: &mut SqliteConnection) -> Result<()> {
    sqlx::query("UPDATE meta SET value = value + 1 WHERE key = 'epoch'").execute(connection).await?;
    Ok(())
}
