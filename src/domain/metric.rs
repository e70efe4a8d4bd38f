//! Series and samples, and the trait by which PromQL, alerts and reports read them without knowing the store.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{Arc, OnceLock};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::clock::Timestamp;
use super::query::QueryEngine;

mod roster;
mod text;

pub use super::scan::{ColumnReader, Columns, Need, SeriesScan, unpacked};

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

/// A label set, sorted by name, no empty values, no duplicate names. Identifies a series. Cheap to clone, to compare and
/// to look up.
#[derive(Clone)]
pub struct Labels {
    pairs: Arc<[(Text, Text)]>,
    /// Of the pairs, different in each process.
    hash: u64,
}

impl PartialEq for Labels {
    fn eq(&self, other: &Labels) -> bool {
        self.hash == other.hash && (Arc::ptr_eq(&self.pairs, &other.pairs) || self.pairs == other.pairs)
    }
}

impl Eq for Labels {}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Labels) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Labels {
    fn cmp(&self, other: &Labels) -> Ordering {
        if Arc::ptr_eq(&self.pairs, &other.pairs) { Ordering::Equal } else { self.pairs.cmp(&other.pairs) }
    }
}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Default for Labels {
    fn default() -> Labels {
        Labels::sorted(Vec::new())
    }
}

impl Labels {
    /// Sorts, drops empty values (an empty label is an absent label), keeps the last of duplicate names.
    pub fn new<N: Into<Text>, V: Into<Text>>(pairs: impl IntoIterator<Item = (N, V)>) -> Labels {
        let mut all: Vec<(Text, Text)> = pairs.into_iter().map(|(n, v)| (n.into(), v.into())).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        let mut kept: Vec<(Text, Text)> = Vec::with_capacity(all.len());
        for pair in all {
            match kept.last_mut() {
                Some(last) if last.0 == pair.0 => *last = pair,
                _ => kept.push(pair),
            }
        }
        kept.retain(|(_, v)| !v.is_empty());
        Labels::sorted(kept)
    }
    fn sorted(pairs: impl Into<Arc<[(Text, Text)]>>) -> Labels {
        static KEYS: OnceLock<RandomState> = OnceLock::new();
        let pairs = pairs.into();
        let hash = KEYS.get_or_init(RandomState::new).hash_one(&pairs);
        Labels { pairs, hash }
    }
    pub fn empty() -> Labels {
        Labels::default()
    }
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.binary_search_by(|(n, _)| (**n).cmp(name)).ok().map(|i| &*self.pairs[i].1)
    }
    /// The metric's name, or "" when there is none.
    pub fn name(&self) -> &str {
        self.get(NAME).unwrap_or("")
    }
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(n, v)| (&**n, &**v))
    }
    pub fn pairs(&self) -> &[(Text, Text)] {
        &self.pairs
    }
    pub fn len(&self) -> usize {
        self.pairs.len()
    }
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }
    /// With `name` set to `value` (removed when `value` is empty).
    pub fn with(&self, name: &str, value: &str) -> Labels {
        let others = self.pairs.iter().filter(|(n, _)| &**n != name).cloned();
        Labels::new(others.chain([(Text::from(name), Text::from(value))]))
    }
    pub fn without(&self, names: &[&str]) -> Labels {
        Labels::sorted(self.pairs.iter().filter(|(n, _)| !names.contains(&&**n)).cloned().collect::<Vec<_>>())
    }
    pub fn only(&self, names: &[&str]) -> Labels {
        Labels::sorted(self.pairs.iter().filter(|(n, _)| names.contains(&&**n)).cloned().collect::<Vec<_>>())
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

impl<N: Into<Text>, V: Into<Text>> FromIterator<(N, V)> for Labels {
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

pub use roster::{Places, Roster, Round};
pub use text::Text;

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
    /// A store elsewhere says that the expression or its data are at fault.
    #[error("{0}")]
    Refused(String),
    /// A store elsewhere could not be asked, or did not answer as it should.
    #[error("{0}")]
    Elsewhere(String),
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

    /// Whoever evaluates whole expressions over these samples by itself; `None`: fetch them and evaluate here.
    fn engine(&self) -> Option<&dyn QueryEngine> {
        None
    }

    /// The same series, to be unpacked one at a time: a day of ten thousand need never be in memory at once. What is rolled
    /// up comes beside them, from a reader that has such.
    fn scan<'a>(
        &'a self,
        matchers: &'a [Matcher],
        need: Need,
    ) -> BoxFuture<'a, Result<Box<dyn SeriesScan>, ReadError>> {
        Box::pin(async move {
            let series = self.select(matchers, need.start, need.end, need.limit).await?;
            Ok(Box::new(series) as Box<dyn SeriesScan>)
        })
    }

    /// Samples before it are rolled up; `None` when none are, or it is not known without looking.
    fn rolled_until(&self) -> Option<Timestamp> {
        None
    }

    /// Grows with every change of what can be read. `None`: not known.
    fn revision(&self) -> Option<u64> {
        None
    }

    /// The earliest instant at which samples came or went after `revision`; `None` when there is none.
    fn changed_from(&self, _revision: u64) -> Option<Timestamp> {
        Some(Timestamp::from_ms(i64::MIN))
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
