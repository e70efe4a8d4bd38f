//! Gathers what `infrastructure.env_encrypted` judges: settings by value, keys, references to secret stores, and what the
//! code needs. Reads files and asks git what is tracked; decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ignore::gitignore::Gitignore;

use super::super::secret_files::{self, FileReport, Kind, kind_of};
use super::super::secret_values;
use super::Config;
use crate::gates::code::role::Role;
use crate::gates::code::syntax::Source;
use crate::gates::context::{Repo, RepoFile};
use crate::gates::delivery::env_config::usages::{self, Need, Usage};
use crate::gates::facts::disk::Disk;
use crate::gates::{Found, Reader, patterns};

/// One settings file.
#[derive(Debug)]
pub struct SettingsFile {
    pub path: String,
    pub tracked: bool,
    /// Permission bits, where the system has them.
    pub mode: Option<u32>,
    pub report: FileReport,
}

/// Everything the verdict rests on.
#[derive(Debug, Default)]
pub struct Seen {
    pub files: Vec<SettingsFile>,
    /// Keys that open the lock: path, line, what, tracked.
    pub keys: Vec<(String, u32, &'static str, bool)>,
    /// Places that name a secret store: store to `file:line`.
    pub stores: BTreeMap<&'static str, String>,
    /// Secrets that the code reads from its environment: name to `file:line`.
    pub needs: BTreeMap<String, String>,
    pub unreadable: Vec<(String, String)>,
}

/// Settings are small; a larger file is data.
const SETTINGS_BYTES_MAX: u64 = 1024 * 1024;
/// `.env` files on disk are looked for this deep.
const DEPTH_MAX: usize = 6;

/// What one file gave.
#[derive(Debug, Default)]
pub struct Looked {
    /// Line and what.
    key: Option<(u32, &'static str)>,
    /// Secret store to line.
    stores: Vec<(&'static str, usize)>,
    /// Secret that the code reads, or a template lists, to line.
    needs: Vec<(String, usize)>,
    /// Settings, or why they cannot be read.
    settings: Option<Result<FileReport, String>>,
}

/// Looks into settings, manifests, sources and whatever may be a key.
pub struct Looking {
    repo: Repo,
    excluded: Option<Gitignore>,
    tracked: Tracked,
}

impl Looking {
    pub fn new(repo: &Repo, config: &Config) -> Looking {
        let excluded = patterns::matcher(&repo.root, &config.exclude);
        Looking { repo: repo.clone(), excluded, tracked: Tracked::of(repo) }
    }

    fn is_skipped(&self, path: &str) -> bool {
        matches!(Role::of_path(path), Role::Vendored | Role::Test) || patterns::covers(self.excluded.as_ref(), path)
    }

    fn is_wanted(&self, path: &str) -> bool {
        let by_name = kind_of(path).is_some()
            || is_yaml(path)
            || usages::is_spring(path)
            || may_hold_key(path)
            || may_name_store(path);
        (by_name || Source::of(path).is_some()) && !self.is_skipped(path)
    }

    fn look_into(&self, path: &str, bytes: &[u8]) -> Looked {
        let mut looked = Looked::default();
        if may_hold_key(path) {
            looked.key = secret_files::key_material(path, bytes);
        }
        if may_name_store(path) {
            looked.stores = stores(&String::from_utf8_lossy(bytes));
        }
        let reads = usages::is_spring(path) || Source::of(path).is_some() && Role::of_path(path).ships();
        if reads && usages::speaks_of_them(path, bytes) {
            looked.needs = needs(path, &String::from_utf8_lossy(bytes));
        }
        let manifest = || is_yaml(path) && is_secret_manifest(&String::from_utf8_lossy(bytes));
        if let Some(kind) = kind_of(path).or_else(|| manifest().then_some(Kind::Yaml)) {
            let in_git = self.tracked.blob(&self.repo, path);
            let report = secret_files::read(kind, in_git.as_deref().unwrap_or(bytes));
            looked.settings = Some(report.map_err(|e| e.to_string()));
        }
        if is_template_of_settings(path) {
            let entries = secret_files::read(Kind::Dotenv, bytes).map(|r| r.entries).unwrap_or_default();
            let secrets = entries.into_iter().filter(|e| secret_values::is_secret_name(&e.name));
            looked.needs.extend(secrets.map(|e| (e.name, e.line as usize)));
        }
        looked
    }
}

impl Reader for Looking {
    type Found = Looked;

    fn wants(&self, file: &RepoFile) -> Option<u64> {
        (file.bytes <= SETTINGS_BYTES_MAX && self.is_wanted(&file.path)).then_some(SETTINGS_BYTES_MAX)
    }

    fn read(&self, file: &RepoFile, text: Option<&[u8]>) -> Looked {
        match text {
            Some(bytes) => self.look_into(&file.path, bytes),
            None => unreadable(&file.path, "it cannot be read"),
        }
    }
}

/// Nobody misses a source; settings are what this is about.
fn unreadable(path: &str, why: &str) -> Looked {
    let settings = kind_of(path).map(|_| Err(why.to_string()));
    Looked { settings, ..Looked::default() }
}

/// Adds up what was found in each file, and looks into `.env` files that are no part of the repository.
pub fn gather(repo: &Repo, looking: &Looking, found: Found<Looking>) -> Seen {
    let mut all: BTreeMap<&str, Looked> =
        found.into_iter().map(|(nth, looked)| (repo.files[nth].path.as_str(), looked)).collect();
    let on_disk = dotenv_on_disk(repo);
    for path in on_disk.0.iter().filter(|path| !looking.is_skipped(path)) {
        all.entry(path).or_insert_with(|| match repo.read(path, SETTINGS_BYTES_MAX) {
            Ok(bytes) => looking.look_into(path, &bytes),
            Err(e) => unreadable(path, &e.kind().to_string()),
        });
    }
    let mut seen = Seen::default();
    for (path, looked) in all {
        let (path, tracked) = (path.to_string(), looking.tracked.holds(path));
        seen.keys.extend(looked.key.map(|(line, what)| (path.clone(), line, what, tracked)));
        for (store, line) in looked.stores {
            seen.stores.entry(store).or_insert(format!("{path}:{line}"));
        }
        for (name, line) in looked.needs {
            seen.needs.entry(name).or_insert(format!("{path}:{line}"));
        }
        match looked.settings {
            Some(Ok(report)) => {
                let mode = repo.mode(&path);
                seen.files.push(SettingsFile { path, tracked, mode, report });
            }
            Some(Err(why)) => seen.unreadable.push((path, why)),
            None => {}
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
        let prefix = repo.git.as_ref().map(|git| git.below(&repo.root)).unwrap_or_default();
        let listed = repo.git.as_ref().and_then(|git| git.work_tree().tracked().ok());
        let files = listed.map(|all| all.filter_map(|p| p.strip_prefix(prefix.as_str())).map(str::to_string).collect());
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

/// `.env*` files, those that git ignores too: nobody commits them, but they lie on a disk.
pub(in crate::gates) struct Dotenv(pub Vec<String>);

pub(in crate::gates) fn dotenv_on_disk(repo: &Repo) -> Arc<Dotenv> {
    repo.once(&[], || Dotenv(search_dotenv(repo)))
}

fn search_dotenv(repo: &Repo) -> Vec<String> {
    let shallow = |path: &&String| path.matches('/').count() < DEPTH_MAX && !path.split('/').any(|f| f == "target");
    let small = |path: &&String| repo.root.join(path).metadata().is_ok_and(|m| m.len() <= SETTINGS_BYTES_MAX);
    let disk = Disk::of(repo);
    disk.0.iter().filter(|path| kind_of(path) == Some(Kind::Dotenv)).filter(shallow).filter(small).cloned().collect()
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

/// How the names of secrets begin that serve the pipeline alone: they publish, measure and report.
const OF_THE_PIPELINE: [&str; 62] = [
    "ACTIONS_",
    "ADD_TO_PROJECT",
    "ALGOLIA",
    "BOT_",
    "BROWSERSTACK",
    "CARGO_",
    "CC_TEST_REPORTER",
    "CHROMATIC",
    "CLA_",
    "CODACY",
    "CODECLIMATE",
    "CODECOV",
    "CODSPEED",
    "COVERALLS",
    "CRATES",
    "CROWDIN",
    "CYPRESS",
    "DEPENDABOT",
    "DEVELOCITY",
    "DISCORD",
    "DOCKER",
    "FOSSA",
    "GEM_",
    "GHCR",
    "GH_",
    "GITHUB_",
    "GPG_",
    "GRADLE_",
    "LOKALISE",
    "MAVEN",
    "NODE_AUTH",
    "NPM_",
    "NUGET",
    "NX_",
    "ORG_",
    "OSSRH",
    "PERCY",
    "PERSONAL_",
    "PROJECT_",
    "PYPI",
    "QODANA",
    "QUAY",
    "RELEASE_",
    "RENOVATE",
    "RUBYGEMS",
    "SAUCE",
    "SEMGREP",
    "SLACK",
    "SMOKESHOW",
    "SNYK",
    "SONAR",
    "SONATYPE",
    "TELEGRAM",
    "TEST_PYPI",
    "TRANSIFEX",
    "TURBO_",
    "TWINE",
    "TX_",
    "VSCE",
    "WEBLATE",
    "WORKFLOW_",
    "YARN_",
];

/// `${{ secrets.STRIPE_KEY }}` is the product's; `${{ secrets.CODECOV_TOKEN }}` says nothing about production.
fn names_ci_secret(line: &str) -> bool {
    let names = line.split("secrets.").skip(1).map(|rest| {
        rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>().to_ascii_uppercase()
    });
    names.filter(|n| !n.is_empty()).any(|name| {
        let own = OF_THE_PIPELINE.iter().any(|p| name.starts_with(p)) || name == "PAT" || name.ends_with("_PAT");
        !own && !name.ends_with("_REGISTRY_TOKEN") && !name.ends_with("_GH_TOKEN") && !name.ends_with("_GITHUB_TOKEN")
    })
}

/// The first line that names each.
fn stores(text: &str) -> Vec<(&'static str, usize)> {
    let names = |line: &str, word: &str| {
        line.contains(word)
            && (!word.starts_with("${{") || names_ci_secret(line))
            && !line.trim_start().starts_with('#')
    };
    let named = STORES.iter().filter(|(word, _)| text.contains(word));
    named.filter_map(|(word, store)| Some((*store, text.lines().position(|l| names(l, word))? + 1))).collect()
}

/// Names of secrets that the text reads from its environment, with lines.
fn needs(path: &str, text: &str) -> Vec<(String, usize)> {
    let mut read = BTreeMap::new();
    usages::collect(path, text, &mut read);
    let is_secret = |name: &str| secret_values::is_secret_name(name) || name == "DATABASE_URL";
    // Settings that have a default say what is in the manual, not what production has.
    let is_wanted = |usage: &&Usage| usage.need == Need::Required || !usages::is_spring(path);
    let secrets = read.into_iter().filter(|(name, _)| is_secret(name));
    secrets.filter_map(|(name, all)| Some((name, all.iter().find(is_wanted)?.line as usize))).collect()
}
