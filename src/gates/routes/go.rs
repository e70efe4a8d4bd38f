//! Go: net/http, chi, gin, echo, fiber and gorilla/mux. Routers are made, grouped, handed to functions of any package.

mod declared;

use std::collections::{BTreeMap, HashMap};

use tree_sitter::Node;

use super::graph::{Dialect, Graph, Item, Key};
use super::template::Style;
use super::tree::{Source, above, arguments, child_of, children, field, line};
use super::{File, Found};
use crate::gates::code::syntax::{self, Visit};

/// gin's parameters begin a segment, the others' stand in braces.
const DIALECT: Dialect = Dialect { style: Style::Mixed, slash: false };

const STEPS_MAX: usize = 12;

/// (part of the import path, package name, framework).
const PACKAGES: [(&str, &str, &str); 6] = [
    ("github.com/gin-gonic/gin", "gin", "gin"),
    ("github.com/go-chi/chi", "chi", "chi"),
    ("github.com/labstack/echo", "echo", "echo"),
    ("github.com/gofiber/fiber", "fiber", "fiber"),
    ("github.com/gorilla/mux", "mux", "gorilla-mux"),
    ("net/http", "http", "net/http"),
];

pub fn routes(files: &[&File]) -> Found {
    let modules: Vec<Module> = files.iter().map(|file| module(file)).collect();
    let mut reader = Reader { modules: &modules, graph: Graph::default(), steps: 0 };
    for nth in 0..modules.len() {
        reader.routers(nth);
    }
    for (nth, module) in modules.iter().enumerate() {
        for call in &module.calls {
            reader.call(nth, *call);
        }
        // `http.Server{Handler: r}`
        if let Some(handler) = module.values.get(&(0, ".Handler".to_string())) {
            reader.serves(nth, Some(*handler));
        }
    }
    reader.graph.routes(DIALECT)
}

struct Module<'f> {
    source: Source<'f>,
    /// The package's folder.
    folder: &'f str,
    /// Local name → (import path).
    imports: HashMap<String, String>,
    framework: Option<&'static str>,
    /// (start of the function that declares it, or 0; name) → value.
    values: BTreeMap<(usize, String), Node<'f>>,
    /// Functions and methods by name.
    functions: Vec<(String, Node<'f>)>,
    calls: Vec<Node<'f>>,
}

fn module(file: &File) -> Module<'_> {
    let folder = file.path.rsplit_once('/').map_or("", |(f, _)| f);
    let mut module = Module {
        source: Source { path: &file.path, text: &file.text },
        folder,
        imports: HashMap::new(),
        framework: None,
        values: BTreeMap::new(),
        functions: Vec::new(),
        calls: Vec::new(),
    };
    syntax::walk(&file.tree, |node, _| {
        let source = &module.source;
        match node.kind() {
            "import_spec" => {
                let path = field(node, "path").map_or("", |p| source.text(p).trim_matches('"'));
                let last = path.rsplit('/').find(|p| !is_version(p)).unwrap_or(path);
                let known = PACKAGES.iter().find(|(start, ..)| path.starts_with(start));
                let name = known.map_or(last, |(_, name, _)| *name);
                let local = field(node, "name").map_or(name, |n| source.text(n));
                module.imports.insert(local.to_string(), path.to_string());
                let framework = known.map(|(.., framework)| *framework);
                // net/http is everywhere; another one says more.
                if module.framework.is_none_or(|f| f == "net/http") {
                    module.framework = framework.or(module.framework);
                }
            }
            "short_var_declaration" | "assignment_statement" => {
                let (left, right) = (field(node, "left").map(children), field(node, "right").map(children));
                let pairs = left.unwrap_or_default().into_iter().zip(right.unwrap_or_default());
                for (name, value) in pairs {
                    let scope = if name.kind() == "identifier" { scope_of(node) } else { 0 };
                    let key = (scope, last_name(source.text(name)));
                    if node.kind() == "short_var_declaration" || !module.values.contains_key(&key) {
                        module.values.entry(key).or_insert(value);
                    }
                }
            }
            "var_spec" | "const_spec" => {
                let value = field(node, "value").and_then(|v| children(v).into_iter().next());
                if let (Some(name), Some(value)) = (field(node, "name"), value) {
                    module.values.insert((scope_of(node), source.text(name).to_string()), value);
                }
            }
            // `server{router: chi.NewRouter()}`
            "keyed_element" => {
                if let [key, value] = children(node)[..] {
                    let value = children(value).into_iter().next().unwrap_or(value);
                    module.values.entry((0, format!(".{}", source.text(key)))).or_insert(value);
                }
            }
            "function_declaration" | "method_declaration" => {
                if let Some(name) = field(node, "name") {
                    module.functions.push((source.text(name).to_string(), node));
                }
            }
            "call_expression" => module.calls.push(node),
            _ => {}
        }
        Visit::Enter
    });
    module
}

fn is_version(part: &str) -> bool {
    part.strip_prefix('v').is_some_and(|n| n.chars().all(|c| c.is_ascii_digit()))
}

/// `s.router` is known as `.router`, whatever the receiver is called.
fn last_name(name: &str) -> String {
    match name.rsplit_once('.') {
        Some((_, last)) => format!(".{last}"),
        None => name.to_string(),
    }
}

fn is_function(node: Node<'_>) -> bool {
    matches!(node.kind(), "function_declaration" | "method_declaration" | "func_literal")
}

/// Where the function around begins; 0 at the top level.
fn scope_of(node: Node<'_>) -> usize {
    above(node, is_function).map_or(0, |f| f.start_byte())
}

struct Reader<'m, 'f> {
    modules: &'m [Module<'f>],
    graph: Graph,
    steps: usize,
}

/// The default router of net/http.
const DEFAULT: &str = "http.DefaultServeMux";

impl<'f> Reader<'_, 'f> {
    fn local(&self, nth: usize, scope: usize, name: &str) -> Key {
        let module = &self.modules[nth];
        // What stands at the top level, and fields, are the package's.
        match scope {
            0 => (module.folder.to_string(), name.to_string()),
            _ => (module.source.path.to_string(), format!("@{scope}.{name}")),
        }
    }

    fn routers(&mut self, nth: usize) {
        let modules = self.modules;
        for ((scope, name), value) in &modules[nth].values {
            if let Some(root) = self.made(nth, *value) {
                let node = self.graph.node(self.local(nth, *scope, name));
                (node.root, node.router) = (node.root || root, true);
            }
        }
    }

    /// `gin.Default()`, `chi.NewRouter()`: is it an application by itself?
    fn made(&self, nth: usize, value: Node<'f>) -> Option<bool> {
        let module = &self.modules[nth];
        let callee = field(value, "function").filter(|_| value.kind() == "call_expression")?;
        let (package, name) = module.source.text(callee).split_once('.')?;
        let path = module.imports.get(package)?;
        let (_, package, _) = PACKAGES.iter().find(|(start, ..)| path.starts_with(start))?;
        match (*package, name) {
            ("gin", "Default" | "New") | ("echo" | "fiber", "New") => Some(true),
            ("chi", "NewRouter" | "NewMux") | ("http", "NewServeMux") | ("mux", "NewRouter") => Some(false),
            _ => None,
        }
    }

    fn text(&self, nth: usize, node: Node<'f>, steps: usize) -> Option<String> {
        let module = &self.modules[nth];
        let text = module.source.text(node);
        match node.kind() {
            _ if steps > STEPS_MAX => None,
            "interpreted_string_literal" | "raw_string_literal" => {
                Some(text.get(1..text.len().checked_sub(1)?)?.to_string())
            }
            "parenthesized_expression" => self.text(nth, children(node).into_iter().next()?, steps + 1),
            "binary_expression" => {
                let left = self.text(nth, field(node, "left")?, steps + 1)?;
                Some(left + &self.text(nth, field(node, "right")?, steps + 1)?)
            }
            "identifier" => {
                let mut scope = scope_of(node);
                loop {
                    if let Some(value) = module.values.get(&(scope, text.to_string())) {
                        return self.text(nth, *value, steps + 1);
                    }
                    if scope == 0 {
                        break;
                    }
                    scope = 0;
                }
                let elsewhere = self.modules.iter().enumerate().filter(|(_, m)| m.folder == module.folder);
                let mut found = elsewhere.filter_map(|(i, m)| Some((i, *m.values.get(&(0, text.to_string()))?)));
                found.next().and_then(|(i, value)| self.text(i, value, steps + 1))
            }
            // `http.MethodGet`
            "selector_expression" => text.strip_prefix("http.Method").map(str::to_ascii_uppercase),
            _ => None,
        }
    }

    /// The router that an expression stands for.
    fn router(&mut self, nth: usize, node: Node<'f>) -> Option<Key> {
        if self.steps > STEPS_MAX * 8 {
            return None;
        }
        self.steps += 1;
        let found = self.router_of(nth, node);
        self.steps -= 1;
        found
    }

    fn router_of(&mut self, nth: usize, node: Node<'f>) -> Option<Key> {
        let modules = self.modules;
        let module = &modules[nth];
        let source = &module.source;
        match node.kind() {
            "identifier" => {
                let name = source.text(node);
                let mut function = above(node, is_function);
                while let Some(here) = function {
                    if let Some(position) = parameters(source, here).iter().position(|(n, _)| *n == name) {
                        return self.parameter(nth, here, position);
                    }
                    if let Some(value) = module.values.get(&(here.start_byte(), name.to_string())) {
                        let key = self.local(nth, here.start_byte(), name);
                        if self.graph.nodes.contains_key(&key) {
                            return Some(key);
                        }
                        // A circle: `r = r.With(x)`.
                        return (!value.byte_range().contains(&node.start_byte()))
                            .then(|| self.router(nth, *value))
                            .flatten();
                    }
                    function = above(here, is_function);
                }
                let key = self.local(nth, 0, name);
                self.graph.nodes.contains_key(&key).then_some(key)
            }
            "selector_expression" => {
                let key = self.local(nth, 0, &format!(".{}", source.text(field(node, "field")?)));
                if self.graph.nodes.contains_key(&key) {
                    return Some(key);
                }
                let mut values = modules.iter().enumerate().filter(|(_, m)| m.folder == module.folder);
                let (there, value) = values.find_map(|(i, m)| Some((i, *m.values.get(&(0, key.1.clone()))?)))?;
                // `Server{engine: engine}`: the parameter of a function that makes the server.
                matches!(value.kind(), "call_expression" | "identifier").then(|| self.router(there, value)).flatten()
            }
            "unary_expression" | "parenthesized_expression" => self.router(nth, children(node).into_iter().next()?),
            "call_expression" => self.called(nth, node),
            _ => None,
        }
    }

    /// What a call gives back: a group, a subrouter, the router itself, or what a function returns.
    fn called(&mut self, nth: usize, call: Node<'f>) -> Option<Key> {
        let modules = self.modules;
        let source = &modules[nth].source;
        let callee = field(call, "function")?;
        if self.made(nth, call).is_some() {
            let key = self.local(nth, call.start_byte(), "made");
            self.graph.node(key.clone()).router = true;
            return Some(key);
        }
        if callee.kind() == "selector_expression" {
            let (operand, name) = (field(callee, "operand")?, source.text(field(callee, "field")?));
            match name {
                "With" | "Use" | "StrictSlash" | "UseEncodedPath" => return self.router(nth, operand),
                "Subrouter" => {
                    let above = (operand.kind() == "call_expression").then(|| field(operand, "function")).flatten()?;
                    let parent = self.router(nth, field(above, "operand")?)?;
                    return Some(self.group(nth, call, operand, parent));
                }
                "Group" | "Route" => {
                    if let Some(parent) = self.router(nth, operand) {
                        return Some(self.group(nth, call, call, parent));
                    }
                }
                _ => {}
            }
        }
        let (there, function) = self.function(nth, callee)?;
        let body = field(function, "body")?;
        let mut returned = None;
        for statement in descendants(body, "return_statement") {
            let list = child_of(statement, "expression_list").unwrap_or(statement);
            returned = children(list).into_iter().next().or(returned);
        }
        self.router(there, returned?)
    }

    /// `g := r.Group("/v1")`: a router below another; asked twice, it is the same.
    fn group(&mut self, nth: usize, call: Node<'f>, prefixed: Node<'f>, parent: Key) -> Key {
        let key = self.local(nth, call.start_byte(), "group");
        if !self.graph.nodes.contains_key(&key) {
            self.graph.node(key.clone()).router = true;
            let first = arguments(prefixed).into_iter().next();
            let prefix = first.and_then(|p| self.text(nth, p, 0));
            self.hang(nth, call, parent, prefix, Some(key.clone()));
        }
        key
    }

    /// A parameter counts when its type is a router's.
    fn parameter(&mut self, nth: usize, function: Node<'f>, position: usize) -> Option<Key> {
        let module = &self.modules[nth];
        let (_, kind) = *parameters(&module.source, function).get(position)?;
        let kind = kind.trim_start_matches('*');
        let typed = ["chi.", "gin.", "echo.", "fiber.", "mux.", "http."].iter().any(|p| kind.starts_with(p))
            && ["Router", "Mux", "Engine", "Group", "IRoutes", "Echo", "App"].iter().any(|e| kind.contains(e));
        if !typed {
            return None;
        }
        let key = (module.source.path.to_string(), format!("@{}#{position}", function.start_byte()));
        self.graph.node(key.clone()).router = true;
        Some(key)
    }

    /// The function that a callee names: of this package, of an imported one, or the only method of that name.
    fn function(&self, nth: usize, callee: Node<'f>) -> Option<(usize, Node<'f>)> {
        let module = &self.modules[nth];
        let (folder, name, method) = match callee.kind() {
            "identifier" => (module.folder.to_string(), module.source.text(callee), false),
            "func_literal" => return Some((nth, callee)),
            "selector_expression" => {
                let operand = module.source.text(field(callee, "operand")?);
                let name = module.source.text(field(callee, "field")?);
                match module.imports.get(operand) {
                    Some(path) => (self.folder(path)?, name, false),
                    None => (String::new(), name, true),
                }
            }
            _ => return None,
        };
        let all =
            self.modules.iter().enumerate().flat_map(|(i, m)| m.functions.iter().map(move |(n, f)| (i, m, n, *f)));
        let kind = if method { "method_declaration" } else { "function_declaration" };
        let mut found =
            all.filter(|(_, m, n, f)| n.as_str() == name && f.kind() == kind && (method || m.folder == folder));
        match (found.next(), found.next()) {
            (Some((i, _, _, function)), None) => Some((i, function)),
            // Several types have such a method: which is meant stands in no file.
            _ => None,
        }
    }

    /// The folder of an import path: the longest that the path ends with.
    fn folder(&self, path: &str) -> Option<String> {
        let folders = self.modules.iter().map(|m| m.folder).filter(|f| !f.is_empty());
        let fits = folders.filter(|f| path == *f || path.ends_with(&format!("/{f}")));
        fits.max_by_key(|f| f.len()).map(str::to_string)
    }

    fn hang(&mut self, nth: usize, at: Node<'_>, parent: Key, prefix: Option<String>, child: Option<Key>) {
        let file = self.modules[nth].source.path.to_string();
        let item = Item::Mount { prefix, instead: false, child, line: line(at), file };
        let items = &mut self.graph.node(parent).items;
        if !items.contains(&item) {
            items.push(item);
        }
    }
}

fn is_verb(name: &str) -> bool {
    matches!(name.to_ascii_uppercase().as_str(), "GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "HEAD" | "OPTIONS")
        && (name.chars().all(|c| c.is_ascii_uppercase()) || name.chars().next().is_some_and(|c| c.is_ascii_uppercase()))
}

/// Names and types.
fn parameters<'f>(source: &Source<'f>, function: Node<'_>) -> Vec<(&'f str, &'f str)> {
    let mut out = Vec::new();
    for declaration in field(function, "parameters").map(children).unwrap_or_default() {
        let kind = field(declaration, "type").map_or("", |t| source.text(t));
        let mut cursor = declaration.walk();
        out.extend(declaration.children_by_field_name("name", &mut cursor).map(|n| (source.text(n), kind)));
    }
    out
}

/// Nodes of a kind, functions inside left out.
fn descendants<'t>(node: Node<'t>, kind: &str) -> Vec<Node<'t>> {
    let (mut out, mut waiting) = (Vec::new(), vec![node]);
    while let Some(here) = waiting.pop() {
        for child in children(here) {
            if child.kind() == kind {
                out.push(child);
            } else if child.kind() != "func_literal" {
                waiting.push(child);
            }
        }
    }
    out.sort_by_key(|n| n.start_byte());
    out
}
