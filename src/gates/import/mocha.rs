//! Mocha's JSON reporters, which Cypress uses too: its own (`stats`, `passes`, `failures`, `pending`) and mochawesome
//! (`results` with nested suites).

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::junit::{CaseResult, NamedCase};
use super::scan::clean;
use super::{ImportError, json};
use crate::domain::clock::Timestamp;

/// A report in short.
#[derive(Debug, Default, PartialEq)]
pub struct Mocha {
    pub cases: Vec<NamedCase>,
    pub started_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Report {
    stats: Stats,
    #[serde(default)]
    passes: Vec<Test>,
    #[serde(default)]
    failures: Vec<Test>,
    #[serde(default)]
    pending: Vec<Test>,
    #[serde(default)]
    results: Vec<Suite>,
}

#[derive(Deserialize)]
struct Stats {
    start: Option<String>,
    /// Every one of these reports counts them.
    #[serde(rename = "tests")]
    _tests: IgnoredAny,
}

#[derive(Deserialize)]
struct Suite {
    file: Option<String>,
    #[serde(default)]
    tests: Vec<Test>,
    #[serde(default)]
    suites: Vec<Suite>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Test {
    title: String,
    full_title: Option<String>,
    file: Option<String>,
    state: Option<String>,
    #[serde(default)]
    err: Problem,
}

#[derive(Default, Deserialize)]
struct Problem {
    message: Option<String>,
}

const DEPTH_MAX: usize = 32;

pub fn parse(text: &str) -> Result<Mocha, ImportError> {
    let report: Report = json::read(text)?;
    let mut cases = Vec::new();
    for (tests, result) in [
        (report.passes, CaseResult::Passed),
        (report.failures, CaseResult::Failed),
        (report.pending, CaseResult::Skipped),
    ] {
        cases.extend(tests.into_iter().map(|test| case(test, None, Some(result))));
    }
    for suite in report.results {
        collect(suite, None, 0, &mut cases)?;
    }
    Ok(Mocha { cases, started_at: report.stats.start.and_then(|t| Timestamp::parse(&t)) })
}

fn collect(suite: Suite, file: Option<&str>, depth: usize, out: &mut Vec<NamedCase>) -> Result<(), ImportError> {
    if depth > DEPTH_MAX {
        return Err(ImportError::at(1, format!("suites nested deeper than {DEPTH_MAX}")));
    }
    let file = suite.file.as_deref().filter(|f| !f.is_empty()).or(file);
    out.extend(suite.tests.into_iter().map(|test| case(test, file, None)));
    suite.suites.into_iter().try_for_each(|inner| collect(inner, file, depth + 1, out))
}

fn case(test: Test, file: Option<&str>, known: Option<CaseResult>) -> NamedCase {
    let told = match test.state.as_deref() {
        Some("passed") => CaseResult::Passed,
        Some("failed") => CaseResult::Failed,
        // `pending`, `skipped`, or nothing: not green.
        _ => CaseResult::Skipped,
    };
    NamedCase {
        title: clean(test.full_title.as_deref().unwrap_or(&test.title)),
        file: test.file.or(file.map(str::to_string)),
        result: known.unwrap_or(told),
        flaky: false,
        message: clean(test.err.message.as_deref().unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::import::cuts;

    const MOCHA: &str = r#"{"stats": {"suites": 1, "tests": 3, "passes": 1, "pending": 1, "failures": 1, "start": "2026-11-22T09:00:00.000Z"},
      "tests": [], "pending": [{"title": "later", "fullTitle": "cart later", "err": {}}],
      "failures": [{"title": "pays", "fullTitle": "checkout pays", "file": "a.cy.js", "err": {"message": "no button\nmore"}}],
      "passes": [{"title": "opens", "fullTitle": "cart opens", "err": {}}]}"#;
    const MOCHAWESOME: &str = r#"{"stats": {"tests": 2, "start": "2026-11-22T09:00:00.000Z"}, "results": [{"file": "cypress/e2e/a.cy.js", "tests": [],
      "suites": [{"title": "login", "file": "", "suites": [], "tests": [
        {"title": "works", "fullTitle": "login works", "state": "passed", "pass": true, "err": {}},
        {"title": "fails", "fullTitle": "login fails", "state": "failed", "err": {"message": "x"}}]}]}]}"#;

    #[test]
    fn contract_both_shapes() {
        let short = |text: &str| -> Vec<(String, CaseResult)> {
            parse(text).unwrap().cases.into_iter().map(|c| (c.title, c.result)).collect()
        };
        let expect = |rows: &[(&str, CaseResult)]| rows.iter().map(|(t, r)| (t.to_string(), *r)).collect::<Vec<_>>();
        use CaseResult::{Failed, Passed, Skipped};
        assert_eq!(short(MOCHA), expect(&[("cart opens", Passed), ("checkout pays", Failed), ("cart later", Skipped)]));
        assert_eq!(short(MOCHAWESOME), expect(&[("login works", Passed), ("login fails", Failed)]));
        assert_eq!(parse(MOCHAWESOME).unwrap().cases[0].file.as_deref(), Some("cypress/e2e/a.cy.js"));
        assert_eq!(parse(MOCHA).unwrap().cases[1].message, "no button");
        assert!(parse("{}").is_err());
    }

    proptest::proptest! {
        #[test]
        fn every_cut_is_an_error(at in 0..MOCHAWESOME.len()) {
            cuts::refused(MOCHAWESOME, at, parse)?;
        }
    }
}
