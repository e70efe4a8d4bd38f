//! What must not happen to anybody (gates.md 0.6): a live secret, an open door, another user's data, no way back. A waiver
//! of it takes two distinct approvers, none of whom wrote the release, and ends within 72 hours.

use super::{LIFE_MAX_CRITICAL, Waiver};
use crate::domain::fingerprint::{Meant, meant};
use crate::domain::units::prose;
use crate::domain::verdict::{Confidence, Finding, GateResult, Severity, Verdict};
use crate::gates::code::secrets;

/// Gates whose confirmed findings are open doors.
const DOORS: [&str; 4] = ["security.auth", "security.authz", "security.exposure", "security.injection"];

/// What is critical about one finding of a gate that failed.
fn of_finding(gate: &str, finding: &Finding) -> Option<&'static str> {
    let sure = finding.severity >= Severity::High && finding.confidence == Confidence::High;
    match gate {
        _ if finding.suppressed.is_some() => None,
        // A baseline that grows blocks as well, and takes one person's word.
        gate if finding.escalate && !gate.starts_with("meta.") => Some("what one user must not see of another"),
        "code.secrets" if sure && !finding.message.contains(secrets::GONE) => Some("a live secret"),
        gate if sure && DOORS.contains(&gate) => Some("an open door"),
        _ => None,
    }
}

/// What is critical in the part of the result that the waiver covers.
fn of_result(waiver: &Waiver, result: &GateResult) -> Option<&'static str> {
    if result.verdict == Verdict::Fail && result.id == "infrastructure.backup_restore" {
        return Some("no backup that can be restored");
    }
    let covered =
        |f: &&Finding| waiver.fingerprint.as_ref().is_none_or(|noted| meant(noted, &f.fingerprint) == Meant::Yes);
    let found = result.findings.iter().filter(covered).filter(|f| result.verdict == Verdict::Fail || f.escalate);
    found.into_iter().find_map(|f| of_finding(&result.id, f))
}

/// The words say what is missing.
pub fn allowed(waiver: &Waiver, result: &GateResult) -> Result<(), String> {
    let Some(what) = of_result(waiver, result) else { return Ok(()) };
    if waiver.expires.since(waiver.issued) > LIFE_MAX_CRITICAL {
        return Err(format!("{what} may be waived for {} at most", prose(LIFE_MAX_CRITICAL)));
    }
    match &waiver.weak {
        None => Ok(()),
        Some(why) => Err(format!("{what} takes two approvers, and {why}")),
    }
}
