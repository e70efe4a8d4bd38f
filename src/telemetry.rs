//! Tracing setup: logs to stderr, human or JSON, secrets redacted. hypercare's own counters are in `own.rs`.

pub mod own;

use std::io;

use clap::ValueEnum;
use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::domain::secret::redact;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    #[default]
    Human,
    Json,
}

/// Overrides the level per module, in tracing's own grammar: `hypercare::notify=debug`.
const FILTER_VARIABLE: &str = "HYPERCARE_LOG";

/// Warnings by default, one step more for each `-v`; a command that narrates (the daemon) starts at `info`.
pub fn level(quiet: bool, verbose: u8, narrates: bool) -> Level {
    match (quiet, verbose + u8::from(narrates)) {
        (true, _) => Level::ERROR,
        (false, 0) => Level::WARN,
        (false, 1) => Level::INFO,
        (false, 2) => Level::DEBUG,
        (false, _) => Level::TRACE,
    }
}

/// Sets the process's logger up. A second call changes nothing.
pub fn init(format: LogFormat, level: Level) {
    // Other crates speak one step softer: their `info` is our `debug`.
    let others = match level {
        Level::TRACE => Level::DEBUG,
        Level::DEBUG => Level::INFO,
        Level::INFO => Level::WARN,
        _ => Level::ERROR,
    };
    let filter = std::env::var(FILTER_VARIABLE)
        .ok()
        .and_then(|text| EnvFilter::try_new(text).ok())
        .unwrap_or_else(|| EnvFilter::new(format!("{others},hypercare={level}")));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Redacted);
    let _ = match format {
        LogFormat::Human => builder.with_ansi(color_on_stderr()).with_target(false).compact().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
    };
}

fn color_on_stderr() -> bool {
    use io::IsTerminal as _;
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// Stderr behind the redactor. The formatter writes one event per call, so that no secret is cut in two.
struct Redacted;

impl<'a> MakeWriter<'a> for Redacted {
    type Writer = RedactedStderr;
    fn make_writer(&'a self) -> RedactedStderr {
        RedactedStderr
    }
}

struct RedactedStderr;

impl io::Write for RedactedStderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stderr().write_all(redact(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_choose_the_level() {
        assert_eq!(level(false, 0, false), Level::WARN);
        assert_eq!(level(false, 0, true), Level::INFO);
        assert_eq!(level(true, 0, true), Level::ERROR);
        assert_eq!(level(false, 9, false), Level::TRACE);
    }
}
