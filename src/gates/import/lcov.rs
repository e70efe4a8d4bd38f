//! lcov's tracefile (`geninfo(1)`): records from `SF:` to `end_of_record`, one `DA:line,hits` per line of code.
//! Written by lcov, c8, nyc, jest, vitest, coverage.py, cargo-llvm-cov and many more.

use super::{Coverage, ImportError, slashes};

/// Record types of lcov 1 and 2 that carry no line hits.
const OTHER_RECORDS: [&str; 17] = [
    "TN", "VER", "FN", "FNDA", "FNF", "FNH", "FNL", "FNA", "BRDA", "BRF", "BRH", "LF", "LH", "MCDC", "MCF", "MRF",
    "MRH",
];

/// Reads a tracefile. Repeated `SF:` sections of one file are united.
pub fn parse(text: &str) -> Result<Coverage, ImportError> {
    let mut report = Coverage::default();
    let mut file: Option<String> = None;
    let mut ended = false;
    for (row, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let (number, line) = (row as u32 + 1, line.trim());
        let malformed = |what: &str| ImportError::at(number, format!("{what}: `{}`", excerpt(line)));
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line == "end_of_record" {
            file.take().ok_or_else(|| malformed("end_of_record without SF"))?;
            ended = true;
            continue;
        }
        let (kind, value) = line.split_once(':').ok_or_else(|| malformed("not an lcov record"))?;
        match kind {
            "SF" => {
                if let Some(open) = file {
                    return Err(malformed(&format!("SF before the end_of_record of {}", excerpt(&open))));
                }
                let path = slashes(value);
                report.files.entry(path.clone()).or_default();
                file = Some(path);
            }
            "DA" => {
                let path = file.as_deref().ok_or_else(|| malformed("DA without SF"))?;
                let mut parts = value.split(',');
                let line = parts.next().and_then(|n| n.trim().parse().ok()).filter(|n| *n > 0);
                let hits = parts.next().and_then(hits);
                let (Some(line), Some(hits)) = (line, hits) else { return Err(malformed("not `DA:line,hits`")) };
                report.add(path, line, hits);
            }
            other if OTHER_RECORDS.contains(&other) => {}
            _ => return Err(malformed("unknown lcov record")),
        }
    }
    match file {
        Some(open) => Err(ImportError::CutShort(format!("the record of {}", excerpt(&open)))),
        None if !ended => Err(ImportError::Empty("SF record")),
        None => Ok(report),
    }
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
