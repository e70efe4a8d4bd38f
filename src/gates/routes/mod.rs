//! The routes that a repository's source declares: method, template, parameters, place. The static half of the inventory;
//! what a live service says is the other.
//!
//! Each language has a reader that finds routers, routes and mounts in one file's syntax tree and one that follows names
//! across files; `graph.rs` hangs them below each other; `template.rs` writes every dialect's path as one. What cannot be
//! followed with certainty is marked so or named as unread, never invented. Reads files only when somebody asks.

mod django;
mod go;
mod graph;
mod java;
mod javascript;
mod modules;
mod nest;
mod next;
mod python;
mod rails;
mod rust;
mod template;
mod tree;

use serde::Serialize;

use super::code::syntax::{self, Language, Source};
use super::context::{Repo, RepoFile, SOURCE_FILE_BYTES_MAX, on_every_core};
use super::facts::Facts;
use super::facts::own::Own;
use template::Style;

/// One route that the source declares.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Route {
    /// `/users/{id}`
    pub template: String,
    /// `GET`; `ANY` where the handler decides, or takes all.
    pub method: String,
    /// Names inside the template, in order.
    pub params: Vec<String>,
    pub file: String,
    pub line: u32,
    /// The framework.
    pub source: &'static str,
    /// Everything above it was followed to the application. If not, a prefix may be missing.
    pub certain: bool,
}

impl Route {
    fn new(
        method: &str,
        path: &str,
        style: Style,
        file: &str,
        line: u32,
        source: &'static str,
        certain: bool,
    ) -> Route {
        let (template, params) = template::normal(path, style);
        Route { template, method: method.to_ascii_uppercase(), params, file: file.to_string(), line, source, certain }
    }
}

/// A place that declares routes which cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Unread {
    pub file: String,
    pub line: u32,
    pub why: String,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct Inventory {
    /// By template, then method.
    pub routes: Vec<Route>,
    pub unread: Vec<Unread>,
    /// Files that were looked into.
    pub files: usize,
}

/// Files with one of a language's words, parsed.
struct File {
    path: String,
    text: Vec<u8>,
    tree: tree_sitter::Tree,
}

/// Declares routes, imports, or hands routers on: by language, words without which a file does none of it.
const WORDS: [(&[Language], &[&str]); 6] = [
    (
        &[Language::JavaScript, Language::TypeScript, Language::Tsx],
        &[
            "express",
            "fastify",
            "outer",
            "koa",
            "hono",
            "@Controller",
            "setGlobalPrefix",
            "require(",
            "export",
            "app.",
            "opts",
        ],
    ),
    (&[Language::Python], &["lask", "lueprint", "astAPI", "outer", "urlpatterns", "app.", "ROOT_URLCONF", "import"]),
    (&[Language::Go], &["net/http", "chi", "gin", "echo", "fiber"]),
    (&[Language::Rust], &["axum", "actix_web", "Router", "web::"]),
    (&[Language::Java], &["Mapping"]),
    (&[Language::Ruby], &["draw", "get", "post", "put", "delete", "resource", "match", "namespace", "scope"]),
];

/// A repository with more source has its routes in the first of it.
const FILES_MAX: usize = 20_000;

/// Blocking: reads and parses sources of the languages whose frameworks `facts` names.
pub fn look(repo: &Repo, facts: &Facts) -> Inventory {
    let mut own = Own::default();
    let wanted: Vec<&RepoFile> = repo
        .files
        .iter()
        .filter(|f| f.bytes <= SOURCE_FILE_BYTES_MAX && words(&f.path).is_some() && own.has(&f.path))
        .take(FILES_MAX)
        .collect();
    let read = on_every_core(&wanted, |file| parse(repo, file));
    let mut out = Inventory { files: wanted.len(), ..Inventory::default() };
    let mut files: Vec<(Language, File)> = Vec::new();
    for (file, read) in wanted.iter().zip(read) {
        match read {
            Read::Parsed(language, file) => files.push((language, *file)),
            Read::Broken => {
                out.unread.push(Unread { file: file.path.clone(), line: 1, why: "cannot be parsed".into() })
            }
            Read::Other => {}
        }
    }
    let of =
        |is: fn(Language) -> bool| files.iter().filter(move |(l, _)| is(*l)).map(|(_, f)| f).collect::<Vec<&File>>();
    let scripts = of(Language::is_javascript);
    let parts = [
        javascript::routes(&scripts, facts),
        nest::routes(&scripts),
        next::routes(repo, facts, &scripts),
        python::routes(&of(|l| l == Language::Python)),
        django::routes(&of(|l| l == Language::Python)),
        go::routes(&of(|l| l == Language::Go)),
        rust::routes(&of(|l| l == Language::Rust)),
        java::routes(repo, &of(|l| l == Language::Java)),
        rails::routes(&of(|l| l == Language::Ruby)),
    ];
    for (routes, unread) in parts {
        out.routes.extend(routes);
        out.unread.extend(unread);
    }
    out.routes.sort();
    out.routes.dedup();
    out.unread.sort();
    out.unread.dedup();
    out
}

fn words(path: &str) -> Option<(Language, &'static [&'static str])> {
    let Some(Source::Grammar(language)) = Source::of(path) else { return None };
    if language == Language::Ruby && !path.contains("routes") {
        return None;
    }
    WORDS.iter().find(|(languages, _)| languages.contains(&language)).map(|(_, words)| (language, *words))
}

enum Read {
    Parsed(Language, Box<File>),
    Broken,
    Other,
}

fn parse(repo: &Repo, file: &RepoFile) -> Read {
    let (Some((language, words)), Ok(text)) = (words(&file.path), repo.read_listed(file, SOURCE_FILE_BYTES_MAX)) else {
        return Read::Other;
    };
    // Prefixes are kept with the settings.
    let named = ["settings", "config", "const"].iter().any(|part| file.path.to_ascii_lowercase().contains(part));
    if !std::str::from_utf8(&text).is_ok_and(|t| named || words.iter().any(|word| t.contains(word))) {
        return Read::Other;
    }
    match syntax::parse(Source::Grammar(language), &text) {
        Some(parsed) => Read::Parsed(language, Box::new(File { path: file.path.clone(), text, tree: parsed.tree })),
        None => Read::Broken,
    }
}

/// Routes and what could not be read, of one reader.
type Found = (Vec<Route>, Vec<Unread>);

#[cfg(test)]
mod tests;
