//! Tests of the gate: the four endpoints as they should be, as they often are, and a page that answers everything.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::response::{Html, IntoResponse, Json, Redirect};
use axum::routing::get;

use super::*;
use crate::domain::release::ReleaseId;
use crate::domain::verdict::{Severity, Verdict};
use crate::gates::testing;

const COMMIT: &str = "9f3c2e1d00000000000000000000000000000000";

async fn serve(router: Router) -> Url {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

fn health() -> impl IntoResponse {
    ([("cache-control", "no-store")], Json(serde_json::json!({"status": "pass"})))
}

fn metrics() -> impl IntoResponse {
    ([("content-type", "text/plain; version=0.0.4")], "# TYPE up gauge\nup 1\n")
}

fn version() -> impl IntoResponse {
    Json(serde_json::json!({"version": "1.4.0", "commit": "9f3c2e1d"}))
}

/// All four, each as a separate router so that tests can leave one out or put another in its place.
fn parts() -> BTreeMap<&'static str, Router> {
    let status = || async { Json(serde_json::json!({"status": "ok", "components": {"db": "ok"}})) };
    [
        ("health", Router::new().route("/health", get(|| async { self::health() }))),
        ("status", Router::new().route("/status", get(status))),
        ("metrics", Router::new().route("/metrics", get(|| async { self::metrics() }))),
        ("version", Router::new().route("/version", get(|| async { self::version() }))),
    ]
    .into()
}

fn all(parts: BTreeMap<&'static str, Router>) -> Router {
    parts.into_values().fold(Router::new(), Router::merge)
}

async fn run_as(url: &Url, ops_url: Option<&Url>, profile: Profile, rid: ReleaseId) -> Outcome {
    let (_dir, ctx) = testing::context(|ctx| {
        ctx.target = Some(Target {
            name: "staging".into(),
            url: url.clone(),
            ops_url: ops_url.cloned(),
            active: false,
            load: false,
        });
        ctx.profile = profile;
        ctx.rid = rid;
        let mut config = crate::gates::Config::default();
        config.release.endpoints.calls = 4;
        ctx.config = Arc::new(config);
    });
    Endpoints.check(&ctx).await
}

fn rid() -> ReleaseId {
    ReleaseId { commit: Some(COMMIT.into()), version: Some("v1.4.0".into()), ..ReleaseId::default() }
}

async fn check(router: Router, verdict: Verdict, rules: &[&str]) -> Outcome {
    let url = serve(router).await;
    let outcome = run_as(&url, None, Profile::WebApi, rid()).await;
    let got: Vec<&str> =
        outcome.findings.iter().filter(|f| f.severity != Severity::Info).map(|f| f.rule.as_str()).collect();
    assert_eq!((outcome.verdict, got), (verdict, rules.to_vec()), "{outcome:#?}");
    outcome
}

#[tokio::test]
async fn four_true_answers_pass() {
    let outcome = check(all(parts()), Verdict::Pass, &[]).await;
    assert_eq!(outcome.summary, "status, health, metrics, version answer; v1.4.0 is up");
    assert_eq!((outcome.tier, outcome.covered, outcome.known), (Some(Tier::E3), Some(4), Some(4)));
    let rules: Vec<&str> = outcome.findings.iter().map(|f| f.rule.as_str()).collect();
    assert_eq!(rules, ["metrics-public", "no-readiness"]);
}

#[tokio::test]
async fn each_missing_endpoint_fails() {
    for role in ["health", "status", "metrics", "version"] {
        let mut parts = parts();
        parts.remove(role);
        check(all(parts), Verdict::Fail, &[&format!("missing-{role}")]).await;
    }
}

#[tokio::test]
async fn a_catch_all_fakes_nothing() {
    let page = || async { Html("<!doctype html><title>Shop</title>") };
    check(
        Router::new().fallback(page),
        Verdict::Fail,
        &["missing-status", "missing-health", "missing-metrics", "missing-version", "catch-all"],
    )
    .await;
    check(all(parts()).fallback(page), Verdict::Warn, &["catch-all"]).await;
}

#[tokio::test]
async fn the_wrong_build_fails() {
    let with = |body: serde_json::Value| {
        let mut parts = parts();
        parts.insert("version", Router::new().route("/version", get(move || async move { Json(body) })));
        all(parts)
    };
    let outcome = check(with(serde_json::json!({"commit": "aaaaaaa"})), Verdict::Fail, &["version-wrong"]).await;
    assert_eq!(outcome.findings[0].message, "/version says aaaaaaa, the release is v1.4.0 at 9f3c2e1");
    check(with(serde_json::json!({"version": "1.3.9"})), Verdict::Fail, &["version-wrong"]).await;
    check(with(serde_json::json!({"version": "1.4.0"})), Verdict::Pass, &[]).await;
    check(with(serde_json::json!({"name": "shop"})), Verdict::Fail, &["version-empty"]).await;

    let calls = Arc::new(AtomicU32::new(0));
    let mut parts = parts();
    let flip = move || {
        let even = calls.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
        async move { Json(serde_json::json!({"commit": if even { "9f3c2e1d" } else { "aaaaaaa" }})) }
    };
    parts.insert("version", Router::new().route("/version", get(flip)));
    check(all(parts), Verdict::Fail, &["version-skew"]).await;
}

#[tokio::test]
async fn an_unknown_release_is_an_error_not_a_failure() {
    let url = serve(all(parts())).await;
    let outcome = run_as(&url, None, Profile::WebApi, ReleaseId::default()).await;
    assert_eq!((outcome.verdict, outcome.reason.as_deref()), (Verdict::Error, Some("no-release-identity")));
}

#[tokio::test]
async fn careless_answers_warn() {
    let with = |role: &'static str, router: Router| {
        let mut parts = parts();
        parts.insert(role, router);
        all(parts)
    };
    let chatty = || async {
        ([("cache-control", "no-store")], Json(serde_json::json!({"status": "ok", "db": {"host": "10.0.0.5"}})))
    };
    check(with("health", Router::new().route("/healthz", get(chatty))), Verdict::Warn, &["health-detail"]).await;
    check(with("health", Router::new().route("/health", get(|| async { "ok" }))), Verdict::Warn, &["health-cacheable"])
        .await;
    let status = || async { Json(serde_json::json!({})) };
    check(with("status", Router::new().route("/api/status", get(status))), Verdict::Warn, &["status-alias"]).await;
    check(
        with("status", Router::new().route("/status", get(|| async { "fine" }))),
        Verdict::Warn,
        &["status-not-json"],
    )
    .await;
}

#[tokio::test]
async fn lies_login_pages_and_broken_metrics_fail() {
    let with = |role: &'static str, router: Router| {
        let mut parts = parts();
        parts.insert(role, router);
        all(parts)
    };
    let lies = || async { ([("cache-control", "no-store")], Json(serde_json::json!({"status": "DOWN"}))) };
    check(with("health", Router::new().route("/health", get(lies))), Verdict::Fail, &["health-lies"]).await;
    let login = || async { Redirect::to("/login") };
    let outcome =
        check(with("health", Router::new().route("/health", get(login))), Verdict::Fail, &["missing-health"]).await;
    assert!(outcome.findings[0].message.contains("/health redirects (303)"), "{}", outcome.findings[0].message);
    let broken = || async { ([("content-type", "text/plain")], "up one\n") };
    check(with("metrics", Router::new().route("/metrics", get(broken))), Verdict::Fail, &["metrics-broken"]).await;
    let locked = || async { axum::http::StatusCode::UNAUTHORIZED };
    check(with("metrics", Router::new().route("/metrics", get(locked))), Verdict::Pass, &[]).await;
}

#[tokio::test]
async fn operators_have_an_address_of_their_own() {
    let mut parts = parts();
    let ops = serve(Router::new().merge(parts.remove("metrics").unwrap()).merge(parts.remove("health").unwrap())).await;
    let url = serve(all(parts)).await;
    let outcome = run_as(&url, Some(&ops), Profile::WebApi, rid()).await;
    assert_eq!(outcome.verdict, Verdict::Pass, "{outcome:#?}");
    assert!(outcome.findings.iter().all(|f| f.rule != "metrics-public"));
}

#[tokio::test]
async fn profiles_ask_for_less() {
    let mut parts = parts();
    let site = serve(parts.remove("version").unwrap()).await;
    assert_eq!(run_as(&site, None, Profile::StaticSite, rid()).await.verdict, Verdict::Pass);
    let _ = parts.remove("status");
    let worker = serve(all(parts)).await;
    assert_eq!(run_as(&worker, None, Profile::Worker, rid()).await.verdict, Verdict::Pass);
}

#[tokio::test]
async fn cannot_tell() {
    let closed = Url::parse("http://127.0.0.1:1").unwrap();
    let outcome = run_as(&closed, None, Profile::WebApi, rid()).await;
    assert_eq!((outcome.verdict, outcome.reason.as_deref()), (Verdict::Error, Some("unreachable")));
    let locked = serve(Router::new().fallback(|| async { axum::http::StatusCode::UNAUTHORIZED })).await;
    let outcome = run_as(&locked, None, Profile::WebApi, rid()).await;
    assert_eq!((outcome.verdict, outcome.reason.as_deref()), (Verdict::Error, Some("no-credentials")));
    let (_dir, ctx) = testing::context(|_| {});
    assert_eq!(Endpoints.check(&ctx).await.reason.as_deref(), Some("no-target"));
}

#[test]
fn config_is_checked() {
    assert_eq!(Config::default().validate(), []);
    let bad = Config { health: vec!["health".into()], version: vec![], p95_ms: 0.0, calls: 0, ..Config::default() };
    let keys: Vec<String> = bad.validate().iter().map(|p| p.path.join(".")).collect();
    assert_eq!(keys, ["health", "version", "p95_ms", "calls"]);
}
