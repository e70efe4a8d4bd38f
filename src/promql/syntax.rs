//! From text to `promql-parser`'s tree, with bounds, and from its bare messages to places in the text.

use promql_parser::parser as ast;

use super::{Position, QueryError};

/// A rule of this length is not written by a person; the parser's tables want a bound.
const TEXT_BYTES_MAX: usize = 16 * 1024;
/// Brackets within brackets (watch.md 2.2). Trees are walked by recursion.
const DEPTH_MAX: usize = 64;
/// Operators side by side make a tree as deep as there are operators.
const OPERATORS_MAX: usize = 500;

pub(super) fn parse(text: &str) -> Result<ast::Expr, QueryError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(error(format!("the expression is longer than {TEXT_BYTES_MAX} bytes"), None));
    }
    check_nesting(text)?;
    ast::parse(text).map_err(|message| located(text, message))
}

/// Puts a place beside a message when a name or text that it quotes can be found in the expression.
pub(super) fn located(text: &str, message: String) -> QueryError {
    let at = message.split(['\'', '"', '`']).skip(1).step_by(2).find_map(|quoted| find_word(text, quoted));
    error(message, at.map(|offset| position(text, offset)))
}

fn error(message: String, at: Option<Position>) -> QueryError {
    QueryError::Parse { message, at }
}

fn position(text: &str, offset: usize) -> Position {
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    Position { offset, line: before.matches('\n').count() + 1, column: text[line_start..offset].chars().count() + 1 }
}

/// Parts of the text outside strings and comments: (byte offset, character).
fn code(text: &str) -> impl Iterator<Item = (usize, char)> {
    let mut quote: Option<char> = None;
    let (mut escaped, mut comment) = (false, false);
    text.char_indices().filter(move |(_, c)| {
        if comment {
            comment = *c != '\n';
            return false;
        }
        match quote {
            Some(_) if escaped => escaped = false,
            Some(q) if *c == '\\' && q != '`' => escaped = true,
            Some(q) if *c == q => quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '\'' | '`') => quote = Some(*c),
            None if *c == '#' => comment = true,
            None => return true,
        }
        false
    })
}

fn check_nesting(text: &str) -> Result<(), QueryError> {
    let mut open: Vec<(usize, char)> = Vec::new();
    let mut operators = 0;
    let mut word = String::new();
    for (offset, c) in code(text).chain([(text.len(), ' ')]) {
        if c.is_alphanumeric() || c == '_' {
            word.push(c);
            continue;
        }
        let braced = open.iter().any(|(_, c)| *c == '{');
        let is_operator = matches!(word.to_ascii_lowercase().as_str(), "and" | "or" | "unless" | "atan2");
        operators += usize::from(is_operator && !braced);
        word.clear();
        match c {
            '(' | '[' | '{' => open.push((offset, c)),
            ')' | ']' | '}' => {
                let wanted = match c {
                    ')' => '(',
                    ']' => '[',
                    _ => '{',
                };
                if open.pop().is_none_or(|(_, opened)| opened != wanted) {
                    return Err(error(format!("unexpected {c:?}"), Some(position(text, offset))));
                }
            }
            '+' | '-' | '*' | '/' | '%' | '^' | '<' | '>' | '=' | '!' if !braced => operators += 1,
            _ => {}
        }
        if open.len() > DEPTH_MAX {
            return Err(error(format!("nested more than {DEPTH_MAX} deep"), Some(position(text, offset))));
        }
        if operators > OPERATORS_MAX {
            let at = position(text, offset.min(text.len()));
            return Err(error(format!("more than {OPERATORS_MAX} operators"), Some(at)));
        }
    }
    match open.pop() {
        Some((offset, c)) => Err(error(format!("unclosed {c:?}"), Some(position(text, offset)))),
        None => Ok(()),
    }
}

/// Where `wanted` stands in `text` as a whole word, strings and comments included last.
fn find_word(text: &str, wanted: &str) -> Option<usize> {
    if wanted.is_empty() {
        return None;
    }
    let part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let whole = |at: usize| {
        let before = text[..at].chars().next_back();
        let after = text[at + wanted.len()..].chars().next();
        let edge = |neighbour: Option<char>, own: Option<char>| !(neighbour.is_some_and(part) && own.is_some_and(part));
        edge(before, wanted.chars().next()) && edge(after, wanted.chars().next_back())
    };
    let mut found = text.match_indices(wanted).map(|(at, _)| at).filter(|at| whole(*at));
    let first = found.next()?;
    let in_code = |at: usize| code(text).any(|(offset, _)| offset == at);
    Some(std::iter::once(first).chain(found).find(|at| in_code(*at)).unwrap_or(first))
}
