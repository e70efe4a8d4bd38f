//! What others send us: Prometheus remote write and OTLP metrics, decoded into series with many samples each.
//!
//! Pure: bytes in, series out; `web` listens, unpacks and stores. It lives here and not in `domain` because only what
//! we hear after go-live is read by it, while the gates share the exposition formats. Every decoder is bounded by
//! [`SERIES_MAX`] and [`SAMPLES_MAX`] whatever the body claims, and never panics.

pub mod otlp;
mod protobuf;
pub mod remote_write;
pub mod totals;

use crate::domain::exposition::LIMITS;
use crate::domain::metric::{Labels, Metadata, NAME, Sample};

pub use protobuf::Malformed;
use totals::Increase;

/// Series of one request. Senders cut at a few thousand.
pub const SERIES_MAX: usize = 100_000;
/// Samples of one request: 16 MiB in memory.
pub const SAMPLES_MAX: usize = 1_000_000;
/// Families of one request whose metadata are kept.
const METADATA_MAX: usize = 10_000;

/// A decoded request. What was left out is counted, the rest stands.
#[derive(Debug, Default, PartialEq)]
pub struct Received {
    /// In the order of the body; a series may come more than once.
    pub series: Vec<(Labels, Vec<Sample>)>,
    /// To be added to what their series have; see [`totals`].
    pub increases: Vec<(Labels, Vec<Increase>)>,
    pub metadata: Vec<Metadata>,
    pub refused: Refused,
}

impl Received {
    pub fn samples(&self) -> usize {
        let increases = self.increases.iter().map(|(_, all)| all.len());
        self.series.iter().map(|(_, samples)| samples.len()).chain(increases).sum()
    }
}

/// What a request had that we do not take.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Samples or data points.
    pub points: u64,
    /// What was wrong with the first few, each with the name of what it was.
    pub why: Vec<String>,
}

/// Reasons told to the sender: enough to see the pattern.
const REASONS_MAX: usize = 5;

impl Refused {
    fn add(&mut self, points: usize, why: impl FnOnce() -> String) {
        self.points += points as u64;
        if self.why.len() < REASONS_MAX {
            let why = why();
            if !self.why.contains(&why) {
                self.why.push(why);
            }
        }
    }
    pub fn is_empty(&self) -> bool {
        self.points == 0 && self.why.is_empty()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    #[error("not a protobuf message of the expected kind: {0}")]
    Malformed(#[from] Malformed),
    #[error("not the expected JSON: {0}")]
    Json(String),
    /// Smaller requests would be taken.
    #[error("the request has more than {0}; send less at a time")]
    TooMuch(&'static str),
}

/// Why a label set may not be stored: the limits of a scrape hold here too.
fn unfit(pairs: &[(&str, &str)]) -> Option<String> {
    let shown = |text: &str| text.chars().take(40).collect::<String>().escape_debug().to_string();
    let name = pairs.iter().find(|(n, _)| *n == NAME).map_or("", |(_, v)| v);
    if name.is_empty() {
        return Some("a series without a metric name".into());
    }
    let of = || format!("series {}", shown(name));
    if name.len() > LIMITS.name_bytes {
        return Some(format!("{}: the name is longer than {} bytes", of(), LIMITS.name_bytes));
    }
    if pairs.len() > LIMITS.labels + 1 {
        return Some(format!("{}: more than {} labels", of(), LIMITS.labels));
    }
    for (i, (label, value)) in pairs.iter().enumerate() {
        if label.is_empty() {
            return Some(format!("{}: a label without a name", of()));
        }
        if label.len() > LIMITS.name_bytes {
            return Some(format!("{}: label {} is longer than {} bytes", of(), shown(label), LIMITS.name_bytes));
        }
        if value.len() > LIMITS.value_bytes {
            return Some(format!("{}: label {} has more than {} bytes", of(), shown(label), LIMITS.value_bytes));
        }
        if pairs[..i].iter().any(|(other, _)| other == label) {
            return Some(format!("{}: label {} is given twice", of(), shown(label)));
        }
    }
    None
}
