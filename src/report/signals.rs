//! The signals a launch is judged by, and the PromQL of each: one list for baseline, comparison and charts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::chart::Unit;
use crate::domain::roles::Roles;
use crate::domain::units::Span;

/// What a rise means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Less is better: errors, latency, saturation.
    Lower,
    /// Neither is better: traffic.
    Either,
}

/// One figure over time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// `traffic`, `error_ratio`, `latency_p50`, `latency_p95`, `latency_p99`, `cpu`, `memory`, `queue`, `probe`.
    pub name: String,
    /// For people: `p95 latency`.
    pub title: String,
    pub unit: UnitName,
    pub direction: Direction,
    pub query: String,
}

/// A unit as stored: what [`Unit`] prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnitName {
    Ratio,
    Seconds,
    RequestsPerSecond,
    Cores,
    Count,
}

impl UnitName {
    pub fn unit(self) -> Unit {
        match self {
            UnitName::Ratio => Unit::Ratio,
            UnitName::Seconds => Unit::Seconds,
            UnitName::RequestsPerSecond => Unit::Other("req/s".into()),
            UnitName::Cores => Unit::Other("cores".into()),
            UnitName::Count => Unit::Count,
        }
    }
    pub fn word(self) -> &'static str {
        match self {
            UnitName::Ratio => "ratio",
            UnitName::Seconds => "seconds",
            UnitName::RequestsPerSecond => "requests_per_second",
            UnitName::Cores => "cores",
            UnitName::Count => "count",
        }
    }
}

/// Share of the service's probes that succeed, 0 to 1.
pub fn probe_query(service: &str) -> String {
    format!("avg(probe_success{{service={}}})", quoted(service))
}

/// A PromQL string literal.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// Every signal the roles can give, in the order people read them. `window` is the range of rates.
pub fn signals(service: &str, roles: &Roles, window: Duration) -> Vec<Signal> {
    use Direction::{Either, Lower};
    let w = Span(window).to_string();
    let cpu_unit = match roles.cpu.as_deref().map(crate::domain::roles::metric_name) {
        Some("node_cpu_seconds_total") => UnitName::Ratio,
        Some(name) if name.ends_with("_total") => UnitName::Cores,
        _ => UnitName::Ratio,
    };
    [
        ("traffic", "Traffic", UnitName::RequestsPerSecond, Either, roles.traffic(&w)),
        ("error_ratio", "Errors", UnitName::Ratio, Lower, roles.error_ratio(&w)),
        ("latency_p50", "p50 latency", UnitName::Seconds, Lower, roles.latency_quantile(0.5, &w)),
        ("latency_p95", "p95 latency", UnitName::Seconds, Lower, roles.latency_quantile(0.95, &w)),
        ("latency_p99", "p99 latency", UnitName::Seconds, Lower, roles.latency_quantile(0.99, &w)),
        ("cpu", "CPU", cpu_unit, Lower, roles.cpu_ratio(&w)),
        ("memory", "Memory", UnitName::Ratio, Lower, roles.memory_ratio()),
        ("queue", "Queue", UnitName::Count, Lower, roles.queue()),
        ("probe", "Probes that succeed", UnitName::Ratio, Either, Some(probe_query(service))),
    ]
    .into_iter()
    .filter_map(|(name, title, unit, direction, query)| {
        Some(Signal { name: name.into(), title: title.into(), unit, direction, query: query? })
    })
    .collect()
}

/// Longest bucket: five minutes, as baselines are kept.
pub const BUCKET_MAX: Duration = Duration::from_secs(300);

/// Bucket of a stretch of time: a 288th of it (five minutes of a day), from one second to five minutes, never shorter
/// than the interval at which samples arrive. Whole seconds.
pub fn bucket(duration: Duration, interval: Duration) -> Duration {
    let wished = (duration / 288).clamp(Duration::from_secs(1), BUCKET_MAX).max(interval.min(BUCKET_MAX));
    Duration::from_secs(wished.as_secs_f64().ceil() as u64)
}

/// Range of rates: at least four samples, so that one lost scrape leaves a figure.
pub fn rate_window(bucket: Duration, interval: Duration) -> Duration {
    let wished = bucket.max(interval * 4).max(Duration::from_secs(1));
    Duration::from_secs(wished.as_secs_f64().ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_fit_the_window() {
        let s = Duration::from_secs;
        assert_eq!(bucket(s(86_400), s(15)), s(300));
        assert_eq!(bucket(s(90), s(1)), s(1));
        assert_eq!(bucket(s(3600), s(15)), s(15));
        assert_eq!(bucket(s(30 * 86_400), s(60)), s(300));
        assert_eq!(rate_window(s(1), s(2)), s(8));
        assert_eq!(rate_window(s(300), s(15)), s(300));
    }

    #[test]
    fn only_what_has_a_role_is_a_signal() {
        let none = Roles::resolve(&Default::default(), &|_| false, &|_| vec![]);
        let names: Vec<_> = signals("a\"b", &none, BUCKET_MAX).into_iter().map(|s| (s.name, s.query)).collect();
        assert_eq!(names, [("probe".to_string(), "avg(probe_success{service=\"a\\\"b\"})".to_string())]);
        let some = Roles::resolve(&Default::default(), &|_| true, &|_| vec!["code".into()]);
        assert_eq!(signals("shop", &some, BUCKET_MAX).len(), 9);
    }
}
