//! coverage.py's `coverage json`: executed and missing lines by file. Its own percentage mixes branches in where they
//! were measured; lines are lines here. Its time has no zone and is not believed; its summary is held
//! against the lines.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::counted::damaged;
use super::{Coverage, ImportError, Tally, json, slashes};

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
    #[serde(default)]
    excluded_lines: Vec<u32>,
    summary: Summary,
}

#[derive(Deserialize)]
struct Summary {
    covered_lines: u64,
    num_statements: u64,
}

pub fn parse(text: &str) -> Result<Coverage, ImportError> {
    let read: Report = json::read(text)?;
    let mut report = Coverage::default();
    for (path, entry) in read.files {
        let file = slashes(&path);
        report.files.entry(file.clone()).or_default();
        // Line 0 is what an empty file "executes" in old versions.
        let counts = |line: &&u32| **line > 0 && !entry.excluded_lines.contains(line);
        let executed: BTreeSet<u32> = entry.executed_lines.iter().filter(counts).copied().collect();
        let missing: BTreeSet<u32> = entry.missing_lines.iter().copied().collect();
        let lines = executed.iter().map(|l| (*l, 1)).chain(missing.iter().map(|l| (*l, 0)));
        lines.for_each(|(line, hits)| report.add(&file, line, hits));
        let Summary { covered_lines: covered, num_statements: total } = entry.summary;
        let own = Tally { covered, total };
        // Before 7.11 docstrings are executed too, and are no statements: the summary alone leaves them out.
        let whole = covered.checked_add(missing.len() as u64) == Some(total) && executed.len() as u64 >= covered;
        if !whole || !executed.is_disjoint(&missing) {
            return Err(damaged(&file, own, report.lines(&file)));
        }
        if executed.len() as u64 != covered {
            report.tallies.insert(file, own);
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
                "shop/__init__.py": {"executed_lines": [0], "missing_lines": [], "excluded_lines": [],
                "summary": {"covered_lines": 0, "num_statements": 0}}},
      "totals": {"covered_lines": 3, "num_statements": 4, "percent_covered": 75.0}}"#;

    #[test]
    fn reads_lines() {
        let report = parse(REPORT).unwrap();
        assert_eq!(report.files["shop/cart.py"], [(1, 1), (2, 1), (3, 0), (5, 1)].into());
        assert!(report.files["shop/__init__.py"].is_empty());
        assert_eq!(report.made_at, None);
    }

    #[test]
    fn executed_docstrings_are_no_statements() {
        let docstring = REPORT.replacen("[1, 2, 5]", "[1, 2, 5, 9]", 1);
        assert_eq!(parse(&docstring).unwrap().tally("shop/cart.py"), Tally { covered: 3, total: 4 });
    }

    #[test]
    fn the_summary_is_held_against_the_lines() {
        for (from, to) in [("[1, 2, 5]", "[1, 2, 3]"), (r#""missing_lines": [3]"#, r#""missing_lines": []"#)] {
            assert!(matches!(parse(&REPORT.replacen(from, to, 1)), Err(ImportError::Damaged(_))), "{to}");
        }
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
