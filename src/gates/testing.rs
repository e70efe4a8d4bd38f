//! What gate tests share: a repository made of texts in a temporary folder. Real files and real git, no doubles.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::context::{Repo, RepoFile};
use super::facts::{Fact, Facts, git::Git};
use super::{Config, Gate, GateContext, sweep};
use crate::domain::clock::{ManualClock, Timestamp};
use crate::domain::service::Profile;
use crate::domain::verdict::{Finding, Outcome, Severity, Verdict};
use crate::net::Client;
use crate::net::safety::{Guard, Safety};

/// A plain folder with these files. The folder lives as long as the first half of the pair.
pub fn repo(files: &[(&str, &str)]) -> (tempfile::TempDir, Repo) {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        write(dir.path(), path, text.as_bytes());
    }
    let repo = open(dir.path());
    (dir, repo)
}

/// The same, committed to git.
pub fn git_repo(files: &[(&str, &str)]) -> (tempfile::TempDir, Repo) {
    let (dir, _) = repo(files);
    git(dir.path(), &["init", "-q", "-b", "main"]);
    commit(dir.path(), "start");
    let repo = open(dir.path());
    (dir, repo)
}

pub fn write(root: &Path, path: &str, bytes: &[u8]) {
    let full = root.join(path);
    std::fs::create_dir_all(full.parent().unwrap()).unwrap();
    std::fs::write(full, bytes).unwrap();
}

/// Adds everything and commits it.
pub fn commit(root: &Path, message: &str) {
    git(root, &["add", "-A"]);
    git(root, &["commit", "-q", "--allow-empty", "-m", message]);
}

/// Runs git with an identity of its own; panics with its message when it fails.
pub fn git(root: &Path, args: &[&str]) -> String {
    let output = std::process::Command::new("git")
        .arg("-C")
        .arg(root)
        .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "commit.gpgsign=false"])
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_string()
}

/// Walks the folder again, after a test has changed it.
pub fn open(root: &Path) -> Repo {
    let mut files = Vec::new();
    for entry in ignore::WalkBuilder::new(root).hidden(false).filter_entry(|e| e.file_name() != ".git").build() {
        let entry = entry.unwrap();
        if entry.file_type().is_some_and(|t| t.is_file()) {
            let path = entry.path().strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
            files.push(RepoFile { path, bytes: entry.metadata().unwrap().len() });
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let git = root.join(".git").exists().then(|| Git::discover(root)).flatten();
    Repo::new(root.to_path_buf(), git, files)
}

/// What a gate says, after the read of the files that it asks for.
pub async fn answer(gate: &dyn Gate, ctx: &GateContext) -> Outcome {
    if let (Some(repo), Some(part)) = (&ctx.repo, gate.reader(ctx)) {
        sweep::sweep(repo, vec![(gate.about().id, part)], &AtomicBool::new(false), |_| {}, &ctx.swept);
    }
    gate.check(ctx).await
}

/// Asserts the verdict, `rule file:line` of every finding that is no note, and that no pass is over nothing.
#[track_caller]
pub fn says(outcome: &Outcome, verdict: Verdict, expect: &[&str]) {
    let shown = |f: &Finding| {
        let allowed = if f.suppressed.is_some() { " (allowed)" } else { "" };
        format!("{} {}:{}{allowed}", f.rule, f.file.as_deref().unwrap_or_default(), f.line.unwrap_or(0))
    };
    let got: Vec<String> = outcome.findings.iter().filter(|f| f.severity > Severity::Info).map(shown).collect();
    let got: Vec<&str> = got.iter().map(String::as_str).collect();
    assert_eq!((outcome.verdict, got), (verdict, expect.to_vec()), "{outcome:#?}");
    assert!(verdict != Verdict::Pass || outcome.covered.is_some_and(|n| n > 0), "a pass over nothing");
}

/// Facts without places.
pub fn facts(facts: &[(&'static str, &str)]) -> Facts {
    let facts =
        facts.iter().map(|(kind, value)| Fact { kind, value: value.to_string(), file: String::new(), line: None });
    Facts { facts: facts.collect() }
}

/// 2026-11-22T10:00:00Z, the day on which tests happen.
pub const NOW: Timestamp = Timestamp::from_ms(1_795_341_600_000);

/// A context with nothing in it; `change` adds what the test is about. The folder holds the run's ledger.
pub fn context(change: impl FnOnce(&mut GateContext)) -> (tempfile::TempDir, GateContext) {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(NOW);
    let run_dir = dir.path().join(".hypercare/runs/test");
    // Nobody else is on a test's own server: no need to be polite to it.
    let safety = Safety { rps: 1000, ..Safety::default() };
    let guard = Guard::new(Client::new(), safety, vec![], run_dir, "test".into(), clock.clone()).unwrap();
    let mut ctx = GateContext {
        service: "shop".into(),
        repo: None,
        facts: Arc::default(),
        profile: Profile::WebApp,
        target: None,
        unreachable: None,
        rid: Default::default(),
        config: Arc::new(Config::default()),
        guard,
        clock,
        release_mode: false,
        allow_exec: false,
        receipts: Default::default(),
        evidence: Default::default(),
        wanted_base: None,
        channels: Vec::new(),
        earlier: Default::default(),
        load_totals: Default::default(),
        swept: Default::default(),
        inventory: Default::default(),
        sessions: Default::default(),
        cache: None,
        people: Default::default(),
        fingerprint_key: None,
        progress: Arc::new(|_, _| {}),
    };
    change(&mut ctx);
    (dir, ctx)
}
