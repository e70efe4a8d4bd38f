//! What OpenMetrics 1.0 forbids beyond the grammar of a line: names that clash, samples that do not fit their family's type,
//! groups that are torn apart, histograms that do not add up. Such a body is refused by `hypercare metrics check`; the
//! scraper takes it, as Prometheus does.
//!
//! Source: the OpenMetrics 1.0 specification, "Metric Types" and "Text format". One pass over samples in the body's order.

use std::collections::{HashMap, HashSet};

use super::{Exemplar, Exposition, ParseError, ParseErrorKind, ParsedSample};
use crate::domain::metric::{Labels, Metadata, MetricKind, NAME};

/// The first violation of the body. `lines` holds where each family was first named.
pub(super) fn check(exposition: &Exposition, lines: &[usize]) -> Result<(), ParseError> {
    let mut wrong: Vec<Wrong> = exposition
        .problems
        .iter()
        .filter(|p| p.rule == "interleaved-family")
        .map(|p| Wrong { line: p.line, message: p.message.clone() })
        .collect();
    wrong.extend(clash(&exposition.families, lines));
    wrong.extend(exposition.families.iter().zip(lines).find_map(|(family, line)| unit(family).map(|m| m.at(*line))));
    let mut families: Vec<Option<Family>> = exposition.families.iter().map(|_| None).collect();
    let mut stopped = false;
    for sample in &exposition.samples {
        let meta = &exposition.families[sample.family];
        let family = families[sample.family].get_or_insert_with(Family::default);
        let found = one(meta, sample).map(|m| m.at(sample.line)).or_else(|| family.take(meta, sample));
        if let Some(found) = found {
            wrong.push(found);
            stopped = true;
            break;
        }
    }
    if !stopped {
        let ends = families.iter().flatten().filter_map(|f| f.histogram.as_ref());
        wrong.extend(ends.filter_map(|h| h.end().map(|m| m.at(h.line))));
    }
    match wrong.into_iter().min_by_key(|w| w.line) {
        None => Ok(()),
        Some(Wrong { line, message }) => Err(ParseError { line, column: 1, message, kind: ParseErrorKind::Syntax }),
    }
}

struct Wrong {
    line: usize,
    message: String,
}

/// What is wrong, before the line is known.
struct Why(String);

impl Why {
    fn at(self, line: usize) -> Wrong {
        Wrong { line, message: self.0 }
    }
}

fn why(message: impl Into<String>) -> Option<Why> {
    Some(Why(message.into()))
}

/// The endings that samples of a family may have.
fn suffixes(kind: MetricKind) -> &'static [&'static str] {
    match kind {
        MetricKind::Counter => &["_total", "_created"],
        MetricKind::Summary => &["", "_count", "_sum", "_created"],
        MetricKind::Histogram => &["_bucket", "_count", "_sum", "_created"],
        MetricKind::Gaugehistogram => &["_bucket", "_gcount", "_gsum"],
        MetricKind::Info => &["_info"],
        MetricKind::Gauge | MetricKind::Stateset | MetricKind::Unknown => &[""],
    }
}

/// Two families whose samples could have one name.
fn clash(families: &[Metadata], lines: &[usize]) -> Option<Wrong> {
    let mut taken: HashMap<String, usize> = HashMap::new();
    for (index, family) in families.iter().enumerate() {
        let endings = suffixes(family.kind).iter().copied().filter(|s| !s.is_empty()).chain([""]);
        for name in endings.map(|s| format!("{}{s}", family.family)) {
            if let Some(other) = taken.insert(name, index).filter(|other| *other != index) {
                let message = format!("the names of {} and {} clash", families[other].family, family.family);
                return Some(Wrong { line: lines[index], message });
            }
        }
    }
    None
}

fn unit(family: &Metadata) -> Option<Why> {
    let (name, unit) = (&family.family, &family.unit);
    if unit.is_empty() {
        return None;
    }
    if matches!(family.kind, MetricKind::Info | MetricKind::Stateset) {
        return why(format!("{name} is {}, which has no unit", word(family.kind)));
    }
    let ends = name.strip_suffix(&**unit).is_some_and(|rest| rest.ends_with('_'));
    if ends { None } else { why(format!("{name} does not end in its unit, _{unit}")) }
}

fn word(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Counter => "a counter",
        MetricKind::Gauge => "a gauge",
        MetricKind::Histogram => "a histogram",
        MetricKind::Summary => "a summary",
        MetricKind::Info => "an info",
        MetricKind::Stateset => "a stateset",
        MetricKind::Gaugehistogram => "a gaugehistogram",
        MetricKind::Unknown => "of unknown type",
    }
}

/// What one sample must be by itself.
fn one(family: &Metadata, sample: &ParsedSample) -> Option<Why> {
    let suffix = suffix(family, sample);
    let (labels, value, kind) = (&sample.labels, sample.value, family.kind);
    if !suffixes(kind).contains(&suffix) {
        let endings = suffixes(kind).join(", ");
        return why(format!("{} is {}: its samples end in {endings}", family.family, word(kind)));
    }
    let bucket = suffix == "_bucket" && matches!(kind, MetricKind::Histogram | MetricKind::Gaugehistogram);
    let quantile = kind == MetricKind::Summary && suffix.is_empty();
    if bucket && threshold(labels).is_none() {
        return why(format!("{labels} needs a label le with a number; infinity is written +Inf"));
    }
    if quantile && !labels.get("quantile").and_then(|q| q.parse().ok()).is_some_and(|q: f64| (0.0..=1.0).contains(&q)) {
        return why(format!("{labels} needs a label quantile from 0 to 1"));
    }
    if kind == MetricKind::Stateset && labels.get(&family.family).is_none() {
        return why(format!("a stateset needs a label {} with its state", family.family));
    }
    let counts = matches!(suffix, "_total" | "_count" | "_sum" | "_bucket" | "_gcount" | "_gsum");
    if counts && value.is_nan() {
        return why(format!("{labels} counts and may not be NaN"));
    }
    if (counts && suffix != "_gsum" || quantile) && value < 0.0 {
        return why(format!("{labels} may not be negative"));
    }
    if kind == MetricKind::Info && value != 1.0 {
        return why(format!("{labels} must be 1"));
    }
    if kind == MetricKind::Stateset && value != 0.0 && value != 1.0 {
        return why(format!("{labels} must be 0 or 1"));
    }
    let exemplar = sample.exemplar.as_ref()?;
    if !(bucket || kind == MetricKind::Counter && suffix == "_total") {
        return why("only buckets and the _total of a counter may have an exemplar");
    }
    let length = exemplar_length(exemplar);
    if length > EXEMPLAR_CHARACTERS_MAX {
        return why(format!("the exemplar's labels have {length} of {EXEMPLAR_CHARACTERS_MAX} characters"));
    }
    None
}

/// The OpenMetrics limit.
const EXEMPLAR_CHARACTERS_MAX: usize = 128;

/// Characters of names and values together.
fn exemplar_length(exemplar: &Exemplar) -> usize {
    exemplar.labels.iter().map(|(n, v)| n.chars().count() + v.chars().count()).sum()
}

/// The sample's name without its family's. The parser gave it a family whose name it starts with.
fn suffix<'a>(family: &Metadata, sample: &'a ParsedSample) -> &'a str {
    sample.labels.name().strip_prefix(&*family.family).unwrap_or("")
}

/// The bound of a bucket. Infinity has one spelling.
fn threshold(labels: &Labels) -> Option<f64> {
    let text = labels.get("le")?;
    let le: f64 = text.parse().ok()?;
    (!le.is_nan() && (le.is_finite() || text == "+Inf")).then_some(le)
}

/// A family while its samples go by: which groups (metrics) were there, and the one under way.
#[derive(Default)]
struct Family {
    seen: HashSet<Labels>,
    group: Option<(Labels, Option<i64>)>,
    histogram: Option<Histogram>,
}

impl Family {
    fn take(&mut self, meta: &Metadata, sample: &ParsedSample) -> Option<Wrong> {
        let group = group(meta, sample);
        if let Some(found) = self.place(meta, sample, &group) {
            return Some(found.at(sample.line));
        }
        let is_new = self.group.as_ref().is_none_or(|(g, t)| *g != group || *t != sample.timestamp_ms);
        self.group = Some((group, sample.timestamp_ms));
        if !matches!(meta.kind, MetricKind::Histogram | MetricKind::Gaugehistogram) {
            return None;
        }
        if is_new
            && let Some(ended) = self.histogram.replace(Histogram::default())
            && let Some(found) = ended.end()
        {
            return Some(found.at(ended.line));
        }
        let histogram = self.histogram.get_or_insert_with(Histogram::default);
        histogram.take(suffix(meta, sample), sample).map(|m| m.at(sample.line))
    }

    /// May a sample of `group` come here?
    fn place(&mut self, meta: &Metadata, sample: &ParsedSample, group: &Labels) -> Option<Why> {
        match &self.group {
            Some((current, before)) if current == group => {
                let (before, now) = (*before, sample.timestamp_ms);
                if before.is_some() != now.is_some() {
                    return why("samples of one metric have either all a timestamp or none");
                }
                if before > now && meta.kind != MetricKind::Info {
                    return why("timestamps of one metric go backwards");
                }
            }
            _ if !self.seen.insert(group.clone()) => {
                return why(format!("the samples of {}{group} are not together", meta.family));
            }
            _ => {}
        }
        None
    }
}

/// What all samples of one metric share.
fn group(meta: &Metadata, sample: &ParsedSample) -> Labels {
    let labels = &sample.labels;
    match meta.kind {
        MetricKind::Info => Labels::empty(),
        MetricKind::Summary if suffix(meta, sample).is_empty() => labels.without(&[NAME, "quantile"]),
        MetricKind::Histogram | MetricKind::Gaugehistogram => labels.without(&[NAME, "le"]),
        MetricKind::Stateset => labels.without(&[NAME, &meta.family]),
        _ => labels.without(&[NAME]),
    }
}

/// One point of a histogram while its lines go by.
#[derive(Default)]
struct Histogram {
    line: usize,
    /// Bound and count of the last bucket.
    bucket: Option<(f64, f64)>,
    count: Option<f64>,
    has_sum: bool,
    gsum: Option<f64>,
    negative_bounds: bool,
}

impl Histogram {
    fn take(&mut self, suffix: &str, sample: &ParsedSample) -> Option<Why> {
        self.line = sample.line;
        match suffix {
            "_bucket" => {
                let le = threshold(&sample.labels)?;
                if let Some((bound, count)) = self.bucket {
                    if le <= bound {
                        return why(format!("bucket le={le} comes after le={bound}: buckets ascend"));
                    }
                    if sample.value < count {
                        return why(format!("bucket le={le} counts less than the one before"));
                    }
                }
                self.negative_bounds |= le < 0.0;
                self.bucket = Some((le, sample.value));
            }
            "_count" | "_gcount" => self.count = Some(sample.value),
            "_sum" => self.has_sum = true,
            "_gsum" => self.gsum = Some(sample.value),
            _ => {}
        }
        None
    }

    fn end(&self) -> Option<Why> {
        let Some((bound, total)) = self.bucket else { return why("a histogram needs buckets") };
        if bound != f64::INFINITY {
            return why("the last bucket of a histogram is le=\"+Inf\"");
        }
        if self.count.is_some_and(|count| count != total) {
            return why("the count of a histogram is that of its +Inf bucket");
        }
        let has_sum = self.has_sum || self.gsum.is_some();
        if has_sum != self.count.is_some() {
            return why("a histogram has both a sum and a count, or neither");
        }
        if self.negative_bounds && self.has_sum {
            return why("a histogram with negative buckets has no _sum");
        }
        if !self.negative_bounds && self.gsum.is_some_and(|sum| sum < 0.0) {
            return why("a negative _gsum needs negative buckets");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    fn check(body: &str, expect: Option<&str>) {
        let body = format!("{body}# EOF\n");
        let got = parse(Some("application/openmetrics-text"), body.as_bytes()).map_err(|e| e.to_string());
        match (got, expect) {
            (Ok(_), None) => {}
            (Err(error), Some(part)) => assert!(error.contains(part), "{body}{error}, expected {part}"),
            (got, _) => panic!("{body}{:?}, expected {expect:?}", got.map(drop)),
        }
        // The scraper is as patient as Prometheus.
        if expect.is_some() {
            assert!(super::super::read(None, body.as_bytes(), &super::super::LIMITS).is_ok());
        }
    }

    #[test]
    fn families_keep_their_names_and_places() {
        check("# TYPE x_seconds counter\n# UNIT x_seconds seconds\nx_seconds_total 1\n", None);
        check(
            "# TYPE x counter\n# TYPE x_created gauge\n",
            Some("line 2, column 1: the names of x and x_created clash"),
        );
        check("# TYPE x info\n# UNIT x \nx_info{a=\"1\"} 1\n", None);
        check("# UNIT x seconds\n", Some("line 1, column 1: x does not end in its unit, _seconds"));
        check("# TYPE x_u info\n# UNIT x_u u\n", Some("has no unit"));
        check("a 1\nb 1\na{x=\"1\"} 1\n", Some("line 3"));
        check("# TYPE x counter\nx 1\n", Some("line 2, column 1: x is a counter: its samples end in _total, _created"));
    }

    #[test]
    fn groups_stay_together_and_go_forwards() {
        check("# TYPE g gauge\ng{a=\"1\"} 1 1\ng{a=\"1\"} 1 2\ng{a=\"2\"} 1 1\n", None);
        check(
            "# TYPE g gauge\ng{a=\"1\"} 1\ng{a=\"2\"} 1\ng{a=\"1\"} 1\n",
            Some("line 4, column 1: the samples of g{a=\"1\"}"),
        );
        check("# TYPE g gauge\ng 1 2\ng 1 1.5\n", Some("backwards"));
        check("# TYPE g gauge\ng 1 2\ng 1\n", Some("either all a timestamp or none"));
        check("# TYPE i info\ni_info{a=\"1\"} 1 2\ni_info{a=\"2\"} 1 1\n", None);
    }

    #[test]
    fn values_fit_their_type() {
        check("# TYPE c counter\nc_total NaN\n", Some("may not be NaN"));
        check("# TYPE c counter\nc_total -1\n", Some("may not be negative"));
        check("# TYPE s summary\ns{quantile=\"1.1\"} 1\n", Some("from 0 to 1"));
        check("# TYPE s summary\ns{quantile=\"0.5\"} NaN\ns_sum 1\ns_count 1\n", None);
        check("# TYPE s stateset\ns{s=\"on\"} 1\ns{s=\"off\"} 0\n", None);
        check("# TYPE s stateset\ns 1\n", Some("needs a label s"));
        check("# TYPE s stateset\ns{s=\"on\"} 2\n", Some("must be 0 or 1"));
        check("# TYPE g gauge\ng 1 # {a=\"b\"} 1\n", Some("may have an exemplar"));
        let long = "x".repeat(128);
        check(&format!("# TYPE c counter\nc_total 1 # {{a=\"{long}\"}} 1\n"), Some("129 of 128"));
    }

    #[test]
    fn histograms_add_up() {
        let check = |lines: &str, expect| check(&format!("# TYPE h histogram\n{lines}"), expect);
        check("h_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_count 2\nh_sum 3\n", None);
        check("h_bucket{le=\"-1\"} 1\nh_bucket{le=\"+Inf\"} 2\n", None);
        check("h_bucket{le=\"-1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_count 2\nh_sum 3\n", Some("has no _sum"));
        check("h_bucket{le=\"1\"} 1\nh_count 1\nh_sum 1\n", Some("line 4, column 1: the last bucket"));
        check("h_bucket{le=\"2\"} 1\nh_bucket{le=\"1\"} 1\n", Some("buckets ascend"));
        check("h_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 1\n", Some("counts less"));
        check("h_bucket{le=\"+INF\"} 1\n", Some("+Inf"));
        check("h_bucket{le=\"+Inf\"} 1\nh_count 2\nh_sum 1\n", Some("+Inf bucket"));
        check("h_bucket{le=\"+Inf\"} 1\nh_sum 1\n", Some("both a sum and a count"));
        check("h_sum 1\nh_count 1\n", Some("needs buckets"));
    }
}
