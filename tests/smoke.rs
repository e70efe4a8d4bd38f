//! `hypercare smoke` against shops that are not ours: Express and Flask. Good ones are green; a broken asset hash, a page
//! that answers everything, and a server that hangs are not.

#[path = "support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

struct Shop(Child, String);

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn started(command: &mut Command) -> Shop {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port: u16 = line.trim().parse().expect("a shop prints its port");
    Shop(child, format!("http://127.0.0.1:{port}/"))
}

fn express(fault: &str) -> Shop {
    let modules = support::root().join("target/test-node/node_modules");
    assert!(modules.exists(), "express is missing: run tests/setup.sh (make test does)");
    started(Command::new("node").arg(support::root().join("tests/smoke/shop.js")).arg(fault).env("NODE_PATH", modules))
}

fn flask(fault: &str) -> Shop {
    started(Command::new(support::python()).arg(support::root().join("tests/smoke/shop.py")).arg(fault))
}

const LIST: &str = r#"
[[item]]
name = "it is up"
request = "GET /health"
json = { status = "pass" }
retry = "5s"

[[item]]
name = "the home page renders"
request = "GET /"
body = ["Tea shop"]
assets = true

[[item]]
name = "somebody can log in"
request = "POST /login"
send_form = { user = "${env:SMOKE_USER}", password = "${env:SMOKE_PASSWORD}" }
body = ["welcome"]
leaves = "a session"

[[item]]
name = "their basket"
request = "GET /basket"
body = ["basket of ann"]
within = "2s"

[[item]]
name = "an order"
request = "POST /api/orders"
send_json = { ref = "hc-{run}" }
status = [201]
save = { order = "id" }
cleanup = "DELETE /api/orders/{order}"
"#;

fn hypercare(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hypercare"))
        .current_dir(dir)
        .env_remove("HYPERCARE_CONFIG")
        .env("NO_COLOR", "1")
        .env("SMOKE_USER", "ann")
        .env("SMOKE_PASSWORD", "correct horse battery staple")
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Exit code, and the items that were not green with why.
fn run(shop: &Shop) -> (i32, Vec<(String, String)>) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("smoke.toml"), LIST).unwrap();
    let output = hypercare(dir.path(), &["smoke", "run", "--url", &shop.1, "--format", "json"]);
    let document: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
    let everything = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!everything.contains("battery"), "no secret is told");
    let ledger = std::fs::read_dir(dir.path().join(".hypercare/runs")).unwrap().count();
    assert_eq!(ledger, 1, "every request is in a ledger");
    let steps = document["walks"].as_array().unwrap().last().unwrap()["steps"].as_array().unwrap().clone();
    let bad = steps.iter().filter(|s| s["state"] != "green");
    let told = |s: &Value, key: &str| s[key].as_str().unwrap_or_default().to_string();
    (output.status.code().unwrap(), bad.map(|s| (told(s, "name"), told(s, "why"))).collect())
}

#[test]
fn good_shops_are_green_twice() {
    for shop in [express("none"), flask("none")] {
        assert_eq!(run(&shop), (0, vec![]), "{}", shop.1);
    }
}

#[test]
fn each_fault_is_told_by_its_item() {
    for start in [express, flask] {
        let (code, bad) = run(&start("asset"));
        assert_eq!((code, bad.len(), bad[0].0.as_str()), (1, 1, "the home page renders"), "{bad:?}");
        assert!(bad[0].1.contains("/assets/app-new.js, which answers 404"), "{bad:?}");
        let (code, bad) = run(&start("spa"));
        assert_eq!(code, 1);
        let names: Vec<&str> = bad.iter().map(|(name, _)| name.as_str()).collect();
        assert!(names.contains(&"it is up") && names.contains(&"their basket"), "{bad:?}");
        let (code, bad) = run(&start("hang"));
        assert_eq!((code, bad[0].0.as_str()), (1, "their basket"), "{bad:?}");
        assert!(bad[0].1.contains("no answer within 2s"), "{bad:?}");
    }
}

#[test]
fn init_writes_a_list_and_the_gate_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let source = std::fs::read_to_string(support::root().join("tests/smoke/shop.js")).unwrap();
    std::fs::create_dir(dir.path().join("src")).unwrap();
    std::fs::write(dir.path().join("src/shop.js"), source).unwrap();
    let output = hypercare(dir.path(), &["smoke", "init"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(dir.path().join("smoke.toml")).unwrap();
    assert!(text.contains("request = \"GET /health\"   # src/shop.js:"), "{text}");
    assert_eq!(hypercare(dir.path(), &["smoke", "init"]).status.code(), Some(2), "nothing is overwritten");
    let args = ["check", "--repo", ".", "--only", "release.post_deploy", "--format", "json"];
    let check: Value = serde_json::from_slice(&hypercare(dir.path(), &args).stdout).unwrap();
    let gate = &check["gates"][0];
    assert_eq!((gate["id"].as_str(), gate["verdict"].as_str()), (Some("release.post_deploy"), Some("warn")), "{gate}");
    assert!(gate["summary"].as_str().unwrap().contains("declared, not demonstrated"), "{gate}");
}
