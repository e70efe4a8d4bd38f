//! What a rule measures, in words: the number against its limit over its window, so that a message says what was
//! measured. Built-in rules know it; of an imported rule it is read from the expression. Pure.

use std::time::Duration;

use crate::domain::units;
use crate::promql;

/// How the number reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unit {
    #[default]
    Plain,
    /// 0 to 1, shown in percent.
    Ratio,
    Seconds,
}

/// A rule's number.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Measure {
    /// `5xx ratio`; empty for an imported rule: `value`.
    pub what: String,
    pub unit: Unit,
    pub limit: Option<f64>,
    /// True when it is too low rather than too high.
    pub below: bool,
    pub window: Option<Duration>,
}

impl Measure {
    pub fn value(&self, value: f64) -> String {
        match self.unit {
            Unit::Plain => units::number(value),
            Unit::Ratio => units::percent(value),
            Unit::Seconds if value.is_finite() && value >= 0.0 => {
                units::prose(Duration::from_secs_f64(value.min(1e12)))
            }
            Unit::Seconds => format!("{} s", units::number(value)),
        }
    }

    /// `5xx ratio 12.4 % (limit 5 %) over 5 min`.
    pub fn sentence(&self, value: Option<f64>) -> String {
        let what = if self.what.is_empty() { "value" } else { &self.what };
        let value = value.map_or_else(|| "unknown".to_string(), |v| self.value(v));
        let limit = self.limit.map(|l| format!(" (limit {})", self.value(l))).unwrap_or_default();
        let over = self.window.map(|w| format!(" over {}", units::prose(w))).unwrap_or_default();
        format!("{what} {value}{limit}{over}")
    }
}

/// The first comparison with a number, outermost and leftmost first, and the first range of the expression.
pub fn of_expr(text: &str) -> Measure {
    let Ok(expr) = promql::parse(text) else { return Measure::default() };
    let (limit, below) = expr.limit().map_or((None, false), |(limit, below)| (Some(limit), below));
    Measure { limit, below, window: expr.window(), ..Measure::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expr: &str, limit: Option<f64>, below: bool, minutes: Option<u64>) {
        let m = of_expr(expr);
        assert_eq!(
            (m.limit, m.below, m.window),
            (limit, below, minutes.map(|m| Duration::from_secs(m * 60))),
            "{expr}"
        );
    }

    #[test]
    fn limits_and_windows_are_read_from_the_expression() {
        check("sum(rate(x[5m])) / sum(rate(y[10m])) > 0.05", Some(0.05), false, Some(5));
        check("(a > 3) and b < 2", Some(3.0), false, None);
        check("cert - time() < 14 * 86400", Some(1_209_600.0), true, None);
        check("5 < up", Some(5.0), false, None);
        check("up == 0", Some(0.0), false, None);
        check("absent(up)", None, false, None);
        check("not promql (", None, false, None);
    }

    #[test]
    fn sentences() {
        let m = Measure {
            what: "5xx ratio".into(),
            unit: Unit::Ratio,
            limit: Some(0.05),
            below: false,
            window: Some(Duration::from_secs(300)),
        };
        assert_eq!(m.sentence(Some(0.124)), "5xx ratio 12.4 % (limit 5 %) over 5 min");
        assert_eq!(Measure::default().sentence(None), "value unknown");
    }
}
