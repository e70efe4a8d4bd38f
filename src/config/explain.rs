//! Problems as people read them: with file, line, column, the line itself and a hint; or one plain line each.

use std::fmt::Write as _;
use std::path::Path;

use annotate_snippets::{AnnotationKind, Group, Renderer, Snippet};
use serde::Serialize;

use super::dom::{Place, SourceFile};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Error,
    Warning,
}

/// One thing wrong, with its places. Messages are lowercase fragments and never hold a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub level: Level,
    pub message: String,
    pub hint: Option<String>,
    /// `None`: about no place in a file.
    pub place: Option<Place>,
    /// Other places that belong to it, with what to say there.
    pub others: Vec<(Place, String)>,
}

impl Diagnostic {
    pub fn error(place: Place, message: impl Into<String>) -> Diagnostic {
        Diagnostic { level: Level::Error, message: message.into(), hint: None, place: Some(place), others: Vec::new() }
    }
    pub fn warning(place: Place, message: impl Into<String>) -> Diagnostic {
        Diagnostic { level: Level::Warning, ..Diagnostic::error(place, message) }
    }
    pub fn nowhere(message: impl Into<String>) -> Diagnostic {
        Diagnostic { level: Level::Error, message: message.into(), hint: None, place: None, others: Vec::new() }
    }
    pub fn hint(mut self, hint: impl Into<String>) -> Diagnostic {
        self.hint = Some(hint.into());
        self
    }
    pub fn also(mut self, place: Place, label: impl Into<String>) -> Diagnostic {
        self.others.push((place, label.into()));
        self
    }
}

/// Line and column of a byte, both from 1; columns count characters.
pub fn line_column(text: &str, byte: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(byte.min(text.len()))];
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// A diagnostic for machines: `config check --format json`.
#[derive(Debug, Serialize)]
pub struct Located<'a> {
    pub level: Level,
    pub file: Option<&'a Path>,
    pub line: Option<usize>,
    pub column: Option<usize>,
    pub message: &'a str,
    pub hint: Option<&'a str>,
}

pub fn locate<'a>(diagnostic: &'a Diagnostic, files: &'a [SourceFile]) -> Located<'a> {
    let place = diagnostic.place.as_ref().and_then(|p| files.get(p.file).map(|f| (f, p)));
    let at = place.map(|(f, p)| line_column(&f.text, p.span.start));
    Located {
        level: diagnostic.level,
        file: place.map(|(f, _)| f.path.as_path()),
        line: at.map(|a| a.0),
        column: at.map(|a| a.1),
        message: &diagnostic.message,
        hint: diagnostic.hint.as_deref(),
    }
}

/// `file:line:col: error: message (hint)`
pub fn plain(diagnostic: &Diagnostic, files: &[SourceFile]) -> String {
    let at = locate(diagnostic, files);
    let mut out = String::new();
    if let (Some(file), Some(line), Some(column)) = (at.file, at.line, at.column) {
        let _ = write!(out, "{}:{line}:{column}: ", file.display());
    }
    if at.level == Level::Warning {
        out.push_str("warning: ");
    }
    out.push_str(at.message);
    for (place, label) in &diagnostic.others {
        if let Some(file) = files.get(place.file) {
            let (line, column) = line_column(&file.text, place.span.start);
            let _ = write!(out, "; {label}: {}:{line}:{column}", file.path.display());
        }
    }
    if let Some(hint) = at.hint {
        let _ = write!(out, " ({hint})");
    }
    out
}

/// As rustc shows it, with colours; `width` in columns.
pub fn pretty(diagnostic: &Diagnostic, files: &[SourceFile], width: usize) -> String {
    let level = match diagnostic.level {
        Level::Error => annotate_snippets::Level::ERROR,
        Level::Warning => annotate_snippets::Level::WARNING,
    };
    let mut group = match &diagnostic.place {
        None => Group::with_title(level.primary_title(diagnostic.message.as_str())),
        Some(main) => {
            let mut group = level
                .primary_title(diagnostic.message.as_str())
                .elements(Vec::<Snippet<'_, annotate_snippets::Annotation<'_>>>::new());
            let mut by_file = vec![(main.file, vec![(main, AnnotationKind::Primary, "")])];
            for (place, label) in &diagnostic.others {
                let note = (place, AnnotationKind::Context, label.as_str());
                match by_file.iter_mut().find(|(file, _)| *file == place.file) {
                    Some((_, notes)) => notes.push(note),
                    None => by_file.push((place.file, vec![note])),
                }
            }
            for (file, notes) in by_file {
                let Some(file) = files.get(file) else { continue };
                let text = file.shown();
                let length = text.len();
                let mut snippet = Snippet::source(text).path(file.path.display().to_string());
                for (place, kind, label) in notes {
                    let span = place.span.start.min(length)..place.span.end.min(length);
                    snippet = snippet.annotation(kind.span(span).label((!label.is_empty()).then_some(label)));
                }
                group = group.element(snippet);
            }
            group
        }
    };
    if let Some(hint) = &diagnostic.hint {
        group = group.element(annotate_snippets::Level::HELP.message(hint.as_str()));
    }
    Renderer::styled().term_width(width).render(&[group])
}
