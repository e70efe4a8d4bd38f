//! Http5xxOutage: more than half of the requests fail. Somebody must wake up at once.
//!
//! 5xx ratio > 50 % over 1 m and at least 10 failed requests in it, for 30 s: critical. The count keeps a service with
//! two requests a minute from paging on one.

use std::time::Duration;

use super::{BuiltIn, Subject, Variant, minutes};
use crate::alerts::measure::Unit;
use crate::alerts::state::OnMissing;

pub const RULE: BuiltIn = BuiltIn {
    name: "Http5xxOutage",
    what: "5xx ratio",
    unit: Unit::Ratio,
    below: false,
    window: Some(minutes(1)),
    on_missing: OnMissing::Hold,
    summary: "{{ $value | humanizePercentage }} of requests to {{ $labels.service }} fail",
    description: "More than half of all requests were answered with a 5xx status during the last minute.",
    quiet: false,
    build,
};

fn build(subject: &Subject<'_>) -> Vec<Variant> {
    super::http_5xx_high::ratio(subject, "1m", 60, 0.5, 10, Duration::from_secs(30), "critical")
}
