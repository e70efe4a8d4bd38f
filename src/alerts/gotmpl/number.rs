//! Floats as Go prints them: `%v` is the shortest `%g`, and `%g` changes to an exponent where Go does.
//! Rules from Go's `strconv/ftoa.go`: an exponent is written when it is below -4 or at least the precision, which for
//! the shortest form counts as 6.

/// `fmt.Sprint(v)`: 3, 0.25, 1.234567e+06, NaN, +Inf.
pub fn format_g(v: f64) -> String {
    format(v, None)
}

/// `fmt.Sprintf("%.{precision}g", v)`.
pub fn general(v: f64, precision: usize) -> String {
    format(v, Some(precision.max(1)))
}

fn format(v: f64, precision: Option<usize>) -> String {
    if v.is_nan() {
        return "NaN".into();
    }
    if v.is_infinite() {
        return if v > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    if v == 0.0 {
        return if v.is_sign_negative() { "-0".into() } else { "0".into() };
    }
    let scientific = match precision {
        None => format!("{v:e}"),
        Some(p) => format!("{v:.*e}", p.min(40) - 1),
    };
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |m| ("-", m));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.trim_end_matches('0');
    let digits = if digits.is_empty() { "0" } else { digits };
    let point = exponent + 1;
    let mut limit = precision.map_or(6, |p| p as i32);
    if precision.is_some() && limit > digits.len() as i32 && digits.len() as i32 >= point {
        limit = digits.len() as i32;
    }
    if exponent < -4 || exponent >= limit {
        return exponential(sign, digits, exponent);
    }
    plain(sign, digits, point)
}

fn exponential(sign: &str, digits: &str, exponent: i32) -> String {
    let (first, rest) = digits.split_at(1);
    let dot = if rest.is_empty() { "" } else { "." };
    let e = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{first}{dot}{rest}e{e}{:02}", exponent.abs())
}

fn plain(sign: &str, digits: &str, point: i32) -> String {
    if point <= 0 {
        return format!("{sign}0.{}{digits}", "0".repeat(-point as usize));
    }
    let point = point as usize;
    if digits.len() <= point {
        return format!("{sign}{digits}{}", "0".repeat(point - digits.len()));
    }
    format!("{sign}{}.{}", &digits[..point], &digits[point..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_prints() {
        for (v, text) in [
            (0.0, "0"),
            (3.0, "3"),
            (0.25, "0.25"),
            (-1.5, "-1.5"),
            (100000.0, "100000"),
            (1e6, "1e+06"),
            (1234567.0, "1.234567e+06"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1e21, "1e+21"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(format_g(v), text);
        }
        for (v, p, text) in [
            (1.2345678, 4, "1.235"),
            (100.0, 4, "100"),
            (12345.0, 4, "1.234e+04"),
            (999.96, 4, "1000"),
            (0.5, 4, "0.5"),
            (1e4, 4, "1e+04"),
        ] {
            assert_eq!(general(v, p), text);
        }
    }
}
