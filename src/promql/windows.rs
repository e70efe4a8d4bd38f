//! Windows of samples: those of a range selector or those a subquery makes, and the functions that walk over them.

use std::borrow::Cow;

use crate::domain::metric::{Labels, Sample, Series, SeriesScan};

use super::QueryError;
use super::eval::{Context, Evaluated, Grid, Row, duplicate_labels, mistyped};
use super::fetch::{Fetched, of_read, subquery_grid, without_markers};
use super::over_time::{Compute, Walk, Window};
use super::plan::{DESCRIBING, Node, Shift};

/// Samples behind a window function: those of a range selector, or those a subquery made.
pub(super) struct Source<'a> {
    supply: Supply<'a>,
    /// Of a subquery's rows; empty for a selector.
    nameless: Vec<bool>,
    range_ms: i64,
    shift: Shift,
}

enum Supply<'a> {
    Held(Cow<'a, [Series]>),
    Coming(Box<dyn SeriesScan>),
}

impl<'a> Context<'a> {
    pub(super) fn source(&self, node: &Node, grid: &Grid) -> Result<Source<'a>, QueryError> {
        match node {
            Node::Range(selector) => {
                let spec = self.plan.selectors.get(*selector).ok_or_else(mistyped)?;
                let supply = match self.data.get(*selector).ok_or_else(mistyped)? {
                    Fetched::Held(series) => Supply::Held(Cow::Borrowed(series)),
                    Fetched::Coming(scan) => Supply::Coming(scan.take().ok_or_else(mistyped)?),
                };
                let range_ms = spec.range_ms.ok_or_else(mistyped)?;
                Ok(Source { supply, nameless: Vec::new(), range_ms, shift: spec.shift })
            }
            Node::Subquery { inner, range_ms, step_ms, shift } => {
                let span = (
                    shift.reference(grid.start, self.start, self.end),
                    shift.reference(grid.last(), self.start, self.end),
                );
                let inner_grid = subquery_grid(span, *range_ms, *step_ms, self.opts);
                self.check_cells(1, &inner_grid)?;
                let rows = match self.eval(inner, &inner_grid)? {
                    Evaluated::Vector(rows) => rows,
                    Evaluated::Scalar(values) => {
                        vec![Row::new(Labels::empty(), values.into_iter().map(Some).collect())]
                    }
                    Evaluated::Matrix(_) => return Err(mistyped()),
                };
                let nameless = rows.iter().map(|r| r.nameless).collect();
                let series = rows.into_iter().map(|r| Series { samples: r.samples(&inner_grid), labels: r.labels });
                let supply = Supply::Held(Cow::Owned(series.collect()));
                Ok(Source { supply, nameless, range_ms: *range_ms, shift: *shift })
            }
            _ => Err(mistyped()),
        }
    }

    /// Rows keep their names; see [`unnamed`].
    pub(super) fn over_time(
        &self,
        compute: Compute,
        source: Source<'_>,
        param: Option<&[f64]>,
        grid: &Grid,
    ) -> Result<Vec<Row>, QueryError> {
        let (range_ms, shift) = (source.range_ms, source.shift);
        let mut rows = Vec::new();
        let mut add = |labels: &Labels, samples: &[Sample], nameless: bool| {
            self.check_time()?;
            self.check_cells(rows.len() + 1, grid)?;
            let (mut from, mut to) = (0, 0);
            let mut walk = Walk::new(compute, samples);
            let values = grid.instants().enumerate().map(|(i, now)| {
                let end = shift.reference(now, self.start, self.end);
                let start = end.saturating_sub(range_ms);
                to += samples[to..].iter().take_while(|s| s.t.ms() <= end).count();
                from += samples[from..to].iter().take_while(|s| s.t.ms() <= start).count();
                let param = param.map_or(f64::NAN, |p| p[i]);
                let window = Window { samples: &samples[from..to], start, end, now, param };
                if from == to { None } else { walk.at(from, to, &window) }
            });
            let row = Row { values: values.collect(), labels: labels.clone(), nameless };
            if !row.is_empty() {
                rows.push(row);
            }
            Ok::<(), QueryError>(())
        };
        match source.supply {
            Supply::Held(series) => {
                for (n, one) in series.iter().enumerate() {
                    add(&one.labels, &one.samples, source.nameless.get(n).copied().unwrap_or(false))?;
                }
            }
            Supply::Coming(mut scan) => {
                let mut samples = Vec::new();
                while let Some(labels) = scan.next_into(&mut samples).map_err(|e| of_read(e, self.opts))? {
                    without_markers(&mut samples);
                    if !samples.is_empty() {
                        add(&labels, &samples, false)?;
                    }
                }
                // Sums of floats depend on the order: always the same one.
                rows.sort_by(|a, b| a.labels.cmp(&b.labels));
            }
        }
        Ok(rows)
    }

    /// `rate` of what does not look like a counter.
    pub(super) fn note_gauges(&self, rows: &[Row], at: usize) {
        const ENDINGS: &[&str] = &["_total", "_sum", "_count", "_bucket"];
        for name in rows.iter().map(|r| r.labels.name()) {
            if !name.is_empty() && !ENDINGS.iter().any(|e| name.ends_with(e)) {
                let what = "metric might not be a counter, name does not end in _total/_sum/_count/_bucket:";
                self.notes.inform(format!("{what} {name:?}"), at);
            }
        }
    }

    /// The samples of a range selector or subquery at the only step.
    pub(super) fn matrix(&self, node: &Node, grid: &Grid) -> Result<Vec<Series>, QueryError> {
        let source = self.source(node, grid)?;
        let Supply::Held(series) = &source.supply else { return Err(mistyped()) };
        let end = source.shift.reference(grid.start, self.start, self.end);
        let start = end.saturating_sub(source.range_ms);
        let within = |s: &Sample| s.t.ms() > start && s.t.ms() <= end;
        let cut = series.iter().enumerate().map(|(n, s)| {
            let nameless = source.nameless.get(n).copied().unwrap_or(false);
            let labels = if nameless { s.labels.without(DESCRIBING) } else { s.labels.clone() };
            Series { labels, samples: s.samples.iter().copied().filter(within).collect() }
        });
        let mut series: Vec<Series> = cut.filter(|s| !s.samples.is_empty()).collect();
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
