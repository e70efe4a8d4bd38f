//! `release.fallback_ui` with a real Chromium against shops that are not ours: plain JavaScript, React with and without an
//! error boundary, nginx with and without pages for its errors.

#[path = "support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::wait_within;

struct Server(Child, String, Option<tempfile::TempDir>);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn shop(kind: &str) -> Server {
    let modules = support::root().join("target/test-node/node_modules");
    assert!(modules.join("react").exists(), "react is missing: run tests/setup.sh (make test does)");
    let mut command = Command::new("node");
    command.arg(support::root().join("tests/fallback_ui/shop.js")).arg(kind).env("NODE_PATH", modules);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port: u16 = line.trim().parse().expect("a shop prints its port");
    Server(child, format!("http://127.0.0.1:{port}/"), None)
}

/// nginx in the foreground with these lines in its server block; `html` is its root.
fn nginx(lines: &str) -> Server {
    let dir = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let root = dir.path().display();
    std::fs::create_dir(dir.path().join("html")).unwrap();
    let page = "<!doctype html><title>Tea</title><style>body{margin:2em}</style><h1>The teas of this season</h1>";
    std::fs::write(dir.path().join("html/index.html"), page).unwrap();
    let lost = page.replace("The teas of this season", "There is no such page, <a href=/>go home</a>");
    std::fs::write(dir.path().join("html/lost.html"), lost).unwrap();
    let config = format!(
        "daemon off; master_process off; pid {root}/pid; error_log {root}/error.log;\n\
         events {{}} http {{ access_log off; types {{ text/html html; }} default_type text/html;\n\
         client_body_temp_path {root}/b; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u;\n\
         scgi_temp_path {root}/s; server {{ listen 127.0.0.1:{port}; root {root}/html; {lines} }} }}"
    );
    std::fs::write(dir.path().join("nginx.conf"), config).unwrap();
    let binary = ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|p| Path::new(p).exists()).expect("nginx");
    let mut command = Command::new(binary);
    command.arg("-p").arg(dir.path()).arg("-c").arg(dir.path().join("nginx.conf")).stderr(Stdio::null());
    let child = command.stdout(Stdio::null()).spawn().unwrap();
    wait_within(Duration::from_secs(10), "nginx", || TcpStream::connect(("127.0.0.1", port)).ok());
    Server(child, format!("http://127.0.0.1:{port}/"), Some(dir))
}

const SETTINGS: &str = "[gates]\nsafety = { rps = 500, concurrency = 16 }\n\
    [gates.release.fallback_ui]\ntimeout_s = 0.6\nwithin_s = 1.5\n";

/// The gate's row.
fn check(url: &str, settings: &str, files: &[(&str, &str)]) -> Value {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("hypercare.toml"), settings).unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let output = Command::new(env!("CARGO_BIN_EXE_hypercare"))
        .current_dir(dir.path())
        .env_remove("HYPERCARE_CONFIG")
        .args(["check", "--repo", ".", "--url", url, "--only", "release.fallback_ui", "--format", "json", "--no-cache"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let document: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
    document["gates"][0].clone()
}

/// Verdict and the rules of the findings.
fn told(gate: &Value) -> (String, Vec<String>) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let rules = gate["findings"].as_array().unwrap().iter().map(|f| text(&f["rule"]));
    (text(&gate["verdict"]), rules.collect())
}

#[track_caller]
fn says(gate: &Value, verdict: &str, rules: &[&str]) {
    let (got, found) = told(gate);
    assert_eq!(
        (got.as_str(), found.iter().map(String::as_str).collect::<Vec<_>>()),
        (verdict, rules.to_vec()),
        "{gate:#}"
    );
}

#[test]
fn plain_pages_that_catch_pass_and_each_way_to_fall_is_named() {
    let good = check(&shop("good").1, SETTINGS, &[]);
    says(&good, "pass", &[]);
    assert_eq!((&good["covered"], &good["known"]), (&Value::from(8), &Value::from(8)), "{good:#}");
    assert!(good["requests"].as_u64().unwrap() <= 8, "the server is asked once: {good:#}");
    let blank = check(&shop("blank").1, SETTINGS, &[]);
    says(&blank, "fail", &["blank-page"]);
    assert!(blank["summary"].as_str().unwrap().contains("/ goes blank when GET /api/teas answers 500"), "{blank:#}");
    says(&check(&shop("spinner").1, SETTINGS, &[]), "fail", &["dead-spinner"]);
    says(&check(&shop("raw").1, SETTINGS, &[]), "fail", &["raw-error"]);
}

#[test]
fn a_message_without_a_way_on_and_a_soft_404_warn_and_a_remembered_failure_fails() {
    says(&check(&shop("no-way").1, SETTINGS, &[]), "warn", &["no-way-on"]);
    says(&check(&shop("soft").1, SETTINGS, &[]), "warn", &["soft-404"]);
    says(&check(&shop("bare").1, SETTINGS, &[]), "warn", &["bare-404"]);
    says(&check(&shop("stuck").1, SETTINGS, &[]), "fail", &["stuck"]);
}

#[test]
fn react_needs_its_error_boundary() {
    says(&check(&shop("react-boundary").1, SETTINGS, &[]), "pass", &[]);
    says(&check(&shop("react").1, SETTINGS, &[]), "fail", &["blank-page"]);
}

#[test]
fn nginx_needs_pages_for_its_errors() {
    let own = nginx("error_page 404 /lost.html;");
    says(&check(&own.1, SETTINGS, &[]), "pass", &[]);
    says(&check(&nginx("").1, SETTINGS, &[]), "warn", &["bare-404"]);
    let down = check(&nginx("location / { proxy_pass http://127.0.0.1:1; }").1, SETTINGS, &[]);
    says(&down, "error", &[]);
    assert!(down["summary"].as_str().unwrap().contains("bare page"), "{down:#}");
    let url = own.1.clone();
    drop(own);
    assert_eq!(check(&url, SETTINGS, &[])["reason"], "unreachable");
}

#[test]
fn an_api_answers_its_errors_as_problem_details() {
    let kind = "default_type application/problem+json; return 404 '{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404}';";
    let root = "location = / { default_type application/json; return 200 '{}'; }";
    says(&check(&nginx(&format!("{root} location / {{ {kind} }}")).1, SETTINGS, &[]), "pass", &[]);
    let html = check(&nginx(root).1, SETTINGS, &[]);
    assert_eq!(told(&html).0, "fail", "{html:#}");
    assert!(told(&html).1.contains(&"html-error".to_string()), "{html:#}");
}

#[test]
fn without_a_browser_only_a_declared_boundary_counts_and_not_for_a_pass() {
    let shop = shop("good");
    let none = format!("{SETTINGS}browser = \"/nowhere/chromium\"\n");
    let bare = check(&shop.1, &none, &[]);
    assert_eq!((bare["verdict"].as_str(), bare["reason"].as_str()), (Some("error"), Some("tool-missing")), "{bare:#}");
    let boundary = "class Boundary extends React.Component {\n  componentDidCatch(e) {}\n}\n";
    let declared = check(&shop.1, &none, &[("App.jsx", boundary)]);
    assert_eq!((declared["verdict"].as_str(), declared["tier"].as_str()), (Some("warn"), Some("E1")), "{declared:#}");
    assert!(declared["summary"].as_str().unwrap().contains("App.jsx:2"), "{declared:#}");
}
