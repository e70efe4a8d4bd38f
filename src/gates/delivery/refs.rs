//! The refs of a repository as `delivery.naming` reads them: one question to git, one table.

use serde::Serialize;

use crate::domain::clock::Timestamp;
use crate::gates::facts::git::{Git, GitError};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RefKind {
    Branch,
    Tag,
}

/// One branch (local, or of `origin` when there is no local one) or tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ref {
    pub kind: RefKind,
    /// `release/v1.4.0`, without `refs/heads/` or `origin/`.
    pub name: String,
    /// The commit it ends at.
    pub commit: String,
    /// Tags: an object of its own, with author and date.
    pub annotated: bool,
    pub signed: bool,
    /// Tag: when it was made. Branch: its last commit.
    pub at: Timestamp,
    /// HEAD is this commit or comes after it. Tags only.
    pub reachable: bool,
}

#[derive(Debug, Clone, Default)]
pub struct Refs {
    /// Sorted by kind and name.
    pub all: Vec<Ref>,
    /// Of HEAD; on a detached HEAD what the CI says, else the only branch that points here.
    pub branch: Option<String>,
    /// What a clone of origin checks out: the name that everybody works under, whatever it is.
    pub default: Option<String>,
    pub shallow: bool,
}

impl Refs {
    pub fn tags(&self) -> impl Iterator<Item = &Ref> {
        self.all.iter().filter(|r| r.kind == RefKind::Tag)
    }
    pub fn branches(&self) -> impl Iterator<Item = &Ref> {
        self.all.iter().filter(|r| r.kind == RefKind::Branch)
    }
}

const FORMAT: &str = "--format=%(refname)%00%(objecttype)%00%(objectname)%00%(*objectname)%00%(creatordate:unix)%00%(if)%(contents:signature)%(then)1%(end)";

/// Blocking.
pub fn read(git: &Git, ci_branch: Option<String>) -> Result<Refs, GitError> {
    let table = git.run(&["for-each-ref", FORMAT, "refs/heads", "refs/remotes/origin", "refs/tags"])?;
    let head = git.run(&["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]).unwrap_or_default();
    let reachable = match head.trim() {
        "" => String::new(),
        _ => git.run(&["for-each-ref", "--merged=HEAD", "--format=%(refname)", "refs/tags"])?,
    };
    let reachable: std::collections::BTreeSet<&str> = reachable.lines().collect();
    let mut all: Vec<Ref> = Vec::new();
    let mut remote: Vec<Ref> = Vec::new();
    for line in table.lines() {
        let mut parts = line.split('\0');
        let mut next = || parts.next().unwrap_or_default();
        let (full, kind, object, peeled, at, signed) = (next(), next(), next(), next(), next(), next());
        let row = |kind: RefKind, name: &str, annotated: bool| Ref {
            kind,
            name: name.into(),
            commit: if peeled.is_empty() { object } else { peeled }.into(),
            annotated,
            signed: signed == "1",
            at: Timestamp::from_ms(at.parse::<i64>().unwrap_or_default().saturating_mul(1000)),
            reachable: reachable.contains(full),
        };
        if let Some(name) = full.strip_prefix("refs/heads/") {
            all.push(row(RefKind::Branch, name, false));
        } else if let Some(name) = full.strip_prefix("refs/remotes/origin/").filter(|n| *n != "HEAD") {
            remote.push(row(RefKind::Branch, name, false));
        } else if let Some(name) = full.strip_prefix("refs/tags/") {
            all.push(row(RefKind::Tag, name, kind == "tag"));
        }
    }
    remote.retain(|r| !all.iter().any(|b| b.kind == RefKind::Branch && b.name == r.name));
    all.append(&mut remote);
    all.sort_by(|a, b| (a.kind as u8, &a.name).cmp(&(b.kind as u8, &b.name)));
    let own = git.run(&["symbolic-ref", "--short", "--quiet", "HEAD"]).ok().map(|b| b.trim().to_string());
    let here: Vec<&Ref> = all
        .iter()
        .filter(|r| r.kind == RefKind::Branch && r.commit == head.trim() && !head.trim().is_empty())
        .collect();
    let branch = own.or(ci_branch).or_else(|| match here.as_slice() {
        [only] => Some(only.name.clone()),
        _ => None,
    });
    let shallow = git.run(&["rev-parse", "--is-shallow-repository"])?.trim() == "true";
    let default = git.run(&["symbolic-ref", "--short", "--quiet", "refs/remotes/origin/HEAD"]).ok();
    let default = default.and_then(|d| d.trim().strip_prefix("origin/").map(str::to_string));
    Ok(Refs { all, branch, default, shallow })
}
