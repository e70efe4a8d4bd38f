//! Exposition formats: Prometheus text 0.0.4 / 1.0.0 and OpenMetrics 1.0. Strict, positions in errors, never a panic.
//! Pure: bytes in, samples out; the scraper (`sources/metric/prometheus.rs`), the gate `monitoring.metrics` and
//! `hypercare metrics check` share it.
//!
//! The format is what `Content-Type` says; nothing is sniffed. A file has no content type: there `# EOF` decides.
//! Sources: prometheus.io "Exposition formats"; the OpenMetrics 1.0 specification. Protobuf and native histograms are
//! refused. `line.rs` reads one line, `strict.rs` holds what OpenMetrics forbids beyond a line's grammar, `lint.rs` what is
//! legal but wrong; `stream.rs` reads files of any length.

mod line;
mod lint;
mod stream;
mod strict;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use self::line::{Line, Sampled};
use super::metric::{Labels, Metadata, MetricKind};

pub use stream::Stream;

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
    /// Legal, but wrong or unwise; sorted by line. [`parse_within`] finds only what costs nothing.
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
    let (mut exposition, lines) = read(content_type, body, &LIMITS)?;
    if exposition.format == Format::OpenMetrics {
        strict::check(&exposition, &lines)?;
    }
    lint::look(&mut exposition);
    Ok(exposition)
}

/// Parses within `limits`: what the scraper does every few seconds. Only a line's own grammar can fail it.
pub fn parse_within(content_type: Option<&str>, body: &[u8], limits: &Limits) -> Result<Exposition, ParseError> {
    read(content_type, body, limits).map(|(exposition, _)| exposition)
}

/// Also the line on which each family first appears.
fn read(content_type: Option<&str>, body: &[u8], limits: &Limits) -> Result<(Exposition, Vec<usize>), ParseError> {
    let format = match content_type {
        Some(given) => format_of(given)?,
        None => format_of_file(body),
    };
    if body.len() > limits.body_bytes {
        let message = format!("the body is longer than {} bytes", limits.body_bytes);
        return Err(ParseError { line: 1, column: 1, message, kind: ParseErrorKind::Limit });
    }
    let text = std::str::from_utf8(body).map_err(|e| not_utf8(body, e.valid_up_to()))?;
    Parser::new(format, *limits).run(text)
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

fn format_of_file(body: &[u8]) -> Format {
    let trimmed = body.strip_suffix(b"\n").unwrap_or(body);
    if trimmed == b"# EOF" || trimmed.ends_with(b"\n# EOF") { Format::OpenMetrics } else { Format::Text }
}

fn not_utf8(body: &[u8], valid_up_to: usize) -> ParseError {
    let before = &body[..valid_up_to];
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let start = before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let column = String::from_utf8_lossy(&before[start..]).chars().count() + 1;
    ParseError { line, column, message: "not UTF-8".into(), kind: ParseErrorKind::Syntax }
}

/// A family while its lines go by.
#[derive(Default)]
struct Seen {
    /// Of its first mention.
    line: usize,
    typed: bool,
    helped: bool,
    has_unit: bool,
    sampled: bool,
    /// Another family came in between.
    closed: bool,
    interleaved: bool,
}

struct Parser<'a> {
    format: Format,
    limits: Limits,
    families: Vec<Metadata>,
    seen: Vec<Seen>,
    /// Family by its declared name.
    declared: HashMap<Cow<'a, str>, usize>,
    /// Families that appeared on a sample's line before any metadata.
    undeclared: HashMap<Arc<str>, usize>,
    /// Family by the name on a sample's line: spares the search through suffixes.
    by_sample: HashMap<Arc<str>, usize>,
    current: usize,
    samples: Vec<ParsedSample>,
    problems: Vec<Lint>,
    strings: Strings<'a>,
}

/// Label names and values repeat on thousands of lines: each is stored once.
#[derive(Default)]
struct Strings<'a>(HashMap<&'a str, Arc<str>>);

impl<'a> Strings<'a> {
    fn share(&mut self, text: &'a str) -> Arc<str> {
        self.0.entry(text).or_insert_with(|| text.into()).clone()
    }
}

impl<'a> Parser<'a> {
    fn new(format: Format, limits: Limits) -> Parser<'a> {
        Parser {
            format,
            limits,
            families: Vec::new(),
            seen: Vec::new(),
            declared: HashMap::new(),
            undeclared: HashMap::new(),
            by_sample: HashMap::new(),
            current: usize::MAX,
            samples: Vec::new(),
            problems: Vec::new(),
            strings: Strings::default(),
        }
    }

    fn run(mut self, text: &'a str) -> Result<(Exposition, Vec<usize>), ParseError> {
        let strict = self.format == Format::OpenMetrics;
        let mut ended = false;
        let mut rest = text;
        let mut number = 0;
        while !rest.is_empty() {
            number += 1;
            let (raw, after) = match rest.split_once('\n') {
                Some((raw, after)) => (raw, after),
                None => (rest, ""),
            };
            let has_newline = rest.len() > raw.len();
            rest = after;
            let mut line = Line::new(raw, number, self.format, self.limits);
            if raw.len() > self.limits.line_bytes {
                return Err(line.limit(0, format!("the line is longer than {} bytes", self.limits.line_bytes)));
            }
            if ended {
                return Err(line.error(0, "nothing may follow # EOF"));
            }
            if strict && raw == "# EOF" {
                ended = true;
                continue;
            }
            if strict && !has_newline {
                return Err(line.error(raw.len(), "the body is cut short: it must end with # EOF"));
            }
            if !strict {
                line.skip_blanks();
                if line.is_at_end() {
                    continue;
                }
            }
            if line.peek() == Some(b'#') {
                self.comment(&mut line)?;
            } else {
                self.sample(&mut line)?;
            }
        }
        if strict && !ended {
            let message = "the body is cut short: it must end with # EOF".to_string();
            return Err(ParseError { line: number + 1, column: 1, message, kind: ParseErrorKind::Syntax });
        }
        let lines = self.seen.iter().map(|seen| seen.line).collect();
        let (families, samples, problems) = (self.families, self.samples, self.problems);
        Ok((Exposition { format: self.format, families, samples, problems }, lines))
    }

    fn comment(&mut self, line: &mut Line<'a>) -> Result<(), ParseError> {
        let strict = self.format == Format::OpenMetrics;
        let Some((keyword, at)) = line.comment_keyword()? else {
            if strict {
                return Err(line.error(0, "OpenMetrics allows no comment but # HELP, # TYPE, # UNIT and # EOF"));
            }
            return Ok(());
        };
        let name = line.metric_name_anywhere()?;
        let index = match self.declared.get(&name) {
            Some(index) => *index,
            None => {
                let taken = self.undeclared.get(&*name).copied();
                let index = taken.unwrap_or_else(|| self.add_family(&name));
                self.declared.insert(name.clone(), index);
                index
            }
        };
        self.enter(index, line.number);
        let seen = &mut self.seen[index];
        if strict && seen.sampled {
            return Err(line.error(at, format!("# {keyword} of {name} comes after its samples")));
        }
        let flag = match keyword {
            "TYPE" => &mut seen.typed,
            "HELP" => &mut seen.helped,
            _ => &mut seen.has_unit,
        };
        if std::mem::replace(flag, true) {
            if strict {
                return Err(line.error(at, format!("second # {keyword} of {name}")));
            }
            self.note(line.number, "repeated-metadata", format!("second # {keyword} of {name}"));
        }
        if keyword == "TYPE" && self.seen[index].sampled {
            self.note(line.number, "metadata-after-samples", format!("# {keyword} of {name} comes after its samples"));
        }
        let family = &mut self.families[index];
        match keyword {
            "TYPE" => family.kind = line.kind()?,
            "HELP" => family.help = line.help_text()?,
            _ => family.unit = line.unit()?.to_string(),
        }
        // A new type changes which suffixes belong to the family.
        if keyword == "TYPE" && !self.seen[index].sampled {
            self.by_sample.clear();
        }
        Ok(())
    }

    fn sample(&mut self, line: &mut Line<'a>) -> Result<(), ParseError> {
        if self.samples.len() >= self.limits.samples {
            return Err(line.limit(0, format!("more than {} samples", self.limits.samples)));
        }
        let mut odd_escape = false;
        let Sampled { name, labels, value, timestamp_ms, exemplar } =
            line.sample(&mut self.strings, &mut odd_escape)?;
        if odd_escape {
            self.note(line.number, "odd-escape", format!("{name}: only \\\\, \\\" and \\n may be escaped"));
        }
        let family = self.family_of(&name);
        self.enter(family, line.number);
        self.seen[family].sampled = true;
        self.samples.push(ParsedSample { labels, value, timestamp_ms, exemplar, family, line: line.number });
        Ok(())
    }

    fn family_of(&mut self, name: &Arc<str>) -> usize {
        if let Some(index) = self.by_sample.get(name) {
            return *index;
        }
        let exact = self.declared.get(&**name).copied();
        let by_suffix = || {
            SUFFIXES.iter().find_map(|(suffix, kinds)| {
                let index = *self.declared.get(name.strip_suffix(suffix)?)?;
                kinds.contains(&self.families[index].kind).then_some(index)
            })
        };
        let known = exact.or_else(by_suffix).or_else(|| self.undeclared.get(name).copied());
        let index = known.unwrap_or_else(|| {
            let index = self.add_family(name);
            self.undeclared.insert(name.clone(), index);
            index
        });
        self.by_sample.insert(name.clone(), index);
        index
    }

    fn add_family(&mut self, name: &str) -> usize {
        self.families.push(Metadata {
            family: name.to_string(),
            kind: MetricKind::Unknown,
            help: String::new(),
            unit: String::new(),
        });
        self.seen.push(Seen::default());
        self.families.len() - 1
    }

    /// The line belongs to family `index`: the one before ends here.
    fn enter(&mut self, index: usize, line: usize) {
        if index == self.current {
            return;
        }
        if let Some(before) = self.seen.get_mut(self.current) {
            before.closed = true;
        }
        self.current = index;
        let seen = &mut self.seen[index];
        if seen.line == 0 {
            seen.line = line;
        }
        if seen.closed && !std::mem::replace(&mut seen.interleaved, true) {
            let message = format!("lines of {} are not together", self.families[index].family);
            self.note(line, "interleaved-family", message);
        }
    }

    fn note(&mut self, line: usize, rule: &'static str, message: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Lint { line, rule, message });
        }
    }
}

/// Problems kept of one body: after so many, nobody reads on.
const PROBLEMS_MAX: usize = 1000;

/// Which suffix belongs to which kinds of family.
const SUFFIXES: [(&str, &[MetricKind]); 8] = [
    ("_total", &[MetricKind::Counter]),
    ("_bucket", &[MetricKind::Histogram, MetricKind::Gaugehistogram]),
    ("_sum", &[MetricKind::Histogram, MetricKind::Summary]),
    ("_count", &[MetricKind::Histogram, MetricKind::Summary]),
    ("_gsum", &[MetricKind::Gaugehistogram]),
    ("_gcount", &[MetricKind::Gaugehistogram]),
    ("_info", &[MetricKind::Info]),
    ("_created", &[MetricKind::Counter, MetricKind::Histogram, MetricKind::Summary]),
];

impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {} ({})", self.line, self.message, self.rule)
    }
}

#[cfg(test)]
mod tests;
