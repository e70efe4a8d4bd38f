//! MemoryHigh: memory is nearly used up (by what is available, not by what is free).
//!
//! More than 90 % for 5 m: warning; more than 97 % for 5 m: critical.

use super::{BuiltIn, Subject, Variant, minutes};
use crate::alerts::measure::Unit;
use crate::alerts::state::OnMissing;

pub const RULE: BuiltIn = BuiltIn {
    name: "MemoryHigh",
    what: "memory in use",
    unit: Unit::Ratio,
    below: false,
    window: None,
    on_missing: OnMissing::Hold,
    summary: "{{ $labels.service }} uses {{ $value | humanizePercentage }} of its memory",
    description: "The kernel will soon kill something: find the leak, or add memory.",
    quiet: false,
    build,
};

fn build(subject: &Subject<'_>) -> Vec<Variant> {
    let Some(memory) = subject.roles.memory_ratio() else { return Vec::new() };
    let variant =
        |limit: f64, severity| Variant { expr: format!("({memory}) > {limit}"), severity, wait: minutes(5), limit };
    vec![variant(0.90, "warning"), variant(0.97, "critical")]
}
