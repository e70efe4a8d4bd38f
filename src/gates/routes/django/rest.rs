//! Django's REST framework: what a router registers, with the methods that the view set has.

use super::*;
use crate::gates::routes::python::keyword;

/// (action, method, of one element)
const ACTIONS: [(&str, &str, bool); 6] = [
    ("list", "GET", false),
    ("create", "POST", false),
    ("retrieve", "GET", true),
    ("update", "PUT", true),
    ("partial_update", "PATCH", true),
    ("destroy", "DELETE", true),
];

/// Classes below classes; deeper is a circle.
const BASES_MAX: usize = 8;

/// What a view set answers.
struct Views {
    /// Names of [`ACTIONS`].
    actions: Vec<&'static str>,
    /// Path, method, of one element.
    extra: Vec<(String, String, bool)>,
    lookup: String,
    /// `http_method_names`
    only: Option<Vec<String>>,
}

impl<'f> Reader<'_, 'f> {
    /// The router that a name stands for: in which file, under which name.
    pub(super) fn rest_router(&self, nth: usize, name: &str) -> Option<(usize, String)> {
        let module = &self.modules.all[nth];
        if is_rest_router(module, name) {
            return Some((nth, name.to_string()));
        }
        let (there, name) = match (module.imports.get(name), name.rsplit_once('.')) {
            (Some((from, inside)), _) => (self.modules.resolve(Some(nth), from)?, inside.as_str()),
            (None, Some((object, name))) => (self.modules.named(nth, object)?, name),
            (None, None) => return None,
        };
        is_rest_router(&self.modules.all[there], name).then(|| (there, name.to_string()))
    }

    /// `DefaultRouter` lists its routes at its own root.
    pub(super) fn roots_of_routers(&mut self, nth: usize) {
        let module = &self.modules.all[nth];
        for (name, value) in &module.values {
            if class_of(module, *value) == Some("DefaultRouter") {
                let key = self.key(nth, &format!("router {name}"));
                self.rest_route(nth, *value, key, "GET", String::new());
            }
        }
    }

    /// `router.register("users", UserViewSet)`.
    pub(super) fn registered(&mut self, nth: usize, call: Node<'f>, callee: Node<'f>) {
        let module = &self.modules.all[nth];
        let Some(object) = field(callee, "object").map(|o| module.source.text(o)) else { return };
        let Some((there, name)) = self.rest_router(nth, object) else { return };
        let prefix = argument(&module.source, call, 0, "prefix").and_then(|p| self.modules.text(nth, p, 0));
        let Some(prefix) = prefix.and_then(|p| of_regex(&p)) else {
            self.graph.unread(module.source.path, line(call), "a path that is no literal");
            return;
        };
        let made = &self.modules.all[there];
        let bare = made.values.get(&name).and_then(|v| keyword(&made.source, *v, "trailing_slash"));
        let slash = if bare.is_some_and(|v| made.source.text(v) == "False") { "" } else { "/" };
        let key = self.key(there, &format!("router {name}"));
        let views = argument(&module.source, call, 1, "viewset")
            .and_then(|class| self.class(nth, class))
            .and_then(|(there, class)| self.views(there, class, 0));
        let above = prefix.trim_end_matches('/');
        let at = |below: &str| match (above.is_empty(), below.is_empty()) {
            (true, true) => String::new(),
            (true, false) => format!("{below}{slash}"),
            (false, true) => format!("{above}{slash}"),
            (false, false) => format!("{above}/{below}{slash}"),
        };
        let Some(Views { actions, extra, lookup, only }) = views else {
            // Which methods they take, the view decides.
            for path in [at(""), at("<pk>")] {
                self.rest_route(nth, call, key.clone(), "ANY", path);
            }
            return;
        };
        let allowed = |method: &str| only.as_ref().is_none_or(|o| o.iter().any(|m| m.eq_ignore_ascii_case(method)));
        let element = format!("<{lookup}>");
        for (action, method, one) in ACTIONS {
            if actions.contains(&action) && allowed(method) {
                let path = at(if one { &element } else { "" });
                self.rest_route(nth, call, key.clone(), method, path);
            }
        }
        for (path, method, one) in extra.iter().filter(|(_, method, _)| allowed(method)) {
            let path = if *one { at(&format!("{element}/{path}")) } else { at(path) };
            self.rest_route(nth, call, key.clone(), method, path);
        }
    }

    fn rest_route(&mut self, nth: usize, at: Node<'f>, key: Key, method: &str, path: String) {
        let file = self.modules.all[nth].source.path.to_string();
        let item = Item::Route { method: method.into(), path, line: line(at), file, source: "django-rest" };
        self.graph.node(key).items.push(item);
    }

    /// The class that a name stands for.
    fn class(&self, nth: usize, node: Node<'f>) -> Option<(usize, Node<'f>)> {
        let module = &self.modules.all[nth];
        let name = module.source.text(node);
        if let Some(class) = module.classes.get(name) {
            return Some((nth, *class));
        }
        let (there, name) = match (module.imports.get(name), name.rsplit_once('.')) {
            (Some((from, inside)), _) => (self.modules.resolve(Some(nth), from)?, inside.as_str()),
            (None, Some((object, name))) => (self.modules.named(nth, object)?, name),
            (None, None) => return None,
        };
        Some((there, *self.modules.all[there].classes.get(name)?))
    }

    /// `None`: a class above it is not known.
    fn views(&self, nth: usize, class: Node<'f>, depth: usize) -> Option<Views> {
        let module = &self.modules.all[nth];
        let source = &module.source;
        let mut views = Views { actions: Vec::new(), extra: Vec::new(), lookup: "pk".into(), only: None };
        let bases = field(class, "superclasses").map(children).unwrap_or_default();
        for base in bases.into_iter().rev().filter(|b| matches!(b.kind(), "identifier" | "attribute")) {
            match source.text(base).rsplit('.').next().unwrap_or_default() {
                "ModelViewSet" => views.actions.extend(ACTIONS.map(|(action, ..)| action)),
                "ReadOnlyModelViewSet" => views.actions.extend(["list", "retrieve"]),
                "ListModelMixin" => views.actions.push("list"),
                "CreateModelMixin" => views.actions.push("create"),
                "RetrieveModelMixin" => views.actions.push("retrieve"),
                "UpdateModelMixin" => views.actions.extend(["update", "partial_update"]),
                "DestroyModelMixin" => views.actions.push("destroy"),
                "ViewSet" | "GenericViewSet" | "ViewSetMixin" | "APIView" | "GenericAPIView" | "object" => {}
                _ => {
                    let (there, above) = self.class(nth, base).filter(|_| depth < BASES_MAX)?;
                    let above = self.views(there, above, depth + 1)?;
                    views.actions.extend(above.actions);
                    views.extra.extend(above.extra);
                    (views.lookup, views.only) = (above.lookup, above.only.or(views.only));
                }
            }
        }
        for statement in field(class, "body").map(children).unwrap_or_default() {
            match statement.kind() {
                "function_definition" => {
                    let name = field(statement, "name").map_or("", |n| source.text(n));
                    views.actions.extend(ACTIONS.iter().map(|(action, ..)| *action).filter(|a| *a == name));
                }
                "decorated_definition" => extra(&mut views, source, statement)?,
                "expression_statement" => setting(&mut views, source, statement),
                _ => {}
            }
        }
        Some(views)
    }
}

/// `lookup_field = "slug"`, `http_method_names = ["get"]`.
fn setting(views: &mut Views, source: &Source<'_>, statement: Node<'_>) {
    let Some(assignment) = children(statement).into_iter().find(|n| n.kind() == "assignment") else { return };
    let (Some(left), Some(right)) = (field(assignment, "left"), field(assignment, "right")) else { return };
    match source.text(left) {
        "lookup_url_kwarg" | "lookup_field" => views.lookup = string(source, right).unwrap_or("pk".into()),
        "http_method_names" => {
            views.only = Some(children(right).into_iter().filter_map(|n| string(source, n)).collect());
        }
        _ => {}
    }
}

/// `@action(detail=True, methods=["post"], url_path="x")`, `@pour.mapping.delete`. `None`: it cannot be read.
fn extra(views: &mut Views, source: &Source<'_>, decorated: Node<'_>) -> Option<()> {
    let function = field(decorated, "definition").filter(|d| d.kind() == "function_definition")?;
    let name = source.text(field(function, "name")?);
    views.actions.extend(ACTIONS.iter().map(|(action, ..)| *action).filter(|a| *a == name));
    for decorator in children(decorated).into_iter().filter(|n| n.kind() == "decorator") {
        let Some(what) = children(decorator).into_iter().next() else { continue };
        if let Some((of, method)) = source.text(what).split_once(".mapping.") {
            let found = views.extra.iter().find(|(path, ..)| path == of).cloned();
            views.extra.extend(found.map(|(path, _, one)| (path, method.to_ascii_uppercase(), one)));
            continue;
        }
        let callee = field(what, "function").filter(|_| what.kind() == "call").map_or("", |c| source.text(c));
        if callee.rsplit('.').next() != Some("action") {
            continue;
        }
        let one = keyword(source, what, "detail").is_some_and(|v| source.text(v) == "True");
        let path = match keyword(source, what, "url_path") {
            Some(path) => of_regex(&string(source, path)?)?,
            None => name.to_string(),
        };
        let methods = match argument(source, what, 0, "methods") {
            Some(list) => children(list).into_iter().map(|n| string(source, n)).collect::<Option<Vec<_>>>()?,
            None => vec!["get".into()],
        };
        views.extra.extend(methods.into_iter().map(|m| (path.clone(), m.to_ascii_uppercase(), one)));
    }
    Some(())
}

/// The last part of the class whose call a value is.
fn class_of<'f>(module: &Module<'f>, value: Node<'f>) -> Option<&'f str> {
    let callee = field(value, "function").filter(|_| value.kind() == "call")?;
    module.source.text(callee).rsplit('.').next()
}

fn is_rest_router(module: &Module<'_>, name: &str) -> bool {
    module.values.get(name).and_then(|v| class_of(module, *v)).is_some_and(|class| class.ends_with("Router"))
}
