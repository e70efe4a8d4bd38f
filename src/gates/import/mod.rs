//! Reports of other tools, one file per format: text in, plain values out. Hostile input is expected: sizes are capped,
//! XML entities are never expanded, and a report cut short is an error, never a smaller report. Knows no gate.

pub mod backup;
pub mod clover;
pub mod cobertura;
pub mod counted;
pub mod coveragepy;
pub mod ctrf;
#[cfg(test)]
pub(crate) mod cuts;
pub mod go_cover;
pub mod istanbul;
pub mod istanbul_summary;
pub mod jacoco;
pub mod json;
pub mod junit;
mod kept;
pub mod kind;
pub mod lcov;
pub mod llvm_cov;
pub mod load;
pub mod located;
pub mod mocha;
pub mod playwright;
pub mod reviews;
pub mod scan;
pub mod simplecov;
pub mod tap;
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
    /// It contradicts itself: what its writer counted is not what it lists.
    #[error("damaged: {0}")]
    Damaged(String),
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

/// From line and column to line and column.
pub type Block = (u32, u32, u32, u32);

/// How much of a file is covered, in the report's own unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub covered: u64,
    pub total: u64,
}

/// What a coverage report says, in its own paths (with `/`).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Coverage {
    /// Files in the report, also those without a line of code.
    pub files: BTreeMap<String, Lines>,
    /// Go: statements and hits by block. Where a file has blocks, they are counted instead of lines.
    pub blocks: BTreeMap<String, BTreeMap<Block, (u64, u64)>>,
    /// The writer's own count of lines, where adding up lines gives another one or there are no lines to add.
    pub tallies: BTreeMap<String, Tally>,
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

    /// Covered and listed lines of a file.
    pub fn lines(&self, file: &str) -> Tally {
        tally(self.files.get(file).unwrap_or(&Lines::new()), None, None)
    }

    /// What this report alone says about a file.
    pub fn tally(&self, file: &str) -> Tally {
        let lines = self.files.get(file);
        tally(lines.unwrap_or(&Lines::new()), self.blocks.get(file), self.tallies.get(file).copied())
    }
}

/// Blocks count before the writer's own count, and that before lines.
pub fn tally(lines: &Lines, blocks: Option<&BTreeMap<Block, (u64, u64)>>, own: Option<Tally>) -> Tally {
    if let Some(blocks) = blocks {
        return blocks.values().fold(Tally::default(), |sum, (statements, hits)| Tally {
            covered: sum.covered + if *hits > 0 { *statements } else { 0 },
            total: sum.total + statements,
        });
    }
    let covered = lines.values().filter(|hits| **hits > 0).count() as u64;
    own.unwrap_or(Tally { covered, total: lines.len() as u64 })
}

/// Seconds or milliseconds since the epoch, by tool. A time before 1973 in milliseconds is one in seconds.
pub fn epoch(text: &str) -> Option<Timestamp> {
    let value: f64 = text.trim().parse().ok()?;
    match value {
        v if !v.is_finite() || v <= 0.0 => None,
        v if v < 1e11 => Some(Timestamp::from_seconds(v)),
        v => Some(Timestamp::from_ms(v as i64)),
    }
}

/// Paths are compared with `/`, whatever system wrote them.
pub fn slashes(path: &str) -> String {
    path.trim().replace('\\', "/")
}
