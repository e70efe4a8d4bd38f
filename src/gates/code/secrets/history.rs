//! Secrets that were in the repository once: every line that any commit added, every message, what merges brought of
//! their own, what the first commits began with, and what git shows no lines of (archives, other encodings). Deleting a
//! line does not un-leak it.
//!
//! All refs count (branches, tags, notes, remotes, stashes) and `HEAD`. Lines are asked of several `git diff-tree` at a
//! time, so nothing is kept but what was found; contents are read by blob id, each once.

mod blobs;
mod patch;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use self::patch::{Added, Commit, Piece, Reader};
use super::files;
use super::gitleaks::{Asked, Gitleaks};
use super::hits;
use super::scan::{Hit, Value, scan};
use crate::gates::context::on_every_core;
use crate::gates::facts::git::{Git, GitError};

/// A secret in the commit that brought it.
#[derive(Debug)]
pub(super) struct Past {
    pub hit: Hit,
    /// `lib/a.jar!config.yml` within an archive; `.git/commit/<hash>` for a message.
    pub path: String,
    pub line: u32,
    /// The line with the secret masked.
    pub masked: String,
    pub commit: String,
    /// ISO 8601.
    pub author_date: String,
    /// The same in seconds.
    pub at: i64,
}

impl Past {
    /// As an allow list is asked about it; its line is told without the secret.
    pub fn asked(&self) -> Asked<'_> {
        let (secret, commit) = (&self.hit.value.0[..], Some(self.commit.as_str()));
        Asked { rule: self.hit.name(), path: &self.path, line: &self.masked, secret, matched: secret, commit }
    }
}

/// What the history has that the work tree has not, and how far it was looked at.
#[derive(Debug, Default)]
pub(super) struct History {
    pub past: Vec<Past>,
    pub commits: u64,
    pub merges: u64,
    /// Refs by kind: `heads`, `tags`, `remotes`, `stash`.
    pub refs: BTreeMap<String, u64>,
    /// Contents that git shows no lines of, and what merges made of files.
    pub blobs: u64,
    /// Of those, too large, or not readable in whole.
    pub blobs_left: u64,
    /// Commits whose contents are not all there: damaged, or cloned in part.
    pub unread: u64,
    /// The clone does not go back to the beginning.
    pub shallow: bool,
}

/// Commits that one `git diff-tree` is asked for: near ones have much in common.
const CHUNK: usize = 2_000;
/// After so many objects that are missing, most are.
const UNREAD_MAX: u64 = 200;

const DIFF: [&str; 9] =
    ["diff-tree", "--stdin", "--always", "--root", "-r", "--no-color", "--no-ext-diff", "--no-renames", patch::FORMAT];
const PATCH: [&str; 8] = [
    "--patch",
    "--unified=0",
    "--full-index",
    "--no-textconv",
    "--no-indent-heuristic",
    "--diff-filter=AMT",
    "--src-prefix=a/",
    "--dst-prefix=b/",
];

/// By rule and value, the oldest commit that has it.
#[derive(Default)]
struct Found(HashMap<(&'static str, Value), Past>);

impl Found {
    /// The oldest brought it.
    fn keep(&mut self, past: Past) {
        let key = (past.hit.rule, past.hit.value.clone());
        let older = |known: &Past| (past.at, &past.commit, &past.path) < (known.at, &known.commit, &known.path);
        if self.0.get(&key).is_none_or(older) {
            self.0.insert(key, past);
        }
    }

    fn join(&mut self, other: Found) {
        other.0.into_values().for_each(|past| self.keep(past));
    }
}

/// A content to be read, and where it was first met.
#[derive(Debug, Clone)]
struct Met {
    path: String,
    commit: Commit,
}

/// What one part of the history gave.
#[derive(Default)]
struct Part {
    found: Found,
    /// By blob id.
    met: HashMap<String, Met>,
    unread: u64,
}

impl Part {
    fn meet(&mut self, blob: String, met: Met) {
        let older = |known: &Met| (met.commit.at, &met.path) < (known.commit.at, &known.path);
        if !files::is_noise(&met.path) && self.met.get(&blob).is_none_or(older) {
            self.met.insert(blob, met);
        }
    }

    fn join(&mut self, other: Part) {
        self.found.join(other.found);
        self.unread += other.unread;
        other.met.into_iter().for_each(|(blob, met)| self.meet(blob, met));
    }
}

/// Looks through all commits of all refs, at most for `time`. `present` are the secrets of the work tree.
pub(super) fn look(git: &Git, own: &Gitleaks, present: &HashSet<Value>, time: Duration) -> Result<History, GitError> {
    let until = Instant::now() + time;
    let shallow = git.run(&["rev-parse", "--is-shallow-repository"])?.trim() == "true";
    let Commits { roots, plain, merges } = commits(git, until)?;
    let mut out = History { shallow, refs: refs(git)?, ..History::default() };
    out.merges = merges.len() as u64;
    out.commits = (roots.len() + plain.len()) as u64 + out.merges;

    let chunks: Vec<&[String]> = plain.chunks(CHUNK).collect();
    let mut all = Part::default();
    for part in on_every_core(&chunks, |chunk| lines(git, chunk, own, present, until)) {
        all.join(part?);
    }
    // A first commit, or the only one of a shallow clone, has whole files, most of them as the work tree still has them.
    all.join(made(git, &roots, &["--diff-filter=AMT"], present, until)?);
    all.join(made(git, &merges, &["-c"], present, until)?);
    let (found, blobs, left) = blobs::look(git, all.met, own, present, until)?;
    all.found.join(found);
    (out.blobs, out.blobs_left, out.unread) = (blobs, left, all.unread);
    out.past = all.found.0.into_values().collect();
    out.past.sort_by(|a, b| (&a.path, a.line, a.hit.rule).cmp(&(&b.path, b.line, b.hit.rule)));
    Ok(out)
}

/// By how many parents they have: none, one, more.
#[derive(Default)]
struct Commits {
    roots: Vec<String>,
    plain: Vec<String>,
    merges: Vec<String>,
}

fn commits(git: &Git, until: Instant) -> Result<Commits, GitError> {
    let mut out = Commits::default();
    // Older stashes are no refs: only their log names them.
    let stashes = git.run(&["rev-parse", "--verify", "--quiet", "refs/stash"]).is_ok();
    let stashes = if stashes { git.run(&["log", "-g", "--format=%H", "refs/stash"])? } else { String::new() };
    let mut args = vec!["rev-list", "--parents", "--all"];
    args.extend(stashes.lines().take(1_000));
    git.stream(&args, left(until), |line| {
        let line = String::from_utf8_lossy(line);
        let mut hashes = line.split_whitespace();
        if let Some(hash) = hashes.next() {
            let kind = match hashes.count() {
                0 => &mut out.roots,
                1 => &mut out.plain,
                _ => &mut out.merges,
            };
            kind.push(hash.to_string());
        }
        ControlFlow::Continue(())
    })?;
    Ok(out)
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

fn refs(git: &Git) -> Result<BTreeMap<String, u64>, GitError> {
    let mut out = BTreeMap::new();
    for name in git.run(&["for-each-ref", "--format=%(refname)"])?.lines() {
        let kind = name.trim_start_matches("refs/").split('/').next().unwrap_or(name);
        *out.entry(kind.to_string()).or_insert(0) += 1;
    }
    Ok(out)
}

/// Asks `git diff-tree` for these commits, and again for the rest when an object is missing. How often that was.
fn asked(
    git: &Git,
    how: &[&str],
    commits: &[String],
    until: Instant,
    mut each: impl FnMut(&Commit, Piece),
    mut other: impl FnMut(&Commit, &[u8]),
) -> Result<u64, GitError> {
    let (mut rest, mut unread) = (commits, 0);
    let args: Vec<&str> = DIFF.iter().chain(how).copied().collect();
    loop {
        let mut reader = Reader::default();
        let done = git.stream_with(&args, rest.join("\n") + "\n", left(until), |line| {
            other(&reader.commit, line);
            reader.line(line, &mut each);
            ControlFlow::Continue(())
        });
        reader.end(&mut each);
        match done {
            Ok(()) => return Ok(unread),
            Err(GitError::Failed { .. }) if unread < UNREAD_MAX => {
                // The one that it told of last.
                let at = rest.iter().position(|hash| *hash == reader.commit.hash).unwrap_or(0);
                unread += 1;
                rest = rest.get(at + 1..).unwrap_or_default();
                if rest.is_empty() {
                    return Ok(unread);
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// Every line that these commits added, and their messages.
fn lines(
    git: &Git,
    commits: &[String],
    own: &Gitleaks,
    present: &HashSet<Value>,
    until: Instant,
) -> Result<Part, GitError> {
    let mut part = Part::default();
    let each = |commit: &Commit, piece: Piece| match piece {
        Piece::Commit(message) => said(commit, &message, present, &mut part.found),
        Piece::Added(added) => added.scan(commit, own, present, &mut part.found),
        Piece::Binary { path, blob } => part.meet(blob, Met { path, commit: commit.clone() }),
    };
    let unread = asked(git, &PATCH, commits, until, each, |_, _| {})?;
    part.unread = unread;
    Ok(part)
}

/// The messages of these commits, and by their ids the files that they made: of a merge, those other than in any parent.
fn made(
    git: &Git,
    commits: &[String],
    how: &[&str],
    present: &HashSet<Value>,
    until: Instant,
) -> Result<Part, GitError> {
    let mut part = Part::default();
    if commits.is_empty() {
        return Ok(part);
    }
    let (mut found, mut made) = (Found::default(), Vec::new());
    let each = |commit: &Commit, piece: Piece| {
        if let Piece::Commit(message) = piece {
            said(commit, &message, present, &mut found);
        }
    };
    let other = |commit: &Commit, line: &[u8]| {
        if let Some((path, blob)) = patch::made(line) {
            made.push((blob, Met { path, commit: commit.clone() }));
        }
    };
    let how: Vec<&str> = how.iter().chain(&["--raw", "--no-abbrev"]).copied().collect();
    part.unread = asked(git, &how, commits, until, each, other)?;
    part.found = found;
    made.into_iter().for_each(|(blob, met)| part.meet(blob, met));
    Ok(part)
}

/// A secret in a commit's message.
fn said(commit: &Commit, message: &[u8], present: &HashSet<Value>, found: &mut Found) {
    let path = format!(".git/commit/{}", commit.hash.get(..12).unwrap_or(&commit.hash));
    // Prose: only tokens that say what they are.
    let Some(view) = files::view("message.md", message).map(|view| super::scan::View { names: false, ..view }) else {
        return;
    };
    for hit in scan(message, &path, view).into_iter().filter(|hit| !present.contains(&hit.value)) {
        let line = message[..hit.place.start].iter().filter(|b| **b == b'\n').count() as u32 + 1;
        let masked = super::masked(message, &hit.place);
        found.keep(past(hit, path.clone(), line, masked, commit));
    }
}

fn past(hit: Hit, path: String, line: u32, masked: String, commit: &Commit) -> Past {
    let Commit { hash, at, author_date } = commit.clone();
    Past { hit, path, line, masked, commit: hash, author_date, at }
}

impl Added {
    fn scan(&self, commit: &Commit, own: &Gitleaks, present: &HashSet<Value>, found: &mut Found) {
        let Some(view) = files::view(&self.path, &self.text) else { return };
        for hit in hits(&self.text, &self.path, view, own).into_iter().filter(|hit| !present.contains(&hit.value)) {
            let (line, masked) = (self.line(hit.place.start), super::masked(&self.text, &hit.place));
            found.keep(past(hit, self.path.clone(), line, masked, commit));
        }
    }
}

#[cfg(test)]
mod tests;
