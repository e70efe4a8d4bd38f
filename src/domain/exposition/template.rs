//! What a scrape has in common with the one before: nearly everything but the values. A body with the same lines is read
//! for its values alone; in another, a line that begins as its forerunner did names the same series, and is not parsed again.

use std::sync::Arc;

use super::line::{Line, Measured};
use super::{Format, Limits, Readings, Strings};
use crate::domain::metric::{Labels, Metadata, NAME, Roster, Text};

/// Samples' lines that may be gone before one counts as new.
const LOOK_AHEAD: usize = 8;

/// One target's last body, but for its values. Empty at first.
#[derive(Debug, Default)]
pub struct Template {
    format: Option<Format>,
    /// One line after the other, without what ends them: of a sample what stands before the value, of others all.
    text: String,
    lines: Vec<Known>,
    /// A series for each sample's line.
    roster: Arc<Roster>,
    families: Arc<Vec<Metadata>>,
}

/// One line.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// Where its text ends.
    end: u32,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sample,
    /// Something is escaped in it that need not be.
    OddSample,
    Other,
}

impl Template {
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Empty if it is of the other format: what one allows, the other may not.
    pub(super) fn of(self, format: Format) -> Template {
        if self.format == Some(format) { self } else { Template { format: Some(format), ..Template::default() } }
    }

    /// What a body says that has the same lines, values apart; `None` when it has others, or something is wrong with it.
    pub(super) fn read(&self, body: &str, limits: &Limits) -> Option<Readings> {
        let format = self.format.filter(|_| !self.lines.is_empty())?;
        let mut values = Vec::with_capacity(self.roster.series().len());
        let (mut rest, mut from) = (body, 0);
        for known in &self.lines {
            let text = self.text.get(from..known.end as usize)?;
            from = known.end as usize;
            let after = rest.as_bytes().strip_prefix(text.as_bytes())?;
            let left = after.iter().position(|b| *b == b'\n').unwrap_or(after.len());
            if text.len() + left > limits.line_bytes {
                return None;
            }
            let (raw, ended) = (rest.get(..text.len() + left)?, left < after.len());
            rest = rest.get(raw.len() + usize::from(ended)..)?;
            match known.kind {
                Kind::Other if left > 0 => return None,
                Kind::Other => {}
                // A body of this format that ends in a sample is cut short.
                Kind::Sample | Kind::OddSample if !ended && format == Format::OpenMetrics => return None,
                Kind::Sample | Kind::OddSample => {
                    let mut line = Line::new(raw, 0, format, *limits).after(text.len());
                    let Measured { value, timestamp_ms, .. } =
                        line.measured(&mut Strings::default(), &mut false).ok()?;
                    values.push((value, timestamp_ms));
                }
            }
        }
        let (roster, families) = (self.roster.clone(), self.families.clone());
        rest.is_empty().then_some(Readings { roster, values, families })
    }

    /// What its own body said, of which these are the values.
    pub(super) fn readings(&self, values: Vec<(f64, Option<i64>)>) -> Readings {
        Readings { roster: self.roster.clone(), values, families: self.families.clone() }
    }
}

/// Goes through a template beside a body, and makes the next one.
pub(super) struct Follower<'c> {
    before: Template,
    /// Line, where its text begins, and how many samples stand before it.
    at: (usize, usize, usize),
    text: String,
    lines: Vec<Known>,
    series: Vec<Labels>,
    complete: &'c dyn Fn(Labels) -> Labels,
}

impl<'c> Follower<'c> {
    /// `complete` gives the labels under which the template keeps a series.
    pub(super) fn new(before: Template, complete: &'c dyn Fn(Labels) -> Labels) -> Follower<'c> {
        let text = String::with_capacity(before.text.len());
        let lines = Vec::with_capacity(before.lines.len());
        let series = Vec::with_capacity(before.roster.series().len());
        Follower { before, at: (0, 0, 0), text, lines, series, complete }
    }

    /// What is known of a line: its series, that something odd is escaped, and where the value follows.
    pub(super) fn find(&mut self, raw: &str) -> Option<(Labels, bool, usize)> {
        let (line, mut from, mut nth) = self.at;
        let mut looked = 0;
        for (at, known) in self.before.lines.iter().enumerate().skip(line) {
            let text = self.before.text.get(from..known.end as usize)?;
            from = known.end as usize;
            if known.kind == Kind::Other {
                continue;
            }
            nth += 1;
            if begins(raw, text) {
                let labels = self.before.roster.series().get(nth - 1)?.clone();
                let odd = known.kind == Kind::OddSample;
                let (kind, bytes) = (known.kind, text.len());
                self.at = (at + 1, from, nth);
                self.keep(&raw[..bytes], kind);
                self.series.push(labels.clone());
                return Some((labels, odd, bytes));
            }
            looked += 1;
            if looked == LOOK_AHEAD {
                break;
            }
        }
        None
    }

    /// A series that was not known, and what stands before its value; returns its labels.
    pub(super) fn add(&mut self, text: &str, labels: Labels, odd: bool) -> Labels {
        let labels = (self.complete)(labels);
        self.keep(text, if odd { Kind::OddSample } else { Kind::Sample });
        self.series.push(labels.clone());
        labels
    }

    /// A line that is no sample.
    pub(super) fn pass(&mut self, raw: &str) {
        self.keep(raw, Kind::Other);
    }

    fn keep(&mut self, text: &str, kind: Kind) {
        self.text.push_str(text);
        // Bodies are limited to far less than 4 GiB.
        self.lines.push(Known { end: self.text.len() as u32, kind });
    }

    pub(super) fn template(mut self, families: Vec<Metadata>) -> Template {
        let before = self.before;
        self.text.shrink_to_fit();
        self.lines.shrink_to_fit();
        self.series.shrink_to_fit();
        let roster =
            if before.roster.series() == self.series { before.roster } else { Arc::new(Roster::new(self.series)) };
        let families = if *before.families == families { before.families } else { Arc::new(families) };
        Template { format: before.format, text: self.text, lines: self.lines, roster, families }
    }
}

/// The metric's name among labels.
pub(super) fn name_of(labels: &Labels) -> Option<Text> {
    labels.pairs().iter().find(|(name, _)| **name == *NAME).map(|(_, value)| value.clone())
}

/// Does `series` stand in front of a blank and a value? A bare name may have labels after the blank.
fn begins(text: &str, series: &str) -> bool {
    let Some(rest) = text.strip_prefix(series) else { return false };
    let value = rest.trim_start_matches([' ', '\t']);
    value.len() < rest.len() && !value.starts_with('{')
}
