//! Counts, growth and endings of `meta.suppressions`, on real git repositories.

use super::*;
use crate::domain::verdict::Verdict;
use crate::gates::people::{self, People};
use crate::gates::testing::{self, NOW, commit, write};

/// `a.js` with so many suppressing comments.
fn source(n: usize) -> String {
    (0..n).map(|i| format!("f({i}) // hypercare:allow code.leftover_debug -- reason {i}\n")).collect()
}

async fn run(mut repo: Repo, change: impl FnOnce(&mut GateContext)) -> Outcome {
    repo.baseline = Baseline::read(&repo, None).into();
    let (_dir, ctx) = testing::context(|ctx| {
        ctx.repo = Some(repo);
        change(ctx);
    });
    Suppressions.check(&ctx).await
}

fn rules(outcome: &Outcome) -> String {
    let rules = outcome.findings.iter().map(|f| f.rule.as_str()).collect::<Vec<_>>().join(",");
    format!("{} {}", outcome.verdict.word(), outcome.reason.clone().unwrap_or(rules)).trim().to_string()
}

#[tokio::test]
async fn few_are_fine_and_many_warn() {
    for (n, expect) in [(0, "pass"), (25, "pass"), (26, "warn many-comments")] {
        let (_dir, repo) = testing::git_repo(&[("a.js", &source(n)), ("b.md", &source(9))]);
        let outcome = run(repo, |_| {}).await;
        assert_eq!(rules(&outcome), expect, "{outcome:#?}");
        assert_eq!(outcome.value, Some(n.into()));
        let (_dir, plain) = testing::repo(&[("a.js", &source(n)), ("b.md", &source(9))]);
        assert_eq!(rules(&run(plain, |_| {}).await), expect);
    }
    let text = "k = 1 # gitleaks:allow\nj = 2 # hypercare:allow code.secrets\nprint('hypercare:allow GATE')\n";
    let (_dir, repo) = testing::git_repo(&[("a.py", text)]);
    let outcome = run(repo, |_| {}).await;
    assert_eq!((rules(&outcome).as_str(), outcome.value.clone()), ("pass no-reason", Some(1.into())), "{outcome:#?}");
    assert_eq!(outcome.findings[0].line, Some(2));
}

#[tokio::test]
async fn growth_against_the_base_warns() {
    let (dir, _) = testing::git_repo(&[("src/a.js", &source(10))]);
    for (n, expect) in [(12, "pass"), (13, "warn comments-grown"), (3, "pass")] {
        write(dir.path(), "src/a.js", source(n).as_bytes());
        let outcome = run(testing::open(dir.path()), |_| {}).await;
        assert_eq!(rules(&outcome), expect, "{outcome:#?}");
    }
    write(dir.path(), "src/a.js", source(13).as_bytes());
    commit(dir.path(), "more");
    testing::git(dir.path(), &["branch", "base", "HEAD^"]);
    let repo = testing::open(dir.path());
    assert_eq!(
        rules(&run(repo.clone(), |ctx| ctx.wanted_base = Some(Wanted::option("base"))).await),
        "warn comments-grown"
    );
    let mut below = testing::open(&dir.path().join("src"));
    below.git = repo.git;
    assert_eq!(run(below, |_| {}).await.value, Some(13.into()), "a folder of a repository");
}

#[tokio::test]
async fn the_baseline_is_a_ratchet() {
    let entry = |print: &str, gate: &str| Entry {
        gate: gate.into(),
        rule: "console".into(),
        fingerprint: print.into(),
        count: 1,
        file: Some("a.js".into()),
        since: "2026-11-01".into(),
    };
    let own = "code.leftover_debug";
    let text = |entries: &[Entry]| Document::new(entries.to_vec()).text();
    let (dir, _) = testing::git_repo(&[(baseline::FILE, &text(&[entry("a", own)]))]);
    let check = async |entries: &[Entry], expect: &str| {
        write(dir.path(), baseline::FILE, text(entries).as_bytes());
        let outcome = run(testing::open(dir.path()), |_| {}).await;
        assert_eq!(rules(&outcome), expect, "{outcome:#?}");
        outcome
    };
    check(&[], "pass").await;
    check(&[entry("a", own)], "pass").await;
    let grown = check(&[entry("a", own), entry("b", own)], "fail baseline-grown").await;
    assert!(grown.findings[0].escalate && grown.verdict == Verdict::Fail);
    check(&[entry("a", own), entry("s", "code.secrets")], "warn baseline-refused").await;
    write(dir.path(), baseline::FILE, b"{");
    assert_eq!(rules(&run(testing::open(dir.path()), |_| {}).await), "error unreadable-baseline");
    write(dir.path(), baseline::FILE, text(&[entry("a", own)]).as_bytes());
    let mut lost = testing::open(dir.path());
    lost.baseline = Baseline::read(&lost, Some(&Wanted::option("release"))).into();
    let (_dir, ctx) = testing::context(|ctx| ctx.repo = Some(lost));
    assert_eq!(rules(&Suppressions.check(&ctx).await), "error no-base");
}

#[tokio::test]
async fn waivers_must_last_until_the_launch() {
    let (dir, _) = testing::git_repo(&[("a.js", "1")]);
    let week = Duration::from_secs(7 * 86_400);
    let file = waiver::draft("code.review", "reviewed on paper by two people", "ann", "bob", NOW, week);
    waiver::write(dir.path(), &file, NOW, Class::A).unwrap();
    for (days, expect) in [(None, "pass"), (Some(3), "pass"), (Some(8), "warn waiver-ends")] {
        let repo = testing::open(dir.path());
        let people = People::open(&repo, &people::About::default(), NOW);
        let outcome = run(repo, |ctx| {
            ctx.people = people.into();
            ctx.receipts.launch_at = days.map(|d| NOW.plus(Duration::from_secs(d * 86_400)));
        });
        assert_eq!(rules(&outcome.await), expect);
    }
    let (_dir, ctx) = testing::context(|_| {});
    assert_eq!(rules(&Suppressions.check(&ctx).await), "error no-repository");
    let (_dir, words) = testing::git_repo(&[("README.md", "words")]);
    assert_eq!(run(words, |_| {}).await.covered, Some(0), "nothing inspected never passes");
}
