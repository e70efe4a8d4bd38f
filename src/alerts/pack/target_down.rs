//! TargetDown: a target does not answer its scrape.
//!
//! `up == 0` for 2 m: critical when it is the only instance of its job, else warning. Probes are left out: a probe that
//! fails is a good measurement, and ProbeFailing speaks of it.

use super::{BuiltIn, Subject, Variant, minutes, own};
use crate::alerts::measure::Unit;
use crate::alerts::state::OnMissing;

pub const RULE: BuiltIn = BuiltIn {
    name: "TargetDown",
    what: "scrape of the target",
    unit: Unit::Plain,
    below: true,
    window: None,
    on_missing: OnMissing::Hold,
    summary: "{{ $labels.instance }} of {{ $labels.job }} does not answer",
    description: "The scrape fails: the process is down, unreachable, or its metrics are broken. Its own numbers are unknown meanwhile.",
    quiet: false,
    build,
};

fn build(subject: &Subject<'_>) -> Vec<Variant> {
    if !(subject.exists)("up") {
        return Vec::new();
    }
    let up = own(subject, "up");
    let scraped = match (subject.exists)("probe_success") {
        true => format!("({up} unless on (job, instance) {})", own(subject, "probe_success")),
        false => up.clone(),
    };
    let variant = |instances: &str, severity| Variant {
        expr: format!("{scraped} == 0 and on (job) (count by (job) ({up}) {instances})"),
        severity,
        wait: minutes(2),
        limit: f64::NAN,
    };
    vec![variant("== 1", "critical"), variant("> 1", "warning")]
}
