//! One rule at one instant: expression to alert instances or samples, templates expanded, and what could be seen. Reads
//! through [`SeriesReader`], writes nothing; `engine.rs` says when and keeps the result.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::gotmpl::{Answers, Data, Outcome, QUERIES_MAX, Template};
use super::rulefile::{AlertRule, Rule, RuleGroup};
use crate::domain::clock::Timestamp;
use crate::domain::gap::Gap;
use crate::domain::metric::{LabelledSample, Labels, Matcher, NAME, Sample, Series, SeriesReader, is_stale};
use crate::promql::{self, Options, Value};

/// Instances one rule may yield when its group sets no limit of its own: what one page of mail could never list.
pub const INSTANCES_MAX: usize = 2_000;
/// Longest annotation or label value kept, in bytes.
const TEXT_BYTES_MAX: usize = 8 * 1024;
/// Samples looked at to say how fresh the data is.
const SIGHT_SAMPLES_MAX: usize = 200_000;
/// How far back a sight looks at most: longer than alerts are held without data.
const SIGHT_MAX: Duration = Duration::from_secs(20 * 60);
/// A gap that ended longer ago than this explains nothing that is missing now.
const GAP_RECENT: Duration = Duration::from_secs(90);

/// What templates and labels need besides the rule.
pub struct Context<'a> {
    pub external_url: &'a str,
    /// `$externalLabels` of templates.
    pub external_labels: &'a BTreeMap<String, String>,
    pub now: Timestamp,
    pub options: &'a Options,
    /// The service of an alert whose labels name none.
    pub service_of: &'a (dyn Fn(&Labels) -> String + Sync),
}

/// One alert that is true now.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    pub labels: Labels,
    pub service: String,
    pub annotations: BTreeMap<String, String>,
    /// NaN is a value here.
    pub value: f64,
}

/// Runs an expression; scalars become one sample without labels.
async fn vector(
    reader: &dyn SeriesReader,
    rule: &Rule,
    at: Timestamp,
    options: &Options,
) -> Result<Vec<(Labels, f64)>, String> {
    match promql::instant(reader, &rule.expr, at, options).await.map_err(|e| e.to_string())? {
        Value::Vector(vector) => Ok(vector),
        Value::Scalar(value) => Ok(vec![(Labels::empty(), value)]),
        other => Err(format!("gives a {}, not a vector", other.kind())),
    }
}

/// The samples of a recording rule. Two results with one label set are an error.
pub async fn record(
    reader: &dyn SeriesReader,
    group: &RuleGroup,
    rule: &Rule,
    at: Timestamp,
    options: &Options,
) -> Result<Vec<LabelledSample>, String> {
    let own: BTreeMap<&str, &str> = group
        .labels
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .chain(rule.labels.iter().map(|(k, v)| (k.as_str(), v.source())))
        .collect();
    let mut seen = BTreeSet::new();
    let mut out = Vec::new();
    for (labels, v) in vector(reader, rule, at, options).await? {
        let labels = own.iter().fold(labels.with(NAME, &rule.name), |l, (name, value)| l.with(name, value));
        if !seen.insert(labels.clone()) {
            return Err(format!("two results have the labels {labels}"));
        }
        out.push(LabelledSample { labels, sample: Sample { t: at, v } });
    }
    let limit = if group.limit > 0 { group.limit } else { usize::MAX };
    if out.len() > limit {
        return Err(format!("gives {} samples, the limit is {limit}", out.len()));
    }
    Ok(out)
}

/// The alerts that are true at `at`. Two with one identity are an error of the rule.
pub async fn alerts(
    reader: &dyn SeriesReader,
    group: &RuleGroup,
    rule: &Rule,
    alert: &AlertRule,
    at: Timestamp,
    context: &Context<'_>,
) -> Result<Vec<Instance>, String> {
    let mut seen = BTreeSet::new();
    let mut out = Vec::new();
    let results = vector(reader, rule, at, context.options).await?;
    if results.len() > INSTANCES_MAX {
        return Err(format!("is true for {} label sets, more than {INSTANCES_MAX}", results.len()));
    }
    for (labels, value) in results {
        let base = labels.without(&[NAME]);
        let data = Data {
            labels: &base,
            value,
            external_labels: context.external_labels,
            external_url: context.external_url,
            now: context.now,
        };
        let mut full = group.labels.iter().fold(base.clone(), |l, (name, value)| l.with(name, value));
        for (name, template) in &rule.labels {
            full = full.with(name, &expand(reader, template, &data, at, context.options).await);
        }
        full = full.with("alertname", &rule.name);
        let service = match full.get("service") {
            Some(service) => service.to_string(),
            None => (context.service_of)(&full),
        };
        let full = full.with("service", &service);
        if !seen.insert(full.clone()) {
            return Err(format!("two results have the labels {full}"));
        }
        let mut annotations = BTreeMap::new();
        for (name, template) in &alert.annotations {
            annotations.insert(name.clone(), expand(reader, template, &data, at, context.options).await);
        }
        out.push(Instance { labels: full, service, annotations, value });
    }
    Ok(out)
}

/// Expands a template, answering its queries; an error's text replaces the value (D4).
async fn expand(
    reader: &dyn SeriesReader,
    template: &Template,
    data: &Data<'_>,
    at: Timestamp,
    options: &Options,
) -> String {
    let mut answers = Answers::new();
    let mut text = loop {
        match template.expand(data, &answers) {
            Outcome::Done(text) | Outcome::Failed(text) => break text,
            Outcome::NeedsQuery(expr) if answers.len() < QUERIES_MAX => {
                let answer = match promql::parse(&expr) {
                    Ok(parsed) => match promql::instant(reader, &parsed, at, options).await {
                        Ok(Value::Vector(vector)) => Ok(vector),
                        Ok(Value::Scalar(value)) => Ok(vec![(Labels::empty(), value)]),
                        Ok(other) => Err(format!("query gives a {}", other.kind())),
                        Err(e) => Err(e.to_string()),
                    },
                    Err(e) => Err(e.to_string()),
                };
                answers.insert(expr, answer);
            }
            Outcome::NeedsQuery(_) => break "<error expanding template: too many queries>".into(),
        }
    };
    if text.len() > TEXT_BYTES_MAX {
        let mut end = TEXT_BYTES_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
    text
}

/// How well a rule can see: what its selectors had, and whether a gap explains what they lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sight {
    /// Newest sample under the expression.
    pub as_of: Option<Timestamp>,
    /// Some selector had no fresh sample and a collection gap covers it: an empty result is not an answer.
    pub missing: bool,
}

/// `gaps`: those that touch the last [`SIGHT_MAX`] before `at`.
pub async fn sight(
    reader: &dyn SeriesReader,
    rule: &Rule,
    gaps: &[Gap],
    at: Timestamp,
    options: &Options,
) -> Result<Sight, String> {
    let reach = rule.expr.reach(options).unwrap_or(options.lookback).min(SIGHT_MAX);
    let mut sight = Sight::default();
    for matchers in rule.expr.selectors() {
        let series =
            reader.select(&matchers, at.minus(SIGHT_MAX), at, SIGHT_SAMPLES_MAX).await.map_err(|e| e.to_string())?;
        let newest = series.iter().filter_map(|s| live(s).last()).map(|s| s.t).max();
        sight.as_of = sight.as_of.max(newest);
        if !series.iter().any(|s| fresh(s, reach, at, options))
            && gaps.iter().any(|g| explains(g, &matchers, &series, at))
        {
            sight.missing = true;
        }
    }
    Ok(sight)
}

fn live(series: &Series) -> impl Iterator<Item = &Sample> {
    series.samples.iter().filter(|s| !is_stale(s.v))
}

/// The newest sample is none of "gone", recent, and not the only one in reach: a rate over one sample is nothing, so the
/// first scrape after an outage is no answer yet.
fn fresh(series: &Series, reach: Duration, at: Timestamp, options: &Options) -> bool {
    let Some(last) = series.samples.last() else { return false };
    let from = at.minus(reach);
    !is_stale(last.v) && at.since(last.t) < options.lookback && live(series).filter(|s| s.t > from).count() >= 2
}

/// Is it a gap of this selector's targets, open now or closed a moment ago? A selector without any series could be
/// anybody's.
fn explains(gap: &Gap, matchers: &[Matcher], series: &[Series], at: Timestamp) -> bool {
    if gap.to < at.minus(GAP_RECENT) || gap.from > at {
        return false;
    }
    if gap.target == "*" {
        return true;
    }
    let (job, instance) = gap.target.split_once('/').unwrap_or((&gap.target, ""));
    let of_target = |labels: &Labels| {
        labels.get("job").is_none_or(|j| j == job)
            && (instance.is_empty() || labels.get("instance").is_none_or(|i| i == instance))
    };
    if series.is_empty() {
        let named = Labels::new([("job", job), ("instance", instance)]);
        return matchers
            .iter()
            .filter(|m| m.label == "job" || (m.label == "instance" && !instance.is_empty()))
            .all(|m| m.matches(&named));
    }
    series.iter().any(|s| of_target(&s.labels))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::rulefile::{self, Kind};
    use crate::domain::gap::GapReason;
    use crate::domain::metric::stale_marker;
    use crate::promql::MemoryReader;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_ms(s * 1000)
    }

    fn series(labels: &[(&str, &str)], samples: &[(i64, f64)]) -> Series {
        Series {
            labels: Labels::new(labels.iter().copied()),
            samples: samples.iter().map(|(s, v)| Sample { t: at(*s), v: *v }).collect(),
        }
    }

    fn rules(yaml: &str) -> RuleGroup {
        let text = format!("groups:\n- name: g\n  labels: {{ team: web }}\n  rules:\n{yaml}");
        rulefile::parse("r.yml", &text).unwrap_or_else(|p| panic!("{p:?}")).groups.remove(0)
    }

    async fn run(group: &RuleGroup, reader: &MemoryReader) -> Result<Vec<Instance>, String> {
        let Kind::Alert(alert) = &group.rules[0].kind else { panic!() };
        let options = Options::default();
        let external_labels = &BTreeMap::from([("site".to_string(), "muc".to_string())]);
        let service_of = &|_: &Labels| "shop".into();
        let context = Context { external_url: "", external_labels, now: at(100), options: &options, service_of };
        alerts(reader, group, &group.rules[0], alert, at(100), &context).await
    }

    #[tokio::test]
    async fn labels_and_annotations_are_expanded_and_identity_is_complete() {
        let reader = MemoryReader { series: vec![series(&[("__name__", "up"), ("instance", "a:1")], &[(90, 0.0)])] };
        let group = rules(
            "  - alert: Down\n    expr: up == 0\n    labels: { severity: page, host: '{{ $labels.instance | stripPort }}' }\n    annotations: { summary: '{{ $labels.instance }} is {{ $value }} in {{ $externalLabels.site }}', also: '{{ query \"count(up)\" | first | value }}' }\n",
        );
        let found = run(&group, &reader).await.unwrap();
        assert_eq!(
            found[0].labels.to_string(),
            r#"{alertname="Down",host="a",instance="a:1",service="shop",severity="page",team="web"}"#
        );
        assert_eq!((&*found[0].annotations["summary"], &*found[0].annotations["also"]), ("a:1 is 0 in muc", "1"));
    }

    #[tokio::test]
    async fn two_alerts_with_one_identity_are_an_error() {
        let reader = MemoryReader {
            series: vec![
                series(&[("__name__", "a"), ("x", "1")], &[(90, 1.0)]),
                series(&[("__name__", "a"), ("x", "2")], &[(90, 1.0)]),
            ],
        };
        let group = rules("  - alert: Twice\n    expr: a > 0\n    labels: { x: same }\n");
        assert!(run(&group, &reader).await.unwrap_err().contains("two results"));
    }

    async fn look(expr: &str, reader: &MemoryReader, gaps: &[(&str, i64, i64)]) -> Sight {
        let group = rules(&format!("  - alert: A\n    expr: {expr}\n"));
        let gaps: Vec<Gap> = gaps
            .iter()
            .map(|(target, from, to)| Gap {
                target: target.to_string(),
                from: at(*from),
                to: at(*to),
                reason: GapReason::Timeout,
                detail: String::new(),
            })
            .collect();
        sight(reader, &group.rules[0], &gaps, at(100), &Options::default()).await.unwrap()
    }

    #[tokio::test]
    async fn missing_needs_both_no_fresh_sample_and_a_gap_of_that_target() {
        let labels = [("__name__", "x"), ("job", "app"), ("instance", "a:1")];
        let gone = MemoryReader { series: vec![series(&labels, &[(40, 1.0), (55, 1.0), (70, stale_marker())])] };
        assert!(look("x > 0", &gone, &[("app", 70, 100)]).await.missing);
        assert!(look("x > 0", &gone, &[("app/a:1", 70, 100)]).await.missing);
        assert!(look("x > 0", &gone, &[("*", 70, 100)]).await.missing);
        assert!(!look("x > 0", &gone, &[("app/b:1", 70, 100)]).await.missing);
        assert!(!look("x > 0", &gone, &[("other", 70, 100)]).await.missing);
        // Removed on purpose: the scrape is good, the series absent.
        assert!(!look("x > 0", &gone, &[]).await.missing);
        let seen = MemoryReader { series: vec![series(&labels, &[(85, 1.0), (100, 1.0)])] };
        let sight = look("x > 0", &seen, &[("app", 20, 60)]).await;
        assert_eq!(sight, Sight { as_of: Some(at(100)), missing: false });
        // The first scrape after the outage says nothing about a rate.
        let first = MemoryReader { series: vec![series(&labels, &[(40, 1.0), (55, stale_marker()), (100, 1.0)])] };
        assert!(look("rate(x[45s]) > 0", &first, &[("app", 55, 100)]).await.missing);
    }
}
