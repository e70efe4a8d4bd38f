//! PromQL: an expression over a [`SeriesReader`], with the semantics of Prometheus 3 (left-open ranges, staleness,
//! extrapolation, name dropping, absolute subquery alignment). Knows no store, no rule and no HTTP.
//!
//! `syntax` reads the text; [`parse`] compiles its tree into a plan (`compile.rs`) and refuses whatever cannot be
//! evaluated, so that a rule file fails when it is loaded and not at three in the morning. [`instant`] and [`range`]
//! fetch every selector once (`fetch.rs`) and then evaluate without I/O (`eval.rs`): each node yields one row per series
//! over the whole grid of steps, with cursors that only move forward. Read `plan.rs` next. Samples that lie in a store
//! with an engine of its own are not fetched: it gets the whole expression (`elsewhere.rs`). Where raw samples are gone,
//! rollups answer (`rolled.rs`).
//!
//! What Prometheus 3 has behind a feature flag is refused (`fill`, `limitk`, `limit_ratio`, `anchored`, `smoothed`,
//! experimental functions), but for `mad_over_time`, `sort_by_label` and `sort_by_label_desc`. There are no native
//! histograms; their functions see none.

mod aggregate;
mod binary;
mod cache;
mod call;
mod compile;
mod elsewhere;
mod eval;
mod fetch;
mod functions;
mod histogram;
mod memory;
mod notes;
pub mod number;
mod over_time;
mod plan;
mod rolled;
mod stats;
mod syntax;
mod tally;
mod windows;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::domain::clock::Timestamp;
use crate::domain::metric::{Labels, MatchOp, Matcher, NAME, ReadError, Series, SeriesReader};
use crate::domain::units::group_thousands;

use eval::{Context, Evaluated, Grid};
use notes::Collector;
use plan::{Kind, Node, Plan};
use syntax::ast::{self, Frame};

pub use crate::domain::query::Value;
pub use cache::Cache;
pub use memory::MemoryReader;
pub use notes::Notes;

/// Steps a range query may have per series, Prometheus' own limit.
pub const POINTS_MAX: usize = 11_000;

/// Above this many samples the evaluation leaves the async thread, so that it cannot hold up others.
const INLINE_SAMPLES_MAX: usize = 50_000;

/// A checked expression: whatever it holds can be evaluated. Cheap to clone.
#[derive(Clone)]
pub struct Expr {
    text: Arc<str>,
    tree: Arc<ast::Expr>,
    plan: Arc<Plan>,
    /// Durations that depend on the query (`step()`, `range()`): the plan is made anew for each.
    depends: bool,
}

impl Expr {
    /// The text as given to [`parse`].
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The matchers of every selector, in the order of the text; the metric's name is a matcher on `__name__`.
    pub fn selectors(&self) -> Vec<Vec<Matcher>> {
        self.plan.selectors.iter().map(|s| s.matchers.clone()).collect()
    }

    /// Of each of [`Expr::selectors`]: does it select a range?
    pub fn ranged(&self) -> Vec<bool> {
        self.plan.selectors.iter().map(|s| s.range_ms.is_some()).collect()
    }

    /// The matchers, when the whole expression is one instant selector without `offset` or `@`.
    pub fn plain_selector(&self) -> Option<&[Matcher]> {
        let Node::Instant(i) = self.plan.root else { return None };
        let selector = self.plan.selectors.get(i)?;
        let moved = selector.shift.at.is_some() || selector.shift.offset_ms != 0;
        (!moved).then_some(selector.matchers.as_slice())
    }

    /// Names of metrics that are selected by equality: sorted, each once.
    pub fn metric_names(&self) -> Vec<String> {
        let matchers = self.plan.selectors.iter().flat_map(|s| &s.matchers);
        let mut names: Vec<String> = matchers
            .filter_map(|m| match &m.op {
                MatchOp::Equal(name) if m.label == NAME => Some(name.clone()),
                _ => None,
            })
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// How far before the evaluation instant samples are read, lookback included; `None` when an `@` makes that unknown.
    pub fn reach(&self, opts: &Options) -> Option<Duration> {
        if self.depends { None } else { fetch::reach(&self.plan, opts) }
    }

    /// How far after a step samples can matter to it (negative offsets), in milliseconds; `None` when a step's result depends
    /// on the query's others.
    fn ahead(&self) -> Option<i64> {
        if self.depends { None } else { fetch::ahead(&self.plan) }
    }

    /// Which selectors of a range query need what is before `until`; empty when nothing is.
    fn before(&self, grid: &Grid, end: Timestamp, until: Option<Timestamp>, opts: &Options) -> Vec<bool> {
        until.map_or_else(Vec::new, |until| fetch::before(&self.plan, grid, end.ms(), until.ms(), opts))
    }

    /// In Prometheus' canonical form.
    pub fn pretty(&self) -> String {
        syntax::pretty(&self.tree)
    }

    /// The first comparison with a number, outermost and leftmost first: the number, and whether falling below it is
    /// what the expression looks for.
    pub fn limit(&self) -> Option<(f64, bool)> {
        syntax::limit(&self.tree)
    }

    /// The first range of the text.
    pub fn window(&self) -> Option<Duration> {
        syntax::window(&self.tree)
    }

    /// Labels that it groups by, joins on, or copies: series need them to pass through. Sorted.
    pub fn labels_used(&self) -> std::collections::BTreeSet<String> {
        let mut out = std::collections::BTreeSet::new();
        syntax::labels(&self.tree, &mut out);
        out
    }

    /// Is anything compared with anything?
    pub fn compares(&self) -> bool {
        syntax::compares(&self.tree)
    }

    /// Is the function called anywhere?
    pub fn calls(&self, function: &str) -> bool {
        syntax::calls(&self.tree, function)
    }

    /// Is the result a number, a vector, a range or a text? As Prometheus names it.
    pub fn result_type(&self) -> &'static str {
        self.plan.root.kind().word()
    }
}

impl std::fmt::Debug for Expr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Expr({})", self.text)
    }
}

/// Limits and defaults of one evaluation.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long a sample stands for its series (Prometheus: 5 m). The window is open on the left.
    pub lookback: Duration,
    /// Samples one query may fetch, and cells one intermediate result may have.
    pub samples_max: usize,
    /// Steps a range query may have.
    pub points_max: usize,
    /// From the first read to the last value.
    pub timeout: Duration,
    /// Step of a subquery that names none (Prometheus: its global evaluation interval, 1 m).
    pub subquery_step: Duration,
    /// Drop metric names only from the complete result, as Prometheus does with its feature flag
    /// `promql-delayed-name-removal`; its own test scripts expect that. Off as in Prometheus.
    pub delay_names: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            lookback: Duration::from_secs(300),
            samples_max: 50_000_000,
            points_max: POINTS_MAX,
            timeout: Duration::from_secs(30),
            subquery_step: Duration::from_secs(60),
            delay_names: false,
        }
    }
}

/// A place in the text of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Bytes from the start.
    pub offset: usize,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

#[derive(Debug, Clone, thiserror::Error, PartialEq)]
pub enum QueryError {
    /// The text is not PromQL, or asks for something this engine does not do. No position: it concerns the whole text.
    #[error("{}{message}", at.map(|p| format!("{}:{}: parse error: ", p.line, p.column)).unwrap_or_default())]
    Parse { message: String, at: Option<Position> },
    /// The expression is fine and the data does not fit it: ambiguous matches, duplicate label sets.
    #[error("{0}")]
    Execution(String),
    #[error("query processing would load too many samples into memory (limit {limit})")]
    TooManySamples { limit: usize },
    #[error(
        "exceeded maximum resolution of {} points per timeseries. Try decreasing the query resolution (?step=XX)",
        group_thousands(&limit.to_string())
    )]
    TooManyPoints { limit: usize },
    #[error("query timed out after {0:?}")]
    Timeout(Duration),
    #[error("reading samples failed: {0}")]
    Read(String),
    /// The store that is configured elsewhere could not be asked.
    #[error("{0}")]
    Elsewhere(String),
}

impl From<ReadError> for QueryError {
    fn from(error: ReadError) -> QueryError {
        match error {
            ReadError::TooManySamples { limit } => QueryError::TooManySamples { limit },
            ReadError::Storage(message) => QueryError::Read(message),
            ReadError::Refused(message) => QueryError::Execution(message),
            ReadError::Elsewhere(message) => QueryError::Elsewhere(message),
        }
    }
}

/// Parses and checks. Whatever this accepts can be evaluated.
pub fn parse(text: &str) -> Result<Expr, QueryError> {
    let tree = syntax::parse(text).map_err(|fault| fault.into_error(text))?;
    let plan = compile::compile(&tree, None).map_err(|fault| fault.into_error(text))?;
    let mut depends = false;
    tree.lengths(&mut |length| depends |= length.depends());
    Ok(Expr { text: text.into(), tree: Arc::new(tree), plan: Arc::new(plan), depends })
}

/// `1h30m` in seconds, as Prometheus reads a duration; a bare number is none.
pub fn duration_seconds(text: &str) -> Option<f64> {
    syntax::duration(text).ok()
}

/// As Prometheus writes a duration.
pub fn duration_text(seconds: f64) -> String {
    syntax::duration_text(seconds)
}

/// A result, and what should be known with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer<T> {
    pub value: T,
    pub notes: Notes,
    /// Samples that were read.
    pub samples: usize,
}

/// Evaluates at one instant.
pub async fn instant(
    reader: &dyn SeriesReader,
    expr: &Expr,
    at: Timestamp,
    opts: &Options,
) -> Result<Value, QueryError> {
    answer_instant(reader, expr, at, opts).await.map(|answer| answer.value)
}

/// [`instant`] with notes.
pub async fn answer_instant(
    reader: &dyn SeriesReader,
    expr: &Expr,
    at: Timestamp,
    opts: &Options,
) -> Result<Answer<Value>, QueryError> {
    if let Node::Text(text) = &expr.plan.root {
        return Ok(Answer { value: Value::String(text.clone()), notes: Notes::default(), samples: 0 });
    }
    if let Some(engine) = elsewhere::engine(reader, expr) {
        return elsewhere::instant(engine, expr, at, opts).await;
    }
    let grid = Grid { start: at.ms(), step: 1, count: 1 };
    let ordered = expr.plan.root.orders_its_result();
    let Answer { value, notes, samples } = run(reader, expr, grid, Frame { step: 0.0, range: 0.0 }, at, opts).await?;
    let value = match value {
        Evaluated::Scalar(values) => Value::Scalar(values[0]),
        Evaluated::Vector(rows) => {
            let mut vector: Vec<(Labels, f64)> =
                rows.into_iter().filter_map(|row| row.values[0].map(|v| (row.labels, v))).collect();
            if !ordered {
                vector.sort_by(|a, b| a.0.cmp(&b.0));
            }
            Value::Vector(vector)
        }
        Evaluated::Matrix(series) => Value::Matrix(series),
    };
    Ok(Answer { value, notes, samples })
}

/// Evaluates at `start`, `start + step`, … up to and including `end`. Series sorted by labels, steps without a value
/// left out; a scalar is one series without labels.
pub async fn range(
    reader: &dyn SeriesReader,
    expr: &Expr,
    start: Timestamp,
    end: Timestamp,
    step: Duration,
    opts: &Options,
) -> Result<Vec<Series>, QueryError> {
    answer_range(reader, expr, start, end, step, opts).await.map(|answer| answer.value)
}

/// [`range`] with notes.
pub async fn answer_range(
    reader: &dyn SeriesReader,
    expr: &Expr,
    start: Timestamp,
    end: Timestamp,
    step: Duration,
    opts: &Options,
) -> Result<Answer<Vec<Series>>, QueryError> {
    let grid = range_grid(expr, start, end, step, opts)?;
    if let Some(engine) = elsewhere::engine(reader, expr) {
        return elsewhere::range(engine, expr, (start, end, step), opts).await;
    }
    let frame = Frame { step: grid.step as f64 / 1000.0, range: end.ms().saturating_sub(start.ms()) as f64 / 1000.0 };
    let Answer { value, notes, samples } = run(reader, expr, grid, frame, end, opts).await?;
    let rows = match value {
        Evaluated::Vector(rows) => rows,
        Evaluated::Scalar(values) => {
            vec![eval::Row::new(Labels::empty(), values.into_iter().map(Some).collect())]
        }
        Evaluated::Matrix(_) => Vec::new(),
    };
    let mut value: Vec<Series> = rows
        .into_iter()
        .map(|row| Series { samples: row.samples(&grid), labels: row.labels })
        .filter(|s| !s.samples.is_empty())
        .collect();
    value.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(Answer { value, notes, samples })
}

fn range_grid(
    expr: &Expr,
    start: Timestamp,
    end: Timestamp,
    step: Duration,
    opts: &Options,
) -> Result<Grid, QueryError> {
    let kind = expr.plan.root.kind();
    if matches!(kind, Kind::Text | Kind::Matrix) {
        let message =
            format!("invalid expression type {:?} for range query, must be Scalar or instant Vector", kind.title());
        return Err(QueryError::Parse { message, at: None });
    }
    let step_ms = step.as_millis().min(i64::MAX as u128) as i64;
    if step_ms == 0 {
        let message = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(QueryError::Execution(message.into()));
    }
    let span = end.ms().saturating_sub(start.ms());
    if span < 0 {
        return Err(QueryError::Execution("end timestamp must not be before start time".into()));
    }
    if span / step_ms >= opts.points_max as i64 {
        return Err(QueryError::TooManyPoints { limit: opts.points_max });
    }
    Ok(Grid { start: start.ms(), step: step_ms, count: (span / step_ms) as usize + 1 })
}

/// `end` is what `@ end()` means: the end that was asked for, which need not be a step.
async fn run(
    reader: &dyn SeriesReader,
    expr: &Expr,
    grid: Grid,
    frame: Frame,
    end: Timestamp,
    opts: &Options,
) -> Result<Answer<Evaluated>, QueryError> {
    let deadline = Instant::now() + opts.timeout;
    let plan = match expr.depends {
        false => expr.plan.clone(),
        true => Arc::new(compile::compile(&expr.tree, Some(frame)).map_err(|fault| fault.into_error(&expr.text))?),
    };
    let step_ms = (frame.step > 0.0).then_some(grid.step);
    let fetched = tokio::time::timeout(opts.timeout, fetch::fetch(reader, &plan, &grid, end, step_ms, opts)).await;
    let (data, said) = fetched.map_err(|_| QueryError::Timeout(opts.timeout))??;
    let samples: usize = data.iter().map(|d| d.samples_at_most()).sum();
    let text = expr.text.clone();
    let opts = opts.clone();
    let work = move || {
        let notes = Collector::default();
        notes.rolled(said);
        let (start, end) = (grid.start, end.ms());
        let context = Context { plan: &plan, data: &data, start, end, opts: &opts, deadline, notes };
        let value = context.eval_root(&plan.root, &grid)?;
        Ok(Answer { value, notes: context.notes.finish(&text), samples })
    };
    if samples < INLINE_SAMPLES_MAX {
        return work();
    }
    tokio::task::spawn_blocking(work).await.map_err(|e| QueryError::Execution(format!("evaluation stopped: {e}")))?
}

#[cfg(test)]
mod tests;
