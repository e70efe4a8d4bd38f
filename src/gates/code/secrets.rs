//! Gate `code.secrets`: keys, tokens and passwords in the work tree and in the history.
//!
//! A secret in a repository is known to everybody who ever had a copy of it, and to every machine that built it. Tokens
//! are found by their providers' prefixes and checksums (`secrets/rules.rs`, `checks.rs`), others by the name that they
//! are given (`assignment.rs`, `named.rs`, `values.rs`), also where they are encoded (`scan.rs`) or packed (`archives.rs`); `history.rs` looks at
//! what commits brought and later ones removed. Reads files and git only: no secret is tried, sent, stored or shown. To
//! fix a failure: revoke the secret at its provider first, then move it to a vault or the environment.

mod allowed;
mod archives;
mod assignment;
mod checks;
mod files;
mod history;
mod named;
mod rules;
mod scan;
mod shape;
mod values;

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use futures_util::future::BoxFuture;
use ignore::gitignore::Gitignore;
use serde::{Deserialize, Serialize};

use self::allowed::Allowed;
use self::history::{History, Past};
use self::scan::{Hit, scan};
use crate::domain::evidence::sha256_hex;
use crate::domain::problem::Problem;
use crate::domain::units::count;
use crate::domain::verdict::{Class, Confidence, Finding, Outcome, Severity, Tier};
use crate::gates::context::{Repo, RepoFile};
use crate::gates::facts::git::GitError;
use crate::gates::patterns;
use crate::gates::proof::{Fixture, Proof};
use crate::gates::suppression::{self, Inline};
use crate::gates::{About, Found, Gate, GateContext, Lock, Part, Reader, Section, Stage};

/// `[gates.code.secrets]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Look at every commit, not only at the work tree. Default: true.
    pub history: bool,
    /// Paths that are not looked at, as in .gitignore: `tests/keys/**`. Listed in the evidence.
    pub exclude: Vec<String>,
}

impl Default for Config {
    fn default() -> Config {
        Config { history: true, exclude: Vec::new() }
    }
}

impl Config {
    /// Problems by path below `gates.code.secrets`.
    pub fn validate(&self) -> Vec<Problem> {
        patterns::problems("exclude", &self.exclude)
    }
}

pub struct Secrets;

pub static ABOUT: About = About {
    id: "code.secrets",
    section: Section::Code,
    class: Class::A,
    line: "no secrets or tokens hardcoded",
    min_tier: Tier::E1,
    attestable: false,
    stage: Stage::Static,
    lock: Lock::Fs,
    needs: &[],
    timeout: Duration::from_secs(600),
    skipped_for: &[],
    reads: "every file that git tracks or would track, and every line that a commit of any branch added; allow lists of \
            gitleaks, detect-secrets and TruffleHog",
    decides: "fails on tokens in a provider's format, unencrypted private keys, cloud keys, passwords in URLs, and random \
              values given to names of secrets, now or in the history; warns on what only looks like one, in a shallow \
              clone and without git",
    fix: "revoke the secret at its provider first, then move it to a vault or the environment; deleting the line does not \
          un-leak it. No secret: hypercare:allow code.secrets -- <reason>",
};

impl Gate for Secrets {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn proof(&self) -> Option<Proof> {
        let shop = |what, key: String| Fixture::of(what).file("src/pay.js", format!("export const key = {key};\n"));
        // In pieces, so that no scanner finds it here.
        let token = ["sk_", "live_", "51H8x2LKq9ZtV7bNw", "3RfYcD6mPjA4sEu"].concat();
        Some(Proof {
            good: shop("the key comes from the environment", "process.env.PAYMENT_KEY".into()),
            bad: shop("a live payment key is in the source", format!("\"{token}\"")),
        })
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            ctx.in_sweep(ABOUT.id, |repo, config, looking: &Looking, found| {
                judge(&gather(repo, looking, found, &config.code.secrets))
            })
            .await
        })
    }

    fn keeps(&self) -> bool {
        true
    }

    fn reader(&self, ctx: &GateContext) -> Option<Part> {
        ctx.repo.as_ref().map(|repo| Part::new(Looking::new(repo, &ctx.config.code.secrets)))
    }
}

/// Larger files are looked at no further: logs and dumps.
const FILE_BYTES_MAX: u64 = 32 << 20;
/// Less than the gate's own time, so that what was found is told.
const HISTORY_WITHIN: Duration = Duration::from_secs(540);

/// Everything the verdict rests on. Holds no secret but in `present`, which goes nowhere.
#[derive(Default)]
struct Seen {
    known: u64,
    inspected: u64,
    unreadable: Vec<String>,
    findings: Vec<Finding>,
    rows: Vec<serde_json::Value>,
    /// Low confidence: counted, not listed.
    doubtful: u64,
    history: Reach,
}

/// What became of the history.
#[derive(Default)]
enum Reach {
    #[default]
    NotAsked,
    NoGit,
    Commits {
        commits: u64,
        shallow: bool,
    },
    Failed(GitError),
}

/// A secret with what is said of it; nothing of the text around it but the masked line.
struct Told {
    /// `lib/a.jar!config.yml` within an archive.
    path: String,
    hit: Hit,
    line: u32,
    column: u32,
    masked: String,
    suppressed: Option<String>,
    /// It should be allowed, but nobody says why.
    unreasoned: bool,
}

/// What a look at one file gave.
struct Looked {
    told: Vec<Told>,
    /// False: too large or not readable, or an archive of which that is true in part.
    whole: bool,
}

/// Looks at each file that may hold text.
struct Looking {
    allowed: Allowed,
    excluded: Option<Gitignore>,
}

impl Looking {
    fn new(repo: &Repo, config: &Config) -> Looking {
        Looking { allowed: Allowed::read(repo), excluded: patterns::matcher(Path::new(""), &config.exclude) }
    }

    fn is_excluded(&self, path: &str) -> bool {
        patterns::covers(self.excluded.as_ref(), path)
    }
}

impl Reader for Looking {
    type Found = Looked;

    fn wants(&self, file: &RepoFile) -> Option<u64> {
        (!files::is_noise(&file.path) && !self.is_excluded(&file.path)).then_some(FILE_BYTES_MAX)
    }

    fn read(&self, file: &RepoFile, text: Option<&[u8]>) -> Looked {
        let Some(text) = text else { return Looked { told: Vec::new(), whole: false } };
        let Some(archive) = archives::unpack(&file.path, text) else {
            return Looked { told: told(&file.path, text, &self.allowed), whole: true };
        };
        let inner = |e: &archives::Entry| told(&format!("{}!{}", file.path, e.path), &e.bytes, &self.allowed);
        Looked { told: archive.entries.iter().flat_map(inner).collect(), whole: !archive.partly }
    }
}

/// Adds up what was found in each file, and looks at the history.
fn gather(repo: &Repo, looking: &Looking, found: Found<Looking>, config: &Config) -> Seen {
    let mut seen = Seen { known: found.len() as u64, ..Seen::default() };
    let mut present = HashSet::new();
    for (nth, Looked { told, whole }) in found {
        seen.inspected += u64::from(whole);
        if !whole {
            seen.unreadable.push(repo.files[nth].path.clone());
        }
        let mut ordinals = BTreeMap::new();
        for told in told {
            present.insert(told.hit.value.clone());
            let key = (told.path.clone(), told.hit.rule, told.masked.clone());
            let ordinal = ordinals.entry(key).and_modify(|n| *n += 1).or_insert(0u32);
            let place = (told.line, told.column);
            let mut finding = finding(&told.hit, &told.path, place, &told.masked, *ordinal, None);
            finding.suppressed = told.suppressed;
            if told.unreasoned {
                finding.message.push_str("; the hypercare:allow beside it gives no reason and does not count");
            }
            seen.add(finding, &told.hit, None);
        }
    }
    seen.history = match &repo.git {
        _ if !config.history => Reach::NotAsked,
        None => Reach::NoGit,
        Some(git) => match history::look(git, &present, HISTORY_WITHIN) {
            Ok(History { past, commits, shallow }) => {
                for past in past.into_iter().filter(|p| !looking.is_excluded(&p.path)) {
                    let mut finding = finding(&past.hit, &past.path, (past.line, 1), &past.masked, 0, Some(&past));
                    finding.suppressed = looking.allowed.by(&past.path, past.line, &past.masked, &past.hit.value.0);
                    seen.add(finding, &past.hit, Some(&past));
                }
                Reach::Commits { commits, shallow }
            }
            Err(error) => Reach::Failed(error),
        },
    };
    seen
}

/// The secrets of one text.
fn told(path: &str, text: &[u8], allowed: &Allowed) -> Vec<Told> {
    let Some(view) = files::view(path, text) else { return Vec::new() };
    let hits = scan(text, path, view);
    if hits.is_empty() {
        return Vec::new();
    }
    let shown = String::from_utf8_lossy(text);
    let lines: Vec<&str> = shown.lines().collect();
    let one = |hit: Hit| {
        let before = &text[..hit.place.start];
        let line = before.iter().filter(|b| **b == b'\n').count() as u32 + 1;
        let begins = before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let column = String::from_utf8_lossy(&before[begins..]).chars().count() as u32 + 1;
        let (ours, unreasoned) = match suppression::inline(&lines, line, ABOUT.id, hit.rule) {
            Some(Inline::Allowed(why)) => (Some(why), false),
            Some(Inline::NoReason(_)) => (None, true),
            None => (None, false),
        };
        let said = lines.get(line as usize - 1).copied().unwrap_or_default();
        let suppressed = ours.or_else(|| allowed.by(path, line, said, &hit.value.0));
        let masked = masked(text, &hit.place);
        Told { path: path.to_string(), hit, line, column, masked, suppressed, unreasoned }
    };
    hits.into_iter().map(one).collect()
}

/// The first line of a place without what stands there: what stays the same when the secret does not matter.
fn masked(text: &[u8], place: &Range<usize>) -> String {
    /// Of each side: enough to tell lines apart.
    const SIDE_BYTES_MAX: usize = 200;
    let from = text[..place.start].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let to = text[place.end..].iter().position(|b| *b == b'\n').map_or(text.len(), |at| place.end + at);
    let before = &text[from.max(place.start.saturating_sub(SIDE_BYTES_MAX))..place.start];
    let after = &text[place.end..to.min(place.end + SIDE_BYTES_MAX)];
    format!("{}…{}", String::from_utf8_lossy(before).trim_start(), String::from_utf8_lossy(after).trim_end())
}

fn finding(
    hit: &Hit,
    path: &str,
    (line, column): (u32, u32),
    masked: &str,
    ordinal: u32,
    past: Option<&Past>,
) -> Finding {
    let mut message = format!("{} ({})", hit.rule, hit.provider);
    match hit.valid {
        Some(true) => message.push_str(", its structure is valid"),
        Some(false) => message.push_str(", its checksum is wrong"),
        None => {}
    }
    if let Some(how) = hit.encoded {
        message.push_str(&format!(", in {how}"));
    }
    if let Some(past) = past {
        let short = past.commit.get(..12).unwrap_or(&past.commit);
        message.push_str(&format!(", no longer there, but in commit {short} of {}", past.author_date));
    }
    // The line's own text may hold another secret: only its hash goes out.
    let line_hash = sha256_hex(masked.as_bytes());
    let mut identity = vec![hit.rule, path, &line_hash];
    let ordinal = ordinal.to_string();
    identity.push(&ordinal);
    Finding::new(hit.rule, hit.severity, message)
        .confidence(hit.confidence)
        .at(path, line, column)
        .fix(format!(
            "revoke it at {} first, then move it to a vault or the environment; deleting the line does not un-leak it",
            hit.provider
        ))
        .identified_by(&identity)
}

impl Seen {
    fn add(&mut self, finding: Finding, hit: &Hit, past: Option<&Past>) {
        if hit.confidence == Confidence::Low {
            self.doubtful += 1;
            return;
        }
        self.rows.push(serde_json::json!({
            "rule": hit.rule, "file": finding.file, "line": finding.line, "length": hit.value.0.len(),
            "entropy": (hit.entropy * 100.0).round() / 100.0, "structure_valid": hit.valid, "encoded": hit.encoded,
            "commit": past.map(|p| &p.commit), "author_date": past.map(|p| &p.author_date), "still_there": past.is_none(),
            "suppressed": finding.suppressed, "fingerprint": finding.fingerprint,
        }));
        self.findings.push(finding);
    }
}

/// Keeps one piece of evidence well under its limit of 1 MiB.
const EVIDENCE_ROWS_MAX: usize = 1000;
/// Share of files that must have been inspected for a pass (gates.md 0.1).
const COVERED_SHARE_MIN: f64 = 0.90;

/// Pure: what was seen, to a verdict.
fn judge(seen: &Seen) -> Outcome {
    if seen.known == 0 {
        return Outcome::error("nothing-to-inspect", "the repository has no file")
            .hint("check that --repo names the product's sources");
    }
    let open = |f: &&Finding| f.suppressed.is_none();
    let blocks = |f: &&Finding| f.severity >= Severity::High && f.confidence == Confidence::High;
    let warns = |f: &&Finding| !blocks(f) && f.severity >= Severity::Medium;
    let fails: Vec<&Finding> = seen.findings.iter().filter(open).filter(blocks).collect();
    let doubts: Vec<&Finding> = seen.findings.iter().filter(open).filter(warns).collect();
    let (whole, trouble) = match &seen.history {
        Reach::NotAsked => (" (the history was not looked at)".to_string(), None),
        Reach::NoGit => (String::new(), Some("this is not a git repository: its history cannot be looked at".into())),
        Reach::Commits { commits, shallow: false } => (format!(" and {}", count(*commits as usize, "commit")), None),
        Reach::Commits { commits, shallow: true } => {
            let how = "the clone is shallow: fetch all of it (actions/checkout with fetch-depth: 0, GIT_DEPTH: 0)";
            (format!(" and {}", count(*commits as usize, "commit")), Some(how.to_string()))
        }
        Reach::Failed(error) => (String::new(), Some(format!("the history could not be read: {error}"))),
    };
    let places = format!("{}{whole}", count(seen.inspected as usize, "file"));
    let outcome = if !fails.is_empty() {
        Outcome::fail(format!("{} in {places}", count(fails.len(), "secret")))
    } else if matches!(seen.history, Reach::Failed(_)) {
        let why = trouble.unwrap_or_default();
        return Outcome::error("history-unreadable", why)
            .findings(seen.findings.clone())
            .covered(seen.inspected, seen.known);
    } else if !doubts.is_empty() {
        Outcome::warn(format!("{} in {places}", count(doubts.len(), "possible secret")))
    } else if let Some(why) = trouble {
        Outcome::warn(format!("no secrets in {places}, but {why}"))
    } else if (seen.inspected as f64) < seen.known as f64 * COVERED_SHARE_MIN {
        Outcome::warn(format!("no secrets in the {} of {} files inspected", seen.inspected, seen.known))
    } else {
        Outcome::pass(format!("no secrets in {places}"))
    };
    let outcome = match fails.first().or(doubts.first()) {
        Some(f) => outcome.hint(format!(
            "{} at {}:{}: {}",
            f.message,
            f.file.as_deref().unwrap_or_default(),
            f.line.unwrap_or_default(),
            f.fix
        )),
        None => outcome,
    };
    let suppressed = seen.findings.iter().filter(|f| f.suppressed.is_some()).count();
    let evidence = serde_json::json!({
        "files": {"known": seen.known, "inspected": seen.inspected, "unreadable": seen.unreadable.iter().take(EVIDENCE_ROWS_MAX).collect::<Vec<_>>()},
        "suppressed": suppressed, "doubtful": seen.doubtful, "found_total": seen.rows.len(),
        "found": seen.rows.iter().take(EVIDENCE_ROWS_MAX).collect::<Vec<_>>(),
    });
    let outcome = outcome.value(fails.len(), 0).tier(Tier::E1).covered(seen.inspected, seen.known);
    outcome.findings(seen.findings.clone()).evidence("secrets", evidence)
}

#[cfg(test)]
mod tests;
