//! oha's JSON. Whether it kept a rate (`-q` with `--latency-correction`) the report does not tell.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Latency, LoadReport, Model};
use crate::gates::import::{ImportError, json};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    summary: Summary,
    latency_percentiles: BTreeMap<String, Option<f64>>,
    status_code_distribution: BTreeMap<String, u64>,
    #[serde(default)]
    error_distribution: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    /// Seconds, like all times here.
    total: f64,
    slowest: Option<f64>,
    average: Option<f64>,
    requests_per_sec: Option<f64>,
}

pub fn parse(text: &str) -> Result<LoadReport, ImportError> {
    let read: Report = json::read(text)?;
    let mut report = LoadReport::new("oha", Model::Unknown);
    for (status, count) in &read.status_code_distribution {
        report.status(status.parse().map_err(|_| ImportError::at(1, "a status that is no number"))?, *count);
    }
    for (what, count) in &read.error_distribution {
        // Cut off at the end of the test, neither answered nor failed.
        if what.contains("deadline") {
            continue;
        }
        report.error(if what.contains("timed out") || what.contains("timeout") { "timeout" } else { "failed" }, *count);
    }
    let broken = ["timeout", "failed"].iter().filter_map(|c| report.errors.get(c)).sum::<u64>();
    report.requests = report.by_status.values().sum::<u64>() + broken;
    report.duration_s = Some(read.summary.total);
    report.achieved_rps = read.summary.requests_per_sec.unwrap_or(0.0);
    let at = |key: &str| read.latency_percentiles.get(key).copied().flatten().map(|s| s * 1000.0);
    report.latency_ms = Latency {
        mean: read.summary.average.map(|s| s * 1000.0),
        p50: at("p50"),
        p90: at("p90"),
        p95: at("p95"),
        p99: at("p99"),
        max: read.summary.slowest.map(|s| s * 1000.0),
    };
    report.checked()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::import::cuts;

    const REPORT: &str = r#"{"summary": {"successRate": 1.0, "total": 2.0, "slowest": 0.02, "fastest": 0.001, "average": 0.005, "requestsPerSec": 100.0, "totalData": 1, "sizePerRequest": 1, "sizePerSec": 1},
      "responseTimeHistogram": {"0.001": 1}, "latencyPercentiles": {"p10": 0.001, "p50": 0.004, "p90": 0.009, "p95": 0.01, "p99": 0.015},
      "statusCodeDistribution": {"200": 190, "429": 8}, "errorDistribution": {"aborted due to deadline": 4, "connection refused": 2}}"#;

    #[test]
    fn contract_seconds_and_deadlines() {
        let report = parse(REPORT).unwrap();
        assert_eq!((report.requests, report.model, report.label), (200, Model::Unknown, Some("co-biased")));
        assert_eq!(report.errors, [("429", 8), ("failed", 2)].into());
        assert_eq!((report.latency_ms.p95, report.latency_ms.max), (Some(10.0), Some(20.0)));
    }

    proptest::proptest! {
        #[test]
        fn every_cut_is_an_error(at in 0..REPORT.len()) {
            cuts::refused(REPORT, at, parse)?;
        }
    }
}
