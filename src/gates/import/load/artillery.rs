//! Artillery's JSON report: virtual users arrive at a rate of their own; each asks in turn.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Latency, LoadReport, Model};
use crate::domain::clock::Timestamp;
use crate::gates::import::{ImportError, json};

#[derive(Deserialize)]
struct Report {
    aggregate: Aggregate,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Aggregate {
    counters: BTreeMap<String, f64>,
    summaries: BTreeMap<String, Summary>,
    first_metric_at: Option<f64>,
    last_metric_at: Option<f64>,
    first_counter_at: Option<f64>,
    last_counter_at: Option<f64>,
}

#[derive(Deserialize)]
struct Summary {
    mean: Option<f64>,
    p50: Option<f64>,
    median: Option<f64>,
    p90: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
    max: Option<f64>,
}

pub fn parse(text: &str) -> Result<LoadReport, ImportError> {
    let Report { aggregate } = json::read(text)?;
    let mut report = LoadReport::new("artillery", Model::Open);
    for (name, count) in &aggregate.counters {
        let count = count.max(0.0) as u64;
        if let Some(status) = name.strip_prefix("http.codes.").and_then(|s| s.parse().ok()) {
            report.status(status, count);
        } else if let Some(what) = name.strip_prefix("errors.") {
            report.error(if what.contains("TIMEDOUT") { "timeout" } else { "failed" }, count);
        }
    }
    report.requests = aggregate.counters.get("http.requests").copied().unwrap_or(0.0) as u64;
    let (a, b) = (
        aggregate.first_metric_at.or(aggregate.first_counter_at),
        aggregate.last_metric_at.or(aggregate.last_counter_at),
    );
    report.started_at = a.map(|ms| Timestamp::from_ms(ms as i64));
    report.duration_s = a.zip(b).map(|(a, b)| (b - a) / 1000.0).filter(|s| *s > 0.0);
    report.achieved_rps = report.duration_s.map_or(0.0, |s| report.requests as f64 / s);
    if let Some(s) = aggregate.summaries.get("http.response_time") {
        report.latency_ms =
            Latency { mean: s.mean, p50: s.p50.or(s.median), p90: s.p90, p95: s.p95, p99: s.p99, max: s.max };
    }
    report.checked()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::import::cuts;

    const REPORT: &str = r#"{"aggregate": {"counters": {"vusers.created": 10, "http.requests": 100, "http.codes.200": 97, "http.codes.503": 1, "errors.ETIMEDOUT": 2},
      "rates": {"http.request_rate": 10}, "firstMetricAt": 1795341600000, "lastMetricAt": 1795341610000,
      "summaries": {"http.response_time": {"min": 1, "max": 90, "count": 98, "mean": 5.5, "p50": 4, "median": 4, "p90": 8, "p95": 10, "p99": 50}}}, "intermediate": []}"#;

    #[test]
    fn contract_counters() {
        let report = parse(REPORT).unwrap();
        assert_eq!((report.requests, report.achieved_rps, report.latency_ms.p99), (100, 10.0, Some(50.0)));
        assert_eq!(report.errors, [("5xx", 1), ("timeout", 2)].into());
    }

    proptest::proptest! {
        #[test]
        fn every_cut_is_an_error(at in 0..REPORT.len()) {
            cuts::refused(REPORT, at, parse)?;
        }
    }
}
