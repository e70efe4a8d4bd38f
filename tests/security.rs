//! The gates that try to get in, against shops that are not ours (Express, Flask): sound ones pass, and each defect, put in
//! alone, fails by its own rule. The binary is run as a user runs it.

#[path = "support/mod.rs"]
mod support;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value as Json;

/// A server of its own process; killed when dropped.
struct Shop {
    child: Child,
    said: Json,
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Shop {
    /// Starts it and waits for the line that tells its port.
    fn start(command: &mut Command) -> Shop {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said = serde_json::from_str(&line).unwrap_or_else(|e| panic!("a shop prints its port: {e}: {line}"));
        Shop { child, said }
    }
    fn express(fault: &str) -> Shop {
        let modules = support::root().join("target/test-node/node_modules");
        assert!(modules.join("jsonwebtoken").exists(), "jsonwebtoken is missing: run tests/setup.sh (make test does)");
        let script = support::root().join("tests/security/shop.js");
        Shop::start(Command::new("node").arg(script).arg(fault).env("NODE_PATH", modules))
    }
    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.said["port"])
    }
}

const ACTORS: &str = "[gates]\nsafety = { rps = 400, concurrency = 8, max_requests = 5000 }\n\
    actor = [\n  { name = \"ann\", role = \"user\", bearer = \"${env:HC_ANN}\" },\n  { name = \"bob\", role = \"user\", bearer = \"${env:HC_BOB}\" },\n  \
    { name = \"root\", role = \"admin\", bearer = \"${env:HC_ROOT}\" },\n]\n";

/// A repository with the shop's source and this configuration.
fn repository(source: &str, config: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    match source.ends_with(".js") {
        true => write(
            "package.json",
            "{\"name\": \"shop\", \"dependencies\": {\"express\": \"4\", \"jsonwebtoken\": \"9\"}}",
        ),
        false => write("requirements.txt", "flask==3.1.3\n"),
    }
    let text = std::fs::read_to_string(support::root().join("tests/security").join(source)).unwrap();
    write(if source.ends_with(".js") { "app.js" } else { "app.py" }, &text);
    write("hypercare.toml", &format!("[service.shop]\nrepo = \".\"\n\n{config}"));
    dir
}

/// The one gate's row.
fn check(dir: &Path, shop: &Shop, gate: &str) -> Json {
    let token = |name: &str| shop.said[name].as_str().unwrap_or_default().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_hypercare"))
        .current_dir(dir)
        .env_remove("HYPERCARE_CONFIG")
        .env("NO_COLOR", "1")
        .env("HC_ANN", token("ann"))
        .env("HC_BOB", token("bob"))
        .env("HC_ROOT", token("root"))
        .args(["check", "--repo", ".", "--url", &shop.url(), "--only", gate, "--format", "json"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    for name in ["ann", "bob", "root"] {
        let secret = token(name);
        assert!(secret.is_empty() || !text.contains(&secret), "{name}'s token is in the output");
    }
    let run: Json = serde_json::from_str(&text)
        .unwrap_or_else(|e| panic!("{e}: {text}\n{}", String::from_utf8_lossy(&output.stderr)));
    run["gates"].as_array().unwrap().iter().find(|g| g["id"] == gate).cloned().unwrap()
}

/// `verdict rule rule …`, each rule once.
fn told(row: &Json) -> String {
    let mut rules: Vec<&str> = row["findings"].as_array().unwrap().iter().filter_map(|f| f["rule"].as_str()).collect();
    rules.sort_unstable();
    rules.dedup();
    std::iter::once(row["verdict"].as_str().unwrap()).chain(rules).collect::<Vec<_>>().join(" ")
}

#[test]
fn auth_lets_a_sound_shop_pass_and_finds_each_way_in() {
    let mut wrong = Vec::new();
    for (fault, expect) in [
        ("", "pass"),
        ("forgotten-router", "fail anonymous"),
        ("above-the-wall", "fail anonymous"),
        ("open-post", "fail anonymous"),
        ("unverified", "fail alg-none empty-signature forged-payload"),
        ("alg-none", "fail alg-none"),
        ("key-confusion", "fail key-confusion"),
        ("weak-secret", "fail weak-secret"),
        ("letter-case", "fail path-trick"),
        ("query-token", "warn credential-in-query"),
        ("cached", "fail cached-private"),
    ] {
        let shop = Shop::express(fault);
        let dir = repository("shop.js", ACTORS);
        let row = check(dir.path(), &shop, "security.auth");
        if told(&row) != expect {
            wrong.push(format!("{fault:?}: {} instead of {expect}\n{row:#}", told(&row)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn auth_without_an_account_or_a_server_proves_nothing() {
    let shop = Shop::express("");
    let dir = repository("shop.js", "[gates]\nsafety = { rps = 400, concurrency = 8, max_requests = 5000 }\n");
    let row = check(dir.path(), &shop, "security.auth");
    assert_eq!(row["verdict"], "warn", "{row:#}");
    assert!(row["hint"].as_str().unwrap().contains("[gates] actor"), "{row:#}");
    let dir = repository("shop.js", ACTORS);
    let dead = Shop { said: serde_json::json!({ "port": 9 }), child: Command::new("true").spawn().unwrap() };
    assert_eq!(check(dir.path(), &dead, "security.auth")["reason"], "unreachable");
}

#[test]
fn authz_finds_foreign_objects_and_roles_beyond_their_rights() {
    let matrix = "[user]\nallow = [\"GET /orders\", \"GET /orders/{id}\", \"GET /me\"]\ndeny = [\"GET /admin/users\"]\n\
        [admin]\nallow = [\"GET /orders\", \"GET /me\", \"GET /admin/users\"]\ndeny = [\"GET /orders/{id}\"]\n";
    let mut wrong = Vec::new();
    for (fault, with_matrix, expect) in [
        ("", true, "pass"),
        ("", false, "warn"),
        ("foreign-objects", true, "fail foreign-object role-exceeds"),
        ("role", true, "fail role-exceeds"),
        ("role", false, "fail role-exceeds"),
    ] {
        let shop = Shop::express(fault);
        let dir = repository("shop.js", ACTORS);
        if with_matrix {
            std::fs::create_dir_all(dir.path().join(".hypercare")).unwrap();
            std::fs::write(dir.path().join(".hypercare/authz.toml"), matrix).unwrap();
        }
        let row = check(dir.path(), &shop, "security.authz");
        if told(&row) != expect {
            wrong.push(format!("{fault:?}: {} instead of {expect}\n{row:#}", told(&row)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn injection_finds_each_interpreter_and_lets_a_sound_library_pass() {
    let mut wrong = Vec::new();
    for (fault, expect) in [
        ("", "pass"),
        ("xss", "fail reflected-xss"),
        ("attribute", "fail reflected-xss"),
        ("sql-text", "fail sql-injection"),
        ("sql-blind", "fail sql-injection"),
        ("sql-number", "fail sql-injection"),
        ("traversal", "fail path-traversal"),
        ("template", "fail template-injection"),
        ("redirect", "fail open-redirect"),
    ] {
        let script = support::root().join("tests/security/library.py");
        let shop = Shop::start(Command::new(support::python()).arg(script).arg(fault));
        let dir = repository("library.py", "[gates]\nsafety = { rps = 400, concurrency = 8, max_requests = 5000 }\n");
        let row = check(dir.path(), &shop, "security.injection");
        if told(&row) != expect {
            wrong.push(format!("{fault:?}: {} instead of {expect}\n{row:#}", told(&row)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
