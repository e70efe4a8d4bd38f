//! Windows that begin before raw samples do, from rollups: a step is moved back to the end of a bucket and its window
//! widened to whole buckets, so that sums, counts and extremes are those of the samples in it. Of a window that reaches
//! from rollups into raw samples, the latter are rolled up on the way.
//!
//! What needs each sample by itself (quantiles, deviations, changes) sees the last one of each bucket instead, and the
//! answer says so.

use std::rc::Rc;
use std::sync::Arc;

use crate::domain::clock::Timestamp;
use crate::domain::metric::{Columns, ReadError, SeriesScan, is_stale};
use crate::domain::rollup::{Bucket, Field, Resolution, RolledReader, RolledScan, Wanted, roll};

use super::over_time::{Compute, Scratch, absent};
use super::stats;
use super::windows::{Frame, Windows};

/// A query with shorter steps is about moments that rollups do not know.
const STEP_MIN_MS: i64 = Resolution::FiveMinutes.ms();
/// Windows of an instant query from which on an hour more or less does not matter.
const LONG_MS: i64 = 86_400_000;

/// How a function comes from rollups.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Instead {
    /// The increases of a window's buckets together.
    Increase { per_second: bool },
    /// Sums by counts.
    Average,
    /// A field of a window's buckets together.
    Total(Field),
    /// The function itself, over a field that says all it needs.
    Each(Field),
    /// The function itself, over the last sample of each bucket: near what it would be.
    Lasts,
}

impl Instead {
    /// Do the buckets of a window add up?
    fn sums(self) -> bool {
        matches!(self, Instead::Increase { .. } | Instead::Average | Instead::Total(_))
    }

    fn fields(self) -> &'static [Field] {
        match self {
            Instead::Increase { .. } => &[Field::Increase],
            Instead::Average => &[Field::Sum, Field::Count],
            Instead::Total(Field::Count) => &[Field::Count],
            Instead::Total(_) => &[Field::Sum],
            Instead::Each(Field::Min) => &[Field::Min],
            Instead::Each(Field::Max) => &[Field::Max],
            Instead::Each(_) | Instead::Lasts => &[Field::Last],
        }
    }
}

/// Of the values in a window.
const SUM: Compute = Compute::Each(|w| Some(stats::sum(w.values.iter().copied())), Instead::Lasts);

/// What a selector is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask {
    /// Between two evaluations; `None`: there is only one.
    pub step_ms: Option<i64>,
    /// `None`: an instant selector.
    pub window_ms: Option<i64>,
    pub instead: Instead,
}

impl Ask {
    /// What to read of rollups; `None`: they would not answer this.
    pub(super) fn wanted(self, resolution: Resolution) -> Option<Wanted> {
        let answered = self.step_ms.is_none_or(|step| step >= STEP_MIN_MS);
        answered.then(|| Wanted { resolution, fields: self.instead.fields() })
    }
}

/// One for all selectors of a query, so that they speak of the same instants.
pub(super) fn resolution(asks: impl Iterator<Item = Ask>) -> Resolution {
    let hour = Resolution::Hour.ms();
    let coarse = |ask: Ask| match (ask.step_ms, ask.window_ms) {
        (Some(step), window) => step >= hour && window.is_none_or(|w| w >= hour),
        (None, window) => window.is_some_and(|w| w >= LONG_MS),
    };
    let mut asks = asks.peekable();
    if asks.peek().is_some() && asks.all(coarse) { Resolution::Hour } else { Resolution::FiveMinutes }
}

/// What an answer should be read with.
pub(super) enum Told {
    Info(String),
    Warning(String),
}

/// What to say of a selector that reaches back to before raw samples.
pub(super) fn told(rolled: &dyn RolledScan, ask: Ask) -> Vec<Told> {
    let at = Timestamp::from_ms(rolled.until()).rfc3339();
    let Some(Wanted { resolution, .. }) = rolled.wanted() else {
        return vec![Told::Warning(format!(
            "raw samples before {at} are gone; a step of 5m or more is answered from rollups of 5m and 1h"
        ))];
    };
    let text = resolution.text();
    let mut told = vec![Told::Info(format!("before {at}: from rollups of {text}"))];
    if ask.instead == Instead::Lasts {
        let what = "what a function needs each sample for is computed from the last one in";
        told.push(Told::Info(format!("before {at}: {what} {text}")));
    }
    told
}

/// The first steps of a frame, those whose windows begin before raw samples do.
pub(super) struct Early<'a> {
    scan: &'a dyn RolledScan,
    resolution: Resolution,
    compute: Compute,
    /// Moved back to ends of buckets.
    ends: Vec<i64>,
    /// In whole buckets.
    range_ms: i64,
    frame: &'a Frame<'a>,
}

impl<'a> Early<'a> {
    pub(super) fn of(scan: &'a dyn SeriesScan, compute: Compute, frame: &'a Frame<'a>) -> Option<Early<'a>> {
        let rolled = scan.rolled()?;
        let Wanted { resolution, .. } = rolled.wanted()?;
        let first = |end: i64| end.saturating_sub(frame.range_ms).saturating_add(1);
        let many = frame.ends.partition_point(|end| first(*end) < rolled.until());
        let ends = frame.ends[..many].iter().map(|end| resolution.before(*end)).collect();
        let range_ms = resolution.round_up(frame.range_ms);
        (many > 0).then_some(Early { scan: rolled, resolution, compute, ends, range_ms, frame })
    }

    pub(super) fn lane(&'a self) -> EarlyLane<'a> {
        let (columns, windows, scratch, rows) = Default::default();
        EarlyLane { early: self, reader: self.scan.reader(), columns, windows, scratch, rows }
    }

    /// Buckets of raw samples, as far as the first steps reach.
    fn recent(&self, nth: usize, (times, values): (&[i64], &[f64])) -> Vec<Bucket> {
        let last = self.ends.last().copied().unwrap_or(i64::MIN);
        let from = times.partition_point(|t| *t < self.scan.until());
        let to = times.partition_point(|t| *t <= last).max(from);
        let samples = times[from..to].iter().copied().zip(values[from..to].iter().copied());
        roll(samples, self.resolution, self.scan.counter(nth))
    }
}

/// One thread's part of it.
pub(super) struct EarlyLane<'a> {
    early: &'a Early<'a>,
    reader: Box<dyn RolledReader + 'a>,
    columns: [Columns; 2],
    /// Series that were scraped together have the same buckets.
    windows: Option<(Arc<Vec<i64>>, Rc<Windows>)>,
    scratch: Scratch,
    rows: [Vec<f64>; 2],
}

impl EarlyLane<'_> {
    /// Writes the values of the first steps over what raw samples alone gave. `raw` are all samples of the series.
    pub(super) fn row(&mut self, nth: usize, raw: (&[i64], &[f64]), out: &mut [f64]) -> Result<(), ReadError> {
        let early = self.early;
        let instead = early.compute.instead();
        let recent = early.recent(nth, raw);
        let fields = instead.fields();
        for (at, field) in fields.iter().enumerate() {
            self.reader.read(nth, *field, &mut self.columns[at])?;
            if !recent.is_empty() {
                append(&mut self.columns[at], &recent, *field);
            }
            self.compute(at, if instead.sums() { SUM } else { early.compute });
        }
        let [first, second] = &self.rows;
        let (window, rolled) = (early.frame.range_ms as f64, early.range_ms as f64);
        let scale = |v: f64| match instead {
            Instead::Increase { per_second: true } => v / (rolled / 1000.0),
            Instead::Increase { per_second: false } => v * window / rolled,
            _ => v,
        };
        let value = |at: usize| match first[at] {
            v if is_stale(v) => absent(),
            v if instead == Instead::Average => v / second[at],
            v => scale(v),
        };
        out.iter_mut().take(early.ends.len()).enumerate().for_each(|(at, v)| *v = value(at));
        Ok(())
    }

    fn compute(&mut self, at: usize, compute: Compute) {
        let early = self.early;
        let frame =
            Frame { ends: &early.ends, range_ms: early.range_ms, grid: early.frame.grid, param: early.frame.param };
        let columns = &self.columns[at];
        let windows = match &self.windows {
            Some((times, known)) if Arc::ptr_eq(times, &columns.times) => known.clone(),
            _ => Rc::new(Windows::of(&columns.times, &frame, compute)),
        };
        self.windows = Some((columns.times.clone(), windows.clone()));
        compute.row((&columns.times, &columns.values), &windows, &frame, &mut self.scratch, &mut self.rows[at]);
    }
}

fn append(columns: &mut Columns, recent: &[Bucket], field: Field) {
    let mut points: Vec<(i64, f64)> = columns.times.iter().copied().zip(columns.values.iter().copied()).collect();
    for bucket in recent {
        match points.last_mut().filter(|p| p.0 == bucket.end) {
            Some(open) => open.1 = field.combine(open.1, bucket.get(field)),
            None => points.push((bucket.end, bucket.get(field))),
        }
    }
    columns.set(points.into_iter());
}

/// The last samples of buckets, where there are no others, and then the raw ones.
pub(super) struct Lasts<'a> {
    rolled: Option<(i64, Box<dyn RolledReader + 'a>)>,
    columns: Columns,
}

impl<'a> Lasts<'a> {
    pub(super) fn of(scan: &'a dyn SeriesScan) -> Lasts<'a> {
        let rolled = scan.rolled().filter(|rolled| rolled.wanted().is_some());
        Lasts { rolled: rolled.map(|rolled| (rolled.until(), rolled.reader())), columns: Columns::default() }
    }

    /// Puts them before the samples in `columns`.
    pub(super) fn prepend(&mut self, nth: usize, columns: &mut Columns) -> Result<(), ReadError> {
        let Some((until, reader)) = &mut self.rolled else { return Ok(()) };
        reader.read(nth, Field::Last, &mut self.columns)?;
        let point = |s: crate::domain::metric::Sample| (s.t.ms(), s.v);
        let mut points: Vec<(i64, f64)> = self.columns.samples().map(point).collect();
        let raw: Vec<(i64, f64)> = columns.samples().filter(|s| s.t >= Timestamp::from_ms(*until)).map(point).collect();
        points.retain(|rolled| raw.first().is_none_or(|first| rolled.0 < first.0));
        points.extend(raw);
        columns.set(points.into_iter());
        Ok(())
    }
}
