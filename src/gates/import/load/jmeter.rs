//! JMeter's JTL, CSV with a head or XML: one sample a request, from which the figures are computed. Closed loops.

use super::{LoadReport, Model, csv, percentile};
use crate::domain::clock::Timestamp;
use crate::gates::import::ImportError;
use crate::gates::import::xml::{Step, walk};

#[derive(Default)]
struct Samples {
    elapsed_ms: Vec<f64>,
    first_ms: Option<f64>,
    last_ms: f64,
    report: Option<LoadReport>,
}

impl Samples {
    fn add(&mut self, started_ms: f64, elapsed_ms: f64, code: &str, success: bool) {
        let report = self.report.get_or_insert_with(|| LoadReport::new("jmeter", Model::Closed));
        self.elapsed_ms.push(elapsed_ms);
        self.first_ms = Some(self.first_ms.map_or(started_ms, |f| f.min(started_ms)));
        self.last_ms = self.last_ms.max(started_ms + elapsed_ms);
        match code.parse::<u16>() {
            Ok(code) => {
                report.status(code, 1);
                // An assertion failed although the answer was fine.
                if !success && code < 400 {
                    report.error("failed", 1);
                }
            }
            Err(_) if success => {}
            Err(_) => report.error(if code.contains("Timeout") { "timeout" } else { "socket" }, 1),
        }
    }

    fn report(mut self) -> Result<LoadReport, ImportError> {
        let mut report = self.report.take().ok_or(ImportError::Empty("sample"))?;
        let samples = &mut self.elapsed_ms;
        samples.sort_by(f64::total_cmp);
        let first = self.first_ms.unwrap_or(0.0);
        let seconds = (self.last_ms - first) / 1000.0;
        report.requests = samples.len() as u64;
        report.started_at = Some(Timestamp::from_ms(first as i64));
        report.duration_s = Some(seconds);
        report.achieved_rps = if seconds > 0.0 { report.requests as f64 / seconds } else { 0.0 };
        let latency = &mut report.latency_ms;
        latency.mean = Some(samples.iter().sum::<f64>() / samples.len() as f64);
        latency.p50 = percentile(samples, 0.50);
        latency.p90 = percentile(samples, 0.90);
        latency.p95 = percentile(samples, 0.95);
        latency.p99 = percentile(samples, 0.99);
        latency.max = samples.last().copied();
        report.checked()
    }
}

pub fn parse(text: &str) -> Result<LoadReport, ImportError> {
    let text = text.trim_start_matches('\u{feff}');
    if text.trim_start().starts_with('<') { xml(text) } else { rows(text) }
}

fn rows(text: &str) -> Result<LoadReport, ImportError> {
    let header = csv(text.lines().next().ok_or(ImportError::Empty("line"))?);
    let column = |name: &str| header.iter().position(|h| h == name);
    let (Some(time), Some(elapsed), Some(code), Some(success)) =
        (column("timeStamp"), column("elapsed"), column("responseCode"), column("success"))
    else {
        return Err(ImportError::at(1, "not the head of a JTL file: timeStamp, elapsed, responseCode, success"));
    };
    if !text.ends_with('\n') {
        return Err(ImportError::CutShort("a line".into()));
    }
    let mut samples = Samples::default();
    let mut open = String::new();
    for (row, line) in text.lines().enumerate().skip(1) {
        // A message in quotes may span lines.
        open.push_str(line);
        if open.matches('"').count() % 2 == 1 {
            open.push('\n');
            continue;
        }
        let fields = csv(&open);
        open.clear();
        let malformed = || ImportError::at(row as u32 + 1, "not a sample with as many fields as the head");
        let number = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).ok_or_else(malformed);
        if fields.len() != header.len() {
            return Err(malformed());
        }
        samples.add(number(time)?, number(elapsed)?, &fields[code], fields[success] == "true");
    }
    if !open.is_empty() {
        return Err(ImportError::CutShort("a quoted field".into()));
    }
    samples.report()
}

fn xml(text: &str) -> Result<LoadReport, ImportError> {
    let mut samples = Samples::default();
    walk(text, |path, step| {
        let Step::Open { name, attributes } = step else { return Ok(()) };
        if path.len() == 1 && name != "testResults" {
            return Err("the root element is not <testResults>".into());
        }
        // Deeper samples are parts of one: a page's images.
        if path.len() == 2 && matches!(name, "httpSample" | "sample") {
            let number = |key: &str| attributes.get(key).and_then(|v| v.parse::<f64>().ok());
            let (time, elapsed) = number("ts").zip(number("t")).ok_or("a sample without ts and t")?;
            let get = |key: &str| attributes.get(key).map_or("", String::as_str);
            samples.add(time, elapsed, get("rc"), get("s") == "true");
        }
        Ok(())
    })?;
    samples.report()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::import::cuts;

    const CSV: &str = "timeStamp,elapsed,label,responseCode,responseMessage,threadName,dataType,success,failureMessage,bytes\n1795341600000,10,home,200,OK,g 1-1,text,true,,316\n1795341600500,30,home,503,\"Busy, sorry\",g 1-1,text,false,,0\n1795341600980,20,home,Non HTTP response code: java.net.SocketTimeoutException,x,g 1-2,text,false,,0\n";
    const XML: &str = r#"<?xml version="1.0"?><testResults version="1.2"><httpSample t="10" ts="1795341600000" s="true" lb="home" rc="200"><httpSample t="1" ts="1795341600001" s="true" rc="200"/></httpSample><httpSample t="30" ts="1795341600970" s="false" rc="200"/></testResults>"#;

    #[test]
    fn contract_figures_from_samples() {
        let report = parse(CSV).unwrap();
        assert_eq!((report.requests, report.duration_s, report.achieved_rps), (3, Some(1.0), 3.0));
        assert_eq!((report.latency_ms.p50, report.latency_ms.max), (Some(20.0), Some(30.0)));
        assert_eq!(report.errors, [("5xx", 1), ("timeout", 1)].into());
        let report = parse(XML).unwrap();
        assert_eq!((report.requests, report.errors["failed"]), (2, 1));
        for bad in ["", "a,b\n1,2\n", "<a/>", "<testResults/>"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_cut_inside_a_line_is_an_error(at in 0..CSV.len(), there in 0..XML.len()) {
            if !CSV[..at].ends_with('\n') {
                proptest::prop_assert!(parse(&CSV[..at]).is_err());
            }
            cuts::refused(XML, there, parse)?;
        }
    }
}
