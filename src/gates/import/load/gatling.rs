//! Gatling's `js/stats.json` or `js/global_stats.json` (`assertions.json` is often missing). Its four percentiles are
//! 50, 75, 95 and 99 unless its settings say otherwise. How users arrived, the report does not tell.

use serde::Deserialize;

use super::{LoadReport, Model};
use crate::gates::import::{ImportError, json};

#[derive(Deserialize)]
#[serde(untagged)]
enum Report {
    Tree { stats: Stats },
    Flat(Stats),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    number_of_requests: Split,
    max_response_time: Split,
    mean_response_time: Split,
    percentiles1: Split,
    percentiles3: Split,
    percentiles4: Split,
    mean_number_of_requests_per_second: Split,
}

#[derive(Deserialize)]
struct Split {
    total: Number,
    ko: Option<Number>,
}

/// Some versions write numbers as text, and `-` for none.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Number(f64),
    Text(String),
}

impl Number {
    fn get(&self) -> Option<f64> {
        match self {
            Number::Number(n) => Some(*n),
            Number::Text(text) => text.trim().parse().ok(),
        }
    }
}

pub fn parse(text: &str) -> Result<LoadReport, ImportError> {
    let (Report::Tree { stats } | Report::Flat(stats)) = json::read(text)?;
    let mut report = LoadReport::new("gatling", Model::Unknown);
    report.requests = stats.number_of_requests.total.get().unwrap_or(0.0) as u64;
    report.error("failed", stats.number_of_requests.ko.as_ref().and_then(Number::get).unwrap_or(0.0) as u64);
    report.achieved_rps = stats.mean_number_of_requests_per_second.total.get().unwrap_or(0.0);
    report.duration_s = (report.achieved_rps > 0.0).then(|| report.requests as f64 / report.achieved_rps);
    report.latency_ms.mean = stats.mean_response_time.total.get();
    report.latency_ms.p50 = stats.percentiles1.total.get();
    report.latency_ms.p95 = stats.percentiles3.total.get();
    report.latency_ms.p99 = stats.percentiles4.total.get();
    report.latency_ms.max = stats.max_response_time.total.get();
    report.checked()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::import::cuts;

    const FLAT: &str = r#"{"name": "All Requests", "numberOfRequests": {"total": 600, "ok": 594, "ko": 6}, "minResponseTime": {"total": 1, "ok": 1, "ko": 1},
      "maxResponseTime": {"total": 90, "ok": 90, "ko": 5}, "meanResponseTime": {"total": 6, "ok": 6, "ko": 2}, "standardDeviation": {"total": 1, "ok": 1, "ko": 1},
      "percentiles1": {"total": 5, "ok": 5, "ko": 1}, "percentiles2": {"total": 7, "ok": 7, "ko": 1}, "percentiles3": {"total": 12, "ok": 12, "ko": 1},
      "percentiles4": {"total": 40, "ok": 40, "ko": 1}, "meanNumberOfRequestsPerSecond": {"total": 10, "ok": 9.9, "ko": 0.1}}"#;

    #[test]
    fn contract_both_files() {
        let report = parse(FLAT).unwrap();
        assert_eq!(
            (report.requests, report.duration_s, report.latency_ms.p95, report.errors["failed"]),
            (600, Some(60.0), Some(12.0), 6)
        );
        let tree = format!(r#"{{"type": "GROUP", "name": "All Requests", "stats": {FLAT}, "contents": {{}}}}"#);
        assert_eq!(parse(&tree).unwrap(), report);
        assert_eq!(
            parse(&FLAT.replace("\"ko\": 0.1", "\"ko\": \"-\"").replace(": 600", ": \"600\"")).unwrap().requests,
            600
        );
    }

    proptest::proptest! {
        #[test]
        fn every_cut_is_an_error(at in 0..FLAT.len()) {
            cuts::refused(FLAT, at, parse)?;
        }
    }
}
