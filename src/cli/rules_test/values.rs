//! The notation of series and of their values.

use crate::domain::metric::{Labels, MatchOp, Matcher, stale_marker};
use crate::promql::{self, number};

/// Samples of one written series.
const POINTS_MAX: usize = 1_000_000;

/// `name{a="b"}`; empty or `{}` is no label at all.
pub(super) fn labels(text: &str) -> Result<Labels, String> {
    if matches!(text.trim(), "" | "{}") {
        return Ok(Labels::empty());
    }
    let expr = promql::parse(text).map_err(|e| e.to_string())?;
    let matchers = expr.plain_selector().ok_or("is not the name of a series")?;
    let pair = |m: &Matcher| match &m.op {
        MatchOp::Equal(value) => Ok((m.label.clone(), value.clone())),
        _ => Err(format!("label {} must be given with =", m.label)),
    };
    Ok(Labels::new(matchers.iter().map(pair).collect::<Result<Vec<_>, String>>()?))
}

/// `1 2x3 0+1x10 _ _x2 stale`: `None` where nothing was scraped.
pub(super) fn points(text: &str) -> Result<Vec<Option<f64>>, String> {
    let mut out = Vec::new();
    for word in text.split_whitespace() {
        let refused = || format!("cannot read {word:?}");
        let (body, times) = match word.rsplit_once('x') {
            Some((body, times)) => (body, Some(times.parse::<usize>().map_err(|_| refused())?)),
            None => (word, None),
        };
        if out.len().saturating_add(times.unwrap_or(0)) > POINTS_MAX {
            return Err(format!("more than {POINTS_MAX} samples"));
        }
        if body == "_" {
            out.extend(std::iter::repeat_n(None, times.unwrap_or(1)));
            continue;
        }
        // `start+step`: the sign that parts them is neither the first character nor an exponent's.
        let bytes = body.as_bytes();
        let sign = |i: &usize| matches!(bytes[*i], b'+' | b'-') && !matches!(bytes[*i - 1], b'e' | b'E');
        let cut = if times.is_some() { (1..bytes.len()).find(sign) } else { None };
        let (start, step) = match cut {
            Some(at) => (&body[..at], number::parse(&body[at..]).ok_or_else(refused)?),
            None => (body, 0.0),
        };
        let mut value = if start == "stale" { stale_marker() } else { number::parse(start).ok_or_else(refused)? };
        out.push(Some(value));
        for _ in 0..times.unwrap_or(0) {
            // Step by step as promtool counts, so that the last digits agree; a stale marker stays one.
            value = if step == 0.0 { value } else { value + step };
            out.push(Some(value));
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_expand() {
        let v = |text: &str| points(text).unwrap();
        assert_eq!(v("1+2x2 -1 _ 4x1"), [Some(1.0), Some(3.0), Some(5.0), Some(-1.0), None, Some(4.0), Some(4.0)]);
        assert_eq!(v("1e-3-1e-3x1 _x2"), [Some(1e-3), Some(0.0), None, None]);
        assert!(v("stale")[0].unwrap().is_nan());
        assert!(points("{{schema:0}}").is_err() && points("1x2x3").is_err());
    }
}
