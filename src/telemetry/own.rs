//! Counters that only the process knows: how its polls, evaluations and answers went since it started. `/metrics` adds
//! what the store knows. Names follow watch.md 7.2.

use std::sync::OnceLock;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

type Labels = [(&'static str, &'static str); 1];

struct Own {
    registry: Registry,
    slots: Family<Labels, Counter>,
    received: Family<[(&'static str, &'static str); 2], Counter>,
    unstored: Counter,
    elsewhere: Family<Labels, Counter>,
    evaluation: Histogram,
    lag: Histogram,
    delivery: Histogram,
}

fn own() -> &'static Own {
    static OWN: OnceLock<Own> = OnceLock::new();
    OWN.get_or_init(|| {
        let slots = Family::<Labels, Counter>::default();
        let received = Family::default();
        let unstored = Counter::default();
        let elsewhere = Family::<Labels, Counter>::default();
        // From a millisecond to half a minute: an evaluation that takes longer has missed its next turn.
        let times = || Histogram::new([0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0]);
        let (evaluation, lag, delivery) = (times(), times(), times());
        let mut registry = Registry::with_prefix("hypercare");
        registry.register("scrape_slots", "Slots of collectors by what came of them", slots.clone());
        let help = "Samples that others sent, by door and by what came of them";
        registry.register("received_samples", help, Family::clone(&received));
        let help = "Samples that were collected and could not be stored";
        registry.register("unstored_samples", help, unstored.clone());
        let help = "Samples for the store elsewhere by what came of them";
        registry.register("sent_samples", help, elsewhere.clone());
        registry.register_with_unit("rule_eval", "One evaluation of all due rules", Unit::Seconds, evaluation.clone());
        registry.register_with_unit("rule_eval_lag", "How late an evaluation began", Unit::Seconds, lag.clone());
        registry.register_with_unit("delivery_latency", "From enqueued to accepted", Unit::Seconds, delivery.clone());
        Own { registry, slots, received, unstored, elsewhere, evaluation, lag, delivery }
    })
}

/// For printing.
pub fn registry() -> &'static Registry {
    &own().registry
}

/// `result` is `ok`, `gap` or `skipped`.
pub fn scrape_slot(result: &'static str) {
    own().slots.get_or_create(&[("result", result)]).inc();
}

/// `door` is `remote_write` or `otlp`; `result` is `accepted` or why not.
pub fn received(door: &'static str, result: &'static str, samples: u64) {
    own().received.get_or_create(&[("door", door), ("result", result)]).inc_by(samples);
}

/// The disk was full, or the file busy or damaged.
pub fn unstored(samples: u64) {
    own().unstored.inc_by(samples);
}

/// `result` is `sent`, `refused` (by the other side, for good), `retried` or `forgotten` (by our own retention).
pub fn sent_elsewhere(result: &'static str, samples: u64) {
    own().elsewhere.get_or_create(&[("result", result)]).inc_by(samples);
}

pub fn rules_evaluated(took: Duration, late_by: Duration) {
    own().evaluation.observe(took.as_secs_f64());
    own().lag.observe(late_by.as_secs_f64());
}

pub fn delivered(after: Duration) {
    own().delivery.observe(after.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_printed() {
        scrape_slot("ok");
        rules_evaluated(Duration::from_millis(3), Duration::ZERO);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry()).unwrap();
        assert!(text.contains("hypercare_scrape_slots_total{result=\"ok\"} "), "{text}");
        assert!(text.contains("hypercare_rule_eval_seconds_bucket{le=\"0.005\"} "), "{text}");
    }
}
