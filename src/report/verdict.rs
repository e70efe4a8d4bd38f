//! GREEN, AMBER, RED or UNKNOWN (watch.md 6.1): every rule that spoke, with its value and threshold.
//!
//! Limits in time hold for a window of 24 h and shrink with shorter ones ([`Frame::scaled`]).

use std::time::Duration;

use super::alert_quality::ACK_OBJECTIVE;
use super::frame::{FEEDBACK_ALERTS, Frame};
use super::incidents::{Minutes, Slot};
use super::model::{AlertQuality, Compare, Hindsight, Incidents, Quality, Reason, Risk, SloRow, VerdictSection, Word};
use super::slo::COVERAGE_MIN;
use crate::chart::Unit;
use crate::domain::units::{number, prose};

/// Down for this long calls for a postmortem.
const DOWN: Duration = Duration::from_secs(300);
/// So does a SEV2 of this length.
const SEV2: Duration = Duration::from_secs(30 * 60);
/// Users knew this long before the alerts.
const USERS_FIRST: Duration = Duration::from_secs(600);
/// Share of the period's budget that one incident may spend (the SRE workbook's policy).
const INCIDENT_BUDGET: f64 = 0.2;
/// Share of the period's budget that the window may spend before it is a concern: a ticket-class burn.
const WINDOW_BUDGET: f64 = 0.1;
const NOISE_MAX: f64 = 0.5;
const REASONS_MAX: usize = 5;

pub struct Evidence<'a> {
    pub frame: &'a Frame<'a>,
    pub minutes: &'a Minutes,
    pub slo: &'a [SloRow],
    pub compare: &'a Compare,
    pub incidents: &'a Incidents,
    pub alerts: &'a AlertQuality,
    pub hindsight: &'a Hindsight,
    pub quality: &'a Quality,
    pub risks: &'a [Risk],
}

fn reason(word: Word, rule: &str, text: String, value: String, threshold: String, link: &str) -> Reason {
    Reason { rule: rule.into(), word, tone: word.tone(), mark: word.mark(), text, value, threshold, link: link.into() }
}

pub fn section(e: &Evidence) -> VerdictSection {
    let mut reasons = red(e);
    let red_found = !reasons.is_empty();
    reasons.extend(unknown(e));
    let unseen = reasons.iter().any(|r| r.word == Word::Unknown);
    let amber = amber(e, &reasons);
    let word = match (red_found, unseen, amber.is_empty()) {
        (true, _, _) => Word::Red,
        (_, true, _) => Word::Unknown,
        (_, _, false) => Word::Amber,
        _ => Word::Green,
    };
    reasons.extend(amber);
    let so_far = !e.frame.over();
    let sentence = sentence(e, word, &reasons, so_far);
    let more = reasons.len().saturating_sub(REASONS_MAX);
    reasons.truncate(REASONS_MAX);
    VerdictSection {
        word,
        title: word.title(),
        tone: word.tone(),
        mark: word.mark(),
        sentence,
        more,
        today: today(e, word),
        reasons,
        so_far,
    }
}

/// What calls for a postmortem (watch.md 6.4).
fn red(e: &Evidence) -> Vec<Reason> {
    let f = e.frame;
    let mut found = Vec::new();
    let mut add = |rule: &str, text: String, value: String, threshold: String, link: &str| {
        found.push(reason(Word::Red, rule, text, value, threshold, link));
    };
    if f.rolled_back() {
        add("rolled_back", "The release was rolled back".into(), "rolled back".into(), "live".into(), "happened");
    }
    let down = e.minutes.total(Slot::Down);
    let limit = f.scaled(DOWN, Duration::from_secs(10));
    if down >= limit {
        add("down", format!("Down for {}", prose(down)), prose(down), format!("< {}", prose(limit)), "incidents");
    }
    for i in &e.incidents.rows {
        let facts = &i.facts;
        let anchor = format!("incident-{}", i.number);
        if facts.sev <= 1 {
            add("sev1", format!("{}: {}", i.severity, i.title), i.severity.clone(), "none".into(), &anchor);
        }
        let long = f.scaled(SEV2, Duration::from_secs(20));
        if facts.sev == 2 && facts.duration >= long {
            add(
                "sev2",
                format!("“{}” lasted {}", i.title, i.duration),
                prose(facts.duration),
                format!("< {}", prose(long)),
                &anchor,
            );
        }
        if let Some(spent) = facts.budget.filter(|b| *b >= INCIDENT_BUDGET) {
            add(
                "incident_budget",
                format!("“{}” spent {} of the error budget", i.title, Unit::Ratio.text(spent)),
                Unit::Ratio.text(spent),
                format!("< {}", Unit::Ratio.text(INCIDENT_BUDGET)),
                &anchor,
            );
        }
        let first = f.scaled(USERS_FIRST, Duration::from_secs(10));
        if let (Some(report), Some(alert)) = (facts.first_report, facts.first_alert)
            && report < alert
            && alert.since(report) >= first
        {
            let lead = alert.since(report);
            add(
                "users_first",
                format!("Users noticed {} before the alerts", prose(lead)),
                prose(lead),
                format!("< {}", prose(first)),
                &anchor,
            );
        }
        if !facts.duration.is_zero() && facts.unseen.as_secs_f64() > facts.duration.as_secs_f64() / 2.0 {
            add(
                "blind",
                format!("Monitoring was blind during “{}”", i.title),
                prose(facts.unseen),
                "seen".into(),
                &anchor,
            );
        }
    }
    if f.inputs.postmortem_asked {
        add("asked", "A postmortem was asked for".into(), "asked".into(), "not asked".into(), "verdict");
    }
    found
}

fn unknown(e: &Evidence) -> Option<Reason> {
    let limit = format!("≥ {}", Unit::Ratio.text(COVERAGE_MIN));
    match e.quality.coverage {
        Some(c) if c < COVERAGE_MIN => Some(reason(
            Word::Unknown,
            "coverage",
            format!("The service was seen only {} of the time", Unit::Ratio.text(c)),
            Unit::Ratio.text(c),
            limit,
            "quality",
        )),
        Some(_) => None,
        None => Some(reason(
            Word::Unknown,
            "coverage",
            "Nothing could be measured yet".into(),
            "–".into(),
            limit,
            "quality",
        )),
    }
}

fn amber(e: &Evidence, red: &[Reason]) -> Vec<Reason> {
    let f = e.frame;
    let mut found = Vec::new();
    let mut add = |rule: &str, text: String, value: String, threshold: String, link: &str| {
        found.push(reason(Word::Amber, rule, text, value, threshold, link));
    };
    for row in e.compare.rows.iter().filter(|r| r.verdict == "worse") {
        add(
            "judge",
            format!("{} got worse", row.title),
            format!("{} ({})", row.after.text, row.shift),
            format!("{} before", row.before.text),
            "compare",
        );
    }
    for row in e.slo {
        if row.met == Some(false) {
            add(
                "objective",
                format!("Objective {} was missed", row.name),
                row.compliance.text.clone(),
                format!("≥ {}", row.objective),
                "slo",
            );
        }
        if let Some(s) = row.spent_ratio.filter(|s| *s >= WINDOW_BUDGET) {
            add(
                "burn",
                format!("{} of the {} budget is spent", Unit::Ratio.text(s), row.period),
                Unit::Ratio.text(s),
                format!("< {}", Unit::Ratio.text(WINDOW_BUDGET)),
                "slo",
            );
        }
    }
    for i in &e.incidents.rows {
        let anchor = format!("incident-{}", i.number);
        if !red.iter().any(|r| r.link == anchor) {
            add("incident", format!("{}: {}", i.severity, i.title), i.duration.clone(), "none".into(), &anchor);
        }
    }
    if e.hindsight.waivers_came_true > 0 {
        let n = e.hindsight.waivers_came_true;
        add("waiver", "A waived risk came true".into(), n.to_string(), "0".into(), "hindsight");
    }
    if let Some(spike) = f.firings.iter().find(|x| x.name.starts_with(FEEDBACK_ALERTS)) {
        let text = if spike.text.is_empty() { "Users complain more than usual".into() } else { spike.text.clone() };
        add("feedback", text, spike.name.clone(), "none".into(), "feedback");
    }
    let patience = f.scaled(ACK_OBJECTIVE, Duration::from_secs(60));
    for name in &e.alerts.unacked_critical {
        add(
            "unacked",
            format!("{name} was critical and nobody took it"),
            "no ack".into(),
            format!("within {}", prose(patience)),
            "alerts",
        );
    }
    if e.alerts.undelivered > 0 {
        let n = e.alerts.undelivered;
        add(
            "undelivered",
            format!("{n} message{} never arrived", if n == 1 { "" } else { "s" }),
            n.to_string(),
            "0".into(),
            "alerts",
        );
    }
    if let Some(noise) = e.alerts.noise.filter(|n| *n > NOISE_MAX && e.alerts.fired > 1) {
        add(
            "noise",
            "Most alerts led to nothing".into(),
            Unit::Ratio.text(noise),
            format!("≤ {}", Unit::Ratio.text(NOISE_MAX)),
            "alerts",
        );
    }
    if e.incidents.rows.is_empty()
        && let Some(alert) =
            f.firings.iter().find(|x| x.to.is_none() && x.severity != crate::domain::alert::AlertSeverity::Info)
    {
        add("firing", format!("{} still fires", alert.name), "firing".into(), "none".into(), "alerts");
    }
    found
}

fn sentence(e: &Evidence, word: Word, reasons: &[Reason], so_far: bool) -> String {
    let when = if so_far { format!(" so far, {}", e.frame.window_words()) } else { String::new() };
    match word {
        Word::Green => {
            let seen = e.quality.coverage.map(|c| Unit::Ratio.text(c)).unwrap_or_default();
            format!("Stable{when}: no incident, every objective met, seen {seen} of the time.")
        }
        Word::Amber => match reasons.iter().find(|r| r.word == Word::Amber) {
            Some(first) if first.threshold == "none" => {
                format!("Stable{when}, with {}: {} ({}).", concerns(reasons.len()), lower(&first.text), first.value)
            }
            Some(first) => format!(
                "Stable{when}, with {}: {} ({}, limit {}).",
                concerns(reasons.len()),
                lower(&first.text),
                first.value,
                first.threshold
            ),
            None => format!("Stable{when}."),
        },
        Word::Red => {
            let worst = e.incidents.rows.iter().max_by(|a, b| {
                (a.facts.failed_requests.unwrap_or(0.0)).total_cmp(&b.facts.failed_requests.unwrap_or(0.0))
            });
            let felt = worst
                .and_then(|i| i.facts.failed_requests.filter(|f| *f >= 1.0))
                .map(|f| format!("; {} requests failed", number(f.round())))
                .unwrap_or_default();
            format!("Went wrong{when}: {}{felt}.", lower(&reasons[0].text))
        }
        Word::Unknown => format!(
            "Not enough data{when}: {}.",
            lower(&reasons.iter().find(|r| r.word == Word::Unknown).map(|r| r.text.clone()).unwrap_or_default())
        ),
    }
}

fn concerns(n: usize) -> String {
    if n == 1 { "one concern".into() } else { format!("{n} concerns") }
}

/// First letter small, unless the word is a name (`Http5xxHigh`, `SEV2`, `p95`).
fn lower(text: &str) -> String {
    let first = text.split_whitespace().next().unwrap_or("");
    if first.chars().skip(1).any(|c| c.is_uppercase() || c.is_ascii_digit()) {
        return text.to_string();
    }
    let mut chars = text.chars();
    chars.next().map(|c| c.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// At most four things to do now.
fn today(e: &Evidence, word: Word) -> Vec<String> {
    let mut todo = Vec::new();
    if word == Word::Red {
        todo.push("Fill in the postmortem draft; the asked blocks are marked in it.".to_string());
    }
    todo.extend(e.risks.iter().filter(|r| r.priority == "P1").map(|r| format!("{}.", r.text)));
    if word == Word::Unknown {
        todo.push("Find out why the service could not be seen before trusting any figure here.".into());
    }
    if todo.is_empty() {
        todo.extend(e.risks.iter().filter(|r| r.priority == "P2").map(|r| format!("{}.", r.text)));
    }
    if todo.is_empty() {
        todo.push(if e.frame.over() { "Nothing. Close the launch.".into() } else { "Nothing. Keep watching.".into() });
    }
    todo.truncate(4);
    todo
}
