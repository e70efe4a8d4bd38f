//! Nest: paths of a controller's class and of its methods, below the global prefix.

use tree_sitter::Node;

use super::modules::string;
use super::template::{self, Style};
use super::tree::{Source, arguments, children, field, line};
use super::{File, Found, Route, Unread};
use crate::gates::code::syntax::{self, Visit};

pub fn routes(files: &[&File]) -> Found {
    let mut out = Found::default();
    let (mut prefix, mut certain, mut controllers) = (String::new(), true, Vec::new());
    for file in files {
        let text = std::str::from_utf8(&file.text).unwrap_or_default();
        if !text.contains("@nestjs/") {
            continue;
        }
        let source = Source { path: &file.path, text: &file.text };
        syntax::walk(&file.tree, |node, _| {
            if node.kind() == "call_expression" {
                let callee = field(node, "function").map_or("", |c| source.text(c));
                let first = arguments(node).into_iter().next();
                if callee.ends_with(".setGlobalPrefix") {
                    match first.and_then(|a| string(&source, a)) {
                        Some(text) => prefix = text.to_string(),
                        None => certain = false,
                    }
                }
                // Versions stand in the path, or in a header.
                certain &= !callee.ends_with(".enableVersioning");
            }
            if matches!(node.kind(), "class_declaration" | "abstract_class_declaration") {
                controllers.push((*file, node));
            }
            Visit::Enter
        });
    }
    for (file, class) in controllers {
        controller(&Source { path: &file.path, text: &file.text }, class, &prefix, certain, &mut out);
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

/// The paths that a decorator names; `None`: not a literal.
fn paths(source: &Source<'_>, call: Node<'_>) -> Option<Vec<String>> {
    let Some(first) = arguments(call).into_iter().next() else { return Some(vec![String::new()]) };
    let first = match first.kind() {
        "object" => {
            let pair = children(first).into_iter().find(|p| field(*p, "key").is_some_and(|k| source.text(k) == "path"));
            match pair {
                Some(pair) => field(pair, "value")?,
                None => return Some(vec![String::new()]),
            }
        }
        _ => first,
    };
    match first.kind() {
        "array" => children(first).into_iter().map(|n| string(source, n).map(str::to_string)).collect(),
        _ => string(source, first).map(|s| vec![s.to_string()]),
    }
}

fn verb(name: &str) -> Option<&'static str> {
    Some(match name {
        "Get" => "GET",
        "Post" => "POST",
        "Put" => "PUT",
        "Patch" => "PATCH",
        "Delete" => "DELETE",
        "Options" => "OPTIONS",
        "Head" => "HEAD",
        "All" => "ANY",
        _ => return None,
    })
}

fn controller(source: &Source<'_>, class: Node<'_>, prefix: &str, certain: bool, out: &mut Found) {
    let found = decorators(class).into_iter().filter_map(|d| call(source, d)).find(|(name, _)| *name == "Controller");
    let Some((_, at)) = found else { return };
    let unread = |node: Node<'_>| Unread {
        file: source.path.to_string(),
        line: line(node),
        why: "a path that is no literal".into(),
    };
    let Some(above) = paths(source, at) else {
        out.1.push(unread(at));
        return;
    };
    for method in field(class, "body").map(children).unwrap_or_default() {
        if method.kind() != "method_definition" {
            continue;
        }
        for (name, at) in decorators(method).into_iter().filter_map(|d| call(source, d)) {
            let Some(verb) = verb(name) else { continue };
            let Some(below) = paths(source, at) else {
                out.1.push(unread(at));
                continue;
            };
            for top in &above {
                for path in &below {
                    let whole = template::join(&template::join(prefix, top, false), path, false);
                    out.0.push(Route::new(verb, &whole, Style::Colon, source.path, line(at), "nestjs", certain));
                }
            }
        }
    }
}
