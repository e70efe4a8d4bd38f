//! Results of range queries, for a dashboard that asks again a little later: only steps that are new, or that newer samples
//! reach, are evaluated. The reader says from which instant on samples changed since a result was computed
//! ([`SeriesReader::changed_from`]), so an answer from here is the answer that a fresh evaluation would give.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::clock::Timestamp;
use crate::domain::metric::{Series, SeriesReader};

use super::eval::Grid;
use super::notes::Notes;
use super::{Answer, Expr, Options, QueryError, answer_range, range_grid};

/// Samples of one result at most: 8 MB.
const RESULT_MAX: usize = 500_000;
/// Samples of all results: 32 MB.
const SAMPLES_MAX: usize = 2_000_000;
/// What a series costs beside its samples, counted as samples.
const PER_SERIES: usize = 16;

/// Cheap to clone.
#[derive(Clone, Default)]
pub struct Cache {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    results: HashMap<Key, Kept>,
    samples: usize,
    /// Grows with each use.
    uses: u64,
}

/// What a result depends on beside the samples and its first and last step.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    text: Arc<str>,
    step: i64,
    /// Of the steps: queries that begin at different parts of a step have none in common.
    phase: i64,
    lookback: Duration,
    subquery_step: Duration,
    delay_names: bool,
    /// Selectors that reach back to rollups: what the answer says of those depends on its first step.
    early: Vec<bool>,
}

#[derive(Clone)]
struct Kept {
    /// Of the reader, before the samples were read.
    revision: u64,
    first: i64,
    last: i64,
    result: Arc<(Vec<Series>, Notes)>,
    samples: usize,
    used: u64,
}

impl Cache {
    /// As [`answer_range`].
    pub async fn range(
        &self,
        reader: &dyn SeriesReader,
        expr: &Expr,
        start: Timestamp,
        end: Timestamp,
        step: Duration,
        opts: &Options,
    ) -> Result<Answer<Vec<Series>>, QueryError> {
        let grid = range_grid(expr, start, end, step, opts)?;
        let (Some(ahead), Some(revision)) = (expr.ahead(), reader.revision()) else {
            return answer_range(reader, expr, start, end, step, opts).await;
        };
        let key = Key {
            text: expr.text.clone(),
            step: grid.step,
            phase: grid.start.rem_euclid(grid.step),
            lookback: opts.lookback,
            subquery_step: opts.subquery_step,
            delay_names: opts.delay_names,
            early: expr.before(&grid, end, reader.rolled_until(), opts),
        };
        let known = self.lock().get(&key);
        let reused = known.and_then(|kept| {
            let changed = reader.changed_from(kept.revision).map_or(i64::MAX, Timestamp::ms);
            let valid = kept.last.min(grid.last()).min(changed.saturating_sub(ahead).saturating_sub(1));
            let steps = valid.checked_sub(grid.start)?.div_euclid(grid.step);
            (kept.first <= grid.start && steps >= 0).then(|| (kept.result, grid.at(steps as usize)))
        });
        let answer = match reused {
            None => answer_range(reader, expr, start, end, step, opts).await?,
            Some((result, last)) => {
                let mut answer = Answer { value: Vec::new(), notes: Notes::default(), samples: 0 };
                if last < grid.last() {
                    let next = Timestamp::from_ms(last.saturating_add(grid.step));
                    answer = answer_range(reader, expr, next, end, step, opts).await?;
                }
                let (series, notes) = &*result;
                answer.value = joined(between(series, grid.start, last), answer.value);
                answer.notes.include(notes);
                answer
            }
        };
        self.lock().put(key, &grid, revision, &answer);
        Ok(answer)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn get(&mut self, key: &Key) -> Option<Kept> {
        self.uses += 1;
        let kept = self.results.get_mut(key)?;
        kept.used = self.uses;
        Some(kept.clone())
    }

    /// The least recently used make room.
    fn put(&mut self, key: Key, grid: &Grid, revision: u64, answer: &Answer<Vec<Series>>) {
        let samples = answer.value.iter().map(|s| s.samples.len() + PER_SERIES).sum();
        if samples > RESULT_MAX {
            return;
        }
        self.uses += 1;
        let result = Arc::new((answer.value.clone(), answer.notes.clone()));
        let kept = Kept { revision, first: grid.start, last: grid.last(), result, samples, used: self.uses };
        self.samples += samples;
        self.samples -= self.results.insert(key, kept).map_or(0, |old| old.samples);
        while self.samples > SAMPLES_MAX {
            let Some(key) = self.results.iter().min_by_key(|(_, kept)| kept.used).map(|(key, _)| key.clone()) else {
                return;
            };
            self.samples -= self.results.remove(&key).map_or(0, |old| old.samples);
        }
    }
}

/// The samples in `[from, to]`; series that have none are left out.
fn between(series: &[Series], from: i64, to: i64) -> Vec<Series> {
    let cut = series.iter().map(|one| {
        let first = one.samples.partition_point(|s| s.t.ms() < from);
        let last = one.samples.partition_point(|s| s.t.ms() <= to);
        Series { labels: one.labels.clone(), samples: one.samples[first..last.max(first)].to_vec() }
    });
    cut.filter(|one| !one.samples.is_empty()).collect()
}

/// Both sorted by labels, all samples of `later` after those of `earlier`.
fn joined(earlier: Vec<Series>, later: Vec<Series>) -> Vec<Series> {
    let mut all = Vec::with_capacity(earlier.len().max(later.len()));
    let (mut earlier, mut later) = (earlier.into_iter().peekable(), later.into_iter().peekable());
    loop {
        let order = match (earlier.peek(), later.peek()) {
            (Some(a), Some(b)) => a.labels.cmp(&b.labels),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return all,
        };
        match order {
            Ordering::Less => all.extend(earlier.next()),
            Ordering::Greater => all.extend(later.next()),
            Ordering::Equal => {
                let (Some(mut one), Some(more)) = (earlier.next(), later.next()) else { return all };
                one.samples.extend(more.samples);
                all.push(one);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{MemoryReader, parse};
    use super::*;
    use crate::domain::metric::{Labels, Matcher, NAME, ReadError, Sample};
    use futures_util::future::BoxFuture;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    /// Samples that come while queries are asked; notes from when on it was read.
    #[derive(Default)]
    struct Growing {
        now: Mutex<(MemoryReader, Vec<i64>)>,
        read: AtomicUsize,
    }

    impl Growing {
        fn add(&self, instance: i64, t: i64) {
            let mut now = self.now.lock().unwrap();
            let labels = Labels::new([(NAME, "x_total".to_string()), ("instance", instance.to_string())]);
            let sample = Sample { t: Timestamp::from_ms(t), v: (t / 100 + instance) as f64 };
            match now.0.series.iter_mut().find(|s| s.labels == labels) {
                Some(series) => series.samples.push(sample),
                None => now.0.series.push(Series { labels, samples: vec![sample] }),
            }
            now.1.push(t);
        }
    }

    impl SeriesReader for Growing {
        fn select<'a>(
            &'a self,
            matchers: &'a [Matcher],
            start: Timestamp,
            end: Timestamp,
            limit: usize,
        ) -> BoxFuture<'a, Result<Vec<Series>, ReadError>> {
            Box::pin(async move {
                let now = self.now.lock().unwrap().0.clone();
                let found = now.select(matchers, start, end, limit).await?;
                self.read.fetch_add(found.iter().map(|s| s.samples.len()).sum(), Relaxed);
                Ok(found)
            })
        }
        fn revision(&self) -> Option<u64> {
            Some(self.now.lock().unwrap().1.len() as u64)
        }
        fn changed_from(&self, revision: u64) -> Option<Timestamp> {
            self.now.lock().unwrap().1[revision as usize..].iter().min().map(|t| Timestamp::from_ms(*t))
        }
    }

    #[tokio::test]
    async fn a_refresh_gives_what_a_fresh_evaluation_gives_and_reads_less() {
        let (reader, cache, opts) = (Growing::default(), Cache::default(), Options::default());
        let queries = [
            "sum(rate(x_total[1m]))",
            "rate(x_total[1m] offset -30s)",
            "x_total",
            "max_over_time(rate(x_total[1m])[5m:30s])",
            "x_total @ end()",
            "sort(topk(1, x_total))",
        ];
        let exprs: Vec<Expr> = queries.iter().map(|q| parse(q).unwrap()).collect();
        let (mut read, mut fresh_read) = (0, 0);
        for round in 0..40i64 {
            for instance in 0..3 {
                reader.add(instance, round * 15_000 + instance * 100);
            }
            if round % 7 == 6 {
                // Somebody brings old samples of a series nobody knew.
                reader.add(100 + round, round * 15_000 - 200_000);
            }
            let end = Timestamp::from_ms(round * 15_000 / 10_000 * 10_000);
            let start = Timestamp::from_ms((end.ms() - 300_000).max(0));
            for expr in &exprs {
                let step = Duration::from_secs(10);
                reader.read.store(0, Relaxed);
                let kept = cache.range(&reader, expr, start, end, step, &opts).await.unwrap();
                let with_cache = reader.read.swap(0, Relaxed);
                let fresh = answer_range(&reader, expr, start, end, step, &opts).await.unwrap();
                // Of a query whose windows are short beside its span.
                if expr.text() == queries[0] {
                    read += with_cache;
                    fresh_read += reader.read.swap(0, Relaxed);
                }
                assert_eq!((kept.value, kept.notes), (fresh.value, fresh.notes), "{expr:?} round {round}");
            }
        }
        assert!(read * 2 < fresh_read, "{read} of {fresh_read} samples");
    }

    #[test]
    fn memory_is_bounded_and_the_least_recently_asked_goes_first() {
        let mut inner = Inner::default();
        let key = |n: i64| Key {
            text: "x".into(),
            step: n,
            phase: 0,
            lookback: Duration::ZERO,
            subquery_step: Duration::ZERO,
            delay_names: false,
            early: Vec::new(),
        };
        let sample = Sample { t: Timestamp::from_ms(0), v: 0.0 };
        let of = |many: usize| {
            let series = Series { labels: Labels::empty(), samples: vec![sample; many] };
            Answer { value: vec![series], notes: Notes::default(), samples: 0 }
        };
        let grid = Grid { start: 0, step: 1, count: 1 };
        for n in 0..4 {
            inner.put(key(n), &grid, 0, &of(RESULT_MAX - PER_SERIES));
        }
        assert!(inner.get(&key(0)).is_some());
        inner.put(key(4), &grid, 0, &of(100));
        inner.put(key(5), &grid, 0, &of(RESULT_MAX));
        let kept: Vec<bool> = (0..6).map(|n| inner.get(&key(n)).is_some()).collect();
        assert_eq!(kept, [true, false, true, true, true, false]);
        assert!(inner.samples <= SAMPLES_MAX);
    }
}
