//! `llvm-cov export` (and `cargo llvm-cov --json`): per file the segments from which llvm-cov paints lines, and its own
//! count of lines. That count is taken over (it counts a line once for each function on it, as the printed table does);
//! painting follows LLVM's `LineCoverageStats`.

use serde::Deserialize;

use super::counted::damaged;
use super::{Coverage, ImportError, Lines, Tally, json, slashes};

#[derive(Deserialize)]
struct Export {
    #[serde(rename = "type")]
    kind: String,
    data: Vec<Data>,
}

#[derive(Deserialize)]
struct Data {
    files: Vec<File>,
    #[serde(default)]
    totals: Totals,
}

#[derive(Default, Deserialize)]
struct Totals {
    lines: Option<Counts>,
}

#[derive(Deserialize)]
struct File {
    filename: String,
    #[serde(default)]
    segments: Vec<Segment>,
    summary: Option<Summary>,
}

#[derive(Deserialize)]
struct Summary {
    lines: Counts,
}

#[derive(Deserialize)]
struct Counts {
    count: u64,
    covered: u64,
}

/// `[line, column, count, has count, begins a region, is a gap]`; the last is missing in old versions.
#[derive(Debug, Clone, Copy)]
struct Segment {
    line: u32,
    count: u64,
    has_count: bool,
    entry: bool,
    gap: bool,
}

impl<'de> Deserialize<'de> for Segment {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Segment, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Row {
            New((u32, u32, f64, bool, bool, bool)),
            Old((u32, u32, f64, bool, bool)),
        }
        let (line, _, count, has_count, entry, gap) = match Row::deserialize(from)? {
            Row::New(row) => row,
            Row::Old((a, b, c, d, e)) => (a, b, c, d, e, false),
        };
        Ok(Segment { line, count: count.max(0.0) as u64, has_count, entry, gap })
    }
}

pub fn parse(text: &str) -> Result<Coverage, ImportError> {
    let export: Export = json::read(text)?;
    if export.kind != "llvm.coverage.json.export" {
        return Err(ImportError::at(1, "the type is not llvm.coverage.json.export"));
    }
    let mut report = Coverage::default();
    for data in &export.data {
        totals(data)?;
    }
    for file in export.data.into_iter().flat_map(|d| d.files) {
        let path = slashes(&file.filename);
        report.files.entry(path.clone()).or_default();
        for (line, hits) in paint(&file.segments)? {
            report.add(&path, line, hits);
        }
        if let Some(Summary { lines }) = file.summary {
            if lines.covered > lines.count {
                return Err(ImportError::at(1, format!("{} of {} lines covered", lines.covered, lines.count)));
            }
            report.tallies.insert(path, Tally { covered: lines.covered, total: lines.count });
        }
    }
    if report.files.is_empty() { Err(ImportError::Empty("file")) } else { Ok(report) }
}

/// The last lines of the report count what its files say.
fn totals(data: &Data) -> Result<(), ImportError> {
    let Some(own) = &data.totals.lines else { return Ok(()) };
    let own = Tally { covered: own.covered, total: own.count };
    let mut read = Tally::default();
    for Summary { lines } in data.files.iter().filter_map(|f| f.summary.as_ref()) {
        read.covered = read.covered.saturating_add(lines.covered);
        read.total = read.total.saturating_add(lines.count);
    }
    if own == read { Ok(()) } else { Err(damaged("all files together", own, read)) }
}

/// A source file of more lines is not one; a damaged segment would paint for hours.
const LINES_MAX: u32 = 1_000_000;

fn paint(segments: &[Segment]) -> Result<Lines, ImportError> {
    let mut lines = Lines::new();
    let Some(first) = segments.first() else { return Ok(lines) };
    if segments.iter().any(|s| s.line == 0 || s.line > LINES_MAX) || !segments.is_sorted_by_key(|s| s.line) {
        return Err(ImportError::at(1, "segments out of order"));
    }
    let (mut line, mut rest, mut wrapped) = (first.line, segments, None::<Segment>);
    while !rest.is_empty() {
        let here = rest.iter().take_while(|s| s.line == line).count();
        let (own, after) = rest.split_at(here);
        if let Some(hits) = hits(own, wrapped) {
            lines.insert(line, hits);
        }
        wrapped = own.last().copied().or(wrapped);
        (rest, line) = (after, line + 1);
    }
    Ok(lines)
}

/// `None`: no code on the line.
fn hits(own: &[Segment], wrapped: Option<Segment>) -> Option<u64> {
    let begins = |s: &&Segment| !s.gap && s.has_count && s.entry;
    let skipped = own.first().is_some_and(|s| !s.has_count && s.entry);
    let starts = own.iter().filter(begins).count();
    let mapped = (!skipped && (wrapped.is_some_and(|w| w.has_count) || starts > 0))
        || own.iter().any(|s| s.entry && s.has_count);
    let before = wrapped.map_or(0, |w| w.count);
    mapped.then(|| own.iter().filter(begins).map(|s| s.count).fold(before, u64::max))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::import::cuts;

    /// A function of lines 1 to 5 whose branch on line 3 never ran; line 7 has no code.
    const EXPORT: &str = r#"{"data": [{"files": [{"filename": "/ci/shop/src/cart.rs", "branches": [], "segments":
      [[1, 1, 4, true, true, false], [2, 10, 4, true, true, false], [2, 20, 4, true, false, false], [2, 21, 0, true, true, true],
       [3, 9, 0, true, true, false], [3, 15, 4, true, false, false], [5, 2, 0, false, false, false]],
      "summary": {"lines": {"count": 5, "covered": 4, "percent": 80}}}], "totals": {"lines": {"count": 5, "covered": 4}}}],
      "type": "llvm.coverage.json.export", "version": "2.0.1"}"#;

    #[test]
    fn paints_lines_and_keeps_the_count() {
        let report = parse(EXPORT).unwrap();
        assert_eq!(report.files["/ci/shop/src/cart.rs"], [(1, 4), (2, 4), (3, 0), (4, 4), (5, 4)].into());
        assert_eq!(report.tallies["/ci/shop/src/cart.rs"], Tally { covered: 4, total: 5 });
    }

    #[test]
    fn other_json_is_refused() {
        let order = r#"{"type": "llvm.coverage.json.export", "data": [{"files": [{"filename": "a", "segments":
            [[2, 1, 1, true, true], [1, 1, 1, true, true]]}]}]}"#;
        let not_the_sum = EXPORT.replacen("\"covered\": 4", "\"covered\": 2", 1);
        assert!(matches!(parse(&not_the_sum), Err(ImportError::Damaged(_))));
        for bad in ["{}", r#"{"type": "x", "data": []}"#, r#"{"type": "llvm.coverage.json.export", "data": []}"#, order]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_cut_is_an_error(at in 0..EXPORT.len()) {
            cuts::refused(EXPORT, at, parse)?;
        }
    }
}
