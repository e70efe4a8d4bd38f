//! What an answer shows when a value was taken for code. Pure.

use std::sync::LazyLock;

use regex::Regex;

use crate::gates::web;
use crate::net::Response;

/// The element that nobody has.
pub(super) const ELEMENT: &str = "<hc-x>";

/// Where a value stands unencoded in a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Context {
    Text,
    Attribute,
    Script,
}

/// How the value `canary'"<hc-x>` stands in a page: `None` where it is encoded, or the answer is no page.
pub(super) fn reflected(answer: &Response, canary: &str) -> Option<Context> {
    let kind = web::media_type(answer);
    let sniffed = kind.is_empty() && answer.header("x-content-type-options").is_none();
    if !(web::is_html(answer) || kind == "image/svg+xml" || sniffed) {
        return None;
    }
    let page = answer.text();
    let mut found = None;
    for (at, _) in page.match_indices(canary) {
        let after = &page[at + canary.len()..];
        let context = context(&page[..at]);
        let broken = match context {
            Context::Text => after.starts_with(&format!("'\"{ELEMENT}")) || after.starts_with(ELEMENT) || near(after),
            // The quote that closes the attribute is enough; the element alone ends nothing there.
            Context::Attribute => match quote(&page[..at]) {
                Some('"') => after.starts_with("'\"") || after.starts_with("&#39;\"") || after.starts_with("&#x27;\""),
                Some(_) => after.starts_with('\''),
                None => after.starts_with("'\"<") || after.starts_with('<'),
            },
            Context::Script => after.starts_with("'\"<"),
        };
        if broken {
            found = Some(context);
            break;
        }
    }
    found
}

/// The element survived although quotes were taken out or doubled before it.
fn near(after: &str) -> bool {
    after.find(ELEMENT).is_some_and(|at| at <= 24 && !after[..at].contains(['<', '>']))
}

fn context(before: &str) -> Context {
    let lower = before.to_ascii_lowercase();
    if lower.rfind("<script").is_some_and(|open| lower.rfind("</script").is_none_or(|close| close < open)) {
        let open = lower.rfind("<script").unwrap_or(0);
        if lower[open..].contains('>') {
            return Context::Script;
        }
    }
    match (before.rfind('<'), before.rfind('>')) {
        (Some(open), close) if close.is_none_or(|close| close < open) => Context::Attribute,
        _ => Context::Text,
    }
}

/// The quote around the attribute's value.
fn quote(before: &str) -> Option<char> {
    let tag = &before[before.rfind('<')?..];
    let value = &tag[tag.rfind('=')? + 1..];
    value.trim_start().chars().next().filter(|c| matches!(c, '"' | '\''))
}

/// A database's own words about a statement that it could not read.
pub(super) fn database_error(answer: &Response) -> Option<&'static str> {
    static ERRORS: LazyLock<Vec<(&str, Regex)>> = LazyLock::new(|| {
        let all = [
            (
                "PostgreSQL",
                r"(?i)unterminated quoted string|syntax error at or near|PG::SyntaxError|psycopg[23]?\.errors|PSQLException|SQLSTATE\[42601|invalid input syntax for type",
            ),
            (
                "MySQL",
                r"(?i)You have an error in your SQL syntax|MySqlException|mysql_fetch|check the manual that corresponds to your (?:MySQL|MariaDB)|SQLSTATE\[42000",
            ),
            (
                "SQLite",
                r#"(?i)SQLITE_ERROR|sqlite3\.OperationalError|unrecognized token:|SQLite3::SQLException|near "[^"]{0,20}": syntax error"#,
            ),
            (
                "SQL Server",
                r"(?i)Unclosed quotation mark|Incorrect syntax near|System\.Data\.SqlClient|ODBC SQL Server Driver",
            ),
            ("Oracle", r"ORA-\d{5}|quoted string not properly terminated"),
            (
                "a database",
                r"(?i)SequelizeDatabaseError|QueryFailedError|sqlalchemy\.exc\.(?:Operational|Programming)Error|PDOException|JDBCException|DatabaseError at",
            ),
        ];
        all.into_iter().map(|(name, pattern)| (name, Regex::new(pattern).expect("fixed"))).collect()
    });
    let text = answer.text();
    ERRORS.iter().find(|(_, pattern)| pattern.is_match(&text)).map(|(name, _)| *name)
}

/// The first line of `/etc/passwd`, or of `win.ini`.
pub(super) fn is_foreign_file(answer: &Response) -> bool {
    let text = answer.text();
    text.contains("root:x:0:0:") || text.contains("; for 16-bit app support")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn page(body: &str) -> Response {
        typed("text/html; charset=utf-8", body)
    }
    fn typed(kind: &str, body: &str) -> Response {
        Response {
            status: 200,
            headers: vec![("content-type".into(), kind.into())],
            body: body.to_string().into(),
            truncated: false,
            duration: Duration::ZERO,
            url: "http://127.0.0.1/".parse().unwrap(),
            tls: None,
        }
    }

    #[test]
    fn what_stands_unencoded_and_where() {
        for (body, expect) in [
            ("<p>no hits for hc7'\"<hc-x></p>", Some(Context::Text)),
            ("<p>no hits for hc7<hc-x></p>", Some(Context::Text)),
            ("<p>no hits for hc7&#39;&quot;<hc-x></p>", Some(Context::Text)),
            ("<p>no hits for hc7&#39;&quot;&lt;hc-x&gt;</p>", None),
            ("<input value=\"hc7'\"<hc-x>\">", Some(Context::Attribute)),
            ("<input value=\"hc7'&quot;&lt;hc-x&gt;\">", None),
            ("<input value='hc7'\"&lt;hc-x&gt;'>", Some(Context::Attribute)),
            ("<input value=\"hc7&#39;&quot;<hc-x>\">", None),
            ("<script>var q = \"hc7'\"<hc-x>\";</script>", Some(Context::Script)),
            ("<script>var q = \"hc7\\u0027\\u0022\\u003chc-x\";</script>", None),
            ("<script src=/a.js></script><b>hc7'\"<hc-x></b>", Some(Context::Text)),
            ("nothing", None),
        ] {
            assert_eq!(reflected(&page(body), "hc7"), expect, "{body}");
        }
        assert_eq!(reflected(&typed("application/json", "{\"q\": \"hc7'\\\"<hc-x>\"}"), "hc7"), None);
        assert_eq!(reflected(&typed("", "hc7'\"<hc-x>"), "hc7"), Some(Context::Text));
    }

    #[test]
    fn databases_are_known_by_their_words() {
        for (body, expect) in [
            ("sqlite3.OperationalError: near \"'\": syntax error", Some("SQLite")),
            ("ERROR: unterminated quoted string at or near \"'7''\"", Some("PostgreSQL")),
            ("You have an error in your SQL syntax; check", Some("MySQL")),
            ("ORA-01756: quoted", Some("Oracle")),
            ("a book about SQL syntax errors", None),
        ] {
            assert_eq!(database_error(&page(body)), expect, "{body}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_page_stops_it(body in "[<>\"'=a-zhc7\u{e4} /]{0,80}") {
            reflected(&page(&body), "hc7");
        }
    }
}
