//! Gate `infrastructure.env_encrypted`: are production's secrets encrypted where they are kept, or kept elsewhere?
//!
//! A clear password in a tracked file is everybody's who ever clones it; a key beside its ciphertext is no lock at all.
//! Files are recognised by signature, then value by value (`secret_files.rs`, `secret_values.rs`); tracked or not says
//! git. Names of keys appear in findings, values never. To fix a failure: encrypt the file, and rotate what was in
//! clear, because history keeps it. ASVS 5.0.0 13.3.1.

mod look;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::secret_files::{self, Kind};
use super::secret_values::Value;
use crate::domain::problem::Problem;
use crate::domain::units::count;
use crate::domain::verdict::{Class, Confidence, Finding, Outcome, Severity, Tier};
use crate::gates::patterns;
use crate::gates::proof::{Fixture, Proof};
use crate::gates::{About, Gate, GateContext, Lock, Part, Section, Stage};
pub(in crate::gates) use look::dotenv_on_disk;
use look::{Looking, Seen, SettingsFile, gather};

/// `[gates.infrastructure.env_encrypted]`
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Files to leave out, as gitignore patterns relative to the repository. Default: empty; examples, templates, tests
    /// and vendored files never count.
    pub exclude: Vec<String>,
}

impl Config {
    /// Problems by path below `gates.infrastructure.env_encrypted`.
    pub fn validate(&self) -> Vec<Problem> {
        patterns::problems("exclude", &self.exclude)
    }
}

pub struct EnvEncrypted;

pub static ABOUT: About = About {
    id: "infrastructure.env_encrypted",
    section: Section::Infrastructure,
    class: Class::A,
    line: ".env.production encrypted or managed via Vault",
    min_tier: Tier::E1,
    attestable: false,
    stage: Stage::Static,
    lock: Lock::Fs,
    needs: &[],
    timeout: Duration::from_secs(120),
    skipped_for: &[],
    reads: ".env files (also ignored ones on disk), secrets folders, credentials, vault and sops files, tfvars, Helm \
            values, Kubernetes manifests, key files, references to secret stores, and git for what is tracked",
    decides: "fails on a clear secret in a tracked file, a key tracked beside its ciphertext, and a Kubernetes Secret in \
              base64; warns on clear values inside encrypted files, missing MACs, old schemes and plain files on disk; \
              passes when every secret is encrypted (dotenvx, sops, ansible-vault, age, git-crypt, OpenSSL, PGP, Rails) \
              or kept in a store",
    fix: "dotenvx encrypt -f FILE, or sops -e -i FILE; untrack key files; then rotate: history keeps the old values",
};

impl Gate for EnvEncrypted {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn proof(&self) -> Option<Proof> {
        let shop = |what, value: &str| {
            let head =
                "DOTENV_PUBLIC_KEY_PRODUCTION=\"03f8b376234c4f2f0445f392a12e80f3a84b4b0d1e0c3df85c494e45812653c22a\"";
            let text = format!("{head}\nPAYMENT_KEY=\"{value}\"\n");
            Fixture::of(what).file(".gitignore", ".env.keys\n").file(".env.production", text)
        };
        // As dotenvx seals it; in pieces, because it looks like what it hides.
        let sealed = [
            "encrypted:BMzJNfbNH2EiauFTOK4aNABNM7oNJGrATIGxuvI+O/nu9fefK0k0r4f1UgtpuUsNmC6Fu1W2cqhyY3rNdGb8tg4Oj/GEY7Dksropc",
            "DR08GSsaPcA9bArPcZm9FveqizK7c0rUVdBDk3uSvKzT0MKBzRH3mNsDoBslXumhNZDH7Xq10JNCeFdAkxYSPI9",
        ];
        Some(Proof {
            good: shop("production's values are encrypted", &sealed.concat()),
            bad: shop("production's key is in clear", &["f3K9", "xQ2m", "Zr7T", "w1Lp", "8Vb4"].concat()),
        })
    }

    fn keeps(&self) -> bool {
        true
    }

    fn reader(&self, ctx: &GateContext) -> Option<Part> {
        ctx.repo.as_ref().map(|repo| Part::new(Looking::new(repo, &ctx.config.infrastructure.env_encrypted)))
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            ctx.in_sweep(ABOUT.id, |repo, _, looking: &Looking, found| judge(&gather(repo, looking, found))).await
        })
    }
}

/// Settings of a developer's machine or a test run: bad manners, not production's secrets.
fn is_for_development(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
    // Values that a chart is tried with lie in its `ci`.
    let aside =
        folder.split('/').any(|f| matches!(f, "ci" | ".ci" | "dev" | "example" | "examples" | "sample" | "samples"));
    aside
        || name
            .split(['.', '-', '_'])
            .any(|part| matches!(part, "dev" | "development" | "local" | "test" | "testing" | "ci" | "e2e"))
}

/// Names listed in a message.
const NAMES_MAX: usize = 5;

/// Pure: what was seen, to a verdict.
fn judge(seen: &Seen) -> Outcome {
    let mut fails = Vec::new();
    let mut warns = Vec::new();
    for (path, line, what, tracked) in &seen.keys {
        if *tracked {
            fails.push(
                Finding::new("key-tracked", Severity::Critical, format!("{what} is tracked beside what it opens"))
                    .at(path, *line, 1)
                    .fix("git rm --cached it, add it to .gitignore, make a new key and encrypt again")
                    .identified_by(&["key-tracked", path, what]),
            );
        }
    }
    for file in &seen.files {
        judge_file(file, &mut fails, &mut warns);
    }

    let secrets = |value: Value| seen.files.iter().map(|f| f.report.count(value)).sum::<usize>();
    let whole = seen.files.iter().filter(|f| f.report.whole).count();
    let encrypted = secrets(Value::Encrypted);
    let protected = whole
        + encrypted
        + secrets(Value::Reference)
        + seen.files.iter().filter(|f| matches!(f.report.scheme, "sealed-secret" | "external-secret")).count();
    let inspected = seen.files.len() as u64;
    let schemes: BTreeSet<&str> =
        seen.files.iter().map(|f| f.report.scheme).filter(|s| !matches!(*s, "plain" | "unknown")).collect();
    let kept: Vec<&str> = schemes.into_iter().chain(seen.stores.keys().copied()).collect();

    let outcome = if !fails.is_empty() {
        let places: BTreeSet<_> = fails.iter().filter_map(|f| f.file.as_deref()).collect();
        let (secrets, files) = (count(fails.len(), "secret"), count(places.len(), "file"));
        Outcome::fail(format!("{secrets} in {files} open to every clone")).hint(remedy(&fails))
    } else if !seen.unreadable.is_empty() {
        let (path, why) = &seen.unreadable[0];
        Outcome::error("unreadable", format!("{path}: {why}")).hint("mend the file, or leave it out with exclude")
    } else if !warns.is_empty() {
        Outcome::warn(format!("{}: {}", warns[0].file.as_deref().unwrap_or_default(), warns[0].message))
            .hint(warns[0].fix.clone())
    } else if protected > 0 || !seen.stores.is_empty() {
        let counts = match (encrypted, whole) {
            (0, 0) => String::new(),
            (values, 0) => format!("{values} values encrypted; "),
            (0, files) => format!("{files} file(s) encrypted; "),
            (values, files) => format!("{values} values and {files} file(s) encrypted; "),
        };
        Outcome::pass(format!("{counts}kept by {}", if kept.is_empty() { "reference".into() } else { kept.join(", ") }))
    } else if let Some((name, place)) = seen.needs.iter().next() {
        Outcome::error(
            "no-evidence",
            format!(
                "the code reads {}, but nothing shows where production keeps {}",
                count(seen.needs.len(), "secret"),
                if seen.needs.len() == 1 { "it" } else { "them" }
            ),
        )
        .hint(format!(
            "{name} ({place}): track an encrypted .env.production, or the manifest that names the secret store"
        ))
    } else {
        Outcome::skip(
            "no-server-env",
            "no settings file with a secret, no secret store, and no code that reads a secret",
        )
    };

    let judged = outcome.reason.is_none();
    let outcome = if judged { outcome.value(fails.len(), 0).tier(Tier::E1) } else { outcome };
    // A store named in a manifest is an item too: a pass always rests on something inspected.
    let items = inspected + seen.stores.len() as u64;
    outcome
        .covered(items, items + seen.unreadable.len() as u64)
        .findings(fails.into_iter().chain(warns).collect())
        .evidence("secrets-at-rest", evidence(seen))
}

/// What to do about the first file of those that fail.
fn remedy(fails: &[Finding]) -> String {
    let file = fails[0].file.clone().unwrap_or_default();
    let here = fails.iter().filter(|f| f.file.as_deref() == Some(&file));
    let names: Vec<&str> = here.filter_map(|f| f.route.as_deref()).take(NAMES_MAX).collect();
    if names.is_empty() {
        return format!("{file}: {}: {}", fails[0].message, fails[0].fix);
    }
    let tool = match secret_files::kind_of(&file) {
        Some(Kind::Dotenv) => format!("dotenvx encrypt -f {file}, or sops -e -i {file}"),
        Some(Kind::Yaml) if fails[0].fix.contains("SealedSecret") => {
            "a SealedSecret or an ExternalSecret in its place".into()
        }
        _ => format!("sops -e -i {file}"),
    };
    format!("{file}: in clear: {}. Encrypt: {tool}; rotate them, history keeps the old ones", names.join(", "))
}

fn judge_file(file: &SettingsFile, fails: &mut Vec<Finding>, warns: &mut Vec<Finding>) {
    let SettingsFile { path, tracked, report, .. } = file;
    let development = is_for_development(path);
    let protected = report.whole || report.count(Value::Encrypted) > 0;
    for (rule, what) in &report.flaws {
        warns.push(
            Finding::new(*rule, Severity::Medium, what.clone())
                .in_file(path)
                .fix("encrypt the file anew with a current tool")
                .identified_by(&[rule, path]),
        );
    }
    let base64 = report.scheme == "kubernetes-secret";
    for entry in report.entries.iter().filter(|e| e.value == Value::Secret) {
        let (rule, what) = match base64 {
            true if entry.name.starts_with("stringData") => {
                ("clear-secret", format!("{} stands in clear in a manifest", entry.name))
            }
            true => ("base64-secret", format!("{} is base64 in a manifest, which is not encryption", entry.name)),
            false => ("clear-secret", format!("{} stands in clear", entry.name)),
        };
        let finding = Finding::new(rule, Severity::Critical, what)
            .at(path, entry.line, 1)
            .route(entry.name.clone())
            .fix(if base64 {
                "use a SealedSecret, an ExternalSecret, or sops"
            } else {
                "encrypt the file, then rotate the value"
            })
            .identified_by(&[rule, path, &entry.name]);
        match (*tracked, development) {
            (true, false) => fails.push(finding),
            (true, true) => warns.push(Finding { severity: Severity::Medium, ..finding }),
            // Counted once per file, below.
            (false, _) => {}
        }
    }
    let clear = report.count(Value::Secret);
    if !tracked && clear > 0 && !development {
        let mode = file.mode.map(|m| format!(" with mode {m:03o}")).unwrap_or_default();
        let finding = Finding::new(
            "clear-on-disk",
            Severity::Medium,
            format!("{} in clear on disk{mode}, not tracked", count(clear, "secret")),
        )
        .in_file(path)
        .fix("show how production gets its secrets: track an encrypted file, or name the store in a manifest")
        .identified_by(&["clear-on-disk", path]);
        warns.push(finding);
    }
    for entry in report.entries.iter().filter(|e| e.value == Value::Suspect && *tracked && !development) {
        let finding = Finding::new(
            "maybe-secret",
            Severity::Medium,
            format!("{} looks random enough to be a secret", entry.name),
        )
        .at(path, entry.line, 1)
        .fix("encrypt it, or leave the file out with exclude")
        .identified_by(&["maybe-secret", path, &entry.name]);
        warns.push(Finding { confidence: Confidence::Medium, ..finding });
    }
    let beside: Vec<&str> =
        report.entries.iter().filter(|e| e.value == Value::Plain).map(|e| e.name.as_str()).collect();
    if protected && !beside.is_empty() && !report.partial_by_choice && report.scheme != "ansible-vault" {
        let names = beside.iter().take(NAMES_MAX).copied().collect::<Vec<_>>().join(", ");
        warns.push(
            Finding::new(
                "clear-beside-encrypted",
                Severity::Low,
                format!("clear values inside an encrypted file: {names}"),
            )
            .in_file(path)
            .fix("encrypt them as well, or say in the tool's settings which keys stay clear")
            .identified_by(&["clear-beside-encrypted", path]),
        );
    }
}

/// Rows of a table in the evidence.
const EVIDENCE_ROWS_MAX: usize = 500;

fn evidence(seen: &Seen) -> serde_json::Value {
    let file = |f: &SettingsFile| {
        let clear = f.report.entries.iter().filter(|e| matches!(e.value, Value::Secret | Value::Suspect));
        serde_json::json!({
            "file": f.path, "tracked": f.tracked, "scheme": f.report.scheme, "whole": f.report.whole,
            "mode": f.mode.map(|m| format!("{m:03o}")),
            "encrypted": f.report.count(Value::Encrypted), "reference": f.report.count(Value::Reference),
            "plain": f.report.count(Value::Plain), "recipients": f.report.recipients,
            "clear_secrets": clear.map(|e| &e.name).take(EVIDENCE_ROWS_MAX).collect::<Vec<_>>(),
        })
    };
    serde_json::json!({
        "files": seen.files.iter().take(EVIDENCE_ROWS_MAX).map(file).collect::<Vec<_>>(),
        "keys": seen.keys.iter().map(|(p, l, w, t)| serde_json::json!({"file": p, "line": l, "what": w, "tracked": t})).collect::<Vec<_>>(),
        "stores": seen.stores,
        "needed_by_code": seen.needs.iter().take(EVIDENCE_ROWS_MAX).collect::<BTreeMap<_, _>>(),
    })
}

#[cfg(test)]
mod tests;
