//! Gathers the environments of a repository: settings files by stage, manifests, templates, what the code reads, and
//! Dockerfiles. Reads files and asks git; decides nothing.

use std::collections::{BTreeMap, BTreeSet};

use ignore::gitignore::Gitignore;

use super::Config;
use super::dotenv::{self, Dialect, Entry};
use super::usages::{self, Usage};
use super::{image, manifests};
use crate::gates::code::role::Role;
use crate::gates::code::syntax::Source as Code;
use crate::gates::context::{Repo, RepoFile, SOURCE_FILE_BYTES_MAX};
use crate::gates::infrastructure::{env_encrypted, secret_files};
use crate::gates::patterns;
use crate::gates::suppression::{self, Inline};
use crate::gates::{Found, Reader};

/// Whose environment a file describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    Production,
    Staging,
    Test,
    Local,
    /// `.env.example`: names, and values that everybody knows.
    Template,
}

/// One file's environment.
#[derive(Debug)]
pub struct Source {
    pub path: String,
    pub stage: Stage,
    /// The folder whose code it configures: empty, or ending in `/`.
    pub scope: String,
    pub entries: Vec<Entry>,
    /// More variables come from a place that cannot be seen, or the whole file is ciphertext.
    pub open: bool,
    pub shares_loopback: bool,
    pub tracked: bool,
    pub dotenv: bool,
    pub mode: Option<u32>,
    pub crlf: bool,
    /// Inline suppressions: (line, rule) to their text.
    pub allowed: BTreeMap<(u32, &'static str), String>,
    /// Suppressions without a reason, by line.
    pub unreasoned: BTreeSet<u32>,
}

/// A Dockerfile that copies the whole context.
#[derive(Debug, PartialEq, Eq)]
pub struct Copied {
    pub file: String,
    pub line: u32,
    /// A settings file that goes along; `None`: none lies there today, but one may.
    pub takes: Option<String>,
}

#[derive(Debug, Default)]
pub struct Seen {
    pub sources: Vec<Source>,
    pub usages: BTreeMap<String, Vec<Usage>>,
    pub copied: Vec<Copied>,
    pub unreadable: Vec<(String, String)>,
}

/// Settings are small; a larger file is data.
const SETTINGS_BYTES_MAX: u64 = 1024 * 1024;

pub fn look(repo: &Repo, looking: &Looking, found: Found<Looking>, config: &Config, rules: &[&'static str]) -> Seen {
    let (sources, unreadable) = sources(repo, looking.excluded.as_ref(), config, rules);
    let copied = dockerfiles(repo, &sources);
    Seen { sources, usages: all_usages(found), copied, unreadable }
}

/// The environments that the repository describes, for whoever compares them.
pub fn environments(repo: &Repo, config: &Config) -> Vec<Source> {
    sources(repo, patterns::matcher(&repo.root, &config.exclude).as_ref(), config, &[]).0
}

/// The sources, and what of them could not be read with why.
fn sources(
    repo: &Repo,
    excluded: Option<&Gitignore>,
    config: &Config,
    rules: &[&'static str],
) -> (Vec<Source>, Vec<(String, String)>) {
    let production = patterns::matcher(&repo.root, &config.production);
    let tracked: BTreeSet<&str> = repo.files.iter().map(|f| f.path.as_str()).collect();
    let mut paths: BTreeSet<String> =
        repo.files.iter().filter(|f| f.bytes <= SETTINGS_BYTES_MAX).map(|f| f.path.clone()).collect();
    paths.extend(env_encrypted::dotenv_on_disk(repo).0.iter().cloned());
    let dialects = Dialects::of(repo);
    let (mut sources, mut unreadable) = (Vec::new(), Vec::new());
    for path in &paths {
        let named = production.as_ref().map(|_| patterns::covers(production.as_ref(), path));
        let role = Role::of_path(path);
        let foreign = matches!(role, Role::Vendored | Role::Test | Role::Script) || patterns::covers(excluded, path);
        if foreign && named != Some(true) {
            continue;
        }
        let stage = match (named, stage_of(path)) {
            (Some(true), _) => Some(Stage::Production),
            (Some(false), Some(Stage::Production)) => Some(Stage::Staging),
            (_, stage) => stage,
        };
        let Some(stage) = stage else { continue };
        match source(repo, path, stage, &dialects, rules) {
            Ok(Some(mut source)) => {
                source.tracked = tracked.contains(path.as_str());
                sources.push(source);
            }
            Ok(None) => {}
            Err(why) => unreadable.push((path.clone(), why)),
        }
    }
    (sources, unreadable)
}

/// By name; `None`: not an environment.
fn stage_of(path: &str) -> Option<Stage> {
    if is_dotenv(path) {
        return Some(dotenv_stage(path));
    }
    let lower = path.to_ascii_lowercase();
    if !(lower.ends_with(".yml") || lower.ends_with(".yaml")) || lower.starts_with(".github/") {
        return None;
    }
    let words: Vec<&str> = lower.split(['/', '.', '-', '_']).collect();
    let has = |list: &[&str]| words.iter().any(|w| list.contains(w));
    if manifests::is_compose(path) {
        // A plain compose file is as often the developer's as the server's: only one that says so is production's.
        let of = |list, stage| has(list).then_some(stage);
        return of(&["prod", "production"], Stage::Production)
            .or_else(|| of(&["staging", "stage", "uat", "preprod"], Stage::Staging));
    }
    if has(&[
        "dev",
        "development",
        "local",
        "test",
        "tests",
        "testing",
        "minikube",
        "kind",
        "e2e",
        "ci",
        "preview",
        "sandbox",
    ]) {
        return None;
    }
    Some(if has(&["staging", "stage", "qa", "uat"]) { Stage::Staging } else { Stage::Production })
}

fn is_dotenv(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let other = [".env.keys", ".env.vault", ".env.me", ".env.previous"].contains(&name.as_str());
    let named = name == ".env"
        || name.starts_with(".env.")
        || name.starts_with(".env-")
        || name.starts_with(".env_")
        || name.ends_with(".env");
    let template =
        ["env.example", "env.sample", "env.template", "env.dist", "example.env", "sample.env"].contains(&name.as_str());
    (named || template) && !other && Code::of(path).is_none()
}

fn dotenv_stage(path: &str) -> Stage {
    let lower = path.to_ascii_lowercase();
    let (folder, name) = lower.rsplit_once('/').unwrap_or(("", &lower));
    let of = |text: &str| {
        let has = |list: &[&str]| text.split(['.', '-', '_', '/']).any(|w| list.contains(&w));
        match () {
            _ if has(&["example", "sample", "template", "dist", "defaults", "schema", "tmpl", "tpl", "j2"]) => {
                Some(Stage::Template)
            }
            _ if has(&["production", "prod", "live"]) => Some(Stage::Production),
            _ if has(&["staging", "stage", "uat", "preprod", "qa", "preview"]) => Some(Stage::Staging),
            _ if has(&["test", "testing", "ci", "e2e"]) => Some(Stage::Test),
            _ if has(&["dev", "development", "local"]) => Some(Stage::Local),
            _ => None,
        }
    };
    of(name).or_else(|| of(folder)).unwrap_or(Stage::Local)
}

/// `config/.env.production` configures what lies beside `config`.
fn scope_of(path: &str) -> String {
    const HOLDERS: [&str; 12] = [
        "config",
        "configs",
        "env",
        "envs",
        "environments",
        "deploy",
        "deployment",
        "docker",
        ".docker",
        "infra",
        "settings",
        "production",
    ];
    let mut folder = path.rsplit_once('/').map_or("", |(f, _)| f);
    while let Some(last) = folder.rsplit('/').next().filter(|l| HOLDERS.contains(l)) {
        folder = folder[..folder.len() - last.len()].trim_end_matches('/');
    }
    if folder.is_empty() { String::new() } else { format!("{folder}/") }
}

fn source(
    repo: &Repo,
    path: &str,
    stage: Stage,
    dialects: &Dialects,
    rules: &[&'static str],
) -> Result<Option<Source>, String> {
    let dotenv = is_dotenv(path);
    let bytes = match repo.read(path, SETTINGS_BYTES_MAX) {
        Ok(bytes) => bytes,
        // Only what is surely an environment is missed.
        Err(e) => return if dotenv && stage == Stage::Production { Err(e.kind().to_string()) } else { Ok(None) },
    };
    let text = String::from_utf8_lossy(&bytes);
    let mut source = Source {
        path: path.to_string(),
        stage,
        scope: if dotenv { scope_of(path) } else { String::new() },
        entries: vec![],
        open: false,
        shares_loopback: false,
        tracked: false,
        dotenv,
        mode: repo.mode(path),
        crlf: dotenv && text.contains("\r\n"),
        allowed: BTreeMap::new(),
        unreasoned: BTreeSet::new(),
    };
    if dotenv {
        source.open = secret_files::read(secret_files::Kind::Dotenv, &bytes).is_ok_and(|report| report.whole);
        if !source.open {
            source.entries = dotenv::parse(&text, dialects.of_file(path));
            // What sops and dotenvx write about themselves.
            source.entries.retain(|e| !e.name.starts_with("sops_") && !e.name.starts_with("DOTENV_PUBLIC_KEY"));
        }
    } else {
        // Templates of Helm and other files that are no YAML are not ours to judge.
        let Ok(Some(environment)) = manifests::read(path, &text) else { return Ok(None) };
        if environment.entries.is_empty() && !environment.open && environment.files.is_empty() {
            return Ok(None);
        }
        let there = |file: &String| repo.root.join(path).parent().is_some_and(|folder| folder.join(file).is_file());
        source.open = environment.open || !environment.files.iter().all(there);
        source.shares_loopback = environment.shares_loopback;
        source.entries = environment.entries;
    }
    suppressions(&text, &mut source, rules);
    Ok(Some(source))
}

fn suppressions(text: &str, source: &mut Source, rules: &[&'static str]) {
    if !text.contains("hypercare:allow") {
        return;
    }
    let lines: Vec<&str> = text.lines().collect();
    for entry in &source.entries {
        for rule in rules {
            match suppression::inline(&lines, entry.line, super::ABOUT.id, rule) {
                Some(Inline::Allowed(by)) => {
                    source.allowed.insert((entry.line, rule), by);
                }
                Some(Inline::NoReason(line)) => {
                    source.unreasoned.insert(line);
                }
                None => {}
            }
        }
    }
}

/// Which library reads `.env` files, by the manifests near them.
struct Dialects {
    /// (folder, dialect), the deepest first.
    by_folder: Vec<(String, Dialect)>,
}

impl Dialects {
    fn of(repo: &Repo) -> Dialects {
        const SIGNS: [(&str, &[&str], Dialect); 5] = [
            ("package.json", &["\""], Dialect::Node),
            (
                "pyproject.toml",
                &["dotenv", "environs", "django-environ", "pydantic-settings", "decouple"],
                Dialect::Python,
            ),
            (
                "requirements.txt",
                &["dotenv", "environs", "django-environ", "pydantic-settings", "decouple"],
                Dialect::Python,
            ),
            ("Gemfile", &["dotenv"], Dialect::Ruby),
            ("go.mod", &["godotenv"], Dialect::Compose),
        ];
        let mut by_folder = Vec::new();
        for file in repo.files.iter() {
            let (folder, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
            for (_, words, dialect) in SIGNS.iter().filter(|(manifest, _, _)| *manifest == name) {
                let text = repo.read_text(&file.path, SETTINGS_BYTES_MAX).unwrap_or_default();
                if Role::of_path(&file.path) != Role::Vendored && words.iter().any(|w| text.contains(w)) {
                    by_folder.push((folder.to_string(), *dialect));
                }
            }
        }
        by_folder.sort_by_key(|(folder, _)| std::cmp::Reverse(folder.len()));
        Dialects { by_folder }
    }

    fn of_file(&self, path: &str) -> Dialect {
        let near =
            self.by_folder.iter().find(|(folder, _)| folder.is_empty() || path.starts_with(&format!("{folder}/")));
        near.map_or(Dialect::Compose, |(_, dialect)| *dialect)
    }
}

/// Looks into every source that may read variables.
pub struct Looking {
    excluded: Option<Gitignore>,
}

impl Looking {
    pub fn new(repo: &Repo, config: &Config) -> Looking {
        Looking { excluded: patterns::matcher(&repo.root, &config.exclude) }
    }
}

impl Reader for Looking {
    type Found = BTreeMap<String, Vec<Usage>>;

    fn wants(&self, file: &RepoFile) -> Option<u64> {
        let (path, spring) = (file.path.as_str(), usages::is_spring(&file.path));
        let wanted = spring || (Code::of(path).is_some() && Role::of_path(path).ships());
        (wanted && !patterns::covers(self.excluded.as_ref(), path)).then_some(SOURCE_FILE_BYTES_MAX)
    }

    fn read(&self, file: &RepoFile, text: Option<&[u8]>) -> Self::Found {
        let mut found = BTreeMap::new();
        if let Some(text) = text.filter(|text| usages::speaks_of_them(&file.path, text)) {
            usages::collect(&file.path, &String::from_utf8_lossy(text), &mut found);
        }
        found
    }
}

fn all_usages(found: Found<Looking>) -> BTreeMap<String, Vec<Usage>> {
    let mut out: BTreeMap<String, Vec<Usage>> = BTreeMap::new();
    for (name, mut places) in found.into_iter().flat_map(|(_, found)| found) {
        out.entry(name).or_default().append(&mut places);
    }
    out
}

fn dockerfiles(repo: &Repo, sources: &[Source]) -> Vec<Copied> {
    let has = |path: &str| repo.files.binary_search_by(|f| f.path.as_str().cmp(path)).is_ok();
    let mut out = Vec::new();
    for file in repo.files.iter() {
        let name = file.path.rsplit('/').next().unwrap_or(&file.path);
        let lower = name.to_ascii_lowercase();
        let docker = lower == "dockerfile"
            || lower == "containerfile"
            || lower.starts_with("dockerfile.")
            || lower.ends_with(".dockerfile");
        let development =
            lower.split(['.', '-']).any(|w| matches!(w, "dev" | "development" | "test" | "local" | "dockerignore"));
        if !docker || development || matches!(Role::of_path(&file.path), Role::Vendored | Role::Test | Role::Script) {
            continue;
        }
        let text = repo.read_text(&file.path, SETTINGS_BYTES_MAX).unwrap_or_default();
        let Some(line) = image::copies_context(&text) else { continue };
        // `docker/Dockerfile` is built from the folder above; others from their own.
        let prefix = scope_of(&file.path);
        let own = format!("{}.dockerignore", file.path);
        let ignore = if has(&own) { own } else { format!("{prefix}.dockerignore") };
        let rules = repo.read_text(&ignore, SETTINGS_BYTES_MAX).unwrap_or_default();
        let enters =
            |path: &str| path.strip_prefix(prefix.as_str()).is_some_and(|below| !image::ignores(&rules, below));
        let real = sources.iter().filter(|s| s.dotenv && s.stage != Stage::Template && s.stage != Stage::Test);
        let takes = real.map(|s| s.path.as_str()).find(|p| enters(p)).map(str::to_string);
        let expected = sources.iter().any(|s| s.dotenv && s.scope.starts_with(prefix.as_str()));
        if takes.is_some() || (expected && enters(&format!("{prefix}.env"))) {
            out.push(Copied { file: file.path.clone(), line, takes });
        }
    }
    out
}
