//! `code.edge_cases` against shops that are not ours: Flask and Express, good ones and each defect by itself.

#[path = "support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

struct Shop {
    child: Child,
    out: Option<BufReader<ChildStdout>>,
    url: String,
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Shop {
    fn started(command: &mut Command) -> Shop {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let port: u16 = line.trim().parse().expect("a shop prints its port");
        Shop { child, out: Some(out), url: format!("http://127.0.0.1:{port}/") }
    }

    fn flask(defect: &str) -> Shop {
        Shop::started(Command::new(support::python()).arg(support::root().join("tests/limits/teas.py")).arg(defect))
    }

    fn express(defect: &str) -> Shop {
        let modules = support::root().join("target/test-node/node_modules");
        assert!(modules.exists(), "express is missing: run tests/setup.sh (make test does)");
        let script = support::root().join("tests/limits/teas.js");
        Shop::started(Command::new("node").arg(script).arg(defect).env("NODE_PATH", modules))
    }

    /// Was anything taken that a check should never have sent? Ends the shop.
    fn kept(mut self) -> bool {
        let out = self.out.take();
        drop(self);
        out.is_some_and(|out| out.lines().map_while(Result::ok).any(|line| line == "KEPT"))
    }
}

/// The gate's result as `check` prints it.
fn check(url: &str) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let settings = "[gates]\nsafety = { rps = 500, concurrency = 4, max_requests = 5000 }\n";
    std::fs::write(dir.path().join("hypercare.toml"), settings).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_hypercare"))
        .current_dir(dir.path())
        .env_remove("HYPERCARE_CONFIG")
        .env("NO_COLOR", "1")
        .args(["check", "--repo", ".", "--url", url, "--only", "code.edge_cases", "--format", "json"])
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(dir.path().join("out")).unwrap())
        .stderr(std::fs::File::create(dir.path().join("err")).unwrap())
        .spawn()
        .unwrap();
    support::wait_within(Duration::from_secs(90), "the check", || child.try_wait().unwrap());
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    let document: Value = serde_json::from_str(&read("out")).unwrap_or_else(|e| panic!("{e}: {}", read("err")));
    document["gates"][0].clone()
}

fn verdict(gate: &Value) -> (String, Vec<String>) {
    let mut rules: Vec<String> = gate["findings"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|f| format!("{} {}", f["rule"].as_str().unwrap(), f["route"].as_str().unwrap_or_default()))
        .collect();
    rules.sort();
    rules.dedup();
    (gate["verdict"].as_str().unwrap_or_default().to_string(), rules)
}

fn says(shop: Shop, expect: &str, rules: &[&str]) {
    let gate = check(&shop.url);
    let (verdict, found) = verdict(&gate);
    assert_eq!((verdict.as_str(), found), (expect, rules.iter().map(|r| r.to_string()).collect()), "{gate:#}");
    assert!(!shop.kept(), "something valid was sent");
}

#[test]
fn flask_good_passes_and_each_defect_is_told() {
    says(Shop::flask("none"), "pass", &[]);
    says(Shop::flask("int-parse"), "fail", &["invalid-accepted GET /teas", "server-error GET /teas"]);
    says(Shop::flask("unicode"), "fail", &["server-error GET /teas"]);
    says(Shop::flask("missing-key"), "fail", &["server-error POST /teas"]);
    says(Shop::flask("truncated"), "fail", &["server-error POST /teas"]);
    says(Shop::flask("trace"), "fail", &["leak GET /teas/{id}"]);
    says(
        Shop::flask("no-allow"),
        "warn",
        &["no-allow GET /", "no-allow GET /teas", "no-allow GET /teas/{id}", "no-allow POST /teas"],
    );
    says(Shop::flask("accepts"), "warn", &["invalid-accepted GET /teas"]);
    says(Shop::flask("shapes"), "warn", &["error-shapes "]);
}

#[test]
fn express_good_passes_and_each_defect_is_told() {
    says(Shop::express("none"), "pass", &[]);
    says(Shop::express("type"), "fail", &["server-error GET /teas"]);
    says(Shop::express("missing-key"), "fail", &["server-error POST /teas"]);
    says(Shop::express("reset"), "fail", &["broken-connection POST /teas"]);
    let stack = check(&Shop::express("stack").url);
    assert!(verdict(&stack).1.contains(&"leak POST /teas".to_string()), "{stack:#}");
}

#[test]
fn a_server_that_is_gone_is_no_pass() {
    let shop = Shop::flask("none");
    let url = shop.url.clone();
    drop(shop);
    let gate = check(&url);
    assert_eq!(gate["verdict"], "error", "{gate:#}");
}
