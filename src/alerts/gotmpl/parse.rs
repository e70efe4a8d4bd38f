//! Text to nodes. One pass for the `{{ }}`, one for the tokens inside; recursion is bounded.

use std::collections::BTreeMap;

use super::DEPTH_MAX;

#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    Text(String),
    Pipe(Pipeline),
    /// Condition and body of each branch, then the `else`.
    If(Vec<(Pipeline, Vec<Node>)>, Vec<Node>),
    Range {
        pipe: Pipeline,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
    With {
        pipe: Pipeline,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Template {
        name: String,
        argument: Option<Pipeline>,
    },
    Break,
    Continue,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    /// Variables set by it: `$x := …`, `$i, $v := …`, `$x = …`.
    pub variables: Vec<String>,
    pub declares: bool,
    pub commands: Vec<Vec<Term>>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Term {
    Dot,
    /// `.a.b` on the current value.
    Field(Vec<String>),
    /// `$x.a.b`; `$` alone has an empty name.
    Variable(String, Vec<String>),
    /// `(…).a.b`
    Paren(Box<Pipeline>, Vec<String>),
    Function(String),
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    Nil,
}

pub struct Parsed {
    pub nodes: Vec<Node>,
    pub defines: BTreeMap<String, Vec<Node>>,
    /// Every function called.
    pub functions: Vec<String>,
}

enum Piece {
    Text(String),
    Action(Vec<Token>),
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    /// `.` or `.a.b`; `glued` to what stands before it.
    Field {
        path: Vec<String>,
        glued: bool,
    },
    Variable(String),
    Text(String),
    Int(i64),
    Float(f64),
    Open,
    Close,
    Pipe,
    Comma,
    Declare,
    Assign,
}

pub fn parse(source: &str) -> Result<Parsed, String> {
    let mut parser =
        Parser { pieces: pieces(source)?.into_iter(), defines: BTreeMap::new(), functions: Vec::new(), depth: 0 };
    let (nodes, end) = parser.block()?;
    match end {
        End::Finished => Ok(Parsed { nodes, defines: parser.defines, functions: parser.functions }),
        End::End => Err("unexpected {{end}}".into()),
        End::Else(_) => Err("unexpected {{else}}".into()),
    }
}

/// Splits at `{{` and `}}`, trims around `{{-` and `-}}`, drops comments.
fn pieces(source: &str) -> Result<Vec<Piece>, String> {
    let mut out = Vec::new();
    let mut rest = source;
    let mut trim_left = false;
    loop {
        let open = rest.find("{{");
        let mut text = open.map_or(rest, |at| &rest[..at]);
        if trim_left {
            text = text.trim_start();
        }
        let Some(open) = open else {
            out.push(Piece::Text(text.into()));
            return Ok(out);
        };
        let mut inside = &rest[open + 2..];
        if inside.starts_with('-') && inside[1..].starts_with(char::is_whitespace) {
            text = text.trim_end();
            inside = &inside[1..];
        }
        out.push(Piece::Text(text.into()));
        let comment = inside.trim_start().strip_prefix("/*");
        let after = match comment {
            Some(body) => {
                let end = body.find("*/").ok_or("unclosed comment")?;
                body[end + 2..].trim_start()
            }
            None => {
                let (tokens, after) = tokens(inside)?;
                out.push(Piece::Action(tokens));
                after
            }
        };
        (rest, trim_left) = match (after.strip_prefix("-}}"), after.strip_prefix("}}")) {
            (Some(after), _) => (after, true),
            (_, Some(after)) => (after, false),
            _ => return Err("comment ends before closing delimiter".into()),
        };
    }
}

/// Tokens up to the closing delimiter, and what begins with it.
fn tokens(text: &str) -> Result<(Vec<Token>, &str), String> {
    let mut out = Vec::new();
    let mut rest = text;
    let mut glued = false;
    loop {
        let trimmed = rest.trim_start();
        if trimmed.len() < rest.len() {
            glued = false;
        }
        let spaced = trimmed.len() < rest.len();
        rest = trimmed;
        if rest.starts_with("}}") || (spaced && rest.starts_with("-}}")) {
            return Ok((out, rest));
        }
        let c = rest.chars().next().ok_or("unclosed action")?;
        let word_len = |s: &str| s.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(s.len());
        let (token, used) = match c {
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            '|' => (Token::Pipe, 1),
            ',' => (Token::Comma, 1),
            ':' if rest.starts_with(":=") => (Token::Declare, 2),
            '=' => (Token::Assign, 1),
            '$' => {
                let len = word_len(&rest[1..]);
                (Token::Variable(rest[1..=len].into()), len + 1)
            }
            '.' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                let mut path = Vec::new();
                let mut used = 0;
                while let Some(after) = rest[used..].strip_prefix('.') {
                    let len = word_len(after);
                    if len == 0 {
                        break;
                    }
                    path.push(after[..len].to_string());
                    used += len + 1;
                }
                (Token::Field { path, glued }, used.max(1))
            }
            '"' => quoted(rest)?,
            '`' => {
                let end = rest[1..].find('`').ok_or("unterminated raw string")?;
                (Token::Text(rest[1..=end].into()), end + 2)
            }
            '\'' => character(rest)?,
            c if c.is_ascii_digit()
                || ((c == '-' || c == '+' || c == '.')
                    && rest[1..].starts_with(|d: char| d.is_ascii_digit() || d == '.')) =>
            {
                number(rest)?
            }
            c if c.is_alphabetic() || c == '_' => {
                let len = word_len(rest);
                (Token::Word(rest[..len].into()), len)
            }
            c => return Err(format!("unexpected {c:?} in command")),
        };
        out.push(token);
        rest = &rest[used..];
        glued = true;
    }
}

fn quoted(text: &str) -> Result<(Token, usize), String> {
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((Token::Text(out), at + 1)),
            '\n' => break,
            '\\' => match chars.next().map(|(_, c)| c) {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('r') => out.push('\r'),
                Some(c @ ('\\' | '"' | '\'')) => out.push(c),
                Some(c) => return Err(format!("unknown escape \\{c}")),
                None => break,
            },
            c => out.push(c),
        }
    }
    Err("unterminated quoted string".into())
}

/// A character constant is its code.
fn character(text: &str) -> Result<(Token, usize), String> {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, c)), Some((end, '\''))) if c != '\\' => Ok((Token::Int(i64::from(u32::from(c))), end + 1)),
        _ => Err("malformed character constant".into()),
    }
}

fn number(text: &str) -> Result<(Token, usize), String> {
    let mut len = 0;
    let bytes = text.as_bytes();
    while len < bytes.len() {
        let b = bytes[len];
        let sign_ok = len == 0 || matches!(bytes[len - 1], b'e' | b'E');
        if !(b.is_ascii_alphanumeric() || b == b'.' || b == b'_' || (sign_ok && (b == b'+' || b == b'-'))) {
            break;
        }
        len += 1;
    }
    let literal = text[..len].replace('_', "");
    let hex = literal.strip_prefix("0x").or(literal.strip_prefix("0X"));
    if let Some(n) = hex.map_or_else(|| literal.parse().ok(), |h| i64::from_str_radix(h, 16).ok()) {
        return Ok((Token::Int(n), len));
    }
    match literal.parse::<f64>() {
        Ok(n) if n.is_finite() => Ok((Token::Float(n), len)),
        _ => Err(format!("bad number syntax: {literal:?}")),
    }
}

#[expect(clippy::enum_variant_names, reason = "End is the keyword of the template language")]
enum End {
    Finished,
    End,
    /// What follows the word `else`.
    Else(Vec<Token>),
}

struct Parser {
    pieces: std::vec::IntoIter<Piece>,
    defines: BTreeMap<String, Vec<Node>>,
    functions: Vec<String>,
    depth: usize,
}

impl Parser {
    fn block(&mut self) -> Result<(Vec<Node>, End), String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("blocks are nested too deeply".into());
        }
        let mut nodes = Vec::new();
        let end = loop {
            let Some(piece) = self.pieces.next() else { break End::Finished };
            let tokens = match piece {
                Piece::Text(text) => {
                    if !text.is_empty() {
                        nodes.push(Node::Text(text));
                    }
                    continue;
                }
                Piece::Action(tokens) => tokens,
            };
            let keyword = match tokens.first() {
                Some(Token::Word(word)) => word.clone(),
                _ => String::new(),
            };
            match keyword.as_str() {
                "end" if tokens.len() == 1 => break End::End,
                "else" => break End::Else(tokens[1..].to_vec()),
                "if" => nodes.push(self.conditional(&tokens[1..])?),
                "range" | "with" => {
                    let pipe = self.pipeline(&tokens[1..])?;
                    let (body, otherwise) = self.body_and_else(&keyword)?;
                    nodes.push(match keyword.as_str() {
                        "range" => Node::Range { pipe, body, otherwise },
                        _ => Node::With { pipe, body, otherwise },
                    });
                }
                "define" | "block" => {
                    let Some(Token::Text(name)) = tokens.get(1).cloned() else {
                        return Err(format!("{keyword} needs a name in quotes"));
                    };
                    let (body, end) = self.block()?;
                    if !matches!(end, End::End) {
                        return Err(format!("{keyword} {name:?} is not closed"));
                    }
                    self.defines.insert(name.clone(), body);
                    if keyword == "block" {
                        nodes.push(Node::Template { name, argument: Some(self.pipeline(&tokens[2..])?) });
                    }
                }
                "template" => {
                    let Some(Token::Text(name)) = tokens.get(1).cloned() else {
                        return Err("template needs a name in quotes".into());
                    };
                    let argument = if tokens.len() > 2 { Some(self.pipeline(&tokens[2..])?) } else { None };
                    nodes.push(Node::Template { name, argument });
                }
                "break" if tokens.len() == 1 => nodes.push(Node::Break),
                "continue" if tokens.len() == 1 => nodes.push(Node::Continue),
                _ => nodes.push(Node::Pipe(self.pipeline(&tokens)?)),
            }
        };
        self.depth -= 1;
        Ok((nodes, end))
    }

    /// `if`, its `else if`s and its `else`.
    fn conditional(&mut self, condition: &[Token]) -> Result<Node, String> {
        let mut branches = Vec::new();
        let mut condition = self.pipeline(condition)?;
        loop {
            let (body, end) = self.block()?;
            branches.push((condition, body));
            match end {
                End::End => return Ok(Node::If(branches, Vec::new())),
                End::Finished => return Err("if is not closed".into()),
                End::Else(rest) if rest.is_empty() => {
                    let (otherwise, end) = self.block()?;
                    return match end {
                        End::End => Ok(Node::If(branches, otherwise)),
                        _ => Err("else is not closed".into()),
                    };
                }
                End::Else(rest) => match rest.first() {
                    Some(Token::Word(word)) if word == "if" => condition = self.pipeline(&rest[1..])?,
                    _ => return Err("expected {{else}} or {{else if}}".into()),
                },
            }
        }
    }

    fn body_and_else(&mut self, keyword: &str) -> Result<(Vec<Node>, Vec<Node>), String> {
        let (body, end) = self.block()?;
        match end {
            End::End => Ok((body, Vec::new())),
            End::Else(rest) if rest.is_empty() => match self.block()? {
                (otherwise, End::End) => Ok((body, otherwise)),
                _ => Err(format!("{keyword} is not closed")),
            },
            _ => Err(format!("{keyword} is not closed")),
        }
    }

    fn pipeline(&mut self, tokens: &[Token]) -> Result<Pipeline, String> {
        let mut variables = Vec::new();
        let mut rest = tokens;
        let mut declares = false;
        // `$x :=`, `$i, $v :=`, `$x =`
        let names: Vec<String> = tokens
            .iter()
            .take(4)
            .take_while(|t| matches!(t, Token::Variable(_) | Token::Comma))
            .filter_map(|t| match t {
                Token::Variable(name) => Some(name.clone()),
                _ => None,
            })
            .collect();
        let head = (names.len() * 2).saturating_sub(1);
        if let Some(token @ (Token::Declare | Token::Assign)) = tokens.get(head).filter(|_| head > 0) {
            declares = *token == Token::Declare;
            variables = names;
            rest = &tokens[head + 1..];
        }
        let mut commands = Vec::new();
        let mut at = 0;
        loop {
            let (command, used) = self.command(&rest[at..])?;
            commands.push(command);
            at += used;
            match rest.get(at) {
                None => return Ok(Pipeline { variables, declares, commands }),
                Some(Token::Pipe) => at += 1,
                Some(other) => return Err(format!("unexpected {other:?} in command")),
            }
        }
    }

    /// Terms up to `|` or the end, and how many tokens they took.
    fn command(&mut self, tokens: &[Token]) -> Result<(Vec<Term>, usize), String> {
        let mut terms = Vec::new();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            let path = |at: &mut usize| match tokens.get(*at) {
                Some(Token::Field { path, glued: true }) => {
                    *at += 1;
                    path.clone()
                }
                _ => Vec::new(),
            };
            terms.push(match token {
                Token::Pipe | Token::Close => {
                    at -= 1;
                    break;
                }
                Token::Field { path, .. } if path.is_empty() => Term::Dot,
                Token::Field { path, .. } => Term::Field(path.clone()),
                Token::Variable(name) => Term::Variable(name.clone(), path(&mut at)),
                Token::Text(text) => Term::Text(text.clone()),
                Token::Int(n) => Term::Int(*n),
                Token::Float(n) => Term::Float(*n),
                Token::Word(word) => match word.as_str() {
                    "true" => Term::Bool(true),
                    "false" => Term::Bool(false),
                    "nil" => Term::Nil,
                    name => {
                        self.functions.push(name.to_string());
                        Term::Function(name.to_string())
                    }
                },
                Token::Open => {
                    let close = matching_close(&tokens[at..])?;
                    self.depth += 1;
                    if self.depth > DEPTH_MAX {
                        return Err("parentheses are nested too deeply".into());
                    }
                    let inner = self.pipeline(&tokens[at..at + close])?;
                    self.depth -= 1;
                    at += close + 1;
                    Term::Paren(Box::new(inner), path(&mut at))
                }
                Token::Comma | Token::Declare | Token::Assign => {
                    return Err(format!("unexpected {token:?} in command"));
                }
            });
        }
        if terms.is_empty() { Err("missing value for command".into()) } else { Ok((terms, at)) }
    }
}

/// Index of the `)` that closes what was opened before `tokens`.
fn matching_close(tokens: &[Token]) -> Result<usize, String> {
    let mut depth = 0;
    for (i, token) in tokens.iter().enumerate() {
        match token {
            Token::Open => depth += 1,
            Token::Close if depth == 0 => return Ok(i),
            Token::Close => depth -= 1,
            _ => {}
        }
    }
    Err("unclosed left paren".into())
}
