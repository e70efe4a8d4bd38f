//! Is a postmortem answered? It is not while a `[[HUMAN:…]]` block stands in it.

use serde::Serialize;

/// A question nobody answered. `line` counts from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Open {
    pub line: usize,
    pub key: String,
    pub question: String,
    pub owner: Option<String>,
    pub due: Option<String>,
}

const OPENING: &str = "[[HUMAN:";

/// Every open block, in order; empty means the document may be reviewed. A block that is never closed is open too.
pub fn lint(text: &str) -> Vec<Open> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find(OPENING).map(|i| i + from) {
        let inner_start = at + OPENING.len();
        let inner_end = text[inner_start..].find("]]").map_or(text.len(), |i| i + inner_start);
        let inner = &text[inner_start..inner_end];
        let (head, question) = inner.split_once('|').unwrap_or((inner, ""));
        let mut words = head.split_whitespace();
        let key = words.next().unwrap_or("").to_string();
        let named: Vec<(&str, &str)> = words.filter_map(|w| w.split_once('=')).collect();
        let value = |name: &str| {
            named.iter().find(|(n, v)| *n == name && !v.is_empty() && *v != "?").map(|(_, v)| v.to_string())
        };
        found.push(Open {
            line: text[..at].matches('\n').count() + 1,
            owner: value("owner"),
            due: value("due"),
            key,
            question: question.split_whitespace().collect::<Vec<_>>().join(" "),
        });
        from = inner_start;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_blocks_are_found_with_their_line() {
        let text = "# A\n\n[[HUMAN:causes owner=? due=2026-11-25 | What\ncontributed?]]\n\nanswered\n[[HUMAN:broken | never closed";
        let open = lint(text);
        assert_eq!(open.len(), 2);
        assert_eq!((open[0].line, open[0].key.as_str(), open[0].question.as_str()), (3, "causes", "What contributed?"));
        assert_eq!((open[0].owner.as_deref(), open[0].due.as_deref()), (None, Some("2026-11-25")));
        assert_eq!((open[1].line, open[1].key.as_str()), (7, "broken"));
        assert_eq!(lint("all answered [[see]] here"), []);
    }
}
