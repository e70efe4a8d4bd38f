//! A real Prometheus, and promtool: Debian's.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hypercare::net::{Client, Request};

const SETUP: &str = "this test needs a real Prometheus: run tests/setup.sh, which installs Debian's";

/// Ended when the test ends, however it ends.
pub struct Prometheus {
    child: Child,
    pub url: String,
}

impl Prometheus {
    /// On a free port, with `dir`/tsdb as its database and `config` in `dir`; answers once it is ready.
    pub async fn start(dir: &Path, config: &str) -> Prometheus {
        Prometheus::start_with(dir, config, &[]).await
    }

    /// As [`Prometheus::start`], with further flags.
    pub async fn start_with(dir: &Path, config: &str, flags: &[&str]) -> Prometheus {
        let file = dir.join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("tsdb").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--storage.tsdb.retention.time=100y")
            .args(flags)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("prometheus: {e}; {SETUP}"));
        let prometheus = Prometheus { child, url: format!("http://127.0.0.1:{port}") };
        for _ in 0..300 {
            let ready = Request::get(format!("{}/-/ready", prometheus.url).parse().unwrap());
            if Client::new().send(ready).await.is_ok_and(|r| r.status == 200) {
                return prometheus;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("prometheus did not get ready within 30 s");
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// promtool makes the blocks of `dir`/tsdb from an OpenMetrics file.
pub fn create_blocks(dir: &Path, open_metrics: &Path) {
    let made = Command::new("promtool")
        .args(["tsdb", "create-blocks-from", "openmetrics"])
        .args([open_metrics, &dir.join("tsdb")])
        .output()
        .unwrap_or_else(|e| panic!("promtool: {e}; {SETUP}"));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
