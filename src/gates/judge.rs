//! From what a gate concluded to the row that everyone reads. Pure: the rules that hold for every gate, whoever wrote it.

use std::time::Duration;

use super::About;
use crate::domain::evidence::Evidence;
use crate::domain::secret::redact;
use crate::domain::verdict::{GateResult, Outcome, Verdict};

/// Share of the known items that must have been inspected for a plain pass (gates.md 0.1, honest denominators).
pub const COVERAGE_FLOOR: f64 = 0.9;
/// More findings than this help nobody; the rest is counted in one line.
pub const FINDINGS_MAX: usize = 1000;
/// A line on a terminal; longer texts are cut.
const LINE_CHARS_MAX: usize = 400;
/// Evidence larger than this is replaced by a note of its size.
const EVIDENCE_BYTES_MAX: usize = 1024 * 1024;

/// Applies the common rules:
/// a pass over nothing is `error nothing-to-inspect`; a pass below the coverage floor, or on weaker evidence than the
/// gate demands, is a warning; skip and error carry a reason; texts are redacted, cut, and free of control characters.
pub fn judge(about: &About, outcome: Outcome, duration: Duration, requests: u64) -> (GateResult, Vec<Evidence>) {
    let mut o = outcome;
    if o.verdict == Verdict::Pass {
        weigh(about, &mut o);
    }
    if matches!(o.verdict, Verdict::Skip | Verdict::Error) {
        o.reason.get_or_insert_with(|| "unspecified".into());
        o.tier = None;
    }
    let suppressed = o.findings.iter().filter(|f| f.suppressed.is_some()).count();
    if o.verdict == Verdict::Pass && suppressed > 0 && !o.summary.contains("suppressed") {
        // "None" is true only beside what was told not to count.
        o.summary = format!("{}; {suppressed} suppressed", o.summary);
    }
    let left_out = o.findings.len().saturating_sub(FINDINGS_MAX);
    if left_out > 0 {
        // What counts is never cut in favour of what does not.
        o.findings.sort_by_key(|f| f.suppressed.is_some());
    }
    o.findings.truncate(FINDINGS_MAX);
    for f in &mut o.findings {
        f.message = line(&f.message);
        f.fix = line(&f.fix);
        for text in [&mut f.file, &mut f.route, &mut f.suppressed].into_iter().flatten() {
            *text = line(text);
        }
    }
    let hint = (left_out > 0).then(|| format!("{left_out} more findings are not listed")).into_iter();
    let hint: Vec<String> = o.hint.iter().map(|h| line(h)).chain(hint).collect();
    let evidence: Vec<Evidence> = o.evidence.into_iter().map(bounded).collect();
    let result = GateResult {
        id: about.id.into(),
        section: about.section.word().into(),
        class: about.class,
        line: about.line.into(),
        verdict: o.verdict,
        overlay: None,
        reason: o.reason.map(|r| line(&r)),
        summary: line(&o.summary),
        value: o.value,
        threshold: o.threshold,
        covered: o.covered,
        known: o.known,
        tier: o.tier,
        min_tier: about.min_tier,
        findings: o.findings,
        hint: (!hint.is_empty()).then(|| hint.join("; ")),
        evidence: evidence.iter().map(Evidence::digest).collect(),
        duration_ms: duration.as_millis() as u64,
        requests,
        age_s: 0,
    };
    (result, evidence)
}

fn weigh(about: &About, o: &mut Outcome) {
    if o.covered == Some(0) {
        o.verdict = Verdict::Error;
        o.reason = Some("nothing-to-inspect".into());
        return;
    }
    if let (Some(covered), Some(known)) = (o.covered, o.known)
        && (covered as f64) < known as f64 * COVERAGE_FLOOR
    {
        o.verdict = Verdict::Warn;
        o.summary = format!("{} (only {covered} of {known} inspected)", o.summary);
    }
    match o.tier {
        Some(tier) if tier >= about.min_tier => {}
        tier => {
            o.verdict = Verdict::Warn;
            let have = tier.map_or("no evidence".to_string(), |t| format!("{t:?} evidence"));
            o.summary = format!("{} (declared, not demonstrated: {have}, {:?} needed)", o.summary, about.min_tier);
        }
    }
}

/// One harmless line.
fn line(text: &str) -> String {
    let clean = redact(text);
    let mut out: String = clean.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LINE_CHARS_MAX).collect();
    if clean.chars().nth(LINE_CHARS_MAX).is_some() {
        out.push('…');
    }
    out
}

fn bounded(evidence: Evidence) -> Evidence {
    let text = serde_json::to_string(&evidence.content).unwrap_or_default();
    let clean = redact(&text);
    if clean.len() > EVIDENCE_BYTES_MAX {
        return Evidence::new(evidence.kind, serde_json::json!({ "left_out": "too large", "bytes": clean.len() }));
    }
    if clean == text {
        return evidence;
    }
    // Redaction replaces text inside strings only; should it ever break the document, nothing is kept.
    let content = serde_json::from_str(&clean).unwrap_or_else(|_| serde_json::json!({ "left_out": "held a secret" }));
    Evidence::new(evidence.kind, content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::verdict::{Finding, Severity, Tier};
    use crate::gates::not_built;

    /// A gate that wants E2.
    fn judged(outcome: Outcome) -> GateResult {
        judge(&not_built::PERFORMANCE_CONCURRENCY, outcome, Duration::from_millis(5), 3).0
    }

    #[test]
    fn a_pass_must_be_earned() {
        let pass = || Outcome::pass("fine").tier(Tier::E2);
        assert_eq!(judged(pass()).verdict, Verdict::Pass);
        assert_eq!(judged(pass().covered(9, 10)).verdict, Verdict::Pass);
        let nothing = judged(pass().covered(0, 0));
        assert_eq!((nothing.verdict, nothing.reason.as_deref()), (Verdict::Error, Some("nothing-to-inspect")));
        assert_eq!(nothing.tier, None);
        assert_eq!(judged(pass().covered(8, 10)).verdict, Verdict::Warn);
        assert_eq!(judged(Outcome::pass("fine").tier(Tier::E1)).verdict, Verdict::Warn);
        assert_eq!(judged(Outcome::pass("fine")).verdict, Verdict::Warn);
        assert_eq!(judged(Outcome::pass("fine").tier(Tier::E3)).verdict, Verdict::Pass);
    }

    #[test]
    fn a_pass_says_what_it_overlooks() {
        let known =
            |why: Option<&str>| Finding { suppressed: why.map(String::from), ..Finding::new("r", Severity::Low, "m") };
        let said = |why| judged(Outcome::pass("none").tier(Tier::E2).findings(vec![known(why)])).summary;
        assert_eq!(said(Some("baseline, known since 2026-11-01")), "none; 1 suppressed");
        assert_eq!(said(None), "none");
    }

    #[test]
    fn other_verdicts_are_left_alone() {
        for outcome in [Outcome::fail("bad").covered(0, 0), Outcome::warn("so so"), Outcome::skip("no-db", "none")] {
            let verdict = outcome.verdict;
            assert_eq!(judged(outcome).verdict, verdict);
        }
    }

    #[test]
    fn texts_are_harmless_and_bounded() {
        let finding = Finding::new("r", Severity::Low, "x".repeat(10_000)).in_file("a\u{1b}[2J\nb");
        let r = judged(Outcome::fail("a\nb\u{7}").findings(vec![finding; FINDINGS_MAX + 5]).hint("do"));
        assert_eq!(r.summary, "a b ");
        assert_eq!(r.findings.len(), FINDINGS_MAX);
        assert!(r.findings[0].message.chars().count() <= LINE_CHARS_MAX + 1);
        assert_eq!(r.findings[0].file.as_deref(), Some("a [2J b"));
        assert_eq!(r.hint.as_deref(), Some("do; 5 more findings are not listed"));
    }

    #[test]
    fn evidence_is_bounded_and_its_digest_listed() {
        let huge = serde_json::json!("x".repeat(EVIDENCE_BYTES_MAX + 1));
        let outcome = Outcome::warn("w").evidence("small", serde_json::json!({"a": 1})).evidence("huge", huge);
        let (result, evidence) = judge(&not_built::PERFORMANCE_CONCURRENCY, outcome, Duration::ZERO, 0);
        assert_eq!(evidence[0].content["a"], 1);
        assert_eq!(evidence[1].content["left_out"], "too large");
        assert_eq!(result.evidence, evidence.iter().map(Evidence::digest).collect::<Vec<_>>());
    }
}
