//! k6's end-of-test summary, in both shapes. In `--summary-export` a threshold's `true` means *crossed*; in
//! `handleSummary` it says `ok`. Thresholds over no sample are "ok" to k6: they are recomputed from the values here.
//! Virtual users wait for their answers, so latencies are biased unless arrivals had a rate of their own, which only
//! `dropped_iterations` shows.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{LoadReport, Model, Threshold};
use crate::gates::import::{ImportError, json};

#[derive(Deserialize)]
struct Report {
    metrics: BTreeMap<String, Metric>,
    state: Option<State>,
}

#[derive(Deserialize)]
struct State {
    #[serde(rename = "testRunDurationMs")]
    duration_ms: Option<f64>,
}

/// `values` in handleSummary; the numbers themselves in the export.
#[derive(Deserialize)]
struct Metric {
    values: Option<BTreeMap<String, Option<f64>>>,
    #[serde(default)]
    thresholds: BTreeMap<String, Said>,
    #[serde(flatten)]
    own: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Said {
    Ok { ok: bool },
    Crossed(bool),
}

impl Metric {
    fn value(&self, key: &str) -> Option<f64> {
        match &self.values {
            Some(values) => values.get(key).copied().flatten(),
            None => self.own.get(key).and_then(serde_json::Value::as_f64),
        }
    }
}

pub fn parse(text: &str) -> Result<LoadReport, ImportError> {
    let read: Report = json::read(text)?;
    let metric = |name: &str| read.metrics.get(name);
    let value = |name: &str, key: &str| metric(name).and_then(|m| m.value(key));
    let open = metric("dropped_iterations").is_some();
    let mut report = LoadReport::new("k6", if open { Model::Open } else { Model::Unknown });
    report.requests = value("http_reqs", "count").unwrap_or(0.0) as u64;
    report.achieved_rps = value("http_reqs", "rate").unwrap_or(0.0);
    let measured = read.state.and_then(|s| s.duration_ms).map(|ms| ms / 1000.0);
    report.duration_s = measured.or((report.achieved_rps > 0.0).then(|| report.requests as f64 / report.achieved_rps));
    // The rate of failures: `rate` in one shape, `value` in the other.
    let failed = value("http_req_failed", "rate").or(value("http_req_failed", "value")).unwrap_or(0.0);
    report.error("failed", (failed * report.requests as f64).round() as u64);
    let latency = |key: &str| value("http_req_duration", key);
    report.latency_ms.mean = latency("avg");
    report.latency_ms.p50 = latency("med");
    report.latency_ms.p90 = latency("p(90)");
    report.latency_ms.p95 = latency("p(95)");
    report.latency_ms.p99 = latency("p(99)");
    report.latency_ms.max = latency("max");
    for (name, metric) in &read.metrics {
        for (expression, said) in &metric.thresholds {
            let said = match said {
                Said::Ok { ok } => *ok,
                Said::Crossed(crossed) => !crossed,
            };
            let what = super::super::scan::clean(&format!("{name}: {expression}"));
            report.thresholds.push(Threshold { what, said, holds: holds(metric, expression) });
        }
    }
    report.checked()
}

/// `p(95)<500`, `rate<0.01`, `count>=100`. `None` when the value is not in the report.
fn holds(metric: &Metric, expression: &str) -> Option<bool> {
    let at = expression.find(['<', '>', '='])?;
    let (key, rest) = (expression[..at].trim(), &expression[at..]);
    let (operator, limit) = rest.split_at(rest.find(|c: char| !"<>=".contains(c))?);
    let limit: f64 = limit.trim().parse().ok()?;
    let value = metric.value(key).or_else(|| (key == "rate").then(|| metric.value("value")).flatten())?;
    Some(match operator {
        "<" => value < limit,
        "<=" => value <= limit,
        ">" => value > limit,
        ">=" => value >= limit,
        "==" | "===" => value == limit,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::import::cuts;

    const EXPORT: &str = r#"{"root_group": {"name": ""}, "metrics": {"http_reqs": {"count": 600, "rate": 10.0},
      "http_req_duration": {"avg": 6.0, "min": 1, "med": 5.0, "max": 90, "p(90)": 9.0, "p(95)": 12.0, "thresholds": {"p(95)<10": true, "avg<50": false}},
      "http_req_failed": {"passes": 6, "fails": 594, "value": 0.01, "thresholds": {"rate<0.05": false}}}}"#;
    const SUMMARY: &str = r#"{"options": {"noColor": false}, "state": {"isStdOutTTY": false, "testRunDurationMs": 60000.5}, "setup_data": {"token": "hunter2hunter2"},
      "metrics": {"http_reqs": {"type": "counter", "contains": "default", "values": {"count": 600, "rate": 10.0}},
      "http_req_duration": {"type": "trend", "contains": "time", "values": {"avg": 6.0, "med": 5.0, "max": 90, "p(90)": 9.0, "p(95)": 12.0, "p(99)": 40.0}, "thresholds": {"p(95)<10": {"ok": false}}},
      "http_req_failed": {"type": "rate", "contains": "default", "values": {"rate": 0.01, "passes": 6, "fails": 594}},
      "dropped_iterations": {"type": "counter", "values": {"count": 3, "rate": 0.05}}}}"#;

    #[test]
    fn contract_both_shapes_and_inverted_booleans() {
        let report = parse(EXPORT).unwrap();
        assert_eq!(
            (report.requests, report.duration_s, report.errors["failed"], report.label),
            (600, Some(60.0), 6, Some("co-biased"))
        );
        let rows: Vec<_> = report.thresholds.iter().map(|t| (t.what.as_str(), t.said, t.holds)).collect();
        assert_eq!(
            rows,
            [
                ("http_req_duration: avg<50", true, Some(true)),
                ("http_req_duration: p(95)<10", false, Some(false)),
                ("http_req_failed: rate<0.05", true, Some(true)),
            ]
        );
        let report = parse(SUMMARY).unwrap();
        assert_eq!((report.model, report.latency_ms.p99, report.duration_s), (Model::Open, Some(40.0), Some(60.0005)));
        assert_eq!((report.thresholds[0].said, report.thresholds[0].holds), (false, Some(false)));
        assert!(!format!("{report:?}").contains("hunter2"));
        // No sample: k6 calls its thresholds ok, we call it no test.
        assert!(parse(r#"{"metrics": {"http_req_duration": {"thresholds": {"p(95)<10": false}}}}"#).is_err());
    }

    proptest::proptest! {
        #[test]
        fn every_cut_is_an_error(at in 0..EXPORT.len(), there in 0..SUMMARY.len()) {
            cuts::refused(EXPORT, at, parse)?;
            cuts::refused(SUMMARY, there, parse)?;
        }
    }
}
