//! Functions of a window of samples: `rate` and its family, `deriv`, `predict_linear`, `changes`, `*_over_time`.
//! The window `(start, end]` is never empty and holds no stale marker.
//!
//! Windows of a range query overlap, so what can be carried from one to the next is ([`Walk`]): resets, counts and
//! extremes cost constant time per step, with the results of a fresh look at each window bit for bit. Sums are
//! compensated in the order of their window and cannot be carried without changing their last digits.

use std::collections::VecDeque;

use crate::domain::metric::Sample;

use super::plan::WindowFn;
use super::stats;

pub(super) struct Window<'a> {
    pub samples: &'a [Sample],
    /// Exclusive, milliseconds.
    pub start: i64,
    /// Inclusive, milliseconds.
    pub end: i64,
    /// The step, before offset and `@`.
    pub now: i64,
    /// The scalar argument, NaN when the function has none.
    pub param: f64,
}

impl Window<'_> {
    fn values(&self) -> impl Iterator<Item = f64> {
        self.samples.iter().map(|s| s.v)
    }
    /// `(seconds since origin, value)`.
    fn points(&self, origin: i64) -> impl Iterator<Item = (f64, f64)> {
        self.samples.iter().map(move |s| ((s.t.ms() - origin) as f64 / 1000.0, s.v))
    }
}

/// How a value comes from a window.
#[derive(Clone, Copy)]
pub(super) enum Compute {
    /// From the samples of the window alone.
    Each(WindowFn),
    /// `rate` and `increase`.
    Counter { per_second: bool },
    /// How many neighbours satisfy a predicate.
    Steps(fn(f64, f64) -> bool),
    /// `min_over_time`, `max_over_time`: the first value that no other one of the window beats.
    Extreme { beats: fn(f64, f64) -> bool },
}

/// By PromQL name: the function and whether the metric's name stays. Those with a scalar argument are
/// `quantile_over_time` and `predict_linear`.
pub(super) fn find(name: &str) -> Option<(Compute, bool)> {
    let each: WindowFn = match name {
        "rate" => return Some((Compute::Counter { per_second: true }, false)),
        "increase" => return Some((Compute::Counter { per_second: false }, false)),
        "changes" => return Some((Compute::Steps(|a, b| a != b && !(a.is_nan() && b.is_nan())), false)),
        "resets" => return Some((Compute::Steps(|a, b| b < a), false)),
        "min_over_time" => return Some((Compute::Extreme { beats: |a, b| a < b }, false)),
        "max_over_time" => return Some((Compute::Extreme { beats: |a, b| a > b }, false)),
        "delta" => |w| {
            let change = w.samples.last()?.v - w.samples.first()?.v;
            extrapolated(w, change, false, false)
        },
        "irate" => |w| instantaneous(w, true),
        "idelta" => |w| instantaneous(w, false),
        "deriv" => |w| (w.samples.len() > 1).then(|| stats::regression(w.points(w.samples[0].t.ms())).0),
        "predict_linear" => |w| {
            let (slope, now) = stats::regression(w.points(w.now));
            (w.samples.len() > 1).then_some(slope * w.param + now)
        },
        "avg_over_time" => |w| Some(stats::mean(w.values())),
        "sum_over_time" => |w| Some(stats::sum(w.values())),
        "count_over_time" => |w| Some(w.samples.len() as f64),
        "stddev_over_time" => |w| Some(stats::variance(w.values()).sqrt()),
        "stdvar_over_time" => |w| Some(stats::variance(w.values())),
        "quantile_over_time" => |w| Some(stats::quantile(w.param, &mut w.values().collect::<Vec<_>>())),
        "mad_over_time" => median_deviation,
        "present_over_time" => |_| Some(1.0),
        "last_over_time" => |w| w.samples.last().map(|s| s.v),
        "first_over_time" => |w| w.samples.first().map(|s| s.v),
        _ => return None,
    };
    Some((Compute::Each(each), matches!(name, "last_over_time" | "first_over_time")))
}

/// The windows of one series, from the earliest to the latest.
pub(super) struct Walk<'a> {
    compute: Compute,
    samples: &'a [Sample],
    /// Samples before this one have been looked at.
    seen: usize,
    /// Indices of later halves of pairs that count, within or ahead of the window's start.
    pairs: VecDeque<usize>,
    /// Indices of candidates for the extreme: each beats all that follow it, the best is in front.
    best: VecDeque<usize>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(compute: Compute, samples: &'a [Sample]) -> Walk<'a> {
        Walk { compute, samples, seen: 0, pairs: VecDeque::new(), best: VecDeque::new() }
    }

    /// `window.samples` are `samples[from..to]`; neither bound ever goes back.
    pub(super) fn at(&mut self, from: usize, to: usize, window: &Window<'_>) -> Option<f64> {
        match self.compute {
            Compute::Each(compute) => compute(window),
            Compute::Counter { per_second } => {
                if to - from < 2 {
                    return None;
                }
                self.advance_pairs(from, to, |before, after| after < before);
                let mut change = self.samples[to - 1].v - self.samples[from].v;
                // A drop is a reset: what had been counted before it is added back.
                self.pairs.iter().for_each(|i| change += self.samples[i - 1].v);
                extrapolated(window, change, true, per_second)
            }
            Compute::Steps(counts) => {
                self.advance_pairs(from, to, counts);
                Some(self.pairs.len() as f64)
            }
            Compute::Extreme { beats } => {
                for i in self.seen.max(from)..to {
                    let v = self.samples[i].v;
                    if v.is_nan() {
                        continue;
                    }
                    while self.best.back().is_some_and(|b| beats(v, self.samples[*b].v)) {
                        self.best.pop_back();
                    }
                    self.best.push_back(i);
                }
                self.seen = to;
                while self.best.front().is_some_and(|i| *i < from) {
                    self.best.pop_front();
                }
                Some(self.best.front().map_or(f64::NAN, |i| self.samples[*i].v))
            }
        }
    }

    fn advance_pairs(&mut self, from: usize, to: usize, counts: fn(f64, f64) -> bool) {
        for i in self.seen.max(from + 1)..to {
            if counts(self.samples[i - 1].v, self.samples[i].v) {
                self.pairs.push_back(i);
            }
        }
        self.seen = self.seen.max(to);
        while self.pairs.front().is_some_and(|i| *i <= from) {
            self.pairs.pop_front();
        }
    }
}

/// `extrapolatedRate` of Prometheus 3 (promql/functions.go).
fn extrapolated(w: &Window<'_>, change: f64, is_counter: bool, per_second: bool) -> Option<f64> {
    let (first, last) = (w.samples.first()?, w.samples.last()?);
    if w.samples.len() < 2 {
        return None;
    }
    let sampled = (last.t.ms() - first.t.ms()) as f64 / 1000.0;
    let between = sampled / (w.samples.len() - 1) as f64;
    // A sample is expected within 1.1 intervals of an edge; farther away, the series is taken to begin or end half an
    // interval beyond its last sample.
    let threshold = between * 1.1;
    let mut to_start = (first.t.ms() - w.start) as f64 / 1000.0;
    let mut to_end = (w.end - last.t.ms()) as f64 / 1000.0;
    if to_start >= threshold {
        to_start = between / 2.0;
    }
    if is_counter && change > 0.0 && first.v >= 0.0 {
        // A counter is never extrapolated below zero.
        let to_zero = sampled * (first.v / change);
        if to_zero < to_start {
            to_start = to_zero;
        }
    }
    if to_end >= threshold {
        to_end = between / 2.0;
    }
    let mut factor = (sampled + to_start + to_end) / sampled;
    if per_second {
        factor /= (w.end - w.start) as f64 / 1000.0;
    }
    Some(change * factor)
}

fn instantaneous(w: &Window<'_>, is_rate: bool) -> Option<f64> {
    let [.., before, after] = w.samples else { return None };
    let elapsed_ms = after.t.ms() - before.t.ms();
    if elapsed_ms == 0 {
        return None;
    }
    let reset = is_rate && after.v < before.v;
    let change = if reset { after.v } else { after.v - before.v };
    Some(if is_rate { change / (elapsed_ms as f64 / 1000.0) } else { change })
}

fn median_deviation(w: &Window<'_>) -> Option<f64> {
    let mut values: Vec<f64> = w.values().collect();
    if values.iter().any(|v| v.is_nan()) {
        return Some(f64::NAN);
    }
    let median = stats::quantile(0.5, &mut values);
    values.iter_mut().for_each(|v| *v = (*v - median).abs());
    Some(stats::quantile(0.5, &mut values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Timestamp;

    fn over(name: &str, values: &[f64], start: i64, end: i64, step: i64) -> Option<f64> {
        let samples: Vec<Sample> = values
            .iter()
            .enumerate()
            .map(|(i, v)| Sample { t: Timestamp::from_ms(i as i64 * step), v: *v })
            .filter(|s| s.t.ms() > start && s.t.ms() <= end)
            .collect();
        let (compute, _) = find(name).unwrap();
        let window = Window { samples: &samples, start, end, now: end, param: 0.5 };
        Walk::new(compute, &samples).at(0, samples.len(), &window)
    }

    #[test]
    fn walking_gives_what_a_fresh_look_gives() {
        let value = |i: i64| match (i * 7919) % 23 {
            0 => f64::NAN,
            n => (n - 11) as f64,
        };
        let samples: Vec<Sample> =
            (0..200).map(|i| Sample { t: Timestamp::from_ms(i * 1000 + (i * 37) % 400), v: value(i) }).collect();
        for name in ["rate", "increase", "changes", "resets", "min_over_time", "max_over_time"] {
            let (compute, _) = find(name).unwrap();
            for (range, step) in [(7_000, 1_000), (20_000, 3_000), (2_000, 11_000), (0, 500)] {
                let mut walk = Walk::new(compute, &samples);
                for end in (0..210_000).step_by(step) {
                    let start = end - range;
                    let from = samples.partition_point(|s| s.t.ms() <= start);
                    let to = samples.partition_point(|s| s.t.ms() <= end);
                    if from >= to {
                        continue;
                    }
                    let window = Window { samples: &samples[from..to], start, end, now: end, param: 0.0 };
                    let fresh = Walk::new(compute, window.samples).at(0, to - from, &window);
                    let walked = walk.at(from, to, &window);
                    assert_eq!(walked.map(f64::to_bits), fresh.map(f64::to_bits), "{name} {range} {step} {end}");
                }
            }
        }
    }

    #[test]
    fn rate_leaves_out_the_left_edge_and_adds_what_a_reset_lost() {
        let counter = [0.0, 10.0, 20.0, 5.0, 15.0];
        let increase = over("increase", &counter, 0, 60_000, 15_000).unwrap();
        assert!((increase - 33.333_333_333_333_336).abs() < 1e-12, "{increase}");
        let rate = over("rate", &counter, 0, 60_000, 15_000).unwrap();
        assert!((rate - 0.555_555_555_555_555_6).abs() < 1e-12, "{rate}");
        assert_eq!(over("rate", &[1.0, 2.0], 0, 15_000, 15_000), None);
    }

    #[test]
    fn a_new_counter_is_not_extrapolated_below_zero() {
        // First sample is 1 and grows by 10 a step: zero lies a tenth of a step before it.
        let increase = over("increase", &[f64::NAN, 1.0, 11.0, 21.0], 0, 30_000, 10_000).unwrap();
        assert!((increase - 21.0).abs() < 1e-9, "{increase}");
    }

    #[test]
    fn last_two_samples() {
        assert_eq!(over("irate", &[0.0, 7.0, 10.0, 4.0], 0, 30_000, 10_000), Some(0.4));
        assert_eq!(over("idelta", &[0.0, 7.0, 10.0, 4.0], 0, 30_000, 10_000), Some(-6.0));
    }

    #[test]
    fn counts_of_steps() {
        let values = [0.0, 1.0, 1.0, f64::NAN, f64::NAN, 0.5];
        assert_eq!(over("changes", &values, -1, 60_000, 10_000), Some(3.0));
        assert_eq!(over("resets", &[3.0, 2.0, 5.0, 1.0], -1, 60_000, 10_000), Some(2.0));
    }

    #[test]
    fn lines() {
        assert_eq!(over("deriv", &[0.0, 20.0, 40.0], -1, 20_000, 10_000), Some(2.0));
        assert_eq!(over("mad_over_time", &[1.0, 2.0, 3.0, 100.0], -1, 30_000, 10_000), Some(1.0));
    }
}
