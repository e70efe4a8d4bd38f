//! The verdict for everything that can have been seen; `tests/database.rs` looks at a real server.

use serde_json::Value as Json;

use super::look::{Gain, Looked, Scan, Seen};
use super::*;
use crate::domain::verdict::Verdict;
use crate::gates::database::Place;
use crate::gates::database::catalog::{BareKey, Catalog, Index, Table};
use crate::gates::database::plans::Proposal;
use crate::gates::database::statements::{Statement, Traffic};

fn looked(text: &str, calls: u64, total_ms: f64) -> Looked {
    let statement = Statement { id: text.into(), text: text.into(), calls, total_ms };
    Looked {
        statement,
        share: total_ms / 10_000.0,
        cost: Some(8.4),
        unplanned: None,
        gains: vec![],
        scans: vec![],
        small: vec![],
        largest: 50_000.0,
    }
}

fn gain(column: &str) -> Gain {
    let index = Proposal { schema: "public".into(), table: "orders".into(), columns: vec![column.into()] };
    Gain { index, before: 1234.0, after: 8.0, plan_before: Json::Null, plan_after: Json::Null }
}

fn table(name: &str, rows: f64) -> Table {
    Table {
        schema: "public".into(),
        name: name.into(),
        rows: Some(rows),
        live: rows,
        seq_scans: 0,
        index_scans: 0,
        analysed: true,
    }
}

fn index(name: &str, columns: &str) -> Index {
    Index {
        schema: "public".into(),
        table: "orders".into(),
        name: name.into(),
        valid: true,
        building: false,
        constraint: false,
        scans: 1000,
        bytes: 20 << 20,
        method: "btree".into(),
        columns: columns.into(),
        expressions: String::new(),
        condition: String::new(),
    }
}

fn seen(looked: Vec<Looked>) -> Seen {
    let statements = looked.iter().map(|l| l.statement.clone()).collect();
    Seen {
        place: Place { host: "127.0.0.1:5432".into(), database: "shop".into(), version: 150_013 },
        traffic: Traffic { statements, hidden_calls: 0, other_calls: 0 },
        catalog: Catalog { tables: vec![table("orders", 50_000.0)], counted_days: 8.0, ..Catalog::default() },
        hypopg: true,
        looked,
        sent: 12,
    }
}

fn good() -> Seen {
    seen(vec![looked("select * from orders where id = $1", 5000, 9000.0), looked("insert into orders", 900, 100.0)])
}

/// Verdict, reason, and the rules above a note.
fn said(seen: &Seen) -> (Verdict, Option<String>, Vec<String>) {
    let outcome = judge(seen, &Config::default());
    let rules = outcome.findings.iter().filter(|f| f.severity > Severity::Info).map(|f| f.rule.clone()).collect();
    (outcome.verdict, outcome.reason, rules)
}

#[test]
fn passes_when_nothing_is_missing() {
    let outcome = judge(&good(), &Config::default());
    assert_eq!((outcome.verdict, outcome.covered, outcome.known), (Verdict::Pass, Some(2), Some(2)));
    assert_eq!(outcome.summary, "2 of 2 statements planned in shop on 127.0.0.1:5432: no index is missing");
}

#[test]
fn a_proven_gain_fails_where_it_costs() {
    let mut slow = good();
    slow.looked[0].gains.push(gain("customer_id"));
    let outcome = judge(&slow, &Config::default());
    assert_eq!(outcome.verdict, Verdict::Fail);
    assert_eq!(
        outcome.hint.unwrap(),
        "CREATE INDEX CONCURRENTLY ON orders (customer_id); cost 1234 -> 8 for \"select * from orders where id = $1\" \
         (90 % of the database's time)"
    );
    let mut lesser = good();
    lesser.looked[1].gains.push(gain("customer_id"));
    assert_eq!(said(&lesser), (Verdict::Warn, None, vec!["missing-index".into()]));
}

#[test]
fn what_is_not_proven_warns() {
    let scan = Scan { table: "orders".into(), rows: 50_000.0, kept: 3.0, filter: Some("(lower(email) = $1)".into()) };
    let mut unproven = good();
    unproven.looked[0].scans.push(scan.clone());
    assert_eq!(said(&unproven), (Verdict::Warn, None, vec!["whole-table".into()]));
    let mut rare = good();
    rare.looked[1].scans.push(scan);
    assert_eq!(said(&rare), (Verdict::Pass, None, vec![]));
    let mut unplanned = good();
    unplanned.looked[0].unplanned = Some("permission denied for table orders (42501)".into());
    assert_eq!(said(&unplanned), (Verdict::Warn, None, vec!["unplanned".into()]));
}

#[test]
fn what_is_too_small_proves_nothing() {
    let mut tiny = good();
    tiny.looked.iter_mut().for_each(|l| l.largest = 40.0);
    let outcome = judge(&tiny, &Config::default());
    assert_eq!(outcome.verdict, Verdict::Warn);
    assert!(outcome.hint.unwrap().starts_with("load production-like volume"));
    let mut half = good();
    half.looked[1].small.push("orders".into());
    let outcome = judge(&half, &Config::default());
    assert_eq!((outcome.verdict, outcome.covered, outcome.known), (Verdict::Warn, Some(1), Some(2)));
}

#[test]
fn what_cannot_be_seen_is_an_error() {
    let few = seen(vec![looked("select * from orders where id = $1", 999, 9000.0)]);
    assert_eq!(said(&few), (Verdict::Error, Some("too-little-traffic".into()), vec![]));
    let mut hidden = good();
    hidden.traffic.hidden_calls = 1000;
    assert_eq!(said(&hidden), (Verdict::Error, Some("no-privilege".into()), vec![]));
    let mut none = good();
    none.looked.clear();
    assert_eq!(said(&none), (Verdict::Error, Some("nothing-to-inspect".into()), vec![]));
    // What was found stays found.
    none.catalog.indexes = vec![Index { valid: false, ..index("broken", "2:1:0:0") }];
    assert_eq!(said(&none), (Verdict::Fail, None, vec!["invalid-index".into()]));
}

#[test]
fn the_catalog() {
    let of = |change: fn(&mut Catalog)| {
        let mut seen = good();
        change(&mut seen.catalog);
        said(&seen)
    };
    let warns = |rule: &str| (Verdict::Warn, None, vec![rule.to_string()]);
    assert_eq!(of(|c| c.indexes = vec![index("a", "2:1:0:0"), index("b", "2:1:0:0")]), warns("needless-index"));
    assert_eq!(of(|c| c.indexes = vec![Index { scans: 3, ..index("a", "2:1:0:0") }]), warns("unused-index"));
    let young = |c: &mut Catalog| {
        c.indexes = vec![Index { scans: 3, ..index("a", "2:1:0:0") }];
        c.counted_days = 1.0;
    };
    assert_eq!(of(young).0, Verdict::Pass);
    let key = || BareKey {
        schema: "public".into(),
        table: "orders".into(),
        name: "orders_customer_fkey".into(),
        columns: "customer_id".into(),
        target: "customers".into(),
    };
    let mut bare = good();
    bare.catalog.bare_keys = vec![key()];
    assert_eq!(said(&bare), warns("bare-foreign-key"));
    bare.catalog.tables = vec![table("orders", 9_000.0)];
    assert_eq!(said(&bare).0, Verdict::Pass, "a small table is quickly read");
    let stale = |c: &mut Catalog| c.tables[0] = Table { rows: Some(10.0), live: 5_000.0, ..table("orders", 0.0) };
    assert_eq!(of(stale), warns("stale-statistics"));
    let never = |c: &mut Catalog| c.tables[0] = Table { rows: None, analysed: false, ..table("orders", 5_000.0) };
    assert_eq!(of(never), warns("stale-statistics"));
}

#[test]
fn evidence_and_configuration() {
    let outcome = judge(&good(), &Config::default());
    let content = &outcome.evidence[0].content;
    assert_eq!((&content["database"]["database"], &content["calls"]), (&"shop".into(), &5900.into()));
    assert!(Config::default().validate().is_ok());
    let wrong = Config { statements: 0, slow_share: 2.0, slow_mean_ms: 0.0, ..Config::default() };
    assert_eq!(wrong.validate().unwrap_err().len(), 3);
}
