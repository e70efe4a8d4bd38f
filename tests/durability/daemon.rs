//! The real binary with its remote write door open, the batches it is fed with, and looks into its files.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use hypercare::domain::clock::{SystemClock, Timestamp};
use hypercare::domain::metric::{Labels, Matcher, NAME, STALE_BITS, Sample, Series, SeriesReader as _};
use hypercare::domain::remote_write::encode;
use hypercare::store::{Role, Store};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection as _, SqliteConnection};

use crate::support;

/// How long anything may take before the test says that it never came.
const PATIENCE: Duration = Duration::from_secs(60);

/// Series of a batch, and samples of each.
pub const SERIES: u64 = 20;
pub const EACH: u64 = 20;
const STEP_MS: i64 = 15_000;
/// 2025-01-01: long past, so that samples are sealed as soon as upkeep looks.
const BASE_MS: i64 = 1_735_689_600_000;

/// Polls until `done` or panics with `what`.
pub fn wait<T>(what: &str, done: impl FnMut() -> Option<T>) -> T {
    support::wait_within(PATIENCE, what, done)
}

/// A configured folder, and the daemon in it while one runs.
pub struct Daemon {
    pub dir: tempfile::TempDir,
    pub port: u16,
    child: Option<Child>,
}

impl Daemon {
    /// `hook` is told of every alert; `rules` is a rule file.
    pub fn new(hook: Option<&str>, rules: &str) -> Daemon {
        let dir = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let told = hook.map_or(String::new(), |url| {
            format!(
                "[channel.hook.via.webhook]\nurl = \"{url}\"\nallow_private = true\n[[route]]\nchannels = [\"hook\"]\n"
            )
        });
        let config = format!(
            "[store]\npath = \"data\"\nretention = \"3650d\"\n\
             [alerts]\nrule_files = [\"rules.yml\"]\ninterval = \"1s\"\npack = false\ngroup_wait = \"0s\"\n\
             group_interval = \"1s\"\ncritical_group_wait = \"0s\"\ncritical_group_interval = \"1s\"\n\
             [web]\nlisten = \"127.0.0.1:{port}\"\nremote_write = true\n{told}"
        );
        std::fs::write(dir.path().join("hypercare.toml"), config).unwrap();
        std::fs::write(dir.path().join("rules.yml"), if rules.is_empty() { "groups: []\n" } else { rules }).unwrap();
        Daemon { dir, port, child: None }
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("daemon.log")).unwrap_or_default()
    }

    /// A command beside it.
    pub fn cli(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_hypercare")).args(args).current_dir(self.dir.path()).output().unwrap()
    }

    /// Starts it, by way of `wrapper`, and does not wait.
    pub fn spawn_by(&mut self, wrapper: &[&str]) {
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(self.dir.path().join("daemon.log")).unwrap();
        let words: Vec<&str> =
            wrapper.iter().copied().chain([env!("CARGO_BIN_EXE_hypercare"), "run", "--no-plan"]).collect();
        let child = Command::new(words[0])
            .args(&words[1..])
            .current_dir(self.dir.path())
            .env("NO_COLOR", "1")
            .env_remove("HYPERCARE_CONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}; run tests/setup.sh (make test does)", words[0]));
        self.child = Some(child);
    }

    pub fn spawn(&mut self) {
        self.spawn_by(&[]);
    }

    pub fn wait_ready(&self) {
        wait("the daemon to be ready", || self.get("/ready").starts_with("HTTP/1.1 200").then_some(()));
    }

    pub fn start(&mut self) {
        self.spawn();
        self.wait_ready();
    }

    /// SIGKILL: no handler runs, nothing is flushed.
    pub fn kill_9(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let _ = child.kill();
        let _ = child.wait();
    }

    /// SIGTERM to the daemon itself, not to what wraps it, and waits for the end.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let held = std::fs::read_to_string(self.data().join("daemon.lock")).unwrap();
        let pid = held.split([' ', ',']).nth(1).and_then(|p| p.parse().ok()).and_then(Pid::from_raw);
        kill_process(pid.expect("daemon.lock names it"), Signal::TERM).unwrap();
        let _ = child.wait();
    }

    /// A whole answer; empty when nobody answers.
    pub fn get(&self, path: &str) -> String {
        let head = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\r\n", self.port);
        exchange(self.port, head.as_bytes()).unwrap_or_default()
    }

    pub fn send(&self, n: u64) -> Option<u16> {
        send(self.port, n)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill_9();
    }
}

fn exchange(port: u16, request: &[u8]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(40)))?;
    stream.write_all(request)?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Sends a batch; the status, or nothing when there was no answer.
pub fn send(port: u16, n: u64) -> Option<u16> {
    let body = snap::raw::Encoder::new().compress_vec(&encode(&batch(n), &[])).unwrap();
    let head = format!(
        "POST /api/v1/write HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\nContent-Length: {}\r\n\
         Content-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n\
         X-Prometheus-Remote-Write-Version: 0.1.0\r\n\r\n",
        body.len()
    );
    let answer = exchange(port, &[head.as_bytes(), &body].concat()).ok()?;
    answer.get(9..12)?.parse().ok()
}

/// The bits of a series' sample: counters, any bits there are, stale markers, constants.
fn bits(series: u64, i: u64) -> u64 {
    let mut z = (series << 40 | i).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    match series % 4 {
        0 => ((i * 7 + z % 5) as f64).to_bits(),
        1 => z,
        2 if i % 37 == 5 => STALE_BITS,
        2 => ((z % 1000) as f64 / 8.0).to_bits(),
        _ => 1.0f64.to_bits(),
    }
}

fn labels(series: u64) -> Labels {
    Labels::new([(NAME, "fed_total".to_string()), ("series", format!("{series:02}"))])
}

fn sample(series: u64, i: u64) -> Sample {
    Sample { t: Timestamp::from_ms(BASE_MS + i as i64 * STEP_MS), v: f64::from_bits(bits(series, i)) }
}

pub fn batch(n: u64) -> Vec<(Labels, Vec<Sample>)> {
    let of = |series| (n * EACH..(n + 1) * EACH).map(|i| sample(series, i)).collect();
    (0..SERIES).map(|series| (labels(series), of(series))).collect()
}

pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build().unwrap().block_on(work)
}

/// What SQLite says of a database and its log, looked at in a copy: recovery is the daemon's.
pub fn integrity(data: &Path, file: &str) -> String {
    let copy = tempfile::tempdir().unwrap();
    for suffix in ["", "-wal"] {
        let name = format!("{file}{suffix}");
        if data.join(&name).exists() {
            std::fs::copy(data.join(&name), copy.path().join(&name)).unwrap();
        }
    }
    block_on(async {
        let mut connection = open(&copy.path().join(file)).await;
        let said: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        said.join("; ")
    })
}

pub async fn open(file: &Path) -> SqliteConnection {
    SqliteConnection::connect_with(&sqlx::sqlite::SqliteConnectOptions::new().filename(file)).await.unwrap()
}

/// Everything in the folder's store is what `batches` batches brought, once each and bit for bit; then again when all of
/// it is sealed. Returns how many samples that are.
pub fn check_whole(data: &Path, batches: u64) -> u64 {
    block_on(async {
        let store = Store::open(data, Role::Daemon, SystemClock::shared()).await.unwrap();
        for _ in 0..2 {
            let read = read(&store).await;
            assert_eq!(read.len() as u64, SERIES);
            for (series, (of, samples)) in read.iter().enumerate() {
                let series = series as u64;
                assert_eq!(of, &labels(series));
                assert_eq!(samples.len() as u64, batches * EACH, "{of}");
                let whole = (0..batches * EACH).map(|i| sample(series, i)).map(|s| (s.t.ms(), s.v.to_bits()));
                let wrong = samples.iter().copied().zip(whole).find(|(a, b)| a != b);
                assert_eq!(wrong, None, "{of}");
            }
            store.samples.maintain(store.clock.now(), Timestamp::MIN).await.unwrap();
        }
        let stats = store.samples.stats().await.unwrap();
        // Alerts leave series of their own.
        let all = select(&store, &[]).await.iter().map(|s| s.samples.len() as u64).sum::<u64>();
        assert_eq!(stats.page_samples + stats.head_samples, all, "nothing is stored twice: {stats:?}");
        store.close().await;
        batches * EACH * SERIES
    })
}

async fn select(store: &Store, matchers: &[Matcher]) -> Vec<Series> {
    let (from, to) = (Timestamp::from_ms(0), Timestamp::from_ms(i64::MAX));
    store.samples.select(matchers, from, to, usize::MAX).await.unwrap()
}

pub type Read = Vec<(Labels, Vec<(i64, u64)>)>;

/// All series by label.
pub async fn read(store: &Store) -> Read {
    let found = select(store, &[Matcher::equal(NAME, "fed_total")]).await;
    let points = |s: &[Sample]| s.iter().map(|s| (s.t.ms(), s.v.to_bits())).collect();
    found.into_iter().map(|s| (s.labels, points(&s.samples))).collect()
}
