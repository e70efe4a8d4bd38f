//! hadolint's JSON: rule, level and line in a Dockerfile.

use serde::Deserialize;

use super::{Found, Scan, severity};
use crate::domain::verdict::Severity;
use crate::gates::import::{ImportError, json};

#[derive(Deserialize)]
struct Row {
    code: String,
    file: String,
    level: String,
    line: u32,
    message: String,
}

pub fn parse(text: &str) -> Result<Scan, ImportError> {
    let rows: Vec<Row> = json::read(text)?;
    let found = |row: Row| {
        Found::new(row.code, severity(&row.level).unwrap_or(Severity::Low), row.message).at(row.file, Some(row.line))
    };
    Ok(Scan::new("hadolint", None, rows.into_iter().map(found).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::import::cuts;

    /// The shape that 2.15.1 writes.
    const REPORT: &str = r#"[{"code":"DL3006","column":1,"file":"Dockerfile","level":"warning","line":1,"message":"Always tag the version"},
      {"code":"DL3015","column":1,"file":"Dockerfile","level":"info","line":2,"message":"Avoid additional packages"}]"#;

    #[test]
    fn levels_and_lines() {
        let scan = parse(REPORT).unwrap();
        let rows: Vec<_> = scan.findings.iter().map(|f| (f.rule.as_str(), f.severity, f.line)).collect();
        assert_eq!(rows, [("DL3006", Severity::Medium, Some(1)), ("DL3015", Severity::Info, Some(2))]);
        assert_eq!(parse("[]").unwrap().findings, []);
        assert!(parse("{}").is_err());
    }

    proptest::proptest! {
        #[test]
        fn every_cut_is_an_error(at in 0..REPORT.len()) {
            cuts::refused(REPORT, at, parse)?;
        }
    }
}
