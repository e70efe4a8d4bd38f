//! Legal but wrong or unwise: what `hypercare metrics check` and the gate `monitoring.metrics` tell beside syntax errors.

use std::collections::{BTreeMap, HashMap};

use super::{Exposition, Lint, PROBLEMS_MAX, ParsedSample};
use crate::domain::metric::{Labels, MetricKind, NAME};

/// Adds every problem to `exposition.problems` and sorts them by line.
pub(super) fn look(exposition: &mut Exposition) {
    let mut found = Vec::new();
    families(exposition, &mut found);
    duplicates(exposition, &mut found);
    values(exposition, &mut found);
    buckets(exposition, &mut found);
    exposition.problems.append(&mut found);
    exposition.problems.sort_by(|a, b| (a.line, a.rule, &a.message).cmp(&(b.line, b.rule, &b.message)));
    exposition.problems.truncate(PROBLEMS_MAX);
}

fn families(exposition: &Exposition, found: &mut Vec<Lint>) {
    let mut first: Vec<Option<&ParsedSample>> = vec![None; exposition.families.len()];
    for sample in &exposition.samples {
        first[sample.family].get_or_insert(sample);
    }
    for (family, first) in exposition.families.iter().zip(first) {
        let Some(first) = first else { continue };
        let name = &family.family;
        let mut note = |rule, message| found.push(Lint { line: first.line, rule, message });
        if family.kind == MetricKind::Unknown {
            note("missing-type", format!("{name} has no type"));
        }
        if family.help.is_empty() {
            note("missing-help", format!("{name} has no help text"));
        }
        if family.kind == MetricKind::Counter && !first.labels.name().ends_with("_total") {
            note("counter-total", format!("counter {name} has samples without the suffix _total"));
        }
        if !family.unit.is_empty() && !name.ends_with(&format!("_{}", family.unit)) {
            note("unit-suffix", format!("{name} does not end in its unit, {}", family.unit));
        }
        if family.kind == MetricKind::Gauge && name.ends_with("_total") {
            note("gauge-total", format!("gauge {name} is named like a counter"));
        }
    }
}

fn duplicates(exposition: &Exposition, found: &mut Vec<Lint>) {
    let mut lines: HashMap<(&Labels, Option<i64>), usize> = HashMap::with_capacity(exposition.samples.len());
    for sample in &exposition.samples {
        if let Some(earlier) = lines.insert((&sample.labels, sample.timestamp_ms), sample.line) {
            let message = format!("{} was given on line {earlier} already", sample.labels);
            found.push(Lint { line: sample.line, rule: "duplicate-series", message });
        }
    }
}

fn values(exposition: &Exposition, found: &mut Vec<Lint>) {
    for sample in &exposition.samples {
        let kind = exposition.families[sample.family].kind;
        let name = sample.labels.name();
        let mut note = |rule, message| found.push(Lint { line: sample.line, rule, message });
        let counts = kind == MetricKind::Counter || name.ends_with("_bucket") && kind == MetricKind::Histogram;
        if counts && !name.ends_with("_created") && (sample.value < 0.0 || sample.value.is_nan()) {
            note("counter-value", format!("{} counts to {}", sample.labels, sample.value));
        }
        if kind == MetricKind::Info && sample.value != 1.0 {
            note("info-value", format!("{} must be 1", sample.labels));
        }
        if kind == MetricKind::Stateset && sample.value != 0.0 && sample.value != 1.0 {
            note("stateset-value", format!("{} must be 0 or 1", sample.labels));
        }
    }
}

/// Histograms: `le` on each bucket, a `+Inf` bucket, counts that never fall.
fn buckets(exposition: &Exposition, found: &mut Vec<Lint>) {
    let mut series: BTreeMap<Labels, Vec<(f64, f64, usize)>> = BTreeMap::new();
    for sample in &exposition.samples {
        if exposition.families[sample.family].kind != MetricKind::Histogram
            || !sample.labels.name().ends_with("_bucket")
        {
            continue;
        }
        match sample.labels.get("le").and_then(|le| le.parse::<f64>().ok()) {
            Some(le) => {
                let key = sample.labels.without(&["le"]);
                series.entry(key).or_default().push((le, sample.value, sample.line));
            }
            None => {
                let message = format!("{} has no number in label le", sample.labels);
                found.push(Lint { line: sample.line, rule: "bucket-le", message });
            }
        }
    }
    for (labels, mut buckets) in series {
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let shown = labels.without(&[NAME]).with(NAME, labels.name().trim_end_matches("_bucket"));
        if let Some(last) = buckets.last()
            && last.0 != f64::INFINITY
        {
            found.push(Lint { line: last.2, rule: "bucket-inf", message: format!("{shown} has no +Inf bucket") });
        }
        if let Some(pair) = buckets.windows(2).find(|pair| pair[1].1 < pair[0].1) {
            let message = format!("{shown}: bucket le={} counts less than the one before", pair[1].0);
            found.push(Lint { line: pair[1].2, rule: "bucket-order", message });
        }
    }
}
