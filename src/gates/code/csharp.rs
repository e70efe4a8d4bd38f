//! C# as a row of tokens: names, marks and strings with their places, without comments, and with what the preprocessor
//! leaves out of a release. Its grammar for a syntax tree is as large as all the others together; for calls by their
//! names a lexer is enough. Knows no rule.
//!
//! Source: the C# language specification, "Lexical structure" (strings: verbatim, interpolated, raw; conditional
//! compilation).

mod condition;

use self::condition::Branches;

/// What a token is; a string's text is looked at by nobody but for attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Name,
    Mark,
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    pub kind: Kind,
    pub from: usize,
    pub to: usize,
}

/// Interpolations within interpolations; nobody writes more.
const DEPTH_MAX: u8 = 32;

/// The tokens of what a release build compiles. `None`: a comment or a string has no end, so nothing can be said.
pub fn tokens(text: &[u8]) -> Option<Vec<Token>> {
    let mut lexer = Lexer { text, at: 0, out: Vec::new(), branches: Branches::default(), line_begins: true };
    if text.starts_with(b"\xef\xbb\xbf") {
        lexer.at = 3;
    }
    lexer.code(false, 0)?;
    Some(lexer.out)
}

struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    out: Vec<Token>,
    branches: Branches,
    /// Nothing but white space stands before on this line.
    line_begins: bool,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at + ahead).copied()
    }

    fn starts(&self, with: &[u8]) -> bool {
        self.text[self.at..].starts_with(with)
    }

    /// Steps behind the line's end.
    fn line(&mut self) -> usize {
        let from = self.at;
        let length = self.text[from..].iter().position(|b| *b == b'\n');
        self.at = length.map_or(self.text.len(), |length| from + length + 1);
        self.line_begins = true;
        from
    }

    /// Up to the end, or within a hole of an interpolated string up to the `}` that closes it or the `:` of its format.
    fn code(&mut self, hole: bool, depth: u8) -> Option<()> {
        let mut open = 0u32;
        while let Some(byte) = self.peek(0) {
            match byte {
                b'\n' => {
                    self.line_begins = true;
                    self.at += 1;
                    continue;
                }
                b if b.is_ascii_whitespace() => {
                    self.at += 1;
                    continue;
                }
                b'#' if self.line_begins && !hole => {
                    self.directive();
                    continue;
                }
                _ if !self.branches.live() => {
                    self.line();
                    continue;
                }
                b'/' if self.peek(1) == Some(b'/') => {
                    self.line();
                    continue;
                }
                b'/' if self.peek(1) == Some(b'*') => self.comment()?,
                b'"' | b'@' | b'$' if self.string_begins() => self.string(depth)?,
                b'\'' => self.character(),
                b if is_name(b) => self.name(),
                b'@' if self.peek(1).is_some_and(is_name) => {
                    self.at += 1;
                    self.name();
                }
                b'}' | b':' if hole && open == 0 && !(byte == b':' && self.peek(1) == Some(b':')) => return Some(()),
                _ => {
                    open = match byte {
                        b'(' | b'[' | b'{' => open + 1,
                        b')' | b']' | b'}' => open.saturating_sub(1),
                        _ => open,
                    };
                    // `::` is one mark to a name.
                    let length = if self.starts(b"::") { 2 } else { 1 };
                    self.push(Kind::Mark, self.at, self.at + length);
                    self.at += length;
                }
            }
            self.line_begins = false;
        }
        (!hole).then_some(())
    }

    fn push(&mut self, kind: Kind, from: usize, to: usize) {
        self.out.push(Token { kind, from, to });
    }

    fn name(&mut self) {
        let length = self.text[self.at..].iter().position(|b| !is_name(*b) && !b.is_ascii_digit());
        let to = length.map_or(self.text.len(), |length| self.at + length);
        self.push(Kind::Name, self.at, to);
        self.at = to;
    }

    fn comment(&mut self) -> Option<()> {
        let end = self.text[self.at + 2..].windows(2).position(|w| w == b"*/")?;
        self.at += 2 + end + 2;
        Some(())
    }

    /// `'x'`, `'\u00e9'`; a lone quote is no character.
    fn character(&mut self) {
        const BYTES_MAX: usize = 12;
        let rest = &self.text[self.at + 1..self.text.len().min(self.at + 1 + BYTES_MAX)];
        let mut escaped = false;
        let end = rest.iter().position(|b| {
            let closes = *b == b'\'' && !escaped;
            escaped = *b == b'\\' && !escaped;
            closes
        });
        self.at += end.map_or(1, |end| end + 2);
    }

    fn string_begins(&self) -> bool {
        let marks = self.text[self.at..].iter().take_while(|b| b"@$".contains(b)).count();
        self.peek(marks) == Some(b'"')
    }

    /// At its marks; behind its end.
    fn string(&mut self, depth: u8) -> Option<()> {
        let from = self.at;
        let (mut verbatim, mut dollars) = (false, 0);
        while let Some(mark) = self.peek(0).filter(|b| b"@$".contains(b)) {
            verbatim |= mark == b'@';
            dollars += usize::from(mark == b'$');
            self.at += 1;
        }
        let quotes = self.text[self.at..].iter().take_while(|b| **b == b'"').count();
        // Two quotes are an empty string.
        let quotes = if quotes >= 3 && !verbatim { quotes } else { 1 };
        self.at += quotes;
        let style = Style { verbatim, dollars, quotes, depth };
        self.body(style)?;
        self.push(Kind::Text, from, self.at);
        Some(())
    }

    fn body(&mut self, style: Style) -> Option<()> {
        let Style { verbatim, dollars, quotes, depth } = style;
        let raw = quotes > 1;
        loop {
            match self.peek(0)? {
                b'"' => {
                    let run = self.text[self.at..].iter().take_while(|b| **b == b'"').count();
                    match () {
                        () if raw && run < quotes => self.at += run,
                        // More quotes than needed belong to the text before the end.
                        () if raw => {
                            self.at += run;
                            return Some(());
                        }
                        () if verbatim && run >= 2 => self.at += 2,
                        () => {
                            self.at += 1;
                            return Some(());
                        }
                    }
                }
                b'\\' if !verbatim && !raw => self.at += 2,
                b'\n' if !verbatim && !raw => return None,
                b'{' if dollars > 0 && depth < DEPTH_MAX => {
                    let run = self.text[self.at..].iter().take_while(|b| **b == b'{').count();
                    self.at += run;
                    // Doubled ones are text; in a raw string, fewer than there are dollars.
                    let opens = if raw { run >= dollars } else { run % 2 == 1 };
                    if opens {
                        self.code(true, depth + 1)?;
                        self.format(if raw { dollars } else { 1 })?;
                    }
                }
                _ => self.at += 1,
            }
        }
    }

    /// From a hole's `:` or `}` to behind its end.
    fn format(&mut self, closing: usize) -> Option<()> {
        let rest = &self.text[self.at..];
        let end = rest.iter().position(|b| b"}\"\n".contains(b)).filter(|end| rest[*end] == b'}')?;
        self.at += end;
        let run = self.text[self.at..].iter().take(closing).take_while(|b| **b == b'}').count();
        self.at += run;
        Some(())
    }

    /// `#if`, `#elif`, `#else`, `#endif`; the others say nothing here.
    fn directive(&mut self) {
        let from = self.line();
        let text = String::from_utf8_lossy(&self.text[from..self.at]);
        let text = text.split("//").next().unwrap_or_default();
        let said = text.trim().trim_start_matches('#').trim_start();
        let (word, rest) = said.split_at(said.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(said.len()));
        self.branches.directive(word, rest);
    }
}

#[derive(Debug, Clone, Copy)]
struct Style {
    verbatim: bool,
    dollars: usize,
    quotes: usize,
    depth: u8,
}

/// Begins a name, or goes on with it; digits only go on.
fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names and marks, as they stand; strings as `"`.
    fn check(source: &str, expect: &str) {
        let tokens = tokens(source.as_bytes()).unwrap_or_else(|| panic!("no tokens: {source}"));
        let word = |t: &Token| match t.kind {
            Kind::Text => "\"".to_string(),
            _ => source[t.from..t.to].to_string(),
        };
        assert_eq!(tokens.iter().map(word).collect::<Vec<_>>().join(" "), expect, "{source}");
    }

    #[test]
    fn names_and_marks_without_comments() {
        check(
            "Console.WriteLine(x1); // Debug.Write()\n/* a\n b */ @class::Y",
            "Console . WriteLine ( x1 ) ; class :: Y",
        );
        check("var c = '\"'; var d = '\\''; f('a', '\\u00e9')", "var c = ; var d = ; f ( , )");
        check("\u{feff}über(1)", "über ( 1 )");
    }

    #[test]
    fn strings_of_every_kind() {
        check(r#"f("a\"b // c", x)"#, r#"f ( " , x )"#);
        check("f(@\"a\\\", x, @\"b\"\"c\nd\")", r#"f ( " , x , " )"#);
        check(r#"f($"{{no}} {yes(1):000} {a}", b)"#, r#"f ( yes ( 1 ) a " , b )"#);
        check("f($@\"a \"\"{x}\"\" \\\", $\"{(c ? d : e)} {n(\"{\")}\")", r#"f ( x " , ( c ? d : e ) n ( " ) " )"#);
        check("f(\"\"\"\n a \" \"\" b \"\"\"\n, $$\"\"\" {no} {{yes}} \"\"\", z)", r#"f ( " , yes " , z )"#);
        check(r#"f("", $"{global::A.B}")"#, r#"f ( " , global :: A . B " )"#);
        for broken in ["f(\"a\n)", "/* a", "@\"a", "\"\"\" a \"\"", "$\"{a", "$\"{a(\n"] {
            assert_eq!(tokens(broken.as_bytes()), None, "{broken}");
        }
    }

    #[test]
    fn what_a_release_leaves_out() {
        check("a\n#if DEBUG\nb \" unclosed\n#else\nc\n#endif\nd", "a c d");
        check("#if !DEBUG\na\n#elif X\nb\n#else\nc\n#endif\n", "a");
        check("#if NET8_0\na\n#elif DEBUG\nb\n#else\nc\n#endif\n", "a c");
        check("#if DEBUG\n#if X\na\n#else\nb\n#endif\nc\n#endif\nd\n  # region \"x\n#pragma y\ne", "d e");
        check("x #if DEBUG\n", "x # if DEBUG");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(parts in proptest::collection::vec(0..18usize, 0..60)) {
            let words = ["\"", "\"\"\"", "$", "@", "{", "}", "'", "\\", "\n", "#if A", "#endif", "//", "/*", "*/", "x", "é", ":", " "];
            let text: String = parts.into_iter().map(|i| words[i]).collect();
            for token in tokens(text.as_bytes()).unwrap_or_default() {
                proptest::prop_assert!(token.from < token.to && token.to <= text.len());
            }
        }
    }
}
