//! `monitoring.alert_delivery`: a canary goes through a real Alertmanager, with a real Prometheus before it, to a webhook
//! and to an SMTP server; the code that arrives is given back. Each way to lose an alert is put in one at a time.

#[path = "support/mod.rs"]
mod support;

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use support::{gate, wait_within};

/// Killed on drop.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const WEBHOOK: &str = "
import http.server, sys
class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers['content-length']))
        self.send_response(int(sys.argv[1])); self.end_headers()
        print(body.decode(), flush=True)
    def log_message(self, *args): pass
server = http.server.HTTPServer(('127.0.0.1', 0), Hook)
print(server.server_port, flush=True)
server.serve_forever()
";
const SMTP: &str = "
import time
from aiosmtpd.controller import Controller
class Sink:
    async def handle_DATA(self, server, session, envelope):
        print(envelope.content.decode('utf-8', 'replace').replace('\\r\\n', ' ').replace('\\n', ' '), flush=True)
        return '250 OK'
import socket
probe = socket.socket(); probe.bind(('127.0.0.1', 0)); port = probe.getsockname()[1]; probe.close()
controller = Controller(Sink(), hostname='127.0.0.1', port=port)
controller.start()
print(port, flush=True)
time.sleep(600)
";

/// Somebody to be paged: what arrives is kept, a line a message.
struct Pager {
    _running: Running,
    port: u16,
    got: Arc<Mutex<String>>,
}

fn pager(script: &str, argument: &str) -> Pager {
    let mut command = Command::new(support::python());
    command.args(["-c", script, argument]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let port = lines.next().unwrap().unwrap().trim().parse().unwrap();
    let got = Arc::new(Mutex::new(String::new()));
    let kept = got.clone();
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| kept.lock().unwrap().push_str(&line)));
    Pager { _running: Running(child), port, got }
}

impl Pager {
    /// The code in what arrived, as a person reads it.
    fn code(&self) -> String {
        wait_within(Duration::from_secs(20), "the page", || {
            let got = self.got.lock().unwrap();
            let at = got.find("--code ")? + "--code ".len();
            let code: String = got[at..].chars().take(9).collect();
            Some(code)
        })
    }
}

fn listening(port: u16, what: &str) {
    wait_within(Duration::from_secs(20), what, || TcpStream::connect(("127.0.0.1", port)).ok());
}

/// Alertmanager with these lines for its configuration.
fn alertmanager(dir: &Path, config: &str) -> (Running, u16) {
    let (port, file) = (gate::free_port(), dir.join("alertmanager.yml"));
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new("prometheus-alertmanager");
    command
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.path={}", dir.join("am").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg("--cluster.listen-address=")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let running = Running(command.spawn().unwrap());
    listening(port, "Alertmanager");
    (running, port)
}

fn prometheus(dir: &Path, alertmanager: Option<u16>, severity: &str) -> (Running, u16) {
    let port = gate::free_port();
    let rules = format!(
        "groups:\n- name: shop\n  rules:\n  - alert: Errors\n    expr: vector(0) > 1\n    labels: {{severity: {severity}}}\n"
    );
    std::fs::write(dir.join("rules.yml"), rules).unwrap();
    let alerting = match alertmanager {
        Some(port) => {
            format!("alerting:\n  alertmanagers:\n  - static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n")
        }
        None => String::new(),
    };
    std::fs::write(dir.join("prometheus.yml"), format!("rule_files: [rules.yml]\n{alerting}")).unwrap();
    let mut command = Command::new("prometheus");
    command
        .arg(format!("--config.file={}", dir.join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", dir.join("tsdb").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let running = Running(command.spawn().unwrap());
    listening(port, "Prometheus");
    // It answers before it knows its neighbours.
    wait_within(Duration::from_secs(20), "Prometheus", || {
        let mut answer = String::new();
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        std::io::Write::write_all(&mut stream, b"GET /api/v1/alertmanagers HTTP/1.0\r\n\r\n").ok()?;
        stream.read_to_string(&mut answer).ok()?;
        let known = answer.contains("/api/v2/alerts");
        (answer.contains("200 OK") && known == alertmanager.is_some()).then_some(())
    });
    (running, port)
}

/// A project in its folder.
struct Project(tempfile::TempDir);

impl Project {
    fn new(settings: &str) -> Project {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("hypercare.toml"), settings).unwrap();
        Project(dir)
    }

    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hypercare"));
        command.current_dir(self.0.path()).env_remove("HYPERCARE_CONFIG").args(args).stdin(Stdio::null());
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    fn check(&self) -> Value {
        let only = "monitoring.alert_delivery";
        let (_, out, err) = self.run(&["check", "--repo", ".", "--only", only, "--format", "json", "--no-cache"]);
        let document: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{err}"));
        document["gates"][0].clone()
    }
}

#[track_caller]
fn said(row: &Value, expect: &str) {
    let rules: Vec<&str> = row["findings"].as_array().unwrap().iter().filter_map(|f| f["rule"].as_str()).collect();
    let reason = row["reason"].as_str().map(|r| format!(" {r}")).unwrap_or_default();
    let got = format!("{}{reason}: {}", row["verdict"].as_str().unwrap(), rules.join(" "));
    assert_eq!(got.trim_end_matches([' ', ':']), expect, "{row:#}");
}

fn settings(prometheus: u16, canary: bool) -> String {
    format!(
        "[gates.monitoring.alerts]\nprometheus = \"http://127.0.0.1:{prometheus}\"\n\
         [gates.monitoring.alert_delivery]\ncanary = {canary}\nmax_wait = \"20s\"\n"
    )
}

fn routes(receiver: &str) -> String {
    format!(
        "route:\n  receiver: 'null'\n  group_wait: 1s\n  routes:\n  - matchers: ['severity=\"critical\"']\n    receiver: oncall\n\
         receivers:\n- name: 'null'\n- name: oncall\n{receiver}"
    )
}

fn webhook(port: u16) -> String {
    routes(&format!("  webhook_configs: [{{url: 'http://127.0.0.1:{port}/page'}}]\n"))
}

#[test]
fn the_code_that_reached_somebody_proves_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let pager = pager(WEBHOOK, "200");
    let (_am, port) = alertmanager(dir.path(), &webhook(pager.port));
    let (_prometheus, prometheus) = prometheus(dir.path(), Some(port), "critical");

    let forbidden = Project::new(&settings(prometheus, false));
    said(&forbidden.check(), "error canary-not-allowed");

    let project = Project::new(&settings(prometheus, true));
    let sent = project.check();
    said(&sent, "warn: not-acknowledged");
    let code = pager.code();
    assert!(!sent.to_string().contains(&code), "only the reader of the page knows the code");
    said(&project.check(), "warn: not-acknowledged");
    assert_eq!(pager.got.lock().unwrap().matches("\"firing\"").count(), 2, "one page, though asked twice");

    let wrong = project.run(&["attest", "monitoring.alert_delivery", "--code", "2222-2222"]);
    assert_eq!(wrong.0, 2, "{wrong:?}");
    assert!(wrong.2.contains("not the code"), "{wrong:?}");
    let (status, told, trouble) = project.run(&["attest", "monitoring.alert_delivery", "--code", &code.to_lowercase()]);
    assert_eq!(status, 0, "{told}{trouble}");
    let acknowledged = project.check();
    said(&acknowledged, "pass");
    assert!(acknowledged["summary"].as_str().unwrap().contains("gave its code back"), "{acknowledged:#}");
    let again = project.run(&["attest", "monitoring.alert_delivery", "--code", &code]);
    assert!(again.0 == 2 && again.2.contains("was entered at"), "{again:?}");
}

#[test]
fn a_mail_carries_the_code_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let pager = pager(SMTP, "");
    let mail = format!(
        "  email_configs: [{{to: oncall@shop.example, from: am@shop.example, smarthost: '127.0.0.1:{}', require_tls: false,\n\
         \u{20}   headers: {{Subject: page}}, html: '', text: '{{{{ range .Alerts }}}}{{{{ .Annotations.description }}}}{{{{ end }}}}'}}]\n",
        pager.port
    );
    let (_am, port) = alertmanager(dir.path(), &routes(&mail));
    let project = Project::new(&format!(
        "[gates.monitoring.alert_delivery]\nalertmanager = \"http://127.0.0.1:{port}\"\ncanary = true\nmax_wait = \"20s\"\n"
    ));
    said(&project.check(), "warn: not-acknowledged");
    let code = pager.code();
    assert_eq!(project.run(&["attest", "monitoring.alert_delivery", "--code", &code]).0, 0);
    let half = project.check();
    said(&half, "warn");
    assert!(half["summary"].as_str().unwrap().contains("whether Prometheus sends"), "{half:#}");
}

#[test]
fn each_way_to_lose_an_alert_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let broken = pager(WEBHOOK, "400");
    let (_am, port) = alertmanager(dir.path(), &webhook(broken.port));
    let (urgent, nobody, page) = (dir.path().join("1"), dir.path().join("2"), dir.path().join("3"));
    for folder in [&urgent, &nobody, &page] {
        std::fs::create_dir(folder).unwrap();
    }
    let (_first, to_it) = prometheus(&urgent, Some(port), "critical");
    said(&Project::new(&settings(to_it, true)).check(), "fail: failing-integration");
    let (_second, to_nobody) = prometheus(&nobody, None, "critical");
    said(&Project::new(&settings(to_nobody, true)).check(), "fail: no-alertmanager");
    // The rule's own severity falls through to the null receiver.
    let (_third, unrouted) = prometheus(&page, Some(port), "page");
    let lost = Project::new(&settings(unrouted, true)).check();
    said(&lost, "fail: null-route");
    assert!(lost["summary"].as_str().unwrap().contains("Errors: severity=\"page\" falls through"), "{lost:#}");

    let silence = r#"{"matchers":[{"name":"severity","value":"crit.*","isRegex":true}],"comment":"the move",
        "startsAt":"2026-01-01T00:00:00Z","endsAt":"2099-01-01T00:00:00Z","createdBy":"ada"}"#;
    let url = format!("http://127.0.0.1:{port}/api/v2/silences");
    let set = Command::new("curl").args(["-fsS", "-H", "content-type: application/json", "-d", silence, &url]).output();
    assert!(set.unwrap().status.success());
    let silenced = Project::new(&settings(to_it, true)).check();
    said(&silenced, "fail: silenced");
    assert!(silenced["summary"].as_str().unwrap().contains("the move"), "{silenced:#}");
}

#[test]
fn what_cannot_be_asked_is_an_error() {
    said(&Project::new("").check(), "error no-alertmanager");
    let gone =
        format!("[gates.monitoring.alert_delivery]\nalertmanager = \"http://127.0.0.1:{}\"\n", gate::free_port());
    said(&Project::new(&gone).check(), "error unreachable");
    let other = gate::nginx("", "location / { return 200 'hello'; }", &[]);
    let wrong = format!("[gates.monitoring.alert_delivery]\nalertmanager = \"{}\"\n", other.url);
    said(&Project::new(&wrong).check(), "error unreachable");
    let foreign = "[gates.monitoring.alert_delivery]\nalertmanager = \"http://alerts.shop.example/\"\n";
    said(&Project::new(foreign).check(), "error refused");
}
