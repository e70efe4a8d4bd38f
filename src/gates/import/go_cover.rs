//! Go's cover profile (`go test -coverprofile`): after `mode:`, one line a block,
//! `import/path/file.go:12.34,15.2 statements count`. Go weighs by statements, so the figure here does too; the lines a
//! block spans serve for changed lines. Tests of several packages repeat blocks: the best count stands.

use super::{Block, Coverage, ImportError};

const MODES: [&str; 3] = ["set", "count", "atomic"];

pub fn parse(text: &str) -> Result<Coverage, ImportError> {
    let text = text.trim_start_matches('\u{feff}');
    let mut report = Coverage::default();
    let mut mode = false;
    for (row, line) in text.lines().enumerate() {
        let malformed = |what: &str| ImportError::at(row as u32 + 1, what);
        // Profiles that were put together repeat the first line.
        if let Some(said) = line.strip_prefix("mode: ") {
            mode = MODES.contains(&said.trim());
            if !mode {
                return Err(malformed("not a mode of Go's cover tool"));
            }
            continue;
        }
        if line.trim().is_empty() {
            continue;
        }
        if !mode {
            return Err(malformed("a cover profile begins with `mode:`"));
        }
        let (file, block, statements, hits) =
            entry(line).ok_or_else(|| malformed("not `file.go:line.column,line.column statements count`"))?;
        for line in block.0..=block.2 {
            report.add(file, line, hits);
        }
        let seen = report.blocks.entry(file.to_string()).or_default().entry(block).or_insert((statements, 0));
        seen.1 = seen.1.max(hits);
    }
    // Go ends every line; a cut between two lines shows only in the sources (the gate looks there).
    if !text.is_empty() && !text.ends_with('\n') {
        return Err(ImportError::CutShort("a line".into()));
    }
    if report.blocks.is_empty() { Err(ImportError::Empty("block")) } else { Ok(report) }
}

/// Longer blocks are a damaged line, not a function.
const BLOCK_LINES_MAX: u32 = 100_000;

fn entry(line: &str) -> Option<(&str, Block, u64, u64)> {
    let (rest, hits) = line.rsplit_once(' ')?;
    let (rest, statements) = rest.rsplit_once(' ')?;
    let (file, range) = rest.rsplit_once(':')?;
    let (from, to) = range.split_once(',')?;
    let place = |text: &str| -> Option<(u32, u32)> {
        let (line, column) = text.split_once('.')?;
        Some((line.parse().ok().filter(|l| *l > 0)?, column.parse().ok()?))
    };
    let ((a, b), (c, d)) = (place(from)?, place(to)?);
    let sane = !file.is_empty() && (a, b) <= (c, d) && c - a <= BLOCK_LINES_MAX;
    sane.then_some((file, (a, b, c, d), statements.parse().ok()?, hits.trim_end().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::import::{Tally, cuts};

    const PROFILE: &str = "mode: set\nexample.com/shop/cart/cart.go:5.27,7.2 2 1\n\
        example.com/shop/cart/cart.go:7.2,9.3 1 0\nexample.com/shop/cart/cart.go:7.2,9.3 1 1\nexample.com/shop/main.go:3.13,4.2 3 0\n";

    #[test]
    fn counts_statements_and_keeps_lines() {
        let report = parse(PROFILE).unwrap();
        assert_eq!(report.files["example.com/shop/cart/cart.go"], [(5, 1), (6, 1), (7, 1), (8, 1), (9, 1)].into());
        assert_eq!(report.tally("example.com/shop/cart/cart.go"), Tally { covered: 3, total: 3 });
        assert_eq!(report.tally("example.com/shop/main.go"), Tally { covered: 0, total: 3 });
    }

    #[test]
    fn bad_input_names_its_line() {
        for (text, line) in [
            ("a.go:1.1,2.2 1 1\n", 1),
            ("mode: other\n", 1),
            ("mode: set\na.go:1.1 1 1\n", 2),
            ("mode: set\na.go:0.1,2.2 1 1\n", 2),
            ("mode: set\na.go:3.1,2.2 1 1\n", 2),
            ("mode: set\na.go:1.1,4000000000.2 1 1\n", 2),
            ("mode: set\na.go:1.1,2.2 1 x\n", 2),
        ] {
            assert!(matches!(parse(text), Err(ImportError::Malformed { line: l, .. }) if l == line), "{text}");
        }
        assert_eq!(parse("mode: set\n"), Err(ImportError::Empty("block")));
    }

    proptest::proptest! {
        #[test]
        fn every_cut_inside_a_line_is_an_error(at in 0..PROFILE.len()) {
            if !PROFILE[..at].ends_with('\n') || at <= "mode: set\n".len() {
                cuts::refused(PROFILE, at, parse)?;
            }
        }

        #[test]
        fn never_panics(noise: String) {
            let _ = parse(&noise);
            let _ = parse(&format!("mode: set\n{noise}"));
        }
    }
}
