//! TAP, versions 12 to 14: a plan, and `ok` or `not ok` for each test. Subtests are indented and sum up in the line that
//! follows them. A stream with fewer tests than planned was cut short; `Bail out!` is a failure.

use super::ImportError;
use super::junit::{CaseResult, FailedCase, NamedCase, TestRun};
use super::scan::clean;

/// Listed at most; the count goes on.
const FAILED_MAX: usize = 100;

pub fn parse(text: &str) -> Result<TestRun, ImportError> {
    read(text, |_| {})
}

/// Every test of the outermost level.
pub fn cases(text: &str) -> Result<Vec<NamedCase>, ImportError> {
    let mut cases = Vec::new();
    read(text, |case| cases.push(case))?;
    Ok(cases)
}

fn read(text: &str, mut on: impl FnMut(NamedCase)) -> Result<TestRun, ImportError> {
    let mut run = TestRun::default();
    let mut plan: Option<u64> = None;
    let mut is_tap = false;
    let mut in_block = false;
    for (row, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let malformed = |what: &str| ImportError::at(row as u32 + 1, what);
        // A YAML block belongs to the test above, an indented line to a subtest.
        match line.trim() {
            "---" if line.starts_with(' ') => in_block = true,
            "..." if in_block => in_block = false,
            _ => {}
        }
        if in_block || line.starts_with([' ', '\t']) {
            continue;
        }
        if line.starts_with("TAP version ") {
            is_tap = true;
        } else if let Some(count) = line.strip_prefix("1..") {
            let count = count.split_whitespace().next().unwrap_or_default();
            plan = Some(count.parse().map_err(|_| malformed("not a plan: `1..N`"))?);
        } else if line.starts_with("Bail out!") {
            fail(&mut run, clean(line));
        } else if let Some((passed, rest)) = test(line) {
            is_tap = true;
            run.tests += 1;
            let (name, directive) = rest.split_once(" # ").unwrap_or((rest, ""));
            let directive = directive.to_ascii_uppercase();
            let name = name.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ' || c == '-');
            // What is marked TODO may fail, and proves nothing when it passes.
            let open = directive.starts_with("SKIP") || directive.starts_with("TODO");
            let result = match passed {
                _ if open => CaseResult::Skipped,
                true => CaseResult::Passed,
                false => CaseResult::Failed,
            };
            on(NamedCase { title: clean(name), file: None, result, flaky: false, message: String::new() });
            if directive.starts_with("SKIP") {
                run.skipped += 1;
            } else if !passed && !directive.starts_with("TODO") {
                fail(&mut run, clean(name));
            }
        }
    }
    match plan {
        None if is_tap => Err(ImportError::CutShort("the stream, before its plan".into())),
        None => Err(ImportError::Empty("plan: this is not TAP")),
        Some(planned) if planned > run.tests && run.failures == 0 => {
            Err(ImportError::CutShort(format!("the stream: {} of {planned} tests", run.tests)))
        }
        Some(_) => Ok(run),
    }
}

fn test(line: &str) -> Option<(bool, &str)> {
    let (passed, rest) = match line.strip_prefix("not ok") {
        Some(rest) => (false, rest),
        None => (true, line.strip_prefix("ok")?),
    };
    (rest.is_empty() || rest.starts_with(' ')).then(|| (passed, rest.trim_start()))
}

fn fail(run: &mut TestRun, name: String) {
    run.failures += 1;
    if run.failed.len() < FAILED_MAX {
        run.failed.push(FailedCase { name, file: None, message: String::new() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As node --test-reporter=tap prints it.
    const NODE: &str = "TAP version 13\n# Subtest: cart\n    # Subtest: adds\n    ok 1 - adds\n      ---\n      duration_ms: 1\n      ...\n    1..1\nok 1 - cart\n  ---\n  duration_ms: 2\n  ...\n# Subtest: pay\nnot ok 2 - pay\n  ---\n  error: 'no'\n  ...\nok 3 - old # SKIP later\nnot ok 4 - soon # TODO\n1..4\n# tests 4\n";

    #[test]
    fn plans_directives_and_subtests() {
        let run = parse(NODE).unwrap();
        assert_eq!((run.tests, run.failures, run.skipped), (4, 1, 1));
        assert_eq!(run.failed[0].name, "pay");
        assert_eq!(parse("1..0 # SKIP nothing\n").unwrap().tests, 0);
        let bailed = parse("1..3\nok 1\nBail out! database is gone\n").unwrap();
        assert_eq!((bailed.failures, bailed.failed[0].name.as_str()), (1, "Bail out! database is gone"));
    }

    #[test]
    fn a_stream_without_its_end_is_no_result() {
        for bad in ["TAP version 13\nok 1 - a\n", "1..3\nok 1\nok 2\n", "hello\n", "", "1..x\n"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        // The plan comes last: every cut before it shows.
        for end in 1..NODE.find("1..4").unwrap() + 3 {
            assert!(parse(&NODE[..end]).is_err(), "cut at {end}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "((not )?ok( [0-9])?( - [a-z]{0,3})?( # (SKIP|TODO))?\n|1\\.\\.[0-9]{0,2}\n|  ---\n|[a-z\u{e4} ]{0,5}\n){0,9}") {
            let _ = parse(&text);
        }
    }
}
