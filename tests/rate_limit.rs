//! `security.rate_limit` against limiters that are not ours: express-rate-limit with each generation of its headers,
//! Flask-Limiter, nginx' `limit_req`. Each way to be no limit is put in one at a time.

#[path = "support/mod.rs"]
mod support;

use serde_json::Value;
use support::gate::{self, says};

const GATE: &str = "security.rate_limit";
const SETTINGS: &str = "[gates.security.rate_limit]\nmax_wait = \"10s\"\nrps = 50\n";

fn express(way: &str) -> Value {
    let shop = gate::shop("rate_limit/shop.js", way);
    gate::check(GATE, &shop.url, SETTINGS, &[], &[])
}

#[test]
fn each_generation_of_headers_passes() {
    for way in ["legacy", "draft-6", "draft-7", "draft-8"] {
        let row = express(way);
        says(&row, "pass", &[]);
        assert_eq!(row["value"], 2, "the route and the login: {row:#}");
    }
    let flask = gate::shop("rate_limit/shop.py", "limited");
    says(&gate::check(GATE, &flask.url, SETTINGS, &[], &[]), "pass", &[]);
}

#[test]
fn a_quota_that_is_larger_than_the_burst_is_counted() {
    let large = express("large");
    says(&large, "pass", &[]);
    assert!(large["summary"].as_str().unwrap().contains("by its counter"), "{large:#}");
}

#[test]
fn each_way_to_be_no_limit_is_named() {
    let none = express("none");
    says(&none, "fail", &["unlimited", "login-unlimited"]);
    says(&express("login-open"), "fail", &["login-unlimited"]);
    let forgeable = express("forgeable");
    says(&forgeable, "fail", &["bypass", "bypass"]);
    assert!(forgeable["summary"].as_str().unwrap().contains("x-forwarded-for"), "{forgeable:#}");
    says(&express("silent"), "warn", &["no-retry-after", "no-retry-after"]);
    says(&express("twins"), "warn", &["per-instance"]);
    let exempt = express("exempt");
    assert_eq!(exempt["reason"], "loopback-exempt", "{exempt:#}");
    let dead = express("dies");
    // In the middle of an answer, or before one.
    assert!(["broken-http", "unreachable"].contains(&dead["reason"].as_str().unwrap()), "{dead:#}");
}

#[test]
fn nginx_turns_away_with_503_unless_it_is_told_better() {
    let check = |status: &str| {
        let zone = "limit_req_zone $binary_remote_addr zone=all:1m rate=5r/s;";
        let server = format!("location / {{ limit_req zone=all burst=10 nodelay; {status} }}");
        let page = gate::nginx(zone, &server, &[("index.html", "shop")]);
        gate::check(GATE, &page.url, SETTINGS, &[], &[])
    };
    says(&check(""), "warn", &["status-503", "no-retry-after"]);
    says(&check("limit_req_status 429;"), "warn", &["no-retry-after"]);
    let page = gate::nginx(
        "limit_req_zone $binary_remote_addr zone=all:1m rate=5r/s;",
        "location / { limit_req zone=all burst=10; }",
        &[("index.html", "shop")],
    );
    let patient = "[gates.security.rate_limit]\nburst = 20\nrps = 50\n";
    says(&gate::check(GATE, &page.url, patient, &[], &[]), "warn", &["held-back"]);
}
