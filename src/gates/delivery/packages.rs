//! Is this repository something that is published (a library, a command-line program) rather than put on a server? It is
//! when it has a package's manifest and nothing that describes how it runs in production.

use crate::domain::units::count;
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

const MANIFESTS: [&str; 23] = [
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
    "package.swift",
    "pubspec.yaml",
    "build.sbt",
    "build.zig",
    "rebar.config",
    "deno.json",
    // A GitHub action and an Ansible collection.
    "action.yml",
    "action.yaml",
    "galaxy.yml",
];

/// The proof that nothing of the repository runs on a server: a package's manifest, and no framework, page or queue in it.
pub fn published(repo: &Repo, facts: &Facts) -> Option<String> {
    if let Some(proof) = only_documents(repo) {
        return Some(proof);
    }
    let serves = ["framework", "frontend", "queue", "process-manager", "kubernetes", "proxy"];
    let manifest = package(repo).filter(|_| !serves.iter().any(|kind| facts.any(kind)))?;
    Some(format!(
        "{manifest} is published, not deployed: no web framework, no page, nothing that describes a deployment"
    ))
}

/// The proof that there is nothing to run: a text, a list of links, a licence.
pub fn only_documents(repo: &Repo) -> Option<String> {
    const ENDINGS: [&str; 12] =
        ["md", "markdown", "rst", "adoc", "txt", "pdf", "png", "jpg", "jpeg", "gif", "svg", "webp"];
    const NAMES: [&str; 9] =
        ["readme", "license", "licence", "copying", "notice", "authors", "contributors", "codeowners", "changelog"];
    let is_document = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
        let ending = name.rsplit_once('.').map(|(_, e)| e);
        path.starts_with('.')
            || match ending {
                Some(ending) => ENDINGS.contains(&ending) && name != "requirements.txt" && name != "cmakelists.txt",
                None => NAMES.contains(&name.as_str()),
            }
    };
    let all = !repo.files.is_empty() && repo.files.iter().all(|f| is_document(&f.path));
    let reads = |f: &crate::gates::context::RepoFile| !f.path.starts_with('.');
    let documents = repo.files.iter().filter(|f| reads(f)).count();
    (all && documents > 0).then(|| format!("{} and nothing that runs", count(documents, "document")))
}

/// A module that others call has inputs and outputs, and leaves provider and state to them.
fn terraform_module(repo: &Repo) -> Option<String> {
    let has = |name: &str| repo.files.iter().any(|f| f.path == name);
    let root = || repo.files.iter().filter(|f| !f.path.contains('/'));
    let below = |f: &crate::gates::context::RepoFile| {
        f.path.ends_with(".tf") && ["examples/", "modules/"].iter().any(|d| f.path.starts_with(d))
    };
    if !(has("main.tf") && has("variables.tf") && has("outputs.tf") && repo.files.iter().any(below)) {
        return None;
    }
    let configures = |text: &str| {
        text.lines().map(str::trim_start).any(|l| l.starts_with("provider \"") || l.starts_with("backend \""))
    };
    let own = root().any(|f| {
        f.path.ends_with(".tfvars")
            || f.path.ends_with(".tf") && repo.read_text(&f.path, 1 << 20).is_ok_and(|text| configures(&text))
    });
    (!own).then(|| "main.tf".to_string())
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
    let by_ending =
        || root().find(|p| [".gemspec", ".podspec", ".sln", ".slnx", ".cabal"].iter().any(|e| p.ends_with(e)));
    let Some(found) = named.or_else(by_ending) else { return terraform_module(repo) };
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
        assert!(!check(&[("README.md", ""), ("values.yaml", "")], &[]));
    }

    #[test]
    fn a_terraform_module_is_published_and_a_root_configuration_is_not() {
        let module = [("main.tf", "resource \"x\" \"y\" {}"), ("variables.tf", ""), ("outputs.tf", "")];
        let check = |more: &[(&str, &str)]| {
            let files: Vec<(&str, &str)> = module.iter().chain(more).copied().collect();
            let (_dir, repo) = testing::repo(&files);
            published(&repo, &Facts::default())
        };
        let proof = check(&[("examples/all/main.tf", "provider \"aws\" {}")]).unwrap();
        assert!(proof.starts_with("main.tf is published, not deployed"), "{proof}");
        assert_eq!(check(&[]), None, "nobody shows how to call it");
        assert_eq!(check(&[("modules/a/main.tf", ""), ("providers.tf", "provider \"aws\" {\n}\n")]), None);
        assert_eq!(check(&[("modules/a/main.tf", ""), ("versions.tf", "terraform {\n  backend \"s3\" {}\n}\n")]), None);
        assert_eq!(check(&[("modules/a/main.tf", ""), ("prod.tfvars", "")]), None);
    }

    #[test]
    fn documents_alone_run_nowhere() {
        let check = |files: &[(&str, &str)]| {
            let (_dir, repo) = testing::repo(files);
            only_documents(&repo)
        };
        assert_eq!(check(&[("README", "Hello")]).as_deref(), Some("1 document and nothing that runs"));
        let list = [("README.md", ""), ("LICENSE", ""), ("logo.svg", ""), (".github/workflows/links.yml", "")];
        assert_eq!(check(&list).as_deref(), Some("3 documents and nothing that runs"));
        for other in ["Makefile", "requirements.txt", "k8s/app.yaml", "index.html", "run", "Dockerfile"] {
            assert_eq!(check(&[("README.md", ""), (other, "")]), None, "{other}");
        }
        assert_eq!(check(&[]), None, "nothing at all is no proof");
        assert_eq!(check(&[(".gitignore", "")]), None);
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
