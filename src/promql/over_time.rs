//! Functions of a window of samples: `rate` and its family, `deriv`, `predict_linear`, `changes`, `*_over_time`.
//! The window `(start, end]` is never empty and holds no stale marker.

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

/// By PromQL name: the function and whether the metric's name stays. Those with a scalar argument are
/// `quantile_over_time` and `predict_linear`.
pub(super) fn find(name: &str) -> Option<(WindowFn, bool)> {
    let compute: WindowFn = match name {
        "rate" => |w| extrapolated(w, true, true),
        "increase" => |w| extrapolated(w, true, false),
        "delta" => |w| extrapolated(w, false, false),
        "irate" => |w| instantaneous(w, true),
        "idelta" => |w| instantaneous(w, false),
        "deriv" => |w| (w.samples.len() > 1).then(|| stats::regression(w.points(w.samples[0].t.ms())).0),
        "predict_linear" => |w| {
            let (slope, now) = stats::regression(w.points(w.now));
            (w.samples.len() > 1).then_some(slope * w.param + now)
        },
        "changes" => |w| count_steps(w, |before, after| after != before && !(after.is_nan() && before.is_nan())),
        "resets" => |w| count_steps(w, |before, after| after < before),
        "avg_over_time" => |w| Some(stats::mean(w.values())),
        "sum_over_time" => |w| Some(stats::sum(w.values())),
        "min_over_time" => |w| Some(stats::min(w.values())),
        "max_over_time" => |w| Some(stats::max(w.values())),
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
    Some((compute, matches!(name, "last_over_time" | "first_over_time")))
}

/// `extrapolatedRate` of Prometheus 3 (promql/functions.go).
fn extrapolated(w: &Window<'_>, is_counter: bool, per_second: bool) -> Option<f64> {
    let (first, last) = (w.samples.first()?, w.samples.last()?);
    if w.samples.len() < 2 {
        return None;
    }
    let mut change = last.v - first.v;
    if is_counter {
        // A drop is a reset: what had been counted before it is added back.
        change += w.samples.windows(2).filter(|p| p[1].v < p[0].v).fold(0.0, |lost, p| lost + p[0].v);
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
        to_start = to_start.min(sampled * (first.v / change));
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

fn count_steps(w: &Window<'_>, matters: fn(f64, f64) -> bool) -> Option<f64> {
    Some(w.samples.windows(2).filter(|p| matters(p[0].v, p[1].v)).count() as f64)
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
        compute(&Window { samples: &samples, start, end, now: end, param: 0.5 })
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
