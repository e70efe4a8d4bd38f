//! What an alert's expression compares with what, and over which window, read from its tree.

use std::time::Duration;

use crate::promql::binary::Op;

use super::ast::{Expr, Frame, Kind};

/// See [`crate::promql::Expr::limit`].
pub(in crate::promql) fn limit(expr: &Expr) -> Option<(f64, bool)> {
    match &expr.kind {
        Kind::Paren(inner) => limit(inner),
        Kind::Binary(binary) => {
            let less = match binary.op {
                Op::Less | Op::LessEqual => Some(true),
                op if op.is_comparison() => Some(false),
                _ => None,
            };
            match (less, number(&binary.right), number(&binary.left)) {
                (Some(less), Some(limit), _) => Some((limit, less)),
                (Some(less), None, Some(limit)) => Some((limit, !less)),
                _ => limit(&binary.left),
            }
        }
        _ => None,
    }
}

fn number(expr: &Expr) -> Option<f64> {
    match &expr.kind {
        Kind::Number(number) => Some(number.value),
        Kind::Paren(inner) => number(inner),
        Kind::Unary { negative, inner } => number(inner).map(|n| if *negative { -n } else { n }),
        Kind::Binary(binary) => {
            let (a, b) = (number(&binary.left)?, number(&binary.right)?);
            match binary.op {
                Op::Div if b == 0.0 => None,
                Op::Add | Op::Sub | Op::Mul | Op::Div => Some(binary.op.compute(a, b).0),
                _ => None,
            }
        }
        _ => None,
    }
}

/// See [`crate::promql::Expr::window`].
pub(in crate::promql) fn window(expr: &Expr) -> Option<Duration> {
    let length = match &expr.kind {
        Kind::Range { range, .. } => range,
        Kind::Subquery(sub) => &sub.range,
        Kind::Aggregate(aggregate) => return window(&aggregate.inner),
        Kind::Unary { inner, .. } | Kind::Paren(inner) => return window(inner),
        Kind::Binary(binary) => return window(&binary.left).or_else(|| window(&binary.right)),
        Kind::Call { args, .. } => return args.iter().find_map(window),
        Kind::Number(_) | Kind::Text(_) | Kind::Selector(_) => return None,
    };
    let ms = length.milliseconds(&Frame { step: 0.0, range: 0.0 }).ok()?;
    u64::try_from(ms).ok().filter(|ms| *ms > 0).map(Duration::from_millis)
}
