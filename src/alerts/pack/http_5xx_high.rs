//! Http5xxHigh: one request in twenty fails, for long enough to be no accident.
//!
//! 5xx ratio > 5 % over 5 m and at least 5 failed requests in it, for 2 m: critical.

use std::time::Duration;

use super::{BuiltIn, Subject, Variant, minutes};
use crate::alerts::measure::Unit;
use crate::alerts::state::OnMissing;

pub const RULE: BuiltIn = BuiltIn {
    name: "Http5xxHigh",
    what: "5xx ratio",
    unit: Unit::Ratio,
    below: false,
    window: Some(minutes(5)),
    on_missing: OnMissing::Hold,
    summary: "{{ $value | humanizePercentage }} of requests to {{ $labels.service }} fail",
    description: "More than 5 % of all requests were answered with a 5xx status during the last five minutes.",
    quiet: false,
    build,
};

fn build(subject: &Subject<'_>) -> Vec<Variant> {
    ratio(subject, "5m", 300, 0.05, 5, minutes(2), "critical")
}

/// The error ratio above `limit` with at least `bad_min` failed requests in the window of `seconds`.
pub(super) fn ratio(
    subject: &Subject<'_>,
    window: &str,
    seconds: u32,
    limit: f64,
    bad_min: u32,
    wait: Duration,
    severity: &'static str,
) -> Vec<Variant> {
    let (Some(ratio), Some(errors)) = (subject.roles.error_ratio(window), subject.roles.errors(window)) else {
        return Vec::new();
    };
    let expr = format!("({ratio}) > {limit} and {errors} * {seconds} >= {bad_min}");
    vec![Variant { expr, severity, wait, limit }]
}
