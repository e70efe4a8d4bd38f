//! Works out which samples an expression needs and fetches them: one `select` per selector, before evaluation starts.

use std::time::Duration;

use crate::domain::clock::Timestamp;
use crate::domain::metric::{Need, ReadError, SeriesReader, SeriesScan};
use crate::domain::rollup::Field;

use super::eval::Grid;
use super::over_time::PRESENT;
use super::plan::{Node, Plan, Shift};
use super::rolled::{self, Ask, Instead, Told};
use super::{Options, QueryError};

/// What a selector needs.
#[derive(Clone, Copy)]
struct Reach {
    /// Milliseconds, both included; none when `from` is after `to`.
    from: i64,
    to: i64,
    ask: Ask,
}

/// The evaluation around a node: first and last instant, and the step between them when there is one.
#[derive(Clone, Copy)]
struct Around {
    from: i64,
    to: i64,
    step_ms: Option<i64>,
}

struct Walk<'a> {
    plan: &'a Plan,
    /// First and last instant of the whole query.
    query: (i64, i64),
    opts: &'a Options,
    reaches: Vec<Reach>,
}

/// What each selector of the plan needs. `step_ms`: of a range query.
fn reaches(plan: &Plan, grid: &Grid, end: i64, step_ms: Option<i64>, opts: &Options) -> Vec<Reach> {
    let ask = Ask { step_ms, window_ms: None, instead: Instead::Lasts };
    let reaches = vec![Reach { from: i64::MAX, to: i64::MIN, ask }; plan.selectors.len()];
    let mut walk = Walk { plan, query: (grid.start, end), opts, reaches };
    walk.node(&plan.root, Around { from: grid.start, to: grid.last(), step_ms });
    walk.reaches
}

impl Walk<'_> {
    fn shifted(&self, shift: &Shift, around: Around) -> (i64, i64) {
        let (start, end) = self.query;
        (shift.reference(around.from, start, end), shift.reference(around.to, start, end))
    }

    fn node(&mut self, node: &Node, around: Around) {
        match node {
            Node::Instant(i) => self.selector(*i, Instead::Each(Field::Last), around),
            Node::Range(i) => self.selector(*i, Instead::Lasts, around),
            Node::OverTime { compute, source, param, .. } => {
                self.source(source, compute.instead(), around);
                param.iter().for_each(|param| self.node(param, around));
            }
            // Of a bucket only its end is known.
            Node::Timestamp(vector) => self.source(vector, Instead::Lasts, around),
            Node::AbsentOverTime { source, .. } => self.source(source, PRESENT.instead(), around),
            Node::Subquery { inner, range_ms, step_ms, shift } => {
                let grid = subquery_grid(self.shifted(shift, around), *range_ms, *step_ms, self.opts);
                self.node(inner, Around { from: grid.start, to: grid.last(), step_ms: Some(grid.step) });
            }
            other => other.children().into_iter().for_each(|child| self.node(child, around)),
        }
    }

    fn source(&mut self, source: &Node, instead: Instead, around: Around) {
        match source {
            Node::Instant(i) | Node::Range(i) => self.selector(*i, instead, around),
            other => self.node(other, around),
        }
    }

    fn selector(&mut self, nth: usize, instead: Instead, around: Around) {
        let selector = &self.plan.selectors[nth];
        let (from, to) = self.shifted(&selector.shift, around);
        let back = selector.range_ms.unwrap_or(ms(self.opts.lookback));
        // Windows are open on the left, so a sample exactly `back` before is not needed.
        let from = from.saturating_sub(back).saturating_add(1);
        let ask = Ask { step_ms: around.step_ms, window_ms: selector.range_ms, instead };
        self.reaches[nth] = Reach { from, to, ask };
    }
}

/// Which selectors of a range query need what is before `until`.
pub(super) fn before(plan: &Plan, grid: &Grid, end: i64, until: i64, opts: &Options) -> Vec<bool> {
    reaches(plan, grid, end, Some(grid.step), opts).into_iter().map(|r| r.from < until).collect()
}

/// The steps of a subquery: multiples of its step, whatever the query's own start, in `(from - range, to]`.
pub(super) fn subquery_grid((from, to): (i64, i64), range_ms: i64, step_ms: Option<i64>, opts: &Options) -> Grid {
    let step = step_ms.unwrap_or(ms(opts.subquery_step)).max(1);
    let open = from.saturating_sub(range_ms);
    let start = open.div_euclid(step).saturating_add(1).saturating_mul(step);
    let count = if to < start { 0 } else { (to.saturating_sub(start) / step) as usize + 1 };
    Grid { start, step, count }
}

/// What each selector finds, and what is to be said of it. A series is unpacked when its windows are computed, and then
/// forgotten.
pub(super) async fn fetch(
    reader: &dyn SeriesReader,
    plan: &Plan,
    grid: &Grid,
    end: Timestamp,
    step_ms: Option<i64>,
    opts: &Options,
) -> Result<(Vec<Box<dyn SeriesScan>>, Vec<Told>), QueryError> {
    let (mut data, mut said) = (Vec::with_capacity(plan.selectors.len()), Vec::new());
    let reaches = reaches(plan, grid, end.ms(), step_ms, opts);
    let resolution = rolled::resolution(reaches.iter().map(|r| r.ask));
    for (selector, Reach { from, to, ask }) in plan.selectors.iter().zip(reaches) {
        if from > to {
            data.push(Box::new(Vec::new()) as Box<dyn SeriesScan>);
            continue;
        }
        let (start, end) = (Timestamp::from_ms(from), Timestamp::from_ms(to));
        let need = Need { start, end, limit: opts.samples_max, rolled: ask.wanted(resolution) };
        let scan = reader.scan(&selector.matchers, need).await.map_err(|e| of_read(e, opts))?;
        said.extend(scan.rolled().into_iter().flat_map(|rolled| rolled::told(rolled, ask)));
        data.push(scan);
    }
    Ok((data, said))
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
    let earliest = reaches(plan, &Grid { start: 0, step: 1, count: 1 }, 0, None, opts)
        .into_iter()
        .map(|reach| reach.from)
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
