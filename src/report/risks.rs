//! What is still open: who should do what, by when.

use super::frame::Frame;
use super::model::{AlertQuality, Hindsight, Quality, Risk, SloRow};
use crate::domain::alert::AlertSeverity;
use crate::domain::verdict::{Overlay, Verdict};

const RISKS_MAX: usize = 20;

pub fn list(
    frame: &Frame,
    slo: &[SloRow],
    alerts: &AlertQuality,
    hindsight: &Hindsight,
    quality: &Quality,
) -> Vec<Risk> {
    let g = frame.g;
    let owner = frame.inputs.service_config.owner.clone().unwrap_or_else(|| "nobody named".into());
    let mut risks = Vec::new();
    let mut add = |priority: &'static str, text: String, due: String, command: Option<String>| {
        let tone = match priority {
            "P1" => "fail",
            "P2" => "warn",
            _ => "skip",
        };
        risks.push(Risk { text, priority, tone, owner: owner.clone(), due, command });
    };
    for f in frame.firings.iter().filter(|f| f.to.is_none()) {
        let priority = if f.severity == AlertSeverity::Critical { "P1" } else { "P2" };
        add(
            priority,
            format!("{} still fires, since {}", f.name, frame.clock(f.from)),
            "now".into(),
            Some("hypercare alerts".into()),
        );
    }
    for i in g.incidents.iter().filter(|i| i.closed_at.is_none()) {
        add("P1", format!("Incident “{}” is still open", i.title), "now".into(), Some("hypercare status".into()));
    }
    for s in g.outbox.iter().filter(|s| s.dead.is_some()) {
        let error = s.dead.clone().unwrap_or_default();
        let error = if error.is_empty() { String::new() } else { format!(": {error}") };
        add(
            "P1",
            format!("“{}” never reached {}{error}", s.title, s.channel),
            "today".into(),
            Some(format!("hypercare outbox retry {}", s.id)),
        );
    }
    for name in &alerts.unacked_critical {
        add("P2", format!("{name} was critical and nobody acknowledged it"), "today".into(), None);
    }
    for row in slo.iter().filter(|r| r.spent_ratio.is_some_and(|s| s >= 0.1)) {
        add(
            "P2",
            format!(
                "{} spent {} of its {} budget in this window ({})",
                row.name, row.spent.text, row.period, row.exhaustion
            ),
            "this week".into(),
            None,
        );
    }
    if let Some(run) = &g.gate_run {
        for gate in &run.gates {
            match &gate.overlay {
                Some(Overlay::Waived { expires, reason, .. }) => {
                    let came = hindsight.rows.iter().any(|r| r.id == gate.id && r.came_true);
                    let priority = if came { "P1" } else { "P2" };
                    let tail = if came { "; it came true" } else { "" };
                    add(
                        priority,
                        format!("{} is waived ({reason}){tail}", gate.id),
                        format!("expires {}", frame.moment(*expires).full),
                        Some(format!("hypercare gates explain {}", gate.id)),
                    );
                }
                None if gate.verdict == Verdict::Warn => {
                    add(
                        "P3",
                        format!("{}: {}", gate.id, gate.summary),
                        "next release".into(),
                        Some(format!("hypercare gates explain {}", gate.id)),
                    );
                }
                _ => {}
            }
        }
    }
    for blind in &quality.blind {
        add("P2", format!("Blind spot: {blind}"), "next release".into(), Some("hypercare scrape try".into()));
    }
    for row in alerts.rows.iter().filter(|r| !r.advice.is_empty()) {
        add("P3", format!("{} {}", row.name, row.advice), "next release".into(), None);
    }
    risks.sort_by(|a, b| a.priority.cmp(b.priority));
    risks.truncate(RISKS_MAX);
    risks
}
