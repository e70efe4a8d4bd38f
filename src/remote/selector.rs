//! Matchers as PromQL text, for the API of a store elsewhere.

use crate::domain::metric::{MatchOp, Matcher};

/// `{a="b",c=~"d"}`.
pub(super) fn text(matchers: &[Matcher]) -> String {
    let one = |m: &Matcher| {
        let (op, value) = match &m.op {
            MatchOp::Equal(value) => ("=", value.as_str()),
            MatchOp::NotEqual(value) => ("!=", value.as_str()),
            MatchOp::Regex(pattern) => ("=~", bare(pattern)),
            MatchOp::NotRegex(pattern) => ("!~", bare(pattern)),
        };
        format!("{}{op}{}", name(&m.label), quoted(value))
    };
    format!("{{{}}}", matchers.iter().map(one).collect::<Vec<_>>().join(","))
}

/// Without the anchors that [`crate::domain::metric::anchored`] put around it.
fn bare(pattern: &regex::Regex) -> &str {
    let text = pattern.as_str();
    text.strip_prefix("^(?s:").and_then(|t| t.strip_suffix(")$")).unwrap_or(text)
}

/// Quoted only where it must be: stores older than Prometheus 3 know no quoted names.
fn name(label: &str) -> String {
    let plain = |(i, c): (usize, char)| c == '_' || c.is_ascii_alphabetic() || i > 0 && c.is_ascii_digit();
    if !label.is_empty() && label.chars().enumerate().all(plain) { label.into() } else { quoted(label) }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::metric::NAME;

    #[test]
    fn every_kind_is_written() {
        let not = Matcher { label: "a.b".into(), op: MatchOp::NotEqual("x\"\\\n".into()) };
        let matchers = [Matcher::equal(NAME, "up"), Matcher::regex("code", "5..|\\d").unwrap(), not];
        assert_eq!(text(&matchers), r#"{__name__="up",code=~"5..|\\d","a.b"!="x\"\\\n"}"#);
    }
}
