//! Real repositories made with git: everywhere that a secret may hide in a history.

use std::io::Write as _;

use crate::domain::verdict::{Outcome, Verdict};
use crate::gates::code::secrets::checks::github_token;
use crate::gates::code::secrets::{Config, judge, tests::look as seen};
use crate::gates::facts::git::scratch::Scratch;
use crate::gates::testing;

/// A token of its own for each number, and none of them here.
fn token(n: u8) -> String {
    let letter =
        |i: u64| char::from(b"aZbY3cXdW4eVfU5gT6hS7iRjQ8kP"[(i * 7 + u64::from(n) * 11 + i * i) as usize % 28]);
    github_token("ghp_", &(0..30).map(letter).collect::<String>())
}

fn judged(repo: &Scratch) -> Outcome {
    judge(&seen(&testing::open(repo.path()), &Config::default()))
}

/// `file:line` of each secret that is no longer there.
fn places(outcome: &Outcome) -> Vec<String> {
    let gone = outcome.findings.iter().filter(|f| f.message.contains("no longer there"));
    gone.map(|f| format!("{}:{}", f.file.as_deref().unwrap_or_default(), f.line.unwrap_or_default())).collect()
}

fn range(outcome: &Outcome) -> serde_json::Value {
    outcome.evidence[0].content["history"].clone()
}

#[test]
fn all_refs_and_what_only_a_merge_brought() {
    let repo = Scratch::new();
    repo.write("a.js", "1\n").commit("start");
    repo.git(&["checkout", "-q", "-b", "side"]);
    repo.write("side.js", &format!("\nx('{}')\n", token(1))).write("both.js", "side\n").commit("side");
    repo.git(&["checkout", "-q", "main"]);
    repo.write("both.js", "main\n").commit("main");
    // Nothing but the merge has this line.
    repo.git(&["merge", "-q", "--no-commit", "-X", "ours", "side"]);
    repo.write("both.js", &format!("main\nside\nx('{}')\n", token(2))).commit("merge");
    repo.write("both.js", "clean\n");
    std::fs::remove_file(repo.path().join("side.js")).unwrap();
    repo.commit("clean");
    // A tag on a commit that no branch has, and two stashes.
    repo.git(&["checkout", "-q", "--detach"]);
    repo.write("tagged.js", &format!("x('{}')\n", token(3))).commit("tagged").tag("v0");
    repo.git(&["checkout", "-q", "main"]);
    for n in [4, 5] {
        repo.write("a.js", &format!("1\nx('{}')\n", token(n)));
        repo.git(&["stash", "push", "-q"]);
    }
    let outcome = judged(&repo);
    assert_eq!(places(&outcome), ["a.js:2", "a.js:2", "both.js:3", "side.js:2", "tagged.js:1"]);
    let range = range(&outcome);
    assert_eq!(range["refs"], serde_json::json!({"heads": 2, "tags": 1, "stash": 1}));
    assert_eq!((&range["shallow"], range["merges"].as_u64() >= Some(1)), (&false.into(), true));
    for n in 1..=5 {
        assert!(!format!("{outcome:?}").contains(&token(n)[4..]));
    }
}

#[test]
fn messages_and_contents_without_lines() {
    let repo = Scratch::new();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(format!("a\ntoken={}\n", token(1)).as_bytes()).unwrap();
    testing::write(repo.path(), "dump.env.gz", &packed.finish().unwrap());
    let wide: Vec<u8> =
        format!("\u{feff}\r\nkey = {}\r\n", token(2)).encode_utf16().flat_map(u16::to_le_bytes).collect();
    testing::write(repo.path(), "settings.ini", &wide);
    repo.write("b.dat", &format!("x('{}')\n", token(3))).write(".gitattributes", "*.dat -diff\n").commit("add");
    for file in ["dump.env.gz", "settings.ini", "b.dat"] {
        std::fs::remove_file(repo.path().join(file)).unwrap();
    }
    repo.commit(&format!("remove\n\nthe old one was {}", token(4)));
    let outcome = judged(&repo);
    let head = repo.git(&["rev-parse", "HEAD"]);
    let message = format!(".git/commit/{}:3", &head[..12]);
    assert_eq!(places(&outcome), [&message, "b.dat:1", "dump.env.gz!dump.env:2", "settings.ini:2"]);
    assert_eq!((&range(&outcome)["contents"], &range(&outcome)["contents_left_out"]), (&3.into(), &0.into()));
}

#[test]
fn the_oldest_commit_brought_it_and_no_line_is_taken_for_a_head() {
    let repo = Scratch::new();
    let line = |n| format!("++ b/other.js\n++ x\nx('{}')\n", token(n));
    repo.write("a.js", &line(1)).write("ä \"b\".js", &line(2));
    repo.git(&["add", "-A"]);
    repo.git_at("2020-01-02T03:04:05Z", &["commit", "-q", "-m", "old"]);
    repo.write("a.js", "").write("ä \"b\".js", "").commit("clean");
    repo.write("c.js", &line(1)).commit("again");
    repo.write("c.js", "").commit("clean");
    let outcome = judged(&repo);
    assert_eq!(places(&outcome), ["a.js:3", "ä \"b\".js:3"]);
    assert!(outcome.findings[0].message.contains("of 2020-01-02T03:04:05"), "{}", outcome.findings[0].message);
}

#[test]
fn what_is_missing_is_said_and_the_rest_is_read() {
    let repo = Scratch::new();
    repo.write("a.js", &format!("x('{}')\n", token(1))).commit("first");
    repo.write("b.js", "broken\n").commit("second");
    let blob = repo.git(&["rev-parse", "HEAD:b.js"]);
    std::fs::remove_file(repo.path().join("a.js")).unwrap();
    std::fs::remove_file(repo.path().join("b.js")).unwrap();
    repo.write("c.js", "1\n").commit("third");
    std::fs::remove_file(repo.path().join(".git/objects").join(&blob[..2]).join(&blob[2..])).unwrap();
    let outcome = judged(&repo);
    assert_eq!((outcome.verdict, places(&outcome)), (Verdict::Fail, vec!["a.js:1".to_string()]));
    assert!(outcome.summary.contains("objects of 1 commit are missing"), "{}", outcome.summary);
    assert_eq!(range(&outcome)["commits_unread"], 1);
}

#[test]
fn a_file_of_the_first_commit_is_read_unless_the_disk_still_has_it() {
    let repo = Scratch::new();
    let text = |n| format!("x('{}')\n", token(n));
    repo.write("same.js", "1\n").write("edited.js", &text(1)).write("moved.js", &text(2)).write("gone.js", &text(3));
    repo.commit("import");
    repo.git(&["mv", "moved.js", "there.js"]);
    std::fs::remove_file(repo.path().join("gone.js")).unwrap();
    repo.commit("tidy");
    repo.write("edited.js", "clean, not yet committed\n");
    let outcome = judged(&repo);
    // What was only moved is in the work tree, and told of there.
    assert_eq!(places(&outcome), ["edited.js:1", "gone.js:1"]);
    assert_eq!(range(&outcome)["contents"], 3);
}
