//! What is listed and does not count, for every gate that names places: `hypercare:allow <gate>[/<rule>] -- reason`,
//! in a comment on the finding's line, or alone on the line above, and the baseline. Without a reason it does not
//! count, and is reported. Native markers of other tools (`eslint-disable`, `noqa`) belong to the gate that knows the
//! rule.
//!
//! A gate whose verdict rests on more than its findings marks them itself before it judges ([`mark`]); for all others
//! the runner does so afterwards ([`settle`]).

use std::collections::BTreeMap;

use super::context::{Repo, SOURCE_FILE_BYTES_MAX};
use super::{Gate, Stage};
use crate::domain::verdict::{Class, Confidence, Finding, Outcome, Severity, Verdict};

/// What stands beside a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inline {
    /// Counts. The text is for `Finding::suppressed`: marker, line and reason.
    Allowed(String),
    /// Names the gate but gives no reason: ignored, to be reported. The line (from 1) of the marker.
    NoReason(u32),
}

pub const MARKER: &str = "hypercare:allow";

/// Marks the findings of `gate` that a comment beside them, or the baseline, covers. Marked ones stay as they are.
pub fn mark<'f>(repo: &Repo, gate: &str, findings: impl IntoIterator<Item = &'f mut Finding>) {
    let mut texts = Texts { repo, read: BTreeMap::new() };
    for finding in findings.into_iter().filter(|f| f.suppressed.is_none()) {
        match texts.inline(gate, finding) {
            Some(Inline::Allowed(why)) => finding.suppressed = Some(why),
            Some(Inline::NoReason(at)) => {
                remark(finding, &format!("{MARKER} on line {at} gives no reason and does not count"));
            }
            None => {}
        }
        if finding.suppressed.is_none() {
            finding.suppressed = repo.baseline.cover(gate, finding);
        }
    }
}

/// Says something beside the advice, once.
fn remark(finding: &mut Finding, text: &str) {
    if !finding.fix.contains(text) && !finding.message.contains("gives no reason") {
        let gap = if finding.fix.is_empty() { "" } else { "; " };
        finding.fix = format!("{}{gap}{text}", finding.fix);
    }
}

/// Files that findings stand in, each read once.
struct Texts<'r> {
    repo: &'r Repo,
    read: BTreeMap<String, String>,
}

impl Texts<'_> {
    fn inline(&mut self, gate: &str, finding: &Finding) -> Option<Inline> {
        let (file, line) = (finding.file.as_ref()?, finding.line?);
        let repo = self.repo;
        let read = |file: &String| repo.read_text(file, SOURCE_FILE_BYTES_MAX).unwrap_or_default();
        let text = self.read.entry(file.clone()).or_insert_with_key(read);
        if !text.contains(MARKER) {
            return None;
        }
        inline(&text.lines().collect::<Vec<_>>(), line, gate, &finding.rule)
    }
}

/// What open findings demand (gates.md 0.1, where a gate names nothing else).
fn demands(finding: &Finding) -> Verdict {
    match (finding.severity, finding.confidence) {
        _ if finding.suppressed.is_some() => Verdict::Skip,
        (Severity::Critical | Severity::High, Confidence::High) => Verdict::Fail,
        (Severity::Info, _) => Verdict::Skip,
        _ => Verdict::Warn,
    }
}

/// The runner's part, after each gate: marks what the gate has not marked, and takes it out of the verdict where that
/// rests on findings alone.
pub fn settle(gate: &dyn Gate, repo: Option<&Repo>, outcome: &mut Outcome) {
    let Some(repo) = repo.filter(|_| !outcome.findings.is_empty()) else { return };
    let about = gate.about();
    if about.class == Class::A && about.stage != Stage::Static {
        // What was seen on a running system is not made good by a comment in its source.
        let mut texts = Texts { repo, read: BTreeMap::new() };
        for finding in outcome.findings.iter_mut().filter(|f| f.suppressed.is_none()) {
            if texts.inline(about.id, finding).is_some() {
                remark(finding, &format!("{MARKER} does not count for what was seen on a running system"));
            }
        }
        return;
    }
    let worst = |o: &Outcome| o.findings.iter().map(demands).max().unwrap_or(Verdict::Skip);
    let (before, marked) = (worst(outcome), |o: &Outcome| o.findings.iter().filter(|f| f.suppressed.is_some()).count());
    let had = marked(outcome);
    mark(repo, about.id, &mut outcome.findings);
    let new = marked(outcome) - had;
    // A failure that no finding explains stays one.
    if new == 0 || before < outcome.verdict || !matches!(outcome.verdict, Verdict::Fail | Verdict::Warn) {
        return;
    }
    let Some(least) = gate.without_findings() else { return };
    let now = worst(outcome).max(least);
    let open = outcome.findings.iter().find(|f| demands(f) == now.max(Verdict::Warn));
    if now < outcome.verdict || open.is_some_and(|f| !outcome.summary.contains(&f.message)) {
        (outcome.summary, outcome.hint) = match open {
            Some(first) => {
                (format!("{}; {new} suppressed", first.message), Some(first.fix.clone()).filter(|f| !f.is_empty()))
            }
            None => (format!("nothing open; {new} suppressed ({})", outcome.summary), None),
        };
        outcome.verdict = now.min(outcome.verdict);
    }
}

/// Lines that hold a marker: does it name a gate, and does it give a reason?
pub fn marker(line: &str) -> Option<(&str, bool)> {
    let after = line.split_once(MARKER)?.1;
    let target = after.split_once("--").map_or(clean(after), |(target, _)| target.trim());
    let target = target.split_whitespace().next()?;
    let gate = target.split('/').next()?;
    let word = |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit());
    let named = gate.split_once('.').is_some_and(|(section, name)| word(section) && word(name));
    let reason = after.split_once("--").map_or("", |(_, reason)| clean(reason));
    named.then_some((gate, !reason.is_empty()))
}

/// The suppression of `gate` and `rule` that covers `line` (from 1).
pub fn inline(lines: &[&str], line: u32, gate: &str, rule: &str) -> Option<Inline> {
    let at = (line as usize).checked_sub(1)?;
    let above = at.checked_sub(1).filter(|i| lines.get(*i).is_some_and(|l| is_comment(l)));
    [Some(at), above].into_iter().flatten().find_map(|i| read(lines.get(i)?, i as u32 + 1, gate, rule))
}

fn read(text: &str, line: u32, gate: &str, rule: &str) -> Option<Inline> {
    let after = text.split_once(MARKER)?.1;
    let (target, reason) = match after.split_once("--") {
        Some((target, reason)) => (target.trim(), clean(reason)),
        None => (clean(after), ""),
    };
    // Nothing but the name may stand before the dashes: `-->` closes a comment and gives no reason.
    let target = target.split_whitespace().next().unwrap_or_default();
    let (named, only) = target.split_once('/').map_or((target, None), |(g, r)| (g, Some(r)));
    if named != gate || only.is_some_and(|r| r != rule) {
        return None;
    }
    Some(if reason.is_empty() {
        Inline::NoReason(line)
    } else {
        Inline::Allowed(format!("{MARKER} on line {line}: {reason}"))
    })
}

/// A reason without the end of its comment.
fn clean(text: &str) -> &str {
    text.trim().trim_end_matches("*/").trim_end_matches("-->").trim_start_matches('>').trim()
}

/// Nothing but a comment stands on the line.
pub fn is_comment(line: &str) -> bool {
    let line = line.trim_start();
    ["//", "#", "/*", "*", "<!--", "{/*", "--", ";"].iter().any(|open| line.starts_with(open))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::testing;
    use crate::gates::{About, GateContext};

    fn check(text: &str, line: u32, expect: Option<Inline>) {
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(inline(&lines, line, "code.leftover_debug", "console"), expect, "{text}");
    }

    #[test]
    fn counts_with_a_reason_on_the_line_or_alone_above() {
        let allowed = |line, reason: &str| Some(Inline::Allowed(format!("hypercare:allow on line {line}: {reason}")));
        check("log(1) // hypercare:allow code.leftover_debug -- start-up banner", 1, allowed(1, "start-up banner"));
        check("/* hypercare:allow code.leftover_debug/console -- banner */\nlog(1)", 2, allowed(1, "banner"));
        check("# hypercare:allow code.leftover_debug/print -- banner\nlog(1)", 2, None);
        check("a() // hypercare:allow code.leftover_debug -- for a\nlog(1)", 2, None);
        check("// hypercare:allow code.secrets -- other gate\nlog(1)", 2, None);
        check("// hypercare:allow code.leftover_debug -- too far\n\nlog(1)", 3, None);
    }

    #[test]
    fn without_a_reason_it_is_reported() {
        for text in [
            "log(1) // hypercare:allow code.leftover_debug",
            "log(1) // hypercare:allow code.leftover_debug --",
            "log(1) /* hypercare:allow code.leftover_debug -- */",
            "<p> <!-- hypercare:allow code.leftover_debug -->",
        ] {
            check(text, 1, Some(Inline::NoReason(1)));
        }
    }

    #[test]
    fn markers_name_a_gate() {
        assert_eq!(marker("a() // hypercare:allow code.secrets/aws -- test key"), Some(("code.secrets", true)));
        assert_eq!(marker("# hypercare:allow monitoring.alert_cpu"), Some(("monitoring.alert_cpu", false)));
        assert_eq!(marker("<!-- hypercare:allow code.secrets -->"), Some(("code.secrets", false)));
        assert_eq!(marker("say(\"hypercare:allow GATE -- reason\")"), None);
        assert_eq!(marker("nothing"), None);
    }

    struct Any(About);
    impl Gate for Any {
        fn about(&self) -> &'static About {
            Box::leak(Box::new(self.0))
        }
        fn check<'a>(&'a self, _: &'a GateContext) -> futures_util::future::BoxFuture<'a, Outcome> {
            Box::pin(async { Outcome::skip("test", "") })
        }
    }

    fn gate(change: impl FnOnce(&mut About)) -> Any {
        let mut about = crate::gates::delivery::rollback::ABOUT;
        about.min_tier = crate::domain::verdict::Tier::E1;
        change(&mut about);
        Any(about)
    }

    /// A failing and a warning finding, each on its line, beside these comments.
    fn settled(gate: &Any, first: &str, second: &str) -> (String, Outcome) {
        let text = format!("a: 1 {first}\nb: 2 {second}\n");
        let (_dir, repo) = testing::repo(&[("x.yml", &text)]);
        let finding =
            |severity, line| Finding::new("r", severity, format!("on {line}")).at("x.yml", line, 1).fix("mend");
        let list = vec![finding(Severity::High, 1), finding(Severity::Medium, 2)];
        let mut outcome = Outcome::fail("on 1 and 1 more").findings(list).hint("mend");
        settle(gate, Some(&repo), &mut outcome);
        let open = outcome.findings.iter().filter(|f| f.suppressed.is_none()).count();
        (format!("{} {open} open: {}", outcome.verdict.word(), outcome.summary), outcome)
    }

    const ALLOW: &str = "# hypercare:allow delivery.rollback -- by design";

    #[test]
    fn the_runner_takes_marked_findings_out_of_the_verdict() {
        let own = gate(|_| {});
        assert_eq!(settled(&own, "", "").0, "fail 2 open: on 1 and 1 more");
        assert_eq!(settled(&own, ALLOW, "").0, "warn 1 open: on 2; 1 suppressed");
        assert_eq!(settled(&own, "", ALLOW).0, "fail 1 open: on 1 and 1 more");
        let all = settled(&own, ALLOW, ALLOW);
        assert_eq!(all.0, "warn 0 open: nothing open; 2 suppressed (on 1 and 1 more)");
        assert_eq!(all.1.hint, None);
        let (said, outcome) = settled(&own, "# hypercare:allow delivery.rollback", "");
        assert_eq!(said, "fail 2 open: on 1 and 1 more");
        assert_eq!(outcome.findings[0].fix, "mend; hypercare:allow on line 1 gives no reason and does not count");
    }

    #[test]
    fn measures_and_running_systems_are_not_argued_with() {
        let measured = gate(|a| a.min_tier = crate::domain::verdict::Tier::E2);
        let (said, _) = settled(&measured, ALLOW, ALLOW);
        assert_eq!(said, "fail 0 open: on 1 and 1 more", "listed, and nothing else");
        let running = gate(|a| a.stage = Stage::Passive);
        let (said, outcome) = settled(&running, ALLOW, ALLOW);
        assert_eq!(said, "fail 2 open: on 1 and 1 more");
        assert!(outcome.findings[0].fix.contains("does not count for what was seen"), "{outcome:#?}");
    }
}
