//! Evaluation without I/O. A node over a grid of steps yields rows: one per series, one optional value per step.
//! Everything that must hold at one instant (matching, grouping, duplicate label sets) is decided step by step.

use std::collections::HashMap;
use std::time::Instant;

use crate::domain::clock::Timestamp;
use crate::domain::metric::{Labels, NAME, Sample, Series, SeriesScan};

use super::notes::Collector;
use super::over_time::{Compute, PRESENT};
use super::plan::{AggregateOp, DESCRIBING, Node, Plan, Relabel, SortBy};
use super::windows::unnamed;
use super::{Options, QueryError, aggregate, binary, functions, histogram};

/// The instants of an evaluation: `start`, `start + step`, … `count` of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    pub start: i64,
    pub step: i64,
    pub count: usize,
}

impl Grid {
    pub(super) fn at(&self, i: usize) -> i64 {
        self.start.saturating_add(self.step.saturating_mul(i as i64))
    }
    /// The last instant; before `start` when there is none.
    pub(super) fn last(&self) -> i64 {
        if self.count == 0 { self.start.saturating_sub(1) } else { self.at(self.count - 1) }
    }
    pub(super) fn instants(&self) -> impl Iterator<Item = i64> {
        let grid = *self;
        (0..grid.count).map(move |i| grid.at(i))
    }
}

/// One series of a result: a value, or none, for each step.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub labels: Labels,
    pub values: Vec<Option<f64>>,
    /// The labels that describe the metric are still there and go when the result is complete
    /// ([`Options::delay_names`]).
    pub nameless: bool,
}

impl Row {
    pub(super) fn new(labels: Labels, values: Vec<Option<f64>>) -> Row {
        Row { labels, values, nameless: false }
    }
    /// What is computed from a metric is no longer that metric.
    pub(super) fn derive(&mut self, delay: bool) {
        if delay {
            self.nameless = true;
        } else {
            self.labels = self.labels.without(DESCRIBING);
        }
    }
    pub(super) fn is_empty(&self) -> bool {
        self.values.iter().all(Option::is_none)
    }
    pub(super) fn samples(&self, grid: &Grid) -> Vec<Sample> {
        let instants = grid.instants().zip(&self.values);
        instants.filter_map(|(t, v)| v.map(|v| Sample { t: Timestamp::from_ms(t), v })).collect()
    }
}

/// What a node yields.
#[derive(Debug)]
pub(super) enum Evaluated {
    /// One value per step.
    Scalar(Vec<f64>),
    Vector(Vec<Row>),
    /// Only at the root of an instant query.
    Matrix(Vec<Series>),
}

pub(super) struct Context<'a> {
    pub plan: &'a Plan,
    /// Per selector; see [`super::fetch::fetch`].
    pub data: &'a [Box<dyn SeriesScan>],
    /// First and last instant of the whole query: what `@ start()` and `@ end()` mean, in subqueries too.
    pub start: i64,
    pub end: i64,
    pub opts: &'a Options,
    pub deadline: Instant,
    pub notes: Collector,
}

impl<'a> Context<'a> {
    pub(super) fn eval_root(&self, node: &Node, grid: &Grid) -> Result<Evaluated, QueryError> {
        match node {
            Node::Range(_) | Node::Subquery { .. } => self.matrix(node, grid).map(Evaluated::Matrix),
            other => match self.eval(other, grid)? {
                Evaluated::Vector(rows) if self.opts.delay_names => {
                    let stripped = rows.into_iter().map(|mut row| {
                        if std::mem::take(&mut row.nameless) {
                            row.derive(false);
                        }
                        row
                    });
                    merge(stripped.collect()).map(Evaluated::Vector)
                }
                done => Ok(done),
            },
        }
    }

    /// Rows that have no value at any step are left out.
    pub(super) fn eval(&self, node: &Node, grid: &Grid) -> Result<Evaluated, QueryError> {
        self.check_time()?;
        let rows = match node {
            Node::Number(v) => return Ok(Evaluated::Scalar(vec![*v; grid.count])),
            Node::Time => return Ok(Evaluated::Scalar(grid.instants().map(|t| t as f64 / 1000.0).collect())),
            Node::ToScalar(vector) => {
                let rows = self.vector(vector, grid)?;
                return Ok(Evaluated::Scalar((0..grid.count).map(|i| functions::only_value(&rows, i)).collect()));
            }
            Node::Negate(inner) => match self.eval(inner, grid)? {
                Evaluated::Scalar(values) => return Ok(Evaluated::Scalar(values.into_iter().map(|v| -v).collect())),
                Evaluated::Vector(rows) => merge(map_rows(rows, self.opts.delay_names, |v, _| Some(-v)))?,
                Evaluated::Matrix(_) => return Err(mistyped()),
            },
            Node::Binary(binary) => {
                let left = self.eval(&binary.left, grid)?;
                let right = self.eval(&binary.right, grid)?;
                match binary::apply(binary, left, right, grid.count, self.opts.delay_names)? {
                    Evaluated::Vector(rows) => rows,
                    other => return Ok(other),
                }
            }
            Node::Instant(_) => self.instant(node, grid, false)?,
            Node::Timestamp(vector) => match &**vector {
                // Of a plain selector it is the sample's own time, of anything else the step's.
                Node::Instant(_) => {
                    let rows = self.instant(vector, grid, true)?;
                    merge(map_rows(rows, self.opts.delay_names, |v, _| Some(v)))?
                }
                other => {
                    let rows = self.vector(other, grid)?;
                    merge(map_rows(rows, self.opts.delay_names, |_, i| Some(grid.at(i) as f64 / 1000.0)))?
                }
            },
            Node::Map { compute, vector, params } => {
                let rows = self.vector(vector, grid)?;
                let params: Vec<Vec<f64>> = params.iter().map(|p| self.scalar(p, grid)).collect::<Result<_, _>>()?;
                let mut at_step = vec![0.0; params.len()];
                merge(map_rows(rows, self.opts.delay_names, |v, i| {
                    at_step.iter_mut().zip(&params).for_each(|(slot, p)| *slot = p[i]);
                    compute(v, &at_step)
                }))?
            }
            Node::OverTime { compute, keep_name, source, param, quantile_at, counter_at } => {
                let param = param.as_deref().map(|p| self.scalar(p, grid)).transpose()?;
                let rows = self.over_time(*compute, &self.source(source, grid)?, param.as_deref(), grid)?;
                if let (Some(at), Some(quantiles)) = (quantile_at.filter(|_| !rows.is_empty()), &param) {
                    quantiles.iter().for_each(|q| self.notes.quantile(*q, at));
                }
                if let Some(at) = *counter_at {
                    self.note_gauges(rows.iter().map(|r| r.labels.name()), at);
                }
                unnamed(rows, *keep_name, self.opts.delay_names)?
            }
            Node::Absent { vector, labels } => {
                let rows = self.vector(vector, grid)?;
                let present = |i: usize| rows.iter().any(|r| r.values[i].is_some());
                let values = (0..grid.count).map(|i| (!present(i)).then_some(1.0)).collect();
                vec![Row::new(labels.clone(), values)]
            }
            Node::AbsentOverTime { source, labels } => {
                let rows = self.over_time(PRESENT, &self.source(source, grid)?, None, grid)?;
                let present = |i: usize| rows.iter().any(|r| r.values[i].is_some());
                let values = (0..grid.count).map(|i| (!present(i)).then_some(1.0)).collect();
                vec![Row::new(labels.clone(), values)]
            }
            Node::Relabel { vector, how } => {
                let mut rows = self.vector(vector, grid)?;
                for row in &mut rows {
                    let (Relabel::Replace { dst, .. } | Relabel::Join { dst, .. }) = how;
                    row.nameless &= dst != NAME;
                    row.labels = match how {
                        Relabel::Replace { dst, replacement, src, regex } => {
                            functions::label_replace(&row.labels, dst, replacement, src, regex)
                        }
                        Relabel::Join { dst, separator, sources } => {
                            functions::label_join(&row.labels, dst, separator, sources)
                        }
                    };
                }
                merge(rows)?
            }
            Node::HistogramQuantile { quantile, vector, quantile_at, vector_at } => {
                let quantile = self.scalar(quantile, grid)?;
                quantile.iter().for_each(|q| self.notes.quantile(*q, *quantile_at));
                let rows = self.vector(vector, grid)?;
                let refused = |le: &str, name: &str| self.notes.bad_bucket(le, name, *vector_at);
                merge(histogram::apply(rows, grid.count, self.opts.delay_names, refused, |i, buckets| {
                    histogram::quantile(quantile[i], buckets, |l| self.notes.lifted(l, grid.at(i), *vector_at))
                }))?
            }
            Node::HistogramFraction { lower, upper, vector, vector_at } => {
                let (lower, upper) = (self.scalar(lower, grid)?, self.scalar(upper, grid)?);
                let rows = self.vector(vector, grid)?;
                let refused = |le: &str, name: &str| self.notes.bad_bucket(le, name, *vector_at);
                merge(histogram::apply(rows, grid.count, self.opts.delay_names, refused, |i, b| {
                    histogram::fraction(lower[i], upper[i], b)
                }))?
            }
            Node::ToVector(scalar) => {
                let values = self.scalar(scalar, grid)?.into_iter().map(Some).collect();
                vec![Row::new(Labels::empty(), values)]
            }
            Node::Sort { vector, by, at } => {
                let mut rows = self.vector(vector, grid)?;
                // Only an instant query has an order.
                if grid.count > 1 {
                    let what = "sort is ineffective for range queries since results are always ordered by labels";
                    self.notes.warn(what, *at);
                } else {
                    match by {
                        SortBy::Value { descending } => functions::sort_by_value(&mut rows, *descending),
                        SortBy::Labels { names, descending } => {
                            functions::sort_by_labels(&mut rows, names, *descending);
                        }
                    }
                }
                rows
            }
            Node::Aggregate { op, vector, param, param_at, grouping } => {
                if let Some(rows) = self.tally(*op, vector, grouping, grid)? {
                    return Ok(Evaluated::Vector(rows));
                }
                let rows = self.vector(vector, grid)?;
                let param = match param.as_deref() {
                    None => aggregate::Param::None,
                    Some(Node::Text(text)) => aggregate::Param::Text(text),
                    Some(scalar) => aggregate::Param::Scalar(self.scalar(scalar, grid)?),
                };
                if let (AggregateOp::Quantile, aggregate::Param::Scalar(quantiles)) = (op, &param) {
                    quantiles.iter().for_each(|q| self.notes.quantile(*q, *param_at));
                }
                aggregate::apply(*op, rows, &param, grouping, grid.count)?
            }
            Node::Text(_) | Node::Range(_) | Node::Subquery { .. } => return Err(mistyped()),
        };
        let rows: Vec<Row> = rows.into_iter().filter(|r| !r.is_empty()).collect();
        check_cells(rows.len(), grid, self.opts)?;
        Ok(Evaluated::Vector(rows))
    }

    fn vector(&self, node: &Node, grid: &Grid) -> Result<Vec<Row>, QueryError> {
        match self.eval(node, grid)? {
            Evaluated::Vector(rows) => Ok(rows),
            _ => Err(mistyped()),
        }
    }

    fn scalar(&self, node: &Node, grid: &Grid) -> Result<Vec<f64>, QueryError> {
        match self.eval(node, grid)? {
            Evaluated::Scalar(values) => Ok(values),
            _ => Err(mistyped()),
        }
    }

    /// The newest sample in `(t - lookback, t]`, or its time in seconds, unless it is a stale marker.
    fn instant(&self, selector: &Node, grid: &Grid, time: bool) -> Result<Vec<Row>, QueryError> {
        self.over_time(Compute::Latest { time }, &self.source(selector, grid)?, None, grid)
    }

    pub(super) fn check_time(&self) -> Result<(), QueryError> {
        if Instant::now() > self.deadline { Err(QueryError::Timeout(self.opts.timeout)) } else { Ok(()) }
    }
}

pub(super) fn check_cells(rows: usize, grid: &Grid, opts: &Options) -> Result<(), QueryError> {
    let limit = opts.samples_max;
    if rows.saturating_mul(grid.count) > limit { Err(QueryError::TooManySamples { limit }) } else { Ok(()) }
}

/// Applies `f(value, step)` to every value and drops the metric's name.
fn map_rows(mut rows: Vec<Row>, delay: bool, mut f: impl FnMut(f64, usize) -> Option<f64>) -> Vec<Row> {
    for row in &mut rows {
        row.derive(delay);
        for (i, value) in row.values.iter_mut().enumerate() {
            *value = value.and_then(|v| f(v, i));
        }
    }
    rows
}

/// Joins rows with equal labels. Two values at one step are the error that Prometheus gives.
pub(super) fn merge(rows: Vec<Row>) -> Result<Vec<Row>, QueryError> {
    let mut known: HashMap<Labels, usize> = HashMap::with_capacity(rows.len());
    let mut merged: Vec<Row> = Vec::with_capacity(rows.len());
    for row in rows {
        let Some(&at) = known.get(&row.labels) else {
            known.insert(row.labels.clone(), merged.len());
            merged.push(row);
            continue;
        };
        merged[at].nameless |= row.nameless;
        for (slot, value) in merged[at].values.iter_mut().zip(row.values) {
            match (&slot, value) {
                (Some(_), Some(_)) => return Err(duplicate_labels()),
                (None, Some(_)) => *slot = value,
                _ => {}
            }
        }
    }
    Ok(merged)
}

pub(super) fn duplicate_labels() -> QueryError {
    QueryError::Execution("vector cannot contain metrics with the same labelset".into())
}

/// `compile` settles all types, so this is a fault of ours and not of the query.
pub(super) fn mistyped() -> QueryError {
    QueryError::Execution("internal: the expression was compiled with a wrong type".into())
}
