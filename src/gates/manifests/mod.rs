//! How the product is run, as its own files say: Dockerfiles, compose files, Kubernetes objects, process managers, units,
//! platforms. Plain values with file and line; what an examples folder or a developer's machine needs is left out and
//! counted. Knows no gate and no verdict.
//!
//! `look` reads a repository; one file per format; `cluster.rs` joins Kubernetes objects (services, autoscalers, budgets).

pub mod cluster;
pub mod compose;
pub mod dockerfile;
pub mod images;
pub mod ini;
pub mod kubernetes;
pub mod platform;
pub mod pm2;
pub mod pod;
mod purpose;
mod render;
pub mod scaling_group;

use std::sync::Arc;

use crate::gates::context::{Repo, on_every_core};
use crate::gates::import::ImportError;
use crate::gates::patterns;

pub use cluster::Cluster;
pub use purpose::Purpose;

/// Where something is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Place {
    pub file: String,
    /// From 1.
    pub line: u32,
}

impl Place {
    pub fn new(file: &str, line: u32) -> Place {
        Place { file: file.to_string(), line }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A description that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Unread {
    pub place: Place,
    /// A template that only its own tool can render, not a broken file.
    pub template: bool,
    pub why: String,
}

/// Everything found, in the order of the files.
#[derive(Debug, Default)]
pub struct Manifests {
    pub dockerfiles: Vec<dockerfile::Dockerfile>,
    pub compose: Vec<compose::ComposeFile>,
    pub cluster: Cluster,
    pub pm2: Vec<pm2::App>,
    pub units: Vec<ini::Unit>,
    pub programs: Vec<ini::Program>,
    pub platforms: Vec<platform::Platform>,
    pub scaling_groups: Vec<scaling_group::ScalingGroup>,
    pub unread: Vec<Unread>,
    /// Descriptions that do not run the product: path and what they are for.
    pub left_out: Vec<(String, Purpose)>,
    /// YAML, JSON and Terraform files that were looked into.
    pub looked_into: usize,
}

impl Manifests {
    /// Does anything but a bare image say how the product runs?
    pub fn runs_something(&self) -> bool {
        !(self.compose.is_empty()
            && self.cluster.workloads.is_empty()
            && self.pm2.is_empty()
            && self.units.is_empty()
            && self.programs.is_empty()
            && self.platforms.is_empty())
    }
}

/// Written by hand, or rendered once; a larger file is data.
const BYTES_MAX: u64 = 2 * 1024 * 1024;

/// What one file turned out to hold.
#[derive(Default)]
struct Found {
    dockerfile: Option<dockerfile::Dockerfile>,
    compose: Option<compose::ComposeFile>,
    objects: Vec<kubernetes::Object>,
    pm2: Vec<pm2::App>,
    unit: Option<ini::Unit>,
    programs: Vec<ini::Program>,
    platforms: Vec<platform::Platform>,
    scaling_groups: Vec<scaling_group::ScalingGroup>,
    unread: Option<Unread>,
    left_out: Option<Purpose>,
    looked_into: bool,
}

/// Blocking. Reads every file whose name or content says that it describes how something runs, but for those that the
/// patterns `exclude` name; once for all gates.
pub fn look(repo: &Repo, exclude: &[String]) -> Arc<Manifests> {
    repo.once(exclude, || read_all(repo, exclude))
}

fn read_all(repo: &Repo, exclude: &[String]) -> Manifests {
    let excluded = patterns::matcher(repo.root(), exclude);
    let mut charts = render::charts(repo);
    charts.retain(|c| !patterns::covers(excluded.as_ref(), &c.file));
    let files: Vec<&str> = repo
        .files
        .iter()
        .filter(|f| f.bytes <= BYTES_MAX && Kind::of(&f.path).is_some() && !render::is_part(&charts, &f.path))
        .filter(|f| !patterns::covers(excluded.as_ref(), &f.path))
        .map(|f| f.path.as_str())
        .collect();
    let found = on_every_core(&files, |path| read(repo, path));
    let mut all = Manifests::default();
    let mut objects = Vec::new();
    for (path, one) in files.iter().zip(found) {
        all.dockerfiles.extend(one.dockerfile);
        all.compose.extend(one.compose);
        objects.extend(one.objects);
        all.pm2.extend(one.pm2);
        all.units.extend(one.unit);
        all.programs.extend(one.programs);
        all.platforms.extend(one.platforms);
        all.scaling_groups.extend(one.scaling_groups);
        all.unread.extend(one.unread);
        all.left_out.extend(one.left_out.map(|p| (path.to_string(), p)));
        all.looked_into += usize::from(one.looked_into);
    }
    for chart in &charts {
        match (Purpose::of_path(&chart.folder), render::render(repo, chart)) {
            (Purpose::Product, Ok(rendered)) => objects.extend(rendered),
            (Purpose::Product, Err(why)) => all.unread.push(why),
            (purpose, _) => all.left_out.push((chart.folder.clone(), purpose)),
        }
    }
    ini::drop_ins(&mut all.units);
    all.compose = compose::joined(all.compose);
    all.cluster = Cluster::of(kubernetes::without_patches(objects));
    all
}

/// What a file's name lets us expect in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Dockerfile,
    Compose,
    Pm2,
    Unit,
    Supervisor,
    Platform,
    /// Kubernetes or CloudFormation, if its content says so.
    Yaml,
    Json,
    Terraform,
}

impl Kind {
    fn of(path: &str) -> Option<Kind> {
        let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
        let yaml = name.ends_with(".yml") || name.ends_with(".yaml");
        if dockerfile::is_one(&name) {
            Some(Kind::Dockerfile)
        } else if yaml && compose::is_one(&name) {
            Some(Kind::Compose)
        } else if pm2::is_one(&name) {
            Some(Kind::Pm2)
        } else if platform::is_one(path) {
            Some(Kind::Platform)
        } else if name.ends_with(".service") || path.contains(".service.d/") && name.ends_with(".conf") {
            Some(Kind::Unit)
        } else if name.starts_with("supervisor") && (name.ends_with(".conf") || name.ends_with(".ini"))
            || path.contains("supervisor") && name.ends_with(".conf")
        {
            Some(Kind::Supervisor)
        } else if yaml {
            Some(Kind::Yaml)
        } else if name.ends_with(".json") && is_cluster_folder(path) || name.ends_with(".template") {
            Some(Kind::Json)
        } else if name.ends_with(".tf") {
            Some(Kind::Terraform)
        } else {
            None
        }
    }
}

/// JSON is everywhere; only where manifests live is it opened.
fn is_cluster_folder(path: &str) -> bool {
    ["k8s", "kube", "manifest", "deploy", "cluster", "cloudformation", "infra"].iter().any(|w| path.contains(w))
}

fn read(repo: &Repo, path: &str) -> Found {
    let mut found = Found::default();
    let Some(kind) = Kind::of(path) else { return found };
    let text = match repo.read(path, BYTES_MAX) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(e) => {
            found.unread = (!matches!(kind, Kind::Yaml | Kind::Json | Kind::Terraform))
                .then(|| unread(path, 1, e.kind().to_string()));
            return found;
        }
    };
    let purpose = Purpose::of_path(path);
    match kind {
        Kind::Yaml | Kind::Json => {
            found.looked_into = true;
            if kubernetes::looks_like(&text) {
                match purpose {
                    Purpose::Product => take(kubernetes::parse(path, &text), &mut found.objects, &mut found.unread),
                    other => found.left_out = Some(other),
                }
            } else if scaling_group::looks_like_cloudformation(&text) && purpose == Purpose::Product {
                take(scaling_group::cloudformation(path, &text), &mut found.scaling_groups, &mut found.unread);
            }
        }
        Kind::Terraform => {
            found.looked_into = true;
            if purpose == Purpose::Product {
                found.scaling_groups = scaling_group::terraform(path, &text);
            }
        }
        _ if purpose != Purpose::Product => found.left_out = Some(purpose),
        Kind::Dockerfile => found.dockerfile = Some(dockerfile::parse(path, &text)),
        Kind::Compose => match compose::parse(path, &text) {
            Ok(file) if file.services.is_empty() => {}
            Ok(file) => match file.purpose() {
                Purpose::Product => found.compose = Some(file),
                other => found.left_out = Some(other),
            },
            Err(e) => found.unread = Some(broken(path, &e)),
        },
        Kind::Pm2 => take(pm2::parse(path, &text), &mut found.pm2, &mut found.unread),
        Kind::Unit => found.unit = ini::unit(path, &text),
        Kind::Supervisor => found.programs = ini::programs(path, &text),
        Kind::Platform => found.platforms = platform::parse(path, &text),
    }
    found
}

fn take<T>(parsed: Result<Vec<T>, Unread>, into: &mut Vec<T>, unread: &mut Option<Unread>) {
    match parsed {
        Ok(values) => into.extend(values),
        Err(why) => *unread = Some(why),
    }
}

fn unread(path: &str, line: u32, why: impl Into<String>) -> Unread {
    Unread { place: Place::new(path, line), template: false, why: why.into() }
}

/// A parser's refusal as an [`Unread`].
fn broken(path: &str, error: &ImportError) -> Unread {
    match error {
        ImportError::Malformed { line, message } => unread(path, *line, message.clone()),
        other => unread(path, 1, other.to_string()),
    }
}

#[cfg(test)]
mod tests;
