//! axum and actix: routers that are built in chains, and functions that build or fill them.

mod declared;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::LazyLock;

use regex::Regex;
use tree_sitter::Node;

use super::graph::{Dialect, Graph, Item, Key};
use super::template::Style;
use super::tree::{Source, above, arguments, children, field, line};
use super::{File, Found};
use crate::gates::code::syntax::{self, Visit};

/// Before 0.8 axum wrote `:id`.
const DIALECT: Dialect = Dialect { style: Style::Mixed, slash: false };

/// Chains are long, and hostile ones longer.
const STEPS_MAX: usize = 400;

static ATTRIBUTE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"^#\[(?:actix_web::)?(get|post|put|patch|delete|head|options|route)\(\s*"([^"]*)"(.*)\)\]$"#)
        .expect("a pattern of ours")
});
static METHODS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"method\s*=\s*"([A-Z]+)""#).expect("a pattern of ours"));

pub fn routes(files: &[&File]) -> Found {
    let modules: Vec<Module> = files.iter().map(|file| module(file)).collect();
    let mut reader =
        Reader { modules: &modules, graph: Graph::default(), chains: BTreeMap::new(), busy: BTreeSet::new(), steps: 0 };
    for (nth, module) in modules.iter().enumerate() {
        for call in &module.calls {
            reader.router(nth, *call);
            reader.served(nth, *call);
        }
    }
    reader.strays();
    reader.graph.routes(DIALECT)
}

struct Module<'f> {
    source: Source<'f>,
    axum: bool,
    functions: HashMap<String, Node<'f>>,
    /// (start of the function around, name) → every value that it gets, in order.
    values: BTreeMap<(usize, String), Vec<Node<'f>>>,
    constants: HashMap<String, Node<'f>>,
    calls: Vec<Node<'f>>,
    /// Handlers whose attribute says their route: name → (methods, path, line).
    handlers: HashMap<String, (Vec<String>, String, u32)>,
}

fn module(file: &File) -> Module<'_> {
    let text = std::str::from_utf8(&file.text).unwrap_or_default();
    let mut module = Module {
        source: Source { path: &file.path, text: &file.text },
        axum: !text.contains("actix"),
        functions: HashMap::new(),
        values: BTreeMap::new(),
        constants: HashMap::new(),
        calls: Vec::new(),
        handlers: HashMap::new(),
    };
    syntax::walk(&file.tree, |node, _| {
        let source = &module.source;
        match node.kind() {
            // Tests inside the file build routers of their own.
            "mod_item" if field(node, "name").is_some_and(|n| source.text(n).starts_with("test")) => {
                return Visit::Skip;
            }
            "function_item" => {
                if let Some(name) = field(node, "name").map(|n| source.text(n).to_string()) {
                    if let Some(handler) = attribute(source, node) {
                        module.handlers.insert(name.clone(), handler);
                    }
                    module.functions.insert(name, node);
                }
            }
            "let_declaration" | "assignment_expression" => {
                let name = field(node, "pattern").or(field(node, "left"));
                let value = field(node, "value").or(field(node, "right"));
                if let (Some(name), Some(value)) = (name, value) {
                    let name = source.text(name).trim_start_matches("mut ").to_string();
                    module.values.entry((function_start(node), name)).or_default().push(value);
                }
            }
            "const_item" => {
                if let (Some(name), Some(value)) = (field(node, "name"), field(node, "value")) {
                    module.constants.insert(source.text(name).to_string(), value);
                }
            }
            "call_expression" => module.calls.push(node),
            _ => {}
        }
        Visit::Enter
    });
    module
}

fn attribute(source: &Source<'_>, function: Node<'_>) -> Option<(Vec<String>, String, u32)> {
    let mut before = function.prev_named_sibling();
    while let Some(node) = before.filter(|n| n.kind() == "attribute_item" || n.kind().contains("comment")) {
        if let Some(found) = ATTRIBUTE.captures(source.text(node).trim()) {
            let methods = match &found[1] {
                "route" => METHODS.captures_iter(&found[3]).map(|m| m[1].to_string()).collect(),
                verb => vec![verb.to_string()],
            };
            return Some((methods, found[2].to_string(), line(node)));
        }
        before = node.prev_named_sibling();
    }
    None
}

fn function_start(node: Node<'_>) -> usize {
    above(node, |n| n.kind() == "function_item").map_or(0, |f| f.start_byte())
}

struct Reader<'m, 'f> {
    modules: &'m [Module<'f>],
    graph: Graph,
    /// What a call was found to be, by file and place.
    chains: BTreeMap<(usize, usize, usize), Option<Key>>,
    busy: BTreeSet<(usize, usize, usize)>,
    steps: usize,
}

impl<'f> Reader<'_, 'f> {
    fn key(&self, nth: usize, name: String) -> Key {
        (self.modules[nth].source.path.to_string(), name)
    }

    fn text(&self, nth: usize, node: Node<'f>, steps: usize) -> Option<String> {
        let module = &self.modules[nth];
        let text = module.source.text(node);
        match node.kind() {
            _ if steps > 8 => None,
            "string_literal" => Some(text.trim_matches('"').to_string()),
            "raw_string_literal" => Some(text.trim_start_matches('r').trim_matches('#').trim_matches('"').to_string()),
            "reference_expression" => self.text(nth, children(node).into_iter().next()?, steps + 1),
            "identifier" => self.text(nth, *module.constants.get(text)?, steps + 1),
            _ => None,
        }
    }

    /// The router that an expression stands for.
    fn router(&mut self, nth: usize, node: Node<'f>) -> Option<Key> {
        let place = (nth, node.start_byte(), node.end_byte());
        if let Some(known) = self.chains.get(&place) {
            return known.clone();
        }
        if self.steps > STEPS_MAX || !self.busy.insert(place) {
            return None;
        }
        self.steps += 1;
        let found = self.router_of(nth, node);
        self.steps -= 1;
        self.busy.remove(&place);
        if node.kind() == "call_expression" {
            self.chains.insert(place, found.clone());
        }
        found
    }

    fn router_of(&mut self, nth: usize, node: Node<'f>) -> Option<Key> {
        let modules = self.modules;
        let module = &modules[nth];
        let source = &module.source;
        match node.kind() {
            "identifier" => {
                let name = source.text(node);
                let function = above(node, |n| n.kind() == "function_item");
                let key = (function.map_or(0, |f| f.start_byte()), name.to_string());
                // The last value before this place.
                let values = module.values.get(&key).map(Vec::as_slice).unwrap_or_default();
                if let Some(value) = values.iter().rev().find(|v| v.end_byte() <= node.start_byte()) {
                    return self.router(nth, *value);
                }
                let function = function?;
                let position = parameters(source, function).iter().position(|(n, _)| *n == name)?;
                self.parameter(nth, function, position)
            }
            "parenthesized_expression" | "reference_expression" | "await_expression" | "try_expression" => {
                self.router(nth, children(node).into_iter().next()?)
            }
            "block" => self.router(nth, children(node).into_iter().next_back()?),
            "expression_statement" | "return_expression" => self.router(nth, children(node).into_iter().next()?),
            "closure_expression" => self.router(nth, field(node, "body")?),
            "call_expression" => {
                let callee = field(node, "function")?;
                match callee.kind() {
                    "field_expression" => self.chained(nth, node, callee),
                    _ => self.called(nth, node, callee),
                }
            }
            _ => None,
        }
    }

    /// `Router::new()`, `App::new()`, `web::scope("/x")`, or a function that builds one.
    fn called(&mut self, nth: usize, call: Node<'f>, callee: Node<'f>) -> Option<Key> {
        let modules = self.modules;
        let source = &modules[nth].source;
        let name = source.text(callee);
        let short: String =
            name.split("::<").map(|p| p.split('>').next_back().unwrap_or(p)).collect::<Vec<_>>().join("");
        let ends = |end: &str| short == end || short.ends_with(&format!("::{end}"));
        let (made, root, prefix) = if ends("Router::new")
            || ends("OpenApiRouter::new")
            || ends("OpenApiRouter::with_openapi")
            || ends("Router::default")
        {
            (true, false, Some(String::new()))
        } else if ends("App::new") && !modules[nth].axum {
            (true, true, Some(String::new()))
        } else if ends("web::scope") || ends("web::resource") || short == "scope" || short == "resource" {
            let first = arguments(call).into_iter().next();
            (!modules[nth].axum, false, first.and_then(|a| self.text(nth, a, 0)))
        } else {
            (false, false, None)
        };
        if made {
            let Some(prefix) = prefix else {
                self.graph.unread(source.path, line(call), "a path that is no literal");
                return None;
            };
            let key = self.key(nth, format!("@{}", call.start_byte()));
            let node = self.graph.node(key.clone());
            (node.root, node.router, node.prefix) = (root, true, prefix);
            return Some(key);
        }
        let (there, function) = self.function(nth, name)?;
        let kind = field(function, "return_type").map_or("", |t| modules[there].source.text(t));
        if !(kind.contains("Router") || kind.contains("Scope") || kind.contains("Resource") || kind.contains("App<")) {
            return None;
        }
        let key = self.router(there, field(function, "body")?)?;
        // `users(Router::new())`: what is handed in comes out again.
        for (i, argument) in arguments(call).into_iter().enumerate() {
            if let (Some(parent), Some(child)) = (self.router(nth, argument), self.parameter(there, function, i)) {
                self.hang(nth, call, parent, Some(String::new()), Some(child));
            }
        }
        Some(key)
    }

    /// By the last part of its path; of several, the one whose file or folder the part before names.
    fn function(&self, nth: usize, name: &str) -> Option<(usize, Node<'f>)> {
        let mut parts = name.rsplit("::");
        let last = parts.next()?;
        let before = parts.next().filter(|p| !matches!(*p, "self" | "super" | "crate" | "Self"));
        if before.is_none()
            && let Some(function) = self.modules[nth].functions.get(last)
        {
            return Some((nth, *function));
        }
        let mut fits: Vec<(usize, Node<'f>)> = Vec::new();
        for (i, module) in self.modules.iter().enumerate() {
            let Some(function) = module.functions.get(last) else { continue };
            let path = module.source.path;
            let named = before.is_none_or(|b| {
                path.ends_with(&format!("/{b}.rs")) || path.contains(&format!("/{b}/")) || path == format!("{b}.rs")
            });
            if named {
                fits.push((i, *function));
            }
        }
        // A module's own file before those below it.
        if let Some(b) = before {
            let own = |(i, _): &(usize, Node)| {
                let path = self.modules[*i].source.path;
                path.ends_with(&format!("/{b}.rs")) || path.ends_with(&format!("/{b}/mod.rs"))
            };
            if fits.iter().filter(|f| own(f)).count() == 1 {
                fits.retain(own);
            }
        }
        (fits.len() == 1).then(|| fits[0])
    }

    /// A parameter counts when its type is a router's.
    fn parameter(&mut self, nth: usize, function: Node<'f>, position: usize) -> Option<Key> {
        let (_, kind) = *parameters(&self.modules[nth].source, function).get(position)?;
        if !["Router", "ServiceConfig", "Scope", "App<"].iter().any(|t| kind.contains(t)) {
            return None;
        }
        let key = self.key(nth, format!("@{}#{position}", function.start_byte()));
        self.graph.node(key.clone()).router = true;
        Some(key)
    }

    fn hang(&mut self, nth: usize, at: Node<'_>, parent: Key, prefix: Option<String>, child: Option<Key>) {
        // `app = users(app)`: a router below itself is no news.
        if child.as_ref() == Some(&parent) {
            return;
        }
        let file = self.modules[nth].source.path.to_string();
        let item = Item::Mount { prefix, instead: false, child, line: line(at), file };
        let items = &mut self.graph.node(parent).items;
        if !items.contains(&item) {
            items.push(item);
        }
    }
}

/// Names and types.
fn parameters<'f>(source: &Source<'f>, function: Node<'_>) -> Vec<(&'f str, &'f str)> {
    let list = field(function, "parameters").map(children).unwrap_or_default();
    let list = list.into_iter().filter(|p| p.kind() == "parameter");
    let text = |node: Option<Node<'_>>| node.map_or("", |n| source.text(n));
    list.map(|p| (text(field(p, "pattern")).trim_start_matches("mut "), text(field(p, "type")))).collect()
}
