//! What a repository holds for the minutes after a deploy: the list, prose about it, suites that are tagged for it, and
//! what the sources show that it should ask for. Reads files; decides nothing.

use std::sync::LazyLock;

use regex::Regex;

use super::super::Config as Release;
use super::super::shown::{self, Place, Shown};
use super::super::smoke::{self, FILE, FILE_BYTES_MAX, Smoke, draft};
use super::has_pages;
use crate::domain::service::Profile;
use crate::gates::code::role::Role;
use crate::gates::context::{Repo, SOURCE_FILE_BYTES_MAX, on_every_core};
use crate::gates::delivery::packages::{package, published};
use crate::gates::facts::Facts;

/// The list as it stands in the repository.
#[derive(Debug)]
pub struct List {
    pub path: String,
    pub lines: Vec<u32>,
    /// An error names line and reason.
    pub smoke: Result<Smoke, String>,
}

/// Everything the verdict rests on, but for the walks.
#[derive(Debug, Default)]
pub struct Seen {
    pub list: Option<List>,
    /// Documents.
    pub prose: Vec<String>,
    /// (what it is, where)
    pub suites: Vec<(&'static str, Place)>,
    /// The proof that it is published rather than deployed.
    pub published: Option<String>,
    /// (what, a path or alias that asks for it)
    pub critical: Vec<(String, Vec<String>)>,
    /// Items that `smoke init` would write.
    pub drafted: usize,
}

pub fn look(repo: &Repo, config: &Release, facts: &Facts, profile: Profile) -> Seen {
    let list = find_list(repo, config.post_deploy.file.as_deref());
    let shown = shown::look(repo);
    let mut seen = Seen {
        list,
        drafted: draft::draft(&shown, profile, &config.endpoints).1,
        critical: critical(&shown, config, profile),
        published: package(repo)
            .filter(|_| shown.routes.is_empty() && shown.flows.is_empty())
            .map(|m| format!("{m} is published, not deployed: no file describes a deployment, no route is served"))
            .or_else(|| published(repo, facts)),
        ..Seen::default()
    };
    let shipped = |path: &str| !matches!(Role::of_path(path), Role::Vendored | Role::Generated);
    let hidden = |path: &str| path.split('/').any(|p| p.starts_with('.'));
    for file in repo.files.iter().filter(|f| shipped(&f.path) && !hidden(&f.path)) {
        if PROSE.is_match(&file.path) {
            seen.prose.push(file.path.clone());
        } else if SCRIPT.is_match(&file.path) {
            seen.suites.push(("script", (file.path.clone(), 0)));
        }
    }
    seen.suites.extend(tagged(repo));
    seen
}

fn find_list(repo: &Repo, named: Option<&str>) -> Option<List> {
    let called = |path: &str| path == FILE || path.ends_with(&format!("/{FILE}"));
    let near = |path: &&str| (path.matches('/').count(), path.to_string());
    let own = |path: &&str| called(path) && !matches!(Role::of_path(path), Role::Vendored | Role::Test);
    let path = match named {
        Some(path) => path.to_string(),
        None => repo.files.iter().map(|f| f.path.as_str()).filter(own).min_by_key(near)?.to_string(),
    };
    Some(match repo.read_text(&path, FILE_BYTES_MAX) {
        Ok(text) => List { lines: smoke::lines(&text), smoke: Smoke::parse(&text), path },
        Err(e) => List { path, lines: Vec::new(), smoke: Err(e.kind().to_string()) },
    })
}

static PROSE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)(^|/)[^/]*(post[-_ ]?deploy|smoke[-_ ]?test|smoke[-_ ]?check)[^/]*\.(md|markdown|rst|adoc|txt)$|(^|/)smoke\.(md|markdown|rst|adoc|txt)$")
        .expect("a pattern of ours")
});
static SCRIPT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)(^|/)(post[-_]?deploy|smoke)([-_.]?(tests?|checks?))?\.(sh|bash|js|mjs|ts|py|rb|k6\.js)$")
        .expect("a pattern of ours")
});
/// How each tool tags a test; the file's name says which tool may be meant.
static TAGS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"@smoke\b|pytest\.mark\.smoke\b|@Tag\("smoke"\)|\bsmoke: true\b|:smoke\b *(=>|,|\])|@pytest\.mark\.smoke|^\s*@smoke\b"#)
        .expect("a pattern of ours")
});

/// Suites by their tag, each kind where it was seen first.
fn tagged(repo: &Repo) -> Vec<(&'static str, Place)> {
    let kind = |path: &str| -> Option<&'static str> {
        let lower = path.to_ascii_lowercase();
        let is_test = Role::of_path(path) == Role::Test;
        match () {
            _ if lower.ends_with(".postman_collection.json") => Some("Postman"),
            _ if [".cy.js", ".cy.ts", ".cy.jsx", ".cy.tsx"].iter().any(|e| lower.ends_with(e)) => Some("Cypress"),
            _ if lower.ends_with(".feature") => Some("Cucumber"),
            _ if lower.ends_with(".py") && is_test => Some("pytest"),
            _ if (lower.ends_with(".ts") || lower.ends_with(".js") || lower.ends_with(".mjs")) && is_test => {
                Some("Playwright")
            }
            _ if lower.ends_with("test.java") || lower.ends_with("it.java") || lower.ends_with("test.kt") => {
                Some("JUnit")
            }
            _ if lower.ends_with("_spec.rb") => Some("RSpec"),
            _ => None,
        }
    };
    let wanted: Vec<(&str, &'static str)> = repo
        .files
        .iter()
        .filter(|f| f.bytes <= SOURCE_FILE_BYTES_MAX)
        .filter_map(|f| kind(&f.path).map(|k| (f.path.as_str(), k)))
        .collect();
    let found = on_every_core(&wanted, |(path, kind)| {
        let text = repo.read_text(path, SOURCE_FILE_BYTES_MAX).ok()?;
        let row = match *kind {
            // A collection, or a folder of it, that is called so.
            "Postman" => text.lines().position(|l| l.contains("\"name\"") && l.to_ascii_lowercase().contains("smoke")),
            _ if !text.contains("smoke") => None,
            _ => text.lines().position(|l| TAGS.is_match(l)),
        };
        row.map(|row| (*kind, (path.to_string(), row as u32 + 1)))
    });
    let mut out: Vec<(&'static str, Place)> = Vec::new();
    for suite in found.into_iter().flatten() {
        if !out.iter().any(|(kind, _)| *kind == suite.0) {
            out.push(suite);
        }
    }
    out
}

/// What the list must ask for, and how it may be asked for.
fn critical(shown: &Shown, config: &Release, profile: Profile) -> Vec<(String, Vec<String>)> {
    let endpoints = &config.endpoints;
    let mut out = Vec::new();
    if profile != Profile::StaticSite {
        out.push(("health".to_string(), [&endpoints.health[..], &endpoints.ready[..], &endpoints.status[..]].concat()));
    }
    out.push(("version".to_string(), endpoints.version.clone()));
    if has_pages(profile) {
        out.push(("the home page".to_string(), vec!["/".into()]));
    }
    if shown.has_flow("login") {
        out.push(("login".to_string(), vec![]));
    }
    out.extend(config.post_deploy.critical.iter().map(|path| (path.clone(), vec![path.clone()])));
    out
}
