//! What the catalog and its counters tell of tables and indexes, without looking at a row.

use serde::Serialize;

use super::session::{DbError, Session};

/// One table of the product.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Table {
    pub schema: String,
    pub name: String,
    /// Rows as the planner's statistics have it; `None`: never analysed.
    pub rows: Option<f64>,
    /// Rows as counted by writes since the counters began.
    pub live: f64,
    pub seq_scans: u64,
    pub index_scans: u64,
    pub analysed: bool,
}

impl Table {
    /// The larger of both: a table just filled has no statistics yet.
    pub fn size(&self) -> f64 {
        self.rows.unwrap_or(0.0).max(self.live)
    }
}

/// One index of the product.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Index {
    pub schema: String,
    pub table: String,
    pub name: String,
    pub valid: bool,
    /// It is being built right now.
    pub building: bool,
    /// Primary key, unique, or what an exclusion constraint rests on.
    pub constraint: bool,
    pub scans: u64,
    pub bytes: u64,
    /// Method, columns with their order, collation and class; expressions; condition.
    pub method: String,
    pub columns: String,
    pub expressions: String,
    pub condition: String,
}

impl Index {
    /// Which index makes this one needless: the same, or a longer one that begins with the same columns.
    pub fn covered_by<'i>(&self, others: &'i [Index]) -> Option<&'i Index> {
        if self.constraint || !self.valid {
            return None;
        }
        others.iter().find(|other| {
            let same_place = (&other.schema, &other.table, &other.method, &other.condition)
                == (&self.schema, &self.table, &self.method, &self.condition);
            let equal = other.columns == self.columns && other.expressions == self.expressions;
            let prefix = self.method == "btree"
                && self.expressions.is_empty()
                && other.expressions.is_empty()
                && other.columns.starts_with(&format!("{},", self.columns));
            // Of two alike, the one with the later name is needless.
            let first = other.constraint || other.name < self.name;
            same_place && other.valid && other.name != self.name && (prefix || (equal && first))
        })
    }
}

/// A foreign key whose own columns no index begins with.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BareKey {
    pub schema: String,
    pub table: String,
    pub name: String,
    pub columns: String,
    pub target: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Catalog {
    pub tables: Vec<Table>,
    pub indexes: Vec<Index>,
    pub bare_keys: Vec<BareKey>,
    /// Days since the counters began, or since the server's start where they were never reset.
    pub counted_days: f64,
}

impl Catalog {
    pub fn table(&self, schema: &str, name: &str) -> Option<&Table> {
        self.tables.iter().find(|t| t.schema == schema && t.name == name)
    }
}

/// Schemas of the server's own.
const FOREIGN: &str =
    "n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname NOT LIKE 'pg\\_temp%'";

impl Session {
    pub async fn catalog(&mut self) -> Result<Catalog, DbError> {
        let tables = self
            .rows(format!(
                "SELECT /* hypercare */ n.nspname::text, c.relname::text, c.reltuples::text, coalesce(s.n_live_tup, 0)::text, \
                 coalesce(s.seq_scan, 0)::text, coalesce(s.idx_scan, 0)::text, \
                 (s.last_analyze IS NOT NULL OR s.last_autoanalyze IS NOT NULL OR c.reltuples > 0)::text \
                 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 LEFT JOIN pg_catalog.pg_stat_all_tables s ON s.relid = c.oid \
                 WHERE c.relkind IN ('r', 'p', 'm') AND {FOREIGN} ORDER BY c.reltuples DESC, 1, 2 LIMIT 9000"
            ))
            .await?;
        let indexes = self
            .rows(format!(
                "SELECT /* hypercare */ n.nspname::text, t.relname::text, c.relname::text, i.indisvalid::text, \
                 EXISTS (SELECT 1 FROM pg_catalog.pg_stat_progress_create_index p WHERE p.index_relid = c.oid)::text, \
                 (i.indisunique OR i.indisprimary OR i.indisexclusion)::text, coalesce(s.idx_scan, 0)::text, \
                 pg_catalog.pg_relation_size(c.oid)::text, m.amname::text, \
                 (SELECT string_agg(concat_ws(':', i.indkey[k], i.indclass[k], i.indcollation[k], i.indoption[k]), ',' ORDER BY k) \
                    FROM generate_series(0, i.indnkeyatts - 1) AS k) || CASE WHEN i.indnatts > i.indnkeyatts \
                    THEN '+' || i.indkey::text ELSE '' END, \
                 coalesce(pg_catalog.pg_get_expr(i.indexprs, i.indrelid), ''), coalesce(pg_catalog.pg_get_expr(i.indpred, i.indrelid), '') \
                 FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
                 JOIN pg_catalog.pg_class t ON t.oid = i.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace \
                 JOIN pg_catalog.pg_am m ON m.oid = c.relam LEFT JOIN pg_catalog.pg_stat_all_indexes s ON s.indexrelid = c.oid \
                 WHERE {FOREIGN} ORDER BY 1, 2, 3 LIMIT 9000"
            ))
            .await?;
        let keys = self
            .rows(format!(
                "SELECT /* hypercare */ n.nspname::text, t.relname::text, k.conname::text, \
                 (SELECT string_agg(a.attname::text, ', ' ORDER BY o.nth) FROM unnest(k.conkey) WITH ORDINALITY AS o(num, nth) \
                    JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = o.num), k.confrelid::regclass::text \
                 FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class t ON t.oid = k.conrelid \
                 JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace \
                 WHERE k.contype = 'f' AND {FOREIGN} AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_index i \
                    WHERE i.indrelid = k.conrelid AND i.indisvalid AND i.indpred IS NULL \
                    AND (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey) \
                 ORDER BY 1, 2, 3 LIMIT 9000"
            ))
            .await?;
        let counted = self
            .rows(
                "SELECT /* hypercare */ (extract(epoch FROM now() - coalesce(stats_reset, pg_catalog.pg_postmaster_start_time())) \
                 / 86400)::text FROM pg_catalog.pg_stat_database WHERE datname = current_database()"
                    .to_string(),
            )
            .await?;
        Ok(Catalog {
            tables: tables.iter().map(|row| table(row)).collect(),
            indexes: indexes.iter().map(|row| index(row)).collect(),
            bare_keys: keys.iter().map(|row| bare_key(row)).collect(),
            counted_days: counted.first().map_or(0.0, |row| number(row, 0)),
        })
    }
}

fn text(row: &[Option<String>], nth: usize) -> String {
    row.get(nth).cloned().flatten().unwrap_or_default()
}

fn number<N: std::str::FromStr + Default>(row: &[Option<String>], nth: usize) -> N {
    text(row, nth).parse().unwrap_or_default()
}

fn yes(row: &[Option<String>], nth: usize) -> bool {
    matches!(text(row, nth).as_str(), "true" | "t")
}

fn table(row: &[Option<String>]) -> Table {
    // -1: never vacuumed or analysed.
    let rows = Some(number::<f64>(row, 2)).filter(|rows| *rows >= 0.0);
    Table {
        schema: text(row, 0),
        name: text(row, 1),
        rows,
        live: number(row, 3),
        seq_scans: number(row, 4),
        index_scans: number(row, 5),
        analysed: yes(row, 6),
    }
}

fn index(row: &[Option<String>]) -> Index {
    Index {
        schema: text(row, 0),
        table: text(row, 1),
        name: text(row, 2),
        valid: yes(row, 3),
        building: yes(row, 4),
        constraint: yes(row, 5),
        scans: number(row, 6),
        bytes: number(row, 7),
        method: text(row, 8),
        columns: text(row, 9),
        expressions: text(row, 10),
        condition: text(row, 11),
    }
}

fn bare_key(row: &[Option<String>]) -> BareKey {
    BareKey {
        schema: text(row, 0),
        table: text(row, 1),
        name: text(row, 2),
        columns: text(row, 3),
        target: text(row, 4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, columns: &str) -> Index {
        Index {
            schema: "public".into(),
            table: "orders".into(),
            name: name.into(),
            valid: true,
            building: false,
            constraint: false,
            scans: 0,
            bytes: 0,
            method: "btree".into(),
            columns: columns.into(),
            expressions: String::new(),
            condition: String::new(),
        }
    }

    #[test]
    fn needless_indexes() {
        let needless = |index: &Index, other: Index| index.covered_by(&[index.clone(), other]).is_some();
        let single = of("b", "2:10:0:0");
        assert!(
            needless(&single, of("a", "2:10:0:0")) && !needless(&of("a", "2:10:0:0"), single.clone()),
            "one of two"
        );
        assert!(needless(&single, of("c", "2:10:0:0,3:10:0:0")), "a prefix");
        assert!(!needless(&single, of("c", "3:10:0:0,2:10:0:0")) && !needless(&single, of("c", "22:10:0:0")));
        assert!(!needless(&single, Index { condition: "(state = 'open')".into(), ..of("a", "2:10:0:0") }), "partial");
        assert!(!needless(&Index { constraint: true, ..single.clone() }, of("a", "2:10:0:0")), "a constraint needs it");
        assert!(needless(&single, Index { constraint: true, ..of("z", "2:10:0:0") }), "the constraint's own serves");
        assert!(!needless(&single, Index { valid: false, ..of("a", "2:10:0:0") }), "an invalid one serves nobody");
    }
}
