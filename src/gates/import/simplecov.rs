//! SimpleCov's `.resultset.json` (the runs of each command) and `coverage.json` (its JSON formatter): a count for each line,
//! `null` where there is no code. Runs are added up. Lines between `# :nocov:` stand in the result set all the same; whoever
//! has the sources takes them out.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Coverage, ImportError, json, slashes};
use crate::domain::clock::Timestamp;

#[derive(Deserialize)]
struct Run {
    coverage: BTreeMap<String, Entry>,
    timestamp: Option<f64>,
}

/// The JSON formatter's document.
#[derive(Deserialize)]
struct Formatted {
    #[serde(rename = "meta")]
    _meta: Meta,
    coverage: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(rename = "simplecov_version")]
    _version: String,
}

/// Before 0.18 the lines stood by themselves.
#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Lines { lines: Vec<Count> },
    Old(Vec<Count>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Count {
    Hits(u64),
    /// No code.
    None(()),
    /// `"ignored"`: between `:nocov:`.
    Word(String),
}

pub fn parse(text: &str) -> Result<Coverage, ImportError> {
    let mut report = Coverage::default();
    // By what only one of the two has; errors are those of the other.
    if text.contains("\"simplecov_version\"") {
        let read: Formatted = json::read(text)?;
        add(&mut report, read.coverage)?;
    } else {
        let runs: BTreeMap<String, Run> = json::read(text)?;
        for run in runs.into_values() {
            let at = run.timestamp.filter(|at| at.is_finite() && *at > 0.0).map(Timestamp::from_seconds);
            // The oldest run dates the whole.
            report.made_at = report.made_at.into_iter().chain(at).min();
            add(&mut report, run.coverage)?;
        }
    }
    if report.files.is_empty() { Err(ImportError::Empty("file")) } else { Ok(report) }
}

fn add(report: &mut Coverage, files: BTreeMap<String, Entry>) -> Result<(), ImportError> {
    for (path, entry) in files {
        let (Entry::Lines { lines } | Entry::Old(lines)) = entry;
        let seen = report.files.entry(slashes(&path)).or_default();
        for (number, count) in (1..).zip(lines) {
            match count {
                Count::Hits(hits) => {
                    let sum = seen.entry(number).or_insert(0);
                    *sum = sum.saturating_add(hits);
                }
                Count::Word(word) if word != "ignored" => {
                    return Err(ImportError::at(1, "a line that is neither a count nor `ignored`"));
                }
                Count::None(()) | Count::Word(_) => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::import::cuts;

    const RESULTS: &str = r#"{"RSpec": {"coverage": {"/ci/shop/lib/cart.rb": {"lines": [1, null, 0, 3], "branches": {}},
      "/ci/shop/lib/old.rb": [null, 2]}, "timestamp": 1795458297},
      "Minitest": {"coverage": {"/ci/shop/lib/cart.rb": {"lines": [1, null, 2, 0]}}, "timestamp": 1795458200}}"#;

    #[test]
    fn runs_are_added_up() {
        let report = parse(RESULTS).unwrap();
        assert_eq!(report.files["/ci/shop/lib/cart.rb"], [(1, 2), (3, 2), (4, 3)].into());
        assert_eq!(report.files["/ci/shop/lib/old.rb"], [(2, 2)].into());
        assert_eq!(report.made_at, Some(Timestamp::from_ms(1_795_458_200_000)));
        let formatted = r#"{"meta": {"simplecov_version": "0.22.0"}, "coverage": {"/ci/a.rb": {"lines": [1, 0, "ignored", null],
            "branches": []}}, "groups": {}}"#;
        assert_eq!(parse(formatted).unwrap().files["/ci/a.rb"], [(1, 1), (2, 0)].into());
        assert!(parse(&formatted.replace("ignored", "ignoreD")).is_err());
    }

    #[test]
    fn other_json_is_refused() {
        for bad in ["{}", "[]", r#"{"RSpec": {}}"#, r#"{"RSpec": {"coverage": {"a.rb": {"lines": [-1]}}}}"#] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_cut_is_an_error(at in 0..RESULTS.len()) {
            cuts::refused(RESULTS, at, parse)?;
        }
    }
}
