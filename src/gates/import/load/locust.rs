//! Locust's `_stats.csv`: the row `Aggregated` (once `Total`) stands for all, last in the file. Closed loops.

use super::{LoadReport, Model, csv};
use crate::gates::import::ImportError;

pub fn parse(text: &str) -> Result<LoadReport, ImportError> {
    let text = text.trim_start_matches('\u{feff}');
    let header = csv(text.lines().next().ok_or(ImportError::Empty("line"))?);
    let column = |name: &str| header.iter().position(|h| h == name);
    let (Some(name), Some(requests), Some(failures)) =
        (column("Name"), column("Request Count"), column("Failure Count"))
    else {
        return Err(ImportError::at(1, "not the head of Locust's _stats.csv"));
    };
    let rows: Vec<Vec<String>> = text.lines().skip(1).map(csv).collect();
    let all = rows.iter().position(|row| row.get(name).is_some_and(|n| n == "Aggregated" || n == "Total"));
    // Locust ends every line; the row for all is the last.
    let Some(all) = all.filter(|_| text.ends_with('\n')).map(|i| &rows[i]).filter(|row| row.len() == header.len())
    else {
        return Err(ImportError::CutShort("the file, before its row Aggregated".into()));
    };
    let number = |name: &str| column(name).and_then(|i| all[i].parse::<f64>().ok());
    let count = |at: usize| {
        all[at].parse::<u64>().map_err(|_| ImportError::at(rows.len() as u32 + 1, "a count that is no number"))
    };
    let mut report = LoadReport::new("locust", Model::Closed);
    report.requests = count(requests)?;
    report.error("failed", count(failures)?);
    report.achieved_rps = number("Requests/s").unwrap_or(0.0);
    report.duration_s = (report.achieved_rps > 0.0).then(|| report.requests as f64 / report.achieved_rps);
    report.latency_ms.mean = number("Average Response Time");
    report.latency_ms.p50 = number("50%").or(number("Median Response Time"));
    report.latency_ms.p90 = number("90%");
    report.latency_ms.p95 = number("95%");
    report.latency_ms.p99 = number("99%");
    report.latency_ms.max = number("Max Response Time");
    report.checked()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::import::cuts;

    /// As Locust 2 writes it.
    const CSV: &str = "Type,Name,Request Count,Failure Count,Median Response Time,Average Response Time,Min Response Time,Max Response Time,Average Content Size,Requests/s,Failures/s,50%,66%,75%,80%,90%,95%,98%,99%,99.9%,99.99%,100%\r\nGET,\"/a,b\",506,0,10,11.4,3.4,85.6,797.0,168.4,0.0,10,12,13,14,18,22,27,33,86,86,86\r\n,Aggregated,1005,499,9,10.9,3.4,141.9,567.6,334.6,166.1,9,11,12,13,17,20,27,32,130,140,140\r\n";

    #[test]
    fn the_row_for_all() {
        let report = parse(CSV).unwrap();
        assert_eq!(
            (report.requests, report.errors["failed"], report.latency_ms.p99, report.label),
            (1005, 499, Some(32.0), Some("co-biased"))
        );
        assert!(parse("a,b\n1,2\n").is_err());
    }

    proptest::proptest! {
        #[test]
        fn every_cut_is_an_error(at in 0..CSV.len() - 2) {
            cuts::refused(CSV, at, parse)?;
        }
    }
}
