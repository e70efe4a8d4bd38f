//! What an application of Nest says once for all its routes: the prefix and what is left out of it, versions, and the
//! folders that its modules lie in.

use std::collections::HashMap;

use super::*;

/// How versions are told apart.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Versions {
    /// Not at all, or in a header: no part of the path.
    #[default]
    Unseen,
    Path {
        prefix: String,
        default: Vec<Option<String>>,
    },
}

/// The words of one `main.ts`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Application {
    pub prefix: String,
    /// Path without slashes around it, and method.
    excluded: Vec<(String, Option<String>)>,
    pub versions: Versions,
    pub uncertain: bool,
}

impl Application {
    pub fn is_excluded(&self, path: &str, method: &str) -> bool {
        let path = path.trim_matches('/');
        self.excluded.iter().any(|(pattern, only)| {
            let fits = match pattern.find(['*', '(']) {
                Some(at) => path.starts_with(pattern[..at].trim_end_matches(['{', '/'])),
                None => path == pattern,
            };
            fits && only.as_deref().is_none_or(|only| only == method || only == "ALL")
        })
    }
}

/// By file: several applications may live in one repository.
pub(super) fn applications(modules: &Modules<'_>) -> Vec<(String, Application)> {
    let mut out = Vec::new();
    for (nth, module) in modules.all.iter().enumerate() {
        let mut application = Application::default();
        let mut said = false;
        for call in &module.calls {
            let callee = field(*call, "function").map_or("", |c| module.source.text(c));
            let arguments = arguments(*call);
            if callee.ends_with(".setGlobalPrefix") {
                said = true;
                match arguments.first().and_then(|a| modules.text(nth, *a, 0)) {
                    Some(text) => application.prefix = text,
                    None => application.uncertain = true,
                }
                if let Some(list) = arguments.get(1).and_then(|o| option(&module.source, *o, "exclude")) {
                    exclude(&mut application, modules, nth, list);
                }
            } else if callee.ends_with(".enableVersioning") {
                said = true;
                application.versions = versions(modules, nth, arguments.first().copied());
            }
        }
        if said {
            out.push((module.source.path.to_string(), application));
        }
    }
    out
}

fn exclude<'f>(application: &mut Application, modules: &Modules<'f>, nth: usize, list: Node<'f>) {
    let source = &modules.all[nth].source;
    for one in children(list) {
        let (path, method) = match one.kind() {
            "object" => {
                let method = option(source, one, "method").map(|m| source.text(m));
                (option(source, one, "path"), method.and_then(|m| m.rsplit('.').next()))
            }
            _ => (Some(one), None),
        };
        match path.and_then(|p| modules.text(nth, p, 0)) {
            Some(path) => {
                application.excluded.push((path.trim_matches('/').to_string(), method.map(str::to_string)));
            }
            None => application.uncertain = true,
        }
    }
}

fn versions<'f>(modules: &Modules<'f>, nth: usize, options: Option<Node<'f>>) -> Versions {
    let source = &modules.all[nth].source;
    let said = |name: &str| options.and_then(|o| option(source, o, name));
    // Versions stand in the path unless somebody says that they stand in a header.
    if said("type").is_some_and(|t| !source.text(t).ends_with("URI")) {
        return Versions::Unseen;
    }
    let prefix = match said("prefix") {
        Some(node) if source.text(node) == "false" => String::new(),
        Some(node) => modules.text(nth, node, 0).unwrap_or("v".into()),
        None => "v".into(),
    };
    Versions::Path { prefix, default: said("defaultVersion").map_or_else(Vec::new, |v| version(modules, nth, v)) }
}

/// One version or a list; `None` is none at all (`VERSION_NEUTRAL`).
pub(super) fn version<'f>(modules: &Modules<'f>, nth: usize, node: Node<'f>) -> Vec<Option<String>> {
    match node.kind() {
        "array" => children(node).into_iter().flat_map(|n| version(modules, nth, n)).collect(),
        _ => vec![modules.text(nth, node, 0)],
    }
}

/// `RouterModule.register([{ path: 'admin', module: AdminModule, children: […] }])`: module → path.
pub(super) fn folders(modules: &Modules<'_>) -> HashMap<String, String> {
    let mut out = HashMap::new();
    for (nth, module) in modules.all.iter().enumerate() {
        for call in &module.calls {
            let callee = field(*call, "function").map_or("", |c| module.source.text(c));
            if callee == "RouterModule.register"
                && let Some(list) = arguments(*call).into_iter().next()
            {
                folder(modules, nth, list, "", &mut out);
            }
        }
    }
    out
}

fn folder<'f>(modules: &Modules<'f>, nth: usize, list: Node<'f>, above: &str, out: &mut HashMap<String, String>) {
    let source = &modules.all[nth].source;
    for one in children(list) {
        if one.kind() == "identifier" {
            out.insert(source.text(one).to_string(), above.to_string());
            continue;
        }
        let path = option(source, one, "path").and_then(|p| modules.text(nth, p, 0)).unwrap_or_default();
        let here = if path.is_empty() { above.to_string() } else { template::join(above, &path, false) };
        if let Some(module) = option(source, one, "module") {
            out.insert(source.text(module).to_string(), here.clone());
        }
        if let Some(below) = option(source, one, "children") {
            folder(modules, nth, below, &here, out);
        }
    }
}
