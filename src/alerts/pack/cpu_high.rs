//! CpuHigh: the processor is nearly all used; the next burst will queue.
//!
//! More than 80 % over 5 m for 10 m: warning; more than 95 % for 5 m: critical. For a machine the share of all cores,
//! for a process cores in use (1 = one core busy).

use super::{BuiltIn, Subject, Variant, minutes};
use crate::alerts::measure::Unit;
use crate::alerts::state::OnMissing;

pub const RULE: BuiltIn = BuiltIn {
    name: "CpuHigh",
    what: "CPU in use",
    unit: Unit::Ratio,
    below: false,
    window: Some(minutes(5)),
    on_missing: OnMissing::Hold,
    summary: "{{ $labels.service }} uses {{ $value | humanizePercentage }} of its CPU",
    description: "Little room is left for a burst: find what burns it, or add capacity.",
    quiet: false,
    build,
};

fn build(subject: &Subject<'_>) -> Vec<Variant> {
    let Some(cpu) = subject.roles.cpu_ratio("5m") else { return Vec::new() };
    let variant = |limit: f64, severity, wait| Variant { expr: format!("({cpu}) > {limit}"), severity, wait, limit };
    vec![variant(0.80, "warning", minutes(10)), variant(0.95, "critical", minutes(5))]
}
