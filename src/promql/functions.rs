//! Functions of one value, of a date, of labels, and the sorting functions. Names and corner cases are Prometheus 3's.

use std::cmp::Ordering;

use chrono::{DateTime, Datelike, NaiveDate, Timelike, Utc};

use crate::domain::metric::Labels;

use super::eval::Row;
use super::plan::MapFn;
use super::stats::nan_first;

/// By name: the function and how many scalar arguments follow the vector (least, most).
pub(super) fn find(name: &str) -> Option<(MapFn, usize, usize)> {
    let compute: MapFn = match name {
        "abs" => |v, _| Some(v.abs()),
        "ceil" => |v, _| Some(v.ceil()),
        "floor" => |v, _| Some(v.floor()),
        "exp" => |v, _| Some(v.exp()),
        "sqrt" => |v, _| Some(v.sqrt()),
        "ln" => |v, _| Some(v.ln()),
        "log2" => |v, _| Some(v.log2()),
        "log10" => |v, _| Some(v.log10()),
        "sgn" => |v, _| {
            Some(if v < 0.0 {
                -1.0
            } else if v > 0.0 {
                1.0
            } else {
                v
            })
        },
        "sin" => |v, _| Some(v.sin()),
        "cos" => |v, _| Some(v.cos()),
        "tan" => |v, _| Some(v.tan()),
        "asin" => |v, _| Some(v.asin()),
        "acos" => |v, _| Some(v.acos()),
        "atan" => |v, _| Some(v.atan()),
        "sinh" => |v, _| Some(v.sinh()),
        "cosh" => |v, _| Some(v.cosh()),
        "tanh" => |v, _| Some(v.tanh()),
        "asinh" => |v, _| Some(v.asinh()),
        "acosh" => |v, _| Some(v.acosh()),
        "atanh" => |v, _| Some(v.atanh()),
        "deg" => |v, _| Some(v * 180.0 / std::f64::consts::PI),
        "rad" => |v, _| Some(v * std::f64::consts::PI / 180.0),
        "clamp" => |v, p| if p[1] < p[0] { None } else { Some(larger(p[0], smaller(p[1], v))) },
        "clamp_min" => |v, p| Some(larger(v, p[0])),
        "clamp_max" => |v, p| Some(smaller(v, p[0])),
        "round" => round,
        "minute" => |v, _| Some(date(v, |d| d.minute())),
        "hour" => |v, _| Some(date(v, |d| d.hour())),
        "day_of_week" => |v, _| Some(date(v, |d| d.weekday().num_days_from_sunday())),
        "day_of_month" => |v, _| Some(date(v, |d| d.day())),
        "day_of_year" => |v, _| Some(date(v, |d| d.ordinal())),
        "month" => |v, _| Some(date(v, |d| d.month())),
        "year" => |v, _| Some(date(v, |d| d.year().max(0) as u32)),
        "days_in_month" => |v, _| Some(date(v, days_in_month)),
        // Of native histograms, which no sample here is.
        "histogram_avg" | "histogram_count" | "histogram_sum" | "histogram_stddev" | "histogram_stdvar" => |_, _| None,
        _ => return None,
    };
    let (least, most) = match name {
        "clamp" => (2, 2),
        "clamp_min" | "clamp_max" => (1, 1),
        "round" => (0, 1),
        _ => (0, 0),
    };
    Some((compute, least, most))
}

/// Works on `vector(time())` when it has no argument.
pub(super) fn is_date(name: &str) -> bool {
    matches!(
        name,
        "minute" | "hour" | "day_of_week" | "day_of_month" | "day_of_year" | "month" | "year" | "days_in_month"
    )
}

/// Go's `math.Max`: NaN if either is NaN, unless one is +Inf.
fn larger(a: f64, b: f64) -> f64 {
    match () {
        () if a == f64::INFINITY || b == f64::INFINITY => f64::INFINITY,
        () if a.is_nan() || b.is_nan() => f64::NAN,
        () => a.max(b),
    }
}

/// Go's `math.Min`: NaN if either is NaN, unless one is -Inf.
fn smaller(a: f64, b: f64) -> f64 {
    match () {
        () if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY => f64::NEG_INFINITY,
        () if a.is_nan() || b.is_nan() => f64::NAN,
        () => a.min(b),
    }
}

/// Ties go up. The inverse costs less accuracy than the step itself.
fn round(v: f64, params: &[f64]) -> Option<f64> {
    let inverse = 1.0 / params.first().copied().unwrap_or(1.0);
    Some((v * inverse + 0.5).floor() / inverse)
}

/// `part` of the UTC date of `seconds` since the epoch; NaN when that is no date.
fn date(seconds: f64, part: impl Fn(DateTime<Utc>) -> u32) -> f64 {
    let instant = if seconds.is_finite() { DateTime::from_timestamp(seconds as i64, 0) } else { None };
    instant.map_or(f64::NAN, |d| f64::from(part(d)))
}

fn days_in_month(d: DateTime<Utc>) -> u32 {
    let (year, month) = if d.month() == 12 { (d.year() + 1, 1) } else { (d.year(), d.month() + 1) };
    NaiveDate::from_ymd_opt(year, month, 1).and_then(|first| first.pred_opt()).map_or(31, |last| last.day())
}

/// The value at `step` when exactly one row has one, else NaN: `scalar()`.
pub(super) fn only_value(rows: &[Row], step: usize) -> f64 {
    let mut values = rows.iter().filter_map(|r| r.values[step]);
    match (values.next(), values.next()) {
        (Some(v), None) => v,
        _ => f64::NAN,
    }
}

pub(super) fn label_replace(labels: &Labels, dst: &str, replacement: &str, src: &str, regex: &regex::Regex) -> Labels {
    let Some(found) = regex.captures(labels.get(src).unwrap_or("")) else { return labels.clone() };
    let mut value = String::new();
    found.expand(replacement, &mut value);
    labels.with(dst, &value)
}

pub(super) fn label_join(labels: &Labels, dst: &str, separator: &str, sources: &[String]) -> Labels {
    let parts: Vec<&str> = sources.iter().map(|s| labels.get(s).unwrap_or("")).collect();
    labels.with(dst, &parts.join(separator))
}

/// Of the first step; NaN last, whichever the direction.
pub(super) fn sort_by_value(rows: &mut [Row], descending: bool) {
    let value = |r: &Row| r.values.first().copied().flatten().unwrap_or(f64::NAN);
    rows.sort_by(|a, b| {
        let (a, b) = (value(a), value(b));
        match (a.is_nan(), b.is_nan()) {
            (false, false) if descending => nan_first(&b, &a),
            (false, false) => nan_first(&a, &b),
            (a_nan, b_nan) => a_nan.cmp(&b_nan),
        }
    });
}

/// Natural order of the named labels, then of the whole label set.
pub(super) fn sort_by_labels(rows: &mut [Row], names: &[String], descending: bool) {
    rows.sort_by(|a, b| {
        let value = |r: &Row, name: &str| r.labels.get(name).unwrap_or("").to_string();
        let by_names = names.iter().map(|n| natural(&value(a, n), &value(b, n))).find(|o| o.is_ne());
        let order = by_names.unwrap_or_else(|| a.labels.cmp(&b.labels));
        if descending { order.reverse() } else { order }
    });
}

/// Runs of digits compare as numbers: `node2` before `node10`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        if a.is_empty() || b.is_empty() {
            return a.len().cmp(&b.len());
        }
        let digits = |s: &str| s.chars().take_while(char::is_ascii_digit).count();
        let (da, db) = (digits(a), digits(b));
        let order = if da > 0 && db > 0 {
            let (na, nb) = (a[..da].trim_start_matches('0'), b[..db].trim_start_matches('0'));
            let order = na.len().cmp(&nb.len()).then_with(|| na.cmp(nb));
            (a, b) = (&a[da..], &b[db..]);
            order
        } else {
            let (ca, cb) = (a.chars().next(), b.chars().next());
            (a, b) = (&a[ca.map_or(0, char::len_utf8)..], &b[cb.map_or(0, char::len_utf8)..]);
            ca.cmp(&cb)
        };
        if order.is_ne() {
            return order;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(name: &str, v: f64, params: &[f64]) -> Option<f64> {
        find(name).unwrap().0(v, params)
    }

    #[test]
    fn rounding_and_clamping() {
        assert_eq!(apply("round", 2.5, &[]), Some(3.0));
        assert_eq!(apply("round", -2.5, &[]), Some(-2.0));
        assert_eq!(apply("round", 1.26, &[0.1]), Some(1.3));
        assert_eq!(apply("clamp", 5.0, &[1.0, 3.0]), Some(3.0));
        assert_eq!(apply("clamp", 5.0, &[3.0, 1.0]), None);
        assert!(apply("clamp_min", f64::NAN, &[1.0]).unwrap().is_nan());
    }

    #[test]
    fn dates_are_utc() {
        // 2026-02-28T23:59:30Z, a Saturday
        let t = 1_772_323_170.0;
        for (name, value) in [
            ("minute", 59.0),
            ("hour", 23.0),
            ("day_of_week", 6.0),
            ("day_of_month", 28.0),
            ("day_of_year", 59.0),
            ("month", 2.0),
            ("year", 2026.0),
            ("days_in_month", 28.0),
        ] {
            assert_eq!(apply(name, t, &[]), Some(value), "{name}");
        }
        assert!(apply("hour", f64::NAN, &[]).unwrap().is_nan());
    }

    #[test]
    fn natural_order() {
        assert_eq!(natural("node2", "node10"), Ordering::Less);
        assert_eq!(natural("b1", "a2"), Ordering::Greater);
        assert_eq!(natural("x", "x1"), Ordering::Less);
    }
}
