//! An expression in Prometheus' canonical form; lines beyond a hundred characters are broken and indented.

use std::fmt::Write as _;

use crate::domain::metric::{MatchOp, NAME};
use crate::promql::binary::Cardinality;
use crate::promql::number;
use crate::promql::plan::{At, Grouping};

use super::ast::{Aggregate, Binary, Expr, Kind, Length, Modifiers, Number, Selector, Subquery};
use super::literal::duration_text;

const LINE_MAX: usize = 100;

pub(in crate::promql) fn pretty(expr: &Expr) -> String {
    broken(expr, 0)
}

/// A Go string literal in double quotes.
pub(in crate::promql) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\u{b}' => out.push_str("\\v"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => _ = write!(out, "\\x{:02x}", c as u32),
            c => out.push(c),
        }
    }
    out + "\""
}

fn indent(level: usize) -> String {
    "  ".repeat(level)
}

fn broken(expr: &Expr, level: usize) -> String {
    let pad = indent(level);
    let line = one_line(expr);
    // Subqueries without need for a break are not indented by Prometheus.
    if line.len() <= LINE_MAX {
        return if matches!(expr.kind, Kind::Subquery(_)) { line } else { pad + &line };
    }
    match &expr.kind {
        Kind::Aggregate(aggregate) => {
            let param = aggregate.param.as_ref().map(|p| broken(p, level + 1) + ",\n").unwrap_or_default();
            format!("{pad}{}(\n{param}{}\n{pad})", head(aggregate), broken(&aggregate.inner, level + 1))
        }
        Kind::Binary(b) => {
            let (left, right) = (broken(&b.left, level + 1), broken(&b.right, level + 1));
            format!("{left}\n{pad}{}\n{right}", operator(b))
        }
        Kind::Call { name, args } => {
            let args: Vec<String> = args.iter().map(|a| broken(a, level + 1)).collect();
            format!("{pad}{name}(\n{}\n{pad})", args.join(",\n"))
        }
        Kind::Paren(inner) => format!("{pad}(\n{}\n{pad})", broken(inner, level + 1)),
        Kind::Subquery(sub) => broken(&sub.inner, level) + &suffix(sub),
        Kind::Unary { negative, inner } => {
            let sign = if *negative { "-" } else { "+" };
            format!("{pad}{sign}{}", broken(inner, level).trim())
        }
        Kind::Number(_) | Kind::Text(_) | Kind::Selector(_) | Kind::Range { .. } => pad + &line,
    }
}

fn one_line(expr: &Expr) -> String {
    match &expr.kind {
        Kind::Number(number) => number_text(number),
        Kind::Text(text) => text.raw.clone().unwrap_or_else(|| quoted(&text.value)),
        Kind::Paren(inner) => format!("({})", one_line(inner)),
        Kind::Unary { negative, inner } => format!("{}{}", if *negative { "-" } else { "+" }, one_line(inner)),
        Kind::Binary(b) => format!("{} {} {}", one_line(&b.left), operator(b), one_line(&b.right)),
        Kind::Call { name, args } => {
            format!("{name}({})", args.iter().map(one_line).collect::<Vec<_>>().join(", "))
        }
        Kind::Aggregate(aggregate) => {
            let param = aggregate.param.as_ref().map(|p| one_line(p) + ", ").unwrap_or_default();
            format!("{}({param}{})", head(aggregate), one_line(&aggregate.inner))
        }
        Kind::Selector(selector) => selector_text(selector) + &shift(&selector.shift),
        Kind::Range { selector, range } => {
            format!("{}[{}]{}", selector_text(selector), length(range), shift(&selector.shift))
        }
        Kind::Subquery(sub) => one_line(&sub.inner) + &suffix(sub),
    }
}

fn number_text(number: &Number) -> String {
    if number.duration { duration_text(number.value) } else { number::plain(number.value) }
}

fn labels(names: &[String]) -> String {
    names.iter().map(|n| label(n)).collect::<Vec<_>>().join(", ")
}

/// Names beyond the classic alphabet are quoted.
fn label(name: &str) -> String {
    let classic = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit());
    if classic { name.to_string() } else { quoted(name) }
}

fn head(aggregate: &Aggregate) -> String {
    match &aggregate.grouping {
        Grouping::By(names) if names.is_empty() => aggregate.op.clone(),
        Grouping::By(names) => format!("{} by ({}) ", aggregate.op, labels(names)),
        Grouping::Without(names) => format!("{} without ({}) ", aggregate.op, labels(names)),
    }
}

fn operator(b: &Binary) -> String {
    let mut text = b.op.text().to_string();
    if b.return_bool {
        text.push_str(" bool");
    }
    if !b.names.is_empty() || b.on || b.cardinality != Cardinality::OneToOne {
        _ = write!(text, " {} ({})", if b.on { "on" } else { "ignoring" }, labels(&b.names));
    }
    match b.cardinality {
        Cardinality::OneToOne => {}
        Cardinality::ManyToOne => _ = write!(text, " group_left ({})", labels(&b.include)),
        Cardinality::OneToMany => _ = write!(text, " group_right ({})", labels(&b.include)),
    }
    text
}

fn selector_text(selector: &Selector) -> String {
    let name = selector.name.as_deref().unwrap_or("");
    let all = selector.matchers.iter().zip(&selector.patterns);
    let mut matchers: Vec<String> = all
        .map(|(m, value)| {
            let sign = match m.op {
                MatchOp::Equal(_) => "=",
                MatchOp::NotEqual(_) => "!=",
                MatchOp::Regex(_) => "=~",
                MatchOp::NotRegex(_) => "!~",
            };
            match m.op {
                MatchOp::Equal(_) if m.label == NAME && selector.name.is_none() && label(value) != *value => {
                    quoted(value)
                }
                _ => format!("{}{sign}{}", label(&m.label), quoted(value)),
            }
        })
        .collect();
    if matchers.is_empty() {
        return if name.is_empty() { "{}".into() } else { name.to_string() };
    }
    matchers.sort();
    format!("{name}{{{}}}", matchers.join(","))
}

fn shift(shift: &Modifiers) -> String {
    let at = match shift.at {
        None => String::new(),
        Some(At::Start) => " @ start()".into(),
        Some(At::End) => " @ end()".into(),
        Some(At::Ms(ms)) => format!(" @ {:.3}", ms as f64 / 1000.0),
    };
    let offset = match &shift.offset {
        None => String::new(),
        Some(Length::Number(number)) if number.value == 0.0 => String::new(),
        Some(other) => format!(" offset {}", length(other)),
    };
    at + &offset
}

fn suffix(sub: &Subquery) -> String {
    let step = sub.step.as_ref().map(length).unwrap_or_default();
    format!("[{}:{step}]{}", length(&sub.range), shift(&sub.shift))
}

/// Outside of arithmetic every number of seconds is written as a duration.
fn length(given: &Length) -> String {
    match given {
        Length::Number(number) => duration_text(number.value),
        other => arithmetic(other),
    }
}

fn arithmetic(length: &Length) -> String {
    match length {
        Length::Number(number) => number_text(number),
        Length::Step => "step()".into(),
        Length::Range => "range()".into(),
        Length::Negative(inner) => format!("-{}", arithmetic(inner)),
        Length::Paren(inner) => format!("({})", arithmetic(inner)),
        Length::Calc { op, left, right } => format!("{} {} {}", arithmetic(left), op.text(), arithmetic(right)),
        Length::Least(left, right) => format!("min_of({}, {})", arithmetic(left), arithmetic(right)),
        Length::Most(left, right) => format!("max_of({}, {})", arithmetic(left), arithmetic(right)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_written_canonically() {
        for (text, canonical) in [
            ("sum(rate(a{b='x',a!~\"y\"}[300])) by(c)", "sum by (c) (rate(a{a!~\"y\",b=\"x\"}[5m]))"),
            ("a+on(x)group_left b>bool 1", "a + on (x) group_left () b > bool 1"),
            ("{\"my.metric\",\"a.b\"='1'} offset -1h30m @ 5", "{\"a.b\"=\"1\",\"my.metric\"} @ 5.000 offset -1h30m"),
            ("max_over_time(up[1h:]) - -1", "max_over_time(up[1h:]) - -1"),
            ("x[5m+1m*(step())]", "x[5m + 1m * (step())]"),
        ] {
            assert_eq!(pretty(&super::super::parse(text).unwrap()), canonical);
        }
    }

    #[test]
    fn long_lines_are_broken() {
        let long = format!("sum by (job) (rate({}_total[5m])) / count(up)", "x".repeat(90));
        let lines = pretty(&super::super::parse(&long).unwrap());
        let long = "x".repeat(90);
        assert_eq!(lines, format!("  sum by (job) (\n    rate(\n      {long}_total[5m]\n    )\n  )\n/\n  count(up)"));
    }
}
