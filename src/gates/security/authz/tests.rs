//! Tests of the verdict, of the matrix as a file, and of what too few actors mean.

use super::*;
use crate::gates::testing;

fn scan(cells: &[(&str, &[(&str, Cell)])], objects: Vec<Object>) -> Scan {
    let row = |by: &[(&str, Cell)]| by.iter().map(|(role, cell)| (role.to_string(), *cell)).collect();
    Scan {
        cells: cells.iter().map(|(route, by)| (route.to_string(), row(by))).collect(),
        objects,
        roles: vec!["admin".into(), "user".into()],
        ..Scan::default()
    }
}

fn object(status: u16, read: bool) -> Object {
    let operation = "GET /orders/{id}".to_string();
    Object {
        operation,
        place: Some(("app.js".into(), 9)),
        owner: "ann".into(),
        other: "bob".into(),
        status,
        read,
        listed: false,
        telling: true,
    }
}

const CELLS: &[(&str, &[(&str, Cell)])] = &[
    ("GET /orders", &[("admin", Cell::Allowed), ("user", Cell::Allowed)]),
    ("GET /reports", &[("admin", Cell::Allowed), ("user", Cell::Denied)]),
];

fn agreed() -> Matrix {
    Matrix::parse("[user]\nallow = [\"GET /orders\"]\ndeny = [\"GET /reports\"]\n[admin]\nallow = [\"GET /orders/\", \"GET /reports\"]\n")
        .unwrap()
}

#[test]
fn the_agreed_matrix_and_foreign_objects_decide() {
    let config = Config::default();
    let says = |matrix: Option<&Matrix>, scan: Scan| {
        let outcome = judge::judge(&config, matrix, scan, Some("/x/authz.toml"));
        let mut rules: Vec<String> = outcome.findings.iter().map(|f| f.rule.clone()).collect();
        rules.dedup();
        (outcome.verdict, rules.join(" "))
    };
    let matrix = agreed();
    assert_eq!(says(Some(&matrix), scan(CELLS, vec![object(404, false)])), (Verdict::Pass, String::new()));
    assert_eq!(says(None, scan(CELLS, vec![object(404, false)])), (Verdict::Warn, String::new()));
    assert_eq!(says(Some(&matrix), scan(CELLS, vec![object(200, true)])), (Verdict::Fail, "foreign-object".into()));
    // A list that both see says whose it is: what stands behind it decides.
    let listed = |telling| Object { listed: true, telling, ..object(200, true) };
    assert_eq!(says(Some(&matrix), scan(CELLS, vec![listed(true)])), (Verdict::Fail, "foreign-object".into()));
    assert_eq!(says(Some(&matrix), scan(CELLS, vec![listed(false)])), (Verdict::Warn, "foreign-object".into()));
    let beyond: &[(&str, &[(&str, Cell)])] = &[("GET /reports", &[("admin", Cell::Allowed), ("user", Cell::Allowed)])];
    assert_eq!(says(Some(&matrix), scan(beyond, vec![])), (Verdict::Fail, "role-exceeds".into()));
    let lost: &[(&str, &[(&str, Cell)])] = &[("GET /orders", &[("admin", Cell::Allowed), ("user", Cell::Denied)])];
    assert_eq!(says(Some(&matrix), scan(lost, vec![])), (Verdict::Fail, "role-lacks".into()));
    let fresh: &[(&str, &[(&str, Cell)])] = &[("GET /new", &[("admin", Cell::Allowed), ("user", Cell::Allowed)])];
    assert_eq!(says(Some(&matrix), scan(fresh, vec![])), (Verdict::Warn, "undecided".into()));
    let named: &[(&str, &[(&str, Cell)])] =
        &[("GET /admin/users", &[("admin", Cell::Allowed), ("user", Cell::Allowed)])];
    assert_eq!(says(None, scan(named, vec![])), (Verdict::Fail, "role-exceeds".into()));
    let unknown: &[(&str, &[(&str, Cell)])] = &[("GET /x", &[("admin", Cell::Unknown), ("user", Cell::Unknown)])];
    assert_eq!(says(Some(&matrix), scan(unknown, vec![])).0, Verdict::Error);
    let without = Scan { unproven: vec!["GET /a/{id}".into()], ..scan(CELLS, vec![]) };
    assert_eq!(says(Some(&matrix), without).0, Verdict::Warn);
}

#[test]
fn what_was_observed_can_be_committed_and_read_back() {
    let text = matrix::observed(&scan(CELLS, vec![]).cells);
    let matrix = Matrix::parse(&text).unwrap();
    for (role, route, expect) in [
        ("user", "GET /orders", Some(true)),
        ("user", "ANY /orders", Some(true)),
        ("user", "GET /reports", Some(false)),
        ("admin", "GET /reports/", Some(true)),
        ("admin", "GET /other", None),
        ("guest", "GET /orders", None),
    ] {
        assert_eq!(matrix.says(role, route), expect, "{role} {route}");
    }
    let wrong = |text: &str| Matrix::parse(text).unwrap_err();
    assert!(wrong("[user]\nallow = [\"orders\"]").contains("is no route"));
    assert!(wrong("[user]\nallow = [\"GET /a/{x}\"]\ndeny = [\"GET /a/{y}\"]").contains("both allows and denies"));
    assert!(wrong("[user]\nallows = []").contains("unknown field"));
}

#[tokio::test]
async fn too_few_actors_are_an_error_and_no_skip() {
    let actor = |name: &str, role: &str| crate::gates::actors::Actor {
        name: name.into(),
        role: role.into(),
        ..Default::default()
    };
    for (actors, part) in [
        (vec![], "0 actors"),
        (vec![actor("a", "user"), actor("b", "user")], "one role"),
        (vec![actor("a", "user"), actor("b", "admin")], "share a role"),
    ] {
        let (_dir, ctx) = testing::context(|ctx| {
            let url = "http://127.0.0.1:9/".parse().unwrap();
            ctx.target =
                Some(crate::net::safety::Target { name: "s".into(), url, ops_url: None, active: true, load: false });
            let config = crate::gates::Config { actor: actors, ..Default::default() };
            ctx.config = std::sync::Arc::new(config);
        });
        let outcome = Authz.check(&ctx).await;
        assert_eq!(outcome.reason.as_deref(), Some("no-credentials"));
        assert!(outcome.summary.contains(part), "{}", outcome.summary);
    }
}

proptest::proptest! {
    #[test]
    fn no_matrix_stops_it(text in "[\\[\\]a-z=\",{}/ \n]{0,80}") {
        let _ = Matrix::parse(&text);
    }
}
