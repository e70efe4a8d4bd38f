//! The first screen's figures: four tiles with now, before, objective and a sparkline, and the small facts under them.

use super::frame::{Figure, Frame};
use super::gather::Points;
use super::incidents::{Minutes, Slot};
use super::model::{Compare, Feedback, Incidents, Scorecard, SloRow, Small, Tile};
use super::slo::COVERAGE_MIN;
use crate::chart::{Unit, spark_text_in};
use crate::domain::stats;
use crate::domain::units;

/// Columns of a tile's sparkline in text.
const SPARK_COLUMNS: usize = 24;

pub fn section(
    frame: &Frame,
    slo: &[SloRow],
    compare: &Compare,
    incidents: &Incidents,
    feedback: &Feedback,
    minutes: &Minutes,
) -> Scorecard {
    let tiles = vec![
        availability(frame, slo),
        errors(frame, compare),
        latency(frame, compare),
        budget(frame, slo),
        traffic(frame, compare),
    ];
    let unseen = minutes.total(Slot::Unseen);
    let note = if unseen.is_zero() { String::new() } else { format!("{} could not be seen", units::prose(unseen)) };
    let small = vec![
        Small { title: "Down".into(), text: units::prose(minutes.total(Slot::Down)), note: note.clone() },
        Small { title: "Degraded".into(), text: units::prose(minutes.total(Slot::Degraded)), note },
        Small { title: "Incidents".into(), text: incidents.rows.len().to_string(), note: String::new() },
        Small {
            title: "Requests".into(),
            text: Figure::events(frame.g.requests.1).text,
            note: match frame.g.requests.0 {
                Some(bad) if bad >= 0.5 => format!("{} failed", Figure::events(Some(bad)).text),
                Some(_) => "none failed".into(),
                None => String::new(),
            },
        },
        Small { title: "Alerts".into(), text: frame.firings.len().to_string(), note: String::new() },
        Small {
            title: "Feedback".into(),
            text: feedback.items.to_string(),
            note: if feedback.sources.is_empty() {
                "no source".into()
            } else {
                format!("{} before", feedback.before_per_hour)
            },
        },
    ];
    Scorecard { tiles, small }
}

struct Judged {
    tone: &'static str,
    mark: &'static str,
    word: String,
}

fn judged(tone: &'static str, word: impl Into<String>) -> Judged {
    let mark = match tone {
        "pass" => "✔",
        "warn" => "▲",
        "fail" => "✘",
        "error" => "?",
        _ => "○",
    };
    Judged { tone, mark, word: word.into() }
}

fn by_objective(met: Option<bool>) -> Option<Judged> {
    met.map(|met| if met { judged("pass", "objective met") } else { judged("fail", "objective missed") })
}

fn by_comparison(compare: &Compare, name: &str) -> Judged {
    let row = compare.rows.iter().find(|r| r.name == name);
    match row.map(|r| r.verdict.as_str()) {
        Some("worse") => judged("warn", "worse than before"),
        Some("better") => judged("pass", "better than before"),
        Some("same") => judged("pass", "as before"),
        Some("higher") => judged("skip", "more than before"),
        Some("lower") => judged("skip", "less than before"),
        Some(_) => judged("skip", "not enough to compare"),
        None => judged("error", "not measured"),
    }
}

#[expect(clippy::too_many_arguments, reason = "a tile is its parts; called five times beside its definition")]
fn tile(
    frame: &Frame,
    id: &str,
    title: &str,
    now: Figure,
    before: Option<Figure>,
    objective: Option<String>,
    judged: Judged,
    points: &[(crate::domain::clock::Timestamp, f64)],
    step: std::time::Duration,
) -> Tile {
    let coverage = frame.coverage(points, step);
    let judged = if now.value.is_none() { self::judged("error", "no data") } else { judged };
    let spark = spaced(frame, points, step);
    Tile {
        id: id.into(),
        title: title.into(),
        before: before.filter(|b| b.value.is_some()),
        objective,
        tone: judged.tone,
        mark: judged.mark,
        word: judged.word,
        coverage,
        coverage_note: coverage
            .filter(|c| *c < COVERAGE_MIN && now.value.is_some())
            .map(|c| format!("seen {} of the time", Unit::Ratio.text(c))),
        spark_text: spark_text_in(&spark, SPARK_COLUMNS),
        spark,
        now,
    }
}

/// One value per step since go-live; NaN where there was none, so that a gap stays a gap.
fn spaced(frame: &Frame, points: &[(crate::domain::clock::Timestamp, f64)], step: std::time::Duration) -> Vec<f64> {
    let step_ms = step.as_millis().max(1) as i64;
    let count = (frame.lived().as_millis() as i64 / step_ms + 1).clamp(1, 20_000) as usize;
    let mut values = vec![f64::NAN; count];
    for (at, v) in points.iter().filter(|p| p.0 >= frame.g.live_at) {
        let i = ((at.ms() - frame.g.live_at.ms()) / step_ms) as usize;
        if let Some(slot) = values.get_mut(i) {
            *slot = *v;
        }
    }
    values
}

/// Good share by slot, from failed and all requests.
fn good_share(frame: &Frame) -> Points {
    let g = frame.g;
    g.error_rate
        .iter()
        .filter_map(|(at, bad)| {
            let i = g.traffic.binary_search_by_key(at, |p| p.0).ok()?;
            let all = g.traffic[i].1;
            (all > 0.0).then(|| (*at, (1.0 - bad / all).clamp(0.0, 1.0)))
        })
        .collect()
}

fn availability(frame: &Frame, slo: &[SloRow]) -> Tile {
    let g = frame.g;
    let step = g.slot;
    let before = frame.baseline_values("error_ratio");
    let before =
        (!before.is_empty()).then(|| Figure::ratio(Some(1.0 - before.iter().sum::<f64>() / before.len() as f64)));
    // The objective's own events first, then requests, then probes: what is nearest to the promise.
    if let Some(row) = slo.iter().find(|r| r.compliance.value.is_some()) {
        let met = by_objective(row.met).unwrap_or_else(|| judged("skip", "no objective"));
        let name = format!("≥ {}", row.objective);
        return tile(
            frame,
            "availability",
            &format!("Availability · {}", row.name),
            row.compliance.clone(),
            before,
            Some(name),
            met,
            &good_share(frame),
            step,
        );
    }
    let (value, points, title) = match g.requests {
        (Some(bad), Some(all)) if all > 0.0 => {
            (Some((1.0 - bad / all).clamp(0.0, 1.0)), good_share(frame), "Availability")
        }
        _ if !g.probe.is_empty() => {
            let mean = g.probe.iter().map(|p| p.1).sum::<f64>() / g.probe.len() as f64;
            (Some(mean), g.probe.clone(), "Availability (probes)")
        }
        _ => (None, Vec::new(), "Availability"),
    };
    tile(
        frame,
        "availability",
        title,
        Figure::ratio(value),
        before,
        None,
        judged("skip", "no objective set"),
        &points,
        step,
    )
}

fn errors(frame: &Frame, compare: &Compare) -> Tile {
    let g = frame.g;
    let value = match g.requests {
        (Some(bad), Some(all)) if all > 0.0 => Some((bad / all).clamp(0.0, 1.0)),
        _ => None,
    };
    let points: Points = good_share(frame).into_iter().map(|(at, v)| (at, 1.0 - v)).collect();
    let before = frame.baseline_values("error_ratio");
    let before = (!before.is_empty()).then(|| Figure::ratio(Some(before.iter().sum::<f64>() / before.len() as f64)));
    let limit = g.slos.first().map(|s| 1.0 - s.objective.objective / 100.0);
    let met = value.zip(limit).map(|(v, l)| v <= l);
    let verdict = by_objective(met).unwrap_or_else(|| by_comparison(compare, "error_ratio"));
    tile(
        frame,
        "errors",
        if g.slos.is_empty() { "Errors" } else { "Errors · all requests" },
        Figure::ratio(value),
        before,
        limit.map(|l| format!("≤ {}", Unit::Ratio.text(l))),
        verdict,
        &points,
        g.slot,
    )
}

fn latency(frame: &Frame, compare: &Compare) -> Tile {
    let Some(signal) = frame.signal("latency_p95") else {
        return tile(
            frame,
            "p95",
            "p95",
            Figure::of(&Unit::Seconds, None),
            None,
            None,
            judged("error", "no data"),
            &[],
            frame.g.chart_step,
        );
    };
    let points = frame.live_points(signal);
    let values: Vec<f64> = points.iter().map(|p| p.1).collect();
    let now = stats::median(&values);
    let before = stats::median(&frame.baseline_values("latency_p95")).map(|v| Figure::of(&Unit::Seconds, Some(v)));
    let limit = frame.inputs.latency_objective.map(|d| d.as_secs_f64());
    let met = now.zip(limit).map(|(v, l)| v <= l);
    let verdict = by_objective(met).unwrap_or_else(|| by_comparison(compare, "latency_p95"));
    let objective = limit.map(|l| format!("≤ {}", Unit::Seconds.text(l)));
    tile(frame, "p95", "p95", Figure::of(&Unit::Seconds, now), before, objective, verdict, points, frame.g.chart_step)
}

fn budget(frame: &Frame, slo: &[SloRow]) -> Tile {
    // The objective that spent most.
    let worst = slo.iter().max_by(|a, b| a.spent_ratio.unwrap_or(-1.0).total_cmp(&b.spent_ratio.unwrap_or(-1.0)));
    let data = worst.and_then(|w| frame.g.slos.iter().find(|s| s.objective.name == w.name));
    let points = data.map(|d| super::slo::burn(frame, d)).unwrap_or_default();
    let spent = worst.and_then(|w| w.spent_ratio);
    let verdict = match spent {
        Some(s) if s >= 0.2 => judged("fail", "spent too fast"),
        Some(s) if s >= 0.1 => judged("warn", "spent fast"),
        Some(_) => judged("pass", "left for the period"),
        None => judged("skip", "no objective set"),
    };
    let objective = worst.map(|w| format!("< 10 % of {}", w.period));
    let mut made =
        tile(frame, "budget", "Budget spent", Figure::ratio(spent), None, objective, verdict, &points, frame.g.slot);
    if worst.is_none() {
        made.tone = "skip";
        made.mark = "○";
        made.word = "no objective set".into();
        made.coverage_note = None;
    }
    made
}

fn traffic(frame: &Frame, compare: &Compare) -> Tile {
    let unit = Unit::Other("req/s".into());
    let Some(signal) = frame.signal("traffic") else {
        return tile(
            frame,
            "traffic",
            "Traffic",
            Figure::of(&unit, None),
            None,
            None,
            judged("error", "no data"),
            &[],
            frame.g.chart_step,
        );
    };
    let points = frame.live_points(signal);
    let values: Vec<f64> = points.iter().map(|p| p.1).collect();
    let before = stats::median(&frame.baseline_values("traffic")).map(|v| Figure::of(&unit, Some(v)));
    let now = Figure::of(&unit, stats::median(&values));
    let verdict = if now.value == Some(0.0) { judged("warn", "no traffic") } else { by_comparison(compare, "traffic") };
    tile(frame, "traffic", "Traffic", now, before, None, verdict, points, frame.g.chart_step)
}
