//! Names that a program binds to something else: a `console` of its own is not the browser's. Pure.

use aho_corasick::AhoCorasick;
use tree_sitter::Node;

use super::{Hit, field};
use crate::gates::code::syntax::{Language, Parsed, text, walk_to};

/// A name bound to something else, and the rows where that holds.
pub(super) struct Shadow {
    name: String,
    from: usize,
    to: usize,
}

impl Shadow {
    pub fn covers(&self, hit: &Hit) -> bool {
        hit.bare() == self.name && (self.from..=self.to).contains(&hit.row)
    }
}

/// Names that programs do rebind: `function (console) {…}`, `def breakpoint(…)`, `function dd(…)`, `macro_rules! dbg`.
const REBOUND: [&str; 17] = [
    "console",
    "alert",
    "confirm",
    "prompt",
    "breakpoint",
    "set_trace",
    "print",
    "pprint",
    "println",
    "fit",
    "fdescribe",
    "byebug",
    "puts",
    "dd",
    "dump",
    "dbg",
    "it",
];

/// The names of these hits that are bound to something else, with the rows where that holds.
pub(super) fn shadows(parsed: &Parsed, source: &[u8], hits: &[Hit]) -> Vec<Shadow> {
    let mut names: Vec<&str> = hits.iter().map(Hit::bare).filter(|name| REBOUND.contains(name)).collect();
    names.sort_unstable();
    names.dedup();
    let Some(words) = (!names.is_empty()).then(|| AhoCorasick::new(&names).ok()).flatten() else { return Vec::new() };
    let places: Vec<usize> = words.find_iter(source).map(|m| m.start()).collect();
    let mut out = Vec::new();
    walk_to(&parsed.tree, &places, |node, ancestors| {
        if node.child_count() > 0 || !node.is_named() {
            return;
        }
        let name = text(node, source);
        if names.contains(&name)
            && let Some(scope) = binds(parsed.language, node, ancestors, source)
        {
            out.push(Shadow { name: name.into(), from: scope.start_position().row, to: scope.end_position().row });
        }
    });
    out
}

/// The scope in which `node` (an identifier) is given a new meaning, if it is a binding at all.
fn binds<'t>(language: Language, node: Node<'t>, ancestors: &[Node<'t>], source: &[u8]) -> Option<Node<'t>> {
    let parent = *ancestors.last()?;
    let whole = *ancestors.first()?;
    let is_name = field(parent, "name") == Some(node);
    match parent.kind() {
        // Definitions hold for the whole file: hoisting, and one name rarely has two meanings in one file.
        // A method of Python is reached through its object only.
        "function_definition" if language == Language::Python => {
            let method = ancestors.iter().rev().skip(1).take(2).any(|n| n.kind() == "class_definition");
            (is_name && !method).then_some(whole)
        }
        "function_definition" | "function_item" | "macro_definition" | "method" => is_name.then_some(whole),
        "function_declaration" | "class_declaration" | "generator_function_declaration" => {
            if is_name {
                scope(&ancestors[..ancestors.len() - 1]).or(Some(whole))
            } else {
                None
            }
        }
        "variable_declarator" if is_name && language.is_javascript() => {
            let value = field(parent, "value").map(|v| text(v, source)).unwrap_or_default();
            // `const console = require('console')` is the same console.
            let same = value.contains("require(") && value.contains("console") || value.ends_with(".console");
            if same { None } else { scope(ancestors).or(Some(whole)) }
        }
        // `import { console as other }` leaves the name alone.
        "import_specifier" if is_name && field(parent, "alias").is_some() => None,
        "import_specifier" | "import_clause" | "namespace_import" => {
            let import = ancestors.iter().rev().find(|n| n.kind() == "import_statement")?;
            let from = field(*import, "source").map(|s| text(s, source)).unwrap_or_default();
            let same = matches!(from.trim_matches(['"', '\'']), "console" | "node:console");
            (!same).then_some(whole)
        }
        "formal_parameters" | "required_parameter" | "optional_parameter" | "parameters" | "default_parameter"
        | "typed_parameter" => function_around(ancestors),
        // `({ console }) => …` and `const { console } = window`.
        "object_pattern" | "array_pattern" => {
            let in_parameters = ancestors.iter().rev().find(|n| {
                matches!(n.kind(), "formal_parameters" | "variable_declarator" | "statement_block" | "program")
            })?;
            match in_parameters.kind() {
                "formal_parameters" => function_around(ancestors),
                "variable_declarator" => {
                    let value = field(*in_parameters, "value").map(|v| text(v, source)).unwrap_or_default();
                    let same = matches!(value, "window" | "globalThis" | "global");
                    if same { None } else { scope(ancestors).or(Some(whole)) }
                }
                _ => None,
            }
        }
        // `console => …`
        "arrow_function" if field(parent, "parameter") == Some(node) => Some(parent),
        "catch_clause" if field(parent, "parameter") == Some(node) => Some(parent),
        "assignment" if language == Language::Python && field(parent, "left") == Some(node) => Some(whole),
        _ => None,
    }
}

fn scope<'t>(ancestors: &[Node<'t>]) -> Option<Node<'t>> {
    ancestors
        .iter()
        .rev()
        .find(|n| {
            matches!(n.kind(), "statement_block" | "program" | "for_statement" | "for_in_statement" | "switch_body")
        })
        .copied()
}

fn function_around<'t>(ancestors: &[Node<'t>]) -> Option<Node<'t>> {
    ancestors
        .iter()
        .rev()
        .find(|n| n.kind().contains("function") || n.kind().contains("method") || n.kind().contains("lambda"))
        .copied()
}
