//! Verdicts from answers, and what counts as a field that should not be there.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::fields::{list, look, undocumented};
use super::graphql::{Limit, Probed};
use super::judge::{Seen, judge};
use super::look::{Kind, Route};
use super::*;
use crate::domain::verdict::{Outcome, Severity, Verdict};

fn route(name: &str) -> Route {
    Route { name: name.into(), status: 200, kind: Kind::Json, bytes: 300, ..Route::default() }
}

fn said(routes: Vec<Route>) -> Outcome {
    judge(&Seen { routes, graphql: None, role: Some("user".into()), production: false }, &Config::default())
}

fn rules(outcome: &Outcome) -> Vec<&str> {
    outcome.findings.iter().map(|f| f.rule.as_str()).collect()
}

#[test]
fn secrets_are_known_by_name_and_by_shape_and_what_is_none_is_left_alone() {
    let bad = json!({
        "users": [{ "passwordHash": "abc", "x": "$2y$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy" }],
        "a": { "b": "pbkdf2_sha256$600000$salt$hash=" }, "c": "scrypt:32768:8:1$salt$00ff", "d": "{SSHA}MTIzNDU2Nzg5MDEyMzQ1Ng==",
        "card_number": "4111 1111 1111 1111", "reset_token": "q", "e": "-----BEGIN RSA PRIVATE KEY-----",
    });
    let found = look(&bad).leaks;
    let paths: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(paths, ["a.b", "c", "card_number", "d", "e", "reset_token", "users[].passwordHash", "users[].x"]);
    let good = json!({
        "password": null, "hasPassword": true, "secret": "********", "token": "short", "csrf_token": "b0b5c3a1e2d4f6a8b0b5c3a1",
        "nextPageToken": "b0b5c3a1e2d4f6a8b0b5c3a1", "hash": "9f86d081884c7d659a2feaa0c55ad015", "commit": "9f86d08", "card": "gold",
        "publicKey": "pk_live_0123456789", "pan": "", "email": "me@example.com", "otp": false, "passwordPolicy": "long",
        "properties": { "password": { "type": "string" } }, "salt_content": "0.3 g", "pan_size": "28 cm",
    });
    assert_eq!(look(&good).leaks, BTreeMap::new());
    let token = look(&json!({ "token": "b0b5c3a1e2d4f6a8b0b5c3a1" })).leaks;
    assert_eq!(token["token"].severity, Severity::Medium);
    assert_eq!(look(&json!([{ "email": "a@x.org" }, { "email": "b@x.org" }])).emails, 2);
    assert_eq!(look(&json!({ "email": "a@x.org" })).emails, 0, "one's own");
}

#[test]
fn lists_are_found_where_apis_put_them() {
    assert_eq!(list(&json!([1, 2])), Some(("[]".into(), 2)));
    assert_eq!(list(&json!({ "total": 9, "items": [{}, {}, {}], "tags": ["a"] })), Some(("items[]".into(), 3)));
    assert_eq!(list(&json!({ "data": { "teas": [1] } })), Some(("data.teas[]".into(), 1)));
    assert_eq!(list(&json!({ "name": "tea" })), None);
}

#[test]
fn what_the_document_does_not_know_is_told_and_open_schemas_know_everything() {
    let schema =
        json!({ "type": "array", "items": { "properties": { "id": {}, "maker": { "properties": { "name": {} } } } } });
    let answer = json!([{ "id": 1, "maker": { "name": "a", "margin": 3 } }, { "id": 2, "cost": 3 }]);
    assert_eq!(undocumented(&answer, &schema), ["[].cost", "[].maker.margin"]);
    let open = json!({ "properties": { "id": {} }, "additionalProperties": true });
    assert!(undocumented(&json!({ "cost": 1 }), &open).is_empty());
    assert!(undocumented(&json!({ "cost": 1 }), &json!({ "oneOf": [{}] })).is_empty());
    assert!(undocumented(&json!({ "cost": 1 }), &serde_json::Value::Null).is_empty());
}

#[test]
fn each_verdict_has_its_reason() {
    let good = said(vec![route("GET /a"), route("GET /b")]);
    assert_eq!((good.verdict, good.covered, good.known), (Verdict::Pass, Some(2), Some(2)));
    let listed = |items, limited, bytes| {
        said(vec![Route { list: Some(("[]".into(), items)), limited, bytes, compressed: true, ..route("GET /a") }])
    };
    assert_eq!(rules(&listed(101, Some(101), 2000)), ["unbounded-list"]);
    assert_eq!(rules(&listed(101, None, 2000)), ["unbounded-list"]);
    assert_eq!(
        (listed(101, Some(1), 2000).verdict, rules(&listed(101, Some(1), 2000))),
        (Verdict::Warn, vec!["large-page"])
    );
    assert_eq!(listed(100, None, 2000).verdict, Verdict::Pass);
    assert_eq!(rules(&listed(20, Some(20), 600 * 1024)), ["unbounded-list"]);
    assert_eq!(rules(&listed(20, Some(1), 600 * 1024)), ["oversize"]);
    assert_eq!(rules(&said(vec![Route { bytes: 2000, ..route("GET /a") }])), ["no-compression"]);
    let closed = Route { status: 403, kind: Kind::Unread, ..route("GET /a") };
    assert_eq!(said(vec![closed.clone()]).reason.as_deref(), Some("no-answers"));
    assert_eq!(said(Vec::new()).reason.as_deref(), Some("no-answers"));
    let page = Route { kind: Kind::Other, ..route("GET /") };
    assert_eq!(said(vec![page.clone()]).reason.as_deref(), Some("no-api"));
    let mixed = said(vec![page, closed, route("GET /b")]);
    assert_eq!((mixed.covered, mixed.known), (Some(1), Some(2)), "pages are no part of an API");
}

#[test]
fn graphql_and_emails_are_weighed() {
    let probed = |depth, aliases| Probed { path: "/graphql".into(), introspection: true, depth, aliases };
    let with = |graphql, production| {
        judge(&Seen { routes: Vec::new(), graphql: Some(graphql), role: None, production }, &Config::default())
    };
    assert_eq!(with(probed(Limit::None, Limit::None), false).verdict, Verdict::Fail);
    assert_eq!(with(probed(Limit::Refused, Limit::Refused), false).verdict, Verdict::Pass);
    assert_eq!(with(probed(Limit::BySchema, Limit::None), false).verdict, Verdict::Warn);
    assert_eq!(
        with(probed(Limit::Refused, Limit::Refused), true).verdict,
        Verdict::Warn,
        "introspection in production"
    );
    let emails = |role: Option<&str>| {
        let routes = vec![Route { emails: 3, ..route("GET /users") }];
        judge(&Seen { routes, graphql: None, role: role.map(Into::into), production: false }, &Config::default())
            .verdict
    };
    assert_eq!(
        (emails(None), emails(Some("user")), emails(Some("admin"))),
        (Verdict::Fail, Verdict::Warn, Verdict::Pass)
    );
}

#[test]
fn settings_out_of_range_are_told_and_allowed_fields_are_not() {
    assert!(Config::default().validate().is_empty());
    let allow =
        vec![Allow { field: "token".into(), reason: "public".into() }, Allow { field: "x".into(), reason: " ".into() }];
    let config = Config { max_kb: 0, max_items: 0, max_routes: 0, allow };
    assert_eq!(config.validate().len(), 4);
    assert!(config.allows("items[].token") && config.allows("token") && !config.allows("items[].secret"));
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|b| json!(b)),
        any::<i64>().prop_map(|n| json!(n)),
        ".{0,20}".prop_map(|s| json!(s)),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
            prop::collection::hash_map("[a-zA-Z_]{1,12}", inner, 0..6).prop_map(|m| json!(m)),
        ]
    })
}

proptest! {
    #[test]
    fn any_answer_can_be_looked_at_and_no_value_is_kept(answer in any_json(), secret in "[a-z]{24}") {
        let wrapped = json!({ "password": secret, "rest": answer });
        let found = look(&wrapped);
        prop_assert!(found.leaks.contains_key("password"));
        let told = format!("{found:?}{:?}{:?}", undocumented(&wrapped, &json!({ "properties": { "id": {} } })), list(&wrapped));
        prop_assert!(!told.contains(&secret));
    }
}
