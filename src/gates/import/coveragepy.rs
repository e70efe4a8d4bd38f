//! coverage.py's `coverage json`: executed and missing lines by file. Its own percentage mixes branches in where they
//! were measured; lines are lines here. Its time has no zone and is not believed.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Coverage, ImportError, json, slashes};

#[derive(Deserialize)]
struct Report {
    #[serde(rename = "meta")]
    _meta: Meta,
    files: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(rename = "version")]
    _version: String,
}

#[derive(Deserialize)]
struct Entry {
    executed_lines: Vec<u32>,
    missing_lines: Vec<u32>,
}

pub fn parse(text: &str) -> Result<Coverage, ImportError> {
    let read: Report = json::read(text)?;
    let mut report = Coverage::default();
    for (path, entry) in read.files {
        let file = slashes(&path);
        report.files.entry(file.clone()).or_default();
        let lines = entry.executed_lines.iter().map(|l| (*l, 1)).chain(entry.missing_lines.iter().map(|l| (*l, 0)));
        // Line 0 is what an empty file "executes" in old versions.
        for (line, hits) in lines.filter(|(line, _)| *line > 0) {
            report.add(&file, line, hits);
        }
    }
    if report.files.is_empty() { Err(ImportError::Empty("file")) } else { Ok(report) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::import::cuts;

    const REPORT: &str = r#"{"meta": {"format": 3, "version": "7.6.1", "timestamp": "2026-11-22T10:00:00.1", "branch_coverage": true},
      "files": {"shop/cart.py": {"executed_lines": [1, 2, 5], "summary": {"covered_lines": 3, "num_statements": 4},
                "missing_lines": [3], "excluded_lines": [8], "executed_branches": [[1, 2]], "missing_branches": []},
                "shop/__init__.py": {"executed_lines": [0], "missing_lines": [], "excluded_lines": []}},
      "totals": {"covered_lines": 3, "num_statements": 4, "percent_covered": 75.0}}"#;

    #[test]
    fn reads_lines() {
        let report = parse(REPORT).unwrap();
        assert_eq!(report.files["shop/cart.py"], [(1, 1), (2, 1), (3, 0), (5, 1)].into());
        assert!(report.files["shop/__init__.py"].is_empty());
        assert_eq!(report.made_at, None);
    }

    #[test]
    fn other_json_is_refused() {
        for bad in
            ["{}", r#"{"meta": {"version": "7"}, "files": {}}"#, r#"{"files": {"a.py": {"executed_lines": [1]}}}"#]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_cut_is_an_error(at in 0..REPORT.len()) {
            cuts::refused(REPORT, at, parse)?;
        }
    }
}
