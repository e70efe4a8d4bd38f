//! What load generators report, in one shape: rate, requests, errors by class, percentiles, and how requests were timed.
//! A closed loop waits for each answer before it asks again, so that a stall hides the requests it delayed: such
//! latencies are labelled `co-biased` (coordinated omission) and prove less.

pub mod artillery;
pub mod autocannon;
pub mod bombardier;
pub mod gatling;
pub mod hey;
pub mod jmeter;
pub mod k6;
pub mod locust;
pub mod oha;
pub mod vegeta;
pub mod wrk;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ImportError;
use super::kept::{self, Word};
use crate::domain::clock::Timestamp;

/// How requests were scheduled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Model {
    /// At a rate of their own.
    Open,
    /// The next one when the last was answered.
    Closed,
    /// The report does not tell; treated as closed.
    Unknown,
}

/// Milliseconds. `None`: the report does not have it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    pub mean: Option<f64>,
    pub p50: Option<f64>,
    pub p90: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    pub max: Option<f64>,
}

/// A limit that the test set itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    pub what: String,
    /// By the tool's own word.
    pub said: bool,
    /// Recomputed from the values; `None` when they are not in the report.
    pub holds: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadReport {
    #[serde(deserialize_with = "kept::word")]
    pub tool: Word,
    pub version: Option<String>,
    pub model: Model,
    /// `co-biased` where latencies hide stalls.
    #[serde(skip_serializing_if = "Option::is_none", default, deserialize_with = "kept::some_word")]
    pub label: Option<Word>,
    /// Without query and credentials.
    pub url: Option<String>,
    pub started_at: Option<Timestamp>,
    pub duration_s: Option<f64>,
    pub requests: u64,
    pub achieved_rps: f64,
    /// By class: `4xx`, `429`, `5xx`, `timeout`, `socket`, `failed`.
    #[serde(deserialize_with = "kept::counts")]
    pub errors: BTreeMap<Word, u64>,
    pub by_status: BTreeMap<u16, u64>,
    pub latency_ms: Latency,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub thresholds: Vec<Threshold>,
}

impl LoadReport {
    pub fn new(tool: &'static str, model: Model) -> LoadReport {
        LoadReport {
            tool,
            version: None,
            model,
            label: (model != Model::Open).then_some("co-biased"),
            url: None,
            started_at: None,
            duration_s: None,
            requests: 0,
            achieved_rps: 0.0,
            errors: BTreeMap::new(),
            by_status: BTreeMap::new(),
            latency_ms: Latency::default(),
            thresholds: vec![],
        }
    }

    pub fn error(&mut self, class: &'static str, count: u64) {
        if count > 0 {
            *self.errors.entry(class).or_default() += count;
        }
    }

    /// Counts answers with a status.
    pub fn status(&mut self, status: u16, count: u64) {
        *self.by_status.entry(status).or_default() += count;
        match status {
            429 => self.error("429", count),
            400..=499 => self.error("4xx", count),
            500..=599 => self.error("5xx", count),
            _ => {}
        }
    }

    /// What every report must hold to be one: requests, a rate and finite numbers.
    pub fn checked(self) -> Result<LoadReport, ImportError> {
        let l = &self.latency_ms;
        let numbers = [Some(self.achieved_rps), self.duration_s, l.mean, l.p50, l.p90, l.p95, l.p99, l.max];
        if numbers.iter().flatten().any(|n| !n.is_finite() || *n < 0.0) {
            return Err(ImportError::at(1, "a rate, duration or latency is no number"));
        }
        // Thresholds over no sample are "ok" to some tools; no sample is no test.
        if self.requests == 0 || self.achieved_rps <= 0.0 {
            return Err(ImportError::Empty("request"));
        }
        Ok(self)
    }
}

/// `5.40ms`, `1.2s`, `870us`, `2m` → milliseconds.
pub fn milliseconds(text: &str) -> Option<f64> {
    let text = text.trim();
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    let number: f64 = text[..split].parse().ok()?;
    let factor = match &text[split..] {
        "ns" => 1e-6,
        "us" | "µs" => 1e-3,
        "ms" => 1.0,
        "s" => 1e3,
        "m" => 6e4,
        "h" => 3.6e6,
        _ => return None,
    };
    Some(number * factor)
}

/// Nearest rank over sorted values.
pub fn percentile(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// Fields of one CSV line; quotes double inside quotes.
pub fn csv(line: &str) -> Vec<String> {
    let (mut out, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.trim_end_matches(['\r', '\n']).chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => field.extend(chars.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => out.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    out.push(field);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_helpers() {
        assert_eq!(milliseconds("5.40ms"), Some(5.4));
        assert_eq!(milliseconds("1.5s"), Some(1500.0));
        assert_eq!(milliseconds("870.00us"), Some(0.87));
        assert_eq!((milliseconds("12"), milliseconds("x")), (None, None));
        assert_eq!(csv("a,\"b,\"\"c\"\"\",\r\n"), ["a", "b,\"c\"", ""]);
        assert_eq!(percentile(&[1.0, 2.0, 3.0, 4.0], 0.5), Some(2.0));
        assert_eq!(percentile(&[1.0, 2.0, 3.0, 4.0], 0.99), Some(4.0));
        assert_eq!(percentile(&[], 0.5), None);
    }
}
