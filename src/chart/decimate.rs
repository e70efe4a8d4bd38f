//! Fewer points, the same picture: extremes survive.

use crate::domain::clock::Timestamp;

/// Points of one line in one drawing; more cannot be told apart at 900 px and only make the page heavy.
pub const POINTS_MAX: usize = 600;

/// At most `max` points: minimum, maximum and last of each of `max / 3` equal stretches of time, in order of time.
/// Points are ascending and finite. Fewer points than `max` come back as they are.
pub fn decimate(points: &[(Timestamp, f64)], max: usize) -> Vec<(Timestamp, f64)> {
    if points.len() <= max.max(3) {
        return points.to_vec();
    }
    let buckets = (max / 3).max(1) as i128;
    let (first, last) = (points[0].0.ms() as i128, points[points.len() - 1].0.ms() as i128);
    let width = (last - first).max(1);
    let bucket_of = |t: Timestamp| ((t.ms() as i128 - first) * buckets / width).min(buckets - 1);
    let mut out = Vec::with_capacity(max);
    let mut start = 0;
    while start < points.len() {
        let bucket = bucket_of(points[start].0);
        let end = start + points[start..].partition_point(|p| bucket_of(p.0) == bucket);
        let slice = &points[start..end];
        let pick = |better: fn(f64, f64) -> bool| {
            slice.iter().enumerate().skip(1).fold(0, |best, (i, p)| if better(p.1, slice[best].1) { i } else { best })
        };
        let mut kept = [pick(|a, b| a < b), pick(|a, b| a > b), slice.len() - 1];
        kept.sort_unstable();
        let mut previous = None;
        for i in kept {
            if previous != Some(i) {
                out.push(slice[i]);
            }
            previous = Some(i);
        }
        start = end;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_survive_and_the_count_is_bounded() {
        let points: Vec<_> = (0..20_000)
            .map(|i| (Timestamp::from_ms(i * 1000), if i == 7_777 { 900.0 } else { (i % 13) as f64 }))
            .collect();
        let few = decimate(&points, POINTS_MAX);
        assert!(few.len() <= POINTS_MAX, "{}", few.len());
        assert!(few.contains(&(Timestamp::from_ms(7_777_000), 900.0)));
        assert_eq!(few.last(), points.last());
        assert!(few.windows(2).all(|w| w[0].0 < w[1].0));
        assert_eq!(decimate(&points[..5], 600), points[..5]);
    }
}
