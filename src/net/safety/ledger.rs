//! The request ledger, `requests.ndjson`: one line per request, enough to answer "was that you?".

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;

use serde::Serialize;

use crate::domain::clock::Timestamp;

#[derive(Serialize)]
pub(super) struct Line<'a> {
    pub time: String,
    pub method: &'a str,
    /// Redacted.
    pub url: String,
    pub status: Option<u16>,
    /// Set when there was no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    pub gate: &'a str,
    pub bytes: usize,
}

pub(super) struct Ledger(Mutex<File>);

impl Ledger {
    pub(super) fn open(run_dir: &Path) -> std::io::Result<Ledger> {
        std::fs::create_dir_all(run_dir)?;
        let file = File::options().create(true).append(true).open(run_dir.join("requests.ndjson"))?;
        Ok(Ledger(Mutex::new(file)))
    }

    /// A full disk must not stop the gates: the loss is logged.
    pub(super) fn write(&self, line: &Line<'_>) {
        let mut text = serde_json::to_vec(line).unwrap_or_default();
        text.push(b'\n');
        let mut file = self.0.lock().unwrap_or_else(|e| e.into_inner());
        if let Err(error) = file.write_all(&text) {
            tracing::warn!(%error, "the request ledger could not be written");
        }
    }
}

/// Millisecond precision, so that lines can be laid beside a server's log.
pub(super) fn time(now: Timestamp) -> String {
    now.utc().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
