//! Gate `code.coverage`: do the unit tests run the product's code, and are they green?
//!
//! Most tools only report files that a test imported; a project can show 100 % and test a tenth. Here every file that
//! ships counts: what no report mentions is uncovered. Reports must be newer than the sources, or name their commit.
//! Reads lcov and Cobertura, with JUnit beside them (`gates/import/`); runs nothing. Gathering is `coverage_facts.rs`,
//! the verdict is `judge`. To fix a failure: test the files named first, or correct where the report comes from.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::coverage_facts::{FileLines, Report, Seen, State, look};
use crate::domain::problem::Problem;
use crate::domain::units::{Span, group_thousands};
use crate::domain::verdict::{Class, Finding, Outcome, Severity, Tier};
use crate::gates::context::off_thread;
use crate::gates::patterns;
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage};

/// `[gates.code.coverage]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Share of lines that tests must run, 0 to 1. Default: 0.80, the checklist's number.
    pub minimum: f64,
    /// The same for lines changed since the previous release tag; below it the gate warns. Default: 0.80.
    pub diff_minimum: f64,
    /// Where reports lie, as gitignore patterns relative to the repository. Default: empty, found by name.
    pub reports: Vec<String>,
    /// Sources that need no tests, as gitignore patterns. Default: empty; tests, scripts, settings, migrations,
    /// generated and vendored files never count.
    pub exclude: Vec<String>,
    /// Older reports say nothing about today. Default: 7d.
    pub max_age: Span,
}

impl Default for Config {
    fn default() -> Self {
        Config { minimum: 0.80, diff_minimum: 0.80, reports: vec![], exclude: vec![], max_age: Span::secs(7 * 86_400) }
    }
}

impl Config {
    /// Problems by path below `gates.code.coverage`.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (key, value) in [("minimum", self.minimum), ("diff_minimum", self.diff_minimum)] {
            if !(0.0..=1.0).contains(&value) {
                problems.push(Problem::at([key], format!("{value} is not a share")).hint("write 0.80 for 80 %"));
            }
        }
        for (key, named) in [("reports", &self.reports), ("exclude", &self.exclude)] {
            for pattern in named {
                if let Err(e) = patterns::check(pattern) {
                    problems.push(Problem::at([key], format!("`{pattern}` is not a pattern: {e}")));
                }
            }
        }
        if self.max_age.get().is_zero() {
            problems.push(Problem::at(["max_age"], "no report is that young").hint("write for example 7d"));
        }
        problems
    }
}

pub struct Coverage;

pub static ABOUT: About = About {
    id: "code.coverage",
    section: Section::Code,
    class: Class::B,
    line: "unit test coverage >= 80%",
    min_tier: Tier::E2,
    attestable: false,
    stage: Stage::Static,
    lock: Lock::Fs,
    needs: &[],
    timeout: Duration::from_secs(120),
    skipped_for: &[],
    reads: "lcov and Cobertura reports found by name (or in [gates.code.coverage] reports), JUnit reports beside them, the \
            sources they speak of, and git for their age",
    decides: "covered lines of all files that ship, unreported files counting as uncovered, at least the minimum (0.80), \
              never rounded up; reports newer than the sources; every test green; lines changed since the last tag also \
              at the minimum, or a warning",
    fix: "test the files named first; make the report again after the last change; let the tool report all files",
};

impl Gate for Coverage {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let repo = match ctx.need_repo() {
                Ok(repo) => repo.clone(),
                Err(outcome) => return *outcome,
            };
            let (config, now) = (ctx.config.clone(), ctx.clock.now());
            off_thread(move || {
                let config = &config.code.coverage;
                judge(&look(&repo, config, now), config)
            })
            .await
        })
    }
}

/// Reported paths that must be files of the repository; below it the report is about something else.
const RESOLVED_SHARE_MIN: f64 = 0.95;
/// Above these shares a good number is worth less: skipped tests, and lines taken out by pragma.
const SKIPPED_SHARE_MAX: f64 = 0.05;
const PRAGMA_SHARE_MAX: f64 = 0.05;
/// Files named as the biggest holes.
const HOLES_MAX: usize = 10;
/// Rows of a table in the evidence.
const EVIDENCE_ROWS_MAX: usize = 200;

/// Pure: what was seen, to a verdict.
fn judge(seen: &Seen, config: &Config) -> Outcome {
    if seen.code_files == 0 {
        return Outcome::skip("no-source", "no file of the repository is program code");
    }
    let (covered, total) = seen.files.values().fold((0, 0), |(c, t), f| (c + f.covered, t + f.total));
    let outcome = match cannot_tell(seen, total) {
        // A defect shown is a defect, whatever else could not be read.
        _ if red(seen) > 0 => red_tests(seen),
        _ if seen.test_files == 0 && !seen.coverage.iter().any(|r| r.state == State::Used) => {
            Outcome::fail("there are no tests").findings(vec![
                Finding::new(
                    "no-tests",
                    Severity::High,
                    format!("no test file among {} source files", seen.code_files),
                )
                .fix(format!("write tests, then run: {}", seen.command)),
            ])
        }
        Some(error) => error,
        None => measured(seen, config, covered, total),
    };
    let outcome = if outcome.reason.is_none() { outcome.tier(Tier::E2) } else { outcome };
    outcome.evidence("coverage", evidence(seen, covered, total))
}

fn red(seen: &Seen) -> u64 {
    seen.tests.as_ref().map_or(0, |t| t.failures)
}

fn red_tests(seen: &Seen) -> Outcome {
    let run = seen.tests.clone().unwrap_or_default();
    let findings = run.failed.iter().map(|case| {
        let colon = if case.message.is_empty() { "" } else { ": " };
        let finding = Finding::new("test-failed", Severity::High, format!("{}{colon}{}", case.name, case.message))
            .fix("mend the code or the test")
            .identified_by(&["test-failed", &case.name]);
        match &case.file {
            Some(file) => finding.in_file(file.clone()),
            None => finding,
        }
    });
    let mut findings: Vec<Finding> = findings.collect();
    if findings.is_empty() {
        let path = seen.junit.first().map_or("", |r| r.path.as_str());
        findings.push(
            Finding::new("test-failed", Severity::High, "the report counts failures it does not list").in_file(path),
        );
    }
    Outcome::fail(format!("{} of {} tests failed", run.failures, run.tests.max(run.failures)))
        .value(run.failures, 0)
        .findings(findings)
        .hint("coverage of a red suite means little: make it green first")
}

/// Every reason why there is no number to judge.
fn cannot_tell(seen: &Seen, total: u64) -> Option<Outcome> {
    let again = format!("make it again: {}", seen.command);
    let reports = |want: fn(&State) -> bool| seen.coverage.iter().chain(&seen.junit).find(move |r| want(&r.state));
    if let Some(Report { path, state: State::Unreadable { why }, .. }) =
        reports(|s| matches!(s, State::Unreadable { .. }))
    {
        return Some(Outcome::error("unreadable-report", format!("{path}: {why}")).hint(again));
    }
    if !seen.coverage.iter().any(|r| r.state == State::Used) {
        let first = seen.coverage.iter().min_by_key(|r| !matches!(r.state, State::Stale { .. }));
        return Some(match first {
            Some(Report { path, state: State::Stale { why }, .. }) => {
                Outcome::error("stale-evidence", format!("{path} is stale: {why}")).hint(again)
            }
            Some(Report { path, format, .. }) => {
                Outcome::error("unsupported-format", format!("{path} is {format}, which is not read yet"))
                    .hint(format!("write lcov or Cobertura as well: {}", seen.command))
            }
            None => Outcome::error("no-report", format!("{} test files, but no coverage report", seen.test_files))
                .hint(format!("run: {}", seen.command)),
        });
    }
    if seen.tests.as_ref().is_some_and(|t| t.tests == 0) {
        let path = seen.junit.first().map_or("the test report", |r| r.path.as_str());
        return Some(Outcome::error("zero-tests", format!("{path} lists no test")).hint(again));
    }
    if (seen.resolved as f64) < seen.reported as f64 * RESOLVED_SHARE_MIN {
        let first = seen.unresolved.first().map_or("", |p| p.as_str());
        return Some(
            Outcome::error(
                "path-mismatch",
                format!("{} of {} reported files are in the repository", seen.resolved, seen.reported),
            )
            .hint(format!("{first} is not: make the report from this checkout, or point --repo at its sources")),
        );
    }
    (total == 0)
        .then(|| Outcome::error("nothing-to-inspect", "the reports hold no line of code that ships").hint(again))
}

fn measured(seen: &Seen, config: &Config, covered: u64, total: u64) -> Outcome {
    let share = covered as f64 / total as f64;
    let estimated: Vec<_> = seen.files.iter().filter(|(_, f)| f.estimated && f.total > 0).collect();
    let mut summary = format!("{} of {} lines", percent(covered, total), group_thousands(&total.to_string()));
    if !estimated.is_empty() {
        let lines: u64 = estimated.iter().map(|(_, f)| f.total).sum();
        summary.push_str(&format!(", {} unreported file(s) counted as uncovered (~{lines} lines)", estimated.len()));
    }
    // Unreported files are inspected too: their lines are in the total.
    let files = seen.files.values().filter(|f| f.total > 0).count() as u64;

    let weak = weaknesses(seen, config, total);
    let outcome = if share < config.minimum {
        let gap = (config.minimum * total as f64).ceil() as u64 - covered;
        let names: Vec<&str> = holes(seen).iter().take(3).map(|(path, _)| *path).collect();
        let report = seen.coverage.iter().find(|r| r.state == State::Used);
        Outcome::fail(summary).findings(hole_findings(seen)).hint(format!(
            "{} of {total} lines; {gap} more to reach {}. Biggest holes: {}. Report at {}, made {}; regenerate with: {}",
            percent(covered, total),
            share_text(config.minimum),
            names.join(", "),
            report.map_or("", |r| r.path.as_str()),
            report.map(|r| r.made_at.rfc3339()).unwrap_or_default(),
            seen.command,
        ))
    } else if !weak.is_empty() {
        let says: Vec<&str> = weak.iter().map(|f| f.message.as_str()).collect();
        Outcome::warn(format!("{summary}, but {}", says.join("; "))).hint(weak[0].fix.clone()).findings(weak)
    } else {
        let tests = match &seen.tests {
            Some(run) => format!("; {} tests green", run.tests - run.skipped.min(run.tests)),
            None => String::new(),
        };
        Outcome::pass(format!("{summary}{tests}"))
    };
    // Cut, not rounded: 0.79996 must not read as 0.8.
    outcome.value((share * 10_000.0).floor() / 10_000.0, config.minimum).covered(files, files)
}

/// What makes a sufficient number worth less.
fn weaknesses(seen: &Seen, config: &Config, total: u64) -> Vec<Finding> {
    let mut out = Vec::new();
    if let Some(changed) = seen.changed.as_ref().filter(|c| c.total > 0) {
        let share = changed.covered as f64 / changed.total as f64;
        if share < config.diff_minimum {
            let text = format!(
                "only {} of the lines changed since {}",
                percent(changed.covered, changed.total),
                changed.since
            );
            let first = changed.uncovered.first().map_or("", |l| l.as_str());
            let finding = Finding::new("diff-below-minimum", Severity::Medium, text)
                .fix(format!("test what is new, beginning at {first}"))
                .identified_by(&["diff-below-minimum"]);
            out.push(match first.rsplit_once(':').and_then(|(f, l)| Some((f, l.parse().ok()?))) {
                Some((file, line)) => finding.at(file, line, 1),
                None => finding,
            });
        }
    }
    if let Some(run) = &seen.tests
        && run.skipped as f64 > run.tests as f64 * SKIPPED_SHARE_MAX
    {
        let text = format!("{} of {} tests are skipped", run.skipped, run.tests);
        out.push(
            Finding::new("skipped-tests", Severity::Medium, text)
                .fix("run them or delete them")
                .identified_by(&["skipped-tests"]),
        );
    }
    if seen.pragmas as f64 > total as f64 * PRAGMA_SHARE_MAX {
        let text = format!("{} lines carry an ignore pragma", seen.pragmas);
        out.push(
            Finding::new("ignore-pragmas", Severity::Medium, text)
                .fix("test them instead")
                .identified_by(&["ignore-pragmas"]),
        );
    }
    out
}

/// Files by uncovered lines, most first.
fn holes(seen: &Seen) -> Vec<(&str, &FileLines)> {
    let mut holes: Vec<_> =
        seen.files.iter().filter(|(_, f)| f.covered < f.total).map(|(p, f)| (p.as_str(), f)).collect();
    holes.sort_by_key(|(path, f)| (std::cmp::Reverse(f.total - f.covered), *path));
    holes
}

fn hole_findings(seen: &Seen) -> Vec<Finding> {
    let finding = |(path, file): &(&str, &FileLines)| {
        let (rule, text) = match file.estimated {
            true => ("unreported", format!("no report mentions it: about {} lines uncovered", file.total)),
            false => ("uncovered", format!("{} of {} lines uncovered", file.total - file.covered, file.total)),
        };
        Finding::new(rule, Severity::Medium, text)
            .at(*path, file.first_uncovered.unwrap_or(1), 1)
            .fix("test it")
            .identified_by(&[rule, path])
    };
    holes(seen).iter().take(HOLES_MAX).map(finding).collect()
}

/// Two decimals, cut off: 79.996 % reads 79.99 %.
fn percent(covered: u64, total: u64) -> String {
    let hundredths = u128::from(covered) * 10_000 / u128::from(total.max(1));
    format!("{}.{:02} %", hundredths / 100, hundredths % 100)
}

/// `0.8` → `80 %`.
fn share_text(share: f64) -> String {
    crate::domain::units::percent(share)
}

fn evidence(seen: &Seen, covered: u64, total: u64) -> serde_json::Value {
    let mut folders: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (path, file) in &seen.files {
        let folder = folders.entry(path.rsplit_once('/').map_or(".", |(f, _)| f)).or_default();
        *folder = (folder.0 + file.covered, folder.1 + file.total);
    }
    let unreported: Vec<_> = seen.files.iter().filter(|(_, f)| f.estimated).map(|(p, _)| p).collect();
    serde_json::json!({
        "lines": {"covered": covered, "total": total},
        "reports": seen.coverage,
        "test_reports": seen.junit,
        "tests": seen.tests.as_ref().map(|t| serde_json::json!({
            "tests": t.tests, "failures": t.failures, "skipped": t.skipped, "flaky": t.flaky,
        })),
        "folders": folders.iter().take(EVIDENCE_ROWS_MAX)
            .map(|(f, (c, t))| serde_json::json!({"folder": f, "covered": c, "total": t})).collect::<Vec<_>>(),
        "worst": holes(seen).iter().take(HOLES_MAX)
            .map(|(p, f)| serde_json::json!({"file": p, "lines": f})).collect::<Vec<_>>(),
        "unreported": unreported.iter().take(EVIDENCE_ROWS_MAX).collect::<Vec<_>>(),
        "unresolved": seen.unresolved.iter().take(EVIDENCE_ROWS_MAX).collect::<Vec<_>>(),
        "changed": seen.changed,
        "pragma_lines": seen.pragmas,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::{Clock as _, SystemClock, Timestamp};
    use crate::domain::verdict::Verdict;
    use crate::gates::context::Repo;
    use crate::gates::testing;

    const CART: &str = "function total(a) {\n  const x = a\n  return x\n}\nmodule.exports = { total }\n";
    const TEST: (&str, &str) = ("test/cart.test.js", "test('total', () => {})\n");

    /// lcov for one file with the given hits per line.
    fn lcov(file: &str, hits: &[u64]) -> String {
        let lines: String = hits.iter().enumerate().map(|(i, h)| format!("DA:{},{h}\n", i + 1)).collect();
        format!("TN:\nSF:{file}\n{lines}end_of_record\n")
    }

    fn run_on(repo: &Repo, config: &Config) -> Outcome {
        judge(&look(repo, config, SystemClock.now()), config)
    }

    fn run(files: &[(&str, &str)]) -> Outcome {
        let (_dir, repo) = testing::repo(files);
        run_on(&repo, &Config::default())
    }

    fn check(files: &[(&str, &str)], verdict: Verdict, reason: Option<&str>, summary: &str) -> Outcome {
        let outcome = run(files);
        assert_eq!((outcome.verdict, outcome.reason.as_deref()), (verdict, reason), "{outcome:#?}");
        assert!(outcome.summary.contains(summary), "{}", outcome.summary);
        outcome
    }

    #[test]
    fn enough_and_green_passes() {
        let report = lcov("src/cart.js", &[1, 1, 1, 0, 1]);
        let junit = "<testsuite><testcase name='total'/></testsuite>";
        let files = [("src/cart.js", CART), TEST, ("coverage/lcov.info", report.as_str()), ("junit.xml", junit)];
        let outcome = check(&files, Verdict::Pass, None, "80.00 % of 5 lines; 1 tests green");
        assert_eq!((outcome.value, outcome.threshold), (Some(0.8.into()), Some(0.8.into())));
        assert_eq!((outcome.covered, outcome.known, outcome.tier), (Some(1), Some(1), Some(Tier::E2)));
    }

    #[test]
    fn never_rounded_up() {
        assert_eq!(percent(79_996, 100_000), "79.99 %");
        let mut hits = vec![1; 1000];
        hits[..201].fill(0);
        let report = lcov("src/cart.js", &hits);
        let outcome = check(
            &[("src/cart.js", CART), TEST, ("lcov.info", report.as_str())],
            Verdict::Fail,
            None,
            "79.90 % of 1,000 lines",
        );
        assert!(outcome.hint.unwrap().contains("1 more to reach 80 %"));
    }

    #[test]
    fn files_that_no_report_mentions_are_uncovered() {
        let report = lcov("src/cart.js", &[1, 1]);
        let outcome = check(
            &[("src/cart.js", CART), ("src/never.js", CART), TEST, ("lcov.info", report.as_str())],
            Verdict::Fail,
            None,
            "1 unreported file(s) counted as uncovered (~3 lines)",
        );
        assert_eq!(outcome.findings[0].rule, "unreported");
        assert_eq!((outcome.covered, outcome.known), (Some(2), Some(2)));
    }

    #[test]
    fn reports_are_united() {
        let (a, b) = (lcov("src/cart.js", &[1, 0]), lcov("src/cart.js", &[0, 1]));
        check(
            &[("src/cart.js", CART), TEST, ("coverage/unit/lcov.info", &a), ("coverage/e2e/lcov.info", &b)],
            Verdict::Pass,
            None,
            "100.00 % of 2 lines",
        );
    }

    #[test]
    fn red_tests_fail_before_anything_else() {
        let report = lcov("src/cart.js", &[1]);
        let junit =
            "<testsuite><testcase name='total' classname='cart'><failure message='1 != 2'/></testcase></testsuite>";
        let outcome = check(
            &[("src/cart.js", CART), TEST, ("lcov.info", report.as_str()), ("junit.xml", junit)],
            Verdict::Fail,
            None,
            "1 of 1 tests failed",
        );
        assert_eq!(outcome.findings[0].message, "cart total: 1 != 2");
    }

    #[test]
    fn cannot_tell() {
        let cart = ("src/cart.js", CART);
        let good = lcov("src/cart.js", &[1]);
        let shifted = lcov("lib/other.js", &[1]);
        let package = ("package.json", r#"{"devDependencies": {"vitest": "3"}}"#);
        for (files, reason) in [
            (vec![cart, TEST, package], "no-report"),
            (vec![cart, TEST, ("lcov.info", &good[..good.len() - 8])], "unreadable-report"),
            (vec![cart, TEST, ("coverage.xml", "<coverage><pack")], "unreadable-report"),
            (vec![cart, TEST, ("lcov.info", "")], "unreadable-report"),
            (vec![cart, TEST, ("lcov.info", &shifted)], "path-mismatch"),
            (vec![cart, TEST, ("jacoco.xml", "<report name='a'/>")], "unsupported-format"),
            (vec![cart, TEST, ("lcov.info", &good), ("junit.xml", "<testsuites/>")], "zero-tests"),
        ] {
            let outcome = check(&files, Verdict::Error, Some(reason), "");
            assert!(outcome.hint.is_some(), "{reason}");
        }
        let hint = run(&[cart, TEST, package]).hint.unwrap();
        assert!(hint.contains("vitest run --coverage"), "{hint}");
    }

    #[test]
    fn no_tests_at_all_fail_and_no_code_skips() {
        check(&[("src/cart.js", CART)], Verdict::Fail, None, "there are no tests");
        check(&[("README.md", "# a")], Verdict::Skip, Some("no-source"), "");
    }

    #[test]
    fn weak_spots_warn() {
        let report = lcov("src/cart.js", &[1; 5]);
        let junit = "<testsuite><testcase name='a'/><testcase name='b'><skipped/></testcase></testsuite>";
        let files = [("src/cart.js", CART), TEST, ("lcov.info", report.as_str()), ("junit.xml", junit)];
        check(&files, Verdict::Warn, None, "1 of 2 tests are skipped");
        let pragma = format!("{CART}/* istanbul ignore next */\n");
        let files = [("src/cart.js", pragma.as_str()), TEST, ("lcov.info", report.as_str())];
        check(&files, Verdict::Warn, None, "1 lines carry an ignore pragma");
    }

    fn set_time(root: &std::path::Path, path: &str, ms: i64) {
        let file = std::fs::File::options().write(true).open(root.join(path)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_millis(ms as u64)).unwrap();
    }

    #[test]
    fn stale_by_file_time_and_by_age() {
        let report = lcov("src/cart.js", &[1; 5]);
        let (dir, repo) = testing::repo(&[("src/cart.js", CART), TEST, ("lcov.info", report.as_str())]);
        let now = SystemClock.now();
        set_time(dir.path(), "lcov.info", now.ms() - 60_000);
        let outcome = run_on(&repo, &Config::default());
        assert_eq!(outcome.reason.as_deref(), Some("stale-evidence"), "{outcome:#?}");
        assert!(outcome.summary.contains("older than src/cart.js"), "{}", outcome.summary);

        for path in ["src/cart.js", TEST.0, "lcov.info"] {
            set_time(dir.path(), path, now.ms() - 8 * 86_400_000);
        }
        let outcome = run_on(&repo, &Config::default());
        assert!(outcome.summary.contains("older than 7d"), "{}", outcome.summary);
        let longer = Config { max_age: Span::secs(30 * 86_400), ..Config::default() };
        assert_eq!(run_on(&repo, &longer).verdict, Verdict::Pass);
    }

    #[test]
    fn in_git_commits_and_sidecars_date_a_report() {
        let report = lcov("src/cart.js", &[1; 5]);
        let (dir, repo) = testing::git_repo(&[
            ("src/cart.js", CART),
            TEST,
            ("lcov.info", report.as_str()),
            (".gitignore", "*.hc.json\n"),
        ]);
        let commit = testing::git(dir.path(), &["rev-parse", "HEAD"]);
        // A clone may write the source a moment after the report: one commit holds both.
        set_time(dir.path(), "src/cart.js", SystemClock.now().ms() + 5_000);
        assert_eq!(run_on(&repo, &Config::default()).verdict, Verdict::Pass);

        // A changed source makes it stale, and so does a sidecar that names the commit before.
        testing::write(dir.path(), "src/cart.js", b"function total() {}\n");
        set_time(dir.path(), "src/cart.js", SystemClock.now().ms() + 5_000);
        assert_eq!(run_on(&repo, &Config::default()).reason.as_deref(), Some("stale-evidence"));
        testing::commit(dir.path(), "change");
        testing::write(dir.path(), "lcov.info.hc.json", format!(r#"{{"commit":"{commit}"}}"#).as_bytes());
        let outcome = run_on(&repo, &Config::default());
        assert!(outcome.summary.contains("src/cart.js has changed since"), "{}", outcome.summary);
    }

    #[test]
    fn changed_lines_count_on_their_own() {
        let (dir, _) = testing::git_repo(&[("src/cart.js", CART), TEST]);
        testing::git(dir.path(), &["tag", "v1.0.0"]);
        let more = format!("{CART}a()\nb()\n");
        testing::write(dir.path(), "src/cart.js", more.as_bytes());
        testing::commit(dir.path(), "more");
        let mut hits = vec![1; 20];
        hits[5..7].fill(0);
        testing::write(dir.path(), "lcov.info", lcov("src/cart.js", &hits).as_bytes());
        let outcome = run_on(&testing::open(dir.path()), &Config::default());
        assert_eq!(outcome.verdict, Verdict::Warn, "{outcome:#?}");
        assert!(outcome.summary.contains("only 0.00 % of the lines changed since v1.0.0"), "{}", outcome.summary);
        assert_eq!((outcome.findings[0].file.as_deref(), outcome.findings[0].line), (Some("src/cart.js"), Some(6)));
    }

    #[test]
    fn a_cobertura_report_with_its_own_old_date_is_stale() {
        let xml = r#"<coverage timestamp="1600000000"><packages><package><classes><class filename="src/cart.js">
            <lines><line number="1" hits="1"/></lines></class></classes></package></packages></coverage>"#;
        let outcome =
            check(&[("src/cart.js", CART), TEST, ("coverage.xml", xml)], Verdict::Error, Some("stale-evidence"), "");
        assert!(outcome.summary.contains(&Timestamp::from_ms(1_600_000_000_000).rfc3339()), "{}", outcome.summary);
    }

    #[test]
    fn config_is_checked() {
        assert_eq!(Config::default().validate(), []);
        let bad = Config { minimum: 80.0, exclude: vec!["a{b".into()], max_age: Span::secs(0), ..Config::default() };
        let keys: Vec<String> = bad.validate().iter().map(|p| p.path.join(".")).collect();
        assert_eq!(keys, ["minimum", "exclude", "max_age"]);
    }
}
