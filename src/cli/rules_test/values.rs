//! The notation of series and of their values.

use crate::domain::metric::{Labels, MatchOp, Matcher, stale_marker};
use crate::promql::{self, number};

pub(super) const NO_HISTOGRAMS: &str = "native histograms are not supported; write classic ones, a series for each le";
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
    if text.contains("{{") {
        return Err(NO_HISTOGRAMS.into());
    }
    let mut out = Vec::new();
    for word in text.split_whitespace() {
        let refused = || format!("cannot read {word:?}; write 1 -2.5 1x3 0+5x3 _ _x3 stale NaN Inf");
        let (body, times) = match word.rsplit_once('x') {
            Some((body, times)) => {
                (body, Some(times.parse::<usize>().ok().filter(|_| digits(times)).ok_or_else(refused)?))
            }
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
        let exponent = |i: usize| matches!(bytes[i - 1], b'e' | b'E') && !body.starts_with("stale");
        let sign = |i: &usize| matches!(bytes[*i], b'+' | b'-') && !exponent(*i);
        let cut = (1..bytes.len()).find(sign);
        let (start, step) = match (cut, times) {
            (Some(_), None) => return Err(refused()),
            (Some(at), _) => (&body[..at], number(&body[at..]).ok_or_else(refused)?),
            // A word and `x` would be one longer word.
            (None, Some(_)) if body.ends_with(|c: char| c.is_ascii_alphabetic()) => return Err(refused()),
            (None, _) => (body, 0.0),
        };
        let mut value = if start == "stale" { stale_marker() } else { number(start).ok_or_else(refused)? };
        out.push(Some(value));
        for _ in 0..times.unwrap_or(0) {
            // Step by step as promtool counts, so that the last digits agree; a stale marker stays one.
            value = if step == 0.0 { value } else { value + step };
            out.push(Some(value));
        }
    }
    Ok(out)
}

/// Neither hexadecimal nor underscores, which the notation has other uses for.
fn number(text: &str) -> Option<f64> {
    let bare = text.strip_prefix(['+', '-']).unwrap_or(text);
    let plain = bare.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let named = bare.eq_ignore_ascii_case("inf") || bare.eq_ignore_ascii_case("nan");
    match () {
        () if bare.eq_ignore_ascii_case("nan") => Some(f64::NAN),
        () if plain || named => number::parse(text),
        () => None,
    }
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
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
        assert_eq!(points("{{schema:0}}").unwrap_err(), NO_HISTOGRAMS);
    }
}
