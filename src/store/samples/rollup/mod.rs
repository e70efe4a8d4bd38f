//! Rollups: made of a day's raw samples when those go (`make.rs`), packed like pages (`pack.rs`), kept in parts of some
//! hundred series (`file.rs`), read when a query reaches that far back (`read.rs`).
//!
//! Here is what memory has of them: one small entry a part. Thirteen months of directories would be more than the rest.

mod file;
mod make;
mod pack;
mod read;

use std::collections::BTreeMap;

pub(super) use file::{add, carry_over, drop_day, read_all};
pub(super) use read::{Rolled, load};

use super::page::Kin;
use crate::domain::metric::Labels;

/// What is rolled up together: a UTC day, four windows of raw samples.
pub(super) const DAY_MS: i64 = 86_400_000;

/// Start of the day that `t` lies in.
pub(super) fn day_of(t: i64) -> i64 {
    t.div_euclid(DAY_MS) * DAY_MS
}

/// Rollups of some hundred series over a day.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub id: i64,
    /// Its start.
    pub day: i64,
    /// Families of metrics, by their order: what lies outside is not in here.
    pub first: String,
    pub last: String,
    pub bytes: u64,
}

/// All parts that count.
#[derive(Debug, Clone, Default)]
pub(super) struct Rollups {
    /// By day and number.
    parts: BTreeMap<(i64, i64), Part>,
    /// Series that have no raw samples any more.
    pub only: usize,
}

impl Rollups {
    pub fn insert(&mut self, part: Part) {
        self.parts.insert((part.day, part.id), part);
    }

    pub fn remove_day(&mut self, day: i64) {
        self.parts.retain(|(other, _), _| *other != day);
    }

    pub fn replace(&mut self, parts: Vec<Part>) {
        self.parts = parts.into_iter().map(|p| ((p.day, p.id), p)).collect();
    }

    /// Raw samples before it are gone: up to here rollups answer.
    pub fn until(&self) -> Option<i64> {
        self.parts.keys().next_back().map(|(day, _)| day + DAY_MS)
    }

    pub fn oldest_day(&self) -> Option<i64> {
        self.parts.keys().next().map(|(day, _)| *day)
    }

    pub fn bytes(&self) -> u64 {
        self.parts.values().map(|p| p.bytes).sum()
    }

    pub fn all(&self) -> impl Iterator<Item = &Part> {
        self.parts.values()
    }

    /// Parts, in order, that may have buckets of these series with an end in `(from, to]`.
    pub fn parts<'l>(&self, labels: impl Iterator<Item = &'l Labels>, (from, to): (i64, i64)) -> Vec<i64> {
        let mut families: Vec<&str> = labels.map(|l| Kin::of(l).family).collect();
        families.sort_unstable();
        families.dedup();
        let named = |part: &Part| {
            let at = families.partition_point(|f| *f < part.first.as_str());
            families.get(at).is_some_and(|f| *f <= part.last.as_str())
        };
        // A sample at midnight belongs to the bucket that ends there, and is kept with the day that begins.
        let days = from.saturating_sub(DAY_MS)..=to;
        let near = self.parts.range((*days.start(), i64::MIN)..=(*days.end(), i64::MAX));
        near.filter(|(_, part)| named(part)).map(|((_, id), _)| *id).collect()
    }
}

#[cfg(test)]
mod tests;
