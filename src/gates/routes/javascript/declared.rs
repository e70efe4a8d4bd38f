//! What is declared on routers: routes, mounts, plugins, and functions that a router is handed to.

use super::*;

impl<'f> Reader<'_, 'f> {
    pub(super) fn call(&mut self, nth: usize, call: Node<'f>) {
        let Some(callee) = field(call, "function") else { return };
        let source = &self.modules.all[nth].source;
        let property = (callee.kind() == "member_expression").then(|| field(callee, "property")).flatten();
        let on = property.map(|p| source.text(p)).zip(field(callee, "object"));
        if let Some((property, object)) = on {
            let known =
                method(property).is_some() || matches!(property, "use" | "register" | "route" | "prefix" | "redirect");
            if let Some((key, path)) = known.then(|| self.receiver(nth, object, 0)).flatten() {
                match property {
                    "use" => self.mount(nth, call, key),
                    "register" => self.register(nth, call, key),
                    "route" => self.described(nth, call, key),
                    "prefix" => self.prefixed(nth, call, key),
                    "redirect" => self.redirected(nth, call, key),
                    verb => self.route(nth, call, key, verb, path),
                }
                return;
            }
        }
        self.hand_over(nth, call, callee);
    }

    /// `routes(app)`, `require('./routes')(app)`.
    pub(super) fn hand_over(&mut self, nth: usize, call: Node<'f>, callee: Node<'f>) {
        let given: Vec<(usize, Key)> = arguments(call)
            .into_iter()
            .enumerate()
            .filter(|(_, a)| matches!(a.kind(), "identifier" | "member_expression"))
            .filter_map(|(i, a)| match self.thing(nth, a, 0)? {
                Thing::Router(key) => Some((i, key)),
                Thing::Function(..) => None,
            })
            .collect();
        if given.is_empty() {
            return;
        }
        if let Some(Thing::Function(there, function)) = self.thing(nth, callee, 0) {
            for (i, key) in given {
                let child = self.slot(there, function, i);
                self.hang(nth, call, key, Some(String::new()), Some(child));
            }
        }
    }

    pub(super) fn hang(&mut self, nth: usize, at: Node<'_>, parent: Key, prefix: Option<String>, child: Option<Key>) {
        if let Some(child) = &child {
            self.graph.node(child.clone());
        }
        let file = self.module(nth).source.path.to_string();
        self.graph.node(parent).items.push(Item::Mount { prefix, instead: false, child, line: line(at), file });
    }

    /// `app.use('/api', limit, router)`.
    pub(super) fn mount(&mut self, nth: usize, call: Node<'f>, parent: Key) {
        let arguments = arguments(call);
        let Some(first) = arguments.first() else { return };
        let paths = self.paths(nth, *first);
        let literal = !paths.is_empty();
        let unknown = !literal
            && arguments.len() > 1
            && matches!(first.kind(), "identifier" | "template_string" | "member_expression");
        for argument in &arguments[usize::from(literal)..] {
            let Some(Thing::Router(child)) = self.thing(nth, *argument, 0) else { continue };
            // A parameter that nobody declares routes on is a handler's.
            if child == parent {
                continue;
            }
            if unknown
                && *argument != *first
                && self.thing(nth, *first, 0).is_none()
                && !self.is_middleware(nth, *first)
            {
                self.hang(nth, call, parent.clone(), None, Some(child));
            } else if literal {
                for path in &paths {
                    self.hang(nth, call, parent.clone(), Some(path.clone()), Some(child.clone()));
                }
            } else {
                self.hang(nth, call, parent.clone(), Some(String::new()), Some(child));
            }
        }
    }

    /// Is a name, that is no text, known to be something that runs?
    pub(super) fn is_middleware(&self, nth: usize, node: Node<'_>) -> bool {
        let module = self.module(nth);
        let name = module.source.text(node);
        let root = name.split('.').next().unwrap_or(name);
        module.imports.contains_key(root) && module.source.text(node).chars().any(char::is_lowercase)
            || module.functions.contains_key(root)
            || module.values.get(root).is_some_and(|v| !matches!(v.kind(), "binary_expression" | "template_string"))
    }

    /// Koa: `router.prefix('/v2')` stands before all that the router has.
    pub(super) fn prefixed(&mut self, nth: usize, call: Node<'f>, key: Key) {
        let Some(first) = arguments(call).into_iter().next() else { return };
        match self.text(nth, first, 0) {
            Some(prefix) => {
                let node = self.graph.node(key);
                node.prefix =
                    if node.prefix.is_empty() { prefix } else { template::join(&prefix, &node.prefix, false) };
            }
            None => self.graph.unread(self.modules.all[nth].source.path, line(call), "a prefix that is no literal"),
        }
    }

    /// Koa: `router.redirect('/old', '/new')` answers every method.
    pub(super) fn redirected(&mut self, nth: usize, call: Node<'f>, key: Key) {
        let believed = self.graph.nodes.get(&key).is_some_and(|n| n.router);
        let from = arguments(call).first().and_then(|a| self.text(nth, *a, 0));
        if let Some(path) = from.filter(|path| believed && path.starts_with('/')) {
            self.add(nth, call, key, "ANY", &path);
        }
    }

    /// `fastify.register(plugin, { prefix })`; Koa's `router.register('/both', ['GET', 'POST'], handler)`.
    pub(super) fn register(&mut self, nth: usize, call: Node<'f>, parent: Key) {
        let arguments = arguments(call);
        let Some(plugin) = arguments.first() else { return };
        let paths = self.paths(nth, *plugin);
        if let (false, Some(methods)) = (paths.is_empty(), arguments.get(1)) {
            for method in self.paths(nth, *methods) {
                paths.iter().for_each(|path| self.add(nth, call, parent.clone(), &method, path));
            }
            return;
        }
        let prefix = match self.option(nth, arguments.get(1).copied(), "prefix") {
            None => Some(String::new()),
            Some(prefix) => prefix,
        };
        if let Some(Thing::Function(there, function)) = self.thing(nth, *plugin, 0) {
            let child = self.slot(there, function, 0);
            self.hang(nth, call, parent, prefix, Some(child));
        }
    }

    /// `fastify.route({ method, url })`.
    pub(super) fn described(&mut self, nth: usize, call: Node<'f>, key: Key) {
        let Some(object) = arguments(call).first().copied().filter(|a| a.kind() == "object") else { return };
        let source = &self.modules.all[nth].source;
        let value = |name: &str| {
            let pairs = children(object).into_iter();
            pairs.filter(|p| field(*p, "key").is_some_and(|k| source.text(k) == name)).find_map(|p| field(p, "value"))
        };
        let (Some(url), Some(methods)) = (value("url").or(value("path")), value("method")) else { return };
        let methods = self.paths(nth, methods);
        match (self.text(nth, url, 0), methods.is_empty()) {
            (Some(path), false) => methods.iter().for_each(|m| self.add(nth, call, key.clone(), m, &path)),
            _ => self.graph.unread(source.path, line(call), "a route whose method or path is no literal"),
        }
    }

    /// One text or an array of them.
    pub(super) fn paths(&self, nth: usize, node: Node<'f>) -> Vec<String> {
        match node.kind() {
            "array" => children(node).into_iter().filter_map(|n| self.text(nth, n, 0)).collect(),
            _ => self.text(nth, node, 0).into_iter().collect(),
        }
    }

    /// `router.get('/a', handler)`; `path` comes from `router.route(path)`.
    pub(super) fn route(&mut self, nth: usize, call: Node<'f>, key: Key, verb: &str, path: Option<Node<'f>>) {
        let Some(method) = method(verb) else { return };
        let arguments = arguments(call);
        let handlers = if path.is_some() { 1 } else { 2 };
        if arguments.len() < handlers {
            return;
        }
        // A parameter is believed only when what it is told looks like a route.
        let believed = self.graph.nodes.get(&key).is_some_and(|n| n.router);
        let handles = |n: &Node| {
            is_function(n.kind()) || matches!(n.kind(), "identifier" | "member_expression" | "call_expression")
        };
        if !believed && !arguments.last().is_some_and(handles) {
            return;
        }
        let at = path.unwrap_or(arguments[0]);
        let mut paths = self.paths(nth, at);
        // Koa's routes may have a name before the path.
        if let (None, [_, second, _, ..]) = (path, arguments.as_slice())
            && let Some(text) = self.text(nth, *second, 0).filter(|t| t.starts_with('/'))
        {
            paths = vec![text];
        }
        if paths.is_empty() {
            if believed {
                let what = if at.kind() == "regex" {
                    "a path that is a regular expression"
                } else {
                    "a path that is no literal"
                };
                self.graph.unread(self.modules.all[nth].source.path, line(call), what);
            }
            return;
        }
        if !believed {
            if !paths.iter().all(|p| p.starts_with('/') || p == "*") {
                return;
            }
            self.believe(nth, call, &key);
        }
        for path in paths {
            self.add(nth, call, key.clone(), method, &path);
        }
    }

    /// A parameter with a router's name is one, even if nobody is seen handing it over.
    pub(super) fn believe(&mut self, nth: usize, call: Node<'f>, key: &Key) {
        let modules = self.modules;
        let module = &modules.all[nth];
        let named = above(call, |n| is_function(n.kind()) && key.1.starts_with(&format!("@{}.", n.start_byte())));
        let position = key.1.rsplit_once('.').and_then(|(_, p)| p.parse::<usize>().ok());
        let name = named.zip(position).and_then(|(f, p)| parameters(f).get(p).map(|p| name_of(module, *p)));
        if name.is_some_and(|name| ROUTER_NAMES.contains(&name)) {
            self.graph.node(key.clone()).router = true;
        }
    }

    pub(super) fn add(&mut self, nth: usize, call: Node<'_>, key: Key, method: &str, path: &str) {
        let module = self.module(nth);
        let from = |package: &str| module.imports.values().any(|i| i.from == package);
        let source = match () {
            _ if from("express") => "express",
            _ if from("fastify") || from("fastify-plugin") => "fastify",
            _ if from("koa") || from("koa-router") || from("@koa/router") => "koa",
            _ => self.framework,
        };
        // The line of the verb, where a chain has many.
        let at = field(call, "function").and_then(|f| field(f, "property")).map_or(line(call), line);
        let file = module.source.path.to_string();
        let item = Item::Route { method: method.into(), path: path.into(), line: at, file, source };
        self.graph.node(key).items.push(item);
    }
}
