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
mod cloud;
mod commands;
mod company;
mod content;
mod curl;
mod encodings;
mod files;
mod gitleaks;
mod hashes;
mod headers;
mod history;
mod judge;
mod kubernetes;
mod named;
mod pairs;
mod registry;
mod revoked;
mod rules;
mod scan;
mod seams;
mod shape;
mod urls;
mod values;

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use futures_util::future::BoxFuture;
use ignore::gitignore::Gitignore;
use serde::{Deserialize, Serialize};

use self::allowed::Allowed;
use self::gitleaks::{Asked, Gitleaks};
use self::history::{History, Past};
use self::judge::judge;
use self::revoked::Revoked;
use self::scan::{Hit, View, scan};
use crate::domain::evidence::sha256_hex;
use crate::domain::problem::Problem;
use crate::domain::verdict::{Class, Confidence, Finding, Outcome, Tier};
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
    reads: "every file that git tracks or would track, also within archives; every line, message and archive that a \
            commit of any ref or stash brought; rules and allow lists of gitleaks, allow lists of detect-secrets and \
            TruffleHog; signed statements that secrets were revoked; imported reports of these and of kingfisher",
    decides: "fails on tokens in a provider's format, unencrypted private keys, cloud keys, passwords in URLs, and random \
              values given to names of secrets, now or in the history (there until somebody signs that they were revoked: \
              hypercare attest code.secrets --rotated); warns on what only looks like one, in a shallow clone and without git",
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
            let own = ctx.in_sweep(ABOUT.id, |repo, config, looking: &Looking, found| {
                judge(&gather(repo, looking, found, &config.code.secrets))
            });
            ctx.with_imports(&ABOUT, own.await)
        })
    }

    fn keeps(&self) -> bool {
        true
    }

    fn reader(&self, ctx: &GateContext) -> Option<Part> {
        let revoked = Revoked { key: ctx.fingerprint_key.clone(), said: ctx.people.rotations() };
        let looking = |repo| Looking { revoked, ..Looking::new(repo, &ctx.config.code.secrets) };
        ctx.repo.as_ref().map(|repo| Part::new(looking(repo)))
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
    /// Low confidence: counted, and told in the evidence alone.
    doubtful: Vec<serde_json::Value>,
    /// What `.gitleaks.toml` says and cannot be obeyed.
    unread: Vec<String>,
    history: Reach,
}

/// What became of the history.
#[derive(Default)]
enum Reach {
    #[default]
    NotAsked,
    NoGit,
    /// As far as it goes; what was found is told already.
    Looked(History),
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
    revoked: Revoked,
}

impl Looking {
    fn new(repo: &Repo, config: &Config) -> Looking {
        let excluded = patterns::matcher(Path::new(""), &config.exclude);
        Looking { allowed: Allowed::read(repo), excluded, revoked: Revoked::default() }
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
        looked(&file.path, text, &self.allowed)
    }
}

/// The secrets of one file, and of those within it.
fn looked(path: &str, bytes: &[u8], allowed: &Allowed) -> Looked {
    let mut found = Vec::new();
    let whole = content::texts(path, bytes, &mut |path, text| found.extend(told(path, text, allowed)));
    Looked { told: found, whole }
}

/// Adds up what was found in each file, and looks at the history.
fn gather(repo: &Repo, looking: &Looking, mut found: Found<Looking>, config: &Config) -> Seen {
    let mut seen = Seen { known: found.len() as u64, ..Seen::default() };
    let mut present = HashSet::new();
    company::raise(found.iter_mut().map(|(_, looked)| looked));
    for (nth, Looked { told, whole }) in found {
        seen.inspected += u64::from(whole);
        if !whole {
            seen.unreadable.push(repo.files[nth].path.clone());
        }
        let mut ordinals = BTreeMap::new();
        for told in told {
            present.insert(told.hit.value.clone());
            let key = (told.path.clone(), told.hit.name().to_string(), told.masked.clone());
            let ordinal = ordinals.entry(key).and_modify(|n| *n += 1).or_insert(0u32);
            let place = (told.line, told.column);
            let mut finding = finding(&told.hit, &told.path, place, &told.masked, *ordinal, None);
            finding.fingerprint = looking.revoked.fingerprint(&finding.fingerprint, &told.hit.value.0);
            finding.suppressed = told.suppressed;
            if told.unreasoned {
                finding.message.push_str("; the hypercare:allow beside it gives no reason and does not count");
            }
            seen.add(finding, &told.hit, None);
        }
    }
    seen.unread = looking.allowed.gitleaks.problems.clone();
    seen.history = match &repo.git {
        _ if !config.history => Reach::NotAsked,
        None => Reach::NoGit,
        Some(git) => match history::look(git, &looking.allowed.gitleaks, &present, HISTORY_WITHIN) {
            Ok(mut history) => {
                let past = std::mem::take(&mut history.past);
                gone(&mut seen, looking, past);
                Reach::Looked(history)
            }
            Err(error) => Reach::Failed(error),
        },
    };
    seen
}

/// Adds what only the history has.
fn gone(seen: &mut Seen, looking: &Looking, past: Vec<Past>) {
    // Several that stood on one line are told apart by their age: what comes later makes none of them another one.
    let mut by_age: Vec<usize> = (0..past.len()).collect();
    by_age.sort_by_key(|nth| (past[*nth].at, &past[*nth].commit, past[*nth].line, past[*nth].hit.place.start));
    let (mut ordinals, mut ordinal) = (BTreeMap::new(), vec![0u32; past.len()]);
    for nth in by_age {
        let Past { hit, path, masked, .. } = &past[nth];
        let next = ordinals.entry((path.as_str(), hit.name(), masked.as_str())).or_insert(0);
        ordinal[nth] = *next;
        *next += 1;
    }
    for (past, ordinal) in past.iter().zip(ordinal).filter(|(past, _)| !looking.is_excluded(&past.path)) {
        let mut finding = finding(&past.hit, &past.path, (past.line, 1), &past.masked, ordinal, Some(past));
        finding.fingerprint = looking.revoked.fingerprint(&finding.fingerprint, &past.hit.value.0);
        finding.suppressed = looking.allowed.by(&past.asked(), past.line);
        looking.revoked.cover(&mut finding);
        seen.add(finding, &past.hit, Some(past));
    }
}

/// By our rules, and by the team's own where ours see nothing.
fn hits(text: &[u8], path: &str, view: View, own: &Gitleaks) -> Vec<Hit> {
    let mut hits = scan(text, path, view);
    for hit in own.find(text, path) {
        if !hits.iter().any(|known| known.place.start < hit.place.end && hit.place.start < known.place.end) {
            hits.push(hit);
        }
    }
    hits
}

/// The secrets of one text.
fn told(path: &str, text: &[u8], allowed: &Allowed) -> Vec<Told> {
    let Some(view) = files::view(path, text) else { return Vec::new() };
    let hits = hits(text, path, view, &allowed.gitleaks);
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
        let (ours, unreasoned) = match suppression::inline(&lines, line, ABOUT.id, hit.name()) {
            Some(Inline::Allowed(why)) => (Some(why), false),
            Some(Inline::NoReason(_)) => (None, true),
            None => (None, false),
        };
        let said = lines.get(line as usize - 1).copied().unwrap_or_default();
        let (rule, secret) = (hit.name(), &hit.value.0[..]);
        let asked = Asked { rule, path, line: said, secret, matched: &text[hit.place.clone()], commit: None };
        let suppressed = ours.or_else(|| allowed.by(&asked, line));
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

/// How a finding's message says that the secret is in the history only.
pub const GONE: &str = "no longer there";

fn finding(
    hit: &Hit,
    path: &str,
    (line, column): (u32, u32),
    masked: &str,
    ordinal: u32,
    past: Option<&Past>,
) -> Finding {
    let mut message = format!("{} ({})", hit.name(), hit.provider);
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
        message.push_str(&format!(", {GONE}, but in commit {short} of {}", past.author_date));
    }
    // The line's own text may hold another secret: only its hash goes out.
    let line_hash = sha256_hex(masked.as_bytes());
    let mut identity = vec![hit.name(), path, &line_hash];
    let ordinal = ordinal.to_string();
    identity.push(&ordinal);
    Finding::new(hit.name(), hit.severity, message)
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
            self.doubtful.push(serde_json::json!({"rule": hit.name(), "file": finding.file, "line": finding.line}));
            return;
        }
        self.rows.push(serde_json::json!({
            "rule": hit.name(), "file": finding.file, "line": finding.line, "length": hit.value.0.len(),
            "entropy": (hit.entropy * 100.0).round() / 100.0, "structure_valid": hit.valid, "encoded": hit.encoded,
            "commit": past.map(|p| &p.commit), "author_date": past.map(|p| &p.author_date), "still_there": past.is_none(),
            "suppressed": finding.suppressed, "fingerprint": finding.fingerprint,
        }));
        self.findings.push(finding);
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_places;
