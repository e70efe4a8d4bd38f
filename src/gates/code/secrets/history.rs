//! Secrets that were in the repository once: every line that any commit added. Deleting a line does not un-leak it.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::time::Duration;

use super::files;
use super::scan::{Hit, Value, scan};
use crate::gates::facts::git::{Git, GitError};

/// A secret in the commit that brought it.
#[derive(Debug)]
pub(super) struct Past {
    pub hit: Hit,
    pub path: String,
    pub line: u32,
    /// The line with the secret masked.
    pub masked: String,
    pub commit: String,
    /// ISO 8601.
    pub author_date: String,
}

/// What the history has that the work tree has not.
#[derive(Debug, Default)]
pub(super) struct History {
    pub past: Vec<Past>,
    pub commits: u64,
    /// The clone does not go back to the beginning.
    pub shallow: bool,
}

/// A patch larger than this is data.
const PATCH_BYTES_MAX: usize = 8 << 20;

/// Lines that a commit added to a file, one after the other.
#[derive(Default)]
struct Added {
    path: String,
    text: Vec<u8>,
    /// (offset in the text, line in the file) where each hunk begins.
    hunks: Vec<(usize, u32)>,
}

/// Looks through all commits of all branches and tags, at most for `time`. `present` are the secrets of the work tree.
pub(super) fn look(git: &Git, present: &HashSet<Value>, time: Duration) -> Result<History, GitError> {
    let shallow = git.run(&["rev-parse", "--is-shallow-repository"])?.trim() == "true";
    let mut out = History { shallow, ..History::default() };
    let mut found: HashMap<(&'static str, Value), Past> = HashMap::new();
    let (mut commit, mut added) = ((String::new(), String::new()), Added::default());
    let args = [
        "log",
        "--all",
        "--patch",
        "--unified=0",
        "--no-color",
        "--no-ext-diff",
        "--no-textconv",
        "--no-renames",
        "--diff-filter=AM",
        "--src-prefix=a/",
        "--dst-prefix=b/",
        "--format=%x00%H %aI",
    ];
    git.stream(&args, time, |line| {
        if let Some(head) = line.strip_prefix(b"\0") {
            added.scan(&commit, present, &mut found);
            let head = String::from_utf8_lossy(head);
            let (hash, date) = head.trim().split_once(' ').unwrap_or((&head, ""));
            commit = (hash.to_string(), date.to_string());
            out.commits += 1;
        } else if let Some(path) = line.strip_prefix(b"+++ b/") {
            added.scan(&commit, present, &mut found);
            added.path = String::from_utf8_lossy(path).trim_end().to_string();
        } else if line.starts_with(b"@@ ") {
            added.hunks.push((added.text.len(), first_line(line)));
        } else if let Some(text) = line.strip_prefix(b"+").filter(|_| !line.starts_with(b"+++ "))
            && added.text.len() < PATCH_BYTES_MAX
        {
            added.text.extend_from_slice(text);
        }
        ControlFlow::Continue(())
    })?;
    added.scan(&commit, present, &mut found);
    out.past = found.into_values().collect();
    out.past.sort_by(|a, b| (&a.path, a.line, a.hit.rule).cmp(&(&b.path, b.line, b.hit.rule)));
    Ok(out)
}

/// `@@ -1,2 +3,4 @@`: 3.
fn first_line(hunk: &[u8]) -> u32 {
    let text = String::from_utf8_lossy(hunk);
    let number = text.split(" +").nth(1).map(|t| t.bytes().take_while(u8::is_ascii_digit).collect::<Vec<u8>>());
    number.and_then(|digits| String::from_utf8(digits).ok()?.parse().ok()).unwrap_or(1)
}

impl Added {
    /// Keeps what is new; the log goes back in time, so the last one to report a secret brought it.
    fn scan(
        &mut self,
        (commit, date): &(String, String),
        present: &HashSet<Value>,
        found: &mut HashMap<(&'static str, Value), Past>,
    ) {
        let text = std::mem::take(&mut self.text);
        let hunks = std::mem::take(&mut self.hunks);
        let Some(view) = files::view(&self.path, &text).filter(|_| !text.is_empty()) else { return };
        for hit in scan(&text, &self.path, view).into_iter().filter(|h| !present.contains(&h.value)) {
            let hunk = hunks.iter().rev().find(|(at, _)| *at <= hit.place.start).copied().unwrap_or((0, 1));
            let before = text[hunk.0..hit.place.start].iter().filter(|b| **b == b'\n').count() as u32;
            let masked = super::masked(&text, &hit.place);
            let (path, line) = (self.path.clone(), hunk.1 + before);
            let past = Past { path, line, masked, commit: commit.clone(), author_date: date.clone(), hit };
            found.insert((past.hit.rule, past.hit.value.clone()), past);
        }
    }
}
