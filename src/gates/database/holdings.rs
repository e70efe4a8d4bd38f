//! What a database holds, so that it can be compared with its restored copy: every object's definition, how many rows each
//! table has, and whether its sequences are ahead of the numbers that were given out.

use std::collections::{BTreeMap, BTreeSet};

use super::session::{DbError, Record, Session, identifier};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holdings {
    /// `column public.orders.id integer not null`, one line per object; extensions' own objects are theirs.
    pub objects: BTreeSet<String>,
    /// By `schema.table`. `None`: it could not be counted in time.
    pub rows: BTreeMap<String, Option<u64>>,
    /// Sequences whose next number is already taken, as `schema.sequence`.
    pub behind: Vec<String>,
}

/// Above this the planner's estimate serves: counting reads the whole table.
const COUNTED_MAX: f64 = 100_000.0;
/// Sequences that are looked at.
const SEQUENCES_MAX: usize = 300;

const OWN: &str = "n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname NOT LIKE 'pg\\_%'";

impl Session {
    /// `exact`: every table is counted, whatever its size.
    pub async fn holdings(&mut self, exact: bool) -> Result<Holdings, DbError> {
        let mut out = Holdings { objects: self.objects().await?, ..Holdings::default() };
        for table in self.catalog().await?.tables {
            let name = format!("{}.{}", table.schema, table.name);
            let rows = match exact || table.size() < COUNTED_MAX {
                true => self.counted(&table.schema, &table.name).await?,
                false => None,
            };
            let guessed = (!exact && table.size() > 0.0).then_some(table.size() as u64);
            out.rows.insert(name, rows.or(guessed));
        }
        out.behind = self.behind().await?;
        Ok(out)
    }

    /// `None`: the server's time limit came first, or the role may not read the table.
    async fn counted(&mut self, schema: &str, table: &str) -> Result<Option<u64>, DbError> {
        let sql =
            format!("SELECT /* hypercare */ count(*)::text FROM ONLY {}.{}", identifier(schema), identifier(table));
        match self.rows(sql).await {
            Ok(rows) => Ok(first(&rows).and_then(|text| text.parse().ok())),
            Err(DbError::Statement(state, _)) if matches!(state.as_str(), "57014" | "42501" | "55P03") => Ok(None),
            Err(other) => Err(other),
        }
    }

    async fn objects(&mut self) -> Result<BTreeSet<String>, DbError> {
        let foreign = |oid: &str| {
            format!("NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend e WHERE e.objid = {oid} AND e.deptype = 'e')")
        };
        let (of_class, of_function, of_type) = (foreign("c.oid"), foreign("p.oid"), foreign("t.oid"));
        let parts = [
            format!(
                "SELECT 'column ' || n.nspname || '.' || c.relname || '.' || a.attname || ' ' || \
                 pg_catalog.format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END || \
                 coalesce(' default ' || pg_catalog.pg_get_expr(d.adbin, d.adrelid), '') \
                 FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
                 WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'f') AND {OWN} AND {of_class}"
            ),
            format!(
                "SELECT 'constraint ' || n.nspname || '.' || c.relname || '.' || k.conname || ' ' || \
                 pg_catalog.pg_get_constraintdef(k.oid) FROM pg_catalog.pg_constraint k \
                 JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE {OWN} AND {of_class}"
            ),
            format!(
                "SELECT 'index ' || n.nspname || '.' || c.relname || ' ' || pg_catalog.pg_get_indexdef(c.oid) \
                 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid \
                 WHERE c.relkind IN ('i', 'I') AND {OWN} AND {}",
                foreign("i.indrelid")
            ),
            format!(
                "SELECT 'sequence ' || n.nspname || '.' || c.relname FROM pg_catalog.pg_class c \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'S' AND {OWN} AND {of_class}"
            ),
            format!(
                "SELECT 'view ' || n.nspname || '.' || c.relname || ' ' || pg_catalog.md5(pg_catalog.pg_get_viewdef(c.oid)) \
                 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE c.relkind IN ('v', 'm') AND {OWN} AND {of_class}"
            ),
            format!(
                "SELECT 'trigger ' || n.nspname || '.' || c.relname || ' ' || pg_catalog.pg_get_triggerdef(g.oid) || ' ' || \
                 g.tgenabled::text FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_class c ON c.oid = g.tgrelid \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE NOT g.tgisinternal AND {OWN} AND {of_class}"
            ),
            format!(
                "SELECT 'policy ' || n.nspname || '.' || c.relname || '.' || o.polname || ' ' || \
                 coalesce(pg_catalog.pg_get_expr(o.polqual, o.polrelid), '') FROM pg_catalog.pg_policy o \
                 JOIN pg_catalog.pg_class c ON c.oid = o.polrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE {OWN} AND {of_class}"
            ),
            format!(
                "SELECT 'function ' || n.nspname || '.' || p.proname || '(' || \
                 pg_catalog.pg_get_function_identity_arguments(p.oid) || ') ' || pg_catalog.md5(p.prosrc) \
                 FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE {OWN} AND {of_function}"
            ),
            format!(
                "SELECT 'enum ' || n.nspname || '.' || t.typname || ' ' || string_agg(l.enumlabel, ',' ORDER BY l.enumsortorder) \
                 FROM pg_catalog.pg_enum l JOIN pg_catalog.pg_type t ON t.oid = l.enumtypid \
                 JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE {OWN} AND {of_type} GROUP BY n.nspname, t.typname"
            ),
            "SELECT 'extension ' || x.extname FROM pg_catalog.pg_extension x".to_string(),
        ];
        let mut out = BTreeSet::new();
        for part in parts {
            // One part at a time: a large schema fits the answer's limit piece by piece.
            out.extend(self.rows(format!("/* hypercare */ {part}")).await?.into_iter().filter_map(told));
        }
        Ok(out)
    }

    /// Sequences that own a column whose highest number is above their own.
    async fn behind(&mut self) -> Result<Vec<String>, DbError> {
        let owned = self
            .rows(format!(
                "SELECT /* hypercare */ n.nspname::text, c.relname::text, m.nspname::text, t.relname::text, a.attname::text \
                 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 JOIN pg_catalog.pg_depend d ON d.objid = c.oid AND d.classid = 'pg_catalog.pg_class'::regclass \
                   AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i') \
                 JOIN pg_catalog.pg_class t ON t.oid = d.refobjid JOIN pg_catalog.pg_namespace m ON m.oid = t.relnamespace \
                 JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid \
                 WHERE c.relkind = 'S' AND {OWN} ORDER BY 1, 2 LIMIT {SEQUENCES_MAX}"
            ))
            .await?;
        let mut out = Vec::new();
        for row in owned {
            let [Some(schema), Some(sequence), Some(above), Some(table), Some(column)] = row.as_slice() else {
                continue;
            };
            let (sequence_id, table_id) = (
                format!("{}.{}", identifier(schema), identifier(sequence)),
                format!("{}.{}", identifier(above), identifier(table)),
            );
            let column_id = identifier(column);
            let sql = format!(
                "SELECT /* hypercare */ (m.most > s.last_value OR (m.most = s.last_value AND NOT s.is_called))::text \
                 FROM {sequence_id} s, (SELECT max({column_id}) AS most FROM {table_id}) m"
            );
            match self.rows(sql).await {
                Ok(rows) if first(&rows) == Some("true") => out.push(format!("{schema}.{sequence}")),
                Ok(_) => {}
                // A descending or a foreign kind of number, a role that may not read it, a table too large.
                Err(DbError::Statement(..)) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(out)
    }

    /// The newest value of a column with a time, in seconds since the epoch. `None`: no row.
    pub async fn newest(&mut self, table: &str, column: &str) -> Result<Option<f64>, DbError> {
        let table: Vec<String> = table.split('.').map(identifier).collect();
        let column = identifier(column);
        let sql = format!(
            "SELECT /* hypercare */ extract(epoch FROM max({column})::timestamptz)::text FROM {}",
            table.join(".")
        );
        Ok(first(&self.rows(sql).await?).and_then(|text| text.parse().ok()))
    }

    /// Does a query of the product's own give a row?
    pub async fn gives_a_row(&mut self, sql: &str) -> Result<bool, DbError> {
        Ok(!self.rows(sql.to_string()).await?.is_empty())
    }

    /// As `CREATE DATABASE` takes it: `UTF8`.
    pub async fn encoding(&mut self) -> Result<String, DbError> {
        let sql = "SELECT /* hypercare */ pg_encoding_to_char(encoding)::text FROM pg_catalog.pg_database \
                   WHERE datname = current_database()";
        Ok(first(&self.rows(sql.into()).await?).unwrap_or("UTF8").to_string())
    }

    /// Told apart by what no copy of another server carries. `None`: the role may not ask.
    pub async fn server_id(&mut self) -> Result<Option<String>, DbError> {
        match self
            .rows("SELECT /* hypercare */ system_identifier::text FROM pg_catalog.pg_control_system()".into())
            .await
        {
            Ok(rows) => Ok(first(&rows).map(str::to_string)),
            Err(DbError::Statement(..)) => Ok(None),
            Err(other) => Err(other),
        }
    }
}

fn first(rows: &[Record]) -> Option<&str> {
    rows.first()?.first()?.as_deref()
}

fn told(record: Record) -> Option<String> {
    record.into_iter().next().flatten()
}
