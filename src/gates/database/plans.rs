//! Plans of normalised statements, and what an index would change about them.
//!
//! A normalised text has no values, so its generic plan is asked for: prepared with types that the server infers, explained
//! with a NULL for each parameter under `plan_cache_mode = force_generic_plan`. Nothing is executed. Indexes are tried with
//! HypoPG: they exist in this session alone, and never on disk.

use std::sync::LazyLock;

use regex::Regex;
use serde::Serialize;
use serde_json::Value as Json;

use super::session::{DbError, Session, identifier};
use super::statements::TEXT_CHARS_MAX;

/// A plan of the server's, and what it reads of which table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// The planner's own unit.
    pub cost: f64,
    pub reads: Vec<Read>,
    #[serde(skip)]
    pub json: Json,
}

/// One table in a plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Read {
    pub schema: String,
    pub table: String,
    pub alias: String,
    /// The whole table is read.
    pub is_scan: bool,
    /// Rows that the planner expects to keep.
    pub kept: f64,
    /// How often: rows of the other side of a nested loop.
    pub loops: f64,
    pub filter: Option<String>,
    /// Columns that a filter compares for equality, then by range, then those that joins compare, then those sorted by
    /// below a limit. Only where the whole table is read.
    pub equal: Vec<String>,
    pub range: Vec<String>,
    pub joined: Vec<String>,
    pub sorted: Vec<String>,
    /// Names of real indexes used.
    pub indexes: Vec<String>,
}

impl Read {
    pub fn name(&self) -> String {
        match self.schema.as_str() {
            "public" | "" => self.table.clone(),
            schema => format!("{schema}.{}", self.table),
        }
    }
}

/// An index that does not exist, on a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proposal {
    pub schema: String,
    pub table: String,
    pub columns: Vec<String>,
}

impl Proposal {
    /// `orders (customer_id)`, as it stands after `CREATE INDEX ON`.
    pub fn sql(&self) -> String {
        let plain = |name: &String| {
            let is_plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
                && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            if is_plain { name.clone() } else { identifier(name) }
        };
        let columns: Vec<String> = self.columns.iter().map(plain).collect();
        let table = match self.schema.as_str() {
            "public" | "" => plain(&self.table),
            _ => format!("{}.{}", plain(&self.schema), plain(&self.table)),
        };
        format!("{table} ({})", columns.join(", "))
    }
    fn exact(&self) -> String {
        let columns: Vec<String> = self.columns.iter().map(|c| identifier(c)).collect();
        format!("CREATE INDEX ON {}.{} ({})", identifier(&self.schema), identifier(&self.table), columns.join(", "))
    }
}

impl Session {
    /// Makes every plan of this session generic.
    pub async fn plan_generically(&mut self) -> Result<(), DbError> {
        self.run("SET plan_cache_mode = force_generic_plan").await
    }

    /// The plan of a normalised statement. An error of the server's says why there is none.
    pub async fn plan(&mut self, text: &str) -> Result<Plan, DbError> {
        if text.chars().count() > TEXT_CHARS_MAX {
            return Err(DbError::TooLarge);
        }
        // Prepared anew each time: a kept plan would not see a new hypothetical index.
        self.run(&format!("PREPARE hypercare_look AS {}", without_typed_literals(text))).await?;
        let planned = self.explain().await;
        let gone = self.run("DEALLOCATE hypercare_look").await;
        let plan = planned?;
        gone.map(|()| plan)
    }

    async fn explain(&mut self) -> Result<Plan, DbError> {
        let asked = self
            .rows(
                "SELECT /* hypercare */ coalesce(array_length(parameter_types, 1), 0)::text \
                 FROM pg_catalog.pg_prepared_statements WHERE name = 'hypercare_look'"
                    .into(),
            )
            .await?;
        let parameters: usize = cell(&asked).and_then(|n| n.parse().ok()).unwrap_or(0);
        let nulls = if parameters == 0 { String::new() } else { format!("({})", vec!["NULL"; parameters].join(", ")) };
        let rows = self.rows(format!("EXPLAIN (VERBOSE, FORMAT JSON) EXECUTE hypercare_look{nulls}")).await?;
        let json: Json = cell(&rows).and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Json::Null);
        read(&json).ok_or_else(|| DbError::Statement("XX000".into(), "the server gave no plan".into()))
    }

    /// The plan when reading whole tables is made dear: does any index that exists serve the statement?
    pub async fn plan_by_index(&mut self, text: &str) -> Result<Plan, DbError> {
        self.run("SET enable_seqscan = off").await?;
        let plan = self.plan(text).await;
        self.run("RESET enable_seqscan").await?;
        plan
    }

    /// The plan if the index existed. `hypopg`: the extension's schema.
    pub async fn plan_with(&mut self, text: &str, index: &Proposal, hypopg: &str) -> Result<(Plan, bool), DbError> {
        let schema = identifier(hypopg);
        let create = format!(
            "SELECT /* hypercare */ indexname::text FROM {schema}.hypopg_create_index({})",
            super::session::quoted(&index.exact())
        );
        let made = self.rows(create).await;
        let plan = match &made {
            Ok(_) => self.plan(text).await,
            Err(error) => Err(error.clone()),
        };
        self.run(&format!("SELECT /* hypercare */ {schema}.hypopg_reset()::text")).await?;
        let name = made.ok().as_ref().and_then(|rows| cell(rows).map(str::to_string));
        plan.map(|plan| {
            let used = name.is_some_and(|name| plan.reads.iter().any(|r| r.indexes.contains(&name)));
            (plan, used)
        })
    }
}

fn cell(rows: &[super::session::Record]) -> Option<&str> {
    rows.first()?.first()?.as_deref()
}

/// `interval $1` is no syntax: literals with their type before them lost their quotes.
fn without_typed_literals(text: &str) -> String {
    static TYPED: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?i)\b(interval|date|timestamptz|timestamp|time|uuid|inet|json|jsonb)\s+(\$\d+)")
            .expect("a pattern of ours")
    });
    TYPED.replace_all(text, "$2::$1").into_owned()
}

/// What `EXPLAIN (VERBOSE, FORMAT JSON)` says. Pure.
pub fn read(json: &Json) -> Option<Plan> {
    let root = json.get(0).unwrap_or(json).get("Plan")?;
    let mut out = Plan { cost: root["Total Cost"].as_f64()?, reads: Vec::new(), json: root.clone() };
    let mut walk = Walk { reads: &mut out.reads, conditions: Vec::new(), sorts: Vec::new() };
    walk.node(root, 1.0, false, 0);
    let (conditions, sorts) = (walk.conditions, walk.sorts);
    for read in out.reads.iter_mut().filter(|r| r.is_scan) {
        if let Some(filter) = read.filter.clone() {
            (read.equal, read.range) = compared(&filter, &read.alias);
        }
        for condition in &conditions {
            let (equal, _) = compared(condition, &read.alias);
            read.joined.extend(equal);
        }
        read.sorted = sorts.iter().filter_map(|key| column_of(key, &read.alias)).collect();
        for list in [&mut read.equal, &mut read.range, &mut read.joined, &mut read.sorted] {
            let mut seen = std::collections::BTreeSet::new();
            list.retain(|column| seen.insert(column.clone()));
        }
    }
    Some(out)
}

/// Nodes below this depth are nobody's plan.
const DEPTH_MAX: usize = 200;

struct Walk<'p> {
    reads: &'p mut Vec<Read>,
    conditions: Vec<String>,
    sorts: Vec<String>,
}

impl Walk<'_> {
    fn node(&mut self, node: &Json, loops: f64, limited: bool, depth: usize) {
        if depth > DEPTH_MAX {
            return;
        }
        let text = |key: &str| node[key].as_str().unwrap_or_default().to_string();
        let kind = text("Node Type");
        if !node["Relation Name"].is_null() {
            self.reads.push(Read {
                schema: text("Schema"),
                table: text("Relation Name"),
                alias: text("Alias"),
                is_scan: kind == "Seq Scan",
                kept: node["Plan Rows"].as_f64().unwrap_or(0.0),
                loops,
                filter: node["Filter"].as_str().map(str::to_string),
                equal: vec![],
                range: vec![],
                joined: vec![],
                sorted: vec![],
                indexes: vec![],
            });
        }
        // A bitmap's indexes stand in nodes of their own, below the table's.
        if let Some(index) = node["Index Name"].as_str()
            && let Some(read) = self.reads.last_mut()
        {
            read.indexes.push(index.to_string());
        }
        for key in ["Hash Cond", "Merge Cond", "Join Filter"] {
            self.conditions.extend(node[key].as_str().map(str::to_string));
        }
        if limited && kind.ends_with("Sort") {
            self.sorts
                .extend(node["Sort Key"].as_array().into_iter().flatten().filter_map(Json::as_str).map(str::to_string));
        }
        // Only what lies right below a limit is limited: an aggregate reads all.
        let limited =
            kind == "Limit" || (limited && !kind.contains("Aggregate") && kind != "WindowAgg" && kind != "Unique");
        let below: Vec<&Json> = node["Plans"].as_array().into_iter().flatten().collect();
        let outer = below
            .iter()
            .find(|p| p["Parent Relationship"] == "Outer")
            .and_then(|p| p["Plan Rows"].as_f64())
            .unwrap_or(1.0)
            .max(1.0);
        for part in below {
            let is_inner = kind == "Nested Loop" && part["Parent Relationship"] == "Inner";
            self.node(part, if is_inner { loops * outer } else { loops }, limited, depth + 1);
        }
    }
}

/// Columns of `alias` that a condition compares: for equality, and by range. Columns inside a function call are left out: an
/// index on the column would not serve. Pure.
fn compared(condition: &str, alias: &str) -> (Vec<String>, Vec<String>) {
    static COLUMN: LazyLock<Regex> = LazyLock::new(|| {
        let name = r#"(?:"(?:[^"]|"")+"|[a-z_][a-z0-9_$]*)"#;
        Regex::new(&format!(
            r"(\w*)(\(*)({name})\.({name})((?:\))?(?:::[a-z][a-z ]*(?:\[\])?)?)\s*(=|<>|<=|>=|<|>|IS NULL|~~|@>|&&)?"
        ))
        .expect("a pattern of ours")
    });
    // Behind the operator: `$1 = orders.customer_id`, or the right side of a join.
    static BEFORE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(=|<=|>=|<|>)\s*\(*$").expect("a pattern of ours"));
    let (mut equal, mut range) = (Vec::new(), Vec::new());
    for found in COLUMN.captures_iter(condition) {
        let part = |nth: usize| found.get(nth).map_or("", |m| m.as_str());
        // `lower((users.email)::text)`, but not `AND (a.b = $1)`.
        let called = !part(1).is_empty() && part(2).len() == 1 && !["AND", "OR", "NOT", "ANY"].contains(&part(1));
        let called = called || (!part(1).is_empty() && part(2).len() > 1 && !["AND", "OR", "NOT"].contains(&part(1)));
        if unquoted(part(3)) != alias || called {
            continue;
        }
        let start = found.get(2).map_or(0, |m| m.start());
        let before = BEFORE.captures(&condition[..start]).and_then(|c| c.get(1)).map(|m| m.as_str());
        let after = Some(part(6)).filter(|o| !o.is_empty());
        match after.or(before) {
            Some("=" | "IS NULL") => equal.push(unquoted(part(4))),
            Some("<" | ">" | "<=" | ">=") => range.push(unquoted(part(4))),
            _ => (),
        }
    }
    (equal, range)
}

/// `o.created DESC` is a column of `o`; an expression is none.
fn column_of(key: &str, alias: &str) -> Option<String> {
    let key = key.split(" DESC").next().unwrap_or(key).split(" NULLS").next().unwrap_or(key).trim();
    let (of, column) = key.split_once('.')?;
    let is_name = column.starts_with('"') || column.chars().all(|c| c.is_alphanumeric() || c == '_');
    (unquoted(of) == alias && is_name).then(|| unquoted(column))
}

fn unquoted(name: &str) -> String {
    match name.strip_prefix('"').and_then(|n| n.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => name.to_string(),
    }
}

/// Singles first, then pairs: equality first, range or sorting last. At most `limit`.
pub fn proposals(read: &Read, limit: usize) -> Vec<Proposal> {
    let first: Vec<&String> = read.equal.iter().chain(&read.joined).take(4).collect();
    let last: Vec<&String> = read.range.iter().chain(&read.sorted).take(3).collect();
    let mut sets: Vec<Vec<String>> = first.iter().chain(&last).map(|c| vec![c.to_string()]).collect();
    for (nth, one) in first.iter().enumerate() {
        sets.extend(first[nth + 1..].iter().map(|other| vec![one.to_string(), other.to_string()]));
        sets.extend(last.iter().map(|other| vec![one.to_string(), other.to_string()]));
    }
    sets.retain(|set| set.len() < 2 || set[0] != set[1]);
    let of = |columns| Proposal { schema: read.schema.clone(), table: read.table.clone(), columns };
    let mut out: Vec<Proposal> = Vec::new();
    for proposal in sets.into_iter().map(of) {
        if !out.contains(&proposal) && out.len() < limit {
            out.push(proposal);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn typed_literals() {
        assert_eq!(
            without_typed_literals("select now() - interval $1, date $2 from t where i = $3"),
            "select now() - $1::interval, $2::date from t where i = $3"
        );
    }

    #[test]
    fn columns_of_conditions() {
        let of = |text| {
            let (equal, range) = compared(text, "o");
            format!("{} | {}", equal.join(","), range.join(","))
        };
        assert_eq!(of("((o.customer_id = $1) AND (o.created > (now() - $2)))"), "customer_id | created");
        assert_eq!(of("((o.email)::text = ($1)::text)"), "email | ");
        assert_eq!(of("(lower((o.email)::text) = $1)"), " | ");
        assert_eq!(of("(lower(o.name) = $1)"), " | ");
        assert_eq!(of("(c.id = o.customer_id)"), "customer_id | ");
        assert_eq!(of("(o.state = ANY ($1))"), "state | ");
        assert_eq!(of("((o.a <> $1) OR (o.b IS NULL))"), "b | ");
        assert_eq!(of("(o.\"Weird Name\" = $1)"), "Weird Name | ");
        assert_eq!(of("(x.state = $1)"), " | ");
    }

    #[test]
    fn a_plan_is_read() {
        let plan = json!([{ "Plan": {
            "Node Type": "Limit", "Total Cost": 1500.0, "Plans": [{
                "Node Type": "Sort", "Parent Relationship": "Outer", "Sort Key": ["o.created DESC"], "Plans": [{
                    "Node Type": "Nested Loop", "Parent Relationship": "Outer", "Join Filter": "(c.id = o.customer_id)", "Plans": [
                        { "Node Type": "Index Scan", "Parent Relationship": "Outer", "Relation Name": "customers", "Alias": "c",
                          "Schema": "public", "Plan Rows": 40, "Index Name": "customers_pkey" },
                        { "Node Type": "Seq Scan", "Parent Relationship": "Inner", "Relation Name": "orders", "Alias": "o",
                          "Schema": "public", "Plan Rows": 5, "Filter": "(o.state = $1)" }
                    ] }] }] } }]);
        let plan = read(&plan).unwrap();
        let orders = &plan.reads[1];
        assert_eq!((plan.cost, plan.reads.len(), orders.is_scan, orders.loops), (1500.0, 2, true, 40.0));
        assert_eq!(
            (&orders.equal[..], &orders.joined[..], &orders.sorted[..]),
            (&["state".to_string()][..], &["customer_id".to_string()][..], &["created".to_string()][..])
        );
        let sql: Vec<String> = proposals(orders, 10).iter().map(Proposal::sql).collect();
        assert_eq!(
            sql,
            [
                "orders (state)",
                "orders (customer_id)",
                "orders (created)",
                "orders (state, customer_id)",
                "orders (state, created)",
                "orders (customer_id, created)"
            ]
        );
        assert!(read(&json!({})).is_none() && read(&json!([])).is_none());
    }

    proptest::proptest! {
        #[test]
        fn no_condition_is_too_odd(text in "\\PC{0,80}") {
            let _ = compared(&text, "o");
            let _ = column_of(&text, "o");
            let _ = without_typed_literals(&text);
        }
    }
}
