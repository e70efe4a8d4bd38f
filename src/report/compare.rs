//! Before and after: the frozen baseline against the window, signal by signal (watch.md 3.5).

use std::time::Duration;

use super::frame::{Figure, Frame};
use super::gather::SignalData;
use super::model::{Compare, CompareNumbers, CompareRow};
use super::signals::{Direction, UnitName};
use crate::chart::Unit;
use crate::domain::stats::{self, Comparison};
use crate::domain::units;

/// Points a side before anything is said; Spinnaker asks for as many before it trusts a canary.
pub const POINTS_MIN: usize = 50;
/// Effect gates: Cliff's δ, and the ratio of medians. Significance alone finds differences nobody feels.
pub const DELTA_MIN: f64 = 0.33;
pub const RATIO_MIN: f64 = 1.10;
/// False discovery rate over the signals of a launch.
pub const FDR: f64 = 0.05;
const COVERAGE_MIN: f64 = 0.8;

pub fn section(frame: &Frame) -> Compare {
    let g = frame.g;
    let judged: Vec<_> = g.signals.iter().map(|s| (s, evidence(frame, s))).collect();
    let p: Vec<f64> = judged.iter().filter_map(|(_, e)| e.as_ref().ok().map(|c| c.p)).collect();
    let mut held = stats::benjamini_hochberg(&p, FDR).into_iter();
    let rows = judged
        .into_iter()
        .map(|(signal, evidence)| match evidence {
            Ok(c) => compared(frame, signal, &c, held.next().unwrap_or(false)),
            Err(note) => insufficient(frame, signal, note),
        })
        .collect();
    let sentence = match &g.baseline {
        None => "No baseline was frozen before go-live, so nothing can be compared.".to_string(),
        Some(b) => format!(
            "Compared with the {} before go-live ({} to {}), frozen at {}.",
            units::prose(b.to.since(b.from)),
            frame.moment(b.from).full,
            frame.clock(b.to),
            frame.clock(b.frozen_at)
        ),
    };
    Compare { rows, sentence }
}

/// The comparison, or why there is none.
fn evidence(frame: &Frame, signal: &SignalData) -> Result<Comparison, String> {
    let before = frame.baseline_values(&signal.signal.name);
    if frame.g.baseline.is_none() {
        return Err("no baseline".into());
    }
    if before.is_empty() {
        return Err("not measured before go-live".into());
    }
    let after: Vec<f64> = signal.judged.iter().map(|p| p.1).filter(|v| v.is_finite()).collect();
    // An hour of a day; as large a share of a shorter window.
    let least = (frame.window() / 24).clamp(Duration::from_secs(1), Duration::from_secs(3600));
    if after.is_empty() {
        return Err("no data since go-live".into());
    }
    if frame.lived() < least {
        return Err(format!("live for {}, {} are needed", units::prose(frame.lived()), units::prose(least)));
    }
    if before.len() < POINTS_MIN || after.len() < POINTS_MIN {
        return Err(format!("{} and {} points, {POINTS_MIN} a side are needed", before.len(), after.len()));
    }
    let covered = frame.g.baseline.as_ref().and_then(|b| b.series.iter().find(|s| s.name == signal.signal.name));
    if let Some(series) = covered.filter(|s| s.coverage < COVERAGE_MIN) {
        return Err(format!(
            "baseline coverage {}, {} is needed",
            Unit::Ratio.text(series.coverage),
            Unit::Ratio.text(COVERAGE_MIN)
        ));
    }
    stats::compare(&before, &after).ok_or_else(|| "no data".into())
}

fn compared(frame: &Frame, signal: &SignalData, c: &Comparison, significant: bool) -> CompareRow {
    let before = stats::median(&frame.baseline_values(&signal.signal.name)).unwrap_or(f64::NAN);
    let after_values: Vec<f64> = signal.judged.iter().map(|p| p.1).collect();
    let after = stats::median(&after_values).unwrap_or(f64::NAN);
    let (low, high) = (before.min(after), before.max(after));
    // From nothing to something is any ratio; from nothing to nothing is none.
    let ratio = if low > 0.0 {
        high / low
    } else if high > 0.0 {
        f64::INFINITY
    } else {
        1.0
    };
    let different = significant && c.delta.abs() >= DELTA_MIN && ratio >= RATIO_MIN;
    let (verdict, tone, mark) = match (different, signal.signal.direction, c.delta > 0.0) {
        (false, _, _) => ("same", "pass", "✔"),
        (true, Direction::Lower, true) => ("worse", "warn", "▲"),
        (true, Direction::Lower, false) => ("better", "pass", "✔"),
        (true, Direction::Either, true) => ("higher", "skip", "○"),
        (true, Direction::Either, false) => ("lower", "skip", "○"),
    };
    let unit = signal.signal.unit.unit();
    // A share that succeeds is worse when it falls.
    let (verdict, tone, mark) = match (signal.signal.name.as_str(), verdict) {
        ("probe", "lower") => ("worse", "warn", "▲"),
        ("probe", "higher") => ("better", "pass", "✔"),
        _ => (verdict, tone, mark),
    };
    CompareRow {
        name: signal.signal.name.clone(),
        title: signal.signal.title.clone(),
        before: Figure::of(&unit, Some(before)),
        after: Figure::of(&unit, Some(after)),
        shift: signed(&signal.signal.unit, c.shift),
        interval: interval(&signal.signal.unit, c.interval),
        n: format!("{} / {}", c.n_before, c.n_after),
        p: if c.p < 0.001 { "< 0.001".into() } else { format!("{:.3}", c.p) },
        delta: plain_zero(format!("{:+.2}", c.delta)),
        rho: format!("{:.2}", c.rho),
        verdict: verdict.into(),
        tone,
        mark,
        note: String::new(),
        numbers: Some(CompareNumbers {
            n_before: c.n_before,
            n_after: c.n_after,
            median_before: before,
            median_after: after,
            shift: c.shift,
            interval: c.interval,
            p: c.p,
            delta: c.delta,
            rho: c.rho,
        }),
        query: signal.signal.query.clone(),
    }
}

fn insufficient(frame: &Frame, signal: &SignalData, note: String) -> CompareRow {
    let unit = signal.signal.unit.unit();
    let values: Vec<f64> = frame.live_points(signal).iter().map(|p| p.1).collect();
    let before = frame.baseline_values(&signal.signal.name);
    CompareRow {
        name: signal.signal.name.clone(),
        title: signal.signal.title.clone(),
        before: Figure::of(&unit, stats::median(&before)),
        after: Figure::of(&unit, stats::median(&values)),
        shift: "–".into(),
        interval: "–".into(),
        n: "–".into(),
        p: "–".into(),
        delta: "–".into(),
        rho: "–".into(),
        verdict: "insufficient".into(),
        tone: "skip",
        mark: "○",
        note,
        numbers: None,
        query: signal.signal.query.clone(),
    }
}

/// Both ends; the unit once when they share it: `−40 to +41 req/s`.
fn interval(unit: &UnitName, ends: (f64, f64)) -> String {
    let (low, high) = (signed(unit, ends.0), signed(unit, ends.1));
    match (low.rsplit_once(' '), high.rsplit_once(' ')) {
        (Some((figure, a)), Some((_, b))) if a == b => format!("{figure} to {high}"),
        _ => format!("{low} to {high}"),
    }
}

/// Zero has no sign, and a minus is as wide as a plus.
fn plain_zero(text: String) -> String {
    let zero = !text.contains(|c: char| ('1'..='9').contains(&c));
    if zero { text.replace(['+', '-'], "") } else { text.replace('-', "−") }
}

/// `+3.2 ms`; a shift of a ratio is in percentage points. Two significant digits: an estimate deserves no more.
fn signed(unit: &UnitName, value: f64) -> String {
    let two = |v: f64| if v == 0.0 { 0.0 } else { format!("{v:.1e}").parse().unwrap_or(v) };
    let text = match unit {
        UnitName::Ratio => format!("{} pp", units::number(two(value * 100.0))),
        other => other.unit().text(two(value)),
    };
    if value > 0.0 { plain_zero(format!("+{text}")) } else { plain_zero(text) }
}
