//! What an answer should be read with: Prometheus' warnings and infos, each once, with the place in the expression.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::number;
use super::rolled::Told;
use super::syntax;

/// Prometheus shows as many of each kind.
const SHOWN_MAX: usize = 10;
/// Distinct ones that are kept at all.
const KEPT_MAX: usize = 1000;

/// Beside a result.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    pub warnings: Vec<String>,
    pub infos: Vec<String>,
}

impl Notes {
    /// Those of `other` that are not here yet.
    pub(super) fn include(&mut self, other: &Notes) {
        for (mine, theirs) in [(&mut self.warnings, &other.warnings), (&mut self.infos, &other.infos)] {
            mine.extend(theirs.iter().filter(|one| !mine.contains(one)).cloned().collect::<Vec<_>>());
            mine.sort();
        }
    }
}

/// Where a quantile's buckets had to be lifted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Lifted {
    pub from: f64,
    pub to: f64,
    pub difference: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct LiftedOver {
    lifted: Lifted,
    first_ms: i64,
    last_ms: i64,
    count: usize,
}

/// Collected while evaluating. Keys are (message, byte offset).
#[derive(Default)]
pub(super) struct Collector {
    warnings: RefCell<BTreeMap<(String, usize), ()>>,
    infos: RefCell<BTreeMap<(String, usize), ()>>,
    lifted: RefCell<BTreeMap<usize, LiftedOver>>,
}

fn add(to: &RefCell<BTreeMap<(String, usize), ()>>, message: String, at: usize) {
    let mut all = to.borrow_mut();
    if all.len() < KEPT_MAX {
        all.insert((message, at), ());
    }
}

impl Collector {
    pub(super) fn warn(&self, message: impl Into<String>, at: usize) {
        add(&self.warnings, message.into(), at);
    }

    pub(super) fn inform(&self, message: impl Into<String>, at: usize) {
        add(&self.infos, message.into(), at);
    }

    /// Of rollups, once for the whole expression.
    pub(super) fn rolled(&self, said: Vec<Told>) {
        said.into_iter().for_each(|told| match told {
            Told::Info(message) => self.inform(message, 0),
            Told::Warning(message) => self.warn(message, 0),
        });
    }

    /// For each q outside [0, 1].
    pub(super) fn quantile(&self, q: f64, at: usize) {
        if !(0.0..=1.0).contains(&q) {
            self.warn(format!("quantile value should be between 0 and 1, got {}", number::short(q)), at);
        }
    }

    pub(super) fn bad_bucket(&self, le: &str, name: &str, at: usize) {
        let le = syntax::quoted(le);
        let of = if name.is_empty() { String::new() } else { format!(" for metric name {}", syntax::quoted(name)) };
        self.warn(format!("bucket label \"le\" is missing or has a malformed value of {le}{of}"), at);
    }

    pub(super) fn lifted(&self, lifted: Lifted, t_ms: i64, at: usize) {
        let mut all = self.lifted.borrow_mut();
        let new = LiftedOver { lifted, first_ms: t_ms, last_ms: t_ms, count: 0 };
        let over = all.entry(at).or_insert(new);
        over.lifted.from = over.lifted.from.min(lifted.from);
        over.lifted.to = over.lifted.to.max(lifted.to);
        over.lifted.difference = over.lifted.difference.max(lifted.difference);
        (over.first_ms, over.last_ms) = (over.first_ms.min(t_ms), over.last_ms.max(t_ms));
        over.count += 1;
    }

    pub(super) fn finish(self, text: &str) -> Notes {
        let place = |at: usize| {
            let p = syntax::position(text, at);
            format!("({}:{})", p.line, p.column)
        };
        let told = |kind: &str, all: RefCell<BTreeMap<(String, usize), ()>>| -> Vec<String> {
            let all = all.into_inner().into_keys();
            all.map(|(message, at)| format!("PromQL {kind}: {message} {}", place(at))).collect()
        };
        let mut infos = told("info", self.infos);
        for (at, over) in self.lifted.into_inner() {
            let [first, last] = [over.first_ms, over.last_ms]
                .map(|ms| chrono::DateTime::from_timestamp(ms.div_euclid(1000), 0).unwrap_or_default())
                .map(|t| t.format("%Y-%m-%dT%H:%M:%SZ"));
            let Lifted { from, to, difference } = over.lifted;
            let [from, to] = [from, to].map(number::short);
            infos.push(format!(
                "PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see \
                 https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile), from buckets \
                 {from} to {to}, with a max diff of {}, over {} samples from {first} to {last} {}",
                number::rounded(difference, 2),
                over.count,
                place(at),
            ));
        }
        Notes { warnings: shown(told("warning", self.warnings), "warning"), infos: shown(infos, "info") }
    }
}

fn shown(mut all: Vec<String>, kind: &str) -> Vec<String> {
    let more = all.len().saturating_sub(SHOWN_MAX);
    all.truncate(SHOWN_MAX);
    if more > 0 {
        all.push(format!("{more} more {kind} annotations omitted"));
    }
    all
}
