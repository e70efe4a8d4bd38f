//! Aggregation operators: group rows by labels, then reduce each group step by step.

use std::collections::{BTreeMap, HashMap};

use crate::domain::metric::{Labels, NAME};

use super::QueryError;
use super::eval::Row;
use super::number;
use super::plan::{AggregateOp, Grouping};
use super::stats::{self, nan_first};
use super::tally::Tally;

/// The operator's own argument.
pub(super) enum Param<'a> {
    None,
    /// One per step: `quantile`, `topk`, `bottomk`.
    Scalar(Vec<f64>),
    /// `count_values`.
    Text(&'a str),
}

impl Param<'_> {
    fn at(&self, step: usize) -> f64 {
        match self {
            Param::Scalar(values) => values[step],
            Param::None | Param::Text(_) => f64::NAN,
        }
    }
}

impl Grouping {
    pub(super) fn key(&self, labels: &Labels) -> Labels {
        match self {
            Grouping::By(names) => labels.only(&names.iter().map(String::as_str).collect::<Vec<_>>()),
            Grouping::Without(names) => {
                labels.without(&names.iter().map(String::as_str).chain([NAME]).collect::<Vec<_>>())
            }
        }
    }

    /// Of what was computed from the metric that has these labels.
    pub(super) fn key_without_name(&self, labels: &Labels) -> Labels {
        match self {
            Grouping::By(names) if names.iter().any(|n| n == NAME) => self.key(&labels.without(&[NAME])),
            _ => self.key(labels),
        }
    }
}

/// Groups come in the order of their first member.
pub(super) fn apply(
    op: AggregateOp,
    rows: Vec<Row>,
    param: &Param<'_>,
    grouping: &Grouping,
    steps: usize,
) -> Result<Vec<Row>, QueryError> {
    if matches!(op, AggregateOp::Topk | AggregateOp::Bottomk) {
        let all = || (0..steps).map(|step| param.at(step));
        if all().any(f64::is_nan) {
            return Err(QueryError::Execution("Parameter value is NaN".into()));
        }
        for (k, word) in [(all().fold(f64::MAX, f64::min), "underflows"), (all().fold(f64::MIN, f64::max), "overflows")]
        {
            if k.abs() >= i64::MAX as f64 && (k < 0.0) == (word == "underflows") {
                let k = number::short(k);
                return Err(QueryError::Execution(format!("Scalar value {k} {word} int64")));
            }
        }
    }
    Ok(grouped(op, rows, param, grouping, steps))
}

fn grouped(op: AggregateOp, rows: Vec<Row>, param: &Param<'_>, grouping: &Grouping, steps: usize) -> Vec<Row> {
    if op == AggregateOp::CountValues {
        let label = if let Param::Text(label) = param { label } else { "" };
        return count_values(&rows, label, grouping, steps);
    }
    if op.runs() {
        let mut tally = Tally::new(op, steps);
        rows.iter().for_each(|r| tally.add(grouping.key(&r.labels), r.nameless, r.values.iter().copied()));
        return tally.rows();
    }
    let mut known: HashMap<Labels, usize> = HashMap::new();
    let mut groups: Vec<(Labels, Vec<Row>)> = Vec::new();
    for row in rows {
        let key = grouping.key(&row.labels);
        let at = *known.entry(key.clone()).or_insert_with(|| {
            groups.push((key, Vec::new()));
            groups.len() - 1
        });
        groups[at].1.push(row);
    }
    match op {
        AggregateOp::Topk | AggregateOp::Bottomk => {
            let largest = op == AggregateOp::Topk;
            groups.into_iter().flat_map(|(_, members)| select_k(members, param, largest, steps)).collect()
        }
        _ => groups.into_iter().map(|(labels, members)| reduce(op, labels, &members, param, steps)).collect(),
    }
}

/// The operators that look at all values of a group at once; [`Tally`] has the others.
fn reduce(op: AggregateOp, labels: Labels, members: &[Row], param: &Param<'_>, steps: usize) -> Row {
    let mut values = Vec::with_capacity(steps);
    let mut present: Vec<f64> = Vec::with_capacity(members.len());
    for step in 0..steps {
        present.clear();
        present.extend(members.iter().filter_map(|r| r.values[step]));
        let all = present.iter().copied();
        if all.len() == 0 {
            values.push(None);
            continue;
        }
        values.push(Some(match op {
            AggregateOp::Avg => stats::mean(all),
            AggregateOp::Stddev => stats::variance(all).sqrt(),
            AggregateOp::Stdvar => stats::variance(all),
            _ => stats::quantile(param.at(step), &mut present),
        }));
    }
    Row { labels, values, nameless: members.iter().any(|r| r.nameless) }
}

/// Keeps, at each step, the values of the k largest or smallest members; equal values favour the earlier member, NaN
/// comes last. The rows of a single step are in the order of their rank.
fn select_k(mut members: Vec<Row>, param: &Param<'_>, largest: bool, steps: usize) -> Vec<Row> {
    for step in 0..steps {
        let mut ranked: Vec<(usize, f64)> =
            members.iter().enumerate().filter_map(|(i, r)| r.values[step].map(|v| (i, v))).collect();
        ranked.sort_by(|(_, a), (_, b)| match (a.is_nan(), b.is_nan()) {
            (false, false) if largest => nan_first(b, a),
            (false, false) => nan_first(a, b),
            (a_nan, b_nan) => a_nan.cmp(&b_nan),
        });
        // Negative becomes zero: the cast saturates.
        let k = param.at(step) as usize;
        for (i, _) in ranked.iter().skip(k) {
            members[*i].values[step] = None;
        }
        if steps == 1 {
            ranked.truncate(k);
            let mut taken: Vec<Option<Row>> = members.into_iter().map(Some).collect();
            return ranked.into_iter().filter_map(|(i, _)| taken[i].take()).collect();
        }
    }
    members
}

fn count_values(rows: &[Row], label: &str, grouping: &Grouping, steps: usize) -> Vec<Row> {
    // The new label belongs to the group, also with `by`.
    let with_label;
    let grouping = match grouping {
        Grouping::By(names) => {
            with_label = Grouping::By(names.iter().cloned().chain([label.to_string()]).collect());
            &with_label
        }
        without @ Grouping::Without(_) => without,
    };
    let mut counts: BTreeMap<Labels, Vec<Option<f64>>> = BTreeMap::new();
    for row in rows {
        for (step, value) in row.values.iter().enumerate() {
            let Some(value) = value else { continue };
            let key = grouping.key(&row.labels.with(label, &number::plain(*value)));
            let slot = &mut counts.entry(key).or_insert_with(|| vec![None; steps])[step];
            *slot = Some(slot.unwrap_or(0.0) + 1.0);
        }
    }
    let nameless = rows.iter().any(|r| r.nameless);
    counts.into_iter().map(|(labels, values)| Row { labels, values, nameless }).collect()
}
