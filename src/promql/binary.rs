//! Binary operators: arithmetic, comparison and set operators between scalars and vectors, with Prometheus' matching
//! rules and its words for a match that is not unique.

use std::collections::{HashMap, HashSet};

use crate::domain::metric::{Labels, NAME};

use super::QueryError;
use super::eval::{Evaluated, Row, merge};
use super::plan::{DESCRIBING, Node};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterEqual,
    LessEqual,
    And,
    Or,
    Unless,
}

impl Op {
    pub(super) fn parse(text: &str) -> Option<Op> {
        Some(match text {
            "+" => Op::Add,
            "-" => Op::Sub,
            "*" => Op::Mul,
            "/" => Op::Div,
            "%" => Op::Mod,
            "^" => Op::Pow,
            "atan2" => Op::Atan2,
            "==" => Op::Equal,
            "!=" => Op::NotEqual,
            ">" => Op::Greater,
            "<" => Op::Less,
            ">=" => Op::GreaterEqual,
            "<=" => Op::LessEqual,
            "and" => Op::And,
            "or" => Op::Or,
            "unless" => Op::Unless,
            _ => return None,
        })
    }
    pub(super) fn text(self) -> &'static str {
        match self {
            Op::Add => "+",
            Op::Sub => "-",
            Op::Mul => "*",
            Op::Div => "/",
            Op::Mod => "%",
            Op::Pow => "^",
            Op::Atan2 => "atan2",
            Op::Equal => "==",
            Op::NotEqual => "!=",
            Op::Greater => ">",
            Op::Less => "<",
            Op::GreaterEqual => ">=",
            Op::LessEqual => "<=",
            Op::And => "and",
            Op::Or => "or",
            Op::Unless => "unless",
        }
    }
    pub(super) fn is_set(self) -> bool {
        matches!(self, Op::And | Op::Or | Op::Unless)
    }
    pub(super) fn is_comparison(self) -> bool {
        matches!(self, Op::Equal | Op::NotEqual | Op::Greater | Op::Less | Op::GreaterEqual | Op::LessEqual)
    }
    /// The value, and whether a comparison keeps it.
    pub(super) fn compute(self, a: f64, b: f64) -> (f64, bool) {
        match self {
            Op::Add => (a + b, true),
            Op::Sub => (a - b, true),
            Op::Mul => (a * b, true),
            Op::Div => (a / b, true),
            Op::Mod => (a % b, true),
            Op::Pow => (a.powf(b), true),
            Op::Atan2 => (a.atan2(b), true),
            Op::Equal => (a, a == b),
            Op::NotEqual => (a, a != b),
            Op::Greater => (a, a > b),
            Op::Less => (a, a < b),
            Op::GreaterEqual => (a, a >= b),
            Op::LessEqual => (a, a <= b),
            Op::And | Op::Or | Op::Unless => (a, true),
        }
    }
}

/// Which side has many series per match group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cardinality {
    OneToOne,
    /// `group_left`.
    ManyToOne,
    /// `group_right`.
    OneToMany,
}

pub(super) struct Binary {
    pub op: Op,
    pub left: Node,
    pub right: Node,
    /// `bool`: 0 or 1 instead of a filter.
    pub return_bool: bool,
    pub cardinality: Cardinality,
    /// `on(names)`, else `ignoring(names)`.
    pub on: bool,
    pub names: Vec<String>,
    /// Labels of the one side that `group_left` or `group_right` carries over.
    pub include: Vec<String>,
}

impl Binary {
    /// What both sides must share.
    fn signature(&self, labels: &Labels) -> Labels {
        let names = self.names.iter().map(String::as_str);
        if self.on {
            labels.only(&names.collect::<Vec<_>>())
        } else {
            labels.without(&names.chain([NAME]).collect::<Vec<_>>())
        }
    }

    /// The result is another metric than the operand.
    fn drops_name(&self) -> bool {
        self.return_bool || self.changes_metric()
    }

    fn changes_metric(&self) -> bool {
        !(self.op.is_comparison() || self.op.is_set())
    }

    /// Labels of a result, from the many side's and the one side's.
    fn result_labels(&self, many: &Labels, one: &Labels, delay: bool) -> Labels {
        let drops = if delay { self.changes_metric() } else { self.drops_name() };
        let mut labels = if drops { many.without(DESCRIBING) } else { many.clone() };
        if self.cardinality == Cardinality::OneToOne {
            let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
            labels = if self.on { labels.only(&names) } else { labels.without(&names) };
        }
        for name in &self.include {
            labels = labels.with(name, one.get(name).unwrap_or(""));
        }
        labels
    }
}

pub(super) fn apply(
    b: &Binary,
    left: Evaluated,
    right: Evaluated,
    steps: usize,
    delay: bool,
) -> Result<Evaluated, QueryError> {
    match (left, right) {
        (Evaluated::Scalar(left), Evaluated::Scalar(right)) => {
            let pairs = left.into_iter().zip(right);
            Ok(Evaluated::Scalar(pairs.map(|(l, r)| scalar(b, l, r)).collect()))
        }
        (Evaluated::Vector(rows), Evaluated::Scalar(scalars)) => with_scalar(b, rows, &scalars, false, delay),
        (Evaluated::Scalar(scalars), Evaluated::Vector(rows)) => with_scalar(b, rows, &scalars, true, delay),
        (Evaluated::Vector(left), Evaluated::Vector(right)) => {
            let rows = if b.op.is_set() { set(b, left, right, steps)? } else { matched(b, left, right, steps, delay)? };
            Ok(Evaluated::Vector(rows))
        }
        _ => Err(QueryError::Execution("binary expression must contain only scalar and instant vector types".into())),
    }
}

fn scalar(b: &Binary, left: f64, right: f64) -> f64 {
    let (value, keep) = b.op.compute(left, right);
    if b.op.is_comparison() { f64::from(u8::from(keep)) } else { value }
}

fn with_scalar(
    b: &Binary,
    mut rows: Vec<Row>,
    scalars: &[f64],
    swapped: bool,
    delay: bool,
) -> Result<Evaluated, QueryError> {
    for row in &mut rows {
        if b.drops_name() {
            row.derive(delay);
        }
        for (slot, &scalar) in row.values.iter_mut().zip(scalars) {
            let Some(element) = *slot else { continue };
            let (left, right) = if swapped { (scalar, element) } else { (element, scalar) };
            let (mut value, keep) = b.op.compute(left, right);
            if b.op.is_comparison() {
                // A filter shows the vector's element, whichever side it is on.
                value = element;
            }
            *slot = match (b.return_bool, keep) {
                (true, keep) => Some(f64::from(u8::from(keep))),
                (false, true) => Some(value),
                (false, false) => None,
            };
        }
    }
    Ok(Evaluated::Vector(merge(rows)?))
}

/// Numbers the match groups of both sides: (groups of left rows, groups of right rows, how many groups).
fn groups(b: &Binary, left: &[Row], right: &[Row]) -> (Vec<usize>, Vec<usize>, usize) {
    let mut known: HashMap<Labels, usize> = HashMap::new();
    let mut number = |rows: &[Row]| -> Vec<usize> {
        let ids = rows.iter().map(|r| {
            let next = known.len();
            *known.entry(b.signature(&r.labels)).or_insert(next)
        });
        ids.collect()
    };
    let (left, right) = (number(left), number(right));
    let count = known.len();
    (left, right, count)
}

fn set(b: &Binary, mut left: Vec<Row>, mut right: Vec<Row>, steps: usize) -> Result<Vec<Row>, QueryError> {
    let (left_groups, right_groups, count) = groups(b, &left, &right);
    let mut present = vec![false; count];
    for step in 0..steps {
        present.fill(false);
        // `or` asks what the left side has, the others what the right side has.
        let (asked, asked_groups) = if b.op == Op::Or { (&left, &left_groups) } else { (&right, &right_groups) };
        for (row, group) in asked.iter().zip(asked_groups) {
            present[*group] |= row.values[step].is_some();
        }
        let (filtered, filtered_groups) =
            if b.op == Op::Or { (&mut right, &right_groups) } else { (&mut left, &left_groups) };
        for (row, group) in filtered.iter_mut().zip(filtered_groups) {
            if present[*group] != (b.op == Op::And) {
                row.values[step] = None;
            }
        }
    }
    if b.op == Op::Or {
        left.extend(right.into_iter().filter(|r| !r.is_empty()));
        return merge(left);
    }
    Ok(left)
}

fn matched(b: &Binary, left: Vec<Row>, right: Vec<Row>, steps: usize, delay: bool) -> Result<Vec<Row>, QueryError> {
    let swapped = b.cardinality == Cardinality::OneToMany;
    let (many, one) = if swapped { (right, left) } else { (left, right) };
    let (many_groups, one_groups, count) = groups(b, &many, &one);

    let mut results: Vec<Row> = Vec::new();
    let mut by_labels: HashMap<Labels, usize> = HashMap::new();
    let mut by_pair: HashMap<(usize, usize), usize> = HashMap::new();
    let mut partner: Vec<Option<usize>> = vec![None; count];
    let mut matched_groups = vec![false; count];
    let mut inserted: HashSet<(usize, usize)> = HashSet::new();

    for step in 0..steps {
        partner.fill(None);
        for (i, row) in one.iter().enumerate() {
            if row.values[step].is_none() {
                continue;
            }
            if let Some(other) = partner[one_groups[i]].replace(i) {
                return Err(many_to_many(b, &one[i].labels, &one[other].labels));
            }
        }
        matched_groups.fill(false);
        inserted.clear();
        for (i, row) in many.iter().enumerate() {
            let group = many_groups[i];
            let (Some(value), Some(other)) = (row.values[step], partner[group]) else { continue };
            let Some(other_value) = one[other].values[step] else { continue };
            let (l, r) = if swapped { (other_value, value) } else { (value, other_value) };
            let (computed, keep) = b.op.compute(l, r);

            let target = *by_pair.entry((i, other)).or_insert_with(|| {
                let labels = b.result_labels(&row.labels, &one[other].labels, delay);
                *by_labels.entry(labels.clone()).or_insert_with(|| {
                    let nameless = delay && b.return_bool || row.nameless && !b.changes_metric();
                    results.push(Row { labels, values: vec![None; steps], nameless });
                    results.len() - 1
                })
            });
            if b.cardinality == Cardinality::OneToOne {
                if std::mem::replace(&mut matched_groups[group], true) {
                    return Err(QueryError::Execution(
                        "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
                            .into(),
                    ));
                }
            } else if !inserted.insert((group, target)) {
                return Err(QueryError::Execution(
                    "multiple matches for labels: grouping labels must ensure unique matches".into(),
                ));
            }
            let result = match (b.return_bool, keep) {
                (true, keep) => f64::from(u8::from(keep)),
                (false, true) => computed,
                (false, false) => continue,
            };
            let slot = &mut results[target].values[step];
            if slot.replace(result).is_some() {
                return Err(QueryError::Execution("vector cannot contain metrics with the same labelset".into()));
            }
        }
    }
    Ok(results)
}

fn many_to_many(b: &Binary, one: &Labels, other: &Labels) -> QueryError {
    let side = if b.cardinality == Cardinality::OneToMany { "left" } else { "right" };
    let group = braced(&b.signature(one));
    let mut both = [braced(one), braced(other)];
    both.sort();
    QueryError::Execution(format!(
        "found duplicate series for the match group {group} on the {side} hand-side of the operation: [{}, {}]\
         ;many-to-many matching not allowed: matching labels must be unique on one side",
        both[0], both[1]
    ))
}

/// `{__name__="a", b="c"}`, as Prometheus shows label sets in errors.
fn braced(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(n, v)| format!("{n}={}", super::syntax::quoted(v))).collect();
    format!("{{{}}}", pairs.join(", "))
}
