//! vegeta's `report -type=json`: an open model; nanoseconds; status 0 is no answer at all.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Latency, LoadReport, Model};
use crate::domain::clock::Timestamp;
use crate::gates::import::{ImportError, json};

#[derive(Deserialize)]
struct Report {
    latencies: Latencies,
    earliest: Option<String>,
    duration: f64,
    requests: u64,
    rate: f64,
    status_codes: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
struct Latencies {
    mean: Option<f64>,
    #[serde(rename = "50th")]
    p50: Option<f64>,
    #[serde(rename = "90th")]
    p90: Option<f64>,
    #[serde(rename = "95th")]
    p95: Option<f64>,
    #[serde(rename = "99th")]
    p99: Option<f64>,
    max: Option<f64>,
}

pub fn parse(text: &str) -> Result<LoadReport, ImportError> {
    let read: Report = json::read(text)?;
    let mut report = LoadReport::new("vegeta", Model::Open);
    for (status, count) in &read.status_codes {
        match status.parse().map_err(|_| ImportError::at(1, "a status that is no number"))? {
            0 => report.error("failed", *count),
            status => report.status(status, *count),
        }
    }
    report.requests = read.requests;
    report.achieved_rps = read.rate;
    report.duration_s = Some(read.duration / 1e9);
    report.started_at = read.earliest.as_deref().and_then(Timestamp::parse);
    let ms = |ns: Option<f64>| ns.map(|n| n / 1e6);
    let l = read.latencies;
    report.latency_ms =
        Latency { mean: ms(l.mean), p50: ms(l.p50), p90: ms(l.p90), p95: ms(l.p95), p99: ms(l.p99), max: ms(l.max) };
    report.checked()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::import::cuts;

    const REPORT: &str = r#"{"latencies":{"total":1,"mean":2000000,"50th":1500000,"90th":3000000,"95th":4000000,"99th":9000000,"max":12000000,"min":1},
      "bytes_in":{"total":1,"mean":1},"earliest":"2026-11-22T10:00:00Z","latest":"2026-11-22T10:00:10Z","end":"2026-11-22T10:00:10Z",
      "duration":10000000000,"wait":1,"requests":1000,"rate":100.1,"throughput":99.0,"success":0.99,"status_codes":{"0":4,"200":990,"500":6},"errors":["x"]}"#;

    #[test]
    fn contract_nanoseconds() {
        let report = parse(REPORT).unwrap();
        assert_eq!(
            (report.model, report.label, report.latency_ms.p99, report.duration_s),
            (Model::Open, None, Some(9.0), Some(10.0))
        );
        assert_eq!(report.errors, [("5xx", 6), ("failed", 4)].into());
    }

    proptest::proptest! {
        #[test]
        fn every_cut_is_an_error(at in 0..REPORT.len()) {
            cuts::refused(REPORT, at, parse)?;
        }
    }
}
