//! Reports, sources and verdicts of `code.coverage`, on real files and real git.

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
    judge(&look(repo, config, SystemClock.now(), vec![]), config)
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
    let junit = "<testsuite><testcase name='total' classname='cart'><failure message='1 != 2'/></testcase></testsuite>";
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
        (vec![cart, TEST, ("jacoco.xml", "<report name='a'/>")], "unreadable-report"),
        (vec![cart, TEST, ("coverage.json", "{\"meta\": {\"ver")], "unreadable-report"),
        (vec![cart, TEST, ("coverage/coverage-final.json", "")], "unreadable-report"),
        (vec![cart, TEST, (".resultset.json", "{}")], "unreadable-report"),
        (vec![cart, TEST, (".coverage", "SQLite")], "unsupported-format"),
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
    let (dir, _) = testing::repo(&[("src/cart.js", CART), TEST, ("lcov.info", report.as_str())]);
    let now = SystemClock.now();
    set_time(dir.path(), "lcov.info", now.ms() - 60_000);
    let outcome = run_on(&testing::open(dir.path()), &Config::default());
    assert_eq!(outcome.reason.as_deref(), Some("stale-evidence"), "{outcome:#?}");
    assert!(outcome.summary.contains("older than src/cart.js"), "{}", outcome.summary);

    for path in ["src/cart.js", TEST.0, "lcov.info"] {
        set_time(dir.path(), path, now.ms() - 8 * 86_400_000);
    }
    let outcome = run_on(&testing::open(dir.path()), &Config::default());
    assert!(outcome.summary.contains("older than 7d"), "{}", outcome.summary);
    let longer = Config { max_age: Span::secs(30 * 86_400), ..Config::default() };
    assert_eq!(run_on(&testing::open(dir.path()), &longer).verdict, Verdict::Pass);
}

#[test]
fn in_git_commits_and_sidecars_date_a_report() {
    let report = lcov("src/cart.js", &[1; 5]);
    let (dir, _) = testing::git_repo(&[
        ("src/cart.js", CART),
        TEST,
        ("lcov.info", report.as_str()),
        (".gitignore", "*.hc.json\n"),
    ]);
    let commit = testing::git(dir.path(), &["rev-parse", "HEAD"]);
    // A clone may write the source a moment after the report: one commit holds both.
    set_time(dir.path(), "src/cart.js", SystemClock.now().ms() + 5_000);
    assert_eq!(run_on(&testing::open(dir.path()), &Config::default()).verdict, Verdict::Pass);

    // A changed source makes it stale, and so does a sidecar that names the commit before.
    testing::write(dir.path(), "src/cart.js", b"function total() {}\n");
    set_time(dir.path(), "src/cart.js", SystemClock.now().ms() + 5_000);
    assert_eq!(run_on(&testing::open(dir.path()), &Config::default()).reason.as_deref(), Some("stale-evidence"));
    testing::commit(dir.path(), "change");
    testing::write(dir.path(), "lcov.info.hc.json", format!(r#"{{"commit":"{commit}"}}"#).as_bytes());
    let outcome = run_on(&testing::open(dir.path()), &Config::default());
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

const GO: &str = "package cart\n\nfunc Total(a int) int {\n\tif a > 1 {\n\t\treturn 2\n\t}\n\treturn a\n}\n\nfunc Last() int {\n\treturn 1\n}\n";
const GO_FILES: [(&str, &str); 3] = [
    ("go.mod", "module example.com/shop/v2\n\ngo 1.22\n"),
    ("cart/cart.go", GO),
    ("cart/cart_test.go", "package cart\n"),
];

/// `func Total` with three blocks, and `func Last` with one.
fn profile(last: bool) -> String {
    let file = "example.com/shop/v2/cart/cart.go";
    let end = if last { format!("{file}:10.17,12.2 6 1\n") } else { String::new() };
    format!("mode: atomic\n{file}:3.23,4.11 1 2\n{file}:4.11,6.3 1 0\n{file}:7.2,7.10 2 1\n{end}")
}

#[test]
fn go_counts_statements_and_finds_its_files_by_module() {
    let whole = profile(true);
    let files: Vec<_> = GO_FILES.into_iter().chain([("cover.out", whole.as_str())]).collect();
    let outcome = check(&files, Verdict::Pass, None, "90.00 % of 10 statements");
    assert_eq!(outcome.evidence[0].content["reports"][0]["says"], serde_json::json!([9, 10]));
    // Other modules in the profile are nobody's loss.
    let foreign = format!("{whole}example.com/other/x.go:1.1,2.2 50 0\n");
    let files: Vec<_> = GO_FILES.into_iter().chain([("cover.out", foreign.as_str())]).collect();
    check(&files, Verdict::Pass, None, "90.00 % of 10 statements");
}

#[test]
fn a_go_profile_cut_between_lines_is_seen_in_the_source() {
    let cut = profile(false);
    let files: Vec<_> = GO_FILES.into_iter().chain([("cover.out", cut.as_str())]).collect();
    let outcome = check(&files, Verdict::Error, Some("unreadable-report"), "ends before the last function");
    assert!(outcome.summary.contains("cart/cart.go (line 10)"), "{}", outcome.summary);
}

#[test]
fn a_summary_alone_warns_and_beside_the_report_does_not() {
    let summary = r#"{"total": {"lines": {"total": 5, "covered": 5}}, "/ci/shop/src/cart.js": {"lines": {"total": 5, "covered": 5}}}"#;
    let files = [("src/cart.js", CART), TEST, ("coverage/coverage-summary.json", summary)];
    let outcome = check(&files, Verdict::Warn, None, "100.00 % of 5 lines, but 1 file(s) stand only in a summary");
    assert_eq!(outcome.findings[0].rule, "summary-only");
    let report = lcov("src/cart.js", &[1, 1, 1, 0, 1]);
    let both = [files[0], files[1], files[2], ("coverage/lcov.info", report.as_str())];
    check(&both, Verdict::Pass, None, "80.00 % of 5 lines");
}

#[test]
fn simplecov_leaves_out_what_stands_between_nocov() {
    let cart = "class Cart\n  def total\n    1\n  end\n  # :nocov:\n  def debug\n    puts 1\n  end\n  # :nocov:\nend\n";
    let results = r#"{"RSpec": {"coverage": {"/ci/shop/lib/cart.rb": {"lines": [1, 1, 0, null, null, 1, 0, null, null, null]}},
        "timestamp": 32503680000}}"#;
    let files = [
        ("Gemfile", ""),
        ("lib/cart.rb", cart),
        ("spec/cart_spec.rb", "it {}\n"),
        ("coverage/.resultset.json", results),
    ];
    let outcome = check(&files, Verdict::Fail, None, "66.66 % of 3 lines");
    assert_eq!(outcome.evidence[0].content["reports"][0]["says"], serde_json::json!([2, 3]));
}

#[test]
fn headers_of_declarations_are_no_code() {
    let c = "#include \"cart.h\"\nint total(int a) {\n  return a;\n}\n";
    let header = "#ifndef CART_H\nint total(int a);\nstruct line {\n  int cents;\n};\n#endif\n";
    let report = lcov("src/cart.c", &[1; 3]);
    let files = [
        ("src/cart.c", c),
        ("src/cart.h", header),
        ("test/test_cart.c", "int main(void) { return 0; }\n"),
        ("lcov.info", report.as_str()),
    ];
    check(&files, Verdict::Pass, None, "100.00 % of 3 lines");
}

#[test]
fn jacoco_names_packages_not_paths() {
    let java = "package com.example;\nclass Cart {\n    int total() {\n        return 1;\n    }\n}\n";
    let xml = r#"<report name="shop"><package name="com/example"><sourcefile name="Cart.java">
        <line nr="2" mi="0" ci="3"/><line nr="4" mi="0" ci="2"/></sourcefile></package></report>"#;
    let files = [
        ("src/main/java/com/example/Cart.java", java),
        ("src/test/java/com/example/CartTest.java", "class CartTest {}\n"),
        ("target/site/jacoco/jacoco.xml", xml),
    ];
    check(&files, Verdict::Pass, None, "100.00 % of 2 lines");
}

#[test]
fn a_writers_own_count_holds_for_its_report_alone() {
    let rust = "pub fn total(a: u8) -> u8 {\n    a\n}\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn t() {}\n}\n";
    let export = r#"{"type": "llvm.coverage.json.export", "version": "2.0.1", "data": [{"files": [{"filename": "/ci/src/lib.rs",
        "segments": [[1, 1, 1, true, true, false], [3, 2, 0, false, false, false]],
        "summary": {"lines": {"count": 6, "covered": 6, "percent": 100}}}]}]}"#;
    let files = [("src/lib.rs", rust), ("Cargo.toml", "[package]\n"), ("llvm-cov.json", export)];
    check(&files, Verdict::Pass, None, "100.00 % of 6 lines");
    let united = lcov("src/lib.rs", &[1, 1, 1]);
    let both = [files[0], files[1], files[2], ("lcov.info", united.as_str())];
    check(&both, Verdict::Pass, None, "100.00 % of 3 lines");
}

#[test]
fn changed_lines_without_code_do_not_count() {
    let (dir, _) = testing::git_repo(&GO_FILES);
    testing::git(dir.path(), &["tag", "v1.0.0"]);
    // New inside a block that ran: a blank line, a comment and a bracket; new and never run: one statement.
    let more = GO.replace("\treturn 1\n", "\n\t// why\n\t{\n\t}\n\treturn 1\n").replace("return 2", "return 3");
    testing::write(dir.path(), "cart/cart.go", more.as_bytes());
    testing::commit(dir.path(), "more");
    let report = profile(true).replace("12.2 6", "16.2 60");
    testing::write(dir.path(), "cover.out", report.as_bytes());
    let outcome = run_on(&testing::open(dir.path()), &Config::default());
    assert!(outcome.summary.contains("only 0.00 % of the lines changed since v1.0.0"), "{}", outcome.summary);
    assert_eq!(outcome.evidence[0].content["changed"]["uncovered"], serde_json::json!(["cart/cart.go:5"]));
}

#[test]
fn imported_reports_stand_in_for_what_the_work_tree_lacks() {
    use super::super::coverage_facts::{Other, Report, State, Told};
    let source = "export const a = 1;\n";
    let files = [("package.json", "{}"), ("src/a.js", source), ("src/b.js", source), ("test/a.test.js", "it()")];
    let (_dir, repo) = testing::repo(&files);
    let report = |state| Report {
        path: "lcov.info (imported)".into(),
        format: "lcov",
        made_at: SystemClock.now(),
        dated_by: "import",
        sha256: None,
        says: None,
        state,
    };
    let coverage = |rows: &[(&str, u64)], state, unbound: Option<&str>| Other {
        report: report(state),
        says: Told::Files(rows.iter().map(|(path, n)| (path.to_string(), (*n, 10))).collect()),
        unbound: unbound.map(String::from),
    };
    let check = |others: Vec<Other>, expect: &str| {
        let config = Config::default();
        let outcome = judge(&look(&repo, &config, SystemClock.now(), others), &config);
        let rules = outcome.findings.iter().map(|f| f.rule.as_str()).collect::<Vec<_>>().join(",");
        let reason = outcome.reason.clone().unwrap_or(rules);
        assert_eq!(format!("{} {reason}", outcome.verdict.word()).trim(), expect, "{outcome:#?}");
    };
    check(vec![], "error no-report");
    check(vec![coverage(&[("src/a.js", 10), ("src/b.js", 10)], State::Used, None)], "warn summary-only");
    check(
        vec![coverage(&[("src/a.js", 10), ("src/b.js", 10)], State::Used, Some("is unbound"))],
        "warn summary-only,unbound-report",
    );
    check(vec![coverage(&[("src/a.js", 5), ("src/b.js", 5)], State::Used, None)], "fail uncovered,uncovered");
    check(vec![coverage(&[("src/a.js", 10)], State::Stale { why: "old".into() }, None)], "error stale-evidence");
    check(vec![coverage(&[("lib/x.js", 10), ("lib/y.js", 10)], State::Used, None)], "error path-mismatch");
    let red = crate::gates::import::junit::TestRun { tests: 9, failures: 1, ..Default::default() };
    let tests = Other { report: report(State::Used), says: Told::Tests(red), unbound: None };
    check(vec![coverage(&[("src/a.js", 10), ("src/b.js", 10)], State::Used, None), tests], "fail test-failed");
}
