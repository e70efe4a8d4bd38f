//! Calls in a syntax tree, the same for every language: who is called, with what, where. Comments and strings hold none.
//! Knows no rule.

use tree_sitter::Node;

use super::syntax::{self, Parsed, Visit};

/// One call or `new`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// `multer.diskStorage`, `Storage::disk`, `models.FileField`; without white space.
    pub callee: String,
    /// The arguments' text, without the brackets.
    pub arguments: String,
    /// From 1.
    pub line: u32,
}

impl Call {
    /// The last name: `diskStorage`.
    pub fn name(&self) -> &str {
        self.callee.rsplit(['.', ':', '>', '&', '?']).next().unwrap_or(&self.callee)
    }
    /// The string literals among the arguments' text.
    pub fn literals(&self) -> Vec<&str> {
        literals(&self.arguments)
    }
}

/// A callee longer than this is an expression.
const CALLEE_CHARS_MAX: usize = 300;

pub fn calls(parsed: &Parsed, source: &[u8]) -> Vec<Call> {
    let mut out = Vec::new();
    syntax::walk(&parsed.tree, |node, _| {
        out.extend(call(node, source));
        Visit::Enter
    });
    out
}

fn call(node: Node<'_>, source: &[u8]) -> Option<Call> {
    let field = |name: &str| node.child_by_field_name(name).map(|n| syntax::text(n, source));
    let joined = |left: &str, middle: &str, right: &str| {
        let right = field(right)?;
        Some(field(left).map_or(right.to_string(), |l| format!("{l}{middle}{right}")))
    };
    let callee = match node.kind() {
        "call_expression" | "function_call_expression" => field("function")?.to_string(),
        "new_expression" => field("constructor")?.to_string(),
        // Python's calls have a function, Ruby's a method.
        "call" => field("function").map(String::from).or_else(|| joined("receiver", ".", "method"))?,
        "member_call_expression" | "nullsafe_member_call_expression" => joined("object", "->", "name")?,
        "scoped_call_expression" => joined("scope", "::", "name")?,
        "method_invocation" => joined("object", ".", "name")?,
        "object_creation_expression" => field("type").map(String::from).or_else(|| {
            let name = node.named_child(0)?;
            Some(syntax::text(name, source).to_string())
        })?,
        _ => return None,
    };
    let callee: String = callee.chars().filter(|c| !c.is_whitespace()).take(CALLEE_CHARS_MAX).collect();
    let arguments = field("arguments").unwrap_or_default().trim();
    let arguments = arguments.strip_prefix('(').and_then(|a| a.strip_suffix(')')).unwrap_or(arguments);
    Some(Call { callee, arguments: arguments.trim().to_string(), line: node.start_position().row as u32 + 1 })
}

/// String literals of a text, by their quotes; escapes end nothing.
pub fn literals(text: &str) -> Vec<&str> {
    let (mut out, mut open): (Vec<&str>, Option<(char, usize)>) = (Vec::new(), None);
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match open {
            _ if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some((quote, start)) if c == quote => {
                out.push(&text[start..at]);
                open = None;
            }
            None if matches!(c, '"' | '\'' | '`') => open = Some((c, at + 1)),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::syntax::Source;
    use super::*;

    #[test]
    fn calls_in_every_language() {
        for (path, text, expect) in [
            (
                "a.js",
                "// multer()\nconst u = multer.diskStorage({ destination: 'up' })",
                ("multer.diskStorage", "{ destination: 'up' }", 2),
            ),
            ("a.ts", "const x: any = new PutObjectCommand({})", ("PutObjectCommand", "{}", 1)),
            ("a.py", "\nf = models.FileField(upload_to='a')", ("models.FileField", "upload_to='a'", 2)),
            ("a.rb", "class A\n has_one_attached :avatar\nend", ("has_one_attached", ":avatar", 2)),
            ("a.php", "<?php $r->file('a')->store('b');", ("$r->file('a')->store", "'b'", 1)),
            ("b.php", "<?php Storage::disk('s3');", ("Storage::disk", "'s3'", 1)),
            ("a.go", "package a\nfunc f() { c.SaveUploadedFile(f, \"d\") }", ("c.SaveUploadedFile", "f, \"d\"", 2)),
            ("A.java", "class A { void f() { file.transferTo(path); } }", ("file.transferTo", "path", 1)),
        ] {
            let parsed = syntax::parse(Source::of(path).unwrap(), text.as_bytes()).unwrap();
            let calls = calls(&parsed, text.as_bytes());
            let seen: Vec<_> = calls.iter().map(|c| (c.callee.as_str(), c.arguments.as_str(), c.line)).collect();
            assert!(seen.contains(&expect), "{path}: {seen:?}");
        }
    }

    proptest! {
        #[test]
        fn literals_never_panic(text in "[a\"'`\\\\é ]{0,40}") {
            for literal in literals(&text) { prop_assert!(text.contains(literal)); }
        }
    }
}
