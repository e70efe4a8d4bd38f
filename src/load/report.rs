//! What a run measured, as `hypercare.load/v1`.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::cpu::Cpu;
use super::worker::{Tally, histogram};
use super::{Model, Plan};

/// A pacer later than this at the 99th percentile distorts what it measures.
pub const LAG_P99_MS_MAX: f64 = 5.0;
/// Below this share of the target the rate was not reached.
pub const ACHIEVED_MIN: f64 = 0.98;
/// Above this share of its threads' CPU the generator may be what is slow.
pub const CPU_MAX: f64 = 0.85;

/// Milliseconds. All zero when nothing was answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Latency {
    pub min: f64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p95: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub max: f64,
}

impl Latency {
    pub(super) fn of(histogram: &Histogram<u64>) -> Latency {
        if histogram.is_empty() {
            return Latency::default();
        }
        let ms = |us: u64| us as f64 / 1000.0;
        let at = |q: f64| ms(histogram.value_at_quantile(q));
        Latency {
            min: ms(histogram.min()),
            mean: (histogram.mean() / 1000.0 * 1000.0).round() / 1000.0,
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p99_9: at(0.999),
            max: ms(histogram.max()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GeneratorHealth {
    /// `None` where the system does not tell.
    pub cpu_user_s: Option<f64>,
    pub cpu_system_s: Option<f64>,
    pub lag_p99_ms: f64,
    /// The generator was the bottleneck: the figures say nothing about the server.
    pub saturated: bool,
}

/// One second of the hold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Second {
    pub second: u64,
    pub requests: u64,
    pub errors: u64,
    pub p95_ms: f64,
}

/// Names are `product.md`'s promise; the ramp is left out of every figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    pub schema: &'static str,
    pub url: String,
    pub model: &'static str,
    pub connections: u32,
    pub requests: u64,
    /// Class → count: connect, tls, reset, timeout, protocol, status_5xx, status_429, unsent.
    pub errors: BTreeMap<String, u64>,
    pub by_status: BTreeMap<u16, u64>,
    /// `None` in the closed model.
    pub target_rate: Option<f64>,
    pub achieved_rate: f64,
    pub duration_s: f64,
    pub bytes: u64,
    /// From the scheduled instant.
    pub latency_ms: Latency,
    /// From the instant it was really sent: what a closed loop would have told.
    pub uncorrected_latency_ms: Latency,
    pub generator: GeneratorHealth,
    pub seconds: Vec<Second>,
    /// 95th percentile of the first and of the last third of the hold.
    pub p95_ms_thirds: [f64; 2],
    /// Why it ended early.
    pub stopped: Option<String>,
}

impl Report {
    /// Requests that failed: 5xx, time-outs, resets, connects; 429 is told apart and not in here.
    pub fn failed(&self) -> u64 {
        self.errors.iter().filter(|(class, _)| *class != "status_429").map(|(_, n)| n).sum()
    }
}

pub fn build(plan: &Plan, tallies: Vec<Tally>, took: Duration, cpu: Option<Cpu>, stopped: Option<String>) -> Report {
    let (mut corrected, mut uncorrected, mut lag) = (histogram(), histogram(), histogram());
    let (mut requests, mut bytes, mut unsent) = (0, 0, 0);
    let (mut by_status, mut errors) = (BTreeMap::<u16, u64>::new(), BTreeMap::<String, u64>::new());
    let mut seconds: Vec<(u64, u64, Histogram<u64>)> = Vec::new();
    for tally in &tallies {
        for (sum, part) in
            [(&mut corrected, &tally.corrected), (&mut uncorrected, &tally.uncorrected), (&mut lag, &tally.lag)]
        {
            // Same bounds everywhere, so nothing can fall outside.
            let _ = sum.add(part);
        }
        requests += tally.requests;
        bytes += tally.bytes;
        unsent += tally.unsent;
        for (status, n) in &tally.by_status {
            *by_status.entry(*status).or_default() += n;
        }
        for (fault, n) in &tally.faults {
            *errors.entry(fault.word().into()).or_default() += n;
        }
        for (i, second) in tally.seconds.iter().enumerate() {
            if seconds.len() <= i {
                seconds.push((0, 0, histogram()));
            }
            let sum = &mut seconds[i];
            sum.0 += second.requests;
            sum.1 += second.errors;
            let _ = sum.2.add(&second.latency);
        }
    }
    let of_class = |wanted: fn(u16) -> bool| by_status.iter().filter(|(s, _)| wanted(**s)).map(|(_, n)| n).sum::<u64>();
    for (class, n) in
        [("status_5xx", of_class(|s| s >= 500)), ("status_429", of_class(|s| s == 429)), ("unsent", unsent)]
    {
        if n > 0 {
            errors.insert(class.into(), n);
        }
    }
    // A run that was not stopped held for the whole hold, also when the last answer came before its end.
    let held = if stopped.is_none() { plan.hold } else { took.saturating_sub(plan.ramp).min(plan.hold) };
    let measured = held.as_secs_f64();
    let answered: u64 = by_status.values().sum();
    let achieved_rate = if measured > 0.0 { answered as f64 / measured } else { 0.0 };
    let target_rate = match plan.model {
        Model::Open { rate } => Some(rate),
        Model::Closed => None,
    };
    let lag_p99_ms = lag.value_at_quantile(0.99) as f64 / 1000.0;
    let busy = cpu.map(|c| c.total_s() / took.as_secs_f64().max(1e-9) / f64::from(plan.threads));
    let short = target_rate.is_some_and(|rate| achieved_rate < ACHIEVED_MIN * rate);
    let saturated =
        target_rate.is_some() && (lag_p99_ms > LAG_P99_MS_MAX || (short && busy.is_some_and(|share| share > CPU_MAX)));
    let third = (seconds.len() / 3).max(1).min(seconds.len());
    let p95_of = |part: &[(u64, u64, Histogram<u64>)]| {
        let mut sum = histogram();
        for second in part {
            let _ = sum.add(&second.2);
        }
        if sum.is_empty() { 0.0 } else { sum.value_at_quantile(0.95) as f64 / 1000.0 }
    };
    let p95_ms_thirds = [p95_of(&seconds[..third]), p95_of(&seconds[seconds.len() - third..])];
    Report {
        schema: "hypercare.load/v1",
        url: plan.base.to_string(),
        model: if target_rate.is_some() { "open" } else { "closed" },
        connections: plan.connections,
        requests,
        errors,
        by_status,
        target_rate,
        achieved_rate: (achieved_rate * 10.0).round() / 10.0,
        duration_s: (measured * 1000.0).round() / 1000.0,
        bytes,
        latency_ms: Latency::of(&corrected),
        uncorrected_latency_ms: Latency::of(&uncorrected),
        generator: GeneratorHealth {
            cpu_user_s: cpu.map(|c| c.user_s),
            cpu_system_s: cpu.map(|c| c.system_s),
            lag_p99_ms,
            saturated,
        },
        seconds: seconds
            .iter()
            .enumerate()
            .map(|(i, (requests, errors, latency))| Second {
                second: i as u64,
                requests: *requests,
                errors: *errors,
                p95_ms: if latency.is_empty() { 0.0 } else { latency.value_at_quantile(0.95) as f64 / 1000.0 },
            })
            .collect(),
        p95_ms_thirds,
        stopped,
    }
}
