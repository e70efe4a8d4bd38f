//! Nest: paths of a controller's class and of its methods, below the version, the module's folder and the global prefix.

mod application;

use std::collections::HashMap;

use tree_sitter::Node;

use super::modules::Modules;
use super::template::{self, Style};
use super::tree::{Source, arguments, children, field, line};
use super::{File, Found, Route, Unread};
use crate::gates::code::syntax::{self, Visit};
use application::{Application, Versions};

pub fn routes(files: &[&File]) -> Found {
    let mut out = Found::default();
    let speaks = |file: &File| std::str::from_utf8(&file.text).is_ok_and(|text| text.contains("@nestjs/"));
    if !files.iter().any(|file| speaks(file)) {
        return out;
    }
    let modules = Modules::read(files);
    let mut classes = Vec::new();
    for (nth, file) in files.iter().enumerate().filter(|(_, file)| speaks(file)) {
        syntax::walk(&file.tree, |node, _| {
            if matches!(node.kind(), "class_declaration" | "abstract_class_declaration") {
                classes.push((nth, node));
            }
            Visit::Enter
        });
    }
    let reader = Reader {
        applications: application::applications(&modules),
        folders: folders_of_controllers(&modules, &classes),
        modules: &modules,
    };
    for (nth, class) in classes {
        reader.controller(nth, class, &mut out);
    }
    out
}

struct Reader<'m, 'f> {
    modules: &'m Modules<'f>,
    applications: Vec<(String, Application)>,
    /// Controller → the folders of the modules that have it.
    folders: HashMap<String, Vec<String>>,
}

/// The value of an object's key.
fn option<'t>(source: &Source<'_>, object: Node<'t>, key: &str) -> Option<Node<'t>> {
    let pairs = children(object).into_iter().filter(|pair| pair.kind() == "pair");
    pairs.filter(|p| field(*p, "key").is_some_and(|k| source.text(k) == key)).find_map(|p| field(p, "value"))
}

fn folders_of_controllers(modules: &Modules<'_>, classes: &[(usize, Node<'_>)]) -> HashMap<String, Vec<String>> {
    let folders = application::folders(modules);
    let mut out: HashMap<String, Vec<String>> = HashMap::new();
    for (nth, class) in classes.iter().filter(|_| !folders.is_empty()) {
        let source = &modules.all[*nth].source;
        let module = decorators(*class).into_iter().filter_map(|d| call(source, d)).find(|(name, _)| *name == "Module");
        let Some((_, module)) = module else { continue };
        let list = arguments(module).first().and_then(|object| option(source, *object, "controllers"));
        let name = field(*class, "name").map_or("", |n| source.text(n));
        let folder = folders.get(name).cloned().unwrap_or_default();
        for controller in list.map(children).unwrap_or_default() {
            out.entry(source.text(controller).to_string()).or_default().push(folder.clone());
        }
    }
    out
}

/// Decorators stand before the class, or before `export class`; before a method they are its siblings.
fn decorators<'t>(node: Node<'t>) -> Vec<Node<'t>> {
    let mut out: Vec<Node> = children(node).into_iter().filter(|n| n.kind() == "decorator").collect();
    let mut before = node.prev_named_sibling();
    while let Some(decorator) = before.filter(|n| n.kind() == "decorator") {
        out.push(decorator);
        before = decorator.prev_named_sibling();
    }
    if let Some(parent) = node.parent().filter(|p| p.kind() == "export_statement") {
        out.extend(children(parent).into_iter().filter(|n| n.kind() == "decorator"));
    }
    out
}

/// `@Name(argument)`: its call.
fn call<'s, 't>(source: &Source<'s>, decorator: Node<'t>) -> Option<(&'s str, Node<'t>)> {
    let call = children(decorator).into_iter().find(|n| n.kind() == "call_expression")?;
    Some((source.text(field(call, "function")?), call))
}

fn verb(name: &str) -> Option<&'static str> {
    Some(match name {
        "Get" | "Sse" => "GET",
        "Post" => "POST",
        "Put" => "PUT",
        "Patch" => "PATCH",
        "Delete" => "DELETE",
        "Options" => "OPTIONS",
        "Head" => "HEAD",
        "Search" => "SEARCH",
        "All" => "ANY",
        _ => return None,
    })
}

impl<'f> Reader<'_, 'f> {
    /// The paths that a decorator names; `None`: not a literal.
    fn paths(&self, nth: usize, call: Node<'f>) -> Option<Vec<String>> {
        let Some(first) = arguments(call).into_iter().next() else { return Some(vec![String::new()]) };
        let first = match first.kind() {
            "object" => match option(&self.modules.all[nth].source, first, "path") {
                Some(path) => path,
                None => return Some(vec![String::new()]),
            },
            _ => first,
        };
        match first.kind() {
            "array" => children(first).into_iter().map(|n| self.modules.text(nth, n, 0)).collect(),
            _ => self.modules.text(nth, first, 0).map(|s| vec![s]),
        }
    }

    /// The application whose folder a file lies in: the one with the longest way in common. Is it the only such?
    fn application(&self, path: &str) -> (Application, bool) {
        let common = |other: &str| path.split('/').zip(other.split('/')).take_while(|(a, b)| a == b).count();
        let best = self.applications.iter().map(|(file, _)| common(file)).max().unwrap_or(0);
        let mut near = self.applications.iter().filter(|(file, _)| common(file) == best).map(|(_, a)| a);
        let first = near.next().cloned().unwrap_or_default();
        let certain = !first.uncertain && near.all(|other| *other == first);
        (first, certain)
    }

    fn controller(&self, nth: usize, class: Node<'f>, out: &mut Found) {
        let source = &self.modules.all[nth].source;
        let decorated = decorators(class);
        let found = decorated.iter().filter_map(|d| call(source, *d)).find(|(name, _)| *name == "Controller");
        let Some((_, at)) = found else { return };
        let unread = |node: Node<'_>| Unread {
            file: source.path.to_string(),
            line: line(node),
            why: "a path that is no literal".into(),
        };
        let Some(above) = self.paths(nth, at) else {
            out.1.push(unread(at));
            return;
        };
        let (application, certain) = self.application(source.path);
        let name = field(class, "name").map_or("", |n| source.text(n));
        let folders = self.folders.get(name).cloned().unwrap_or_else(|| vec![String::new()]);
        let whole = arguments(at).into_iter().next().and_then(|object| option(source, object, "version"));
        let of_class =
            whole.or_else(|| version_of(source, &decorated)).map(|v| application::version(self.modules, nth, v));
        for method in field(class, "body").map(children).unwrap_or_default() {
            if method.kind() != "method_definition" {
                continue;
            }
            let decorated = decorators(method);
            let of_method = version_of(source, &decorated).map(|v| application::version(self.modules, nth, v));
            let versions = segments(&application.versions, of_method.or(of_class.clone()));
            for (name, at) in decorated.iter().filter_map(|d| call(source, *d)) {
                let Some(verb) = verb(name) else { continue };
                let Some(below) = self.paths(nth, at) else {
                    out.1.push(unread(at));
                    continue;
                };
                for parts in product([&versions, &folders, &above, &below]) {
                    let path = parts.iter().filter(|part| !part.trim_matches('/').is_empty());
                    let path =
                        path.fold(String::new(), |path, part| template::join(&path, part.trim_end_matches('/'), false));
                    let prefix = if application.is_excluded(&path, verb) { "" } else { application.prefix.as_str() };
                    let whole = template::join(prefix, &path, false);
                    out.0.push(Route::new(verb, &whole, Style::Colon, source.path, line(at), "nestjs", certain));
                }
            }
        }
    }
}

/// The argument of `@Version()`.
fn version_of<'t>(source: &Source<'_>, decorators: &[Node<'t>]) -> Option<Node<'t>> {
    let call = decorators.iter().filter_map(|d| call(source, *d)).find(|(name, _)| *name == "Version")?.1;
    arguments(call).into_iter().next()
}

/// What versions put into the path.
fn segments(versions: &Versions, said: Option<Vec<Option<String>>>) -> Vec<String> {
    let Versions::Path { prefix, default } = versions else { return vec![String::new()] };
    let said = said.unwrap_or_else(|| default.clone());
    match said.is_empty() {
        true => vec![String::new()],
        false => said.into_iter().map(|v| v.map_or_else(String::new, |v| format!("{prefix}{v}"))).collect(),
    }
}

/// One of each, in every combination.
fn product<'p>(lists: [&'p Vec<String>; 4]) -> Vec<Vec<&'p str>> {
    lists.into_iter().fold(vec![vec![]], |all, list| {
        let with = |have: &Vec<&'p str>| {
            list.iter().map(|one| [have.as_slice(), &[one.as_str()]].concat()).collect::<Vec<_>>()
        };
        all.iter().flat_map(with).collect()
    })
}
