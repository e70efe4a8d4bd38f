//! Flask and FastAPI: applications, blueprints and routers, what is declared on them, and how they hang together.

mod declared;

use std::collections::{BTreeMap, HashMap};

use tree_sitter::Node;

use super::graph::{Dialect, Graph, Item, Key};
use super::template::Style;
use super::tree::{Source, above, arguments, child_of, children, field, line};
use super::{File, Found};
use crate::gates::code::syntax::{self, Visit};

/// Both frameworks' parameters at once: no path has both kinds.
const FLASK: Dialect = Dialect { style: Style::Angle, slash: true };
const FASTAPI: Dialect = Dialect { style: Style::Brace, slash: true };

const STEPS_MAX: usize = 12;

pub fn routes(files: &[&File]) -> Found {
    let modules = Modules::read(files);
    let mut out = Found::default();
    for (framework, dialect) in [("flask", FLASK), ("fastapi", FASTAPI)] {
        let mut reader = Reader { modules: &modules, graph: Graph::default(), framework };
        for nth in 0..modules.all.len() {
            reader.routers(nth);
        }
        for nth in 0..modules.all.len() {
            for call in &modules.all[nth].calls {
                reader.call(nth, *call);
            }
        }
        let (routes, unread) = reader.graph.routes(dialect);
        out.0.extend(routes);
        out.1.extend(unread);
    }
    out
}

/// One file with its names.
pub struct Module<'f> {
    pub source: Source<'f>,
    /// Local name → (module, name inside; empty: the module itself).
    pub imports: HashMap<String, (String, String)>,
    pub values: HashMap<String, Node<'f>>,
    pub functions: HashMap<String, Node<'f>>,
    pub classes: HashMap<String, Node<'f>>,
    pub calls: Vec<Node<'f>>,
}

pub struct Modules<'f> {
    pub all: Vec<Module<'f>>,
    by_path: BTreeMap<&'f str, usize>,
}

impl<'f> Modules<'f> {
    pub fn read(files: &[&'f File]) -> Modules<'f> {
        let all: Vec<Module<'f>> = files.iter().map(|file| module(file)).collect();
        let by_path = all.iter().enumerate().map(|(i, m)| (m.source.path, i)).collect();
        Modules { all, by_path }
    }

    /// The file of `a.b.c` or `..b`, as written in `from`.
    pub fn resolve(&self, from: Option<usize>, name: &str) -> Option<usize> {
        let dots = name.chars().take_while(|c| *c == '.').count();
        let rest = name[dots..].replace('.', "/");
        let known = |path: String| {
            let path = path.trim_matches('/').to_string();
            let package = if path.is_empty() { "__init__.py".to_string() } else { format!("{path}/__init__.py") };
            self.by_path.get(format!("{path}.py").as_str()).or(self.by_path.get(package.as_str())).copied()
        };
        if dots > 0 {
            let here = self.all[from?].source.path;
            let mut folder: Vec<&str> = here.split('/').collect();
            for _ in 0..dots {
                folder.pop()?;
            }
            return known(format!("{}/{rest}", folder.join("/")));
        }
        // The import path may begin at any folder above.
        let here = from.map_or("", |f| self.all[f].source.path);
        let mut top = here;
        while let Some((above, _)) = top.rsplit_once('/') {
            if let Some(found) = known(format!("{above}/{rest}")) {
                return Some(found);
            }
            top = above;
        }
        known(rest.clone()).or_else(|| known(format!("src/{rest}"))).or_else(|| self.only(&rest))
    }

    /// A text that is known before the program runs: literals, constants, both together.
    pub fn text(&self, nth: usize, node: Node<'f>, steps: usize) -> Option<String> {
        if steps > STEPS_MAX {
            return None;
        }
        let module = &self.all[nth];
        if let Some(text) = string(&module.source, node) {
            return Some(text);
        }
        match node.kind() {
            "string" => {
                let mut out = String::new();
                for part in children(node) {
                    match part.kind() {
                        "string_content" => out.push_str(module.source.text(part)),
                        "interpolation" => {
                            out.push_str(&self.text(nth, children(part).into_iter().next()?, steps + 1)?)
                        }
                        _ => {}
                    }
                }
                Some(out)
            }
            "binary_operator" if module.source.text(field(node, "operator")?) == "+" => {
                let left = self.text(nth, field(node, "left")?, steps + 1)?;
                Some(left + &self.text(nth, field(node, "right")?, steps + 1)?)
            }
            "identifier" => {
                let name = module.source.text(node);
                if let Some(value) = module.values.get(name) {
                    return self.text(nth, *value, steps + 1);
                }
                let (from, name) = module.imports.get(name)?;
                let there = self.resolve(Some(nth), from)?;
                self.text(there, *self.all[there].values.get(name)?, steps + 1)
            }
            // `settings.API_V1_STR`: a class attribute or a default, where there is only one of that name.
            "attribute" => {
                let name = module.source.text(field(node, "attribute")?);
                let mut found = self.all.iter().enumerate().filter_map(|(i, m)| Some((i, *m.values.get(name)?)));
                match (found.next(), found.next()) {
                    (Some((there, value)), None) => self.text(there, value, steps + 1),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// The file that a local name, or names with dots between them, stand for.
    pub fn named(&self, nth: usize, dotted: &str) -> Option<usize> {
        let imports = &self.all[nth].imports;
        let (first, rest) = dotted.split_once('.').unwrap_or((dotted, ""));
        let whole = match (imports.get(dotted), imports.get(first)) {
            (Some((from, inside)), _) => below(from, inside),
            (None, Some((from, inside))) => below(&below(from, inside), rest),
            (None, None) => return None,
        };
        self.resolve(Some(nth), &whole)
    }

    /// The only file whose path ends so.
    fn only(&self, rest: &str) -> Option<usize> {
        let ends = [format!("/{rest}.py"), format!("/{rest}/__init__.py")];
        let mut found = self.by_path.iter().filter(|(path, _)| ends.iter().any(|e| path.ends_with(e)));
        match (found.next(), found.next()) {
            (Some((_, nth)), None) => Some(*nth),
            _ => None,
        }
    }
}

/// `from . import urls` is `.urls`, `from a import b` is `a.b`.
fn below(from: &str, inside: &str) -> String {
    match (from.ends_with('.'), inside.is_empty()) {
        (_, true) => from.to_string(),
        (true, false) => format!("{from}{inside}"),
        (false, false) => format!("{from}.{inside}"),
    }
}

fn module(file: &File) -> Module<'_> {
    let source = Source { path: &file.path, text: &file.text };
    let mut module = Module {
        source,
        imports: HashMap::new(),
        values: HashMap::new(),
        functions: HashMap::new(),
        classes: HashMap::new(),
        calls: Vec::new(),
    };
    syntax::walk(&file.tree, |node, _| {
        let source = &module.source;
        match node.kind() {
            "import_from_statement" => {
                let from = field(node, "module_name").map_or("", |m| source.text(m)).to_string();
                let mut cursor = node.walk();
                for one in node.children_by_field_name("name", &mut cursor) {
                    let (name, local) = aliased(source, one);
                    module.imports.insert(local.to_string(), (from.clone(), name.to_string()));
                }
            }
            "import_statement" => {
                let mut cursor = node.walk();
                for one in node.children_by_field_name("name", &mut cursor) {
                    let (name, local) = aliased(source, one);
                    module.imports.insert(local.to_string(), (name.to_string(), String::new()));
                }
            }
            "assignment" => {
                if let (Some(left), Some(right)) = (field(node, "left"), field(node, "right")) {
                    module.values.insert(source.text(left).to_string(), right);
                }
            }
            "function_definition" => {
                if let Some(name) = field(node, "name") {
                    module.functions.insert(source.text(name).to_string(), node);
                }
            }
            "class_definition" => {
                if let Some(name) = field(node, "name") {
                    module.classes.insert(source.text(name).to_string(), node);
                }
            }
            "call" => module.calls.push(node),
            _ => {}
        }
        Visit::Enter
    });
    module
}

fn aliased<'f>(source: &Source<'f>, node: Node<'_>) -> (&'f str, &'f str) {
    let name = field(node, "name").map_or(source.text(node), |n| source.text(n));
    (name, field(node, "alias").map_or(name, |a| source.text(a)))
}

/// A plain string, or several that stand one after another.
pub fn string(source: &Source<'_>, node: Node<'_>) -> Option<String> {
    match node.kind() {
        "string" => {
            if child_of(node, "interpolation").is_some() {
                return None;
            }
            let parts = children(node).into_iter().filter(|n| n.kind() == "string_content");
            Some(parts.map(|n| source.text(n)).collect())
        }
        "concatenated_string" => children(node).into_iter().map(|n| string(source, n)).collect(),
        "parenthesized_expression" => string(source, children(node).into_iter().next()?),
        _ => None,
    }
}

/// `name=value` among the arguments.
pub fn keyword<'f>(source: &Source<'_>, call: Node<'f>, name: &str) -> Option<Node<'f>> {
    let mut found = arguments(call).into_iter().filter(|a| a.kind() == "keyword_argument");
    found.find(|a| field(*a, "name").is_some_and(|n| source.text(n) == name)).and_then(|a| field(a, "value"))
}

/// The argument at a place, or by its name.
pub fn argument<'f>(source: &Source<'_>, call: Node<'f>, at: usize, name: &str) -> Option<Node<'f>> {
    keyword(source, call, name).or_else(|| {
        arguments(call)
            .get(at)
            .copied()
            .filter(|a| !matches!(a.kind(), "keyword_argument" | "dictionary_splat" | "list_splat"))
    })
}

struct Reader<'m, 'f> {
    modules: &'m Modules<'f>,
    graph: Graph,
    framework: &'static str,
}

impl<'f> Reader<'_, 'f> {
    fn key(&self, nth: usize, name: &str) -> Key {
        (self.modules.all[nth].source.path.to_string(), name.to_string())
    }

    /// Variables that hold an application, a blueprint or a router.
    fn routers(&mut self, nth: usize) {
        let modules = self.modules;
        let module = &modules.all[nth];
        for (name, value) in &module.values {
            let Some(callee) = field(*value, "function").filter(|_| value.kind() == "call") else { continue };
            let class = module.source.text(callee).rsplit('.').next().unwrap_or_default();
            let (root, prefix) = match (self.framework, class) {
                ("flask", "Flask" | "APIFlask" | "OpenAPI") | ("fastapi", "FastAPI") => (true, None),
                ("flask", "Blueprint" | "APIBlueprint") => (false, keyword(&module.source, *value, "url_prefix")),
                ("fastapi", "APIRouter") => (false, keyword(&module.source, *value, "prefix")),
                _ => continue,
            };
            let text = prefix.map(|p| self.text(nth, p, 0));
            if let (Some(None), Some(at)) = (&text, prefix) {
                self.graph.unread(module.source.path, line(at), "a prefix that is no literal");
            }
            let node = self.graph.node(self.key(nth, name));
            (node.root, node.router, node.prefix) = (root, true, text.flatten().unwrap_or_default());
        }
    }

    fn text(&self, nth: usize, node: Node<'f>, steps: usize) -> Option<String> {
        self.modules.text(nth, node, steps)
    }

    /// The router that a name or `module.name` stands for.
    fn router(&mut self, nth: usize, node: Node<'f>) -> Option<Key> {
        let module = &self.modules.all[nth];
        match node.kind() {
            "identifier" => {
                let name = module.source.text(node);
                if let Some(key) = self.parameter(nth, node, name) {
                    return Some(key);
                }
                self.named(nth, name, 0)
            }
            "attribute" => {
                let (object, name) = (field(node, "object")?, module.source.text(field(node, "attribute")?));
                let whole = self.key(nth, module.source.text(node));
                if self.graph.nodes.contains_key(&whole) {
                    return Some(whole);
                }
                let there = self.module_named(nth, module.source.text(object))?;
                self.named(there, name, 0)
            }
            "call" => {
                // `create_router()` gives back what it made.
                let callee = field(node, "function").filter(|c| c.kind() == "identifier")?;
                let (there, function) = self.function(nth, module.source.text(callee))?;
                let last =
                    children(field(function, "body")?).into_iter().rev().find(|s| s.kind() == "return_statement")?;
                let value = children(last).into_iter().next().filter(|v| v.kind() == "identifier")?;
                self.named(there, self.modules.all[there].source.text(value), 0)
            }
            _ => None,
        }
    }

    /// The file that a local name stands for.
    fn module_named(&self, nth: usize, name: &str) -> Option<usize> {
        let (from, inside) = self.modules.all[nth].imports.get(name)?;
        if inside.is_empty() {
            return self.modules.resolve(Some(nth), from);
        }
        let dot = if from.ends_with('.') { "" } else { "." };
        self.modules.resolve(Some(nth), &format!("{from}{dot}{inside}"))
    }

    fn named(&mut self, nth: usize, name: &str, steps: usize) -> Option<Key> {
        let key = self.key(nth, name);
        if self.graph.nodes.get(&key).is_some_and(|n| n.router) {
            return Some(key);
        }
        let (from, inside) = self.modules.all[nth].imports.get(name).filter(|_| steps < STEPS_MAX)?;
        let there = self.modules.resolve(Some(nth), from)?;
        self.named(there, inside, steps + 1)
    }

    fn function(&self, nth: usize, name: &str) -> Option<(usize, Node<'f>)> {
        let module = &self.modules.all[nth];
        if let Some(function) = module.functions.get(name) {
            return Some((nth, *function));
        }
        let (from, inside) = module.imports.get(name)?;
        let there = self.modules.resolve(Some(nth), from)?;
        self.modules.all[there].functions.get(inside).map(|f| (there, *f))
    }

    fn parameter(&self, nth: usize, node: Node<'f>, name: &str) -> Option<Key> {
        let source = &self.modules.all[nth].source;
        let function = above(node, |n| n.kind() == "function_definition")?;
        let position = parameters(source, function).iter().position(|p| *p == name)?;
        Some(self.key(nth, &format!("@{}.{position}", function.start_byte())))
    }
}

fn verb(name: &str) -> Option<&'static str> {
    Some(match name {
        "get" => "GET",
        "post" => "POST",
        "put" => "PUT",
        "patch" => "PATCH",
        "delete" => "DELETE",
        "options" => "OPTIONS",
        "head" => "HEAD",
        _ => return None,
    })
}

fn parameters<'f>(source: &Source<'f>, function: Node<'_>) -> Vec<&'f str> {
    let list = field(function, "parameters").map(children).unwrap_or_default();
    let name = |p: Node<'_>| match p.kind() {
        "identifier" => source.text(p),
        _ => field(p, "name").or_else(|| child_of(p, "identifier")).map_or("", |n| source.text(n)),
    };
    list.into_iter().map(name).collect()
}
