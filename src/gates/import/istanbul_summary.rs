//! istanbul's `coverage-summary.json`: totals per file and no line, so nothing can be united with it or held against
//! changed lines. A gate that has nothing better says so.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::counted::damaged;
use super::{Coverage, ImportError, Tally, json, slashes};

#[derive(Deserialize)]
struct Entry {
    lines: Counts,
}

#[derive(Deserialize)]
struct Counts {
    total: u64,
    covered: u64,
}

pub fn parse(text: &str) -> Result<Coverage, ImportError> {
    let entries: BTreeMap<String, Entry> = json::read(text)?;
    let mut report = Coverage::default();
    for (file, Entry { lines }) in entries.iter().filter(|(file, _)| *file != "total") {
        if lines.covered > lines.total {
            return Err(ImportError::at(1, format!("{} of {} lines covered", lines.covered, lines.total)));
        }
        let tally = Tally { covered: lines.covered, total: lines.total };
        report.files.entry(slashes(file)).or_default();
        report.tallies.insert(slashes(file), tally);
    }
    if report.files.is_empty() {
        return Err(ImportError::Empty("file"));
    }
    if let Some(Entry { lines: own }) = entries.get("total") {
        let sum = |of: fn(&Tally) -> u64| report.tallies.values().map(of).fold(0, u64::saturating_add);
        let read = Tally { covered: sum(|t| t.covered), total: sum(|t| t.total) };
        let own = Tally { covered: own.covered, total: own.total };
        if own != read {
            return Err(damaged("all files together", own, read));
        }
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::import::cuts;

    const NYC: &str = r#"{"total": {"lines": {"total": 6, "covered": 5, "skipped": 0, "pct": 83.33}},
      "/ci/shop/src/cart.js": {"lines": {"total": 6, "covered": 5, "skipped": 0, "pct": 83.33}, "branches": {"pct": 0}},
      "/ci/shop/src/empty.js": {"lines": {"total": 0, "covered": 0, "skipped": 0, "pct": "Unknown"}}}"#;

    #[test]
    fn reads_totals_per_file() {
        let report = parse(NYC).unwrap();
        assert_eq!(report.tallies["/ci/shop/src/cart.js"], Tally { covered: 5, total: 6 });
        assert_eq!(report.files.len(), 2);
        assert!(report.files.values().all(|lines| lines.is_empty()));
    }

    #[test]
    fn other_json_is_refused() {
        let only_total = r#"{"total": {"lines": {"total": 6, "covered": 5}}}"#;
        let more_than_all = r#"{"a.js": {"lines": {"total": 5, "covered": 6}}}"#;
        let not_the_sum = NYC.replacen("\"covered\": 5", "\"covered\": 3", 1);
        assert!(matches!(parse(&not_the_sum), Err(ImportError::Damaged(_))));
        for bad in ["{}", "[]", r#"{"a.js": {}}"#, only_total, more_than_all] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_cut_is_an_error(at in 0..NYC.len()) {
            cuts::refused(NYC, at, parse)?;
        }
    }
}
