//! Tests of the inventory: every kind of source at once, over a server on loopback.

use serde_json::json;

use super::*;
use crate::gates::testing;
use crate::net::tests_support::{Served, serve};

fn html(body: &str) -> Served {
    Served::with(200, &[("content-type", "text/html")], body.as_bytes())
}

/// `METHOD template [sources] params`
fn told(inventory: &Inventory) -> Vec<String> {
    let sources = |o: &Operation| {
        let words = o.sources.iter().map(|s| serde_json::to_value(s).unwrap().as_str().unwrap().to_string());
        words.collect::<Vec<_>>().join("+")
    };
    let params = |o: &Operation| o.params.iter().map(|p| p.name.clone()).collect::<Vec<_>>().join(",");
    inventory.operations.iter().map(|o| format!("{} {} ({})", o.name(), sources(o), params(o))).collect()
}

#[tokio::test]
async fn everything_that_tells_of_a_route_is_laid_over_the_others() {
    let document = json!({
        "openapi": "3.0.3", "security": [{ "bearer": [] }], "components": {
            "securitySchemes": { "bearer": { "type": "http" } },
            "parameters": { "Tea": { "name": "id", "in": "path", "required": true, "schema": { "type": "integer", "minimum": 7 } } },
            "schemas": { "Tea": { "type": "object", "properties": { "like": { "$ref": "#/components/schemas/Tea" }, "name": { "type": "string" } } } },
        },
        "paths": {
            "/teas/{id}": { "parameters": [{ "$ref": "#/components/parameters/Tea" }], "get": { "responses": { "200": {
                "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Tea" } } } } } } },
            "/login": { "post": { "security": [], "requestBody": { "content": { "application/json": {
                "schema": { "type": "object", "required": ["user"], "properties": { "user": { "type": "string" } } } } } } } },
        },
    });
    let document = document.to_string();
    let server = serve(move |request| {
        let path = request.split(' ').nth(1).unwrap_or_default().to_string();
        match path.split('?').next().unwrap_or_default() {
            "/openapi.json" => Served::with(200, &[("content-type", "application/json")], document.as_bytes()),
            "/" => html(
                "<a href='/teas/7'>7</a><a href=/teas/8>8</a><a href='/logout'>x</a><a href='https://else.invalid/'>e</a>\
                 <form action=/find><input name=q></form>",
            ),
            "/teas/7" => html("<a href='/basket?step=1'>b</a>"),
            "/basket" | "/teas/8" => html("hi"),
            "/logout" => panic!("{request}"),
            _ => Served::with(404, &[], b"no"),
        }
    })
    .await;
    let app = "const app = require('express')();\napp.get('/teas/:tea', h);\napp.delete('/teas/:tea', h);\n";
    let (_files, repo) = testing::repo(&[
        ("package.json", "{\"dependencies\": {\"express\": \"4\"}}"),
        ("app.js", app),
        ("log/access.log", "h - - [x] \"GET /reports?year=2026 HTTP/1.1\" 200 1\n"),
    ]);
    let url = server.url("/").parse().unwrap();
    let (_dir, ctx) = testing::context(|ctx| {
        ctx.facts = Arc::new(crate::gates::facts::Facts::look(&repo));
        ctx.repo = Some(repo);
        ctx.target = Some(Target { name: "staging".into(), url, ops_url: None, active: true, load: false });
        let mut config = crate::gates::Config::default();
        config.routes.access_log = vec!["log/access.log".into(), "log/none.log".into()];
        ctx.config = Arc::new(config);
    });
    let inventory = ctx.inventory().await;
    assert_eq!(
        told(&inventory),
        [
            "GET / crawl ()",
            "GET /basket crawl (step)",
            "GET /find crawl (q)",
            "POST /login open-api ()",
            "GET /reports access-log (year)",
            "DELETE /teas/{tea} code (tea)",
            "GET /teas/{id} open-api+code+crawl (id)",
        ]
    );
    let tea = inventory.find("GET", "/teas/{id}").unwrap();
    assert_eq!((tea.guarded, tea.seen.len()), (Some(true), 2));
    assert_eq!(tea.place, Some(("app.js".into(), 2)), "where the mend goes");
    assert_eq!(values::path(tea, |_| None), "/teas/7");
    assert!(tea.answer.as_ref().unwrap()["properties"]["like"]["properties"]["name"].is_object(), "refs are followed");
    let login = inventory.find("POST", "/login").unwrap();
    assert_eq!(login.guarded, Some(false));
    assert_eq!(values::body(login.body.as_ref().unwrap()), json!({ "user": "hc-probe" }));
    assert!(inventory.unread.iter().any(|u| u.starts_with("log/none.log: ")), "{:?}", inventory.unread);
    let ledger = std::fs::read_to_string(ctx.guard.run_dir.join("requests.ndjson")).unwrap();
    assert!(ledger.lines().all(|l| l.contains("\"gate\":\"inventory\"") && l.contains("\"method\":\"GET\"")));
}

#[tokio::test]
async fn graphql_describes_itself_or_refuses() {
    let open = serve(|request| match request.starts_with("GET /graphql?query=") {
        true => Served::with(200, &[], json!({ "data": { "__schema": { "queryType": { "name": "Query" }, "types": [
            { "name": "Query", "fields": [{ "name": "teas", "args": [{ "name": "first", "type": { "kind": "NON_NULL", "name": null,
                "ofType": { "kind": "SCALAR", "name": "Int", "ofType": null } } }],
                "type": { "kind": "LIST", "name": null, "ofType": { "kind": "OBJECT", "name": "Tea", "ofType": null } } }] },
        ]}}}).to_string().as_bytes()),
        false => Served::with(404, &[], b""),
    })
    .await;
    let target =
        |url: String| Target { name: "s".into(), url: url.parse().unwrap(), ops_url: None, active: true, load: false };
    let (_dir, ctx) = testing::context(|ctx| ctx.target = Some(target(open.url("/"))));
    let found = ctx.inventory().await.graphql.clone().unwrap();
    let teas = Field {
        name: "teas".into(),
        args: vec![("first".into(), "Int".into(), true)],
        gives: "Tea".into(),
        list: true,
    };
    assert_eq!((found.path.as_str(), found.introspection, found.queries), ("/graphql", true, vec![teas]));

    let shut =
        serve(|_| Served::with(400, &[], b"{\"errors\": [{\"message\": \"GraphQL introspection is not allowed\"}]}"))
            .await;
    let (_dir, ctx) = testing::context(|ctx| ctx.target = Some(target(shut.url("/"))));
    assert!(!ctx.inventory().await.graphql.clone().unwrap().introspection);
}

#[test]
fn swagger_2_and_bases() {
    let document = json!({ "swagger": "2.0", "basePath": "/v1", "paths": { "/u/{id}": { "post": { "parameters": [
        { "name": "id", "in": "path", "type": "integer", "required": true },
        { "name": "nick", "in": "formData", "type": "string", "required": true },
    ]}}}});
    let operations = openapi::read(&document);
    let one = &operations[0];
    assert_eq!((one.name().as_str(), one.params[0].schema["type"].as_str()), ("POST /v1/u/{id}", Some("integer")));
    let body = one.body.as_ref().unwrap();
    assert_eq!(
        (body.media.as_str(), values::body(body)),
        ("application/x-www-form-urlencoded", json!({ "nick": "hc-probe" }))
    );
    for (document, expect) in [
        (json!({"servers": [{"url": "https://x.example/v1/"}]}), "/v1"),
        (json!({"servers": [{"url": "/v2"}]}), "/v2"),
        (json!({"servers": [{"url": "https://{host}/{v}"}]}), ""),
        (json!({"basePath": "/v3"}), "/v3"),
        (json!({}), ""),
    ] {
        assert_eq!(openapi::base(&document), expect, "{document}");
    }
}

#[test]
fn wildcards_cover_what_is_below() {
    let patterns = ["/docs/*".to_string(), "/about".into()];
    for (path, expect) in
        [("/docs", true), ("/docs/a/b", true), ("/doc", false), ("/about", true), ("/about/us", false)]
    {
        assert_eq!(covers(&patterns, path), expect, "{path}");
    }
}

proptest::proptest! {
    #[test]
    fn no_document_stops_the_reader(text in "[{}\\[\\]\":,$#/a-z0-9]{0,80}", name in "\\PC{0,10}") {
        if let Some(document) = openapi::parse(&text, true) {
            openapi::read(&document);
        }
        // A schema that is made of itself, twice at every step.
        let document = json!({ "openapi": "3.1.0", "paths": { format!("/{name}"): { "post": { "requestBody": { "content": {
            "application/json": { "schema": { "$ref": "#/components/schemas/A" } } } } } } },
            "components": { "schemas": { "A": { "properties": { "a": { "$ref": "#/components/schemas/A" }, "b": { "$ref": "#/components/schemas/A" } } } } } });
        for operation in openapi::read(&document) {
            values::body(operation.body.as_ref().unwrap());
        }
    }
}
