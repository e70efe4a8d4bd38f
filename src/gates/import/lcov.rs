//! lcov's tracefile (`geninfo(1)`): records from `SF:` to `end_of_record`, one `DA:line,hits` per line of code.
//! Written by lcov, c8, nyc, jest, vitest, coverage.py, cargo-llvm-cov and many more. `LF:` and `LH:` are the writer's own
//! count: held against the lines, and taken over where the writer counts otherwise (LLVM: a line once for each function
//! on it; coverlet: each row).

use super::counted::{Counts, damaged};
use super::{Coverage, ImportError, Lines, Tally, slashes};

/// Record types of lcov 1 and 2 that carry no line hits.
const OTHER_RECORDS: [&str; 12] = ["TN", "VER", "FN", "FNDA", "FNH", "FNL", "FNA", "BRDA", "BRH", "MCDC", "MCF", "MRF"];

/// One section of a file.
#[derive(Default)]
struct Record {
    file: String,
    lines: Lines,
    /// Rows, with those that repeat a line.
    rows: Tally,
    found: Option<u64>,
    hit: Option<u64>,
    /// What stood before what.
    functions_first: bool,
    branches_between: bool,
}

impl Record {
    /// The writer's own count.
    fn own(&self) -> Option<Tally> {
        Some(Tally { covered: self.hit?, total: self.found? })
    }

    /// `llvm-cov export` alone writes functions, lines, branches (since LLVM 12), count, in this order.
    fn is_llvm(&self) -> bool {
        self.functions_first && self.branches_between
    }
}

/// Reads a tracefile. Repeated `SF:` sections of one file are united.
pub fn parse(text: &str) -> Result<Coverage, ImportError> {
    let mut report = Coverage::default();
    let mut counts = Counts::default();
    let mut open: Option<Record> = None;
    let mut ended = false;
    let mut named = false;
    for (row, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let (number, line) = (row as u32 + 1, line.trim());
        let malformed = |what: &str| ImportError::at(number, format!("{what}: `{}`", excerpt(line)));
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line == "end_of_record" {
            let record = open.take().ok_or_else(|| malformed("end_of_record without SF"))?;
            close(&mut report, &mut counts, record)?;
            (ended, named) = (true, false);
            continue;
        }
        let (kind, value) = line.split_once(':').ok_or_else(|| malformed("not an lcov record"))?;
        if kind == "SF" {
            if let Some(open) = open {
                return Err(malformed(&format!("SF before the end_of_record of {}", excerpt(&open.file))));
            }
            open = Some(Record { file: slashes(value), ..Record::default() });
            continue;
        }
        let Some(record) = &mut open else {
            match kind {
                "TN" => named = true,
                "DA" => return Err(malformed("DA without SF")),
                other if is_other(other) => {}
                _ => return Err(malformed("unknown lcov record")),
            }
            continue;
        };
        let count = || value.trim().parse::<u64>().map_err(|_| malformed("not a count"));
        match kind {
            "DA" => {
                let mut parts = value.split(',');
                let line = parts.next().and_then(|n| n.trim().parse().ok()).filter(|n| *n > 0);
                let hits = parts.next().and_then(hits);
                let (Some(line), Some(hits)) = (line, hits) else { return Err(malformed("not `DA:line,hits`")) };
                let seen = record.lines.entry(line).or_insert(0);
                *seen = (*seen).max(hits);
                record.rows.total += 1;
                record.rows.covered += u64::from(hits > 0);
            }
            "LF" => record.found = Some(count()?),
            "LH" => record.hit = Some(count()?),
            "FNF" => record.functions_first = record.rows.total == 0,
            "BRF" => record.branches_between = record.rows.total > 0 && record.found.is_none(),
            other if is_other(other) => {}
            _ => return Err(malformed("unknown lcov record")),
        }
    }
    match open {
        Some(open) => Err(ImportError::CutShort(format!("the record of {}", excerpt(&open.file)))),
        None if !ended => Err(ImportError::Empty("SF record")),
        None if named => Err(ImportError::CutShort("a TN that no SF follows".into())),
        None => counts.settle(&mut report).map(|()| report),
    }
}

fn is_other(kind: &str) -> bool {
    OTHER_RECORDS.contains(&kind) || matches!(kind, "FNF" | "BRF" | "LF" | "LH" | "MRH")
}

/// A record that ended: its lines count, and so does its writer's word on them.
fn close(report: &mut Coverage, counts: &mut Counts, record: Record) -> Result<(), ImportError> {
    let file = record.file.as_str();
    let before = report.files.contains_key(file);
    let covered = record.lines.values().filter(|hits| **hits > 0).count() as u64;
    let read = Tally { covered, total: record.lines.len() as u64 };
    report.files.entry(file.to_string()).or_default();
    for (line, hits) in &record.lines {
        report.add(file, *line, *hits);
    }
    // United lines have no count but their own.
    report.tallies.remove(file);
    let Some(own) = record.own() else { return Ok(()) };
    if own == read || own != record.rows && !record.is_llvm() {
        counts.add(file, own, read);
    } else if own.covered > own.total {
        return Err(damaged(file, own, read));
    } else if !before {
        report.tallies.insert(file.to_string(), own);
    }
    Ok(())
}

/// Counts may be negative (a compiler's bug: never hit) or in exponent form.
fn hits(text: &str) -> Option<u64> {
    let value: f64 = text.trim().parse().ok()?;
    value.is_finite().then_some(value.max(0.0) as u64)
}

fn excerpt(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As c8 writes it.
    const C8: &str = "TN:\nSF:src/cart.js\nFN:1,total\nFNF:1\nFNH:1\nFNDA:1,total\nDA:1,1\nDA:2,0\nLF:2\nLH:1\n\
                      BRDA:1,0,0,1\nBRF:1\nBRH:1\nend_of_record\n";

    #[test]
    fn reads_lines_and_unites_sections() {
        let report = parse(C8).unwrap();
        assert_eq!(report.files["src/cart.js"], [(1, 1), (2, 0)].into());
        let twice = format!("{C8}SF:src\\cart.js\nDA:2,1e3\nDA:3,-1,md5\nend_of_record\n");
        assert_eq!(parse(&twice).unwrap().files["src/cart.js"], [(1, 1), (2, 1000), (3, 0)].into());
    }

    #[test]
    fn the_writers_own_count_is_held_against_the_lines() {
        for (from, to) in [("DA:2,0", "DA:2,7"), ("LF:2", "LF:3"), ("LH:1", "LH:0")] {
            let error = parse(&C8.replace(from, to)).unwrap_err();
            assert!(error.to_string().starts_with("damaged: of src/cart.js it counts "), "{to}: {error}");
        }
        // coverlet: a line of two methods is two rows, and counts twice.
        let coverlet = "SF:a.cs\nFNF:1\nFNH:1\nDA:1,1\nDA:1,1\nDA:2,0\nLF:3\nLH:2\nBRF:0\nBRH:0\nend_of_record\n";
        assert_eq!(parse(coverlet).unwrap().tally("a.cs"), Tally { covered: 2, total: 3 });
    }

    #[test]
    fn llvm_counts_a_line_once_for_each_function() {
        let llvm = "SF:box.hpp\nFN:4,a\nFN:9,b\nFNDA:1,a\nFNF:2\nFNH:1\nDA:4,1\nDA:5,1\nDA:9,0\nBRF:0\nBRH:0\nLF:4\nLH:3\nend_of_record\n";
        assert_eq!(parse(llvm).unwrap().tally("box.hpp"), Tally { covered: 3, total: 4 });
        assert!(parse(&llvm.replace("LH:3", "LH:5")).is_err());
        // Sections that are united are counted by their lines.
        assert_eq!(parse(&format!("{llvm}{llvm}")).unwrap().tally("box.hpp"), Tally { covered: 2, total: 3 });
    }

    #[test]
    fn a_file_without_code_is_still_mentioned() {
        assert!(parse("SF:shop/__init__.py\nend_of_record\n").unwrap().files["shop/__init__.py"].is_empty());
    }

    #[test]
    fn every_cut_is_noticed() {
        // A cut inside the last line may only lose what does not count.
        let body = C8.trim_end();
        for end in "TN:\n".len()..body.len() {
            assert!(parse(&body[..end]).is_err(), "{:?}", &body[..end]);
        }
        let two = format!("{C8}{C8}");
        assert!(parse(&two[..C8.len() + "TN:\n".len()]).is_err());
    }

    #[test]
    fn bad_input_names_its_line() {
        for (text, line) in [
            ("hello\n", 1),
            ("SF:a\nDA:x,1\nend_of_record\n", 2),
            ("SF:a\nDA:1\nend_of_record\n", 2),
            ("DA:1,1\n", 1),
            ("SF:a\nSF:b\n", 2),
            ("SF:a\nDA:0,1\nend_of_record\n", 2),
            ("TN:\nend_of_record\n", 2),
        ] {
            assert!(matches!(parse(text), Err(ImportError::Malformed { line: l, .. }) if l == line), "{text}");
        }
        assert_eq!(parse(""), Err(ImportError::Empty("SF record")));
    }

    proptest::proptest! {
        #[test]
        fn never_panics_and_round_trips(lines in proptest::collection::btree_map(1u32..500, 0u64..1_000_000, 0..50), noise: String) {
            let _ = parse(&noise);
            let body: String = lines.iter().map(|(l, h)| format!("DA:{l},{h}\n")).collect();
            let report = parse(&format!("SF:a.c\n{body}end_of_record\n")).unwrap();
            proptest::prop_assert_eq!(&report.files["a.c"], &lines);
        }
    }
}
