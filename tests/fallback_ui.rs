//! `release.fallback_ui` with a real Chromium against shops that are not ours: plain JavaScript, React with and without an
//! error boundary, nginx with and without pages for its errors.

#[path = "support/mod.rs"]
mod support;

use serde_json::Value;
use support::gate::{self, Server, says};

fn shop(kind: &str) -> Server {
    gate::shop("fallback_ui/shop.js", kind)
}

/// nginx with these lines in its server block, a front page, and one for errors.
fn nginx(lines: &str) -> Server {
    let page = "<!doctype html><title>Tea</title><style>body{margin:2em}</style><h1>The teas of this season</h1>";
    let lost = page.replace("The teas of this season", "There is no such page, <a href=/>go home</a>");
    gate::nginx("", lines, &[("index.html", page), ("lost.html", &lost)])
}

const SETTINGS: &str = "[gates]\nsafety = { rps = 500, concurrency = 16 }\n\
    [gates.release.fallback_ui]\ntimeout_s = 0.6\nwithin_s = 1.5\n";

fn check(url: &str, settings: &str, files: &[(&str, &str)]) -> Value {
    gate::check("release.fallback_ui", url, settings, files, &[])
}

#[test]
fn plain_pages_that_catch_pass_and_each_way_to_fall_is_named() {
    let good = check(&shop("good").url, SETTINGS, &[]);
    says(&good, "pass", &[]);
    assert_eq!((&good["covered"], &good["known"]), (&Value::from(8), &Value::from(8)), "{good:#}");
    assert!(good["requests"].as_u64().unwrap() <= 8, "the server is asked once: {good:#}");
    let blank = check(&shop("blank").url, SETTINGS, &[]);
    says(&blank, "fail", &["blank-page"]);
    assert!(blank["summary"].as_str().unwrap().contains("/ goes blank when GET /api/teas answers 500"), "{blank:#}");
    says(&check(&shop("spinner").url, SETTINGS, &[]), "fail", &["dead-spinner"]);
    says(&check(&shop("raw").url, SETTINGS, &[]), "fail", &["raw-error"]);
}

#[test]
fn a_message_without_a_way_on_and_a_soft_404_warn_and_a_remembered_failure_fails() {
    says(&check(&shop("no-way").url, SETTINGS, &[]), "warn", &["no-way-on"]);
    says(&check(&shop("soft").url, SETTINGS, &[]), "warn", &["soft-404"]);
    says(&check(&shop("bare").url, SETTINGS, &[]), "warn", &["bare-404"]);
    says(&check(&shop("stuck").url, SETTINGS, &[]), "fail", &["stuck"]);
}

#[test]
fn react_needs_its_error_boundary() {
    says(&check(&shop("react-boundary").url, SETTINGS, &[]), "pass", &[]);
    says(&check(&shop("react").url, SETTINGS, &[]), "fail", &["blank-page"]);
}

#[test]
fn nginx_needs_pages_for_its_errors() {
    let own = nginx("error_page 404 /lost.html;");
    says(&check(&own.url, SETTINGS, &[]), "pass", &[]);
    says(&check(&nginx("").url, SETTINGS, &[]), "warn", &["bare-404"]);
    let down = check(&nginx("location / { proxy_pass http://127.0.0.1:1; }").url, SETTINGS, &[]);
    says(&down, "error", &[]);
    assert!(down["summary"].as_str().unwrap().contains("bare page"), "{down:#}");
    let url = own.url.clone();
    drop(own);
    assert_eq!(check(&url, SETTINGS, &[])["reason"], "unreachable");
}

#[test]
fn an_api_answers_its_errors_as_problem_details() {
    let kind = "default_type application/problem+json; return 404 '{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404}';";
    let root = "location = / { default_type application/json; return 200 '{}'; }";
    says(&check(&nginx(&format!("{root} location / {{ {kind} }}")).url, SETTINGS, &[]), "pass", &[]);
    let html = check(&nginx(root).url, SETTINGS, &[]);
    assert_eq!(html["verdict"], "fail", "{html:#}");
    assert_eq!(html["findings"][0]["rule"], "html-error", "{html:#}");
}

#[test]
fn without_a_browser_only_a_declared_boundary_counts_and_not_for_a_pass() {
    let shop = shop("good");
    let none = format!("{SETTINGS}browser = \"/nowhere/chromium\"\n");
    let bare = check(&shop.url, &none, &[]);
    assert_eq!((bare["verdict"].as_str(), bare["reason"].as_str()), (Some("error"), Some("tool-missing")), "{bare:#}");
    let boundary = "class Boundary extends React.Component {\n  componentDidCatch(e) {}\n}\n";
    let declared = check(&shop.url, &none, &[("App.jsx", boundary)]);
    assert_eq!((declared["verdict"].as_str(), declared["tier"].as_str()), (Some("warn"), Some("E1")), "{declared:#}");
    assert!(declared["summary"].as_str().unwrap().contains("App.jsx:2"), "{declared:#}");
}
