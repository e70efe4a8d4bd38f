//! What an attestation of a gate must fulfil, and what it may answer.

use super::trust::Role;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    pub role: Option<Role>,
    /// The signer wrote no part of the release.
    pub four_eyes: bool,
    /// Git pathspecs: when one of these files changes after the attested commit, the attestation lapses. Empty: it is about
    /// the release as such, and holds for its version.
    pub inputs: &'static [&'static str],
    /// Rules of a failure that the signature itself answers.
    pub answers: &'static [&'static str],
}

/// Every file but the signed statements themselves.
const ALL: &[&str] = &[":(top)"];
/// What a restore must bring back, and how.
const BACKUP: &[&str] = &[
    ":(top,glob,icase)**/migrations/**",
    ":(top,glob,icase)**/*backup*",
    ":(top,glob,icase)**/*backup*/**",
    ":(top,glob,icase)**/*restore*",
    ":(top,glob,icase)**/*restore*/**",
    ":(top,glob,icase)**/*compose*.y*ml",
    ":(top,glob,icase)**/schema.*",
];

/// A goal of READY TO GO LIVE whose gates do not apply: `goal.load`.
pub const GOAL: &str = "goal.";

pub fn of(gate: &str) -> Demand {
    let plain = Demand { role: None, four_eyes: false, inputs: ALL, answers: &[] };
    match gate {
        "code.review" => Demand { role: Some(Role::Senior), four_eyes: true, ..plain },
        "infrastructure.backup_restore" => Demand { role: Some(Role::Ops), four_eyes: true, inputs: BACKUP, ..plain },
        "release.qa" => Demand { role: Some(Role::Qa), ..plain },
        // "Sent by other means" is what the person says; nothing that the gate has seen speaks against it.
        "release.announcement" => Demand { inputs: &[], answers: &["not-sent"], ..plain },
        _ if gate.starts_with(GOAL) => Demand { role: Some(Role::Ops), ..plain },
        _ => plain,
    }
}
