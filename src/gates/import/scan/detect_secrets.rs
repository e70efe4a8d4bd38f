//! detect-secrets' baseline. Hashes of the secrets are not read: a short secret is guessed from its hash.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Found, Live, Scan, Standing};
use crate::domain::verdict::Severity;
use crate::gates::import::{ImportError, json};

#[derive(Deserialize)]
struct Baseline {
    version: String,
    results: BTreeMap<String, Vec<Row>>,
}

#[derive(Deserialize)]
struct Row {
    #[serde(rename = "type")]
    kind: String,
    line_number: Option<u32>,
    #[serde(default)]
    is_verified: bool,
    /// Set by its audit.
    is_secret: Option<bool>,
}

pub fn parse(text: &str) -> Result<Scan, ImportError> {
    let baseline: Baseline = json::read(text)?;
    let found = |file: &str, row: Row| {
        let severity = if row.kind.contains("Entropy") || row.kind == "Secret Keyword" {
            Severity::Medium
        } else {
            Severity::High
        };
        let mut out =
            Found::new(&row.kind, severity, format!("possible secret: {}", row.kind)).at(file, row.line_number);
        out.live = row.is_verified.then_some(Live::Yes);
        if row.is_secret == Some(false) { out.standing(Standing::FalsePositive) } else { out }
    };
    let rows =
        baseline.results.into_iter().flat_map(|(file, rows)| rows.into_iter().map(move |row| (file.clone(), row)));
    Ok(Scan::new("detect-secrets", Some(&baseline.version), rows.map(|(file, row)| found(&file, row)).collect()))
}

#[cfg(test)]
mod tests {
    use super::super::tells_nothing;
    use super::*;
    use crate::gates::import::cuts;

    /// The shape that 1.5.0 writes.
    const BASELINE: &str = r#"{"version": "1.5.0", "plugins_used": [{"name": "AWSKeyDetector"}], "filters_used": [],
      "results": {"src/a.py": [
        {"type": "AWS Access Key", "filename": "src/a.py", "hashed_secret": "4830bbcda08e19641b1f47a1696a1189f90f5dca", "is_verified": false, "line_number": 1},
        {"type": "Secret Keyword", "filename": "src/a.py", "hashed_secret": "c2427b83e5b433bcf700aac8753845a8f9f9c382", "is_verified": false, "line_number": 3, "is_secret": false}]},
      "generated_at": "2026-11-23T12:22:05Z"}"#;

    #[test]
    fn audited_rows_do_not_stand() {
        let scan = parse(BASELINE).unwrap();
        assert_eq!((scan.findings.len(), scan.open(), scan.version.as_deref()), (2, 1, Some("1.5.0")));
        tells_nothing(&scan, &["4830bbcd", "c2427b83"]);
        assert!(parse("{}").is_err());
    }

    proptest::proptest! {
        #[test]
        fn every_cut_is_an_error(at in 0..BASELINE.len()) {
            cuts::refused(BASELINE, at, parse)?;
        }
    }
}
