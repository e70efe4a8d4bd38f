//! What chains on a router: routes, routers below, services; and what a server is given.

use super::*;

impl<'f> Reader<'_, 'f> {
    /// `router.route("/x", get(h))` and all that chains on.
    pub(super) fn chained(&mut self, nth: usize, call: Node<'f>, callee: Node<'f>) -> Option<Key> {
        let modules = self.modules;
        let module = &modules[nth];
        let key = self.router(nth, field(callee, "value")?)?;
        let name = module.source.text(field(callee, "field")?);
        let arguments = arguments(call);
        let at = field(callee, "field").unwrap_or(call);
        match (name, arguments.as_slice()) {
            ("route", [path, handler, ..]) => {
                let methods = self.methods(nth, *handler);
                self.add(nth, at, key.clone(), *path, methods);
            }
            // actix: on a resource.
            ("route", [handler]) => {
                let methods = self.methods(nth, *handler);
                self.push(nth, at, key.clone(), "", methods);
            }
            ("to", [_]) if !module.axum => self.push(nth, at, key.clone(), "", vec!["ANY".into()]),
            ("route_service", [path, ..]) => self.add(nth, at, key.clone(), *path, vec!["ANY".into()]),
            ("nest" | "nest_service", [path, below]) => {
                let (prefix, child) = (self.text(nth, *path, 0), self.router(nth, *below));
                if child.is_some() || name == "nest" {
                    self.hang(nth, at, key.clone(), prefix, child);
                }
            }
            ("merge", [other]) => {
                let child = self.router(nth, *other);
                self.hang(nth, at, key.clone(), Some(String::new()), child);
            }
            ("routes", [collected]) => {
                let what = "routes that a macro collects from their handlers";
                self.graph.unread(module.source.path, line(*collected), what);
            }
            ("service", [service]) => self.service(nth, at, key.clone(), *service),
            ("configure", [function]) => {
                let found = self.function(nth, module.source.text(*function));
                let child = found.and_then(|(there, f)| self.parameter(there, f, 0));
                self.hang(nth, at, key.clone(), Some(String::new()), child);
            }
            _ => {}
        }
        Some(key)
    }

    /// actix: a scope, a resource, or a handler with a route of its own.
    pub(super) fn service(&mut self, nth: usize, at: Node<'f>, key: Key, service: Node<'f>) {
        let modules = self.modules;
        if let Some(child) = self.router(nth, service) {
            return self.hang(nth, at, key, Some(String::new()), Some(child));
        }
        if !matches!(service.kind(), "identifier" | "scoped_identifier") {
            return;
        }
        let name = modules[nth].source.text(service);
        let Some((there, _)) = self.function(nth, name) else { return };
        let last = name.rsplit("::").next().unwrap_or(name);
        if let Some((methods, path, at)) = modules[there].handlers.get(last) {
            let file = modules[there].source.path.to_string();
            for method in methods {
                let (method, path, file) = (method.clone(), path.clone(), file.clone());
                self.graph.node(key.clone()).items.push(Item::Route {
                    method,
                    path,
                    line: *at,
                    file,
                    source: "actix-web",
                });
            }
        }
    }

    /// `get(list).post(create)`, `web::get().to(h)`; what is none of these takes what it likes.
    pub(super) fn methods(&self, nth: usize, handler: Node<'f>) -> Vec<String> {
        let source = &self.modules[nth].source;
        let (mut out, mut here) = (Vec::new(), Some(handler));
        while let Some(node) = here.filter(|n| n.kind() == "call_expression") {
            let Some(callee) = field(node, "function") else { break };
            let callee =
                if callee.kind() == "generic_function" { field(callee, "function").unwrap_or(callee) } else { callee };
            let name = match callee.kind() {
                "field_expression" => field(callee, "field").map_or("", |f| source.text(f)),
                _ => source.text(callee).rsplit("::").next().unwrap_or_default(),
            };
            let verb = name.strip_suffix("_service").unwrap_or(name);
            if matches!(verb, "get" | "post" | "put" | "patch" | "delete" | "head" | "options") {
                out.push(verb.to_ascii_uppercase());
            } else if matches!(verb, "any") {
                out.push("ANY".into());
            }
            here = (callee.kind() == "field_expression").then(|| field(callee, "value")).flatten();
        }
        if out.is_empty() { vec!["ANY".into()] } else { out }
    }

    pub(super) fn add(&mut self, nth: usize, at: Node<'f>, key: Key, path: Node<'f>, methods: Vec<String>) {
        match self.text(nth, path, 0) {
            Some(path) => self.push(nth, at, key, &path, methods),
            None => self.graph.unread(self.modules[nth].source.path, line(at), "a path that is no literal"),
        }
    }

    pub(super) fn push(&mut self, nth: usize, at: Node<'_>, key: Key, path: &str, methods: Vec<String>) {
        let module = &self.modules[nth];
        let (file, source) = (module.source.path.to_string(), if module.axum { "axum" } else { "actix-web" });
        for method in methods {
            let (path, file) = (path.to_string(), file.clone());
            self.graph.node(key.clone()).items.push(Item::Route { method, path, line: line(at), file, source });
        }
    }

    /// What a server is given is the application.
    pub(super) fn served(&mut self, nth: usize, call: Node<'f>) {
        let source = &self.modules[nth].source;
        let Some(callee) = field(call, "function") else { return };
        let name = source.text(callee);
        let app = match callee.kind() {
            "field_expression"
                if name.ends_with("into_make_service") || name.ends_with("into_make_service_with_connect_info") =>
            {
                field(callee, "value")
            }
            _ if name.ends_with("axum::serve") || name == "serve" => arguments(call).get(1).copied(),
            _ => None,
        };
        if let Some(key) = app.and_then(|app| self.router(nth, app)) {
            self.graph.node(key).root = true;
        }
    }

    /// Handlers with a route of their own that nobody is seen serving: they exist, where is not certain.
    pub(super) fn strays(&mut self) {
        let served: BTreeSet<(String, u32)> = self
            .graph
            .nodes
            .values()
            .flat_map(|n| &n.items)
            .filter_map(|i| match i {
                Item::Route { file, line, .. } => Some((file.clone(), *line)),
                Item::Mount { .. } => None,
            })
            .collect();
        for module in self.modules {
            for (methods, path, at) in module.handlers.values() {
                let file = module.source.path.to_string();
                if served.contains(&(file.clone(), *at)) {
                    continue;
                }
                let node = self.graph.node((file.clone(), "strays".into()));
                node.router = true;
                for method in methods {
                    let (method, path, file) = (method.clone(), path.clone(), file.clone());
                    node.items.push(Item::Route { method, path, line: *at, file, source: "actix-web" });
                }
            }
        }
    }
}
