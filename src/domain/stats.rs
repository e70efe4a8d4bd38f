//! Statistics without random numbers: two samples compared by ranks, corrected for autocorrelation.
//!
//! Monitoring data are autocorrelated and the plain tests lie, so every z is divided by √((1+ρ)/(1−ρ)). Sources:
//! Mann and Whitney 1947, Hodges and Lehmann 1963, Cliff 1993, Benjamini and Hochberg 1995, Wilson 1927. All inputs
//! are finite numbers; callers leave missing points out and say how many were there.

/// What separates `after` from `before`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    pub n_before: usize,
    pub n_after: usize,
    /// Mann–Whitney U of `after`: pairs in which it is larger, ties counted half.
    pub u: f64,
    /// Cliff's δ, −1 to 1; positive when `after` tends to be larger.
    pub delta: f64,
    /// Hodges–Lehmann shift: median of all differences after − before.
    pub shift: f64,
    /// 95 % interval of the shift, widened for autocorrelation.
    pub interval: (f64, f64),
    /// Lag-1 autocorrelation of both sides, the larger one, floored at 0 and capped at [`RHO_MAX`].
    pub rho: f64,
    /// Two-sided, tie-corrected, after division of z by √((1+ρ)/(1−ρ)).
    pub p: f64,
}

/// Beyond this the correction would claim to know nothing at all; 0.99 already divides z by 14.
pub const RHO_MAX: f64 = 0.99;

/// `None` when a side is empty.
pub fn compare(before: &[f64], after: &[f64]) -> Option<Comparison> {
    let (m, n) = (before.len(), after.len());
    if m == 0 || n == 0 {
        return None;
    }
    let (rank_sum_after, tie_term) = rank_sum(before, after);
    let (mf, nf) = (m as f64, n as f64);
    let u = rank_sum_after - nf * (nf + 1.0) / 2.0;
    let pairs = mf * nf;
    let total = mf + nf;
    let variance = pairs / 12.0 * ((total + 1.0) - tie_term / (total * (total - 1.0)).max(1.0));
    let rho = lag1(before).max(lag1(after)).clamp(0.0, RHO_MAX);
    let stretch = ((1.0 + rho) / (1.0 - rho)).sqrt();
    // Continuity correction of one half towards the middle.
    let distance = ((u - pairs / 2.0).abs() - 0.5).max(0.0);
    let p = if variance > 0.0 { 2.0 * normal_upper(distance / variance.sqrt() / stretch) } else { 1.0 };
    let mut differences: Vec<f64> = after.iter().flat_map(|a| before.iter().map(move |b| a - b)).collect();
    differences.sort_by(f64::total_cmp);
    let half_width = 1.959_964 * variance.max(0.0).sqrt() * stretch;
    let rank = |r: f64| differences[(r.max(0.0) as usize).min(differences.len() - 1)];
    Some(Comparison {
        n_before: m,
        n_after: n,
        u,
        delta: 2.0 * u / pairs - 1.0,
        shift: median_sorted(&differences),
        interval: (rank(pairs / 2.0 - half_width), rank(pairs / 2.0 + half_width)),
        rho,
        p: p.min(1.0),
    })
}

/// Sum of the mid-ranks of `after` in both, and Σ(t³ − t) over ties.
fn rank_sum(before: &[f64], after: &[f64]) -> (f64, f64) {
    let mut all: Vec<(f64, bool)> =
        before.iter().map(|v| (*v, false)).chain(after.iter().map(|v| (*v, true))).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut sum, mut ties, mut seen) = (0.0, 0.0, 0.0);
    for group in all.chunk_by(|a, b| a.0 == b.0) {
        let t = group.len() as f64;
        let mid = seen + (t + 1.0) / 2.0;
        sum += mid * group.iter().filter(|g| g.1).count() as f64;
        ties += t * t * t - t;
        seen += t;
    }
    (sum, ties)
}

/// Lag-1 autocorrelation; 0 for constant or fewer than three values.
pub fn lag1(values: &[f64]) -> f64 {
    if values.len() < 3 {
        return 0.0;
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let variance: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    if variance <= 0.0 {
        return 0.0;
    }
    values.windows(2).map(|w| (w[0] - mean) * (w[1] - mean)).sum::<f64>() / variance
}

/// `None` when empty.
pub fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// Linear interpolation between order statistics (type 7). `None` when empty.
pub fn quantile(values: &[f64], q: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let at = q.clamp(0.0, 1.0) * last as f64;
    let (low, share) = (at.floor() as usize, at.fract());
    Some(sorted[low] + (sorted[(low + 1).min(last)] - sorted[low]) * share)
}

fn median_sorted(sorted: &[f64]) -> f64 {
    let n = sorted.len();
    if n % 2 == 1 { sorted[n / 2] } else { (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0 }
}

/// P(Z > z) of the standard normal.
pub fn normal_upper(z: f64) -> f64 {
    0.5 * statrs::function::erf::erfc(z / std::f64::consts::SQRT_2)
}

/// One-sided lower Wilson bound of `bad` of `total` at `z` (1.645 for 95 %). Zero without events.
pub fn wilson_lower(bad: f64, total: f64, z: f64) -> f64 {
    if total <= 0.0 {
        return 0.0;
    }
    let (p, z2) = (bad / total, z * z);
    let centre = p + z2 / (2.0 * total);
    let spread = z * (p * (1.0 - p) / total + z2 / (4.0 * total * total)).max(0.0).sqrt();
    ((centre - spread) / (1.0 + z2 / total)).max(0.0)
}

/// Which of the tests hold at false discovery rate `q` (Benjamini–Hochberg), in the given order.
pub fn benjamini_hochberg(p: &[f64], q: f64) -> Vec<bool> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]).then(a.cmp(b)));
    let held = order
        .iter()
        .enumerate()
        .filter(|(rank, i)| p[**i] <= q * (*rank + 1) as f64 / p.len() as f64)
        .map(|(rank, _)| rank + 1)
        .max()
        .unwrap_or(0);
    let mut out = vec![false; p.len()];
    for i in &order[..held] {
        out[*i] = true;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 5e-4 * b.abs().max(1e-3), "{a} is not {b}");
    }

    #[test]
    fn the_worked_example_of_the_specification() {
        let c = compare(&[10.0, 11.0, 12.0, 13.0, 14.0, 15.0], &[12.0, 14.0, 15.0, 16.0, 18.0, 20.0]).unwrap();
        assert_eq!((c.shift, c.u), (3.0, 30.5));
        near(c.delta, 0.6944);
    }

    #[test]
    fn wilson_of_the_specification() {
        for (bad, total, bound) in
            [(1.0, 50.0, 0.004474), (3.0, 50.0, 0.024229), (3.0, 100.0, 0.012051), (10.0, 1000.0, 0.005987)]
        {
            near(wilson_lower(bad, total, 1.645), bound);
        }
        assert_eq!(wilson_lower(0.0, 0.0, 1.645), 0.0);
    }

    #[test]
    fn equal_sides_are_equal_and_constants_do_not_divide_by_zero() {
        let same = compare(&[5.0; 60], &[5.0; 60]).unwrap();
        assert_eq!((same.p, same.delta, same.shift), (1.0, 0.0, 0.0));
        assert!(compare(&[], &[1.0]).is_none());
        let one = compare(&[1.0], &[2.0]).unwrap();
        assert!(one.p > 0.3 && one.interval.0 <= one.shift);
    }

    #[test]
    fn autocorrelation_tempers_the_verdict() {
        // A slow wave and the same wave a little further on: the plain test would see a shift.
        let wave = |from: usize| (from..from + 100).map(|i| (i as f64 / 40.0).sin()).collect::<Vec<_>>();
        let c = compare(&wave(0), &wave(100)).unwrap();
        assert!(c.rho > 0.9 && c.p > 0.01, "{c:?}");
        let shuffled: Vec<f64> = (0..100).map(|i| ((i * 37 % 100) as f64) / 100.0).collect();
        let shifted: Vec<f64> = shuffled.iter().map(|v| v + 0.4).collect();
        let c = compare(&shuffled, &shifted).unwrap();
        assert!(c.p < 1e-3 && (c.shift - 0.4).abs() < 0.05 && c.interval.0 < 0.4 && c.interval.1 > 0.4, "{c:?}");
    }

    #[test]
    fn discoveries_are_shared_out() {
        assert_eq!(benjamini_hochberg(&[0.001, 0.8, 0.03, 0.04], 0.05), [true, false, false, false]);
        assert_eq!(benjamini_hochberg(&[0.01, 0.02, 0.03], 0.05), [true, true, true]);
        assert!(benjamini_hochberg(&[], 0.05).is_empty());
    }

    #[test]
    fn quantiles_interpolate() {
        assert_eq!((median(&[3.0, 1.0, 2.0]), quantile(&[0.0, 10.0], 0.95), median(&[])), (Some(2.0), Some(9.5), None));
    }
}
