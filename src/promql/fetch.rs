//! Works out which samples an expression needs and fetches them: one `select` per selector, before evaluation starts.

use std::time::Duration;

use crate::domain::clock::Timestamp;
use crate::domain::metric::{Need, ReadError, SeriesReader, SeriesScan};

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

/// What each selector finds. A series is unpacked when its windows are computed, and then forgotten.
pub(super) async fn fetch(
    reader: &dyn SeriesReader,
    plan: &Plan,
    grid: &Grid,
    end: Timestamp,
    opts: &Options,
) -> Result<Vec<Box<dyn SeriesScan>>, QueryError> {
    let mut data = Vec::with_capacity(plan.selectors.len());
    for (selector, (from, to)) in plan.selectors.iter().zip(spans(plan, grid, end.ms(), opts)) {
        if from > to {
            data.push(Box::new(Vec::new()) as Box<dyn SeriesScan>);
            continue;
        }
        let (from, to) = (Timestamp::from_ms(from), Timestamp::from_ms(to));
        let need = Need { start: from, end: to, limit: opts.samples_max, rolled: None };
        let scan = reader.scan(&selector.matchers, need).await;
        data.push(scan.map_err(|e| of_read(e, opts))?);
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
    let mut fixed = false;
    shifts(plan, node, &mut |shift| fixed |= shift.at.is_some());
    fixed
}

/// See [`super::Expr::ahead`]: at most that far.
pub(super) fn ahead(plan: &Plan) -> Option<i64> {
    let mut ahead = 0i64;
    shifts(plan, &plan.root, &mut |shift| ahead = ahead.saturating_add(shift.offset_ms.saturating_neg().max(0)));
    (!has_fixed_instant(plan, &plan.root) && !sorts(&plan.root)).then_some(ahead)
}

/// What `sort` warns of depends on how many steps there are.
fn sorts(node: &Node) -> bool {
    matches!(node, Node::Sort { .. }) || node.children().into_iter().any(sorts)
}

/// Every `@` and `offset` below `node`.
fn shifts(plan: &Plan, node: &Node, see: &mut dyn FnMut(&Shift)) {
    match node {
        Node::Instant(i) | Node::Range(i) => see(&plan.selectors[*i].shift),
        Node::Subquery { shift, .. } => see(shift),
        _ => {}
    }
    node.children().into_iter().for_each(|child| shifts(plan, child, see));
}

pub(super) fn ms(d: Duration) -> i64 {
    d.as_millis().min(i64::MAX as u128) as i64
}
