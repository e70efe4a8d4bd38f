//! Gates in hindsight: what was known at go, what was waived, and whether the waived risk came true.

use std::collections::BTreeSet;

use super::frame::{Firing, Frame};
use super::model::{GateRow, Hindsight};
use crate::domain::verdict::{GateResult, Overlay, Verdict};

/// Which alerts would prove a gate's warning right. A gate that nothing here watches cannot be judged afterwards, and
/// the report says so.
const WATCHED_BY: [(&str, &[&str]); 9] = [
    ("code.", &["Http5xx", "LatencyP9", "FeedbackS"]),
    ("performance.", &["Http5xx", "LatencyP9", "Cpu", "Memory", "Queue", "PoolSaturated", "SloBurn"]),
    (
        "infrastructure.",
        &["TargetDown", "ProbeFailing", "JourneyFailing", "RestartLoop", "Memory", "Cpu", "OomKill", "Disk"],
    ),
    ("release.endpoints", &["ProbeFailing", "JourneyFailing", "TargetDown", "Http5xx", "Http4xx"]),
    ("release.post_deploy", &["ProbeFailing", "JourneyFailing", "TargetDown", "Http5xx"]),
    ("release.qa", &["Http5xx", "FeedbackS", "JourneyFailing"]),
    ("delivery.", &["Http5xx", "TargetDown", "ProbeFailing", "RestartLoop"]),
    ("security.rate_limit", &["Http5xx", "Cpu", "Memory"]),
    ("security.headers", &["CertExpiring"]),
];

fn watchers(gate: &str) -> &'static [&'static str] {
    WATCHED_BY.iter().find(|(prefix, _)| gate.starts_with(prefix)).map_or(&[], |(_, alerts)| alerts)
}

fn first_proof<'f>(frame: &'f Frame, gate: &str) -> Option<&'f Firing> {
    let alerts = watchers(gate);
    frame.firings.iter().find(|f| alerts.iter().any(|a| f.name.starts_with(a)))
}

pub fn section(frame: &Frame) -> Hindsight {
    let Some(run) = &frame.g.gate_run else {
        return Hindsight {
            sentence: "No gate run was kept for this launch.".into(),
            rows: Vec::new(),
            counts: String::new(),
            unforeseen: frame.firings.iter().map(|f| f.name.clone()).collect::<BTreeSet<_>>().into_iter().collect(),
            waivers_came_true: 0,
        };
    };
    let count = |v: Verdict| run.gates.iter().filter(|g| g.verdict == v).count();
    let counts = Verdict::ALL
        .into_iter()
        .filter(|v| count(*v) > 0)
        .map(|v| format!("{} {}", count(v), v.word()))
        .collect::<Vec<_>>()
        .join(", ");
    let rows: Vec<GateRow> = run
        .gates
        .iter()
        .filter(|g| g.overlay.is_some() || matches!(g.verdict, Verdict::Fail | Verdict::Error | Verdict::Warn))
        .map(|g| row(frame, g))
        .collect();
    let waivers_came_true = rows.iter().filter(|r| r.waiver.is_some() && r.came_true).count();
    // An alert was foreseen when some gate that it could prove right had not passed.
    let open: Vec<&GateResult> =
        run.gates.iter().filter(|g| g.verdict != Verdict::Pass && g.verdict != Verdict::Skip).collect();
    let unforeseen: BTreeSet<String> = frame
        .firings
        .iter()
        .filter(|f| !open.iter().any(|g| watchers(&g.id).iter().any(|a| f.name.starts_with(a))))
        .map(|f| f.name.clone())
        .collect();
    let waived = rows.iter().filter(|r| r.waiver.is_some()).count();
    let sentence = format!(
        "{} at go: {counts}. {}",
        run.decision.title(),
        match (waived, waivers_came_true) {
            (0, _) => "Nothing was waived.".to_string(),
            (n, 0) => format!("{n} waived; none came true."),
            (n, t) => format!("{n} waived; {t} came true."),
        }
    );
    Hindsight { sentence, rows, counts, unforeseen: unforeseen.into_iter().collect(), waivers_came_true }
}

fn row(frame: &Frame, gate: &GateResult) -> GateRow {
    let tone = match gate.verdict {
        Verdict::Pass => "pass",
        Verdict::Warn => "warn",
        Verdict::Fail => "fail",
        Verdict::Error => "error",
        Verdict::Skip => "skip",
    };
    let proof = first_proof(frame, &gate.id);
    let outcome = match (proof, watchers(&gate.id).is_empty()) {
        (Some(f), _) => format!("came true: {} at {}", f.name, frame.clock(f.from)),
        (None, false) => "no sign".into(),
        (None, true) => "nothing watches this".into(),
    };
    GateRow {
        id: gate.id.clone(),
        line: gate.line.clone(),
        verdict: gate.verdict.word().into(),
        tone,
        mark: gate.verdict.mark(),
        summary: gate.summary.clone(),
        waiver: gate.overlay.as_ref().map(|o| match o {
            Overlay::Waived { reason, approver, expires, signed } => {
                let word = if *signed { "" } else { " (unsigned)" };
                format!("waived by {approver}{word} until {}: {reason}", frame.moment(*expires).full)
            }
            Overlay::Attested { signer, expires, .. } => {
                format!("attested by {signer} until {}", frame.moment(*expires).full)
            }
        }),
        came_true: proof.is_some(),
        outcome: Some(outcome),
    }
}
