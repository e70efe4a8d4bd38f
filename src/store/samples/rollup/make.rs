//! A day of raw samples becomes rollups and goes. Made as late as can be: every sample that came late is in, and nothing is
//! kept twice while raw samples are there.
//!
//! Parts are written one by one and do not count; one transaction makes all of them count and deletes the pages. A crash
//! before it leaves the raw samples, after it the rollups.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::file::{NewPart, Seen, counters, discard_unfinished, publish, write_part};
use super::pack::{Day, rows};
use super::{add, day_of};
use crate::domain::metric::{Columns, Labels};
use crate::domain::rollup::{Resolution, counted, roll};
use crate::store::StoreError;
use crate::store::samples::Samples;
use crate::store::samples::index::Index;
use crate::store::samples::page::{Directory, Kin};
use crate::store::samples::seal::bump_epoch;
use crate::store::samples::splice::{Loaded, Splicer};
use crate::store::state::Result;

/// Series of a part. Five minutes of them over a day are some 150 KB a field, which one series' query can afford to read.
const SERIES_PER_PART: usize = 512;

impl Samples {
    /// Rolls up the raw samples that are stored of a day and deletes them. Only upkeep, which holds its lock, changes pages.
    pub(in crate::store::samples) async fn roll_day(&self, day: i64) -> Result<()> {
        self.inner.db.write(|c| Box::pin(discard_unfinished(c))).await?;
        let pages: Vec<(i64, Arc<Directory>)> = {
            let index = self.inner.read();
            let of_day = index.pages.iter().filter(|(_, p)| day_of(p.slot) == day);
            of_day.map(|(id, p)| (*id, p.directory.clone())).collect()
        };
        let series = series_in(&self.inner.index, &pages);
        let pages: Vec<i64> = pages.into_iter().map(|(id, _)| id).collect();
        let (mut parts, mut seen) = (Vec::new(), Vec::new());
        for some in series.chunks(SERIES_PER_PART) {
            let days = self.rolled_up(&pages, some).await?;
            let (Some(first), Some(last)) = (days.first(), days.last()) else { continue };
            let family = |day: &Day| Kin::of(&day.labels).family.to_string();
            let (first, last) = (family(first), family(last));
            seen.extend(days.iter().map(Seen::of));
            let packed = tokio::task::spawn_blocking(move || rows(&days));
            let rows = packed.await.map_err(|_| StoreError::Database("packing rollups panicked".into()))?;
            let new = NewPart { day, first, last, rows };
            parts.push(self.inner.db.write(move |c| Box::pin(async move { write_part(c, &new).await })).await?);
        }
        tracing::debug!(day, parts = parts.len(), series = seen.len(), "rolled up");
        let (inner, added, gone) = (self.inner.clone(), parts.clone(), pages.clone());
        self.inner
            .db
            .write_then(
                move |c| {
                    Box::pin(async move {
                        publish(c, &parts, &seen, &pages).await?;
                        bump_epoch(c).await
                    })
                },
                move |()| {
                    let (mut index, mut warm) = (inner.write(), inner.warm());
                    gone.iter().for_each(|id| {
                        index.pages.remove(id);
                        warm.remove(*id);
                    });
                    add(&mut index, &added);
                    index.changes.note(i64::MIN);
                },
            )
            .await
    }

    async fn rolled_up(&self, pages: &[i64], series: &[(u32, Labels)]) -> Result<Vec<Day>> {
        let ids: Vec<u32> = {
            let mut ids: Vec<u32> = series.iter().map(|(id, _)| *id).collect();
            ids.sort_unstable();
            ids
        };
        let before = counters(&mut *self.inner.db.reader().await?, &ids).await?;
        let loaded = self.touched(pages, &ids).await?;
        let series = series.to_vec();
        tokio::task::spawn_blocking(move || roll_all(&loaded, series, &before))
            .await
            .map_err(|_| StoreError::Database("rolling up samples panicked".into()))
    }
}

/// Series with samples in these pages, kin beside kin.
fn series_in(index: &RwLock<Index>, pages: &[(i64, Arc<Directory>)]) -> Vec<(u32, Labels)> {
    let mut ids: Vec<u32> = Vec::new();
    for (_, directory) in pages {
        ids.extend(directory.series().map(|(id, _)| id));
        ids.sort_unstable();
        ids.dedup();
    }
    let mut series: Vec<(u32, Labels)> = {
        let index = index.read().unwrap_or_else(PoisonError::into_inner);
        ids.into_iter().filter_map(|id| index.series.get(&id).map(|e| (id, e.labels.clone()))).collect()
    };
    series.sort_by(|a, b| Kin::of(&a.1).cmp(&Kin::of(&b.1)));
    series
}

/// Series one by one: a day of all of them is never in memory.
fn roll_all(pages: &[Loaded], series: Vec<(u32, Labels)>, before: &HashMap<u32, f64>) -> Vec<Day> {
    let mut splicer = Splicer::new(pages, (i64::MIN, i64::MAX));
    let (mut columns, mut days) = (Columns::default(), Vec::with_capacity(series.len()));
    for (series, labels) in series {
        let places = pages
            .iter()
            .enumerate()
            .flat_map(|(at, (directory, _))| directory.find(series, i64::MIN, i64::MAX).map(move |place| (at, place)));
        if let Err((_, damaged)) = splicer.read(&places.collect::<Vec<_>>(), &[], &mut columns) {
            // It matches its checksum and says nothing: no query could have read it, and it must not keep the rest.
            tracing::error!(series = %labels, %damaged, "a day of a series goes without rollups");
            continue;
        }
        let samples = || columns.times.iter().copied().zip(columns.values.iter().copied());
        let before = before.get(&series).copied();
        let buckets = Resolution::ALL.map(|resolution| roll(samples(), resolution, before));
        let (Some(first), Some(last)) = (columns.times.first(), columns.times.last()) else { continue };
        if buckets[0].is_empty() {
            continue;
        }
        // A stale marker is a NaN too.
        let counter = counted(&columns.values);
        days.push(Day { series, labels, first: *first, last: *last, counter, buckets });
    }
    days
}
