//! Durations, ratios and byte counts as people write and read them. All conversion between units happens here.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duration as users write it: `15s`, `1h30m`, `24h`, `500ms`, `7d`. Units: ms s m h d w y (365 d), largest first,
/// each at most once (the grammar of Prometheus durations).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(pub Duration);

impl Span {
    pub const fn secs(s: u64) -> Span {
        Span(Duration::from_secs(s))
    }
    pub const fn millis(ms: u64) -> Span {
        Span(Duration::from_millis(ms))
    }
    pub const fn get(self) -> Duration {
        self.0
    }
}

/// Units of Prometheus durations from the largest down, in milliseconds.
pub const DURATION_UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Why a text is no duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoDuration {
    Empty,
    Malformed,
    TooLong,
}

/// A Prometheus duration in milliseconds, `max_ms` at most: each unit at most once, larger before smaller.
pub fn duration_ms(text: &str, max_ms: u64) -> Result<u64, NoDuration> {
    let (mut rest, mut next, mut total) = (text, 0, 0u64);
    if text.is_empty() {
        return Err(NoDuration::Empty);
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let (count, unit) = (&rest[..digits], &rest[digits..digits + letters]);
        let units = &DURATION_UNITS[next..];
        let at = units.iter().position(|(u, _)| *u == unit).ok_or(NoDuration::Malformed)? + next;
        let count: u64 = count.parse().map_err(|_| NoDuration::Malformed)?;
        let part = count.checked_mul(DURATION_UNITS[at].1).and_then(|ms| total.checked_add(ms));
        total = part.filter(|ms| *ms <= max_ms).ok_or(NoDuration::TooLong)?;
        (rest, next) = (&rest[digits + letters..], at + 1);
    }
    Ok(total)
}

impl std::str::FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Span, String> {
        if text == "0" {
            return Ok(Span(Duration::ZERO));
        }
        duration_ms(text.trim(), u64::MAX)
            .map(Span::millis)
            .map_err(|_| format!("`{text}` is not a duration; write for example 500ms, 15s, 10m, 1h30m, 24h or 7d"))
    }
}

/// The shortest spelling that parses back to the same value: `1h30m`, `15s`, `0s`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ms = self.0.as_millis() as u64;
        if ms == 0 {
            return f.write_str("0s");
        }
        for (unit, size) in &DURATION_UNITS[2..] {
            if ms >= *size {
                write!(f, "{}{unit}", ms / size)?;
                ms %= size;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Span, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^(0|([0-9]+y)?([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)$",
            "description": "duration such as 500ms, 15s, 10m, 1h30m, 24h, 7d"
        })
    }
}

/// A duration for prose: the two largest units, `2 d 3 h`, `1 h 30 min`, `41 s`, `0.4 s`.
pub fn prose(d: Duration) -> String {
    let s = d.as_secs();
    let two = |a: u64, ua: &str, b: u64, ub: &str| {
        if b == 0 { format!("{a} {ua}") } else { format!("{a} {ua} {b} {ub}") }
    };
    match s {
        0 if d.is_zero() => "0 s".into(),
        0 => format!("{:.1} s", d.as_secs_f64()),
        1..60 => format!("{s} s"),
        60..3600 => two(s / 60, "min", s % 60, "s"),
        3600..86_400 => two(s / 3600, "h", s % 3600 / 60, "min"),
        _ => two(s / 86_400, "d", s % 86_400 / 3600, "h"),
    }
}

/// A number for people: at most four significant digits, thousands apart by a comma, `–` for not-a-number.
/// The one function that prints a float in a report, so that the same value always looks the same.
pub fn number(value: f64) -> String {
    if value.is_nan() {
        return "–".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "∞".into() } else { "-∞".into() };
    }
    if value == 0.0 {
        return "0".into();
    }
    let digits = 3 - value.abs().log10().floor() as i32;
    let text = if digits <= 0 {
        format!("{:.0}", value)
    } else {
        let t = format!("{:.*}", digits.min(12) as usize, value);
        t.trim_end_matches('0').trim_end_matches('.').to_string()
    };
    group_thousands(&text)
}

/// `1234567.5` → `1,234,567.5`.
pub fn group_thousands(text: &str) -> String {
    let (sign, rest) = text.strip_prefix('-').map_or(("", text), |r| ("-", r));
    let (whole, fraction) = rest.split_once('.').map_or((rest, None), |(w, f)| (w, Some(f)));
    let mut out = String::from(sign);
    for (i, c) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    if let Some(f) = fraction {
        out.push('.');
        out.push_str(f);
    }
    out
}

/// `1 file`, `3 files`.
pub fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// `0.1234` → `12.34 %`.
pub fn percent(ratio: f64) -> String {
    format!("{} %", number(ratio * 100.0))
}

/// Bytes in binary units: `1.5 MiB`.
pub fn bytes(n: f64) -> String {
    let mut value = n;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value.abs() < 1024.0 {
            return format!("{} {unit}", number(value));
        }
        value /= 1024.0;
    }
    format!("{} TiB", number(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_round_trip() {
        for text in ["15s", "1h30m", "24h", "500ms", "1m30s500ms"] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.to_string().parse::<Span>().unwrap(), span, "{text}");
        }
        assert_eq!("24h".parse::<Span>().unwrap().to_string(), "1d");
        for bad in ["", "15", "s", "5s1h", "5 s", "1h1h", "-5s", "99999999999999y"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_for_people() {
        for (value, text) in [
            (1234567.0, "1,234,567"),
            (0.12345, "0.1235"),
            (12.3456, "12.35"),
            (100.0, "100"),
            (-0.5, "-0.5"),
            (1e-9, "0.000000001"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(percent(0.1234), "12.34 %");
        assert_eq!(bytes(1572864.0), "1.5 MiB");
        assert_eq!(prose(Duration::from_secs(5400)), "1 h 30 min");
    }
}
