//! The route inventory (gates.md 0.2): every operation that the product has, from all that tells of one: OpenAPI documents
//! of the repository and of the live service, GraphQL introspection, routes of the source, recorded traffic (HAR, access
//! logs), and a crawl of the pages that one host links. Gates iterate over it, so it is also their denominator.
//!
//! One file per source; `merge.rs` lays what they tell over each other; `values.rs` finds values for parameters. What the
//! live service tells is asked with passive requests of its own budget (`inventory` in the ledger), once a run.

mod crawl;
mod graphql;
pub mod harvest;
mod merge;
pub mod openapi;
mod recorded;
#[cfg(test)]
mod tests;
pub mod values;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use tokio::sync::OnceCell;

use super::routes;
use super::{GateContext, context::Repo};
use crate::domain::problem::Problem;
use crate::net::safety::{Intent, Target};

pub use graphql::{Field, GraphQl, fields as graphql_fields};
pub use merge::{is_id, shape};

/// `[gates.routes]`: what the inventory is made of beside the sources.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Pages that the crawl reads; 0 switches it off.
    pub crawl_pages: usize,
    /// OpenAPI documents beside those that are found: paths in the repository.
    pub openapi: Vec<String>,
    /// Traffic recorded by a browser: paths of HAR 1.2 files in the repository.
    pub har: Vec<String>,
    /// Access logs in the common or combined format, or one JSON object a line: paths in the repository.
    pub access_log: Vec<String>,
    /// Open to everybody, beside the usual ones (front page, health, login, assets): paths, a `*` at the end covers what
    /// is below.
    pub public: Vec<String>,
    /// Never asked: paths, a `*` at the end covers what is below.
    pub ignore: Vec<String>,
}

/// Passive requests that a crawl may spend in a stage of a minute.
const CRAWL_PAGES: usize = 40;

impl Default for Config {
    fn default() -> Self {
        let none = Vec::new;
        Config {
            crawl_pages: CRAWL_PAGES,
            openapi: none(),
            har: none(),
            access_log: none(),
            public: none(),
            ignore: none(),
        }
    }
}

impl Config {
    /// Finds every problem. Pure.
    pub fn validate(&self) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        for (key, paths) in [("public", &self.public), ("ignore", &self.ignore)] {
            for path in paths.iter().filter(|path| !path.starts_with('/') || *path == "/*") {
                problems.push(Problem::at([key], format!("`{path}` is not a path of this site: it begins with /")));
            }
        }
        if self.crawl_pages > 200 {
            problems.push(Problem::at(["crawl_pages"], "a crawl reads 200 pages at most"));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

/// Is `path` one of `patterns`, or below one that ends in `*`?
pub fn covers(patterns: &[String], path: &str) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix) || path == prefix.trim_end_matches('/'),
        None => path == pattern,
    })
}

/// Who told of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    OpenApi,
    Code,
    Har,
    AccessLog,
    Crawl,
}

/// Where a parameter stands in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    Path,
    Query,
    Header,
    Cookie,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Param {
    pub name: String,
    pub place: Place,
    pub required: bool,
    /// JSON Schema; null where nobody tells.
    pub schema: Json,
    /// A value that was seen or documented.
    pub example: Option<String>,
}

/// What a request carries.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Body {
    /// `application/json`
    pub media: String,
    pub schema: Json,
    pub required: bool,
    pub example: Option<Json>,
}

/// One method of one path.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Operation {
    /// Upper case; `ANY` where the handler decides.
    pub method: String,
    /// `/users/{id}`
    pub template: String,
    pub params: Vec<Param>,
    pub body: Option<Body>,
    /// Schema of the documented good answer.
    pub answer: Option<Json>,
    /// Is it documented to ask for credentials? `None`: nobody tells.
    pub guarded: Option<bool>,
    pub sources: BTreeSet<Source>,
    /// File and line of the repository.
    pub place: Option<(String, u32)>,
    /// Paths with their query that it was seen under, at most [`SEEN_MAX`].
    pub seen: Vec<String>,
    /// The whole path is known. If not, a prefix may be missing.
    pub certain: bool,
}

/// Examples of one operation that are kept.
pub const SEEN_MAX: usize = 5;
/// More operations than any gate could ask.
pub const OPERATIONS_MAX: usize = 2000;

impl Operation {
    pub fn new(method: &str, template: &str, source: Source) -> Operation {
        Operation {
            method: method.to_ascii_uppercase(),
            template: template.to_string(),
            params: Vec::new(),
            body: None,
            answer: None,
            guarded: None,
            sources: BTreeSet::from([source]),
            place: None,
            seen: Vec::new(),
            certain: true,
        }
    }
    /// `GET /users/{id}`
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.template)
    }
    /// Changes nothing (RFC 9110, 9.2.1).
    pub fn is_safe(&self) -> bool {
        matches!(self.method.as_str(), "GET" | "HEAD" | "OPTIONS" | "ANY")
    }
    /// As it is asked: `ANY` by GET.
    pub fn verb(&self) -> &str {
        if self.method == "ANY" { "GET" } else { &self.method }
    }
    pub fn at(&self, place: Place) -> impl Iterator<Item = &Param> {
        self.params.iter().filter(move |param| param.place == place)
    }
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct Inventory {
    /// By the template's shape, then method.
    pub operations: Vec<Operation>,
    pub graphql: Option<GraphQl>,
    /// Documents and addresses that were read, with what they gave: `GET /openapi.json: 12 operations`.
    pub told: Vec<String>,
    /// What could not be read, and why.
    pub unread: Vec<String>,
}

impl Inventory {
    /// Does anything but a crawl tell of routes? Pages link pages: what a crawl does not show may be there all the same.
    pub fn is_told(&self) -> bool {
        self.operations.iter().any(|o| o.sources.iter().any(|source| *source != Source::Crawl))
    }
    pub fn find(&self, method: &str, template: &str) -> Option<&Operation> {
        self.operations.iter().find(|o| o.method == method && o.template == template)
    }
}

/// Made once a run.
#[derive(Default)]
pub struct Slot(OnceCell<Arc<Inventory>>);

impl GateContext {
    /// Everything that is known of the product's routes. Asks the target at the first call, when there is one that answers.
    pub async fn inventory(&self) -> Arc<Inventory> {
        self.inventory.0.get_or_init(|| async { Arc::new(gather(self).await) }).await.clone()
    }
}

/// The most that is read of one file of the repository.
const FILE_BYTES_MAX: u64 = 16 << 20;

async fn gather(ctx: &GateContext) -> Inventory {
    let mut out = Inventory::default();
    let mut found: Vec<Operation> = Vec::new();
    if let Some(repo) = ctx.repo.clone() {
        let (facts, config) = (ctx.facts.clone(), ctx.config.routes.clone());
        let read = tokio::task::spawn_blocking(move || {
            let mut own = Inventory::default();
            let operations = in_repo(&repo, &facts, &config, &mut own);
            (operations, own)
        });
        if let Ok((operations, own)) = read.await {
            found = operations;
            out = own;
        }
    }
    if let (Some(target), None) = (&ctx.target, &ctx.unreachable) {
        live(ctx, target, &mut found, &mut out).await;
    }
    out.operations = merge::merge(found);
    out.operations.retain(|o| !covers(&ctx.config.routes.ignore, &o.template));
    if out.operations.len() > OPERATIONS_MAX {
        out.unread
            .push(format!("{} operations beyond the first {OPERATIONS_MAX}", out.operations.len() - OPERATIONS_MAX));
        out.operations.truncate(OPERATIONS_MAX);
    }
    out
}

fn in_repo(repo: &Repo, facts: &super::facts::Facts, config: &Config, out: &mut Inventory) -> Vec<Operation> {
    let mut found = Vec::new();
    let declared = repo.once(&[], || routes::look(repo, facts));
    found.extend(declared.routes.iter().map(from_code));
    out.unread.extend(declared.unread.iter().map(|u| format!("{}:{}: {}", u.file, u.line, u.why)));
    let known = facts.of("openapi").map(|f| f.file.as_str()).chain(config.openapi.iter().map(String::as_str));
    for file in known.collect::<BTreeSet<_>>() {
        match openapi::file(repo, file) {
            Ok(operations) => {
                out.told.push(format!("{file}: {} operations", operations.len()));
                found.extend(operations);
            }
            Err(why) => out.unread.push(format!("{file}: {why}")),
        }
    }
    for (files, read) in [(&config.har, recorded::har as fn(&str) -> _), (&config.access_log, recorded::access_log)] {
        for file in files {
            match repo.read_text(file, FILE_BYTES_MAX).map_err(|e| e.to_string()).and_then(|text| read(&text)) {
                Ok(operations) => {
                    out.told.push(format!("{file}: {} operations", operations.len()));
                    found.extend(operations);
                }
                Err(why) => out.unread.push(format!("{file}: {why}")),
            }
        }
    }
    found
}

fn from_code(route: &routes::Route) -> Operation {
    let mut out = Operation::new(&route.method, &route.template, Source::Code);
    out.params = route.params.iter().map(|name| values::in_path(name)).collect();
    out.place = Some((route.file.clone(), route.line));
    out.certain = route.certain;
    out
}

async fn live(ctx: &GateContext, target: &Target, found: &mut Vec<Operation>, out: &mut Inventory) {
    let prober = ctx.prober("inventory", Intent::Passive);
    (ctx.progress)("inventory", "asks for documents");
    if let Some((path, operations)) = openapi::live(&prober, &target.url, &mut out.unread).await {
        out.told.push(format!("GET {path}: {} operations", operations.len()));
        found.extend(operations);
    }
    out.graphql = graphql::look(&prober, &target.url, ctx.facts.any("graphql")).await;
    if let Some(graphql) = &out.graphql {
        out.told.push(format!("{}: {} queries", graphql.path, graphql.queries.len()));
    }
    if ctx.config.routes.crawl_pages > 0 {
        let actor = match ctx.actors().first() {
            Some(actor) => ctx.signed_in(actor).await.ok(),
            None => None,
        };
        let crawl = crawl::Crawl { prober: &prober, base: &target.url, pages_max: ctx.config.routes.crawl_pages };
        let (operations, pages) = crawl.walk(actor.as_deref()).await;
        if pages > 0 {
            out.told.push(format!("a crawl of {pages} pages: {} operations", operations.len()));
        }
        found.extend(operations);
    }
}
