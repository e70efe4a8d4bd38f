//! One gate of the real binary against real servers: how they are started, and what the gate said.

use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::{root, wait_within};

/// A process on loopback; ends with the value.
pub struct Server {
    child: Child,
    pub url: String,
    pub port: u16,
    _dir: Option<tempfile::TempDir>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn of(child: Child, port: u16, dir: Option<tempfile::TempDir>) -> Server {
        Server { child, url: format!("http://127.0.0.1:{port}/"), port, _dir: dir }
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A program of the tests that prints its port.
pub fn shop(file: &str, kind: &str) -> Server {
    let script = root().join("tests").join(file);
    let mut command = match file.ends_with(".py") {
        true => Command::new(super::python()),
        false => Command::new("node"),
    };
    command.arg(script).arg(kind).env("NODE_PATH", root().join("target/test-node/node_modules"));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port =
        line.trim().parse().unwrap_or_else(|_| panic!("{file} did not start: run tests/setup.sh (make test does)"));
    Server::of(child, port, None)
}

/// nginx in the foreground: `http` lines, and those of its one server. `files` are below its root.
pub fn nginx(http: &str, server: &str, files: &[(&str, &str)]) -> Server {
    let dir = tempfile::tempdir().unwrap();
    let (port, root) = (free_port(), dir.path().display().to_string());
    std::fs::create_dir(dir.path().join("html")).unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join("html").join(name), text).unwrap();
    }
    let http = http.replace("%ROOT%", &root);
    let config = format!(
        "daemon off; master_process off; pid {root}/pid; error_log {root}/error.log;\n\
         events {{}} http {{ access_log off; types {{ text/html html; }} default_type text/html; {http}\n\
         client_body_temp_path {root}/b; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u;\n\
         scgi_temp_path {root}/s; server {{ listen 127.0.0.1:{port}; root {root}/html; {server} }} }}"
    );
    std::fs::write(dir.path().join("nginx.conf"), config).unwrap();
    let binary = ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|p| Path::new(p).exists()).expect("nginx");
    let mut command = Command::new(binary);
    command.arg("-p").arg(dir.path()).arg("-c").arg(dir.path().join("nginx.conf")).stderr(Stdio::null());
    let child = command.stdout(Stdio::null()).spawn().unwrap();
    let server = Server::of(child, port, Some(dir));
    wait_within(Duration::from_secs(10), "nginx", || TcpStream::connect(("127.0.0.1", port)).ok());
    server
}

/// A Redis without disk, guarded by a password.
pub fn redis(password: &str, settings: &[&str]) -> Server {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--requirepass", password]);
    command.args(["--port", &port.to_string()]).args(settings).current_dir(dir.path());
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("redis-server: run tests/setup.sh");
    let server = Server::of(child, port, Some(dir));
    wait_within(Duration::from_secs(10), "redis", || TcpStream::connect(("127.0.0.1", port)).ok());
    server
}

/// The gate's row of `hypercare check` in a folder with these settings and files.
pub fn check(gate: &str, url: &str, settings: &str, files: &[(&str, &str)], env: &[(&str, &str)]) -> Value {
    check_with(&["--url", url], gate, settings, files, env)
}

/// With more options than the address.
pub fn check_with(options: &[&str], gate: &str, settings: &str, files: &[(&str, &str)], env: &[(&str, &str)]) -> Value {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("hypercare.toml"), settings).unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let output = Command::new(env!("CARGO_BIN_EXE_hypercare"))
        .current_dir(dir.path())
        .env_remove("HYPERCARE_CONFIG")
        .envs(env.iter().copied())
        .args(["check", "--repo", ".", "--only", gate, "--format", "json", "--no-cache"])
        .args(options)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let all = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    for (name, secret) in env {
        assert!(!all.contains(secret), "the value of {name} is told");
    }
    let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {all}"));
    let mut row = document["gates"][0].clone();
    row["decision"] = document["decision"].clone();
    row
}

/// Asserts the verdict and the rules of the findings that are no notes.
#[track_caller]
pub fn says(gate: &Value, verdict: &str, rules: &[&str]) {
    let findings = gate["findings"].as_array().unwrap().iter().filter(|f| f["severity"] != "info");
    let found: Vec<&str> = findings.map(|f| f["rule"].as_str().unwrap()).collect();
    assert_eq!((gate["verdict"].as_str().unwrap(), found), (verdict, rules.to_vec()), "{gate:#}");
}
