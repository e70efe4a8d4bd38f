//! JavaScript modules: what a file imports and exports, and which file a specifier means.

use std::collections::{BTreeMap, HashMap};

use tree_sitter::Node;

use super::File;
use super::tree::{Source, child_of, children, field};
use crate::gates::code::syntax::{self, Visit};

/// Names chain through files; longer chains go in a circle.
pub const STEPS_MAX: usize = 12;

/// A name that a file has from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    pub from: String,
    /// `default`, `*`, or the export's name.
    pub name: String,
}

/// One file with its names.
pub struct Module<'f> {
    pub source: Source<'f>,
    pub imports: HashMap<String, Import>,
    /// By exported name; `default` for the whole.
    pub exports: HashMap<String, Node<'f>>,
    /// `export * from`.
    pub passes_on: Vec<String>,
    /// Of variables, fields (`this.x`) and assignments: the last value.
    pub values: HashMap<String, Node<'f>>,
    pub functions: HashMap<String, Node<'f>>,
    /// Every call, in source order.
    pub calls: Vec<Node<'f>>,
}

/// All files by path.
pub struct Modules<'f> {
    pub all: Vec<Module<'f>>,
    by_path: BTreeMap<&'f str, usize>,
}

impl<'f> Modules<'f> {
    pub fn read(files: &[&'f File]) -> Modules<'f> {
        let all: Vec<Module<'f>> = files.iter().map(|file| module(file)).collect();
        let by_path = all.iter().enumerate().map(|(i, m)| (m.source.path, i)).collect();
        Modules { all, by_path }
    }

    /// The file that `specifier`, written in `from`, means: relative, or below a folder that is known by name.
    pub fn resolve(&self, from: usize, specifier: &str) -> Option<usize> {
        let here = self.all[from].source.path;
        let folder = here.rsplit_once('/').map_or("", |(f, _)| f);
        if specifier.starts_with('.') {
            return self.at(&normal(folder, specifier)?);
        }
        // `@/a` and `~/a` are `src/a` or `a`; `@server/a` is `server/a`.
        let bare = specifier.strip_prefix("@/").or(specifier.strip_prefix("~/"));
        match bare {
            Some(rest) => {
                let mut tops = vec![format!("src/{rest}"), rest.to_string()];
                // In a workspace each package has a `src` of its own.
                if let Some(at) = here.find("/src/") {
                    tops.insert(0, format!("{}/src/{rest}", &here[..at]));
                }
                tops.iter().find_map(|path| self.at(path))
            }
            None => self.at(specifier.strip_prefix('@').unwrap_or(specifier)),
        }
    }

    /// A text that is known before the program runs: literals, constants, both together.
    pub fn text(&self, nth: usize, node: Node<'f>, steps: usize) -> Option<String> {
        if steps > STEPS_MAX {
            return None;
        }
        let module = &self.all[nth];
        let node = unwrapped(node);
        if let Some(text) = string(&module.source, node) {
            return Some(text.to_string());
        }
        match node.kind() {
            "template_string" => {
                let (mut out, mut at) = (String::new(), node.start_byte() + 1);
                for part in children(node).into_iter().filter(|p| p.kind() == "template_substitution") {
                    out.push_str(std::str::from_utf8(module.source.text.get(at..part.start_byte())?).ok()?);
                    out.push_str(&self.text(nth, children(part).into_iter().next()?, steps + 1)?);
                    at = part.end_byte();
                }
                out.push_str(std::str::from_utf8(module.source.text.get(at..node.end_byte() - 1)?).ok()?);
                Some(out)
            }
            "binary_expression" if module.source.text(field(node, "operator")?) == "+" => {
                let left = self.text(nth, field(node, "left")?, steps + 1)?;
                Some(left + &self.text(nth, field(node, "right")?, steps + 1)?)
            }
            "identifier" | "shorthand_property_identifier" => {
                let name = module.source.text(node);
                if let Some(value) = module.values.get(name) {
                    return self.text(nth, *value, steps + 1);
                }
                let import = module.imports.get(name)?;
                let there = self.resolve(nth, &import.from)?;
                let value = *self.all[there].exports.get(&import.name)?;
                self.text(there, value, steps + 1)
            }
            _ => None,
        }
    }

    fn at(&self, path: &str) -> Option<usize> {
        const ENDINGS: [&str; 13] = [
            "",
            ".js",
            ".ts",
            ".mjs",
            ".cjs",
            ".mts",
            ".jsx",
            ".tsx",
            "/index.js",
            "/index.ts",
            "/index.mjs",
            "/index.cjs",
            "/index.tsx",
        ];
        let known = |path: &str| self.by_path.get(path).copied();
        let found = ENDINGS.iter().find_map(|ending| known(&format!("{path}{ending}")));
        // TypeScript says `./a.js` and means `./a.ts`.
        found.or_else(|| path.strip_suffix(".js").and_then(|stem| known(&format!("{stem}.ts"))))
    }
}

fn normal(folder: &str, relative: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|p| !p.is_empty()).collect();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            other => parts.push(other),
        }
    }
    Some(parts.join("/"))
}

/// The text of a plain string.
pub fn string<'f>(source: &Source<'f>, node: Node<'_>) -> Option<&'f str> {
    let text = source.text(node);
    match node.kind() {
        "string" => text.get(1..text.len().checked_sub(1)?),
        "template_string" if child_of(node, "template_substitution").is_none() => {
            text.get(1..text.len().checked_sub(1)?)
        }
        _ => None,
    }
}

pub fn is_function(kind: &str) -> bool {
    matches!(
        kind,
        "arrow_function" | "function_expression" | "function_declaration" | "method_definition" | "generator_function"
    )
}

/// `require('x')` → `x`
pub fn required<'f>(source: &Source<'f>, node: Node<'_>) -> Option<&'f str> {
    let callee = field(node, "function").filter(|_| node.kind() == "call_expression")?;
    let name = source.text(callee);
    let argument = super::tree::arguments(node).into_iter().next()?;
    (name == "require" || callee.kind() == "import").then(|| string(source, argument)).flatten()
}

fn module(file: &File) -> Module<'_> {
    let mut module = Module {
        source: Source { path: &file.path, text: &file.text },
        imports: HashMap::new(),
        exports: HashMap::new(),
        passes_on: Vec::new(),
        values: HashMap::new(),
        functions: HashMap::new(),
        calls: Vec::new(),
    };
    syntax::walk(&file.tree, |node, _| {
        match node.kind() {
            "import_statement" => import(&mut module, node),
            "export_statement" => export(&mut module, node),
            "variable_declarator" => declared(&mut module, node),
            "assignment_expression" => assigned(&mut module, node),
            "public_field_definition" | "field_definition" => {
                let name = field(node, "name").or(field(node, "property"));
                if let (Some(name), Some(value)) = (name, field(node, "value")) {
                    module.values.insert(format!("this.{}", module.source.text(name)), value);
                }
            }
            "function_declaration" => {
                if let Some(name) = field(node, "name") {
                    module.functions.insert(module.source.text(name).to_string(), node);
                }
            }
            "call_expression" => module.calls.push(node),
            _ => {}
        }
        Visit::Enter
    });
    module
}

fn import(module: &mut Module, node: Node<'_>) {
    let source = &module.source;
    let Some(from) = field(node, "source").and_then(|s| string(source, s)) else { return };
    let Some(clause) = child_of(node, "import_clause") else { return };
    for part in children(clause) {
        match part.kind() {
            "identifier" => {
                let import = Import { from: from.into(), name: "default".into() };
                module.imports.insert(source.text(part).into(), import);
            }
            "namespace_import" => {
                if let Some(name) = child_of(part, "identifier") {
                    module.imports.insert(source.text(name).into(), Import { from: from.into(), name: "*".into() });
                }
            }
            "named_imports" => {
                for one in children(part) {
                    let Some(name) = field(one, "name") else { continue };
                    let local = field(one, "alias").unwrap_or(name);
                    let import = Import { from: from.into(), name: source.text(name).into() };
                    module.imports.insert(source.text(local).into(), import);
                }
            }
            _ => {}
        }
    }
}

fn export<'f>(module: &mut Module<'f>, node: Node<'f>) {
    let source = &module.source;
    let from = field(node, "source").and_then(|s| string(source, s)).map(str::to_string);
    if let Some(value) = field(node, "value") {
        module.exports.insert("default".into(), value);
    }
    if let Some(declaration) = field(node, "declaration") {
        let default = source.text(node).starts_with("export default");
        let names: Vec<Node> = match declaration.kind() {
            "lexical_declaration" | "variable_declaration" => {
                children(declaration).into_iter().filter_map(|d| field(d, "name")).collect()
            }
            _ => field(declaration, "name").into_iter().collect(),
        };
        for name in &names {
            module.exports.insert(source.text(*name).to_string(), *name);
        }
        if default {
            module.exports.insert("default".into(), declaration);
        }
    }
    let clause = child_of(node, "export_clause");
    for one in clause.map(children).unwrap_or_default() {
        let Some(name) = field(one, "name") else { continue };
        let exported = field(one, "alias").unwrap_or(name);
        match &from {
            Some(from) => {
                let import = Import { from: from.clone(), name: source.text(name).into() };
                // Under a name that no code can have.
                let hidden = format!("export {}", source.text(exported));
                module.imports.insert(hidden, import);
            }
            None => drop(module.exports.insert(source.text(exported).to_string(), name)),
        }
    }
    if let (None, Some(from)) = (clause, from) {
        module.passes_on.push(from);
    }
}

fn declared<'f>(module: &mut Module<'f>, node: Node<'f>) {
    let (Some(name), Some(value)) = (field(node, "name"), field(node, "value")) else { return };
    let source = &module.source;
    let from = required(source, unwrapped(value));
    match (name.kind(), from) {
        ("identifier", Some(from)) => {
            let import = Import { from: from.into(), name: "default".into() };
            module.imports.insert(source.text(name).into(), import);
        }
        ("identifier", None) => {
            // `const Router = require('express').Router`
            let member = (value.kind() == "member_expression").then(|| {
                let from = required(source, field(value, "object")?)?;
                Some(Import { from: from.into(), name: source.text(field(value, "property")?).into() })
            });
            match member.flatten() {
                Some(import) => drop(module.imports.insert(source.text(name).into(), import)),
                None => drop(module.values.insert(source.text(name).to_string(), value)),
            }
        }
        ("object_pattern", Some(from)) => {
            for part in children(name) {
                let (key, local) = match part.kind() {
                    "pair_pattern" => (field(part, "key"), field(part, "value")),
                    _ => (Some(part), Some(part)),
                };
                if let (Some(key), Some(local)) = (key, local) {
                    let import = Import { from: from.into(), name: source.text(key).into() };
                    module.imports.insert(source.text(local).into(), import);
                }
            }
        }
        _ => {}
    }
}

fn assigned<'f>(module: &mut Module<'f>, node: Node<'f>) {
    let (Some(left), Some(right)) = (field(node, "left"), field(node, "right")) else { return };
    let name = module.source.text(left);
    if name == "module.exports" {
        module.exports.insert("default".into(), right);
        for pair in if right.kind() == "object" { children(right) } else { Vec::new() } {
            let (key, value) = match pair.kind() {
                "pair" => (field(pair, "key"), field(pair, "value")),
                _ => (Some(pair), Some(pair)),
            };
            if let (Some(key), Some(value)) = (key, value) {
                module.exports.insert(module.source.text(key).to_string(), value);
            }
        }
    } else if let Some(name) = name.strip_prefix("module.exports.").or(name.strip_prefix("exports.")) {
        module.exports.insert(name.to_string(), right);
    } else if left.kind() == "identifier" || name.starts_with("this.") {
        module.values.insert(name.to_string(), right);
    }
}

/// Without brackets, `await`, `as X`, `!`.
pub fn unwrapped(node: Node<'_>) -> Node<'_> {
    let mut node = node;
    while matches!(
        node.kind(),
        "parenthesized_expression"
            | "await_expression"
            | "as_expression"
            | "non_null_expression"
            | "satisfies_expression"
    ) {
        match children(node).into_iter().next() {
            Some(inner) => node = inner,
            None => return node,
        }
    }
    node
}
