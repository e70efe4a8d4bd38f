//! Express, Koa and Fastify: routers, what is declared on them, and how they are handed from file to file.

mod declared;

use tree_sitter::Node;

use super::graph::{Dialect, Graph, Item, Key};
use super::modules::{Import, Module, Modules, STEPS_MAX, is_function, required, unwrapped};
use super::template::{self, Style};
use super::tree::{above, arguments, children, field, line};
use super::{File, Found};
use crate::gates::facts::Facts;

const DIALECT: Dialect = Dialect { style: Style::Colon, slash: false };

/// Names that a parameter has when a router is meant, although nobody is seen handing one over.
const ROUTER_NAMES: [&str; 4] = ["fastify", "app", "router", "server"];

pub fn routes(files: &[&File], facts: &Facts) -> Found {
    let framework = ["express", "fastify", "koa"].into_iter().find(|name| facts.has("framework", name));
    let modules = Modules::read(files);
    let mut reader = Reader { modules: &modules, graph: Graph::default(), framework: framework.unwrap_or("express") };
    for nth in 0..modules.all.len() {
        reader.routers(nth);
    }
    for nth in 0..modules.all.len() {
        for call in &modules.all[nth].calls {
            reader.call(nth, *call);
        }
    }
    reader.graph.routes(DIALECT)
}

struct Reader<'m, 'f> {
    modules: &'m Modules<'f>,
    graph: Graph,
    /// What a router is whose file does not say.
    framework: &'static str,
}

/// What an expression stands for.
#[derive(Clone)]
enum Thing<'f> {
    Router(Key),
    /// In which file.
    Function(usize, Node<'f>),
}

/// A router that an expression makes.
struct Made {
    root: bool,
    prefix: String,
}

impl<'f> Reader<'_, 'f> {
    fn module(&self, nth: usize) -> &Module<'f> {
        &self.modules.all[nth]
    }

    fn key(&self, nth: usize, name: &str) -> Key {
        (self.module(nth).source.path.to_string(), name.to_string())
    }

    /// Variables and fields that hold a router which was made on the spot.
    fn routers(&mut self, nth: usize) {
        let modules = self.modules;
        for (name, value) in &modules.all[nth].values {
            if let Some(made) = self.made(nth, *value) {
                let key = self.key(nth, name);
                let node = self.graph.node(key);
                (node.root, node.router, node.prefix) = (made.root, true, made.prefix);
            }
        }
    }

    /// `express()`, `express.Router()`, `new Router({ prefix })`, `fastify()`, `new Koa()`.
    fn made(&self, nth: usize, value: Node<'f>) -> Option<Made> {
        let module = self.module(nth);
        let value = unwrapped(value);
        let callee = match value.kind() {
            "call_expression" => field(value, "function")?,
            "new_expression" => field(value, "constructor")?,
            _ => return None,
        };
        let callee = unwrapped(callee);
        let (object, property) = match callee.kind() {
            "member_expression" => (field(callee, "object")?, module.source.text(field(callee, "property")?)),
            _ => (callee, "default"),
        };
        let package = match required(&module.source, object) {
            Some(package) => package.to_string(),
            None => {
                let name = module.source.text(object);
                match module.imports.get(name) {
                    Some(Import { from, name }) if property == "default" && name != "*" => {
                        return self.maker(nth, from, name, value);
                    }
                    Some(import) => import.from.clone(),
                    None => return None,
                }
            }
        };
        self.maker(nth, &package, property, value)
    }

    fn maker(&self, nth: usize, package: &str, name: &str, value: Node<'f>) -> Option<Made> {
        let prefix = || self.option(nth, arguments(value).first().copied(), "prefix").flatten().unwrap_or_default();
        let (root, prefix) = match (package, name) {
            ("express", "default" | "express") => (true, String::new()),
            ("express", "Router") | ("express-promise-router", "default") => (false, String::new()),
            ("fastify", "default" | "fastify" | "Fastify") => (true, String::new()),
            ("koa", "default") => (true, String::new()),
            ("koa-router" | "@koa/router", "default" | "Router") => (false, prefix()),
            _ => return None,
        };
        Some(Made { root, prefix })
    }

    /// Of an object: the text under a key. `Some(None)`: it is there and no literal.
    fn option(&self, nth: usize, object: Option<Node<'f>>, key: &str) -> Option<Option<String>> {
        let object = object.filter(|o| o.kind() == "object")?;
        let source = &self.module(nth).source;
        let pair = children(object).into_iter().find(|pair| {
            field(*pair, "key").is_some_and(|k| source.text(k).trim_matches(['"', '\'']) == key)
                || pair.kind() == "shorthand_property_identifier" && source.text(*pair) == key
        })?;
        Some(field(pair, "value").or(Some(pair)).and_then(|value| self.text(nth, value, 0)))
    }

    fn text(&self, nth: usize, node: Node<'f>, steps: usize) -> Option<String> {
        self.modules.text(nth, node, steps)
    }

    /// What a name or an expression stands for.
    fn thing(&mut self, nth: usize, node: Node<'f>, steps: usize) -> Option<Thing<'f>> {
        if steps > STEPS_MAX {
            return None;
        }
        let modules = self.modules;
        let module = &modules.all[nth];
        let node = unwrapped(node);
        match node.kind() {
            kind if is_function(kind) => Some(Thing::Function(nth, node)),
            "identifier" | "shorthand_property_identifier" => {
                let name = module.source.text(node);
                if let Some(key) = self.parameter(nth, node, name) {
                    return Some(Thing::Router(key));
                }
                self.named(nth, name, steps + 1)
            }
            "member_expression" => {
                let name = module.source.text(node);
                if name.starts_with("this.") {
                    let key = self.key(nth, name);
                    return self.graph.nodes.contains_key(&key).then_some(Thing::Router(key));
                }
                let (object, property) = (field(node, "object")?, module.source.text(field(node, "property")?));
                let from = match required(&module.source, object) {
                    Some(from) => from,
                    None => &module.imports.get(module.source.text(object))?.from,
                };
                self.exported(modules.resolve(nth, from)?, property, steps + 1)
            }
            "call_expression" => {
                if let Some(from) = required(&module.source, node) {
                    return self.exported(modules.resolve(nth, from)?, "default", steps + 1);
                }
                let callee = field(node, "function")?;
                if callee.kind() == "member_expression" {
                    let property = module.source.text(field(callee, "property")?);
                    // Koa hands over a router's middleware.
                    if matches!(property, "routes" | "middleware") {
                        return self.thing(nth, field(callee, "object")?, steps + 1);
                    }
                }
                match self.thing(nth, callee, steps + 1) {
                    // A function that makes a router and gives it back.
                    Some(Thing::Function(there, function)) => self.returned(there, function, steps + 1),
                    // `fp(async (fastify) => …)` is that function.
                    _ => {
                        let first = arguments(node).into_iter().next()?;
                        let thing = self.thing(nth, first, steps + 1);
                        thing.filter(|t| matches!(t, Thing::Function(..)) && callee.kind() == "identifier")
                    }
                }
            }
            _ => None,
        }
    }

    fn named(&mut self, nth: usize, name: &str, steps: usize) -> Option<Thing<'f>> {
        let modules = self.modules;
        let module = &modules.all[nth];
        let key = self.key(nth, name);
        if self.graph.nodes.get(&key).is_some_and(|n| n.router) {
            return Some(Thing::Router(key));
        }
        if let Some(function) = module.functions.get(name) {
            return Some(Thing::Function(nth, *function));
        }
        if let Some(value) = module.values.get(name) {
            return self.thing(nth, *value, steps + 1);
        }
        let import = module.imports.get(name)?;
        let there = modules.resolve(nth, &import.from)?;
        let wanted = if import.name == "*" { "default" } else { &import.name };
        self.exported(there, wanted, steps + 1)
    }

    fn exported(&mut self, nth: usize, name: &str, steps: usize) -> Option<Thing<'f>> {
        if steps > STEPS_MAX {
            return None;
        }
        let modules = self.modules;
        let module = &modules.all[nth];
        if let Some(node) = module.exports.get(name) {
            return match node.kind() {
                // The name in `export const x = …` is looked up where it stands.
                "identifier" => self.named(nth, module.source.text(*node), steps + 1),
                _ => self.thing(nth, *node, steps + 1),
            };
        }
        if let Some(import) = module.imports.get(&format!("export {name}")) {
            let there = modules.resolve(nth, &import.from)?;
            return self.exported(there, &import.name, steps + 1);
        }
        for from in &module.passes_on {
            if let Some(there) = modules.resolve(nth, from)
                && let Some(thing) = self.exported(there, name, steps + 1)
            {
                return Some(thing);
            }
        }
        None
    }

    /// The parameter that `name` is where `node` stands.
    fn parameter(&mut self, nth: usize, node: Node<'f>, name: &str) -> Option<Key> {
        let module = &self.modules.all[nth];
        let mut here = above(node, |n| is_function(n.kind()));
        while let Some(function) = here {
            let position = parameters(function).iter().position(|p| name_of(module, *p) == name);
            if let Some(position) = position {
                return Some(self.slot(nth, function, position));
            }
            here = above(function, |n| is_function(n.kind()));
        }
        None
    }

    fn slot(&self, nth: usize, function: Node<'_>, position: usize) -> Key {
        self.key(nth, &format!("@{}.{position}", function.start_byte()))
    }

    /// The router that a function gives back: a name that it returns.
    fn returned(&mut self, nth: usize, function: Node<'f>, steps: usize) -> Option<Thing<'f>> {
        let body = field(function, "body")?;
        if body.kind() != "statement_block" {
            return self.thing(nth, body, steps + 1);
        }
        let last = children(body).into_iter().rev().find(|s| s.kind() == "return_statement")?;
        self.thing(nth, children(last).into_iter().next()?, steps + 1)
    }

    /// The router that a call is made on; with the path of `router.route(path)` before it.
    fn receiver(&mut self, nth: usize, node: Node<'f>, steps: usize) -> Option<(Key, Option<Node<'f>>)> {
        let node = unwrapped(node);
        if steps < STEPS_MAX * 8 && node.kind() == "call_expression" {
            let callee = field(node, "function").filter(|c| c.kind() == "member_expression")?;
            let property = self.module(nth).source.text(field(callee, "property")?);
            let chained = method(property).is_some()
                || matches!(property, "use" | "route" | "param" | "register" | "prefix" | "redirect");
            if chained {
                let (key, path) = self.receiver(nth, field(callee, "object")?, steps + 1)?;
                let here = arguments(node).first().copied().filter(|_| property == "route");
                return Some((key, here.or(path)));
            }
        }
        match self.thing(nth, node, 0)? {
            Thing::Router(key) => Some((key, None)),
            Thing::Function(..) => None,
        }
    }
}

fn method(property: &str) -> Option<&'static str> {
    Some(match property {
        "get" => "GET",
        "post" => "POST",
        "put" => "PUT",
        "patch" => "PATCH",
        "delete" | "del" => "DELETE",
        "options" => "OPTIONS",
        "head" => "HEAD",
        "all" => "ANY",
        _ => return None,
    })
}

fn parameters(function: Node<'_>) -> Vec<Node<'_>> {
    match (field(function, "parameters"), field(function, "parameter")) {
        (Some(list), _) => children(list),
        (None, one) => one.into_iter().collect(),
    }
}

fn name_of<'f>(module: &Module<'f>, parameter: Node<'_>) -> &'f str {
    // TypeScript and default values wrap the name.
    let name = field(parameter, "pattern").or(field(parameter, "left")).unwrap_or(parameter);
    module.source.text(name)
}
