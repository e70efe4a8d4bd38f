//! Canonical JSON (RFC 8785, JCS): the one way to write a value, so that a signature over it can be checked by anybody who
//! has parsed it. Numbers are whole here: what people sign has no fractions, and their ECMAScript form is not written.

use serde_json::Value;

/// Whole numbers beyond this do not survive in every reader (RFC 7493, 2.2).
const WHOLE_MAX: u64 = (1 << 53) - 1;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no whole number within ±2^53, and others are not signed")]
pub struct NotCanonical(String);

/// The bytes to sign, as text; no line end follows.
pub fn canonical(value: &Value) -> Result<String, NotCanonical> {
    let mut out = String::new();
    write(value, &mut out)?;
    Ok(out)
}

fn write(value: &Value, out: &mut String) -> Result<(), NotCanonical> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Number(n) => {
            let whole = n.as_i64().filter(|n| n.unsigned_abs() <= WHOLE_MAX);
            out.push_str(&whole.ok_or_else(|| NotCanonical(n.to_string()))?.to_string());
        }
        Value::String(text) => string(text, out),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(item, out)?;
            }
            out.push(']');
        }
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            // By UTF-16 code units, as JavaScript sorts.
            keys.sort_by(|a, b| a.encode_utf16().cmp(b.encode_utf16()));
            out.push('{');
            for (i, key) in keys.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                string(key, out);
                out.push(':');
                write(&map[key], out)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

fn string(text: &str, out: &mut String) {
    use std::fmt::Write as _;
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// RFC 8785, 3.2.2 and 3.2.3, without their fractions.
    #[test]
    fn the_examples_of_the_rfc() {
        let value = json!({"string": "\u{20ac}$\u{f}\nA'B\"\\\\\"/", "literals": [null, true, false]});
        assert_eq!(
            canonical(&value).unwrap(),
            "{\"literals\":[null,true,false],\"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}"
        );
        let keys = json!({"\u{20ac}": 1, "\r": 2, "\u{fb33}": 3, "1": 4, "\u{1f600}": 5, "\u{80}": 6, "\u{f6}": 7});
        let order: Vec<char> =
            canonical(&keys).unwrap().chars().filter(char::is_ascii_digit).filter(|c| *c != '1').collect();
        // "\r", "1", U+0080, U+00F6, U+20AC, U+1F600 (a surrogate pair), U+FB33
        assert_eq!(order, ['2', '4', '6', '7', '5', '3']);
    }

    #[test]
    fn fractions_are_refused() {
        assert!(canonical(&json!([1.5])).is_err());
        assert!(canonical(&json!(u64::MAX)).is_err());
        assert_eq!(canonical(&json!(-9_007_199_254_740_991_i64)).unwrap(), "-9007199254740991");
    }

    proptest! {
        #[test]
        fn says_the_same_and_is_its_own_canonical_form(text in "\\PC*|[\\x00-\\x20\"\\\\]*", n in -1_000_000_i64..1_000_000) {
            let value = json!({"b": [n, text], (text.clone()): {"a": text, "": null}});
            let written = canonical(&value).unwrap();
            let read: Value = serde_json::from_str(&written).unwrap();
            prop_assert_eq!(&read, &value);
            prop_assert_eq!(canonical(&read).unwrap(), written);
        }
    }
}
