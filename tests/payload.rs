//! `performance.payload` against APIs that are not ours: Express, Flask, graphql-yoga. Good ones pass, each defect put in
//! one at a time is named.

#[path = "support/mod.rs"]
mod support;

use serde_json::Value;
use support::gate::{self, says};

const SETTINGS: &str = "[gates]\nsafety = { rps = 500, concurrency = 16 }\n";
const ACTOR: &str = "[[gates.actor]]\nname = \"alice\"\nrole = \"user\"\nbearer = \"${env:HC_ALICE}\"\n";
const ALICE: (&str, &str) = ("HC_ALICE", "token-of-alice-0123456789");

fn express(fault: &str) -> Value {
    let shop = gate::shop("payload/shop.js", fault);
    let row = gate::check("performance.payload", &shop.url, SETTINGS, &[], &[]);
    let text = row.to_string();
    assert!(!text.contains("N9qo8uLO") && !text.contains("correct-horse"), "no value is told");
    row
}

#[test]
fn documented_paged_and_compressed_answers_pass() {
    let good = express("none");
    says(&good, "pass", &[]);
    assert!(good["covered"].as_u64().unwrap() >= 3, "lists tell the ids that items are asked by: {good:#}");
    assert_eq!(good["covered"], good["known"]);
    says(&express("harmless"), "warn", &["undocumented-field"]);
}

#[test]
fn each_defect_is_named() {
    let hash = express("hash");
    says(&hash, "fail", &["sensitive-field", "undocumented-field"]);
    assert!(hash["summary"].as_str().unwrap().contains("GET /users returns [].digest (bcrypt hash"), "{hash:#}");
    says(&express("name"), "fail", &["sensitive-field", "undocumented-field"]);
    says(&express("emails"), "fail", &["emails-of-others", "undocumented-field"]);
    says(&express("undocumented"), "warn", &["undocumented-field"]);
    let unbounded = express("unbounded");
    says(&unbounded, "fail", &["unbounded-list"]);
    assert!(unbounded["summary"].as_str().unwrap().contains("all 400 items"), "{unbounded:#}");
    says(&express("large-page"), "warn", &["large-page"]);
    says(&express("plain"), "warn", &["no-compression"]);
}

#[test]
fn graphql_needs_limits() {
    says(&express("graphql-limited"), "pass", &[]);
    let open = express("graphql");
    says(&open, "fail", &["graphql-depth", "graphql-aliases"]);
}

#[test]
fn an_actor_reads_what_is_his() {
    let settings = format!("{SETTINGS}{ACTOR}");
    let flask = |fault: &str, settings: &str, env: &[(&str, &str)]| {
        let shop = gate::shop("payload/shop.py", fault);
        gate::check("performance.payload", &shop.url, settings, &[], env)
    };
    says(&flask("none", &settings, &[ALICE]), "pass", &[]);
    let hash = flask("hash", &settings, &[ALICE]);
    says(&hash, "fail", &["sensitive-field", "undocumented-field"]);
    assert!(hash["summary"].as_str().unwrap().contains("scrypt hash"), "{hash:#}");
    let anonymous = flask("none", SETTINGS, &[]);
    assert_eq!((anonymous["verdict"].as_str(), anonymous["reason"].as_str()), (Some("error"), Some("no-credentials")));
    let unset = flask("none", &settings, &[]);
    assert_eq!(
        (unset["verdict"].as_str(), unset["reason"].as_str()),
        (Some("error"), Some("no-credentials")),
        "{unset:#}"
    );
}

#[test]
fn pages_alone_are_skipped_and_a_stopped_shop_is_an_error() {
    let page = "<!doctype html><title>Tea</title><h1>The teas of this season</h1>";
    let pages = gate::nginx("", "", &[("index.html", page)]);
    let row = gate::check("performance.payload", &pages.url, SETTINGS, &[], &[]);
    assert_eq!((row["verdict"].as_str(), row["reason"].as_str()), (Some("skip"), Some("no-api")), "{row:#}");
    let url = pages.url.clone();
    drop(pages);
    let row = gate::check("performance.payload", &url, SETTINGS, &[], &[]);
    assert_eq!((row["verdict"].as_str(), row["reason"].as_str()), (Some("error"), Some("unreachable")), "{row:#}");
}
