//! Windows of samples: those of a selector or those a subquery makes, series by series.
//!
//! Where a window begins and ends depends on the times alone, and series that were scraped together share them: both are
//! worked out once. Series come in chunks, on as many threads as there are cores when there is much to unpack; results
//! are put together in the order of the chunks, so that sums of floats are the same every time.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::domain::metric::{ColumnReader, Columns, Labels, Series, SeriesScan, is_stale};

use super::eval::{Context, Evaluated, Grid, Row, check_cells, duplicate_labels, mistyped};
use super::fetch::{ms, of_read, subquery_grid};
use super::over_time::{Compute, Edge, Scratch};
use super::plan::{DESCRIBING, Node, Shift};
use super::rolled::{Early, EarlyLane, Lasts};
use super::{Options, QueryError};

/// Series of a chunk.
const CHUNK: usize = 128;
/// Below this many samples a second thread costs more than it saves.
const THREADS_SAMPLES_MIN: usize = 200_000;
/// Different columns of times whose windows are remembered by a thread.
const WINDOWS_MAX: usize = 64;

/// The steps of a window function: where each window ends, and how far it reaches back.
pub(super) struct Frame<'a> {
    pub ends: &'a [i64],
    pub range_ms: i64,
    pub grid: Grid,
    /// The scalar argument at each step.
    pub param: Option<&'a [f64]>,
}

/// Where the windows of a frame lie in a column of times.
pub(super) struct Windows {
    /// First sample and the one after the last.
    pub bounds: Vec<(u32, u32)>,
    /// For counters; else empty.
    pub edges: Vec<Edge>,
}

impl Windows {
    pub(super) fn of(times: &[i64], frame: &Frame<'_>, compute: Compute) -> Windows {
        let (mut from, mut to) = (0, 0);
        let mut windows = Windows { bounds: Vec::with_capacity(frame.ends.len()), edges: Vec::new() };
        for &end in frame.ends {
            let start = end.saturating_sub(frame.range_ms);
            to += times[to..].iter().take_while(|t| **t <= end).count();
            from += times[from..to].iter().take_while(|t| **t <= start).count();
            windows.bounds.push((from as u32, to as u32));
            if matches!(compute, Compute::Counter { .. }) {
                windows.edges.push(Edge::of(&times[from..to], start, end));
            }
        }
        windows
    }
}

/// Samples behind a window function: those of a selector, or those a subquery made.
pub(super) struct Source<'a> {
    supply: Supply<'a>,
    /// Of a subquery's rows; empty for a selector.
    nameless: Vec<bool>,
    range_ms: i64,
    shift: Shift,
}

enum Supply<'a> {
    Stored(&'a dyn SeriesScan),
    Made(Vec<Series>),
}

impl Source<'_> {
    pub(super) fn scan(&self) -> &dyn SeriesScan {
        match &self.supply {
            Supply::Stored(scan) => *scan,
            Supply::Made(series) => series,
        }
    }
}

/// Rows to compute: what all threads share.
struct Job<'a> {
    scan: &'a dyn SeriesScan,
    compute: Compute,
    frame: &'a Frame<'a>,
    early: Option<&'a Early<'a>>,
    deadline: Instant,
    opts: &'a Options,
}

/// One thread's part of a job.
pub(super) struct Lane<'a> {
    job: &'a Job<'a>,
    reader: Box<dyn ColumnReader + 'a>,
    columns: Columns,
    windows: Vec<(Arc<Vec<i64>>, Rc<Windows>)>,
    scratch: Scratch,
    early: Option<EarlyLane<'a>>,
    out: Vec<f64>,
}

impl<'a> Lane<'a> {
    fn new(job: &'a Job<'a>) -> Lane<'a> {
        let (reader, early) = (job.scan.reader(), job.early.map(Early::lane));
        let (columns, windows, scratch, out) = Default::default();
        Lane { job, reader, columns, windows, scratch, early, out }
    }

    /// A series' value at each step, [`super::over_time::absent`] where it has none; `None` when it has none at all.
    pub(super) fn row(&mut self, nth: usize) -> Result<Option<&[f64]>, QueryError> {
        let job = self.job;
        if Instant::now() > job.deadline {
            return Err(QueryError::Timeout(job.opts.timeout));
        }
        self.reader.read(nth, &mut self.columns).map_err(|e| of_read(e, job.opts))?;
        if !job.compute.sees_markers() && self.columns.values.iter().any(|v| is_stale(*v)) {
            let points = self.columns.times.iter().copied().zip(self.columns.values.iter().copied());
            let kept: Vec<(i64, f64)> = points.filter(|(_, v)| !is_stale(*v)).collect();
            self.columns.set(kept.into_iter());
        }
        if self.columns.values.is_empty() && self.early.is_none() {
            return Ok(None);
        }
        let windows = self.windows();
        let samples = (self.columns.times.as_slice(), self.columns.values.as_slice());
        job.compute.row(samples, &windows, job.frame, &mut self.scratch, &mut self.out);
        if let Some(early) = &mut self.early {
            early.row(nth, samples, &mut self.out).map_err(|e| of_read(e, job.opts))?;
        }
        Ok(self.out.iter().any(|v| !is_stale(*v)).then_some(&self.out))
    }

    fn windows(&mut self) -> Rc<Windows> {
        let times = &self.columns.times;
        if let Some(at) = self.windows.iter().position(|(known, _)| Arc::ptr_eq(known, times)) {
            return self.windows[at].1.clone();
        }
        if self.windows.len() == WINDOWS_MAX {
            self.windows.clear();
        }
        let windows = Rc::new(Windows::of(times, self.job.frame, self.job.compute));
        self.windows.push((times.clone(), windows.clone()));
        windows
    }
}

/// Puts parts together in the order of their chunks.
struct InOrder<T, F> {
    next: usize,
    /// Finished before an earlier one.
    waiting: BTreeMap<usize, T>,
    take: F,
}

impl<T, F: FnMut(T) -> Result<(), QueryError>> InOrder<T, F> {
    fn add(&mut self, chunk: usize, part: T) -> Result<(), QueryError> {
        self.waiting.insert(chunk, part);
        while let Some(part) = self.waiting.remove(&self.next) {
            self.next += 1;
            (self.take)(part)?;
        }
        Ok(())
    }
}

impl Job<'_> {
    /// Hands each chunk of series to `work` and what that yields to `take`, in the order of the chunks.
    fn run<T: Send>(
        &self,
        work: impl Fn(&mut Lane<'_>, Range<usize>) -> Result<T, QueryError> + Sync,
        take: impl FnMut(T) -> Result<(), QueryError> + Send,
    ) -> Result<(), QueryError> {
        let count = self.scan.count();
        let chunks = count.div_ceil(CHUNK);
        let next = AtomicUsize::new(0);
        let whole = Mutex::new(InOrder { next: 0, waiting: BTreeMap::new(), take });
        let chunk_by_chunk = || {
            let mut lane = Lane::new(self);
            loop {
                let chunk = next.fetch_add(1, Relaxed);
                if chunk >= chunks {
                    return Ok(());
                }
                let part = work(&mut lane, chunk * CHUNK..count.min((chunk + 1) * CHUNK))?;
                whole.lock().unwrap_or_else(PoisonError::into_inner).add(chunk, part)?;
            }
        };
        // The others need not finish what one could not.
        let thread = || chunk_by_chunk().inspect_err(|_| next.store(chunks, Relaxed));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if self.scan.samples_at_most() < THREADS_SAMPLES_MIN { 1 } else { cores.min(chunks) };
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(thread)).collect();
            let mut result = thread();
            for other in others {
                let panicked = |_| Err(QueryError::Execution("internal: evaluation panicked".into()));
                result = result.and(other.join().unwrap_or_else(panicked));
            }
            result
        })
    }
}

impl<'a> Context<'a> {
    pub(super) fn source(&self, node: &Node, grid: &Grid) -> Result<Source<'a>, QueryError> {
        match node {
            Node::Range(selector) | Node::Instant(selector) => {
                let spec = self.plan.selectors.get(*selector).ok_or_else(mistyped)?;
                let scan = self.data.get(*selector).ok_or_else(mistyped)?;
                let range_ms = spec.range_ms.unwrap_or(ms(self.opts.lookback));
                Ok(Source { supply: Supply::Stored(&**scan), nameless: Vec::new(), range_ms, shift: spec.shift })
            }
            Node::Subquery { inner, range_ms, step_ms, shift } => {
                let span = (
                    shift.reference(grid.start, self.start, self.end),
                    shift.reference(grid.last(), self.start, self.end),
                );
                let inner_grid = subquery_grid(span, *range_ms, *step_ms, self.opts);
                check_cells(1, &inner_grid, self.opts)?;
                let rows = match self.eval(inner, &inner_grid)? {
                    Evaluated::Vector(rows) => rows,
                    Evaluated::Scalar(values) => {
                        vec![Row::new(Labels::empty(), values.into_iter().map(Some).collect())]
                    }
                    Evaluated::Matrix(_) => return Err(mistyped()),
                };
                let nameless = rows.iter().map(|r| r.nameless).collect();
                let series = rows.into_iter().map(|r| Series { samples: r.samples(&inner_grid), labels: r.labels });
                Ok(Source { supply: Supply::Made(series.collect()), nameless, range_ms: *range_ms, shift: *shift })
            }
            _ => Err(mistyped()),
        }
    }

    /// See [`Job::run`].
    pub(super) fn stream<T: Send>(
        &self,
        source: &Source<'_>,
        compute: Compute,
        param: Option<&[f64]>,
        grid: &Grid,
        work: impl Fn(&mut Lane<'_>, Range<usize>) -> Result<T, QueryError> + Sync,
        take: impl FnMut(T) -> Result<(), QueryError> + Send,
    ) -> Result<(), QueryError> {
        let ends: Vec<i64> = grid.instants().map(|t| source.shift.reference(t, self.start, self.end)).collect();
        let frame = Frame { ends: &ends, range_ms: source.range_ms, grid: *grid, param };
        let (scan, deadline, opts) = (source.scan(), self.deadline, self.opts);
        let early = Early::of(scan, compute, &frame);
        Job { scan, compute, frame: &frame, early: early.as_ref(), deadline, opts }.run(work, take)
    }

    /// A row for each series that has a value, sorted by labels. Rows keep their names; see [`unnamed`].
    pub(super) fn over_time(
        &self,
        compute: Compute,
        source: &Source<'_>,
        param: Option<&[f64]>,
        grid: &Grid,
    ) -> Result<Vec<Row>, QueryError> {
        let scan = source.scan();
        let mut rows: Vec<Row> = Vec::new();
        let (limit, many) = (self.opts.samples_max, AtomicUsize::new(0));
        let work = |lane: &mut Lane<'_>, chunk: Range<usize>| {
            let mut found = Vec::new();
            for nth in chunk {
                let Some(values) = lane.row(nth)? else { continue };
                if many.fetch_add(values.len(), Relaxed) + values.len() > limit {
                    return Err(QueryError::TooManySamples { limit });
                }
                let values = values.iter().map(|v| (!is_stale(*v)).then_some(*v)).collect();
                let nameless = source.nameless.get(nth).copied().unwrap_or(false);
                found.push(Row { labels: scan.labels(nth).clone(), values, nameless });
            }
            Ok(found)
        };
        self.stream(source, compute, param, grid, work, |mut found| {
            rows.append(&mut found);
            Ok(())
        })?;
        // Sums of floats depend on the order: always the same one.
        rows.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(rows)
    }

    /// `rate` of what does not look like a counter.
    pub(super) fn note_gauges<'n>(&self, names: impl Iterator<Item = &'n str>, at: usize) {
        const ENDINGS: &[&str] = &["_total", "_sum", "_count", "_bucket"];
        for name in names {
            if !name.is_empty() && !ENDINGS.iter().any(|e| name.ends_with(e)) {
                let what = "metric might not be a counter, name does not end in _total/_sum/_count/_bucket:";
                self.notes.inform(format!("{what} {name:?}"), at);
            }
        }
    }

    /// The samples of a range selector or subquery at the only step.
    pub(super) fn matrix(&self, node: &Node, grid: &Grid) -> Result<Vec<Series>, QueryError> {
        let source = self.source(node, grid)?;
        let end = source.shift.reference(grid.start, self.start, self.end);
        let start = end.saturating_sub(source.range_ms);
        let scan = source.scan();
        let (mut reader, mut columns, mut series) = (scan.reader(), Columns::default(), Vec::new());
        let mut lasts = Lasts::of(scan);
        for nth in 0..scan.count() {
            self.check_time()?;
            let read = reader.read(nth, &mut columns).and_then(|()| lasts.prepend(nth, &mut columns));
            read.map_err(|e| of_read(e, self.opts))?;
            let within = columns.samples().filter(|s| s.t.ms() > start && s.t.ms() <= end && !is_stale(s.v));
            let samples: Vec<_> = within.collect();
            if !samples.is_empty() {
                let nameless = source.nameless.get(nth).copied().unwrap_or(false);
                let labels = scan.labels(nth);
                let labels = if nameless { labels.without(DESCRIBING) } else { labels.clone() };
                series.push(Series { labels, samples });
            }
        }
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        if series.windows(2).any(|pair| pair[0].labels == pair[1].labels) {
            return Err(duplicate_labels());
        }
        Ok(series)
    }
}

/// Drops the metric's name, unless it stays. Prometheus refuses equal label sets here even when they never meet at one
/// instant.
pub(super) fn unnamed(mut rows: Vec<Row>, keep_name: bool, delay: bool) -> Result<Vec<Row>, QueryError> {
    if !keep_name {
        rows.iter_mut().for_each(|r| r.derive(delay));
    }
    let mut seen = std::collections::HashSet::with_capacity(rows.len());
    if rows.iter().all(|r| seen.insert(&r.labels)) { Ok(rows) } else { Err(duplicate_labels()) }
}
