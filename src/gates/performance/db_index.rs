//! Gate `performance.db_index`: no statement that costs time reads a whole table where an index would serve.
//!
//! Why at launch: a missing index is invisible with ten rows and takes the database down with ten million. Reads what the
//! server counted of each statement while the load test ran (`pg_stat_statements`), asks for the generic plan of the dearest
//! fifty, and tries indexes that do not exist with HypoPG: only a proven gain fails (`db_index/look.rs`). The catalog adds
//! invalid, needless and unused indexes, foreign keys without one, and stale statistics. Touches the database with plans and
//! catalog reads in a read-only session; executes none of the statements. Fix: create the named index concurrently.

mod look;
#[cfg(test)]
mod tests;

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::json;

use self::look::{Looked, Seen};
use crate::domain::problem::Problem;
use crate::domain::service::Profile;
use crate::domain::units::count;
use crate::domain::verdict::{Class, Confidence, Finding, Outcome, Severity, Tier};
use crate::gates::database::{self, statements};
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage};

/// `[gates.performance.db_index]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Statements that are planned, by total time. Default: 50.
    pub statements: usize,
    /// A statement counts from so many calls on, or when it is slow. Default: 100.
    pub min_calls: u64,
    /// Slow: mean time in milliseconds. Default: 20.
    pub slow_mean_ms: f64,
    /// Or its share of the time of all statements, 0 to 1. Default: 0.05.
    pub slow_share: f64,
    /// Fewer calls in all say nothing about the product. Default: 1000.
    pub min_traffic: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config { statements: 50, min_calls: 100, slow_mean_ms: 20.0, slow_share: 0.05, min_traffic: 1000 }
    }
}

impl Config {
    /// Finds every problem. Pure.
    pub fn validate(&self) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        if !(1..=500).contains(&self.statements) {
            problems.push(Problem::at(["statements"], "between 1 and 500 statements are planned"));
        }
        if !(self.slow_share > 0.0 && self.slow_share <= 1.0) {
            problems.push(Problem::at(["slow_share"], "a share lies above 0 and is 1 at most"));
        }
        if !(self.slow_mean_ms > 0.0 && self.slow_mean_ms.is_finite()) {
            problems.push(Problem::at(["slow_mean_ms"], "milliseconds above 0"));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn is_slow(&self, looked: &Looked) -> bool {
        looked.share >= self.slow_share || looked.statement.mean_ms() >= self.slow_mean_ms
    }
}

static ABOUT: About = About {
    id: "performance.db_index",
    section: Section::Performance,
    class: Class::B,
    line: "DB indexed properly (EXPLAIN ANALYZE used)",
    min_tier: Tier::E3,
    attestable: false,
    stage: Stage::Exclusive,
    lock: Lock::TargetExclusive,
    needs: &["performance.load"],
    timeout: Duration::from_secs(300),
    skipped_for: &[Profile::StaticSite],
    reads: "pg_stat_statements after the load test, generic plans of the dearest fifty statements, HypoPG where it is \
            installed, and the catalog: tables, indexes, foreign keys, their counters. PostgreSQL 13 and later",
    decides: "fails on a missing index that halves a plan's cost of 100 or more, on a statement of 5 % of all time or 20 ms \
              a call, and on an invalid index; warns on lesser gains, whole-table reads that nothing proves, slow statements \
              without a plan, needless and unused indexes, foreign keys without one, stale statistics, tables too small",
    fix: "CREATE INDEX CONCURRENTLY as named; ANALYZE after bulk loads; drop what nothing uses",
};

pub struct DbIndex;

impl Gate for DbIndex {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let config = &ctx.config.performance.db_index;
            if let Err(problems) = config.validate() {
                return Outcome::error("bad-config", problems[0].to_string());
            }
            let mut session = match database::open(ctx).await {
                Ok(session) => session,
                Err(outcome) => return *outcome,
            };
            let progress = |text: &str| (ctx.progress)(ABOUT.id, text);
            match look::look(&mut session, config, &ctx.config.database.ignore_users, progress).await {
                Ok(seen) => judge(&seen, config),
                Err(none) => none.outcome(),
            }
        })
    }
}

/// Covered share below which nothing passes.
const FLOOR: f64 = 0.9;
/// Tables below this: the planner rightly reads them whole.
const SMALL_ROWS: f64 = 1_000.0;
/// Tables from this size on: the rules about whole reads, foreign keys and the use of indexes.
const LARGE_ROWS: f64 = 10_000.0;
/// Unused: hardly any scan, and large enough to matter, in counters that are old enough.
const UNUSED_SCANS_MAX: u64 = 50;
const UNUSED_BYTES_MIN: u64 = 10 << 20;
const UNUSED_DAYS_MIN: f64 = 7.0;
/// Statistics are stale when they are off by this factor.
const STALE_FACTOR: f64 = 100.0;
/// More calls by roles that hide their statements than this share, and the look is no look.
const HIDDEN_SHARE_MAX: f64 = 0.05;

/// Everything from what was seen. Pure.
fn judge(seen: &Seen, config: &Config) -> Outcome {
    let findings = findings(seen, config);
    let known = seen.looked.len();
    let covered = seen.looked.iter().filter(|l| l.is_judged()).count() as u64;
    let first = |severity: Severity| findings.iter().find(|f| f.severity >= severity);
    let calls = seen.traffic.calls();
    let all_calls = (calls + seen.traffic.hidden_calls).max(1);
    let missing = findings.iter().filter(|f| f.rule == "missing-index").count() as u64;
    let planned = format!("{covered} of {}", count(known, "statement"));
    let outcome = if let Some(worst) = first(Severity::High) {
        let more = findings.iter().filter(|f| f.severity >= Severity::High).count() - 1;
        let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
        Outcome::fail(format!("{}{more}", worst.message)).hint(hint(worst))
    } else if seen.traffic.hidden_calls as f64 > all_calls as f64 * HIDDEN_SHARE_MAX {
        let hidden = seen.traffic.hidden_calls;
        Outcome::error(
            "no-privilege",
            format!("{hidden} of {all_calls} calls are of statements that this role may not see"),
        )
        .hint("GRANT pg_read_all_stats TO the role, or list batch users in ignore_users")
    } else if calls < config.min_traffic {
        let needed = config.min_traffic;
        Outcome::error("too-little-traffic", format!("{calls} calls counted in {}, {needed} are needed", seen.place))
            .hint("run the load test first (performance.load), or lower performance.db_index.min_traffic")
    } else if known == 0 {
        Outcome::error("nothing-to-inspect", format!("no statement was called {} times", config.min_calls))
            .hint("run the load test first (performance.load)")
    } else if let Some(worst) = first(Severity::Low) {
        let open = findings.iter().filter(|f| f.severity > Severity::Info).count();
        Outcome::warn(format!("{} to look at: {}", count(open, "thing"), worst.message)).hint(hint(worst))
    } else if seen.looked.iter().all(|l| l.largest < SMALL_ROWS) {
        Outcome::warn(format!("no table has {SMALL_ROWS} rows: the planner cannot show a missing index at this size"))
            .hint("load production-like volume into the staging database, ANALYZE, and check again")
    } else if (covered as f64) < known as f64 * FLOOR {
        Outcome::warn(format!("only {planned} could be judged")).hint(
            "load production-like volume into the staging database; GRANT pg_read_all_data to the role so that it may plan",
        )
    } else {
        Outcome::pass(format!("{planned} planned in {}: no index is missing", seen.place))
    };
    outcome
        .value(missing, 0)
        .covered(covered, known as u64)
        .tier(Tier::E3)
        .findings(findings)
        .evidence("database", evidence(seen, config))
}

fn hint(finding: &Finding) -> String {
    if finding.fix.is_empty() { finding.message.clone() } else { finding.fix.clone() }
}

/// Worst first.
fn findings(seen: &Seen, config: &Config) -> Vec<Finding> {
    let mut out: Vec<Finding> = seen.looked.iter().flat_map(|looked| of_statement(looked, seen, config)).collect();
    out.extend(of_catalog(seen));
    out.sort_by_key(|f| std::cmp::Reverse((f.severity, f.confidence)));
    out
}

fn of_statement(looked: &Looked, seen: &Seen, config: &Config) -> Vec<Finding> {
    let is_slow = config.is_slow(looked);
    let text = statements::shown(&looked.statement.text);
    let weight = format!("{:.0} % of the time, {:.1} ms a call", looked.share * 100.0, looked.statement.mean_ms());
    let normal = statements::normal_form(&looked.statement.text);
    let new = |rule: &'static str, severity, place: &str, message: String| {
        Finding::new(rule, severity, message).route(text.clone()).identified_by(&[
            "performance.db_index",
            rule,
            place,
            &normal,
        ])
    };
    let mut out = Vec::new();
    for gain in &looked.gains {
        let severity = if is_slow { Severity::High } else { Severity::Medium };
        let (index, before, after) = (gain.index.sql(), gain.before, gain.after);
        let message = format!("an index on {index} takes the plan's cost from {before:.0} to {after:.0}: {weight}");
        let fix = format!(
            "CREATE INDEX CONCURRENTLY ON {index}; cost {before:.0} -> {after:.0} for \"{text}\" ({:.0} % of the database's time)",
            looked.share * 100.0
        );
        out.push(new("missing-index", severity, &index, message).fix(fix));
    }
    for scan in &looked.scans {
        let severity = if is_slow { Severity::Medium } else { Severity::Info };
        let message = format!("reads all {:.0} rows of {} to keep {:.0}: {weight}", scan.rows, scan.table, scan.kept);
        let fix = match seen.hypopg {
            true => "no index on one or two columns helps: look at its expressions, or at an index of another kind",
            false => "CREATE EXTENSION hypopg, so that an index can be proven; or index the columns of its conditions",
        };
        out.push(new("whole-table", severity, &scan.table, message).confidence(Confidence::Medium).fix(fix));
    }
    if let Some(why) = &looked.unplanned {
        let severity = if is_slow { Severity::Medium } else { Severity::Info };
        let fix = "GRANT pg_read_all_data to the role and set its search_path, or look at the statement by hand";
        out.push(new("unplanned", severity, "", format!("could not be planned: {why}; {weight}")).fix(fix));
    }
    for table in &looked.small {
        let message = format!("no index serves its condition on {table}, which is too small to tell: {weight}");
        let fix = "fill the table as in production, ANALYZE, and check again";
        out.push(new("too-small", Severity::Info, table, message).confidence(Confidence::Low).fix(fix));
    }
    out
}

fn of_catalog(seen: &Seen) -> Vec<Finding> {
    let mut out = Vec::new();
    let catalog = &seen.catalog;
    let named =
        |schema: &str, name: &str| if schema == "public" { name.to_string() } else { format!("{schema}.{name}") };
    let mut add = |rule: &'static str, severity, place: String, message: String, fix: String| {
        let parts = ["performance.db_index", rule, &place];
        out.push(Finding::new(rule, severity, message).identified_by(&parts).route(place.clone()).fix(fix));
    };
    for index in &catalog.indexes {
        let (name, table) = (named(&index.schema, &index.name), named(&index.schema, &index.table));
        if !index.valid && !index.building {
            let message = format!("index {name} on {table} is invalid: it costs writes and serves no read");
            let fix = format!("REINDEX INDEX CONCURRENTLY {name}, or drop it");
            add("invalid-index", Severity::High, name, message, fix);
        } else if let Some(other) = index.covered_by(&catalog.indexes) {
            let message = format!("index {name} on {table} is needless beside {} ({})", other.name, size(index.bytes));
            add("needless-index", Severity::Low, name.clone(), message, format!("DROP INDEX CONCURRENTLY {name}"));
        } else if index.scans <= UNUSED_SCANS_MAX
            && index.bytes >= UNUSED_BYTES_MIN
            && !index.constraint
            && catalog.counted_days >= UNUSED_DAYS_MIN
        {
            let days = catalog.counted_days;
            let message =
                format!("index {name} ({}) was used {} times in {days:.0} days", size(index.bytes), index.scans);
            add(
                "unused-index",
                Severity::Low,
                name.clone(),
                message,
                format!("DROP INDEX CONCURRENTLY {name}, if replicas do not use it"),
            );
        }
    }
    for key in &catalog.bare_keys {
        let rows = catalog.table(&key.schema, &key.table).map_or(0.0, |t| t.size());
        if rows >= LARGE_ROWS {
            let table = named(&key.schema, &key.table);
            let message = format!(
                "foreign key {} of {table} ({rows:.0} rows) has no index on ({}): each delete in {} reads it all",
                key.name, key.columns, key.target
            );
            let fix = format!("CREATE INDEX CONCURRENTLY ON {table} ({})", key.columns);
            add("bare-foreign-key", Severity::Low, format!("{table}.{}", key.name), message, fix);
        }
    }
    for table in &catalog.tables {
        let (name, rows) = (named(&table.schema, &table.name), table.rows.unwrap_or(0.0));
        let off = table.live.max(1.0) / rows.max(1.0);
        if table.size() >= SMALL_ROWS && (!table.analysed || off >= STALE_FACTOR) {
            let known =
                if table.analysed { format!("statistics say {rows:.0}") } else { "it was never analysed".into() };
            let message = format!("{name} has {:.0} rows and {known}: its plans are guesses", table.live);
            add(
                "stale-statistics",
                Severity::Low,
                name.clone(),
                message,
                format!("ANALYZE {name}; see to it that autovacuum runs"),
            );
        }
        let scans = table.seq_scans + table.index_scans;
        if table.size() >= LARGE_ROWS && scans >= 100 && (table.index_scans as f64) < scans as f64 * 0.95 {
            let message = format!("{name} was read whole in {} of {scans} scans", table.seq_scans);
            add("seldom-by-index", Severity::Info, name, message, "see the statements above".into());
        }
    }
    out
}

fn size(bytes: u64) -> String {
    if bytes >= 1 << 20 { format!("{} MiB", bytes >> 20) } else { format!("{} KiB", bytes >> 10) }
}

/// Statements and tables that are kept as evidence.
const ROWS_KEPT: usize = 100;
/// Plans that are kept whole.
const PLANS_KEPT: usize = 10;

fn evidence(seen: &Seen, config: &Config) -> serde_json::Value {
    let statements: Vec<_> = seen
        .looked
        .iter()
        .take(ROWS_KEPT)
        .map(|l| {
            let s = &l.statement;
            json!({
                "id": s.id, "statement": statements::shown(&s.text), "calls": s.calls, "mean_ms": s.mean_ms(),
                "share": l.share, "slow": config.is_slow(l), "cost": l.cost, "gains": l.gains, "scans": l.scans,
                "small": l.small, "unplanned": l.unplanned,
            })
        })
        .collect();
    let plans: Vec<_> = seen
        .looked
        .iter()
        .flat_map(|l| &l.gains)
        .take(PLANS_KEPT)
        .map(|gain| json!({ "index": gain.index.sql(), "before": gain.plan_before, "after": gain.plan_after }))
        .collect();
    json!({
        "database": seen.place, "hypopg": seen.hypopg, "calls": seen.traffic.calls(), "total_ms": seen.traffic.total_ms(),
        "other_calls": seen.traffic.other_calls, "hidden_calls": seen.traffic.hidden_calls,
        "counted_days": seen.catalog.counted_days, "statements": statements, "plans": plans,
        "tables": seen.catalog.tables.iter().take(ROWS_KEPT).collect::<Vec<_>>(),
        "indexes": seen.catalog.indexes.len(), "sent": seen.sent,
    })
}
