//! Numbers, durations and strings as Go and Prometheus read and write them.

use super::ast::Text;
use crate::domain::units::{self, DURATION_UNITS, NoDuration};

/// As `strconv.ParseInt(_, 0, _)`, else `ParseFloat`: hexadecimal, octal by a leading zero, underscores between digits.
pub(super) fn number(text: &str) -> Option<f64> {
    match text.to_ascii_lowercase().as_str() {
        "inf" => return Some(f64::INFINITY),
        "nan" => return Some(f64::NAN),
        _ => {}
    }
    let digits = text.replace('_', "");
    if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        return i64::from_str_radix(hex, 16).ok().map(|n| n as f64);
    }
    let octal = digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| (b'0'..=b'7').contains(&b));
    if octal {
        return i64::from_str_radix(&digits, 8).ok().map(|n| n as f64);
    }
    digits.parse().ok()
}

/// Prometheus counts nanoseconds in 63 bits.
const DURATION_MS_MAX: u64 = i64::MAX as u64 / 1_000_000;

/// `1h30m` in seconds.
pub(in crate::promql) fn duration(text: &str) -> Result<f64, String> {
    match units::duration_ms(text, DURATION_MS_MAX) {
        Ok(ms) => Ok(ms as f64 / 1000.0),
        Err(NoDuration::Empty) => Err("empty duration string".into()),
        Err(NoDuration::Malformed) => Err(format!("not a valid duration string: {text:?}")),
        Err(NoDuration::TooLong) => Err("duration out of range".into()),
    }
}

/// As Prometheus writes a duration: `1h30m`; years, weeks and days only when nothing is left over.
pub(in crate::promql) fn duration_text(seconds: f64) -> String {
    let mut ms = (seconds.abs() * 1000.0).round() as u64;
    if ms == 0 {
        return "0s".into();
    }
    let mut text = String::from(if seconds < 0.0 { "-" } else { "" });
    for (unit, size) in &DURATION_UNITS {
        let exact_only = matches!(*unit, "y" | "w" | "d");
        let count = ms / size;
        if count > 0 && (!exact_only || ms.is_multiple_of(*size)) {
            text.push_str(&format!("{count}{unit}"));
            ms -= count * size;
        }
    }
    text
}

/// A quoted text; the escapes are Go's. In backquotes there are none.
pub(super) fn unquote(quoted: &str) -> Result<Text, String> {
    let refused = |why: &str| format!("error unquoting string {quoted:?}: {why}");
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).ok_or_else(|| refused("invalid syntax"))?;
    if quoted.starts_with('`') {
        return Ok(Text { value: inner.to_string(), raw: None });
    }
    let mut bytes: Vec<u8> = Vec::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let escape = chars.next().ok_or_else(|| refused("invalid syntax"))?;
        let mut code = |first: Option<char>, count: usize, base: u32| -> Result<u32, String> {
            let mut value = 0u32;
            for i in 0..count {
                let c = if i == 0 && first.is_some() { first } else { chars.next() };
                let digit = c.and_then(|c| c.to_digit(base)).ok_or_else(|| refused("illegal character in escape"))?;
                value = value.checked_mul(base).and_then(|v| v.checked_add(digit)).ok_or_else(|| refused("escape"))?;
            }
            Ok(value)
        };
        let byte = |value: u32| u8::try_from(value).map_err(|_| refused("invalid syntax"));
        let simple = match escape {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 11,
            '\\' | '"' | '\'' => escape as u8,
            '0'..='7' => byte(code(Some(escape), 3, 8)?)?,
            'x' => byte(code(None, 2, 16)?)?,
            'u' | 'U' => {
                let value = code(None, if escape == 'u' { 4 } else { 8 }, 16)?;
                let c = char::from_u32(value)
                    .ok_or_else(|| String::from("escape sequence is an invalid Unicode code point"))?;
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            other => return Err(format!("unknown escape sequence U+{:04X} {other:?}", other as u32)),
        };
        bytes.push(simple);
    }
    Ok(match String::from_utf8(bytes) {
        Ok(value) => Text { value, raw: None },
        Err(e) => {
            let raw = e.as_bytes().utf8_chunks().fold(String::new(), |mut raw, chunk| {
                raw.push_str(&chunk.valid().escape_debug().to_string());
                chunk.invalid().iter().for_each(|b| raw.push_str(&format!("\\x{b:02x}")));
                raw
            });
            Text { value: String::from_utf8_lossy(e.as_bytes()).into_owned(), raw: Some(format!("\"{raw}\"")) }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_go_s() {
        for (text, value) in [("0x1F", 31.0), ("010", 8.0), ("08", 8.0), ("1_000", 1000.0), (".5e1", 5.0), ("2.", 2.0)]
        {
            assert_eq!(number(text), Some(value), "{text}");
        }
        assert_eq!(number("iNf"), Some(f64::INFINITY));
    }

    #[test]
    fn durations() {
        for (text, seconds) in [("1h30m", 5400.0), ("250ms", 0.25), ("1w2d", 777_600.0), ("0s", 0.0)] {
            assert_eq!(duration(text), Ok(seconds), "{text}");
        }
        for text in ["30m1h", "1.5h", "5", "1m1m", " 5m", "99999999999999999999s"] {
            assert_eq!(duration(text), Err(format!("not a valid duration string: {text:?}")));
        }
        assert_eq!(duration(""), Err("empty duration string".into()));
        for text in ["9999999999y", "9223372036855s", "9999999999y1"] {
            assert_eq!(duration(text), Err("duration out of range".into()), "{text}");
        }
        for (seconds, text) in [(5400.0, "1h30m"), (86_400.0, "1d"), (90_000.0, "25h"), (0.25, "250ms"), (0.0, "0s")] {
            assert_eq!(duration_text(seconds), text);
        }
    }

    #[test]
    fn strings_have_go_s_escapes() {
        for (quoted, value) in [(r#""a\n\"b""#, "a\n\"b"), (r"'\x41\101\u00e9'", "AAé"), (r"`\n`", r"\n")] {
            assert_eq!(unquote(quoted).unwrap().value, value);
        }
        assert_eq!(unquote(r#""a\xc5z""#).unwrap().raw.as_deref(), Some(r#""a\xc5z""#));
        assert!(unquote(r#""\q""#).is_err());
    }
}
