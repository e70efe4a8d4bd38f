//! What users said since go-live, against what they usually say. Redacted before it was stored; redacted again here.

use std::collections::{BTreeMap, BTreeSet};

use super::frame::Frame;
use super::gather::FEEDBACK_BEFORE;
use super::model::{CueRow, Feedback, Quote, SourceRow};
use crate::domain::feedback::{FeedbackItem, FeedbackKind};
use crate::domain::secret::redact;
use crate::domain::units;

const QUOTES_MAX: usize = 5;
const QUOTE_CHARS: usize = 280;
/// Quotes of one person.
const QUOTES_PER_AUTHOR: usize = 2;

pub fn section(frame: &Frame) -> Feedback {
    let g = frame.g;
    let (before, now): (Vec<&FeedbackItem>, Vec<&FeedbackItem>) =
        g.feedback.iter().partition(|i| i.created_at < g.live_at);
    let now: Vec<&FeedbackItem> = now.into_iter().filter(|i| frame.in_window(i.created_at)).collect();
    let hours = frame.lived().as_secs_f64() / 3600.0;
    let rate = |n: usize, hours: f64| if hours > 0.0 { n as f64 / hours } else { 0.0 };
    let before_hours = FEEDBACK_BEFORE.as_secs_f64() / 3600.0;
    let (per_hour, usual) = (rate(now.len(), hours), rate(before.len(), before_hours));
    let stars: Vec<u8> = now.iter().filter_map(|i| i.rating).collect();
    let cues = cues(&now, &before);
    let first = now.iter().filter(|i| !i.cues.is_empty()).min_by_key(|i| i.created_at);
    let sentence = if g.sources.is_empty() && now.is_empty() {
        "No feedback source is configured: what users say was not heard.".to_string()
    } else if now.is_empty() {
        "No feedback since go-live.".to_string()
    } else {
        let pace = if usual <= 0.0 {
            "there was none in the week before".to_string()
        } else {
            format!("{} times the usual pace", units::number((per_hour / usual * 10.0).round() / 10.0))
        };
        let loud = cues.first().map(|c| format!("; most speak of {}", cue_words(&c.name))).unwrap_or_default();
        format!("{} message{} since go-live, {pace}{loud}.", now.len(), if now.len() == 1 { "" } else { "s" })
    };
    Feedback {
        sentence,
        items: now.len(),
        per_hour: format!("{} an hour", units::number((per_hour * 100.0).round() / 100.0)),
        before_per_hour: format!("{} an hour", units::number((usual * 100.0).round() / 100.0)),
        stars: (!stars.is_empty()).then(|| {
            let mean = stars.iter().map(|s| f64::from(*s)).sum::<f64>() / stars.len() as f64;
            format!("{} of 5 from {} rated", units::number((mean * 10.0).round() / 10.0), stars.len())
        }),
        cues,
        quotes: quotes(frame, &now),
        sources: sources(frame, &now),
        first_report: first.map(|i| format!("{} {}", frame.clock(i.created_at), short(i, 120))),
    }
}

/// A cue's name in words.
pub fn cue_words(name: &str) -> String {
    name.replace('_', " ")
}

fn cues(now: &[&FeedbackItem], before: &[&FeedbackItem]) -> Vec<CueRow> {
    let mut found: BTreeMap<String, (usize, BTreeSet<&str>)> = BTreeMap::new();
    for item in now {
        for name in item.cues.iter().map(|c| c.name.as_str()).collect::<BTreeSet<_>>() {
            let entry = found.entry(name.into()).or_default();
            entry.0 += 1;
            // An unknown author counts as one more person: the key is then the item's own.
            entry.1.insert(if item.author_hash.is_empty() { &item.external_id } else { &item.author_hash });
        }
    }
    let mut rows: Vec<CueRow> = found
        .into_iter()
        .map(|(name, (items, people))| {
            let usual = before.iter().filter(|i| i.cues.iter().any(|c| c.name == name)).count() as f64;
            let per_day = usual / (FEEDBACK_BEFORE.as_secs_f64() / 86_400.0);
            CueRow { items, people: people.len(), before_per_day: units::number((per_day * 10.0).round() / 10.0), name }
        })
        .collect();
    rows.sort_by(|a, b| b.people.cmp(&a.people).then(b.items.cmp(&a.items)).then(a.name.cmp(&b.name)));
    rows
}

/// Those with cues first, then the lowest rated, then the earliest; never tickets.
fn quotes(frame: &Frame, now: &[&FeedbackItem]) -> Vec<Quote> {
    let mut items: Vec<&&FeedbackItem> = now.iter().filter(|i| i.kind != FeedbackKind::Ticket).collect();
    items.sort_by_key(|i| {
        (std::cmp::Reverse(i.cues.len()), i.rating.unwrap_or(3), i.created_at, i.source.clone(), i.external_id.clone())
    });
    let mut per_author: BTreeMap<&str, usize> = BTreeMap::new();
    let mut quotes = Vec::new();
    for item in items {
        let count = per_author.entry(&item.author_hash).or_default();
        if !item.author_hash.is_empty() && *count >= QUOTES_PER_AUTHOR {
            continue;
        }
        *count += 1;
        quotes.push(Quote {
            text: short(item, QUOTE_CHARS),
            source: item.source.clone(),
            time: frame.moment(item.created_at),
            rating: item.rating,
            cues: item.cues.iter().map(|c| cue_words(&c.name)).collect::<BTreeSet<_>>().into_iter().collect(),
            // Only what a browser opens as a page: a link is data from outside.
            url: item.url.clone().filter(|u| u.starts_with("https://") || u.starts_with("http://")),
        });
        if quotes.len() == QUOTES_MAX {
            break;
        }
    }
    quotes
}

/// Title and text on one line, cut on a character.
pub fn short(item: &FeedbackItem, chars: usize) -> String {
    let title = item.title.trim();
    let text = item.text.trim();
    let both = match (title.is_empty(), text.is_empty() || text.starts_with(title)) {
        (true, _) => text.to_string(),
        (false, true) if text.len() > title.len() => text.to_string(),
        (false, true) => title.to_string(),
        (false, false) => format!("{title}: {text}"),
    };
    let line = redact(&both).split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= chars {
        return line;
    }
    line.chars().take(chars.saturating_sub(1)).chain(['…']).collect()
}

fn sources(frame: &Frame, now: &[&FeedbackItem]) -> Vec<SourceRow> {
    let mut names: BTreeSet<&str> = frame.g.sources.iter().map(|s| s.source.as_str()).collect();
    names.extend(now.iter().map(|i| i.source.as_str()));
    names
        .into_iter()
        .map(|name| {
            let heard = frame.g.sources.iter().find(|s| s.source == name).and_then(|s| s.heard_until);
            let silent = heard.map(|t| frame.g.end.since(t));
            let patience = frame.scaled(std::time::Duration::from_secs(3600), std::time::Duration::from_secs(60));
            let (heard, tone, mark) = match silent {
                Some(gap) if gap <= patience => ("to the end".to_string(), "pass", "✔"),
                Some(gap) => (format!("not for the last {}", units::prose(gap)), "warn", "▲"),
                // Messages that come by themselves (a form) need no poll.
                None if now.iter().any(|i| i.source == name) => ("as they came".to_string(), "pass", "✔"),
                None => ("never".to_string(), "error", "?"),
            };
            SourceRow { source: name.into(), items: now.iter().filter(|i| i.source == name).count(), heard, tone, mark }
        })
        .collect()
}
