//! Floats as Go writes them, because Prometheus' answers and label values are made of such text.

/// The shortest decimal digits that read back to the same value, the nearest of these, the even one of two as near: as Go
/// finds them, and the standard library does not. The decimal point stands behind the `point`th digit.
struct Digits {
    negative: bool,
    digits: String,
    point: i32,
}

impl Digits {
    /// `v` is finite.
    fn of(v: f64) -> Digits {
        let mut buffer = ryu::Buffer::new();
        let text = buffer.format_finite(v).trim_start_matches('-');
        let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        let digits = all.trim_start_matches('0');
        let zeros = (all.len() - digits.len()) as i32;
        let point = whole.len() as i32 - zeros + exponent.parse::<i32>().unwrap_or(0);
        Digits { negative: v.is_sign_negative(), digits: digits.trim_end_matches('0').to_string(), point }
    }

    fn plain(&self) -> String {
        let (sign, digits) = (if self.negative { "-" } else { "" }, &self.digits);
        let zeros = |n: i32| "0".repeat(n.max(0) as usize);
        match digits.split_at_checked(self.point.max(0) as usize) {
            _ if digits.is_empty() => format!("{sign}0"),
            _ if self.point <= 0 => format!("{sign}0.{}{digits}", zeros(-self.point)),
            Some((whole, fraction)) if !fraction.is_empty() => format!("{sign}{whole}.{fraction}"),
            _ => format!("{sign}{digits}{}", zeros(self.point - digits.len() as i32)),
        }
    }

    /// With an exponent of two digits or more.
    fn scientific(&self) -> String {
        let (sign, exponent) = (if self.negative { "-" } else { "" }, self.point - 1);
        let (first, rest) = self.digits.split_at_checked(1).unwrap_or(("0", ""));
        let exponent = if self.digits.is_empty() { 0 } else { exponent };
        let (dot, way) = (if rest.is_empty() { "" } else { "." }, if exponent < 0 { '-' } else { '+' });
        format!("{sign}{first}{dot}{rest}e{way}{:02}", exponent.abs())
    }
}

/// `strconv.FormatFloat(v, 'f', -1, 64)`: shortest text that reads back to the same value, no exponent.
pub fn plain(v: f64) -> String {
    if v.is_nan() {
        "NaN".into()
    } else if v == f64::INFINITY {
        "+Inf".into()
    } else if v == f64::NEG_INFINITY {
        "-Inf".into()
    } else {
        Digits::of(v).plain()
    }
}

/// As Prometheus' HTTP API writes a value: [`plain`], but with an exponent of at least two digits below 1e-6 and from
/// 1e21 on.
pub fn api(v: f64) -> String {
    let magnitude = v.abs();
    if v.is_finite() && magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        return Digits::of(v).scientific();
    }
    plain(v)
}

/// [`api`] at the end of `out`: an answer has thousands of values, most of them counts.
pub fn push(out: &mut String, v: f64) {
    let whole = v as i64;
    if whole as f64 == v && whole != 0 && whole.unsigned_abs() < 1 << 53 {
        out.push_str(itoa::Buffer::new().format(whole));
    } else if (1e-5..1e16).contains(&v.abs()) {
        // Here Ryū writes no exponent, but whole numbers with a decimal.
        let mut buffer = ryu::Buffer::new();
        let text = buffer.format_finite(v);
        out.push_str(text.strip_suffix(".0").unwrap_or(text));
    } else {
        out.push_str(&api(v));
    }
}

/// Go's `%g`: shortest, with an exponent below 1e-4 and from 1e21 on.
pub(super) fn short(v: f64) -> String {
    let magnitude = v.abs();
    if v.is_finite() && magnitude != 0.0 && magnitude < 1e-4 { Digits::of(v).scientific() } else { api(v) }
}

/// `strconv.FormatFloat(v, 'e', -1, 64)`: always with an exponent.
pub fn scientific(v: f64) -> String {
    if v.is_finite() { Digits::of(v).scientific() } else { plain(v) }
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

    proptest::proptest! {
        #[test]
        fn pushed_or_made_it_is_the_same_text(bits: u64, small in -1e17f64..1e17, exponent in -8i32..18) {
            for v in [f64::from_bits(bits), small, small.trunc(), 10f64.powi(exponent), 0.1 * 10f64.powi(exponent), -0.0] {
                let mut out = String::new();
                push(&mut out, v);
                proptest::prop_assert_eq!(&out, &api(v));
                for text in [out, plain(v), scientific(v), short(v)] {
                    let read = parse(&text).unwrap();
                    proptest::prop_assert!(read == v || read.is_nan() && v.is_nan(), "{} {}", v, text);
                }
            }
        }
    }

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
            // Two texts are as short and as near: Prometheus shows the even one.
            (-(248659492964051.0 + 0.125), "-248659492964051.12"),
            (248659492964051.0 + 0.375, "248659492964051.38"),
            (0.0, "0"),
            (1.5e300, "1.5e+300"),
            (f64::INFINITY, "+Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(api(value), text);
        }
        assert_eq!([plain(1e-7), plain(1.25e22)], ["0.0000001", "12500000000000000000000"]);
        assert_eq!([scientific(0.0), scientific(12.5), scientific(-3e-120)], ["0e+00", "1.25e+01", "-3e-120"]);
        assert_eq!(
            [short(2.5e-5), short(-0.1), rounded(1234.5, 2), rounded(0.126, 2)],
            ["2.5e-05", "-0.1", "1.2e+03", "0.13"]
        );
        assert_eq!(parse("+Inf"), Some(f64::INFINITY));
        assert_eq!(parse("0.5"), Some(0.5));
        assert_eq!(parse("half"), None);
    }
}
