//! What a scrape has in common with the one before: nearly everything but the values. A line that begins as its forerunner
//! did names the same series, and is not parsed again.

use std::sync::Arc;

use super::Format;
use crate::domain::metric::Labels;

/// Lines that may be gone before one counts as new.
const LOOK_AHEAD: usize = 8;

/// The series of one target's last body, in its order. Empty at first.
#[derive(Debug, Default)]
pub struct Template {
    format: Option<Format>,
    lines: Vec<Known>,
}

impl Template {
    /// Empty if it is of the other format: what one allows, the other may not.
    pub(super) fn of(self, format: Format) -> Template {
        let same = self.format == Some(format);
        Template { format: Some(format), lines: if same { self.lines } else { Vec::new() } }
    }
}

/// What stands before a value.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// As it is written.
    pub text: Box<str>,
    pub name: Arc<str>,
    pub labels: Labels,
    pub odd_escape: bool,
}

/// Goes through a template beside a body, and becomes the next one.
pub(super) struct Follower {
    format: Option<Format>,
    before: Vec<Option<Known>>,
    at: usize,
    now: Vec<Known>,
}

impl Follower {
    pub(super) fn new(template: Template) -> Follower {
        let now = Vec::with_capacity(template.lines.len());
        let format = template.format;
        Follower { format, before: template.lines.into_iter().map(Some).collect(), at: 0, now }
    }

    /// What is known of the line that begins with `text`.
    pub(super) fn find(&mut self, text: &str) -> Option<&Known> {
        let ahead = self.before.iter_mut().enumerate().skip(self.at).take(LOOK_AHEAD);
        let (at, known) = ahead.into_iter().find_map(|(at, slot)| {
            let known = slot.take_if(|known| begins(text, &known.text))?;
            Some((at, known))
        })?;
        self.at = at + 1;
        self.now.push(known);
        self.now.last()
    }

    pub(super) fn add(&mut self, known: Known) {
        self.now.push(known);
    }

    pub(super) fn template(self) -> Template {
        Template { format: self.format, lines: self.now }
    }
}

/// Does `series` stand in front of a blank and a value? A bare name may have labels after the blank.
fn begins(text: &str, series: &str) -> bool {
    let Some(rest) = text.strip_prefix(series) else { return false };
    let value = rest.trim_start_matches([' ', '\t']);
    value.len() < rest.len() && !value.starts_with('{')
}
