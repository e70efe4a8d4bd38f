//! Sums, means and quantiles as Prometheus 3 computes them: Kahan–Neumaier compensated, NaN and infinities as IEEE.

pub(super) use crate::domain::sum::Sum;

pub(super) fn sum(values: impl Iterator<Item = f64>) -> f64 {
    let mut sum = Sum::default();
    values.for_each(|v| sum.add(v));
    sum.value()
}

/// Direct mean as long as the sum does not overflow, incremental from there on. NaN when empty.
pub(super) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let mut sum = Sum::default();
    let mut running: Option<Sum> = None;
    let mut count = 0.0;
    for (i, v) in values.enumerate() {
        count += 1.0;
        if running.is_none() {
            let mut next = sum;
            next.add(v);
            // The first value is taken as it is, infinities included.
            if i == 0 || !next.total.is_infinite() {
                sum = next;
                continue;
            }
            running = Some(Sum { total: sum.total / (count - 1.0), lost: sum.lost / (count - 1.0) });
        }
        if let Some(mean) = &mut running {
            let q = (count - 1.0) / count;
            *mean = Sum { total: q * mean.total, lost: q * mean.lost };
            mean.add(v / count);
        }
    }
    match running {
        Some(mean) => mean.value(),
        None => sum.total / count + sum.lost / count,
    }
}

/// Population variance (Welford, compensated). NaN when empty.
pub(super) fn variance(values: impl Iterator<Item = f64>) -> f64 {
    let (mut mean, mut squares, mut count) = (Sum::default(), Sum::default(), 0.0);
    for v in values {
        count += 1.0;
        let delta = v - mean.value();
        mean.add(delta / count);
        squares.add(delta * (v - mean.value()));
    }
    squares.value() / count
}

/// Linear between neighbours; NaN sorts first; outside [0, 1] it is an infinity. Sorts `values`.
pub(super) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(nan_first);
    let last = (values.len() - 1) as f64;
    let rank = q * last;
    let lower = rank.floor().max(0.0);
    let upper = (lower + 1.0).min(last);
    let weight = rank - rank.floor();
    values[lower as usize] * (1.0 - weight) + values[upper as usize] * weight
}

pub(super) fn nan_first(a: &f64, b: &f64) -> std::cmp::Ordering {
    a.partial_cmp(b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

/// Least squares over `(seconds, value)`: slope per second and value at second 0.
pub(super) fn regression(points: impl Iterator<Item = (f64, f64)>) -> (f64, f64) {
    let mut n = 0.0;
    let [mut x_sum, mut y_sum, mut xy_sum, mut xx_sum] = [Sum::default(); 4];
    let mut first: Option<f64> = None;
    let mut constant = true;
    for (x, y) in points {
        constant &= *first.get_or_insert(y) == y || n == 0.0;
        n += 1.0;
        x_sum.add(x);
        y_sum.add(y);
        xy_sum.add(x * y);
        xx_sum.add(x * x);
    }
    if constant {
        let y = first.unwrap_or(f64::NAN);
        return if y.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, y) };
    }
    let (x, y) = (x_sum.value(), y_sum.value());
    let slope = (xy_sum.value() - x * y / n) / (xx_sum.value() - x * x / n);
    (slope, y / n - slope * x / n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::sum::{higher, lower};

    #[test]
    fn sums_are_compensated() {
        assert_eq!(sum([1e100, 1.0, -1e100].into_iter()), 1.0);
        assert_eq!(sum([f64::INFINITY, 1.0].into_iter()), f64::INFINITY);
        assert!(sum([f64::INFINITY, f64::NEG_INFINITY].into_iter()).is_nan());
    }

    #[test]
    fn a_mean_survives_overflow() {
        assert_eq!(mean([f64::MAX, f64::MAX].into_iter()), f64::MAX);
        assert_eq!(mean([1.0, 2.0, 6.0].into_iter()), 3.0);
        assert_eq!(mean([f64::NEG_INFINITY, 1.0].into_iter()), f64::NEG_INFINITY);
    }

    #[test]
    fn quantiles_interpolate_and_put_nan_first() {
        assert_eq!(quantile(0.5, &mut [3.0, 1.0]), 2.0);
        assert_eq!(quantile(1.0, &mut [1.0, f64::NAN, 2.0]), 2.0);
        assert!(quantile(0.0, &mut [1.0, f64::NAN, 2.0]).is_nan());
        assert_eq!(quantile(1.1, &mut [1.0]), f64::INFINITY);
        assert!(quantile(0.5, &mut []).is_nan());
    }

    #[test]
    fn extremes_ignore_nan() {
        let extreme = |values: &[f64], beats: fn(f64, f64) -> f64| values.iter().copied().fold(f64::NAN, beats);
        assert_eq!(extreme(&[f64::NAN, 2.0, 1.0], lower), 1.0);
        assert_eq!(extreme(&[2.0, f64::NAN], higher), 2.0);
        assert!(extreme(&[f64::NAN], higher).is_nan());
    }
}
