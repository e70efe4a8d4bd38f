//! Objectives and their error budgets. Spent = bad ÷ ((1 − objective) × events expected in the period); expected =
//! the window's events scaled to the period, and the report says so.

use std::time::Duration;

use super::frame::{Figure, Frame};
use super::gather::SloData;
use super::model::SloRow;
use crate::chart::Unit;
use crate::domain::clock::Timestamp;
use crate::domain::units;

/// Below this coverage every figure of an objective carries an asterisk, and no verdict is GREEN.
pub const COVERAGE_MIN: f64 = 0.9;

pub fn rows(frame: &Frame) -> Vec<SloRow> {
    frame.g.slos.iter().map(|s| row(frame, s)).collect()
}

/// Events the whole budget may lose; `None` without traffic.
fn budget(frame: &Frame, slo: &SloData) -> Option<f64> {
    let lived = frame.lived().as_secs_f64();
    let total = slo.total.filter(|t| *t > 0.0)?;
    if lived <= 0.0 {
        return None;
    }
    let expected = total / lived * slo.objective.period.as_secs_f64();
    Some((1.0 - slo.objective.objective / 100.0) * expected).filter(|b| *b > 0.0)
}

/// Share of the budget spent between two instants.
pub fn spent_between(frame: &Frame, slo: &SloData, from: Timestamp, to: Timestamp) -> Option<f64> {
    let budget = budget(frame, slo)?;
    let slot = frame.g.slot;
    let bad: f64 = slo.bad_rate.iter().filter(|p| p.0 > from && p.0 <= to.plus(slot)).map(|p| p.1).sum();
    Some(bad * slot.as_secs_f64() / budget)
}

/// Cumulative share of the budget, by slot: the burn chart.
pub fn burn(frame: &Frame, slo: &SloData) -> Vec<(Timestamp, f64)> {
    let Some(budget) = budget(frame, slo) else { return Vec::new() };
    let slot = frame.g.slot.as_secs_f64();
    let mut spent = 0.0;
    let mut points = vec![(frame.g.live_at, 0.0)];
    points.extend(slo.bad_rate.iter().map(|(at, rate)| {
        spent += rate * slot / budget;
        (*at, spent)
    }));
    points
}

fn row(frame: &Frame, slo: &SloData) -> SloRow {
    let target = slo.objective.objective / 100.0;
    let compliance = match (slo.bad, slo.total) {
        (Some(bad), Some(total)) if total > 0.0 => Some((1.0 - bad / total).clamp(0.0, 1.0)),
        _ => None,
    };
    let spent = budget(frame, slo).zip(slo.bad).map(|(b, bad)| bad / b);
    let met = compliance.map(|c| c >= target);
    let coverage = frame.coverage(&slo.total_rate, frame.g.slot);
    let (tone, mark, word) = match met {
        Some(true) => ("pass", "✔", "met"),
        Some(false) => ("fail", "✘", "missed"),
        None => ("error", "?", "no data"),
    };
    SloRow {
        name: slo.objective.name.clone(),
        objective: Unit::Ratio.text(target),
        period: units::prose(slo.objective.period),
        compliance: Figure::ratio(compliance),
        met,
        tone,
        mark,
        word: word.into(),
        bad: Figure::events(slo.bad),
        total: Figure::events(slo.total),
        spent: Figure::ratio(spent),
        exhaustion: exhaustion(frame, slo, spent),
        asterisk: coverage.is_some_and(|c| c < COVERAGE_MIN),
        error: slo.error.clone(),
        spent_ratio: spent,
    }
}

/// When the budget ends if the window's pace goes on; a budget cannot last longer than its period.
fn exhaustion(frame: &Frame, slo: &SloData, spent: Option<f64>) -> String {
    match spent {
        None => "–".into(),
        Some(s) if s >= 1.0 => "spent".into(),
        Some(s) if s <= 0.0 => "nothing spent".into(),
        Some(s) => {
            let left = frame.lived().as_secs_f64() * (1.0 - s) / s;
            if left >= slo.objective.period.as_secs_f64() {
                "lasts the period".into()
            } else {
                format!("in {} at this pace", units::prose(Duration::from_secs_f64(left)))
            }
        }
    }
}
