//! Django's `urlpatterns`, with `include`, from the root module down; and the routers of its REST framework (`rest.rs`).

mod rest;

use tree_sitter::Node;

use super::graph::{Dialect, Graph, Item, Key};
use super::python::{Module, Modules, argument, string};
use super::template::Style;
use super::tree::{Source, arguments, children, field, line};
use super::{File, Found};

const DIALECT: Dialect = Dialect { style: Style::Angle, slash: true };

/// The lists of URLs of one module.
const PATTERNS: &str = "urlpatterns";

pub fn routes(files: &[&File]) -> Found {
    let modules = Modules::read(files);
    let mut reader = Reader { modules: &modules, graph: Graph::default() };
    for nth in 0..modules.all.len() {
        reader.lists(nth);
    }
    reader.root();
    reader.graph.routes(DIALECT)
}

struct Reader<'m, 'f> {
    modules: &'m Modules<'f>,
    graph: Graph,
}

impl<'f> Reader<'_, 'f> {
    fn key(&self, nth: usize, name: &str) -> Key {
        (self.modules.all[nth].source.path.to_string(), name.to_string())
    }

    /// What the settings name; else the only list that no other includes.
    fn root(&mut self) {
        let named = self.modules.all.iter().enumerate().find_map(|(nth, module)| {
            let value = module.values.get("ROOT_URLCONF")?;
            self.modules.resolve(Some(nth), &string(&module.source, *value)?)
        });
        if let Some(nth) = named {
            let key = self.key(nth, PATTERNS);
            if let Some(node) = self.graph.nodes.get_mut(&key) {
                node.root = true;
            }
        }
    }

    /// Every list of `path()`s: `urlpatterns` and others that it may include by name.
    fn lists(&mut self, nth: usize) {
        let modules = self.modules;
        let module = &modules.all[nth];
        if !module.imports.values().any(|(from, _)| from.starts_with("django") || from.starts_with("rest_framework")) {
            return;
        }
        self.roots_of_routers(nth);
        for call in &module.calls {
            let Some(callee) = field(*call, "function") else { continue };
            let name = module.source.text(callee);
            match name.rsplit('.').next().unwrap_or(name) {
                "path" | "re_path" | "url" if module.imports.contains_key(name.split('.').next().unwrap_or(name)) => {
                    if let Some(list) = self.list_of(nth, *call) {
                        self.entry(nth, *call, list, !name.ends_with("path") || name.ends_with("re_path"));
                    }
                }
                "register" if callee.kind() == "attribute" => self.registered(nth, *call, callee),
                _ => {}
            }
        }
    }

    /// The list that a call stands in: `urlpatterns = [..]`, `+= [..]`, `.append(..)`, or the list of an `include([..])`.
    fn list_of(&mut self, nth: usize, call: Node<'f>) -> Option<Key> {
        let module = &self.modules.all[nth];
        let mut here = call.parent()?;
        loop {
            match here.kind() {
                "assignment" | "augmented_assignment" => {
                    let name = module.source.text(field(here, "left")?);
                    let key = self.key(nth, name);
                    // Only what Django looks for, and what another list names, is a list of URLs.
                    self.graph.node(key.clone()).router = name == PATTERNS;
                    return Some(key);
                }
                "call" => {
                    let callee = module.source.text(field(here, "function")?);
                    if let Some((list, "append" | "extend" | "insert")) = callee.rsplit_once('.') {
                        return Some(self.key(nth, list));
                    }
                    if callee.rsplit('.').next() == Some("include") {
                        return Some(self.key(nth, &format!("@{}", here.start_byte())));
                    }
                    if matches!(callee.rsplit('.').next(), Some("path" | "re_path" | "url")) {
                        return None;
                    }
                }
                _ => {}
            }
            here = here.parent()?;
        }
    }

    fn entry(&mut self, nth: usize, call: Node<'f>, list: Key, regex: bool) {
        let modules = self.modules;
        let module = &modules.all[nth];
        let first = argument(&module.source, call, 0, "route");
        // `_("about/")` is another path in every language.
        let Some(path) = first.and_then(|a| self.modules.text(nth, a, 0)) else {
            self.graph.unread(module.source.path, line(call), "a path that is no literal");
            return;
        };
        let Some(path) = (if regex { of_regex(&path) } else { Some(path) }) else {
            self.graph.unread(module.source.path, line(call), "a path that is a regular expression");
            return;
        };
        let file = module.source.path.to_string();
        let view = argument(&module.source, call, 1, "view");
        let included = view.filter(|v| {
            let callee = field(*v, "function").map_or("", |c| module.source.text(c));
            v.kind() == "call" && callee.rsplit('.').next() == Some("include")
        });
        let item = match included {
            Some(include) => {
                let child = self.included(nth, include);
                Item::Mount { prefix: Some(path), instead: false, child, line: line(call), file }
            }
            // `admin.site.urls` is a list of its own, in Django.
            None if view.is_some_and(|v| module.source.text(v).ends_with(".urls")) => {
                self.graph.unread(module.source.path, line(call), "the routes below come with a package");
                return;
            }
            None => Item::Route { method: "ANY".into(), path, line: line(call), file, source: "django" },
        };
        self.graph.node(list).items.push(item);
    }

    fn included(&mut self, nth: usize, include: Node<'f>) -> Option<Key> {
        let modules = self.modules;
        let module = &modules.all[nth];
        let mut what = arguments(include).into_iter().next()?;
        if what.kind() == "tuple" {
            what = children(what).into_iter().next()?;
        }
        if let Some(name) = string(&module.source, what) {
            let there = self.modules.resolve(Some(nth), &name)?;
            return Some(self.key(there, PATTERNS));
        }
        match what.kind() {
            "list" => {
                let key = self.key(nth, &format!("@{}", include.start_byte()));
                self.graph.node(key.clone());
                Some(key)
            }
            "identifier" => {
                let name = module.source.text(what);
                let here = self.key(nth, name);
                if self.graph.nodes.contains_key(&here) {
                    return Some(here);
                }
                // A module, or a list that another one has.
                if let Some(there) = modules.named(nth, name) {
                    return Some(self.key(there, PATTERNS));
                }
                let (from, inside) = module.imports.get(name)?;
                Some(self.key(modules.resolve(Some(nth), from)?, inside))
            }
            // `include(router.urls)`, `include(accounts.urls)`
            "attribute" => {
                let object = module.source.text(field(what, "object")?);
                if let Some((there, name)) = self.rest_router(nth, object) {
                    let key = self.key(there, &format!("router {name}"));
                    self.graph.node(key.clone());
                    return Some(key);
                }
                let there = modules.named(nth, module.source.text(what))?;
                Some(self.key(there, PATTERNS))
            }
            _ => None,
        }
    }
}

/// `^articles/(?P<year>[0-9]{4})/$` as `articles/<year>/`; `None` when it says more than a path can.
fn of_regex(text: &str) -> Option<String> {
    let inner = text.strip_prefix('^').unwrap_or(text);
    let inner = inner.strip_suffix('$').unwrap_or(inner);
    let inner = inner.strip_suffix("\\Z").unwrap_or(inner);
    let (mut out, mut rest) = (String::new(), inner);
    while let Some(open) = rest.find('(') {
        out.push_str(plain(&rest[..open])?.as_str());
        let name = rest[open..].strip_prefix("(?P<")?.split('>').next()?;
        let mut depth = 0;
        let end = rest[open..].char_indices().find(|(_, c)| {
            depth += i32::from(*c == '(') - i32::from(*c == ')');
            depth == 0
        })?;
        out.push_str(&format!("<{name}>"));
        rest = &rest[open + end.0 + 1..];
    }
    out.push_str(&plain(rest)?);
    Some(out)
}

fn plain(text: &str) -> Option<String> {
    let text = text.replace("\\.", ".").replace("\\-", "-").replace("/?", "/");
    (!text.contains(['\\', '[', '*', '+', '?', '|', '$', '^'])).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::of_regex;

    #[test]
    fn expressions_that_are_paths() {
        assert_eq!(of_regex(r"^articles/(?P<year>[0-9]{4})/$").as_deref(), Some("articles/<year>/"));
        assert_eq!(of_regex(r"^a/(?P<x>(a|b)+)\.json$").as_deref(), Some("a/<x>.json"));
        assert_eq!(of_regex("^api/").as_deref(), Some("api/"));
        for more in [r"^a/(\d+)/$", r"^a|b$", r"^a/[0-9]+$", "^(", "(?P<x"] {
            assert_eq!(of_regex(more), None, "{more}");
        }
    }
}
