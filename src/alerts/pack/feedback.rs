//! FeedbackSpike and FeedbackSevere: users speak before metrics do. Pure functions over stored items; not PromQL,
//! because the spike is an exact test (`detect/spike.rs`) and severity counts people, not messages.
//!
//! Counts go by `created_at`, so that a source which lists late does not look like a spike. One person is one voice.

use std::collections::{BTreeMap, BTreeSet};

use crate::alerts::detect::spike::{self, Spike};
use crate::domain::clock::Timestamp;
use crate::domain::feedback::FeedbackItem;
use crate::domain::units;

pub const NAMES: [&str; 2] = ["FeedbackSpike", "FeedbackSevere"];

/// Cues that can make a launch a failure, as `sources/text` names them.
pub const SEVERE_CUES: [&str; 5] = ["crash", "login", "payment", "data_loss", "security"];
/// Different people with one severe cue in an hour.
pub const SEVERE_AUTHORS_MIN: usize = 3;
/// The baseline reaches back at most this far, and counts as at least [`BASELINE_HOURS_MIN`].
pub const BASELINE_HOURS_MAX: i64 = 168;
pub const BASELINE_HOURS_MIN: i64 = 24;
const HOUR_MS: i64 = 3_600_000;

/// One alert to raise.
#[derive(Debug, Clone, PartialEq)]
pub struct Raised {
    pub name: &'static str,
    pub severity: &'static str,
    /// Labels besides alertname, severity and service.
    pub labels: Vec<(&'static str, String)>,
    pub value: f64,
    pub summary: String,
    pub description: String,
}

/// What the feedback of one service raises at `now`. `items`: newest revisions of the last eight days, in any order.
pub fn judge(items: &[FeedbackItem], now: Timestamp) -> Vec<Raised> {
    let items: Vec<&FeedbackItem> = items.iter().filter(|i| i.created_at <= now).collect();
    severe(&items, now).into_iter().chain(spike(&items, now)).collect()
}

/// Unknown authors are one person each: nobody can be told from nobody, and silence must not follow from that.
fn author(item: &FeedbackItem) -> String {
    if item.author_hash.is_empty() {
        format!("?{}:{}", item.source, item.external_id)
    } else {
        item.author_hash.clone()
    }
}

fn severe(items: &[&FeedbackItem], now: Timestamp) -> Vec<Raised> {
    let since = now.ms() - HOUR_MS;
    let mut people: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for item in items.iter().filter(|i| i.created_at.ms() > since) {
        for cue in SEVERE_CUES.iter().filter(|c| item.cues.iter().any(|k| k.name == **c)) {
            people.entry(cue).or_default().insert(author(item));
        }
    }
    people
        .into_iter()
        .filter(|(_, authors)| authors.len() >= SEVERE_AUTHORS_MIN)
        .map(|(cue, authors)| Raised {
            name: "FeedbackSevere",
            severity: "critical",
            labels: vec![("cue", cue.to_string())],
            value: authors.len() as f64,
            summary: format!("{} people report {} within the hour", authors.len(), cue.replace('_', " ")),
            description:
                "Different users describe the same serious harm. Read the messages: `hypercare feedback list`.".into(),
        })
        .collect()
}

/// The first window that fires: one hour, else six.
fn spike(items: &[&FeedbackItem], now: Timestamp) -> Option<Raised> {
    [1, 6].into_iter().find_map(|hours| {
        let start = now.ms() - hours * HOUR_MS;
        let recent: Vec<&&FeedbackItem> = items.iter().filter(|i| i.created_at.ms() > start).collect();
        // A source that was added yesterday has a baseline of a day, not a week of silence.
        let oldest = items.iter().map(|i| i.created_at.ms()).min().unwrap_or(start);
        let baseline_hours = ((start - oldest) / HOUR_MS).clamp(BASELINE_HOURS_MIN, BASELINE_HOURS_MAX);
        let mut hourly = vec![0u64; baseline_hours as usize];
        for item in items.iter().filter(|i| i.created_at.ms() <= start) {
            if let Some(slot) = hourly.get_mut(((start - item.created_at.ms()) / HOUR_MS) as usize) {
                *slot += 1;
            }
        }
        let authors: BTreeSet<String> = recent.iter().map(|i| author(i)).collect();
        let found = spike::judge(recent.len() as u64, hours as f64, authors.len(), &hourly, baseline_hours as f64);
        found.fires.then(|| told(hours, recent.len(), authors.len(), &found))
    })
}

fn told(hours: i64, items: usize, authors: usize, found: &Spike) -> Raised {
    let times = if found.ratio.is_finite() {
        format!("{} times the usual rate (at least {})", units::number(found.ratio), units::number(found.ratio_low))
    } else {
        "where there was none before".to_string()
    };
    Raised {
        name: "FeedbackSpike",
        severity: "warning",
        labels: Vec::new(),
        value: items as f64,
        summary: format!("{items} messages by {authors} people in {hours} h, {times}"),
        description: format!(
            "The chance of so many by accident is {}. Read them: `hypercare feedback list`.",
            units::number(found.p)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::feedback::{Cue, FeedbackKind};

    fn now() -> Timestamp {
        Timestamp::from_ms(1_000 * HOUR_MS)
    }

    fn item(n: usize, author: &str, minutes_ago: i64, cue: Option<&str>) -> FeedbackItem {
        let at = Timestamp::from_ms(now().ms() - minutes_ago * 60_000);
        FeedbackItem {
            source: "forum".into(),
            external_id: n.to_string(),
            revision: "1".into(),
            created_at: at,
            updated_at: at,
            fetched_at: now(),
            kind: FeedbackKind::Post,
            author_hash: author.into(),
            rating: None,
            title: String::new(),
            text: String::new(),
            url: None,
            app_version: None,
            platform: None,
            labels: Vec::new(),
            redactions: 0,
            sentiment: None,
            cues: cue.map(|c| Cue { name: c.into(), start: 0, end: 1 }).into_iter().collect(),
        }
    }

    fn names(items: &[FeedbackItem]) -> Vec<&'static str> {
        judge(items, now()).iter().map(|r| r.name).collect()
    }

    #[test]
    fn three_people_with_one_harm_within_the_hour() {
        let items: Vec<_> = ["a", "b", "c"].iter().enumerate().map(|(i, a)| item(i, a, 10, Some("payment"))).collect();
        assert_eq!(names(&items), ["FeedbackSevere"]);
        assert_eq!(judge(&items, now())[0].labels, [("cue", "payment".to_string())]);
        let one_person: Vec<_> = (0..3).map(|i| item(i, "a", 10, Some("payment"))).collect();
        assert_eq!(names(&one_person), [] as [&str; 0]);
        let mild: Vec<_> = ["a", "b", "c"].iter().enumerate().map(|(i, a)| item(i, a, 10, Some("slow"))).collect();
        assert_eq!(names(&mild), [] as [&str; 0]);
    }

    #[test]
    fn many_messages_are_a_spike_unless_it_is_always_so() {
        let burst: Vec<_> = (0..6).map(|i| item(i, &format!("p{i}"), 20, None)).collect();
        assert_eq!(names(&burst), ["FeedbackSpike"]);
        let usual: Vec<_> = (0..6 * 48).map(|i| item(i, &format!("p{i}"), i as i64 * 10, None)).collect();
        assert_eq!(names(&usual), [] as [&str; 0]);
        assert_eq!(names(&[]), [] as [&str; 0]);
    }

    #[test]
    fn what_was_written_long_ago_and_listed_now_is_no_spike() {
        let late: Vec<_> = (0..20).map(|i| item(i, &format!("p{i}"), 60 * 30 + i as i64 * 60, None)).collect();
        assert_eq!(names(&late), [] as [&str; 0]);
    }
}
