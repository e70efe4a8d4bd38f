//! `performance.concurrency`: people sign in to an Express shop with its sessions in a real Redis, all at one instant. The
//! good one passes with 200 and with the checklist's 1,000; each defect put in one at a time is named.

#[path = "support/mod.rs"]
mod support;

use serde_json::Value;
use support::gate::{self, says};

const PASSWORD: (&str, &str) = ("HC_USERS_PASSWORD", "correct-horse-battery");

fn settings(users: u32, more: &str) -> String {
    format!(
        "[gates.performance.concurrency]\nusers = {users}\npattern = \"hc-user-{{n}}\"\n\
         password = \"${{env:HC_USERS_PASSWORD}}\"\nramp = \"2s\"\nhold = \"3s\"\nevery = \"1s\"\n{more}"
    )
}

fn check(fault: &str, users: u32, more: &str) -> Value {
    let redis = gate::redis("for-the-tests-alone", &[]);
    let shop =
        gate::shop("concurrency/shop.js", &format!("{fault} redis://:for-the-tests-alone@127.0.0.1:{}", redis.port));
    gate::check("performance.concurrency", &shop.url, &settings(users, more), &[], &[PASSWORD])
}

fn reason(row: &Value) -> &str {
    row["reason"].as_str().unwrap_or_default()
}

#[test]
fn a_thousand_people_are_signed_in_at_one_instant() {
    let good = check("none", 1000, "");
    says(&good, "pass", &[]);
    assert_eq!((&good["value"], &good["threshold"]), (&Value::from(1000), &Value::from(1000)), "{good:#}");
}

#[test]
fn mixed_up_users_fail() {
    let mixed = check("current-user", 200, "");
    says(&mixed, "fail", &["mix-up"]);
    assert!(!mixed.to_string().contains("hc-user-1"), "accounts are told by digest: {mixed:#}");
}

#[test]
fn each_defect_is_named() {
    says(&check("refuse-some", 200, ""), "fail", &["sessions", "errors"]);
    says(&check("slow", 100, ""), "warn", &["slow-login"]);
    says(&check("slow", 100, "p95_ms = 1000\n"), "fail", &["slow-login"]);
    says(&check("logout", 100, ""), "warn", &["logout"]);
}

#[test]
fn what_was_not_measured_is_an_error() {
    let limited = check("limited", 100, "");
    assert_eq!((limited["verdict"].as_str(), reason(&limited)), (Some("error"), "throttled"), "{limited:#}");
    let nameless = check("nameless", 50, "");
    assert_eq!((nameless["verdict"].as_str(), reason(&nameless)), (Some("error"), "no-page"), "{nameless:#}");
    let redis = gate::redis("for-the-tests-alone", &[]);
    let shop =
        gate::shop("concurrency/shop.js", &format!("none redis://:for-the-tests-alone@127.0.0.1:{}", redis.port));
    let unnamed = gate::check("performance.concurrency", &shop.url, "", &[], &[]);
    assert_eq!((unnamed["verdict"].as_str(), reason(&unnamed)), (Some("error"), "no-users"), "{unnamed:#}");
    let wrong = [("HC_USERS_PASSWORD", "not-the-password-at-all")];
    let refused = gate::check("performance.concurrency", &shop.url, &settings(20, ""), &[], &wrong);
    assert_eq!((refused["verdict"].as_str(), reason(&refused)), (Some("error"), "no-users"), "{refused:#}");
    let url = shop.url.clone();
    drop(shop);
    let gone = gate::check("performance.concurrency", &url, &settings(20, ""), &[], &[PASSWORD]);
    assert_eq!((gone["verdict"].as_str(), reason(&gone)), (Some("error"), "unreachable"), "{gone:#}");
}

#[test]
fn accounts_may_come_from_a_file_and_visitors_need_none() {
    let redis = gate::redis("for-the-tests-alone", &[]);
    let shop =
        gate::shop("concurrency/shop.js", &format!("none redis://:for-the-tests-alone@127.0.0.1:{}", redis.port));
    let users: String = (1..=30).map(|n| format!("hc-user-{n},correct-horse-battery\n")).collect();
    let table = "[gates.performance.concurrency]\nramp = \"1s\"\nhold = \"2s\"\nevery = \"1s\"\nfile = \"users.csv\"\n";
    let files = [("users.csv", users.as_str())];
    let run = |count: u32| {
        gate::check("performance.concurrency", &shop.url, &format!("{table}users = {count}\n"), &files, &[])
    };
    says(&run(30), "pass", &[]);
    let few = run(31);
    assert_eq!((few["verdict"].as_str(), reason(&few)), (Some("error"), "no-users"), "{few:#}");
    let page = gate::nginx("", "location / { return 200 'hello'; }", &[]);
    let table = "[gates.performance.concurrency]\nusers = 300\nramp = \"1s\"\nhold = \"2s\"\nevery = \"1s\"\n";
    let visitors = gate::check("performance.concurrency", &page.url, table, &[], &[]);
    says(&visitors, "pass", &[]);
    assert!(visitors["summary"].as_str().unwrap().contains("300 visitors at one instant"), "{visitors:#}");
}
