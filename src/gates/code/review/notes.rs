//! Signed review notes: an approval without a forge. A note in `refs/notes/hypercare-review` holds one or more statements,
//! each followed by its SSH signature in the namespace `hypercare-review`:
//!
//! ```text
//! hypercare-review v1
//! commit: 9f3c2e1d…            the last pushed commit, in full
//! verdict: approved
//! -----BEGIN SSH SIGNATURE-----
//! ```
//!
//! Made by `hypercare review sign`, or with `ssh-keygen -Y sign -n hypercare-review` and `git notes`. Signers come from
//! `.hypercare/allowed_signers` of the base branch, so that nobody enrols himself in the change he approves.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::domain::clock::Timestamp;
use crate::domain::sshsig;
use crate::gates::facts::git::Git;
use crate::gates::people::trust::Trust;

pub const REF: &str = "hypercare-review";
pub const NAMESPACE: &str = "hypercare-review";
const FIRST_LINE: &str = "hypercare-review v1";
/// Notes of a few releases.
const NOTES_MAX: usize = 2000;
const STATEMENTS_PER_NOTE_MAX: usize = 20;

/// One statement whose signature is good and whose signer is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    pub commit: String,
    pub approves: bool,
    /// All names of the signer's key, lower case.
    pub by: BTreeSet<String>,
    pub key: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    /// Is there a single note?
    pub any: bool,
    pub good: Vec<Note>,
    /// Noted commit and why its statement does not count.
    pub bad: Vec<(String, String)>,
}

/// The text that a reviewer signs.
pub fn text(commit: &str, approves: bool) -> String {
    format!("{FIRST_LINE}\ncommit: {commit}\nverdict: {}\n", if approves { "approved" } else { "rejected" })
}

/// Blocking.
pub fn read(git: &Git, trust: &Trust, now: Timestamp) -> Notes {
    let listed = git.run(&["notes", "--ref", REF, "list"]).unwrap_or_default();
    let mut out = Notes { any: !listed.trim().is_empty(), ..Notes::default() };
    for line in listed.lines().take(NOTES_MAX) {
        let Some((blob, commit)) = line.split_once(' ') else { continue };
        let text = git.run(&["cat-file", "blob", blob]).unwrap_or_default();
        for statement in statements(&text) {
            match check(&statement, trust, now) {
                Ok(note) => out.good.push(note),
                Err(why) => out.bad.push((commit.to_string(), why)),
            }
        }
    }
    out
}

/// Signed text and signature, for each statement of a note.
fn statements(note: &str) -> Vec<(String, String)> {
    let mut out = Vec::new();
    let mut rest = note;
    while let Some(begin) = rest.find(FIRST_LINE).filter(|_| out.len() < STATEMENTS_PER_NOTE_MAX) {
        rest = &rest[begin..];
        let Some(end) = rest.find(sshsig::END) else { break };
        let whole = &rest[..end + sshsig::END.len()];
        if let Some((text, signature)) = whole.split_once(sshsig::BEGIN) {
            out.push((text.to_string(), format!("{}{signature}", sshsig::BEGIN)));
        }
        rest = &rest[end + sshsig::END.len()..];
    }
    out
}

fn check((text, signature): &(String, String), trust: &Trust, now: Timestamp) -> Result<Note, String> {
    let signer = trust.check(None, NAMESPACE, text.as_bytes(), signature, now)?;
    let field = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let commit = field("commit").unwrap_or_default().to_ascii_lowercase();
    if commit.len() < 40 || !commit.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err("the statement names no whole commit".into());
    }
    let approves = match field("verdict") {
        Some("approved") => true,
        Some("rejected") => false,
        _ => return Err("the statement says neither approved nor rejected".into()),
    };
    Ok(Note { commit, approves, by: signer.names, key: signer.key })
}

/// Do two commits say the same? The same tree, or the same change (`git patch-id --stable`): rebased and squashed
/// commits keep one or the other.
pub fn same_change(git: &Git, a: &str, b: &str) -> bool {
    let tree = |id: &str| git.run(&["rev-parse", "--verify", "--quiet", &format!("{id}^{{tree}}")]).ok();
    let Some((one, other)) = tree(a).zip(tree(b)) else { return false };
    if one == other {
        return true;
    }
    let patch = |id: &str| {
        let diff = git.run(&["diff-tree", "-p", "--root", "--no-commit-id", id]).ok().filter(|d| !d.is_empty())?;
        let answer = git.run_with(&["patch-id", "--stable"], diff).ok()?;
        answer.split_whitespace().next().map(str::to_string)
    };
    patch(a).zip(patch(b)).is_some_and(|(x, y)| x == y)
}
