//! wrk and wrk2, as they print. wrk is a closed loop; wrk2 keeps a rate and counts from the scheduled instant.

use super::super::scan::address;
use super::{LoadReport, Model, milliseconds};
use crate::gates::import::ImportError;

pub fn parse(text: &str) -> Result<LoadReport, ImportError> {
    let two = text.contains("HdrHistogram") || text.contains("Thread calibration:");
    let mut report = if two { LoadReport::new("wrk2", Model::Open) } else { LoadReport::new("wrk", Model::Closed) };
    let mut ended = false;
    // wrk2 -U prints the uncorrected distribution after the corrected one.
    let mut corrected = true;
    for (row, line) in text.lines().enumerate() {
        let malformed = || ImportError::at(row as u32 + 1, "not as wrk prints it");
        let line = line.trim();
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["Running", _, "test", "@", url] => report.url = Some(address(url)),
            ["Latency", mean, _, max, _] if !two => {
                report.latency_ms.mean = milliseconds(mean);
                report.latency_ms.max = milliseconds(max);
            }
            ["Uncorrected", ..] => corrected = false,
            [share, value] if share.ends_with('%') && corrected => {
                let share: f64 = share.trim_end_matches('%').parse().map_err(|_| malformed())?;
                let value = Some(milliseconds(value).ok_or_else(malformed)?);
                let latency = &mut report.latency_ms;
                match () {
                    _ if share == 50.0 => latency.p50 = value,
                    _ if share == 90.0 => latency.p90 = value,
                    _ if share == 95.0 => latency.p95 = value,
                    _ if share == 99.0 => latency.p99 = value,
                    _ if share == 100.0 => latency.max = value,
                    _ => {}
                }
            }
            [requests, "requests", "in", time, _, "read"] => {
                report.requests = requests.parse().map_err(|_| malformed())?;
                report.duration_s = Some(milliseconds(time.trim_end_matches(',')).ok_or_else(malformed)? / 1000.0);
            }
            ["Socket", "errors:", "connect", c, "read", r, "write", w, "timeout", t] => {
                let number = |text: &str| text.trim_end_matches(',').parse::<u64>().map_err(|_| malformed());
                report.error("socket", number(c)? + number(r)? + number(w)?);
                report.error("timeout", number(t)?);
            }
            ["Non-2xx", "or", "3xx", "responses:", n] => report.error("failed", n.parse().map_err(|_| malformed())?),
            ["Requests/sec:", rate] => report.achieved_rps = rate.parse().map_err(|_| malformed())?,
            ["Transfer/sec:", rate] => ended = rate.ends_with('B'),
            _ => {}
        }
    }
    if !ended {
        return Err(ImportError::CutShort("wrk's output, before Transfer/sec".into()));
    }
    report.checked()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::import::cuts;

    /// As wrk 4.1 prints it.
    const WRK: &str = "Running 3s test @ http://127.0.0.1:8099/?token=x\n  1 threads and 4 connections\n  Thread Stats   Avg      Stdev     Max   +/- Stdev\n    Latency     5.40ms    3.23ms  23.79ms   73.47%\n    Req/Sec   756.87    178.34     1.04k    66.67%\n  Latency Distribution\n     50%    4.70ms\n     75%    7.22ms\n     90%    9.74ms\n     99%   15.82ms\n  2271 requests in 3.01s, 845.12KB read\n  Socket errors: connect 0, read 5, write 0, timeout 2\n  Non-2xx or 3xx responses: 7\nRequests/sec:    753.92\nTransfer/sec:    280.56KB\n";

    #[test]
    fn a_closed_loop_is_labelled() {
        let report = parse(WRK).unwrap();
        assert_eq!(
            (report.tool, report.label, report.requests, report.achieved_rps),
            ("wrk", Some("co-biased"), 2271, 753.92)
        );
        assert_eq!(
            (report.latency_ms.p50, report.latency_ms.p99, report.latency_ms.max),
            (Some(4.7), Some(15.82), Some(23.79))
        );
        assert_eq!(report.errors, [("failed", 7), ("socket", 5), ("timeout", 2)].into());
        assert_eq!(report.url.as_deref(), Some("http://127.0.0.1:8099/"));
    }

    #[test]
    fn contract_wrk2_is_open() {
        let text = "Running 30s test @ http://h/\n  2 threads and 100 connections\n  Thread calibration: mean lat.: 5ms, rate sampling interval: 10ms\n  Thread Stats   Avg      Stdev     Max   +/- Stdev\n    Latency     1.10ms  500us  9.00ms   70.00%\n  Latency Distribution (HdrHistogram - Recorded Latency)\n 50.000%    1.05ms\n 90.000%    1.60ms\n 99.000%    2.40ms\n100.000%    9.00ms\n\n  60000 requests in 30.00s, 20.00MB read\nRequests/sec:   2000.00\nTransfer/sec:      0.66MB\n";
        let report = parse(text).unwrap();
        assert_eq!(
            (report.tool, report.model, report.label, report.latency_ms.max),
            ("wrk2", Model::Open, None, Some(9.0))
        );
    }

    proptest::proptest! {
        #[test]
        fn every_cut_is_an_error(at in 0..WRK.len()) {
            cuts::refused(WRK, at, parse)?;
        }
    }
}
