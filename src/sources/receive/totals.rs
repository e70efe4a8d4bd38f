//! Running totals of series that are sent as increases (delta temporality): what PromQL's `rate` reads are totals. Pure:
//! `web` asks the store what a series' total was, and keeps the new ones once they are stored.
//!
//! Source: OpenTelemetry, "Metrics Data Model", delta to cumulative.

use std::collections::HashMap;

use super::{Refused, SERIES_MAX};
use crate::domain::clock::Timestamp;
use crate::domain::metric::{Labels, Sample, is_stale, stale_marker};

/// What was added between two instants, or the stale marker.
#[derive(Debug, Clone, PartialEq)]
pub struct Increase {
    /// When it began to count; `None` when the sender does not say.
    pub from: Option<Timestamp>,
    pub sample: Sample,
}

/// A total and when it was reached.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Total {
    t: Timestamp,
    sum: f64,
}

/// Totals by series; `None`: the store has none.
#[derive(Debug, Default)]
pub struct Totals {
    known: HashMap<Labels, Option<Total>>,
}

impl Totals {
    /// Series whose total nobody has asked for yet.
    pub fn unknown<'a>(&self, increases: &'a [(Labels, Vec<Increase>)]) -> Vec<&'a Labels> {
        increases.iter().map(|(labels, _)| labels).filter(|l| !self.known.contains_key(*l)).collect()
    }

    /// The newest samples that the store has of a series, ascending.
    pub fn learn(&mut self, labels: &Labels, stored: &[Sample]) {
        // More than one request has, and more than the store takes: whoever comes again is asked for again.
        if self.known.len() >= SERIES_MAX {
            self.known.clear();
        }
        let sum = stored.iter().rev().map(|s| s.v).find(|v| !is_stale(*v));
        let total = stored.last().map(|s| Total { t: s.t, sum: sum.unwrap_or(0.0) });
        self.known.insert(labels.clone(), total);
    }

    /// The totals after these increases. An increase that ends before the last one was counted already, or never can be.
    pub fn after(&self, increases: Vec<(Labels, Vec<Increase>)>, refused: &mut Refused) -> Vec<(Labels, Vec<Sample>)> {
        let mut series = Vec::with_capacity(increases.len());
        for (labels, increases) in increases {
            let mut total = self.known.get(&labels).copied().flatten();
            let mut samples = Vec::with_capacity(increases.len() + 1);
            for Increase { from, sample } in increases {
                if total.is_some_and(|known| sample.t <= known.t) {
                    let name = labels.name().escape_debug();
                    refused.add(1, || format!("series {name}: an increase that does not end after the last one"));
                    continue;
                }
                // The first one should show in a rate: it was nothing when it began to count.
                if let (None, Some(from)) = (total, from.filter(|from| *from < sample.t)) {
                    samples.push(Sample { t: from, v: 0.0 });
                }
                let before = total.map_or(0.0, |known| known.sum);
                let ended = is_stale(sample.v);
                let sum = if ended { before } else { before + sample.v };
                total = Some(Total { t: sample.t, sum });
                samples.push(Sample { t: sample.t, v: if ended { stale_marker() } else { sum } });
            }
            if !samples.is_empty() {
                series.push((labels, samples));
            }
        }
        series
    }

    /// Asks for them again.
    pub fn forget(&mut self, series: &[(Labels, Vec<Sample>)]) {
        for (labels, _) in series {
            self.known.remove(labels);
        }
    }

    /// These are stored: the next increases add to them.
    pub fn keep(&mut self, series: &[(Labels, Vec<Sample>)]) {
        for (labels, samples) in series {
            let Some(last) = samples.last() else { continue };
            let before = self.known.get(labels).copied().flatten().map_or(0.0, |known| known.sum);
            let sum = samples.iter().rev().map(|s| s.v).find(|v| !is_stale(*v)).unwrap_or(before);
            self.known.insert(labels.clone(), Some(Total { t: last.t, sum }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::metric::NAME;

    fn sample(t: i64, v: f64) -> Sample {
        Sample { t: Timestamp::from_ms(t), v }
    }
    fn increase(from: i64, t: i64, v: f64) -> Increase {
        Increase { from: (from > 0).then(|| Timestamp::from_ms(from)), sample: sample(t, v) }
    }
    fn labels() -> Labels {
        Labels::new([(NAME, "a_total")])
    }

    /// As `web` does it, with a store that takes everything.
    fn stored(totals: &mut Totals, increases: &[Increase]) -> (Vec<Sample>, u64) {
        let mut refused = Refused::default();
        let series = totals.after(vec![(labels(), increases.to_vec())], &mut refused);
        totals.keep(&series);
        (series.into_iter().flat_map(|(_, samples)| samples).collect(), refused.points)
    }

    #[test]
    fn increases_add_up_and_are_counted_once() {
        let mut totals = Totals::default();
        assert_eq!(totals.unknown(&[(labels(), vec![])]).len(), 1);
        totals.learn(&labels(), &[]);
        assert!(totals.unknown(&[(labels(), vec![])]).is_empty());
        let first = [increase(5, 10, 2.0), increase(10, 20, 3.0)];
        assert_eq!(stored(&mut totals, &first), (vec![sample(5, 0.0), sample(10, 2.0), sample(20, 5.0)], 0));
        // The answer was lost and the sender says it again, with a new one behind it.
        let again = [increase(10, 20, 3.0), increase(20, 30, 4.0)];
        assert_eq!(stored(&mut totals, &again), (vec![sample(30, 9.0)], 1));
        assert_eq!(stored(&mut totals, &[increase(0, 40, -1.0)]), (vec![sample(40, 8.0)], 0));
    }

    #[test]
    fn an_end_is_no_increase_and_a_restart_goes_on() {
        let mut totals = Totals::default();
        totals.learn(&labels(), &[sample(1, 40.0), sample(2, 41.0), sample(3, stale_marker())]);
        assert_eq!(stored(&mut totals, &[increase(1, 3, 1.0)]), (vec![], 1));
        assert_eq!(stored(&mut totals, &[increase(0, 4, 1.0)]), (vec![sample(4, 42.0)], 0));
        let ended = [sample(5, stale_marker())].map(|sample| Increase { from: None, sample });
        assert_eq!(stored(&mut totals, &ended), (vec![sample(5, stale_marker())], 0));
        assert_eq!(stored(&mut totals, &[increase(0, 6, 1.0)]), (vec![sample(6, 43.0)], 0));
    }

    #[test]
    fn what_was_not_stored_is_not_counted() {
        let mut totals = Totals::default();
        totals.learn(&labels(), &[sample(1, 1.0)]);
        let failed = totals.after(vec![(labels(), vec![increase(0, 2, 5.0)])], &mut Refused::default());
        assert_eq!(failed[0].1, [sample(2, 6.0)]);
        assert_eq!(stored(&mut totals, &[increase(0, 2, 5.0)]).0, [sample(2, 6.0)]);
    }
}
