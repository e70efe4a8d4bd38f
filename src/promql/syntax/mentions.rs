//! Which labels an expression relies on, and whether it compares anything: for those who must make up series that fit it.

use std::collections::BTreeSet;

use crate::promql::plan::Grouping;

use super::ast::{Expr, Kind};

/// See [`crate::promql::Expr::labels_used`].
pub(in crate::promql) fn labels(expr: &Expr, out: &mut BTreeSet<String>) {
    match &expr.kind {
        Kind::Aggregate(aggregate) => {
            // What `without` names is dropped: nothing depends on it.
            if let Grouping::By(names) = &aggregate.grouping {
                out.extend(names.iter().cloned());
            }
        }
        Kind::Binary(binary) => {
            if binary.on {
                out.extend(binary.names.iter().cloned());
            }
            out.extend(binary.include.iter().cloned());
        }
        Kind::Call { name, args } => {
            let text = |e: &Expr| match &e.kind {
                Kind::Text(text) => Some(text.value.clone()),
                _ => None,
            };
            match name.as_str() {
                "label_replace" => out.extend(args.get(3).and_then(text)),
                "label_join" => out.extend(args.iter().skip(3).filter_map(text)),
                _ => {}
            }
        }
        _ => {}
    }
    for child in children(expr) {
        labels(child, out);
    }
}

/// See [`crate::promql::Expr::compares`].
pub(in crate::promql) fn compares(expr: &Expr) -> bool {
    let here = matches!(&expr.kind, Kind::Binary(b) if b.op.is_comparison());
    here || children(expr).into_iter().any(compares)
}

/// See [`crate::promql::Expr::calls`].
pub(in crate::promql) fn calls(expr: &Expr, function: &str) -> bool {
    let here = matches!(&expr.kind, Kind::Call { name, .. } if name == function);
    here || children(expr).into_iter().any(|child| calls(child, function))
}

fn children(expr: &Expr) -> Vec<&Expr> {
    match &expr.kind {
        Kind::Number(_) | Kind::Text(_) | Kind::Selector(_) | Kind::Range { .. } => Vec::new(),
        Kind::Paren(inner) | Kind::Unary { inner, .. } => vec![inner],
        Kind::Binary(binary) => vec![&binary.left, &binary.right],
        Kind::Call { args, .. } => args.iter().collect(),
        Kind::Aggregate(aggregate) => aggregate.param.iter().chain([&aggregate.inner]).collect(),
        Kind::Subquery(sub) => vec![&sub.inner],
    }
}
