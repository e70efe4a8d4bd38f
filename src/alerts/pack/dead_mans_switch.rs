//! DeadMansSwitch: always fires, inside only. It proves that rules are evaluated; the engine pings an outside watcher
//! while it does (`Engine::ping_due`), so that our own silence is heard by somebody else. Never told as an alert.

use std::time::Duration;

use super::{BuiltIn, Subject, Variant};
use crate::alerts::measure::Unit;
use crate::alerts::state::OnMissing;

pub const RULE: BuiltIn = BuiltIn {
    name: "DeadMansSwitch",
    what: "evaluation",
    unit: Unit::Plain,
    below: false,
    window: None,
    on_missing: OnMissing::Resolve,
    summary: "rules are evaluated",
    description: "This alert always fires; when it does not, nobody is watching.",
    quiet: true,
    build,
};

fn build(_: &Subject<'_>) -> Vec<Variant> {
    vec![Variant { expr: "vector(1)".into(), severity: "none", wait: Duration::ZERO, limit: f64::NAN }]
}
