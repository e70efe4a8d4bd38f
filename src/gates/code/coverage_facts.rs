//! Gathers what `coverage.rs` judges: reports read, paths resolved, reports dated against the sources, files that no
//! report mentions, lines changed since the last release. Reads files and asks git; decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::coverage::Config;
use super::paths::{self, Index};
use super::reports::{self, Format, Found};
use super::role::{EntryPoints, Role};
use super::runner;
use super::statements;
use super::syntax::{Language, Source};
use crate::domain::clock::Timestamp;
use crate::domain::evidence::sha256_hex;
use crate::gates::context::{Repo, SOURCE_FILE_BYTES_MAX};
use crate::gates::import::{Coverage, Lines, REPORT_BYTES_MAX, cobertura, junit, lcov};
use crate::gates::patterns;

/// One file's lines of code.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct FileLines {
    pub covered: u64,
    pub total: u64,
    /// No report mentions it: `total` is estimated, and none counts as covered.
    pub estimated: bool,
    pub first_uncovered: Option<u32>,
}

/// Lines changed since the previous release.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Changed {
    /// The tag compared with.
    pub since: String,
    pub covered: u64,
    pub total: u64,
    /// `file:line`, the first few.
    pub uncovered: Vec<String>,
}

/// What became of one report.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum State {
    Used,
    /// Why it says nothing about today's sources.
    Stale {
        why: String,
    },
    Unreadable {
        why: String,
    },
    Unsupported,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    pub path: String,
    pub format: &'static str,
    /// When it was made: by its own word, its commit, or its file time.
    pub made_at: Timestamp,
    /// `sidecar`, `report`, `git`, `file`: what the date rests on.
    pub dated_by: &'static str,
    pub sha256: Option<String>,
    #[serde(flatten)]
    pub state: State,
}

/// Everything the verdict rests on.
#[derive(Debug, Default)]
pub struct Seen {
    pub code_files: u64,
    pub test_files: u64,
    pub command: &'static str,
    pub coverage: Vec<Report>,
    pub junit: Vec<Report>,
    pub tests: Option<junit::TestRun>,
    /// Paths in used reports, and how many of them are files of the repository.
    pub reported: u64,
    pub resolved: u64,
    pub unresolved: Vec<String>,
    pub files: BTreeMap<String, FileLines>,
    pub changed: Option<Changed>,
    /// Lines excluded by pragma, and lines of the sources in which they stand.
    pub pragmas: u64,
}

/// Uncovered changed lines listed at most.
const CHANGED_LISTED_MAX: usize = 200;

pub fn look(repo: &Repo, config: &Config, now: Timestamp) -> Seen {
    let sources: Vec<(&str, Source)> =
        repo.files.iter().filter_map(|f| Source::of(&f.path).map(|s| (f.path.as_str(), s))).collect();
    let mut seen = Seen {
        code_files: sources.len() as u64,
        test_files: runner::test_files(repo),
        command: runner::command(repo),
        ..Seen::default()
    };
    let dates = Dates::new(repo, &sources);
    let mut merged: BTreeMap<&str, Lines> = BTreeMap::new();
    let index = Index::new(repo.files.iter().map(|f| f.path.as_str()));

    for found in reports::find(&repo.root, &config.reports) {
        let (report, content) = read(repo, &found, &dates, config, now);
        match content {
            Some(Content::Coverage(coverage)) => {
                unite(&mut seen, &mut merged, &index, &found.path, &coverage);
                seen.coverage.push(report);
            }
            Some(Content::Tests(run)) => {
                seen.tests.get_or_insert_default().add(run);
                seen.junit.push(report);
            }
            None if found.format == Format::JUnit => seen.junit.push(report),
            None => seen.coverage.push(report),
        }
    }
    if merged.is_empty() {
        return seen;
    }
    count(&mut seen, repo, config, &sources, &merged);
    seen.changed = changed(repo, &merged, &seen.files);
    seen
}

enum Content {
    Coverage(Coverage),
    Tests(junit::TestRun),
}

fn read(repo: &Repo, found: &Found, dates: &Dates<'_>, config: &Config, now: Timestamp) -> (Report, Option<Content>) {
    let format = match found.format {
        Format::Lcov => "lcov",
        Format::Cobertura => "cobertura",
        Format::JUnit => "junit",
        Format::Unsupported(name) => name,
    };
    let mut report = Report {
        path: found.path.clone(),
        format,
        made_at: found.modified,
        dated_by: "file",
        sha256: None,
        state: State::Unsupported,
    };
    if matches!(found.format, Format::Unsupported(_)) {
        return (report, None);
    }
    if found.bytes > REPORT_BYTES_MAX {
        report.state = State::Unreadable { why: format!("larger than {REPORT_BYTES_MAX} bytes") };
        return (report, None);
    }
    let bytes = match std::fs::read(repo.root.join(&found.path)) {
        Ok(bytes) => bytes,
        Err(e) => {
            report.state = State::Unreadable { why: e.kind().to_string() };
            return (report, None);
        }
    };
    report.sha256 = Some(sha256_hex(&bytes));
    let text = String::from_utf8_lossy(&bytes);
    let parsed = match found.format {
        Format::Lcov => lcov::parse(&text).map(Content::Coverage),
        Format::Cobertura => cobertura::parse(&text).map(Content::Coverage),
        Format::JUnit | Format::Unsupported(_) => junit::parse(&text).map(Content::Tests),
    };
    match parsed {
        Err(e) => {
            report.state = State::Unreadable { why: e.to_string() };
            (report, None)
        }
        Ok(content) => {
            let own = match &content {
                Content::Coverage(c) => c.made_at,
                Content::Tests(_) => None,
            };
            (report.made_at, report.dated_by) = dates.of(&found.path, found.modified, own);
            report.state = match dates.stale(&found.path, report.made_at, config, now) {
                Some(why) => State::Stale { why },
                None => State::Used,
            };
            if dates.sidecar(&found.path).is_some() {
                report.dated_by = "sidecar";
            }
            let used = report.state == State::Used;
            (report, used.then_some(content))
        }
    }
}

/// When reports and sources were made.
struct Dates<'r> {
    repo: &'r Repo,
    /// Sources with their modification times.
    sources: Vec<(&'r str, Timestamp)>,
    /// The repository's folder below git's top level: empty, or ending in `/`.
    prefix: String,
    /// Changed or new against HEAD, below the repository's folder.
    dirty: BTreeSet<String>,
}

impl<'r> Dates<'r> {
    fn new(repo: &'r Repo, sources: &[(&'r str, Source)]) -> Dates<'r> {
        let time = |path: &str| repo.root.join(path).metadata().map(|m| reports::modified(&m)).unwrap_or_default();
        let prefix = repo.git.as_ref().and_then(|git| {
            let (root, top) = (repo.root.canonicalize().ok()?, git.root().canonicalize().ok()?);
            let below = root.strip_prefix(top).ok()?.to_string_lossy().replace('\\', "/");
            Some(if below.is_empty() { below } else { format!("{below}/") })
        });
        let prefix = prefix.unwrap_or_default();
        let status = repo.git.as_ref().and_then(|g| g.run(&["status", "--porcelain", "-uall", "-z"]).ok());
        let dirty = status
            .unwrap_or_default()
            .split('\0')
            .filter_map(|row| row.get(3..)?.strip_prefix(prefix.as_str()).map(str::to_string))
            .collect();
        let ships = |path: &str| matches!(Role::of_path(path), Role::Product | Role::Cli | Role::Test);
        let sources = sources.iter().filter(|(p, _)| ships(p)).map(|(p, _)| (*p, time(p))).collect();
        Dates { repo, sources, prefix, dirty }
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
    fn of(&self, path: &str, modified: Timestamp, own: Option<Timestamp>) -> (Timestamp, &'static str) {
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
    fn sidecar(&self, path: &str) -> Option<String> {
        let text = std::fs::read(self.repo.root.join(format!("{path}.hc.json"))).ok()?;
        let value: serde_json::Value = serde_json::from_slice(&text).ok()?;
        let commit = value["commit"].as_str()?.to_string();
        (commit.len() >= 7 && commit.bytes().all(|b| b.is_ascii_hexdigit())).then_some(commit)
    }

    /// Why the report says nothing about today's sources; `None` when it does.
    fn stale(&self, path: &str, made_at: Timestamp, config: &Config, now: Timestamp) -> Option<String> {
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
        let newer: Vec<&str> = self.sources.iter().filter(|(_, at)| *at > made_at).map(|(p, _)| *p).collect();
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

/// Adds one report under the repository's own paths.
fn unite<'r>(
    seen: &mut Seen,
    merged: &mut BTreeMap<&'r str, Lines>,
    index: &Index<'r>,
    report: &str,
    coverage: &Coverage,
) {
    for (path, lines) in &coverage.files {
        if paths::is_foreign(path) {
            continue;
        }
        seen.reported += 1;
        let Some(file) = index.resolve(path, report, &coverage.roots) else {
            seen.unresolved.push(path.chars().filter(|c| !c.is_control()).take(200).collect());
            continue;
        };
        seen.resolved += 1;
        let united = merged.entry(file).or_default();
        for (line, hits) in lines {
            let seen = united.entry(*line).or_insert(0);
            *seen = (*seen).max(*hits);
        }
    }
}

/// Languages that one report may speak for: JavaScript's dialects and pages are one.
fn family(source: Source) -> &'static str {
    match source {
        Source::Embedded => "javascript",
        Source::Grammar(l) if l.is_javascript() => "javascript",
        Source::Grammar(Language::Python) => "python",
        Source::Grammar(Language::Go) => "go",
        Source::Grammar(Language::Rust) => "rust",
        Source::Grammar(Language::Java) => "java",
        Source::Grammar(Language::Ruby) => "ruby",
        Source::Grammar(_) => "php",
        Source::NoGrammar(name) => name,
    }
}

/// Counts lines per file: those of the reports, and of every file that ships in the product's languages.
fn count(seen: &mut Seen, repo: &Repo, config: &Config, sources: &[(&str, Source)], merged: &BTreeMap<&str, Lines>) {
    let entries = EntryPoints::read(repo);
    let excluded = patterns::matcher(Path::new(""), &config.exclude);
    let mut shipped: Vec<(&str, Source, Vec<u8>)> = Vec::new();
    for (path, source) in sources {
        if patterns::covers(excluded.as_ref(), path) || !Role::of_path(path).ships() {
            continue;
        }
        let text = repo.read(path, SOURCE_FILE_BYTES_MAX).unwrap_or_default();
        if Role::of(path, &text, &entries).ships() {
            shipped.push((path, *source, text));
        }
    }
    // The product's languages: those the reports speak of, and the one with most text.
    let mut bytes: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, source, text) in &shipped {
        *bytes.entry(family(*source)).or_default() += text.len();
    }
    let mut languages: BTreeSet<&str> = merged.keys().filter_map(|p| Source::of(p)).map(family).collect();
    languages.extend(bytes.iter().max_by_key(|(_, n)| **n).map(|(l, _)| *l));

    for (path, source, text) in shipped {
        seen.pragmas += pragmas(&text);
        if let Some(lines) = merged.get(path) {
            let covered = lines.values().filter(|hits| **hits > 0).count() as u64;
            let first_uncovered = lines.iter().find(|(_, hits)| **hits == 0).map(|(line, _)| *line);
            let file = FileLines { covered, total: lines.len() as u64, estimated: false, first_uncovered };
            seen.files.insert(path.to_string(), file);
        } else if languages.contains(family(source)) {
            let lines = statements::lines(source, &text);
            let total = lines.len() as u64;
            let file = FileLines { covered: 0, total, estimated: true, first_uncovered: lines.first().copied() };
            seen.files.insert(path.to_string(), file);
        }
    }
}

/// Lines that a pragma takes out of the count; blocks count from start to stop.
fn pragmas(text: &[u8]) -> u64 {
    const BLOCKS: [(&str, &str); 4] = [
        ("LCOV_EXCL_START", "LCOV_EXCL_STOP"),
        ("c8 ignore start", "c8 ignore stop"),
        ("v8 ignore start", "v8 ignore stop"),
        ("codeCoverageIgnoreStart", "codeCoverageIgnoreEnd"),
    ];
    const LINES: [&str; 8] = [
        "istanbul ignore",
        "c8 ignore",
        "v8 ignore",
        "pragma: no cover",
        "LCOV_EXCL",
        "coverage(off)",
        "codeCoverageIgnore",
        ":nocov:",
    ];
    let text = String::from_utf8_lossy(text);
    let (mut count, mut until) = (0, None);
    for line in text.lines() {
        if let Some(stop) = until {
            count += 1;
            if line.contains(stop) {
                until = None;
            }
        } else if let Some((_, stop)) = BLOCKS.iter().find(|(start, _)| line.contains(start)) {
            (count, until) = (count + 1, Some(*stop));
        } else if LINES.iter().any(|p| line.contains(p)) {
            count += 1;
        }
    }
    count
}

/// Coverage of the lines added since the tag before HEAD. `None` without git or tag.
fn changed(repo: &Repo, merged: &BTreeMap<&str, Lines>, files: &BTreeMap<String, FileLines>) -> Option<Changed> {
    let git = repo.git.as_ref()?;
    let since = git.run(&["describe", "--tags", "--abbrev=0", "HEAD^"]).ok()?.trim().to_string();
    let range = format!("{since}..HEAD");
    let diff = git
        .run(&[
            "diff",
            "--unified=0",
            "--no-color",
            "--no-ext-diff",
            "--no-textconv",
            "--diff-filter=AMR",
            "--relative",
            &range,
            "--",
        ])
        .ok()?;
    let mut changed = Changed { since, ..Changed::default() };
    let mut file: Option<&str> = None;
    for row in diff.lines() {
        if let Some(path) = row.strip_prefix("+++ b/") {
            file = files.contains_key(path).then_some(path);
        } else if let (Some(path), Some(hunk)) = (file, row.strip_prefix("@@ ")) {
            let Some((start, length)) = added(hunk) else { continue };
            for line in start..start.saturating_add(length) {
                let hits = match merged.get(path) {
                    Some(lines) => lines.get(&line).copied(),
                    // Nobody reported the file: every added line counts as uncovered.
                    None => Some(0),
                };
                let Some(hits) = hits else { continue };
                changed.total += 1;
                changed.covered += u64::from(hits > 0);
                if hits == 0 && changed.uncovered.len() < CHANGED_LISTED_MAX {
                    changed.uncovered.push(format!("{path}:{line}"));
                }
            }
        }
    }
    Some(changed)
}

/// `-a,b +c,d @@ …` → (c, d).
fn added(hunk: &str) -> Option<(u32, u32)> {
    let plus = hunk.split_whitespace().find_map(|w| w.strip_prefix('+'))?;
    let (start, length) = plus.split_once(',').unwrap_or((plus, "1"));
    Some((start.parse().ok()?, length.parse().ok()?))
}
