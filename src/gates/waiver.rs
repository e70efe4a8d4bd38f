//! Waivers: a named person accepts a named risk for a limited time. Read from `.hypercare/waivers/*.json`; laid over
//! verdicts, never instead of them.
//!
//! Once the base branch has `.hypercare/allowed_signers`, a waiver counts when its approver has signed it (SSHSIG over the
//! canonical JSON, namespace `hypercare-waive`, in `FILE.sig`). Without that list it counts unsigned, every output says so,
//! and GO WITH RISKS is the best it gives: whoever can write to the work tree could have written it. What must not happen
//! to anybody (`critical.rs`) takes two approvers and 72 hours at most. Knows no store and no decision.

mod critical;

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::people::attestation::Facts;
use super::people::shelf::{Shelf, WAIVERS};
use super::people::trust::{Signer, Trust};
use crate::domain::canonical::canonical;
use crate::domain::clock::Timestamp;
use crate::domain::fingerprint::{Meant, meant};
use crate::domain::units::prose;
use crate::domain::verdict::{Class, GateResult, Overlay, Severity, Verdict};

/// Folder inside the repository.
pub const FOLDER: &str = WAIVERS;
/// Of its signatures.
pub const NAMESPACE: &str = "hypercare-waive";
const SCHEMA: &str = "hypercare.waiver/v1";
/// Shorter than this is no reason.
pub const REASON_CHARS_MIN: usize = 20;
/// A waiver that outlives a quarter is a policy, not an exception.
pub const LIFE_MAX: Duration = Duration::from_secs(90 * 86_400);
/// Blockers are accepted for two weeks at most.
pub const LIFE_MAX_CLASS_A: Duration = Duration::from_secs(14 * 86_400);
/// What is critical is accepted until it is mended, not longer.
pub const LIFE_MAX_CRITICAL: Duration = Duration::from_secs(72 * 3600);
/// Clocks of two machines may differ by this much.
const SKEW: Duration = Duration::from_secs(300);
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
    /// A second approver, whom the critical set demands.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub second: Option<String>,
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
    pub second: Option<String>,
    pub issued: Timestamp,
    pub expires: Timestamp,
    /// By its approver, who is on the base branch's list.
    pub signed: bool,
    /// Why it cannot cover what is critical; `None`: two distinct approvers stand behind it.
    #[serde(skip)]
    pub weak: Option<String>,
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
        let approver = match &self.second {
            Some(second) => format!("{} and {second}", self.approver),
            None => self.approver.clone(),
        };
        Overlay::Waived { reason: self.reason.clone(), approver, expires: self.expires, signed: self.signed }
    }
}

/// All waivers of a repository, sorted by file; and what is wrong with the others, one line per file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waivers {
    pub valid: Vec<Waiver>,
    /// (file, why it is ignored).
    pub invalid: Vec<(String, String)>,
    /// The base branch has no list of signers, so unsigned ones count.
    pub unsigned_will_do: bool,
}

/// Blocking. A repository without the folder has no waivers; an unreadable file is reported, never trusted.
pub fn read(shelf: &Shelf, trust: &Trust, facts: &Facts<'_>, now: Timestamp) -> Waivers {
    let mut out = Waivers { unsigned_will_do: !trust.in_force, ..Waivers::default() };
    let files: Vec<(&str, &[u8])> = shelf.statements(FOLDER).collect();
    if files.len() > FILES_MAX || shelf.truncated {
        out.invalid.push((FOLDER.into(), format!("more than {FILES_MAX} files; the rest is ignored")));
    }
    for (file, bytes) in files.into_iter().take(FILES_MAX) {
        let parsed = parse(bytes).and_then(|(w, message)| Ok((check(file, w, now)?, message)));
        match parsed.and_then(|(w, message)| signed(w, &message, shelf, trust, facts, now)) {
            Ok(waiver) => out.valid.push(waiver),
            Err(why) => out.invalid.push((file.to_string(), why)),
        }
    }
    out
}

/// The waiver, and the bytes that its approvers sign.
pub fn parse(bytes: &[u8]) -> Result<(WaiverFile, String), String> {
    let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    let message = canonical(&value).map_err(|e| e.to_string())?;
    Ok((serde_json::from_value(value).map_err(|e| e.to_string())?, message))
}

/// Who has signed it, and whether that is enough.
fn signed(
    mut w: Waiver,
    message: &str,
    shelf: &Shelf,
    trust: &Trust,
    facts: &Facts<'_>,
    now: Timestamp,
) -> Result<Waiver, String> {
    if !trust.in_force {
        w.weak = match &w.second {
            None => Some("it names one".into()),
            // Without a list of signers a name is all there is.
            Some(second) => {
                let names = |name: &str| [name.to_lowercase()].into();
                let wrote = |name: &&str| facts.wrote(&names(name)).unwrap_or(false);
                let author = [w.approver.as_str(), second].into_iter().find(wrote);
                author.map(|who| format!("{who} wrote a part of this release"))
            }
        };
        return Ok(w);
    }
    let signatures: Vec<_> = shelf.signatures(&w.file).collect();
    if signatures.is_empty() {
        return Err(format!(
            "it is not signed, and there is a list of signers on {}: {} signs with `hypercare waive --sign {} --key KEY`",
            trust.base, w.approver, w.file
        ));
    }
    let by = |name: &str| -> Result<Signer, String> {
        let check = |s: &std::borrow::Cow<'_, str>| trust.check(Some(name), NAMESPACE, message.as_bytes(), s, now);
        let mut tried = signatures.iter().map(check);
        let first = tried.next().unwrap_or_else(|| Err("it is not signed".into()));
        first.or_else(|why| tried.find_map(Result::ok).ok_or(why))
    };
    let first = by(&w.approver)?;
    if first.names.contains(&w.requester.to_lowercase()) {
        return Err(format!("{} has asked for it and approved it", w.requester));
    }
    w.signed = true;
    w.weak = match &w.second {
        None => Some("one has signed".into()),
        Some(second) => two(&first, by(second), second, &w.requester, facts).err(),
    };
    Ok(w)
}

/// Are these two distinct people, neither of whom asked for it or wrote a part of the release?
fn two(
    first: &Signer,
    second: Result<Signer, String>,
    name: &str,
    requester: &str,
    facts: &Facts<'_>,
) -> Result<(), String> {
    let second = second.map_err(|why| format!("{name} has not signed: {why}"))?;
    if second.key == first.key || !second.names.is_disjoint(&first.names) {
        return Err("both signatures are of one person".into());
    }
    if second.names.contains(&requester.to_lowercase()) {
        return Err(format!("{requester} has asked for it"));
    }
    for signer in [first, &second] {
        if facts.wrote(&signer.names)? {
            let who: Vec<&str> = signer.names.iter().map(String::as_str).collect();
            return Err(format!("{} wrote a part of this release", who.join(", ")));
        }
    }
    Ok(())
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
    let second = w.second.as_deref().map(str::trim);
    if let Some(second) = second {
        let others = [requester.to_lowercase(), approver.to_lowercase()];
        if second.is_empty() || others.contains(&second.to_lowercase()) {
            wrong.push("the second approver must be somebody else".into());
        }
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
            second: second.map(String::from),
            issued,
            expires,
            signed: false,
            weak: None,
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

/// Is one of the findings the one that was written down?
fn noted_in(result: &GateResult, noted: &str) -> Meant {
    let all: Vec<Meant> = result.findings.iter().map(|f| meant(noted, &f.fingerprint)).collect();
    let doubtful = || all.iter().copied().find(|m| matches!(m, Meant::Doubtful(_)));
    all.iter().copied().find(|m| *m == Meant::Yes).or_else(doubtful).unwrap_or(Meant::No)
}

/// Lays the waivers over one result. The verdict stays; notes (expired, too long) go into the hint.
pub fn apply(result: &mut GateResult, waivers: &[Waiver], now: Timestamp) {
    if result.overlay.is_some() {
        return;
    }
    if matches!(result.verdict, Verdict::Pass | Verdict::Skip) && !result.blocks() {
        return;
    }
    let mut notes = Vec::new();
    let mut usable = Vec::new();
    for waiver in waivers {
        if waiver.gate.as_ref().is_some_and(|g| *g != result.id) {
            continue;
        }
        match &waiver.fingerprint {
            Some(noted) => match noted_in(result, noted) {
                Meant::Yes => {}
                Meant::No => continue,
                Meant::Doubtful(why) => {
                    notes.push(format!("{} is ignored: {why}", waiver.file));
                    continue;
                }
            },
            None if waiver.names(&result.id) => {}
            None => continue,
        }
        if let State::Lapsed(ago) = waiver.state(now) {
            notes.push(format!("the waiver by {} lapsed {} ago", waiver.approver, prose(ago)));
        } else if let Err(why) = allowed(waiver, result.class).and_then(|()| critical::allowed(waiver, result)) {
            notes.push(format!("{} is ignored: {why}", waiver.file));
        } else {
            usable.push(waiver);
        }
    }
    let mut by_finding: Option<&Waiver> = None;
    for waiver in usable.iter().filter(|w| w.fingerprint.is_some()) {
        let noted = waiver.fingerprint.as_deref().unwrap_or_default();
        for finding in result.findings.iter_mut().filter(|f| meant(noted, &f.fingerprint) == Meant::Yes) {
            let word = if waiver.signed { "" } else { " (unsigned)" };
            finding.suppressed =
                Some(format!("waived by {}{word} until {}: {}", waiver.approver, waiver.expires, waiver.reason));
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
    // As it is signed, so that `ssh-keygen -Y verify` takes the file as it lies there.
    let value = serde_json::to_value(file).map_err(|e| e.to_string())?;
    let text = canonical(&value).map_err(|e| e.to_string())?;
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
        second: None,
        issued: now.rfc3339(),
        expires: now.plus(life).rfc3339(),
    }
}

#[cfg(test)]
mod tests;
