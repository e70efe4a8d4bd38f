//! Waivers: a named person accepts a named risk for a limited time. Read from `.hypercare/waivers/*.json` of the
//! repository; laid over verdicts, never instead of them.
//!
//! Signatures are not checked yet, so every waiver is `unsigned`: whoever can write to the work tree can write one. That
//! is why a waived gate gives GO WITH RISKS at best. Knows no store and no decision; read `runner.rs` for where it is
//! applied.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::context::Repo;
use crate::domain::clock::Timestamp;
use crate::domain::units::prose;
use crate::domain::verdict::{Class, GateResult, Overlay, Severity, Verdict};

/// Folder inside the repository.
pub const FOLDER: &str = ".hypercare/waivers";
const SCHEMA: &str = "hypercare.waiver/v1";
/// Shorter than this is no reason.
pub const REASON_CHARS_MIN: usize = 20;
/// A waiver that outlives a quarter is a policy, not an exception.
pub const LIFE_MAX: Duration = Duration::from_secs(90 * 86_400);
/// Blockers are accepted for two weeks at most.
pub const LIFE_MAX_CLASS_A: Duration = Duration::from_secs(14 * 86_400);
/// Clocks of two machines may differ by this much.
const SKEW: Duration = Duration::from_secs(300);
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// More files than this are not read; the rest is reported.
const FILES_MAX: usize = 500;

/// The file as a person or `hypercare waive` writes it. Times are RFC 3339.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaiverFile {
    pub schema: String,
    /// Gate, or the gate that the finding belongs to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub gate: Option<String>,
    /// One finding instead of the whole gate.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fingerprint: Option<String>,
    pub reason: String,
    pub requester: String,
    pub approver: String,
    pub issued: String,
    pub expires: String,
}

/// A waiver that fulfils the rules; it may have expired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Waiver {
    pub file: String,
    pub gate: Option<String>,
    pub fingerprint: Option<String>,
    pub reason: String,
    pub requester: String,
    pub approver: String,
    pub issued: Timestamp,
    pub expires: Timestamp,
}

/// One file, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Active,
    /// For how long it has been over.
    Lapsed(Duration),
}

impl Waiver {
    pub fn state(&self, now: Timestamp) -> State {
        if self.expires > now { State::Active } else { State::Lapsed(now.since(self.expires)) }
    }
    /// `expired 3 d ago`, `3 d left`.
    pub fn life(&self, now: Timestamp) -> String {
        match self.state(now) {
            State::Active => format!("{} left", prose(self.expires.since(now))),
            State::Lapsed(d) => format!("expired {} ago", prose(d)),
        }
    }
    fn names(&self, gate: &str) -> bool {
        self.gate.as_deref() == Some(gate)
    }
    fn overlay(&self) -> Overlay {
        Overlay::Waived { reason: self.reason.clone(), approver: self.approver.clone(), expires: self.expires }
    }
}

/// All waivers of a repository, sorted by file; and what is wrong with the others, one line per file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waivers {
    pub valid: Vec<Waiver>,
    /// (file, why it is ignored).
    pub invalid: Vec<(String, String)>,
}

/// Reads the folder. A repository without it has no waivers; an unreadable file is reported, never trusted.
pub fn read(repo: &Repo, now: Timestamp) -> Waivers {
    let mut out = Waivers::default();
    let Ok(entries) = std::fs::read_dir(repo.root().join(FOLDER)) else { return out };
    let mut names: Vec<String> =
        entries.flatten().filter_map(|e| e.file_name().into_string().ok()).filter(|n| n.ends_with(".json")).collect();
    names.sort();
    if names.len() > FILES_MAX {
        out.invalid.push((FOLDER.into(), format!("more than {FILES_MAX} files; the rest is ignored")));
        names.truncate(FILES_MAX);
    }
    for name in names {
        let file = format!("{FOLDER}/{name}");
        let parsed = match repo.read(&file, FILE_BYTES_MAX) {
            Ok(bytes) => serde_json::from_slice::<WaiverFile>(&bytes).map_err(|e| e.to_string()),
            Err(e) => Err(e.to_string()),
        };
        match parsed.and_then(|w| check(&file, w, now)) {
            Ok(waiver) => out.valid.push(waiver),
            Err(why) => out.invalid.push((file, why)),
        }
    }
    out
}

/// The rules that need no gate. All that is wrong, joined by `; `.
pub fn check(file: &str, w: WaiverFile, now: Timestamp) -> Result<Waiver, String> {
    let mut wrong = Vec::new();
    if w.schema != SCHEMA {
        wrong.push(format!("schema must be {SCHEMA}"));
    }
    if w.gate.is_none() && w.fingerprint.is_none() {
        wrong.push("names neither a gate nor a fingerprint".into());
    }
    if w.reason.trim().chars().count() < REASON_CHARS_MIN {
        wrong.push(format!("the reason is shorter than {REASON_CHARS_MIN} characters"));
    }
    let (requester, approver) = (w.requester.trim(), w.approver.trim());
    if requester.is_empty() || approver.is_empty() {
        wrong.push("requester and approver must both be named".into());
    } else if requester.to_lowercase() == approver.to_lowercase() {
        wrong.push("requester and approver are the same person".into());
    }
    let (issued, expires) = (Timestamp::parse(&w.issued), Timestamp::parse(&w.expires));
    match (issued, expires) {
        (Some(issued), Some(expires)) => {
            if issued > now.plus(SKEW) {
                wrong.push("issued in the future".into());
            }
            if expires <= issued {
                wrong.push("expires before it was issued".into());
            } else if expires.since(issued) > LIFE_MAX {
                wrong.push(format!("lives longer than {}", prose(LIFE_MAX)));
            }
        }
        _ => wrong.push("issued and expires must be RFC 3339 times".into()),
    }
    if let (true, Some(issued), Some(expires)) = (wrong.is_empty(), issued, expires) {
        return Ok(Waiver {
            file: file.into(),
            gate: w.gate,
            fingerprint: w.fingerprint,
            reason: w.reason.trim().into(),
            requester: requester.into(),
            approver: approver.into(),
            issued,
            expires,
        });
    }
    Err(wrong.join("; "))
}

/// Whether a waiver may cover a gate of this class; class A has the shorter leash.
pub fn allowed(waiver: &Waiver, class: Class) -> Result<(), String> {
    if class == Class::A && waiver.expires.since(waiver.issued) > LIFE_MAX_CLASS_A {
        return Err(format!("a waiver of a class A gate may live {} at most", prose(LIFE_MAX_CLASS_A)));
    }
    Ok(())
}

/// Lays the waivers over one result. The verdict stays; notes (expired, too long) go into the hint.
pub fn apply(result: &mut GateResult, waivers: &[Waiver], now: Timestamp) {
    if matches!(result.verdict, Verdict::Pass | Verdict::Skip) && !result.blocks() {
        return;
    }
    let mut notes = Vec::new();
    let mut usable = Vec::new();
    for waiver in waivers {
        let fits = match &waiver.fingerprint {
            Some(print) => result.findings.iter().any(|f| f.fingerprint == *print),
            None => waiver.names(&result.id),
        };
        if !fits || waiver.gate.as_ref().is_some_and(|g| *g != result.id) {
            continue;
        }
        if let State::Lapsed(ago) = waiver.state(now) {
            notes.push(format!("the waiver by {} lapsed {} ago", waiver.approver, prose(ago)));
        } else if let Err(why) = allowed(waiver, result.class) {
            notes.push(format!("{} is ignored: {why}", waiver.file));
        } else {
            usable.push(waiver);
        }
    }
    let mut by_finding: Option<&Waiver> = None;
    for waiver in usable.iter().filter(|w| w.fingerprint.is_some()) {
        for finding in result.findings.iter_mut().filter(|f| Some(&f.fingerprint) == waiver.fingerprint.as_ref()) {
            finding.suppressed =
                Some(format!("waived by {} until {}: {}", waiver.approver, waiver.expires, waiver.reason));
            by_finding = by_finding.filter(|w| w.expires <= waiver.expires).or(Some(waiver));
        }
    }
    // The whole gate is covered when it is named, or when no finding that matters is left open.
    let open = result.findings.iter().any(|f| f.suppressed.is_none() && f.severity > Severity::Info);
    let whole = usable.iter().find(|w| w.fingerprint.is_none()).copied();
    result.overlay = whole.or(by_finding.filter(|_| !open)).map(Waiver::overlay);
    if !notes.is_empty() {
        let hint = result.hint.take().into_iter().chain(notes).collect::<Vec<_>>();
        result.hint = Some(hint.join("; "));
    }
}

/// Writes a new waiver; the file's name tells gate and time. Errors are said in words for the command line.
pub fn write(root: &Path, file: &WaiverFile, now: Timestamp, class: Class) -> Result<std::path::PathBuf, String> {
    let checked = check("", file.clone(), now)?;
    allowed(&checked, class)?;
    let subject = checked.gate.as_deref().or(checked.fingerprint.as_deref()).unwrap_or("waiver");
    let name: String = subject.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '_' }).collect();
    let folder = root.join(FOLDER);
    let path = folder.join(format!("{name}-{}.json", checked.issued.utc().format("%Y%m%dT%H%M%SZ")));
    let text = serde_json::to_string_pretty(file).map_err(|e| e.to_string())? + "\n";
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut out = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .map_err(|e| format!("{}: {e}", path.display()))?;
    std::io::Write::write_all(&mut out, text.as_bytes()).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(path)
}

/// A waiver as the command line asks for it.
pub fn draft(gate: &str, reason: &str, requester: &str, approver: &str, now: Timestamp, life: Duration) -> WaiverFile {
    WaiverFile {
        schema: SCHEMA.into(),
        gate: Some(gate.into()),
        fingerprint: None,
        reason: reason.into(),
        requester: requester.into(),
        approver: approver.into(),
        issued: now.rfc3339(),
        expires: now.plus(life).rfc3339(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::verdict::{Finding, Outcome, Tier};

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

    #[test]
    fn reads_a_folder_and_reports_what_it_ignores() {
        let dir = tempfile::tempdir().unwrap();
        let repo = Repo::new(dir.path().into(), None, vec![]);
        assert_eq!(read(&repo, now()), Waivers::default());
        write(dir.path(), &file(), now(), Class::A).unwrap();
        std::fs::write(dir.path().join(FOLDER).join("broken.json"), "{").unwrap();
        let found = read(&repo, now());
        assert_eq!(found.valid.len(), 1);
        assert_eq!(found.invalid.len(), 1);
        assert!(found.invalid[0].0.ends_with("broken.json"));
        let again = write(dir.path(), &file(), now(), Class::A).unwrap_err();
        assert!(again.contains("exists"), "{again}");
    }
}
