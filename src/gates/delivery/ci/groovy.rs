//! Groovy of Jenkinsfiles, as far as a pipeline needs it: statements that begin with a name, with their string arguments
//! and their blocks. No expressions, no types; what is not understood is passed over, never a panic.

/// `name args { children }`, with its line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    /// Dotted, as written: `docker.build`. Empty for a block that nothing introduces.
    pub name: String,
    pub line: u32,
    /// What stands between the name and the end or the block.
    pub args: Vec<Arg>,
    pub children: Vec<Node>,
    pub has_block: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arg {
    /// Text of a string literal. `fills`: in double quotes, so that `${…}` is filled in by Groovy.
    Text { text: String, fills: bool },
    /// A name, a number, a sign.
    Word(String),
}

impl Node {
    /// The first string, or the one named `key:`.
    pub fn text(&self, key: Option<&str>) -> Option<&str> {
        let named = |key: &str| {
            let at = self.args.windows(2).position(|w| {
                matches!(&w[0], Arg::Word(word) if word == key) && matches!(&w[1], Arg::Word(colon) if colon == ":")
            })?;
            self.args.get(at + 2)
        };
        let arg = match key {
            Some(key) => named(key)?,
            None => self.args.iter().find(|a| matches!(a, Arg::Text { .. }))?,
        };
        match arg {
            Arg::Text { text, .. } => Some(text),
            Arg::Word(_) => None,
        }
    }
    /// Is `key: true` among the arguments?
    pub fn flag(&self, key: &str) -> bool {
        let word = |a: &Arg, w: &str| matches!(a, Arg::Word(x) if x == w);
        self.args.windows(3).any(|w| word(&w[0], key) && word(&w[1], ":") && word(&w[2], "true"))
    }
    /// All arguments and children as one text, for a look at the words of a condition.
    pub fn words(&self) -> String {
        let mut out = self.name.clone();
        for arg in &self.args {
            out.push(' ');
            out.push_str(match arg {
                Arg::Text { text, .. } => text,
                Arg::Word(word) => word,
            });
        }
        for child in &self.children {
            out.push(' ');
            out.push_str(&child.words());
        }
        out
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Text { text: String, fills: bool },
    Word(String),
    Sign(char),
    Newline,
}

/// Blocks inside blocks; a Jenkinsfile has ten.
const DEPTH_MAX: usize = 100;
/// Tokens of a file of a megabyte of real code.
const TOKENS_MAX: usize = 400_000;

/// The statements of a file.
pub fn parse(text: &str) -> Vec<Node> {
    let tokens = tokens(text);
    let mut at = 0;
    let mut out = Vec::new();
    while at < tokens.len() {
        out.extend(block(&tokens, &mut at, 0));
        // A brace too many ends nothing.
        at += 1;
    }
    out
}

/// Statements up to the closing brace, which is left to the caller.
fn block(tokens: &[(u32, Token)], at: &mut usize, depth: usize) -> Vec<Node> {
    let mut out = Vec::new();
    while let Some((line, token)) = tokens.get(*at) {
        match token {
            Token::Sign('}') => break,
            Token::Word(_) => out.push(statement(tokens, at, depth)),
            Token::Sign('{') => {
                *at += 1;
                let children = if depth < DEPTH_MAX { block(tokens, at, depth + 1) } else { skip(tokens, at) };
                *at += 1;
                out.push(Node { line: *line, children, has_block: true, ..Node::default() });
            }
            _ => *at += 1,
        }
    }
    out
}

/// Too deep: to the brace that closes this block.
fn skip(tokens: &[(u32, Token)], at: &mut usize) -> Vec<Node> {
    let mut open = 0usize;
    while let Some((_, token)) = tokens.get(*at) {
        match token {
            Token::Sign('{') => open += 1,
            Token::Sign('}') if open == 0 => break,
            Token::Sign('}') => open -= 1,
            _ => {}
        }
        *at += 1;
    }
    Vec::new()
}

/// One statement: a name, its arguments (over lines inside parentheses and brackets), its blocks. Closures inside
/// parentheses (`parallel(a: { … })`, `timeout(5) { … }`) become children; `a: {` names its child `a`.
fn statement(tokens: &[(u32, Token)], at: &mut usize, depth: usize) -> Node {
    let (line, first) = &tokens[*at];
    let name = match first {
        Token::Word(word) => word.clone(),
        _ => String::new(),
    };
    let mut node = Node { name, line: *line, ..Node::default() };
    *at += 1;
    let mut open = 0usize;
    while let Some((line, token)) = tokens.get(*at) {
        match token {
            Token::Newline if open == 0 && !continues(tokens, *at) => break,
            Token::Sign(';') if open == 0 => break,
            Token::Sign('}') => break,
            Token::Sign('{') => {
                let label = label(&node.args);
                *at += 1;
                let children = if depth < DEPTH_MAX { block(tokens, at, depth + 1) } else { skip(tokens, at) };
                *at += 1;
                node.has_block = true;
                match label {
                    Some(label) => node.children.push(Node {
                        name: label,
                        line: *line,
                        args: Vec::new(),
                        children,
                        has_block: true,
                    }),
                    None => node.children.extend(children),
                }
                // `stage('x') { … }` ends with its block, unless parentheses are still open or a comma goes on.
                if open == 0 && !matches!(tokens.get(*at), Some((_, Token::Sign(',')))) {
                    return node;
                }
                continue;
            }
            Token::Newline => {}
            Token::Sign(sign) => {
                match sign {
                    '(' | '[' => open += 1,
                    ')' | ']' => open = open.saturating_sub(1),
                    _ => {}
                }
                node.args.push(Arg::Word(sign.to_string()));
            }
            Token::Word(word) => node.args.push(Arg::Word(word.clone())),
            Token::Text { text, fills } => node.args.push(Arg::Text { text: text.clone(), fills: *fills }),
        }
        *at += 1;
    }
    node
}

/// A statement goes on after a line that ends with a comma, and before one that begins with its block.
fn continues(tokens: &[(u32, Token)], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|i| tokens.get(i)).map(|(_, t)| t);
    let after = tokens[at..].iter().map(|(_, t)| t).find(|t| **t != Token::Newline);
    matches!(before, Some(Token::Sign(',' | ':' | '='))) || matches!(after, Some(Token::Sign('{')))
}

/// `a: {`, `'a': {` and `["a"] = {`.
fn label(args: &[Arg]) -> Option<String> {
    let text = |arg: &Arg| match arg {
        Arg::Text { text, .. } => Some(text.clone()),
        Arg::Word(word) if word.chars().all(|c| c.is_alphanumeric() || c == '_') => Some(word.clone()),
        Arg::Word(_) => None,
    };
    match args {
        [.., name, Arg::Word(colon)] if colon == ":" => text(name),
        [.., name, Arg::Word(close), Arg::Word(equals)] if close == "]" && equals == "=" => text(name),
        _ => None,
    }
}

fn tokens(text: &str) -> Vec<(u32, Token)> {
    let chars: Vec<char> = text.chars().collect();
    let (mut out, mut at, mut line) = (Vec::new(), 0, 1u32);
    let starts = |at: usize, mark: &str| mark.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c));
    while let Some(&c) = chars.get(at) {
        if out.len() >= TOKENS_MAX {
            break;
        }
        if c == '\n' {
            out.push((line, Token::Newline));
            line += 1;
            at += 1;
        } else if c.is_whitespace() {
            at += 1;
        } else if starts(at, "//") || (c == '#' && line == 1) {
            while chars.get(at).is_some_and(|c| *c != '\n') {
                at += 1;
            }
        } else if starts(at, "/*") {
            while at < chars.len() && !starts(at, "*/") {
                line += u32::from(chars[at] == '\n');
                at += 1;
            }
            at += 2;
        } else if let Some(mark) = ["\"\"\"", "'''", "\"", "'", "$/"]
            .into_iter()
            .find(|m| starts(at, m))
            .or((c == '/' && slashy(&out)).then_some("/"))
        {
            let begun = line;
            let close = if mark == "$/" { "/$" } else { mark };
            at += mark.len();
            let mut content = String::new();
            while at < chars.len() && !starts(at, close) {
                // A string of one line ends with it: this file is not what it seems.
                if chars[at] == '\n' && mark.len() == 1 {
                    break;
                }
                if chars[at] == '\\' && mark != "/" && mark != "$/" && at + 1 < chars.len() {
                    at += 1;
                    match chars[at] {
                        'n' => content.push('\n'),
                        't' => content.push(' '),
                        // A line that goes on.
                        '\n' => line += 1,
                        other => content.push(other),
                    }
                    at += 1;
                    continue;
                }
                line += u32::from(chars[at] == '\n');
                content.push(chars[at]);
                at += 1;
            }
            at += close.len();
            out.push((begun, Token::Text { text: content, fills: !mark.starts_with('\'') }));
        } else if c.is_alphanumeric() || matches!(c, '_' | '$' | '@') {
            let begin = at;
            while chars.get(at).is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '$' | '@' | '.')) {
                at += 1;
            }
            out.push((line, Token::Word(chars[begin..at].iter().collect())));
        } else {
            out.push((line, Token::Sign(c)));
            at += 1;
        }
    }
    out
}

/// A slash begins a string only where a value may stand.
fn slashy(before: &[(u32, Token)]) -> bool {
    matches!(before.last(), Some((_, Token::Sign('(' | ',' | '=' | ':' | '['))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn statements_arguments_blocks() {
        let nodes = parse(
            "#!/usr/bin/env groovy\n// sh 'no'\npipeline {\n  agent any\n  stages {\n    stage('Build it') {\n      steps { sh 'make' }\n    }\n  }\n}\n",
        );
        let stage = &nodes[0].children[1].children[0];
        assert_eq!((stage.name.as_str(), stage.text(None), stage.line), ("stage", Some("Build it"), 6));
        assert_eq!(stage.children[0].children[0].text(None), Some("make"));
        let sh = &parse("sh(script: \"\"\"a\nb ${x}\"\"\", returnStatus: true, label: 'l')\necho 'z'")[..];
        assert_eq!((sh.len(), sh[0].text(Some("script")), sh[0].flag("returnStatus")), (2, Some("a\nb ${x}"), true));
        assert_eq!(sh[1].line, 3);
        let parallel = &parse("parallel(\n  unit: { sh 'a' },\n  'end to end': {\n sh 'b' })\nsh 'c'");
        let names: Vec<&str> = parallel[0].children.iter().map(|c| c.name.as_str()).collect();
        assert_eq!((names, parallel.len()), (vec!["unit", "end to end"], 2));
        let map = parse("parallel linux: {\n node { sh 'a' }\n}, windows: {\n bat 'b'\n}\n");
        assert_eq!(map[0].children.len(), 2, "{map:#?}");
    }

    proptest! {
        #[test]
        fn never_panics_and_ends(text in "(pipeline|stage|sh|[a-z]{1,3}|[{}()\\[\\]:,;'\"/\\\\$\n ]|'''|\"\"\"|/\\*){0,80}") {
            parse(&text);
        }
    }
}
