//! Gate `meta.suppressions`: how much of what was found is told not to count, and does it grow?
//!
//! Each suppression has its reason; a hundred of them are a policy nobody decided. Counts the comments in the sources
//! (ours and those of secret scanners) and what other linters were told, compares both them and the baseline with the
//! base branch, and looks at when waivers end. The baseline is a ratchet: what it covers beyond the base branch's own
//! stops the launch until somebody waives it. Reads files and asks git; runs last, because it tells of the others.
//! To fix a failure: mend what was added to the baseline, or `hypercare waive meta.suppressions`.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::domain::clock::Timestamp;
use crate::domain::problem::Problem;
use crate::domain::suppression::Means;
use crate::domain::units::{count, percent};
use crate::domain::verdict::{Class, Finding, GateResult, Outcome, Severity, Tier};
use crate::gates::baseline::{self, Against, Baseline, Document, Entry};
use crate::gates::context::{Repo, SOURCE_FILE_BYTES_MAX, off_thread};
use crate::gates::facts::git::{Git, GitError};
use crate::gates::people::base::{self, Wanted};
use crate::gates::proof::{Fixture, Proof};
use crate::gates::waiver::{self, Waivers};
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage, suppression};

/// `[gates.meta.suppressions]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// More suppressing comments than this are worth a warning. Default: 25.
    pub inline_max: u32,
    /// Share by which they may grow against the base branch, 0 to 1. Default: 0.10; two more are never growth.
    pub growth_max: f64,
}

impl Default for Config {
    fn default() -> Config {
        Config { inline_max: 25, growth_max: 0.10 }
    }
}

impl Config {
    /// Problems by path below `gates.meta.suppressions`.
    pub fn validate(&self) -> Vec<Problem> {
        let share = (0.0..=1.0).contains(&self.growth_max);
        let problem = Problem::at(["growth_max"], format!("{} is not a share", self.growth_max));
        if share { vec![] } else { vec![problem.hint("write 0.10 for 10 %")] }
    }
}

pub struct Suppressions;

pub static ABOUT: About = About {
    id: "meta.suppressions",
    section: Section::Meta,
    class: Class::C,
    line: "few findings are suppressed, each with a reason, and no more than before",
    min_tier: Tier::E1,
    attestable: false,
    stage: Stage::Static,
    lock: Lock::Fs,
    needs: &[],
    timeout: Duration::from_secs(120),
    skipped_for: &[],
    reads: "comments with hypercare:allow, gitleaks:allow, pragma: allowlist secret and trufflehog:ignore in every tracked \
            file, what the other gates found suppressed, .hypercare/baseline.json here and on the base branch, waivers, \
            and the planned time of the launch",
    decides: "fails, and blocks although of class C, when the baseline covers more than on the base branch; warns above 25 \
              suppressing comments, on more than 10 % (and more than two) beyond the base branch, on entries that the \
              baseline must not have, and on a waiver that ends before the launch",
    fix: "mend what was added to the baseline, or let somebody answer for it: hypercare waive meta.suppressions",
};

impl Gate for Suppressions {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn proof(&self) -> Option<Proof> {
        let known = |print: &str| Entry {
            gate: "code.leftover_debug".into(),
            rule: "console".into(),
            fingerprint: print.into(),
            count: 1,
            file: Some("src/cart.js".into()),
            since: "2026-01-15".into(),
        };
        let text = |prints: &[&str]| Document::new(prints.iter().map(|p| known(p)).collect()).text();
        let source = "export const total = 1;\n";
        let shop = |what| Fixture::of(what).file("src/cart.js", source).file(baseline::FILE, text(&["a1", "b2"]));
        Some(Proof {
            good: shop("the baseline has shrunk").left(baseline::FILE, text(&["a1"])),
            bad: shop("a new finding was put into the baseline").left(baseline::FILE, text(&["a1", "b2", "c3"])),
        })
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let repo = match ctx.need_repo() {
                Ok(repo) => repo.clone(),
                Err(outcome) => return *outcome,
            };
            let earlier = ctx.earlier.lock().unwrap_or_else(|e| e.into_inner()).clone();
            let people = ctx.people.clone();
            let (now, launch_at, wanted) = (ctx.clock.now(), ctx.receipts.launch_at, ctx.wanted_base.clone());
            let config = ctx.config.meta.suppressions.clone();
            off_thread(move || match look(&repo, &earlier, wanted.as_ref(), people.waivers.clone()) {
                Ok(seen) => judge(&seen, &repo.baseline, &config, now, launch_at),
                Err(why) => Outcome::error("unreadable", why).hint("see whether git works in this folder"),
            })
            .await
        })
    }
}

/// A comment that suppresses; its line's text may hold a secret and goes nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Comment {
    file: String,
    line: u32,
    marker: String,
    reasoned: bool,
}

/// Everything the verdict rests on.
#[derive(Debug, Default)]
struct Seen {
    files: u64,
    comments: Vec<Comment>,
    /// How many there are at the base, and its name; `None`: there is nothing to compare with.
    base: Option<(String, usize)>,
    /// Suppressed findings by means, and those of other linters' comments that the gates honoured.
    suppressed: BTreeMap<Means, usize>,
    others: usize,
    waivers: Waivers,
}

/// Comments for secret scanners, beside ours.
const SCANNERS: [&str; 4] =
    ["gitleaks:allow", "pragma: allowlist secret", "pragma: whitelist secret", "trufflehog:ignore"];
/// Without git, so many files are read.
const PLAIN_FILES_MAX: usize = 20_000;

fn look(
    repo: &Repo,
    earlier: &BTreeMap<String, GateResult>,
    wanted: Option<&Wanted>,
    waivers: Waivers,
) -> Result<Seen, String> {
    // Without a source there is nothing that could suppress.
    let files = repo.files.iter().filter(|f| !is_prose(&f.path)).count() as u64;
    let mut seen = Seen { files, waivers, ..Seen::default() };
    let findings = earlier.values().flat_map(|r| &r.findings);
    for text in findings.filter_map(|f| f.suppressed.as_deref()) {
        let means = Means::of(text);
        *seen.suppressed.entry(means).or_default() += 1;
        seen.others += usize::from(means == Means::Native && !SCANNERS.iter().any(|s| text.starts_with(s)));
    }
    let Some(git) = &repo.git else {
        seen.comments = plain(repo);
        return Ok(seen);
    };
    const COMMENTS: &str = "meta.comments";
    (seen.comments, seen.base) = match repo.recall(COMMENTS) {
        Some(known) => known,
        None => {
            let found = comments(repo, git, wanted)?;
            repo.remember(COMMENTS, &found);
            found
        }
    };
    Ok(seen)
}

/// Here, and how many at the base, with its name.
type Comments = (Vec<Comment>, Option<(String, usize)>);

fn comments(repo: &Repo, git: &Git, wanted: Option<&Wanted>) -> Result<Comments, String> {
    let here = grep(git, &git.below(&repo.root), None)?;
    let base = match base::parted(repo, wanted) {
        Ok(Some(base)) if !here.is_empty() => {
            let then = grep(git, &git.below(&repo.root), Some(&base.commit))?;
            Some((base.name, then.len()))
        }
        _ => None,
    };
    Ok((here, base))
}

/// Words about suppressions are none.
fn is_prose(path: &str) -> bool {
    [".md", ".rst", ".adoc", ".txt", ".html"].iter().any(|e| path.ends_with(e))
        || path.starts_with("docs/")
        || path.starts_with(".hypercare/")
}

fn comment(file: &str, line: u32, text: &str) -> Option<Comment> {
    let of =
        |marker: &str, reasoned| Some(Comment { file: file.to_string(), line, marker: marker.to_string(), reasoned });
    if let Some((_, reasoned)) = suppression::marker(text) {
        return of(suppression::MARKER, reasoned);
    }
    SCANNERS.into_iter().find(|s| text.contains(s)).and_then(|s| of(s, true))
}

/// All of them in the work tree, or in a commit.
fn grep(git: &Git, below: &str, commit: Option<&str>) -> Result<Vec<Comment>, String> {
    let mut args = vec!["grep", "-I", "-n", "-z", "-F", "-e", suppression::MARKER];
    for scanner in SCANNERS {
        args.extend(["-e", scanner]);
    }
    args.extend(commit.or(Some("--untracked")));
    let place = format!(":(literal){}", if below.is_empty() { "." } else { below.trim_end_matches('/') });
    args.extend(["--", if below.is_empty() { "." } else { &place }]);
    let listed = match git.run(&args) {
        Ok(listed) => listed,
        // Nothing found is a failure without a word.
        Err(GitError::Failed { message, .. }) if message == "failed" => return Ok(vec![]),
        Err(e) => return Err(e.to_string()),
    };
    let row = |row: &str| {
        let (path, rest) = row.split_once('\0')?;
        let (line, text) = rest.split_once('\0')?;
        let path = commit.map_or(Some(path), |c| path.strip_prefix(c)?.strip_prefix(':'))?;
        let path = path.strip_prefix(below)?;
        (!is_prose(path)).then(|| comment(path, line.parse().ok()?, text)).flatten()
    };
    Ok(listed.lines().filter_map(row).collect())
}

/// The same, in a plain folder.
fn plain(repo: &Repo) -> Vec<Comment> {
    let files = repo.files.iter().filter(|f| f.bytes <= SOURCE_FILE_BYTES_MAX && !is_prose(&f.path));
    let of = |path: &String| {
        let text = repo.read_text(path, SOURCE_FILE_BYTES_MAX).unwrap_or_default();
        text.lines().enumerate().filter_map(|(i, l)| comment(path, i as u32 + 1, l)).collect::<Vec<_>>()
    };
    files.take(PLAIN_FILES_MAX).flat_map(|f| of(&f.path)).collect()
}

/// So few more are no growth, whatever their share.
const GROWTH_MIN: usize = 2;

/// Pure: what was seen, to a verdict.
fn judge(seen: &Seen, baseline: &Baseline, config: &Config, now: Timestamp, launch_at: Option<Timestamp>) -> Outcome {
    let mut findings = Vec::new();
    findings.extend(grown(baseline));
    findings.extend(refused(baseline));
    let inline = seen.comments.iter().filter(|c| c.reasoned).count() + seen.others;
    findings.extend(many(seen, inline, config));
    findings.extend(ending(&seen.waivers, now, launch_at));
    findings.extend(seen.comments.iter().filter(|c| !c.reasoned).map(|c| {
        Finding::new("no-reason", Severity::Info, "this hypercare:allow gives no reason and does not count")
            .at(&c.file, c.line, 1)
            .fix("write: hypercare:allow GATE -- why")
            .identified_by(&["no-reason", &c.file])
    }));
    let active = seen.waivers.valid.iter().filter(|w| w.expires > now).count();
    let known: u32 = baseline.entries.iter().map(|e| e.count).sum();
    let against = match &baseline.against {
        Against::Base(base) => format!(" (compared with {})", base.name),
        _ => String::new(),
    };
    let what = format!(
        "{}, {} in the baseline{against}, {}",
        count(inline, "suppressing comment"),
        known,
        count(active, "waiver")
    );
    let first = findings.iter().find(|f| f.severity > Severity::Info);
    let outcome = match (first, &baseline.unreadable, &baseline.against) {
        (_, Some(why), _) => Outcome::error("unreadable-baseline", format!("{}: {why}", baseline::FILE))
            .hint("mend it, or write it again: hypercare baseline create --force"),
        (_, None, Against::Unknown(why)) => {
            Outcome::error("no-base", format!("the baseline cannot be compared, so it covers nothing: {why}"))
                .hint("fetch the base branch before the check: git fetch origin BRANCH")
        }
        (Some(first), ..) if first.escalate => Outcome::fail(first.message.clone()).hint(first.fix.clone()),
        (Some(first), ..) => Outcome::warn(format!("{}; {what}", first.message)).hint(first.fix.clone()),
        (None, ..) if inline == 0 && known == 0 && active == 0 => Outcome::pass("nothing is suppressed"),
        (None, ..) => Outcome::pass(what),
    };
    let counts: BTreeMap<&str, usize> = seen.suppressed.iter().map(|(means, n)| (means.word(), *n)).collect();
    let places = seen.comments.iter().take(500);
    let evidence = serde_json::json!({
        "comments": places.map(|c| serde_json::json!({"file": c.file, "line": c.line, "marker": c.marker, "reason": c.reasoned})).collect::<Vec<_>>(),
        "base": seen.base, "findings": counts, "baseline": known, "waivers": active,
        "grown": baseline.grown.iter().take(500).map(|(e, n)| serde_json::json!([e, n])).collect::<Vec<_>>(),
    });
    outcome
        .value(inline, config.inline_max)
        .tier(Tier::E1)
        .covered(seen.files, seen.files)
        .findings(findings)
        .evidence("suppressions", evidence)
}

/// The ratchet: what the baseline covers beyond the base branch's.
fn grown(baseline: &Baseline) -> Option<Finding> {
    let n: u32 = baseline.grown.iter().map(|(_, n)| n).sum();
    let (first, _) = baseline.grown.first()?;
    let Against::Base(base) = &baseline.against else { return None };
    let file = first.file.as_deref().map(|f| format!(" in {f}")).unwrap_or_default();
    let more = if n > 1 { format!(" and {} more", n - 1) } else { String::new() };
    let message = format!("the baseline has grown against {}: {}/{}{file}{more}", base.name, first.gate, first.rule);
    // A waiver of this growth covers this growth.
    let prints: Vec<&str> = baseline.grown.iter().map(|(e, _)| e.fingerprint.as_str()).collect();
    let mut finding = Finding::new("baseline-grown", Severity::High, message)
        .in_file(baseline::FILE)
        .fix(ABOUT.fix)
        .identified_by(&["baseline-grown", &prints.join(" "), &n.to_string()]);
    finding.escalate = true;
    Some(finding)
}

fn refused(baseline: &Baseline) -> Option<Finding> {
    let (entry, why) = baseline.refused.first()?;
    let more = match baseline.refused.len() {
        1 => String::new(),
        n => format!(" and {} more", n - 1),
    };
    let message = format!("an entry of the baseline covers nothing: {why}{more}");
    Some(
        Finding::new("baseline-refused", Severity::Medium, message)
            .in_file(baseline::FILE)
            .fix("take it out: hypercare baseline prune")
            .identified_by(&["baseline-refused", &entry.gate]),
    )
}

fn many(seen: &Seen, inline: usize, config: &Config) -> Vec<Finding> {
    let mut out = Vec::new();
    let fix = "mend what they hide, beginning with the oldest";
    if inline > config.inline_max as usize {
        let message = format!("{} (≤ {})", count(inline, "suppressing comment"), config.inline_max);
        out.push(Finding::new("many-comments", Severity::Medium, message).fix(fix).identified_by(&["many-comments"]));
    }
    if let Some((base, then)) = &seen.base {
        let here = seen.comments.len();
        let more = here.saturating_sub(*then);
        if more > GROWTH_MIN && more as f64 > *then as f64 * config.growth_max {
            let message =
                format!("{here} suppressing comments, {then} on {base} (≤ {} more)", percent(config.growth_max));
            let finding = Finding::new("comments-grown", Severity::Medium, message);
            out.push(finding.fix(fix).identified_by(&["comments-grown"]));
        }
    }
    out
}

/// Waivers that will not last until the launch.
fn ending(waivers: &Waivers, now: Timestamp, launch_at: Option<Timestamp>) -> Vec<Finding> {
    let Some(launch_at) = launch_at.filter(|at| *at > now) else { return vec![] };
    let ends = waivers.valid.iter().filter(|w| w.expires > now && w.expires < launch_at);
    let finding = |w: &waiver::Waiver| {
        let what = w.gate.as_deref().or(w.fingerprint.as_deref()).unwrap_or_default();
        let message =
            format!("the waiver of {what} ends {}, before the launch at {}", w.expires.rfc3339(), launch_at.rfc3339());
        Finding::new("waiver-ends", Severity::Medium, message)
            .in_file(&w.file)
            .fix("mend what it covers, or ask again before the launch")
            .identified_by(&["waiver-ends", &w.file])
    };
    ends.map(finding).collect()
}

#[cfg(test)]
mod tests;
