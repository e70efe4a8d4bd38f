//! What is declared on routers: routes, groups, mounts, and functions that a router is handed to.

use super::*;

impl<'f> Reader<'_, 'f> {
    pub(super) fn call(&mut self, nth: usize, call: Node<'f>) {
        let modules = self.modules;
        let module = &modules[nth];
        let Some(callee) = field(call, "function") else { return };
        let arguments = arguments(call);
        if callee.kind() == "selector_expression"
            && let (Some(operand), Some(name)) = (field(callee, "operand"), field(callee, "field"))
        {
            let (operand_text, name) = (module.source.text(operand), module.source.text(name));
            if module.imports.get(operand_text).is_some_and(|p| p == "net/http") {
                if matches!(name, "HandleFunc" | "Handle") {
                    let key = (String::new(), DEFAULT.to_string());
                    let node = self.graph.node(key.clone());
                    (node.root, node.router) = (true, true);
                    self.route(nth, call, key, name);
                }
                if matches!(name, "ListenAndServe" | "ListenAndServeTLS" | "Serve") {
                    self.serves(nth, arguments.get(1).copied());
                }
                return;
            }
            if module.framework == Some("gorilla-mux")
                && matches!(name, "Handler" | "HandlerFunc")
                && self.chained(nth, call, operand)
            {
                return;
            }
            if module.framework == Some("gin") && matches!(name, "StaticFile" | "Static" | "StaticFS") {
                if let Some(key) = self.router(nth, operand) {
                    self.files(nth, call, key, name);
                }
                return;
            }
            let declares = is_verb(name)
                || matches!(name, "Handle" | "HandleFunc" | "Method" | "MethodFunc" | "Match" | "Any" | "All" | "Add");
            let nests = matches!(name, "Route" | "Group" | "Mount");
            if (declares || nests)
                && let Some(key) = self.router(nth, operand)
            {
                if nests {
                    self.nest(nth, call, key, name);
                } else {
                    self.route(nth, call, key, name);
                }
                return;
            }
        }
        self.hand_over(nth, call, callee);
    }

    /// What a server is given is the application.
    pub(super) fn serves(&mut self, nth: usize, handler: Option<Node<'f>>) {
        let Some(handler) = handler else { return };
        let mut inside = vec![handler];
        inside.extend(descendants(handler, "identifier"));
        for node in inside {
            if let Some(key) = self.router(nth, node) {
                self.graph.node(key).root = true;
                return;
            }
        }
    }

    /// `r.Route("/x", func(r chi.Router) {…})`, `r.Group(func…)`, `r.Mount("/x", h)`.
    pub(super) fn nest(&mut self, nth: usize, call: Node<'f>, parent: Key, name: &str) {
        let arguments = arguments(call);
        let Some(last) = arguments.last().copied() else { return };
        let prefix = match arguments.len() {
            1 => Some(String::new()),
            _ => self.text(nth, arguments[0], 0),
        };
        if last.kind() == "func_literal" {
            let child = self.parameter(nth, last, 0);
            self.hang(nth, call, parent, prefix, child);
        } else if name == "Mount" {
            let child = self.router(nth, last);
            // A package's own handler (a profiler, files) is no router of ours.
            let ours = child.is_some()
                || last.kind() == "call_expression"
                    && self.function(nth, field(last, "function").unwrap_or(last)).is_some();
            if ours {
                self.hang(nth, call, parent, prefix, child);
            }
        } else {
            // A group that nobody names still is one.
            self.group(nth, call, call, parent);
        }
    }

    pub(super) fn route(&mut self, nth: usize, call: Node<'f>, key: Key, name: &str) {
        let module = &self.modules[nth];
        let arguments = arguments(call);
        let methods_first =
            matches!(name, "Method" | "MethodFunc" | "Match" | "Add") || name == "Handle" && arguments.len() > 2;
        let at = usize::from(methods_first);
        let Some(path) = arguments.get(at).and_then(|a| self.text(nth, *a, 0)) else {
            if arguments.len() > at + 1 {
                self.graph.unread(module.source.path, line(call), "a path that is no literal");
            }
            return;
        };
        let mut methods: Vec<String> = match name {
            _ if methods_first => {
                let list = descendants(arguments[0], "interpreted_string_literal");
                let one = self.text(nth, arguments[0], 0);
                one.map_or_else(|| list.into_iter().filter_map(|n| self.text(nth, n, 0)).collect(), |m| vec![m])
            }
            "Handle" | "HandleFunc" | "Any" | "All" => vec!["ANY".into()],
            verb => vec![verb.to_string()],
        };
        // gorilla: `.Name("x").Methods("GET")` behind it.
        let mut here = call;
        while let Some(selector) = here.parent().filter(|p| p.kind() == "selector_expression") {
            let Some(more) = selector.parent().filter(|p| p.kind() == "call_expression") else { break };
            if field(selector, "field").is_some_and(|f| module.source.text(f) == "Methods") {
                let said = crate::gates::routes::tree::arguments(more).into_iter();
                methods = said.filter_map(|n| self.text(nth, n, 0)).collect();
            }
            here = more;
        }
        let mut path = path;
        // net/http: `GET /x`, `example.com/x`.
        if let Some((verb, rest)) = path.split_once(' ') {
            methods = vec![verb.to_string()];
            path = rest.trim_start().to_string();
        }
        if let Some(slash) = path.find('/').filter(|at| *at > 0 && module.framework == Some("net/http")) {
            path = path[slash..].to_string();
        }
        if let Some(child) = self.stripped(nth, arguments.get(at + 1).copied()) {
            let prefix = child.0;
            return self.hang(nth, call, key, prefix, Some(child.1));
        }
        let (source, file) = (module.framework.unwrap_or("net/http"), module.source.path.to_string());
        for method in methods {
            let (path, file) = (path.clone(), file.clone());
            self.graph.node(key.clone()).items.push(Item::Route { method, path, line: line(call), file, source });
        }
    }

    /// gorilla: `r.Methods("GET").Path("/x").HandlerFunc(h)`. Was it one?
    fn chained(&mut self, nth: usize, call: Node<'f>, operand: Node<'f>) -> bool {
        let source = &self.modules[nth].source;
        let (mut here, mut path, mut methods) = (operand, None, Vec::new());
        while here.kind() == "call_expression" {
            let Some(callee) = field(here, "function").filter(|c| c.kind() == "selector_expression") else { break };
            let (Some(before), Some(name)) = (field(callee, "operand"), field(callee, "field")) else { break };
            let said = crate::gates::routes::tree::arguments(here);
            match source.text(name) {
                "Path" => path = said.first().and_then(|n| self.text(nth, *n, 0)),
                "PathPrefix" => {
                    let prefix = said.first().and_then(|n| self.text(nth, *n, 0));
                    path = prefix.map(|p| format!("{}/{{*}}", p.trim_end_matches('/')));
                }
                "Methods" => methods = said.into_iter().filter_map(|n| self.text(nth, n, 0)).collect(),
                "Name" | "Host" | "Headers" | "HeadersRegexp" | "Queries" | "Schemes" | "MatcherFunc" | "NewRoute" => {}
                _ => break,
            }
            here = before;
        }
        let (Some(path), Some(key)) = (path, self.router(nth, here)) else { return false };
        if methods.is_empty() {
            methods.push("ANY".to_string());
        }
        let file = self.modules[nth].source.path.to_string();
        for method in methods {
            let (path, file) = (path.clone(), file.clone());
            let item = Item::Route { method, path, line: line(call), file, source: "gorilla-mux" };
            self.graph.node(key.clone()).items.push(item);
        }
        true
    }

    /// gin: `r.StaticFile("/favicon.ico", f)`, `r.Static("/assets", folder)`.
    fn files(&mut self, nth: usize, call: Node<'f>, key: Key, name: &str) {
        let module = &self.modules[nth];
        let Some(path) = arguments(call).first().and_then(|a| self.text(nth, *a, 0)) else {
            return self.graph.unread(module.source.path, line(call), "a path that is no literal");
        };
        let path = if name == "StaticFile" { path } else { format!("{}/*filepath", path.trim_end_matches('/')) };
        for method in ["GET", "HEAD"] {
            let (method, path, file) = (method.to_string(), path.clone(), module.source.path.to_string());
            let item = Item::Route { method, path, line: line(call), file, source: "gin" };
            self.graph.node(key.clone()).items.push(item);
        }
    }

    /// `http.StripPrefix("/api", mux)`, or a router itself: what hangs there, and below what.
    pub(super) fn stripped(&mut self, nth: usize, handler: Option<Node<'f>>) -> Option<(Option<String>, Key)> {
        let handler = handler?;
        let source = &self.modules[nth].source;
        let callee = field(handler, "function").filter(|_| handler.kind() == "call_expression");
        if callee.is_some_and(|c| source.text(c).ends_with(".StripPrefix")) {
            let arguments = arguments(handler);
            let child = self.router(nth, *arguments.get(1)?)?;
            return Some((self.text(nth, arguments[0], 0), child));
        }
        let child = self.router(nth, handler)?;
        Some((Some(String::new()), child))
    }

    /// `users.Register(v1)`, `h.Routes(r)`, `http.Server{Handler: r}` aside.
    pub(super) fn hand_over(&mut self, nth: usize, call: Node<'f>, callee: Node<'f>) {
        let given: Vec<(usize, Key)> = arguments(call)
            .into_iter()
            .enumerate()
            .filter(|(_, a)| matches!(a.kind(), "identifier" | "selector_expression" | "call_expression"))
            .filter_map(|(i, a)| Some((i, self.router(nth, a)?)))
            .collect();
        if given.is_empty() {
            return;
        }
        let Some((there, function)) = self.function(nth, callee) else { return };
        for (i, key) in given {
            if let Some(child) = self.parameter(there, function, i) {
                self.hang(nth, call, key, Some(String::new()), Some(child));
            }
        }
    }
}
