//! How old reports are beside the sources that they speak of: by a sidecar's commit, their own word, git, or file times.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use super::super::coverage::Config;
use super::super::reports;
use super::super::syntax::Source;
use super::matters;
use crate::domain::clock::Timestamp;
use crate::gates::context::Repo;

/// When reports and sources were made.
pub(super) struct Dates<'r> {
    repo: &'r Repo,
    sources: &'r [(&'r str, Source)],
    times: OnceCell<Vec<(&'r str, Timestamp)>>,
    /// The repository's folder below git's top level: empty, or ending in `/`.
    prefix: String,
    /// Changed or new against HEAD, below the repository's folder.
    dirty: BTreeSet<String>,
}

impl<'r> Dates<'r> {
    pub(super) fn new(repo: &'r Repo, sources: &'r [(&'r str, Source)]) -> Dates<'r> {
        let prefix = repo.git.as_ref().map(|git| git.below(&repo.root)).unwrap_or_default();
        let changes = repo.git.as_ref().and_then(|git| git.work_tree().changes().ok());
        let dirty = changes
            .into_iter()
            .flatten()
            .filter_map(|(_, path)| path.strip_prefix(prefix.as_str()).map(str::to_string))
            .collect();
        Dates { repo, sources, times: OnceCell::new(), prefix, dirty }
    }

    /// Sources that a report speaks of, with their modification times; asked for once there is a report.
    fn times(&self) -> &[(&'r str, Timestamp)] {
        let time = |path: &str| self.repo.root.join(path).metadata().map(|m| reports::modified(&m)).unwrap_or_default();
        let times = || self.sources.iter().filter(|(p, _)| matters(p)).map(|(p, _)| (*p, time(p))).collect();
        self.times.get_or_init(times)
    }

    /// Time of the last commit that touched any of `paths`.
    fn committed(&self, paths: &[&str]) -> Option<Timestamp> {
        let git = self.repo.git.as_ref()?;
        let paths: Vec<String> = paths.iter().map(|p| format!(":(literal){}{p}", self.prefix)).collect();
        let mut args = vec!["log", "-1", "--format=%ct", "HEAD", "--"];
        args.extend(paths.iter().map(String::as_str));
        git.run(&args).ok()?.trim().parse::<i64>().ok().map(|s| Timestamp::from_ms(s * 1000))
    }

    /// When a report was made and what says so. Its own word can only make it older than its file.
    pub(super) fn of(&self, path: &str, modified: Timestamp, own: Option<Timestamp>) -> (Timestamp, &'static str) {
        if let Some(own) = own.filter(|own| *own <= modified) {
            return (own, "report");
        }
        // A clone writes every file anew: for a tracked report the commit's time counts.
        match self.committed(&[path]).filter(|_| !self.dirty.contains(path)) {
            Some(at) => (at, "git"),
            None => (modified, "file"),
        }
    }

    /// The commit that `FILE.hc.json` binds the report to.
    pub(super) fn sidecar(&self, path: &str) -> Option<String> {
        let text = std::fs::read(self.repo.root.join(format!("{path}.hc.json"))).ok()?;
        let value: serde_json::Value = serde_json::from_slice(&text).ok()?;
        let commit = value["commit"].as_str()?.to_string();
        (commit.len() >= 7 && commit.bytes().all(|b| b.is_ascii_hexdigit())).then_some(commit)
    }

    /// Why the report says nothing about today's sources; `None` when it does.
    pub(super) fn stale(&self, path: &str, made_at: Timestamp, config: &Config, now: Timestamp) -> Option<String> {
        let age = now.since(made_at);
        if age > config.max_age.get() {
            return Some(format!("made {}, older than {}", made_at.rfc3339(), config.max_age));
        }
        if let (Some(commit), Some(git)) = (self.sidecar(path), &self.repo.git) {
            let Ok(names) = git.run(&["diff", "--name-only", "-z", &commit, "HEAD"]) else {
                return Some(format!("bound to commit {commit}, which is not in this repository"));
            };
            let changed = names.split('\0').filter_map(|n| n.strip_prefix(self.prefix.as_str()));
            let source = changed.chain(self.dirty.iter().map(String::as_str)).find(|n| Source::of(n).is_some());
            return source.map(|s| format!("bound to commit {commit}, but {s} has changed since"));
        }
        let newer: Vec<&str> = self.times().iter().filter(|(_, at)| *at > made_at).map(|(p, _)| *p).collect();
        let first = newer.first()?;
        let older = |than: &str| Some(format!("older than {than}"));
        if self.repo.git.is_none() {
            return older(first);
        }
        if let Some(dirty) = newer.iter().find(|p| self.dirty.contains(**p)) {
            return older(dirty);
        }
        // Committed files only look newer after a checkout; their commits know better.
        newer.chunks(PATHS_PER_CALL).find_map(|paths| {
            let at = self.committed(paths)?;
            (at > made_at).then(|| older(&format!("the commit of {} that changed {}", at.rfc3339(), list(paths))))?
        })
    }
}

/// Command lines are limited; a thousand paths fit on every system.
const PATHS_PER_CALL: usize = 500;

fn list(paths: &[&str]) -> String {
    match paths {
        [one] => one.to_string(),
        [first, rest @ ..] => format!("{first} or {} more", rest.len()),
        [] => String::new(),
    }
}
