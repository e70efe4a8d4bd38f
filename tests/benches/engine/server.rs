//! Ours and the peers: started on a free port with a folder of their own, ended with their handle.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::Result;
use super::client::Connection;
use super::process::Process;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Hypercare,
    Prometheus,
    VictoriaMetrics,
}

/// In the order of a table's columns.
pub const KINDS: [Kind; 3] = [Kind::Hypercare, Kind::Prometheus, Kind::VictoriaMetrics];

/// Where samples come from.
pub enum Work<'a> {
    RemoteWrite,
    /// Ports of targets on loopback, asked each second.
    Scrape(&'a [u16]),
}

pub struct Server {
    pub kind: Kind,
    pub process: Process,
    pub port: u16,
    pub started: Instant,
    dir: PathBuf,
}

impl Server {
    /// Answers once it is ready; `None` for a peer that is not installed.
    pub async fn start(kind: Kind, dir: &Path, work: Work<'_>) -> Result<Option<Server>> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        std::fs::create_dir_all(dir)?;
        let mut command = match kind {
            Kind::Hypercare => hypercare(dir, port, work)?,
            Kind::Prometheus => prometheus(dir, port, work)?,
            Kind::VictoriaMetrics => victoria_metrics(dir, port, work)?,
        };
        let started = Instant::now();
        let Some(process) = Process::start(&mut command)? else { return Ok(None) };
        let mut server = Server { kind, process, port, started, dir: dir.to_path_buf() };
        let ready = match kind {
            Kind::Hypercare => "/ready",
            Kind::Prometheus => "/-/ready",
            Kind::VictoriaMetrics => "/health",
        };
        while Connection::to(port).get(ready).await.is_err() {
            if server.process.ended() || started.elapsed() > Duration::from_secs(30) {
                return Err(format!("{kind:?} did not get ready: start `{command:?}` to see why").into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(Some(server))
    }

    pub fn connection(&self) -> Connection {
        Connection::to(self.port)
    }

    /// Added to a question that no cache may answer; Prometheus has none.
    pub fn uncached(&self) -> &'static str {
        if self.kind == Kind::Prometheus { "" } else { "&nocache=1" }
    }

    /// Until what came in is where it stays: ours looks after its pages a minute after its start, and each minute after.
    pub async fn settled(&self) -> Result<()> {
        if self.kind == Kind::VictoriaMetrics {
            self.connection().get("/internal/force_flush").await?;
        }
        if self.kind == Kind::Hypercare {
            let turns = self.started.elapsed().as_secs() / 60 + 1;
            tokio::time::sleep_until((self.started + Duration::from_secs(turns * 60 + 1)).into()).await;
        }
        self.process.settled().await
    }

    /// Bytes of the samples and their index, as small as its owner keeps them: Prometheus' as blocks, VictoriaMetrics'
    /// merged, ours after a clean stop.
    pub async fn bytes(self) -> Result<f64> {
        match self.kind {
            Kind::Hypercare => {
                let dir = self.dir.join("hypercare-data");
                self.process.stop().await?;
                bytes_of(&dir, "samples.db")
            }
            Kind::Prometheus => {
                let body =
                    self.connection().ask("POST", "/api/v1/admin/tsdb/snapshot", &[], Default::default()).await?;
                let answer: serde_json::Value = serde_json::from_slice(&body)?;
                let name = answer["data"]["name"].as_str().ok_or("prometheus made no snapshot")?;
                bytes_of(&self.dir.join("data/snapshots").join(name), "")
            }
            Kind::VictoriaMetrics => {
                self.connection().get("/internal/force_merge").await?;
                self.process.settled().await?;
                Ok(bytes_of(&self.dir.join("data/data"), "")? + bytes_of(&self.dir.join("data/indexdb"), "")?)
            }
        }
    }
}

fn hypercare(dir: &Path, port: u16, work: Work) -> Result<Command> {
    let work = match work {
        Work::RemoteWrite => "remote_write = true\n".to_string(),
        Work::Scrape(ports) => {
            let targets: Vec<String> = ports.iter().map(|p| format!("\"http://127.0.0.1:{p}/metrics\"")).collect();
            let targets = targets.join(", ");
            format!("[metric.app.from.prometheus]\ntargets = [{targets}]\ninterval = \"1s\"\ntimeout = \"1s\"\n")
        }
    };
    let service = "[service.shop]\nurl = \"http://127.0.0.1:9/\"\n";
    std::fs::write(dir.join("hypercare.toml"), format!("{service}[web]\nlisten = \"127.0.0.1:{port}\"\n{work}"))?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_hypercare"));
    command.current_dir(dir).env_remove("HYPERCARE_CONFIG").args(["run", "--no-plan"]);
    Ok(command)
}

fn prometheus(dir: &Path, port: u16, work: Work) -> Result<Command> {
    let file = dir.join("prometheus.yml");
    std::fs::write(&file, scrape_config(work))?;
    let mut command = Command::new("prometheus");
    command
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .args(["--web.enable-remote-write-receiver", "--web.enable-admin-api", "--log.level=warn"]);
    Ok(command)
}

fn victoria_metrics(dir: &Path, port: u16, work: Work) -> Result<Command> {
    let file = dir.join("scrape.yml");
    std::fs::write(&file, scrape_config(work))?;
    let mut command = Command::new("victoria-metrics");
    command
        .arg(format!("-promscrape.config={}", file.display()))
        .arg(format!("-storageDataPath={}", dir.join("data").display()))
        .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
        // By default samples are shown 30 s after they came; then scrapes could not be counted soon after.
        .args(["-retentionPeriod=12", "-loggerLevel=WARN", "-search.latencyOffset=1s"]);
    Ok(command)
}

/// Both peers read the same words.
fn scrape_config(work: Work) -> String {
    let Work::Scrape(ports) = work else { return "global: {}\n".into() };
    let targets: Vec<String> = ports.iter().map(|p| format!("'127.0.0.1:{p}'")).collect();
    format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n- job_name: shop\n  \
         static_configs:\n  - targets: [{}]\n",
        targets.join(", ")
    )
}

/// Of the files whose name begins so, in all folders below.
fn bytes_of(dir: &Path, prefix: &str) -> Result<f64> {
    let mut sum = 0.0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sum += bytes_of(&entry.path(), prefix)?;
        } else if entry.file_name().to_string_lossy().starts_with(prefix) {
            sum += entry.metadata()?.len() as f64;
        }
    }
    Ok(sum)
}
