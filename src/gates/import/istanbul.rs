//! istanbul's `coverage-final.json`, as nyc, jest, vitest and c8 write it: statements with their places and counts. A
//! line is hit as often as the statement on it that ran most, which is how istanbul itself counts lines.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Coverage, ImportError, json, slashes};

#[derive(Deserialize)]
struct Entry {
    path: Option<String>,
    #[serde(rename = "statementMap")]
    places: BTreeMap<String, Place>,
    #[serde(rename = "s")]
    counts: BTreeMap<String, f64>,
}

/// Older writers wrap the entry once more.
#[derive(Deserialize)]
#[serde(untagged)]
enum Wrapped {
    Plain(Entry),
    Data { data: Entry },
}

#[derive(Deserialize)]
struct Place {
    start: Position,
}

#[derive(Deserialize)]
struct Position {
    line: u32,
}

pub fn parse(text: &str) -> Result<Coverage, ImportError> {
    let entries: BTreeMap<String, Wrapped> = json::read(text)?;
    let mut report = Coverage::default();
    for (key, entry) in entries {
        let (Wrapped::Plain(entry) | Wrapped::Data { data: entry }) = entry;
        let file = slashes(entry.path.as_deref().unwrap_or(&key));
        report.files.entry(file.clone()).or_default();
        if entry.counts.len() != entry.places.len() {
            let (places, counts) = (entry.places.len(), entry.counts.len());
            return Err(ImportError::Damaged(format!("{places} statements and {counts} counts")));
        }
        for (id, place) in &entry.places {
            let hits = entry.counts.get(id).ok_or_else(|| ImportError::at(1, "a statement without a count"))?;
            report.add(&file, place.start.line, hits.max(0.0) as u64);
        }
    }
    if report.files.is_empty() { Err(ImportError::Empty("file")) } else { Ok(report) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::import::cuts;

    /// Two statements share line 4; the one that ran counts.
    const NYC: &str = r#"{"/ci/shop/src/cart.js": {"path": "/ci/shop/src/cart.js",
      "statementMap": {"0": {"start": {"line": 2, "column": 2}, "end": {"line": 2, "column": null}},
                       "1": {"start": {"line": 4, "column": 2}, "end": {"line": 9, "column": 3}},
                       "2": {"start": {"line": 4, "column": 14}, "end": {"line": 4, "column": 20}}},
      "fnMap": {}, "branchMap": {}, "s": {"0": 3, "1": 0, "2": 1}, "f": {}, "b": {}},
      "C:\\shop\\src\\empty.js": {"path": "C:\\shop\\src\\empty.js", "statementMap": {}, "s": {}}}"#;

    #[test]
    fn a_line_is_hit_by_its_best_statement() {
        let report = parse(NYC).unwrap();
        assert_eq!(report.files["/ci/shop/src/cart.js"], [(2, 3), (4, 1)].into());
        assert!(report.files["C:/shop/src/empty.js"].is_empty());
        let old =
            r#"{"a.js": {"data": {"path": "a.js", "statementMap": {"0": {"start": {"line": 1}}}, "s": {"0": 0}}}}"#;
        assert_eq!(parse(old).unwrap().files["a.js"], [(1, 0)].into());
    }

    #[test]
    fn other_json_is_refused() {
        for bad in ["{}", "[]", r#"{"a": 1}"#, r#"{"a.js": {"statementMap": {"0": {"start": {"line": 1}}}, "s": {}}}"#]
        {
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
