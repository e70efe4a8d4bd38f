//! Questions to git, asked of the `git` program with hooks, file-system monitors and pagers switched off, a time limit
//! and a cap on its output.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[derive(Debug, Clone)]
pub struct Git {
    root: PathBuf,
}

#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum GitError {
    #[error("git is not on PATH")]
    Missing,
    #[error("git {command}: {message}")]
    Failed { command: String, message: String },
}

/// Output larger than this is cut.
const OUTPUT_BYTES_MAX: usize = 64 * 1024 * 1024;

impl Git {
    /// `None` when `dir` is not inside a work tree, or git is not installed.
    pub fn discover(dir: &Path) -> Option<Git> {
        let git = Git { root: dir.to_path_buf() };
        let top = git.run(&["rev-parse", "--show-toplevel"]).ok()?;
        Some(Git { root: PathBuf::from(top.trim_end()) })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Runs git and returns its standard output (lossy UTF-8).
    pub fn run(&self, args: &[&str]) -> Result<String, GitError> {
        let command = args.first().copied().unwrap_or_default().to_string();
        let output = Command::new("git")
            .arg("--no-pager")
            .args(["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=false"])
            .args(["-c", "protocol.allow=never", "-C"])
            .arg(&self.root)
            .args(args)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output()
            .map_err(|_| GitError::Missing)?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or("failed").to_string();
            return Err(GitError::Failed { command, message });
        }
        let bytes = &output.stdout[..output.stdout.len().min(OUTPUT_BYTES_MAX)];
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }
}
