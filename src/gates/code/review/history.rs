//! What has changed since the previous release, as changesets: what a merge brought, one squashed request, or a push to
//! the main line. People as the commits name them and as `.mailmap` does, both: a change that edits `.mailmap` must not make
//! its author somebody else. Asks git, judges nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;
use serde::Serialize;

use crate::gates::facts::git::{Git, GitError};
use crate::gates::facts::versions;
use crate::gates::people::shelf;

/// One person as a commit names him; the address in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Person {
    pub name: String,
    pub email: String,
    /// Name and address by `.mailmap`, where they are others: somebody else's words, that can only add to what he is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mapped: Option<Box<Person>>,
}

impl Person {
    /// The names under which somebody else may know them: address, login inside GitHub's and GitLab's private addresses, name.
    pub fn identities(&self) -> BTreeSet<String> {
        let mut out: BTreeSet<String> = [self.email.to_lowercase()].into();
        let private = ["@users.noreply.github.com", "@users.noreply.gitlab.com", "@noreply.codeberg.org"];
        if let Some(local) = private.iter().find_map(|end| self.email.strip_suffix(end)) {
            let login = local.rsplit('+').next().unwrap_or(local);
            let login =
                login.split_once('-').filter(|(n, _)| n.bytes().all(|b| b.is_ascii_digit())).map_or(login, |(_, l)| l);
            out.insert(login.to_lowercase());
        }
        if !self.name.trim().is_empty() {
            out.insert(format!("name:{}", self.name.trim().to_lowercase()));
        }
        out.extend(self.mapped.iter().flat_map(|known| known.identities()));
        out
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Commit {
    pub id: String,
    pub tree: String,
    pub parents: Vec<String>,
    pub author: Person,
    pub committer: Person,
    pub co_authors: Vec<Person>,
    /// Who stands in `Reviewed-by:` and `Approved-by:`; anybody can type these.
    pub trailers: Vec<Person>,
    pub subject: String,
    /// Of the pull or merge request, as the message names it.
    pub number: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    Merge,
    /// One commit that names its request.
    Squash,
    /// A commit on the main line that names none.
    Direct,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changeset {
    /// `#12`, else the short commit.
    pub id: String,
    pub shape: Shape,
    /// The commit of the main line that brought it.
    pub landed: Commit,
    /// What it brought; for a merge the commits of its branch, newest first.
    pub commits: Vec<Commit>,
    /// The last commit that was pushed for review, as far as the history still knows.
    pub head: String,
    pub paths: Vec<String>,
    /// Paths in which a merge says something else than merging gives. `None`: git could not tell.
    pub evil: Option<Vec<String>>,
}

impl Changeset {
    /// Everybody whose work is in it: authors, committers, co-authors. A merge that adds nothing makes nobody an author.
    pub fn people(&self) -> BTreeSet<Person> {
        let mut out = BTreeSet::new();
        let evil = self.evil.as_ref().is_some_and(|e| !e.is_empty());
        let landed = (self.shape != Shape::Merge || evil).then_some(&self.landed);
        for commit in self.commits.iter().chain(landed) {
            out.insert(commit.author.clone());
            out.extend(commit.co_authors.iter().cloned());
            // The forge's own hand presses the button.
            if !is_forge(&commit.committer) {
                out.insert(commit.committer.clone());
            }
        }
        out
    }
    fn is_of_statements(&self) -> bool {
        let inside = |path: &String| {
            [shelf::ATTESTATIONS, shelf::WAIVERS].iter().any(|folder| {
                path.strip_prefix(folder)
                    .or_else(|| path.split_once(&format!("/{folder}")).map(|(_, rest)| rest))
                    .is_some_and(|rest| rest.starts_with('/') && !rest.contains(".."))
            })
        };
        !self.paths.is_empty() && self.paths.iter().all(inside) && self.evil.as_ref().is_none_or(|e| e.is_empty())
    }
    pub fn authors(&self) -> BTreeSet<Person> {
        let commits = if self.commits.is_empty() { std::slice::from_ref(&self.landed) } else { &self.commits };
        commits.iter().map(|c| c.author.clone()).collect()
    }
}

fn is_forge(person: &Person) -> bool {
    matches!(person.email.as_str(), "noreply@github.com" | "noreply@gitlab.com" | "noreply@codeberg.org")
        || (person.name == "Gitea" && person.email.starts_with("gitea@"))
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// The previous release. `None`: this is the first.
    pub tag: Option<String>,
    /// Newest first.
    pub changesets: Vec<Changeset>,
    /// There are more commits than were read.
    pub truncated: bool,
    pub shallow: bool,
    /// Changesets of signed statements alone, which are no part of the others.
    pub statements: usize,
}

impl History {
    /// An attestation and a waiver carry their own signatures, judged against who may sign on the base branch: a review of
    /// the signature itself would need another, and so on. Who may sign is a change like any other.
    pub fn leave_out_statements(&mut self) {
        let before = self.changesets.len();
        self.changesets.retain(|c| !c.is_of_statements());
        self.statements = before - self.changesets.len();
    }
}

/// More commits than this in one release is an import of a history.
const COMMITS_MAX: usize = 5000;

const FORMAT: &str = "--format=%x01%H%x00%T%x00%P%x00%an%x00%ae%x00%cn%x00%ce%x00%(trailers:key=Co-authored-by,valueonly,unfold,separator=%x02)%x00%(trailers:key=Reviewed-by,valueonly,unfold,separator=%x02)%x00%(trailers:key=Approved-by,valueonly,unfold,separator=%x02)%x00%s%x00%b";

/// Blocking. `whole_release`: a tag on HEAD is the release under check, and what went into it counts; else such a tag
/// means that nothing has changed since.
pub fn read(git: &Git, whole_release: bool) -> Result<History, GitError> {
    let mut out =
        History { shallow: git.run(&["rev-parse", "--is-shallow-repository"])?.trim() == "true", ..History::default() };
    let release = |tags: String| {
        let known =
            tags.lines().filter_map(|t| versions::of_tag(t).filter(|v| !v.is_prerelease()).map(|v| (v, t.to_string())));
        known.max_by(|a, b| a.0.precedence(&b.0)).map(|(_, t)| t)
    };
    let here = release(git.run(&["tag", "--points-at", "HEAD"])?);
    if let Some(tag) = here.filter(|_| !whole_release) {
        out.tag = Some(tag);
        return Ok(out);
    }
    out.tag = release(git.run(&["tag", "--merged", "HEAD", "--no-contains", "HEAD"])?);
    if out.shallow {
        return Ok(out);
    }
    let range = out.tag.as_ref().map_or("HEAD".to_string(), |t| format!("refs/tags/{t}..HEAD"));
    let most = format!("--max-count={}", COMMITS_MAX + 1);
    let text = git.run(&["log", "--topo-order", &most, FORMAT, &range])?;
    let mut commits: Vec<Commit> = text.split('\u{1}').skip(1).filter_map(commit).collect();
    out.truncated = commits.len() > COMMITS_MAX;
    commits.truncate(COMMITS_MAX);
    map_people(git, &mut commits);
    out.changesets = changesets(commits);
    let mut paths =
        by_commit(git, &["log", "--first-parent", "-m", "--root", "--name-only", "--format=%x01%H", &range])?;
    let evil = by_commit(
        git,
        &["log", "--first-parent", "--min-parents=2", "--remerge-diff", "--name-only", "--format=%x01%H", &range],
    );
    for changeset in &mut out.changesets {
        changeset.paths = paths.remove(&changeset.landed.id).unwrap_or_default();
        changeset.evil = match changeset.landed.parents.len() {
            0 | 1 => Some(Vec::new()),
            // A merge of three cannot be made again.
            2 => evil.as_ref().ok().map(|e| e.get(&changeset.landed.id).cloned().unwrap_or_default()),
            _ => None,
        };
    }
    Ok(out)
}

fn by_commit(git: &Git, args: &[&str]) -> Result<BTreeMap<String, Vec<String>>, GitError> {
    let text = git.run(args)?;
    let entry = |part: &str| {
        let mut lines = part.lines();
        let id = lines.next()?.trim().to_string();
        Some((id, lines.filter(|l| !l.is_empty()).map(str::to_string).collect()))
    };
    Ok(text.split('\u{1}').skip(1).filter_map(entry).collect())
}

static NUMBER: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)(?:^merge pull request #|\(pull request #|\(#|\(!|see merge request \S*!)(\d{1,9})").ok()
});

fn commit(text: &str) -> Option<Commit> {
    let mut parts = text.split('\0');
    let mut next = || parts.next().unwrap_or_default().trim().to_string();
    let (id, tree, parents) = (next(), next(), next());
    let author = person(&next(), &next());
    let committer = person(&next(), &next());
    let (co_authors, reviewed, approved, subject, body) = (next(), next(), next(), next(), next());
    let people = |list: &str| list.split('\u{2}').filter_map(contact).collect::<Vec<_>>();
    let mut trailers = people(&reviewed);
    trailers.extend(people(&approved));
    // The last number of a subject is the request; earlier ones are what it mends or reverts.
    let found = |text: &str| {
        let last = NUMBER.as_ref()?.captures_iter(text).last()?;
        last.get(1)?.as_str().parse().ok()
    };
    let number = found(&subject).or_else(|| found(&body));
    let parents = parents.split_whitespace().map(str::to_string).collect();
    (id.len() >= 40).then(|| Commit {
        id,
        tree,
        parents,
        author,
        committer,
        co_authors: people(&co_authors),
        trailers,
        subject,
        number,
    })
}

fn person(name: &str, email: &str) -> Person {
    Person { name: name.to_string(), email: email.to_lowercase(), mapped: None }
}

/// `Name <address>`
fn contact(text: &str) -> Option<Person> {
    let (name, rest) = text.trim().split_once('<')?;
    let email = rest.split('>').next()?.trim();
    (email.contains('@')).then(|| person(name.trim(), email))
}

impl Commit {
    fn everybody(&mut self) -> impl Iterator<Item = &mut Person> {
        [&mut self.author, &mut self.committer].into_iter().chain(&mut self.co_authors).chain(&mut self.trailers)
    }
}

/// Notes beside each person whom `.mailmap` calls that.
fn map_people(git: &Git, commits: &mut [Commit]) {
    // Git answers line by line, and wants an address in each.
    let asked =
        |p: &Person| !p.email.is_empty() && !p.email.contains(['<', '>', '\n']) && !p.name.contains(['<', '\n']);
    let named: BTreeSet<Person> =
        commits.iter_mut().flat_map(Commit::everybody).filter(|p| asked(p)).map(|p| p.clone()).collect();
    let input: String = named.iter().map(|p| format!("{} <{}>\n", p.name, p.email)).collect();
    if input.is_empty() {
        return;
    }
    let Ok(answer) = git.run_with(&["check-mailmap", "--stdin"], input) else { return };
    if answer.lines().count() != named.len() {
        return;
    }
    let mapped: BTreeMap<Person, Person> =
        named.into_iter().zip(answer.lines()).filter_map(|(p, line)| Some((p, contact(line)?))).collect();
    for person in commits.iter_mut().flat_map(Commit::everybody) {
        let known = mapped.get(&*person).filter(|known| **known != *person).cloned();
        person.mapped = known.map(Box::new);
    }
}

/// The main line, and what each merge on it brought.
fn changesets(commits: Vec<Commit>) -> Vec<Changeset> {
    let first = commits.first().map(|c| c.id.clone());
    let by_id: BTreeMap<String, Commit> = commits.into_iter().map(|c| (c.id.clone(), c)).collect();
    let mut line: Vec<&Commit> = Vec::new();
    let mut next = first.and_then(|id| by_id.get(&id));
    while let Some(commit) = next {
        line.push(commit);
        next = commit.parents.first().and_then(|p| by_id.get(p));
    }
    let mut taken: BTreeSet<&str> = line.iter().map(|c| c.id.as_str()).collect();
    let mut out = Vec::new();
    // The oldest merge brought what two have in common.
    for landed in line.iter().rev() {
        let mut brought: Vec<Commit> = Vec::new();
        let mut open: Vec<&str> = landed.parents.iter().skip(1).map(String::as_str).collect();
        while let Some(commit) = open.pop().and_then(|id| by_id.get(id)) {
            if taken.insert(commit.id.as_str()) {
                brought.push(commit.clone());
                open.extend(commit.parents.iter().map(String::as_str));
            }
        }
        let is_merge = landed.parents.len() > 1;
        let number = landed.number;
        let shape = match (is_merge, number) {
            (true, _) => Shape::Merge,
            (false, Some(_)) => Shape::Squash,
            (false, None) => Shape::Direct,
        };
        if is_merge {
            // Merges inside the branch bring nothing of their own that its head does not show.
            brought.retain(|c| c.parents.len() < 2);
        } else {
            brought.push((*landed).clone());
        }
        out.push(Changeset {
            id: number.map_or_else(|| landed.id[..7].to_string(), |n| format!("#{n}")),
            shape,
            head: landed.parents.get(1).filter(|_| is_merge).unwrap_or(&landed.id).clone(),
            landed: (*landed).clone(),
            commits: brought,
            paths: Vec::new(),
            evil: None,
        });
    }
    out.reverse();
    out
}
