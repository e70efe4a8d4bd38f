//! Is this repository something that is published (a library, a command-line program) rather than put on a server? It is
//! when it has a package's manifest and nothing that describes how it runs in production.

use crate::domain::verdict::{Outcome, Verdict};
use crate::gates::context::Repo;
use crate::gates::facts::Facts;

/// Names, in lower case, of files that say how something runs on a server.
const DEPLOYABLE: [&str; 17] = [
    "dockerfile",
    "containerfile",
    "compose.yml",
    "compose.yaml",
    "docker-compose.yml",
    "docker-compose.yaml",
    "procfile",
    "fly.toml",
    "vercel.json",
    "netlify.toml",
    "serverless.yml",
    "wrangler.toml",
    "chart.yaml",
    "kustomization.yaml",
    "ecosystem.config.js",
    "app.yaml",
    "render.yaml",
];

/// Folders whose files serve the developers, not the users.
const ASIDE: [&str; 16] = [
    "test",
    "tests",
    "testdata",
    "example",
    "examples",
    "docs",
    "doc",
    "ci",
    ".ci",
    ".github",
    ".gitlab-ci",
    ".gitlab",
    ".circleci",
    ".devcontainer",
    "contrib",
    "benchmarks",
];

const MANIFESTS: [&str; 14] = [
    "package.json",
    "cargo.toml",
    "pyproject.toml",
    "setup.py",
    "setup.cfg",
    "go.mod",
    "pom.xml",
    "build.gradle",
    "build.gradle.kts",
    "composer.json",
    "mix.exs",
    "meson.build",
    "cmakelists.txt",
    "configure.ac",
];

/// The proof that nothing of the repository runs on a server: a package's manifest, and no framework, page or queue in it.
pub fn published(repo: &Repo, facts: &Facts) -> Option<String> {
    let serves = ["framework", "frontend", "queue", "process-manager", "kubernetes", "proxy"];
    let manifest = package(repo).filter(|_| !serves.iter().any(|kind| facts.any(kind)))?;
    Some(format!(
        "{manifest} is published, not deployed: no web framework, no page, nothing that describes a deployment"
    ))
}

/// What could not be told of production (`unknown`: the reasons) is no question about a package that runs on no server.
pub fn settled(outcome: Outcome, unknown: &[&str], repo: &Repo, facts: &Facts) -> Outcome {
    let asked = outcome.reason.as_deref().is_some_and(|reason| unknown.contains(&reason));
    let unknown = asked && outcome.verdict == Verdict::Error;
    match unknown.then(|| published(repo, facts)).flatten() {
        Some(proof) => Outcome::skip("not-deployed", proof),
        None => outcome,
    }
}

/// The manifest at the root, when the repository is a package.
pub fn package(repo: &Repo) -> Option<String> {
    struct Package(Option<String>);
    repo.once(&[], || Package(find(repo))).0.clone()
}

fn find(repo: &Repo) -> Option<String> {
    let deployable = |path: &str| {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let name = name.to_ascii_lowercase();
        let named = DEPLOYABLE.contains(&name.as_str()) || name.starts_with("dockerfile.");
        named && folder.matches('/').count() < 2 && !folder.split('/').any(|f| ASIDE.contains(&f))
    };
    if repo.files.iter().any(|f| deployable(&f.path)) {
        return None;
    }
    let root = || repo.files.iter().map(|f| f.path.as_str()).filter(|p| !p.contains('/'));
    let named = root().find(|p| MANIFESTS.contains(&p.to_ascii_lowercase().as_str()));
    let found =
        named.or_else(|| root().find(|p| [".gemspec", ".sln", ".slnx", ".cabal"].iter().any(|e| p.ends_with(e))))?;
    // npm's word for "never publish this" is an application's.
    let is_private = found == "package.json"
        && repo
            .read(found, 1 << 20)
            .ok()
            .and_then(|b| serde_json::from_slice::<serde_json::Value>(&b).ok())
            .is_some_and(|manifest| manifest["private"] == true && manifest.get("workspaces").is_none());
    (!is_private).then(|| found.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::testing;

    #[test]
    fn a_library_is_published_and_an_app_is_not() {
        let check = |files: &[(&str, &str)], facts: &[(&'static str, &str)]| {
            let (_dir, repo) = testing::repo(files);
            published(&repo, &testing::facts(facts)).is_some()
        };
        assert!(check(&[("pyproject.toml", ""), ("src/click/core.py", "")], &[("language", "python")]));
        assert!(!check(&[("pyproject.toml", ""), ("manage.py", "")], &[("framework", "django")]));
        assert!(!check(&[("Cargo.toml", ""), ("Dockerfile", "")], &[]));
        assert!(!check(&[("package.json", "{\"private\": true}")], &[]));
        assert!(!check(&[("README.md", "")], &[]));
    }

    #[test]
    fn what_cannot_be_told_of_production_is_no_question_to_a_library() {
        let (_dir, library) = testing::repo(&[("pyproject.toml", "")]);
        let (_dir2, app) = testing::repo(&[("pyproject.toml", ""), ("Dockerfile", "")]);
        let of = |reason: &str, repo: &Repo| {
            let outcome = Outcome::error(reason, "who knows");
            settled(outcome, &["no-production-config"], repo, &Facts::default()).reason.unwrap_or_default()
        };
        assert_eq!(of("no-production-config", &library), "not-deployed");
        assert_eq!(of("no-production-config", &app), "no-production-config");
        assert_eq!(of("unreadable", &library), "unreadable");
    }
}
