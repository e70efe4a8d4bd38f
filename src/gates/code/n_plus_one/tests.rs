//! The verdict for everything that can have been counted; `tests/database.rs` asks a real application.

use super::*;
use crate::domain::verdict::Verdict;
use crate::gates::database::Place;
use crate::gates::testing::facts;

const TEXT: &str = "select c.name from customers c where c.id = ?";

fn list(size_param: Option<&str>, items: (usize, usize), calls: (f64, f64)) -> Measured {
    Measured {
        route: "GET /orders".into(),
        is_graphql: false,
        place: Some(("app.py".into(), 41)),
        size_param: size_param.map(str::to_string),
        items_few: items.0,
        items_many: items.1,
        statements: vec![Counted { text: TEXT.into(), few: calls.0, many: calls.1 }],
        calls_total: (calls.0 + calls.1) * 6.0,
    }
}

fn seen(measured: Vec<Measured>) -> Seen {
    Seen {
        place: Place { host: "127.0.0.1:5432".into(), database: "shop".into(), version: 150_013 },
        asked: measured.len() + 1,
        measured,
        refused: vec![],
        failed: vec![],
        left_out: 0,
        idle_calls_per_s: 0.0,
        window_s: 2.0,
    }
}

fn said(seen: &Seen) -> (Verdict, Option<String>) {
    let outcome = judge(seen, &Config::default(), &Facts::default());
    assert!(outcome.verdict != Verdict::Pass || outcome.covered.unwrap() > 0);
    (outcome.verdict, outcome.reason)
}

#[test]
fn growth_is_the_defect() {
    let outcome = judge(
        &seen(vec![list(Some("limit"), (2, 20), (2.0, 20.0))]),
        &Config::default(),
        &facts(&[("orm", "sqlalchemy")]),
    );
    assert_eq!(outcome.verdict, Verdict::Fail);
    assert_eq!(
        outcome.hint.unwrap(),
        format!(
            "GET /orders runs \"{TEXT}\" 20x for 20 items and 2x for 2. load it in one query (selectinload or joinedload) near app.py:41"
        )
    );
    // Every second item costs one: half of them are in a cache.
    assert_eq!(said(&seen(vec![list(Some("limit"), (2, 20), (1.0, 10.0))])).0, Verdict::Fail);
    assert_eq!(said(&seen(vec![list(Some("limit"), (2, 20), (1.0, 9.0))])).0, Verdict::Pass);
    assert_eq!(said(&seen(vec![list(Some("limit"), (2, 20), (12.0, 12.0))])).0, Verdict::Pass, "a constant page");
}

#[test]
fn without_a_size_the_count_must_be_the_items() {
    assert_eq!(said(&seen(vec![list(None, (20, 20), (20.0, 20.0))])).0, Verdict::Fail);
    assert_eq!(said(&seen(vec![list(None, (20, 20), (21.0, 21.0))])).0, Verdict::Fail);
    assert_eq!(said(&seen(vec![list(None, (20, 20), (12.0, 12.0))])).0, Verdict::Pass);
    assert_eq!(said(&seen(vec![list(None, (7, 7), (7.0, 7.0))])).0, Verdict::Warn);
    assert_eq!(said(&seen(vec![list(None, (4, 4), (4.0, 4.0))])).0, Verdict::Pass);
}

#[test]
fn what_shows_nothing_is_an_error() {
    let error = |reason: &str| (Verdict::Error, Some(reason.to_string()));
    assert_eq!(said(&seen(vec![])), error("nothing-to-inspect"));
    assert_eq!(said(&seen(vec![list(None, (2, 2), (2.0, 2.0))])), error("nothing-to-inspect"));
    assert_eq!(said(&seen(vec![list(None, (20, 20), (0.0, 0.0))])), error("path-mismatch"));
    let mut noisy = seen(vec![list(Some("limit"), (2, 20), (1.0, 1.0))]);
    noisy.idle_calls_per_s = 10.0;
    assert_eq!(said(&noisy), error("noisy"));
    let mut closed = seen(vec![]);
    closed.refused = vec!["GET /orders".into()];
    assert_eq!(said(&closed), error("no-credentials"));
    let mut half = seen(vec![list(Some("limit"), (2, 20), (1.0, 1.0))]);
    half.refused = vec!["GET /carts".into()];
    assert_eq!(said(&half).0, Verdict::Warn);
}

#[test]
fn configuration() {
    assert!(Config::default().validate().is_ok());
    let wrong = Config { min_count: 1, routes: 0, idle: Span::secs(0), ..Config::default() };
    assert_eq!(wrong.validate().unwrap_err().len(), 3);
}
