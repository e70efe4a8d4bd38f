//! Http5xxElevated: more errors than a healthy service has, not yet an emergency.
//!
//! 5xx ratio > 1 % over 10 m and at least 5 failed requests in it, for 5 m: warning.

use super::{BuiltIn, Subject, Variant, minutes};
use crate::alerts::measure::Unit;
use crate::alerts::state::OnMissing;

pub const RULE: BuiltIn = BuiltIn {
    name: "Http5xxElevated",
    what: "5xx ratio",
    unit: Unit::Ratio,
    below: false,
    window: Some(minutes(10)),
    on_missing: OnMissing::Hold,
    summary: "{{ $value | humanizePercentage }} of requests to {{ $labels.service }} fail",
    description: "More than 1 % of all requests were answered with a 5xx status during the last ten minutes.",
    quiet: false,
    build,
};

fn build(subject: &Subject<'_>) -> Vec<Variant> {
    super::http_5xx_high::ratio(subject, "10m", 600, 0.01, 5, minutes(5), "warning")
}
