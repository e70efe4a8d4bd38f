//! Exponential histograms as explicit buckets, which PromQL's `histogram_quantile` reads. Pure.
//!
//! Bounds lie on one grid, powers of `2^(1/4)`, so that they stay the same when a sender changes its scale: finer buckets
//! are merged, which is exact, and bounds of coarser ones are on the grid already. A quantile is then off by no more than a
//! bucket's width, [`WIDTH`]. Source: OpenTelemetry, "Metrics Data Model", exponential histogram.

use std::collections::BTreeMap;

use super::message::{Buckets, ExponentialPoint, HistogramPoint};

/// Finest scale that is kept.
const SCALE: i32 = 2;
/// What the specification allows.
const SCALES: std::ops::RangeInclusive<i32> = -10..=20;
/// `2^(n/4)`.
const POWERS: [f64; 4] = [1.0, 1.189_207_115_002_721, std::f64::consts::SQRT_2, 1.681_792_830_507_429];
/// Said in the metric's help: how far a quantile may be off.
pub(super) const WIDTH: &str = "from an exponential histogram, quantiles within 19 %";

/// The point with bounds; why it is refused otherwise.
pub(super) fn explicit(from: ExponentialPoint) -> Result<HistogramPoint, &'static str> {
    if !SCALES.contains(&from.scale) {
        return Err("its scale is not between -10 and 20");
    }
    let mut to = Ascending::default();
    // The farthest below zero comes first; a bucket's upper bound is there the one nearer to zero.
    let negative = on_grid(&from.negative, from.scale);
    if let Some((outermost, _)) = negative.last_key_value() {
        to.push(-power(outermost + step(from.scale)), 0);
    }
    negative.iter().rev().for_each(|(lower, count)| to.push(-power(*lower), *count));
    if from.zeros > 0 || !negative.is_empty() {
        to.push(from.zero_threshold.max(0.0), from.zeros);
    }
    let positive = on_grid(&from.positive, from.scale);
    if let Some((lowest, _)) = positive.first_key_value() {
        to.push(power(*lowest), 0);
    }
    positive.iter().for_each(|(lower, count)| to.push(power(lower + step(from.scale)), *count));
    // What lies above the last bound; `count` says how much there is in all.
    to.counts.push(0);
    Ok(HistogramPoint { point: from.point, count: from.count, sum: from.sum, counts: to.counts, bounds: to.bounds })
}

/// Buckets with bounds that ascend, whatever the sender's numbers are.
#[derive(Default)]
struct Ascending {
    bounds: Vec<f64>,
    counts: Vec<u64>,
}

impl Ascending {
    fn push(&mut self, bound: f64, count: u64) {
        match self.counts.last_mut() {
            // Not farther than the last: powers too small for a double, or a threshold wider than the first bucket.
            Some(last) if self.bounds.last().is_some_and(|known| bound <= *known) => *last = last.saturating_add(count),
            _ => {
                self.bounds.push(bound);
                self.counts.push(count);
            }
        }
    }
}

/// Width of a bucket of that scale, in steps of the grid.
fn step(scale: i32) -> i64 {
    1 << (SCALE - scale.min(SCALE))
}

/// Counts by the lower bound's place on the grid, from the first bucket that has any to the last.
fn on_grid(buckets: &Buckets, scale: i32) -> BTreeMap<i64, u64> {
    let filled = |count: &u64| *count > 0;
    let Some(first) = buckets.counts.iter().position(filled) else { return BTreeMap::new() };
    let last = buckets.counts.iter().rposition(filled).unwrap_or(first);
    let mut out = BTreeMap::new();
    for (i, count) in (first..=last).zip(&buckets.counts[first..=last]) {
        let index = i64::from(buckets.offset) + i as i64;
        let place = if scale > SCALE { index >> (scale - SCALE) } else { index * step(scale) };
        let sum: &mut u64 = out.entry(place).or_default();
        *sum = sum.saturating_add(*count);
    }
    out
}

/// `2^(place/4)`; infinite or zero where a double ends.
fn power(place: i64) -> f64 {
    let whole = place.div_euclid(4).clamp(-2000, 2000) as i32;
    // In two parts: 2^-1074 is a double, and its reciprocal is none.
    2f64.powi(whole / 2) * 2f64.powi(whole - whole / 2) * POWERS[place.rem_euclid(4) as usize]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn buckets(offset: i32, counts: &[u64]) -> Buckets {
        Buckets { offset, counts: counts.to_vec() }
    }
    fn shown(point: ExponentialPoint) -> Vec<(f64, u64)> {
        let found = explicit(point).unwrap();
        found.bounds.into_iter().zip(found.counts).collect()
    }

    #[test]
    fn bounds_of_every_scale_lie_on_one_grid() {
        let at = |scale, offset, counts: &[u64]| {
            shown(ExponentialPoint { scale, positive: buckets(offset, counts), ..ExponentialPoint::default() })
        };
        assert_eq!(at(0, 0, &[1, 0, 3]), [(1.0, 0), (2.0, 1), (4.0, 0), (8.0, 3)]);
        assert_eq!(at(-1, -1, &[0, 5, 0]), [(1.0, 0), (4.0, 5)], "empty ends are left out");
        // Eight buckets to the octave become four.
        let fourth = 2f64.powf(0.25);
        assert_eq!(at(3, -1, &[1, 2, 3, 4]), [(POWERS[3] / 2.0, 0), (1.0, 1), (fourth, 5), (2f64.sqrt(), 4)]);
        assert_eq!(at(20, -1, &[1, 1]), [(POWERS[3] / 2.0, 0), (1.0, 1), (fourth, 1)]);
    }

    #[test]
    fn below_zero_and_around_it() {
        let point = ExponentialPoint {
            negative: buckets(0, &[2, 1]),
            zeros: 7,
            zero_threshold: 0.5,
            positive: buckets(1, &[4]),
            ..ExponentialPoint::default()
        };
        assert_eq!(shown(point), [(-4.0, 0), (-2.0, 1), (-1.0, 2), (0.5, 7), (2.0, 0), (4.0, 4)]);
        assert!(explicit(ExponentialPoint { scale: 21, ..ExponentialPoint::default() }).is_err());
        assert_eq!(shown(ExponentialPoint::default()), []);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_bounds_ascend(
            scale in -10i32..=20,
            offsets in (any::<i32>(), any::<i32>()),
            counts in (prop::collection::vec(0u64..9, 0..40), prop::collection::vec(0u64..9, 0..40)),
            zeros in 0u64..9,
        ) {
            let all = counts.0.iter().chain(&counts.1).sum::<u64>() + zeros;
            let (negative, positive) = (buckets(offsets.0, &counts.0), buckets(offsets.1, &counts.1));
            let point = ExponentialPoint { scale, zeros, negative, positive, ..ExponentialPoint::default() };
            let found = explicit(point).unwrap();
            prop_assert_eq!(found.counts.iter().sum::<u64>(), all);
            prop_assert_eq!(found.counts.len(), found.bounds.len() + 1);
            prop_assert!(found.bounds.is_sorted_by(|a, b| a < b));
        }
    }
}
