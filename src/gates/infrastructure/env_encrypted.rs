//! Gate `infrastructure.env_encrypted`: are production's secrets encrypted where they are kept, or kept elsewhere?
//!
//! A clear password in a tracked file is everybody's who ever clones it; a key beside its ciphertext is no lock at all.
//! Files are recognised by signature, then value by value (`secret_files.rs`, `secret_values.rs`); tracked or not says
//! git. Names of keys appear in findings, values never. To fix a failure: encrypt the file, and rotate what was in
//! clear, because history keeps it. ASVS 5.0.0 13.3.1.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::Duration;

use futures_util::future::BoxFuture;
use regex::Regex;
use serde::{Deserialize, Serialize};

use super::secret_files::{self, FileReport, Kind, kind_of};
use super::secret_values::{self, Value};
use crate::domain::problem::Problem;
use crate::domain::verdict::{Class, Confidence, Finding, Outcome, Severity, Tier};
use crate::gates::code::role::Role;
use crate::gates::code::syntax::Source;
use crate::gates::context::{Repo, SOURCE_FILE_BYTES_MAX, off_thread};
use crate::gates::patterns;
use crate::gates::proof::{Fixture, Proof};
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage};

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
        let bad = |pattern: &&String| patterns::check(pattern).is_err();
        let problem = |pattern: &String| Problem::at(["exclude"], format!("`{pattern}` is not a pattern"));
        self.exclude.iter().filter(bad).map(problem).collect()
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

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let repo = match ctx.need_repo() {
                Ok(repo) => repo.clone(),
                Err(outcome) => return *outcome,
            };
            let config = ctx.config.clone();
            off_thread(move || judge(&look(&repo, &config.infrastructure.env_encrypted))).await
        })
    }
}

/// One settings file.
#[derive(Debug)]
struct SettingsFile {
    path: String,
    tracked: bool,
    /// Permission bits, where the system has them.
    mode: Option<u32>,
    report: FileReport,
}

/// Everything the verdict rests on.
#[derive(Debug, Default)]
struct Seen {
    files: Vec<SettingsFile>,
    /// Keys that open the lock: path, line, what, tracked.
    keys: Vec<(String, u32, &'static str, bool)>,
    /// Places that name a secret store: store to `file:line`.
    stores: BTreeMap<&'static str, String>,
    /// Secrets that the code reads from its environment: name to `file:line`.
    needs: BTreeMap<String, String>,
    unreadable: Vec<(String, String)>,
}

/// Settings are small; a larger file is data.
const SETTINGS_BYTES_MAX: u64 = 1024 * 1024;
/// `.env` files on disk are looked for this deep.
const DEPTH_MAX: usize = 6;

fn look(repo: &Repo, config: &Config) -> Seen {
    let excluded = patterns::matcher(&repo.root, &config.exclude);
    let skipped = |path: &str| {
        matches!(Role::of_path(path), Role::Vendored | Role::Test) || patterns::covers(excluded.as_ref(), path)
    };
    let tracked = Tracked::of(repo);
    let mut seen = Seen::default();
    let mut paths: BTreeSet<String> =
        repo.files.iter().filter(|f| f.bytes <= SETTINGS_BYTES_MAX).map(|f| f.path.clone()).collect();
    paths.extend(ignored_dotenv(repo));
    for path in paths.iter().filter(|p| !skipped(p)) {
        let settings = kind_of(path).or_else(|| is_yaml(path).then_some(Kind::Yaml));
        let may_hold_key = may_hold_key(path);
        let may_name_store = may_name_store(path);
        let code = Source::of(path).is_some();
        if settings.is_none() && !may_hold_key && !may_name_store && !code {
            continue;
        }
        let bytes = match repo.read(path, SOURCE_FILE_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(e) if kind_of(path).is_some() => {
                seen.unreadable.push((path.clone(), e.kind().to_string()));
                continue;
            }
            Err(_) => continue,
        };
        let key = may_hold_key.then(|| secret_files::key_material(path, &bytes)).flatten();
        if let Some((line, what)) = key {
            seen.keys.push((path.clone(), line, what, tracked.holds(path)));
        }
        let text = String::from_utf8_lossy(&bytes);
        if may_name_store {
            stores(&mut seen, path, &text);
        }
        if code {
            needs(&mut seen, path, &text);
        }
        if let Some(kind) = settings.filter(|_| kind_of(path).is_some() || is_secret_manifest(&text)) {
            let in_git = tracked.blob(repo, path);
            match secret_files::read(kind, in_git.as_deref().unwrap_or(&bytes)) {
                Ok(report) => seen.files.push(SettingsFile {
                    path: path.clone(),
                    tracked: tracked.holds(path),
                    mode: mode(repo, path),
                    report,
                }),
                Err(e) => seen.unreadable.push((path.clone(), e.to_string())),
            }
        }
        if is_template_of_settings(path) {
            for entry in secret_files::read(Kind::Dotenv, &bytes).map(|r| r.entries).unwrap_or_default() {
                if secret_values::is_secret_name(&entry.name) {
                    seen.needs.entry(entry.name).or_insert(format!("{path}:{}", entry.line));
                }
            }
        }
    }
    seen
}

/// What git holds. Without git the folder itself is what is handed on: everything counts as tracked.
struct Tracked {
    files: Option<BTreeSet<String>>,
    prefix: String,
    git_crypt: bool,
}

impl Tracked {
    fn of(repo: &Repo) -> Tracked {
        let prefix = repo.git.as_ref().and_then(|git| {
            let (root, top) = (repo.root.canonicalize().ok()?, git.root().canonicalize().ok()?);
            let below = root.strip_prefix(top).ok()?.to_string_lossy().replace('\\', "/");
            Some(if below.is_empty() { below } else { format!("{below}/") })
        });
        let prefix = prefix.unwrap_or_default();
        let listed = repo.git.as_ref().and_then(|git| git.run(&["ls-files", "-z"]).ok());
        let files =
            listed.map(|l| l.split('\0').filter_map(|p| p.strip_prefix(prefix.as_str())).map(str::to_string).collect());
        let git_crypt = repo
            .files
            .iter()
            .filter(|f| f.path.ends_with(".gitattributes"))
            .any(|f| repo.read_text(&f.path, SETTINGS_BYTES_MAX).is_ok_and(|t| t.contains("filter=git-crypt")));
        Tracked { files, prefix, git_crypt }
    }

    fn holds(&self, path: &str) -> bool {
        self.files.as_ref().is_none_or(|f| f.contains(path))
    }

    /// The staged content, where git-crypt may have encrypted it: an unlocked work tree shows clear text.
    fn blob(&self, repo: &Repo, path: &str) -> Option<Vec<u8>> {
        if !self.git_crypt || !self.holds(path) {
            return None;
        }
        let text = repo.git.as_ref()?.run(&["cat-file", "blob", &format!(":{}{path}", self.prefix)]).ok()?;
        text.starts_with("\0GITCRYPT\0").then(|| text.into_bytes())
    }
}

/// `.env*` files that git ignores: nobody commits them, but they lie on a disk.
pub(in crate::gates) fn ignored_dotenv(repo: &Repo) -> Vec<String> {
    const SKIPPED: [&str; 7] = [".git", "node_modules", "vendor", "venv", ".venv", "target", "site-packages"];
    ignore::WalkBuilder::new(&repo.root)
        .standard_filters(false)
        .follow_links(false)
        .max_depth(Some(DEPTH_MAX))
        .filter_entry(|e| !SKIPPED.iter().any(|s| e.file_name() == *s))
        .build()
        .flatten()
        .filter(|e| e.file_type().is_some_and(|t| t.is_file()))
        .filter(|e| e.metadata().is_ok_and(|m| m.len() <= SETTINGS_BYTES_MAX))
        .filter_map(|e| Some(e.path().strip_prefix(&repo.root).ok()?.to_string_lossy().replace('\\', "/")))
        .filter(|path| kind_of(path) == Some(Kind::Dotenv))
        .collect()
}

#[cfg(unix)]
fn mode(repo: &Repo, path: &str) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    repo.root.join(path).metadata().ok().map(|m| m.permissions().mode() & 0o777)
}

#[cfg(not(unix))]
fn mode(_: &Repo, _: &str) -> Option<u32> {
    None
}

fn is_yaml(path: &str) -> bool {
    path.ends_with(".yml") || path.ends_with(".yaml")
}

fn is_secret_manifest(text: &str) -> bool {
    text.lines().any(|l| {
        l.trim_start_matches("- ").trim().strip_prefix("kind:").is_some_and(|kind| {
            let kind = kind.trim().trim_matches(['"', '\'']);
            kind.ends_with("Secret") || kind.ends_with("SecretStore") || kind == "SecretProviderClass"
        })
    })
}

fn is_template_of_settings(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.starts_with(".env.") && kind_of(path).is_none() && name != ".env.keys" && name != ".env.vault"
}

fn may_hold_key(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let extension = name.rsplit_once('.').map_or("", |(_, e)| e);
    matches!(
        extension,
        "keys" | "key" | "txt" | "env" | "agekey" | "yml" | "yaml" | "sh" | "json" | "toml" | "pass" | "password" | ""
    ) || name.starts_with(".env")
        || name.contains("vault")
        || name == "Dockerfile"
}

fn may_name_store(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    is_yaml(path)
        || name.ends_with(".tf")
        || matches!(
            name,
            "package.json" | "requirements.txt" | "pyproject.toml" | "go.mod" | "Cargo.toml" | "Gemfile" | "pom.xml"
        )
}

/// Words that show where secrets are kept.
const STORES: [(&str, &str); 17] = [
    ("${{ secrets.", "CI secrets"),
    ("kind: ExternalSecret", "External Secrets"),
    ("kind: SealedSecret", "Sealed Secrets"),
    ("vault.hashicorp.com/agent-inject", "Vault agent"),
    ("kind: SecretProviderClass", "secrets store CSI"),
    ("secretKeyRef", "Kubernetes secret reference"),
    ("vault_kv_secret", "Vault"),
    ("vault_generic_secret", "Vault"),
    ("node-vault", "Vault"),
    ("hvac", "Vault"),
    ("aws_secretsmanager", "AWS Secrets Manager"),
    ("client-secrets-manager", "AWS Secrets Manager"),
    ("google_secret_manager", "Google Secret Manager"),
    ("google-cloud/secret-manager", "Google Secret Manager"),
    ("google-cloud-secret-manager", "Google Secret Manager"),
    ("azurerm_key_vault", "Azure Key Vault"),
    ("keyvault-secrets", "Azure Key Vault"),
];

fn stores(seen: &mut Seen, path: &str, text: &str) {
    for (word, store) in STORES {
        // Every GitHub workflow has a token of its own; that says nothing about the product's secrets.
        let found = text
            .lines()
            .position(|l| l.contains(word) && !l.contains("secrets.GITHUB_TOKEN") && !l.trim_start().starts_with('#'));
        if let Some(row) = found {
            seen.stores.entry(store).or_insert(format!("{path}:{}", row + 1));
        }
    }
}

/// How programs read their environment, in the languages we know.
static READS_ENV: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r#"(?:process\.env\.|process\.env\[["']|import\.meta\.env\.|os\.environ\[["']|os\.environ\.get\(["']|os\.getenv\(["']|os\.Getenv\("|os\.LookupEnv\("|ENV\[["']|ENV\.fetch\(["']|env::var\("|System\.getenv\("|getenv\(["']|\benv\(["'])([A-Za-z_][A-Za-z0-9_]*)"#,
    )
    .ok()
});

/// One of them is in every such line: cheaper than the pattern.
const READS_ENV_WORDS: [&str; 3] = ["env", "ENV", "Env"];

fn needs(seen: &mut Seen, path: &str, text: &str) {
    let Some(reads) = READS_ENV.as_ref().filter(|_| Role::of_path(path).ships()) else { return };
    for (row, line) in text.lines().enumerate().filter(|(_, line)| READS_ENV_WORDS.iter().any(|w| line.contains(w))) {
        for name in reads.captures_iter(line).filter_map(|c| c.get(1)).map(|m| m.as_str()) {
            if secret_values::is_secret_name(name) || name == "DATABASE_URL" {
                seen.needs.entry(name.to_string()).or_insert(format!("{path}:{}", row + 1));
            }
        }
    }
}

/// Settings of a developer's machine or a test run: bad manners, not production's secrets.
fn is_for_development(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    name.split(['.', '-', '_'])
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
        let file = fails[0].file.clone().unwrap_or_default();
        let places: BTreeSet<_> = fails.iter().filter_map(|f| f.file.as_deref()).collect();
        let names: Vec<&str> = fails.iter().filter_map(|f| f.route.as_deref()).take(NAMES_MAX).collect();
        let what = if names.is_empty() { fails[0].message.clone() } else { format!("in clear: {}", names.join(", ")) };
        Outcome::fail(format!("{} secret(s) in {} file(s) open to every clone", fails.len(), places.len())).hint(format!(
            "{file}: {what}. Encrypt: dotenvx encrypt -f {file} | sops -e -i {file}; rotate them, history keeps the old ones"
        ))
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
            format!("the code reads {} secret(s), but nothing shows where they are kept", seen.needs.len()),
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
            format!("{clear} secret(s) in clear on disk{mode}, not tracked"),
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
