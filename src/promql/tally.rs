//! Aggregation of rows as they come, for operators that need no more than a running result: ten thousand series over a day
//! are never in memory together.

use std::collections::HashMap;
use std::ops::Range;

use crate::domain::metric::{Labels, MatchOp, NAME, is_stale};

use super::QueryError;
use super::eval::{Context, Grid, Row, check_cells, mistyped};
use super::over_time::Compute;
use super::plan::{AggregateOp, DESCRIBING, Grouping, Node};
use super::stats::Sum;
use super::windows::Lane;

/// One group's running result at each step.
struct Cells {
    /// Rows that have a value.
    present: Vec<u32>,
    /// Of `sum` the compensated sums, else the extreme in `total`.
    sums: Vec<Sum>,
}

/// Running results by group.
struct Tally {
    op: AggregateOp,
    steps: usize,
    known: HashMap<Labels, usize>,
    groups: Vec<(Labels, Cells)>,
}

impl Tally {
    fn new(op: AggregateOp, steps: usize) -> Tally {
        Tally { op, steps, known: HashMap::new(), groups: Vec::new() }
    }

    fn add(&mut self, key: Labels, row: &[f64]) {
        let at = *self.known.entry(key).or_insert_with_key(|key| {
            let first = if self.op == AggregateOp::Sum { 0.0 } else { f64::NAN };
            let sums = vec![Sum { total: first, lost: 0.0 }; if self.op.has_value() { self.steps } else { 0 }];
            self.groups.push((key.clone(), Cells { present: vec![0; self.steps], sums }));
            self.groups.len() - 1
        });
        let cells = &mut self.groups[at].1;
        for (count, v) in cells.present.iter_mut().zip(row) {
            *count += u32::from(!is_stale(*v));
        }
        let present = cells.sums.iter_mut().zip(row).filter(|(_, v)| !is_stale(**v));
        match self.op {
            AggregateOp::Sum => present.for_each(|(sum, v)| sum.add(*v)),
            AggregateOp::Min => present.for_each(|(best, v)| best.lower(*v)),
            _ => present.for_each(|(best, v)| best.raise(*v)),
        }
    }

    /// Takes in what was tallied of later rows.
    fn merge(&mut self, later: Tally) {
        for (key, theirs) in later.groups {
            let Some(&at) = self.known.get(&key) else {
                self.known.insert(key.clone(), self.groups.len());
                self.groups.push((key, theirs));
                continue;
            };
            let mine = &mut self.groups[at].1;
            for (count, more) in mine.present.iter_mut().zip(&theirs.present) {
                *count += more;
            }
            for (sum, other) in mine.sums.iter_mut().zip(theirs.sums) {
                match self.op {
                    AggregateOp::Sum => {
                        sum.add(other.total);
                        sum.lost += other.lost;
                    }
                    AggregateOp::Min => sum.lower(other.total),
                    _ => sum.raise(other.total),
                }
            }
        }
    }

    /// Sorted by labels.
    fn rows(self) -> Vec<Row> {
        let row = |(labels, cells): (Labels, Cells)| {
            let value = |step: usize, count: u32| match self.op {
                AggregateOp::Count => f64::from(count),
                AggregateOp::Group => 1.0,
                _ => cells.sums[step].value(),
            };
            let present = cells.present.iter().enumerate();
            Row::new(labels, present.map(|(step, count)| (*count > 0).then(|| value(step, *count))).collect())
        };
        let mut rows: Vec<Row> = self.groups.into_iter().map(row).collect();
        rows.sort_by(|a, b| a.labels.cmp(&b.labels));
        rows
    }
}

impl AggregateOp {
    fn has_value(self) -> bool {
        matches!(self, AggregateOp::Sum | AggregateOp::Min | AggregateOp::Max)
    }
    fn runs(self) -> bool {
        self.has_value() || matches!(self, AggregateOp::Count | AggregateOp::Group)
    }
}

impl Context<'_> {
    /// The aggregation of `vector`, when it can be done row by row.
    pub(super) fn tally(
        &self,
        op: AggregateOp,
        vector: &Node,
        grouping: &Grouping,
        grid: &Grid,
    ) -> Result<Option<Vec<Row>>, QueryError> {
        let (compute, source, keep_name, counter_at) = match vector {
            Node::Instant(_) => (Compute::Latest { time: false }, vector, true, None),
            Node::OverTime { compute, source, param: None, keep_name, counter_at, .. } => {
                (*compute, &**source, *keep_name, *counter_at)
            }
            _ => return Ok(None),
        };
        let (Node::Instant(nth) | Node::Range(nth)) = source else { return Ok(None) };
        let matchers = &self.plan.selectors.get(*nth).ok_or_else(mistyped)?.matchers;
        let one_name = matchers.iter().any(|m| m.label == NAME && matches!(m.op, MatchOp::Equal(_)));
        if !op.runs() || !keep_name && (self.opts.delay_names || !one_name) {
            return Ok(None);
        }
        let source = self.source(source, grid)?;
        let scan = source.scan();
        let described = |labels: &Labels| DESCRIBING.iter().any(|name| *name != NAME && labels.get(name).is_some());
        if !keep_name && (0..scan.count()).any(|nth| described(scan.labels(nth))) {
            // Dropping more than the name might make two series equal, which is an error.
            return Ok(None);
        }
        let key = |labels: &Labels| if keep_name { grouping.key(labels) } else { grouping.key_without_name(labels) };
        let work = |lane: &mut Lane<'_>, chunk: Range<usize>| {
            let mut part = Tally::new(op, grid.count);
            for nth in chunk {
                if let Some(row) = lane.row(nth)? {
                    part.add(key(scan.labels(nth)), row);
                }
            }
            Ok(part)
        };
        let (mut whole, opts) = (Tally::new(op, grid.count), self.opts);
        self.stream(&source, compute, None, grid, work, |part| {
            whole.merge(part);
            check_cells(whole.groups.len(), grid, opts)
        })?;
        if let Some(at) = counter_at.filter(|_| !whole.groups.is_empty()) {
            self.note_gauges((0..scan.count()).take(1).map(|nth| scan.labels(nth).name()), at);
        }
        Ok(Some(whole.rows()))
    }
}
