//! Gate `delivery.env_config`: would production start with its own settings, or with a developer's?
//!
//! The classic launch-day failures: a variable nobody set, the test key of the payment provider, `localhost` in a URL,
//! debugging left on, a session secret of six letters. Settings files are read as the project's own library reads them
//! (`dotenv.rs`), manifests beside them (`manifests.rs`), and the code says what it needs (`usages.rs`). A value is
//! judged in memory and never leaves it: findings name the key, the place and the relation. To fix a failure: set the
//! named key in production's store.

mod checks;
pub mod dotenv;
mod image;
mod look;
mod manifests;
mod rules;
pub mod usages;

pub use look::{Source, Stage as Environment, environments};
pub use rules::is_loopback;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use self::checks::{Hit, image_files, required, same_secrets, undeclared, values, writing};
use self::dotenv::{Dialect, Entry};
use self::look::{Looking, Seen, Stage as Whose, look};
use self::usages::{Need, Usage};
use super::packages;
use crate::domain::problem::Problem;
use crate::domain::units::count;
use crate::domain::verdict::{Class, Finding, Outcome, Severity, Tier};
use crate::gates::command::printed;
use crate::gates::context::Repo;
use crate::gates::infrastructure::secret_values;
use crate::gates::patterns;
use crate::gates::proof::{Fixture, Proof};
use crate::gates::{About, Gate, GateContext, Lock, Part, Section, Stage};

/// `[gates.delivery.env_config]`
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Production's settings, as gitignore patterns relative to the repository: dotenv, compose or Kubernetes files.
    /// Default: empty, found by name (`.env.production`, `compose.prod.yml`, Kubernetes manifests).
    pub production: Vec<String>,
    /// Keys whose loopback address is meant: a sidecar, a socket. Default: empty.
    pub allow_loopback: Vec<String>,
    /// Files and sources to leave out, as gitignore patterns. Default: empty; examples, tests and vendored files never
    /// count.
    pub exclude: Vec<String>,
    /// Prints production's environment as `KEY=value` lines, for values that the repository keeps encrypted or
    /// elsewhere. Runs only with `--allow-exec`; what it prints stays in memory. Default: none.
    pub reveal_cmd: Option<String>,
}

impl Config {
    /// Problems by path below `gates.delivery.env_config`.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = patterns::problems("production", &self.production);
        problems.extend(patterns::problems("exclude", &self.exclude));
        if self.reveal_cmd.as_ref().is_some_and(|c| c.trim().is_empty()) {
            problems.push(Problem::at(["reveal_cmd"], "is empty").hint("leave the key out"));
        }
        problems
    }
}

pub struct EnvConfig;

pub static ABOUT: About = About {
    id: "delivery.env_config",
    section: Section::Delivery,
    class: Class::A,
    line: ".env variables configured correctly (not copied from local)",
    min_tier: Tier::E1,
    attestable: false,
    stage: Stage::Static,
    lock: Lock::Fs,
    needs: &[],
    timeout: Duration::from_secs(120),
    skipped_for: &[],
    reads: ".env files (also ignored ones on disk), compose files of production, Kubernetes manifests, .env.example, Dockerfiles \
            with their .dockerignore, and the variables the code reads",
    decides: "fails on a required variable that is missing or empty (E01), a secret equal to the local or example one (E02), \
              loopback and tunnel addresses (E03), placeholders (E04), debug mode (E05), sandbox keys (E06), signing secrets under \
              128 bits (E07), one secret in two places (E10), a .env copied into the image (E11), localhost or * as origin (E13); \
              warns on clear schemes (E08), writing that dialects read differently (E09), undeclared variables (E12), readable \
              files (E14), and on values that cannot be seen",
    fix: "set a production value for each named key in production's store; generate secrets: openssl rand -base64 48",
};

const RULES: [&str; 14] =
    ["E01", "E02", "E03", "E04", "E05", "E06", "E07", "E08", "E09", "E10", "E11", "E12", "E13", "E14"];
impl Gate for EnvConfig {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn proof(&self) -> Option<Proof> {
        let shop = |what, host: &str| {
            Fixture::of(what)
                .file("package.json", "{\"name\": \"shop\", \"version\": \"1.0.0\"}\n")
                .file("src/db.js", "export const url = process.env.DATABASE_URL;\n")
                .file(".env.example", "DATABASE_URL=\n")
                .file(".env.production", format!("DATABASE_URL=postgres://{host}/shop?sslmode=require\n"))
        };
        Some(Proof {
            good: shop("production has a database of its own", "db.tea-shop.net"),
            bad: shop("production is told to use the developer's own machine", "localhost:5432"),
        })
    }

    fn keeps(&self) -> bool {
        true
    }

    fn reader(&self, ctx: &GateContext) -> Option<Part> {
        ctx.repo.as_ref().map(|repo| Part::new(Looking::new(repo, &ctx.config.delivery.env_config)))
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let repo = match ctx.need_repo() {
                Ok(repo) => repo,
                Err(outcome) => return *outcome,
            };
            let revealed = match &ctx.config.delivery.env_config.reveal_cmd {
                Some(command) if ctx.allow_exec => reveal(repo, command).await,
                Some(_) => Err(("exec-not-trusted", "env.reveal_cmd does not run without --allow-exec".to_string())),
                None => Ok(None),
            };
            let facts = ctx.facts.clone();
            ctx.in_sweep(ABOUT.id, move |repo, config, looking: &Looking, found| {
                let config = &config.delivery.env_config;
                let outcome = judge(&look(repo, looking, found, config, &RULES), config, revealed);
                packages::settled(outcome, &["no-production-config"], repo, &facts)
            })
            .await
        })
    }
}

/// What `reveal_cmd` prints, or why there is nothing: (code, message).
type Revealed = Result<Option<Vec<Entry>>, (&'static str, String)>;

const REVEAL_TIME_MAX: Duration = Duration::from_secs(60);
const REVEAL_BYTES_MAX: u64 = 1024 * 1024;

async fn reveal(repo: &Repo, command: &str) -> Revealed {
    let failed = |what: &str| ("reveal-failed", format!("env.reveal_cmd {what}"));
    let shell = ["sh", "-c", command].map(String::from);
    // Neither its errors nor its values go anywhere but into memory.
    let printed = printed(&shell, repo.root(), REVEAL_TIME_MAX, REVEAL_BYTES_MAX).await;
    let bytes = printed.map_err(|what| failed(&what))?;
    let entries = dotenv::parse(&String::from_utf8_lossy(&bytes), Dialect::Compose);
    if entries.is_empty() { Err(failed("printed no KEY=value line")) } else { Ok(Some(entries)) }
}

/// Pure: what was seen, to a verdict.
fn judge(seen: &Seen, config: &Config, revealed: Revealed) -> Outcome {
    let production: Vec<&Source> = seen.sources.iter().filter(|s| s.stage == Whose::Production).collect();
    let (shown, reveal_error) = match revealed {
        Ok(shown) => (shown, None),
        Err(why) => (None, Some(why)),
    };
    let shown = shown.map(revealed_source);
    let production: Vec<&Source> = production.into_iter().chain(&shown).collect();

    let mut hits = Vec::new();
    for source in &production {
        values(source, config, &mut hits);
        writing(source, &mut hits);
    }
    let unseen = required(seen, &production, &mut hits);
    same_secrets(seen, &production, &mut hits);
    undeclared(seen, &mut hits);
    image_files(seen, &mut hits);
    let hidden = hidden_values(&production, shown.as_ref());
    conclude(seen, &production, &hits, unseen, &hidden, reveal_error)
}

fn revealed_source(entries: Vec<Entry>) -> Source {
    Source {
        path: "env.reveal_cmd".into(),
        stage: Whose::Production,
        scope: String::new(),
        entries,
        open: false,
        shares_loopback: false,
        tracked: true,
        dotenv: false,
        mode: None,
        crlf: false,
        allowed: BTreeMap::new(),
        unreasoned: BTreeSet::new(),
    }
}

/// Names whose values are encrypted or kept elsewhere, and were not revealed.
fn hidden_values<'a>(production: &[&'a Source], shown: Option<&Source>) -> BTreeSet<&'a str> {
    let revealed = |name: &str| shown.is_some_and(|s| s.entries.iter().any(|e| e.name == name));
    production
        .iter()
        .flat_map(|s| &s.entries)
        .filter(|e| rules::is_elsewhere(&e.value) && !revealed(&e.name))
        .map(|e| e.name.as_str())
        .collect()
}

/// Names listed in a message.
const NAMES_MAX: usize = 5;

fn conclude(
    seen: &Seen,
    production: &[&Source],
    hits: &[Hit],
    unseen: usize,
    hidden: &BTreeSet<&str>,
    reveal_error: Option<(&'static str, String)>,
) -> Outcome {
    let needed: Vec<(&String, &Usage)> = seen
        .usages
        .iter()
        .filter_map(|(name, usages)| usages.iter().find(|u| u.need > Need::Optional).map(|u| (name, u)))
        .collect();
    let clear = production.iter().flat_map(|s| &s.entries).filter(|e| !rules::is_elsewhere(&e.value)).count();
    let fails: Vec<&Hit> = hits.iter().filter(|h| h.fails()).collect();
    let warns: Vec<&Hit> = hits.iter().filter(|h| !h.fails() && h.suppressed.is_none()).collect();
    let whole = production.iter().filter(|s| s.open && s.entries.is_empty()).count();
    let files: Vec<&str> = production.iter().map(|s| s.path.as_str()).take(NAMES_MAX).collect();

    let outcome = if let Some(first) = fails.first() {
        let keys: BTreeSet<&str> = fails.iter().map(|h| h.key.as_str()).collect();
        let names: Vec<&str> = keys.iter().take(NAMES_MAX).copied().collect();
        let more = if keys.len() > NAMES_MAX { ", …" } else { "" };
        Outcome::fail(format!("{} setting(s) are not fit for production: {}{more}", keys.len(), names.join(", ")))
            .hint(hint(first))
    } else if let Some((path, why)) = seen.unreadable.first() {
        Outcome::error("unreadable", format!("{path}: {why}"))
            .hint("give the reader access, or leave it out with exclude")
    } else if let Some((code, message)) = reveal_error {
        Outcome::error(code, message).hint("hypercare check --allow-exec, as an operator who trusts the command")
    } else if let Some(missing) = production.is_empty().then(|| nothing_shown(seen, &needed)).flatten() {
        missing
    } else if production.is_empty() && warns.is_empty() {
        Outcome::skip("no-required-env", no_env(seen))
    } else if let Some(first) = warns.first() {
        Outcome::warn(format!("{} weak spot(s), first: {} {}", warns.len(), first.key, first.problem)).hint(hint(first))
    } else if !hidden.is_empty() || whole > 0 || unseen > 0 {
        let kept: Vec<&str> = hidden.iter().take(NAMES_MAX).copied().collect();
        let what = match (hidden.len(), whole, unseen) {
            (0, 0, n) => format!("the values of {} come from a place that cannot be seen", count(n, "variable")),
            (0, n, _) => format!("{n} file(s) are encrypted as a whole"),
            (n, _, _) => format!(
                "{n} value(s) are encrypted or kept elsewhere ({}{})",
                kept.join(", "),
                if n > NAMES_MAX { ", …" } else { "" }
            ),
        };
        Outcome::warn(format!("{what}: only names were checked")).hint(
            "show the values to the check alone: [gates.delivery.env_config] reveal_cmd = \"…\", and run with --allow-exec",
        )
    } else {
        Outcome::pass(format!("{clear} value(s) in {} are fit for production", files.join(", ")))
    };
    let judged = outcome.reason.is_none();
    let outcome = if judged { outcome.value(fails.len(), 0).tier(Tier::E1) } else { outcome };
    let names = needed.len() as u64;
    let outcome = if judged && !production.is_empty() {
        outcome.covered(clear as u64 + names - (unseen as u64).min(names), (clear + hidden.len()) as u64 + names)
    } else {
        outcome
    };
    let unreasoned =
        seen.sources.iter().flat_map(|s| s.unreasoned.iter().map(move |line| (s, *line))).map(|(source, line)| {
            Finding::new(
                "suppression-without-reason",
                Severity::Info,
                "this suppression gives no reason and does not count",
            )
            .at(source.path.clone(), line, 1)
            .fix("write: hypercare:allow delivery.env_config/RULE -- why")
        });
    let findings = hits.iter().map(Hit::finding).chain(unreasoned).collect();
    outcome.findings(findings).evidence("environments", evidence(seen, production, hidden))
}

/// Nothing shows production's values: an error when the program surely wants some. A variable that is merely read, with
/// a harmless name and no template that lists it, may stay unset.
fn nothing_shown(seen: &Seen, needed: &[(&String, &Usage)]) -> Option<Outcome> {
    let template = seen.sources.iter().find(|s| s.stage == Whose::Template && !s.entries.is_empty());
    let wanted = |(name, usage): &&(&String, &Usage)| {
        let ends = ["URL", "URI", "DSN", "HOST"].iter().any(|w| name.split('_').next_back() == Some(w));
        usage.need == Need::Required || ends || secret_values::is_secret_name(name)
    };
    let first = needed.iter().find(wanted);
    let (what, example) = match (first, template) {
        (Some((name, usage)), _) => (
            format!("the code reads {}", count(needed.len(), "variable")),
            format!("{name} ({}:{})", usage.file, usage.line),
        ),
        (None, Some(template)) => {
            let keys = template.entries.len();
            (format!("{} declares {}", template.path, count(keys, "variable")), template.entries[0].name.clone())
        }
        (None, None) => return None,
    };
    Some(Outcome::error("no-production-config", format!("{what}, but nothing shows production's values")).hint(format!(
        "{example}: track an encrypted .env.production or the manifest, or name the file: [gates.delivery.env_config] production = [\"…\"]"
    )))
}

fn hint(hit: &Hit) -> String {
    let place = hit.line.map_or_else(|| hit.file.clone(), |line| format!("{}:{line}", hit.file));
    format!("{} in {place} {}. {}", hit.key, hit.problem, hit.fix)
}

fn no_env(seen: &Seen) -> String {
    match seen.usages.len() {
        0 => "no settings file of production, and the code reads no environment variable of its own".into(),
        n => format!(
            "no settings file of production, and the code demands none of the {} that it reads",
            count(n, "variable")
        ),
    }
}

/// Rows of a table in the evidence.
const EVIDENCE_ROWS_MAX: usize = 500;

fn evidence(seen: &Seen, production: &[&Source], hidden: &BTreeSet<&str>) -> serde_json::Value {
    let file = |s: &Source| {
        let keys: Vec<&str> = s.entries.iter().map(|e| e.name.as_str()).take(EVIDENCE_ROWS_MAX).collect();
        let encrypted = s.entries.iter().filter(|e| rules::is_encrypted(&e.value)).count();
        serde_json::json!({"file": s.path, "stage": s.stage, "tracked": s.tracked, "open": s.open, "keys": keys, "encrypted": encrypted})
    };
    let usage = |(name, places): (&String, &Vec<Usage>)| {
        let need = places.iter().map(|u| u.need).max();
        serde_json::json!({"name": name, "need": need, "at": places.first().map(|u| format!("{}:{}", u.file, u.line))})
    };
    serde_json::json!({
        "production": production.iter().map(|s| s.path.as_str()).collect::<Vec<_>>(),
        "files": seen.sources.iter().take(EVIDENCE_ROWS_MAX).map(file).collect::<Vec<_>>(),
        "read_by_code": seen.usages.iter().take(EVIDENCE_ROWS_MAX).map(usage).collect::<Vec<_>>(),
        "hidden": hidden.iter().take(EVIDENCE_ROWS_MAX).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests;
