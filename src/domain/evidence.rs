//! Evidence: what a gate saw, kept so that its verdict can be argued with. The ledger in `store` chains it by hash.

use serde::{Deserialize, Serialize};

use super::clock::Timestamp;
use super::release::ReleaseId;

/// One piece of evidence as a gate returns it. `content` is redacted, bounded (≤ 1 MiB) JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// What it is: `headers`, `series`, `ref-table`, …
    pub kind: String,
    pub content: serde_json::Value,
}

impl Evidence {
    pub fn new(kind: impl Into<String>, content: serde_json::Value) -> Evidence {
        Evidence { kind: kind.into(), content }
    }

    /// `sha256:` and the hex digest of the canonical JSON (RFC 8785 order: serde_json's maps are sorted).
    pub fn digest(&self) -> String {
        let bytes = serde_json::to_vec(&self.content).unwrap_or_default();
        format!("sha256:{}", hex(ring::digest::digest(&ring::digest::SHA256, &bytes).as_ref()))
    }
}

/// One row of the hash-chained ledger: `hash = sha256(prev_hash ‖ canonical row)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LedgerEntry {
    pub seq: i64,
    pub at: Timestamp,
    pub run: String,
    pub gate: String,
    pub kind: String,
    pub digest: String,
    pub rid: ReleaseId,
    pub prev_hash: String,
    pub hash: String,
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}

/// Lower-case hex SHA-256.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}
