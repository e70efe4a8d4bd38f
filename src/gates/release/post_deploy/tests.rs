//! Tests of the gate: real servers on loopback, from a good shop to one whose asset is gone, a page for everything, and a
//! server that hangs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{Html, Json};
use axum::routing::{delete, get, post};
use url::Url;

use super::*;
use crate::domain::release::ReleaseId;
use crate::gates::testing;

const COMMIT: &str = "9f3c2e1d00000000000000000000000000000000";
const LIST: &str = "[[item]]\nname = \"it is up\"\nrequest = \"GET /health\"\njson = { status = \"pass\" }\n\
[[item]]\nname = \"this release\"\nrequest = \"GET /version\"\nrelease = true\n\
[[item]]\nname = \"home\"\nrequest = \"GET /\"\nbody = [\"Tea shop\"]\nassets = true\n";

fn shop() -> Router {
    let page = "<!doctype html><html><title>Tea shop</title><script src=\"/assets/app-1a2b.js\"></script></html>";
    Router::new()
        .route("/", get(move || async move { Html(page) }))
        .route("/health", get(|| async { Json(serde_json::json!({"status": "pass"})) }))
        .route("/version", get(|| async { Json(serde_json::json!({"commit": COMMIT})) }))
        .route("/assets/app-1a2b.js", get(|| async { ([("content-type", "text/javascript")], "1") }))
}

async fn serve(router: Router) -> Url {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

async fn run(files: &[(&str, &str)], target: Option<(Url, bool)>) -> Outcome {
    let (_dir, repo) = testing::repo(files);
    let (_run, ctx) = testing::context(|ctx| {
        ctx.repo = Some(repo);
        ctx.target =
            target.map(|(url, active)| Target { name: "staging".into(), url, ops_url: None, active, load: false });
        ctx.rid = ReleaseId { commit: Some(COMMIT.into()), version: Some("1.4.0".into()), ..ReleaseId::default() };
    });
    PostDeploy.check(&ctx).await
}

fn said(outcome: &Outcome, expect: &str) {
    let noted = outcome.findings.iter().filter(|f| f.severity != crate::domain::verdict::Severity::Info);
    let rules: Vec<&str> = noted.map(|f| f.rule.as_str()).collect();
    let reason = outcome.reason.clone().map(|r| format!(" {r}")).unwrap_or_default();
    let got = format!("{}{reason}: {}", outcome.verdict.word(), rules.join(" "));
    assert_eq!(got.trim_end_matches([' ', ':']), expect, "{outcome:#?}");
}

async fn walked(list: &str, router: Router, expect: &str) -> Outcome {
    let outcome = run(&[("smoke.toml", list)], Some((serve(router).await, true))).await;
    said(&outcome, expect);
    outcome
}

#[tokio::test]
async fn green_twice_passes() {
    let outcome = walked(LIST, shop(), "pass").await;
    assert!(outcome.summary.starts_with("3 items green twice on staging"), "{}", outcome.summary);
    assert_eq!((outcome.tier, outcome.covered), (Some(Tier::E3), Some(3)));
    assert_eq!(outcome.evidence[0].content["walks"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn each_red_item_fails_at_its_line() {
    let with = |route: &str, status: StatusCode| {
        let page = Html("<html><title>Tea shop</title><script src='/assets/app-9z8y.js'></script></html>");
        let broken = shop().route(&format!("{route}x"), get(|| async { "x" }));
        match route {
            "/" => Router::new()
                .route("/", get(move || async move { page }))
                .route("/health", get(|| async { Json(serde_json::json!({"status": "pass"})) }))
                .route("/version", get(|| async { Json(serde_json::json!({"version": "1.4.0"})) })),
            _ => broken.layer(axum::middleware::from_fn(
                move |request: axum::extract::Request, next: axum::middleware::Next| async move {
                    let mut response = next.run(request).await;
                    *response.status_mut() = status;
                    response
                },
            )),
        }
    };
    let outcome = walked(LIST, with("/", StatusCode::OK), "fail: red").await;
    assert!(
        outcome.summary.contains("/assets/app-9z8y.js, which answers 404"),
        "one broken asset hash: {}",
        outcome.summary
    );
    assert_eq!((outcome.findings[0].file.as_deref(), outcome.findings[0].line), (Some("smoke.toml"), Some(9)));
    walked(LIST, with("/health", StatusCode::SERVICE_UNAVAILABLE), "fail: red red red").await;
    let other = LIST.replace("release = true", "body = [\"2.0.0\"]");
    walked(&other, shop(), "fail: red").await;
}

#[tokio::test]
async fn a_page_for_everything_fakes_nothing() {
    let shell = "<!doctype html><html><title>Tea shop</title><div id=root></div></html>";
    let spa = Router::new().fallback(move || async move { Html(shell) });
    let list = "[[item]]\nname = \"cart\"\nrequest = \"GET /cart\"\nbody = [\"Tea shop\"]\n";
    let outcome = walked(list, spa.clone(), "fail: red not-covered not-covered not-covered").await;
    assert!(
        outcome.summary.contains("a path that does not exist gives an answer that passes as well"),
        "{}",
        outcome.summary
    );
    // An asset that is answered with the page is gone.
    let list = "[[item]]\nname = \"home\"\nrequest = \"GET /\"\nassets = true\nbody = [\"Tea shop\"]\n";
    let page = "<html><title>Tea shop</title><link rel=stylesheet href=/assets/gone.css></html>";
    let spa = spa.route("/", get(move || async move { Html(page) }));
    let outcome = walked(list, spa, "fail: red not-covered not-covered").await;
    assert!(outcome.summary.contains("/assets/gone.css, which answers with a page"), "{}", outcome.summary);
}

#[tokio::test]
async fn a_server_that_hangs_is_red() {
    let hanging = shop().route(
        "/slow",
        get(|| async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            "late"
        }),
    );
    let list =
        format!("{LIST}[[item]]\nname = \"orders\"\nrequest = \"GET /slow\"\nbody = [\"late\"]\nwithin = \"200ms\"\n");
    let outcome = walked(&list, hanging, "fail: red").await;
    assert!(outcome.summary.contains("orders: no answer within 200ms"), "{}", outcome.summary);
}

#[tokio::test]
async fn patience_is_the_items_own() {
    let asked = Arc::new(AtomicU32::new(0));
    let starting = {
        let asked = asked.clone();
        Router::new().route(
            "/ready",
            get(move || async move {
                match asked.fetch_add(1, Ordering::Relaxed) {
                    0 => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
                    _ => (StatusCode::OK, "ready now"),
                }
            }),
        )
    };
    let list = "[[item]]\nname = \"ready\"\nrequest = \"GET /ready\"\nbody = [\"ready now\"]\nretry = \"5s\"\n";
    let outcome = walked(list, starting, "warn: not-covered not-covered").await;
    assert_eq!(outcome.evidence[0].content["walks"][0]["steps"][0]["tries"], 2, "{outcome:#?}");
}

#[tokio::test]
async fn writes_need_leave_and_are_taken_back() {
    let orders = Arc::new(AtomicU32::new(0));
    let router = || {
        let (made, gone) = (orders.clone(), orders.clone());
        shop()
            .route(
                "/api/orders",
                post(move |body: String| async move {
                    assert!(body.contains("hc-"), "{body}");
                    made.fetch_add(1, Ordering::Relaxed);
                    (StatusCode::CREATED, Json(serde_json::json!({"id": 7})))
                }),
            )
            .route(
                "/api/orders/{id}",
                delete(move |Path(id): Path<u32>| async move {
                    assert_eq!(id, 7);
                    gone.fetch_sub(1, Ordering::Relaxed);
                    StatusCode::NO_CONTENT
                }),
            )
    };
    let list = format!(
        "{LIST}[[item]]\nname = \"an order\"\nrequest = \"POST /api/orders\"\nsend_json = {{ ref = \"hc-{{run}}\" }}\nstatus = [201]\n\
         json = {{ id = {{ min = 1 }} }}\nsave = {{ order = \"id\" }}\ncleanup = \"DELETE /api/orders/{{order}}\"\n"
    );
    walked(&list, router(), "pass").await;
    assert_eq!(orders.load(Ordering::Relaxed), 0, "nothing is left behind");
    let closed = run(&[("smoke.toml", &list)], Some((serve(router()).await, false))).await;
    said(&closed, "error not-active: not-active");
    assert_eq!(orders.load(Ordering::Relaxed), 0);
    // The deny list holds whatever a list in a repository says.
    let pays =
        format!("{LIST}[[item]]\nname = \"pay\"\nrequest = \"POST /api/pay\"\nbody = [\"ok\"]\nleaves = \"nothing\"\n");
    walked(&pays, shop(), "error refused: refused").await;
}

#[tokio::test]
async fn cookies_hold_a_login() {
    let router =
        shop().route("/login", post(|| async { ([("set-cookie", "session=s1; Path=/; HttpOnly")], "welcome") })).route(
            "/me",
            get(|request: axum::extract::Request| async move {
                let cookie =
                    request.headers().get("cookie").and_then(|c| c.to_str().ok()).unwrap_or_default().to_string();
                match cookie.contains("session=s1") {
                    true => (StatusCode::OK, "Ann"),
                    false => (StatusCode::UNAUTHORIZED, "who"),
                }
            }),
        );
    let list = format!(
        "{LIST}[[item]]\nname = \"login\"\nrequest = \"POST /login\"\nsend_form = {{ user = \"hc-{{run}}\" }}\nbody = [\"welcome\"]\nleaves = \"a session\"\n\
         [[item]]\nname = \"me\"\nrequest = \"GET /me\"\nbody = [\"Ann\"]\n"
    );
    walked(&list, router, "pass").await;
}

#[tokio::test]
async fn without_a_browser_a_page_is_an_error_unless_somebody_looks() {
    let list = format!("{LIST}[[item]]\nname = \"cart\"\nui = \"/cart\"\n");
    let outcome = walked(&list, shop(), "error no-browser: no-browser").await;
    assert!(outcome.summary.starts_with("3 of 3 green twice, but cart"), "{}", outcome.summary);
    walked(&format!("{list}owner = \"ann\"\n"), shop(), "pass").await;
    let people = "[[item]]\nname = \"the mail arrives\"\nowner = \"ann\"\nsteps = \"look\"\n";
    walked(people, shop(), "warn: not-covered not-covered not-covered people-only").await;
}

#[tokio::test]
async fn a_list_without_a_target_is_a_promise() {
    let outcome = run(&[("smoke.toml", LIST)], None).await;
    said(&outcome, "warn");
    assert!(outcome.summary.contains("declared, not demonstrated"), "{}", outcome.summary);
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url: Url = format!("http://127.0.0.1:{dead}/").parse().unwrap();
    said(&run(&[("smoke.toml", LIST)], Some((url, true))).await, "error unreachable");
}

#[tokio::test]
async fn what_stands_in_for_a_list() {
    let check = async |files: &[(&str, &str)], expect: &str| {
        let outcome = run(files, None).await;
        said(&outcome, expect);
        outcome
    };
    let outcome = check(&[("src/app.js", "app.get('/cart', c)\n")], "fail: missing").await;
    assert_eq!(
        outcome.hint.as_deref(),
        Some("hypercare smoke init writes smoke.toml from your routes (4 items); review and commit")
    );
    check(&[("docs/post-deploy.md", "1. look")], "warn: prose-only").await;
    check(&[("docs/smoke-tests.md", "1. look")], "warn: prose-only").await;
    check(&[("e2e/shop.spec.ts", "test('home @smoke', f)")], "warn: suite-only").await;
    check(&[("e2e/shop.cy.ts", "it('home', { tags: '@smoke' }, f)")], "warn: suite-only").await;
    check(&[("tests/test_shop.py", "@pytest.mark.smoke\ndef test_home(): ...")], "warn: suite-only").await;
    check(&[("api.postman_collection.json", "{\n \"name\": \"Smoke tests\"}")], "warn: suite-only").await;
    check(&[("scripts/smoke-test.sh", "curl")], "warn: suite-only").await;
    check(&[("tests/test_shop.py", "def test_smoke_machine(): ...")], "fail: missing").await;
    check(&[("smoke.toml", "[[item]]\nnmae = 1\n")], "error unreadable").await;
    check(&[("smoke.toml", "[[item]]\nname = \"a\"\n")], "fail: not-executable").await;
    check(&[("Cargo.toml", "[package]\nname = \"x\"\n"), ("src/lib.rs", "")], "skip not-deployed").await;
    let page = ("test/page.html", "<meta name=\"viewport\">");
    check(&[("Cargo.toml", "[package]\nname = \"x\"\n"), ("src/lib.rs", ""), page], "skip not-deployed").await;
    let module = [("main.tf", ""), ("variables.tf", ""), ("outputs.tf", ""), ("examples/all/main.tf", "")];
    check(&module, "skip not-deployed").await;
    let (_run, ctx) = testing::context(|_| {});
    assert_eq!(PostDeploy.check(&ctx).await.reason.as_deref(), Some("no-repository"));
}

#[test]
fn problems_are_told() {
    let bad = Config { file: Some("../smoke.toml".into()), critical: vec!["cart".into()] };
    assert_eq!(bad.validate().len(), 2);
    assert!(Config::default().validate().is_empty());
}
