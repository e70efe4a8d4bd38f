//! gitleaks' JSON report. `Secret`, `Match` and the commit's message are not even read.

use serde::Deserialize;

use super::{Found, Scan};
use crate::domain::verdict::Severity;
use crate::gates::import::{ImportError, json};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    #[serde(rename = "RuleID")]
    rule: String,
    #[serde(default)]
    description: String,
    file: String,
    start_line: u32,
    commit: Option<String>,
}

pub fn parse(text: &str) -> Result<Scan, ImportError> {
    let rows: Vec<Row> = json::read(text)?;
    let found = |row: Row| {
        // git counts the lines of a patch from 0 where gitleaks counts none.
        let mut out = Found::new(row.rule, Severity::High, row.description).at(row.file, Some(row.start_line));
        out.commit = row.commit.filter(|c| !c.is_empty() && c.bytes().all(|b| b.is_ascii_hexdigit()));
        out
    };
    Ok(Scan::new("gitleaks", None, rows.into_iter().map(found).collect()))
}

#[cfg(test)]
mod tests {
    use super::super::tells_nothing;
    use super::*;
    use crate::gates::import::cuts;

    const REPORT: &str = r#"[{"RuleID": "generic-api-key", "Description": "Generic API Key", "StartLine": 3, "EndLine": 3,
      "Match": "key = \"hunter2hunter2\"", "Secret": "hunter2hunter2", "File": "src/a.py", "Commit": "9f3c2e19f3c2e19f3c2e19f3c2e19f3c2e19f3c2", "Entropy": 3.1,
      "Author": "A", "Email": "a@example.com", "Date": "2026-01-01T00:00:00Z", "Message": "add hunter2hunter2", "Tags": [], "Fingerprint": "x:src/a.py:generic-api-key:3"}]"#;

    #[test]
    fn contract_places_without_values() {
        let scan = parse(REPORT).unwrap();
        assert_eq!((scan.findings[0].rule.as_str(), scan.findings[0].line), ("generic-api-key", Some(3)));
        assert!(scan.findings[0].commit.as_ref().unwrap().starts_with("9f3c2e1"));
        tells_nothing(&scan, &["hunter2"]);
        assert_eq!(parse("[]").unwrap().findings, []);
        assert!(parse("{}").is_err() && parse("").is_err());
    }

    proptest::proptest! {
        #[test]
        fn every_cut_is_an_error(at in 0..REPORT.len()) {
            cuts::refused(REPORT, at, parse)?;
        }
    }
}
