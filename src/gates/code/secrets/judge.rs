//! What was seen, to a verdict and its evidence. Pure.

use super::history::History;
use super::{Reach, Seen};
use crate::domain::suppression::Means;
use crate::domain::units::count;
use crate::domain::verdict::{Confidence, Finding, Outcome, Severity, Tier};

impl Reach {
    /// The range that was looked at.
    fn told(&self) -> serde_json::Value {
        match self {
            Reach::NotAsked => "not asked for".into(),
            Reach::NoGit => "not a git repository".into(),
            Reach::Failed(error) => error.to_string().into(),
            Reach::Looked(history) => serde_json::json!({
                "range": "every commit that a ref, a stash or HEAD reaches: added lines, messages, files of first commits and of merges, contents without lines",
                "refs": history.refs, "commits": history.commits, "merges": history.merges,
                "contents": history.blobs, "contents_left_out": history.blobs_left,
                "commits_unread": history.unread, "shallow": history.shallow,
            }),
        }
    }
}

/// Keeps one piece of evidence well under its limit of 1 MiB.
const EVIDENCE_ROWS_MAX: usize = 1000;
const DOUBTFUL_ROWS_MAX: usize = 200;
/// Share of files that must have been inspected for a pass (gates.md 0.1).
const COVERED_SHARE_MIN: f64 = 0.90;

/// Pure: what was seen, to a verdict.
pub(super) fn judge(seen: &Seen) -> Outcome {
    if seen.known == 0 {
        return Outcome::error("nothing-to-inspect", "the repository has no file")
            .hint("check that --repo names the product's sources");
    }
    let open = |f: &&Finding| f.suppressed.is_none();
    let blocks = |f: &&Finding| f.severity >= Severity::High && f.confidence == Confidence::High;
    let warns = |f: &&Finding| !blocks(f) && f.severity >= Severity::Medium;
    let fails: Vec<&Finding> = seen.findings.iter().filter(open).filter(blocks).collect();
    let doubts: Vec<&Finding> = seen.findings.iter().filter(open).filter(warns).collect();
    let (whole, trouble) = match &seen.history {
        Reach::NotAsked => (" (the history was not looked at)".to_string(), None),
        Reach::NoGit => (String::new(), Some("this is not a git repository: its history cannot be looked at".into())),
        Reach::Looked(history) => {
            let trouble = match history {
                History { shallow: true, .. } => Some(
                    "the clone is shallow: fetch all of it (actions/checkout with fetch-depth: 0, GIT_DEPTH: 0)".into(),
                ),
                History { unread: 0, .. } => None,
                History { unread, .. } => Some(format!(
                    "objects of {} are missing: fetch all of them (git fetch --refetch)",
                    count(*unread as usize, "commit")
                )),
            };
            (format!(" and {}", count(history.commits as usize, "commit")), trouble)
        }
        Reach::Failed(error) => (String::new(), Some(format!("the history could not be read: {error}"))),
    };
    let places = format!("{}{whole}", count(seen.inspected as usize, "file"));
    let outcome = if !fails.is_empty() {
        let but = trouble.map(|why| format!(", and {why}")).unwrap_or_default();
        Outcome::fail(format!("{} in {places}{but}", count(fails.len(), "secret")))
    } else if matches!(seen.history, Reach::Failed(_)) {
        let why = trouble.unwrap_or_default();
        return Outcome::error("history-unreadable", why)
            .findings(seen.findings.clone())
            .covered(seen.inspected, seen.known);
    } else if let Some(first) = seen.unread.first() {
        return Outcome::error("bad-config", first.clone())
            .hint("mend it: a rule or an allow list that cannot be read is not used")
            .findings(seen.findings.clone())
            .covered(seen.inspected, seen.known);
    } else if !doubts.is_empty() {
        Outcome::warn(format!("{} in {places}", count(doubts.len(), "possible secret")))
    } else if let Some(why) = trouble {
        Outcome::warn(format!("no secrets in {places}, but {why}"))
    } else if (seen.inspected as f64) < seen.known as f64 * COVERED_SHARE_MIN {
        Outcome::warn(format!("no secrets in the {} of {} files inspected", seen.inspected, seen.known))
    } else {
        Outcome::pass(format!("no secrets in {places}"))
    };
    let rotated = seen.findings.iter().filter_map(|f| f.suppressed.as_deref());
    let rotated = rotated.filter(|text| Means::of(text) == Means::Attestation).count();
    let mut outcome = outcome;
    if rotated > 0 {
        outcome.summary.push_str(&format!("; {} of the history rotated", count(rotated, "secret")));
    }
    let outcome = match fails.first().or(doubts.first()) {
        Some(f) => outcome.hint(format!(
            "{} at {}:{}: {}",
            f.message,
            f.file.as_deref().unwrap_or_default(),
            f.line.unwrap_or_default(),
            f.fix
        )),
        None => outcome,
    };
    let suppressed = seen.findings.iter().filter(|f| f.suppressed.is_some()).count();
    let evidence = serde_json::json!({
        "files": {"known": seen.known, "inspected": seen.inspected, "unreadable": seen.unreadable.iter().take(EVIDENCE_ROWS_MAX).collect::<Vec<_>>()},
        "history": seen.history.told(), "suppressed": suppressed, "doubtful": seen.doubtful.len(),
        "doubtful_places": seen.doubtful.iter().take(DOUBTFUL_ROWS_MAX).collect::<Vec<_>>(),
        "unread": seen.unread, "found_total": seen.rows.len(),
        "found": seen.rows.iter().take(EVIDENCE_ROWS_MAX).collect::<Vec<_>>(),
    });
    let outcome = outcome.value(fails.len(), 0).tier(Tier::E1).covered(seen.inspected, seen.known);
    outcome.findings(seen.findings.clone()).evidence("secrets", evidence)
}
