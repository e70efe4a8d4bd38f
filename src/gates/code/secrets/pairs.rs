//! A name in one field and its value in the next: `{"name": "DB_PASSWORD", "value": "…"}`, `- name:` with `value:` below
//! it, `<key>` with `<string>`, a variable of Terraform with its default. Pure.

use std::ops::Range;

/// What may stand before such a name, blanks and quotes aside.
const BEFORE: [&str; 9] = ["name:", "key:", "name\":", "key\":", "name=", "key=", "field\":", "id\":", "label\":"];
/// Between the two.
const GAP_BYTES_MAX: usize = 200;
/// From a variable of Terraform to its default.
const BLOCK_BYTES_MAX: usize = 600;
const VALUE_BYTES_MAX: usize = 512;

/// The value that belongs to the name at `name`.
pub(super) fn value(text: &[u8], name: &Range<usize>) -> Option<Range<usize>> {
    const LOOKED_AT: usize = 24;
    // Quick: next to no name stands so.
    let before = text[..name.start].iter().rev().take(LOOKED_AT).find(|b| !b"\"' \t".contains(b))?;
    let terraform = text[..name.start].ends_with(b"variable \"");
    if !(b":=>".contains(before) || terraform) {
        return None;
    }
    let near = &text[name.start.saturating_sub(LOOKED_AT)..name.start];
    let near = String::from_utf8_lossy(near).to_ascii_lowercase();
    let bare = near.trim_end_matches(['"', '\'', ' ', '\t']);
    let after = &text[name.end..];
    if near.ends_with("<key>") {
        let at = name.end + after.starts_with(b"</key>").then_some("</key>".len())?;
        let open = blanks(text, at);
        return element(text, open, b"<string>", b"</string>");
    }
    if terraform {
        return default(text, name.end);
    }
    let named =
        BEFORE.iter().any(|end| bare.strip_suffix(end).is_some_and(|rest| !rest.ends_with(char::is_alphanumeric)));
    let named = named || BEFORE.iter().any(|end| bare.ends_with(&format!("parameter{end}")));
    if !named {
        return None;
    }
    // Over what ends the first field, to `value` and its sign.
    let gap = &after[..after.len().min(GAP_BYTES_MAX)];
    let at = gap.iter().position(|b| !b"\"' ,\t\r\n".contains(b))?;
    let rest = &gap[at..];
    let word = ["value", "Value", "parameter_value", "ParameterValue", "default", "secret"]
        .iter()
        .find(|word| rest.starts_with(word.as_bytes()))?;
    let mut end = name.end + at + word.len();
    end += text[end..].iter().take(3).take_while(|b| b"\"'".contains(b)).count();
    end = blanks(text, end);
    if !text.get(end).is_some_and(|b| b":=".contains(b)) {
        return None;
    }
    scalar(text, blanks(text, end + 1))
}

fn blanks(text: &[u8], at: usize) -> usize {
    at + text[at.min(text.len())..].iter().take(GAP_BYTES_MAX).take_while(|b| b.is_ascii_whitespace()).count()
}

fn element(text: &[u8], at: usize, open: &[u8], close: &[u8]) -> Option<Range<usize>> {
    let rest = text.get(at..)?.strip_prefix(open)?;
    let line = &rest[..rest.len().min(VALUE_BYTES_MAX)];
    let end = line.iter().position(|b| *b == b'<')?;
    let from = at + open.len();
    line[end..].starts_with(close).then_some(from..from + end)
}

/// Quoted, or to the end of the word.
fn scalar(text: &[u8], at: usize) -> Option<Range<usize>> {
    let line = &text[at..text.len().min(at + VALUE_BYTES_MAX)];
    let quote = line.first().copied().filter(|b| b"\"'".contains(b));
    let from = usize::from(quote.is_some());
    let ends = |b: &u8| match quote {
        Some(quote) => *b == quote || *b == b'\n',
        None => b.is_ascii_whitespace() || b",}]".contains(b),
    };
    let end = line[from..].iter().position(ends).unwrap_or(line.len() - from);
    (end > 0).then_some(at + from..at + from + end)
}

/// `default = "…"` before the block ends.
fn default(text: &[u8], at: usize) -> Option<Range<usize>> {
    let block = &text[at..text.len().min(at + BLOCK_BYTES_MAX)];
    let block = &block[..block.windows(2).position(|two| two == b"\n}").unwrap_or(block.len())];
    let word = block.windows(7).position(|seven| seven == b"default")?;
    let sign = blanks(text, at + word + "default".len());
    let value = blanks(text, sign + 1);
    let quoted = text.get(sign) == Some(&b'=') && text.get(value) == Some(&b'"');
    quoted.then(|| scalar(text, value))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<&str> {
        let at = text.find("DB_PASS")?;
        Some(&text[value(text.as_bytes(), &(at..at + 7))?])
    }

    #[test]
    fn values_beside_their_names() {
        for text in [
            "- name: DB_PASS\n  value: v4lue\n",
            "{\"name\": \"DB_PASS\", \"value\": \"v4lue\"}",
            "{\"key\":\"DB_PASS\",\"value\":\"v4lue\",\"type\":\"string\"}",
            "{\"ParameterKey\": \"DB_PASS\",\n \"ParameterValue\": \"v4lue\"}",
            "<key>DB_PASS</key>\n  <string>v4lue</string>",
            "variable \"DB_PASS\" {\n  type = string\n  default = \"v4lue\"\n}",
        ] {
            assert_eq!(found(text), Some("v4lue"), "{text}");
        }
        for text in [
            "- name: DB_PASS\n  valueFrom:\n    secretKeyRef: x",
            "rename: DB_PASS\n  value: v4lue",
            "variable \"DB_PASS\" {\n}\nvariable \"a\" {\n  default = \"x\"\n}",
            "DB_PASS",
            "name: DB_PASS",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(before in "(name: |\"key\":\"|<key>|variable \"|.{0,6})", after in ".{0,60}") {
            let text = format!("{before}DB_PASS{after}");
            if let Some(value) = value(text.as_bytes(), &(before.len()..before.len() + 7)) {
                proptest::prop_assert!(value.end <= text.len());
            }
        }
    }
}
