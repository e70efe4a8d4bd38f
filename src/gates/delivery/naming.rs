//! Gate `delivery.naming`: do branches and tags say what is released?
//!
//! At launch everybody asks "which version is this?". The branch, the tag, the manifests and the changelog must give one
//! answer, and the tag must be greater than the last one. Reads git refs and the manifests; touches no network (what the
//! service itself answers at `/version` is `release.endpoints`' question).
//!
//! Fix: `git tag -a v1.4.0 -m v1.4.0 SHA`, or `git branch -m OLD NEW`, or write the same version everywhere.

use std::time::Duration;

use futures_util::future::BoxFuture;
use regex::Regex;
use serde::{Deserialize, Serialize};

use super::refs::{self, Refs};
use crate::domain::clock::Timestamp;
use crate::domain::problem::Problem;
use crate::domain::release::ReleaseId;
use crate::domain::units::Span;
use crate::domain::verdict::{Class, Finding, Outcome, Severity, Tier, Verdict};
use crate::gates::context::Repo;
use crate::gates::facts::semver::Version;
use crate::gates::facts::versions::{self, Source, is_on_the_way};
use crate::gates::proof::{Fixture, Proof};
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage};

/// `[gates.delivery.naming]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Names of working branches, a regular expression over the whole name. Branches of bots are always fine.
    pub branch: String,
    /// Names of release branches; every branch that starts with `release` must match.
    pub release_branch: String,
    /// Names of release tags. Default: an optional package (`pkg@`, `pkg/`), `v` or nothing, and SemVer 2.0.0.
    pub tag: String,
    /// How versions are ordered: `semver`, or `calver` (`2026.11`, `2026.11.22`).
    pub scheme: Scheme,
    /// Other branches count while their last commit is younger than this; older ones are history.
    pub max_branch_age: Span,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    #[default]
    Semver,
    Calver,
}

const BRANCH: &str = "main|master|develop|trunk|(feature|feat|fix|bugfix|hotfix|chore|docs|refactor|test|ci|perf|build)/[A-Za-z0-9._/#-]+";
const RELEASE_BRANCH: &str = r"release/v?\d+\.\d+(\.\d+)?";
const SEMVER_TAG: &str = r"([A-Za-z0-9@._/-]+[@/]|([A-Za-z]\w*-)+)?v?(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?";
const CALVER_TAG: &str = r"([A-Za-z0-9@._/-]+[@/])?v?\d{2,4}\.\d{1,2}(\.\d{1,4})?([.-][0-9A-Za-z.-]+)?";
/// Machines name their branches themselves.
const BOT_BRANCH: &str = r"^(dependabot|renovate|snyk|pre-commit-ci|github-actions|gh-readonly-queue|revert|cherry-pick)[/-]|^(gh-pages|HEAD)$";
/// Rows of the ref table that go into the evidence.
const EVIDENCE_REFS_MAX: usize = 500;

impl Default for Config {
    fn default() -> Self {
        Config {
            branch: BRANCH.into(),
            release_branch: RELEASE_BRANCH.into(),
            tag: SEMVER_TAG.into(),
            scheme: Scheme::Semver,
            max_branch_age: Span::secs(90 * 86_400),
        }
    }
}

/// Compiled.
#[derive(Debug)]
pub struct Checked {
    branch: Regex,
    release_branch: Regex,
    tag: Regex,
    bot: Regex,
    scheme: Scheme,
    max_branch_age: Duration,
}

impl Config {
    pub fn validate(&self) -> Result<Checked, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut whole = |key: &str, pattern: &str| {
            Regex::new(&format!("^(?:{pattern})$"))
                .inspect_err(|e| {
                    problems.push(Problem::at([key], format!("is not a regular expression: {}", last_line(e))))
                })
                .ok()
        };
        let tag = match self.scheme {
            Scheme::Calver if self.tag == SEMVER_TAG => CALVER_TAG,
            _ => &self.tag,
        };
        let parts = (whole("branch", &self.branch), whole("release_branch", &self.release_branch), whole("tag", tag));
        match (parts, Regex::new(BOT_BRANCH)) {
            ((Some(branch), Some(release_branch), Some(tag)), Ok(bot)) => Ok(Checked {
                branch,
                release_branch,
                tag,
                bot,
                scheme: self.scheme,
                max_branch_age: self.max_branch_age.get(),
            }),
            _ => Err(problems),
        }
    }
}

fn last_line(e: &regex::Error) -> String {
    e.to_string().lines().last().unwrap_or_default().trim().to_string()
}

pub struct Naming;

pub static ABOUT: About = About {
    id: "delivery.naming",
    section: Section::Delivery,
    class: Class::B,
    line: "proper branch/tag naming (e.g. release/v1.0.0)",
    min_tier: Tier::E1,
    attestable: false,
    stage: Stage::Static,
    lock: Lock::Fs,
    needs: &[],
    timeout: Duration::from_secs(120),
    skipped_for: &[],
    reads: "branches and tags, the branch of HEAD (or the CI's ref variables on a detached HEAD), the versions that \
            manifests and changelog state",
    decides: "the release branch and tag match their patterns; the tag is annotated, at the commit under check, signed \
              if earlier ones were, and greater than every earlier tag; manifests and changelog state the same version; \
              other active branches match too (warning)",
    fix: "git tag -a v1.4.0 -m v1.4.0 SHA, or git branch -m OLD NEW, or write the same version everywhere",
};

impl Gate for Naming {
    fn about(&self) -> &'static About {
        &ABOUT
    }
    fn proof(&self) -> Option<Proof> {
        let shop = |what, tag| Fixture::of(what).file("package.json", "{\n  \"version\": \"1.4.0\"\n}\n").tag(tag);
        Some(Proof {
            good: shop("tag and manifest say the same version", "v1.4.0"),
            bad: shop("the tag says another version than the manifest", "v1.5.0"),
        })
    }

    /// Each of its findings decides by itself, and nothing else does.
    fn without_findings(&self) -> Option<Verdict> {
        Some(Verdict::Pass)
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            if let Err(outcome) = ctx.need_git() {
                return *outcome;
            }
            let Some(repo) = ctx.repo.clone() else { return Outcome::error("no-repository", "no repository") };
            let (config, rid, release) = (ctx.config.delivery.naming.clone(), ctx.rid.clone(), ctx.release_mode);
            let now = ctx.clock.now();
            match tokio::task::spawn_blocking(move || look(&repo, &config, &rid, release, now)).await {
                Ok(outcome) => outcome,
                Err(e) => Outcome::error("panicked", e.to_string()),
            }
        })
    }
}

fn look(repo: &Repo, config: &Config, rid: &ReleaseId, release: bool, now: Timestamp) -> Outcome {
    let checked = match config.validate() {
        Ok(checked) => checked,
        Err(problems) => {
            let text: Vec<String> = problems.iter().map(Problem::to_string).collect();
            return Outcome::error("bad-config", text.join("; ")).hint("correct [gates.delivery.naming]");
        }
    };
    let Some(git) = &repo.git else { return Outcome::error("not-git", "not a git repository") };
    let refs = match refs::read(git, ci_branch()) {
        Ok(refs) => refs,
        Err(e) => return Outcome::error("git-failed", e.to_string()),
    };
    judge(&refs, &versions::of(repo), &checked, rid, release, now)
}

/// The branch that a CI system checked out detached.
fn ci_branch() -> Option<String> {
    [
        "GITHUB_HEAD_REF",
        "GITHUB_REF_NAME",
        "CI_COMMIT_REF_NAME",
        "BUILD_SOURCEBRANCHNAME",
        "BITBUCKET_BRANCH",
        "CIRCLE_BRANCH",
    ]
    .into_iter()
    .filter_map(|name| std::env::var(name).ok())
    .find(|value| !value.is_empty())
}

/// Pure.
fn judge(refs: &Refs, sources: &[Source], config: &Checked, rid: &ReleaseId, release: bool, now: Timestamp) -> Outcome {
    let Some(commit) = rid.commit.as_deref() else {
        return Outcome::error("nothing-to-inspect", "the repository has no commit yet").hint("commit first");
    };
    // A tag without any digit (`nightly`, `latest`) is a bookmark, not a release.
    let tag = rid.tag.as_deref().filter(|t| t.chars().any(|c| c.is_ascii_digit()));
    if refs.shallow && refs.tags().next().is_none() {
        return Outcome::error("shallow", "a shallow clone without tags cannot tell which releases came before")
            .hint("fetch the history and tags: git fetch --unshallow --tags (CI: fetch-depth: 0)");
    }
    if tag.is_none() && refs.branch.is_none() {
        return Outcome::error("no-ref", "HEAD is detached and no branch or tag points at it")
            .hint("check out the release branch or tag, or set CI_COMMIT_REF_NAME");
    }
    let mut say = Say { config, findings: Vec::new(), worst: Verdict::Pass };
    if tag.is_none()
        && let Some(branch) = refs.branch.as_ref().filter(|b| refs.default.as_ref() != Some(b))
    {
        say.branch(branch, Verdict::Fail);
    }
    let ours = [refs.branch.as_ref(), refs.default.as_ref()];
    for other in refs.branches().filter(|b| !ours.contains(&Some(&b.name))) {
        if now.since(other.at) <= config.max_branch_age {
            say.branch(&other.name, Verdict::Warn);
        }
    }
    if let Some(tag) = tag {
        say.tag(tag, refs);
    } else if release {
        say.note(Verdict::Fail, "tag.missing", "HEAD", "no tag points at the commit to be released".into(), "tag it");
    }
    say.order(tag, rid, refs, commit);
    say.twins(tag, refs);
    say.agreement(tag, sources);

    let (worst, findings) = (say.worst, say.findings);
    let name = tag.map(|t| format!("tag {t}")).or_else(|| refs.branch.as_ref().map(|b| format!("branch {b}")));
    let name = name.unwrap_or_default();
    let problems = findings.len();
    let summary = match worst {
        Verdict::Pass => match (rid.version.as_deref(), sources.len()) {
            (None, 0) => format!("{name}, no file at the root states a version"),
            (version, places) => {
                format!(
                    "{name}, {} in {}",
                    version.unwrap_or("no version"),
                    crate::domain::units::count(places, "place")
                )
            }
        },
        _ => format!("{name}: {}{}", findings[0].message, more(problems)),
    };
    let outcome = match worst {
        Verdict::Pass => Outcome::pass(summary),
        Verdict::Warn => Outcome::warn(summary),
        _ => Outcome::fail(summary),
    };
    let known = refs.all.len() as u64;
    let table: Vec<_> = refs.all.iter().take(EVIDENCE_REFS_MAX).collect();
    let outcome = outcome
        .value(problems, 0)
        .covered(known.max(1), known.max(1))
        .tier(Tier::E1)
        .evidence("ref-table", serde_json::json!({ "head": commit, "branch": refs.branch, "refs": table }))
        .evidence("versions", serde_json::json!({ "tag": tag, "files": sources }));
    match findings.iter().find(|f| !f.fix.is_empty()) {
        Some(first) => {
            let hint = first.fix.clone();
            outcome.findings(findings).hint(hint)
        }
        None => outcome,
    }
}

fn more(problems: usize) -> String {
    if problems > 1 { format!(" (and {} more)", problems - 1) } else { String::new() }
}

/// Collects what is wrong.
struct Say<'a> {
    config: &'a Checked,
    findings: Vec<Finding>,
    worst: Verdict,
}

impl Say<'_> {
    fn note(&mut self, verdict: Verdict, rule: &str, subject: &str, message: String, fix: impl Into<String>) {
        let severity = if verdict == Verdict::Fail { Severity::High } else { Severity::Low };
        self.worst = self.worst.max(verdict);
        let finding = Finding::new(rule, severity, message).route(subject).fix(fix).identified_by(&[rule, subject]);
        // What decides comes first.
        let at = if verdict == Verdict::Fail {
            self.findings.iter().position(|f| f.severity < Severity::High).unwrap_or(self.findings.len())
        } else {
            self.findings.len()
        };
        self.findings.insert(at, finding);
    }

    fn branch(&mut self, name: &str, verdict: Verdict) {
        let c = self.config;
        let fine = if name.starts_with("release") {
            c.release_branch.is_match(name) || c.branch.is_match(name)
        } else {
            c.branch.is_match(name) || c.release_branch.is_match(name) || c.bot.is_match(name)
        };
        if !fine {
            let fix = format!("git branch -m {name} {}", suggested(name));
            self.note(verdict, "branch.name", name, format!("branch {name} does not follow the naming rule"), fix);
        }
    }

    fn tag(&mut self, tag: &str, refs: &Refs) {
        if !self.config.tag.is_match(tag) {
            let message = format!("tag {tag} is not a version as the rule wants it");
            self.note(Verdict::Fail, "tag.name", tag, message, "name it v and a SemVer version: v1.4.0");
        }
        let Some(own) = refs.tags().find(|t| t.name == tag) else { return };
        if !own.annotated {
            let message = format!("tag {tag} is lightweight: it says neither who nor when");
            self.note(
                Verdict::Fail,
                "tag.lightweight",
                tag,
                message,
                format!("git tag -a -f {tag} -m \"{tag}\" {}", own.commit),
            );
        } else if !own.signed && refs.tags().any(|t| t.signed && t.at <= own.at) {
            let message = format!("tag {tag} is not signed, though earlier tags were");
            self.note(
                Verdict::Warn,
                "tag.unsigned",
                tag,
                message,
                format!("git tag -s -f {tag} -m \"{tag}\" {}", own.commit),
            );
        }
    }

    /// Greater than all earlier tags of the same package, and not used up by another commit.
    fn order(&mut self, tag: Option<&str>, rid: &ReleaseId, refs: &Refs, commit: &str) {
        let Some(name) = tag.or(rid.version.as_deref()) else { return };
        let Some(own) = self.key(name) else { return };
        let package = package_of(name);
        let earlier = refs.tags().filter(|t| t.reachable && t.commit != commit && package_of(&t.name) == package);
        let highest = earlier.filter_map(|t| self.key(&t.name).map(|k| (k, t))).max_by(|a, b| a.0.cmp(&b.0));
        let Some((last, last_tag)) = highest else { return };
        let next = last.next();
        // As the tags before: some projects write the `v`, some do not.
        let named = format!("{}{next}", if bare(&last_tag.name) == last_tag.name { "" } else { "v" });
        let fix = match tag {
            Some(_) => format!("git tag -a {named} -m \"{named}\" {}", short(commit)),
            None => {
                format!("set the version to {next} or higher, then git tag -a {named} -m \"{named}\" {}", short(commit))
            }
        };
        if own == last {
            let message = format!(
                "{} is already tag {} at {}, not at this commit",
                bare(name),
                last_tag.name,
                short(&last_tag.commit)
            );
            self.note(Verdict::Fail, "tag.misplaced", name, message, fix);
        } else if own < last {
            let message = format!("{} is not greater than {}, which is already released", bare(name), last_tag.name);
            self.note(Verdict::Fail, "tag.order", name, message, fix);
        }
    }

    /// `v1.2.0` beside `1.2.0`: nobody knows which one is meant.
    fn twins(&mut self, tag: Option<&str>, refs: &Refs) {
        for t in refs.tags() {
            let Some(plain) = t.name.strip_prefix('v') else { continue };
            if Version::parse(plain).is_some() && refs.tags().any(|o| o.name == plain) {
                let ours = tag.is_some_and(|tag| bare(tag) == plain);
                let verdict = if ours { Verdict::Fail } else { Verdict::Warn };
                let message = format!("both {} and {plain} exist", t.name);
                self.note(verdict, "tag.twins", plain, message, format!("git tag -d {plain}"));
            }
        }
    }

    fn agreement(&mut self, tag: Option<&str>, sources: &[Source]) {
        let tagged = tag.map(|t| (t.to_string(), bare(t).to_string()));
        // Work on the next release is ahead of the log of those that are out.
        let is_work = tag.is_none() && sources.first().is_some_and(|s| versions::leads_to(&s.version) != s.version);
        let stated = sources
            .iter()
            .filter(|s| !(is_work && s.kind == versions::CHANGELOG))
            .map(|s| (format!("{}:{}", s.file, s.line), bare(&s.version).to_string()));
        let all: Vec<(String, String)> =
            tagged.map(|(t, v)| (format!("tag {t}"), v)).into_iter().chain(stated).collect();
        let Some((first_place, first)) = all.first() else { return };
        for (place, version) in &all[1..] {
            if version != first && !(tag.is_none() && is_on_the_way(version, first)) {
                let message = format!("{place} says {version}, {first_place} says {first}");
                self.note(
                    Verdict::Fail,
                    "version.disagrees",
                    place,
                    message,
                    format!("write {first} in {place}, or correct the other"),
                );
            }
        }
    }

    fn key(&self, name: &str) -> Option<Key> {
        match self.config.scheme {
            Scheme::Semver => versions::of_tag(name).map(Key::Semver),
            Scheme::Calver => {
                let numbers: Option<Vec<u64>> = bare(name).split(['.', '-']).map(|p| p.parse().ok()).collect();
                numbers.filter(|n| n.len() >= 2).map(Key::Calver)
            }
        }
    }
}

/// What tags are ordered by.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    Semver(Version),
    Calver(Vec<u64>),
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        match (self, other) {
            (Key::Semver(a), Key::Semver(b)) => a.precedence(b),
            (Key::Calver(a), Key::Calver(b)) => a.cmp(b),
            // One scheme per run: never compared.
            (Key::Semver(_), Key::Calver(_)) => std::cmp::Ordering::Less,
            (Key::Calver(_), Key::Semver(_)) => std::cmp::Ordering::Greater,
        }
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Key {
    fn next(&self) -> String {
        match self {
            Key::Semver(v) => v.next().to_string(),
            Key::Calver(n) => {
                let mut n = n.clone();
                if let Some(last) = n.last_mut() {
                    *last += 1;
                }
                n.iter().map(u64::to_string).collect::<Vec<_>>().join(".")
            }
        }
    }
}

/// `pkg` of `pkg@1.2.3` and `pkg/v1.2.3`; empty for plain tags.
fn package_of(tag: &str) -> &str {
    tag.rfind(['/', '@']).map_or("", |i| &tag[..i])
}

/// The version without package and `v`.
fn bare(tag: &str) -> &str {
    let tail = tag.rsplit(['/', '@']).next().unwrap_or(tag);
    tail.strip_prefix('v').filter(|t| t.starts_with(|c: char| c.is_ascii_digit())).unwrap_or(tail)
}

fn short(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}

/// A name that would fit: `Release-1.2` → `release/v1.2`, `my thing` → `feature/my-thing`.
fn suggested(name: &str) -> String {
    let digits: String = name.chars().skip_while(|c| !c.is_ascii_digit()).collect();
    let version = digits.chars().all(|c| c.is_ascii_digit() || c == '.') && digits.contains('.');
    if name.to_lowercase().starts_with("release") && version {
        return format!("release/v{}", digits.trim_matches('.'));
    }
    let words: String = name
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' })
        .collect();
    format!("feature/{}", words.trim_matches('-'))
}

#[cfg(test)]
#[path = "naming_tests.rs"]
mod tests;
