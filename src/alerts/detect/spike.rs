//! Feedback spike: are there more complaints now than before, and not by chance?
//!
//! If both were Poisson with one rate, the share of the recent window among all is binomial: the exact conditional test
//! (Przyborowski and Wilenski 1940). Fires when p < .001 **and** at least 5 items by at least 3 people **and** the lower
//! 95 % bound of the rate ratio is at least 2. Counts of a baseline that is more ragged than Poisson are divided by its
//! variance-to-mean ratio.

use statrs::distribution::{Beta, ContinuousCDF};
use statrs::function::beta::beta_reg;

pub const P_MAX: f64 = 0.001;
pub const ITEMS_MIN: u64 = 5;
pub const AUTHORS_MIN: usize = 3;
pub const RATIO_MIN: f64 = 2.0;

/// Counts in two windows; lengths in hours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Counts {
    pub recent: f64,
    pub recent_hours: f64,
    pub baseline: f64,
    pub baseline_hours: f64,
}

/// What the test found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spike {
    pub fires: bool,
    pub p: f64,
    /// Recent rate over baseline rate; infinite when the baseline is empty.
    pub ratio: f64,
    /// One-sided lower 95 % bound of the ratio (Clopper–Pearson on the share).
    pub ratio_low: f64,
}

/// P(at least `recent` of all fall into the recent window), exact.
pub fn p_value(c: &Counts) -> f64 {
    if c.recent <= 0.0 {
        return 1.0;
    }
    let share = c.recent_hours / (c.recent_hours + c.baseline_hours);
    // P(X ≥ k) of Binomial(n, p) is the regularised incomplete beta I_p(k, n−k+1); counts need not be whole.
    beta_reg(c.recent, c.baseline + 1.0, share)
}

/// One-sided lower 95 % bound of recent rate over baseline rate.
pub fn ratio_low(c: &Counts) -> f64 {
    if c.recent <= 0.0 {
        return 0.0;
    }
    let Ok(beta) = Beta::new(c.recent, c.baseline + 1.0) else { return 0.0 };
    let share = beta.inverse_cdf(0.05);
    if share >= 1.0 {
        return f64::INFINITY;
    }
    share / (1.0 - share) * c.baseline_hours / c.recent_hours
}

/// Variance over mean of hourly counts, at least 1; 1 when there is too little to say.
pub fn dispersion(hourly: &[u64]) -> f64 {
    let n = hourly.len() as f64;
    let mean = hourly.iter().sum::<u64>() as f64 / n;
    if hourly.len() < 2 || mean <= 0.0 {
        return 1.0;
    }
    let variance = hourly.iter().map(|c| (*c as f64 - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (variance / mean).max(1.0)
}

/// The whole rule. `authors`: distinct people in the recent window; `hourly`: the baseline by the hour.
pub fn judge(recent: u64, recent_hours: f64, authors: usize, hourly: &[u64], baseline_hours: f64) -> Spike {
    let phi = dispersion(hourly);
    let baseline = hourly.iter().sum::<u64>() as f64;
    let counts = Counts { recent: recent as f64 / phi, recent_hours, baseline: baseline / phi, baseline_hours };
    let (p, low) = (p_value(&counts), ratio_low(&counts));
    let ratio = (recent as f64 / recent_hours) / (baseline / baseline_hours);
    let fires = p < P_MAX && recent >= ITEMS_MIN && authors >= AUTHORS_MIN && low >= RATIO_MIN;
    Spike { fires, p, ratio, ratio_low: low }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(recent: u64, recent_hours: f64, baseline: u64, baseline_hours: f64) -> f64 {
        p_value(&Counts { recent: recent as f64, recent_hours, baseline: baseline as f64, baseline_hours })
    }

    fn smallest(recent_hours: f64, baseline: u64, baseline_hours: f64) -> u64 {
        (0..1000).find(|k| p(*k, recent_hours, baseline, baseline_hours) < P_MAX).unwrap()
    }

    #[test]
    fn smallest_counts_that_fire_on_p_alone() {
        for (baseline, hours, one, six) in [
            (0, 24.0, 3, 5),
            (2, 24.0, 3, 7),
            (12, 24.0, 5, 12),
            (48, 24.0, 9, 27),
            (168, 24.0, 18, 68),
            (480, 24.0, 37, 161),
            (0, 168.0, 2, 3),
            (12, 168.0, 3, 5),
            (48, 168.0, 4, 8),
            (168, 168.0, 6, 16),
            (480, 168.0, 10, 33),
        ] {
            assert_eq!(
                (smallest(1.0, baseline, hours), smallest(6.0, baseline, hours)),
                (one, six),
                "{baseline} in {hours} h"
            );
        }
    }

    #[test]
    fn worked_p_values() {
        for (value, expect) in [
            (p(4, 1.0, 12, 24.0), 0.003163),
            (p(5, 1.0, 12, 24.0), 0.0004228),
            (p(11, 6.0, 12, 24.0), 0.002500),
            (p(12, 6.0, 12, 24.0), 0.0009780),
            (p(2, 1.0, 12, 168.0), 0.003039),
            (p(3, 1.0, 12, 168.0), 0.00008937),
        ] {
            assert!((value / expect - 1.0).abs() < 1e-3, "{value} is not {expect}");
        }
    }

    #[test]
    fn few_people_or_a_small_effect_do_not_fire() {
        let quiet = [0u64; 24];
        assert!(judge(5, 1.0, 3, &quiet, 24.0).fires);
        assert!(!judge(4, 1.0, 4, &quiet, 24.0).fires);
        assert!(!judge(9, 1.0, 2, &quiet, 24.0).fires);
        // Significant, but not twice as much.
        let busy = [100u64; 24];
        let spike = judge(150, 1.0, 90, &busy, 24.0);
        assert!(spike.p < P_MAX && !spike.fires && spike.ratio_low < 2.0, "{spike:?}");
    }

    #[test]
    fn a_ragged_baseline_needs_more() {
        let ragged: Vec<u64> = (0..24).map(|h| if h % 8 == 0 { 4 } else { 0 }).collect();
        assert!(dispersion(&ragged) > 3.0);
        assert!(judge(6, 1.0, 6, &[12, 0].map(|n| n / 12 / 2), 24.0).fires);
        assert!(!judge(6, 1.0, 6, &ragged, 24.0).fires);
    }
}
