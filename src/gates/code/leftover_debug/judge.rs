//! What was seen, to a verdict. Pure.

use std::collections::BTreeMap;

use super::ABOUT;
use crate::domain::units::count;
use crate::domain::verdict::{Finding, Outcome, Tier};
use crate::gates::code::bundler::Drop;

/// What a finding does to the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Effect {
    Note,
    Warn,
    Fail,
}

/// Everything the verdict rests on.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Files of program code of any role.
    pub code_files: u64,
    /// Files that ship, and those of them that were inspected.
    pub known: u64,
    pub covered: u64,
    /// Files that ship but could not be understood: broken, too large, unreadable.
    pub unparsable: Vec<String>,
    /// Files that ship in languages without a grammar, by language.
    pub unsupported: BTreeMap<&'static str, u64>,
    pub findings: Vec<(Effect, Finding)>,
    /// One row per finding, for the ledger.
    pub rows: Vec<serde_json::Value>,
    pub drops: Vec<Drop>,
    /// Hits that they take away.
    pub dropped: usize,
}

/// Share of files that may be unparsable before the answer is "could not tell".
const UNPARSABLE_SHARE_MAX: f64 = 0.02;
/// Share of known files that must have been inspected for a pass (gates.md 0.1).
const COVERED_SHARE_MIN: f64 = 0.90;

/// Pure: what was seen, to a verdict.
pub(super) fn judge(seen: &Seen) -> Outcome {
    if seen.code_files == 0 {
        return Outcome::skip("no-source", "no file of the repository is program code");
    }
    let languages: Vec<String> = seen.unsupported.iter().map(|(l, n)| format!("{n} {l}")).collect();
    let counted = |effect| seen.findings.iter().filter(move |(e, f)| *e == effect && f.suppressed.is_none());
    let (fails, warns) = (counted(Effect::Fail).count(), counted(Effect::Warn).count());
    let suppressed = seen.findings.iter().filter(|(_, f)| f.suppressed.is_some()).count();

    let outcome = if fails > 0 {
        Outcome::fail(format!("{} in {}", count(fails, "leftover"), count(files(counted(Effect::Fail)), "file")))
    } else if seen.covered == 0 {
        let what = match (seen.known, languages.is_empty()) {
            (0, _) => "all program code is tests, scripts, settings or generated".to_string(),
            (_, true) => "no source that ships could be read".to_string(),
            (_, false) => format!("no grammar for what ships: {} files", languages.join(", ")),
        };
        Outcome::error("nothing-to-inspect", what).hint("check that --repo names the product's sources")
    } else if seen.unparsable.len() as f64 > seen.known as f64 * UNPARSABLE_SHARE_MAX {
        let first = &seen.unparsable[0];
        Outcome::error("unparsable", format!("{} could not be parsed", count(seen.unparsable.len(), "file"))).hint(
            format!("{first} is the first; mend its syntax, or mark it generated with @generated in its first lines"),
        )
    } else if warns > 0 {
        let of = |rule| counted(Effect::Warn).filter(|(_, f)| f.rule == rule).count();
        let (focus, alerts) = (of("focused-test"), of("alert"));
        let parts = [(focus, "focused test"), (alerts, "alert"), (warns - focus - alerts, "print")];
        let parts: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, w)| count(*n, w)).collect();
        Outcome::warn(format!("{} in {}", parts.join(", "), count(files(counted(Effect::Warn)), "file")))
    } else if (seen.covered as f64) < seen.known as f64 * COVERED_SHARE_MIN {
        let also =
            if languages.is_empty() { String::new() } else { format!(" (no grammar for {})", languages.join(", ")) };
        Outcome::warn(format!("no leftovers in the {} of {} files inspected{also}", seen.covered, seen.known))
    } else {
        let also = match seen.dropped {
            0 => String::new(),
            n => format!("; {} dropped by the bundler", count(n, "call")),
        };
        Outcome::pass(format!("no leftovers in {}{also}", count(seen.covered as usize, "file")))
    };

    let judged = outcome.reason.is_none();
    let outcome = match counted(Effect::Fail).chain(counted(Effect::Warn)).next() {
        Some((_, f)) if judged => outcome.hint(format!(
            "{}:{} {}: {}; intended output: hypercare:allow {} -- <reason>",
            f.file.as_deref().unwrap_or_default(),
            f.line.unwrap_or_default(),
            f.message,
            f.fix,
            ABOUT.id,
        )),
        _ => outcome,
    };
    let outcome = if judged { outcome.value(fails, 0).tier(Tier::E1) } else { outcome };
    outcome.covered(seen.covered, seen.known).findings(seen.findings.iter().map(|(_, f)| f.clone()).collect()).evidence(
        "leftovers",
        serde_json::json!({
            "files": {"code": seen.code_files, "ship": seen.known, "inspected": seen.covered},
            "without_grammar": seen.unsupported,
            "unparsable": seen.unparsable.iter().take(EVIDENCE_ROWS_MAX).collect::<Vec<_>>(),
            "bundler": seen.drops,
            "suppressed": suppressed,
            "hits": seen.rows.iter().take(EVIDENCE_ROWS_MAX).collect::<Vec<_>>(),
            "hits_total": seen.rows.len(),
        }),
    )
}

/// Keeps one piece of evidence well under its limit of 1 MiB.
const EVIDENCE_ROWS_MAX: usize = 1000;

fn files<'f>(findings: impl Iterator<Item = &'f (Effect, Finding)>) -> usize {
    findings.map(|(_, f)| f.file.as_deref()).collect::<std::collections::BTreeSet<_>>().len()
}
