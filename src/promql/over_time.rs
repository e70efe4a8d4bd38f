//! Functions of a window of samples: `rate` and its family, `deriv`, `predict_linear`, `changes`, `*_over_time`.
//! The window `(start, end]` is never empty and, but for [`Compute::Latest`], holds no stale marker.
//!
//! Windows of a range query overlap, so what can be carried from one to the next is ([`Compute::row`]): resets, counts and
//! extremes cost constant time per step, with the results of a fresh look at each window bit for bit. Sums are
//! compensated in the order of their window and cannot be carried without changing their last digits.

use std::collections::VecDeque;

use crate::domain::metric::is_stale;
use crate::domain::rollup::Field;

use super::plan::WindowFn;
use super::rolled::Instead;
use super::stats;
use super::windows::{Frame, Windows};

/// No value at a step. No computation yields the stale marker, and no sample that it starts from has it.
pub(super) use crate::domain::metric::stale_marker as absent;

pub(super) struct Window<'a> {
    /// Milliseconds, ascending.
    pub times: &'a [i64],
    /// As many.
    pub values: &'a [f64],
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
        self.values.iter().copied()
    }
    /// `(seconds since origin, value)`.
    fn points(&self, origin: i64) -> impl Iterator<Item = (f64, f64)> {
        self.times.iter().zip(self.values).map(move |(t, v)| ((t - origin) as f64 / 1000.0, *v))
    }
}

/// How a value comes from a window.
#[derive(Clone, Copy)]
pub(super) enum Compute {
    /// From the samples of the window alone; and how it comes from rollups.
    Each(WindowFn, Instead),
    /// `rate` and `increase`.
    Counter { per_second: bool },
    /// How many neighbours satisfy a predicate.
    Steps(fn(f64, f64) -> bool),
    /// `min_over_time`, `max_over_time`: the first value that no other one of the window beats.
    Extreme { beats: fn(f64, f64) -> bool },
    /// An instant selector, over its lookback: the newest sample, unless it is a stale marker; or its time in seconds.
    Latest { time: bool },
}

/// Whether there is a sample.
pub(super) const PRESENT: Compute = Compute::Each(|_| Some(1.0), Instead::Each(Field::Last));

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
            let edge = Edge::of(w.times, w.start, w.end);
            (w.values.len() > 1).then(|| edge.extrapolated(w.values[w.values.len() - 1] - w.values[0], None))
        },
        "irate" => |w| instantaneous(w, true),
        "idelta" => |w| instantaneous(w, false),
        "deriv" => |w| (w.values.len() > 1).then(|| stats::regression(w.points(w.times[0])).0),
        "predict_linear" => |w| {
            let (slope, now) = stats::regression(w.points(w.now));
            (w.values.len() > 1).then_some(slope * w.param + now)
        },
        "avg_over_time" => |w| Some(stats::mean(w.values())),
        "sum_over_time" => |w| Some(stats::sum(w.values())),
        "count_over_time" => |w| Some(w.values.len() as f64),
        "stddev_over_time" => |w| Some(stats::variance(w.values()).sqrt()),
        "stdvar_over_time" => |w| Some(stats::variance(w.values())),
        "quantile_over_time" => |w| Some(stats::quantile(w.param, &mut w.values().collect::<Vec<_>>())),
        "mad_over_time" => median_deviation,
        "present_over_time" => |_| Some(1.0),
        "last_over_time" => |w| w.values.last().copied(),
        "first_over_time" => |w| w.values.first().copied(),
        _ => return None,
    };
    let instead = match name {
        "sum_over_time" => Instead::Total(Field::Sum),
        "count_over_time" => Instead::Total(Field::Count),
        "avg_over_time" => Instead::Average,
        "last_over_time" | "present_over_time" => Instead::Each(Field::Last),
        _ => Instead::Lasts,
    };
    Some((Compute::Each(each, instead), matches!(name, "last_over_time" | "first_over_time")))
}

/// Buffers that serve one series after the other.
#[derive(Default)]
pub(super) struct Scratch {
    /// Indices of samples before which a counter was reset.
    resets: Vec<usize>,
    /// How many pairs up to each sample count.
    pairs: Vec<u32>,
    /// Indices of candidates for the extreme: each beats all that follow it, the best is in front.
    best: VecDeque<usize>,
}

impl Compute {
    /// Does it see stale markers?
    pub(super) fn sees_markers(self) -> bool {
        matches!(self, Compute::Latest { .. })
    }

    /// How it comes from rollups, where samples are gone.
    pub(super) fn instead(self) -> Instead {
        match self {
            Compute::Each(_, instead) => instead,
            Compute::Counter { per_second } => Instead::Increase { per_second },
            Compute::Steps(_) => Instead::Lasts,
            Compute::Extreme { beats } if beats(0.0, 1.0) => Instead::Each(Field::Min),
            Compute::Extreme { .. } => Instead::Each(Field::Max),
            Compute::Latest { .. } => Instead::Each(Field::Last),
        }
    }

    /// The values of one series at all steps of `frame`, in place of what is in `out`.
    pub(super) fn row(
        self,
        (times, values): (&[i64], &[f64]),
        windows: &Windows,
        frame: &Frame<'_>,
        scratch: &mut Scratch,
        out: &mut Vec<f64>,
    ) {
        out.clear();
        let bounds = || windows.bounds.iter().map(|&(from, to)| (from as usize, to as usize));
        match self {
            Compute::Each(compute, _) => out.extend(bounds().enumerate().map(|(i, (from, to))| {
                if from == to {
                    return absent();
                }
                let end = frame.ends[i];
                let (start, now) = (end.saturating_sub(frame.range_ms), frame.grid.at(i));
                let param = frame.param.map_or(f64::NAN, |p| p[i]);
                let window = Window { times: &times[from..to], values: &values[from..to], start, end, now, param };
                compute(&window).unwrap_or_else(absent)
            })),
            Compute::Counter { per_second } => {
                counter(values, windows, per_second.then_some(frame.range_ms), scratch, out)
            }
            Compute::Steps(counts) => {
                let pairs = &mut scratch.pairs;
                pairs.clear();
                pairs.extend(values.first().map(|_| 0));
                let steps = values.windows(2).scan(0, |sum, pair| {
                    *sum += u32::from(counts(pair[0], pair[1]));
                    Some(*sum)
                });
                pairs.extend(steps);
                let within = |(from, to)| if from == to { absent() } else { f64::from(pairs[to - 1] - pairs[from]) };
                out.extend(bounds().map(within));
            }
            // One window has nothing to carry.
            Compute::Extreme { beats } if windows.bounds.len() == 1 => {
                let better = |best: f64, v: &f64| if best.is_nan() || beats(*v, best) { *v } else { best };
                let whole = |(from, to): (usize, usize)| values[from..to].iter().fold(f64::NAN, better);
                out.extend(bounds().map(|of| if of.0 == of.1 { absent() } else { whole(of) }));
            }
            Compute::Extreme { beats } => extremes(values, bounds(), beats, &mut scratch.best, out),
            Compute::Latest { time } => out.extend(bounds().map(|(from, to)| match to.checked_sub(1) {
                Some(last) if from < to && time && !is_stale(values[last]) => times[last] as f64 / 1000.0,
                Some(last) if from < to && !time => values[last],
                _ => absent(),
            })),
        }
    }
}

fn extremes(
    values: &[f64],
    bounds: impl Iterator<Item = (usize, usize)>,
    beats: fn(f64, f64) -> bool,
    best: &mut VecDeque<usize>,
    out: &mut Vec<f64>,
) {
    best.clear();
    let mut seen = 0;
    out.extend(bounds.map(|(from, to)| {
        if from == to {
            return absent();
        }
        for i in seen.max(from)..to {
            let v = values[i];
            if v.is_nan() {
                continue;
            }
            while best.back().is_some_and(|b| beats(v, values[*b])) {
                best.pop_back();
            }
            best.push_back(i);
        }
        seen = to;
        while best.front().is_some_and(|i| *i < from) {
            best.pop_front();
        }
        best.front().map_or(f64::NAN, |i| values[*i])
    }));
}

/// `rate` over `Some(range in milliseconds)`, else `increase`.
fn counter(values: &[f64], windows: &Windows, range_ms: Option<i64>, scratch: &mut Scratch, out: &mut Vec<f64>) {
    let resets = &mut scratch.resets;
    resets.clear();
    // Most counters have none, and that is quickly seen.
    if values.windows(2).fold(false, |any, pair| any | (pair[1] < pair[0])) {
        resets.extend((1..values.len()).filter(|i| values[*i] < values[i - 1]));
    }
    let seconds = range_ms.map(|ms| ms as f64 / 1000.0);
    let mut first = 0;
    out.extend(windows.bounds.iter().zip(&windows.edges).map(|(&(from, to), edge)| {
        let (from, to) = (from as usize, to as usize);
        if to - from < 2 {
            return absent();
        }
        let mut change = values[to - 1] - values[from];
        // A drop is a reset: what had been counted before it is added back.
        while resets.get(first).is_some_and(|i| *i <= from) {
            first += 1;
        }
        resets[first..].iter().take_while(|i| **i < to).for_each(|i| change += values[i - 1]);
        edge.extrapolated(change, Some((values[from], seconds)))
    }));
}

/// What the times of a window say about the interval that it stands for: `extrapolatedRate` of Prometheus 3
/// (promql/functions.go).
#[derive(Debug, Clone, Copy)]
pub(super) struct Edge {
    /// Seconds from the first sample to the last.
    sampled: f64,
    to_start: f64,
    to_end: f64,
}

impl Edge {
    pub(super) fn of(times: &[i64], start: i64, end: i64) -> Edge {
        let [first, .., last] = times else { return Edge { sampled: 0.0, to_start: 0.0, to_end: 0.0 } };
        let sampled = (last - first) as f64 / 1000.0;
        let between = sampled / (times.len() - 1) as f64;
        // A sample is expected within 1.1 intervals of an edge; farther away, the series is taken to begin or end half an
        // interval beyond its last sample.
        let threshold = between * 1.1;
        let bounded = |distance: f64| if distance >= threshold { between / 2.0 } else { distance };
        let to_start = bounded((first - start) as f64 / 1000.0);
        Edge { sampled, to_start, to_end: bounded((end - last) as f64 / 1000.0) }
    }

    /// `counter`: its first value, and the range in seconds if the result is a rate.
    fn extrapolated(&self, change: f64, counter: Option<(f64, Option<f64>)>) -> f64 {
        let mut to_start = self.to_start;
        if let Some((first, _)) = counter
            && change > 0.0
            && first >= 0.0
        {
            // A counter is never extrapolated below zero.
            let to_zero = self.sampled * (first / change);
            if to_zero < to_start {
                to_start = to_zero;
            }
        }
        let mut factor = (self.sampled + to_start + self.to_end) / self.sampled;
        if let Some((_, Some(seconds))) = counter {
            factor /= seconds;
        }
        change * factor
    }
}

fn instantaneous(w: &Window<'_>, is_rate: bool) -> Option<f64> {
    let ([.., before, after], [.., earlier, later]) = (w.values, w.times) else { return None };
    let elapsed_ms = later - earlier;
    if elapsed_ms == 0 {
        return None;
    }
    let reset = is_rate && after < before;
    let change = if reset { *after } else { after - before };
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
    use super::super::eval::Grid;
    use super::*;
    use crate::domain::metric::is_stale;

    /// Windows of `range` at each of `ends`.
    fn row(name: &str, (times, values): (&[i64], &[f64]), ends: &[i64], range_ms: i64) -> Vec<Option<f64>> {
        let (compute, _) = find(name).unwrap();
        let param = vec![0.5; ends.len()];
        let grid = Grid { start: ends[0], step: ends.get(1).map_or(1, |e| e - ends[0]), count: ends.len() };
        let frame = Frame { ends, range_ms, grid, param: Some(&param) };
        let mut out = Vec::new();
        compute.row((times, values), &Windows::of(times, &frame, compute), &frame, &mut Scratch::default(), &mut out);
        out.into_iter().map(|v| (!is_stale(v)).then_some(v)).collect()
    }

    fn over(name: &str, values: &[f64], start: i64, end: i64, step: i64) -> Option<f64> {
        let times: Vec<i64> = (0..values.len() as i64).map(|i| i * step).collect();
        row(name, (&times, values), &[end], end - start)[0]
    }

    #[test]
    fn walking_gives_what_a_fresh_look_gives() {
        let value = |i: i64| match (i * 7919) % 23 {
            0 => f64::NAN,
            n => (n - 11) as f64,
        };
        let times: Vec<i64> = (0..200).map(|i| i * 1000 + (i * 37) % 400).collect();
        let values: Vec<f64> = (0..200).map(value).collect();
        for name in ["rate", "increase", "changes", "resets", "min_over_time", "max_over_time"] {
            for (range, step) in [(7_000, 1_000), (20_000, 3_000), (2_000, 11_000), (1, 500)] {
                let ends: Vec<i64> = (0..210_000).step_by(step).collect();
                let walked = row(name, (&times, &values), &ends, range);
                for (end, walked) in ends.iter().zip(walked) {
                    let from = times.partition_point(|t| *t <= end - range);
                    let to = times.partition_point(|t| t <= end);
                    let fresh = row(name, (&times[from..to], &values[from..to]), &[*end], range)[0];
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
