//! Source text as a syntax tree: which language a file is in, parsing it within limits, walking the tree, naming the
//! function around a node. Knows no rule and no verdict; rules read `debug_rules.rs`.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use tree_sitter::{Node, ParseOptions, Parser, Range, Tree};

/// Languages whose grammar is built in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Language {
    JavaScript,
    TypeScript,
    Tsx,
    Python,
    Go,
    Rust,
    Java,
    Ruby,
    Php,
}

/// What kind of code a path holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Can be parsed.
    Grammar(Language),
    /// A page whose `<script>` blocks are JavaScript or TypeScript: Vue, Svelte.
    Embedded,
    /// Read by a lexer of our own (`csharp.rs`), not as a tree.
    CSharp,
    /// Code in a language without a grammar here, by its name: known, but not inspected.
    NoGrammar(&'static str),
}

impl Source {
    /// By the extension; `None` for everything that is not program code (shell, SQL, markup, type declarations).
    pub fn of(path: &str) -> Option<Source> {
        let name = path.rsplit('/').next().unwrap_or(path);
        if [".d.ts", ".d.mts", ".d.cts"].iter().any(|end| name.ends_with(end)) {
            return None;
        }
        let (_, extension) = name.rsplit_once('.')?;
        Some(match extension {
            "js" | "mjs" | "cjs" | "jsx" => Source::Grammar(Language::JavaScript),
            "ts" | "mts" | "cts" => Source::Grammar(Language::TypeScript),
            "tsx" => Source::Grammar(Language::Tsx),
            "py" | "pyw" => Source::Grammar(Language::Python),
            "go" => Source::Grammar(Language::Go),
            "rs" => Source::Grammar(Language::Rust),
            "java" => Source::Grammar(Language::Java),
            "rb" | "rake" => Source::Grammar(Language::Ruby),
            "php" | "phtml" => Source::Grammar(Language::Php),
            "vue" | "svelte" => Source::Embedded,
            "cs" => Source::CSharp,
            "kt" | "kts" => Source::NoGrammar("Kotlin"),
            "swift" => Source::NoGrammar("Swift"),
            "scala" => Source::NoGrammar("Scala"),
            "c" | "h" | "cc" | "cpp" | "cxx" | "hpp" => Source::NoGrammar("C/C++"),
            "ex" | "exs" => Source::NoGrammar("Elixir"),
            "erl" => Source::NoGrammar("Erlang"),
            "dart" => Source::NoGrammar("Dart"),
            "fs" => Source::NoGrammar("F#"),
            "vb" => Source::NoGrammar("Visual Basic"),
            "clj" | "cljs" => Source::NoGrammar("Clojure"),
            "lua" => Source::NoGrammar("Lua"),
            "pl" | "pm" => Source::NoGrammar("Perl"),
            "groovy" => Source::NoGrammar("Groovy"),
            "hs" => Source::NoGrammar("Haskell"),
            _ => return None,
        })
    }
}

impl Language {
    pub const ALL: [Language; 9] = [
        Language::JavaScript,
        Language::TypeScript,
        Language::Tsx,
        Language::Python,
        Language::Go,
        Language::Rust,
        Language::Java,
        Language::Ruby,
        Language::Php,
    ];

    pub fn is_javascript(self) -> bool {
        matches!(self, Language::JavaScript | Language::TypeScript | Language::Tsx)
    }

    fn grammar(self) -> tree_sitter::Language {
        match self {
            Language::JavaScript => tree_sitter_javascript::LANGUAGE.into(),
            Language::TypeScript => tree_sitter_typescript::LANGUAGE_TYPESCRIPT.into(),
            Language::Tsx => tree_sitter_typescript::LANGUAGE_TSX.into(),
            Language::Python => tree_sitter_python::LANGUAGE.into(),
            Language::Go => tree_sitter_go::LANGUAGE.into(),
            Language::Rust => tree_sitter_rust::LANGUAGE.into(),
            Language::Java => tree_sitter_java::LANGUAGE.into(),
            Language::Ruby => tree_sitter_ruby::LANGUAGE.into(),
            Language::Php => tree_sitter_php::LANGUAGE_PHP.into(),
        }
    }
}

/// A parsed text with the language that fitted it.
pub struct Parsed {
    pub tree: Tree,
    pub language: Language,
    /// Share of the bytes inside error nodes, 0 to 1. Grammars trail their languages, so a little is normal.
    pub unread: f64,
}

/// Above this share of unread text the tree may hide what is looked for: the file counts as unparsable.
pub const UNREAD_MAX: f64 = 0.10;

/// Ten times what the largest permitted file takes on a slow machine; only a hostile file gets here.
const PARSE_TIME_MAX: Duration = Duration::from_secs(10);

/// Parses `text`. `None` when nothing sensible came out: no time left, or more than [`UNREAD_MAX`] of it unread.
/// Plain JavaScript that does not fit is tried once more as TSX, which understands most Flow annotations.
pub fn parse(source: Source, text: &[u8]) -> Option<Parsed> {
    let (language, blocks) = match source {
        Source::Grammar(language) => (language, None),
        Source::Embedded => {
            let (language, ranges) = script_blocks(text);
            (language, Some(ranges))
        }
        Source::CSharp | Source::NoGrammar(_) => return None,
    };
    let first = parse_as(language, text, blocks.as_deref())?;
    let best = if first.unread > 0.0 && language == Language::JavaScript {
        match parse_as(Language::Tsx, text, blocks.as_deref()) {
            Some(second) if second.unread < first.unread => second,
            _ => first,
        }
    } else {
        first
    };
    (best.unread <= UNREAD_MAX).then_some(best)
}

fn parse_as(language: Language, text: &[u8], ranges: Option<&[Range]>) -> Option<Parsed> {
    let mut parser = Parser::new();
    parser.set_language(&language.grammar()).ok()?;
    if let Some(ranges) = ranges {
        if ranges.is_empty() {
            // No script: an empty list would mean "the whole text" to the parser.
            return Some(Parsed { tree: parser.parse("", None)?, language, unread: 0.0 });
        }
        parser.set_included_ranges(ranges).ok()?;
    }
    let started = Instant::now();
    let mut in_time = |_: &tree_sitter::ParseState| {
        if started.elapsed() > PARSE_TIME_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let options = ParseOptions::new().progress_callback(&mut in_time);
    let tree = parser.parse_with_options(&mut |at, _| text.get(at..).unwrap_or_default(), None, Some(options))?;
    let unread = unread_share(&tree, text.len());
    Some(Parsed { tree, language, unread })
}

/// Share of `bytes` that lies in error nodes.
fn unread_share(tree: &Tree, bytes: usize) -> f64 {
    let root = tree.root_node();
    if bytes == 0 || !root.has_error() {
        return 0.0;
    }
    let mut errors = 0;
    walk(tree, |node, _| {
        if node.is_error() {
            errors += node.byte_range().len();
            return Visit::Skip;
        }
        if node.has_error() { Visit::Enter } else { Visit::Skip }
    });
    errors as f64 / bytes as f64
}

/// `<script>` blocks of a page as ranges of the whole text, so that every position in the tree is one in the file.
/// TypeScript when any block says `lang="ts"` (or tsx).
fn script_blocks(text: &[u8]) -> (Language, Vec<Range>) {
    let page = String::from_utf8_lossy(text);
    // Lossy decoding may move bytes; positions would lie.
    if page.len() != text.len() {
        return (Language::JavaScript, Vec::new());
    }
    let (mut language, mut ranges, mut at) = (Language::JavaScript, Vec::new(), 0);
    while let Some(open) = page[at..].find("<script").map(|i| i + at) {
        let Some(start) = page[open..].find('>').map(|i| open + i + 1) else { break };
        let end = page[start..].find("</script").map_or(page.len(), |i| start + i);
        let tag = &page[open..start];
        if ["ts", "tsx"].iter().any(|l| tag.contains(&format!("\"{l}\"")) || tag.contains(&format!("'{l}'"))) {
            language = Language::Tsx;
        }
        if !tag.ends_with("/>") {
            let point = |byte: usize| tree_sitter::Point {
                row: page[..byte].matches('\n').count(),
                column: byte - page[..byte].rfind('\n').map_or(0, |i| i + 1),
            };
            ranges.push(Range { start_byte: start, end_byte: end, start_point: point(start), end_point: point(end) });
        }
        at = end;
    }
    (language, ranges)
}

/// Whether to look inside a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visit {
    Enter,
    Skip,
}

/// Visits every node in source order together with its ancestors, outermost first. Iterative: a hostile file may nest
/// a hundred thousand brackets.
pub fn walk<'t>(tree: &'t Tree, mut visit: impl FnMut(Node<'t>, &[Node<'t>]) -> Visit) {
    let mut cursor = tree.walk();
    let mut ancestors: Vec<Node<'t>> = Vec::new();
    loop {
        let node = cursor.node();
        if visit(node, &ancestors) == Visit::Enter && cursor.goto_first_child() {
            ancestors.push(node);
            continue;
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() {
                return;
            }
            ancestors.pop();
        }
    }
}

/// Visits, in source order, the nodes that span one of the places (byte offsets, ascending), with their ancestors.
pub fn walk_to<'t>(tree: &'t Tree, places: &[usize], mut visit: impl FnMut(Node<'t>, &[Node<'t>])) {
    walk(tree, |node, ancestors| {
        let next = places.partition_point(|at| *at < node.start_byte());
        if places.get(next).is_none_or(|at| *at >= node.end_byte()) {
            return Visit::Skip;
        }
        visit(node, ancestors);
        Visit::Enter
    });
}

/// The node's text; empty where it is not UTF-8.
pub fn text<'s>(node: Node<'_>, source: &'s [u8]) -> &'s str {
    node.utf8_text(source).unwrap_or_default()
}

/// How a reader would name the place: `applyCoupon`, `Cart.total`, or `a callback of app.get`; `None` at top level.
pub fn enclosing_function(ancestors: &[Node<'_>], source: &[u8]) -> Option<String> {
    let mut callback = None;
    for (i, node) in ancestors.iter().enumerate().rev() {
        if !is_function(node.kind()) {
            continue;
        }
        let parent = i.checked_sub(1).map(|p| ancestors[p]);
        if let Some(name) = own_name(*node, parent, source) {
            return Some(name);
        }
        if callback.is_none() {
            callback = called_with(&ancestors[..i], source);
        }
    }
    callback.map(|call| format!("a callback of {call}"))
}

fn is_function(kind: &str) -> bool {
    matches!(
        kind,
        "function_declaration"
            | "function_expression"
            | "generator_function"
            | "generator_function_declaration"
            | "arrow_function"
            | "method_definition"
            | "function_definition"
            | "method_declaration"
            | "constructor_declaration"
            | "func_literal"
            | "function_item"
            | "closure_expression"
            | "lambda_expression"
            | "method"
            | "singleton_method"
            | "anonymous_function"
            | "block"
            | "do_block"
    )
}

fn own_name(node: Node<'_>, parent: Option<Node<'_>>, source: &[u8]) -> Option<String> {
    if let Some(name) = node.child_by_field_name("name") {
        return short(text(name, source));
    }
    // `const name = () => …`, `{ name: () => … }`, `this.name = function …`, `name = () => …` in a class.
    let parent = parent?;
    let field = match parent.kind() {
        "variable_declarator" => "name",
        "pair" => "key",
        "assignment_expression" | "assignment" => "left",
        "field_definition" => "property",
        "public_field_definition" => "name",
        _ => return None,
    };
    short(text(parent.child_by_field_name(field)?, source))
}

/// The callee of the innermost call, when the function is one of its arguments.
fn called_with(ancestors: &[Node<'_>], source: &[u8]) -> Option<String> {
    let arguments = ancestors.iter().rposition(|n| matches!(n.kind(), "arguments" | "argument_list"))?;
    if arguments + 1 != ancestors.len() {
        return None;
    }
    let call = ancestors[arguments.checked_sub(1)?];
    let callee = call.child_by_field_name("function").or_else(|| call.child_by_field_name("method"))?;
    short(text(callee, source))
}

/// Names longer than this are expressions, and no help to a reader.
const NAME_CHARS_MAX: usize = 60;

fn short(name: &str) -> Option<String> {
    let one_line = !name.is_empty() && !name.contains('\n') && name.chars().count() <= NAME_CHARS_MAX;
    one_line.then(|| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_languages_by_extension() {
        for (path, expect) in [
            ("src/a.js", Some(Source::Grammar(Language::JavaScript))),
            ("src/a.test.tsx", Some(Source::Grammar(Language::Tsx))),
            ("types/a.d.ts", None),
            ("App.vue", Some(Source::Embedded)),
            ("Program.cs", Some(Source::CSharp)),
            ("Program.kt", Some(Source::NoGrammar("Kotlin"))),
            ("Makefile", None),
            ("run.sh", None),
        ] {
            assert_eq!(Source::of(path), expect, "{path}");
        }
    }

    #[test]
    fn positions_in_a_vue_page_are_those_of_the_file() {
        let page = b"<template><p>a</p></template>\n<script setup lang=\"ts\">\nconst x: number = 1\n</script>\n";
        let parsed = parse(Source::Embedded, page).unwrap();
        assert_eq!(parsed.language, Language::Tsx);
        let mut rows = Vec::new();
        walk(&parsed.tree, |n, _| {
            if n.kind() == "lexical_declaration" {
                rows.push(n.start_position().row);
            }
            Visit::Enter
        });
        assert_eq!(rows, [2]);
    }

    #[test]
    fn a_page_without_script_is_empty_not_unparsable() {
        assert_eq!(parse(Source::Embedded, b"<template>console.log(</template>").unwrap().unread, 0.0);
    }

    #[test]
    fn flow_annotations_are_read_as_tsx() {
        let parsed =
            parse(Source::Grammar(Language::JavaScript), b"// @flow\nfunction f(x: number): string { return '' }\n");
        assert_eq!(parsed.unwrap().language, Language::Tsx);
    }

    #[test]
    fn noise_is_unparsable() {
        assert!(parse(Source::Grammar(Language::Go), b"%%% <<<< ]]]] ((( not go at all {{{ $$$").is_none());
    }

    #[test]
    fn deep_nesting_neither_overflows_nor_hangs() {
        let text = format!("x = {}1{}", "(".repeat(20_000), ")".repeat(20_000));
        let mut nodes = 0;
        if let Some(parsed) = parse(Source::Grammar(Language::JavaScript), text.as_bytes()) {
            walk(&parsed.tree, |_, _| {
                nodes += 1;
                Visit::Enter
            });
            assert!(nodes > 20_000);
        }
    }
}
