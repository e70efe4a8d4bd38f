//! What goes, and when: raw samples become rollups a whole day at a time, rollups go after their own time, and over the cap
//! the oldest day of either goes first. A series is forgotten when neither is left of it.

use std::time::Duration;

use super::index::{Index, SERIES_MAX};
use super::rollup::{self, DAY_MS, day_of};
use super::seal::{SLICE_SERIES, bump_epoch};
use super::series::Entry;
use super::{Inner, Samples};
use crate::domain::clock::Timestamp;
use crate::store::state::Result;

const CAP_BYTES: u64 = 10 << 30;
const ROLLUPS_KEPT: Duration = Duration::from_secs(395 * 86_400);
/// Pages dropped per transaction.
const SLICE_PAGES: usize = 64;
/// A day is complete when this has passed since: its last samples have left the head.
const SETTLED: Duration = Duration::from_secs(6 * 3600);
/// Series that have nothing but rollups: more are forgotten, those that ended first.
const ROLLED_SERIES_MAX: usize = SERIES_MAX;

/// What upkeep holds to.
pub(super) struct Limits {
    /// Of the file.
    pub bytes_max: u64,
    /// An open launch needs what is newer.
    pinned_from: Option<Timestamp>,
    /// How old rollups become; zero: there are none.
    rollups_kept: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { bytes_max: CAP_BYTES, pinned_from: None, rollups_kept: ROLLUPS_KEPT }
    }
}

/// Limits of one round, in milliseconds.
#[derive(Clone, Copy)]
struct Bounds {
    now: i64,
    bytes_max: u64,
    pinned_from: i64,
    /// Days that end before it are not rolled up, and their rollups go; `i64::MAX`: there should be none.
    rolled_from: i64,
}

impl Samples {
    /// Hard cap of the file in bytes, and the instant from which an open launch needs its samples: nothing newer is dropped
    /// for space. Default: 10 GiB, nothing pinned.
    pub fn set_limits(&self, bytes_max: u64, pinned_from: Option<Timestamp>) {
        let mut limits = self.inner.limits.lock().unwrap_or_else(|e| e.into_inner());
        (limits.bytes_max, limits.pinned_from) = (bytes_max, pinned_from);
    }

    /// How old rollups become. Zero: raw samples go without any. Default: 395 days.
    pub fn keep_rollups(&self, age: Duration) {
        self.inner.limits.lock().unwrap_or_else(|e| e.into_inner()).rollups_kept = age;
    }

    pub(super) async fn retain(&self, now: Timestamp, keep_from: Timestamp) -> Result<()> {
        let bounds = {
            let limits = self.inner.limits.lock().unwrap_or_else(|e| e.into_inner());
            let kept = limits.rollups_kept;
            let rolled_from = if kept.is_zero() { i64::MAX } else { now.minus(kept).ms() };
            let pinned_from = limits.pinned_from.map_or(i64::MAX, Timestamp::ms);
            Bounds { now: now.ms(), bytes_max: limits.bytes_max, pinned_from, rolled_from }
        };
        self.drop_before(keep_from, bounds).await?;
        let old = bounds.rolled_from.min(bounds.pinned_from);
        while let Some(day) = self.oldest_rolled(old) {
            self.drop_rollups(day).await?;
        }
        self.drop_over_cap(bounds).await?;
        self.forget_series(keep_from).await
    }

    /// Raw samples older than their retention, and late ones of days that are rolled up already.
    async fn drop_before(&self, keep_from: Timestamp, bounds: Bounds) -> Result<()> {
        let rolled_until = self.inner.read().rollups.until().unwrap_or(i64::MIN);
        while let Some(day) = self.oldest_raw(keep_from.ms().max(rolled_until)) {
            self.let_go(day, bounds).await?;
        }
        if bounds.rolled_from == i64::MAX {
            while self.drop_pages(keep_from.ms()).await? == SLICE_PAGES {}
        }
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

    async fn drop_over_cap(&self, bounds: Bounds) -> Result<()> {
        let complete = bounds.now.saturating_sub(SETTLED.as_millis() as i64).min(bounds.pinned_from);
        while self.used_bytes().await? > bounds.bytes_max {
            if let Some(day) = self.oldest_raw(complete) {
                self.let_go(day, bounds).await?;
            } else if let Some(day) = self.oldest_rolled(bounds.pinned_from) {
                self.drop_rollups(day).await?;
            } else if self.drop_pages(bounds.pinned_from).await? == 0 {
                let bytes_max = bounds.bytes_max;
                tracing::warn!(bytes_max, "samples.db is over its cap and an open launch needs all that is left");
                break;
            }
        }
        Ok(())
    }

    /// Without its raw samples a day has rollups, when they are wanted and there is room for them.
    async fn let_go(&self, day: i64, bounds: Bounds) -> Result<()> {
        let wanted = bounds.rolled_from < i64::MAX && day + DAY_MS > bounds.rolled_from;
        if wanted && self.room().is_ok() {
            return self.roll_day(day).await;
        }
        if wanted {
            let day = Timestamp::from_ms(day).rfc3339();
            tracing::warn!(day, "the disk is full: a day of samples goes without rollups");
        }
        let of_day = |index: &Index| -> Vec<i64> {
            index.pages.iter().filter(|(_, p)| day_of(p.slot) == day).map(|(id, _)| *id).take(SLICE_PAGES).collect()
        };
        loop {
            let some = of_day(&self.inner.read());
            if some.is_empty() {
                return Ok(());
            }
            self.remove_pages(some).await?;
            self.inner.write().changes.note(i64::MIN);
        }
    }

    /// The oldest day with pages that ends at or before `before`.
    fn oldest_raw(&self, before: i64) -> Option<i64> {
        let day = self.inner.read().pages.values().map(|p| day_of(p.slot)).min()?;
        (day + DAY_MS <= before).then_some(day)
    }

    fn oldest_rolled(&self, before: i64) -> Option<i64> {
        self.inner.read().rollups.oldest_day().filter(|day| day + DAY_MS <= before)
    }

    async fn drop_rollups(&self, day: i64) -> Result<()> {
        let inner = self.inner.clone();
        self.inner
            .db
            .write_then(
                move |c| {
                    Box::pin(async move {
                        rollup::drop_day(c, day).await?;
                        bump_epoch(c).await
                    })
                },
                move |()| {
                    let mut index = inner.write();
                    index.rollups.remove_day(day);
                    index.changes.note(i64::MIN);
                },
            )
            .await
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

    /// Removes series whose last sample is older than `keep_from` and that neither pages nor rollups have any more.
    async fn forget_series(&self, keep_from: Timestamp) -> Result<()> {
        let (ids, only) = ended(&self.inner.read(), keep_from.ms());
        self.inner.write().rollups.only = only;
        for slice in ids.chunks(SLICE_SERIES) {
            let (inner, published, slice) = (self.inner.clone(), self.inner.clone(), slice.to_vec());
            self.inner
                .db
                .write_then(
                    move |c| {
                        Box::pin(async move {
                            // An append may have come between: what has samples stays.
                            let gone = serde_json::to_string(&still_empty(&inner, &slice))?;
                            for sql in [
                                "DELETE FROM series WHERE id IN (SELECT value FROM json_each(?1))",
                                "DELETE FROM rolled_series WHERE id IN (SELECT value FROM json_each(?1))",
                            ] {
                                sqlx::query(sql).bind(&gone).execute(&mut *c).await?;
                            }
                            bump_epoch(c).await?;
                            Ok(serde_json::from_str(&gone)?)
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

/// Series to forget, and how many there are that live on in rollups alone.
fn ended(index: &Index, keep_from: i64) -> (Vec<u32>, usize) {
    let rollups = index.rollups.until().zip(index.rollups.oldest_day());
    let (until, oldest) = rollups.unwrap_or((i64::MIN, i64::MAX));
    // Days go in their order: rollups have the newest sample of a series when they have any of it.
    let old = |e: &Entry| e.head.is_empty() && e.sealed_to.is_none_or(|t| t < keep_from.min(oldest));
    let mut ids: Vec<u32> = index.series.iter().filter(|(_, e)| old(e)).map(|(id, _)| *id).collect();
    if !ids.is_empty() {
        let kept: std::collections::HashSet<u32> =
            index.pages.values().flat_map(|p| p.directory.series().map(|(id, _)| id)).collect();
        ids.retain(|id| !kept.contains(id));
    }
    let rolled = |e: &Entry| e.sealed_to.filter(|t| e.head.is_empty() && *t >= oldest && *t < until);
    let mut only: Vec<(i64, u32)> = index.series.iter().filter_map(|(id, e)| Some((rolled(e)?, *id))).collect();
    let too_many = only.len().saturating_sub(ROLLED_SERIES_MAX);
    if too_many > 0 {
        only.sort_unstable();
        ids.extend(only.drain(..too_many).map(|(_, id)| id));
    }
    (ids, only.len())
}

fn still_empty(inner: &Inner, ids: &[u32]) -> Vec<u32> {
    let index = inner.read();
    ids.iter().copied().filter(|id| index.series.get(id).is_some_and(|e| e.head.is_empty())).collect()
}
