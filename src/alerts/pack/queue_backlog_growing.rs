//! QueueBacklogGrowing: work comes in faster than it is done.
//!
//! Over 15 m the depth rises (least-squares slope above 0), its *lowest* value of the last 5 m is above its *highest*
//! value of the first 5 m, and more than 3 wait, for 5 m: warning. A rank test for a trend is not PromQL; minimum over
//! maximum is the strictest simple form of the same idea, and a sawtooth does not pass it.

use super::{BuiltIn, Subject, Variant, minutes};
use crate::alerts::measure::Unit;
use crate::alerts::state::OnMissing;

/// A queue this short is no backlog.
const DEPTH_MIN: f64 = 3.0;

pub const RULE: BuiltIn = BuiltIn {
    name: "QueueBacklogGrowing",
    what: "queue depth",
    unit: Unit::Plain,
    below: false,
    window: Some(minutes(15)),
    on_missing: OnMissing::Hold,
    summary: "{{ $value | humanize }} wait in {{ or $labels.queue \"the queue\" }} of {{ $labels.service }}, and more each minute",
    description: "The backlog has grown for fifteen minutes: consumers are too slow, too few, or stopped.",
    quiet: false,
    build,
};

fn build(subject: &Subject<'_>) -> Vec<Variant> {
    let Some(q) = &subject.roles.queue_depth else { return Vec::new() };
    let expr = format!(
        "{q} > {DEPTH_MIN} and deriv({q}[15m]) > 0 and min_over_time({q}[5m]) > max_over_time({q}[5m] offset 10m)"
    );
    vec![Variant { expr, severity: "warning", wait: minutes(5), limit: DEPTH_MIN }]
}
