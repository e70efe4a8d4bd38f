//! ProbeFailing: users cannot get in.
//!
//! The probe itself repeats a failed attempt; two in a row are confirmed and page at once, critical.

use std::time::Duration;

use super::{BuiltIn, Subject, Variant, own};
use crate::alerts::measure::Unit;
use crate::alerts::state::OnMissing;

pub const RULE: BuiltIn = BuiltIn {
    name: "ProbeFailing",
    what: "failed probes in a row",
    unit: Unit::Plain,
    below: false,
    window: None,
    on_missing: OnMissing::Hold,
    summary: "{{ $labels.instance }} fails its probe, {{ $value }} times in a row",
    description: "A request from outside does not get what it should: the page is down, wrong, or too slow to answer.",
    quiet: false,
    build,
};

fn build(subject: &Subject<'_>) -> Vec<Variant> {
    if !(subject.exists)("probe_confirmed_failures") {
        return Vec::new();
    }
    let expr = format!("{} >= 2", own(subject, "probe_confirmed_failures"));
    vec![Variant { expr, severity: "critical", wait: Duration::ZERO, limit: 2.0 }]
}
