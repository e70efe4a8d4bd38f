//! One line of an exposition: a cursor over its bytes, and the grammar of comments and samples.

use std::borrow::Cow;

use super::template::{Follower, name_of};
use super::{Exemplar, Format, Limits, ParseError, ParseErrorKind, Strings};
use crate::domain::metric::{Labels, MetricKind, NAME, Text};

pub(super) struct Line<'a> {
    text: &'a str,
    at: usize,
    pub(super) number: usize,
    format: Format,
    limits: Limits,
}

pub(super) struct Sampled {
    pub(super) name: Text,
    pub(super) labels: Labels,
    pub(super) measured: Measured,
}

/// What stands after the series.
pub(super) struct Measured {
    pub(super) value: f64,
    pub(super) timestamp_ms: Option<i64>,
    pub(super) exemplar: Option<Exemplar>,
}

impl<'a> Line<'a> {
    pub(super) fn new(text: &'a str, number: usize, format: Format, limits: Limits) -> Line<'a> {
        Line { text, at: 0, number, format, limits }
    }

    /// With its first `bytes` read.
    pub(super) fn after(self, bytes: usize) -> Line<'a> {
        Line { at: bytes, ..self }
    }

    /// `at` is a byte offset; it may lie anywhere.
    pub(super) fn error(&self, at: usize, message: impl Into<String>) -> ParseError {
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let column = self.text[..at].chars().count() + 1;
        ParseError { line: self.number, column, message: message.into(), kind: ParseErrorKind::Syntax }
    }
    pub(super) fn limit(&self, at: usize, message: impl Into<String>) -> ParseError {
        ParseError { kind: ParseErrorKind::Limit, ..self.error(at, message) }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.text.len()
    }
    fn eat(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }
    fn is_strict(&self) -> bool {
        self.format == Format::OpenMetrics
    }
    pub(super) fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }
    /// Blanks are free in text and forbidden in OpenMetrics, where this does nothing and the next token complains.
    fn optional_blanks(&mut self) {
        if !self.is_strict() {
            self.skip_blanks();
        }
    }
    /// One space in OpenMetrics, any blanks in text.
    fn separator(&mut self, before: &str) -> Result<(), ParseError> {
        let start = self.at;
        if self.is_strict() {
            if !self.eat(b' ') {
                return Err(self.error(start, format!("expected one space before {before}")));
            }
        } else {
            self.skip_blanks();
            if self.at == start {
                return Err(self.error(start, format!("expected a blank before {before}")));
            }
        }
        Ok(())
    }
    fn found(&self) -> String {
        match self.text[self.at..].chars().next() {
            None => "the end of the line".into(),
            Some('\r') => "a carriage return (lines end with \\n alone)".into(),
            Some(c) => format!("`{}`", c.escape_debug()),
        }
    }
    fn token(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let token = &rest[..rest.find([' ', '\t']).unwrap_or(rest.len())];
        self.at += token.len();
        token
    }

    /// `HELP`, `TYPE` or `UNIT` and where the word stands; `None` for a plain comment. Leaves the cursor at the name.
    pub(super) fn comment_keyword(&mut self) -> Result<Option<(&'static str, usize)>, ParseError> {
        self.at += 1;
        if self.is_strict() {
            if !self.eat(b' ') {
                return Ok(None);
            }
        } else {
            self.skip_blanks();
        }
        let at = self.at;
        let keyword = match self.token() {
            "HELP" => "HELP",
            "TYPE" => "TYPE",
            "UNIT" if self.is_strict() => "UNIT",
            _ => return Ok(None),
        };
        self.separator("the metric's name")?;
        Ok(Some((keyword, at)))
    }

    /// A bare or quoted metric name of a metadata line.
    pub(super) fn metric_name_anywhere(&mut self) -> Result<Cow<'a, str>, ParseError> {
        if self.peek() != Some(b'"') {
            return self.bare_name(true).map(Cow::Borrowed);
        }
        let start = self.at;
        let name = self.quoted(&mut false)?;
        if name.is_empty() {
            return Err(self.error(start, "an empty name"));
        }
        self.check_name_length(&name, start)?;
        Ok(name)
    }

    pub(super) fn kind(&mut self) -> Result<MetricKind, ParseError> {
        self.separator("the type")?;
        let at = self.at;
        let word = self.rest_as_token_here()?;
        Ok(match word {
            "counter" => MetricKind::Counter,
            "gauge" => MetricKind::Gauge,
            "histogram" => MetricKind::Histogram,
            "summary" => MetricKind::Summary,
            "unknown" => MetricKind::Unknown,
            "untyped" if !self.is_strict() => MetricKind::Unknown,
            "info" => MetricKind::Info,
            "stateset" => MetricKind::Stateset,
            "gaugehistogram" => MetricKind::Gaugehistogram,
            other => {
                let shown: String = other.chars().take(40).collect();
                return Err(self.error(at, format!("`{}` is not a metric type", shown.escape_debug())));
            }
        })
    }

    /// The help text with its escapes resolved. It may be empty, but OpenMetrics wants the space before it.
    pub(super) fn help_text(&mut self) -> Result<String, ParseError> {
        if self.is_strict() {
            self.separator("the help text")?;
        } else {
            self.skip_blanks();
        }
        let rest = &self.text[self.at..];
        self.at = self.text.len();
        Ok(unescape(rest, &mut false).into_owned())
    }

    /// The unit, which only OpenMetrics has; it may be empty, but not its separator.
    pub(super) fn unit(&mut self) -> Result<&'a str, ParseError> {
        self.separator("the unit")?;
        self.rest_as_token_here()
    }
    fn rest_as_token_here(&mut self) -> Result<&'a str, ParseError> {
        let word = self.token();
        self.optional_blanks();
        self.expect_end()?;
        Ok(word)
    }
    fn expect_end(&self) -> Result<(), ParseError> {
        if self.is_at_end() {
            return Ok(());
        }
        Err(self.error(self.at, format!("expected the end of the line, found {}", self.found())))
    }

    /// `known`: what earlier bodies of the same source had in this place.
    pub(super) fn sample(
        &mut self,
        strings: &mut Strings<'a>,
        known: Option<&mut Follower<'_>>,
        odd_escape: &mut bool,
    ) -> Result<Sampled, ParseError> {
        let (name, labels) = match known {
            Some(follower) => self.series_again(strings, follower, odd_escape)?,
            None => self.series(strings, odd_escape)?,
        };
        Ok(Sampled { name, labels, measured: self.measured(strings, odd_escape)? })
    }

    /// From the blank before the value to the end of the line.
    pub(super) fn measured(
        &mut self,
        strings: &mut Strings<'a>,
        odd_escape: &mut bool,
    ) -> Result<Measured, ParseError> {
        self.separator("the value")?;
        let value = self.number("a value")?;
        let (mut timestamp_ms, mut exemplar) = (None, None);
        if self.has_more() && !self.is_at_exemplar() {
            self.separator("the timestamp")?;
            timestamp_ms = Some(self.timestamp()?);
        }
        if self.is_strict() && self.is_at_exemplar() {
            self.at += 3;
            exemplar = Some(self.exemplar(strings, odd_escape)?);
        }
        self.optional_blanks();
        self.expect_end()?;
        Ok(Measured { value, timestamp_ms, exemplar })
    }

    fn series_again(
        &mut self,
        strings: &mut Strings<'a>,
        follower: &mut Follower<'_>,
        odd_escape: &mut bool,
    ) -> Result<(Text, Labels), ParseError> {
        if let Some((labels, odd, bytes)) = follower.find(self.text)
            && let Some(name) = name_of(&labels)
        {
            self.at = bytes;
            *odd_escape = odd;
            return Ok((name, labels));
        }
        let (name, labels) = self.series(strings, odd_escape)?;
        Ok((name, follower.add(&self.text[..self.at], labels, *odd_escape)))
    }

    /// What stands before the value.
    fn series(&mut self, strings: &mut Strings<'a>, odd_escape: &mut bool) -> Result<(Text, Labels), ParseError> {
        let start = self.at;
        let mut name = None;
        if self.peek() != Some(b'{') {
            name = Some(strings.share(self.bare_name(true)?));
            if matches!(self.peek(), Some(b' ' | b'\t')) && self.text[self.at..].trim_start().starts_with('{') {
                self.optional_blanks();
            }
        }
        let mut pairs = Vec::new();
        if self.eat(b'{') {
            self.labels(&mut name, &mut pairs, strings, odd_escape)?;
        }
        let Some(name) = name else { return Err(self.error(start, "the sample has no name")) };
        pairs.push((strings.share(NAME), name.clone()));
        Ok((name, Labels::new(pairs)))
    }

    /// Is there anything but blanks left?
    fn has_more(&self) -> bool {
        let rest = &self.text[self.at..];
        !rest.is_empty() && (self.is_strict() || !rest.trim_start_matches([' ', '\t']).is_empty())
    }
    fn is_at_exemplar(&self) -> bool {
        self.is_strict() && self.text[self.at..].starts_with(" # ")
    }

    fn exemplar(&mut self, strings: &mut Strings<'a>, odd_escape: &mut bool) -> Result<Exemplar, ParseError> {
        if !self.eat(b'{') {
            return Err(self.error(self.at, "an exemplar starts with `{`"));
        }
        // A name cannot stand in an exemplar: give the slot away beforehand.
        let (mut taken, mut pairs) = (Some(strings.share("exemplar")), Vec::new());
        self.labels(&mut taken, &mut pairs, strings, odd_escape)?;
        self.separator("the exemplar's value")?;
        let value = self.number("the exemplar's value")?;
        let mut timestamp_ms = None;
        if self.has_more() {
            self.separator("the exemplar's timestamp")?;
            timestamp_ms = Some(self.timestamp()?);
        }
        Ok(Exemplar { labels: Labels::new(pairs), value, timestamp_ms })
    }

    /// After `{`, through `}`.
    fn labels(
        &mut self,
        name: &mut Option<Text>,
        pairs: &mut Vec<(Text, Text)>,
        strings: &mut Strings<'a>,
        odd_escape: &mut bool,
    ) -> Result<(), ParseError> {
        self.optional_blanks();
        if self.eat(b'}') {
            return Ok(());
        }
        loop {
            let start = self.at;
            let quoted = self.peek() == Some(b'"');
            let key = if quoted { self.quoted(odd_escape)? } else { Cow::Borrowed(self.bare_name(false)?) };
            self.check_name_length(&key, start)?;
            if key.is_empty() {
                return Err(self.error(start, "an empty name"));
            }
            let key = shared(strings, key);
            self.optional_blanks();
            if self.eat(b'=') {
                self.optional_blanks();
                let value_at = self.at;
                let value = self.quoted(odd_escape)?;
                if value.len() > self.limits.value_bytes {
                    let message = format!("the value of label {key} is longer than {} bytes", self.limits.value_bytes);
                    return Err(self.limit(value_at, message));
                }
                if &*key == NAME || pairs.iter().any(|(n, _)| *n == key) {
                    return Err(self.error(start, format!("label {key} is given twice")));
                }
                pairs.push((key, shared(strings, value)));
                if pairs.len() > self.limits.labels {
                    return Err(self.limit(start, format!("more than {} labels", self.limits.labels)));
                }
            } else if quoted && name.is_none() {
                *name = Some(key);
            } else {
                return Err(self.error(self.at, format!("expected `=` after label {key}, found {}", self.found())));
            }
            self.optional_blanks();
            if self.eat(b',') {
                self.optional_blanks();
                // Text allows a comma after the last label.
                if !self.is_strict() && self.eat(b'}') {
                    return Ok(());
                }
            } else if self.eat(b'}') {
                return Ok(());
            } else {
                return Err(self.error(self.at, format!("expected `,` or `}}`, found {}", self.found())));
            }
        }
    }

    /// `[a-zA-Z_][a-zA-Z0-9_]*`, with colons for metrics.
    fn bare_name(&mut self, of_metric: bool) -> Result<&'a str, ParseError> {
        let start = self.at;
        let is_part = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || (of_metric && b == b':');
        while self.peek().is_some_and(is_part) {
            self.at += 1;
        }
        let name = &self.text[start..self.at];
        if name.is_empty() || name.as_bytes()[0].is_ascii_digit() {
            self.at = start;
            let what = if of_metric { "a metric's name" } else { "a label's name" };
            return Err(self.error(start, format!("expected {what}, found {}", self.found())));
        }
        self.check_name_length(name, start)?;
        Ok(name)
    }

    fn check_name_length(&self, name: &str, at: usize) -> Result<(), ParseError> {
        if name.len() <= self.limits.name_bytes {
            return Ok(());
        }
        Err(self.limit(at, format!("a name is longer than {} bytes", self.limits.name_bytes)))
    }

    /// A double-quoted string, borrowed when nothing in it is escaped.
    fn quoted(&mut self, odd_escape: &mut bool) -> Result<Cow<'a, str>, ParseError> {
        let start = self.at;
        if !self.eat(b'"') {
            return Err(self.error(start, format!("expected `\"`, found {}", self.found())));
        }
        let from = self.at;
        let mut escaped = false;
        loop {
            match self.peek() {
                None => return Err(self.error(start, "the quote is never closed")),
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.at += 2;
                }
                Some(_) => self.at += 1,
            }
        }
        let inner = &self.text[from..self.at];
        self.at += 1;
        Ok(if escaped { unescape(inner, odd_escape) } else { Cow::Borrowed(inner) })
    }

    fn number(&mut self, what: &str) -> Result<f64, ParseError> {
        let at = self.at;
        let token = self.token();
        if token.starts_with('{') {
            return Err(self.error(at, "native histograms are not supported"));
        }
        if let Some(whole) = whole(token.as_bytes()) {
            return Ok(whole);
        }
        // Rust reads `+nan`; neither format has it.
        if matches!(token.as_bytes(), [b'+' | b'-', b'n' | b'N', ..]) {
            return Err(self.not_a_number(at, token, what));
        }
        token.parse().map_err(|_| self.not_a_number(at, token, what))
    }

    fn timestamp(&mut self) -> Result<i64, ParseError> {
        let at = self.at;
        let token = self.token();
        if !self.is_strict() {
            return token.parse().map_err(|_| self.not_a_number(at, token, "a timestamp in whole milliseconds"));
        }
        match token.parse::<f64>() {
            // A time beyond what milliseconds can hold stays at their end: legal, and no clock of ours will ever accept it.
            Ok(seconds) if seconds.is_finite() => Ok((seconds * 1000.0).round() as i64),
            _ => Err(self.not_a_number(at, token, "a timestamp in seconds")),
        }
    }

    fn not_a_number(&self, at: usize, token: &str, what: &str) -> ParseError {
        if token.is_empty() {
            return self.error(at, format!("expected {what}, found the end of the line"));
        }
        let shown: String = token.chars().take(40).collect();
        self.error(at, format!("`{}` is not {what}", shown.escape_debug()))
    }
}

fn shared<'a>(strings: &mut Strings<'a>, text: Cow<'a, str>) -> Text {
    match text {
        Cow::Borrowed(text) => strings.share(text),
        Cow::Owned(text) => text.into(),
    }
}

/// Digits alone, so few that a double holds them: most values, and much faster than any number.
fn whole(token: &[u8]) -> Option<f64> {
    const DIGITS_MAX: usize = 15;
    if token.is_empty() || token.len() > DIGITS_MAX {
        return None;
    }
    let digit = |b: &u8| b.is_ascii_digit().then(|| u64::from(b - b'0'));
    token.iter().try_fold(0, |n, b| Some(n * 10 + digit(b)?)).map(|n| n as f64)
}

/// `\\`, `\"` and `\n`; any other backslash stays, as Prometheus keeps it.
fn unescape<'a>(text: &'a str, odd: &mut bool) -> Cow<'a, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match rest.next() {
            Some('n') => out.push('\n'),
            Some(c @ ('\\' | '"')) => out.push(c),
            other => {
                *odd = true;
                out.push('\\');
                out.extend(other);
            }
        }
    }
    Cow::Owned(out)
}
