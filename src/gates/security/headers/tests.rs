//! Tests of the gate against real servers: with helmet's headers, without, and each defect alone.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::domain::verdict::Verdict;
use crate::gates::testing;
use crate::net::Client;
use crate::net::safety::{Guard, Safety, Target};
use crate::net::tests_support::{Served, Server, https, serve};
use crate::net::tls::Trust;

const HTML: (&str, &str) = ("content-type", "text/html; charset=utf-8");

/// What helmet 8 sends by default.
fn helmet() -> Vec<(&'static str, &'static str)> {
    vec![
        (
            "content-security-policy",
            "default-src 'self';base-uri 'self';font-src 'self' https: data:;form-action 'self';frame-ancestors 'self';img-src 'self' data:;object-src 'none';script-src 'self';script-src-attr 'none';style-src 'self' https: 'unsafe-inline';upgrade-insecure-requests",
        ),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("origin-agent-cluster", "?1"),
        ("referrer-policy", "no-referrer"),
        ("strict-transport-security", "max-age=31536000; includeSubDomains"),
        ("x-content-type-options", "nosniff"),
        ("x-dns-prefetch-control", "off"),
        ("x-download-options", "noopen"),
        ("x-frame-options", "SAMEORIGIN"),
        ("x-permitted-cross-domain-policies", "none"),
        ("x-xss-protection", "0"),
    ]
}

type Headers = Vec<(&'static str, &'static str)>;

/// A small shop: page with script and login link, JSON under /api, 404, 400, redirect. `headers` go on every answer.
fn shop(request: &str, headers: &[(&str, &str)]) -> Served {
    let with = |status, own: &[(&str, &str)], body: &str| {
        let all: Vec<(&str, &str)> = own.iter().chain(headers).copied().collect();
        Served::with(status, &all, body.as_bytes())
    };
    match request.split(' ').nth(1).unwrap_or("") {
        "/" => with(200, &[HTML], "<title>Shop</title><script src=/app.js></script><a href='/login'>in</a>"),
        "/login" => with(200, &[HTML], "<form><input type=password></form>"),
        "/old" => with(301, &[("location", "/")], ""),
        "/app.js" => with(200, &[("content-type", "text/javascript")], "1"),
        "/api" => with(200, &[("content-type", "application/json")], "{\"ok\":true}"),
        "/%" => with(400, &[HTML], "<pre>Bad Request</pre>"),
        _ => with(404, &[HTML], "<pre>Cannot GET</pre>"),
    }
}

async fn plain(headers: Headers) -> Server {
    serve(move |request| shop(request, &headers)).await
}

async fn run_with(url: &str, profile: Profile, trust: Option<Trust>) -> Outcome {
    let (_dir, ctx) = testing::context(|ctx| {
        let safety = Safety { rps: 100_000, concurrency: 8, max_requests: 500 };
        let client = trust.map_or_else(Client::new, Client::trusting);
        let run_dir = ctx.guard.run_dir.clone();
        ctx.guard = Guard::new(client, safety, vec![], run_dir, "test".into(), ctx.clock.clone()).unwrap();
        ctx.profile = profile;
        let url = url.parse().unwrap();
        ctx.target = Some(Target { name: "staging".into(), url, ops_url: None, active: false, load: false });
    });
    super::Headers.check(&ctx).await
}

async fn run(server: &Server) -> Outcome {
    run_with(&server.url("/"), Profile::WebApp, None).await
}

fn rules(outcome: &Outcome) -> Vec<&str> {
    outcome.findings.iter().map(|f| f.rule.as_str()).collect()
}

#[tokio::test]
async fn helmet_over_plain_http_warns_only_for_http() {
    let outcome = run(&plain(helmet()).await).await;
    assert_eq!(outcome.verdict, Verdict::Warn, "{outcome:#?}");
    assert_eq!(rules(&outcome), Vec::<&str>::new());
    assert!(outcome.value.as_ref().unwrap().as_i64().unwrap() >= 100, "{:?}", outcome.value);
    assert!(outcome.summary.contains("plain http"), "{}", outcome.summary);
    assert_eq!(outcome.covered, Some(6), "page, login, API, 404, 400, static file");
}

#[tokio::test]
async fn no_headers_at_all_fail_and_name_what_to_add() {
    let outcome = run(&plain(vec![("x-powered-by", "Express")]).await).await;
    assert_eq!(outcome.verdict, Verdict::Fail);
    assert_eq!(outcome.value, Some(50.into()));
    assert_eq!(rules(&outcome), ["no-headers", "csp", "frames", "leak-powered-by", "nosniff"]);
    let hint = outcome.hint.unwrap();
    assert!(hint.contains("X-Frame-Options on page, login, 404, 400") && hint.contains("helmet()"), "{hint}");
}

#[tokio::test]
async fn everything_right_over_https_passes() {
    let (server, trust) = https(|request| shop(request, &helmet())).await;
    let url = server.url("/").replace("127.0.0.1", "localhost");
    let outcome = run_with(&url, Profile::WebApp, Some(trust.clone())).await;
    assert_eq!(outcome.verdict, Verdict::Pass, "{outcome:#?}");
    let evidence = serde_json::to_string(&outcome.evidence[0].content).unwrap();
    assert!(evidence.contains("\"certificate\":{\"issuer\""), "{evidence}");

    let invalid = run_with(&url, Profile::WebApp, None).await;
    assert_eq!((invalid.verdict, rules(&invalid)), (Verdict::Fail, vec!["certificate"]));

    let without: Headers = helmet().into_iter().filter(|(n, _)| *n != "strict-transport-security").collect();
    let (server, trust) = https(move |request| shop(request, &without)).await;
    let outcome = run_with(&server.url("/"), Profile::WebApp, Some(trust)).await;
    assert_eq!((outcome.verdict, rules(&outcome)), (Verdict::Fail, vec!["hsts"]), "{outcome:#?}");
}

/// nginx's `add_header` without `always`: headers on 200, none on errors.
#[tokio::test]
async fn the_worst_class_decides() {
    let server = serve(|request| {
        let is_error = !matches!(request.split(' ').nth(1), Some("/" | "/login" | "/app.js" | "/api"));
        shop(
            request,
            if is_error {
                &[]
            } else {
                &[
                    ("x-content-type-options", "nosniff"),
                    ("content-security-policy", "default-src 'self'; frame-ancestors 'none'"),
                ]
            },
        )
    })
    .await;
    let outcome = run(&server).await;
    assert_eq!((outcome.verdict, outcome.value.clone()), (Verdict::Fail, Some(50.into())));
    assert!(outcome.findings[0].message.contains("(404, 400)"), "{:?}", outcome.findings[0]);
}

/// Helmet's headers with one defect each: the rule it must raise and nothing else.
#[tokio::test]
async fn each_defect_is_caught_alone() {
    let changed = |name: &'static str, value: &'static str| -> Headers {
        let mut all: Headers = helmet().into_iter().filter(|(n, _)| *n != name).collect();
        if !value.is_empty() {
            all.push((name, value));
        }
        all
    };
    for (headers, rule, verdict) in [
        (changed("content-security-policy", ""), "csp", Verdict::Warn),
        (
            changed("content-security-policy", "script-src 'unsafe-inline'; frame-ancestors 'self'; object-src 'none'"),
            "csp",
            Verdict::Warn,
        ),
        (changed("x-content-type-options", ""), "nosniff", Verdict::Warn),
        (changed("referrer-policy", "unsafe-url"), "referrer", Verdict::Warn),
        (changed("cross-origin-opener-policy", "yes"), "coop", Verdict::Warn),
        (changed("x-xss-protection", "1; mode=block"), "xss-protection", Verdict::Warn),
        (changed("server", "nginx/1.18.0"), "leak-server", Verdict::Warn),
        (changed("set-cookie", "sessionid=s3cretvalue; Path=/; SameSite=Lax"), "cookie-httponly", Verdict::Fail),
        (changed("set-cookie", "csrftoken=1"), "cookie-samesite", Verdict::Warn),
        (changed("set-cookie", "a=1; SameSite=Sometimes"), "cookie-samesite", Verdict::Warn),
    ] {
        let outcome = run(&plain(headers.clone()).await).await;
        assert_eq!((rules(&outcome), outcome.verdict), (vec![rule], verdict), "{headers:?}");
        assert!(!format!("{:?}", outcome.evidence).contains("s3cretvalue"), "cookie values are not kept");
    }
    let affinity = run(&plain(changed("set-cookie", "AWSALB=1; Path=/")).await).await;
    assert_eq!(rules(&affinity), Vec::<&str>::new(), "the platform's cookies are exempt");
}

#[tokio::test]
async fn cors_for_anyone_is_told_by_its_danger() {
    async fn outcome(
        allow: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
        credentials: bool,
        vary: bool,
    ) -> Outcome {
        let server = serve(move |request| {
            let origin = request.lines().find_map(|l| l.strip_prefix("origin: ")).unwrap_or("").trim().to_string();
            let mut headers = helmet();
            let allowed = allow(&origin);
            if let Some(allowed) = &allowed {
                headers.push(("access-control-allow-origin", allowed));
                if credentials {
                    headers.push(("access-control-allow-credentials", "true"));
                }
            }
            if vary {
                headers.push(("vary", "Accept, Origin"));
            }
            shop(request, &headers)
        })
        .await;
        run(&server).await
    }
    let reflect = |origin: &str| (!origin.is_empty()).then(|| origin.to_string());
    let reflected = outcome(reflect, true, true).await;
    assert_eq!((reflected.verdict, rules(&reflected)), (Verdict::Fail, vec!["cors-credentials"]));
    assert_eq!(rules(&outcome(reflect, false, false).await), ["cors-reflection", "cors-vary"]);
    let suffix = |o: &str| o.starts_with("https://127.0.0.1").then(|| o.to_string());
    assert_eq!(rules(&outcome(suffix, true, true).await), ["cors-credentials"], "startsWith is not a check");
    let null = |o: &str| (o == "null").then(|| o.to_string());
    assert_eq!(rules(&outcome(null, true, true).await), ["cors-credentials"]);
    assert_eq!(rules(&outcome(|_| Some("*".into()), false, false).await), Vec::<&str>::new());
    assert_eq!(rules(&outcome(|_| Some("https://app.example".into()), true, true).await), Vec::<&str>::new());
}

#[tokio::test]
async fn an_api_is_held_to_what_an_api_needs() {
    let json = |request: &str, headers: &[(&str, &str)]| {
        let status = if request.starts_with("GET / ") { 200 } else { 404 };
        let all: Vec<(&str, &str)> = [("content-type", "application/json")].iter().chain(headers).copied().collect();
        Served::with(status, &all, b"{}")
    };
    let bare = serve(move |r| json(r, &[])).await;
    let outcome = run_with(&bare.url("/"), Profile::WebApi, None).await;
    assert_eq!(outcome.verdict, Verdict::Fail);
    assert_eq!(rules(&outcome), ["no-headers", "frames", "nosniff"]);
    let good = serve(move |r| {
        json(r, &[("x-content-type-options", "nosniff"), ("content-security-policy", "frame-ancestors 'none'")])
    })
    .await;
    let outcome = run_with(&good.url("/"), Profile::WebApi, None).await;
    assert_eq!(rules(&outcome), Vec::<&str>::new());
}

#[tokio::test]
async fn what_cannot_be_told_is_an_error() {
    let (_dir, ctx) = testing::context(|_| {});
    assert_eq!(super::Headers.check(&ctx).await.reason.as_deref(), Some("no-target"));
    let server = plain(vec![]).await;
    let gone = server.url("/");
    drop(server);
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(run_with(&gone, Profile::WebApp, None).await.reason.as_deref(), Some("unreachable"));
    let broken = serve(|_| Served::with(500, &[HTML], b"oops")).await;
    assert_eq!(run(&broken).await.reason.as_deref(), Some("server-error"));
    assert_eq!(run_with("http://elsewhere.invalid/", Profile::WebApp, None).await.reason.as_deref(), Some("refused"));
}

#[tokio::test]
async fn a_redirect_is_a_class_and_the_page_behind_it_is_found() {
    let server = serve(|request| match request.split(' ').nth(1) {
        Some("/") => Served::with(302, &[("location", "/home"), ("set-cookie", "sid=1; Path=/")], b""),
        Some("/home") => {
            Served::with(200, &helmet().into_iter().chain([HTML]).collect::<Vec<_>>(), b"<title>x</title>")
        }
        _ => Served::with(404, &helmet(), b""),
    })
    .await;
    let outcome = run(&server).await;
    assert_eq!((outcome.verdict, rules(&outcome)), (Verdict::Fail, vec!["cookie-httponly"]));
    assert!(outcome.findings[0].message.ends_with("(redirect)"), "{:?}", outcome.findings);
}

#[test]
fn bad_configuration_is_found() {
    let config = Config { minimum: 20, pages: vec!["shop".into()], ..Config::default() };
    assert_eq!(config.validate().unwrap_err().len(), 2);
    let _: Arc<Config> = Arc::new(toml::from_str("minimum = 80\napi = [\"/v1\"]").unwrap());
}
