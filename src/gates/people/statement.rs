//! What a person signs: one gate, one release, one answer, in words. The file holds canonical JSON (RFC 8785), so that
//! `ssh-keygen -Y verify -n hypercare-attest < FILE` checks the very bytes that lie there.

use serde::{Deserialize, Serialize};

use super::trust::Role;
use crate::domain::canonical::{NotCanonical, canonical};
use crate::domain::evidence::sha256_hex;
use crate::domain::fingerprint::is_fingerprint;

pub const NAMESPACE: &str = "hypercare-attest";
/// The only gate whose findings can be made harmless elsewhere.
pub const SECRETS: &str = "code.secrets";
pub const SCHEMA: &str = "hypercare.attestation/v1";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    pub schema: String,
    pub gate: String,
    /// A part of the gate: a flow of `release.qa`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub subject: Option<String>,
    pub statement: Words,
    pub service: String,
    pub rid: Bound,
    pub answer: Answer,
    /// It says that these secrets of the history are worth nothing any more; then it is about them, not about the gate.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rotated: Option<Rotated>,
    pub evidence: Vec<Exhibit>,
    pub signer: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub role: Option<Role>,
    pub issued: String,
    pub expires: String,
}

/// Secrets that were revoked at those who gave them out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotated {
    /// Of findings of `code.secrets`; never a value.
    pub fingerprints: Vec<String>,
    /// The day on which the last of them was revoked: `2026-11-20`.
    pub on: String,
    /// Who has done it.
    pub by: String,
}

/// A history has leaked hundreds at most; a longer list is nobody's word.
pub const ROTATED_MAX: usize = 1000;

impl Rotated {
    /// The words say what is wrong with it. `today` is the day of the signature.
    pub fn check(&self, today: chrono::NaiveDate) -> Result<(), String> {
        if self.fingerprints.is_empty() || self.fingerprints.len() > ROTATED_MAX {
            return Err(format!("it must name from 1 to {ROTATED_MAX} fingerprints"));
        }
        // It is not repeated: it may be the secret itself.
        if let Some(nth) = self.fingerprints.iter().position(|print| !is_fingerprint(print)) {
            return Err(format!("number {} is no fingerprint of a finding", nth + 1));
        }
        if self.by.trim().is_empty() || self.by.chars().count() > 200 {
            return Err("it must say who has revoked them".into());
        }
        let on = chrono::NaiveDate::parse_from_str(&self.on, "%Y-%m-%d")
            .map_err(|_| format!("the day of the revocation must be written as 2026-11-20, not as {:?}", self.on))?;
        // Somewhere it is tomorrow already.
        if on.pred_opt().is_some_and(|eve| eve > today) {
            return Err(format!("it says that they will be revoked on {}, which is after it was signed", self.on));
        }
        Ok(())
    }
}

/// The words themselves, and what tells whether they are still today's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Words {
    /// Gate and version of the words: `code.review/1`.
    pub id: String,
    /// Of the text.
    pub sha256: String,
    pub text: String,
}

/// The release that it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    pub commit: String,
    pub tree: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    Yes,
    No,
}

impl Answer {
    pub fn word(self) -> &'static str {
        match self {
            Answer::Yes => "yes",
            Answer::No => "no",
        }
    }
}

/// What the person looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exhibit {
    /// A file's path or a URL.
    pub name: String,
    /// `None`: see `unverifiable`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub bytes: Option<u64>,
    /// Why nobody can check later that it was this.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unverifiable: Option<String>,
}

/// `line`: the checklist's own words, or a goal's title.
pub fn words(gate: &str, line: &str, subject: Option<&str>, service: &str, rid: &Bound, answer: Answer) -> Words {
    let version = rid.version.as_deref().map(|v| format!(" {v}")).unwrap_or_default();
    let part = subject.map(|s| format!(", for \"{s}\"")).unwrap_or_default();
    let text = format!(
        "Of {service}{version}, commit {}: \"{line}\"{part}. My answer is {}. I answer for it by what I have done or seen \
         myself, and by the evidence named here.",
        rid.commit,
        answer.word()
    );
    Words { id: format!("{gate}/1"), sha256: sha256_hex(text.as_bytes()), text }
}

/// What somebody says who has revoked secrets that are in the history.
pub fn rotation_words(service: &str, rid: &Bound, rotated: &Rotated) -> Words {
    let version = rid.version.as_deref().map(|v| format!(" {v}")).unwrap_or_default();
    let text = format!(
        "Of {service}{version}, commit {}: the secrets of its history with these fingerprints are worth nothing any more. \
         The last of them was revoked at its provider on {} by {}: {}. I answer for it by what I have done or seen myself, \
         and by the evidence named here.",
        rid.commit,
        rotated.on,
        rotated.by,
        rotated.fingerprints.join(", ")
    );
    Words { id: format!("{SECRETS}/rotated/1"), sha256: sha256_hex(text.as_bytes()), text }
}

impl Statement {
    /// The words that such a statement has today.
    pub fn todays_words(&self, line: &str) -> Words {
        match &self.rotated {
            Some(rotated) => rotation_words(&self.service, &self.rid, rotated),
            None => words(&self.gate, line, self.subject.as_deref(), &self.service, &self.rid, self.answer),
        }
    }

    /// The bytes to sign, and to write.
    pub fn canonical(&self) -> Result<String, NotCanonical> {
        canonical(&serde_json::to_value(self).unwrap_or_default())
    }
}

/// An in-toto Statement (v1) that carries the attestation and its signature.
pub fn in_toto(statement: &Statement, signature: &str) -> serde_json::Value {
    let mut predicate = serde_json::to_value(statement).unwrap_or_default();
    predicate["signature"] = serde_json::json!({"format": "SSHSIG", "namespace": NAMESPACE, "armoured": signature});
    serde_json::json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{
            "name": statement.service,
            "digest": {"gitCommit": statement.rid.commit, "gitTree": statement.rid.tree},
        }],
        "predicateType": "urn:hypercare:attestation:v1",
        "predicate": predicate,
    })
}
