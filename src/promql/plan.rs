//! The compiled form of an expression: only what can be evaluated, with types settled and literals prepared.
//! `compile.rs` makes it, `eval.rs` walks it.

use crate::domain::metric::{Labels, Matcher, NAME};

use super::binary::Binary;
use super::over_time::{Compute, Window};

/// Labels that describe a metric and no longer fit what is computed from it; they are dropped together.
pub(super) const DESCRIBING: &[&str] = &[NAME, "__type__", "__unit__"];

/// A compiled expression.
pub(super) struct Plan {
    pub root: Node,
    /// In the order of the text; nodes refer to them by index.
    pub selectors: Vec<Selector>,
}

pub(super) struct Selector {
    pub matchers: Vec<Matcher>,
    pub shift: Shift,
    /// `Some` for a range selector, in milliseconds.
    pub range_ms: Option<i64>,
}

/// `@` and `offset`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shift {
    pub at: Option<At>,
    pub offset_ms: i64,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum At {
    Start,
    End,
    Ms(i64),
}

impl Shift {
    /// The instant a selector looks at when the step is at `t` and the whole query spans `[start, end]`.
    pub(super) fn reference(&self, t: i64, start: i64, end: i64) -> i64 {
        let base = match self.at {
            None => t,
            Some(At::Start) => start,
            Some(At::End) => end,
            Some(At::Ms(ms)) => ms,
        };
        base.saturating_sub(self.offset_ms)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Scalar,
    Vector,
    Matrix,
    Text,
}

impl Kind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Kind::Scalar => "scalar",
            Kind::Vector => "vector",
            Kind::Matrix => "matrix",
            Kind::Text => "string",
        }
    }
    /// As Prometheus documents the types.
    pub(super) fn title(self) -> &'static str {
        match self {
            Kind::Scalar => "scalar",
            Kind::Vector => "instant vector",
            Kind::Matrix => "range vector",
            Kind::Text => "string",
        }
    }
}

/// `by` or `without`.
#[derive(Debug)]
pub(super) enum Grouping {
    By(Vec<String>),
    Without(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AggregateOp {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Group,
    Stddev,
    Stdvar,
    Quantile,
    Topk,
    Bottomk,
    CountValues,
}

pub(super) enum Relabel {
    Replace { dst: String, replacement: String, src: String, regex: regex::Regex },
    Join { dst: String, separator: String, sources: Vec<String> },
}

pub(super) enum SortBy {
    Value { descending: bool },
    Labels { names: Vec<String>, descending: bool },
}

/// One value per sample, with the call's scalar parameters; `None` drops the element. The name is dropped.
pub(super) type MapFn = fn(f64, &[f64]) -> Option<f64>;
/// One value per window; `None` drops the element.
pub(super) type WindowFn = fn(&Window<'_>) -> Option<f64>;

pub(super) enum Node {
    Number(f64),
    Text(String),
    /// Seconds since the epoch of each step.
    Time,
    Instant(usize),
    Range(usize),
    Subquery {
        inner: Box<Node>,
        range_ms: i64,
        step_ms: Option<i64>,
        shift: Shift,
    },
    Negate(Box<Node>),
    Map {
        compute: MapFn,
        vector: Box<Node>,
        params: Vec<Node>,
    },
    OverTime {
        compute: Compute,
        keep_name: bool,
        source: Box<Node>,
        param: Option<Box<Node>>,
        /// Where the quantile stands in the text, if the parameter is one.
        quantile_at: Option<usize>,
        /// Where the source stands, if it should be a counter.
        counter_at: Option<usize>,
    },
    Absent {
        vector: Box<Node>,
        labels: Labels,
    },
    AbsentOverTime {
        source: Box<Node>,
        labels: Labels,
    },
    Relabel {
        vector: Box<Node>,
        how: Relabel,
    },
    HistogramQuantile {
        quantile: Box<Node>,
        vector: Box<Node>,
        /// Where both stand in the text.
        quantile_at: usize,
        vector_at: usize,
    },
    HistogramFraction {
        lower: Box<Node>,
        upper: Box<Node>,
        vector: Box<Node>,
        vector_at: usize,
    },
    /// `scalar()`.
    ToScalar(Box<Node>),
    /// `vector()`.
    ToVector(Box<Node>),
    Timestamp(Box<Node>),
    Sort {
        vector: Box<Node>,
        by: SortBy,
        at: usize,
    },
    Aggregate {
        op: AggregateOp,
        vector: Box<Node>,
        param: Option<Box<Node>>,
        param_at: usize,
        grouping: Grouping,
    },
    Binary(Box<Binary>),
}

impl Node {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Node::Number(_) | Node::Time | Node::ToScalar(_) => Kind::Scalar,
            Node::Text(_) => Kind::Text,
            Node::Range(_) | Node::Subquery { .. } => Kind::Matrix,
            Node::Negate(inner) => inner.kind(),
            Node::Binary(binary) => match (binary.left.kind(), binary.right.kind()) {
                (Kind::Scalar, Kind::Scalar) => Kind::Scalar,
                _ => Kind::Vector,
            },
            Node::Instant(_)
            | Node::Map { .. }
            | Node::OverTime { .. }
            | Node::Absent { .. }
            | Node::AbsentOverTime { .. }
            | Node::Relabel { .. }
            | Node::HistogramQuantile { .. }
            | Node::HistogramFraction { .. }
            | Node::ToVector(_)
            | Node::Timestamp(_)
            | Node::Sort { .. }
            | Node::Aggregate { .. } => Kind::Vector,
        }
    }

    /// An instant query must keep the order of this node's rows.
    pub(super) fn orders_its_result(&self) -> bool {
        matches!(self, Node::Sort { .. } | Node::Aggregate { op: AggregateOp::Topk | AggregateOp::Bottomk, .. })
    }

    pub(super) fn children(&self) -> Vec<&Node> {
        match self {
            Node::Number(_) | Node::Text(_) | Node::Time | Node::Instant(_) | Node::Range(_) => Vec::new(),
            Node::Subquery { inner, .. } | Node::Negate(inner) | Node::ToScalar(inner) | Node::ToVector(inner) => {
                vec![inner]
            }
            Node::Timestamp(vector)
            | Node::Absent { vector, .. }
            | Node::Relabel { vector, .. }
            | Node::Sort { vector, .. }
            | Node::AbsentOverTime { source: vector, .. } => vec![vector],
            Node::Map { vector, params, .. } => std::iter::once(&**vector).chain(params).collect(),
            Node::OverTime { source, param, .. } => std::iter::once(&**source).chain(param.as_deref()).collect(),
            Node::HistogramQuantile { quantile, vector, .. } => vec![quantile, vector],
            Node::HistogramFraction { lower, upper, vector, .. } => vec![lower, upper, vector],
            Node::Aggregate { vector, param, .. } => std::iter::once(&**vector).chain(param.as_deref()).collect(),
            Node::Binary(binary) => vec![&binary.left, &binary.right],
        }
    }
}
