//! Floats as Go writes them, because Prometheus' answers and label values are made of such text.

/// `strconv.FormatFloat(v, 'f', -1, 64)`: shortest text that reads back to the same value, no exponent.
pub fn plain(v: f64) -> String {
    if v.is_nan() {
        "NaN".into()
    } else if v == f64::INFINITY {
        "+Inf".into()
    } else if v == f64::NEG_INFINITY {
        "-Inf".into()
    } else {
        format!("{v}")
    }
}

/// As Prometheus' HTTP API writes a value: [`plain`], but with an exponent of at least two digits below 1e-6 and from
/// 1e21 on.
pub fn api(v: f64) -> String {
    let magnitude = v.abs();
    if v.is_finite() && magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        return exponential(&format!("{v:e}"));
    }
    plain(v)
}

/// Go's `%g`: shortest, with an exponent below 1e-4 and from 1e21 on.
pub(super) fn short(v: f64) -> String {
    let magnitude = v.abs();
    if v.is_finite() && magnitude != 0.0 && magnitude < 1e-4 { exponential(&format!("{v:e}")) } else { api(v) }
}

/// `strconv.FormatFloat(v, 'e', -1, 64)`: always with an exponent.
pub fn scientific(v: f64) -> String {
    if v.is_finite() { exponential(&format!("{v:e}")) } else { plain(v) }
}

/// Go's `%.{digits}g`: so many significant digits.
pub(super) fn rounded(v: f64, digits: usize) -> String {
    let text = format!("{v:.*e}", digits.saturating_sub(1));
    let exponent = text.split_once('e').and_then(|(_, e)| e.parse::<i32>().ok()).unwrap_or(0);
    if !v.is_finite() || (-4..digits as i32).contains(&exponent) {
        return plain(text.parse().unwrap_or(v));
    }
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let mantissa = if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    exponential(&format!("{mantissa}e{exponent}"))
}

/// `1e-7` with a sign and two digits of exponent.
fn exponential(text: &str) -> String {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |d| ('-', d));
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// Reads what Prometheus accepts as a float: also `Inf`, `+Inf`, `NaN`, hexadecimal is not taken.
pub fn parse(text: &str) -> Option<f64> {
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        "inf" | "+inf" | "infinity" | "+infinity" => Some(f64::INFINITY),
        "-inf" | "-infinity" => Some(f64::NEG_INFINITY),
        "nan" => Some(f64::NAN),
        _ => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_read_as_go_writes_them() {
        for (value, text) in [
            (1.0, "1"),
            (-0.0, "-0"),
            (0.1, "0.1"),
            (1e-7, "1e-07"),
            (2.5e-10, "2.5e-10"),
            (1e21, "1e+21"),
            (1e20, "100000000000000000000"),
            (123456789.125, "123456789.125"),
            (f64::INFINITY, "+Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(api(value), text);
        }
        assert_eq!(plain(1e-7), "0.0000001");
        assert_eq!(
            [short(2.5e-5), short(-0.1), rounded(1234.5, 2), rounded(0.126, 2)],
            ["2.5e-05", "-0.1", "1.2e+03", "0.13"]
        );
        assert_eq!(parse("+Inf"), Some(f64::INFINITY));
        assert_eq!(parse("0.5"), Some(0.5));
        assert_eq!(parse("half"), None);
    }
}
