//! Where the repository's own OpenAPI document and the routes of its source disagree (gates.md 0.2). Listed beside the
//! endpoints and judged by nobody: not every route is meant for the document, and no reader of sources sees all.
//!
//! What cannot be told is not said: with places that declare routes nobody could read, a documented route may well be
//! there; and a route is held against a document only below the part of the path that all of it has in common.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{Config, Role};
use crate::domain::verdict::{Finding, Outcome, Severity};
use crate::gates::context::Repo;
use crate::gates::facts::Facts;
use crate::gates::inventory::{openapi, shape};
use crate::gates::routes::{self, Inventory, Route};

/// Documents of large products are a few MiB.
const FILE_BYTES_MAX: u64 = 8 << 20;
const DOCUMENTS_MAX: usize = 20;
/// Findings of each kind; the evidence has more.
const LISTED_MAX: usize = 20;
const ROWS_MAX: usize = 500;

/// One operation of a document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Operation {
    method: String,
    /// As it is asked for: behind the path of the document's server.
    path: String,
    file: String,
    /// The path without the server's, and without names of parameters.
    #[serde(skip)]
    bare: String,
}

#[derive(Debug, Default, Serialize)]
struct Drift {
    documents: Vec<String>,
    documented: usize,
    declared: usize,
    /// Places that declare routes which could not be read.
    unread: usize,
    undocumented: Vec<Route>,
    undeclared: Vec<Operation>,
}

/// The outcome with the drift beside it. Blocking: reads documents and sources.
pub(super) fn beside(mut outcome: Outcome, repo: &Repo, facts: &Facts, config: &Config) -> Outcome {
    let documents: Vec<&str> = facts.of("openapi").map(|f| f.file.as_str()).take(DOCUMENTS_MAX).collect();
    let operations: Vec<Operation> = documents.iter().flat_map(|file| operations(repo, file)).collect();
    if operations.is_empty() {
        return outcome;
    }
    let inventory = repo.once(&[], || routes::look(repo, facts));
    let Some(drift) = compare(&inventory, operations, config) else { return outcome };
    outcome.findings.extend(findings(&drift));
    outcome.evidence("route-drift", serde_json::json!(drift))
}

fn operations(repo: &Repo, file: &str) -> Vec<Operation> {
    let text = repo.read_text(file, FILE_BYTES_MAX).unwrap_or_default();
    let Some(document) = openapi::parse(&text, file.ends_with(".json")) else { return Vec::new() };
    let base = openapi::base(&document);
    let told = openapi::read(&document).into_iter().map(|told| {
        let bare = shape(told.template.strip_prefix(&base).unwrap_or(&told.template));
        Operation { method: told.method, path: told.template, file: file.to_string(), bare }
    });
    told.collect()
}

/// `None`: no route was read, or nobody declares any in a way that we know.
fn compare(inventory: &Inventory, operations: Vec<Operation>, config: &Config) -> Option<Drift> {
    if inventory.routes.is_empty() {
        return None;
    }
    let common = common(&operations);
    let fits = |route: &Route, operation: &Operation| {
        let (declared, documented) = (shape(&route.template), shape(&operation.path));
        // Above an uncertain route something may be missing.
        let below = !route.certain && declared.len() > 1 && documented.ends_with(&declared);
        let method = route.method == "ANY" || route.method == operation.method;
        method && (declared == documented || declared == operation.bare || below)
    };
    let own: BTreeSet<&str> = Role::ALL.iter().flat_map(|role| role.paths(config)).map(String::as_str).collect();
    let asked = |route: &Route| {
        let public = shape(&route.template);
        let below = public == common || common == "/" || public.starts_with(&format!("{common}/"));
        let plain = !own.contains(public.as_str()) && !route.template.contains('*') && public != "/";
        route.certain && below && plain && !matches!(route.method.as_str(), "HEAD" | "OPTIONS")
    };
    let missing = |route: &&Route| asked(route) && !operations.iter().any(|operation| fits(route, operation));
    let undocumented: Vec<Route> = inventory.routes.iter().filter(missing).cloned().collect();
    let gone = |operation: &&Operation| !inventory.routes.iter().any(|route| fits(route, operation));
    let known = inventory.unread.is_empty();
    let undeclared: Vec<Operation> = operations.iter().filter(|_| known).filter(gone).cloned().collect();
    // Nothing fits at all: another product's document, or a framework's own way of mounting.
    let strangers = undeclared.len() == operations.len();
    Some(Drift {
        documents: operations.iter().map(|o| o.file.clone()).collect::<BTreeSet<_>>().into_iter().collect(),
        documented: operations.len(),
        declared: inventory.routes.len(),
        unread: inventory.unread.len(),
        undocumented: if strangers { Vec::new() } else { undocumented.into_iter().take(ROWS_MAX).collect() },
        undeclared: if strangers { Vec::new() } else { undeclared.into_iter().take(ROWS_MAX).collect() },
    })
}

/// The segments with which every documented path begins.
fn common(operations: &[Operation]) -> String {
    let mut all = operations.iter().map(|o| shape(&o.path));
    let first = all.next().unwrap_or_default();
    let mut shared: Vec<&str> = first.split('/').collect();
    // The last segment is a page of its own, not a folder.
    shared.pop();
    for path in all {
        let same = shared.iter().zip(path.split('/')).take_while(|(a, b)| *a == b).count();
        shared.truncate(same);
    }
    let joined = shared.join("/");
    if joined.is_empty() { "/".into() } else { joined }
}

fn findings(drift: &Drift) -> Vec<Finding> {
    let documents = drift.documents.join(", ");
    let mut out = Vec::new();
    for route in drift.undocumented.iter().take(LISTED_MAX) {
        let name = format!("{} {}", route.method, route.template);
        let note = Finding::new("undocumented-route", Severity::Info, format!("{name} is not in {documents}"));
        let note = note.fix("document it, or leave it as it is where it is nobody else's").route(&name);
        out.push(note.at(&route.file, route.line, 1).identified_by(&["undocumented-route", &name]));
    }
    for operation in drift.undeclared.iter().take(LISTED_MAX) {
        let name = format!("{} {}", operation.method, operation.path);
        let words = format!("{} documents {name}, and no source declares it", operation.file);
        let note = Finding::new("undeclared-route", Severity::Info, words).route(&name);
        let note = note.fix("take it out of the document, or serve it").in_file(&operation.file);
        out.push(note.identified_by(&["undeclared-route", &name]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::testing;

    const EXPRESS: &str = "{\"dependencies\": {\"express\": \"4\"}}";

    /// `rule METHOD template` of each note.
    fn told(files: &[(&str, &str)]) -> Vec<String> {
        let (_dir, repo) = testing::repo(files);
        let outcome = beside(Outcome::pass("fine"), &repo, &Facts::look(&repo), &Config::default());
        assert_eq!(outcome.verdict, crate::domain::verdict::Verdict::Pass);
        assert!(outcome.findings.iter().all(|f| f.severity == Severity::Info));
        let name = |f: &Finding| format!("{} {}", f.rule, f.route.clone().unwrap_or_default());
        outcome.findings.iter().map(name).collect()
    }

    const APP: &str = "const express = require('express');\nconst app = express();\n\
        app.get('/api/teas', h);\napp.get('/api/teas/:id', h);\napp.post('/api/orders', h);\napp.get('/health', h);\n\
        app.get('/about', h);\n";
    const DOCUMENT: &str = "openapi: 3.1.0\nservers:\n  - url: https://shop.example/api\npaths:\n  /teas:\n    get: {}\n  \
        /teas/{tea}:\n    get: {}\n  /carts:\n    post: {}\n";

    #[test]
    fn both_ways() {
        let files = [("package.json", EXPRESS), ("src/app.js", APP), ("openapi.yaml", DOCUMENT)];
        assert_eq!(told(&files), ["undocumented-route POST /api/orders", "undeclared-route POST /api/carts"]);
        let swagger = "{\"swagger\": \"2.0\", \"basePath\": \"/api\", \"paths\": {\"/teas\": {\"get\": {}}, \"/teas/{x}\": {\"get\": {}}, \"/orders\": {\"post\": {}}}}";
        let files = [("package.json", EXPRESS), ("src/app.js", APP), ("swagger.json", swagger)];
        assert_eq!(told(&files), [""; 0]);
    }

    #[test]
    fn what_cannot_be_told_is_not_said() {
        let nobody = [("openapi.yaml", DOCUMENT)];
        assert_eq!(told(&nobody), [""; 0], "no route was read");
        let without = [("package.json", EXPRESS), ("src/app.js", APP)];
        assert_eq!(told(&without), [""; 0], "no document");
        let other = "openapi: 3.1.0\npaths:\n  /planets:\n    get: {}\n";
        let stranger = [("package.json", EXPRESS), ("src/app.js", APP), ("openapi.yaml", other)];
        assert_eq!(told(&stranger), [""; 0], "another product's document");
        let broken = [("package.json", EXPRESS), ("src/app.js", APP), ("openapi.yaml", "openapi: 3.1.0\npaths: [\n")];
        assert_eq!(told(&broken), [""; 0]);
    }
}
