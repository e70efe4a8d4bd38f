//! What detection found in a repository: languages, frameworks, databases, CI, manifests; each fact with file and line,
//! so that a wrong guess can be argued with.
//!
//! `walk.rs` lists the files, `own.rs` says which are the product's, `names.rs` judges them by path, `manifests/` by the
//! packages they depend on (`packages.rs`), `content.rs` by their content; `profile.rs` concludes which components there
//! are. Knows no gate and no network.

pub mod changelog;
mod content;
pub mod disk;
pub mod git;
mod manifests;
mod names;
pub mod own;
mod packages;
mod profile;
pub mod rid;
pub mod semver;
pub mod versions;
pub mod walk;
mod worktree;

use serde::Serialize;

pub use profile::{Component, UNTOLD};

use super::context::Repo;
use crate::domain::service::Profile;

/// One detected fact: `kind` from the lists below, `value` what it is, and where it was seen.
/// Kinds: `language`, `framework`, `rpc`, `frontend`, `static-generator`, `docs`, `database`, `orm`, `migrations`, `cache`,
/// `queue`, `worker`, `search`, `storage`, `ci`, `forge`, `codeowner`, `container`, `kubernetes`, `process-manager`,
/// `proxy`, `prometheus`, `prometheus-rules`, `alertmanager`, `grafana`, `metrics`, `logger`, `coverage-report`,
/// `test-report`, `openapi`, `graphql`, `manifest`, `manifest-version`, `package`, `changelog`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fact {
    pub kind: &'static str,
    pub value: String,
    pub file: String,
    pub line: Option<u32>,
}

impl Fact {
    pub fn new(kind: &'static str, value: impl Into<String>, file: impl Into<String>, line: Option<u32>) -> Fact {
        Fact { kind, value: value.into(), file: file.into(), line }
    }
    /// `package.json:12`, or the file alone.
    pub fn place(&self) -> String {
        self.line.map_or_else(|| self.file.clone(), |l| format!("{}:{l}", self.file))
    }
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct Facts {
    /// Sorted by kind, value, file; each (kind, value) at most a few times.
    pub facts: Vec<Fact>,
}

/// The same value found again in a fourth file teaches nothing,
const PLACES_PER_FACT_MAX: usize = 3;
/// unless it tells components apart.
const PLACES_OF_COMPONENTS_MAX: usize = 60;
const OF_COMPONENTS: [&str; 10] = [
    "manifest",
    "package",
    "framework",
    "rpc",
    "frontend",
    "static-generator",
    "queue",
    "cache",
    "worker",
    "container",
];

impl Facts {
    pub fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Fact> {
        self.facts.iter().filter(move |f| f.kind == kind)
    }
    pub fn has(&self, kind: &str, value: &str) -> bool {
        self.of(kind).any(|f| f.value == value)
    }
    pub fn any(&self, kind: &str) -> bool {
        self.of(kind).next().is_some()
    }

    /// Looks at the repository once. Blocking: reads manifests and configuration files, each bounded.
    pub fn look(repo: &Repo) -> Facts {
        let mut own = own::Own::default();
        let mut facts = names::look(repo, &mut own);
        facts.extend(manifests::look(repo, &mut own));
        facts.extend(content::look(repo, &mut own));
        manuals(&mut facts);
        lesser(&mut facts);
        for source in versions::of(repo) {
            if source.kind == versions::MANIFEST {
                facts.push(Fact::new("manifest-version", source.version, source.file, Some(source.line)));
            }
        }
        Facts::from(facts)
    }

    /// What kind of thing it is, and the fact that decided; [`Profile::WebApp`] (which skips nothing) when in doubt.
    pub fn profile(&self) -> (Profile, String) {
        profile::guess(self)
    }

    /// What runs by itself, each with its own profile.
    pub fn components(&self) -> Vec<Component> {
        profile::components(self)
    }
}

/// What is only worth a word where nothing better was found: a bare server beside a framework, a bare page beside those of
/// a library, and templates that make no pages.
fn lesser(facts: &mut Vec<Fact>) {
    let go = facts.iter().any(|f| f.kind == "language" && f.value == "go");
    let bare = ["node-http", "net/http"];
    let framework = facts.iter().any(|f| f.kind == "framework" && !bare.contains(&f.value.as_str()));
    let made = facts.iter().any(|f| f.kind == "frontend" && !matches!(f.value.as_str(), "html" | "templates"));
    facts.retain(|f| match (f.kind, f.value.as_str()) {
        ("framework", value) => !(framework && bare.contains(&value)),
        ("frontend", "html") => !made,
        ("frontend", "templates") => go || !f.file.ends_with(".tmpl"),
        // A mail is no page.
        ("frontend", _) => !f.file.contains("mail"),
        _ => true,
    });
}

/// Generators of manuals; the others make sites.
const OF_MANUALS: [&str; 3] = ["mkdocs", "docusaurus", "vitepress"];

/// Beside a program, a static generator makes the program's manual: no part of what goes live.
fn manuals(facts: &mut [Fact]) {
    let program = |f: &Fact| matches!(f.kind, "framework" | "package" | "rpc");
    let written =
        |f: &Fact, but: &str| f.kind == "language" && names::SERVES.contains(&f.value.as_str()) && f.value != but;
    let programs = facts.iter().any(program);
    let tongue = facts.iter().any(|f| written(f, ""));
    let (but_ruby, but_go) = (facts.iter().any(|f| written(f, "ruby")), facts.iter().any(|f| written(f, "go")));
    for fact in facts.iter_mut().filter(|f| f.kind == "static-generator") {
        let manual = match fact.value.as_str() {
            value if OF_MANUALS.contains(&value) => programs || tongue,
            "jekyll" => programs || but_ruby,
            "hugo" => programs || but_go,
            _ => false,
        };
        if manual {
            fact.kind = "docs";
        }
    }
}

impl From<Vec<Fact>> for Facts {
    fn from(mut facts: Vec<Fact>) -> Facts {
        facts.sort_by(|a, b| {
            // Near the root first: `package.json` before `examples/x/package.json`.
            let key = |f: &Fact| (f.kind, f.value.clone(), f.file.matches('/').count(), f.file.clone(), f.line);
            key(a).cmp(&key(b))
        });
        facts.dedup();
        let mut kept: Vec<Fact> = Vec::new();
        for fact in facts {
            let same = kept.iter().rev().take_while(|k| k.kind == fact.kind && k.value == fact.value).count();
            let most = if OF_COMPONENTS.contains(&fact.kind) { PLACES_OF_COMPONENTS_MAX } else { PLACES_PER_FACT_MAX };
            if same < most {
                kept.push(fact);
            }
        }
        Facts { facts: kept }
    }
}

#[cfg(test)]
mod tests;
