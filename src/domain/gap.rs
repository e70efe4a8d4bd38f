//! Gaps: time in which a target could not be seen, and why. Nothing is ever interpolated over a gap.

use serde::{Deserialize, Serialize};

use super::clock::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    Timeout,
    Dns,
    Connect,
    Tls,
    HttpStatus,
    Parse,
    Limit,
    Overlap,
    Backpressure,
    DaemonDown,
    Suspended,
    ClockJump,
    Isolated,
    Disabled,
}

impl GapReason {
    pub const ALL: [GapReason; 14] = [
        GapReason::Timeout,
        GapReason::Dns,
        GapReason::Connect,
        GapReason::Tls,
        GapReason::HttpStatus,
        GapReason::Parse,
        GapReason::Limit,
        GapReason::Overlap,
        GapReason::Backpressure,
        GapReason::DaemonDown,
        GapReason::Suspended,
        GapReason::ClockJump,
        GapReason::Isolated,
        GapReason::Disabled,
    ];
    pub fn word(self) -> &'static str {
        match self {
            GapReason::Timeout => "timeout",
            GapReason::Dns => "dns",
            GapReason::Connect => "connect",
            GapReason::Tls => "tls",
            GapReason::HttpStatus => "http_status",
            GapReason::Parse => "parse",
            GapReason::Limit => "limit",
            GapReason::Overlap => "overlap",
            GapReason::Backpressure => "backpressure",
            GapReason::DaemonDown => "daemon_down",
            GapReason::Suspended => "suspended",
            GapReason::ClockJump => "clock_jump",
            GapReason::Isolated => "isolated",
            GapReason::Disabled => "disabled",
        }
    }
    pub fn parse(word: &str) -> Option<GapReason> {
        GapReason::ALL.into_iter().find(|r| r.word() == word)
    }
}

/// `[from, to)` in which `target` gave no good sample. `target` is `*` when the daemon itself was down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    pub target: String,
    pub from: Timestamp,
    pub to: Timestamp,
    pub reason: GapReason,
    /// One redacted line for people.
    pub detail: String,
}
