//! A backup into the scratch database: by pg_restore or psql, or by the configured program.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

use super::listing::Backup;
use crate::domain::secret::redact;
use crate::domain::verdict::Outcome;
use crate::gates::database::scratch::{Reached, Scratch};

pub enum Stopped {
    /// The backup does not load: its words.
    Failed(String),
    /// It could not be tried.
    NoTool(Box<Outcome>),
}

const STDERR_MAX: u64 = 256 * 1024;
const LINE_MAX: usize = 300;

/// Gives what did it, as `pg_restore (PostgreSQL) 15.14`.
pub async fn restore(
    scratch: &Scratch,
    backup: &Backup,
    command: &[String],
    folder: &Path,
    patience: Duration,
    progress: impl Fn(u64),
) -> Result<String, Stopped> {
    let reached = scratch.reached().map_err(|e| Stopped::NoTool(Box::new(e.outcome())))?;
    let (mut program, by) = match command.split_first() {
        Some((name, arguments)) => {
            let path = backup.path.display().to_string();
            let mut program = Command::new(name);
            program.args(arguments.iter().map(|a| a.replace("{artifact}", &path))).envs(variables(&reached));
            (program, name.clone())
        }
        None => own(&reached, backup).await?,
    };
    if let Some(password) = &reached.password {
        program.env("PGPASSWORD", password.expose());
    }
    program.current_dir(folder).kill_on_drop(true);
    program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = program.spawn().map_err(|e| {
        Stopped::NoTool(Box::new(Outcome::error("no-tool", format!("{by} cannot be started: {}", e.kind()))))
    })?;
    let stderr = child.stderr.take();
    let begun = Instant::now();
    let work = async {
        let told = tokio::spawn(bounded(stderr));
        let status = child.wait().await;
        (status, told.await.unwrap_or_default())
    };
    tokio::pin!(work);
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let (status, told) = loop {
        tokio::select! {
            done = &mut work => break done,
            _ = tick.tick() => {
                progress(begun.elapsed().as_secs());
                if begun.elapsed() > patience {
                    return Err(Stopped::Failed(format!("did not end within {} s", patience.as_secs())));
                }
            }
        }
    };
    match status {
        Ok(status) if status.success() => Ok(by),
        Ok(_) if told.contains("unsupported version") => {
            let text = format!("{by} is older than what wrote {}", backup.name);
            Err(Stopped::NoTool(Box::new(
                Outcome::error("wrong-version", text)
                    .hint("install the PostgreSQL client of the server's major version"),
            )))
        }
        // A program of the product's own may say anything.
        Ok(status) if !command.is_empty() => Err(Stopped::Failed(format!("{by} ended with {status}"))),
        Ok(status) => Err(Stopped::Failed(reason(&told).unwrap_or_else(|| format!("{by} ended with {status}")))),
        Err(e) => Err(Stopped::NoTool(Box::new(Outcome::error("no-tool", e.to_string())))),
    }
}

async fn bounded(stderr: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut stderr) = stderr {
        let _ = (&mut stderr).take(STDERR_MAX).read_to_end(&mut bytes).await;
        // A full pipe would hold the program up.
        let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The first complaint; details beside it may show rows, and are left out.
fn reason(told: &str) -> Option<String> {
    let line = told.lines().find_map(|line| {
        let line =
            line.split_once("error: ").or_else(|| line.split_once("ERROR: ")).or_else(|| line.split_once("FATAL: "))?.1;
        Some(line.trim())
    })?;
    let line = line.rsplit_once("ERROR: ").map_or(line, |(_, last)| last.trim());
    let clean: String = line.chars().filter(|c| !c.is_control()).take(LINE_MAX).collect();
    Some(redact(&clean))
}

/// For programs of the product's own.
fn variables(reached: &Reached) -> Vec<(&'static str, String)> {
    let mut out = vec![("DATABASE_URL", with_password(reached))];
    if let Ok(url) = url::Url::parse(&reached.url) {
        let plain = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        out.push(("PGDATABASE", url.path().trim_start_matches('/').to_string()));
        out.push(("PGUSER", plain(url.username())));
        out.push(("PGPORT", url.port().unwrap_or(5432).to_string()));
        let socket = url.query_pairs().find(|(key, _)| key == "host").map(|(_, value)| value.into_owned());
        out.push(("PGHOST", socket.or_else(|| url.host_str().map(str::to_string)).unwrap_or_default()));
        out.extend(
            url.query_pairs().find(|(key, _)| key == "sslmode").map(|(_, value)| ("PGSSLMODE", value.into_owned())),
        );
    }
    out
}

fn with_password(reached: &Reached) -> String {
    let Ok(mut url) = url::Url::parse(&reached.url) else { return String::new() };
    let _ = url.set_password(reached.password.as_ref().map(|p| p.expose()));
    url.into()
}

/// pg_restore for its own formats, psql for a plain dump.
async fn own(reached: &Reached, backup: &Backup) -> Result<(Command, String), Stopped> {
    let head = head(&backup.path).await;
    let none = |text: String| {
        let hint =
            "command = [\"sh\", \"-c\", \"gpg -d {artifact} | pg_restore …\"] in [gates.infrastructure.backup_restore]";
        Stopped::NoTool(Box::new(Outcome::error("unknown-format", text).hint(hint)))
    };
    let name = match head.as_deref() {
        Some(head) if head.starts_with(b"PGDMP") || head.get(257..262) == Some(b"ustar") => "pg_restore",
        None if backup.path.join("toc.dat").is_file() => "pg_restore",
        Some(head) if is_sql(head) => "psql",
        Some(_) => return Err(none(format!("{} is no dump that pg_restore or psql reads", backup.name))),
        None => return Err(none(format!("{} cannot be read", backup.name))),
    };
    let Some((program, version)) = find(name).await else {
        return Err(Stopped::NoTool(Box::new(
            Outcome::error("no-tool", format!("{name} is not installed")).hint("install the PostgreSQL client"),
        )));
    };
    let mut command = Command::new(program);
    match name {
        "pg_restore" => {
            command.arg("--exit-on-error").arg(format!("--dbname={}", reached.url)).arg(&backup.path);
        }
        // Nothing of the caller's own settings; one fault ends it.
        _ => {
            command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(&backup.path).arg("-d").arg(&reached.url);
        }
    }
    Ok((command, version))
}

/// `None`: a folder, or nothing that can be read.
async fn head(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    tokio::fs::File::open(path).await.ok()?.take(4096).read_to_end(&mut bytes).await.ok()?;
    Some(bytes)
}

/// Text that begins as `pg_dump` and people begin: with a comment or a statement.
fn is_sql(head: &[u8]) -> bool {
    let text = String::from_utf8_lossy(head);
    !head.contains(&0) && text.trim_start().starts_with(|c: char| c == '-' || c == '\\' || c.is_ascii_alphabetic())
}

/// The newest that is there: (path, what it calls itself).
async fn find(name: &str) -> Option<(PathBuf, String)> {
    let mut folders: Vec<PathBuf> = match std::fs::read_dir("/usr/lib/postgresql") {
        Ok(entries) => entries.flatten().map(|e| e.path().join("bin")).collect(),
        Err(_) => Vec::new(),
    };
    let major = |folder: &PathBuf| {
        folder.parent().and_then(|p| p.file_name()?.to_str()?.parse::<u32>().ok()).unwrap_or_default()
    };
    folders.sort_by_key(|folder| std::cmp::Reverse(major(folder)));
    folders.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths).collect::<Vec<_>>());
    for folder in folders {
        let path = folder.join(name);
        let asked = Command::new(&path).arg("--version").stdin(Stdio::null()).kill_on_drop(true).output();
        if let Ok(Ok(output)) = tokio::time::timeout(Duration::from_secs(10), asked).await
            && output.status.success()
        {
            let version: String = String::from_utf8_lossy(&output.stdout).trim().chars().take(80).collect();
            return Some((path, version));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_without_rows() {
        let told = "pg_restore: while PROCESSING TOC:\npg_restore: from TOC entry 215; 1259 16385 TABLE orders app\n\
                    pg_restore: error: could not execute query: ERROR:  role \"app\" does not exist\n\
                    Command was: ALTER TABLE public.orders OWNER TO app;\n";
        assert_eq!(reason(told).as_deref(), Some("role \"app\" does not exist"));
        let psql = "psql:shop.sql:12: ERROR:  duplicate key\nDETAIL:  Key (email)=(ada@shop.example) already exists.\n";
        assert_eq!(reason(psql).as_deref(), Some("duplicate key"));
        assert_eq!(
            reason("pg_restore: error: could not read from input file: end of file").as_deref(),
            Some("could not read from input file: end of file")
        );
        assert_eq!(reason("anything"), None);
    }

    #[test]
    fn plain_dumps_are_told_by_their_head() {
        assert!(
            is_sql(b"--\n-- PostgreSQL database dump\n")
                && is_sql(b"\\connect x")
                && is_sql(b"SET search_path = shop;")
        );
        assert!(!is_sql(b"\x1f\x8b\x08") && !is_sql(b"PK\0\0") && !is_sql(b""));
    }
}
