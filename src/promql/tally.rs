//! Aggregation for operators that need no more than a running result. Where the rows come from a selector they are taken
//! as they come: ten thousand series over a day are never in memory together.

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
    /// See [`Row::nameless`].
    nameless: bool,
}

/// Running results by group.
pub(super) struct Tally {
    op: AggregateOp,
    steps: usize,
    known: HashMap<Labels, usize>,
    groups: Vec<(Labels, Cells)>,
}

impl Tally {
    pub(super) fn new(op: AggregateOp, steps: usize) -> Tally {
        Tally { op, steps, known: HashMap::new(), groups: Vec::new() }
    }

    /// Takes in the values of one more row of the group `key`.
    pub(super) fn add(&mut self, key: Labels, nameless: bool, row: impl Iterator<Item = Option<f64>> + Clone) {
        let at = *self.known.entry(key).or_insert_with_key(|key| {
            let first = if self.op == AggregateOp::Sum { 0.0 } else { f64::NAN };
            let sums = vec![Sum { total: first, lost: 0.0 }; if self.op.has_value() { self.steps } else { 0 }];
            self.groups.push((key.clone(), Cells { present: vec![0; self.steps], sums, nameless: false }));
            self.groups.len() - 1
        });
        let cells = &mut self.groups[at].1;
        cells.nameless |= nameless;
        for (count, v) in cells.present.iter_mut().zip(row.clone()) {
            *count += u32::from(v.is_some());
        }
        let present = cells.sums.iter_mut().zip(row).filter_map(|(sum, v)| Some((sum, v?)));
        match self.op {
            AggregateOp::Sum => present.for_each(|(sum, v)| sum.add(v)),
            AggregateOp::Min => present.for_each(|(best, v)| best.lower(v)),
            _ => present.for_each(|(best, v)| best.raise(v)),
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
            mine.nameless |= theirs.nameless;
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

    /// In the order of the groups' first members.
    pub(super) fn rows(self) -> Vec<Row> {
        let row = |(labels, cells): (Labels, Cells)| {
            let value = |step: usize, count: u32| match self.op {
                AggregateOp::Count => f64::from(count),
                AggregateOp::Group => 1.0,
                AggregateOp::Sum => cells.sums[step].value(),
                _ => cells.sums[step].total,
            };
            let present = cells.present.iter().enumerate();
            let values = present.map(|(step, count)| (*count > 0).then(|| value(step, *count))).collect();
            Row { labels, values, nameless: cells.nameless }
        };
        self.groups.into_iter().map(row).collect()
    }
}

impl AggregateOp {
    fn has_value(self) -> bool {
        matches!(self, AggregateOp::Sum | AggregateOp::Min | AggregateOp::Max)
    }
    /// Does a running result tell all?
    pub(super) fn runs(self) -> bool {
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
                    part.add(key(scan.labels(nth)), false, row.iter().map(|v| (!is_stale(*v)).then_some(*v)));
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
        let mut rows = whole.rows();
        rows.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(Some(rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_give_what_the_whole_gives() {
        let rows = [[Some(-0.0), Some(f64::NAN), None], [None, Some(2.5), None], [Some(-0.0), Some(-1.0), None]];
        let key = || Labels::new([("a", "b")]);
        for (op, expected) in [
            (AggregateOp::Sum, [0.0, f64::NAN]),
            (AggregateOp::Min, [-0.0, -1.0]),
            (AggregateOp::Max, [-0.0, 2.5]),
            (AggregateOp::Count, [2.0, 3.0]),
            (AggregateOp::Group, [1.0, 1.0]),
        ] {
            for split in 0..=rows.len() {
                let mut parts = [Tally::new(op, 3), Tally::new(op, 3)];
                for (nth, row) in rows.iter().enumerate() {
                    parts[usize::from(nth >= split)].add(key(), nth == 1, row.iter().copied());
                }
                let [mut whole, later] = parts;
                whole.merge(later);
                let rows = whole.rows();
                assert!(rows.len() == 1 && rows[0].nameless && rows[0].values[2].is_none(), "{op:?}");
                for (value, expected) in rows[0].values.iter().zip(expected) {
                    let value = value.unwrap();
                    let same = value.to_bits() == expected.to_bits() || value.is_nan() && expected.is_nan();
                    assert!(same, "{op:?} split at {split}: {value:?} instead of {expected:?}");
                }
            }
        }
    }
}
