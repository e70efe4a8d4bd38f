//! The tree of an expression as it is written: what the printer prints and the compiler checks.

use crate::domain::metric::Matcher;
use crate::promql::binary::{Cardinality, Op};
use crate::promql::plan::{At, Grouping};

/// Bytes of the text, from and up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::promql) struct Span {
    pub start: usize,
    pub end: usize,
}

pub(in crate::promql) struct Expr {
    pub span: Span,
    pub kind: Kind,
}

pub(in crate::promql) enum Kind {
    Number(Number),
    Text(Text),
    Paren(Box<Expr>),
    Unary { negative: bool, inner: Box<Expr> },
    Binary(Box<Binary>),
    Call { name: String, args: Vec<Expr> },
    Aggregate(Box<Aggregate>),
    Selector(Selector),
    Range { selector: Selector, range: Length },
    Subquery(Box<Subquery>),
}

/// A number, written as one or as a duration.
#[derive(Debug, Clone, Copy)]
pub(in crate::promql) struct Number {
    pub value: f64,
    pub duration: bool,
}

/// A string. Bytes that are not UTF-8 are replaced; `raw` then keeps the text as it was quoted.
#[derive(Debug, Clone)]
pub(in crate::promql) struct Text {
    pub value: String,
    pub raw: Option<String>,
}

pub(in crate::promql) struct Binary {
    pub op: Op,
    pub left: Expr,
    pub right: Expr,
    pub return_bool: bool,
    pub cardinality: Cardinality,
    pub on: bool,
    pub names: Vec<String>,
    pub include: Vec<String>,
}

pub(in crate::promql) struct Aggregate {
    /// In lower case.
    pub op: String,
    pub param: Option<Expr>,
    pub inner: Expr,
    pub grouping: Grouping,
}

pub(in crate::promql) struct Selector {
    /// Outside the braces.
    pub name: Option<String>,
    /// As written, the name not among them unless it stands in the braces.
    pub matchers: Vec<Matcher>,
    /// Per matcher its pattern, for printing: a compiled expression is anchored and rewritten.
    pub patterns: Vec<String>,
    pub shift: Modifiers,
}

pub(in crate::promql) struct Subquery {
    pub inner: Expr,
    pub range: Length,
    pub step: Option<Length>,
    pub shift: Modifiers,
}

/// `@` and `offset`.
#[derive(Default)]
pub(in crate::promql) struct Modifiers {
    pub at: Option<At>,
    pub offset: Option<Length>,
}

/// A duration, or arithmetic with durations.
pub(in crate::promql) enum Length {
    Number(Number),
    /// `step()`: of the query.
    Step,
    /// `range()`: end less start of the query.
    Range,
    Negative(Box<Length>),
    Paren(Box<Length>),
    Calc {
        op: Op,
        left: Box<Length>,
        right: Box<Length>,
    },
    Least(Box<Length>, Box<Length>),
    Most(Box<Length>, Box<Length>),
}

/// What `step()` and `range()` stand for, in seconds.
#[derive(Debug, Clone, Copy)]
pub(in crate::promql) struct Frame {
    pub step: f64,
    pub range: f64,
}

/// Durations beyond this (292 years) do not fit into Prometheus' nanoseconds.
const SECONDS_MAX: f64 = 9_223_372_036.0;

impl Length {
    /// Does it depend on the query's step or range?
    pub(in crate::promql) fn depends(&self) -> bool {
        match self {
            Length::Number(_) => false,
            Length::Step | Length::Range => true,
            Length::Negative(inner) | Length::Paren(inner) => inner.depends(),
            Length::Calc { left, right, .. } | Length::Least(left, right) | Length::Most(left, right) => {
                left.depends() || right.depends()
            }
        }
    }

    /// In milliseconds.
    pub(in crate::promql) fn milliseconds(&self, frame: &Frame) -> Result<i64, String> {
        let seconds = self.seconds(frame)?;
        if seconds.is_nan() || seconds.abs() > SECONDS_MAX {
            return Err("duration out of range".into());
        }
        // Nanoseconds first, so that 0.3 s is 300 ms; what is below a millisecond is cut.
        Ok(((seconds * 1e9).round() / 1e6) as i64)
    }

    fn seconds(&self, frame: &Frame) -> Result<f64, String> {
        Ok(match self {
            Length::Number(number) => number.value,
            Length::Step => frame.step,
            Length::Range => frame.range,
            Length::Negative(inner) => -inner.seconds(frame)?,
            Length::Paren(inner) => inner.seconds(frame)?,
            Length::Least(left, right) => left.seconds(frame)?.min(right.seconds(frame)?),
            Length::Most(left, right) => left.seconds(frame)?.max(right.seconds(frame)?),
            Length::Calc { op, left, right } => {
                let (left, right) = (left.seconds(frame)?, right.seconds(frame)?);
                match op {
                    Op::Div if right == 0.0 => return Err("division by zero".into()),
                    Op::Mod if right == 0.0 => return Err("modulo by zero".into()),
                    op => op.compute(left, right).0,
                }
            }
        })
    }
}

impl Expr {
    /// Calls `f` with every duration of the tree.
    pub(in crate::promql) fn lengths(&self, f: &mut impl FnMut(&Length)) {
        let shift = |m: &Modifiers, f: &mut dyn FnMut(&Length)| m.offset.iter().for_each(f);
        match &self.kind {
            Kind::Number(_) | Kind::Text(_) => {}
            Kind::Paren(inner) | Kind::Unary { inner, .. } => inner.lengths(f),
            Kind::Binary(binary) => {
                binary.left.lengths(f);
                binary.right.lengths(f);
            }
            Kind::Call { args, .. } => args.iter().for_each(|a| a.lengths(f)),
            Kind::Aggregate(aggregate) => {
                aggregate.param.iter().for_each(|p| p.lengths(f));
                aggregate.inner.lengths(f);
            }
            Kind::Selector(selector) => shift(&selector.shift, f),
            Kind::Range { selector, range } => {
                shift(&selector.shift, f);
                f(range);
            }
            Kind::Subquery(sub) => {
                shift(&sub.shift, f);
                f(&sub.range);
                sub.step.iter().for_each(&mut *f);
                sub.inner.lengths(f);
            }
        }
    }
}
