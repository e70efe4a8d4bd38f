//! Next: routes are files. `pages/api`, the handlers and pages of `app`, and `pages`.

use super::template::Style;
use super::{File, Found, Route};
use crate::gates::code::syntax::{self, Visit};
use crate::gates::context::Repo;
use crate::gates::facts::Facts;
use crate::gates::facts::own::Own;

const VERBS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

pub fn routes(repo: &Repo, facts: &Facts, files: &[&File]) -> Found {
    let mut out = Found::default();
    let mut own = Own::default();
    let mut roots: Vec<String> = Vec::new();
    for fact in facts.of("frontend").filter(|f| f.value == "next") {
        let folder = fact.file.rsplit_once('/').map_or(String::new(), |(f, _)| format!("{f}/"));
        if !roots.contains(&folder) {
            roots.push(folder);
        }
    }
    for root in roots {
        for file in repo.files.iter().filter(|f| own.has(&f.path)) {
            let Some(inside) = file.path.strip_prefix(&root) else { continue };
            let inside = inside.strip_prefix("src/").unwrap_or(inside);
            let Some((stem, "js" | "jsx" | "ts" | "tsx" | "mdx")) = inside.rsplit_once('.') else { continue };
            let text = || files.iter().find(|f| f.path == file.path);
            out.0.extend(of_file(&file.path, stem, text));
        }
    }
    out
}

fn of_file<'f>(path: &str, stem: &str, parsed: impl Fn() -> Option<&'f &'f File>) -> Vec<Route> {
    let route = |method: &str, template: String, line: u32| {
        Route::new(method, &template, Style::Brace, path, line, "next", true)
    };
    if let Some(inside) = stem.strip_prefix("pages/") {
        let name = inside.rsplit('/').next().unwrap_or(inside);
        // What begins with `_` wraps the others; `name.test` is none.
        if name.starts_with('_') || name.contains('.') && !name.starts_with('[') || matches!(inside, "404" | "500") {
            return Vec::new();
        }
        let inside = inside.strip_suffix("/index").unwrap_or(if inside == "index" { "" } else { inside });
        let method = if inside.starts_with("api/") || inside == "api" { "ANY" } else { "GET" };
        return of_segments(inside.split('/')).map(|template| route(method, template, 1)).into_iter().collect();
    }
    let Some(inside) = stem.strip_prefix("app/") else { return Vec::new() };
    let (folder, name) = inside.rsplit_once('/').unwrap_or(("", inside));
    let Some(template) = of_segments(folder.split('/')) else { return Vec::new() };
    match name {
        "page" => vec![route("GET", template, 1)],
        "route" => {
            let handlers = parsed().map(|f| exported(f)).unwrap_or_default();
            handlers.into_iter().map(|(method, line)| route(method, template.clone(), line)).collect()
        }
        _ => Vec::new(),
    }
}

/// `[id]` is a parameter, `[...rest]` the rest, `(group)` and `@slot` are no part of the path; `None`: shown only inside
/// another page.
fn of_segments<'p>(segments: impl Iterator<Item = &'p str>) -> Option<String> {
    let mut out = String::new();
    for segment in segments.filter(|s| !s.is_empty() && !s.starts_with('@')) {
        if segment.starts_with("(.") || segment.starts_with('_') {
            return None;
        }
        if segment.starts_with('(') && segment.ends_with(')') {
            continue;
        }
        out.push('/');
        match segment.strip_prefix('[') {
            Some(name) => out.push_str(&format!("{{{}}}", name.trim_matches(['[', ']', '.']))),
            None => out.push_str(segment),
        }
    }
    Some(if out.is_empty() { "/".into() } else { out })
}

/// The methods that a handler's file exports: functions, constants, and names in `export { … }`.
fn exported(file: &File) -> Vec<(&'static str, u32)> {
    let mut out = Vec::new();
    syntax::walk(&file.tree, |node, ancestors| {
        let inside = ancestors.iter().any(|a| a.kind() == "export_statement");
        let parent = ancestors.last();
        let names = parent.is_some_and(|p| {
            let field = match p.kind() {
                "function_declaration" | "variable_declarator" => p.child_by_field_name("name"),
                "export_specifier" => p.child_by_field_name("alias").or(p.child_by_field_name("name")),
                _ => None,
            };
            field == Some(node)
        });
        if inside
            && names
            && let Some(verb) = VERBS.iter().find(|v| **v == syntax::text(node, &file.text))
        {
            out.push((*verb, node.start_position().row as u32 + 1));
        }
        Visit::Enter
    });
    out.sort();
    out.dedup_by_key(|(verb, _)| *verb);
    out
}

#[cfg(test)]
mod tests {
    use super::of_segments;

    #[test]
    fn folders_are_paths() {
        for (folders, expect) in [
            ("", Some("/")),
            ("blog/[slug]", Some("/blog/{slug}")),
            ("(shop)/cart/@modal", Some("/cart")),
            ("docs/[[...path]]", Some("/docs/{path}")),
            ("feed/(.)photo", None),
            ("_private/a", None),
        ] {
            assert_eq!(of_segments(folders.split('/')).as_deref(), expect, "{folders}");
        }
    }
}
