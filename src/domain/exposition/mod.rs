//! Exposition formats: Prometheus text 0.0.4 / 1.0.0 and OpenMetrics 1.0. Strict, positions in errors, never a panic.
//! Pure: bytes in, samples out; the scraper (`sources/metric/prometheus.rs`), the gate `monitoring.metrics` and
//! `hypercare metrics check` share it.
//!
//! The format is what `Content-Type` says; nothing is sniffed. A file has no content type: there `# EOF` decides.
//! Sources: prometheus.io "Exposition formats"; the OpenMetrics 1.0 specification. Protobuf and native histograms are
//! refused. `body.rs` reads a body, `line.rs` one line, `strict.rs` holds what OpenMetrics forbids beyond a line's
//! grammar, `lint.rs` what is legal but wrong; `template.rs` spares what the last body
//! had already; `stream.rs` reads files of any length.

mod body;
mod line;
mod lint;
mod stream;
mod strict;
mod template;

use std::fmt;
use std::sync::Arc;

use self::body::{PROBLEMS_MAX, Parsed, Parser, Strings};
use super::metric::{Labels, Metadata, Roster};

pub use stream::Stream;
pub use template::Template;

/// What a body may cost us (watch.md 2.1). Prometheus' own defaults are unlimited; ours are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Unpacked.
    pub body_bytes: usize,
    pub samples: usize,
    /// Labels of one sample, the name not counted.
    pub labels: usize,
    /// Length of a metric's or label's name.
    pub name_bytes: usize,
    /// Length of a label's value.
    pub value_bytes: usize,
    pub line_bytes: usize,
}

/// A large application exports a few thousand series in a few hundred KiB.
pub const LIMITS: Limits = Limits {
    body_bytes: 16 << 20,
    samples: 50_000,
    labels: 64,
    name_bytes: 256,
    value_bytes: 1024,
    line_bytes: 64 << 10,
};

impl Default for Limits {
    fn default() -> Self {
        LIMITS
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Prometheus text 0.0.4 and 1.0.0.
    Text,
    OpenMetrics,
}

impl Format {
    /// As people call it.
    pub fn title(self) -> &'static str {
        match self {
            Format::Text => "Prometheus text",
            Format::OpenMetrics => "OpenMetrics",
        }
    }
}

/// A parsed body. Samples in the order of the body; families in the order of their first line.
#[derive(Debug, Clone, PartialEq)]
pub struct Exposition {
    pub format: Format,
    /// Also families without HELP and TYPE, as [`MetricKind::Unknown`] with empty help.
    pub families: Vec<Metadata>,
    pub samples: Vec<ParsedSample>,
    /// Legal, but wrong or unwise; sorted by line.
    pub problems: Vec<Lint>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ParsedSample {
    /// With `__name__`.
    pub labels: Labels,
    pub value: f64,
    pub timestamp_ms: Option<i64>,
    pub exemplar: Option<Exemplar>,
    /// Index into [`Exposition::families`].
    pub family: usize,
    /// Counts from 1.
    pub line: usize,
}

/// A trace or request that stands for a bucket; OpenMetrics only.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar {
    pub labels: Labels,
    pub value: f64,
    pub timestamp_ms: Option<i64>,
}

/// Something legal that will hurt. `rule` is a stable word for machines.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Lint {
    pub line: usize,
    pub rule: &'static str,
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParseErrorKind {
    Syntax,
    /// One of [`Limits`] is exceeded.
    Limit,
    /// The content type names no format we read.
    ContentType,
}

/// Where and why the body is not an exposition. Line and column count from 1; the column counts characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct ParseError {
    pub line: usize,
    pub column: usize,
    pub message: String,
    pub kind: ParseErrorKind,
}

/// Parses with [`LIMITS`], refuses whatever OpenMetrics forbids, and looks for every problem.
pub fn parse(content_type: Option<&str>, body: &[u8]) -> Result<Exposition, ParseError> {
    let Parsed { mut exposition, lines, .. } = read(content_type, body, &LIMITS)?;
    if exposition.format == Format::OpenMetrics {
        strict::check(&exposition, &lines)?;
    }
    lint::look(&mut exposition);
    Ok(exposition)
}

/// What a scraper takes from a body.
#[derive(Debug, Clone)]
pub struct Readings {
    /// The same one for bodies that name the same series in the same order. Its series may repeat.
    pub roster: Arc<Roster>,
    /// Of each series the value, and the time in milliseconds if the body says it.
    pub values: Vec<(f64, Option<i64>)>,
    /// As in [`Exposition::families`]; the same ones for bodies that say the same.
    pub families: Arc<Vec<Metadata>>,
}

/// Parses within `limits`: what the scraper does every few seconds. Only a line's own grammar can fail it. `template` is of
/// the source's last body, or empty, and then of this one; after an error it is empty. `complete` makes of a series' labels
/// those it is known by; a template goes with one `complete`.
pub fn parse_within(
    content_type: Option<&str>,
    body: &[u8],
    limits: &Limits,
    template: &mut Template,
    complete: &dyn Fn(Labels) -> Labels,
) -> Result<Readings, ParseError> {
    let before = std::mem::take(template);
    let (format, text) = text_of(content_type, body, limits)?;
    let before = before.of(format);
    if let Some(readings) = before.read(text, limits) {
        *template = before;
        return Ok(readings);
    }
    let Parsed { exposition, template: next, .. } =
        Parser::new(format, *limits).following(before, complete).run(text)?;
    *template = next.unwrap_or_default();
    Ok(template.readings(exposition.samples.iter().map(|s| (s.value, s.timestamp_ms)).collect()))
}

fn read(content_type: Option<&str>, body: &[u8], limits: &Limits) -> Result<Parsed, ParseError> {
    let (format, text) = text_of(content_type, body, limits)?;
    Parser::new(format, *limits).run(text)
}

fn text_of<'b>(content_type: Option<&str>, body: &'b [u8], limits: &Limits) -> Result<(Format, &'b str), ParseError> {
    let format = match content_type {
        Some(given) => format_of(given)?,
        None => format_of_file(body),
    };
    if body.len() > limits.body_bytes {
        let message = format!("the body is longer than {} bytes", limits.body_bytes);
        return Err(ParseError { line: 1, column: 1, message, kind: ParseErrorKind::Limit });
    }
    let text = std::str::from_utf8(body).map_err(|e| not_utf8(body, e.valid_up_to()))?;
    Ok((format, text))
}

fn format_of(content_type: &str) -> Result<Format, ParseError> {
    let kind = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    match kind.as_str() {
        "application/openmetrics-text" => Ok(Format::OpenMetrics),
        "text/plain" => Ok(Format::Text),
        _ => {
            let shown: String = kind.chars().filter(|c| !c.is_control()).take(60).collect();
            let message = format!(
                "content type `{shown}` is no exposition format; expected text/plain or application/openmetrics-text"
            );
            Err(ParseError { line: 1, column: 1, message, kind: ParseErrorKind::ContentType })
        }
    }
}

/// A line that begins with `# EOF` is no comment that anybody writes, wherever it stands: the parser tells what is wrong
/// with its place. An empty file has lost its end.
fn format_of_file(body: &[u8]) -> Format {
    let ends = body.is_empty() || body.split(|b| *b == b'\n').any(|line| line.starts_with(b"# EOF"));
    if ends { Format::OpenMetrics } else { Format::Text }
}

fn not_utf8(body: &[u8], valid_up_to: usize) -> ParseError {
    let before = &body[..valid_up_to];
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let start = before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let column = String::from_utf8_lossy(&before[start..]).chars().count() + 1;
    ParseError { line, column, message: "not UTF-8".into(), kind: ParseErrorKind::Syntax }
}

impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {} ({})", self.line, self.message, self.rule)
    }
}

#[cfg(test)]
mod tests;
