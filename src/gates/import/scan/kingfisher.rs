//! kingfisher's JSON. Snippets, captures and the commands it suggests all hold the secret: none of them is read.

use serde::Deserialize;

use super::{Found, Live, Scan, severity};
use crate::domain::verdict::Severity;
use crate::gates::import::{ImportError, json};

#[derive(Deserialize)]
struct Report {
    findings: Vec<Row>,
}

/// It prints its statistics as a document of their own after the report.
#[derive(Deserialize)]
struct Statistics {
    kingfisher: Option<Versions>,
}

#[derive(Deserialize)]
struct Versions {
    version_used: Option<String>,
}

#[derive(Deserialize)]
struct Row {
    rule: Rule,
    finding: Finding,
}

#[derive(Deserialize)]
struct Rule {
    id: String,
    name: String,
}

#[derive(Deserialize)]
struct Finding {
    path: String,
    line: Option<u32>,
    confidence: Option<String>,
    validation: Option<Validation>,
}

#[derive(Deserialize)]
struct Validation {
    status: String,
}

pub fn parse(text: &str) -> Result<Scan, ImportError> {
    let text = text.trim_start_matches('\u{feff}').trim();
    // One line a document; a single report may also be spread over many lines.
    let (report, rest) = match text.split_once('\n').filter(|(first, _)| first.ends_with('}')) {
        Some((first, rest)) => (first, rest),
        None => (text, ""),
    };
    let report: Report = json::read(report)?;
    let version = if rest.trim().is_empty() {
        None
    } else {
        json::read::<Statistics>(rest)?.kingfisher.and_then(|v| v.version_used)
    };
    Ok(Scan::new("kingfisher", version.as_deref(), report.findings.into_iter().map(found).collect()))
}

fn found(row: Row) -> Found {
    let confident = row.finding.confidence.as_deref().and_then(severity);
    let live = row.finding.validation.map(|v| v.status.to_ascii_lowercase());
    let live = match live.as_deref() {
        Some(s) if s.starts_with("active") => Live::Yes,
        Some(s) if s.starts_with("inactive") => Live::No,
        _ => Live::Unknown,
    };
    let severity = if live == Live::Yes { Severity::Critical } else { confident.unwrap_or(Severity::Medium) };
    let mut out = Found::new(row.rule.id, severity, row.rule.name).at(row.finding.path, row.finding.line);
    out.live = Some(live);
    out
}

#[cfg(test)]
mod tests {
    use super::super::tells_nothing;
    use super::*;
    use crate::gates::import::cuts;

    /// The shape that 2.14.0 writes.
    const REPORT: &str = r#"{"findings":[{"rule":{"title":"T","name":"aws-access-token","id":"betterleaks.aws-access-token","description":"d"},"finding":{"dependent_captures":{"K":"hunter2hunter2"},"snippet":"hunter2hunter2","fingerprint":"1","confidence":"high","entropy":"3.92","validation":{"outcome":"not_attempted","status":"Not Attempted","response":"hunter2hunter2"},"language":"Python","line":1,"path":"./src/a.py","validate_command":"kingfisher validate hunter2hunter2"}}],"audit":{}}"#;

    #[test]
    fn places_without_values() {
        let scan = parse(REPORT).unwrap();
        let found = &scan.findings[0];
        assert_eq!(
            (found.rule.as_str(), found.file.as_deref(), found.line),
            ("betterleaks.aws-access-token", Some("src/a.py"), Some(1))
        );
        assert_eq!((found.severity, found.live), (Severity::High, Some(Live::Unknown)));
        tells_nothing(&scan, &["hunter2"]);
        let both = format!("{REPORT}\n{{\"findings\":1,\"kingfisher\":{{\"version_used\":\"2.14.0\"}}}}\n");
        assert_eq!(parse(&both).unwrap().version.as_deref(), Some("2.14.0"));
        assert!(parse(r#"{"findings":1,"kingfisher":{}}"#).is_err());
    }

    proptest::proptest! {
        #[test]
        fn every_cut_is_an_error(at in 0..REPORT.len()) {
            cuts::refused(REPORT, at, parse)?;
        }
    }
}
