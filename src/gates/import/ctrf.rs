//! CTRF, the common test report format: one JSON for all frameworks. The listed tests count; the summary must not say
//! worse.

use serde::Deserialize;

use super::junit::{CaseResult, FailedCase, NamedCase, TestRun};
use super::scan::clean;
use super::{ImportError, json};

#[derive(Deserialize)]
struct Report {
    results: Outcome,
}

#[derive(Deserialize)]
struct Outcome {
    summary: Summary,
    tests: Vec<Case>,
    #[serde(default)]
    environment: Environment,
}

#[derive(Default, Deserialize)]
struct Environment {
    commit: Option<String>,
}

#[derive(Deserialize)]
struct Summary {
    tests: u64,
    failed: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    name: String,
    suite: Option<Titles>,
    #[serde(default)]
    tags: Vec<String>,
    status: String,
    message: Option<String>,
    file_path: Option<String>,
    #[serde(default)]
    flaky: bool,
}

/// One title in older reports, the path of suites in newer ones.
#[derive(Deserialize)]
#[serde(untagged)]
enum Titles {
    One(String),
    Path(Vec<String>),
}

/// Every test with its suites and tags in its title, and the commit that the environment names.
pub fn cases(text: &str) -> Result<(Vec<NamedCase>, Option<String>), ImportError> {
    let Report { results } = json::read(text)?;
    let named = |case: Case| {
        let suites = match case.suite {
            None => Vec::new(),
            Some(Titles::One(title)) => vec![title],
            Some(Titles::Path(titles)) => titles,
        };
        let title: Vec<String> = suites.into_iter().chain([case.name]).chain(case.tags).collect();
        NamedCase {
            title: clean(&title.join(" ")),
            file: case.file_path,
            flaky: case.flaky && case.status == "passed",
            result: match case.status.as_str() {
                "passed" => CaseResult::Passed,
                "failed" => CaseResult::Failed,
                _ => CaseResult::Skipped,
            },
            message: clean(case.message.as_deref().unwrap_or_default()),
        }
    };
    Ok((results.tests.into_iter().map(named).collect(), results.environment.commit))
}

/// Listed at most; the count goes on.
const FAILED_MAX: usize = 100;

pub fn parse(text: &str) -> Result<TestRun, ImportError> {
    let Report { results } = json::read(text)?;
    let mut run = TestRun { tests: results.summary.tests.max(results.tests.len() as u64), ..TestRun::default() };
    for case in results.tests {
        run.flaky += u64::from(case.flaky && case.status == "passed");
        match case.status.as_str() {
            "passed" => {}
            "skipped" | "pending" => run.skipped += 1,
            "failed" => {
                run.failures += 1;
                if run.failed.len() < FAILED_MAX {
                    let message = clean(case.message.as_deref().unwrap_or_default());
                    run.failed.push(FailedCase { name: clean(&case.name), file: case.file_path, message });
                }
            }
            // `other`: neither green nor red; not green.
            _ => run.skipped += 1,
        }
    }
    run.failures = run.failures.max(results.summary.failed);
    Ok(run)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::import::cuts;

    const REPORT: &str = r#"{"reportFormat": "CTRF", "specVersion": "0.0.0", "results": {"tool": {"name": "jest"}, "summary": {"tests": 4, "passed": 2, "failed": 1, "pending": 0, "skipped": 1, "other": 0, "start": 1, "stop": 2},
      "tests": [{"name": "a", "status": "passed", "duration": 1}, {"name": "b", "status": "passed", "duration": 1, "flaky": true, "retries": 1},
      {"name": "c", "status": "failed", "duration": 1, "message": "1 != 2\nmore", "filePath": "c.test.js"}, {"name": "d", "status": "skipped", "duration": 0}]}}"#;

    #[test]
    fn contract_statuses() {
        let run = parse(REPORT).unwrap();
        assert_eq!((run.tests, run.failures, run.skipped, run.flaky), (4, 1, 1, 1));
        assert_eq!((run.failed[0].message.as_str(), run.failed[0].file.as_deref()), ("1 != 2", Some("c.test.js")));
        assert!(parse("{}").is_err());
    }

    proptest::proptest! {
        #[test]
        fn every_cut_is_an_error(at in 0..REPORT.len()) {
            cuts::refused(REPORT, at, parse)?;
        }
    }
}
