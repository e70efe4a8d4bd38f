//! Tests of the gate: a real server for what it asks, made-up sightings for each verdict.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;

use super::*;
use crate::domain::release::ReleaseId;
use crate::domain::verdict::Severity;
use crate::gates::testing;

const COMMIT: &str = "1111111111111111111111111111111111111111";
const OTHER: &str = "2222222222222222222222222222222222222222";

fn system(commit: &'static str) -> Router {
    Router::new()
        .route("/health", get(|| async { "{\"status\": \"pass\"}" }))
        .route("/version", get(move || async move { format!("{{\"commit\": \"{commit}\"}}") }))
}

async fn serve(router: Router) -> Url {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

fn junit(inner: &str) -> String {
    format!("<testsuite name=\"e2e\"><testcase classname=\"shop\" name=\"pays\">{inner}</testcase></testsuite>")
}

/// A repository whose end-to-end tests were green on its commit, changed, and staging that serves what it serves.
async fn run(
    serving: &str,
    files: &[(&str, &str)],
    left: &[(&str, &str)],
    change: impl FnOnce(&mut GateContext),
) -> Outcome {
    let (dir, _) = testing::git_repo(&[&[("app.js", "run()\n")][..], files].concat());
    let head = testing::git(dir.path(), &["rev-parse", "HEAD"]).trim().to_string();
    for (path, text) in left {
        testing::write(dir.path(), path, text.replace("COMMIT", &head).as_bytes());
    }
    let repo = testing::open(dir.path());
    let commit: &'static str = Box::leak(serving.replace("HEAD", &head).into_boxed_str());
    let url = serve(system(commit)).await;
    let (_run, ctx) = testing::context(|ctx| {
        ctx.repo = Some(repo);
        ctx.target = Some(Target { name: "staging".into(), url, ops_url: None, active: false, load: false });
        ctx.rid = ReleaseId { commit: Some(head), version: Some("1.4.0".into()), ..ReleaseId::default() };
        ctx.clock = std::sync::Arc::new(crate::domain::clock::SystemClock);
        change(ctx);
    });
    Staging.check(&ctx).await
}

fn said(outcome: &Outcome, expect: &str) {
    let noted = outcome.findings.iter().filter(|f| f.severity > Severity::Low);
    let rules: Vec<&str> = noted.map(|f| f.rule.as_str()).collect();
    let reason = outcome.reason.clone().map(|r| format!(" {r}")).unwrap_or_default();
    let got = format!("{}{reason}: {}", outcome.verdict.word(), rules.join(" "));
    assert_eq!(got.trim_end_matches([' ', ':']), expect, "{outcome:#?}");
}

const GREEN: (&str, &str) =
    ("e2e-results/junit.xml", "<testsuite name=\"e2e\"><testcase classname=\"s\" name=\"pays\"/></testsuite>");
const BOUND: (&str, &str) = ("e2e-results/junit.xml.hc.json", "{\"commit\": \"COMMIT\"}");

#[tokio::test]
async fn this_release_tested_passes_and_another_build_fails() {
    let good = run("HEAD", &[], &[GREEN, BOUND], |_| {}).await;
    said(&good, "pass");
    assert!(good.summary.contains("1 test in e2e-results/junit.xml"), "{}", good.summary);
    said(&run(OTHER, &[], &[GREEN, BOUND], |_| {}).await, "fail: other-build");
}

#[tokio::test]
async fn what_tells_of_tests_decides() {
    let red = junit("<failure message=\"no button\"/>");
    said(&run("HEAD", &[], &[(GREEN.0, &red), BOUND], |_| {}).await, "fail: red-tests");
    said(&run("HEAD", &[], &[], |_| {}).await, "error not-tested");
    said(&run("HEAD", &[], &[GREEN], |_| {}).await, "warn: unbound");
    let units = [("junit.xml", GREEN.1), ("junit.xml.hc.json", BOUND.1)];
    said(&run("HEAD", &[], &units, |_| {}).await, "error not-tested");
    let flaky = "<testsuite name=\"e2e\"><testcase classname=\"s\" name=\"pays\"><flakyFailure message=\"late\"/></testcase></testsuite>";
    said(&run("HEAD", &[], &[(GREEN.0, flaky), BOUND], |_| {}).await, "warn: flaky");
}

#[tokio::test]
async fn acceptance_may_be_demanded() {
    let demand = |ctx: &mut GateContext| {
        let mut config = (*ctx.config).clone();
        config.delivery.staging.require_uat = true;
        ctx.config = std::sync::Arc::new(config);
    };
    said(&run("HEAD", &[], &[GREEN, BOUND], demand).await, "fail: no-uat");
    let accepted = [("uat-results/junit.xml", GREEN.1), ("uat-results/junit.xml.hc.json", BOUND.1)];
    said(&run("HEAD", &[], &accepted, demand).await, "pass");
}

#[tokio::test]
async fn a_smoke_list_that_is_green_now_is_a_test() {
    let (_dir, ctx) = testing::context(|_| {});
    let walked = |verdict, tier| {
        let mut seen = Seen { versions: vec![Named { commit: Some(COMMIT.into()), version: None }], ..Seen::default() };
        seen.url = "http://127.0.0.1:1/".into();
        seen.smoke = Some((verdict, "3 items".into())).filter(|_| tier == Tier::E3);
        let rid = ReleaseId { commit: Some(COMMIT.into()), ..ReleaseId::default() };
        judge::judge(&seen, &ctx.config.delivery.staging, &rid)
    };
    said(&walked(Verdict::Pass, Tier::E3), "pass");
    said(&walked(Verdict::Fail, Tier::E3), "fail: smoke-red");
    said(&walked(Verdict::Error, Tier::E3), "error not-tested");
}

#[tokio::test]
async fn what_runs_there_must_be_told() {
    let hidden = |router: Router| async move {
        let url = serve(router).await;
        let (_run, ctx) = testing::context(|ctx| {
            ctx.target = Some(Target { name: "staging".into(), url, ops_url: None, active: false, load: false });
            ctx.rid = ReleaseId { commit: Some(COMMIT.into()), ..ReleaseId::default() };
        });
        Staging.check(&ctx).await
    };
    said(&hidden(Router::new().route("/health", get(|| async { "ok" }))).await, "error no-version");
    let wall = Router::new().fallback(|| async { StatusCode::UNAUTHORIZED });
    let outcome = hidden(wall).await;
    said(&outcome, "error no-version");
    assert!(outcome.summary.contains("behind a wall (401)"), "{}", outcome.summary);
    let broken = system(COMMIT).route("/healthz", get(|| async { "" }));
    let down = Router::new()
        .route("/version", get(|| async { format!("{{\"commit\": \"{COMMIT}\"}}") }))
        .route("/health", get(|| async { StatusCode::INTERNAL_SERVER_ERROR }));
    said(&hidden(down).await, "fail: down");
    said(&hidden(broken).await, "error not-tested");
    let by_version = Router::new()
        .route("/health", get(|| async { "ok" }))
        .route("/version", get(|| async { "{\"version\": \"1.4.0\"}" }));
    said(&hidden(by_version).await, "error no-version");
}

#[tokio::test]
async fn instances_that_disagree_are_found() {
    let (dir, _) = testing::git_repo(&[("app.js", "run()\n")]);
    let calls = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let router = Router::new().route("/health", get(|| async { "ok" })).route(
        "/version",
        get(move || {
            let nth = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            async move { format!("{{\"commit\": \"{}\"}}", [COMMIT, OTHER][nth % 2]) }
        }),
    );
    let url = serve(router).await;
    let (_run, ctx) = testing::context(|ctx| {
        ctx.repo = Some(testing::open(dir.path()));
        ctx.target = Some(Target { name: "staging".into(), url, ops_url: None, active: false, load: false });
        ctx.rid = ReleaseId { commit: Some(COMMIT.into()), ..ReleaseId::default() };
    });
    let outcome = Staging.check(&ctx).await;
    said(&outcome, "fail: other-build");
    assert!(outcome.summary.contains("not every instance"), "{}", outcome.summary);
}

#[tokio::test]
async fn production_is_no_staging() {
    let at = |name: &str, url: &Url| Target {
        name: name.into(),
        url: url.clone(),
        ops_url: None,
        active: false,
        load: false,
    };
    let url = serve(system(COMMIT)).await;
    for (target, expect) in [("production", "the target that was checked"), ("staging", "are one address")] {
        let (_run, mut ctx) = testing::context(|ctx| ctx.target = Some(at(target, &url)));
        let guard = std::sync::Arc::get_mut(&mut ctx.guard).expect("nobody else holds it");
        guard.targets = vec![at("production", &url)];
        let outcome = Staging.check(&ctx).await;
        said(&outcome, "fail: is-production");
        assert!(outcome.summary.contains(expect), "{}", outcome.summary);
        assert_eq!(ctx.guard.requests_of(ABOUT.id), 0, "production is left alone");
    }
}

#[tokio::test]
async fn surroundings_are_compared() {
    let db = |host: &str| format!("DATABASE_URL=postgres://shop:Xk29fjq0s@{host}/shop\n");
    let files = |staging: &str, production: &str| {
        vec![(".env.staging".to_string(), staging.to_string()), (".env.production".to_string(), production.to_string())]
    };
    let told = |files: Vec<(String, String)>| async move {
        let files: Vec<(&str, &str)> = files.iter().map(|(p, t)| (p.as_str(), t.as_str())).collect();
        run("HEAD", &files, &[GREEN, BOUND], |_| {}).await
    };
    let shared = told(files(&db("db.shop.example"), &db("DB.shop.example"))).await;
    said(&shared, "fail: shared-database");
    assert!(!format!("{shared:?}").contains("Xk29fjq0s"), "the password stays where it is");
    said(&told(files(&db("db.staging.shop.example"), &db("db.shop.example"))).await, "pass");
    said(&told(files(&db("db"), &db("db"))).await, "pass");
    let parts = "DB_HOST=db.shop.example\nDB_NAME=shop\n";
    said(&told(files(parts, &db("db.shop.example"))).await, "fail: shared-database");
    let cache = "REDIS_URL=rediss://cache.shop.example/0\n";
    said(&told(files(cache, cache)).await, "warn: shared-cache");
    let compose = |major: u32| format!("services:\n  db:\n    image: docker.io/library/postgres:{major}-alpine\n");
    let both =
        |s, p| vec![("compose.staging.yml".to_string(), compose(s)), ("compose.prod.yml".to_string(), compose(p))];
    said(&told(both(15, 15)).await, "pass");
    said(&told(both(14, 15)).await, "warn: parity");
}
