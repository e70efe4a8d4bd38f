//! From text to tree, with bounds. The grammar is Prometheus 3's; messages and places are its own as well. Read
//! `ast.rs` first, then `parse.rs`.

pub(super) mod ast;
mod lex;
mod literal;
mod measure;
mod mentions;
mod modifier;
mod parse;
mod print;

pub(super) use literal::{duration, duration_text};
pub(super) use measure::{limit, window};
pub(super) use mentions::{calls, compares, labels};
pub(super) use print::{pretty, quoted};

use super::{Position, QueryError};

/// A rule of this length is not written by a person.
const TEXT_BYTES_MAX: usize = 16 * 1024;
/// Brackets within brackets (watch.md 2.2). Trees are walked by recursion.
const DEPTH_MAX: usize = 64;
/// Operators side by side make a tree as deep as there are operators.
const OPERATORS_MAX: usize = 500;

/// Something wrong with the text, and where.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fault {
    pub message: String,
    /// Bytes from the start; `None` when it concerns the whole text.
    pub at: Option<usize>,
    /// Prometheus finds it only when it evaluates.
    pub late: bool,
}

impl Fault {
    pub(super) fn new(at: usize, message: impl Into<String>) -> Fault {
        Fault { message: message.into(), at: Some(at), late: false }
    }

    pub(super) fn late(message: impl Into<String>) -> Fault {
        Fault { message: message.into(), at: None, late: true }
    }

    pub(super) fn into_error(self, text: &str) -> QueryError {
        if self.late {
            return QueryError::Execution(self.message);
        }
        QueryError::Parse { message: self.message, at: self.at.map(|offset| position(text, offset)) }
    }
}

pub(super) fn parse(text: &str) -> Result<ast::Expr, Fault> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("the expression is longer than {TEXT_BYTES_MAX} bytes");
        return Err(Fault { message, at: None, late: false });
    }
    if text.is_empty() {
        let message = "unknown position: parse error: no expression found in input".into();
        return Err(Fault { message, at: None, late: false });
    }
    parse::parse(text)
}

pub(super) fn position(text: &str, offset: usize) -> Position {
    let offset = text.floor_char_boundary(offset);
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    Position { offset, line: before.matches('\n').count() + 1, column: text[line_start..offset].chars().count() + 1 }
}
