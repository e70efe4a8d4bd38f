//! Tests of the gate: applications that count well and badly, and servers that scrape them or do not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::Request as Incoming;
use axum::middleware::{Next, from_fn};
use axum::routing::get;

use super::*;
use crate::domain::verdict::Verdict;
use crate::gates::testing;

/// A shop that counts `per_request` for each request that is not for its metrics, and shows what `page` makes of it.
fn shop(per_request: u64, page: fn(u64, &[String]) -> String) -> Router {
    let count = Arc::new(AtomicU64::new(0));
    let paths = Arc::new(std::sync::Mutex::new(Vec::<String>::new()));
    let (counting, seen) = (count.clone(), paths.clone());
    let metrics = move || {
        let body = page(count.load(Ordering::SeqCst), &paths.lock().unwrap());
        async move { ([("content-type", "text/plain; version=0.0.4")], body) }
    };
    Router::new().route("/", get(|| async { "shop" })).route("/metrics", get(metrics)).layer(from_fn(
        move |request: Incoming, next: Next| {
            let path = request.uri().path().to_string();
            let (counting, seen) = (counting.clone(), seen.clone());
            async move {
                let answer = next.run(request).await;
                if path == "/" {
                    counting.fetch_add(per_request, Ordering::SeqCst);
                } else if path != "/metrics" {
                    seen.lock().unwrap().push(path);
                }
                answer
            }
        },
    ))
}

fn good(count: u64, _: &[String]) -> String {
    format!(
        "# TYPE http_requests_total counter\nhttp_requests_total{{code=\"200\",route=\"/\"}} {count}\n\
         # TYPE http_request_duration_seconds histogram\nhttp_request_duration_seconds_bucket{{le=\"+Inf\"}} {count}\n\
         http_request_duration_seconds_sum {count}\nhttp_request_duration_seconds_count {count}\n\
         # TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 1\n\
         # TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes 1e7\n"
    )
}

async fn serve(router: Router) -> Url {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

async fn run(url: &Url, profile: Profile, change: impl FnOnce(&mut Config), load: Option<LoadTotals>) -> Outcome {
    let (_dir, ctx) = testing::context(|ctx| {
        ctx.target =
            Some(Target { name: "staging".into(), url: url.clone(), ops_url: None, active: false, load: false });
        ctx.profile = profile;
        let mut config = crate::gates::Config::default();
        config.monitoring.metrics.watched = vec![url.clone()];
        change(&mut config.monitoring.metrics);
        ctx.config = Arc::new(config);
        *ctx.load_totals.get_mut().unwrap() = load;
    });
    Metrics.check(&ctx).await
}

async fn check(router: Router, verdict: Verdict, rules: &[&str]) -> Outcome {
    let url = serve(router).await;
    let outcome = run(&url, Profile::WebApi, |_| {}, None).await;
    let got: Vec<&str> = outcome.findings.iter().map(|f| f.rule.as_str()).collect();
    assert_eq!((outcome.verdict, got), (verdict, rules.to_vec()), "{outcome:#?}");
    outcome
}

#[tokio::test]
async fn a_counter_that_follows_passes() {
    let outcome = check(shop(1, good), Verdict::Pass, &[]).await;
    assert_eq!(outcome.summary, "http_requests_total grew 20 for 20 requests; 4 families, 6 series");
    assert_eq!((outcome.value, outcome.threshold, outcome.tier), (Some(20.0.into()), Some(20.into()), Some(Tier::E3)));
}

#[tokio::test]
async fn a_counter_that_does_not_follow_fails() {
    let stuck = check(shop(0, good), Verdict::Fail, &["counter-stuck"]).await;
    assert!(stuck.summary.contains("grew 0 for 20 requests on /"), "{}", stuck.summary);
    check(shop(2, good), Verdict::Fail, &["counted-twice"]).await;
}

#[tokio::test]
async fn missing_parts_of_red() {
    let without =
        |_: u64, _: &[String]| "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 1\n".to_string();
    check(shop(1, without), Verdict::Fail, &["no-request-counter", "no-latency", "no-process-metrics"]).await;
    let no_status = |n: u64, p: &[String]| good(n, p).replace("{code=\"200\",route=\"/\"}", "");
    check(shop(1, no_status), Verdict::Fail, &["no-status-label"]).await;
}

#[tokio::test]
async fn raw_paths_in_labels_warn() {
    let raw = |n: u64, paths: &[String]| {
        let rows: String =
            paths.iter().map(|p| format!("http_requests_total{{code=\"404\",route=\"{p}\"}} 1\n")).collect();
        good(n, paths).replacen("# TYPE http_request_d", &format!("{rows}# TYPE http_request_d"), 1)
    };
    let outcome = check(shop(1, raw), Verdict::Warn, &["raw-path-label"]).await;
    assert!(outcome.summary.contains("took an unknown path into label route"), "{}", outcome.summary);
}

#[tokio::test]
async fn workers_with_a_registry_each_fail() {
    let turn = Arc::new(AtomicU64::new(0));
    let page = move || {
        let turn = turn.fetch_add(1, Ordering::SeqCst);
        async move { ([("content-type", "text/plain")], good(100 * (turn % 2) + turn, &[])) }
    };
    let router = Router::new().route("/", get(|| async { "" })).route("/metrics", get(page));
    check(router, Verdict::Fail, &["backwards"]).await;
}

#[tokio::test]
async fn the_load_test_must_be_counted() {
    let url = serve(shop(1, good)).await;
    let load = LoadTotals { requests: 5000, ..LoadTotals::default() };
    let outcome = run(&url, Profile::WebApi, |_| {}, Some(load)).await;
    assert_eq!(outcome.findings[0].rule, "load-not-counted", "{outcome:#?}");
    let load = LoadTotals { requests: 10, ..LoadTotals::default() };
    assert_eq!(run(&url, Profile::WebApi, |_| {}, Some(load)).await.verdict, Verdict::Pass);
}

#[tokio::test]
async fn somebody_must_scrape() {
    let url = serve(shop(1, good)).await;
    let outcome = run(&url, Profile::WebApi, |c| c.watched.clear(), None).await;
    assert_eq!((outcome.verdict, outcome.findings[0].rule.as_str()), (Verdict::Warn, "not-scraped"));

    let prometheus = |health: &'static str, scraped: Url, result: serde_json::Value| {
        let targets = serde_json::json!({"data": {"activeTargets": [{"scrapeUrl": scraped.as_str(), "health": health, "lastError": "", "scrapeInterval": "15s"}]}});
        let query = serde_json::json!({"data": {"result": result}});
        serve(
            Router::new()
                .route("/api/v1/targets", get(move || async move { axum::Json(targets) }))
                .route("/api/v1/query", get(move || async move { axum::Json(query) })),
        )
    };
    let metrics = url.join("/metrics").unwrap();
    let one = serde_json::json!([{"value": [0, "1"]}]);
    for (health, scraped, result, expect) in [
        ("up", metrics.clone(), one.clone(), None),
        ("down", metrics.clone(), one.clone(), Some("target-down")),
        ("up", metrics.clone(), serde_json::json!([]), Some("not-queryable")),
        ("up", url.join("/other").unwrap(), one, Some("not-a-target")),
    ] {
        let server = prometheus(health, scraped, result).await;
        let outcome = run(&url, Profile::WebApi, |c| c.prometheus = Some(server), None).await;
        assert_eq!(outcome.findings.first().map(|f| f.rule.as_str()), expect, "{outcome:#?}");
    }
}

#[tokio::test]
async fn a_worker_counts_work() {
    let jobs = |_: u64, _: &[String]| {
        "# TYPE jobs_processed_total counter\njobs_processed_total 7\n# TYPE process_cpu_seconds_total counter\n\
         process_cpu_seconds_total 1\n# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes 1\n"
            .to_string()
    };
    let url = serve(shop(1, jobs)).await;
    assert_eq!(run(&url, Profile::Worker, |_| {}, None).await.verdict, Verdict::Pass);
    assert_eq!(run(&url, Profile::WebApi, |_| {}, None).await.verdict, Verdict::Fail);
}

#[tokio::test]
async fn broken_missing_locked_and_down() {
    let with = |status: u16, kind: &'static str, body: &'static str| {
        let page =
            move || async move { (axum::http::StatusCode::from_u16(status).unwrap(), [("content-type", kind)], body) };
        Router::new().route("/", get(|| async { "" })).route("/metrics", get(page))
    };
    check(with(200, "text/plain", "up one\n"), Verdict::Fail, &["broken-exposition"]).await;
    check(with(404, "text/plain", ""), Verdict::Fail, &["no-metrics"]).await;
    check(with(200, "text/html", "<p>shop</p>"), Verdict::Fail, &["no-metrics"]).await;
    let locked = check(with(401, "text/plain", ""), Verdict::Error, &[]).await;
    assert_eq!(locked.reason.as_deref(), Some("no-credentials"));
    let closed = Url::parse("http://127.0.0.1:1/").unwrap();
    let down = run(&closed, Profile::WebApi, |_| {}, None).await;
    assert_eq!((down.verdict, down.reason.as_deref()), (Verdict::Error, Some("unreachable")));
}

#[test]
fn restarts_and_turns() {
    assert!(grew_once(&[Some(1.0), Some(1.0), Some(2.0)]));
    assert!(!grew_once(&[Some(1.0), Some(2.0), Some(1.0)]) && !grew_once(&[None, None]));
}

#[test]
fn config_is_checked() {
    assert_eq!(Config::default().validate(), []);
    let bad = Config { paths: vec!["metrics".into()], route: Some("x".into()), requests: 1, ..Config::default() };
    assert_eq!(bad.validate().len(), 3);
}
