//! LatencyP95High: one request in twenty takes longer than a user waits.
//!
//! 95th percentile over 5 m above 1 s with at least 50 requests in it, for 5 m: warning; above 2 s: critical. One second
//! is where a user's train of thought breaks (Nielsen, Usability Engineering, 1993); a service with an objective of its
//! own disables this rule and writes its own.

use super::{BuiltIn, Subject, Variant, minutes};
use crate::alerts::measure::Unit;
use crate::alerts::state::OnMissing;

/// Seconds.
const OBJECTIVE: f64 = 1.0;
/// Fewer requests in the window say nothing about a percentile.
const REQUESTS_MIN: u32 = 50;

pub const RULE: BuiltIn = BuiltIn {
    name: "LatencyP95High",
    what: "95th percentile of latency",
    unit: Unit::Seconds,
    below: false,
    window: Some(minutes(5)),
    on_missing: OnMissing::Hold,
    summary: "95 % of requests to {{ $labels.service }} take up to {{ $value | humanizeDuration }}",
    description: "The 95th percentile of request duration over five minutes is above the objective.",
    quiet: false,
    build,
};

fn build(subject: &Subject<'_>) -> Vec<Variant> {
    let (Some(p95), Some(bucket)) = (subject.roles.latency_quantile(0.95, "5m"), &subject.roles.latency_bucket) else {
        return Vec::new();
    };
    let count = bucket.replacen("_bucket", "_count", 1);
    let enough = format!("sum(increase({count}[5m])) >= {REQUESTS_MIN}");
    let variant = |limit: f64, severity| Variant {
        expr: format!("{p95} > {limit} and {enough}"),
        severity,
        wait: minutes(5),
        limit,
    };
    vec![variant(OBJECTIVE, "warning"), variant(2.0 * OBJECTIVE, "critical")]
}
