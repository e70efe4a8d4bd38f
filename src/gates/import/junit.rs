//! JUnit XML in all its dialects: pytest, node, jest, vitest, Surefire, Gradle, Go and Rust converters. Suites nest;
//! a case that runs again counts once, with its last answer.

use std::collections::BTreeMap;

use super::ImportError;
use super::xml::{Step, walk};

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CaseResult {
    Passed,
    Failed,
    Skipped,
}

/// One test case, whatever became of it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct NamedCase {
    /// `class name`, or the titles from the outermost suite to the test.
    pub title: String,
    pub file: Option<String>,
    pub result: CaseResult,
    /// Failed first and passed later.
    pub flaky: bool,
    /// The first line of its failure.
    pub message: String,
}

/// One test case that did not pass.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FailedCase {
    /// `class name`, as the report names it.
    pub name: String,
    pub file: Option<String>,
    /// The first line of its message, at most 200 characters.
    pub message: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TestRun {
    pub tests: u64,
    pub skipped: u64,
    /// At least as many as the suites' own counts say, also when the cases are not listed.
    pub failures: u64,
    /// Cases that failed first and passed later.
    pub flaky: u64,
    pub failed: Vec<FailedCase>,
}

impl TestRun {
    pub fn add(&mut self, other: TestRun) {
        self.tests += other.tests;
        self.skipped += other.skipped;
        self.failures += other.failures;
        self.flaky += other.flaky;
        self.failed.extend(other.failed);
    }
}

/// Listed at most; the count goes on.
const FAILED_MAX: usize = 100;

#[derive(Debug)]
struct Case {
    result: CaseResult,
    failed_before: bool,
    failed: FailedCase,
}

/// Is this the root element of such a report?
pub fn is_root(name: &str) -> bool {
    matches!(name, "testsuites" | "testsuite")
}

/// Cases by file and name, and what the outermost suites claim: some writers list failing cases only in part.
#[derive(Default)]
struct Read {
    cases: BTreeMap<String, Case>,
    claimed_tests: u64,
    claimed_failures: u64,
}

fn read(text: &str) -> Result<Read, ImportError> {
    let mut out = Read::default();
    let mut current: Option<(String, Case)> = None;
    let mut suite_depth = None;
    walk(text, |path, step| {
        match step {
            Step::Open { name, .. } if path.len() == 1 && !is_root(name) => {
                return Err("the root element is neither <testsuites> nor <testsuite>".into());
            }
            Step::Open { name: "testsuite", attributes } if suite_depth.is_none() => {
                suite_depth = Some(path.len());
                let count = |key: &str| attributes.get(key).and_then(|v| v.parse::<u64>().ok()).unwrap_or(0);
                out.claimed_tests += count("tests");
                out.claimed_failures += count("failures") + count("errors");
            }
            Step::Close { name: "testsuite" } if suite_depth == Some(path.len()) => suite_depth = None,
            Step::Open { name: "testcase", attributes } => {
                let get = |key: &str| attributes.get(key).cloned();
                let name = [get("classname"), get("name")].into_iter().flatten().collect::<Vec<_>>().join(" ");
                // The same name in two files is two tests.
                let key = format!("{}\u{0}{name}", get("file").unwrap_or_default());
                let failed = FailedCase { name: clean(&name), file: get("file"), message: String::new() };
                let status = match get("status").or(get("result")).as_deref() {
                    Some("failed" | "failure" | "error") => CaseResult::Failed,
                    Some("skipped" | "disabled" | "ignored") => CaseResult::Skipped,
                    _ => CaseResult::Passed,
                };
                current = Some((key, Case { result: status, failed_before: false, failed }));
            }
            Step::Open { name, attributes } => {
                if let Some((_, case)) = &mut current {
                    match name {
                        "failure" | "error" => {
                            case.result = CaseResult::Failed;
                            case.failed.message = clean(attributes.get("message").map_or("", |m| m.as_str()));
                        }
                        "skipped" if case.result == CaseResult::Passed => case.result = CaseResult::Skipped,
                        // Surefire: failed at first, passed at last.
                        "flakyFailure" | "flakyError" => case.failed_before = true,
                        _ => {}
                    }
                }
            }
            Step::Close { name: "testcase" } => {
                if let Some((key, mut case)) = current.take() {
                    if let Some(before) = out.cases.get(&key) {
                        case.failed_before |= before.failed_before || before.result == CaseResult::Failed;
                    }
                    out.cases.insert(key, case);
                }
            }
            Step::Text(_) | Step::Close { .. } => {}
        }
        Ok(())
    })?;
    Ok(out)
}

/// Every case that is listed, by file and name.
pub fn cases(text: &str) -> Result<Vec<NamedCase>, ImportError> {
    let named = |case: Case| NamedCase {
        title: case.failed.name,
        file: case.failed.file,
        flaky: case.failed_before && case.result == CaseResult::Passed,
        result: case.result,
        message: case.failed.message,
    };
    Ok(read(text)?.cases.into_values().map(named).collect())
}

pub fn parse(text: &str) -> Result<TestRun, ImportError> {
    let Read { cases, claimed_tests, claimed_failures } = read(text)?;
    let retried = cases.values().filter(|c| c.failed_before).count() as u64;
    let mut run = TestRun::default();
    for case in cases.into_values() {
        run.tests += 1;
        match case.result {
            CaseResult::Skipped => run.skipped += 1,
            CaseResult::Passed => run.flaky += u64::from(case.failed_before),
            CaseResult::Failed => {
                run.failures += 1;
                if run.failed.len() < FAILED_MAX {
                    run.failed.push(case.failed);
                }
            }
        }
    }
    run.tests = run.tests.max(if run.tests == 0 { claimed_tests } else { 0 });
    // A retried failure is among the claimed ones, but did not stay.
    run.failures = run.failures.max(claimed_failures.saturating_sub(retried));
    Ok(run)
}

fn clean(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, tests: u64, failures: u64, skipped: u64, flaky: u64) -> TestRun {
        let run = parse(text).unwrap();
        assert_eq!((run.tests, run.failures, run.skipped, run.flaky), (tests, failures, skipped, flaky), "{text}");
        run
    }

    #[test]
    fn dialects() {
        // pytest
        check(
            r#"<testsuites name="pytest tests"><testsuite name="pytest" errors="0" failures="1" skipped="1" tests="3">
               <testcase classname="tests.a" name="x" time="0.1"/><testcase classname="tests.a" name="y"><skipped/></testcase>
               <testcase classname="tests.a" name="z"><failure message="assert 1 == 2&#10;more">trace</failure></testcase>
               </testsuite></testsuites>"#,
            3,
            1,
            1,
            0,
        );
        // node --test: cases right below the root
        check(r#"<testsuites><testcase name="total" classname="test"/><!-- tests 1 --></testsuites>"#, 1, 0, 0, 0);
        // nested suites, mocha style: the inner counts repeat the outer ones
        check(
            r#"<testsuite tests="1" failures="1"><testsuite tests="1" failures="1"><testcase name="a"><error/></testcase></testsuite></testsuite>"#,
            1,
            1,
            0,
            0,
        );
        // Surefire
        check(
            r#"<testsuite tests="1" failures="0"><testcase name="a" classname="B"><flakyFailure message="x"/></testcase></testsuite>"#,
            1,
            0,
            0,
            1,
        );
    }

    #[test]
    fn a_retried_case_counts_once_with_its_last_answer() {
        let text = r#"<testsuite tests="2" failures="1"><testcase name="a"><failure/></testcase><testcase name="a"/></testsuite>"#;
        check(text, 1, 0, 0, 1);
    }

    #[test]
    fn counts_without_cases_are_believed_when_they_are_bad() {
        check(r#"<testsuite tests="5" failures="2" errors="1"/>"#, 5, 3, 0, 0);
        check(r#"<testsuites/>"#, 0, 0, 0, 0);
    }

    #[test]
    fn the_message_is_one_clean_line() {
        let run = check(
            "<testsuite><testcase name='a'><failure message='no&#10;second'/></testcase></testsuite>",
            1,
            1,
            0,
            0,
        );
        assert_eq!(run.failed, [FailedCase { name: "a".into(), file: None, message: "no".into() }]);
    }

    #[test]
    fn bad_input() {
        for bad in ["<coverage/>", "<testsuite><testcase name='a'>", "not xml"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
