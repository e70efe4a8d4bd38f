//! hey, as it prints: a closed loop, even with `-q`, which only holds workers back.

use super::{LoadReport, Model};
use crate::gates::import::ImportError;

pub fn parse(text: &str) -> Result<LoadReport, ImportError> {
    let mut report = LoadReport::new("hey", Model::Closed);
    let mut failed = 0;
    let mut section = "";
    for (row, line) in text.lines().enumerate() {
        let malformed = || ImportError::at(row as u32 + 1, "not as hey prints it");
        let number = |text: &str| text.parse::<f64>().map_err(|_| malformed());
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["Total:", s, "secs"] => report.duration_s = Some(number(s)?),
            ["Slowest:", s, "secs"] => report.latency_ms.max = Some(number(s)? * 1000.0),
            ["Average:", s, "secs"] => report.latency_ms.mean = Some(number(s)? * 1000.0),
            ["Requests/sec:", rate] => report.achieved_rps = number(rate)?,
            [share, "in", s, "secs"] | [share, _, "in", s, "secs"] if share.ends_with('%') => {
                let value = Some(number(s)? * 1000.0);
                match share.trim_end_matches('%') {
                    "50" => report.latency_ms.p50 = value,
                    "90" => report.latency_ms.p90 = value,
                    "95" => report.latency_ms.p95 = value,
                    "99" => report.latency_ms.p99 = value,
                    _ => {}
                }
            }
            ["Status", "code", "distribution:"] => section = "status",
            ["Error", "distribution:"] => section = "error",
            [status, count, "responses"] if section == "status" => {
                let status = status.trim_matches(['[', ']']).parse().map_err(|_| malformed())?;
                report.status(status, count.parse().map_err(|_| malformed())?);
            }
            [count, ..] if section == "error" && count.starts_with('[') => {
                failed += count.trim_matches(['[', ']']).parse::<u64>().map_err(|_| malformed())?;
            }
            _ => {}
        }
    }
    let answered: u64 = report.by_status.values().sum();
    report.requests = answered + failed;
    report.error("failed", failed);
    // hey prints no last line of its own: what the counts do not add up to was cut off.
    let expected = report.achieved_rps * report.duration_s.unwrap_or(0.0);
    if section.is_empty() || answered == 0 && failed == 0 || (answered as f64) < expected * 0.98 - 1.0 {
        return Err(ImportError::CutShort("hey's output, before the end of its status codes".into()));
    }
    report.checked()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::import::cuts;

    /// As hey 0.1 prints it.
    const HEY: &str = "\nSummary:\n  Total:\t0.4247 secs\n  Slowest:\t0.0218 secs\n  Fastest:\t0.0015 secs\n  Average:\t0.0069 secs\n  Requests/sec:\t706.3643\n\nResponse time histogram:\n  0.002 [1]\t|x\n\nLatency distribution:\n  50% in 0.0067 secs\n  90% in 0.0106 secs\n  95% in 0.0125 secs\n  99% in 0.0200 secs\n\nStatus code distribution:\n  [200]\t280 responses\n  [503]\t20 responses\n";

    #[test]
    fn reads_the_summary() {
        let report = parse(HEY).unwrap();
        assert_eq!((report.requests, report.label, report.errors.get("5xx")), (300, Some("co-biased"), Some(&20)));
        assert_eq!((report.latency_ms.p50, report.latency_ms.p99), (Some(6.7), Some(20.0)));
        // Newer versions write two percent signs.
        assert_eq!(parse(&HEY.replace("% in", "%% in")).unwrap().latency_ms.p99, Some(20.0));
        let errors = format!("{HEY}\nError distribution:\n  [3]\tGet \"http://h\": timeout\n");
        assert_eq!(parse(&errors).unwrap().errors.get("failed"), Some(&3));
    }

    proptest::proptest! {
        #[test]
        fn every_cut_is_an_error(at in 0..HEY.len()) {
            cuts::refused(HEY, at, parse)?;
        }
    }
}
