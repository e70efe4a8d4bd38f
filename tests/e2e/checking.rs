//! `hypercare check` against things that are not ours: two Express apps, a Debian nginx, a made repository.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::world::{Kept, free_port, wait};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn check(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hypercare"))
        .current_dir(dir)
        .env_remove("HYPERCARE_CONFIG")
        .env("NO_COLOR", "1")
        .arg("check")
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
        panic!("{e}: {} {}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    })
}

fn gate<'a>(run: &'a Value, id: &str) -> &'a Value {
    run["gates"].as_array().unwrap().iter().find(|g| g["id"] == id).unwrap_or_else(|| panic!("no gate {id}"))
}

fn express(args: &[&str]) -> (Kept, u16) {
    let modules = root().join("target/test-node/node_modules");
    assert!(modules.exists(), "express is missing: run tests/setup.sh (make test does)");
    let mut child = Command::new("node")
        .arg(root().join("tests/e2e/express.js"))
        .args(args)
        .env("NODE_PATH", modules)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (Kept(child), line.trim().parse().expect("express prints its port"))
}

#[test]
fn the_headers_gate_tells_express_with_helmet_from_express_without() {
    let dir = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    for args in [&[][..], &["helmet"][..]] {
        let (_app, port) = express(args);
        let url = format!("http://127.0.0.1:{port}/");
        let run = json(&check(dir.path(), &["--url", &url, "--only", "security.headers", "--format", "json"]));
        let headers = gate(&run, "security.headers");
        seen.push((headers["verdict"].clone(), headers["value"].as_f64().unwrap(), headers["findings"].to_string()));
    }
    let (plain, helmet) = (&seen[0], &seen[1]);
    assert_eq!(plain.0, "fail", "{plain:?}");
    // Over plain http nothing better than a warning is possible: HSTS cannot be seen.
    assert_eq!(helmet.0, "warn", "{helmet:?}");
    assert!(plain.1 + 30.0 <= helmet.1, "{plain:?} {helmet:?}");
    assert!(plain.2.to_lowercase().contains("x-powered-by") && !helmet.2.to_lowercase().contains("x-powered-by"));
}

#[test]
fn a_debian_nginx_and_a_foreign_repository_get_the_promised_json() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let (prefix, html) = (dir.path().join("nginx"), dir.path().join("html"));
    std::fs::create_dir_all(&prefix).unwrap();
    std::fs::create_dir_all(html.join(".git")).unwrap();
    std::fs::write(html.join("index.html"), "<!doctype html><title>hello</title>hello").unwrap();
    std::fs::write(html.join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
    let (p, h) = (prefix.display(), html.display());
    let conf = format!(
        "daemon off; master_process off; pid {p}/pid; error_log {p}/error.log; events {{}}
         http {{ access_log off; client_body_temp_path {p}/b; proxy_temp_path {p}/x; fastcgi_temp_path {p}/f;
         uwsgi_temp_path {p}/u; scgi_temp_path {p}/s;
         server {{ listen 127.0.0.1:{port}; root {h}; types {{ text/html html; }} }} }}"
    );
    std::fs::write(prefix.join("nginx.conf"), conf).unwrap();
    let program = if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" };
    let nginx = Command::new(program).args(["-c"]).arg(prefix.join("nginx.conf")).spawn().unwrap();
    let _nginx = Kept(nginx);
    wait("nginx", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());

    let repo = repository(dir.path());
    let url = format!("http://127.0.0.1:{port}/");
    let args = ["--repo", repo.to_str().unwrap(), "--url", &url, "--skip", "performance", "--format", "json"];
    let output = check(dir.path(), &args);
    assert_eq!(output.status.code(), Some(1), "an exposed .git is a NO-GO");
    let run = json(&output);
    assert_eq!(run["schema"], "hypercare.check/v1");
    assert_eq!(run["decision"], "no_go");
    assert_eq!(run["rid"]["dirty"], false);
    assert_eq!(run["rid"]["commit"].as_str().unwrap().len(), 40);
    let goals: Vec<&str> = run["goals"].as_array().unwrap().iter().map(|g| g["id"].as_str().unwrap()).collect();
    assert_eq!(goals, ["code", "load", "monitoring", "rollback", "stakeholders"]);
    for gate in run["gates"].as_array().unwrap() {
        for key in [
            "id",
            "section",
            "class",
            "line",
            "verdict",
            "overlay",
            "reason",
            "summary",
            "value",
            "threshold",
            "covered",
            "known",
            "findings",
            "hint",
            "evidence",
            "duration_ms",
        ] {
            assert!(gate.get(key).is_some(), "{} has no {key}", gate["id"]);
        }
        if gate["verdict"] == "error" || gate["verdict"] == "skip" {
            assert!(gate["reason"].is_string(), "{gate}");
        }
    }
    assert_eq!(gate(&run, "security.exposure")["verdict"], "fail");
    let debug = gate(&run, "code.leftover_debug");
    assert_eq!(debug["verdict"], "fail");
    assert_eq!(debug["findings"][0]["file"], "src/cart.js");
    assert_eq!(debug["findings"][0]["line"], 2);
    assert_eq!(gate(&run, "code.secrets")["verdict"], "pass");
    assert_eq!(gate(&run, "infrastructure.load_balancer")["reason"], "not-built");
    assert!(dir.path().join("hypercare-data/state.db").exists(), "the evidence is kept");
    let ledger =
        Command::new(env!("CARGO_BIN_EXE_hypercare")).current_dir(dir.path()).args(["evidence", "verify"]).output();
    assert!(ledger.unwrap().status.success());
}

/// A small package as somebody else might have it.
fn repository(dir: &Path) -> PathBuf {
    let repo = dir.join("repo");
    std::fs::create_dir_all(repo.join("src")).unwrap();
    std::fs::write(repo.join("package.json"), "{\"name\": \"cart\", \"version\": \"0.3.0\"}\n").unwrap();
    std::fs::write(
        repo.join("src/cart.js"),
        "export function total(items) {\n  console.log(items);\n  return items.length;\n}\n",
    )
    .unwrap();
    for args in [&["init", "-q"][..], &["add", "."], &["commit", "-qm", "cart 0.3.0"]] {
        let done = Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@t.example", "-c", "commit.gpgSign=false", "-C"])
            .arg(&repo)
            .args(args)
            .status()
            .unwrap();
        assert!(done.success());
    }
    repo
}

#[test]
fn what_cannot_be_checked_is_never_a_pass() {
    let dir = tempfile::tempdir().unwrap();
    // Not a git repository, and nobody listens there.
    std::fs::write(dir.path().join("readme.txt"), "hello\n").unwrap();
    let url = format!("http://127.0.0.1:{}/", free_port());
    let output = check(dir.path(), &["--repo", ".", "--url", &url, "--format", "json"]);
    let run = json(&output);
    assert_ne!(output.status.code(), Some(0));
    for gate in run["gates"].as_array().unwrap() {
        assert_ne!(gate["verdict"], "pass", "{gate}");
    }
    assert_eq!(gate(&run, "security.headers")["reason"], "unreachable");
    // A wrong argument is told as one.
    assert_eq!(check(dir.path(), &["--only", "code.coverag"]).status.code(), Some(2));
}
