//! Gate `release.changelog`: does the change log say what this release brings?
//!
//! On launch day support, sales and the person on call read it before they read code. Reads the change log, tags and the
//! commits since the previous release; touches no network. Keep a Changelog 1.1 is the measure, its relatives are read
//! too (`facts/changelog.rs`).
//!
//! Fix: write a section `## [1.4.0] - 2026-11-22` with groups Added, Changed, Fixed … above the older ones.

use std::time::Duration;

use chrono::NaiveDate;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::domain::problem::Problem;
use crate::domain::release::ReleaseId;
use crate::domain::units::{Span, count, prose};
use crate::domain::verdict::{Class, Finding, Outcome, Severity, Tier, Verdict};
use crate::gates::context::Repo;
use crate::gates::facts::changelog::{self, Entry};
use crate::gates::facts::git::Git;
use crate::gates::facts::semver::Version;
use crate::gates::facts::versions::{is_on_the_way, leads_to};
use crate::gates::facts::{rid, versions};
use crate::gates::proof::{Fixture, Proof, TODAY};
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage};

/// `[gates.release.changelog]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The file, relative to the repository. Default: CHANGELOG, CHANGES, HISTORY, NEWS, RELEASE_NOTES or RELEASES at the
    /// root or in `docs`.
    pub file: Option<String>,
    /// The entry's date may differ from today by this much: an older one is left over from an earlier plan.
    pub max_age: Span,
    /// An entry of whose lines more than this share are commit subjects word for word is a dump, not a change log.
    pub dump_ratio: f64,
}

impl Default for Config {
    fn default() -> Self {
        Config { file: None, max_age: Span::secs(7 * 86_400), dump_ratio: 0.6 }
    }
}

impl Config {
    pub fn validate(&self) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        if !(0.0..=1.0).contains(&self.dump_ratio) {
            problems.push(Problem::at(["dump_ratio"], "must be between 0 and 1").hint("0.6 means 60 %"));
        }
        if self.file.as_deref().is_some_and(|f| f.starts_with('/') || f.split('/').any(|p| p == "..")) {
            problems.push(Problem::at(["file"], "must lie inside the repository"));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

/// More commits since the last release than this are not compared.
const COMMITS_MAX: usize = 2000;
/// Changes named in a message.
const CHANGES_SHOWN: usize = 10;
/// Fewer items than this cannot be told from a dump by share.
const DUMP_ITEMS_MIN: usize = 3;
/// Clocks and time zones: the date may lie this far ahead.
const AHEAD: Duration = Duration::from_secs(86_400);

pub struct Changelog;

pub static ABOUT: About = About {
    id: "release.changelog",
    section: Section::Release,
    class: Class::B,
    line: "changelog written (CHANGELOG.md)",
    min_tier: Tier::E1,
    attestable: false,
    stage: Stage::Static,
    lock: Lock::Fs,
    needs: &[],
    timeout: Duration::from_secs(120),
    skipped_for: &[],
    reads: "CHANGELOG, CHANGES, HISTORY, NEWS or release notes, the tags, and the commits since the previous release",
    decides: "an entry for the version to be released exists, is not empty, stands first, is dated within a week, is \
              grouped as Keep a Changelog 1.1 says, is not a dump of commit subjects, and breaking commits show in it \
              and in the version number",
    fix: "write a section `## [VERSION] - DATE` with groups Added, Changed, Deprecated, Removed, Fixed, Security",
};

impl Gate for Changelog {
    fn about(&self) -> &'static About {
        &ABOUT
    }
    fn proof(&self) -> Option<Proof> {
        let shop = |what, version: &str| {
            let entry = format!("## [{version}] - {TODAY}\n\n### Added\n\n- Coupons at checkout.\n");
            let old = "\n## [1.2.0] - 2026-01-15\n\n### Fixed\n\n- Prices with a comma no longer round down.\n";
            Fixture::of(what)
                .file("package.json", "{\n  \"version\": \"1.4.0\"\n}\n")
                .file("CHANGELOG.md", format!("# Changelog\n\n{entry}{old}"))
        };
        Some(Proof {
            good: shop("the release has an entry", "1.4.0"),
            bad: shop("the newest entry is of an older release", "1.3.0"),
        })
    }

    /// Each of its findings decides by itself, and nothing else does.
    fn without_findings(&self) -> Option<Verdict> {
        Some(Verdict::Pass)
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let (rid, release) = (ctx.rid.clone(), ctx.release_mode);
            let today = ctx.clock.now().utc().date_naive();
            ctx.in_repo(move |repo, config| look(repo, &config.release.changelog, &rid, release, today)).await
        })
    }
}

fn look(repo: &Repo, config: &Config, rid: &ReleaseId, release: bool, today: NaiveDate) -> Outcome {
    if let Err(problems) = config.validate() {
        let text: Vec<String> = problems.iter().map(Problem::to_string).collect();
        return Outcome::error("bad-config", text.join("; ")).hint("correct [gates.release.changelog]");
    }
    let paths = || repo.files.iter().map(|f| f.path.as_str());
    let found = config.file.as_deref().or_else(|| changelog::find(paths())).or_else(|| changelog::in_folder(paths()));
    let Some(mut file) = found else {
        return Outcome::fail("no change log: no CHANGELOG, CHANGES, HISTORY, NEWS or RELEASE_NOTES")
            .tier(Tier::E1)
            .value(serde_json::Value::Null, rid.version.clone())
            .hint("write CHANGELOG.md; https://keepachangelog.com/en/1.1.0/ shows how");
    };
    let text = match repo.read_text(file, changelog::BYTES_MAX) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Outcome::fail(format!("{file} does not exist")).tier(Tier::E1).hint("write it, or correct `file`");
        }
        Err(e) => return Outcome::error("unreadable", format!("{file}: {e}")),
    };
    let since = repo.git.as_ref().map(|git| Since::read(git, rid.commit.as_deref())).unwrap_or_default();
    let mut entries = changelog::parse(&text);
    // A page that only points to the notes, each in a file of its own.
    if let Some(own) = changelog::in_folder(paths()).filter(|_| entries.is_empty() && config.file.is_none()) {
        file = own;
        entries = changelog::parse(&repo.read_text(own, changelog::BYTES_MAX).unwrap_or_default());
        if entries.is_empty() {
            return Outcome::warn(format!(
                "{own} is the newest of the release notes, and no section of it names a version"
            ))
            .tier(Tier::E1)
            .hint(format!("begin it with a heading `## [X.Y.Z] - {}`", today.format("%Y-%m-%d")));
        }
    }
    judge(file, &entries, rid, &since, config, release, today)
}

/// What happened since the previous release.
#[derive(Debug, Clone, Default)]
struct Since {
    /// The highest version tag before this commit.
    tag: Option<String>,
    /// (subject, body).
    commits: Vec<(String, String)>,
    /// Releases that are out: every tag that is a version and nothing else.
    out: Vec<Out>,
}

#[derive(Debug, Clone)]
struct Out {
    version: Version,
    on: NaiveDate,
    /// It is this very commit.
    here: bool,
}

impl Since {
    fn read(git: &Git, head: Option<&str>) -> Since {
        let Some(head) = head else { return Since::default() };
        let tags = git.run(&["tag", "--merged", "HEAD", "--no-contains", head]).unwrap_or_default();
        let tag = tags
            .lines()
            .filter_map(|t| versions::of_tag(t).filter(|v| !v.is_prerelease()).map(|v| (v, t)))
            .max_by(|a, b| a.0.precedence(&b.0))
            .map(|(_, t)| t.to_string());
        let range = tag.as_ref().map_or("HEAD".to_string(), |t| format!("refs/tags/{t}..HEAD"));
        let most = format!("--max-count={COMMITS_MAX}");
        let log = git.run(&["log", &most, "--format=%s%x00%b%x01", &range, "--"]).unwrap_or_default();
        let commits = log
            .split('\u{1}')
            .filter_map(|c| c.trim_start_matches('\n').split_once('\0'))
            .map(|(s, b)| (s.trim().to_string(), b.trim().to_string()))
            .collect();
        Since { tag, commits, out: Since::out(git, head) }
    }

    fn out(git: &Git, head: &str) -> Vec<Out> {
        let format = "--format=%(refname:strip=2)%00%(creatordate:short)%00%(objectname)%00%(*objectname)";
        let listed = git.run(&["for-each-ref", format, "refs/tags"]).unwrap_or_default();
        let one = |line: &str| {
            let mut parts = line.split('\0');
            let (name, day) = (parts.next()?, parts.next()?);
            // A tag of one package says nothing about the others.
            let version = versions::of_tag(name).filter(|_| !name.contains(['/', '@']))?;
            Some(Out { version, on: day.parse().ok()?, here: parts.any(|commit| commit == head) })
        };
        listed.lines().filter_map(one).collect()
    }

    fn release(&self, version: Option<&str>) -> Option<&Out> {
        let version = versions::of_tag(version?)?;
        self.out.iter().find(|o| o.version == version)
    }

    /// Conventional commits: `feat(api)!: …`, or a footer `BREAKING CHANGE: …`.
    fn breaking(&self) -> Vec<&str> {
        let marked = |(subject, body): &&(String, String)| {
            let kind = subject.split(':').next().unwrap_or_default();
            let bang = subject.contains(':') && kind.ends_with('!') && !kind.contains(' ');
            bang || body.lines().any(|l| l.starts_with("BREAKING CHANGE:") || l.starts_with("BREAKING-CHANGE:"))
        };
        self.commits.iter().filter(marked).map(|(s, _)| s.as_str()).collect()
    }

    /// Numbers of merge requests in subjects: `… (#12)`, `Merge pull request #12`.
    fn changesets(&self) -> Vec<String> {
        let number = |subject: &str| {
            let at = subject
                .rfind("(#")
                .map(|i| i + 1)
                .or_else(|| subject.starts_with("Merge pull request #").then(|| subject.find('#')).flatten())?;
            let digits: String = subject[at + 1..].chars().take_while(char::is_ascii_digit).collect();
            (!digits.is_empty()).then(|| format!("#{digits}"))
        };
        self.commits.iter().filter_map(|(s, _)| number(s)).collect()
    }
}

/// Pure.
fn judge(
    file: &str,
    entries: &[Entry],
    rid: &ReleaseId,
    since: &Since,
    config: &Config,
    release: bool,
    today: NaiveDate,
) -> Outcome {
    let wanted = rid.version.as_deref().map(bare);
    let evidence = |entry: Option<&Entry>, open: &[String]| {
        serde_json::json!({
            "file": file, "entries": entries.len(), "entry": entry, "previous": since.tag, "unmentioned": open,
        })
    };
    let found = entries.iter().find(|e| match (&e.version, wanted) {
        // Work goes on under `8.5.0.dev`; its section is the one of 8.5.0.
        (Some(version), Some(wanted)) => bare(version) == wanted || !release && is_on_the_way(bare(version), wanted),
        (Some(_), None) => true,
        (None, _) => false,
    });
    // Its release is out, and work has gone on: what counts now is what will be the next one.
    let is_out = |e: &&Entry| since.release(e.version.as_deref()).is_some_and(|out| !out.here);
    if let Some(last) = found.filter(is_out).filter(|_| !since.commits.is_empty()) {
        return next(file, entries, last, since, release).evidence("entry", evidence(Some(last), &[]));
    }
    let Some(entry) = found else {
        let draft = entries.iter().any(|e| e.is_unreleased() && !e.is_empty());
        let version = wanted.map_or("this release", leads_to);
        let from = since.tag.as_deref().map(|t| format!(" (changes since {t})")).unwrap_or_default();
        let hint = format!("write `## [{version}] - {}` in {file}{from}", today.format("%Y-%m-%d"));
        let top = entries.iter().find_map(|e| e.version.as_deref());
        let newest = top.map_or("no section names a version".to_string(), |v| format!("the newest is {v}"));
        let outcome = if draft && !release {
            Outcome::warn(format!("{file} has changes under Unreleased, none under {version} yet"))
        } else if draft {
            Outcome::fail(format!("{file} has changes under Unreleased only, nothing under {version}"))
        } else {
            Outcome::fail(format!("{file} has no section for {version} ({newest})"))
        };
        let known = entries.len() as u64;
        return outcome
            .tier(Tier::E1)
            .value(top, wanted)
            .covered(known, known)
            .hint(hint)
            .evidence("entry", evidence(None, &[]));
    };
    let version = entry.version.clone().unwrap_or_default();
    let mut worst = Verdict::Pass;
    let mut findings = Vec::new();
    let mut note = |verdict: Verdict, rule: &str, message: String, fix: &str| {
        worst = worst.max(verdict);
        let severity = match verdict {
            Verdict::Fail => Severity::High,
            Verdict::Warn => Severity::Low,
            _ => Severity::Info,
        };
        let finding = Finding::new(rule, severity, message).at(file, entry.line, 1).fix(fix);
        findings.push(finding.identified_by(&[rule, file, &version]));
    };
    if entry.is_empty() {
        note(
            Verdict::Fail,
            "entry.empty",
            format!("the section {version} says nothing"),
            "say what changed for the user",
        );
    }
    if entry.yanked {
        note(Verdict::Fail, "entry.yanked", format!("{version} is marked YANKED"), "release another version");
    }
    if entries.iter().find(|e| !e.is_unreleased()).map(|e| e.line) != Some(entry.line) {
        let message = format!("{version} is not the first release in the file");
        note(Verdict::Warn, "entry.order", message, "put the newest section first");
    }
    date(entry, since.release(Some(&version)).map(|out| out.on), config, today, &mut note);
    if !entry.is_empty() && !entry.groups.iter().any(|g| changelog::GROUPS.contains(&g.as_str())) {
        let message = format!("no group of Keep a Changelog under {version}");
        note(Verdict::Warn, "entry.groups", message, "group the changes: Added, Changed, Fixed …");
    }
    let dumped = copied(&entry.items, &since.commits);
    if entry.items.len() >= DUMP_ITEMS_MIN && dumped as f64 > config.dump_ratio * entry.items.len() as f64 {
        let message = format!("{dumped} of {} lines are commit subjects word for word", entry.items.len());
        note(Verdict::Warn, "entry.dump", message, "say what the change means to its reader");
    }
    breaking(entry, since, &mut note);
    let open: Vec<String> = since.changesets().into_iter().filter(|n| !mentions(&entry.body, n)).collect();
    if !open.is_empty() {
        let message = format!("{} not mentioned: {}", count(open.len(), "merged change"), shown(&open));
        note(Verdict::Pass, "entry.unmentioned", message, "mention what a user can notice");
    }
    let known = entries.len() as u64;
    let (items, when) = (entry.items.len(), entry.date_text.as_deref().unwrap_or("no date"));
    let summary = match findings.iter().find(|f| f.severity > Severity::Info) {
        None => {
            format!("{file}: {version}, {when}, {} in {}", count(items, "change"), count(entry.groups.len(), "group"))
        }
        Some(first) => format!("{file}: {}", first.message),
    };
    let outcome = match worst {
        Verdict::Fail => Outcome::fail(summary),
        Verdict::Warn => Outcome::warn(summary),
        _ => Outcome::pass(summary),
    };
    outcome
        .tier(Tier::E1)
        .value(version.clone(), wanted)
        .covered(known, known)
        .findings(findings)
        .evidence("entry", evidence(Some(entry), &open))
}

/// The newest section is of a release that is out: is there one for what has happened since?
fn next(file: &str, entries: &[Entry], last: &Entry, since: &Since, release: bool) -> Outcome {
    let version = last.version.as_deref().unwrap_or_default();
    let tag = since.tag.as_deref().unwrap_or(version);
    let commits = count(since.commits.len(), "commit");
    let draft = entries.iter().find(|e| e.is_unreleased() && !e.is_empty());
    let summary = match draft {
        Some(_) => format!("{file} has changes under Unreleased, none under a version after {version} yet"),
        None => format!("{file} says nothing of the {commits} since {version}, which is out"),
    };
    let body = draft.map(|e| e.body.as_str()).unwrap_or_default();
    let open: Vec<String> = since.changesets().into_iter().filter(|n| !mentions(body, n)).collect();
    let unmentioned = (!open.is_empty()).then(|| {
        let line = draft.unwrap_or(last).line;
        let message = format!("{} since {tag} are not mentioned: {}", count(open.len(), "merged change"), shown(&open));
        Finding::new("entry.unmentioned", Severity::Info, message)
            .at(file, line, 1)
            .fix("mention what a user can notice")
            .identified_by(&["entry.unmentioned", file, version])
    });
    let hint = match draft {
        Some(_) => "at the release, give Unreleased its version and date".to_string(),
        None => format!("write `## [Unreleased]` above {version} in {file} ({commits} since {tag})"),
    };
    let outcome = if release { Outcome::fail(summary) } else { Outcome::warn(summary) };
    let known = entries.len() as u64;
    outcome
        .tier(Tier::E1)
        .value(version, serde_json::Value::Null)
        .covered(known, known)
        .findings(unmentioned.into_iter().collect())
        .hint(hint)
}

fn shown(numbers: &[String]) -> String {
    let more = if numbers.len() > CHANGES_SHOWN { ", …" } else { "" };
    format!("{}{more}", numbers.iter().take(CHANGES_SHOWN).cloned().collect::<Vec<_>>().join(", "))
}

/// `out_on`: the day on which its tag was made.
fn date(
    entry: &Entry,
    out_on: Option<NaiveDate>,
    config: &Config,
    today: NaiveDate,
    note: &mut impl FnMut(Verdict, &str, String, &str),
) {
    let today = out_on.unwrap_or(today);
    let fix = format!("date it {}", today.format("%Y-%m-%d"));
    let Some(date) = entry.date else {
        let message = match &entry.date_text {
            Some(text) => format!("the date {text} is not written as YYYY-MM-DD"),
            None => "the section has no date".into(),
        };
        return note(Verdict::Warn, "entry.date", message, &fix);
    };
    let days = |d: Duration| i64::try_from(d.as_secs() / 86_400).unwrap_or(i64::MAX);
    let age = (today - date).num_days();
    if let Some(tagged) = out_on.filter(|_| age.abs() > days(config.max_age.get())) {
        let message = format!("dated {date}, but its tag was made on {tagged}");
        return note(Verdict::Warn, "entry.stale", message, &fix);
    }
    if age > days(config.max_age.get()) {
        let allowed = prose(config.max_age.get());
        note(Verdict::Warn, "entry.stale", format!("dated {date}, {age} days ago (allowed: {allowed})"), &fix);
    } else if -age > days(AHEAD) {
        note(Verdict::Warn, "entry.future", format!("dated {date}, which is {} days ahead", -age), &fix);
    }
}

fn breaking(entry: &Entry, since: &Since, note: &mut impl FnMut(Verdict, &str, String, &str)) {
    let commits = since.breaking();
    let Some(first) = commits.first() else { return };
    if !entry.groups.iter().any(|g| g == "Changed" || g == "Removed") {
        let message = format!("{} breaking commits, none under Changed or Removed: {first}", commits.len());
        note(Verdict::Warn, "breaking.unsaid", message, "say what breaks and what to do about it");
    }
    let own = entry.version.as_deref().and_then(versions::of_tag);
    let before = since.tag.as_deref().and_then(versions::of_tag);
    if let (Some(own), Some(before)) = (own, before) {
        // Below 1.0.0 the minor number is the one that breaks (SemVer rule 4, and cargo's and npm's reading of it).
        let fine = |v: &Version, b: &Version| v.major > b.major || (b.major == 0 && v.major == 0 && v.minor > b.minor);
        if !fine(&own, &before) {
            let message = format!("breaking commits since {before}, but {own} is no major step");
            note(Verdict::Warn, "breaking.version", message, "raise the major version");
        }
    }
}

/// Items that repeat a commit's subject, whatever hash, link or conventional prefix surrounds it.
fn copied(items: &[String], commits: &[(String, String)]) -> usize {
    let plain = |text: &str| {
        let text = text.replace(['*', '`'], "").to_lowercase();
        let text = text.split(" (").next().unwrap_or_default().trim_end_matches('.').trim();
        match text.split_once(": ") {
            Some((kind, rest)) if kind.len() <= 30 => rest.to_string(),
            _ => text.to_string(),
        }
    };
    let subjects: std::collections::BTreeSet<String> = commits.iter().map(|(s, _)| plain(s)).collect();
    items.iter().filter(|i| subjects.contains(&plain(i))).count()
}

/// `#12` as a whole number: `#123` is another change.
fn mentions(text: &str, number: &str) -> bool {
    text.match_indices(number).any(|(i, _)| !text[i + number.len()..].starts_with(|c: char| c.is_ascii_digit()))
}

/// Without package and `v`.
fn bare(version: &str) -> &str {
    let tail = version.rsplit(['/', '@']).next().unwrap_or(version);
    tail.strip_prefix('v').filter(|t| t.starts_with(|c: char| c.is_ascii_digit())).unwrap_or(tail)
}

/// The text that goes out with an announcement: the entry of `version`, else of the newest release, else what waits under
/// Unreleased. `None` without a change log. Blocking.
pub fn text_of(repo: &Repo, version: Option<&str>) -> Option<String> {
    let (_, entries) = rid::changelog_of(repo)?;
    let wanted = version.map(bare);
    let own = entries.iter().find(|e| e.version.as_deref().map(bare) == wanted && wanted.is_some());
    let entry = own.or_else(|| entries.iter().find(|e| e.is_unreleased() && !e.is_empty()));
    entry.map(|e| e.body.clone()).filter(|b| !b.is_empty())
}

#[cfg(test)]
#[path = "changelog_tests.rs"]
mod tests;
