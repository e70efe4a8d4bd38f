//! The postmortem draft: facts are filled in, judgement is asked for in `[[HUMAN:…]]` blocks that stay visible until a
//! person answers them. Blameless by construction: nobody is named. There is no field called root cause.

use std::time::Duration;

use serde::Serialize;

use super::frame::{Frame, Moment};
use super::incidents::timeline;
use super::model::{ChartSection, IncidentRow, ReportModel, Small, TimelineRow, Word};
use crate::domain::clock::Timestamp;
use crate::domain::units::prose;
use crate::domain::verdict::Verdict;

pub const SCHEMA: &str = "hypercare.postmortem/v1";

/// A question to people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Asked {
    pub key: String,
    pub question: String,
    /// `[[HUMAN:key owner=? due=2026-11-25 | question]]`.
    pub block: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Action {
    pub id: String,
    pub text: String,
    /// `prevent`, `mitigate`, `detect`, `process`.
    pub kind: &'static str,
    pub priority: &'static str,
    pub state: &'static str,
}

#[derive(Debug, Clone, Serialize)]
pub struct Postmortem {
    pub schema: &'static str,
    pub title: String,
    pub service: String,
    pub launch: String,
    pub version: Option<String>,
    pub owner: Option<String>,
    pub status: &'static str,
    pub severity: String,
    pub timezone: String,
    pub from: Moment,
    pub to: Option<Moment>,
    pub duration: String,
    pub review_due: String,
    pub summary: String,
    pub triggers: Vec<String>,
    pub impact: Vec<Small>,
    pub detection: Vec<Small>,
    pub timeline: Vec<TimelineRow>,
    pub more_timeline: usize,
    pub worked: Vec<String>,
    pub failed: Vec<String>,
    pub actions: Vec<Action>,
    /// By the section they stand in.
    pub causes: Asked,
    pub sense: Asked,
    pub trigger: Asked,
    pub resolution: Asked,
    pub late: Asked,
    pub lucky: Asked,
    pub customers: Asked,
    pub lessons: Asked,
    pub accepted: Asked,
    pub charts: Vec<ChartSection>,
    pub generator: String,
    pub input_hash: String,
}

impl Postmortem {
    /// In the order of the document.
    pub fn asked(&self) -> [&Asked; 9] {
        [
            &self.causes,
            &self.trigger,
            &self.resolution,
            &self.late,
            &self.sense,
            &self.lucky,
            &self.customers,
            &self.lessons,
            &self.accepted,
        ]
    }
}

const TIMELINE_MAX: usize = 60;

/// A draft when the verdict is RED; its triggers are the RED rules (watch.md 6.4).
pub fn draft(frame: &Frame, model: &ReportModel) -> Option<Postmortem> {
    let triggers: Vec<String> =
        model.verdict.reasons.iter().filter(|r| r.word == Word::Red).map(|r| r.text.clone()).collect();
    if model.verdict.word != Word::Red {
        return None;
    }
    let rows = &model.incidents.rows;
    let worst = rows.iter().min_by(|a, b| {
        a.facts.sev.cmp(&b.facts.sev).then(b.facts.duration.cmp(&a.facts.duration)).then(a.number.cmp(&b.number))
    });
    let g = frame.g;
    let from = rows.iter().map(|r| r.from.at).min().unwrap_or(g.live_at);
    let open = rows.iter().any(|r| r.to.is_none());
    let to = if open { None } else { rows.iter().filter_map(|r| r.to.as_ref()).map(|m| m.at).max().or(Some(g.end)) };
    let until = to.unwrap_or(g.end);
    let severity = worst.map_or("SEV3".to_string(), |w| w.severity.clone());
    // PagerDuty's rhythm: three days after a SEV1, a week otherwise.
    let days = if severity == "SEV1" { 3 } else { 7 };
    let due = until.plus(Duration::from_secs(days * 86_400));
    let due_day = crate::chart::day_label(due, frame.zone);
    let ask = |key: &str, question: &str| Asked {
        key: key.into(),
        question: question.into(),
        block: format!("[[HUMAN:{key} owner=? due={} | {question}]]", &due.rfc3339()[..10]),
    };
    let version = g.launch.version.as_deref().map(|v| format!(" {v}")).unwrap_or_default();
    let what = worst.map_or_else(
        || {
            if frame.rolled_back() {
                "rolled back after go-live".to_string()
            } else {
                "went wrong after go-live".to_string()
            }
        },
        |w| w.title.clone(),
    );
    let mut rows_of_time = timeline(frame, g.live_at, g.end.min(until.plus(Duration::from_secs(1800))));
    let more_timeline = rows_of_time.len().saturating_sub(TIMELINE_MAX);
    rows_of_time.truncate(TIMELINE_MAX);
    Some(Postmortem {
        schema: SCHEMA,
        title: format!("{}{version}: {}", g.launch.service, what),
        service: g.launch.service.clone(),
        launch: g.launch.id.clone(),
        version: g.launch.version.clone(),
        owner: frame.inputs.service_config.owner.clone(),
        status: "draft",
        severity,
        timezone: frame.zone.name().into(),
        from: frame.moment(from),
        to: to.map(|t| frame.moment(t)),
        duration: prose(until.since(from)),
        review_due: due_day,
        summary: summary(frame, model, worst, from, until, open),
        impact: impact(model, rows),
        detection: detection(rows),
        timeline: rows_of_time,
        more_timeline,
        worked: worked(frame, model),
        failed: failed(frame, model),
        actions: actions(model),
        causes: ask(
            "causes",
            "What contributed? Name every cause you know, technical and organisational; there is rarely one.",
        ),
        sense: ask("sense", "Why did each decision make sense at the time, with what was known then?"),
        trigger: ask(
            "trigger",
            "What set it off: a change, a load, a date? The nearest changes stand in the timeline.",
        ),
        resolution: ask("resolution", "What was tried, what did not help, and what ended it?"),
        late: ask("late", "Could it have been noticed earlier? What would have had to be watched?"),
        lucky: ask("lucky", "Where were we lucky?"),
        customers: ask("customers", "Who was told outside, when and what? What is still owed to customers?"),
        lessons: ask("lessons", "What do we know now that we did not know before?"),
        accepted: ask(
            "actions",
            "Which of the suggested actions are accepted? Give each an owner, a date and a ticket.",
        ),
        charts: model
            .charts
            .iter()
            .filter(|c| ["errors", "latency", "traffic"].contains(&c.id.as_str()))
            .cloned()
            .collect(),
        generator: model.generator.clone(),
        input_hash: model.input_hash.clone(),
        triggers,
    })
}

fn summary(
    frame: &Frame,
    model: &ReportModel,
    worst: Option<&IncidentRow>,
    from: Timestamp,
    until: Timestamp,
    open: bool,
) -> String {
    let version = model.version.as_deref().map(|v| format!(" {v}")).unwrap_or_default();
    let after = prose(from.since(frame.g.live_at));
    let mut text = match worst {
        Some(w) => format!(
            "{}{version} went live on {}. {after} later “{}” began and lasted {}{}.",
            model.service,
            model.live_at.full,
            w.title,
            prose(until.since(from)),
            if open { " and is not over" } else { "" }
        ),
        None => format!("{}{version} went live on {}.", model.service, model.live_at.full),
    };
    let failed: f64 = model.incidents.rows.iter().filter_map(|r| r.facts.failed_requests).sum();
    if failed >= 1.0 {
        text.push_str(&format!(" About {} requests failed.", crate::domain::units::number(failed.round())));
    }
    if let Some(e) = frame.g.events.iter().find(|e| e.to == Some(crate::domain::launch::LaunchState::RolledBack)) {
        text.push_str(&format!(" The release was rolled back at {}.", frame.clock(e.at)));
    }
    text
}

fn impact(model: &ReportModel, rows: &[IncidentRow]) -> Vec<Small> {
    let small = |title: &str, text: String, note: String| Small { title: title.into(), text, note };
    let mut facts: Vec<Small> = model
        .scorecard
        .small
        .iter()
        .filter(|s| ["Down", "Degraded", "Requests"].contains(&s.title.as_str()))
        .cloned()
        .collect();
    for r in rows {
        facts.push(small(
            &format!("{} {}", r.severity, r.title),
            format!("{} requests failed", r.failed_requests.text),
            format!("down {}, degraded {}, budget {}", r.down, r.degraded, r.budget.text),
        ));
    }
    for row in &model.slo {
        facts.push(small(
            &format!("Objective {}", row.name),
            row.compliance.text.clone(),
            format!("of {}; {} of the {} budget spent", row.objective, row.spent.text, row.period),
        ));
    }
    facts.push(small(
        "Feedback",
        format!("{} messages", model.feedback.items),
        model
            .feedback
            .cues
            .iter()
            .map(|c| format!("{} {}", c.items, super::feedback::cue_words(&c.name)))
            .collect::<Vec<_>>()
            .join(", "),
    ));
    facts
}

fn detection(rows: &[IncidentRow]) -> Vec<Small> {
    rows.iter()
        .map(|r| Small {
            title: format!("{} {}", r.severity, r.title),
            text: format!("first by {}", r.detected_by),
            note: format!("noticed {}, taken {}, over {}", r.mttd, r.mtta, r.mttr),
        })
        .collect()
}

fn worked(frame: &Frame, model: &ReportModel) -> Vec<String> {
    let mut found = Vec::new();
    for r in &model.incidents.rows {
        if let Some(d) = r.facts.mttd {
            found.push(format!("An alert for “{}” was accepted {} after impact began.", r.title, prose(d)));
        }
        if let Some(d) = r.facts.mtta {
            found.push(format!("Somebody took it {} later.", prose(d)));
        }
    }
    for row in model.hindsight.rows.iter().filter(|r| r.came_true && r.waiver.is_none()) {
        found.push(format!("Gate {} had warned: {}.", row.id, row.summary));
    }
    if model.alert_quality.undelivered == 0 && frame.g.outbox.iter().any(|s| s.accepted_at.is_some()) {
        found.push("Every message that was written arrived.".into());
    }
    if frame.rolled_back() {
        found.push("A rollback was possible.".into());
    }
    found
}

fn failed(frame: &Frame, model: &ReportModel) -> Vec<String> {
    let mut found = Vec::new();
    for r in &model.incidents.rows {
        if r.facts.mttd.is_none() && r.facts.first_alert.is_some() {
            found.push(format!("No channel accepted the alert for “{}”.", r.title));
        }
        if let (Some(report), Some(alert)) = (r.facts.first_report, r.facts.first_alert)
            && report < alert
        {
            found.push(format!("A user noticed {} before the first alert.", prose(alert.since(report))));
        }
        if r.facts.first_report.is_some() && r.facts.first_alert.is_none() {
            found.push("A user noticed; no alert did.".into());
        }
    }
    for row in model.hindsight.rows.iter().filter(|r| r.came_true && r.waiver.is_some()) {
        found.push(format!("{} was waived and came true.", row.id));
    }
    if !model.hindsight.unforeseen.is_empty() && frame.g.gate_run.is_some() {
        found.push(format!("No gate foresaw {}.", model.hindsight.unforeseen.join(", ")));
    }
    for s in frame.g.outbox.iter().filter(|s| s.dead.is_some()) {
        found.push(format!("“{}” never reached {}.", s.title, s.channel));
    }
    for name in &model.alert_quality.unacked_critical {
        found.push(format!("Nobody acknowledged {name}."));
    }
    for blind in &model.quality.blind {
        found.push(format!("Blind: {blind}."));
    }
    if let Some(c) = model.quality.coverage.filter(|c| *c < super::slo::COVERAGE_MIN) {
        found.push(format!("The service was seen only {} of the time.", crate::chart::Unit::Ratio.text(c)));
    }
    found
}

fn actions(model: &ReportModel) -> Vec<Action> {
    let mut found: Vec<(String, &'static str, &'static str)> = Vec::new();
    for row in
        model.hindsight.rows.iter().filter(|r| r.came_true && (r.waiver.is_some() || r.verdict == Verdict::Fail.word()))
    {
        found.push((
            format!("Fix what gate {} shows ({}) instead of waiving it", row.id, row.summary),
            "prevent",
            "P1",
        ));
    }
    for name in &model.hindsight.unforeseen {
        found.push((format!("Add a gate that would have shown {name} before go-live"), "prevent", "P2"));
    }
    for r in &model.incidents.rows {
        if let (Some(report), Some(alert)) = (r.facts.first_report, r.facts.first_alert)
            && report < alert
        {
            found.push((
                format!("Alert earlier on “{}”: users were {} ahead", r.title, prose(alert.since(report))),
                "detect",
                "P1",
            ));
        }
    }
    for row in model.alert_quality.rows.iter().filter(|r| !r.advice.is_empty()) {
        found.push((format!("{} {}", row.name, row.advice), "detect", "P3"));
    }
    if model.alert_quality.undelivered > 0 {
        found.push(("Repair the channel that lost messages, and give it a failover".into(), "mitigate", "P1"));
    }
    for name in &model.alert_quality.unacked_critical {
        found.push((format!("Agree who takes {name}, and add an escalation"), "process", "P2"));
    }
    for blind in &model.quality.blind {
        found.push((format!("Measure it: {blind}"), "detect", "P2"));
    }
    found.sort_by(|a, b| a.2.cmp(b.2).then(a.0.cmp(&b.0)));
    found.dedup();
    found
        .into_iter()
        .map(|(text, kind, priority)| Action {
            id: format!(
                "A-{}",
                crate::domain::verdict::fingerprint(&[&model.launch, &text]).get(..6).unwrap_or_default()
            ),
            text,
            kind,
            priority,
            state: "suggested",
        })
        .collect()
}
