//! Gate `code.coverage`: do the unit tests run the product's code, and are they green?
//!
//! Most tools only report files that a test imported; a project can show 100 % and test a tenth. Here every file that
//! ships counts: what no report mentions is uncovered. Reports must be newer than the sources, or name their commit.
//! Reads the formats of `gates/import/`, with JUnit beside them; runs nothing. Gathering is `coverage_facts.rs`,
//! the verdict is `judge`. To fix a failure: test the files named first, or correct where the report comes from.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::coverage_facts::{FileLines, Other, Report, Seen, State, Told, Unit, look};
use crate::domain::problem::Problem;
use crate::domain::units::{Span, group_thousands};
use crate::domain::verdict::{Class, Finding, Outcome, Severity, Tier};
use crate::gates::evidence::{Piece, Standing};
use crate::gates::import::kind::Content;
use crate::gates::patterns;
use crate::gates::proof::{Fixture, Proof};
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
            problems.extend(patterns::problems(key, named));
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
    reads: "coverage reports found by name or in [gates.code.coverage] reports (lcov, Cobertura, JaCoCo, Clover, Go profile, \
            istanbul, coverage.py, llvm-cov, SimpleCov), JUnit reports beside them, the sources they speak of, and git for their age",
    decides: "covered lines (Go: statements) of all files that ship, unreported files counting as uncovered, at least the minimum (0.80), \
              never rounded up; reports newer than the sources; every test green; lines changed since the last tag also \
              at the minimum, or a warning",
    fix: "test the files named first; make the report again after the last change; let the tool report all files",
};

impl Gate for Coverage {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn proof(&self) -> Option<Proof> {
        let shop = |what, hits: [u32; 4]| {
            let lines: String = hits.iter().enumerate().map(|(i, n)| format!("DA:{},{n}\n", i + 1)).collect();
            let source = "export function total(cents, percent) {\n  if (!percent) return cents;\n  return cents - percent;\n}\n";
            Fixture::of(what)
                .file("package.json", "{\"name\": \"shop\", \"version\": \"1.0.0\"}\n")
                .file("src/cart.js", source)
                .left("coverage/lcov.info", format!("SF:src/cart.js\n{lines}end_of_record\n"))
        };
        Some(Proof {
            good: shop("every line is tested", [1; 4]),
            bad: shop("half of the lines are tested", [1, 1, 0, 0]),
        })
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let now = ctx.clock.now();
            let others = ctx.evidence_for(ABOUT.id).iter().filter_map(other).collect();
            ctx.in_repo(move |repo, config| {
                let config = &config.code.coverage;
                judge(&look(repo, config, now, others), config)
            })
            .await
        })
    }
}

/// An imported report in this gate's words.
fn other(piece: &Piece<'_>) -> Option<Other> {
    let (says, sum) = match &piece.report.content {
        Content::Coverage { by_file, covered, total, .. } if !by_file.is_empty() => {
            (Told::Files(by_file.clone()), Some((*covered, *total)))
        }
        Content::Tests(run) => (Told::Tests(run.clone()), None),
        _ => return None,
    };
    let (state, unbound) = match &piece.standing {
        Standing::Bound => (State::Used, None),
        Standing::Unbound(why) => (State::Used, Some(why.clone())),
        Standing::Stale(why) => (State::Stale { why: why.clone() }, None),
    };
    let report = Report {
        path: format!("{} (imported)", piece.report.file),
        format: piece.report.kind.word(),
        made_at: piece.report.ran_at,
        dated_by: "import",
        sha256: Some(piece.report.sha256.clone()),
        says: sum,
        state,
    };
    Some(Other { report, says, unbound })
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
    let unit = unit(seen);
    let mut summary = format!("{} of {} {unit}", percent(covered, total), group_thousands(&total.to_string()));
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
            "{} of {total} {unit}; {gap} more to reach {}. Biggest holes: {}. Report at {}, made {}; regenerate with: {}",
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

/// `lines`, or `statements` where every report is Go's.
fn unit(seen: &Seen) -> &'static str {
    let reported = || seen.files.values().filter(|f| !f.estimated && f.total > 0);
    match reported().filter(|f| f.unit == Unit::Statements).count() {
        0 => "lines",
        n if n == reported().count() => "statements",
        _ => "lines and Go statements",
    }
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
    let summarised = seen.files.iter().filter(|(_, f)| f.unit == Unit::Summary);
    let (path, count) = (summarised.clone().next().map(|(path, _)| path), summarised.count());
    if let Some(path) = path {
        let text = format!("{count} file(s) stand only in a summary, which names no line");
        out.push(
            Finding::new("summary-only", Severity::Medium, text)
                .in_file(path.clone())
                .fix(format!("keep the full report as well: {}", seen.command))
                .identified_by(&["summary-only"]),
        );
    }
    if let Some(why) = &seen.unbound {
        out.push(
            Finding::new("unbound-report", Severity::Medium, format!("of an imported report {why}"))
                .fix("import it with --commit SHA, or beside FILE.hc.json")
                .identified_by(&["unbound-report"]),
        );
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
            false => ("uncovered", {
                let unit = if file.unit == Unit::Statements { "statements" } else { "lines" };
                format!("{} of {} {unit} uncovered", file.total - file.covered, file.total)
            }),
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
        "unit": unit(seen),
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
mod tests;
