//! Playwright's JSON reporter: suites nest, a spec has one test a browser project, a test one result a try.

use serde::Deserialize;

use super::junit::{CaseResult, NamedCase};
use super::scan::clean;
use super::{ImportError, json};
use crate::domain::clock::Timestamp;

/// A report in short.
#[derive(Debug, Default, PartialEq)]
pub struct Playwright {
    pub cases: Vec<NamedCase>,
    /// `captureGitInfo` or the CI's commit, where the report holds it.
    pub commit: Option<String>,
    pub started_at: Option<Timestamp>,
    /// What stopped the run before its tests: a server that did not start, a syntax error.
    pub error: Option<String>,
}

#[derive(Deserialize)]
struct Report {
    config: Config,
    suites: Vec<Suite>,
    #[serde(default)]
    errors: Vec<Problem>,
    stats: Option<Stats>,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    git_commit: Option<Commit>,
    ci: Option<Ci>,
}

#[derive(Deserialize)]
struct Commit {
    hash: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ci {
    commit_hash: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    start_time: Option<String>,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Suite {
    #[serde(default)]
    title: String,
    file: Option<String>,
    #[serde(default)]
    specs: Vec<Spec>,
    #[serde(default)]
    suites: Vec<Suite>,
}

#[derive(Deserialize)]
struct Spec {
    title: String,
    #[serde(default)]
    tags: Vec<String>,
    tests: Vec<Test>,
    file: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Test {
    /// `expected`, `unexpected`, `flaky`, `skipped`.
    status: String,
    #[serde(default)]
    project_name: String,
    #[serde(default)]
    results: Vec<Attempt>,
}

#[derive(Deserialize)]
struct Attempt {
    error: Option<Problem>,
}

/// Suites nest as deep as `describe` does.
const DEPTH_MAX: usize = 32;

pub fn parse(text: &str) -> Result<Playwright, ImportError> {
    let report: Report = json::read(text)?;
    let metadata = report.config.metadata;
    let mut out = Playwright {
        commit: metadata.git_commit.and_then(|c| c.hash).or(metadata.ci.and_then(|c| c.commit_hash)),
        started_at: report.stats.and_then(|s| s.start_time).and_then(|t| Timestamp::parse(&t)),
        error: report.errors.first().map(|e| clean(&e.message)),
        ..Playwright::default()
    };
    for suite in report.suites {
        collect(suite, &mut Vec::new(), &mut out.cases)?;
    }
    Ok(out)
}

fn collect(suite: Suite, titles: &mut Vec<String>, out: &mut Vec<NamedCase>) -> Result<(), ImportError> {
    if titles.len() > DEPTH_MAX {
        return Err(ImportError::at(1, format!("suites nested deeper than {DEPTH_MAX}")));
    }
    titles.push(suite.title);
    for spec in suite.specs {
        let file = spec.file.or_else(|| suite.file.clone());
        for test in spec.tests {
            let message = test.results.iter().rev().find_map(|r| r.error.as_ref()).map(|e| clean(&e.message));
            let words = titles.iter().chain([&spec.title]).chain(&spec.tags).map(String::as_str);
            let title: Vec<&str> = words.chain([test.project_name.as_str()]).filter(|t| !t.is_empty()).collect();
            out.push(NamedCase {
                title: clean(&title.join(" ")),
                file: file.clone(),
                flaky: test.status == "flaky",
                result: match test.status.as_str() {
                    "expected" | "flaky" => CaseResult::Passed,
                    "skipped" => CaseResult::Skipped,
                    _ => CaseResult::Failed,
                },
                message: message.unwrap_or_default(),
            });
        }
    }
    for inner in suite.suites {
        collect(inner, titles, out)?;
    }
    titles.pop();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::import::cuts;

    const REPORT: &str = r#"{"config": {"metadata": {"gitCommit": {"hash": "0123456789abcdef0123456789abcdef01234567"}}},
      "suites": [{"title": "shop.spec.ts", "file": "shop.spec.ts", "specs": [{"title": "login works", "ok": true, "tags": ["smoke"],
        "tests": [{"status": "expected", "projectName": "chromium", "results": [{"status": "passed"}]}]}],
        "suites": [{"title": "checkout", "specs": [{"title": "pays", "ok": false, "tags": [],
          "tests": [{"status": "unexpected", "projectName": "", "results": [{"status": "failed", "error": {"message": "no button\nat x"}}]},
                    {"status": "flaky", "results": []}, {"status": "skipped", "results": []}]}]}]}],
      "errors": [], "stats": {"startTime": "2026-11-22T09:00:00.000Z", "expected": 1}}"#;

    #[test]
    fn contract_suites_tags_and_tries() {
        let report = parse(REPORT).unwrap();
        let short: Vec<_> = report.cases.iter().map(|c| (c.title.as_str(), c.result, c.flaky)).collect();
        assert_eq!(
            short,
            [
                ("shop.spec.ts login works smoke chromium", CaseResult::Passed, false),
                ("shop.spec.ts checkout pays", CaseResult::Failed, false),
                ("shop.spec.ts checkout pays", CaseResult::Passed, true),
                ("shop.spec.ts checkout pays", CaseResult::Skipped, false),
            ]
        );
        assert_eq!(report.cases[1].message, "no button");
        assert_eq!(report.commit.as_deref(), Some("0123456789abcdef0123456789abcdef01234567"));
        assert_eq!(report.started_at, Timestamp::parse("2026-11-22T09:00:00Z"));
        assert!(parse("{}").is_err());
    }

    proptest::proptest! {
        #[test]
        fn every_cut_is_an_error(at in 0..REPORT.len()) {
            cuts::refused(REPORT, at, parse)?;
        }
    }
}
