//! Where the log is read: a file, or what a command prints (`journalctl`, `kubectl logs`, `logcli`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{BYTES_MAX, Lines, file};
use crate::domain::clock::Timestamp;
use crate::domain::problem::Problem;
use crate::domain::units::Span;
use crate::domain::verdict::Outcome;
use crate::gates::GateContext;
use crate::gates::command::printed;

/// `[gates.monitoring.logs]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// A log file, absolute or relative to the repository.
    pub file: Option<PathBuf>,
    /// A program and its arguments that print the log since `{since}` (RFC 3339) or `{since_unix}` (seconds); runs only
    /// with --allow-exec.
    pub command: Vec<String>,
    /// Is this where the logs of all instances come together? Default: a command's are, a file's are not.
    pub central: Option<bool>,
    /// A line must be there so long after its request; up to five times as long warns.
    pub max_lag: Span,
}

impl Default for Config {
    fn default() -> Self {
        Config { file: None, command: Vec::new(), central: None, max_lag: Span::secs(60) }
    }
}

impl Config {
    /// Problems by path below `gates.monitoring.logs`.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.file.is_some() && !self.command.is_empty() {
            problems.push(Problem::at(["command"], "stands beside `file`: one of them is where the log is read"));
        }
        if !(1..=300).contains(&self.max_lag.get().as_secs()) {
            problems.push(Problem::at(["max_lag"], "must lie between 1s and 5m"));
        }
        problems
    }

    pub fn is_central(&self) -> bool {
        self.central.unwrap_or(!self.command.is_empty())
    }

    /// As reports name it; a command's arguments may hold what is nobody's business.
    pub fn name(&self) -> String {
        match (&self.file, self.command.first()) {
            (Some(file), _) => file.display().to_string(),
            (None, Some(program)) => format!("what {program} prints"),
            (None, None) => "nowhere".into(),
        }
    }
}

/// Until a command has ended.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(20);

/// A place that was marked before the requests were sent.
pub enum Source {
    File(PathBuf, file::Mark),
    Command { argv: Vec<String>, folder: PathBuf },
}

impl Source {
    /// Marks the configured place, or says why there is none.
    pub fn open(ctx: &GateContext, now: Timestamp) -> Result<Source, Box<Outcome>> {
        let config = &ctx.config.monitoring.logs;
        let root = ctx.repo.as_ref().map_or(Path::new("."), |repo| repo.root());
        if let Some(path) = &config.file {
            let path = root.join(path);
            let mark = file::mark(&path).map_err(|e| Box::new(unread(&config.name(), &e.to_string())))?;
            return Ok(Source::File(path, mark));
        }
        if config.command.is_empty() {
            return Err(Box::new(nowhere(ctx)));
        }
        if !ctx.allow_exec {
            let text = format!("{} does not run without --allow-exec", config.command[0]);
            return Err(Box::new(Outcome::error("exec-not-trusted", text).hint("check --allow-exec, or name a file")));
        }
        // Clocks of two machines are never quite the same.
        let since = Timestamp::from_ms(now.ms() - 5_000);
        let fill = |text: &String| {
            text.replace("{since}", &since.rfc3339()).replace("{since_unix}", &(since.ms() / 1000).to_string())
        };
        Ok(Source::Command { argv: config.command.iter().map(fill).collect(), folder: root.to_path_buf() })
    }

    /// Whole lines since the mark.
    pub async fn read(&self) -> Result<Lines, String> {
        match self {
            Source::File(path, mark) => {
                let (path, mark) = (path.clone(), *mark);
                let read = tokio::task::spawn_blocking(move || file::since(&path, &mark)).await;
                read.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
            }
            Source::Command { argv, folder } => {
                let bytes = printed(argv, folder, COMMAND_TIME_MAX, BYTES_MAX).await?;
                let mut lines = Lines { cut: bytes.len() as u64 == BYTES_MAX, ..Lines::default() };
                lines.take(&bytes);
                Ok(lines)
            }
        }
    }
}

pub fn unread(name: &str, why: &str) -> Outcome {
    Outcome::error("unreadable", format!("{name}: {why}"))
        .hint("correct file or command in [gates.monitoring.logs]; the check's user must be allowed to read it")
}

/// A logger in the manifest is not a log.
fn nowhere(ctx: &GateContext) -> Outcome {
    let loggers: Vec<&str> = ctx.facts.of("logger").map(|f| f.value.as_str()).collect();
    let text = match loggers.first() {
        Some(first) => format!("{first} is a dependency, but nobody said where its lines arrive"),
        None => "no log to look into".into(),
    };
    Outcome::error("no-source", text)
        .hint("[gates.monitoring.logs] file = \"/var/log/app.log\", or command = [\"journalctl\", \"--since\", \"@{since_unix}\", …]")
}
