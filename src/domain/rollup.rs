//! Rollups: what stays of a series' samples when they are gone themselves. A bucket tells of the samples in `(end - length,
//! end]`, as PromQL's windows are open on the left, and is known by its end. Pure.
//!
//! How much of a bucket was seen is its count beside what the scrape interval gives: `count_over_time` of rollups is that
//! of the samples, so coverage is computed from either in the same way.

use super::metric::{Columns, ReadError, is_stale};
use super::sum::{Sum, higher, lower};

/// How long a bucket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resolution {
    FiveMinutes,
    Hour,
}

impl Resolution {
    pub const ALL: [Resolution; 2] = [Resolution::FiveMinutes, Resolution::Hour];

    pub const fn ms(self) -> i64 {
        match self {
            Resolution::FiveMinutes => 300_000,
            Resolution::Hour => 3_600_000,
        }
    }

    pub const fn text(self) -> &'static str {
        match self {
            Resolution::FiveMinutes => "5m",
            Resolution::Hour => "1h",
        }
    }

    /// The last end of a bucket at or before `t`.
    pub fn before(self, t: i64) -> i64 {
        t.div_euclid(self.ms()).saturating_mul(self.ms())
    }

    /// The end of the bucket that a sample at `t` belongs to.
    pub fn end_of(self, t: i64) -> i64 {
        let end = self.before(t);
        if end < t { end.saturating_add(self.ms()) } else { end }
    }

    /// A window, in whole buckets.
    pub fn round_up(self, window_ms: i64) -> i64 {
        self.end_of(window_ms).max(self.ms())
    }
}

/// What is known of a bucket. Stale markers are no samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// Samples, NaN included.
    Count,
    Sum,
    /// NaN only when all samples are.
    Min,
    Max,
    Last,
    /// What a counter grew by since the sample before the bucket, resets added back; NaN samples are passed over. The first
    /// sample ever adds nothing.
    Increase,
}

impl Field {
    pub const ALL: [Field; 6] = [Field::Count, Field::Sum, Field::Min, Field::Max, Field::Last, Field::Increase];

    /// Of two parts of one bucket, the samples of `earlier` before those of `later`.
    pub fn combine(self, earlier: f64, later: f64) -> f64 {
        match self {
            Field::Count | Field::Sum | Field::Increase => earlier + later,
            Field::Min => lower(earlier, later),
            Field::Max => higher(earlier, later),
            Field::Last => later,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// Milliseconds.
    pub end: i64,
    pub count: f64,
    pub sum: f64,
    pub min: f64,
    pub max: f64,
    pub last: f64,
    pub increase: f64,
}

impl Bucket {
    pub fn get(&self, field: Field) -> f64 {
        match field {
            Field::Count => self.count,
            Field::Sum => self.sum,
            Field::Min => self.min,
            Field::Max => self.max,
            Field::Last => self.last,
            Field::Increase => self.increase,
        }
    }
}

/// The buckets of samples in ascending time. `before` is the newest value before them that is no NaN, as
/// [`counted`] gives it.
pub fn roll(samples: impl Iterator<Item = (i64, f64)>, resolution: Resolution, mut before: Option<f64>) -> Vec<Bucket> {
    let mut buckets: Vec<Bucket> = Vec::new();
    // Of the open bucket: the sum, the counter before it, what resets took.
    let (mut sum, mut reference, mut reset) = (Sum::default(), before, 0.0);
    for (t, v) in samples.filter(|(_, v)| !is_stale(*v)) {
        let end = resolution.end_of(t);
        if buckets.last().is_none_or(|b| b.end != end) {
            let nothing = f64::NAN;
            buckets.push(Bucket { end, count: 0.0, sum: 0.0, min: nothing, max: nothing, last: v, increase: 0.0 });
            (sum, reference, reset) = (Sum::default(), before, 0.0);
        }
        let Some(bucket) = buckets.last_mut() else { continue };
        bucket.count += 1.0;
        sum.add(v);
        bucket.sum = sum.value();
        bucket.min = Field::Min.combine(bucket.min, v);
        bucket.max = Field::Max.combine(bucket.max, v);
        bucket.last = v;
        if v.is_nan() {
            continue;
        }
        // As Prometheus' rate: what had been counted before a drop is added back.
        reset += before.filter(|b| v < *b).unwrap_or(0.0);
        let from = *reference.get_or_insert(v);
        bucket.increase = v - from + reset;
        before = Some(v);
    }
    buckets
}

/// What a counter stands at after these values, for the [`roll`] of those that follow.
pub fn counted(values: &[f64]) -> Option<f64> {
    values.iter().rev().copied().find(|v| !v.is_nan())
}

/// What a query wants of rollups beside the samples.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    pub resolution: Resolution,
    pub fields: &'static [Field],
}

/// Rollups of the series that a scan found, by the same numbers.
pub trait RolledScan: Send + Sync {
    /// Milliseconds: samples before it are only here.
    fn until(&self) -> i64;
    /// `None`: nothing was wanted of them.
    fn wanted(&self) -> Option<Wanted>;
    /// Where a counter stood at `until`, when increases were wanted and anything of it is rolled up.
    fn counter(&self, nth: usize) -> Option<f64>;
    /// Unpacks for one thread.
    fn reader(&self) -> Box<dyn RolledReader + '_>;
}

pub trait RolledReader {
    /// Buckets of a series, by their ends, with the values of one field, replace what is in `columns`. The fields are
    /// those wanted, and always `last`.
    fn read(&mut self, nth: usize, field: Field, columns: &mut Columns) -> Result<(), ReadError>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::metric::stale_marker;
    use proptest::prelude::*;

    const FIVE: Resolution = Resolution::FiveMinutes;

    #[test]
    fn buckets_are_open_on_the_left() {
        for (t, end) in [(0, 0), (1, 300_000), (300_000, 300_000), (300_001, 600_000), (-1, 0), (-300_000, -300_000)] {
            assert_eq!(FIVE.end_of(t), end, "{t}");
        }
        assert_eq!((FIVE.round_up(1), FIVE.round_up(300_000), FIVE.round_up(300_001)), (300_000, 300_000, 600_000));
    }

    #[test]
    fn a_bucket_tells_of_its_samples() {
        let minute = 60_000;
        let samples = [
            (minute, 10.0),
            (2 * minute, stale_marker()),
            (3 * minute, 4.0),
            (4 * minute, f64::NAN),
            (5 * minute, 6.0),
            (6 * minute, 9.0),
            (30 * minute, f64::NAN),
        ];
        let rolled = roll(samples.into_iter(), FIVE, Some(7.0));
        let ends: Vec<i64> = rolled.iter().map(|b| b.end / minute).collect();
        assert_eq!(ends, [5, 10, 30]);
        let first = rolled[0];
        assert_eq!((first.count, first.min, first.max, first.last), (4.0, 4.0, 10.0, 6.0));
        assert!(first.sum.is_nan() && rolled[2].min.is_nan() && rolled[2].last.is_nan());
        // 7 → 10, a reset to 4, 6; then 9; then nothing that counts.
        assert_eq!(rolled.iter().map(|b| b.increase).collect::<Vec<_>>(), [9.0, 3.0, 0.0]);
        assert_eq!(roll([(0, 5.0), (1000, 8.0)].into_iter(), FIVE, None)[0].increase, 0.0, "a first sample");
    }

    proptest! {
        #[test]
        fn any_samples_are_told_bucket_by_bucket(
            steps in prop::collection::vec((1i64..900_000, prop_oneof![
                (0u32..50).prop_map(f64::from), Just(f64::NAN), Just(stale_marker()), Just(0.0)
            ]), 1..80),
            hour in any::<bool>(),
        ) {
            let resolution = Resolution::ALL[usize::from(hour)];
            let mut t = 0;
            let samples: Vec<(i64, f64)> = steps.into_iter().map(|(step, v)| { t += step; (t, v) }).collect();
            let rolled = roll(samples.iter().copied(), resolution, None);
            let real: Vec<(i64, f64)> = samples.into_iter().filter(|s| !is_stale(s.1)).collect();
            let within = |b: &Bucket| -> Vec<f64> {
                let inside = |t: i64| t > b.end - resolution.ms() && t <= b.end;
                real.iter().filter(|s| inside(s.0)).map(|s| s.1).collect()
            };
            prop_assert_eq!(rolled.iter().map(|b| b.count).sum::<f64>(), real.len() as f64);
            for bucket in &rolled {
                let mine = within(bucket);
                let same = |a: f64, b: f64| a == b || a.is_nan() && b.is_nan();
                prop_assert!(!mine.is_empty() && bucket.count == mine.len() as f64);
                prop_assert!(same(bucket.sum, mine.iter().sum()));
                prop_assert!(same(bucket.min, mine.iter().copied().fold(f64::NAN, f64::min)));
                prop_assert!(same(bucket.max, mine.iter().copied().fold(f64::NAN, f64::max)));
                prop_assert!(same(bucket.last, mine[mine.len() - 1]));
            }
            // All increases together are what the counter grew by, whatever the buckets.
            let counts: Vec<f64> = real.iter().map(|s| s.1).filter(|v| !v.is_nan()).collect();
            let grew: f64 = counts.windows(2).map(|w| if w[1] < w[0] { w[1] } else { w[1] - w[0] }).sum();
            prop_assert_eq!(rolled.iter().map(|b| b.increase).sum::<f64>(), grew);
        }

        #[test]
        fn two_rolls_of_one_bucket_are_one(values in prop::collection::vec(0u32..9, 2..40), cut in 0usize..40) {
            let samples: Vec<(i64, f64)> = (1..).map(|i| i * 20_000).zip(values.iter().map(|v| f64::from(*v))).collect();
            let (early, late) = samples.split_at(cut.min(samples.len()));
            let whole = roll(samples.iter().copied(), FIVE, None);
            let mut parts = roll(early.iter().copied(), FIVE, None);
            let before = counted(&early.iter().map(|s| s.1).collect::<Vec<_>>());
            for later in roll(late.iter().copied(), FIVE, before) {
                match parts.last_mut().filter(|b| b.end == later.end) {
                    Some(open) => {
                        let [count, sum, min, max, last, increase] =
                            Field::ALL.map(|f| f.combine(open.get(f), later.get(f)));
                        *open = Bucket { end: later.end, count, sum, min, max, last, increase };
                    }
                    None => parts.push(later),
                }
            }
            prop_assert_eq!(parts, whole);
        }
    }
}
