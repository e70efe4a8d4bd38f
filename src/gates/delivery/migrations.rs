//! Schema changes of a release, read from migration files: what cannot be undone by putting the previous code back, and
//! what locks a table while people wait. SQL of golang-migrate, sqlx, diesel, Flyway, Prisma and plain folders; the
//! calls of Rails, Alembic, Django and Knex. Pure; names only, no schema.

use std::sync::LazyLock;

use regex::Regex;
use serde::Serialize;

/// Something that a statement does to the schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    pub line: u32,
    /// `drop column`, `rename table`, …
    pub what: &'static str,
    /// The name that the previous code may still use; empty when none can be told.
    pub object: String,
    pub risk: Risk,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Risk {
    /// The previous code breaks on it, or data is gone.
    Irreversible,
    /// Others wait while it runs.
    Locks,
}

/// The tool whose conventions a path follows; `None`: no migration. Down steps are `None` too: they are looked for by name.
pub fn tool(path: &str) -> Option<Tool> {
    let lower = path.to_ascii_lowercase();
    let (folder, name) = lower.rsplit_once('/').unwrap_or(("", &lower));
    let last = folder.rsplit('/').next().unwrap_or_default();
    let in_migrations = folder.split('/').any(|f| f == "migrations" || f == "migration" || f == "migrate");
    if folder.split('/').any(|f| matches!(f, "node_modules" | "vendor" | "test" | "tests" | "testdata" | "fixtures")) {
        return None;
    }
    Some(match () {
        _ if name.ends_with(".down.sql") || name == "down.sql" => return None,
        _ if folder.contains("prisma/migrations/") && name == "migration.sql" => Tool::Prisma,
        _ if name.ends_with(".up.sql") => Tool::UpDown,
        _ if name == "up.sql" => Tool::Diesel,
        _ if name.ends_with(".sql") && is_flyway(name) => Tool::Plain,
        _ if in_migrations && name.ends_with(".sql") => Tool::Plain,
        _ if folder.ends_with("db/migrate") && name.ends_with(".rb") => Tool::Rails,
        _ if last == "versions" && name.ends_with(".py") && (folder.contains("alembic") || in_migrations) => {
            Tool::Alembic
        }
        _ if last == "migrations" && name.ends_with(".py") && name.as_bytes()[0].is_ascii_digit() => Tool::Django,
        _ if last == "migrations" && (name.ends_with(".js") || name.ends_with(".ts")) && !name.ends_with(".d.ts") => {
            Tool::Knex
        }
        _ => return None,
    })
}

/// `V2__add_price.sql`, `v1.2__x.sql`
fn is_flyway(name: &str) -> bool {
    let number = name.strip_prefix('v').and_then(|rest| rest.split_once("__")).map(|(n, _)| n);
    number.is_some_and(|n| !n.is_empty() && n.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '_')))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tool {
    UpDown,
    Diesel,
    /// One direction only, by design: what is added stays.
    Plain,
    Prisma,
    Rails,
    Alembic,
    Django,
    Knex,
}

impl Tool {
    /// Where the down step of a migration is expected.
    pub fn down_path(self, path: &str) -> Option<String> {
        match self {
            Tool::UpDown => Some(path.replace(".up.sql", ".down.sql")),
            Tool::Diesel => Some(path.replace("up.sql", "down.sql")),
            _ => None,
        }
    }
}

struct Pattern {
    what: &'static str,
    risk: Risk,
    regex: LazyLock<Option<Regex>>,
}

macro_rules! pattern {
    ($what:literal, $risk:ident, $regex:literal) => {
        Pattern { what: $what, risk: Risk::$risk, regex: LazyLock::new(|| Regex::new(concat!("(?is)", $regex)).ok()) }
    };
}

/// On one SQL statement. The first group is the object.
static SQL: [Pattern; 11] = [
    pattern!(
        "drop table",
        Irreversible,
        r#"^\s*drop\s+table\s+(?:if\s+exists\s+)?["`\[]?(?:\w+["`\]]?\.["`\[]?)?(\w+)"#
    ),
    pattern!("drop column", Irreversible, r#"^\s*alter\s+table\b.*?\bdrop\s+column\s+(?:if\s+exists\s+)?["`\[]?(\w+)"#),
    pattern!(
        "rename column",
        Irreversible,
        r#"^\s*alter\s+table\b.*?\brename\s+(?:column\s+)?["`\[]?(\w+)["`\]]?\s+to\b"#
    ),
    pattern!(
        "rename table",
        Irreversible,
        r#"^\s*alter\s+table\s+(?:if\s+exists\s+|only\s+)*["`\[]?(?:\w+["`\]]?\.["`\[]?)?(\w+)["`\]]?\s+rename\s+to\b"#
    ),
    pattern!("truncate", Irreversible, r#"^\s*truncate\s+(?:table\s+)?["`\[]?(\w+)"#),
    pattern!("delete all rows", Irreversible, r#"^\s*delete\s+from\s+["`\[]?(\w+)["`\]]?\s*$"#),
    pattern!(
        "change of type",
        Irreversible,
        r#"^\s*alter\s+table\b.*?\balter\s+(?:column\s+)?["`\[]?(\w+)["`\]]?\s+(?:set\s+data\s+)?type\b"#
    ),
    pattern!("change of type", Irreversible, r#"^\s*alter\s+table\b.*?\bmodify\s+(?:column\s+)?["`\[]?(\w+)"#),
    pattern!(
        "not null",
        Irreversible,
        r#"^\s*alter\s+table\b.*?\balter\s+(?:column\s+)?["`\[]?(\w+)["`\]]?\s+set\s+not\s+null"#
    ),
    pattern!(
        "index without concurrently",
        Locks,
        r#"^\s*create\s+(?:unique\s+)?index\s+(?:if\s+not\s+exists\s+)?["`\[]?(\w+)"#
    ),
    pattern!(
        "constraint checked at once",
        Locks,
        r#"^\s*alter\s+table\b.*?\badd\s+constraint\s+["`\[]?(\w+)["`\]]?\s+(?:foreign\s+key|check)\b"#
    ),
];

static ADD_COLUMN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"(?is)^\s*alter\s+table\b.*?\badd\s+(?:column\s+)?(?:if\s+not\s+exists\s+)?["`\[]?(\w+)["`\]]?\s+[^,;]*\bnot\s+null\b([^,;]*)"#).ok()
});
static CREATED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"(?i)create\s+table\s+(?:if\s+not\s+exists\s+)?["`\[]?(?:\w+["`\]]?\.["`\[]?)?(\w+)"#).ok()
});

/// Calls of the frameworks, a line each. The last group that matched is the object.
static CALLS: [Pattern; 4] = [
    pattern!(
        "drop table",
        Irreversible,
        r#"\b(?:drop_table|dropTable|dropTableIfExists)\s*\(?\s*[:'"`](\w+)|\bDeleteModel\(\s*(?:name\s*=\s*)?['"](\w+)"#
    ),
    pattern!(
        "drop column",
        Irreversible,
        r#"\b(?:remove_column|remove_columns|drop_column|dropColumn)s?\s*\(?\s*[:'"`]\w+['"`]?\s*,\s*[:'"`](\w+)|\bdropColumns?\(\s*['"`](\w+)|\bRemoveField\([^)]*?\bname\s*=\s*['"](\w+)"#
    ),
    pattern!(
        "rename",
        Irreversible,
        r#"\b(?:rename_column|renameColumn)\s*\(?\s*(?:[:'"`]\w+['"`]?\s*,\s*)?[:'"`](\w+)|\b(?:rename_table|renameTable)\s*\(?\s*[:'"`](\w+)|\b(?:RenameField|RenameModel)\([^)]*?old_name\s*=\s*['"](\w+)"#
    ),
    pattern!("index without concurrently", Locks, r#"\badd_index\b[^#]*?,\s*(?:\[?:)(\w+)"#),
];

/// A migration of a megabyte carries data, and its first part tells enough.
const STATEMENTS_MAX: usize = 5000;

/// What the up direction of a migration does.
pub fn lint(tool: Tool, text: &str) -> Vec<Step> {
    match tool {
        Tool::UpDown | Tool::Diesel | Tool::Plain | Tool::Prisma => sql(text),
        Tool::Rails | Tool::Alembic | Tool::Django | Tool::Knex => calls(up_part(tool, text), text),
    }
}

/// Does the migration say how to go back? `down`: the text of its down file, where the tool has such files.
pub fn has_down(tool: Tool, text: &str, down: Option<&str>) -> bool {
    let says_something = |sql: &str| sql.lines().any(|l| !l.trim().is_empty() && !l.trim_start().starts_with("--"));
    match tool {
        Tool::UpDown | Tool::Diesel => down.is_some_and(says_something),
        // They have no down steps: what they add stays, and the previous code does not mind.
        Tool::Plain | Tool::Prisma => true,
        Tool::Rails => {
            text.contains("def change")
                || body_after(text, "def down").is_some_and(|b| !b.contains("IrreversibleMigration"))
        }
        Tool::Alembic => body_after(text, "def downgrade").is_some_and(|b| {
            let rest: Vec<&str> =
                b.lines().skip(1).map(str::trim).filter(|l| !l.is_empty() && !l.starts_with(['#', '"'])).collect();
            rest.first().is_some_and(|l| *l != "pass" && !l.starts_with("raise"))
        }),
        Tool::Django => {
            !text.contains("RunPython(")
                || text.contains("reverse_code")
                || text.matches("RunPython(").count() <= text.matches(", ").count()
        }
        Tool::Knex => body_after(text, "down").is_some_and(|b| b.lines().count() > 1 || b.contains("schema")),
    }
}

fn body_after<'t>(text: &'t str, mark: &str) -> Option<&'t str> {
    text.find(mark).map(|at| &text[at..])
}

/// The part that goes up, where a file holds both directions.
fn up_part(tool: Tool, text: &str) -> &str {
    let end = match tool {
        Tool::Alembic => text.find("def downgrade"),
        Tool::Rails => text.find("def down"),
        Tool::Knex => text.find("exports.down").or_else(|| text.find("function down")),
        _ => None,
    };
    &text[..end.unwrap_or(text.len())]
}

fn sql(text: &str) -> Vec<Step> {
    // Tables of this very migration are nobody's yet.
    let created: Vec<String> = CREATED
        .as_ref()
        .map(|r| r.captures_iter(text).filter_map(|c| c.get(1)).map(|m| m.as_str().to_lowercase()).collect())
        .unwrap_or_default();
    let has_timeout = text.to_ascii_lowercase().contains("lock_timeout");
    let mut out = Vec::new();
    for (line, statement) in statements(text) {
        let lower = statement.to_ascii_lowercase();
        let on_new =
            created.iter().any(|t| lower.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == t));
        for pattern in &SQL {
            let Some(found) = pattern.regex.as_ref().and_then(|r| r.captures(&statement)) else { continue };
            let harmless = on_new
                || (pattern.what.starts_with("index") && (lower.contains("concurrently") || has_timeout))
                || (pattern.what.starts_with("constraint") && (lower.contains("not valid") || has_timeout));
            // `rename to` of a table also looks like a column's.
            let twice = out.last().is_some_and(|s: &Step| s.line == line && s.what.starts_with("rename"));
            let again = twice && pattern.what.starts_with("rename");
            if !(harmless || again) {
                let object = found.get(1).map_or(String::new(), |m| m.as_str().to_string());
                out.push(Step { line, what: pattern.what, object, risk: pattern.risk });
            }
        }
        if let Some(found) = ADD_COLUMN.as_ref().and_then(|r| r.captures(&statement))
            && !on_new
            && !lower.contains("default")
            && !lower.contains("add constraint")
        {
            let object = found.get(1).map_or(String::new(), |m| m.as_str().to_string());
            out.push(Step { line, what: "not null without default", object, risk: Risk::Irreversible });
        }
    }
    out
}

/// Statements with the line on which each begins; comments are dropped, quotes and dollar quotes hold semicolons.
fn statements(text: &str) -> Vec<(u32, String)> {
    let (mut out, mut current, mut begun) = (Vec::new(), String::new(), 1u32);
    let mut quote: Option<String> = None;
    for (index, line) in text.lines().enumerate() {
        let mut rest = line;
        while let Some(c) = rest.chars().next() {
            if quote.is_none() && rest.starts_with("--") {
                break;
            }
            if current.trim().is_empty() && !c.is_whitespace() {
                current.clear();
                begun = index as u32 + 1;
            }
            let mark = match c {
                '\'' => Some("'".to_string()),
                '$' => rest[1..]
                    .find('$')
                    .map(|end| rest[..end + 2].to_string())
                    .filter(|m| m[1..m.len() - 1].chars().all(|c| c.is_alphanumeric() || c == '_')),
                _ => None,
            };
            let step = match (&quote, &mark) {
                (Some(open), _) if rest.starts_with(open.as_str()) => {
                    let length = open.len();
                    quote = None;
                    length
                }
                (None, Some(mark)) => {
                    quote = Some(mark.clone());
                    mark.len()
                }
                (None, None) if c == ';' => {
                    out.push((begun, std::mem::take(&mut current)));
                    rest = &rest[1..];
                    if out.len() >= STATEMENTS_MAX {
                        return out;
                    }
                    continue;
                }
                _ => c.len_utf8(),
            };
            current.push_str(&rest[..step]);
            rest = &rest[step..];
        }
        current.push('\n');
    }
    if !current.trim().is_empty() {
        out.push((begun, current));
    }
    out
}

fn calls(up: &str, whole: &str) -> Vec<Step> {
    let mut out = Vec::new();
    for pattern in &CALLS {
        let Some(regex) = pattern.regex.as_ref() else { continue };
        for found in regex.captures_iter(up).take(STATEMENTS_MAX) {
            let Some(at) = found.get(0).map(|m| m.start()) else { continue };
            let line = up[..at].matches('\n').count() as u32 + 1;
            let object =
                (1..found.len()).rev().find_map(|i| found.get(i)).map_or(String::new(), |m| m.as_str().to_string());
            if pattern.risk == Risk::Locks && whole.contains("concurrently") {
                continue;
            }
            out.push(Step { line, what: pattern.what, object, risk: pattern.risk });
        }
    }
    out.sort_by_key(|s| s.line);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `line what object` of each step.
    fn check(path: &str, text: &str, expect: &[&str]) {
        let tool = tool(path).unwrap_or_else(|| panic!("{path} is a migration"));
        let got: Vec<String> = lint(tool, text).iter().map(|s| format!("{} {} {}", s.line, s.what, s.object)).collect();
        assert_eq!(got, expect, "{path}\n{text}");
    }

    #[test]
    fn sql_of_several_tools() {
        let up = "migrations/0002_x.up.sql";
        check(
            up,
            "ALTER TABLE orders DROP COLUMN IF EXISTS note;\n-- DROP TABLE x;\nDROP TABLE \"old\";",
            &["1 drop column note", "3 drop table old"],
        );
        check(
            up,
            "ALTER TABLE orders RENAME COLUMN a TO b;\nALTER TABLE orders RENAME TO baskets;",
            &["1 rename column a", "2 rename table orders"],
        );
        check(up, "ALTER TABLE orders\n  ADD COLUMN price int NOT NULL;", &["1 not null without default price"]);
        check(up, "ALTER TABLE orders ADD COLUMN price int NOT NULL DEFAULT 0;", &[]);
        check(
            up,
            "ALTER TABLE orders ALTER COLUMN price TYPE smallint;\nTRUNCATE logs;",
            &["1 change of type price", "2 truncate logs"],
        );
        check(up, "CREATE INDEX by_day ON orders (day);", &["1 index without concurrently by_day"]);
        check(up, "CREATE INDEX CONCURRENTLY by_day ON orders (day);", &[]);
        check(
            up,
            "create table a (id int);\nCREATE INDEX by_id ON a (id);\nALTER TABLE a ADD COLUMN b int NOT NULL;",
            &[],
        );
        check(up, "insert into a VALUES ('DROP TABLE x; y');\nCREATE FUNCTION f() AS $$ DROP TABLE x; $$;", &[]);
        check(
            "db/migration/V2__x.sql",
            "ALTER TABLE a ADD CONSTRAINT c FOREIGN KEY (b) REFERENCES d(e);",
            &["1 constraint checked at once c"],
        );
        check(
            "prisma/migrations/20260101_x/migration.sql",
            "ALTER TABLE \"User\" DROP COLUMN \"age\";",
            &["1 drop column age"],
        );
        check("migrations/2026-01-01-x/up.sql", "DROP TABLE a;", &["1 drop table a"]);
    }

    #[test]
    fn calls_of_frameworks() {
        check(
            "db/migrate/2026_x.rb",
            "class X < M\n  def change\n    remove_column :orders, :note, :text\n    add_index :orders, :day\n  end\nend",
            &["3 drop column note", "4 index without concurrently day"],
        );
        check(
            "db/migrate/2026_x.rb",
            "def up\n add_column :a, :b, :int\nend\ndef down\n remove_column :a, :b\nend",
            &[],
        );
        check(
            "alembic/versions/ab_x.py",
            "def upgrade():\n    op.drop_column('orders', 'note')\n\ndef downgrade():\n    op.drop_table('x')\n",
            &["2 drop column note"],
        );
        check(
            "shop/migrations/0002_x.py",
            "migrations.RemoveField(\n  model_name='order',\n  name='note',\n)",
            &["1 drop column note"],
        );
        check(
            "migrations/2026_x.js",
            "exports.up = k => k.schema.dropTable('old');\nexports.down = k => k.schema.dropTable('x');",
            &["1 drop table old"],
        );
    }

    #[test]
    fn what_is_a_migration_and_what_goes_back() {
        for path in [
            "src/a.sql",
            "migrations/1_x.down.sql",
            "docs/migrations.md",
            "tests/migrations/1_x.sql",
            "node_modules/x/migrations/1.js",
        ] {
            assert_eq!(tool(path), None, "{path}");
        }
        assert!(!has_down(Tool::UpDown, "x", None) && !has_down(Tool::UpDown, "x", Some("-- nothing\n")));
        assert!(has_down(Tool::UpDown, "x", Some("DROP TABLE a;")));
        assert!(has_down(Tool::Prisma, "", None));
        assert!(!has_down(Tool::Alembic, "def downgrade():\n    pass\n", None));
        assert!(has_down(Tool::Alembic, "def downgrade():\n    op.drop_table('a')\n", None));
        assert!(!has_down(Tool::Rails, "def up\nend\ndef down\n raise ActiveRecord::IrreversibleMigration\nend", None));
        assert_eq!(Tool::UpDown.down_path("m/1.up.sql").as_deref(), Some("m/1.down.sql"));
    }

    proptest! {
        #[test]
        fn never_panics(text in "(ALTER TABLE|DROP|a|;|'|\\$|\\$\\$|--|\n|ä| ){0,60}") {
            for tool in [Tool::Plain, Tool::Rails, Tool::Alembic, Tool::Django, Tool::Knex] {
                lint(tool, &text);
                has_down(tool, &text, Some(&text));
            }
        }
    }
}
