//! What a person signs: one gate, one release, one answer, in words. The file holds canonical JSON (RFC 8785), so that
//! `ssh-keygen -Y verify -n hypercare-attest < FILE` checks the very bytes that lie there.

use serde::{Deserialize, Serialize};

use super::trust::Role;
use crate::domain::canonical::{NotCanonical, canonical};
use crate::domain::evidence::sha256_hex;

pub const NAMESPACE: &str = "hypercare-attest";
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
    pub evidence: Vec<Exhibit>,
    pub signer: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub role: Option<Role>,
    pub issued: String,
    pub expires: String,
}

/// The words themselves, and what tells whether they are still today's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

impl Statement {
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
