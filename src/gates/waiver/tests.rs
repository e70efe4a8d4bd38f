//! Tests of the rules of a waiver, of what it covers, and of what is read from a folder.

use super::*;
use crate::domain::fingerprint::FingerprintKey;
use crate::domain::verdict::{Finding, Outcome, Tier};
use crate::gates::context::Repo;
use crate::gates::people::{About, People};

const DAY: Duration = Duration::from_secs(86_400);
fn now() -> Timestamp {
    Timestamp::parse("2026-11-22T10:00:00Z").unwrap()
}
fn file() -> WaiverFile {
    draft("code.review", "the only senior is on leave until Monday", "ann", "bob", now(), 7 * DAY)
}
fn result(class: Class, verdict: Verdict) -> GateResult {
    let outcome = Outcome::fail("1 thing").findings(vec![Finding::new("rule", Severity::High, "thing")]);
    GateResult {
        id: "code.review".into(),
        section: "code".into(),
        class,
        line: String::new(),
        verdict,
        overlay: None,
        reason: None,
        summary: outcome.summary,
        value: None,
        threshold: None,
        covered: None,
        known: None,
        tier: None,
        min_tier: Tier::E1,
        findings: outcome.findings,
        hint: None,
        evidence: vec![],
        duration_ms: 0,
        requests: 0,
        age_s: 0,
    }
}

#[test]
fn the_rules_of_a_waiver() {
    assert!(check("f", file(), now()).is_ok());
    let bad = |change: fn(&mut WaiverFile), expect: &str| {
        let mut w = file();
        change(&mut w);
        let why = check("f", w, now()).unwrap_err();
        assert!(why.contains(expect), "{why}");
    };
    bad(|w| w.reason = "because".into(), "20 characters");
    bad(|w| w.approver = " ANN ".into(), "same person");
    bad(|w| w.approver = "".into(), "named");
    bad(|w| w.expires = now().plus(91 * DAY).rfc3339(), "lives longer");
    bad(|w| w.expires = now().minus(DAY).rfc3339(), "before it was issued");
    bad(|w| w.issued = now().plus(DAY).rfc3339(), "future");
    bad(|w| w.expires = "soon".into(), "RFC 3339");
    bad(|w| w.gate = None, "neither");
    bad(|w| w.schema = "x".into(), "schema");
}

#[test]
fn lies_over_the_verdict_without_changing_it() {
    let waiver = check("f", file(), now()).unwrap();
    let mut r = result(Class::A, Verdict::Fail);
    apply(&mut r, std::slice::from_ref(&waiver), now());
    assert_eq!(r.verdict, Verdict::Fail);
    assert!(matches!(&r.overlay, Some(Overlay::Waived { approver, .. }) if approver == "bob"));
    assert!(!r.blocks());

    let mut other = result(Class::A, Verdict::Fail);
    other.id = "code.secrets".into();
    apply(&mut other, std::slice::from_ref(&waiver), now());
    assert!(other.overlay.is_none());

    let mut passed = result(Class::A, Verdict::Pass);
    apply(&mut passed, &[waiver], now());
    assert!(passed.overlay.is_none(), "a pass needs no waiver");
}

#[test]
fn an_expired_one_reopens_and_says_for_how_long() {
    let waiver = check("f", file(), now()).unwrap();
    let mut r = result(Class::A, Verdict::Fail);
    apply(&mut r, &[waiver], now().plus(10 * DAY));
    assert!(r.overlay.is_none() && r.blocks());
    assert_eq!(r.hint.as_deref(), Some("the waiver by bob lapsed 3 d ago"));
}

#[test]
fn class_a_has_the_shorter_leash() {
    let long = check("f", WaiverFile { expires: now().plus(30 * DAY).rfc3339(), ..file() }, now()).unwrap();
    for (class, covered) in [(Class::A, false), (Class::B, true)] {
        let mut r = result(class, Verdict::Fail);
        apply(&mut r, std::slice::from_ref(&long), now());
        assert_eq!(r.overlay.is_some(), covered, "{class:?}");
    }
}

#[test]
fn one_finding_can_be_waived_alone() {
    let mut r = result(Class::B, Verdict::Fail);
    r.findings.push(Finding::new("rule", Severity::High, "another thing"));
    let only = |print: &str| {
        let file = WaiverFile { gate: None, fingerprint: Some(print.into()), ..file() };
        check("f", file, now()).unwrap()
    };
    let both = [only(&r.findings[0].fingerprint), only(&r.findings[1].fingerprint)];
    let mut half = r.clone();
    apply(&mut half, &both[..1], now());
    assert!(half.overlay.is_none() && half.findings[0].suppressed.is_some() && half.blocks());
    apply(&mut r, &both, now());
    assert!(r.overlay.is_some() && !r.blocks());
}

/// `HYPERCARE_KEY`: what was waived for one secret covers no other one at its place.
#[test]
fn another_secret_at_the_same_place_is_not_covered() {
    let key = |of: &str| FingerprintKey::read(|_| Some(of.repeat(32))).unwrap().unwrap();
    let place = result(Class::B, Verdict::Fail).findings[0].fingerprint.clone();
    let noted = key("k").bind(&place, b"old");
    for (noted, found, why) in [
        (&noted, key("k").bind(&place, b"old"), None),
        (&noted, key("k").bind(&place, b"new"), Some("about another secret at this place")),
        (&noted, key("l").bind(&place, b"old"), Some("with another HYPERCARE_KEY")),
        (&noted, place.clone(), Some("which is not set here")),
        (&place, noted.clone(), Some("made without HYPERCARE_KEY")),
    ] {
        let mut r = result(Class::B, Verdict::Fail);
        r.findings[0].fingerprint = found;
        let file = WaiverFile { gate: None, fingerprint: Some(noted.clone()), ..file() };
        apply(&mut r, &[check("f.json", file, now()).unwrap()], now());
        assert_eq!((r.overlay.is_some(), r.blocks()), (why.is_none(), why.is_some()), "{why:?}");
        let hint = r.hint.unwrap_or_default();
        assert!(why.is_none_or(|why| hint.contains("f.json is ignored: it") && hint.contains(why)), "{hint}");
    }
}

#[test]
fn reads_a_folder_and_reports_what_it_ignores() {
    let dir = tempfile::tempdir().unwrap();
    let repo = Repo::new(dir.path().into(), None, vec![]);
    let read = || People::open(&repo, &About::default(), now()).waivers;
    assert_eq!(read(), Waivers { unsigned_will_do: true, ..Waivers::default() });
    write(dir.path(), &file(), now(), Class::A).unwrap();
    std::fs::write(dir.path().join(FOLDER).join("broken.json"), "{").unwrap();
    let found = read();
    assert_eq!(found.valid.len(), 1);
    assert_eq!(found.invalid.len(), 1);
    assert!(found.invalid[0].0.ends_with("broken.json"));
    let again = write(dir.path(), &file(), now(), Class::A).unwrap_err();
    assert!(again.contains("exists"), "{again}");
}
