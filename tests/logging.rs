//! `monitoring.logging` against services that are not ours: Express with pino and winston, Flask with Python's logging,
//! nginx' own access log. Redacted JSON passes where logs come together; each defect put in one at a time is named.

#[path = "support/mod.rs"]
mod support;

use serde_json::Value;
use support::gate::{self, says};

const GATE: &str = "monitoring.logging";
const LAG: &str = "max_lag = \"2s\"\n";

fn settings(file: &str, more: &str) -> String {
    format!("[gates.monitoring.logs]\nfile = \"{file}\"\n{LAG}{more}")
}

fn check(script: &str, way: &str, more: &str) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("app.log");
    // Logged before the check began: not ours.
    std::fs::write(&file, "{\"msg\": \"an older line\"}\n").unwrap();
    let shop = gate::shop(script, &format!("{way} {}", file.display()));
    gate::check(GATE, &shop.url, &settings(&file.display().to_string(), more), &[], &[])
}

fn express(way: &str, more: &str) -> Value {
    check("logging/shop.js", way, more)
}

/// Who is signed in, and as whom the log names him.
const ACTOR: &str = "[[gates.actor]]\nname = \"alice\"\nrole = \"user\"\nid = \"u-1\"\nbearer = \"${env:HC_ALICE}\"\n";

fn context(way: &str, actor: &str) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("app.log");
    std::fs::write(&file, "").unwrap();
    let shop = gate::shop("logging/context.js", &format!("{way} {}", file.display()));
    let settings = format!("{}{actor}", settings(&file.display().to_string(), ""));
    gate::check("monitoring.log_context", &shop.url, &settings, &[], &[("HC_ALICE", "token-of-alice-0123456789")])
}

#[test]
fn context_that_is_bound_once_per_request_passes() {
    says(&context("bound", ACTOR), "pass", &[]);
    says(&context("bound", ""), "pass", &[]);
    says(&context("bound-by-request-id", ACTOR), "pass", &[]);
}

#[test]
fn each_gap_in_the_context_is_named() {
    says(&context("unbound", ""), "fail", &["no-id"]);
    says(&context("beside", ""), "warn", &["lines-without-id"]);
    says(&context("own-id", ""), "warn", &["not-propagated"]);
    says(&context("raw-path", ""), "warn", &["raw-path"]);
    says(&context("no-duration", ""), "warn", &["no-fields"]);
    says(&context("no-user", ACTOR), "fail", &["no-user"]);
    says(&context("email", ACTOR), "fail", &["no-user", "email-as-user"]);
    // pino-http as it comes logs all headers, the ids among them, and the raw path.
    says(&context("pino-http", ""), "warn", &["raw-path"]);
    let silent = context("silent", "");
    assert_eq!(silent["reason"], "no-lines", "{silent:#}");
}

const CENTRAL: &str = "central = true\n";

#[test]
fn redacted_json_that_comes_together_passes() {
    let pino = express("pino", CENTRAL);
    says(&pino, "pass", &[]);
    assert_eq!((&pino["covered"], &pino["known"]), (&Value::from(5), &Value::from(5)), "{pino:#}");
    says(&express("winston", CENTRAL), "pass", &[]);
    says(&check("logging/shop.py", "json", CENTRAL), "pass", &[]);
}

#[test]
fn each_defect_is_named() {
    says(&express("pino", ""), "warn", &["local-only"]);
    let leaked = express("pino-open", CENTRAL);
    says(&leaked, "fail", &["leak"]);
    assert!(leaked["summary"].as_str().unwrap().contains("bearer token"), "{leaked:#}");
    let body = express("winston-body", CENTRAL);
    says(&body, "fail", &["leak", "leak"]);
    says(&express("winston-text", CENTRAL), "warn", &["text-format"]);
    says(&express("winston-decoded", CENTRAL), "fail", &["forged-line", "text-format"]);
    says(&express("winston-late", CENTRAL), "warn", &["lag"]);
    says(&check("logging/shop.py", "text", CENTRAL), "warn", &["text-format"]);
    says(&express("silent", CENTRAL), "fail", &["no-lines"]);
}

#[test]
fn a_server_s_own_log_counts() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("access.log");
    let format = "log_format all escape=json '{\"time\":\"$time_iso8601\",\"level\":\"info\",\"msg\":\"$request\"}';";
    let server = format!("access_log {} all; location / {{ return 404; }}", file.display());
    let page = gate::nginx(format, &server, &[]);
    let row = gate::check(GATE, &page.url, &settings(&file.display().to_string(), CENTRAL), &[], &[]);
    says(&row, "pass", &[]);
}

#[test]
fn a_command_prints_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("app.log");
    std::fs::write(&file, "").unwrap();
    let shop = gate::shop("logging/shop.js", &format!("pino {}", file.display()));
    let settings = format!("[gates.monitoring.logs]\ncommand = [\"cat\", \"{}\"]\n{LAG}", file.display());
    says(&gate::check_with(&["--allow-exec", "--url", &shop.url], GATE, &settings, &[], &[]), "pass", &[]);
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let page = gate::nginx("", "location / { return 200 'hello'; }", &[]);
    let reason = |row: &Value, expect: &str| {
        assert_eq!((row["verdict"].as_str(), row["reason"].as_str()), (Some("error"), Some(expect)), "{row:#}");
    };
    let manifest = [("package.json", "{\"name\": \"shop\", \"dependencies\": {\"pino\": \"9\"}}")];
    let bare = gate::check(GATE, &page.url, "", &manifest, &[]);
    reason(&bare, "no-source");
    reason(&gate::check(GATE, &page.url, &settings("/dev/stdin", ""), &[], &[]), "unreadable");
    reason(&gate::check(GATE, &page.url, &settings("/no/such.log", "").replace("2s", "1s"), &[], &[]), "unreadable");
    let command = "[gates.monitoring.logs]\ncommand = [\"cat\", \"app.log\"]\n";
    reason(&gate::check(GATE, &page.url, command, &[], &[]), "exec-not-trusted");
    let url = page.url.clone();
    drop(page);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("app.log").display().to_string();
    reason(&gate::check(GATE, &url, &settings(&file, ""), &[], &[]), "unreachable");
}
