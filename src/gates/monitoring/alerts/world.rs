//! A small world for a rule to live in: series made from its own selectors, joined labels and all, whose values follow a
//! [`Case`]. Equality is copied, patterns are sampled, two instances stand for many.

use std::collections::{BTreeMap, BTreeSet};

use regex_syntax::hir::{Class, Hir, HirKind};

use super::roles::{MEMORY_BYTES, Role, role, status};
use crate::domain::clock::Timestamp;
use crate::domain::metric::{Labels, MatchOp, Matcher, NAME, Sample, Series};

/// What is going on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Case {
    /// Share of requests that fail.
    pub errors: f64,
    /// Requests per second of each instance.
    pub traffic: f64,
    pub cpu: f64,
    pub memory: f64,
    /// Are containers killed for want of memory?
    pub oom: bool,
    pub queue: Queue,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Queue {
    Flat(f64),
    /// From a length, by so much a second.
    Rising(f64, f64),
}

/// Just below a thousandth, so that an alert on a budget of exactly that much is not tripped by rounding.
pub const HEALTHY: Case =
    Case { errors: 0.00099, traffic: 10.0, cpu: 0.2, memory: 0.5, oom: false, queue: Queue::Flat(5.0) };

/// When things happen, in seconds from the first sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// The case begins; before it all is well.
    pub change: i64,
    pub end: i64,
    /// Between two samples.
    pub scrape: i64,
}

/// Which labels a series gets that its own selectors do not ask for, and how many instances there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub instances: usize,
    /// Labels that other selectors of the rule match on.
    pub shared: bool,
}

/// The order in which they are tried.
pub const SHAPES: [Shape; 4] = [
    Shape { instances: 2, shared: true },
    Shape { instances: 2, shared: false },
    Shape { instances: 1, shared: true },
    Shape { instances: 1, shared: false },
];

/// Labels that tell apart the series of one metric; two metrics that are divided differ in them.
const OWN: &[&str] =
    &["le", "mode", "cpu", "core", "quantile", "reason", "resource", "unit", "phase", "condition", "outcome", NAME];

/// Series of one metric before they have values.
#[derive(Debug, Clone)]
pub struct Row {
    pub labels: Labels,
    pub role: Role,
    /// Of `Requests`: does it count the failed ones (of how many kinds), the good ones, or all?
    pub part: Part,
    pub mode: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Part {
    All,
    /// One of so many kinds of failure.
    Bad(f64),
    Good,
}

/// The metric's exact name, or a sample of its pattern; `None` when a selector names none.
pub fn name_of(matchers: &[Matcher]) -> Option<String> {
    let name = matchers.iter().find(|m| m.label == NAME)?;
    match &name.op {
        MatchOp::Equal(name) => Some(name.clone()),
        MatchOp::Regex(regex) => sample(regex.as_str()),
        _ => None,
    }
}

/// Rows for every selector. `used` are the labels that the rule groups by or joins on.
///
/// `demands` are matchers on recorded series: what these are made from must have the labels too.
pub fn rows(
    selectors: &[Vec<Matcher>],
    demands: &[Matcher],
    used: &BTreeSet<String>,
    limit: Option<f64>,
    shape: Shape,
) -> Vec<Row> {
    let mut metrics: BTreeMap<String, Vec<&[Matcher]>> = BTreeMap::new();
    for matchers in selectors {
        if let Some(name) = name_of(matchers) {
            metrics.entry(name).or_default().push(matchers);
        }
    }
    let mut common: BTreeSet<&str> = used.iter().map(String::as_str).collect();
    common.extend(["instance", "job"]);
    let statuses: BTreeSet<&str> = selectors.iter().filter_map(|m| status(m)).map(|(label, _, _)| label).collect();
    common.extend(demands.iter().map(|m| m.label.as_str()));
    if shape.shared {
        common.extend(selectors.iter().flatten().map(|m| m.label.as_str()));
    }
    common.retain(|l| !OWN.contains(l) && !statuses.contains(l));
    // What one selector demands of a shared label, the others get too, unless their own matchers forbid it.
    let wanted: BTreeMap<&str, String> = selectors
        .iter()
        .flatten()
        .chain(demands)
        .filter(|m| matches!(m.op, MatchOp::Equal(_) | MatchOp::Regex(_)))
        .filter_map(|m| Some((m.label.as_str(), value_for(&[m], &m.label, 1)?)))
        .collect();
    let mut out: Vec<Row> = Vec::new();
    for (name, selectors) in &metrics {
        for row in metric_rows(name, selectors, &common, &wanted, limit, shape) {
            if !out.iter().any(|r| r.labels == row.labels) {
                out.push(row);
            }
        }
    }
    out
}

fn metric_rows(
    name: &str,
    selectors: &[&[Matcher]],
    common: &BTreeSet<&str>,
    wanted: &BTreeMap<&str, String>,
    limit: Option<f64>,
    shape: Shape,
) -> Vec<Row> {
    let role = selectors.iter().map(|m| role(name, m, limit)).find(|r| *r != Role::One).unwrap_or(Role::One);
    let ends: Vec<(&str, &'static str, &'static str)> = selectors.iter().filter_map(|m| status(m)).collect();
    let status_label = ends.first().map(|(label, _, _)| *label).filter(|_| role == Role::Requests);
    let mut rows = Vec::new();
    for i in 1..=shape.instances {
        for variant in variants(selectors, common, wanted, status_label, role, i) {
            let labels = Labels::new(variant.iter().map(|(n, v)| (n.as_str(), v.as_str()))).with(NAME, name);
            let row = |labels: Labels| Row { labels, role, part: Part::All, mode: None };
            match (role, status_label) {
                (Role::Requests, Some(label)) => {
                    let bads: BTreeSet<&str> = ends.iter().map(|(_, bad, _)| *bad).collect();
                    let goods: BTreeSet<&str> = ends.iter().map(|(_, _, good)| *good).collect();
                    let share = bads.len() as f64;
                    let part = |value: &str, part| Row { part, ..row(labels.with(label, value)) };
                    rows.extend(bads.iter().map(|bad| part(bad, Part::Bad(share))));
                    // Good answers of one kind are enough.
                    rows.extend(goods.iter().take(1).map(|good| part(good, Part::Good)));
                }
                (Role::CpuModes, _) => {
                    let windows = name.contains("windows") || name.contains("wmi");
                    let (core, modes): (_, &[&'static str]) = match windows {
                        true => ("core", &["idle", "user", "privileged", "interrupt", "dpc"]),
                        false => ("cpu", &["idle", "user", "system", "iowait", "nice", "irq", "softirq", "steal"]),
                    };
                    for number in ["0", "1"] {
                        let of = |mode: &&'static str| Row {
                            mode: Some(mode),
                            ..row(labels.with(core, number).with("mode", mode))
                        };
                        rows.extend(modes.iter().map(of));
                    }
                }
                _ => rows.push(row(labels)),
            }
        }
    }
    rows
}

type Assignment = BTreeMap<String, String>;

/// Label sets that together satisfy every selector of one metric, as few as can be.
fn variants(
    selectors: &[&[Matcher]],
    common: &BTreeSet<&str>,
    wanted: &BTreeMap<&str, String>,
    status_label: Option<&str>,
    role: Role,
    instance: usize,
) -> Vec<Assignment> {
    let made: &[&str] = if role == Role::CpuModes { &["cpu", "core", "mode"] } else { &[] };
    let mut variants: Vec<Assignment> = Vec::new();
    for matchers in selectors {
        let names: BTreeSet<&str> = matchers.iter().map(|m| m.label.as_str()).collect();
        let mut own = Assignment::new();
        for label in names {
            if label == NAME || Some(label) == status_label || made.contains(&label) {
                continue;
            }
            let of_label: Vec<&Matcher> = matchers.iter().filter(|m| m.label == label).collect();
            if let Some(value) = value_for(&of_label, label, instance) {
                own.insert(label.into(), value);
            }
        }
        let agrees = |v: &Assignment| own.iter().all(|(n, value)| v.get(n).is_none_or(|other| other == value));
        match variants.iter_mut().find(|v| agrees(v)) {
            Some(variant) => variant.extend(own),
            None => variants.push(own),
        }
    }
    for variant in &mut variants {
        for label in common {
            // A selector that demands the label's absence keeps it out.
            let forbidden = selectors.iter().flat_map(|m| m.iter()).any(|m| m.label == *label && m.matches_value(""));
            if !variant.contains_key(*label) && (!forbidden || selectors.len() > 1) {
                let value = wanted.get(label).cloned().unwrap_or_else(|| usual(label, instance));
                variant.insert((*label).into(), value);
            }
        }
        if variant.is_empty() {
            variant.insert("job".into(), usual("job", instance));
        }
        if selectors.iter().any(|m| m.iter().any(|m| m.label == "le")) {
            variant.entry("le".into()).or_insert("+Inf".into());
        }
    }
    variants
}

/// A value that all these matchers of one label take; `None` when only its absence does.
fn value_for(matchers: &[&Matcher], label: &str, instance: usize) -> Option<String> {
    let fits = |value: &str| matchers.iter().all(|m| m.matches_value(value));
    let given = matchers.iter().find_map(|m| match &m.op {
        MatchOp::Equal(value) => Some(value.clone()),
        _ => None,
    });
    let sampled = matchers.iter().filter_map(|m| match &m.op {
        MatchOp::Regex(regex) => sample(regex.as_str()),
        _ => None,
    });
    let candidates = given.into_iter().chain([usual(label, instance)]).chain(sampled).chain(["x".into(), "1".into()]);
    candidates.filter(|v| !v.is_empty()).find(|v| fits(v))
}

/// What such a label usually holds.
fn usual(label: &str, instance: usize) -> String {
    match label {
        "instance" => format!("app-{instance}:9100"),
        "pod" | "pod_name" => format!("app-{instance}"),
        "node" | "nodename" | "host" | "hostname" | "machine" => format!("node-{instance}"),
        "name" | "container" | "container_name" | "service" | "job" | "app" | "deployment" | "workload" => "app".into(),
        "namespace" | "exported_namespace" => "shop".into(),
        "env" | "environment" | "stage" | "deployment_environment" => "production".into(),
        "cluster" => "main".into(),
        "id" => "/kubepods/app".into(),
        "image" => "app:1".into(),
        "le" => "+Inf".into(),
        "queue" | "topic" => "orders".into(),
        other => format!("{other}-1"),
    }
}

/// A text that the pattern takes, the shortest first choice at every turn.
pub fn sample(pattern: &str) -> Option<String> {
    fn walk(hir: &Hir, out: &mut String) -> Option<()> {
        if out.len() > 200 {
            return None;
        }
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Literal(literal) => out.push_str(std::str::from_utf8(&literal.0).ok()?),
            HirKind::Class(class) => out.push(member(class)?),
            HirKind::Capture(capture) => walk(&capture.sub, out)?,
            HirKind::Concat(parts) => parts.iter().try_for_each(|p| walk(p, out))?,
            HirKind::Alternation(parts) => walk(parts.first()?, out)?,
            HirKind::Repetition(repetition) => {
                // `.*` may be nothing, but a label without a value is no label.
                let times = repetition.min.max(u32::from(repetition.max != Some(0))).min(20);
                (0..times).try_for_each(|_| walk(&repetition.sub, out))?;
            }
        }
        Some(())
    }
    fn member(class: &Class) -> Option<char> {
        let liked = "a01xA".chars();
        match class {
            Class::Unicode(class) => {
                let holds = |c: char| class.ranges().iter().any(|r| (r.start()..=r.end()).contains(&c));
                liked.clone().find(|c| holds(*c)).or_else(|| Some(class.ranges().first()?.start()))
            }
            Class::Bytes(class) => {
                let holds = |c: char| class.ranges().iter().any(|r| (r.start()..=r.end()).contains(&(c as u8)));
                liked.clone().find(|c| holds(*c)).or_else(|| Some(class.ranges().first()?.start() as char))
            }
        }
    }
    let hir = regex_syntax::Parser::new().parse(pattern).ok()?;
    let mut out = String::new();
    walk(&hir, &mut out)?;
    Some(out)
}

/// The rows with values: all is well until the change, then the case.
pub fn series(rows: &[Row], case: &Case, times: &Times) -> Vec<Series> {
    let one = |row: &Row| {
        let samples = (0..=times.end / times.scrape).filter_map(|nth| {
            let t = nth * times.scrape;
            let v = value(row, case, t, times.change)?;
            Some(Sample { t: Timestamp::from_ms(t * 1000), v })
        });
        Series { labels: row.labels.clone(), samples: samples.collect() }
    };
    rows.iter().map(one).filter(|s| !s.samples.is_empty()).collect()
}

/// A counter's value before it is looked at for the first time.
const COUNTED_BEFORE: f64 = 1000.0;
/// Messages that a queue takes at most.
const QUEUE_CAPACITY: f64 = 100_000.0;
/// Messages that come in per second while all is well.
const MESSAGES: f64 = 10.0;

fn value(row: &Row, case: &Case, t: i64, change: i64) -> Option<f64> {
    let (before, after) = (t.min(change) as f64, (t - change).max(0) as f64);
    let now = if t >= change { case } else { &HEALTHY };
    // Traffic is the case's own from the start: that it changes is another matter.
    let count = |rate: &dyn Fn(&Case) -> f64| COUNTED_BEFORE + rate(&HEALTHY) * before + rate(case) * after;
    let requests = |share: &dyn Fn(&Case) -> f64| count(&|c| case.traffic * share(c));
    Some(match row.role {
        Role::Requests => match row.part {
            Part::All => requests(&|_| 1.0),
            Part::Good => requests(&|c| 1.0 - c.errors),
            Part::Bad(kinds) => requests(&|c| c.errors / kinds),
        },
        Role::FailedRequests => requests(&|c| c.errors),
        Role::ErrorRatio => now.errors,
        Role::ErrorPercent => now.errors * 100.0,
        Role::CpuModes => count(&|c| match row.mode {
            Some("idle") => 1.0 - c.cpu,
            Some("user") => c.cpu * 0.7,
            Some("system" | "privileged") => c.cpu * 0.3,
            _ => 0.0,
        }),
        Role::CpuSeconds => count(&|c| c.cpu),
        Role::CpuRatio => now.cpu,
        Role::CpuPercent => now.cpu * 100.0,
        Role::CpuIdlePercent => (1.0 - now.cpu) * 100.0,
        Role::CpuCapacity(capacity) => capacity,
        Role::MemoryTotal => MEMORY_BYTES,
        Role::MemoryAvailable => MEMORY_BYTES * (1.0 - now.memory),
        Role::MemoryPart(part) => MEMORY_BYTES * (1.0 - now.memory) * part,
        Role::MemoryUsed => MEMORY_BYTES * now.memory,
        Role::MemoryRatio => now.memory,
        Role::MemoryPercent => now.memory * 100.0,
        // Killed at once, and again every five minutes.
        Role::OomCounter if case.oom && t >= change => 1.0 + (after / 300.0).floor(),
        Role::OomCounter => 0.0,
        Role::OomFlag => (case.oom && t >= change).then_some(1.0)?,
        // A queue is as long as it is from the start: a leap would look like growth.
        Role::QueueLength => match case.queue {
            Queue::Flat(length) => length,
            Queue::Rising(from, by) => from + by * after,
        },
        Role::QueueCapacity => QUEUE_CAPACITY,
        Role::QueueAge => match now.queue {
            Queue::Flat(_) => 1.0,
            Queue::Rising(..) => 1.0 + after,
        },
        Role::QueueIn => count(&|c| match c.queue {
            Queue::Flat(_) => MESSAGES,
            Queue::Rising(_, by) => MESSAGES + by,
        }),
        Role::QueueOut => count(&|_| MESSAGES),
        Role::One => 1.0,
    })
}
