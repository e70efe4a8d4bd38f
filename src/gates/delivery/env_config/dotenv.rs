//! `.env` files as the library reads them that the project uses: dotenv for Node, python-dotenv, dotenv for Ruby,
//! Docker's `env_file`. They differ in what a `#` ends, which quotes count and what a `$` does. Pure; values stay inside
//! [`Hidden`], which cannot be printed.

/// A value of an environment. No `Display`, no `Serialize`, and `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Hidden(String);

impl Hidden {
    pub fn new(value: impl Into<String>) -> Hidden {
        Hidden(value.into())
    }
    /// For judging only: what comes out of the judgement may say a relation, never the value.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "empty" } else { "hidden" })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// dotenv for Node: a `#` ends an unquoted value wherever it stands; backticks quote; `KEY: value` is one too.
    Node,
    /// python-dotenv: a `#` needs a space before it; double quotes know escapes.
    Python,
    /// dotenv for Ruby: a `#` ends an unquoted value, `$VAR` and `$(command)` are filled in.
    Ruby,
    /// Compose's `env_file`: a `#` needs a space before it, `$VAR` is filled in.
    Compose,
    /// `docker run --env-file`: the line as it stands, quotes included.
    DockerRun,
}

/// Something in the writing that another reader will read in another way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flaw {
    /// Cut at the `#` by this dialect, or by others.
    Hash,
    Space,
    Dollar,
    /// The quote never ends.
    Open,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub value: Hidden,
    /// From 1.
    pub line: u32,
    pub flaws: Vec<Flaw>,
}

/// Entries in file order, repeated ones too. Lines that are no assignment are passed over, as the libraries do.
pub fn parse(text: &str, dialect: Dialect) -> Vec<Entry> {
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let mut out = Vec::new();
    let mut at = 0;
    let mut line = 1;
    while at < text.len() {
        let end = text[at..].find('\n').map_or(text.len(), |n| at + n);
        let (entry, used) = assignment(&text[at..], end - at, dialect, line);
        out.extend(entry);
        // What follows a closing quote on its line belongs to nobody.
        let used = text[at + used..].find('\n').map_or(text.len() - at, |n| used + n);
        line += text[at..at + used].matches('\n').count() as u32 + 1;
        at += used + 1;
    }
    out
}

/// The assignment at the start of `rest`, whose first line is `length` bytes long; and how many bytes it takes.
fn assignment(rest: &str, length: usize, dialect: Dialect, line: u32) -> (Option<Entry>, usize) {
    let first = &rest[..length];
    let body = first.trim_start();
    let body = if dialect == Dialect::DockerRun { body } else { without_export(body) };
    if body.is_empty() || body.starts_with('#') {
        return (None, length);
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let name_end = body.find(|c: char| !is_name(c)).unwrap_or(body.len());
    let (name, after) = body.split_at(name_end);
    let trimmed = after.trim_start();
    let value = match dialect {
        Dialect::Node | Dialect::Ruby if after.starts_with(": ") => &after[1..],
        Dialect::DockerRun => match after.strip_prefix('=') {
            Some(value) => value,
            None => return (None, length),
        },
        _ => match trimmed.strip_prefix('=') {
            Some(value) => value,
            None => return (None, length),
        },
    };
    if name.is_empty() {
        return (None, length);
    }
    let start = length - value.len();
    let entry = |value: String, flaws| Some(Entry { name: name.into(), value: Hidden::new(value), line, flaws });
    if dialect == Dialect::DockerRun {
        return (entry(value.trim_end_matches('\r').to_string(), vec![]), length);
    }
    let lead = value.len() - value.trim_start().len();
    let quote = value.trim_start().chars().next().filter(|c| quotes(dialect).contains(*c));
    if let Some(quote) = quote {
        let inside = &rest[start + lead + 1..];
        // Text behind the quote: it belongs to another value, and this one was never closed.
        let ends = |close: &usize| {
            let behind = inside[close + 1..].lines().next().unwrap_or_default().trim_start();
            behind.is_empty() || behind.starts_with('#')
        };
        if let Some(close) = closing(inside, quote).filter(ends) {
            let raw = &inside[..close];
            let value = if quote == '"' { unescape(raw) } else { raw.to_string() };
            let flaws = if quote == '"' && has_variable(raw) { vec![Flaw::Dollar] } else { vec![] };
            return (entry(value, flaws), start + lead + 1 + close + 1);
        }
        let (value, _) = unquoted(value, dialect);
        return (entry(value, vec![Flaw::Open]), length);
    }
    let (value, flaws) = unquoted(value, dialect);
    (entry(value, flaws), length)
}

fn without_export(line: &str) -> &str {
    line.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t'])).map_or(line, str::trim_start)
}

fn quotes(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Node => "'\"`",
        Dialect::DockerRun => "",
        _ => "'\"",
    }
}

/// Where the quote ends; an escaped one does not end it.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some(i),
            _ => {}
        }
    }
    None
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some('t') => out.push('\t'),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            (c, false) => out.push(c),
        }
    }
    out
}

fn unquoted(raw: &str, dialect: Dialect) -> (String, Vec<Flaw>) {
    let mut flaws = Vec::new();
    let anywhere = matches!(dialect, Dialect::Node | Dialect::Ruby);
    let bytes = raw.as_bytes();
    let glued = raw.char_indices().find(|(i, c)| *c == '#' && *i > 0 && !bytes[i - 1].is_ascii_whitespace());
    let spaced = raw.char_indices().find(|(i, c)| *c == '#' && (*i == 0 || bytes[i - 1].is_ascii_whitespace()));
    let comment = spaced.map_or(raw.len(), |(i, _)| i);
    // Glued to the text before a comment begins: one library cuts there, the next does not.
    if glued.is_some_and(|(i, _)| i < comment) {
        flaws.push(Flaw::Hash);
    }
    let end = if anywhere { raw.find('#').unwrap_or(raw.len()) } else { comment };
    let value = raw[..end].trim();
    if value.contains([' ', '\t']) {
        flaws.push(Flaw::Space);
    }
    if has_variable(value) && !stands_for_another(value) {
        flaws.push(Flaw::Dollar);
    }
    (value.to_string(), flaws)
}

/// `a$b`: some readers fill it in.
fn has_variable(value: &str) -> bool {
    let bytes = value.as_bytes();
    value
        .match_indices('$')
        .any(|(i, _)| bytes.get(i + 1).is_some_and(|b| b.is_ascii_alphabetic() || b"_{(".contains(b)))
}

/// Meant to be filled in: `${OTHER}` or `https://${HOST}/`.
fn stands_for_another(value: &str) -> bool {
    value.contains("${")
        || value.strip_prefix('$').is_some_and(|v| v.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str, dialect: Dialect) -> Vec<(String, String)> {
        parse(text, dialect).into_iter().map(|e| (e.name, e.value.expose().to_string())).collect()
    }

    fn check(text: &str, dialect: Dialect, expect: &[(&str, &str)]) {
        let expect: Vec<_> = expect.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        assert_eq!(values(text, dialect), expect, "{dialect:?}: {text}");
    }

    /// What dotenv 18 (Node) and python-dotenv 1.2 print for the same lines.
    #[test]
    fn dialects_differ_where_the_libraries_do() {
        use Dialect::*;
        check("A=x#y z\n", Node, &[("A", "x")]);
        check("A=x#y z\n", Ruby, &[("A", "x")]);
        check("A=x#y z # note\n", Python, &[("A", "x#y z")]);
        check("A=x#y # note\n", Compose, &[("A", "x#y")]);
        check("A=\"x\" # note\n", DockerRun, &[("A", "\"x\" # note")]);
        check("A=`it's`\n", Node, &[("A", "it's")]);
        check("A=`x`\n", Python, &[("A", "`x`")]);
        check("A: x\n", Node, &[("A", "x")]);
        check("A: x\n", Python, &[]);
    }

    #[test]
    fn what_all_agree_on() {
        for dialect in [Dialect::Node, Dialect::Python, Dialect::Ruby, Dialect::Compose] {
            check(
                "# note\n\nexport A = 1\r\nB='a # b'\nC=\"x\\ny\" # note\nD=\nE= two words \nnot an assignment\n",
                dialect,
                &[("A", "1"), ("B", "a # b"), ("C", "x\ny"), ("D", ""), ("E", "two words")],
            );
            let pem = "KEY=\"-----BEGIN X-----\nabc\n-----END X-----\"\nNEXT=1\n";
            let entries = parse(pem, dialect);
            assert_eq!(
                entries.iter().map(|e| (e.name.as_str(), e.line)).collect::<Vec<_>>(),
                [("KEY", 1), ("NEXT", 4)]
            );
        }
    }

    #[test]
    fn flaws_are_named() {
        let flaws = |text: &str| parse(text, Dialect::Node).remove(0).flaws;
        assert_eq!(flaws("A=pa#ss"), [Flaw::Hash]);
        assert_eq!(flaws("A=two words # fine"), [Flaw::Space]);
        assert_eq!(flaws("A=pa$word"), [Flaw::Dollar]);
        assert_eq!(flaws("A=${OTHER}"), []);
        assert_eq!(flaws("A='pa#s$w o'"), []);
        assert_eq!(flaws("A=\"never ends"), [Flaw::Open]);
        let text = "A=\"never\nB='x'\nC=\"multi\nline\"\n";
        check(text, Dialect::Node, &[("A", "\"never"), ("B", "x"), ("C", "multi\nline")]);
        assert_eq!(flaws("A=5$"), []);
    }

    #[test]
    fn values_cannot_be_printed() {
        let entries = parse("A=hunter2\n", Dialect::Node);
        assert!(!format!("{entries:?}").contains("hunter2"));
    }

    proptest::proptest! {
        #[test]
        fn never_panics_and_lines_rise(text in "([A-Z]{0,3} ?[=:]? ?['\"`#$a\u{e4}\\\\ ]{0,6}\r?\n?){0,12}") {
            for dialect in [Dialect::Node, Dialect::Python, Dialect::Ruby, Dialect::Compose, Dialect::DockerRun] {
                let entries = parse(&text, dialect);
                proptest::prop_assert!(entries.windows(2).all(|w| w[0].line < w[1].line));
            }
        }
    }
}
