//! What an error must not show: stack traces, SQL, paths of the server (WSTG-ERRH-02, CWE-209). Pure.

use std::sync::LazyLock;

use regex::Regex;

static LEAKS: LazyLock<Vec<(&str, Regex)>> = LazyLock::new(|| {
    let one = |what, pattern: &str| (what, Regex::new(pattern).expect("a fixed pattern"));
    vec![
        one("a stack trace of Python", r"Traceback \(most recent call last\)"),
        one(
            "a stack trace of JavaScript",
            r"\bat (?:[\w.<>$\[\] ]{1,80} )?\(?(?:/|file:|node:|[A-Z]:\\)[^\s()]{1,200}:\d+:\d+\)?",
        ),
        one("a stack trace of Java", r"\bat [\w.$]{1,120}\([\w$]{1,60}\.(?:java|kt|scala):\d+\)"),
        one("a stack trace of .NET", r"\bat [\w.<>`]{1,120}\([^)]{0,120}\) in [^\s]{1,120}:line \d+"),
        one("a stack trace of Go", r"goroutine \d+ \[running\]"),
        one("a stack trace of Ruby", r"\.rb:\d+:in [`']"),
        one("an error of PHP", r"(?:Fatal error|Warning|Notice)(?:</b>)?: .{1,200} on line (?:<b>)?\d+"),
        one("a panic of Rust", r"panicked at [\w/.-]{1,120}\.rs:\d+"),
        one(
            "SQL",
            r"(?i)SQLSTATE\[|syntax error at or near|you have an error in your SQL syntax|\bORA-\d{5}\b|\bSQLITE_ERROR\b|sqlite3\.\w+Error|\bpsycopg\d?\.|\bPG::\w|invalid input syntax for|violates \w[\w -]{0,20} constraint|(?-i:\bSELECT [\w\x22.,* ]{1,120} FROM )",
        ),
        one(
            "a path of the server",
            r"(?:^|[\s\x22'(>])/(?:home|usr|var|app|srv|opt|root|Users)/[\w./@-]{1,200}\.(?:py|js|mjs|ts|rb|php|java|go|cs)\b",
        ),
    ]
});

/// Of an answer this much is searched.
const SEARCHED: usize = 64 * 1024;

/// What the body shows that the valid answer does not show too.
pub(super) fn leak(body: &str, valid: &str) -> Option<&'static str> {
    let (body, valid) = (head(body), head(valid));
    LEAKS.iter().find(|(_, pattern)| pattern.is_match(body) && !pattern.is_match(valid)).map(|(what, _)| *what)
}

fn head(text: &str) -> &str {
    let mut end = text.len().min(SEARCHED);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_sql_and_paths_are_told_from_prose() {
        for (body, expect) in [
            ("Traceback (most recent call last):\n  File \"/x.py\"", Some("a stack trace of Python")),
            (
                "SyntaxError: x<br> &nbsp; &nbsp;at parse (/app/node_modules/body-parser/lib/types/json.js:92:19)",
                Some("a stack trace of JavaScript"),
            ),
            ("Error\n    at file:///srv/a.mjs:3:9", Some("a stack trace of JavaScript")),
            ("at com.shop.Orders.get(Orders.java:12)", Some("a stack trace of Java")),
            ("goroutine 7 [running]:", Some("a stack trace of Go")),
            ("pq: invalid input syntax for type integer", Some("SQL")),
            ("{\"error\": \"cannot open /srv/shop/app.py\"}", Some("a path of the server")),
            ("{\"detail\": \"page must be a number\"}", None),
            ("meet us at 10:30:15 (/teas)", None),
            ("select a tea from the list", None),
        ] {
            assert_eq!(leak(body, ""), expect, "{body}");
        }
        let docs = "Traceback (most recent call last)";
        assert_eq!(leak(docs, docs), None, "a page about traces");
    }
}
