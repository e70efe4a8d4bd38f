//! Compose files: services with restart policy, health check, volumes and replicas. `extends` within the folder is
//! followed; a production file beside the base file is laid over it; what only a developer's machine needs is told apart.

use std::collections::{BTreeMap, BTreeSet};

use super::images::{is_around, is_backing, is_tool};
use super::{Place, Purpose};
use crate::gates::import::ImportError;
use crate::gates::import::located::{self, Node};

#[derive(Debug, Clone, PartialEq, Default)]
pub struct ComposeFile {
    pub file: String,
    pub services: Vec<Service>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Service {
    pub place: Place,
    pub name: String,
    pub image: Option<String>,
    pub build: Option<Build>,
    /// `restart` as written, and its line.
    pub restart: Option<(String, u32)>,
    /// `deploy.restart_policy.condition`; `any` when the policy names none.
    pub deploy_restart: Option<(String, u32)>,
    pub health: Health,
    pub replicas: Option<(i64, u32)>,
    pub volumes: Vec<Mount>,
    /// Started only when asked for by name.
    pub in_profile: bool,
    /// Another service waits until this one has ended.
    pub awaited: bool,
    pub ports: Vec<u32>,
    pub command: String,
    pub environment: Vec<(String, String)>,
    extends: Option<(Option<String>, String)>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Build {
    /// Folder, relative to the repository.
    pub context: String,
    /// Relative to the repository; the context's `Dockerfile` when not given.
    pub dockerfile: String,
    pub target: Option<String>,
}

/// What a service says about its health.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Health {
    #[default]
    Unsaid,
    /// `disable: true` or `test: NONE`.
    Off(u32),
    /// Settings for the check that the image brings.
    OfImage(u32),
    Test {
        line: u32,
        command: Vec<String>,
        interval: Option<String>,
        timeout: Option<String>,
    },
}

/// One entry of `volumes`.
#[derive(Debug, Clone, PartialEq)]
pub struct Mount {
    /// A named volume, a path on the host, or nothing for an anonymous one.
    pub source: Option<String>,
    pub target: String,
    pub tmpfs: bool,
    pub line: u32,
}

/// By a lower-case file name: `compose.yaml`, `docker-compose.prod.yml`, `production.yml` of a compose folder.
pub fn is_one(name: &str) -> bool {
    let stem = name.rsplit_once('.').map_or(name, |(s, _)| s);
    ["docker-compose", "compose", "podman-compose", "docker-stack", "stack"]
        .iter()
        .any(|p| stem == *p || stem.strip_prefix(p).is_some_and(|rest| rest.starts_with(['.', '-', '_'])))
        || stem.ends_with("docker-compose")
        || stem.ends_with(".compose")
}

pub fn parse(path: &str, text: &str) -> Result<ComposeFile, ImportError> {
    let documents = located::documents(text)?;
    let folder = path.rsplit_once('/').map_or("", |(f, _)| f);
    let services = documents.iter().flat_map(|d| d.get("services").entries());
    let mut services: Vec<Service> =
        services.map(|(name, line, node)| service(path, folder, name, *line, node)).collect();
    let awaited: BTreeSet<String> = documents
        .iter()
        .flat_map(|d| d.get("services").entries())
        .flat_map(|(_, _, s)| s.get("depends_on").entries())
        .filter(|(_, _, n)| n.get("condition").text() == Some("service_completed_successfully"))
        .map(|(name, _, _)| name.clone())
        .collect();
    for service in &mut services {
        service.awaited = awaited.contains(&service.name);
    }
    Ok(ComposeFile { file: path.to_string(), services })
}

fn service(path: &str, folder: &str, name: &str, line: u32, node: &Node) -> Service {
    let restart = node.get("restart").text().map(|t| (default_of(t), node.line_of("restart")));
    let deploy = node.get("deploy");
    let policy = deploy.get("restart_policy");
    let condition = || policy.get("condition").text().unwrap_or("any").to_string();
    let replicas = [(deploy, "replicas"), (node, "scale")]
        .into_iter()
        .find_map(|(n, key)| Some((default_of(n.get(key).text()?).parse().ok()?, n.line_of(key))));
    let extends = node.get("extends");
    Service {
        place: Place::new(path, line),
        name: name.to_string(),
        image: node.get("image").text().map(default_of),
        build: node.has("build").then(|| build(folder, node.get("build"))),
        restart,
        deploy_restart: policy.is_there().then(|| (condition(), policy.line_of("condition"))),
        health: health(node),
        replicas,
        volumes: node.get("volumes").items().iter().filter_map(mount).collect(),
        in_profile: node.get("profiles").texts().into_iter().any(|p| !default_of(p).is_empty()),
        awaited: false,
        ports: node.get("ports").items().iter().chain(node.get("expose").items()).filter_map(port).collect(),
        command: [node.get("command"), node.get("entrypoint")].map(|n| n.texts().join(" ")).join(" "),
        environment: environment(node.get("environment")),
        extends: extends.text().map(|s| (None, s.to_string())).or_else(|| {
            Some((extends.get("file").text().map(String::from), extends.get("service").text()?.to_string()))
        }),
    }
}

/// `${RESTART:-always}` is `always` unless somebody says otherwise.
fn default_of(text: &str) -> String {
    let mut out = text.to_string();
    while let Some(start) = out.rfind("${") {
        let Some(end) = out[start..].find('}').map(|i| start + i) else { break };
        let inner = &out[start + 2..end];
        let value = inner.split_once(":-").or_else(|| inner.split_once('-')).map_or("", |(_, d)| d).to_string();
        out.replace_range(start..=end, &value);
    }
    out
}

fn build(folder: &str, node: &Node) -> Build {
    let context = node.text().or_else(|| node.get("context").text()).unwrap_or(".");
    let context = within(folder, context);
    let file = node.get("dockerfile").text().unwrap_or("Dockerfile");
    Build { dockerfile: within(&context, file), target: node.get("target").text().map(String::from), context }
}

/// A path relative to `folder`, as one relative to the repository; `..` and `.` are worked off.
pub fn within(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = if path.starts_with('/') { Vec::new() } else { folder.split('/').collect() };
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.retain(|p| !p.is_empty());
    parts.join("/")
}

fn health(node: &Node) -> Health {
    let check = node.get("healthcheck");
    let line = node.line_of("healthcheck");
    if !check.is_there() {
        return Health::Unsaid;
    }
    let test = check.get("test");
    let words: Vec<String> = test.texts().into_iter().map(String::from).collect();
    let off =
        check.get("disable").flag() == Some(true) || words.first().is_some_and(|w| w.eq_ignore_ascii_case("none"));
    if off {
        return Health::Off(line);
    }
    if words.is_empty() {
        return Health::OfImage(line);
    }
    let command = match words.first().map(String::as_str) {
        Some("CMD" | "CMD-SHELL") => words[1..].to_vec(),
        _ => words,
    };
    let time = |key: &str| check.get(key).text().map(String::from);
    Health::Test { line, command, interval: time("interval"), timeout: time("timeout") }
}

fn mount(node: &Node) -> Option<Mount> {
    if let Some(text) = node.text() {
        let text = default_of(text);
        let mut parts = text.split(':');
        let first = parts.next()?.to_string();
        let second = parts.next().filter(|s| s.starts_with('/')).map(String::from);
        let (source, target) = match second {
            Some(target) => (Some(first), target),
            None => (None, first),
        };
        return Some(Mount { source, target, tmpfs: false, line: node.line });
    }
    Some(Mount {
        source: node.get("source").text().or(node.get("src").text()).map(default_of),
        target: default_of(node.get("target").text().or(node.get("dst").text())?),
        tmpfs: node.get("type").text() == Some("tmpfs"),
        line: node.line,
    })
}

/// The container's port of `"8080:80/tcp"`, `80`, or `{target: 80}`.
fn port(node: &Node) -> Option<u32> {
    let text = node.text().or_else(|| node.get("target").text())?;
    default_of(text).split('/').next()?.rsplit(':').next()?.split('-').next()?.parse().ok()
}

fn environment(node: &Node) -> Vec<(String, String)> {
    let pairs = node.entries().iter().map(|(k, _, v)| (k.clone(), v.text().unwrap_or_default().to_string()));
    let lines = node.texts().into_iter().filter_map(|l| l.split_once('=')).map(|(k, v)| (k.to_string(), v.to_string()));
    pairs.chain(lines).collect()
}

impl Mount {
    /// A folder of the host rather than a named volume.
    pub fn is_bind(&self) -> bool {
        self.source.as_deref().is_some_and(|s| s.starts_with(['.', '/', '~']) || s.is_empty())
    }
}

impl Service {
    /// A database, a cache, a proxy: not what the team itself writes.
    pub fn is_supporting(&self) -> bool {
        self.build.is_none() && self.image.as_deref().is_some_and(|i| is_backing(i) || is_around(i))
    }

    /// Does its work and ends: a migration, a bucket maker, a certificate tool.
    pub fn is_one_shot(&self) -> bool {
        let words =
            ["migrate", "migration", "migrations", "migrator", "init", "setup", "seed", "bootstrap", "createbuckets"];
        let named = self.name.split(['-', '_', '.']).any(|p| words.contains(&p.to_ascii_lowercase().as_str()));
        let chore = [
            "db:migrate",
            "manage.py migrate",
            "migrate deploy",
            "alembic upgrade",
            "artisan migrate",
            "mc mb",
            "db:prepare",
            "db upgrade",
        ];
        let only_chore =
            chore.iter().any(|c| self.command.contains(c)) && !["&&", ";"].iter().any(|s| self.command.contains(s));
        self.awaited || named || only_chore
    }

    /// The source folder is mounted over the image: somebody edits it while it runs.
    fn is_developers(&self) -> bool {
        let source_mounted = self.build.as_ref().is_some_and(|b| {
            let folder = self.place.file.rsplit_once('/').map_or("", |(f, _)| f);
            self.volumes.iter().filter(|v| v.is_bind()).any(|v| {
                let source = v.source.as_deref().unwrap_or_default();
                // Settings are mounted into production as well.
                source.starts_with('.') && !["/etc", "/config", "/var"].iter().any(|e| v.target.starts_with(e)) && {
                    let source = within(folder, source);
                    source == b.context || ["src", "app", "lib"].iter().any(|s| source == within(&b.context, s))
                }
            })
        });
        let says = |value: &str| matches!(value, "development" | "dev" | "local");
        let variable = |k: &str| {
            matches!(
                k,
                "NODE_ENV" | "RAILS_ENV" | "RACK_ENV" | "APP_ENV" | "FLASK_ENV" | "MIX_ENV" | "ASPNETCORE_ENVIRONMENT"
            )
        };
        let by_environment = self.environment.iter().any(|(k, v)| variable(k) && says(&v.to_ascii_lowercase()));
        let by_target =
            self.build.as_ref().and_then(|b| b.target.as_deref()).is_some_and(|t| says(t) || t.contains("dev"));
        source_mounted || by_environment || by_target
    }

    /// The settings that `base` has and this one lacks.
    fn take_from(&mut self, base: &Service) {
        let own = self.clone();
        *self = base.clone();
        self.lay_over(&own);
    }

    fn lay_over(&mut self, top: &Service) {
        fn over<T: Clone>(under: &mut Option<T>, top: &Option<T>) {
            if top.is_some() {
                under.clone_from(top);
            }
        }
        over(&mut self.image, &top.image);
        over(&mut self.restart, &top.restart);
        over(&mut self.deploy_restart, &top.deploy_restart);
        over(&mut self.replicas, &top.replicas);
        over(&mut self.build, &top.build);
        if top.health != Health::Unsaid {
            self.health = top.health.clone();
        }
        if !top.command.trim().is_empty() {
            self.command.clone_from(&top.command);
        }
        self.volumes.extend(top.volumes.iter().cloned());
        self.ports.extend(&top.ports);
        self.environment.extend(top.environment.iter().cloned());
        self.place = top.place.clone();
        self.name.clone_from(&top.name);
        self.awaited |= top.awaited;
        self.in_profile |= top.in_profile;
    }

    fn is_whole(&self) -> bool {
        self.image.is_some() || self.build.is_some()
    }
}

impl ComposeFile {
    /// A file for a developer's machine mounts sources, says so in its environment, or starts nothing but databases.
    pub fn purpose(&self) -> Purpose {
        let whole: Vec<&Service> = self.services.iter().filter(|s| s.is_whole() && !s.in_profile).collect();
        let developers = whole.iter().any(|s| s.is_developers());
        let only_backing = !whole.is_empty()
            && whole
                .iter()
                .all(|s| s.build.is_none() && s.image.as_deref().is_some_and(|i| is_backing(i) || is_tool(i)));
        if developers || only_backing { Purpose::Development } else { Purpose::Product }
    }

    fn folder(&self) -> &str {
        self.file.rsplit_once('/').map_or("", |(f, _)| f)
    }
    fn name(&self) -> &str {
        self.file.rsplit('/').next().unwrap_or(&self.file)
    }
    fn is_base(&self) -> bool {
        matches!(self.name().rsplit_once('.').map(|(s, _)| s), Some("docker-compose" | "compose" | "podman-compose"))
    }
    fn is_production(&self) -> bool {
        self.name().split(['.', '-', '_']).any(|p| matches!(p, "prod" | "production" | "live"))
    }
}

/// Follows `extends`, lays production files over their base, and leaves out partial services of other variants.
pub fn joined(mut files: Vec<ComposeFile>) -> Vec<ComposeFile> {
    let known: BTreeMap<(String, String), Service> =
        files.iter().flat_map(|f| f.services.iter().map(|s| ((f.file.clone(), s.name.clone()), s.clone()))).collect();
    for file in &mut files {
        let folder = file.folder().to_string();
        for service in &mut file.services {
            let Some((other, name)) = service.extends.take() else { continue };
            let path = other.map_or(service.place.file.clone(), |f| within(&folder, &f));
            if let Some(base) = known.get(&(path, name)) {
                service.take_from(base);
            }
        }
    }
    let overlays: Vec<ComposeFile> = files.iter().filter(|f| f.is_production() && !f.is_base()).cloned().collect();
    for base in files.iter_mut().filter(|f| f.is_base()) {
        let folder = base.folder().to_string();
        for overlay in overlays.iter().filter(|o| o.folder() == folder) {
            for top in &overlay.services {
                if let Some(under) = base.services.iter_mut().find(|s| s.name == top.name) {
                    let place = under.place.clone();
                    under.lay_over(top);
                    under.place = place;
                }
            }
        }
    }
    // What a production file says in full about a service of the base has been judged there.
    let bases: BTreeSet<(String, String)> = files
        .iter()
        .filter(|f| f.is_base())
        .flat_map(|f| f.services.iter().map(|s| (f.folder().to_string(), s.name.clone())))
        .collect();
    for file in &mut files {
        let (folder, overlay) = (file.folder().to_string(), file.is_production() && !file.is_base());
        file.services.retain(|s| s.is_whole() && !(overlay && bases.contains(&(folder.clone(), s.name.clone()))));
    }
    files.retain(|f| !f.services.is_empty());
    files
}

/// `10s`, `1m30s`, `500ms` in seconds.
pub fn seconds(text: &str) -> Option<f64> {
    let ms = crate::domain::units::duration_ms(text.trim(), u64::MAX).ok()?;
    Some(ms as f64 / 1000.0)
}

#[cfg(test)]
mod tests;
