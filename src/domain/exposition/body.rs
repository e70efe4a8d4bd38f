//! A whole body, line by line: which family each line belongs to, and whether it may stand where it stands.

use std::borrow::Cow;
use std::collections::HashMap;

use super::line::{Line, Measured, Sampled};
use super::template::{Follower, Template};
use super::{Exposition, Format, Limits, Lint, ParseError, ParseErrorKind, ParsedSample};
use crate::domain::metric::{Labels, Metadata, MetricKind, Text};

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

pub(super) struct Parser<'a> {
    format: Format,
    limits: Limits,
    families: Vec<Metadata>,
    seen: Vec<Seen>,
    /// Family by its declared name.
    declared: HashMap<Cow<'a, str>, usize>,
    /// Families that appeared on a sample's line before any metadata.
    undeclared: HashMap<Text, usize>,
    /// Family by the name on a sample's line: spares the search through suffixes.
    by_sample: HashMap<Text, usize>,
    current: usize,
    samples: Vec<ParsedSample>,
    problems: Vec<Lint>,
    strings: Strings<'a>,
    follower: Option<Follower<'a>>,
}

pub(super) struct Parsed {
    pub exposition: Exposition,
    /// On which each family first appears.
    pub lines: Vec<usize>,
    /// For the source's next body; none unless this one followed another.
    pub template: Option<Template>,
}

/// Label names and values repeat on thousands of lines: each is stored once.
#[derive(Default)]
pub(super) struct Strings<'a>(HashMap<&'a str, Text>);

impl<'a> Strings<'a> {
    pub(super) fn share(&mut self, text: &'a str) -> Text {
        self.0.entry(text).or_insert_with(|| text.into()).clone()
    }
}

impl<'a> Parser<'a> {
    pub(super) fn new(format: Format, limits: Limits) -> Parser<'a> {
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
            follower: None,
        }
    }

    /// The body is the next one of the source that `template` is of; series get the labels that `complete` gives.
    pub(super) fn following(mut self, template: Template, complete: &'a dyn Fn(Labels) -> Labels) -> Parser<'a> {
        self.follower = Some(Follower::new(template, complete));
        self
    }

    pub(super) fn run(mut self, text: &'a str) -> Result<Parsed, ParseError> {
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
                self.pass(raw);
                continue;
            }
            if strict && !has_newline {
                return Err(line.error(raw.len(), "the body is cut short: it must end with # EOF"));
            }
            if !strict {
                line.skip_blanks();
                if line.is_at_end() {
                    self.pass(raw);
                    continue;
                }
            }
            if line.peek() == Some(b'#') {
                self.comment(&mut line)?;
                self.pass(raw);
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
        let template = self.follower.map(|follower| follower.template(families.clone()));
        Ok(Parsed { exposition: Exposition { format: self.format, families, samples, problems }, lines, template })
    }

    fn pass(&mut self, raw: &str) {
        if let Some(follower) = &mut self.follower {
            follower.pass(raw);
        }
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
        let Sampled { name, labels, measured: Measured { value, timestamp_ms, exemplar } } =
            line.sample(&mut self.strings, self.follower.as_mut(), &mut odd_escape)?;
        if odd_escape {
            self.note(line.number, "odd-escape", format!("{name}: only \\\\, \\\" and \\n may be escaped"));
        }
        let family = self.family_of(&name);
        self.enter(family, line.number);
        self.seen[family].sampled = true;
        self.samples.push(ParsedSample { labels, value, timestamp_ms, exemplar, family, line: line.number });
        Ok(())
    }

    fn family_of(&mut self, name: &Text) -> usize {
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
pub(super) const PROBLEMS_MAX: usize = 1000;

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
