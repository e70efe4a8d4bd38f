//! What the server has counted of each statement (`pg_stat_statements`). Nothing is ever reset.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use serde::Serialize;

use super::session::{DbError, Session, identifier, quoted};
use crate::domain::verdict::Outcome;

/// One normalised statement with its counters.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Statement {
    pub id: String,
    /// Values stand as `$1`; at most [`TEXT_CHARS_MAX`] characters.
    pub text: String,
    pub calls: u64,
    /// Milliseconds.
    pub total_ms: f64,
}

impl Statement {
    pub fn mean_ms(&self) -> f64 {
        if self.calls == 0 { 0.0 } else { self.total_ms / self.calls as f64 }
    }
}

/// Everything that counts.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Traffic {
    /// The product's own reads and writes, by total time, most first.
    pub statements: Vec<Statement>,
    /// Calls of statements of other roles, whose texts are not shown to us.
    pub hidden_calls: u64,
    /// Calls of `BEGIN`, `SET`, definitions and the like, and of what asks about the server itself.
    pub other_calls: u64,
}

impl Traffic {
    pub fn calls(&self) -> u64 {
        self.statements.iter().map(|s| s.calls).sum()
    }
    pub fn total_ms(&self) -> f64 {
        self.statements.iter().map(|s| s.total_ms).sum()
    }
}

/// Longer texts are cut, and then cannot be planned.
pub const TEXT_CHARS_MAX: usize = 10_000;

/// Beside this in a statement, it is ours.
const OWN: &str = "/* hypercare */";

/// Why the counters cannot be read.
#[derive(Debug)]
pub enum NoCounters {
    /// The extension is not there.
    Missing,
    Db(DbError),
}

impl From<DbError> for NoCounters {
    fn from(error: DbError) -> NoCounters {
        NoCounters::Db(error)
    }
}

impl NoCounters {
    pub fn outcome(&self) -> Outcome {
        match self {
            NoCounters::Missing => {
                Outcome::error("tool-missing", "the database does not count statements: pg_stat_statements is missing").hint(
                    "shared_preload_libraries = 'pg_stat_statements', then CREATE EXTENSION pg_stat_statements in this database",
                )
            }
            // Created, but not loaded at the server's start.
            NoCounters::Db(DbError::Statement(state, message)) if state == "55000" => {
                Outcome::error("tool-missing", message.clone())
                    .hint("shared_preload_libraries = 'pg_stat_statements' in postgresql.conf, and a restart")
            }
            NoCounters::Db(error) => error.outcome(),
        }
    }
}

impl Session {
    /// The schema of an extension, when it is there.
    pub async fn extension(&mut self, name: &str) -> Result<Option<String>, DbError> {
        let found = self
            .rows(format!(
                "SELECT {OWN} n.nspname::text FROM pg_catalog.pg_extension e \
                 JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = {}",
                quoted(name)
            ))
            .await?;
        Ok(found.into_iter().next().and_then(|row| row.into_iter().next().flatten()))
    }

    /// Counters of this database's statements, without those of `ignored` roles.
    pub async fn traffic(&mut self, ignored: &[String]) -> Result<Traffic, NoCounters> {
        let Some(schema) = self.extension("pg_stat_statements").await? else { return Err(NoCounters::Missing) };
        let ignored: Vec<String> = ignored.iter().map(|user| quoted(user)).collect();
        let others = match ignored.is_empty() {
            true => String::new(),
            false => format!("AND coalesce(r.rolname, '') NOT IN ({})", ignored.join(", ")),
        };
        let rows = self
            .rows(format!(
                "SELECT {OWN} s.queryid::text, left(s.query, {}), s.calls::text, s.total_exec_time::text \
                 FROM {}.pg_stat_statements s LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.userid \
                 WHERE s.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()) {others} \
                 ORDER BY s.total_exec_time DESC LIMIT 9000",
                TEXT_CHARS_MAX + 1,
                identifier(&schema)
            ))
            .await?;
        Ok(sorted_out(rows))
    }
}

fn sorted_out(rows: Vec<super::session::Record>) -> Traffic {
    let mut out = Traffic::default();
    // One statement of several roles is one statement.
    let mut by_id: BTreeMap<String, Statement> = BTreeMap::new();
    for row in rows {
        let mut cells = row.into_iter();
        let mut cell = || cells.next().flatten();
        let (id, text, calls, total) = (cell(), cell(), cell(), cell());
        let calls = calls.and_then(|c| c.parse().ok()).unwrap_or(0);
        let total_ms = total.and_then(|t| t.parse().ok()).unwrap_or(0.0);
        match (id, text) {
            (Some(_), Some(text)) if text.contains(OWN) => (),
            (Some(id), Some(text)) if is_work(&text) => {
                let known = by_id.entry(id.clone()).or_insert(Statement { id, text, calls: 0, total_ms: 0.0 });
                known.calls += calls;
                known.total_ms += total_ms;
            }
            (Some(_), Some(_)) => out.other_calls += calls,
            _ => out.hidden_calls += calls,
        }
    }
    out.statements = by_id.into_values().collect();
    out.statements.sort_by(|a, b| b.total_ms.total_cmp(&a.total_ms).then_with(|| a.id.cmp(&b.id)));
    out
}

/// Reads or writes rows of the product: it can be planned, and is not about the server itself.
fn is_work(text: &str) -> bool {
    static ABOUT_SERVER: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?i)\b(from|join)\s+(pg_catalog\.|information_schema\.|pg_\w+)").expect("a pattern of ours")
    });
    let first = first_word(text);
    let planned = ["select", "insert", "update", "delete", "merge", "with", "values"].contains(&first.as_str());
    planned && !ABOUT_SERVER.is_match(text)
}

/// The statement's first word, behind comments and parentheses, in lower case.
fn first_word(text: &str) -> String {
    let mut rest = text.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
    loop {
        let after = if let Some(comment) = rest.strip_prefix("/*") {
            comment.split_once("*/").map(|(_, after)| after)
        } else if let Some(comment) = rest.strip_prefix("--") {
            comment.split_once('\n').map(|(_, after)| after)
        } else {
            break;
        };
        rest = after.unwrap_or_default().trim_start_matches(|c: char| c.is_whitespace() || c == '(');
    }
    rest.chars().take_while(char::is_ascii_alphabetic).collect::<String>().to_ascii_lowercase()
}

/// Does it only read? `WITH … UPDATE` writes.
pub fn is_read(text: &str) -> bool {
    static WRITES: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?i)\b(insert\s+into|update|delete\s+from|merge\s+into)\b").expect("a pattern of ours")
    });
    match first_word(text).as_str() {
        "select" => true,
        "with" => !WRITES.is_match(text),
        _ => false,
    }
}

/// One form for statements that differ in the numbers of their parameters or the length of a list alone: `IN ($1, $2)` and
/// `IN ($1, $2, $3)` are the same batch.
pub fn normal_form(text: &str) -> String {
    static LISTS: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?i)\b(in|values)\s*\(\s*\$\d+(\s*/\*.*?\*/)?(\s*,\s*\$\d+)*(\s*/\*.*?\*/)?\s*\)")
            .expect("a pattern of ours")
    });
    static PARAMETERS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\$\d+").expect("a pattern of ours"));
    static COMMENTS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"/\*.*?\*/").expect("a pattern of ours"));
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let lists = LISTS.replace_all(&one_line, "$1 (…)");
    let plain = COMMENTS.replace_all(&lists, "");
    PARAMETERS.replace_all(&plain, "?").trim().to_string()
}

/// As findings show it: one line, at most 160 characters.
pub fn shown(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let clean: String = line.chars().filter(|c| !c.is_control()).collect();
    if clean.chars().count() > 160 { format!("{}…", clean.chars().take(159).collect::<String>()) } else { clean }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_work_and_what_reads() {
        for text in [
            "select 1 from orders",
            "(select * from a) union b",
            "/* app */ -- x\nwith a as (select 1) select",
            "update t set a=$1",
        ] {
            assert!(is_work(text), "{text}");
        }
        for text in [
            "begin",
            "set a = $1",
            "select * from pg_stat_activity",
            "select 1 from pg_catalog.pg_class",
            "copy t to stdout",
        ] {
            assert!(!is_work(text), "{text}");
        }
        assert!(is_read("select 1") && is_read("with a as (select $1) select * from a"));
        assert!(!is_read("with a as (delete from t returning id) select 1") && !is_read("update t set a = 1"));
    }

    #[test]
    fn batches_have_one_form() {
        let one = normal_form("select * from a where id in ($1)\n and b = $2");
        assert_eq!(one, normal_form("select * from a where id IN ($1, $2,$3)  and b = $4").replace("IN", "in"));
        assert_eq!(one, "select * from a where id in (…) and b = ?");
        assert_eq!(normal_form("select * from a where id in ($1 /*, ... */)"), "select * from a where id in (…)");
        assert_ne!(normal_form("select a from t where x = $1"), normal_form("select b from t where x = $1"));
    }

    #[test]
    fn rows_of_the_counters() {
        let row = |id: Option<&str>, text: &str, calls: &str| {
            vec![id.map(str::to_string), Some(text.to_string()), Some(calls.to_string()), Some("8.5".to_string())]
        };
        let traffic = sorted_out(vec![
            row(Some("1"), "select * from t where id = $1", "4"),
            row(Some("1"), "select * from t where id = $1", "3"),
            row(Some("2"), "begin", "9"),
            row(Some("3"), "SELECT /* hypercare */ x", "1"),
            row(None, "<insufficient privilege>", "7"),
        ]);
        assert_eq!((traffic.calls(), traffic.total_ms(), traffic.hidden_calls, traffic.other_calls), (7, 17.0, 7, 9));
        assert_eq!(traffic.statements.len(), 1);
        assert_eq!(sorted_out(vec![vec![], vec![None, None, None, None]]), Traffic::default());
    }
}
