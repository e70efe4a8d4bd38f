//! The report's charts: each says one sentence; all share one time axis, so that the eye can run down.

use super::frame::Frame;
use super::gather::SignalData;
use super::model::{ChartSection, SloRow};
use crate::chart::{Band, Bar, Line, LineChart, Mark, Tone, Unit, align, table};
use crate::domain::alert::AlertSeverity;
use crate::domain::clock::Timestamp;
use crate::domain::marker::MarkerKind;
use crate::domain::stats;

/// A peak this many times the usual is called a rise.
const RISE: f64 = 1.5;
/// What is left of the usual after a fall, as a divisor.
const FALL: f64 = 3.0;
/// A spread wider than this part of the median is not "near".
const NEAR: f64 = 0.5;

pub fn section(frame: &Frame, slo: &[SloRow]) -> Vec<ChartSection> {
    let mut charts = Vec::new();
    let mut add = |id: &str, query: String, drawing: LineChart| {
        let notes = table(&drawing).notes;
        charts.push(ChartSection { id: id.into(), title: drawing.title.clone(), query, notes, drawing });
    };
    if let Some(traffic) = frame.signal("traffic") {
        add("traffic", traffic.signal.query.clone(), single(frame, traffic, "requests"));
    }
    if let Some(errors) = frame.signal("error_ratio") {
        let mut chart = single(frame, errors, "errors");
        chart.objective = frame.g.slos.first().map(|s| {
            let limit = 1.0 - s.objective.objective / 100.0;
            (limit, format!("objective ≤ {}", Unit::Ratio.text(limit)))
        });
        add("errors", errors.signal.query.clone(), chart);
    }
    if let Some(p95) = frame.signal("latency_p95") {
        let mut chart = single(frame, p95, "p95");
        for (name, label) in [("latency_p99", "p99"), ("latency_p50", "p50")] {
            if let Some(other) = frame.signal(name) {
                chart.lines.push(Line { name: label.into(), points: other.chart.clone() });
            }
        }
        chart.objective = frame
            .inputs
            .latency_objective
            .map(|d| (d.as_secs_f64(), format!("objective {}", Unit::Seconds.text(d.as_secs_f64()))));
        add("latency", p95.signal.query.clone(), chart);
    }
    for (name, label) in [("cpu", "CPU"), ("memory", "memory"), ("queue", "waiting")] {
        if let Some(signal) = frame.signal(name).filter(|s| !s.chart.is_empty()) {
            add(name, signal.signal.query.clone(), single(frame, signal, label));
        }
    }
    for row in slo.iter().filter(|r| r.spent_ratio.is_some()) {
        let Some(data) = frame.g.slos.iter().find(|s| s.objective.name == row.name) else { continue };
        // Before go-live nothing of this window's budget was spent.
        let lead = frame.g.live_at.since(frame.g.chart_from).as_millis() / frame.g.slot.as_millis().max(1);
        let before = (1..=lead as u32).rev().map(|n| (frame.g.live_at.minus(frame.g.slot * n), 0.0));
        let points: Vec<_> = before.chain(super::slo::burn(frame, data)).collect();
        let title = format!("{} of the {} budget of {} is spent", row.spent.text, row.period, row.name);
        let mut chart = base(frame, title, Unit::Ratio, frame.g.slot);
        chart.lines.push(Line { name: "spent".into(), points });
        add(&format!("budget-{}", row.name), data.objective.total.clone(), chart);
    }
    if frame.signal("traffic").is_none()
        && let Some(probe) = frame.signal("probe")
    {
        add("probe", probe.signal.query.clone(), single(frame, probe, "probes"));
    }
    align(charts.iter_mut().map(|c| &mut c.drawing));
    charts
}

fn base(frame: &Frame, title: String, unit: Unit, step: std::time::Duration) -> LineChart {
    let g = frame.g;
    let mut chart = LineChart::new(title, unit, g.chart_from, g.end, frame.zone);
    chart.step = step;
    let version = g.launch.version.as_deref().map(|v| format!(" {v}")).unwrap_or_default();
    chart.marks.push(Mark { at: g.live_at, label: format!("go-live{version}") });
    for m in &g.markers {
        if m.at == g.live_at && m.kind == MarkerKind::Deploy || m.kind == MarkerKind::Incident {
            continue;
        }
        let label = if m.text.is_empty() { m.kind.word().to_string() } else { format!("{} {}", m.kind.word(), m.text) };
        chart.marks.push(Mark { at: m.at, label });
    }
    for e in g.events.iter().filter(|e| e.to == Some(crate::domain::launch::LaunchState::RolledBack)) {
        if !g.markers.iter().any(|m| m.kind == MarkerKind::Rollback && m.at == e.at) {
            chart.marks.push(Mark { at: e.at, label: "rolled back".into() });
        }
    }
    chart.marks.sort_by(|a, b| (a.at, &a.label).cmp(&(b.at, &b.label)));
    chart.alerts = frame
        .firings
        .iter()
        .map(|f| Bar {
            from: f.from,
            to: f.to.unwrap_or(g.end),
            name: f.name.clone(),
            tone: match f.severity {
                AlertSeverity::Critical => Tone::Critical,
                AlertSeverity::Warning => Tone::Warning,
                AlertSeverity::Info => Tone::Info,
            },
        })
        .collect();
    chart
}

fn single(frame: &Frame, data: &SignalData, label: &str) -> LineChart {
    let unit = data.signal.unit.unit();
    let mut chart = base(frame, title(frame, data), unit.clone(), frame.g.chart_step);
    chart.lines.push(Line { name: label.into(), points: data.chart.clone() });
    let before = frame.baseline_values(&data.signal.name);
    if let (Some(low), Some(high)) = (stats::quantile(&before, 0.05), stats::quantile(&before, 0.95)) {
        let label = if unit.text(low) == unit.text(high) {
            format!("normal, {}", unit.text(low))
        } else {
            format!("normal, {} to {}", unit.text(low), unit.text(high))
        };
        chart.baseline = Some(Band { low, high, label });
    }
    chart
}

/// The chart's one message.
fn title(frame: &Frame, data: &SignalData) -> String {
    let unit = data.signal.unit.unit();
    let name = match data.signal.name.as_str() {
        "error_ratio" => "Errors",
        "latency_p95" => "p95",
        "traffic" => "Traffic",
        "queue" => "The queue",
        other => {
            if other == "cpu" {
                "CPU"
            } else if other == "memory" {
                "Memory"
            } else {
                data.signal.title.as_str()
            }
        }
    };
    let points = frame.live_points(data);
    let Some((at, peak)) = points.iter().copied().reduce(|a: (Timestamp, f64), b| if b.1 > a.1 { b } else { a }) else {
        return format!("{name}: no data");
    };
    let values: Vec<f64> = points.iter().map(|p| p.1).collect();
    let median = stats::median(&values).unwrap_or(peak);
    let usual = stats::median(&frame.baseline_values(&data.signal.name));
    let clock = frame.clock(at);
    if data.signal.name == "error_ratio" {
        return match peak {
            p if p <= 0.0 => "No request failed".into(),
            p => match usual.filter(|u| *u > 0.0) {
                Some(u) => format!("Errors reached {} at {clock}; {} is normal", unit.text(p), unit.text(u)),
                None => format!("Errors reached {} at {clock}", unit.text(p)),
            },
        };
    }
    if peak <= 0.0 {
        return format!("{name} stayed at zero");
    }
    let reference = usual.unwrap_or(median);
    let (low_at, lowest) = points.iter().copied().reduce(|a, b| if b.1 < a.1 { b } else { a }).unwrap_or((at, peak));
    // Both ends carry their unit: one may be ms and the other s.
    let [was, high, low] = [reference, peak, lowest].map(|v| unit.text(v));
    if reference > 0.0 && peak >= reference * RISE {
        format!("{name} rose from {was} to {high} at {clock}")
    } else if reference > 0.0 && lowest <= reference / FALL {
        format!("{name} fell from {was} to {low} at {}", frame.clock(low_at))
    } else if peak - lowest > median * NEAR {
        format!("{name} lay between {low} and {high}")
    } else {
        format!("{name} stayed near {}", unit.text(median))
    }
}
