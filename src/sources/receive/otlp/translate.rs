//! From a metrics request to series: one for a number, several for a histogram or a summary, `target_info` for a resource.
//! What does not fit is counted in data points with the reason.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::super::totals::Increase;
use super::super::{METADATA_MAX, ReceiveError, Received, Refused, SAMPLES_MAX, SERIES_MAX, unfit};
use super::exponential;
use super::message::{Attributes, Data, HistogramPoint, Metric, Point, Request, Temporality};
use super::names::{self, Kind};
use crate::domain::clock::Timestamp;
use crate::domain::exposition::LIMITS;
use crate::domain::metric::{Labels, Metadata, MetricKind, NAME, Sample, Text, stale_marker};

/// Resource attributes that are `job` and `instance`, and therefore not in `target_info`.
const IDENTITY: [&str; 3] = ["service.namespace", "service.name", "service.instance.id"];
/// `target_info` is repeated this often between a request's first point and its last: half the look-back of a query.
const TARGET_EVERY_MS: i64 = 150_000;
/// Repetitions of it for one resource. Whoever sends longer stretches at once gets its end only.
const TARGETS_MAX: i64 = 1000;

pub(super) fn series(request: Request, services: &[String]) -> Result<Received, ReceiveError> {
    let mut out = Sink::default();
    for resource in request.resources {
        let identity = Identity::of(&resource.attributes, services);
        let mut times: Option<(i64, i64)> = None;
        for metric in resource.metrics {
            add(metric, &identity, &mut out, &mut times)?;
        }
        if let Some((first, last)) = times {
            target_info(&resource.attributes, &identity, (first, last), &mut out)?;
        }
    }
    Ok(out.done())
}

/// Series with what was found of each, in the order in which it came.
struct Together<T> {
    series: Vec<(Labels, Vec<T>)>,
    by_labels: HashMap<Labels, usize>,
}

impl<T> Default for Together<T> {
    fn default() -> Together<T> {
        Together { series: Vec::new(), by_labels: HashMap::new() }
    }
}

impl<T> Together<T> {
    fn push(&mut self, labels: Labels, one: T) -> Result<(), ReceiveError> {
        let index = match self.by_labels.get(&labels) {
            Some(index) => *index,
            None => {
                if self.series.len() >= SERIES_MAX {
                    return Err(ReceiveError::TooMuch("100,000 series"));
                }
                self.by_labels.insert(labels.clone(), self.series.len());
                self.series.push((labels, Vec::new()));
                self.series.len() - 1
            }
        };
        self.series[index].1.push(one);
        Ok(())
    }
    fn sorted(mut self, time: impl Fn(&T) -> Timestamp) -> Vec<(Labels, Vec<T>)> {
        self.series.iter_mut().for_each(|(_, all)| all.sort_by_key(&time));
        self.series
    }
}

/// What is found so far.
#[derive(Default)]
struct Sink {
    series: Together<Sample>,
    increases: Together<Increase>,
    metadata: Vec<Metadata>,
    refused: Refused,
    samples: usize,
    families: HashSet<String>,
    targets: HashSet<(Labels, i64)>,
}

impl Sink {
    fn count(&mut self) -> Result<(), ReceiveError> {
        self.samples += 1;
        if self.samples > SAMPLES_MAX { Err(ReceiveError::TooMuch("1,000,000 samples")) } else { Ok(()) }
    }
    fn refuse(&mut self, points: usize, why: impl FnOnce() -> String) {
        self.refused.add(points, why);
    }
    fn done(self) -> Received {
        Received {
            series: self.series.sorted(|s| s.t),
            increases: self.increases.sorted(|i| i.sample.t),
            metadata: self.metadata,
            refused: self.refused,
        }
    }
}

/// Whose samples they are.
struct Identity {
    /// `job` and `instance`, as Prometheus makes them; either may be missing.
    target: Vec<(&'static str, String)>,
    /// The configured service. An attribute `service` of the point's own says more.
    service: Option<String>,
}

impl Identity {
    fn of(attributes: &Attributes, services: &[String]) -> Identity {
        let get = |key: &str| attributes.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
        let mut target = Vec::new();
        if let Some(name) = get("service.name") {
            let job = get("service.namespace").map_or(name.to_string(), |space| format!("{space}/{name}"));
            target.push(("job", job));
        }
        if let Some(instance) = get("service.instance.id") {
            target.push(("instance", instance.to_string()));
        }
        let named = services.iter().find(|s| get("service.name") == Some(s));
        let service = named.or(services.first().filter(|_| services.len() == 1)).cloned();
        Identity { target, service }
    }
}

fn shown(name: &str) -> String {
    name.chars().take(60).collect::<String>().escape_debug().to_string()
}

/// One metric: its points, or why it is refused. `times` grows to its first and last point.
fn add(
    mut metric: Metric,
    identity: &Identity,
    out: &mut Sink,
    times: &mut Option<(i64, i64)>,
) -> Result<(), ReceiveError> {
    let named = || format!("metric {}", shown(&metric.name));
    let (kind, suffix) = match &metric.data {
        Data::Gauge(_) => (MetricKind::Gauge, Kind::Gauge),
        Data::Sum { monotonic: true, .. } => (MetricKind::Counter, Kind::Counter),
        Data::Sum { .. } => (MetricKind::Gauge, Kind::Other),
        Data::Summary(_) => (MetricKind::Summary, Kind::Other),
        Data::Histogram { .. } | Data::Exponential { .. } => (MetricKind::Histogram, Kind::Other),
        Data::Nothing => return Ok(()),
    };
    let delta = match (&metric.data, temporality(&metric.data)) {
        (_, Temporality::Unspecified) => {
            out.refuse(count(&metric.data), || format!("{}: it names no aggregation temporality", named()));
            return Ok(());
        }
        (Data::Exponential { points, .. }, Temporality::Delta) => {
            out.refuse(points.len(), || {
                format!(
                    "{}: exponential histograms with delta temporality are not supported; set the exporter to \
                     cumulative (OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=cumulative)",
                    named()
                )
            });
            return Ok(());
        }
        (_, temporality) => temporality == Temporality::Delta,
    };
    let Some(name) = names::metric(&metric.name, &metric.unit, suffix) else {
        out.refuse(count(&metric.data), || format!("{}: no letter or digit in its name", named()));
        return Ok(());
    };
    if matches!(metric.data, Data::Exponential { .. }) {
        let help = &mut metric.description;
        *help = if help.is_empty() { exponential::WIDTH.into() } else { format!("{help} ({})", exponential::WIDTH) };
    }
    describe(&name, kind, &metric, out);
    let mut to = Points { name: &name, identity, delta, out, times };
    match metric.data {
        Data::Gauge(points) | Data::Sum { points, .. } => {
            for p in &points {
                let Some(base) = to.base(&p.point) else { continue };
                to.push(&base, &name, None, &p.point, p.value)?;
            }
        }
        Data::Histogram { points, .. } => {
            for p in &points {
                to.histogram(p)?;
            }
        }
        Data::Exponential { points, .. } => {
            for p in points {
                match exponential::explicit(p) {
                    Ok(p) => to.histogram(&p)?,
                    Err(why) => to.out.refuse(1, || format!("metric {}: {why}", shown(&name))),
                }
            }
        }
        Data::Summary(points) => {
            for p in &points {
                let Some(base) = to.base(&p.point) else { continue };
                to.push(&base, &format!("{name}_sum"), None, &p.point, p.sum)?;
                to.push(&base, &format!("{name}_count"), None, &p.point, p.count as f64)?;
                for (quantile, value) in &p.quantiles {
                    to.push(&base, &name, Some(("quantile", quantile.to_string())), &p.point, *value)?;
                }
            }
        }
        Data::Nothing => {}
    }
    Ok(())
}

/// What stands alone, as a gauge does, is as good as cumulative.
fn temporality(data: &Data) -> Temporality {
    match data {
        Data::Sum { temporality, .. } | Data::Histogram { temporality, .. } | Data::Exponential { temporality, .. } => {
            *temporality
        }
        Data::Gauge(_) | Data::Summary(_) | Data::Nothing => Temporality::Cumulative,
    }
}

fn count(data: &Data) -> usize {
    match data {
        Data::Gauge(points) | Data::Sum { points, .. } => points.len(),
        Data::Histogram { points, .. } => points.len(),
        Data::Summary(points) => points.len(),
        Data::Exponential { points, .. } => points.len(),
        Data::Nothing => 0,
    }
}

fn describe(name: &str, kind: MetricKind, metric: &Metric, out: &mut Sink) {
    let fits = name.len() <= LIMITS.name_bytes && metric.description.len() <= LIMITS.line_bytes;
    if !fits || out.families.len() >= METADATA_MAX || !out.families.insert(name.to_string()) {
        return;
    }
    let (help, unit) = (metric.description.clone(), names::unit(&metric.unit));
    out.metadata.push(Metadata { family: name.to_string(), kind, help, unit });
}

/// Labels of a point, without its name.
type Base = BTreeMap<String, String>;

/// Where the points of one metric go.
struct Points<'a> {
    name: &'a str,
    identity: &'a Identity,
    /// Its points are increases.
    delta: bool,
    out: &'a mut Sink,
    times: &'a mut Option<(i64, i64)>,
}

impl Points<'_> {
    /// Labels for a point; `None`, and counted, when it cannot be stored.
    fn base(&mut self, point: &Point) -> Option<Base> {
        let name = self.name;
        if point.time_ns == 0 {
            self.out.refuse(1, || format!("metric {}: a data point without a time", shown(name)));
            return None;
        }
        let labels = labels(&point.attributes, &[], self.identity);
        let pairs: Vec<(&str, &str)> =
            [(NAME, name)].into_iter().chain(labels.iter().map(|(n, v)| (&**n, &**v))).collect();
        if let Some(why) = unfit(&pairs) {
            self.out.refuse(1, || why);
            return None;
        }
        let t = ms(point);
        let (first, last) = self.times.unwrap_or((t, t));
        *self.times = Some((first.min(t), last.max(t)));
        Some(labels)
    }

    fn push(
        &mut self,
        base: &Base,
        name: &str,
        extra: Option<(&str, String)>,
        point: &Point,
        value: f64,
    ) -> Result<(), ReceiveError> {
        let text = |t: &str| Text::from(t);
        // What the kind of metric needs wins over an attribute of that name: the last of equals is kept.
        let own = base.iter().map(|(n, v)| (text(n), text(v)));
        let extra = extra.iter().map(|(n, v)| (text(n), text(v)));
        let labels = Labels::new(own.chain(extra).chain([(text(NAME), text(name))]));
        let v = if point.has_no_value() { stale_marker() } else { value };
        let sample = Sample { t: Timestamp::from_ms(ms(point)), v };
        self.out.count()?;
        if !self.delta {
            return self.out.series.push(labels, sample);
        }
        let from = (point.start_ns > 0).then(|| Timestamp::from_ms((point.start_ns / 1_000_000) as i64));
        self.out.increases.push(labels, Increase { from, sample })
    }

    fn histogram(&mut self, p: &HistogramPoint) -> Result<(), ReceiveError> {
        let name = self.name;
        if !(p.counts.is_empty() && p.bounds.is_empty() || p.counts.len() == p.bounds.len() + 1) {
            let why = || format!("metric {}: bucket counts and bounds do not fit together", shown(name));
            self.out.refuse(1, why);
            return Ok(());
        }
        let Some(base) = self.base(&p.point) else { return Ok(()) };
        if let Some(sum) = p.sum {
            self.push(&base, &format!("{name}_sum"), None, &p.point, sum)?;
        }
        self.push(&base, &format!("{name}_count"), None, &p.point, p.count as f64)?;
        let bucket = format!("{name}_bucket");
        let mut total = 0u64;
        for (bound, count) in p.bounds.iter().zip(&p.counts) {
            total = total.saturating_add(*count);
            // The last bucket is written below, whatever the sender calls it.
            if bound.is_finite() {
                self.push(&base, &bucket, Some(("le", bound.to_string())), &p.point, total as f64)?;
            }
        }
        self.push(&base, &bucket, Some(("le", "+Inf".into())), &p.point, p.count as f64)
    }
}

fn ms(point: &Point) -> i64 {
    (point.time_ns / 1_000_000) as i64
}

/// Attributes as labels: by key; those that clash once they are spelt our way are joined with a semicolon.
fn labels(attributes: &Attributes, without: &[&str], identity: &Identity) -> Base {
    let mut sorted: Vec<&(String, String)> =
        attributes.iter().filter(|(k, _)| !without.contains(&&**k) && k != NAME).collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    let mut out = Base::new();
    for (key, value) in sorted {
        let Some(name) = names::label(key) else { continue };
        match out.get_mut(&name) {
            Some(before) if !before.is_empty() => {
                before.push(';');
                before.push_str(value);
            }
            _ => {
                out.insert(name, value.clone());
            }
        }
    }
    out.extend(identity.target.iter().map(|(n, v)| (n.to_string(), v.clone())));
    if let Some(service) = &identity.service {
        out.entry("service".into()).or_insert_with(|| service.clone());
    }
    out
}

/// What else is known of a resource, as a series of ones.
fn target_info(
    attributes: &Attributes,
    identity: &Identity,
    (first, last): (i64, i64),
    out: &mut Sink,
) -> Result<(), ReceiveError> {
    let says_more = attributes.iter().any(|(k, _)| !IDENTITY.contains(&&**k));
    if identity.target.is_empty() || !says_more {
        return Ok(());
    }
    let mut labels = labels(attributes, &IDENTITY, identity);
    // A command line longer than a label may be is no reason to lose the rest.
    labels.retain(|name, value| value.len() <= LIMITS.value_bytes && name.len() <= LIMITS.name_bytes);
    while labels.len() > LIMITS.labels {
        labels.pop_last();
    }
    let labels = Labels::new(labels.into_iter().chain([(NAME.to_string(), "target_info".to_string())]));
    let span = last.saturating_sub(first);
    let first = if span / TARGET_EVERY_MS > TARGETS_MAX { last } else { first };
    let times = (0..).map(|i| first + i * TARGET_EVERY_MS).take_while(|t| *t < last).chain([last]);
    for t in times {
        if out.targets.insert((labels.clone(), t)) {
            out.count()?;
            out.series.push(labels.clone(), Sample { t: Timestamp::from_ms(t), v: 1.0 })?;
        }
    }
    Ok(())
}
