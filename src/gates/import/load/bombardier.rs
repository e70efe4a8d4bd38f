//! bombardier's JSON (`-o json`): a closed loop; microseconds. Its headers may hold a token and are not read.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::scan::address;
use super::{Latency, LoadReport, Model};
use crate::gates::import::{ImportError, json};

#[derive(Deserialize)]
struct Report {
    spec: Option<Spec>,
    result: Figures,
}

#[derive(Deserialize)]
struct Spec {
    url: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Figures {
    time_taken_seconds: f64,
    req1xx: u64,
    req2xx: u64,
    req3xx: u64,
    req4xx: u64,
    req5xx: u64,
    others: u64,
    latency: Latencies,
}

#[derive(Deserialize)]
struct Latencies {
    mean: Option<f64>,
    max: Option<f64>,
    #[serde(default)]
    percentiles: BTreeMap<String, f64>,
}

pub fn parse(text: &str) -> Result<LoadReport, ImportError> {
    let Report { spec, result } = json::read(text)?;
    let mut report = LoadReport::new("bombardier", Model::Closed);
    report.url = spec.and_then(|s| s.url).as_deref().map(address);
    report.requests = result.req1xx + result.req2xx + result.req3xx + result.req4xx + result.req5xx + result.others;
    report.error("4xx", result.req4xx);
    report.error("5xx", result.req5xx);
    report.error("failed", result.others);
    report.duration_s = Some(result.time_taken_seconds);
    report.achieved_rps =
        if result.time_taken_seconds > 0.0 { report.requests as f64 / result.time_taken_seconds } else { 0.0 };
    let at = |key: &str| result.latency.percentiles.get(key).map(|us| us / 1000.0);
    let ms = |us: Option<f64>| us.map(|n| n / 1000.0);
    report.latency_ms = Latency {
        mean: ms(result.latency.mean),
        p50: at("50"),
        p90: at("90"),
        p95: at("95"),
        p99: at("99"),
        max: ms(result.latency.max),
    };
    report.checked()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::import::cuts;

    const REPORT: &str = r#"{"spec":{"numberOfConnections":4,"testType":"timed","testDurationSeconds":2,"method":"GET","url":"http://h/","headers":[{"key":"Authorization","value":"hunter2hunter2"}]},
      "result":{"bytesRead":1,"timeTakenSeconds":2.0,"req1xx":0,"req2xx":390,"req3xx":0,"req4xx":6,"req5xx":3,"others":1,
      "latency":{"mean":2500,"stddev":1,"max":12000,"percentiles":{"50":2000,"75":3000,"90":4000,"95":5000,"99":9000}},"rps":{"mean":200}}}"#;

    #[test]
    fn contract_microseconds() {
        let report = parse(REPORT).unwrap();
        assert_eq!((report.requests, report.achieved_rps, report.latency_ms.p99), (400, 200.0, Some(9.0)));
        assert_eq!(report.errors, [("4xx", 6), ("5xx", 3), ("failed", 1)].into());
        assert!(!format!("{report:?}").contains("hunter2"));
    }

    proptest::proptest! {
        #[test]
        fn every_cut_is_an_error(at in 0..REPORT.len()) {
            cuts::refused(REPORT, at, parse)?;
        }
    }
}
