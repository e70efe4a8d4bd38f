//! The life of a launch: its states and the legal moves between them. Pure; `store::state::launch` performs a move.
//!
//! `planned → gating → awaiting_decision → cleared → live → hypercare → closing → closed`, with the side exits
//! `no_go`, `rolled_back` and `aborted`.

use serde::{Deserialize, Serialize};

use super::clock::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LaunchState {
    Planned,
    Gating,
    AwaitingDecision,
    NoGo,
    Cleared,
    /// Live and settling: alerts work, the baseline comparison is silent.
    Live,
    Hypercare,
    RolledBack,
    Closing,
    Closed,
    Aborted,
}

use LaunchState::*;

impl LaunchState {
    pub const ALL: [LaunchState; 11] =
        [Planned, Gating, AwaitingDecision, NoGo, Cleared, Live, Hypercare, RolledBack, Closing, Closed, Aborted];

    pub fn word(self) -> &'static str {
        match self {
            Planned => "planned",
            Gating => "gating",
            AwaitingDecision => "awaiting_decision",
            NoGo => "no_go",
            Cleared => "cleared",
            Live => "live",
            Hypercare => "hypercare",
            RolledBack => "rolled_back",
            Closing => "closing",
            Closed => "closed",
            Aborted => "aborted",
        }
    }

    pub fn parse(word: &str) -> Option<LaunchState> {
        LaunchState::ALL.into_iter().find(|s| s.word() == word)
    }

    /// Where a launch may go from here, in the order people should be offered.
    pub fn next(self) -> &'static [LaunchState] {
        match self {
            Planned => &[Gating, Aborted],
            Gating => &[AwaitingDecision, Aborted],
            AwaitingDecision => &[Cleared, NoGo, Gating, Aborted],
            NoGo => &[Gating, Aborted],
            Cleared => &[Live, Gating, NoGo, Aborted],
            Live => &[Hypercare, Closing, RolledBack, Aborted],
            Hypercare => &[Closing, RolledBack, Aborted],
            RolledBack => &[Closed, Aborted],
            Closing => &[Closed, Aborted],
            Closed | Aborted => &[],
        }
    }

    pub fn may_become(self, to: LaunchState) -> bool {
        self.next().contains(&to)
    }

    /// Not yet closed or aborted: a service has at most one such launch.
    pub fn is_open(self) -> bool {
        !matches!(self, Closed | Aborted)
    }

    /// The public sees the release: watch rules and collection at the tight interval.
    pub fn is_watching(self) -> bool {
        matches!(self, Live | Hypercare | RolledBack | Closing)
    }
}

/// A launch as stored. Times are absolute, so a restart never moves the window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Launch {
    /// `shop-20261122-1`: service, planned date, running number.
    pub id: String,
    pub service: String,
    pub version: Option<String>,
    pub commit: Option<String>,
    pub state: LaunchState,
    /// Grows by one with every move; moves are compare-and-set on it.
    pub rev: i64,
    pub planned_at: Timestamp,
    /// T0; `None` before go-live.
    pub live_at: Option<Timestamp>,
    /// Absolute end of the window; `None` before go-live.
    pub window_end: Option<Timestamp>,
    /// When the present state was entered.
    pub state_since: Timestamp,
    /// Length of the window in milliseconds, as planned or extended.
    pub window_ms: i64,
    /// IANA zone of the service, for people.
    pub timezone: String,
    /// SHA-256 of the configuration at planning.
    pub config_hash: String,
    /// The gate run the decision rests on.
    pub gate_run: Option<String>,
}

/// A wish to move a launch. `expected_rev` makes it compare-and-set; `idempotency_key` makes a repeat harmless.
#[derive(Debug, Clone, PartialEq)]
pub struct Move {
    pub to: LaunchState,
    pub expected_rev: i64,
    pub at: Timestamp,
    pub actor: String,
    pub reason: Option<String>,
    pub idempotency_key: Option<String>,
    /// Fields that the move sets together with the state.
    pub live_at: Option<Timestamp>,
    pub window_end: Option<Timestamp>,
    pub gate_run: Option<String>,
    pub version: Option<String>,
    pub commit: Option<String>,
}

impl Move {
    pub fn to(to: LaunchState, launch: &Launch, at: Timestamp, actor: impl Into<String>) -> Move {
        Move {
            to,
            expected_rev: launch.rev,
            at,
            actor: actor.into(),
            reason: None,
            idempotency_key: None,
            live_at: None,
            window_end: None,
            gate_run: None,
            version: None,
            commit: None,
        }
    }
    pub fn because(mut self, reason: impl Into<String>) -> Move {
        self.reason = Some(reason.into());
        self
    }
}

/// Append-only history of a launch: moves, extensions, stages, forced steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LaunchEvent {
    pub launch: String,
    pub at: Timestamp,
    /// `move`, `extend`, `stage`, `force`, `note`.
    pub kind: String,
    pub from: Option<LaunchState>,
    pub to: Option<LaunchState>,
    pub actor: String,
    pub text: String,
}

/// Why a move was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoveRefused {
    #[error("{from} cannot become {to}; from here: {legal}", from = .from.word(), to = .to.word(), legal = words(.from.next()))]
    Illegal { from: LaunchState, to: LaunchState },
    #[error("the launch changed meanwhile: it is {now} (rev {rev})", now = .state.word())]
    Stale { state: LaunchState, rev: i64 },
    #[error("service {service} already has an open launch, {launch}")]
    AlreadyOpen { service: String, launch: String },
}

fn words(states: &[LaunchState]) -> String {
    if states.is_empty() {
        "nothing, it has ended".into()
    } else {
        states.iter().map(|s| s.word()).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_of_a_good_launch_is_legal_and_ended_states_have_no_way_out() {
        for pair in [Planned, Gating, AwaitingDecision, Cleared, Live, Hypercare, Closing, Closed].windows(2) {
            assert!(pair[0].may_become(pair[1]), "{pair:?}");
        }
        for state in LaunchState::ALL {
            assert_eq!(state.is_open(), !state.next().is_empty());
            assert_eq!(LaunchState::parse(state.word()), Some(state));
            assert!(!state.is_open() || state.may_become(Aborted), "any open launch may be aborted");
            assert!(!state.may_become(state));
        }
    }

    #[test]
    fn a_refusal_names_the_legal_moves() {
        let text = MoveRefused::Illegal { from: NoGo, to: Live }.to_string();
        assert_eq!(text, "no_go cannot become live; from here: gating, aborted");
    }
}
