//! Reports of other tools, one file per format: text in, plain values out. Hostile input is expected: sizes are capped,
//! XML entities are never expanded, and a report cut short is an error, never a smaller report. Knows no gate.

pub mod cobertura;
pub mod junit;
pub mod lcov;
pub mod xml;
pub mod yaml;

use std::collections::BTreeMap;

use crate::domain::clock::Timestamp;

/// Larger reports are refused: a coverage report of a million lines stays under it.
pub const REPORT_BYTES_MAX: u64 = 64 * 1024 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    #[error("line {line}: {message}")]
    Malformed { line: u32, message: String },
    /// The last thing begun was never ended: the writer was killed, or the disk was full.
    #[error("cut short: the file ends inside {0}")]
    CutShort(String),
    #[error("holds no {0}")]
    Empty(&'static str),
}

impl ImportError {
    pub fn at(line: u32, message: impl Into<String>) -> ImportError {
        ImportError::Malformed { line, message: message.into() }
    }
}

/// Hits by line (from 1).
pub type Lines = BTreeMap<u32, u64>;

/// What a coverage report says, in its own paths (with `/`).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Coverage {
    /// Files in the report, also those without a line of code.
    pub files: BTreeMap<String, Lines>,
    /// Folders that relative paths may start from: Cobertura's `<source>`.
    pub roots: Vec<String>,
    /// When the tool says it wrote the report.
    pub made_at: Option<Timestamp>,
}

impl Coverage {
    /// Union: a line is hit as often as the best report saw it.
    pub fn add(&mut self, file: &str, line: u32, hits: u64) {
        let seen = self.files.entry(file.to_string()).or_default().entry(line).or_insert(0);
        *seen = (*seen).max(hits);
    }
}

/// Paths are compared with `/`, whatever system wrote them.
pub fn slashes(path: &str) -> String {
    path.trim().replace('\\', "/")
}
