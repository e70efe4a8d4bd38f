//! Real repositories, one naming habit each.

use super::*;
use crate::gates::facts::git::scratch::Scratch;
use crate::gates::facts::{rid, walk};
use crate::gates::testing::NOW;

fn outcome_with(repo: &Scratch, release: bool, config: &Config) -> Outcome {
    let open = walk::open(repo.path()).unwrap();
    let rid = rid::identify(Some(&open), None, vec![]).rid;
    let git = open.git.as_ref().unwrap();
    // Not through `look`: the CI variables of the machine that runs the tests are not part of the story.
    let refs = refs::read(git, None).unwrap();
    judge(&refs, &versions::of(&open), &config.validate().unwrap(), &rid, release, NOW)
}

fn outcome(repo: &Scratch) -> Outcome {
    outcome_with(repo, false, &Config::default())
}

fn rules(outcome: &Outcome) -> Vec<&str> {
    outcome.findings.iter().map(|f| f.rule.as_str()).collect()
}

fn shop(version: &str) -> Scratch {
    let repo = Scratch::new();
    repo.write("package.json", &format!("{{\n  \"version\": \"{version}\"\n}}\n")).commit("first");
    repo
}

#[test]
fn a_tagged_release_on_a_release_branch_passes() {
    let repo = shop("1.3.0");
    repo.tag("v1.3.0").write("package.json", "{\"version\": \"1.4.0\"}").commit("second");
    repo.git(&["switch", "--quiet", "-c", "release/v1.4.0"]);
    repo.tag("v1.4.0");
    let o = outcome_with(&repo, true, &Config::default());
    assert_eq!((o.verdict, rules(&o)), (Verdict::Pass, vec![]), "{o:#?}");
    assert_eq!(o.tier, Some(Tier::E1));
    assert_eq!(o.evidence.len(), 2);
}

#[test]
fn before_the_tag_the_branch_is_enough_but_not_for_release() {
    let repo = shop("1.0.0");
    assert_eq!(outcome(&repo).verdict, Verdict::Pass);
    let o = outcome_with(&repo, true, &Config::default());
    assert_eq!((o.verdict, rules(&o)), (Verdict::Fail, vec!["tag.missing"]));
}

#[test]
fn one_defect_at_a_time() {
    let check = |make: &dyn Fn(&Scratch), verdict: Verdict, rule: &str| {
        let repo = shop("1.4.0");
        make(&repo);
        let o = outcome(&repo);
        assert_eq!((o.verdict, rules(&o)), (verdict, vec![rule]), "{o:#?}");
        assert!(o.hint.is_some());
    };
    check(
        &|r| {
            r.git(&["tag", "v1.4.0"]);
        },
        Verdict::Fail,
        "tag.lightweight",
    );
    check(
        &|r| {
            r.git(&["switch", "--quiet", "-c", "Stuff"]);
        },
        Verdict::Fail,
        "branch.name",
    );
    check(
        &|r| {
            r.git(&["branch", "johns_branch"]);
        },
        Verdict::Warn,
        "branch.name",
    );
    check(
        &|r| {
            r.git(&["branch", "release-next"]);
        },
        Verdict::Warn,
        "branch.name",
    );
    check(
        &|r| {
            r.tag("v1.4.0").tag("1.4.0");
        },
        Verdict::Fail,
        "tag.twins",
    );
    check(
        &|r| {
            r.tag("v1.5.0");
        },
        Verdict::Fail,
        "version.disagrees",
    );
    check(
        &|r| {
            r.write("CHANGELOG.md", "## [1.3.0] - 2026-11-01\n- x\n").commit("log");
        },
        Verdict::Fail,
        "version.disagrees",
    );
    // The version of the manifest was released by an earlier commit.
    check(
        &|r| {
            r.tag("v1.4.0").commit("later");
        },
        Verdict::Fail,
        "tag.misplaced",
    );
    check(
        &|r| {
            r.tag("v2.0.0").commit("later");
        },
        Verdict::Fail,
        "tag.order",
    );
    // A pre-release comes before its release.
    check(
        &|r| {
            r.tag("v1.4.0").write("package.json", "{\"version\": \"1.4.0-rc.2\"}").commit("later");
        },
        Verdict::Fail,
        "tag.order",
    );
}

#[test]
fn a_tag_that_is_no_version_fails() {
    let repo = Scratch::new();
    repo.commit("first").tag("ver_1_4");
    let o = outcome(&repo);
    assert_eq!((o.verdict, rules(&o)), (Verdict::Fail, vec!["tag.name"]));
    let bookmark = Scratch::new();
    bookmark.commit("first").tag("nightly");
    assert_eq!(outcome(&bookmark).verdict, Verdict::Pass, "a bookmark is not a release");
}

#[test]
fn monorepo_tags_are_ordered_within_their_package() {
    let repo = Scratch::new();
    repo.commit("first").tag("web@3.0.0").commit("second").tag("api@1.0.0");
    assert_eq!(outcome(&repo).verdict, Verdict::Pass);
    repo.commit("third").tag("web@2.9.0");
    assert_eq!(rules(&outcome(&repo)), ["tag.order"]);
}

#[test]
fn calendar_versions() {
    let config = Config { scheme: Scheme::Calver, ..Config::default() };
    let repo = Scratch::new();
    repo.commit("first").tag("2026.09").commit("second").tag("2026.11");
    assert_eq!(outcome_with(&repo, true, &config).verdict, Verdict::Pass);
    repo.commit("third").tag("2026.10");
    assert_eq!(rules(&outcome_with(&repo, true, &config)), ["tag.order"]);
}

#[test]
fn what_cannot_be_told_is_an_error() {
    let empty = Scratch::new();
    assert_eq!(outcome(&empty).reason.as_deref(), Some("nothing-to-inspect"));

    let detached = shop("1.0.0");
    detached.commit("second");
    detached.git(&["switch", "--quiet", "--detach", "HEAD~1"]);
    assert_eq!(outcome(&detached).reason.as_deref(), Some("no-ref"));
    detached.git(&["switch", "--quiet", "--detach", "main"]);
    assert_eq!(outcome(&detached).verdict, Verdict::Pass, "the only branch that points here is meant");

    let origin = shop("1.0.0");
    origin.commit("second");
    let clone = tempfile::tempdir().unwrap();
    let url = format!("file://{}", origin.path().display());
    origin.git(&["clone", "--quiet", "--depth=1", &url, clone.path().join("c").to_str().unwrap()]);
    let open = walk::open(&clone.path().join("c")).unwrap();
    let refs = refs::read(open.git.as_ref().unwrap(), None).unwrap();
    let rid = rid::identify(Some(&open), None, vec![]).rid;
    let o = judge(&refs, &[], &Config::default().validate().unwrap(), &rid, false, NOW);
    assert_eq!(o.reason.as_deref(), Some("shallow"));
}

#[test]
fn old_and_machine_made_branches_do_not_matter() {
    let repo = shop("1.0.0");
    repo.git(&["switch", "--quiet", "-c", "ancient_one"]);
    repo.git_at("2026-01-01T00:00:00Z", &["commit", "--quiet", "--allow-empty", "-m", "old"]);
    repo.git(&["switch", "--quiet", "main"]);
    repo.git(&["branch", "dependabot/npm_and_yarn/x-1.2.3"]);
    assert_eq!(outcome(&repo).verdict, Verdict::Pass);
}

#[test]
fn patterns_are_checked_all_at_once() {
    let config = Config { branch: "(".into(), tag: "[".into(), ..Config::default() };
    let problems = config.validate().unwrap_err();
    assert_eq!(problems.iter().map(|p| p.path[0].as_str()).collect::<Vec<_>>(), ["branch", "tag"]);
}

#[test]
fn names_are_suggested() {
    assert_eq!(suggested("Release-1.2"), "release/v1.2");
    assert_eq!(suggested("My Thing!"), "feature/my-thing");
}

#[test]
fn work_towards_a_release_agrees_with_it() {
    let repo = shop("1.5.0-SNAPSHOT");
    repo.write("CHANGELOG.md", "# Changelog\n\n## 1.5.0\n\n- Later\n").commit("second");
    let o = outcome(&repo);
    assert_eq!((o.verdict, rules(&o)), (Verdict::Pass, vec![]), "{o:#?}");
}

#[test]
fn a_chart_of_many_is_tagged_with_its_name() {
    let repo = Scratch::new();
    repo.write("charts/a/Chart.yaml", "name: a\n").commit("first").tag("ipmi-exporter-0.8.2");
    let o = outcome(&repo);
    assert!(!rules(&o).contains(&"tag.name"), "{o:#?}");
}

#[test]
fn no_version_is_said_in_words() {
    let repo = Scratch::new();
    repo.write("a.txt", "1").commit("first");
    assert!(outcome(&repo).summary.ends_with("no file at the root states a version"), "{}", outcome(&repo).summary);
}

/// Nobody renames the branch that every clone begins with.
#[test]
fn the_default_branch_of_origin_has_its_own_name() {
    let repo = Scratch::new();
    repo.write("a.txt", "1").commit("first").git(&["branch", "-m", "trunk-2"]);
    assert_eq!((outcome(&repo).verdict, rules(&outcome(&repo))), (Verdict::Fail, vec!["branch.name"]));
    repo.git(&["update-ref", "refs/remotes/origin/trunk-2", "HEAD"]);
    repo.git(&["symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/trunk-2"]);
    assert_eq!((outcome(&repo).verdict, rules(&outcome(&repo))), (Verdict::Pass, vec![]));
}

/// `3.0.0.dev` in the manifest is ahead of the log of the releases that are out, and a tag without `v` is no habit to break.
#[test]
fn work_is_ahead_of_the_log() {
    let repo = Scratch::new();
    repo.write("shop.gemspec", "spec.version = '3.0.0.dev'\n").write("History.md", "## 2.5.2\n- One\n").commit("first");
    assert_eq!((outcome(&repo).verdict, rules(&outcome(&repo))), (Verdict::Pass, vec![]), "{:#?}", outcome(&repo));
    let plain = Scratch::new();
    plain.write("package.json", "{\"version\": \"2.5.3\"}").commit("first").tag("2.5.3");
    plain.write("a", "1").commit("second");
    assert!(outcome(&plain).findings[0].fix.contains("git tag -a 2.5.4 -m"), "{:#?}", outcome(&plain).findings[0]);
}
