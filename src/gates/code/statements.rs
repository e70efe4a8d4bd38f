//! An estimate of a file's executable lines, for files that no coverage report mentions: the lines on which a statement
//! begins. Where the text cannot be parsed: lines that are neither blank nor comment. An estimate, and called so.

use std::collections::BTreeSet;

use super::syntax::{self, Source, Visit};
use crate::gates::suppression::is_comment;

/// Lines (from 1) that a coverage tool would likely count.
pub fn lines(source: Source, text: &[u8]) -> BTreeSet<u32> {
    if source == Source::NoGrammar("C/C++") {
        return c_lines(&String::from_utf8_lossy(text));
    }
    let Some(parsed) = syntax::parse(source, text) else {
        let text = String::from_utf8_lossy(text);
        let code = |(i, line): (usize, &str)| (line.len() > 1 && !is_comment(line)).then_some(i as u32 + 1);
        return text.lines().map(str::trim).enumerate().filter_map(code).collect();
    };
    let mut rows = BTreeSet::new();
    syntax::walk(&parsed.tree, |node, ancestors| {
        let in_block = ancestors.last().is_some_and(|p| holds_statements(p.kind()));
        if in_block && node.is_named() && !is_inert(node.kind()) && !passes_on(node) {
            rows.insert(node.start_position().row as u32 + 1);
        }
        if is_type_only(node.kind()) { Visit::Skip } else { Visit::Enter }
    });
    rows
}

/// `export * from`, `export { a }`, `export function f() {}`, `export interface A {}`: nothing runs on that line.
fn passes_on(node: tree_sitter::Node<'_>) -> bool {
    let declared = node.child_by_field_name("declaration");
    node.kind() == "export_statement"
        && node.child_by_field_name("value").is_none()
        && declared.is_none_or(|d| is_inert(d.kind()) || d.kind().ends_with("function_declaration"))
}

/// C and C++: rows with text inside the bodies of functions, and those where bodies open. Declarations run nothing.
fn c_lines(text: &str) -> BTreeSet<u32> {
    let mut rows = BTreeSet::new();
    // For each open brace: is it a function's, or inside of one?
    let mut open: Vec<bool> = Vec::new();
    // Since the last `;`, `{` or `}`, and where that began.
    let (mut before, mut began) = (String::new(), 0_u32);
    let (mut comment, mut continued) = (false, false);
    for (row, line) in (1_u32..).zip(text.lines()) {
        let directive = continued || line.trim_start().starts_with('#');
        continued = directive && line.trim_end().ends_with('\\');
        if directive {
            continue;
        }
        let mut chars = line.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '*' if comment && chars.peek() == Some(&'/') => {
                    chars.next();
                    comment = false;
                }
                _ if comment => {}
                '/' if chars.peek() == Some(&'*') => comment = true,
                '/' if chars.peek() == Some(&'/') => break,
                '"' | '\'' => {
                    while let Some(inner) = chars.next().filter(|inner| *inner != c) {
                        if inner == '\\' {
                            chars.next();
                        }
                    }
                    before.push(c);
                }
                '{' => {
                    let inside = open.last() == Some(&true);
                    let opens = !inside && is_function_head(&before);
                    if opens {
                        rows.insert(began);
                    }
                    open.push(inside || opens);
                    before.clear();
                }
                '}' => {
                    open.pop();
                    before.clear();
                }
                ';' => before.clear(),
                ':' if matches!(before.trim(), "public" | "private" | "protected") => before.clear(),
                c if c.is_whitespace() => before.push(' '),
                c => {
                    if before.trim().is_empty() {
                        (before, began) = (String::new(), row);
                        if open.last() == Some(&true) {
                            rows.insert(row);
                        }
                    }
                    before.push(c);
                }
            }
        }
        before.push(' ');
    }
    rows
}

/// `int total(int a) const`, `Cart::Cart() : a(0)`; neither `struct line`, `enum`, `namespace x` nor `= `.
fn is_function_head(before: &str) -> bool {
    let head = before.trim_start();
    let first = head.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
    let is_type = matches!(first, "class" | "enum" | "namespace" | "typedef" | "using")
        || matches!(first, "struct" | "union") && !head.trim_end().ends_with(')');
    head.contains('(') && !is_type && !head.trim_end().ends_with('=')
}

/// Nodes whose named children are statements.
fn holds_statements(kind: &str) -> bool {
    matches!(
        kind,
        "program"
            | "module"
            | "source_file"
            | "statement_block"
            | "block"
            | "body_statement"
            | "compound_statement"
            | "then"
            | "else"
            | "do"
            | "block_body"
            | "switch_case"
            | "switch_default"
            | "expression_case"
            | "default_case"
            | "match_arm"
            | "statement_list"
            | "constructor_body"
            | "switch_block_statement_group"
            | "ensure"
            | "rescue"
            | "begin"
    )
}

/// Children of a block that nothing executes.
fn is_inert(kind: &str) -> bool {
    kind.contains("comment")
        || is_type_only(kind)
        || matches!(
            kind,
            "import_statement"
                | "import_declaration"
                | "package_clause"
                | "package_declaration"
                | "use_declaration"
                | "attribute_item"
                | "inner_attribute_item"
                | "mod_item"
                | "php_tag"
                | "namespace_definition"
                | "namespace_use_declaration"
                | "text"
                | "struct_item"
                | "enum_item"
                | "trait_item"
                | "impl_item"
                | "function_item"
                | "class_declaration"
                | "method_declaration"
                | "function_declaration"
                | "expression"
                | "exception_variable"
                | "exceptions"
                | "parenthesized_expression"
                | "heredoc_body"
        )
}

fn is_type_only(kind: &str) -> bool {
    matches!(
        kind,
        "interface_declaration"
            | "type_alias_declaration"
            | "ambient_declaration"
            | "type_item"
            | "type_declaration"
            | "type_definition"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str, expect: &[u32]) {
        let got: Vec<u32> = lines(Source::of(path).unwrap(), text.as_bytes()).into_iter().collect();
        assert_eq!(got, expect, "{path}\n{text}");
    }

    #[test]
    fn counts_statements_not_lines() {
        check(
            "a.js",
            "// a\nimport a from 'a'\n\nfunction f() {\n  const x = {\n    y: 1,\n  }\n  return x\n}\nf()\n",
            &[5, 8, 10],
        );
        check("a.ts", "interface A { b: string }\ntype C = string\n", &[]);
        check(
            "a.ts",
            "export * from './a'\nexport { b } from './b'\nexport interface C {}\nexport const d = 1\n",
            &[4],
        );
        check("a.js", "export function f() {\n  return 1\n}\nexport default f\n", &[2, 4]);
        let c = "#define A(x) \\\n  do { x; } while (0)\nstruct s {\n  int a; /* { */\n};\nint f(int a)\n{\n  // {\n  if (a)\n    return '{';\n\n  return 0;\n}\nint f(int a);\nstatic int t[] = { 1, 2 };\n";
        check("a.c", c, &[6, 9, 12]);
        let cpp = "namespace n {\nclass P {\npublic:\n  P(int a) : a_(a) {}\n  int s() const { return a_; }\n  int a_;\n};\n}\n";
        check("a.hpp", cpp, &[4, 5]);
        check("a.py", "\"\"\"doc\"\"\"\nimport a\n\ndef f(x):\n    # why\n    return x\n", &[1, 4, 6]);
        check("a.go", "package a\n\nfunc F() int {\n\tx := 1\n\treturn x\n}\n", &[4, 5]);
        check("a.rs", "use a;\nfn f() -> u8 {\n    let x = 1;\n    x\n}\n", &[3, 4]);
        check("a.rb", "def f\n  x = 1\n  x\nend\n", &[1, 2, 3]);
    }

    #[test]
    fn falls_back_to_lines() {
        check("A.cs", "// a\nclass A\n{\n    int F() { return 1; }\n\n}\n", &[2, 4]);
    }
}
