//! Tests of the gate: every kind of item real, the same paths under a single-page app clean.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::domain::verdict::Verdict;
use crate::gates::testing;
use crate::net::Client;
use crate::net::safety::{Guard, Safety};
use crate::net::tests_support::{Served, Server, serve};

const SPA: &str = "<!doctype html><html><head><title>Admin Dashboard</title></head><body><div id=root></div>\
    <script src=/app.js></script></body></html>";

async fn run_at(url: &str, ops_url: Option<&str>, config: &str) -> Outcome {
    let (_dir, ctx) = testing::context(|ctx| {
        let safety = Safety { rps: 100_000, concurrency: 8, max_requests: 500 };
        let run_dir = ctx.guard.run_dir.clone();
        ctx.guard = Guard::new(Client::new(), safety, vec![], run_dir, "test".into(), ctx.clock.clone()).unwrap();
        let mut gates = crate::gates::Config::default();
        gates.security.exposure = toml::from_str(config).unwrap();
        ctx.config = std::sync::Arc::new(gates);
        let url = url.parse().unwrap();
        let ops_url = ops_url.map(|u| u.parse().unwrap());
        ctx.target = Some(Target { name: "staging".into(), url, ops_url, active: false, load: false });
    });
    Exposure.check(&ctx).await
}

async fn run(server: &Server) -> Outcome {
    run_at(&server.url("/"), None, "").await
}

fn paths(outcome: &Outcome) -> Vec<String> {
    outcome.findings.iter().filter_map(|f| f.route.as_ref()?.strip_prefix("GET ").map(String::from)).collect()
}

/// A site that serves exactly these bodies and 404 for the rest.
async fn site(files: &[(&str, &str, &[u8])]) -> Server {
    let files: BTreeMap<String, (String, Vec<u8>)> =
        files.iter().map(|(p, t, b)| (p.to_string(), (t.to_string(), b.to_vec()))).collect();
    serve(move |request| {
        let path = request.split(' ').nth(1).unwrap_or("");
        match files.get(path) {
            Some((kind, body)) => Served::typed(kind, body),
            None => Served::with(404, &[("content-type", "text/html")], b"<h1>Not Found</h1>"),
        }
    })
    .await
}

#[tokio::test]
async fn a_real_git_repository_is_found() {
    let (dir, _repo) = testing::git_repo(&[("README.md", "hello")]);
    let root = dir.path().to_path_buf();
    let server = serve(move |request| {
        let path = request.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_string();
        match std::fs::read(root.join(&path)) {
            Ok(body) if path.starts_with(".git") => Served::typed("application/octet-stream", &body),
            _ => Served::with(404, &[], b"nothing here"),
        }
    })
    .await;
    let outcome = run(&server).await;
    assert_eq!(outcome.verdict, Verdict::Fail);
    assert_eq!(paths(&outcome), ["/.git/HEAD", "/.git/config", "/.git/index", "/.git/logs/HEAD"]);
    assert!(outcome.hint.unwrap().contains("well-known"));
}

#[tokio::test]
async fn each_item_is_known_by_its_content() {
    let text = "text/plain";
    let json = "application/json";
    let html = "text/html";
    let samples: Vec<(&str, &str, &[u8], Verdict)> = vec![
        ("/.env", text, b"# app\nAPP_ENV=prod\n\nDB_PASSWORD=hunter2secret\n", Verdict::Fail),
        ("/.svn/wc.db", text, b"SQLite format 3\0rest", Verdict::Fail),
        ("/.htpasswd", text, b"admin:$apr1$x$y\n", Verdict::Fail),
        ("/id_rsa", text, b"-----BEGIN OPENSSH PRIVATE KEY-----\nabc", Verdict::Fail),
        ("/backup.zip", "application/zip", b"PK\x03\x04....", Verdict::Fail),
        ("/dump.sql", text, b"-- MySQL dump 10.13\nCREATE TABLE x (", Verdict::Fail),
        ("/.aws/credentials", text, b"[default]\naws_access_key_id = AKIA\n", Verdict::Fail),
        ("/actuator/env", json, b"{\"activeProfiles\":[],\"propertySources\":[]}", Verdict::Fail),
        ("/actuator/heapdump", "application/octet-stream", b"JAVA PROFILE 1.0.2\0", Verdict::Fail),
        ("/debug/pprof/", html, b"<html><title>/debug/pprof/</title>Types of profiles available:", Verdict::Fail),
        ("/debug/vars", json, b"{\"cmdline\": [\"x\"], \"memstats\": {}}", Verdict::Fail),
        ("/console", html, b"<title>Console</title><script>EVALEX = true</script>", Verdict::Fail),
        ("/phpinfo.php", html, b"<title>PHP 8.2 - phpinfo()</title>", Verdict::Fail),
        ("/server-status", html, b"<h1>Apache Server Status for x</h1>", Verdict::Fail),
        ("/metrics", text, b"# HELP a A.\n# TYPE a counter\na 1\n", Verdict::Fail),
        ("/_cat/indices", text, b"green open shop 1 1\n", Verdict::Fail),
        ("/admin", html, b"<title>Shop administration</title><table><tr><td>alice@example.org</table>", Verdict::Fail),
        ("/debug", json, b"{\"env\": {\"HOME\": \"/root\"}}", Verdict::Fail),
        ("/manager/html", html, b"<title>x</title>Tomcat Web Application Manager", Verdict::Fail),
        ("/access.log", text, b"1.2.3.4 - - [22/Nov/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 5\n", Verdict::Fail),
        ("/admin/", html, b"<title>Admin</title><form><input type=password name=p></form>", Verdict::Warn),
        ("/wp-login.php", html, b"<form id=\"loginform\">", Verdict::Warn),
        ("/openapi.json", json, b"{\"openapi\": \"3.1.0\"}", Verdict::Warn),
        (
            "/graphql?query=%7B__schema%7BqueryType%7Bname%7D%7D%7D",
            json,
            b"{\"data\":{\"__schema\":{}}}",
            Verdict::Warn,
        ),
        ("/uploads/", html, b"<title>Index of /uploads/</title>", Verdict::Warn),
        ("/.DS_Store", text, b"\0\0\0\x01Bud1\0", Verdict::Warn),
        ("/nginx_status", text, b"Active connections: 2 \n", Verdict::Warn),
    ];
    for (path, kind, body, verdict) in samples {
        let outcome = run(&site(&[(path, kind, body)]).await).await;
        assert_eq!((outcome.verdict, paths(&outcome)), (verdict, vec![path.to_string()]), "{path}");
        assert!(!format!("{:?}", outcome.evidence).contains("hunter2secret"), "evidence keeps no content");
    }
}

#[tokio::test]
async fn a_single_page_app_stays_clean() {
    let server = serve(|request| match request.split(' ').nth(1) {
        Some("/app.js") => Served::typed("text/javascript", b"console.log(1)"),
        _ => Served::typed("text/html", SPA.as_bytes()),
    })
    .await;
    let outcome = run(&server).await;
    assert_eq!((outcome.verdict, paths(&outcome)), (Verdict::Pass, vec![]));
    assert_eq!(outcome.evidence[0].content["soft_404"], true);
    let kind_words = serve(|_| Served::typed("application/json", b"{\"error\":\"not found\",\"status\":200}")).await;
    assert_eq!(run(&kind_words).await.verdict, Verdict::Pass);
    let plain = run(&site(&[("/", "text/html", SPA.as_bytes())]).await).await;
    assert_eq!(plain.verdict, Verdict::Pass);
    assert!(plain.covered.unwrap() > 150 && plain.covered == plain.known);
}

#[tokio::test]
async fn admin_counts_whatever_it_looks_like_when_unknown_paths_do_not() {
    let list = run(&site(&[("/admin", "application/json", b"[{\"user\":\"alice\"}]")]).await).await;
    assert_eq!(list.verdict, Verdict::Fail);
    let refusal = run(&site(&[("/admin", "application/json", b"{\"error\":\"login first\"}")]).await).await;
    assert_eq!(refusal.verdict, Verdict::Pass);
    let shell = run(&site(&[("/admin", "text/html", b"<div id=x></div><script src=/a.js></script>")]).await).await;
    assert_eq!((shell.verdict, shell.findings[0].confidence), (Verdict::Warn, Confidence::Medium));
    let closed = serve(|request| match request.split(' ').nth(1) {
        Some("/admin" | "/debug") => Served::with(403, &[], b"no"),
        _ => Served::with(404, &[], b"no"),
    })
    .await;
    assert_eq!(run(&closed).await.verdict, Verdict::Pass);
}

#[tokio::test]
async fn source_maps_of_served_bundles_warn() {
    let map = b"{\"version\":3,\"sources\":[\"src/a.ts\"],\"sourcesContent\":[\"secret\"],\"mappings\":\"A\"}";
    let page = b"<script src='/assets/app.9f.js'></script><script src='https://cdn.example/x.js'></script>";
    let server = site(&[("/", "text/html", page), ("/assets/app.9f.js.map", "application/json", map)]).await;
    let outcome = run(&server).await;
    assert_eq!((outcome.verdict, paths(&outcome)), (Verdict::Warn, vec!["/assets/app.9f.js.map".to_string()]));
}

#[tokio::test]
async fn metrics_may_stand_on_ops_url_and_what_is_allowed_is_listed() {
    let server = site(&[("/metrics", "text/plain", b"# TYPE a counter\na 1\n")]).await;
    let url = server.url("/");
    let own = run_at(&url, Some(&url), "").await;
    assert_eq!(own.verdict, Verdict::Pass);
    assert_eq!(own.findings[0].suppressed.as_deref(), Some("ops_url of a loopback target"));
    assert_eq!(run_at(&url, Some("http://127.0.0.1:1/"), "").await.verdict, Verdict::Fail);
    let allowed = run_at(&url, None, "allow = [{ path = '/met*', reason = 'public by contract' }]").await;
    assert_eq!(allowed.findings[0].suppressed.as_deref(), Some("allowed: public by contract"));
    assert_eq!((allowed.verdict, allowed.value), (Verdict::Pass, Some(0.into())));
}

#[tokio::test]
async fn what_cannot_be_told_is_an_error() {
    let (_dir, ctx) = testing::context(|_| {});
    assert_eq!(Exposure.check(&ctx).await.reason.as_deref(), Some("no-target"));
    let turn = std::sync::atomic::AtomicU32::new(0);
    let noisy = serve(move |_| match turn.fetch_add(1, std::sync::atomic::Ordering::SeqCst) % 2 {
        0 => Served::ok("a page"),
        _ => Served::with(404, &[], b""),
    })
    .await;
    assert_eq!(run(&noisy).await.reason.as_deref(), Some("noisy"));
    let throttling = serve(|request| match request.contains("/hc-test") {
        true => Served::with(404, &[], b""),
        false => Served::with(429, &[("retry-after", "9")], b"slow down"),
    })
    .await;
    assert_eq!(run(&throttling).await.reason.as_deref(), Some("throttled"));
    let closed = serve(|_| Served::with(401, &[("www-authenticate", "Basic")], b"")).await;
    assert_eq!(run(&closed).await.verdict, Verdict::Warn);
    let gone = serve(|_| Served::Close).await.url("/");
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(run_at(&gone, None, "").await.reason.as_deref(), Some("unreachable"));
    let bad = run_at(&gone, None, "allow = [{ path = 'x', reason = '' }]").await;
    assert_eq!(bad.reason.as_deref(), Some("bad-config"));
}
