//! A real PostgreSQL: Debian's, with a cluster of its own in a temporary folder, on a free port of 127.0.0.1 and a socket
//! beside its data. As root it runs as `postgres`: it refuses to run as root.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::wait_within;

const SETUP: &str = "this test needs a real PostgreSQL: run tests/setup.sh, which installs Debian's";

/// Ended when the test ends, however it ends.
pub struct Postgres {
    child: Child,
    dir: tempfile::TempDir,
    pub port: u16,
}

/// Where Debian keeps the programs.
pub fn programs() -> PathBuf {
    let programs = PathBuf::from("/usr/lib/postgresql/15/bin");
    assert!(programs.join("initdb").exists(), "{SETUP}");
    programs
}

fn number(args: &[&str]) -> u32 {
    let output = Command::new("id").args(args).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or_else(|_| panic!("no user postgres: {SETUP}"))
}

/// A program of PostgreSQL's, run as somebody whom it accepts.
fn command(program: &str) -> Command {
    let program = programs().join(program);
    if number(&["-u"]) != 0 {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command
}

impl Postgres {
    /// With these libraries loaded. Passwords are asked for over TCP, not on the socket.
    pub fn start(preload: &str) -> Postgres {
        let dir = tempfile::tempdir().unwrap();
        if number(&["-u"]) == 0 {
            let (user, group) = (number(&["-u", "postgres"]), number(&["-g", "postgres"]));
            std::os::unix::fs::chown(dir.path(), Some(user), Some(group)).unwrap();
        }
        let data = dir.path().join("data");
        let made = command("initdb")
            .current_dir(dir.path())
            .args(["--no-sync", "--encoding=UTF8", "--locale=C", "--username=postgres"])
            .args(["--auth-local=trust", "--auth-host=scram-sha-256", "-D"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let child = command("postgres")
            .current_dir(dir.path())
            .arg("-D")
            .arg(&data)
            .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-k"])
            .arg(dir.path())
            .args(["-c", &format!("shared_preload_libraries={preload}")])
            // Nothing here has to outlive the test; statistics change when the test says so.
            .args(["-c", "fsync=off", "-c", "autovacuum=off", "-c", "max_connections=40", "-c", "shared_buffers=32MB"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let server = Postgres { child, dir, port };
        wait_within(Duration::from_secs(60), "PostgreSQL", || server.try_sql("postgres", "select 1").ok());
        server
    }

    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// A client on the socket, as the superuser.
    pub fn client(&self, program: &str) -> Command {
        let mut command = Command::new(programs().join(program));
        command.env("PGHOST", self.dir.path()).env("PGPORT", self.port.to_string()).env("PGUSER", "postgres");
        command.env("PGCONNECT_TIMEOUT", "10").env("PGOPTIONS", "-c statement_timeout=60s");
        command
    }

    fn try_sql(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut child = self
            .client("psql")
            .args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database, "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| e.to_string())?;
        let sent = child.stdin.take().unwrap().write_all(sql.as_bytes());
        let output = child.wait_with_output().map_err(|e| e.to_string())?;
        if output.status.success() && sent.is_ok() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_string());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Runs statements as the superuser; gives what they print.
    #[track_caller]
    pub fn sql(&self, database: &str, sql: &str) -> String {
        self.try_sql(database, sql).unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    /// The same of statements that are to fail.
    #[track_caller]
    pub fn sql_fails(&self, database: &str, sql: &str) -> String {
        self.try_sql(database, sql).expect_err("the server took it")
    }

    /// As a role with a password, over TCP.
    pub fn url(&self, role: &str, password: &str, database: &str) -> String {
        format!("postgresql://{role}:{password}@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // At once, its children too.
        let _ = Command::new("kill").args(["-QUIT", &self.child.id().to_string()]).status();
        for _ in 0..100 {
            if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
