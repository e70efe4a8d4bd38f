//! Classic histograms: `histogram_quantile` and `histogram_fraction` over `_bucket` series (promql/quantile.go).

use std::collections::HashMap;

use crate::domain::metric::Labels;

use super::eval::Row;
use super::notes::Lifted;
use super::number;
use super::plan::DESCRIBING;

/// Two counts closer than this, relative to their sum, are float noise and no loss of monotony.
const SMALL_DELTA: f64 = 1e-12;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bucket {
    pub upper: f64,
    pub count: f64,
}

/// Groups rows by everything but `le` and the name, and computes one value per group and step from its buckets. Rows
/// whose `le` is no number are `refused` and left out.
pub(super) fn apply(
    rows: Vec<Row>,
    steps: usize,
    delay_names: bool,
    refused: impl Fn(&str, &str),
    compute: impl Fn(usize, &mut Vec<Bucket>) -> f64,
) -> Vec<Row> {
    // The name takes part in the grouping: buckets of two families are two histograms (and then collide).
    let mut known: HashMap<Labels, usize> = HashMap::new();
    let mut groups: Vec<(Labels, Vec<(f64, Row)>)> = Vec::new();
    for row in rows {
        let le = row.labels.get("le").unwrap_or("");
        let Some(upper) = number::parse(le) else {
            refused(le, if delay_names { row.labels.name() } else { "" });
            continue;
        };
        let labels = row.labels.without(&["le"]);
        let at = *known.entry(labels.clone()).or_insert_with(|| {
            let shown = if delay_names { labels } else { labels.without(DESCRIBING) };
            groups.push((shown, Vec::new()));
            groups.len() - 1
        });
        groups[at].1.push((upper, row));
    }
    let mut buckets = Vec::new();
    let value = |members: &[(f64, Row)], step: usize, buckets: &mut Vec<Bucket>| {
        buckets.clear();
        buckets.extend(
            members.iter().filter_map(|(upper, r)| r.values[step].map(|count| Bucket { upper: *upper, count })),
        );
        (!buckets.is_empty()).then(|| compute(step, buckets))
    };
    groups
        .into_iter()
        .map(|(labels, members)| {
            let values = (0..steps).map(|step| value(&members, step, &mut buckets)).collect();
            Row { labels, values, nameless: delay_names }
        })
        .collect()
}

/// Sorts and joins equal bounds; false when the last bound is not +Inf, without which nothing can be said.
fn prepare(buckets: &mut Vec<Bucket>) -> bool {
    buckets.sort_by(|a, b| a.upper.total_cmp(&b.upper));
    buckets.dedup_by(|later, kept| {
        let same = later.upper == kept.upper;
        if same {
            kept.count += later.count;
        }
        same
    });
    buckets.last().is_some_and(|b| b.upper == f64::INFINITY)
}

/// Linear within the bucket; a quantile in the last bucket is that bucket's lower bound.
pub(super) fn quantile(q: f64, buckets: &mut Vec<Bucket>, lifted: impl FnOnce(Lifted)) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    if !prepare(buckets) {
        return f64::NAN;
    }
    if let Some(all) = make_monotonic(buckets) {
        lifted(all);
    }
    let last = buckets.len() - 1;
    let observations = buckets[last].count;
    if last < 1 || observations == 0.0 || observations.is_nan() {
        return f64::NAN;
    }
    let mut rank = q * observations;
    let at = buckets[..last].partition_point(|b| b.count < rank || b.count.is_nan());
    if at == last {
        return buckets[last - 1].upper;
    }
    if at == 0 && buckets[0].upper <= 0.0 {
        return buckets[0].upper;
    }
    let (mut lower, mut count) = (0.0, buckets[at].count);
    if at > 0 {
        lower = buckets[at - 1].upper;
        count -= buckets[at - 1].count;
        rank -= buckets[at - 1].count;
    }
    lower + (buckets[at].upper - lower) * (rank / count)
}

/// Buckets are scraped one after another, so a later bound may lag behind an earlier one.
fn make_monotonic(buckets: &mut [Bucket]) -> Option<Lifted> {
    let mut before = buckets.first()?.count;
    let mut lifted: Option<Lifted> = None;
    for bucket in &mut buckets[1..] {
        if bucket.count == before {
            continue;
        }
        let noise = (bucket.count - before).abs() / (bucket.count.abs() + before.abs()) < SMALL_DELTA;
        if noise || bucket.count < before {
            if !noise {
                let upper = bucket.upper;
                let all = lifted.get_or_insert(Lifted { from: upper, to: upper, difference: 0.0 });
                all.to = upper;
                all.difference = all.difference.max(before - bucket.count);
            }
            bucket.count = before;
        } else {
            before = bucket.count;
        }
    }
    lifted
}

/// Share of observations in `(lower, upper]`.
pub(super) fn fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if !prepare(buckets) {
        return f64::NAN;
    }
    let total = buckets[buckets.len() - 1].count;
    if total == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let rank = |at: f64| -> f64 {
        // With a positive first bound there are no negative observations.
        let mut from = if buckets[0].upper <= 0.0 { f64::NEG_INFINITY } else { 0.0 };
        let mut below = 0.0;
        for (i, bucket) in buckets.iter().enumerate() {
            if i > 0 {
                from = buckets[i - 1].upper;
            }
            if from >= at {
                return below;
            }
            if bucket.upper > at {
                // A bucket without lower end cannot be divided: all of it counts as below.
                return if from == f64::NEG_INFINITY {
                    bucket.count
                } else {
                    below + (bucket.count - below) * (at - from) / (bucket.upper - from)
                };
            }
            below = bucket.count;
        }
        total
    };
    (rank(upper).min(total) - rank(lower).min(total)) / total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(pairs: &[(f64, f64)]) -> Vec<Bucket> {
        pairs.iter().map(|(upper, count)| Bucket { upper: *upper, count: *count }).collect()
    }

    #[test]
    fn quantiles() {
        let h = [(0.1, 10.0), (0.5, 30.0), (1.0, 40.0), (f64::INFINITY, 50.0)];
        for (q, expected) in [(0.1, 0.05), (0.4, 0.3), (0.9, 1.0), (1.0, 1.0), (-0.1, f64::NEG_INFINITY)] {
            let got = quantile(q, &mut buckets(&h), |_| {});
            assert!(got == expected || (got - expected).abs() < 1e-12, "{q}: {got}");
        }
        assert!(quantile(0.5, &mut buckets(&h[..3]), |_| {}).is_nan(), "without +Inf nothing is known");
        assert!(quantile(0.5, &mut buckets(&[(1.0, 0.0), (f64::INFINITY, 0.0)]), |_| {}).is_nan());
    }

    #[test]
    fn lagging_buckets_are_lifted() {
        let mut told = None;
        let got = quantile(0.5, &mut buckets(&[(1.0, 10.0), (2.0, 8.0), (f64::INFINITY, 10.0)]), |l| told = Some(l));
        assert_eq!(got, 0.5);
        assert_eq!(told, Some(Lifted { from: 2.0, to: 2.0, difference: 2.0 }));
    }

    #[test]
    fn fractions() {
        let h = [(1.0, 10.0), (2.0, 30.0), (f64::INFINITY, 40.0)];
        for (lower, upper, expected) in
            [(0.0, 1.0, 0.25), (0.5, 1.5, 0.375), (2.0, f64::INFINITY, 0.25), (3.0, 2.0, 0.0)]
        {
            assert_eq!(fraction(lower, upper, &mut buckets(&h)), expected, "{lower}..{upper}");
        }
    }
}
