//! Tests of the gate on real repositories with real signatures; the forge's replies are written from its API's pages.

use std::path::Path;
use std::process::Command;

use super::*;
use crate::domain::verdict::Verdict;
use crate::gates::facts::git::scratch::Scratch;
use crate::gates::facts::walk;
use crate::gates::forge::origin::Kind;
use crate::gates::forge::tests::{connect, forge};
use crate::gates::people::People;
use crate::gates::testing;

/// A repository with a first release, owners, and two signers' keys beside it.
struct House {
    repo: Scratch,
    keys: tempfile::TempDir,
}

fn as_person(repo: &Scratch, who: &str, args: &[&str]) -> String {
    let (name, email) = (format!("user.name={who}"), format!("user.email={}@example.com", who.to_lowercase()));
    repo.git(&[&["-c", &name, "-c", &email], args].concat())
}

impl House {
    fn new() -> House {
        let house = House { repo: Scratch::new(), keys: tempfile::tempdir().unwrap() };
        let mut signers = String::new();
        for who in ["ann", "sue"] {
            house.keygen(&["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", who]);
            let public = std::fs::read_to_string(house.keys.path().join(format!("{who}.pub"))).unwrap();
            signers.push_str(&format!("{who}@example.com,{who} namespaces=\"hypercare-review\" {public}"));
        }
        let owners = "* @sue\n/docs/ bob@example.com\n";
        house.repo.write(".hypercare/allowed_signers", &signers).write("CODEOWNERS", owners).write("a.txt", "1\n");
        house.repo.commit("start").tag("v1.0.0");
        house
    }
    fn keygen(&self, args: &[&str]) {
        let out = Command::new("ssh-keygen").current_dir(self.keys.path()).args(args).output();
        let out = out.expect("ssh-keygen is needed for this test");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }
    /// Somebody changes a file on the branch that is checked out.
    fn work(&self, who: &str, file: &str, text: &str, message: &str) -> String {
        self.repo.write(file, text);
        self.repo.git(&["add", "--all"]);
        as_person(&self.repo, who, &["commit", "--quiet", "-m", message]);
        self.repo.git(&["rev-parse", "HEAD"])
    }
    fn note_text(&self, who: &str, text: &str, on: &str) {
        let path = self.keys.path().join("m");
        std::fs::write(&path, text).unwrap();
        let _ = std::fs::remove_file(self.keys.path().join("m.sig"));
        self.keygen(&["-q", "-Y", "sign", "-f", who, "-n", "hypercare-review", "m"]);
        let signature = std::fs::read_to_string(self.keys.path().join("m.sig")).unwrap();
        std::fs::write(self.keys.path().join("note"), format!("{text}{signature}")).unwrap();
        let file = self.keys.path().join("note").to_string_lossy().into_owned();
        self.repo.git(&["notes", "--ref=hypercare-review", "append", "-F", &file, on]);
    }
    fn approve(&self, who: &str, commit: &str) {
        self.note_text(who, &format!("hypercare-review v1\ncommit: {commit}\nverdict: approved\n"), commit);
    }
    fn branch(&self, name: &str) {
        self.repo.git(&["checkout", "--quiet", "-b", name]);
    }
    /// Bob merges a branch into main.
    fn merge(&self, name: &str, message: &str) {
        self.repo.git(&["checkout", "--quiet", "main"]);
        as_person(&self.repo, "Bob", &["merge", "--quiet", "--no-ff", "-m", message, name]);
    }
    async fn outcome_with(&self, config: &Config, release: bool, forge: Option<Forge>) -> Outcome {
        let repo = walk::open(self.repo.path()).unwrap();
        let trust = People::open(&repo, &Default::default(), testing::NOW).trust;
        let no_forge = forge.is_none().then(|| "GITHUB_TOKEN is not set".to_string());
        let told = Told { trust, forge, no_forge, ..Told::default() };
        review(repo, config, release, testing::NOW, told).await
    }
    /// Verdict and rules, with notes alone.
    async fn check(&self, verdict: Verdict, rules: &[&str]) -> Outcome {
        let outcome = self.outcome_with(&Config::default(), false, None).await;
        expect(&outcome, verdict, rules);
        outcome
    }
}

fn expect(outcome: &Outcome, verdict: Verdict, rules: &[&str]) {
    let got: Vec<&str> = outcome.findings.iter().map(|f| f.rule.as_str()).collect();
    assert_eq!((outcome.verdict, got), (verdict, rules.to_vec()), "{outcome:#?}");
}

#[tokio::test]
async fn a_change_that_a_senior_signed_passes() {
    let house = House::new();
    house.branch("topic");
    house.work("Ann", "a.txt", "2\n", "First half");
    let head = house.work("Ann", "a.txt", "3\n", "Second half");
    house.merge("topic", "Merge pull request #7 from ann/topic");
    let before = house.check(Verdict::Error, &["not-asked"]).await;
    assert_eq!(before.reason.as_deref(), Some("no-review-evidence"));
    assert!(before.summary.contains("GITHUB_TOKEN is not set"), "{}", before.summary);
    house.approve("sue", &head);
    let good = house.check(Verdict::Pass, &[]).await;
    assert_eq!((good.tier, good.covered, good.known), (Some(Tier::E2), Some(1), Some(1)));
    assert_eq!(good.evidence[0].content["changesets"][0]["standing"]["by"], "sue");
}

#[tokio::test]
async fn the_authors_own_approval_and_a_stale_one_do_not_count() {
    let house = House::new();
    house.branch("topic");
    let first = house.work("Ann", "a.txt", "2\n", "First half");
    house.approve("sue", &first);
    let head = house.work("Ann", "a.txt", "3\n", "Second half");
    house.merge("topic", "Merge pull request #7 from ann/topic");
    house.check(Verdict::Fail, &["stale-approval"]).await;
    house.approve("ann", &head);
    let both = house.check(Verdict::Fail, &["stale-approval"]).await;
    let hint = both.hint.unwrap();
    assert!(hint.starts_with("1 change since v1.0.0 lack a senior approval: #7. Ask sue to approve"), "{hint}");
    house.approve("sue", &head);
    house.check(Verdict::Pass, &[]).await;
}

#[tokio::test]
async fn co_authors_and_second_addresses_are_authors() {
    let house = House::new();
    let commit = house.work("Ann", "a.txt", "2\n", "Together (#8)\n\nCo-authored-by: Sue Long <Sue@old.example>");
    house.approve("sue", &commit);
    house.check(Verdict::Pass, &[]).await;
    // The same person by .mailmap.
    let mapped = house.work("Ann", ".mailmap", "Sue <sue@example.com> <sue@old.example>\n", "Map (#9)");
    house.approve("sue", &mapped);
    house.check(Verdict::Fail, &["self-approval"]).await;
}

/// Whoever edits `.mailmap` in his change stays its author.
#[tokio::test]
async fn a_mailmap_makes_nobody_another_person() {
    let house = House::new();
    house
        .repo
        .write(".mailmap", "Joe <joe@example.com> Sue <sue@example.com>\nJoe <joe@example.com> <sue@example.com>\n");
    let own = house.work("Sue", "a.txt", "2\n", "My own (#8)");
    house.approve("sue", &own);
    let outcome = house.check(Verdict::Fail, &["self-approval"]).await;
    assert!(outcome.findings[0].message.contains("by Sue: approved by sue, who wrote part"), "{outcome:#?}");
    // Nor does one make a robot of somebody.
    house.repo.write(".mailmap", "renovate[bot] <renovate[bot]@example.com> <sue@example.com>\n");
    let bot = house.work("Sue", "a.txt", "3\n", "Bump (#9)");
    house.approve("sue", &bot);
    house.check(Verdict::Fail, &["self-approval", "self-approval"]).await;
}

#[tokio::test]
async fn direct_pushes_strangers_and_trailers() {
    let house = House::new();
    let first = house.work("Bob", "a.txt", "2\n", "Fix at once");
    // A note of the same house on something else: notes are in use here.
    house.approve("sue", &house.repo.git(&["rev-parse", "v1.0.0^{commit}"]));
    house.check(Verdict::Fail, &["direct-push"]).await;
    house.approve("ann", &first);
    house.check(Verdict::Fail, &["not-senior"]).await;
    house.approve("sue", &first);
    house.check(Verdict::Pass, &[]).await;
    house.work("Bob", "a.txt", "3\n", "Words\n\nReviewed-by: Sue <sue@example.com>");
    house.check(Verdict::Warn, &["unsigned-trailer"]).await;
    house.work("Bob", "a.txt", "4\n", "Own words\n\nReviewed-by: Bob <bob@example.com>");
    house.check(Verdict::Fail, &["direct-push", "unsigned-trailer"]).await;
}

#[tokio::test]
async fn bots_are_weaker_than_people() {
    let house = House::new();
    let bot = house.work("renovate[bot]", "a.txt", "2\n", "Bump (#9)");
    house.check(Verdict::Warn, &["bot-change"]).await;
    house.approve("sue", &bot);
    house.check(Verdict::Pass, &[]).await;
}

#[tokio::test]
async fn a_merge_that_adds_something_is_unreviewed() {
    let house = House::new();
    house.branch("topic");
    let head = house.work("Ann", "b.txt", "2\n", "Add b");
    house.approve("sue", &head);
    house.repo.git(&["checkout", "--quiet", "main"]);
    as_person(&house.repo, "Bob", &["merge", "--quiet", "--no-ff", "--no-commit", "topic"]);
    house.repo.write("c.txt", "smuggled\n");
    house.repo.git(&["add", "--all"]);
    as_person(&house.repo, "Bob", &["commit", "--quiet", "-m", "Merge pull request #7 from ann/topic"]);
    let evil = house.check(Verdict::Fail, &["evil-merge"]).await;
    assert!(evil.findings[0].message.contains("c.txt"), "{}", evil.findings[0].message);
    house.approve("sue", &house.repo.git(&["rev-parse", "HEAD"]));
    house.check(Verdict::Pass, &[]).await;
}

/// The approved commit is not in the history any more; what was approved is.
#[tokio::test]
async fn rebased_and_squashed_changes_keep_their_approval() {
    let house = House::new();
    house.branch("topic");
    let approved = house.work("Ann", "b.txt", "2\n", "Add b");
    house.approve("sue", &approved);
    house.repo.git(&["checkout", "--quiet", "main"]);
    let own = house.work("Bob", "a.txt", "2\n", "Meanwhile (#6)");
    house.approve("sue", &own);
    as_person(&house.repo, "Ann", &["cherry-pick", &approved]);
    house.check(Verdict::Pass, &[]).await;
    house.work("Ann", "b.txt", "3\n", "More");
    house.check(Verdict::Fail, &["direct-push"]).await;
}

#[tokio::test]
async fn forged_and_foreign_notes_do_not_count() {
    let house = House::new();
    let commit = house.work("Bob", "a.txt", "2\n", "Fix (#5)");
    // Signed by a key that nobody knows, even if the change under test enrols it.
    house.keygen(&["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", "eve"]);
    house.approve("eve", &commit);
    let unknown = house.check(Verdict::Fail, &["unapproved"]).await;
    let refused = unknown.evidence[0].content["refused_notes"].to_string();
    assert!(refused.contains("not in .hypercare/allowed_signers"), "{refused}");
    // Changed after it was signed.
    let text = format!("hypercare-review v1\ncommit: {commit}\nverdict: rejected\n");
    house.note_text("sue", &text, &commit);
    let note = house.repo.git(&["notes", "--ref=hypercare-review", "show", &commit]).replace("rejected", "approved");
    let file = house.keys.path().join("note");
    std::fs::write(&file, note).unwrap();
    house.repo.git(&["notes", "--ref=hypercare-review", "add", "-f", "-F", &file.to_string_lossy(), &commit]);
    house.check(Verdict::Fail, &["unapproved"]).await;
    // Taken back.
    house.approve("sue", &commit);
    house.check(Verdict::Pass, &[]).await;
    house.note_text("sue", &text, &commit);
    house.check(Verdict::Fail, &["unapproved"]).await;
}

#[tokio::test]
async fn more_approvals_and_teams_of_one() {
    let house = House::new();
    let commit = house.work("Bob", "a.txt", "2\n", "Fix (#5)");
    house.approve("sue", &commit);
    let two = Config { min_approvals: 2, ..Config::default() };
    expect(&house.outcome_with(&two, false, None).await, Verdict::Fail, &["too-few-approvals"]);
    house.approve("ann", &commit);
    expect(&house.outcome_with(&two, false, None).await, Verdict::Pass, &[]);
    let named = Config { senior: vec!["cto@example.com".into()], ..Config::default() };
    expect(&house.outcome_with(&named, false, None).await, Verdict::Fail, &["not-senior"]);
    let external = Config { external: true, ..named };
    expect(&house.outcome_with(&external, false, None).await, Verdict::Pass, &[]);
    let team = Config { senior: vec!["@acme/core".into()], ..Config::default() };
    expect(&house.outcome_with(&team, false, None).await, Verdict::Warn, &["senior-unknown"]);
}

#[tokio::test]
async fn nothing_since_the_tag_is_skipped_and_a_shallow_clone_is_an_error() {
    let house = House::new();
    let skip = house.check(Verdict::Skip, &[]).await;
    assert!(skip.summary.contains("no commit since v1.0.0"), "{}", skip.summary);
    house.work("Bob", "a.txt", "2\n", "Fix (#5)");
    house.repo.tag("v1.1.0");
    house.check(Verdict::Skip, &[]).await;
    let release = house.outcome_with(&Config::default(), true, None).await;
    assert_eq!(release.reason.as_deref(), Some("no-review-evidence"));
    let clone = tempfile::tempdir().unwrap();
    let from = format!("file://{}", house.repo.path().display());
    let to: &Path = &clone.path().join("c");
    house.repo.git(&["clone", "--quiet", "--depth", "1", &from, &to.to_string_lossy()]);
    let repo = walk::open(to).unwrap();
    let shallow = review(repo, &Config::default(), true, testing::NOW, Told::default()).await;
    assert_eq!((shallow.verdict, shallow.reason.as_deref()), (Verdict::Error, Some("shallow-clone")));
    assert!(shallow.hint.unwrap().contains("--unshallow"));
}

/// Replies of GitHub for one squashed request.
async fn on_github(house: &House, reviews: serde_json::Value, pulls: Option<serde_json::Value>) -> Outcome {
    let pull = serde_json::json!([{"number": 7, "html_url": "https://github.example/acme/shop/pull/7",
        "user": {"login": "ann"}, "head": {"sha": "bbbb"}, "merged_at": "2026-11-20T10:00:00Z",
        "merged_by": {"login": "sue"}}]);
    let commits = serde_json::json!([{"author": {"login": "ann"}, "committer": {"login": "ann"},
        "commit": {"author": {"email": "ann@example.com"}, "committer": {"email": "ann@example.com"}}}]);
    let server = forge(vec![
        ("/pulls/7/reviews", reviews.to_string()),
        ("/pulls/7/commits", commits.to_string()),
        ("/pulls?", pulls.unwrap_or(pull).to_string()),
    ])
    .await;
    let (_dir, ctx) = testing::context(|_| {});
    let forge = connect(Kind::GitHub, &server, &ctx);
    house.outcome_with(&Config::default(), false, Some(forge)).await
}

#[tokio::test]
async fn approvals_on_the_forge() {
    let house = House::new();
    house.work("Ann", "a.txt", "2\n", "Squashed (#7)");
    let review = |who: &str, kind: &str, commit: &str| serde_json::json!({"user": {"login": who, "type": kind}, "state": "APPROVED", "commit_id": commit});
    let of = async |reviews: serde_json::Value| on_github(&house, reviews, None).await;
    expect(&of(serde_json::json!([review("Sue", "User", "bbbb")])).await, Verdict::Pass, &[]);
    expect(&of(serde_json::json!([review("sue", "User", "aaaa")])).await, Verdict::Fail, &["stale-approval"]);
    expect(&of(serde_json::json!([review("ann", "User", "bbbb")])).await, Verdict::Fail, &["self-approval"]);
    expect(&of(serde_json::json!([review("joe", "User", "bbbb")])).await, Verdict::Fail, &["not-senior"]);
    expect(&of(serde_json::json!([review("scan[bot]", "Bot", "bbbb")])).await, Verdict::Fail, &["bot-approval"]);
    let none = of(serde_json::json!([])).await;
    expect(&none, Verdict::Fail, &["unapproved"]);
    assert!(none.findings[0].message.contains("merged by sue, which is not an approval"));
    expect(
        &on_github(&house, serde_json::json!([]), Some(serde_json::json!([]))).await,
        Verdict::Fail,
        &["direct-push"],
    );
}

/// What `gh pr list --json` says, where no token is.
#[tokio::test]
async fn approvals_from_an_export() {
    let house = House::new();
    let (head, landed) = ("b".repeat(40), house.work("Ann", "a.txt", "2\n", "Squashed (#7)"));
    let by = async |who: &str, at: &str| {
        let text = serde_json::json!([{"number": 7, "url": "https://github.com/acme/shop/pull/7", "author": {"login": "ann"},
            "headRefOid": head, "mergeCommit": {"oid": landed}, "mergedBy": {"login": "sue"},
            "commits": [{"authors": [{"login": "ann", "email": "ann@example.com", "name": "Ann"}]}],
            "reviews": [{"author": {"login": who}, "state": "APPROVED", "commit": {"oid": at}}]}]);
        let read = crate::gates::import::reviews::parse(&text.to_string()).unwrap();
        let exported = Exported::holding("reviews.json", read.changes);
        let repo = walk::open(house.repo.path()).unwrap();
        let told = Told { exported, no_forge: Some("GITHUB_TOKEN is not set".into()), ..Told::default() };
        review(repo, &Config::default(), false, testing::NOW, told).await
    };
    let good = by("Sue", &head).await;
    expect(&good, Verdict::Pass, &[]);
    assert_eq!(good.evidence[0].content["exports"]["used"][0], "reviews.json");
    expect(&by("ann", &head).await, Verdict::Fail, &["self-approval"]);
    expect(&by("joe", &head).await, Verdict::Fail, &["not-senior"]);
    expect(&by("sue", &"a".repeat(40)).await, Verdict::Fail, &["stale-approval"]);
    // What it does not mention is not known, and no push behind everybody's back.
    house.work("Bob", "a.txt", "3\n", "Later");
    let later = by("sue", &head).await;
    expect(&later, Verdict::Error, &["not-asked"]);
    assert!(later.summary.contains("reviews.json mentions no request that brought it"), "{}", later.summary);
}

/// How the main branch is guarded is advice: it changes no verdict.
#[tokio::test]
async fn the_branchs_protection_is_told_beside() {
    let house = House::new();
    let squashed = house.work("Ann", "a.txt", "2\n", "Squashed (#7)");
    house.approve("sue", &squashed);
    let server = forge(vec![
        ("/pulls?", "[]".to_string()),
        ("/shop/branches/main$", "{\"protected\": false}".to_string()),
        ("/repos/acme/shop$", "{\"default_branch\": \"main\"}".to_string()),
    ])
    .await;
    let (_dir, ctx) = testing::context(|_| {});
    let outcome = house.outcome_with(&Config::default(), false, Some(connect(Kind::GitHub, &server, &ctx))).await;
    expect(&outcome, Verdict::Pass, &["branch-unprotected"]);
    assert_eq!(outcome.findings[0].severity, Severity::Info);
    assert_eq!(outcome.evidence[0].content["branch_protection"]["protected"], false);
}

#[tokio::test]
async fn a_forge_that_refuses_is_an_error() {
    let house = House::new();
    house.work("Ann", "a.txt", "2\n", "Squashed (#7)");
    let server = crate::net::tests_support::serve(|_| crate::net::tests_support::Served::with(401, &[], b"{}")).await;
    let (_dir, ctx) = testing::context(|_| {});
    let forge = connect(Kind::GitHub, &server, &ctx);
    let repo = walk::open(house.repo.path()).unwrap();
    let told = Told { forge: Some(forge), ..Told::default() };
    let outcome = review(repo, &Config::default(), false, testing::NOW, told).await;
    expect(&outcome, Verdict::Error, &["not-asked"]);
    assert!(outcome.summary.contains("the token is not accepted"), "{}", outcome.summary);
}

/// A signature is not reviewed by another signature; who may sign is.
#[tokio::test]
async fn signed_statements_are_no_changes() {
    let house = House::new();
    house.work("Bob", ".hypercare/attestations/qa.json", "{}", "Attest the checkout");
    house.work("Bob", ".hypercare/waivers/w.json.bob.sig", "x", "Approve the waiver");
    let outcome = house.check(Verdict::Skip, &[]).await;
    assert_eq!(outcome.summary, "2 commits since v1.0.0, of signed statements alone");
    house.work("Bob", ".hypercare/allowed_signers", "bob ssh-ed25519 AAAA", "Enrol myself");
    let outcome = house.check(Verdict::Error, &["not-asked"]).await;
    assert!(outcome.summary.starts_with("no review is known of 1 of 1 change since v1.0.0"), "{}", outcome.summary);
    house.work("Bob", ".hypercare/waivers/../../a.txt", "2\n", "Hide a change");
    house.check(Verdict::Error, &["not-asked", "not-asked"]).await;
}
