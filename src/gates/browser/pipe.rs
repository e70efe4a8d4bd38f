//! The browser's process, and the DevTools protocol over its pipe: JSON messages that end in NUL, on descriptors 3 and 4.
//! A shell moves standard input and output there, so that no descriptor is handled by ourselves.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::BrowserError;

/// From start to first answer; a cold disk takes a few seconds.
const START_MAX: Duration = Duration::from_secs(20);
/// One command.
const CALL_MAX: Duration = Duration::from_secs(15);
/// One message; a screenshot is the longest.
const MESSAGE_BYTES_MAX: usize = 32 << 20;
/// Events of one tab that wait to be handled; more are dropped.
const EVENTS_MAX: usize = 2048;
const COMMANDS_MAX: usize = 512;

/// What a fresh browser must not do by itself: no updates, no sync, no phoning home, and no network but ours. The proxy is
/// the discard port of loopback, for loopback too.
const FLAGS: [&str; 24] = [
    "--headless",
    "--disable-gpu",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--disable-breakpad",
    "--disable-crash-reporter",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-domain-reliability",
    "--disable-client-side-phishing-detection",
    "--disable-dev-shm-usage",
    "--disable-features=Translate,OptimizationHints,MediaRouter,InterestFeedContentSuggestions",
    "--metrics-recording-only",
    "--mute-audio",
    "--password-store=basic",
    "--use-mock-keychain",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--proxy-server=http://127.0.0.1:9",
    "--proxy-bypass-list=<-loopback>",
    "--remote-debugging-pipe",
];

/// Ends with the value: process, children, profile.
pub(super) struct Process {
    pub(super) connection: Arc<Connection>,
    pub(super) version: String,
    child: Child,
    tasks: [JoinHandle<()>; 2],
    profile: PathBuf,
}

impl Process {
    pub(super) async fn start(program: &Path) -> Result<Process, BrowserError> {
        let failed = |why: String| BrowserError::Start(program.display().to_string(), why);
        let profile = std::env::temp_dir().join(format!("hypercare-browser-{}", uuid::Uuid::new_v4().simple()));
        make_private(&profile).map_err(|e| failed(e.to_string()))?;
        let mut command = Command::new("sh");
        command
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>/dev/null"])
            .arg(program)
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        #[cfg(unix)]
        {
            command.process_group(0);
            if rustix::process::geteuid().is_root() {
                // Chromium refuses to start as root with its sandbox.
                command.arg("--no-sandbox");
            }
        }
        command.arg("about:blank");
        let spawned = command.spawn();
        let mut child = spawned.map_err(|e| {
            let _ = std::fs::remove_dir_all(&profile);
            failed(e.to_string())
        })?;
        let (input, output) = match (child.stdin.take(), child.stdout.take()) {
            (Some(input), Some(output)) => (input, output),
            _ => return Err(failed("it has no pipes".into())),
        };
        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
        let connection = Arc::new(Connection { sender, shared: Arc::default(), next: AtomicU64::new(1) });
        let tasks = [tokio::spawn(write(input, commands)), tokio::spawn(read(output, connection.shared.clone()))];
        let mut process = Process { connection, version: String::new(), child, tasks, profile };
        let hello = process.connection.call(None, "Browser.getVersion", json!({}));
        let answer = tokio::time::timeout(START_MAX, hello).await;
        let answer = answer.map_err(|_| failed("it says nothing".into()))?;
        let answer = answer.map_err(|e| failed(format!("it does not speak the DevTools protocol ({e})")))?;
        process.version = answer["product"].as_str().unwrap_or("unknown").chars().take(80).collect();
        Ok(process)
    }
}

fn make_private(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(folder)
}

impl Drop for Process {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some(group) = self.child.id().and_then(|id| rustix::process::Pid::from_raw(id as i32)) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.start_kill();
        for task in &self.tasks {
            task.abort();
        }
        // Children that die a moment later may still write: a few tries, then the system's own cleaning is left to it.
        for _ in 0..10 {
            if std::fs::remove_dir_all(&self.profile).is_ok() || !self.profile.exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Something that happened in a tab.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) method: String,
    pub(super) params: Json,
}

type Waiting = oneshot::Sender<Result<Json, String>>;

#[derive(Default)]
struct Shared {
    waiting: Mutex<HashMap<u64, Waiting>>,
    tabs: Mutex<HashMap<String, mpsc::Sender<Event>>>,
    ended: std::sync::atomic::AtomicBool,
}

fn held<T>(lock: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) struct Connection {
    sender: mpsc::Sender<Vec<u8>>,
    shared: Arc<Shared>,
    next: AtomicU64,
}

impl Connection {
    /// Sends a command and waits for its answer.
    pub(super) async fn call(&self, tab: Option<&str>, method: &str, params: Json) -> Result<Json, BrowserError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut message = json!({ "id": id, "method": method, "params": params });
        if let Some(tab) = tab {
            message["sessionId"] = json!(tab);
        }
        let mut bytes = serde_json::to_vec(&message).unwrap_or_default();
        bytes.push(0);
        let (done, answer) = oneshot::channel();
        held(&self.shared.waiting).insert(id, done);
        if self.shared.ended.load(Ordering::Acquire) || self.sender.send(bytes).await.is_err() {
            held(&self.shared.waiting).remove(&id);
            return Err(BrowserError::Ended);
        }
        match tokio::time::timeout(CALL_MAX, answer).await {
            Ok(Ok(Ok(result))) => Ok(result),
            Ok(Ok(Err(why))) => Err(BrowserError::Refused(method.into(), why)),
            Ok(Err(_)) => Err(BrowserError::Ended),
            Err(_) => {
                held(&self.shared.waiting).remove(&id);
                Err(BrowserError::Timeout(method.into()))
            }
        }
    }

    /// Events of one tab from now on.
    pub(super) fn listen(&self, tab: &str) -> mpsc::Receiver<Event> {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        held(&self.shared.tabs).insert(tab.into(), sender);
        events
    }

    pub(super) fn forget(&self, tab: &str) {
        held(&self.shared.tabs).remove(tab);
    }

    /// Sends a command and waits for nothing: for the end of a tab.
    pub(super) fn tell(&self, method: &str, params: Json) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut bytes =
            serde_json::to_vec(&json!({ "id": id, "method": method, "params": params })).unwrap_or_default();
        bytes.push(0);
        let _ = self.sender.try_send(bytes);
    }
}

async fn write(mut input: ChildStdin, mut commands: mpsc::Receiver<Vec<u8>>) {
    while let Some(bytes) = commands.recv().await {
        if input.write_all(&bytes).await.is_err() || input.flush().await.is_err() {
            return;
        }
    }
}

async fn read(mut output: ChildStdout, shared: Arc<Shared>) {
    let (mut buffer, mut searched) = (bytes::BytesMut::with_capacity(64 * 1024), 0);
    while let Ok(n) = output.read_buf(&mut buffer).await {
        if n == 0 || buffer.len() > MESSAGE_BYTES_MAX {
            break;
        }
        while let Some(end) = buffer[searched..].iter().position(|b| *b == 0).map(|at| searched + at) {
            let message = buffer.split_to(end + 1);
            searched = 0;
            deliver(&message[..end], &shared);
        }
        searched = buffer.len();
    }
    shared.ended.store(true, Ordering::Release);
    held(&shared.waiting).clear();
    held(&shared.tabs).clear();
}

fn deliver(message: &[u8], shared: &Shared) {
    let Ok(mut message) = serde_json::from_slice::<Json>(message) else { return };
    if let Some(id) = message["id"].as_u64() {
        let Some(waiting) = held(&shared.waiting).remove(&id) else { return };
        let said = match message["error"]["message"].as_str() {
            Some(why) => Err(why.chars().take(200).collect()),
            None => Ok(message["result"].take()),
        };
        let _ = waiting.send(said);
        return;
    }
    let (Some(tab), Some(method)) = (message["sessionId"].as_str(), message["method"].as_str()) else { return };
    let listener = held(&shared.tabs).get(tab).cloned();
    if let Some(listener) = listener {
        // A page that floods us loses events, never our memory; the reader must not wait for whoever waits for it.
        let _ = listener.try_send(Event { method: method.into(), params: message["params"].take() });
    }
}
