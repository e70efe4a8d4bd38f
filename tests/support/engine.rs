//! Stores elsewhere: Debian's Prometheus and VictoriaMetrics, which can be stopped and started again on their port with
//! what they have.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hypercare::net::{Client, Request};

const SETUP: &str = "run tests/setup.sh, which installs Debian's";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Prometheus,
    VictoriaMetrics,
}

/// Ended when the test ends, however it ends.
pub struct Engine {
    pub kind: Kind,
    pub url: String,
    port: u16,
    dir: PathBuf,
    child: Option<Child>,
}

impl Engine {
    /// On a free port, with its data in `dir`; answers once it is ready.
    pub async fn start(kind: Kind, dir: &Path) -> Engine {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{port}");
        let mut engine = Engine { kind, url, port, dir: dir.to_path_buf(), child: None };
        engine.again().await;
        engine
    }

    pub async fn again(&mut self) {
        let at = format!("127.0.0.1:{}", self.port);
        let mut command = match self.kind {
            Kind::Prometheus => {
                let file = self.dir.join("prometheus.yml");
                std::fs::write(&file, "global: {}\n").unwrap();
                let mut command = Command::new("prometheus");
                command
                    .arg(format!("--config.file={}", file.display()))
                    .arg(format!("--storage.tsdb.path={}", self.dir.join("tsdb").display()))
                    .arg(format!("--web.listen-address={at}"))
                    .args(["--storage.tsdb.retention.time=100y", "--web.enable-remote-write-receiver"]);
                command
            }
            Kind::VictoriaMetrics => {
                let mut command = Command::new("victoria-metrics");
                command
                    .arg(format!("-storageDataPath={}", self.dir.join("vm").display()))
                    .arg(format!("-httpListenAddr={at}"))
                    .args(["-retentionPeriod=100y", "-memory.allowedBytes=128MB"]);
                command
            }
        };
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.child = Some(child.unwrap_or_else(|e| panic!("{:?}: {e}; {SETUP}", self.kind)));
        let ready = if self.kind == Kind::Prometheus { "-/ready" } else { "health" };
        for _ in 0..300 {
            let ready = Request::get(format!("{}/{ready}", self.url).parse().unwrap());
            if Client::new().send(ready).await.is_ok_and(|r| r.status == 200) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{:?} did not get ready within 30 s", self.kind);
    }

    /// As an operator does it: it writes down what it has.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
        let _ = child.wait();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
