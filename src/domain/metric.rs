//! Series and samples, and the trait by which PromQL, alerts and reports read them without knowing the store.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::clock::Timestamp;

/// The label that holds a metric's name.
pub const NAME: &str = "__name__";

/// Bit pattern of the stale marker, Prometheus' `StaleNaN`: a signalling NaN, so carry it as bits, never through arithmetic.
pub const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

pub fn stale_marker() -> f64 {
    f64::from_bits(STALE_BITS)
}

pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_BITS
}

/// A label set, sorted by name, no empty values, no duplicate names. Identifies a series.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Labels(Arc<[(Arc<str>, Arc<str>)]>);

impl Labels {
    /// Sorts, drops empty values (an empty label is an absent label), keeps the last of duplicate names.
    pub fn new<N: Into<Arc<str>>, V: Into<Arc<str>>>(pairs: impl IntoIterator<Item = (N, V)>) -> Labels {
        let mut all: Vec<(Arc<str>, Arc<str>)> = pairs.into_iter().map(|(n, v)| (n.into(), v.into())).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        let mut kept: Vec<(Arc<str>, Arc<str>)> = Vec::with_capacity(all.len());
        for pair in all {
            match kept.last_mut() {
                Some(last) if last.0 == pair.0 => *last = pair,
                _ => kept.push(pair),
            }
        }
        kept.retain(|(_, v)| !v.is_empty());
        Labels(kept.into())
    }
    pub fn empty() -> Labels {
        Labels::default()
    }
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.binary_search_by(|(n, _)| (**n).cmp(name)).ok().map(|i| &*self.0[i].1)
    }
    /// The metric's name, or "" when there is none.
    pub fn name(&self) -> &str {
        self.get(NAME).unwrap_or("")
    }
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (&**n, &**v))
    }
    pub fn pairs(&self) -> &[(Arc<str>, Arc<str>)] {
        &self.0
    }
    pub fn len(&self) -> usize {
        self.0.len()
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// With `name` set to `value` (removed when `value` is empty).
    pub fn with(&self, name: &str, value: &str) -> Labels {
        let others = self.0.iter().filter(|(n, _)| &**n != name).cloned();
        Labels::new(others.chain([(Arc::from(name), Arc::from(value))]))
    }
    pub fn without(&self, names: &[&str]) -> Labels {
        Labels(self.0.iter().filter(|(n, _)| !names.contains(&&**n)).cloned().collect())
    }
    pub fn only(&self, names: &[&str]) -> Labels {
        Labels(self.0.iter().filter(|(n, _)| names.contains(&&**n)).cloned().collect())
    }
    pub fn to_map(&self) -> std::collections::BTreeMap<String, String> {
        self.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect()
    }
    /// 64 bits over the sorted pairs, stable across runs and machines (first bytes of SHA-256, each part length-framed).
    pub fn fingerprint(&self) -> u64 {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        for (n, v) in self.iter() {
            for part in [n, v] {
                context.update(&(part.len() as u32).to_le_bytes());
                context.update(part.as_bytes());
            }
        }
        u64::from_le_bytes(context.finish().as_ref()[..8].try_into().expect("a digest has 32 bytes"))
    }
}

impl<N: Into<Arc<str>>, V: Into<Arc<str>>> FromIterator<(N, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Labels {
        Labels::new(pairs)
    }
}

/// `name{a="b"}` as Prometheus writes it.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        let mut rest = self.iter().filter(|(n, _)| *n != NAME).peekable();
        if rest.peek().is_none() && !self.name().is_empty() {
            return Ok(());
        }
        f.write_str("{")?;
        for (i, (n, v)) in rest.enumerate() {
            let comma = if i > 0 { "," } else { "" };
            write!(f, "{comma}{n}=\"{}\"", v.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Labels {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Labels, D::Error> {
        Ok(Labels::new(std::collections::BTreeMap::<String, String>::deserialize(d)?))
    }
}

/// One value of one series. `v` may be any bit pattern, the stale marker included.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub t: Timestamp,
    pub v: f64,
}

/// Equal bit for bit, so that NaN equals itself.
impl PartialEq for Sample {
    fn eq(&self, other: &Sample) -> bool {
        self.t == other.t && self.v.to_bits() == other.v.to_bits()
    }
}

/// A series with samples in ascending time, one per instant; stale markers are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub labels: Labels,
    pub samples: Vec<Sample>,
}

/// One sample with its series, as a source returns it.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledSample {
    pub labels: Labels,
    pub sample: Sample,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
    Summary,
    Info,
    Stateset,
    Gaugehistogram,
    Unknown,
}

/// What an exposition says about a family. `unit` and `help` may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    pub family: String,
    pub kind: MetricKind,
    pub help: String,
    pub unit: String,
}

#[derive(Debug, Clone)]
pub enum MatchOp {
    Equal(String),
    NotEqual(String),
    /// Anchored at both ends, as in Prometheus.
    Regex(regex::Regex),
    NotRegex(regex::Regex),
}

/// `label op value`. An absent label matches as the empty string.
#[derive(Debug, Clone)]
pub struct Matcher {
    pub label: String,
    pub op: MatchOp,
}

impl Matcher {
    pub fn equal(label: &str, value: &str) -> Matcher {
        Matcher { label: label.into(), op: MatchOp::Equal(value.into()) }
    }
    /// Compiles `^(?:pattern)$`.
    pub fn regex(label: &str, pattern: &str) -> Result<Matcher, regex::Error> {
        Ok(Matcher { label: label.into(), op: MatchOp::Regex(anchored(pattern)?) })
    }
    pub fn matches_value(&self, value: &str) -> bool {
        match &self.op {
            MatchOp::Equal(v) => v == value,
            MatchOp::NotEqual(v) => v != value,
            MatchOp::Regex(re) => re.is_match(value),
            MatchOp::NotRegex(re) => !re.is_match(value),
        }
    }
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matches_value(labels.get(&self.label).unwrap_or(""))
    }
}

/// `^(?s:pattern)$`: Prometheus anchors every matcher, and its dot matches a newline.
pub fn anchored(pattern: &str) -> Result<regex::Regex, regex::Error> {
    regex::Regex::new(&format!("^(?s:{pattern})$"))
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("the query touches more than {limit} samples")]
    TooManySamples { limit: usize },
    #[error("reading samples failed: {0}")]
    Storage(String),
}

/// Read access to samples: the live store, a promtool test, last week, or a simulation.
pub trait SeriesReader: Send + Sync {
    /// Every series that matches all `matchers`, with its samples in `[start, end]` (both inclusive), sorted by labels.
    /// Series without a sample in the range are left out. At most `limit` samples in all.
    fn select<'a>(
        &'a self,
        matchers: &'a [Matcher],
        start: Timestamp,
        end: Timestamp,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Series>, ReadError>>;

    /// The same series one at a time, in any order: a day of ten thousand series need never be in memory at once.
    fn scan<'a>(
        &'a self,
        matchers: &'a [Matcher],
        start: Timestamp,
        end: Timestamp,
        limit: usize,
    ) -> BoxFuture<'a, Result<Box<dyn SeriesScan>, ReadError>> {
        Box::pin(async move {
            let series = self.select(matchers, start, end, limit).await?;
            Ok(Box::new(series.into_iter()) as Box<dyn SeriesScan>)
        })
    }
}

/// Series to come. Unpacking is arithmetic without I/O, so it may be done on a thread for that.
pub trait SeriesScan: Send {
    /// The next series; its samples, ascending and at least one, replace what is in `samples`. `None`: there is no other.
    fn next_into(&mut self, samples: &mut Vec<Sample>) -> Result<Option<Labels>, ReadError>;
    /// A bound of the samples still to come: what it will cost to unpack them.
    fn samples_at_most(&self) -> usize;
}

impl SeriesScan for std::vec::IntoIter<Series> {
    fn next_into(&mut self, samples: &mut Vec<Sample>) -> Result<Option<Labels>, ReadError> {
        Ok(self.next().map(|series| {
            *samples = series.samples;
            series.labels
        }))
    }
    fn samples_at_most(&self) -> usize {
        self.as_slice().iter().map(|s| s.samples.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sorted_and_drop_empty_values() {
        let labels = Labels::new([("b", "2"), (NAME, "up"), ("a", ""), ("c", "x\"y")]);
        assert_eq!(labels.to_string(), "up{b=\"2\",c=\"x\\\"y\"}");
        assert_eq!(labels.get("a"), None);
        assert_eq!(labels.with("b", "").to_string(), "up{c=\"x\\\"y\"}");
        assert_eq!(labels.without(&[NAME, "c"]).to_string(), "{b=\"2\"}");
        assert_ne!(Labels::new([("a", "bc")]).fingerprint(), Labels::new([("ab", "c")]).fingerprint());
    }

    #[test]
    fn the_stale_marker_is_a_nan_of_its_own() {
        assert!(is_stale(stale_marker()) && stale_marker().is_nan() && !is_stale(f64::NAN));
    }

    #[test]
    fn matchers_are_anchored() {
        let m = Matcher::regex("code", "5..|429").unwrap();
        assert!(m.matches(&Labels::new([("code", "503")])));
        assert!(!m.matches(&Labels::new([("code", "1503")])));
        assert!(Matcher::equal("missing", "").matches(&Labels::empty()));
    }
}
