//! Real repositories, one habit of writing (or not writing) each.

use super::*;
use crate::gates::facts::git::scratch::Scratch;
use crate::gates::facts::walk;
use crate::gates::testing::NOW;

fn outcome_with(repo: &Scratch, release: bool) -> Outcome {
    let open = walk::open(repo.path()).unwrap();
    let rid = rid::identify(Some(&open), None, vec![]).rid;
    look(&open, &Config::default(), &rid, release, NOW.utc().date_naive())
}

fn rules(outcome: &Outcome) -> Vec<&str> {
    outcome.findings.iter().map(|f| f.rule.as_str()).collect()
}

const GOOD: &str =
    "# Changelog\n\n## [1.4.0] - 2026-11-21\n\n### Added\n- Pay by card\n\n## [1.3.0] - 2026-10-01\n### Fixed\n- Old\n";

/// Version 1.4.0 after a tagged 1.3.0, with this change log.
fn shop(log: &str) -> Scratch {
    let repo = Scratch::new();
    repo.write("package.json", "{\"version\": \"1.3.0\"}").commit("first").tag("v1.3.0");
    repo.write("package.json", "{\"version\": \"1.4.0\"}").write("CHANGELOG.md", log).commit("Prepare 1.4.0");
    repo
}

#[test]
fn an_entry_dated_and_grouped_passes() {
    let o = outcome_with(&shop(GOOD), true);
    assert_eq!((o.verdict, rules(&o)), (Verdict::Pass, vec![]), "{o:#?}");
    assert_eq!((o.covered, o.tier), (Some(2), Some(Tier::E1)));
    let crlf = outcome_with(&shop(&GOOD.replace('\n', "\r\n")), true);
    assert_eq!(crlf.verdict, Verdict::Pass, "{crlf:#?}");
}

#[test]
fn one_defect_at_a_time() {
    let check = |log: &str, verdict: Verdict, rule: &[&str]| {
        let o = outcome_with(&shop(log), false);
        assert_eq!((o.verdict, rules(&o)), (verdict, rule.to_vec()), "{log}\n{o:#?}");
    };
    check("## [1.3.0] - 2026-10-01\n### Fixed\n- Old\n", Verdict::Fail, &[]);
    check("## [1.4.0] - 2026-11-21\n\n## [1.3.0] - 2026-10-01\n- Old\n", Verdict::Fail, &["entry.empty"]);
    check("## [1.4.0] - 2026-11-21 [YANKED]\n### Added\n- A\n", Verdict::Fail, &["entry.yanked"]);
    check("## [1.4.0]\n### Added\n- A\n", Verdict::Warn, &["entry.date"]);
    check("## [1.4.0] - 21 Nov 2026\n### Added\n- A\n", Verdict::Warn, &["entry.date"]);
    check("## [1.4.0] - 2026-11-01\n### Added\n- A\n", Verdict::Warn, &["entry.stale"]);
    check("## [1.4.0] - 2026-12-24\n### Added\n- A\n", Verdict::Warn, &["entry.future"]);
    check("## [1.4.0] - 2026-11-21\n- A\n", Verdict::Warn, &["entry.groups"]);
    check(
        "## [1.3.0] - 2026-11-21\n### Added\n- A\n## [1.4.0] - 2026-11-21\n### Added\n- A\n",
        Verdict::Warn,
        &["entry.order"],
    );
}

#[test]
fn unreleased_is_a_warning_until_the_release() {
    let repo = shop("## [Unreleased]\n### Added\n- A\n\n## [1.3.0] - 2026-10-01\n### Added\n- Old\n");
    assert_eq!(outcome_with(&repo, false).verdict, Verdict::Warn);
    let o = outcome_with(&repo, true);
    assert_eq!(o.verdict, Verdict::Fail);
    assert!(o.hint.unwrap().contains("## [1.4.0] - 2026-11-22"));
}

#[test]
fn a_dump_of_subjects_is_no_change_log() {
    let log =
        "## [1.4.0] - 2026-11-21\n### Added\n- add basket\n- **api:** fix total (abc1234)\n- Written by hand\n- tidy\n";
    let repo = shop(GOOD);
    repo.commit("feat: Add basket").commit("fix(api): fix total").commit("tidy");
    repo.write("CHANGELOG.md", log).commit("log");
    assert_eq!(rules(&outcome_with(&repo, false)), ["entry.dump"]);
}

#[test]
fn breaking_commits_must_show() {
    let repo = shop(GOOD);
    repo.commit("feat(api)!: drop v1");
    let o = outcome_with(&repo, false);
    assert_eq!((o.verdict, rules(&o)), (Verdict::Warn, vec!["breaking.unsaid", "breaking.version"]));
    // A subject with a bang in its prose breaks nothing.
    let calm = shop(GOOD);
    calm.commit("Ship it! Really: now");
    assert_eq!(outcome_with(&calm, false).verdict, Verdict::Pass);
}

#[test]
fn unmentioned_changes_are_a_note_only() {
    let repo = shop(GOOD);
    repo.commit("Add refunds (#12)").commit("Merge pull request #13 from acme/x");
    let o = outcome_with(&repo, false);
    assert_eq!((o.verdict, rules(&o)), (Verdict::Pass, vec!["entry.unmentioned"]));
    assert!(o.findings[0].message.contains("#13, #12"), "{}", o.findings[0].message);
    assert!(!mentions("see #123", "#12") && mentions("see #12.", "#12"));
}

#[test]
fn without_a_file_it_fails_and_without_git_it_still_reads() {
    let repo = Scratch::new();
    repo.write("package.json", "{\"version\": \"1.4.0\"}").commit("first");
    let o = outcome_with(&repo, false);
    assert!(o.verdict == Verdict::Fail && o.hint.is_some());

    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("CHANGELOG.md"), GOOD).unwrap();
    let open = walk::open(dir.path()).unwrap();
    let rid = rid::identify(Some(&open), None, vec![]).rid;
    let o = look(&open, &Config::default(), &rid, false, NOW.utc().date_naive());
    assert_eq!(o.verdict, Verdict::Pass, "{o:#?}");
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let repo = shop(GOOD);
    let open = walk::open(repo.path()).unwrap();
    let rid = rid::identify(Some(&open), None, vec![]).rid;
    let with = |file: &str| Config { file: Some(file.into()), ..Config::default() };
    let today = NOW.utc().date_naive();
    assert_eq!(look(&open, &with("../x"), &rid, false, today).reason.as_deref(), Some("bad-config"));
    assert_eq!(look(&open, &with("nowhere.md"), &rid, false, today).verdict, Verdict::Fail);
    std::fs::create_dir(repo.path().join("folder.md")).unwrap();
    assert_eq!(look(&open, &with("folder.md"), &rid, false, today).reason.as_deref(), Some("unreadable"));
}

#[test]
fn the_announcement_takes_its_text_from_here() {
    let repo = shop(GOOD);
    let open = walk::open(repo.path()).unwrap();
    assert_eq!(text_of(&open, Some("v1.4.0")).unwrap(), "### Added\n- Pay by card");
    assert_eq!(text_of(&open, Some("9.9.9")), None);
}

#[test]
fn work_goes_on_under_the_section_to_come() {
    let repo = Scratch::new();
    repo.write("package.json", "{\"version\": \"1.4.0-dev\"}").write("CHANGELOG.md", GOOD).commit("work");
    let o = outcome_with(&repo, false);
    assert_eq!(o.verdict, Verdict::Pass, "{o:#?}");
    assert_eq!(outcome_with(&repo, true).verdict, Verdict::Fail, "a release is no development version");
}

/// Between two releases the newest section is of one that is out: nobody dates it anew.
#[test]
fn after_a_release_the_next_section_is_wanted() {
    let out = |log: &str| {
        let repo = Scratch::new();
        repo.write("package.json", "{\"version\": \"1.4.0\"}").write("CHANGELOG.md", log).commit("Ship").tag("v1.4.0");
        repo.write("a.js", "").commit("Add refunds (#12)").commit("Mend totals (#13)");
        repo
    };
    let old = "## [1.4.0] - 2026-05-14\n### Added\n- Pay by card\n";
    let silent = outcome_with(&out(old), false);
    assert_eq!((silent.verdict, rules(&silent)), (Verdict::Warn, vec!["entry.unmentioned"]), "{silent:#?}");
    assert_eq!(silent.summary, "CHANGELOG.md says nothing of the 2 commits since 1.4.0, which is out");
    assert!(
        silent
            .hint
            .unwrap()
            .starts_with("write `## [Unreleased]` above 1.4.0 in CHANGELOG.md (2 commits since v1.4.0)")
    );
    let told = outcome_with(&out(&format!("## HEAD\n- Refunds (#12), totals (#13)\n\n{old}")), false);
    assert_eq!((told.verdict, rules(&told)), (Verdict::Warn, vec![]), "{told:#?}");
    assert!(told.summary.contains("changes under Unreleased"), "{}", told.summary);
    assert_eq!(outcome_with(&out(old), true).verdict, Verdict::Fail, "a release needs its section");
}

#[test]
fn on_the_tag_the_date_is_the_tags() {
    let shipped = |day: &str| {
        let repo = Scratch::new();
        let log = format!("## [1.4.0] - {day}\n### Added\n- Pay by card\n");
        repo.write("CHANGELOG.md", &log).commit("Ship").tag("v1.4.0");
        repo
    };
    let day = shipped("2000-01-01").git(&["for-each-ref", "--format=%(creatordate:short)", "refs/tags"]);
    assert_eq!(outcome_with(&shipped(&day), false).verdict, Verdict::Pass);
    let old = outcome_with(&shipped("2000-01-01"), false);
    assert_eq!((old.verdict, rules(&old)), (Verdict::Warn, vec!["entry.stale"]));
    assert!(
        old.findings[0].message.ends_with(&format!("but its tag was made on {day}")),
        "{}",
        old.findings[0].message
    );
    assert_eq!(old.findings[0].fix, format!("date it {day}"));
}

#[test]
fn notes_with_a_file_each_are_read() {
    let repo = Scratch::new();
    repo.write("CHANGELOG.md", "# Changelog\n\nSee docs/release-notes.\n")
        .write("docs/release-notes/version-4.5.md", "## v4.5.0\n- Old\n");
    repo.write("docs/release-notes/version-4.6.md", "# Shop v4.6\n\n## v4.6.1 (2026-11-20)\n### Fixed\n- Totals\n")
        .commit("first");
    let o = outcome_with(&repo, false);
    assert_eq!(
        (o.verdict, o.summary.as_str()),
        (Verdict::Pass, "docs/release-notes/version-4.6.md: v4.6.1, 2026-11-20, 1 change in 1 group")
    );
    repo.write("docs/release-notes/version-4.6.md", "Soon.\n").commit("second");
    let o = outcome_with(&repo, false);
    assert_eq!(o.verdict, Verdict::Warn, "{o:#?}");
}
