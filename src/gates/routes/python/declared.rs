//! What is declared on applications and routers: routes, mounts, and functions that one is handed to.

use super::*;

impl<'f> Reader<'_, 'f> {
    pub(super) fn call(&mut self, nth: usize, call: Node<'f>) {
        let module = &self.modules.all[nth];
        let Some(callee) = field(call, "function") else { return };
        if callee.kind() == "attribute" {
            let (Some(object), Some(name)) = (field(callee, "object"), field(callee, "attribute")) else { return };
            let name = module.source.text(name);
            let mounts = matches!(name, "register_blueprint" | "include_router" | "mount" | "register_api");
            let declares =
                verb(name).is_some() || matches!(name, "route" | "api_route" | "add_url_rule" | "add_api_route");
            if mounts || declares {
                let Some(key) = self.router(nth, object) else { return };
                if mounts {
                    self.mount(nth, call, key, name);
                } else {
                    self.route(nth, call, key, name);
                }
                return;
            }
        }
        self.hand_over(nth, call, callee);
    }

    /// `init_routes(app)`, `users.init_app(app)`.
    pub(super) fn hand_over(&mut self, nth: usize, call: Node<'f>, callee: Node<'f>) {
        let module = &self.modules.all[nth];
        let target = match callee.kind() {
            "identifier" => self.function(nth, module.source.text(callee)),
            "attribute" => {
                let parts = field(callee, "object").zip(field(callee, "attribute"));
                parts.and_then(|(object, name)| {
                    let there = self.module_named(nth, module.source.text(object))?;
                    self.function(there, module.source.text(name))
                })
            }
            _ => None,
        };
        let Some((there, function)) = target else { return };
        for (i, argument) in arguments(call).into_iter().enumerate().filter(|(_, a)| a.kind() == "identifier") {
            if let Some(parent) = self.router(nth, argument) {
                let child = self.key(there, &format!("@{}.{i}", function.start_byte()));
                self.hang(nth, call, parent, Some(String::new()), false, Some(child));
            }
        }
    }

    pub(super) fn hang(
        &mut self,
        nth: usize,
        at: Node<'_>,
        parent: Key,
        prefix: Option<String>,
        instead: bool,
        child: Option<Key>,
    ) {
        if let Some(child) = &child {
            self.graph.node(child.clone());
        }
        let file = self.modules.all[nth].source.path.to_string();
        self.graph.node(parent).items.push(Item::Mount { prefix, instead, child, line: line(at), file });
    }

    pub(super) fn mount(&mut self, nth: usize, call: Node<'f>, parent: Key, name: &str) {
        let source = &self.modules.all[nth].source;
        let (child, prefix) = match name {
            "mount" => (argument(source, call, 1, "app"), argument(source, call, 0, "path")),
            "include_router" => (argument(source, call, 0, "router"), keyword(source, call, "prefix")),
            _ => (argument(source, call, 0, "blueprint"), keyword(source, call, "url_prefix")),
        };
        let Some(node) = child else { return };
        let child = self.router(nth, node);
        // What is mounted may be files or another framework's: no routes of ours.
        if name == "mount" && child.is_none() {
            return;
        }
        let instead = prefix.is_some() && name == "register_blueprint";
        let prefix = match prefix {
            None => Some(String::new()),
            Some(prefix) => self.text(nth, prefix, 0),
        };
        self.hang(nth, call, parent, prefix, instead, child);
    }

    pub(super) fn route(&mut self, nth: usize, call: Node<'f>, key: Key, name: &str) {
        let modules = self.modules;
        let source = &modules.all[nth].source;
        // A parameter called `app` may be a test client: `client.get("/x")` is no decorator.
        let decorates = call.parent().is_some_and(|p| p.kind() == "decorator");
        if !decorates && !name.starts_with("add_") {
            return;
        }
        let at = argument(source, call, 0, if self.framework == "flask" { "rule" } else { "path" });
        let Some(path) = at.and_then(|a| self.text(nth, a, 0)) else {
            if self.graph.nodes.get(&key).is_some_and(|n| n.router) {
                self.graph.unread(source.path, line(call), "a path that is no literal");
            }
            return;
        };
        let listed = keyword(source, call, "methods").map(|list| {
            let texts = children(list).into_iter().filter_map(|m| self.text(nth, m, 0));
            texts.collect::<Vec<String>>()
        });
        let view = keyword(source, call, "view_func").is_some_and(|v| v.kind() == "call");
        let methods = match (verb(name), listed) {
            (Some(verb), _) => vec![verb.to_string()],
            (None, Some(listed)) if !listed.is_empty() => listed,
            // A class decides by its methods.
            (None, None) if !view => vec!["GET".to_string()],
            _ => vec!["ANY".to_string()],
        };
        for method in methods {
            let file = source.path.to_string();
            let item = Item::Route { method, path: path.clone(), line: line(call), file, source: self.framework };
            self.graph.node(key.clone()).items.push(item);
        }
    }
}
