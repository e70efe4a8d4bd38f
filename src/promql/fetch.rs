//! Works out which samples an expression needs and fetches them: one `select` per selector, before evaluation starts.

use std::cell::Cell;
use std::time::Duration;

use crate::domain::clock::Timestamp;
use crate::domain::metric::{ReadError, Sample, Series, SeriesReader, SeriesScan, is_stale};

use super::eval::Grid;
use super::plan::{Node, Plan, Shift};
use super::{Options, QueryError};

/// For each selector of the plan the instants, in milliseconds, between which it needs samples (both included).
fn spans(plan: &Plan, grid: &Grid, end: i64, opts: &Options) -> Vec<(i64, i64)> {
    let mut spans = vec![(i64::MAX, i64::MIN); plan.selectors.len()];
    walk(plan, &plan.root, (grid.start, end), (grid.start, grid.last()), opts, &mut spans);
    spans
}

fn walk(plan: &Plan, node: &Node, query: (i64, i64), context: (i64, i64), opts: &Options, spans: &mut Vec<(i64, i64)>) {
    let shifted =
        |shift: &Shift| (shift.reference(context.0, query.0, query.1), shift.reference(context.1, query.0, query.1));
    match node {
        Node::Instant(i) | Node::Range(i) => {
            let selector = &plan.selectors[*i];
            let (from, to) = shifted(&selector.shift);
            let back = selector.range_ms.unwrap_or(ms(opts.lookback));
            // Windows are open on the left, so a sample exactly `back` before is not needed.
            spans[*i] = (from.saturating_sub(back).saturating_add(1), to);
        }
        Node::Subquery { inner, range_ms, step_ms, shift } => {
            let grid = subquery_grid(shifted(shift), *range_ms, *step_ms, opts);
            let inner_context = (grid.start, grid.last());
            walk(plan, inner, query, inner_context, opts, spans);
        }
        other => {
            for child in other.children() {
                walk(plan, child, query, context, opts, spans);
            }
        }
    }
}

/// The steps of a subquery: multiples of its step, whatever the query's own start, in `(from - range, to]`.
pub(super) fn subquery_grid((from, to): (i64, i64), range_ms: i64, step_ms: Option<i64>, opts: &Options) -> Grid {
    let step = step_ms.unwrap_or(ms(opts.subquery_step)).max(1);
    let open = from.saturating_sub(range_ms);
    let start = open.div_euclid(step).saturating_add(1).saturating_mul(step);
    let count = if to < start { 0 } else { (to.saturating_sub(start) / step) as usize + 1 };
    Grid { start, step, count }
}

/// Samples of one selector.
pub(super) enum Fetched {
    /// Sorted by labels.
    Held(Vec<Series>),
    /// Behind a window function: each series is unpacked when its windows are computed, and then forgotten. A selector
    /// stands in one place of the text, so it is taken once.
    Coming(Cell<Option<Box<dyn SeriesScan>>>),
}

impl Fetched {
    pub(super) fn samples_at_most(&mut self) -> usize {
        match self {
            Fetched::Held(series) => series.iter().map(|s| s.samples.len()).sum(),
            Fetched::Coming(scan) => scan.get_mut().as_ref().map_or(0, |s| s.samples_at_most()),
        }
    }
}

/// Samples per selector: sorted by labels, ascending. Range selectors lose their stale markers here; instant selectors
/// need them.
pub(super) async fn fetch(
    reader: &dyn SeriesReader,
    plan: &Plan,
    grid: &Grid,
    end: Timestamp,
    opts: &Options,
) -> Result<Vec<Fetched>, QueryError> {
    let mut left = opts.samples_max;
    let mut data = Vec::with_capacity(plan.selectors.len());
    for (nth, (selector, (from, to))) in plan.selectors.iter().zip(spans(plan, grid, end.ms(), opts)).enumerate() {
        if from > to {
            data.push(Fetched::Held(Vec::new()));
            continue;
        }
        let (from, to) = (Timestamp::from_ms(from), Timestamp::from_ms(to));
        let too_many = || QueryError::TooManySamples { limit: opts.samples_max };
        let is_root = matches!(plan.root, Node::Range(root) if root == nth);
        if selector.range_ms.is_some() && !is_root {
            let scan = reader.scan(&selector.matchers, from, to, left).await;
            data.push(Fetched::Coming(Cell::new(Some(scan.map_err(|e| of_read(e, opts))?))));
            continue;
        }
        let mut series = reader.select(&selector.matchers, from, to, left).await.map_err(|e| of_read(e, opts))?;
        let count = series.iter().map(|s| s.samples.len()).sum();
        left = left.checked_sub(count).ok_or_else(too_many)?;
        if selector.range_ms.is_some() {
            series.iter_mut().for_each(|one| without_markers(&mut one.samples));
            series.retain(|s| !s.samples.is_empty());
        }
        data.push(Fetched::Held(series));
    }
    Ok(data)
}

/// The query's own limit, whatever was left of it for this selector.
pub(super) fn of_read(error: ReadError, opts: &Options) -> QueryError {
    match error {
        ReadError::TooManySamples { .. } => QueryError::TooManySamples { limit: opts.samples_max },
        other => other.into(),
    }
}

/// Windows do not see stale markers.
pub(super) fn without_markers(samples: &mut Vec<Sample>) {
    samples.retain(|s| !is_stale(s.v));
}

/// See [`super::Expr::reach`].
pub(super) fn reach(plan: &Plan, opts: &Options) -> Option<Duration> {
    if has_fixed_instant(plan, &plan.root) {
        return None;
    }
    let earliest = spans(plan, &Grid { start: 0, step: 1, count: 1 }, 0, opts)
        .into_iter()
        .map(|(from, _)| from)
        .min()
        .unwrap_or(0);
    Some(Duration::from_millis(earliest.min(0).unsigned_abs()))
}

fn has_fixed_instant(plan: &Plan, node: &Node) -> bool {
    let fixed = match node {
        Node::Instant(i) | Node::Range(i) => plan.selectors[*i].shift.at.is_some(),
        Node::Subquery { shift, .. } => shift.at.is_some(),
        _ => false,
    };
    fixed || node.children().into_iter().any(|child| has_fixed_instant(plan, child))
}

pub(super) fn ms(d: Duration) -> i64 {
    d.as_millis().min(i64::MAX as u128) as i64
}
