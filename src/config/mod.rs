//! The configuration: reads, expands, parses, validates and merges; composes every room's own `Config`. Only `cli` and
//! `demo` import it.
//!
//! The way of a file: `dom.rs` (text → tree with places) → `check.rs` (tree against the schema, references expanded) →
//! serde → `cross.rs` (what only the whole can know) → [`Loaded`]. `explain.rs` prints what was wrong, all at once.

pub mod check;
mod cross;
pub mod dom;
pub mod expand;
pub mod explain;
mod setup;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::domain::evidence::sha256_hex;
use crate::domain::problem::Problem;
use crate::domain::secret::Secret;
use crate::domain::service::ServiceConfig;
use crate::{alerts, daemon, gates, notify, sources, store, web};

use check::{Checked, Trail, Walk};
use dom::{Node, SourceFile, Value};
use expand::{Environment, ProcessEnv};
use explain::{Diagnostic, Level};

/// Looked for in the working directory when nothing is named.
pub const DEFAULT_FILE: &str = "hypercare.toml";
/// `hypercare config example`: every key of what is built, commented.
pub const EXAMPLE: &str = include_str!("../../config/hypercare.example.toml");
/// One service, one URL, one address.
pub const MINIMAL: &str = include_str!("../../config/hypercare.minimal.toml");

/// `hypercare.toml`, whole.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The things that go live.
    pub service: BTreeMap<String, ServiceConfig>,
    pub gates: gates::Config,
    /// Where series come from.
    pub metric: BTreeMap<String, sources::metric::Config>,
    /// Where users speak.
    pub feedback: BTreeMap<String, sources::feedback::Config>,
    pub slo: BTreeMap<String, alerts::SloConfig>,
    pub alerts: alerts::Config,
    /// Ways to reach people.
    pub channel: BTreeMap<String, notify::channel::Config>,
    /// Who hears what.
    pub route: Vec<alerts::RouteConfig>,
    pub launch: BTreeMap<String, daemon::LaunchConfig>,
    pub web: web::Config,
    pub store: store::Config,
}

impl Config {
    /// The service everything belongs to that names none; `None` when there are several or none.
    pub fn only_service(&self) -> Option<&str> {
        match self.service.len() {
            1 => self.service.keys().next().map(String::as_str),
            _ => None,
        }
    }

    /// The gates' slice, told what the watch will scrape: `monitoring.metrics` asks whether anybody collects.
    pub fn gates_told(&self) -> gates::Config {
        let mut told = self.gates.clone();
        told.monitoring.metrics.watched = self
            .metric
            .values()
            .filter_map(|source| match &source.from {
                sources::metric::From::Prometheus(scrape) => Some(scrape.targets.clone()),
                sources::metric::From::Http(_) | sources::metric::From::Host(_) => None,
            })
            .flatten()
            .collect();
        told
    }
}

/// Must references to secrets resolve? A laptop that only runs gates need not hold the mail password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrets {
    MustResolve,
    /// Missing ones are warnings.
    MayBeMissing,
}

/// A configuration that holds together.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    /// Empty when there was no file.
    pub files: Vec<SourceFile>,
    pub warnings: Vec<Diagnostic>,
    /// SHA-256 (hex) of the merged configuration with references in place of what they stand for: the same text gives
    /// the same hash in every folder and with every secret.
    pub hash: String,
    shown: Json,
}

impl Loaded {
    /// What applies when there is no file.
    pub fn defaults() -> Loaded {
        Loaded::of(Config::default(), Vec::new(), Vec::new(), &[])
    }

    fn of(config: Config, files: Vec<SourceFile>, warnings: Vec<Diagnostic>, written: &[(Trail, String)]) -> Loaded {
        let mut shown = serde_json::to_value(&config).unwrap_or_default();
        for (trail, text) in written {
            if let Some(slot) = shown.pointer_mut(&pointer(trail)) {
                *slot = Json::from(text.clone());
            }
        }
        let hash = sha256_hex(shown.to_string().as_bytes());
        Loaded { config, files, warnings, hash, shown }
    }

    /// Folder of the configuration; the working directory when there is none.
    pub fn dir(&self) -> &Path {
        self.files.first().map(SourceFile::dir).unwrap_or(Path::new(""))
    }

    /// Merged, with defaults, as JSON; secrets and other references as written.
    pub fn shown(&self) -> &Json {
        &self.shown
    }

    /// The same as TOML.
    pub fn shown_toml(&self) -> String {
        let value = without_nulls(self.shown.clone()).unwrap_or_default();
        toml::to_string_pretty(&value).unwrap_or_default()
    }
}

/// What was wrong with a configuration, with the files it was wrong in. `Display` is one plain line each.
#[derive(Debug)]
pub struct Invalid {
    pub diagnostics: Vec<Diagnostic>,
    pub files: Vec<SourceFile>,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.diagnostics.iter().map(|d| explain::plain(d, &self.files)).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Invalid {}

/// The JSON Schema (2020-12) of the configuration, for editors and for [`check`].
pub fn schema() -> Json {
    schemars::schema_for!(Config).to_value()
}

/// Loads a file, or all `*.toml` of a folder.
pub fn load(path: &Path, secrets: Secrets) -> Result<Loaded, Invalid> {
    load_with(path, secrets, &ProcessEnv)
}

/// [`load`] with another environment.
pub fn load_with(path: &Path, secrets: Secrets, env: &dyn Environment) -> Result<Loaded, Invalid> {
    let mut files = Vec::new();
    let mut diagnostics = Vec::new();
    match dom::files_of(path) {
        Err(e) => diagnostics.push(e),
        Ok(paths) => {
            for path in paths {
                match dom::read(&path) {
                    Ok(file) => files.push(file),
                    Err(e) => diagnostics.push(e),
                }
            }
        }
    }
    if !diagnostics.is_empty() {
        return Err(Invalid { diagnostics, files });
    }
    read(files, secrets, env)
}

/// Loads texts as if they stood in these files: a configuration as it is in a commit.
pub fn load_texts(
    texts: Vec<(std::path::PathBuf, String)>,
    secrets: Secrets,
    env: &dyn Environment,
) -> Result<Loaded, Invalid> {
    let file = |(path, text)| SourceFile { path, text, masked: Vec::new() };
    read(texts.into_iter().map(file).collect(), secrets, env)
}

/// Loads a text as if it stood in `path`.
pub fn load_text(text: &str, path: &Path, secrets: Secrets, env: &dyn Environment) -> Result<Loaded, Invalid> {
    read(vec![SourceFile { path: path.to_path_buf(), text: text.to_string(), masked: Vec::new() }], secrets, env)
}

fn read(mut files: Vec<SourceFile>, secrets: Secrets, env: &dyn Environment) -> Result<Loaded, Invalid> {
    let mut diagnostics = Vec::new();
    let mut roots = Vec::new();
    for (index, file) in files.iter().enumerate() {
        match dom::parse(&file.text, index) {
            Ok(root) => roots.push(root),
            Err(errors) => diagnostics.extend(errors),
        }
    }
    if !diagnostics.is_empty() {
        // Without a tree nobody knows which values are secrets: hide what looks like one.
        files.iter_mut().for_each(mask_by_name);
        return Err(Invalid { diagnostics, files });
    }
    let mut root = roots.remove(0);
    for other in roots {
        dom::merge(&mut root, other, &mut Vec::new(), &mut diagnostics);
    }

    let schema = schema();
    let mut walk = Walk { schema: &schema, files: &files, env, found: Checked::default() };
    let json = walk.value(&root, &schema, &mut Vec::new()).unwrap_or_default();
    let mut found = walk.found;
    diagnostics.append(&mut found.diagnostics);
    diagnostics.extend(unresolved(&found.secrets, secrets, env));

    let config = deserialize(json, &root, &mut found.wrong, &mut diagnostics);
    if let Some(config) = &config {
        let mut problems = cross::problems(config, &root);
        // What follows from something already said is noise.
        problems.retain(|p| !found.wrong.iter().any(|w| w.len() >= 2 && p.path.starts_with(&w[..2])));
        diagnostics.extend(problems.into_iter().map(|p| of_problem(p, &root)));
    }
    for place in found.masked {
        files[place.file].masked.push(place.span);
    }
    diagnostics.sort_by_key(|d| d.place.as_ref().map(|p| (p.file, p.span.start)));
    let (errors, warnings): (Vec<_>, Vec<_>) = diagnostics.into_iter().partition(|d| d.level == Level::Error);
    match config {
        Some(mut config) if errors.is_empty() => {
            complete(&mut config, &mut found.written);
            Ok(Loaded::of(config, files, warnings, &found.written))
        }
        _ => Err(Invalid { diagnostics: errors.into_iter().chain(warnings).collect(), files }),
    }
}

/// What a short file leaves out is what most people mean: the page is probed, everybody hears everything, and everybody
/// gets the report. Whoever writes one `[metric]`, `[[route]]` or `[launch.NAME]` decides for themselves.
fn complete(config: &mut Config, written: &mut Vec<(Trail, String)>) {
    if config.metric.is_empty() {
        for (name, service) in &config.service {
            let (key, Some(url)) = (match (&service.live_url, &service.url) {
                (Some(live), _) => ("live_url", Some(live)),
                (None, url) => ("url", url.as_ref()),
            }) else {
                continue;
            };
            let trail = |parts: &[&str]| parts.iter().map(|p| p.to_string()).collect::<Trail>();
            // A URL that was a reference stays one where it is shown.
            let from = trail(&["service", name, key]);
            if let Some((_, text)) = written.iter().find(|(t, _)| *t == from).cloned() {
                written.push((trail(&["metric", name, "from", "http", "url"]), text));
            }
            let probe = serde_json::json!({"from": {"http": {"service": name, "url": url}}});
            if let Ok(probe) = serde_json::from_value(probe) {
                config.metric.insert(name.clone(), probe);
            }
        }
    }
    let everybody: Vec<String> = config.channel.keys().cloned().collect();
    if config.route.is_empty() && !everybody.is_empty() {
        config.route.push(alerts::RouteConfig { channels: everybody.clone(), ..Default::default() });
    }
    for name in config.service.keys() {
        config.launch.entry(name.clone()).or_insert_with(|| daemon::LaunchConfig {
            report: daemon::ReportConfig { to: everybody.clone(), ..Default::default() },
            ..Default::default()
        });
    }
}

/// A serde error is the first only; what it complains about is cut out and the rest is tried again, so that all come.
fn deserialize(mut json: Json, root: &Node, wrong: &mut Vec<Trail>, out: &mut Vec<Diagnostic>) -> Option<Config> {
    /// More errors than anybody reads.
    const ROUNDS_MAX: usize = 200;
    for _ in 0..ROUNDS_MAX {
        let error = match serde_path_to_error::deserialize::<_, Config>(json.clone()) {
            Ok(config) => return Some(config),
            Err(error) => error,
        };
        let trail: Trail = error
            .path()
            .iter()
            .filter_map(|segment| match segment {
                serde_path_to_error::Segment::Seq { index } => Some(index.to_string()),
                serde_path_to_error::Segment::Map { key } => Some(key.clone()),
                serde_path_to_error::Segment::Enum { variant } => Some(variant.clone()),
                serde_path_to_error::Segment::Unknown => None,
            })
            .collect();
        let follows = wrong.iter().any(|w| w.starts_with(&trail) || trail.starts_with(w));
        if !follows {
            let problem = Problem::at(trail.clone(), error.inner().to_string());
            out.push(of_problem(problem, root));
            wrong.push(trail.clone());
        }
        if !strip(&mut json, &trail) {
            return None;
        }
    }
    None
}

/// Removes what stands at `trail`, or the nearest thing around it; a list goes as a whole, because its indices must
/// keep their meaning. False when nothing was left to remove.
fn strip(json: &mut Json, trail: &[String]) -> bool {
    let mut trail = trail;
    while let Some((last, parents)) = trail.split_last() {
        if let Some(Json::Object(map)) = json.pointer_mut(&pointer(parents))
            && map.remove(last).is_some()
        {
            return true;
        }
        trail = parents;
    }
    false
}

fn pointer(trail: &[String]) -> String {
    trail.iter().map(|p| format!("/{}", p.replace('~', "~0").replace('/', "~1"))).collect()
}

fn of_problem(problem: Problem, root: &Node) -> Diagnostic {
    let (node, whole) = root.lookup(&problem.path);
    let at_root = std::ptr::eq(node, root);
    let message = match (whole, problem.path.is_empty()) {
        (true, _) | (_, true) => problem.message,
        // The key is not there to point at: say which is meant.
        (false, false) => format!("`{}`: {}", problem.path.join("."), problem.message),
    };
    let mut diagnostic = match at_root {
        true => Diagnostic::nowhere(message),
        false => Diagnostic::error(node.shown_at().clone(), message),
    };
    diagnostic.hint = problem.hint;
    diagnostic
}

fn unresolved(found: &[(Secret, dom::Place)], secrets: Secrets, env: &dyn Environment) -> Vec<Diagnostic> {
    let mut out = Vec::new();
    for (secret, place) in found {
        let problem = match secret {
            Secret::Env(name) if env.var(name).is_none() => Some(format!("environment variable {name} is not set")),
            Secret::Env(_) => None,
            Secret::File(path) => file_problem(path, place, &mut out),
            Secret::Credential(name) => match env.var("CREDENTIALS_DIRECTORY") {
                Some(folder) => file_problem(&PathBuf::from(folder).join(name), place, &mut out),
                None => Some(format!("no credential {name}: CREDENTIALS_DIRECTORY is not set")),
            },
        };
        if let Some(message) = problem {
            out.push(match secrets {
                Secrets::MustResolve => Diagnostic::error(place.clone(), message),
                Secrets::MayBeMissing => Diagnostic::warning(place.clone(), message),
            });
        }
    }
    out
}

fn file_problem(path: &Path, place: &dom::Place, warnings: &mut Vec<Diagnostic>) -> Option<String> {
    let meta = match std::fs::metadata(path) {
        Ok(meta) => meta,
        Err(e) => return Some(format!("secret file {} could not be read: {e}", path.display())),
    };
    if !meta.is_file() {
        return Some(format!("secret file {} is not a file", path.display()));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        /// Owner reads and writes, group reads: 0640.
        const MODE_WIDEST: u32 = 0o640;
        let mode = meta.permissions().mode() & 0o777;
        if mode & !MODE_WIDEST != 0 {
            let message = format!("secret file {} has mode {mode:04o}: others may read it", path.display());
            warnings.push(Diagnostic::warning(place.clone(), message).hint(format!("chmod 0640 {}", path.display())));
        }
    }
    None
}

/// Masks the value of every line whose key smells of a secret.
fn mask_by_name(file: &mut SourceFile) {
    let mut start = 0;
    for line in file.text.split_inclusive('\n') {
        if let Some((key, value)) = line.split_once('=')
            && check::smells_secret(key)
            && !value.trim_start().starts_with("\"${")
        {
            file.masked.push(start + key.len() + 1..start + line.len());
        }
        start += line.len();
    }
}

fn without_nulls(json: Json) -> Option<Json> {
    match json {
        Json::Null => None,
        Json::Array(items) => Some(Json::Array(items.into_iter().filter_map(without_nulls).collect())),
        Json::Object(map) => Some(Json::Object(
            map.into_iter().filter_map(|(key, value)| without_nulls(value).map(|v| (key, v))).collect(),
        )),
        other => Some(other),
    }
}

/// Names under a table of the tree as written, wrong entries included: a route to a misconfigured channel is no second
/// mistake.
fn names<'a>(root: &'a Node, table: &str) -> Vec<&'a str> {
    match &root.lookup(&[table.to_string()]) {
        (Node { value: Value::Table(map), .. }, true) => map.keys().map(String::as_str).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
