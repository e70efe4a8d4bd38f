//! What detection found in a repository: languages, frameworks, databases, CI, manifests; each fact with file and line,
//! so that a wrong guess can be argued with.
//!
//! `walk.rs` lists the files, `names.rs` judges them by path, `manifests.rs` by the packages they depend on, `content.rs`
//! by their content; `profile.rs` concludes. Knows no gate and no network.

pub mod changelog;
mod content;
pub mod git;
mod manifests;
mod names;
mod profile;
pub mod rid;
pub mod semver;
pub mod versions;
pub mod walk;
mod worktree;

use serde::Serialize;

use super::context::Repo;
use crate::domain::service::Profile;

/// One detected fact: `kind` from the lists below, `value` what it is, and where it was seen.
/// Kinds: `language`, `framework`, `frontend`, `database`, `queue`, `cache`, `storage`, `ci`, `forge`, `container`,
/// `kubernetes`, `process-manager`, `proxy`, `coverage-report`, `test-report`, `openapi`, `graphql`, `manifest`,
/// `manifest-version`, `changelog`, `logger`, `metrics`, `static-generator`, `prometheus-rules`.
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

/// The same value found again in a fourth file teaches nothing.
const PLACES_PER_FACT_MAX: usize = 3;

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
        let mut facts = names::look(repo);
        facts.extend(manifests::look(repo));
        facts.extend(content::look(repo));
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
            if same < PLACES_PER_FACT_MAX {
                kept.push(fact);
            }
        }
        Facts { facts: kept }
    }
}

#[cfg(test)]
mod tests {
    use super::git::scratch::Scratch;
    use super::*;

    fn look(files: &[(&str, &str)]) -> Facts {
        let repo = Scratch::new();
        for (path, text) in files {
            repo.write(path, text);
        }
        Facts::look(&walk::open(repo.path()).unwrap())
    }

    #[test]
    fn an_express_shop() {
        let facts = look(&[
            (
                "package.json",
                "{\n  \"name\": \"shop\",\n  \"version\": \"1.4.0\",\n  \"dependencies\": {\n    \"express\": \"4\",\n    \"pg\": \"8\",\n    \"pino\": \"9\",\n    \"prom-client\": \"15\"\n  }\n}",
            ),
            ("src/app.js", "x"),
            (".github/workflows/ci.yml", "on: push"),
            ("Dockerfile", "FROM node:22\nHEALTHCHECK CMD true\n"),
            ("compose.yaml", "services:\n  db:\n    image: postgres:15\n  cache:\n    image: redis:7\n"),
            ("openapi.yaml", "openapi: 3.1.0"),
        ]);
        for (kind, value, place) in [
            ("framework", "express", "package.json:5"),
            ("database", "postgresql", "package.json:6"),
            ("logger", "pino", "package.json:7"),
            ("metrics", "prom-client", "package.json:8"),
            ("manifest-version", "1.4.0", "package.json:3"),
            ("cache", "redis", "compose.yaml:5"),
            ("ci", "github-actions", ".github/workflows/ci.yml"),
            ("container", "dockerfile", "Dockerfile"),
            ("language", "javascript", "src/app.js"),
            ("openapi", "openapi.yaml", "openapi.yaml"),
        ] {
            let found: Vec<String> = facts.of(kind).filter(|f| f.value == value).map(Fact::place).collect();
            assert!(found.contains(&place.to_string()), "{kind} {value}: {found:?}\n{facts:#?}");
        }
        assert_eq!(facts.profile().0, Profile::WebApi);
    }

    #[test]
    fn profiles() {
        let check = |files: &[(&str, &str)], expect: Profile| {
            let facts = look(files);
            assert_eq!(facts.profile().0, expect, "{:?}\n{facts:#?}", facts.profile());
        };
        check(&[("requirements.txt", "flask==3\n"), ("templates/index.html", "<p>")], Profile::WebApp);
        check(&[("requirements.txt", "fastapi\n"), ("app.py", "")], Profile::WebApi);
        check(&[("requirements.txt", "celery[redis]>=5\n"), ("worker.py", "")], Profile::Worker);
        check(&[("index.html", "<p>"), ("style.css", "")], Profile::StaticSite);
        check(&[("package.json", "{\"dependencies\":{\"next\":\"15\",\"react\":\"19\"}}")], Profile::WebApp);
        check(&[("Cargo.toml", "[dependencies]\naxum = \"0.8\"\n")], Profile::WebApi);
        check(&[("README.md", "hello")], Profile::WebApp);
        check(&[("mkdocs.yml", "site_name: x")], Profile::StaticSite);
    }

    #[test]
    fn broken_and_hostile_files_do_not_stop_it() {
        let facts = look(&[
            ("package.json", "{ \"dependencies\": { \"express\" "),
            ("pyproject.toml", "[[["),
            ("compose.yaml", "\t: ]["),
            ("k8s.yaml", "kind: Deployment\napiVersion: apps/v1\n"),
        ]);
        assert!(facts.has("kubernetes", "Deployment"));
    }
}
