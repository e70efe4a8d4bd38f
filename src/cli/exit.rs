//! Exit codes, all in one place, and how an error finds its own. Scripts rely on the numbers.

use std::fmt;
use std::process::ExitCode;

use super::output::{self, Tone};
use crate::domain::secret::redact;
use crate::net::NetError;
use crate::store::StoreError;

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// GO, yes, all well.
    Yes = 0,
    /// NO-GO, no, the thing asked about is bad.
    No = 1,
    /// Command line or configuration wrong.
    Usage = 2,
    /// Could not decide: errors, no failure.
    Undecided = 3,
    /// Refused for safety.
    Refused = 4,
    /// Cannot reach what was asked about.
    Unreachable = 69,
    /// Our own fault.
    Internal = 70,
    /// Input/output, or a damaged store.
    Io = 74,
    /// Try again: somebody else holds it.
    TryAgain = 75,
    /// Ended by a signal, as shells count it.
    Interrupted = 130,
}

impl Exit {
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// An error that knows its exit code and may carry a hint: `Failure::new(Exit::No, "…").hint("…")`.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub message: String,
    pub hint: Option<String>,
}

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into(), hint: None }
    }
    /// What to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Exit code of an error: the outermost cause that has an opinion wins; whatever nobody foresaw is our own fault.
pub fn of(error: &anyhow::Error) -> Exit {
    // A failure given as context is not an error of the chain by itself: anyhow finds it, the chain does not.
    let said = error.downcast_ref::<Failure>().map(|f| f.exit);
    said.or_else(|| error.chain().find_map(one)).unwrap_or(Exit::Internal)
}

fn one(error: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return Some(failure.exit);
    }
    if let Some(store) = error.downcast_ref::<StoreError>() {
        return Some(match store {
            StoreError::Locked { .. } | StoreError::Busy => Exit::TryAgain,
            StoreError::NewerSchema { .. }
            | StoreError::Foreign { .. }
            | StoreError::Corrupt { .. }
            | StoreError::DiskFull => Exit::Io,
            StoreError::Database(_) | StoreError::Io { .. } => Exit::Io,
            StoreError::Elsewhere(_) => Exit::Unreachable,
            StoreError::Refused(_) | StoreError::NotFound(_) => Exit::No,
            StoreError::Closed => Exit::Internal,
        });
    }
    if let Some(net) = error.downcast_ref::<NetError>() {
        return Some(match net {
            NetError::Refused(_) => Exit::Refused,
            NetError::Stopped(_) => Exit::Undecided,
            NetError::Dns(_) | NetError::Connect(_) | NetError::Tls(_) | NetError::Timeout(_) => Exit::Unreachable,
            NetError::BodyTooLarge(_) | NetError::Protocol(_) => Exit::Unreachable,
        });
    }
    if error.is::<std::io::Error>() {
        return Some(Exit::Io);
    }
    None
}

/// The reader of our output went away (`hypercare … | head`): the end of the work, not a failure.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|e| e.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe))
}

/// Prints an error and its causes to stderr, redacted, control characters stripped.
pub fn complain(error: &anyhow::Error) {
    use std::io::Write as _;
    let mut text = format!("{} {}\n", output::paint(Tone::Fail, "error:"), shown(&error.to_string()));
    let mut last = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // `#[error(transparent)]` and messages that repeat their source would say everything twice.
        if !last.contains(&cause) {
            text.push_str(&format!("  {} {}\n", output::paint(Tone::Soft, "because:"), shown(&cause)));
        }
        last = cause;
    }
    if let Some(hint) = error.downcast_ref::<Failure>().and_then(|f| f.hint.as_deref()) {
        text.push_str(&format!("  {} {}\n", output::paint(Tone::Accent, "hint:"), shown(hint)));
    }
    // Nobody is left to hear that stderr is gone.
    let _ = anstream::stderr().write_all(text.as_bytes());
}

fn shown(text: &str) -> String {
    output::clean(&redact(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn an_error_finds_its_code_through_any_number_of_contexts() {
        let check = |error: anyhow::Error, expect: Exit| {
            let wrapped = Err::<(), _>(error).context("opening").context("starting").unwrap_err();
            assert_eq!(of(&wrapped), expect, "{wrapped:#}");
        };
        let locked = || StoreError::Locked { path: "data".into(), holder: "pid 1".into() };
        check(locked().into(), Exit::TryAgain);
        check(StoreError::Corrupt { file: "state.db".into(), detail: "x".into() }.into(), Exit::Io);
        check(StoreError::NotFound("launch".into()).into(), Exit::No);
        check(NetError::Refused("host".into()).into(), Exit::Refused);
        check(NetError::Dns("host".into()).into(), Exit::Unreachable);
        check(std::io::Error::other("disk").into(), Exit::Io);
        check(Failure::new(Exit::Undecided, "x").into(), Exit::Undecided);
        check(anyhow::anyhow!("unforeseen"), Exit::Internal);
        // What the command says about an error beats what the error says about itself.
        check(anyhow::Error::new(locked()).context(Failure::new(Exit::No, "no daemon runs")), Exit::No);
    }

    #[test]
    fn a_closed_pipe_is_recognised() {
        let error = anyhow::Error::new(std::io::Error::from(std::io::ErrorKind::BrokenPipe)).context("printing");
        assert!(is_broken_pipe(&error));
        assert!(!is_broken_pipe(&anyhow::anyhow!("broken pipe")));
    }
}
