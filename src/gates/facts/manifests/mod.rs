//! Facts that manifests tell: what the product depends on when it runs, and whether it is a library or a program.
//!
//! Read line by line, so that a broken manifest still counts and every fact has its line. `npm.rs`, `python.rs`,
//! `toml_like.rs` and `others.rs` read one family of manifests each; `packages.rs` says what a package means.

mod npm;
mod others;
mod python;
mod rust;

use std::collections::BTreeSet;

use super::own::Own;
use super::{Fact, packages};
use crate::gates::context::Repo;

/// Manifests are small; a larger one is generated.
const BYTES_MAX: u64 = 512 * 1024;
/// Monorepos have many manifests; the shallow ones describe the product.
const MANIFESTS_MAX: usize = 200;

/// When a dependency is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// When the product runs.
    Runs,
    /// When somebody asks for it: extras, optional dependencies.
    Optional,
    /// While it is built and tested.
    Develops,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    pub name: String,
    pub line: u32,
    pub scope: Scope,
}

/// What one manifest says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    pub dependencies: Vec<Dependency>,
    /// The name under which others would depend on it, with its line.
    pub name: Option<(String, u32)>,
    /// It is made to be used by other programs.
    pub library: bool,
    /// It installs commands, and says so on this line.
    pub commands: Option<u32>,
}

impl Manifest {
    fn add(&mut self, name: impl Into<String>, line: usize, scope: Scope) {
        self.dependencies.push(Dependency { name: name.into(), line: line as u32 + 1, scope });
    }
}

/// Words of groups and files of dependencies that the running product does not have.
fn is_for_developers(group: &str) -> bool {
    group.to_ascii_lowercase().split(['-', '_', '.', '/', ' ']).any(|word| {
        matches!(
            word,
            "dev"
                | "develop"
                | "development"
                | "test"
                | "tests"
                | "testing"
                | "doc"
                | "docs"
                | "lint"
                | "linting"
                | "linters"
                | "ci"
                | "typing"
                | "types"
                | "mypy"
                | "format"
                | "check"
                | "style"
                | "bench"
                | "benchmark"
                | "precommit"
                | "commit"
                | "release"
                | "build"
                | "debug"
        )
    })
}

/// What a reader is told of where the manifest lies.
struct Around<'r> {
    /// The manifest's folder, with a slash at its end unless it is the root.
    folder: String,
    repo: &'r Repo,
}

impl Around<'_> {
    /// Is there such a file beside the manifest?
    fn beside(&self, name: &str) -> bool {
        let path = format!("{}{name}", self.folder);
        self.repo.files.binary_search_by(|f| f.path.as_str().cmp(&path)).is_ok()
    }
    /// Is there a file below this folder beside the manifest?
    fn below(&self, folder: &str) -> bool {
        let prefix = format!("{}{folder}/", self.folder);
        let at = self.repo.files.partition_point(|f| f.path < prefix);
        self.repo.files.get(at).is_some_and(|f| f.path.starts_with(&prefix))
    }
    /// Is there a source beside the manifest, or `below` it, that is not one of its tests?
    fn has_source(&self, ending: &str, but: &str, below: bool) -> bool {
        let at = self.repo.files.partition_point(|f| f.path < self.folder);
        let here = self.repo.files[at..].iter().take_while(|f| f.path.starts_with(&self.folder));
        let mut names = here.map(|f| &f.path[self.folder.len()..]).filter(|name| below || !name.contains('/'));
        names.any(|name| name.ends_with(ending) && !name.ends_with(but))
    }
    /// What is put into an image or started by a process manager is no library.
    fn runs(&self) -> bool {
        ["Dockerfile", "Procfile", "manage.py", "fly.toml", "config.ru"].iter().any(|f| self.beside(f))
    }
}

/// One family of manifests.
struct Ecosystem {
    name: &'static str,
    /// By path and by lower-case file name.
    file: fn(&str, &str) -> bool,
    read: fn(&str, &str, &Around) -> Manifest,
}

static ECOSYSTEMS: &[Ecosystem] = &[
    Ecosystem { name: "npm", file: |_, n| n == "package.json", read: npm::package_json },
    Ecosystem { name: "composer", file: |_, n| n == "composer.json", read: npm::composer_json },
    Ecosystem { name: "pip", file: python::is_requirements, read: python::requirements },
    Ecosystem { name: "python", file: |_, n| n == "pyproject.toml", read: python::pyproject },
    Ecosystem { name: "pipenv", file: |_, n| n == "pipfile", read: python::pipfile },
    Ecosystem { name: "setuptools", file: |_, n| n == "setup.py" || n == "setup.cfg", read: python::setup },
    Ecosystem { name: "cargo", file: |_, n| n == "cargo.toml", read: rust::cargo },
    Ecosystem { name: "go", file: |_, n| n == "go.mod", read: others::go_mod },
    Ecosystem { name: "bundler", file: |_, n| n == "gemfile" || n.ends_with(".gemspec"), read: others::gemfile },
    Ecosystem { name: "maven", file: |_, n| n == "pom.xml", read: others::pom },
    Ecosystem { name: "gradle", file: |_, n| n == "build.gradle" || n == "build.gradle.kts", read: others::gradle },
    Ecosystem { name: "dotnet", file: |_, n| n.ends_with(".csproj"), read: others::csproj },
    Ecosystem { name: "mix", file: |_, n| n == "mix.exs", read: others::mix },
];

pub fn look(repo: &Repo, own: &mut Own) -> Vec<Fact> {
    let mut found: Vec<(&str, &Ecosystem)> = Vec::new();
    for file in repo.files.iter() {
        let name = file.path.rsplit('/').next().unwrap_or(&file.path);
        // Most files are none: look at a letter before making the name small.
        if !name.ends_with(['n', 't', 'l', 'e', 'd', 'y', 'g', 'c', 'j', 's', 'N', 'E']) {
            continue;
        }
        let lower = name.to_ascii_lowercase();
        if let Some(ecosystem) = ECOSYSTEMS.iter().find(|e| (e.file)(&file.path, &lower))
            && own.has(&file.path)
        {
            found.push((&file.path, ecosystem));
        }
    }
    found.sort_by_key(|(path, _)| (path.matches('/').count(), *path));
    found.truncate(MANIFESTS_MAX);
    let mut read: Vec<(&str, &Ecosystem, Manifest)> = Vec::new();
    for (path, ecosystem) in found {
        let folder = path.rsplit_once('/').map_or(String::new(), |(f, _)| format!("{f}/"));
        let text = repo.read_text(path, BYTES_MAX).unwrap_or_default();
        read.push((path, ecosystem, (ecosystem.read)(path, &text, &Around { folder, repo })));
    }
    // What the repository itself makes is not something that it uses.
    let made: BTreeSet<String> =
        read.iter().filter_map(|(_, _, m)| m.name.as_ref()).map(|(name, _)| name.to_ascii_lowercase()).collect();
    let mut out = Vec::new();
    for (path, ecosystem, manifest) in &read {
        out.extend(facts(path, ecosystem, manifest, &made));
    }
    out
}

fn facts(path: &str, ecosystem: &Ecosystem, manifest: &Manifest, made: &BTreeSet<String>) -> Vec<Fact> {
    let mut out = vec![Fact::new("manifest", ecosystem.name, path, None)];
    let line = manifest.name.as_ref().map(|(_, line)| *line);
    if let Some(line) = manifest.commands {
        out.push(Fact::new("package", "command-line", path, Some(line)));
    } else if manifest.library {
        out.push(Fact::new("package", "library", path, line));
    }
    for dependency in &manifest.dependencies {
        if made.contains(&dependency.name.to_ascii_lowercase()) {
            continue;
        }
        // A library brings drivers for whoever wants them: they are no database of its own.
        let there = |kind: &str| match dependency.scope {
            Scope::Runs => !manifest.library || matches!(kind, "framework" | "logger" | "metrics"),
            // A product offers its databases as extras.
            Scope::Optional => {
                !manifest.library && matches!(kind, "database" | "orm" | "cache" | "queue" | "storage" | "search")
            }
            Scope::Develops => false,
        };
        for (kind, value) in packages::of(&dependency.name).filter(|(kind, _)| there(kind)) {
            out.push(Fact::new(kind, value, path, Some(dependency.line)));
        }
    }
    out
}

#[cfg(test)]
mod tests;
