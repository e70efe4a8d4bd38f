//! Tests of the gate: walls with and without doors, and what each kind of answer shows.

use std::sync::Arc;

use super::*;
use crate::domain::verdict::Verdict;
use crate::gates::testing;
use crate::net::safety::Target;
use crate::net::tests_support::{Served, serve};

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Response {
    Response {
        status,
        headers: headers.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(),
        body: body.to_string().into(),
        truncated: false,
        duration: Duration::ZERO,
        url: "http://127.0.0.1/".parse().unwrap(),
        tls: None,
    }
}

const JSON: (&str, &str) = ("content-type", "application/json");

/// A context whose document has one guarded route, at a server that answers it by `orders`.
async fn asked(orders: impl Fn(&str) -> Served + Send + Sync + 'static) -> Outcome {
    let document = r#"{"openapi": "3.0.3", "components": {"securitySchemes": {"b": {"type": "http"}}},
        "paths": {"/orders": {"get": {"security": [{"b": []}]}}}}"#;
    let server = serve(move |request| match request.split(' ').nth(1) {
        Some(path) if path.starts_with("/orders") => orders(request),
        _ => Served::with(404, &[], b"no such page"),
    })
    .await;
    let (_files, repo) = testing::repo(&[("openapi.json", document)]);
    let secrets = tempfile::tempdir().unwrap();
    std::fs::write(secrets.path().join("t"), "t0ken-of-ann").unwrap();
    let url = server.url("/").parse().unwrap();
    let (_dir, ctx) = testing::context(|ctx| {
        ctx.facts = Arc::new(crate::gates::facts::Facts::look(&repo));
        ctx.repo = Some(repo);
        ctx.target = Some(Target { name: "staging".into(), url, ops_url: None, active: true, load: false });
        let actor = vec![crate::gates::actors::Actor {
            name: "ann".into(),
            role: "user".into(),
            bearer: Some(crate::domain::secret::Secret::File(secrets.path().join("t"))),
            ..Default::default()
        }];
        ctx.config = Arc::new(crate::gates::Config { actor, ..Default::default() });
    });
    Auth.check(&ctx).await
}

const ORDERS: &[u8] = b"[{\"id\": 1, \"tea\": \"oolong\", \"address\": \"Elm Street\"}]";

fn is_ann(request: &str) -> bool {
    request.contains("authorization: Bearer t0ken-of-ann")
}

#[tokio::test]
async fn a_wall_with_a_door_passes() {
    let outcome = asked(|request| match is_ann(request) {
        true => Served::with(200, &[JSON], ORDERS),
        false => Served::with(401, &[("www-authenticate", "Bearer")], b"who?"),
    })
    .await;
    assert_eq!((outcome.verdict, outcome.covered), (Verdict::Pass, Some(1)), "{outcome:#?}");
    let evidence = format!("{:?}", outcome.evidence);
    assert!(evidence.contains("spoilt credentials") && !evidence.contains("t0ken"), "{evidence}");
}

#[tokio::test]
async fn a_wall_without_a_door_proves_nothing() {
    let outcome = asked(|_| Served::with(401, &[("www-authenticate", "Bearer")], b"who?")).await;
    assert_eq!(outcome.verdict, Verdict::Warn, "{outcome:#?}");
    assert!(outcome.summary.contains("no actor is let in"), "{}", outcome.summary);
}

#[tokio::test]
async fn strangers_spoilt_tokens_and_odd_paths_do_not_get_in() {
    type Serves = fn(&str) -> bool;
    let cases: [(&str, Serves); 4] = [
        ("anonymous", |_| true),
        ("spoilt-credential", |request| request.contains("authorization: ")),
        ("path-trick", |request| is_ann(request) || request.starts_with("GET /orders/ ")),
        ("credential-in-query", |request| is_ann(request) || request.contains("?access_token=t0ken-of-ann")),
    ];
    for (rule, lets_in) in cases {
        let outcome = asked(move |request| match lets_in(request) {
            true => Served::with(200, &[JSON], ORDERS),
            false => Served::with(401, &[("www-authenticate", "Bearer")], b"who?"),
        })
        .await;
        let verdict = if rule == "credential-in-query" { Verdict::Warn } else { Verdict::Fail };
        assert_eq!(outcome.verdict, verdict, "{rule}: {outcome:#?}");
        assert!(outcome.findings.iter().all(|f| f.rule == rule), "{rule}: {:?}", outcome.findings);
        assert!(!outcome.findings.is_empty(), "{rule}");
    }
}

#[tokio::test]
async fn nothing_to_ask_is_no_pass() {
    let (_dir, ctx) = testing::context(|ctx| {
        let url = "http://127.0.0.1:9/".parse().unwrap();
        ctx.target = Some(Target { name: "staging".into(), url, ops_url: None, active: true, load: false });
        let mut config = crate::gates::Config::default();
        config.routes.crawl_pages = 0;
        ctx.config = Arc::new(config);
    });
    let outcome = Auth.check(&ctx).await;
    assert_eq!((outcome.verdict, outcome.reason.as_deref()), (Verdict::Error, Some("nothing-to-inspect")));
    let (_dir, ctx) = testing::context(|_| {});
    assert_eq!(Auth.check(&ctx).await.reason.as_deref(), Some("no-target"));
}

#[tokio::test]
async fn what_an_answer_shows() {
    let server = serve(|_| Served::with(404, &[], b"no such page here")).await;
    let (_dir, ctx) = testing::context(|_| {});
    let prober = ctx.prober("g", Intent::Passive);
    let not_found = calibrate::calibrate(&prober, &server.url("/").parse().unwrap(), "hc").await.ok().unwrap();
    let door = answer(200, &[JSON], "{\"id\": 1, \"name\": \"Ann\", \"address\": \"Elm\"}");
    let seen = |a: Response, door: Option<&Response>, changes| attempts::seen(&a, door, changes, &not_found);
    for (got, with_door, without, changes) in [
        (answer(403, &[], ""), Seen::Protected, Seen::Protected, Seen::Protected),
        (answer(302, &[("location", "/login?next=/x")], ""), Seen::Protected, Seen::Protected, Seen::Protected),
        (
            answer(302, &[("location", "/home")], ""),
            Seen::Protected,
            Seen::Unproven("redirected"),
            Seen::Unproven("redirected"),
        ),
        (answer(404, &[], ""), Seen::Protected, Seen::Unproven("not found"), Seen::Unproven("not found")),
        (door.clone(), Seen::Open, Seen::Open, Seen::Open),
        (answer(200, &[JSON], "{\"error\": \"login required\"}"), Seen::Protected, Seen::Protected, Seen::Protected),
        (answer(200, &[JSON], "{\"guest\": true}"), Seen::Unproven("another answer"), Seen::Open, Seen::Open),
        (
            answer(200, &[("content-type", "text/html")], "<form><input type=password name=p></form>"),
            Seen::Protected,
            Seen::Protected,
            Seen::Protected,
        ),
        (
            answer(422, &[], ""),
            Seen::Unproven("validated before it asked who is there"),
            Seen::Unproven("validated before it asked who is there"),
            Seen::Unproven("validated before it asked who is there"),
        ),
        (
            answer(503, &[], ""),
            Seen::Unproven("server error"),
            Seen::Unproven("server error"),
            Seen::Unproven("server error"),
        ),
    ] {
        assert_eq!(seen(got.clone(), Some(&door), false), with_door, "{got:?}");
        assert_eq!(seen(got.clone(), None, false), without, "{got:?}");
        assert_eq!(seen(got.clone(), None, true), changes, "{got:?}");
    }
    assert!(
        is_cached(&answer(200, &[("age", "12")], "")) && is_cached(&answer(200, &[("cache-status", "n; hit")], ""))
    );
    assert!(!is_cached(&answer(200, &[("age", "0"), ("x-cache", "MISS")], "")));
}

#[test]
fn credentials_are_spoilt_in_their_own_form() {
    let headers =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect::<Headers>();
    for (own, expect) in [
        (("authorization", "Bearer abc"), "Bearer hc-garbage"),
        (("authorization", "Basic abc"), "Basic aGM6aGMtZ2FyYmFnZQ=="),
        (("cookie", "sid=1; theme=dark"), "sid=hc-garbage; theme=hc-garbage"),
        (("x-api-key", "k"), "hc-garbage"),
    ] {
        assert_eq!(attempts::garbage(&headers(&[own])), headers(&[(own.0, expect)]));
    }
}
