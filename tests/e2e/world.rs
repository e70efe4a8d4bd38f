//! The world around the real binary: an instrumented service, a mail server that no one here wrote, a webhook receiver,
//! and the daemon itself, which can be killed and started again.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use serde_json::Value;

use crate::support::{self, python};

/// How long anything may take before the test says that it never came.
pub const PATIENCE: Duration = Duration::from_secs(40);

const SECRET: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Polls until `done` or panics with `what`.
pub fn wait<T>(what: &str, done: impl FnMut() -> Option<T>) -> T {
    support::wait_within(PATIENCE, what, done)
}

pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// GET over a plain socket: what a monitoring stranger would do.
pub fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    text
}

/// A child process that ends with the test.
pub struct Kept(pub Child);

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `tests/e2e/service.py`.
pub struct Service {
    pub port: u16,
    _process: Kept,
}

impl Service {
    fn start() -> Service {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/service.py");
        let mut process = Command::new(python()).arg(script).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Service { port: line.trim().parse().expect("the service prints its port"), _process: Kept(process) }
    }
    pub fn set_broken(&self, broken: bool) {
        let answer = get(self.port, if broken { "/break" } else { "/mend" });
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

/// aiosmtpd, keeping what it gets in a Maildir.
pub struct MailServer {
    port: u16,
    dir: PathBuf,
    process: Mutex<Option<Kept>>,
}

#[derive(Debug, Clone)]
pub struct Mail {
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl MailServer {
    fn new(dir: &Path) -> MailServer {
        MailServer { port: free_port(), dir: dir.join("mail"), process: Mutex::new(None) }
    }
    pub fn start(&self) {
        let process = Command::new(python())
            .args([
                "-m",
                "aiosmtpd",
                "-n",
                "-l",
                &format!("127.0.0.1:{}", self.port),
                "-c",
                "aiosmtpd.handlers.Mailbox",
            ])
            .arg(&self.dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        *self.process.lock().unwrap() = Some(Kept(process));
        wait("the mail server", || TcpStream::connect(("127.0.0.1", self.port)).ok());
    }
    pub fn mails(&self) -> Vec<Mail> {
        let Ok(entries) = std::fs::read_dir(self.dir.join("new")) else { return Vec::new() };
        let mut files: Vec<_> = entries.map(|e| e.unwrap()).collect();
        files.sort_by_key(|f| f.metadata().unwrap().modified().unwrap());
        files.iter().map(|f| parse(&std::fs::read_to_string(f.path()).unwrap())).collect()
    }
}

fn parse(text: &str) -> Mail {
    let text = text.replace("\r\n", "\n");
    let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
    let mut headers = BTreeMap::new();
    for line in head.replace("\n ", " ").replace("\n\t", " ").lines() {
        if let Some((name, value)) = line.split_once(": ") {
            headers.insert(name.to_lowercase(), value.trim().to_string());
        }
    }
    Mail { headers, body: body.to_string() }
}

/// One accepted webhook.
#[derive(Debug, Clone)]
pub struct Hook {
    pub id: String,
    pub kind: String,
    pub body: Value,
}

/// A webhook receiver that checks signatures and answers what it is told to.
pub struct Receiver {
    pub port: u16,
    pub answer: Arc<AtomicU16>,
    caught: Arc<Mutex<Vec<Hook>>>,
}

impl Receiver {
    fn start() -> Receiver {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let receiver = Receiver {
            port: listener.local_addr().unwrap().port(),
            answer: Arc::new(AtomicU16::new(204)),
            caught: Arc::default(),
        };
        let (answer, caught) = (receiver.answer.clone(), receiver.caught.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (answer, caught) = (answer.clone(), caught.clone());
                std::thread::spawn(move || serve(stream.unwrap(), &answer, &caught));
            }
        });
        receiver
    }
    /// Accepted ones, in order of arrival.
    pub fn hooks(&self) -> Vec<Hook> {
        self.caught.lock().unwrap().clone()
    }
    pub fn of(&self, kind: &str) -> Vec<Hook> {
        self.hooks().into_iter().filter(|h| h.kind == kind).collect()
    }
}

fn serve(stream: TcpStream, answer: &AtomicU16, caught: &Mutex<Vec<Hook>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let (mut line, mut headers) = (String::new(), BTreeMap::new());
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        loop {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                break;
            }
            if let Some((name, value)) = line.split_once(':') {
                headers.insert(name.to_lowercase(), value.trim().to_string());
            }
        }
        let length: usize = headers.get("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let status = answer.load(Ordering::SeqCst);
        if status == 204 {
            let signed = format!("{}.{}.", headers["webhook-id"], headers["webhook-timestamp"]);
            let key = base64::engine::general_purpose::STANDARD.decode(SECRET).unwrap();
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key);
            let given = headers["webhook-signature"].strip_prefix("v1,").unwrap();
            let given = base64::engine::general_purpose::STANDARD.decode(given).unwrap();
            ring::hmac::verify(&key, &[signed.as_bytes(), &body].concat(), &given).expect("the signature is right");
            let body: Value = serde_json::from_slice(&body).expect("the body is JSON");
            let kind = body["type"].as_str().unwrap().to_string();
            caught.lock().unwrap().push(Hook { id: headers["webhook-id"].clone(), kind, body });
        }
        if write!(stream, "HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n").is_err() {
            return;
        }
    }
}

/// Everything, with the daemon not started yet.
pub struct World {
    pub dir: tempfile::TempDir,
    pub service: Service,
    pub mail: MailServer,
    pub receiver: Receiver,
    pub web_port: u16,
    daemon: Option<Kept>,
}

impl World {
    /// `rules` is a Prometheus rule file; `extra` is appended to the configuration.
    pub fn new(rules: &str, extra: &str) -> World {
        let dir = tempfile::tempdir().unwrap();
        let world = World {
            service: Service::start(),
            mail: MailServer::new(dir.path()),
            receiver: Receiver::start(),
            web_port: free_port(),
            daemon: None,
            dir,
        };
        let (service, mail, hook, web) = (world.service.port, world.mail.port, world.receiver.port, world.web_port);
        let config = format!(
            r#"
[service.shop]
url = "http://127.0.0.1:{service}/"
[metric.shop.from.prometheus]
service = "shop"
targets = ["http://127.0.0.1:{service}/metrics"]
interval = "1s"
timeout = "900ms"
[alerts]
rule_files = ["rules.yml"]
interval = "1s"
pack = false
group_wait = "0s"
group_interval = "1s"
critical_group_wait = "0s"
critical_group_interval = "1s"
[channel.mail.via.email]
smtp = "smtp://127.0.0.1:{mail}"
allow_plaintext = true
from = "hypercare@shop.example"
to = ["oncall@shop.example"]
[channel.hook.via.webhook]
url = "http://127.0.0.1:{hook}/hook"
secret = "${{env:HOOK_SECRET}}"
allow_private = true
[[route]]
channels = ["mail", "hook"]
[web]
listen = "127.0.0.1:{web}"
{extra}
"#
        );
        std::fs::write(world.dir.path().join("hypercare.toml"), config).unwrap();
        std::fs::write(world.dir.path().join("rules.yml"), rules).unwrap();
        world
    }

    pub fn hypercare(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hypercare"));
        command.current_dir(self.dir.path()).env("HOOK_SECRET", format!("whsec_{SECRET}")).env("NO_COLOR", "1");
        command.env_remove("HYPERCARE_CONFIG").stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub fn cli(&self, args: &[&str]) -> Output {
        self.hypercare().args(args).output().unwrap()
    }

    /// Runs a command that must succeed and returns its JSON.
    pub fn json(&self, args: &[&str]) -> Value {
        let output = self.cli(&[args, &["--format", "json"]].concat());
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&text)
            .unwrap_or_else(|e| panic!("{args:?}: {e}: {text} {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Starts the daemon and waits until it is ready.
    pub fn start(&mut self) {
        self.spawn();
        wait("the daemon to be ready", || get_ready(self.web_port).then_some(()));
    }

    /// Starts the daemon and does not wait.
    pub fn spawn(&mut self) {
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(self.dir.path().join("daemon.log")).unwrap();
        let child = self.hypercare().args(["run", "--no-plan"]).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        self.daemon = Some(Kept(child));
    }

    /// SIGKILL: no handler runs, nothing is flushed.
    pub fn kill_9(&mut self) {
        drop(self.daemon.take());
    }
}

fn get_ready(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok() && get(port, "/ready").starts_with("HTTP/1.1 200")
}
