//! Spring: mappings of a controller's class and of its methods, below the context path of the settings.

use tree_sitter::Node;

use super::template::{self, Style};
use super::tree::{Source, above, child_of, children, field, line};
use super::{File, Found, Route, Unread};
use crate::gates::code::syntax::{self, Visit};
use crate::gates::context::Repo;

pub fn routes(repo: &Repo, files: &[&File]) -> Found {
    let mut out = Found::default();
    if files.is_empty() {
        return out;
    }
    let context = context_path(repo);
    for file in files {
        let source = Source { path: &file.path, text: &file.text };
        syntax::walk(&file.tree, |node, _| {
            if node.kind() == "method_declaration" {
                method(&source, node, &context, &mut out);
            }
            Visit::Enter
        });
    }
    out
}

/// `server.servlet.context-path` of the main settings.
fn context_path(repo: &Repo) -> String {
    const BYTES_MAX: u64 = 256 * 1024;
    let settings = repo.files.iter().filter(|f| f.path.ends_with("src/main/resources/application.properties"));
    let texts = settings.filter_map(|f| repo.read_text(&f.path, BYTES_MAX).ok());
    let value = |text: String| {
        let line = text.lines().find_map(|l| l.trim().strip_prefix("server.servlet.context-path")?.split_once('='))?.1;
        Some(line.trim().to_string()).filter(|v| v.starts_with('/'))
    };
    texts.filter_map(value).next().unwrap_or_default()
}

/// An annotation that maps: the method it stands for, and its arguments.
fn mapping(name: &str) -> Option<&'static str> {
    Some(match name.rsplit('.').next().unwrap_or(name) {
        "GetMapping" => "GET",
        "PostMapping" => "POST",
        "PutMapping" => "PUT",
        "PatchMapping" => "PATCH",
        "DeleteMapping" => "DELETE",
        "RequestMapping" => "ANY",
        _ => return None,
    })
}

fn annotations<'t>(node: Node<'t>) -> Vec<Node<'t>> {
    let modifiers = child_of(node, "modifiers").map(children).unwrap_or_default();
    modifiers.into_iter().filter(|m| matches!(m.kind(), "annotation" | "marker_annotation")).collect()
}

fn name<'s>(source: &Source<'s>, annotation: Node<'_>) -> &'s str {
    field(annotation, "name").map_or("", |n| source.text(n))
}

/// What a mapping says: paths (`None`: no literal), and methods.
struct Said {
    paths: Vec<Option<String>>,
    methods: Vec<String>,
    line: u32,
}

fn said(source: &Source<'_>, annotation: Node<'_>) -> Option<Said> {
    let method = mapping(name(source, annotation))?;
    let mut out = Said { paths: Vec::new(), methods: vec![method.to_string()], line: line(annotation) };
    for argument in field(annotation, "arguments").map(children).unwrap_or_default() {
        let (key, value) = match argument.kind() {
            "element_value_pair" => (field(argument, "key").map_or("", |k| source.text(k)), field(argument, "value")),
            _ => ("value", Some(argument)),
        };
        let Some(value) = value else { continue };
        let values = if value.kind() == "element_value_array_initializer" { children(value) } else { vec![value] };
        match key {
            "value" | "path" => out.paths = values.into_iter().map(|v| text(source, v, 0)).collect(),
            "method" => {
                let names =
                    values.into_iter().map(|v| source.text(v).rsplit('.').next().unwrap_or_default().to_string());
                out.methods = names.collect();
            }
            _ => {}
        }
    }
    Some(out)
}

const STEPS_MAX: usize = 8;

/// A literal, literals put together, or a constant of the same class.
fn text(source: &Source<'_>, node: Node<'_>, steps: usize) -> Option<String> {
    match node.kind() {
        _ if steps > STEPS_MAX => None,
        "string_literal" => Some(source.text(node).trim_matches('"').to_string()),
        "binary_expression" => {
            let left = text(source, field(node, "left")?, steps + 1)?;
            Some(left + &text(source, field(node, "right")?, steps + 1)?)
        }
        "parenthesized_expression" => text(source, children(node).into_iter().next()?, steps + 1),
        "identifier" => {
            let wanted = source.text(node);
            let mut class = above(node, |n| n.kind() == "class_declaration");
            while let Some(here) = class {
                for part in children(field(here, "body")?).into_iter().filter(|n| n.kind() == "field_declaration") {
                    let declarator = field(part, "declarator")?;
                    if field(declarator, "name").is_some_and(|n| source.text(n) == wanted) {
                        return text(source, field(declarator, "value")?, steps + 1);
                    }
                }
                class = above(here, |n| n.kind() == "class_declaration");
            }
            None
        }
        _ => None,
    }
}

fn method(source: &Source<'_>, node: Node<'_>, context: &str, out: &mut Found) {
    let Some(said_here) = annotations(node).into_iter().find_map(|a| said(source, a)) else { return };
    let Some(class) =
        above(node, |n| matches!(n.kind(), "class_declaration" | "interface_declaration" | "record_declaration"))
    else {
        return;
    };
    let names: Vec<&str> = annotations(class).into_iter().map(|a| name(source, a)).collect();
    // A Feign client's mappings are what it calls.
    if names.iter().any(|n| n.ends_with("FeignClient") || n.ends_with("HttpExchange")) {
        return;
    }
    let certain = names.iter().any(|n| n.ends_with("Controller") || n.ends_with("Endpoint"));
    let above = annotations(class).into_iter().find_map(|a| said(source, a));
    let some = |paths: Option<Vec<Option<String>>>| {
        paths.filter(|p| !p.is_empty()).unwrap_or_else(|| vec![Some(String::new())])
    };
    for class_path in some(above.map(|s| s.paths)) {
        for path in some(Some(said_here.paths.clone())) {
            let (Some(class_path), Some(path)) = (&class_path, path) else {
                let why = "a path that is no literal".to_string();
                out.1.push(Unread { file: source.path.to_string(), line: said_here.line, why });
                continue;
            };
            let mut whole = context.to_string();
            for part in [class_path.as_str(), path.as_str()] {
                if !part.is_empty() {
                    whole = template::join(&whole, part, true);
                }
            }
            let whole = template::join("", &whole, true);
            for method in &said_here.methods {
                let line = said_here.line;
                out.0.push(Route::new(method, &whole, Style::Brace, source.path, line, "spring", certain));
            }
        }
    }
}
