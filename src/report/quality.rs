//! How good the data is: who was seen how often, what could not be seen and why; and the appendix that lets a doubting
//! reader check every figure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::frame::{Figure, Frame};
use super::model::{Appendix, GapRow, Quality, Query, Small, TargetRow};
use super::slo::COVERAGE_MIN;
use crate::chart::Unit;
use crate::domain::units;

const GAPS_MAX: usize = 12;

pub fn section(frame: &Frame) -> Quality {
    let g = frame.g;
    let due = (frame.lived().as_millis() / g.slot.as_millis().max(1)).max(1) as f64;
    let targets: Vec<TargetRow> = g
        .targets
        .iter()
        .map(|(labels, seen, up)| {
            let coverage = (*seen as f64 / due).min(1.0);
            let share = *up as f64 / (*seen).max(1) as f64;
            let (tone, mark) =
                if coverage < COVERAGE_MIN || share < COVERAGE_MIN { ("warn", "▲") } else { ("pass", "✔") };
            TargetRow {
                target: labels
                    .get("instance")
                    .map(|i| labels.get("job").map_or(i.to_string(), |j| format!("{j} {i}")))
                    .unwrap_or_else(|| labels.to_string()),
                coverage: Figure::ratio(Some(coverage)),
                up: Figure::ratio(Some(share)),
                tone,
                mark,
            }
        })
        .collect();
    let mut gaps: Vec<_> = g.gaps.iter().collect();
    gaps.sort_by(|a, b| {
        b.to.since(b.from).cmp(&a.to.since(a.from)).then(a.from.cmp(&b.from)).then(a.target.cmp(&b.target))
    });
    let more_gaps = gaps.len().saturating_sub(GAPS_MAX);
    gaps.truncate(GAPS_MAX);
    gaps.sort_by(|a, b| (a.from, &a.target).cmp(&(b.from, &b.target)));
    let down: Duration = g.gaps.iter().filter(|gap| gap.target == "*").map(|gap| gap.to.since(gap.from)).sum();
    let mut blind: Vec<String> = Vec::new();
    for (name, what) in [("traffic", "requests"), ("error_ratio", "errors"), ("latency_p95", "latency")] {
        match frame.signal(name) {
            None => blind.push(format!("nothing counts {what}")),
            Some(s) if frame.live_points(s).is_empty() => blind.push(format!("no data for {what} since go-live")),
            Some(_) => {}
        }
    }
    // What the verdict rests on: requests where they are counted, else the probes.
    let critical = match (g.traffic.is_empty(), frame.signal("traffic")) {
        (false, _) => frame.coverage(&g.traffic, g.slot),
        (true, Some(_)) => Some(0.0),
        (true, None) => frame.coverage(&g.probe, g.slot),
    };
    let sentence = match critical {
        None => "Too early to say how good the data is.".to_string(),
        Some(c) => {
            let mut s = format!("What the verdict rests on was seen {} of the time", Unit::Ratio.text(c));
            if !down.is_zero() {
                s.push_str(&format!("; hypercare itself was away for {}", units::prose(down)));
            }
            s.push('.');
            s
        }
    };
    Quality {
        sentence,
        targets,
        gaps: gaps
            .into_iter()
            .map(|gap| GapRow {
                target: if gap.target == "*" { "everything".into() } else { gap.target.clone() },
                from: frame.moment(gap.from),
                to: frame.moment(gap.to),
                duration: units::prose(gap.to.since(gap.from)),
                reason: gap.reason.word().replace('_', " "),
                detail: gap.detail.clone(),
            })
            .collect(),
        more_gaps,
        daemon_down: units::prose(down),
        blind,
        coverage: critical,
    }
}

pub fn appendix(frame: &Frame) -> Appendix {
    let g = frame.g;
    let mut queries: BTreeMap<String, String> = BTreeMap::new();
    for s in &g.signals {
        queries.insert(s.signal.title.clone(), s.signal.query.clone());
    }
    for s in &g.slos {
        let bad = s.objective.bad.as_ref().or(s.objective.good.as_ref()).cloned().unwrap_or_default();
        queries.insert(format!("objective {}", s.objective.name), format!("{bad} of {}", s.objective.total));
    }
    let small = |title: &str, text: String| Small { title: title.into(), text, note: String::new() };
    let mut facts = vec![
        small("program", format!("hypercare {}", frame.inputs.version)),
        small("configuration", dash(&frame.inputs.config_hash)),
        small("configuration at planning", dash(&g.launch.config_hash)),
        small("templates", super::render::templates_hash()),
        small("baseline", g.baseline.as_ref().map_or("–".into(), |b| b.hash.clone())),
        small("gate run", g.gate_run.as_ref().map_or("–".into(), |r| r.run.clone())),
        small("audit trail", g.audit_head.as_ref().map_or("–".into(), |(seq, hash)| format!("row {seq}, {hash}"))),
        small("step of charts", units::prose(g.chart_step)),
        small("slots", units::prose(g.slot)),
    ];
    facts.retain(|f| !f.text.is_empty());
    let definitions = vec![
        small("Down", "at least half of at least 10 requests fail, or every probe fails".into()),
        small("Degraded", "at least 5 % of at least 10 requests fail, or some probe fails".into()),
        small("Impact", "from the first degraded slot around an incident, else from when its alert's condition first held".into()),
        small("MTTD", "first acceptance of an alert by a channel, less the start of impact".into()),
        small("MTTA", "first acknowledgement, less that acceptance".into()),
        small("MTTR", "end of impact, less its start".into()),
        small("Budget spent", "bad events over (1 − objective) × the events expected in the period at the window's pace".into()),
        small("Before and after", "Mann–Whitney U with mid-ranks and tie correction, z divided by √((1+ρ)/(1−ρ)); Hodges–Lehmann shift with its 95 % interval; Cliff's δ; different when significant at a false discovery rate of 5 %, |δ| ≥ 0.33 and medians apart by 10 %".into()),
        small("Coverage", "slots with data of slots due; below 90 % no verdict is GREEN".into()),
    ];
    Appendix { queries: queries.into_iter().map(|(name, query)| Query { name, query }).collect(), definitions, facts }
}

fn dash(text: &str) -> String {
    if text.is_empty() { "–".into() } else { text.into() }
}
