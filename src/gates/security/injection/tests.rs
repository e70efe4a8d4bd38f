//! Tests of the gate on servers written for one defect each; real frameworks stand in `tests/security.rs`.

use std::sync::Arc;

use super::*;
use crate::domain::verdict::Verdict;
use crate::gates::testing;
use crate::net::safety::Target;
use crate::net::tests_support::{Served, serve};

/// What the gate says of a server whose document knows `GET /x?q=`.
async fn asked(x: impl Fn(&str) -> Served + Send + Sync + 'static, config: Config) -> Outcome {
    let document = r#"{"openapi": "3.0.3", "paths": {"/x": {"get": {"parameters": [{"name": "q", "in": "query", "example": "tea"}]}}}}"#;
    let server = serve(move |request| {
        let path = request.split(' ').nth(1).unwrap_or_default();
        match path.split_once('?') {
            Some(("/x", query)) => {
                let value =
                    url::form_urlencoded::parse(query.as_bytes()).find(|(n, _)| n == "q").map(|(_, v)| v.into_owned());
                x(&value.unwrap_or_default())
            }
            _ => Served::with(404, &[], b"no such page"),
        }
    })
    .await;
    let (_files, repo) = testing::repo(&[("openapi.json", document)]);
    let url = server.url("/").parse().unwrap();
    let (_dir, ctx) = testing::context(|ctx| {
        ctx.facts = Arc::new(crate::gates::facts::Facts::look(&repo));
        ctx.repo = Some(repo);
        ctx.target = Some(Target { name: "staging".into(), url, ops_url: None, active: true, load: false });
        let mut all = crate::gates::Config::default();
        all.security.injection = config;
        ctx.config = Arc::new(all);
    });
    Injection.check(&ctx).await
}

fn html(body: String) -> Served {
    Served::with(200, &[("content-type", "text/html")], body.as_bytes())
}

fn rules(outcome: &Outcome) -> Vec<&str> {
    outcome.findings.iter().map(|f| f.rule.as_str()).collect()
}

#[tokio::test]
async fn a_page_that_encodes_passes_and_one_that_does_not_fails() {
    let sound =
        asked(|q| html(format!("<p>{}</p>", q.replace('&', "&amp;").replace('<', "&lt;"))), Config::default()).await;
    assert_eq!((sound.verdict, sound.covered), (Verdict::Pass, Some(1)), "{sound:#?}");
    let careless = asked(|q| html(format!("<p>{q}</p>")), Config::default()).await;
    assert_eq!((careless.verdict, rules(&careless)), (Verdict::Fail, vec!["reflected-xss"]));
    assert!(careless.findings[0].fix.contains("curl -i 'http://127.0.0.1:"), "{}", careless.findings[0].fix);
}

#[tokio::test]
async fn a_header_of_ones_own_is_header_injection() {
    // No framework at hand lets a line break into a header any more; this one is written by hand.
    let outcome = asked(
        |q| match q.split_once("\r\n") {
            Some((_, line)) => Served::with(200, &[("x-tea", "a"), line.split_once(": ").unwrap()], b"fine"),
            None => Served::with(200, &[], b"fine"),
        },
        Config::default(),
    )
    .await;
    assert_eq!((outcome.verdict, rules(&outcome)), (Verdict::Fail, vec!["header-injection"]), "{outcome:#?}");
}

#[tokio::test]
async fn one_sign_alone_warns() {
    let outcome = asked(
        |q| match q.matches('\'').count() % 2 {
            1 => Served::with(500, &[], b"something went wrong"),
            _ => Served::with(200, &[], b"fine"),
        },
        Config::default(),
    )
    .await;
    assert_eq!((outcome.verdict, rules(&outcome)), (Verdict::Warn, vec!["sql-injection"]), "{outcome:#?}");
}

#[tokio::test]
async fn a_route_that_refuses_valid_requests_is_not_probed() {
    for status in [401, 500] {
        let outcome = asked(move |_| Served::with(status, &[], b"no"), Config::default()).await;
        assert_eq!(outcome.reason.as_deref(), Some("nothing-to-inspect"), "{outcome:#?}");
    }
}

#[tokio::test]
async fn no_parameters_is_a_skip_and_no_routes_an_error() {
    let context = |files: &[(&str, &str)]| {
        let (files, repo) = testing::repo(files);
        let (dir, ctx) = testing::context(|ctx| {
            ctx.facts = Arc::new(crate::gates::facts::Facts::look(&repo));
            ctx.repo = Some(repo);
            let url = "http://127.0.0.1:9/".parse().unwrap();
            ctx.target = Some(Target { name: "staging".into(), url, ops_url: None, active: true, load: false });
        });
        (files, dir, ctx)
    };
    let (_f, _d, ctx) = context(&[("openapi.json", r#"{"openapi": "3.0.3", "paths": {"/x": {"get": {}}}}"#)]);
    assert_eq!(Injection.check(&ctx).await.reason.as_deref(), Some("no-parameters"));
    let (_f, _d, ctx) = context(&[("a.txt", "x")]);
    assert_eq!(Injection.check(&ctx).await.reason.as_deref(), Some("nothing-to-inspect"));
}

#[test]
fn a_budget_too_small_to_tell_anything_is_refused() {
    assert!(Config::default().validate().is_ok());
    assert_eq!(Config { max_per_param: 1, bodies: vec!["x".into()] }.validate().unwrap_err().len(), 2);
}
