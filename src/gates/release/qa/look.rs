//! Gathers what `judge.rs` weighs: reports of test runs bound to a commit or not, lists with the age of their ticks, and
//! the titles of tests that no report speaks of. Reads files and asks git; decides nothing.

use std::sync::LazyLock;

use chrono::NaiveDate;
use regex::Regex;
use serde::Serialize;

use super::super::shown::{self, Place, Shown};
use super::Config;
use super::flows;
use super::lists::{self, Item, State};
use crate::domain::clock::Timestamp;
use crate::domain::release::ReleaseId;
use crate::domain::units::Span;
use crate::gates::code::reports::{self, Format, Found};
use crate::gates::code::role::Role;
use crate::gates::code::runner;
use crate::gates::code::syntax::Source;
use crate::gates::context::{Repo, SOURCE_FILE_BYTES_MAX};
use crate::gates::import::junit::NamedCase;
use crate::gates::import::{ImportError, REPORT_BYTES_MAX, ctrf, junit, mocha, playwright, tap};
use crate::gates::patterns;
use crate::gates::release::endpoint_answers::{same_commit, same_version};

/// Does it speak of the release?
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Bound {
    /// Of its commit, or of one with the same sources. `by`: `sidecar`, `report`, `ci`, `list`.
    Yes { by: &'static str },
    /// Nothing but its file's time says when it was made.
    Unbound,
    /// Of something older.
    Old { why: String },
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub path: String,
    pub format: &'static str,
    pub bound: Bound,
    #[serde(skip)]
    pub cases: Vec<NamedCase>,
}

#[derive(Debug, Serialize)]
pub struct List {
    pub path: String,
    /// An export of a tool rather than Markdown.
    pub export: bool,
    /// Each with its binding.
    #[serde(skip)]
    pub items: Vec<(Item, Bound)>,
}

impl List {
    /// Nobody has begun with it: a template for the next release.
    pub fn is_template(&self) -> bool {
        self.items.iter().all(|(item, _)| item.state == State::Open)
    }
}

/// What a test in the sources is called, as it stands and as [`flows::spoken`].
#[derive(Debug)]
pub struct Title {
    pub title: String,
    pub spoken: String,
    pub place: Place,
}

/// Everything the verdict rests on.
#[derive(Debug, Default)]
pub struct Seen {
    pub shown: Shown,
    pub reports: Vec<Report>,
    pub lists: Vec<List>,
    /// Path and why.
    pub unreadable: Vec<(String, String)>,
    /// Titles of tests in the sources.
    pub titles: Vec<Title>,
    pub test_files: u64,
    pub command: &'static str,
    /// Nothing of the repository serves pages to people.
    pub no_pages: bool,
}

/// What the release is, and when it last changed.
struct Release<'r> {
    repo: &'r Repo,
    rid: &'r ReleaseId,
    /// Inside a CI run for this commit.
    in_ci: bool,
    /// The last commit that changed more than documents.
    changed_at: Option<Timestamp>,
    now: Timestamp,
    max_age: Span,
}

pub fn look(repo: &Repo, config: &Config, rid: &ReleaseId, in_ci: bool, now: Timestamp) -> Seen {
    let release = Release::new(repo, config, rid, in_ci, now);
    let mut seen = Seen { shown: shown::look(repo), command: runner::command(repo), ..Seen::default() };
    (seen.reports, seen.unreadable) = release.reports(config);
    let named = patterns::matcher(&repo.root, &config.lists);
    for file in repo.files.iter() {
        let kind = match named.is_some() {
            true => patterns::covers(named.as_ref(), &file.path).then(|| list_kind_of_ending(&file.path)).flatten(),
            false => list_kind(&file.path),
        };
        let Some(kind) = kind else { continue };
        match release.list(&file.path, kind) {
            Ok(Some(list)) => seen.lists.push(list),
            Ok(None) => {}
            Err(why) => seen.unreadable.push((file.path.clone(), why)),
        }
    }
    seen.test_files = runner::test_files(repo);
    let titles = repo.known("release.titles", || titles(repo));
    let read = |(title, place): (String, Place)| Title { spoken: flows::spoken(&title), title, place };
    seen.titles = titles.into_iter().map(read).collect();
    seen
}

/// Reports of test runs as they stand to the release, and those that cannot be read with why.
pub fn test_reports(
    repo: &Repo,
    config: &Config,
    rid: &ReleaseId,
    in_ci: bool,
    now: Timestamp,
) -> (Vec<Report>, Vec<(String, String)>) {
    Release::new(repo, config, rid, in_ci, now).reports(config)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ListKind {
    Markdown,
    Csv,
    Json,
}

static MARKDOWN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)(^|/)(qa([-_. ][^/]*)?|[^/]*qa[-_ ]?(check)?list[^/]*|qa/[^/]+)\.(md|markdown)$")
        .expect("a pattern of ours")
});
static EXPORT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?i)(^|/)(qa[-_.][^/]*|qa|testrail|xray|zephyr|qtest|test[-_]?(run|cycle|execution))[^/]*\.(csv|json)$",
    )
    .expect("a pattern of ours")
});

fn list_kind(path: &str) -> Option<ListKind> {
    let kind = list_kind_of_ending(path)?;
    // Templates of forges and texts about somebody else's QA are no lists.
    let hidden = path.split('/').any(|p| p.starts_with('.'));
    let foreign = matches!(Role::of_path(path), Role::Vendored | Role::Test | Role::Generated);
    if hidden || foreign || !(MARKDOWN.is_match(path) || EXPORT.is_match(path)) {
        return None;
    }
    Some(kind)
}

fn list_kind_of_ending(path: &str) -> Option<ListKind> {
    match path.rsplit_once('.').map(|(_, e)| e.to_ascii_lowercase())?.as_str() {
        "md" | "markdown" => Some(ListKind::Markdown),
        "csv" => Some(ListKind::Csv),
        "json" => Some(ListKind::Json),
        _ => None,
    }
}

/// Larger lists are not kept by people.
const LIST_BYTES_MAX: u64 = 4 * 1024 * 1024;

impl<'r> Release<'r> {
    fn new(repo: &'r Repo, config: &Config, rid: &'r ReleaseId, in_ci: bool, now: Timestamp) -> Release<'r> {
        Release { repo, rid, in_ci, changed_at: changed_at(repo), now, max_age: config.max_age }
    }

    fn reports(&self, config: &Config) -> (Vec<Report>, Vec<(String, String)>) {
        let (mut read, mut unreadable) = (Vec::new(), Vec::new());
        for found in reports::of(self.repo, &config.reports).0.iter().filter(|f| f.format.is_tests()) {
            match self.report(found) {
                Ok(Some(report)) => read.push(report),
                Ok(None) => {}
                Err(why) => unreadable.push((found.path.clone(), why)),
            }
        }
        (read, unreadable)
    }

    fn report(&self, found: &Found) -> Result<Option<Report>, String> {
        if found.bytes > REPORT_BYTES_MAX {
            return Err(format!("larger than {REPORT_BYTES_MAX} bytes"));
        }
        let bytes = std::fs::read(self.repo.root.join(&found.path)).map_err(|e| e.kind().to_string())?;
        let text = String::from_utf8_lossy(&bytes);
        let (cases, commit, made_at) = cases(found.format, &text).map_err(|e| e.to_string())?;
        if cases.is_empty() {
            return Err("lists no test".into());
        }
        // Its own word can only make it older than its file.
        let made_at = made_at.filter(|at| *at <= found.modified).unwrap_or(found.modified);
        let bound = self.bound(&found.path, commit, made_at);
        Ok(Some(Report { path: found.path.clone(), format: found.format.name(), bound, cases }))
    }

    fn bound(&self, path: &str, own: Option<String>, made_at: Timestamp) -> Bound {
        if self.now.since(made_at) > self.max_age.get() {
            return Bound::Old { why: format!("made {}, older than {}", made_at.rfc3339(), self.max_age) };
        }
        let sidecar = sidecar(self.repo, path).map(|commit| (commit, "sidecar"));
        if let Some((commit, by)) = sidecar.or(own.map(|commit| (commit, "report"))) {
            return match self.changed_since(&commit) {
                None => Bound::Yes { by },
                Some(why) => Bound::Old { why },
            };
        }
        match self.changed_at {
            Some(at) if at > made_at => Bound::Old { why: format!("older than the commit of {}", at.rfc3339()) },
            _ if self.in_ci => Bound::Yes { by: "ci" },
            _ => Bound::Unbound,
        }
    }

    /// Why what was seen at `commit` is not what will be released; `None`: it is.
    fn changed_since(&self, commit: &str) -> Option<String> {
        let hex = (7..=64).contains(&commit.len()) && commit.bytes().all(|b| b.is_ascii_hexdigit());
        let short: String = commit.chars().filter(|c| c.is_ascii_alphanumeric()).take(12).collect();
        let Some(git) = self.repo.git.as_ref().filter(|_| hex) else {
            return Some(format!("bound to {short}, which is no commit of this repository"));
        };
        let Ok(names) = git.run(&["diff", "--name-only", "-z", commit, "--"]) else {
            return Some(format!("bound to commit {short}, which is not in this repository"));
        };
        let changed = names.split('\0').find(|n| matters(n))?;
        Some(format!("bound to commit {short}, but {changed} has changed since"))
    }

    fn list(&self, path: &str, kind: ListKind) -> Result<Option<List>, String> {
        let text = self.repo.read_text(path, LIST_BYTES_MAX).map_err(|e| e.kind().to_string())?;
        let items = match kind {
            ListKind::Markdown => Ok(lists::markdown(&text)),
            ListKind::Csv => lists::csv(&text),
            ListKind::Json => lists::json(&text),
        };
        let items = match items {
            Ok(items) => items,
            // Called like one, but it is something else.
            Err(ImportError::Empty(_)) => return Ok(None),
            Err(e) => return Err(e.to_string()),
        };
        if items.is_empty() {
            return Ok(None);
        }
        let written = self.written(path);
        let items = items.into_iter().map(|item| {
            let bound = self.item(&item, written);
            (item, bound)
        });
        Ok(Some(List { path: path.into(), export: kind != ListKind::Markdown, items: items.collect() }))
    }

    /// When the list was last changed: by its commit, or now.
    fn written(&self, path: &str) -> Timestamp {
        let of = |args: &[&str]| self.repo.git.as_ref().and_then(|git| git.run(args).ok());
        let changed = of(&["status", "--porcelain", "--", path]).is_some_and(|s| !s.trim().is_empty());
        let at = of(&["log", "-1", "--format=%ct", "HEAD", "--", path]).and_then(|t| t.trim().parse::<i64>().ok());
        at.filter(|_| !changed).map_or(self.now, |s| Timestamp::from_ms(s * 1000))
    }

    fn item(&self, item: &Item, written: Timestamp) -> Bound {
        if let Some(build) = &item.build {
            let version = self.rid.version.as_deref().is_some_and(|v| same_version(v, build));
            let commit = self.rid.commit.as_deref().is_some_and(|c| same_commit(c, build));
            if version || commit {
                return Bound::Yes { by: "list" };
            }
            if build.len() >= 7 && build.bytes().all(|b| b.is_ascii_hexdigit()) {
                return match self.changed_since(build) {
                    None => Bound::Yes { by: "list" },
                    Some(why) => Bound::Old { why },
                };
            }
            let release = self.rid.version.as_deref().or(self.rid.short_commit()).unwrap_or("unknown");
            return Bound::Old { why: format!("checked on {build}, the release is {release}") };
        }
        let Some(changed) = self.changed_at else { return Bound::Unbound };
        let day = |t: Timestamp| -> NaiveDate { t.utc().date_naive() };
        let checked = item.on.unwrap_or(day(written));
        if checked < day(changed) {
            return Bound::Old { why: format!("checked {checked}, before the commit of {}", day(changed)) };
        }
        Bound::Unbound
    }
}

/// Does a change of this file make another product? Documents and lists do not.
fn matters(path: &str) -> bool {
    let ending = path.rsplit_once('.').map_or("", |(_, e)| e);
    let document = ["md", "markdown", "txt", "rst", "csv", "png", "jpg", "svg"].contains(&ending);
    !path.is_empty() && !document && list_kind(path).is_none() && !path.starts_with(".hypercare/")
}

fn changed_at(repo: &Repo) -> Option<Timestamp> {
    let git = repo.git.as_ref()?;
    let mut args = vec!["log", "-1", "--format=%ct", "HEAD", "--", "."];
    args.extend([":(exclude)*.md", ":(exclude)*.markdown", ":(exclude)*.txt", ":(exclude)*.rst", ":(exclude)*.csv"]);
    args.extend([":(exclude).hypercare", ":(exclude)qa", ":(exclude)*.json.hc.json"]);
    git.run(&args).ok()?.trim().parse::<i64>().ok().map(|s| Timestamp::from_ms(s * 1000))
}

/// The commit that `FILE.hc.json` binds the report to.
fn sidecar(repo: &Repo, path: &str) -> Option<String> {
    let text = repo.read(&format!("{path}.hc.json"), 64 * 1024).ok()?;
    let value: serde_json::Value = serde_json::from_slice(&text).ok()?;
    value["commit"].as_str().map(str::to_string)
}

type Cases = (Vec<NamedCase>, Option<String>, Option<Timestamp>);

fn cases(format: Format, text: &str) -> Result<Cases, ImportError> {
    Ok(match format {
        Format::Tap => (tap::cases(text)?, None, None),
        Format::Ctrf => {
            let (cases, commit) = ctrf::cases(text)?;
            (cases, commit, None)
        }
        Format::Playwright => {
            let report = playwright::parse(text)?;
            if let Some(error) = report.error.filter(|_| report.cases.is_empty()) {
                return Err(ImportError::at(1, format!("the run stopped before its tests: {error}")));
            }
            (report.cases, report.commit, report.started_at)
        }
        Format::Mocha => {
            let report = mocha::parse(text)?;
            (report.cases, None, report.started_at)
        }
        _ => (junit::cases(text)?, None, None),
    })
}

static TITLE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r#"(?x) \b(?:it|test|describe|specify|context|scenario|feature|step)(?:\.\w+)*\(?\s*["'`]([^"'`]{3,120})["'`]
          | ^\s*Scenario(?:\ Outline)?:\s*(.{3,120})$
          | \bdef\s+(test\w+) | \bfunc\s+(Test\w+) | \bpublic\s+function\s+(\w+) | \bfunction\s+(test\w+) | \bvoid\s+(\w+)\s*\( | \bfun\s+`([^`]{3,120})`"#,
    )
    .expect("a pattern of ours")
});

/// Titles told apart by flow later; more would be a test suite of a browser.
const TITLES_MAX: usize = 50_000;

/// What tests are called, and their files' names, from the sources.
fn titles(repo: &Repo) -> Vec<(String, Place)> {
    let is_test =
        |path: &str| Role::of_path(path) == Role::Test && (Source::of(path).is_some() || path.ends_with(".feature"));
    let files: Vec<&str> = repo
        .files
        .iter()
        .filter(|f| f.bytes <= SOURCE_FILE_BYTES_MAX && is_test(&f.path))
        .map(|f| f.path.as_str())
        .collect();
    let found = crate::gates::context::on_every_core(&files, |path| {
        let text = repo.read_text(path, SOURCE_FILE_BYTES_MAX).unwrap_or_default();
        let mut out = Vec::new();
        for (row, line) in text.lines().enumerate().filter(|(_, l)| l.len() < 500) {
            for title in TITLE.captures_iter(line) {
                if let Some(title) = title.iter().skip(1).flatten().next() {
                    out.push((title.as_str().trim().to_string(), (path.to_string(), row as u32 + 1)));
                }
            }
        }
        // A file of tests called `login.spec.ts` is about login, whatever they are called.
        if let Some(first) = out.first().map(|(_, place)| place.clone()) {
            let name = path.rsplit('/').next().unwrap_or(path);
            out.push((name.split('.').next().unwrap_or(name).to_string(), first));
        }
        out
    });
    found.into_iter().flatten().take(TITLES_MAX).collect()
}
