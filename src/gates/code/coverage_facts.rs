//! Gathers what `coverage.rs` judges: reports read, paths resolved, reports dated against the sources, files that no
//! report mentions, lines changed since the last release. Reads files and asks git; decides nothing.
//!
//! `dates.rs` says how old a report is, `changed.rs` what of the last changes is covered.

mod changed;
mod dates;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use self::changed::changed;
use self::dates::Dates;
use super::coverage::Config;
use super::paths::{self, Index};
use super::reports::{self, Format, Found};
use super::role::{EntryPoints, Role};
use super::runner;
use super::statements;
use super::syntax::{self, Language, Source, Visit};
use crate::domain::clock::Timestamp;
use crate::domain::evidence::sha256_hex;
use crate::gates::context::{Repo, SOURCE_FILE_BYTES_MAX};
use crate::gates::import::{self, Block, Coverage, ImportError, Lines, REPORT_BYTES_MAX, Tally, junit};
use crate::gates::patterns;

/// One file's lines of code.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct FileLines {
    pub covered: u64,
    pub total: u64,
    pub unit: Unit,
    /// No report mentions it: `total` is estimated, and none counts as covered.
    pub estimated: bool,
    pub first_uncovered: Option<u32>,
}

/// What a file's figure counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    #[default]
    Lines,
    /// Go weighs blocks by their statements.
    Statements,
    /// Lines that a summary counts without naming them.
    Summary,
}

/// What all used reports say of one file.
#[derive(Debug, Default)]
struct Merged {
    lines: Lines,
    blocks: BTreeMap<Block, (u64, u64)>,
    own: Option<Tally>,
    reports: u32,
}

impl Merged {
    fn unit(&self) -> Unit {
        match () {
            _ if !self.blocks.is_empty() => Unit::Statements,
            _ if self.lines.is_empty() && self.own.is_some_and(|own| own.total > 0) => Unit::Summary,
            _ => Unit::Lines,
        }
    }

    /// A writer's own count holds for its report alone; united reports are counted by what they are united from.
    fn tally(&self) -> Tally {
        let own = self.own.filter(|_| self.reports == 1 || self.lines.is_empty());
        import::tally(&self.lines, Some(&self.blocks).filter(|b| !b.is_empty()), own)
    }
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
    /// Covered and total over all its files, as its writer counts: to be held against the writer's own output.
    pub says: Option<(u64, u64)>,
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
    /// Why a report that was used may be about another state of the sources.
    pub unbound: Option<String>,
    /// Lines excluded by pragma, and lines of the sources in which they stand.
    pub pragmas: u64,
}

/// A report that was imported.
#[derive(Debug)]
pub struct Other {
    pub report: Report,
    /// Stands in for what the work tree lacks.
    pub says: Told,
    pub unbound: Option<String>,
}

/// What it says.
#[derive(Debug)]
pub enum Told {
    /// Covered and total by the report's own paths.
    Files(BTreeMap<String, (u64, u64)>),
    Tests(junit::TestRun),
}

/// `others`: imported reports, used where the work tree has none.
pub fn look(repo: &Repo, config: &Config, now: Timestamp, others: Vec<Other>) -> Seen {
    let sources: Vec<(&str, Source)> =
        repo.files.iter().filter_map(|f| Source::of(&f.path).map(|s| (f.path.as_str(), s))).collect();
    let mut seen = Seen {
        // Chores alone (a chart's `hack/sync.py`) are no program.
        code_files: sources.iter().filter(|(p, _)| matters(p)).count() as u64,
        test_files: runner::test_files(repo),
        command: runner::command(repo),
        ..Seen::default()
    };
    let dates = Dates::new(repo, &sources);
    let mut merged: BTreeMap<&str, Merged> = BTreeMap::new();
    let modules = go_modules(repo);
    let index = Index::new(repo.files.iter().map(|f| f.path.as_str()));

    let concerns = |f: &Found| !f.format.is_tests() || f.format == Format::JUnit;
    for found in reports::of(repo, &config.reports).0.iter().filter(|f| concerns(f)) {
        let (report, content) = read(repo, &index, found, &dates, config, now);
        match content {
            Some(Content::Coverage(coverage)) => {
                let mut report = report;
                let last = unite(&mut seen, &mut merged, &index, &modules, &found.path, coverage);
                if found.format == Format::GoCover
                    && let Some(why) = last.and_then(|file| ends_early(repo, file, &merged))
                {
                    report.state = State::Unreadable { why };
                }
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
    for other in others {
        imported(&mut seen, &mut merged, &index, other);
    }
    if merged.is_empty() {
        return seen;
    }
    count(&mut seen, repo, config, &sources, &merged);
    seen.changed = changed(repo, &merged, &seen.files);
    seen
}

fn matters(path: &str) -> bool {
    matches!(Role::of_path(path), Role::Product | Role::Cli | Role::Test)
}

/// Takes an imported report where none of its kind was found in the work tree.
fn imported<'r>(seen: &mut Seen, merged: &mut BTreeMap<&'r str, Merged>, index: &Index<'r>, other: Other) {
    let used = other.report.state == State::Used;
    match other.says {
        Told::Tests(run) if seen.tests.is_none() => {
            if used {
                seen.tests = Some(run);
                seen.unbound = seen.unbound.take().or(other.unbound);
            }
            seen.junit.push(other.report);
        }
        Told::Files(files) if !seen.coverage.iter().any(|r| r.state == State::Used) => {
            if used {
                let mut coverage = Coverage::default();
                for (path, (covered, total)) in files {
                    coverage.files.insert(path.clone(), Lines::new());
                    coverage.tallies.insert(path, Tally { covered, total });
                }
                unite(seen, merged, index, &[], "", coverage);
                seen.unbound = seen.unbound.take().or(other.unbound);
            }
            seen.coverage.push(other.report);
        }
        _ => {}
    }
}

enum Content {
    Coverage(Coverage),
    Tests(junit::TestRun),
}

fn read(
    repo: &Repo,
    index: &Index<'_>,
    found: &Found,
    dates: &Dates<'_>,
    config: &Config,
    now: Timestamp,
) -> (Report, Option<Content>) {
    let mut report = Report {
        path: found.path.clone(),
        format: found.format.name(),
        made_at: found.modified,
        dated_by: "file",
        sha256: None,
        says: None,
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
    let mut parsed = parse(found.format, &text);
    if let (Format::SimpleCov, Ok(Content::Coverage(coverage))) = (found.format, &mut parsed) {
        leave_out_nocov(repo, index, &found.path, coverage);
    }
    match parsed {
        Err(e) => {
            report.state = State::Unreadable { why: e.to_string() };
            (report, None)
        }
        Ok(content) => {
            let own = match &content {
                Content::Coverage(c) => {
                    let sum = |(a, b): (u64, u64), t: Tally| (a + t.covered, b + t.total);
                    report.says = Some(c.files.keys().map(|file| c.tally(file)).fold((0, 0), sum));
                    c.made_at
                }
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

/// SimpleCov takes the lines between `# :nocov:` out when it prints, not when it stores.
fn leave_out_nocov(repo: &Repo, index: &Index<'_>, report: &str, coverage: &mut Coverage) {
    for (path, lines) in &mut coverage.files {
        let text = index.resolve(path, report, &[]).and_then(|file| repo.read(file, SOURCE_FILE_BYTES_MAX).ok());
        let text = text.unwrap_or_default();
        let mut inside = false;
        for (number, line) in (1..).zip(String::from_utf8_lossy(&text).lines()) {
            let turns = line.trim_start().strip_prefix('#').is_some_and(|c| c.trim() == ":nocov:");
            inside ^= turns;
            if inside || turns {
                lines.remove(&number);
            }
        }
    }
}

fn parse(format: Format, text: &str) -> Result<Content, ImportError> {
    let coverage = match format {
        Format::Lcov => import::lcov::parse(text),
        Format::Cobertura => import::cobertura::parse(text),
        Format::Clover => import::clover::parse(text),
        Format::JaCoCo => import::jacoco::parse(text),
        Format::GoCover => import::go_cover::parse(text),
        Format::Istanbul => import::istanbul::parse(text),
        Format::IstanbulSummary => import::istanbul_summary::parse(text),
        Format::CoveragePy => import::coveragepy::parse(text),
        Format::LlvmCov => import::llvm_cov::parse(text),
        Format::SimpleCov => import::simplecov::parse(text),
        _ => return junit::parse(text).map(Content::Tests),
    };
    coverage.map(Content::Coverage)
}

/// Adds one report under the repository's own paths; the file that it names last.
fn unite<'r>(
    seen: &mut Seen,
    merged: &mut BTreeMap<&'r str, Merged>,
    index: &Index<'r>,
    modules: &[(String, String)],
    report: &str,
    mut coverage: Coverage,
) -> Option<&'r str> {
    let mut last = None;
    for (path, lines) in coverage.files {
        let blocks = coverage.blocks.remove(&path).unwrap_or_default();
        let local = if blocks.is_empty() { Some(path.clone()) } else { below_module(&path, modules) };
        let Some(local) = local.filter(|p| !paths::is_foreign(p)) else { continue };
        seen.reported += 1;
        let Some(file) = index.resolve(&local, report, &coverage.roots) else {
            seen.unresolved.push(path.chars().filter(|c| !c.is_control()).take(200).collect());
            continue;
        };
        seen.resolved += 1;
        last = Some(file);
        let united = merged.entry(file).or_default();
        united.reports += 1;
        for (line, hits) in lines {
            let seen = united.lines.entry(line).or_insert(0);
            *seen = (*seen).max(hits);
        }
        for (block, (statements, hits)) in blocks {
            let seen = united.blocks.entry(block).or_insert((statements, 0));
            seen.1 = seen.1.max(hits);
        }
        let best = united.own.into_iter().chain(coverage.tallies.get(&path).copied());
        united.own = best.max_by_key(|tally| tally.covered);
    }
    last
}

/// (module path, folder of its `go.mod`), the longest path first.
fn go_modules(repo: &Repo) -> Vec<(String, String)> {
    let manifests = repo.files.iter().filter(|f| f.path == "go.mod" || f.path.ends_with("/go.mod"));
    let module = |f: &crate::gates::context::RepoFile| {
        let text = repo.read_text(&f.path, SOURCE_FILE_BYTES_MAX).ok()?;
        let name = text.lines().find_map(|l| l.trim().strip_prefix("module "))?.trim().trim_matches('"').to_string();
        Some((name, f.path.strip_suffix("go.mod")?.to_string()))
    };
    let mut modules: Vec<_> = manifests.filter_map(module).collect();
    modules.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    modules
}

/// Go names files by import path. `None`: of a module that is not in this repository.
fn below_module(path: &str, modules: &[(String, String)]) -> Option<String> {
    let below = |(name, folder): &(String, String)| {
        let rest = path.strip_prefix(name.as_str())?.strip_prefix('/')?;
        Some(format!("{folder}{rest}"))
    };
    match modules.iter().find_map(below) {
        Some(local) => Some(local),
        // Before modules, and with tools that write paths of the file system: the longest file it ends with.
        None if modules.is_empty() || path.starts_with(['/', '.']) => {
            Some(format!("/{}", path.trim_start_matches('/')))
        }
        None => None,
    }
}

/// A profile cut between two lines looks whole. Its last file tells: no block lies in the file's last function.
fn ends_early(repo: &Repo, file: &str, merged: &BTreeMap<&str, Merged>) -> Option<String> {
    let text = repo.read(file, SOURCE_FILE_BYTES_MAX).ok()?;
    let parsed = syntax::parse(Source::Grammar(Language::Go), &text)?;
    let mut last: Option<(u32, u32)> = None;
    syntax::walk(&parsed.tree, |node, _| {
        let named = node.child_by_field_name("name").map(|n| &text[n.byte_range()]);
        if matches!(node.kind(), "function_declaration" | "method_declaration") && named != Some(b"_") {
            if let Some(body) = node.child_by_field_name("body") {
                last = Some((body.start_position().row as u32 + 1, body.end_position().row as u32 + 1));
            }
            return Visit::Skip;
        }
        Visit::Enter
    });
    let (from, to) = last?;
    let seen = merged.get(file)?.blocks.keys().any(|b| (from..=to).contains(&b.0));
    (!seen).then(|| format!("cut short: it ends before the last function of {file} (line {from})"))
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
        Source::CSharp => "C#",
        Source::NoGrammar(name) => name,
    }
}

/// Counts lines per file: those of the reports, and of every file that ships in the product's languages.
fn count(seen: &mut Seen, repo: &Repo, config: &Config, sources: &[(&str, Source)], merged: &BTreeMap<&str, Merged>) {
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
        if let Some(of) = merged.get(path) {
            let Tally { covered, total } = of.tally();
            let first_uncovered = of.lines.iter().find(|(_, hits)| **hits == 0).map(|(line, _)| *line);
            let file = FileLines { covered, total, unit: of.unit(), estimated: false, first_uncovered };
            seen.files.insert(path.to_string(), file);
        } else if languages.contains(family(source)) {
            let lines = statements::lines(source, &text);
            let total = lines.len() as u64;
            let first_uncovered = lines.first().copied();
            let file = FileLines { covered: 0, total, unit: Unit::Lines, estimated: true, first_uncovered };
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
