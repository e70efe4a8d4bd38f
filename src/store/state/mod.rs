//! `state.db`: what must never be lost. WAL with `synchronous=FULL`.
//!
//! One file per subject, each an `impl State` block.

pub mod alerts;
pub mod audit;
pub mod baseline;
pub mod evidence;
pub mod feedback;
pub mod gates;
pub mod incidents;
pub mod launches;
pub mod liveness;
pub mod outbox;
pub mod reports;

/// Handle on `state.db`. Cheap to clone.
#[derive(Clone)]
pub struct State {}

pub type Result<T> = std::result::Result<T, super::StoreError>;
