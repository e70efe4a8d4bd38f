//! autocannon's JSON. A closed loop unless an overall rate was set, which the report does not tell.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::scan::address;
use super::{Latency, LoadReport, Model};
use crate::domain::clock::Timestamp;
use crate::gates::import::{ImportError, json};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    url: Option<String>,
    start: Option<String>,
    duration: f64,
    #[serde(default)]
    errors: u64,
    #[serde(default)]
    timeouts: u64,
    #[serde(default)]
    status_code_stats: BTreeMap<String, Count>,
    #[serde(rename = "4xx", default)]
    client_errors: u64,
    #[serde(rename = "5xx", default)]
    server_errors: u64,
    latency: Percentiles,
    requests: Requests,
}

#[derive(Deserialize)]
struct Count {
    count: u64,
}

/// Milliseconds.
#[derive(Deserialize)]
struct Percentiles {
    mean: Option<f64>,
    p50: Option<f64>,
    p90: Option<f64>,
    /// There is no p95: the next one above it stands for it.
    p97_5: Option<f64>,
    p99: Option<f64>,
    max: Option<f64>,
}

#[derive(Deserialize)]
struct Requests {
    total: u64,
}

pub fn parse(text: &str) -> Result<LoadReport, ImportError> {
    let read: Report = json::read(text)?;
    let mut report = LoadReport::new("autocannon", Model::Unknown);
    if read.status_code_stats.is_empty() {
        report.error("4xx", read.client_errors);
        report.error("5xx", read.server_errors);
    }
    for (status, count) in &read.status_code_stats {
        report.status(status.parse().map_err(|_| ImportError::at(1, "a status that is no number"))?, count.count);
    }
    report.error("timeout", read.timeouts);
    // Its errors include its timeouts.
    report.error("socket", read.errors.saturating_sub(read.timeouts));
    report.url = read.url.as_deref().map(address);
    report.started_at = read.start.as_deref().and_then(Timestamp::parse);
    report.duration_s = Some(read.duration);
    report.requests = read.requests.total + read.errors;
    report.achieved_rps = if read.duration > 0.0 { read.requests.total as f64 / read.duration } else { 0.0 };
    let l = read.latency;
    report.latency_ms = Latency { mean: l.mean, p50: l.p50, p90: l.p90, p95: l.p97_5, p99: l.p99, max: l.max };
    report.checked()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::import::cuts;

    /// The shape that autocannon 8 writes.
    const REPORT: &str = r#"{"url":"http://127.0.0.1:8099/","connections":4,"duration":2.02,"start":"2026-11-23T12:21:28.949Z","finish":"2026-11-23T12:21:30.968Z","errors":3,"timeouts":1,"non2xx":2,"1xx":0,"2xx":1040,"3xx":0,"4xx":2,"5xx":0,"statusCodeStats":{"200":{"count":1040},"404":{"count":2}},"latency":{"average":5.0,"mean":5.0,"min":1,"max":95,"p50":4,"p90":8,"p97_5":9,"p99":12},"requests":{"average":521,"total":1042,"sent":1046}}"#;

    #[test]
    fn reads_counts_and_percentiles() {
        let report = parse(REPORT).unwrap();
        assert_eq!((report.requests, report.latency_ms.p95), (1045, Some(9.0)));
        assert_eq!(report.errors, [("4xx", 2), ("socket", 2), ("timeout", 1)].into());
        assert!((report.achieved_rps - 515.84).abs() < 0.01);
        assert_eq!(report.started_at.unwrap().ms(), 1_795_436_488_949);
    }

    proptest::proptest! {
        #[test]
        fn every_cut_is_an_error(at in 0..REPORT.len()) {
            cuts::refused(REPORT, at, parse)?;
        }
    }
}
