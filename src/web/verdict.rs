//! The verdict so far: before go-live what the gates say; after it what the report would say now, and what burns at this
//! moment if that is worse.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::App;
use crate::domain::alert::{Alert, AlertSeverity, AlertState};
use crate::domain::launch::{Launch, LaunchState};
use crate::domain::verdict::{Decision, GateRun, GoalState};
use crate::report::{self, ReportError};

/// The report's verdict is made again after this long at the earliest, and after this many times what it took: a day of
/// many series must not keep a core busy.
const AGAIN_AFTER: Duration = Duration::from_secs(10);
const AGAIN_AFTER_TIMES: u32 = 50;

/// The report's verdicts by launch, with the instant (monotonic) from which they are old.
#[derive(Default)]
pub(super) struct Cache(tokio::sync::Mutex<BTreeMap<String, (Duration, Verdict)>>);

/// A word with its colour, a sentence, and reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Verdict {
    /// Token of the colour: `pass`, `warn`, `fail`, `error`, `skip`.
    pub(super) tone: &'static str,
    pub(super) mark: &'static str,
    pub(super) word: String,
    pub(super) sentence: String,
    pub(super) reasons: Vec<Reason>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Reason {
    pub(super) tone: &'static str,
    pub(super) mark: &'static str,
    pub(super) text: String,
}

pub(super) fn mark(tone: &str) -> &'static str {
    match tone {
        "pass" => "✔",
        "warn" => "▲",
        "fail" => "✘",
        "error" => "?",
        _ => "○",
    }
}

impl Verdict {
    pub(super) fn new(tone: &'static str, word: impl Into<String>, sentence: impl Into<String>) -> Verdict {
        Verdict { tone, mark: mark(tone), word: word.into(), sentence: sentence.into(), reasons: Vec::new() }
    }
    pub(super) fn because(mut self, tone: &'static str, text: impl Into<String>) -> Verdict {
        self.reasons.push(Reason { tone, mark: mark(tone), text: text.into() });
        self
    }
}

/// Before go-live, or without a launch: the gates' decision and the goals that stand in its way.
pub(super) fn before(launch: Option<&Launch>, run: Option<&GateRun>) -> Verdict {
    let Some(run) = run else {
        let sentence = if launch.is_some() { "The gates have not run yet." } else { "No launch and no gate run yet." };
        return Verdict::new("skip", "NOT CHECKED", sentence);
    };
    let tone = match run.decision {
        Decision::Go => "pass",
        Decision::GoWithRisks => "warn",
        Decision::NoGo => "fail",
        Decision::Undecided => "error",
    };
    let open = run.goals.iter().filter(|g| g.state != GoalState::Ready).count();
    let sentence = match open {
        0 => "Everything that the gates ask for is proved.".to_string(),
        1 => "One goal is not reached.".to_string(),
        n => format!("{n} goals are not reached."),
    };
    let verdict = Verdict::new(tone, run.decision.title(), sentence);
    run.goals.iter().filter(|g| g.state != GoalState::Ready).fold(verdict, |verdict, goal| {
        verdict.because(goal_tone(goal.state), format!("{}: {}", goal.title, goal.summary))
    })
}

pub(super) fn goal_tone(state: GoalState) -> &'static str {
    match state {
        GoalState::Ready => "pass",
        GoalState::AtRisk => "warn",
        GoalState::NotReady => "fail",
        GoalState::Unknown => "error",
    }
}

/// What burns at this moment. The gravest reason gives the word; without fresh data nothing is green.
pub(super) fn burning(launch: &Launch, alerts: &[Alert], stale: Option<&str>) -> Verdict {
    let mut reasons: Vec<(u8, &'static str, String)> = Vec::new();
    if launch.state == LaunchState::RolledBack {
        reasons.push((0, "fail", "The release was rolled back".into()));
    }
    for alert in alerts {
        let summary = alert.annotations.get("summary").map(|s| format!(": {s}")).unwrap_or_default();
        let text = format!("{}{summary}", alert.name());
        match (alert.state, alert.severity()) {
            (AlertState::Firing, AlertSeverity::Critical) => reasons.push((0, "fail", text)),
            (AlertState::Unknown, _) => reasons.push((1, "error", format!("{} can no longer be seen", alert.name()))),
            (AlertState::Firing, AlertSeverity::Warning) => reasons.push((2, "warn", text)),
            _ => {}
        }
    }
    if let Some(stale) = stale {
        reasons.push((1, "error", stale.to_string()));
    }
    reasons.sort();
    let verdict = match reasons.first() {
        Some((0, ..)) => Verdict::new("fail", "RED", "Something critical is wrong."),
        Some((1, ..)) => Verdict::new("error", "UNKNOWN", "Not everything can be seen."),
        Some(_) => Verdict::new("warn", "AMBER", "It works, with concerns."),
        None => Verdict::new("pass", "GREEN", "Nothing burns."),
    };
    reasons.into_iter().fold(verdict, |verdict, (_, tone, text)| verdict.because(tone, text))
}

/// What the report of a live or ended launch would say, as of now or of the window's end.
pub(super) async fn of_the_report(app: &App, launch: &Launch) -> Result<Verdict, ReportError> {
    let clock = &app.store.clock;
    let mut known = app.verdicts.0.lock().await;
    let begun = clock.monotonic();
    if let Some((old_from, verdict)) = known.get(&launch.id)
        && begun < *old_from
    {
        return Ok(verdict.clone());
    }
    let as_of = launch.window_end.map_or(clock.now(), |end| end.min(clock.now()));
    let model = report::model::build(&app.store, &(app.report_inputs)(launch, as_of)).await?;
    let said = model.verdict;
    let mut verdict = Verdict::new(said.tone, said.title, said.sentence);
    for reason in said.reasons {
        let text = format!("{}: {} ({})", reason.text, reason.value, reason.threshold);
        verdict.reasons.push(Reason { tone: reason.tone, mark: reason.mark, text });
    }
    let took = clock.monotonic().saturating_sub(begun);
    let old_from = clock.monotonic() + (took * AGAIN_AFTER_TIMES).max(AGAIN_AFTER);
    // Launches that ended long ago are not asked for again; what is kept stays small.
    known.retain(|_, (old_from, _)| *old_from > begun);
    known.insert(launch.id.clone(), (old_from, verdict.clone()));
    Ok(verdict)
}

/// The graver of both, with the reasons of both.
pub(super) fn graver(so_far: Verdict, now: Verdict) -> Verdict {
    let rank = |v: &Verdict| ["fail", "error", "warn", "pass"].iter().position(|t| *t == v.tone).unwrap_or(4);
    let (mut first, second) = if rank(&now) < rank(&so_far) { (now, so_far) } else { (so_far, now) };
    for reason in second.reasons {
        // Both speak of the same alert in their own words; the present one is told once.
        if !first.reasons.contains(&reason) {
            first.reasons.push(reason);
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Timestamp;
    use crate::domain::metric::Labels;

    fn launch(state: LaunchState) -> Launch {
        Launch {
            id: "shop-1".into(),
            service: "shop".into(),
            version: None,
            commit: None,
            state,
            rev: 1,
            planned_at: Timestamp::default(),
            live_at: None,
            window_end: None,
            state_since: Timestamp::default(),
            window_ms: 0,
            timezone: "UTC".into(),
            config_hash: String::new(),
            gate_run: None,
        }
    }

    fn alert(state: AlertState, severity: &str) -> Alert {
        Alert {
            fingerprint: "1".into(),
            rule: "g/Down".into(),
            service: "shop".into(),
            labels: Labels::new([("alertname", "Down"), ("severity", severity)]),
            annotations: Default::default(),
            state,
            value: None,
            active_at: None,
            fired_at: None,
            resolved_at: None,
            last_eval: Timestamp::default(),
            data_as_of: None,
            last_true: None,
            missing_since: None,
            episode: None,
            expr: String::new(),
        }
    }

    #[test]
    fn the_gravest_reason_gives_the_word_and_blindness_is_never_green() {
        let word = |state, alerts: &[Alert], stale| burning(&launch(state), alerts, stale).word;
        let live = LaunchState::Hypercare;
        assert_eq!(word(live, &[], None), "GREEN");
        assert_eq!(word(live, &[], Some("no data")), "UNKNOWN");
        assert_eq!(word(live, &[alert(AlertState::Pending, "critical")], None), "GREEN");
        assert_eq!(word(live, &[alert(AlertState::Firing, "warning")], None), "AMBER");
        assert_eq!(word(live, &[alert(AlertState::Unknown, "warning")], None), "UNKNOWN");
        let both = [alert(AlertState::Firing, "warning"), alert(AlertState::Firing, "critical")];
        assert_eq!(word(live, &both, Some("no data")), "RED");
        assert_eq!(word(LaunchState::RolledBack, &[], None), "RED");
    }

    #[test]
    fn the_graver_of_report_and_moment_is_shown_with_both_reasons() {
        let green = Verdict::new("pass", "GREEN", "so far");
        let red = Verdict::new("fail", "RED", "now").because("fail", "down");
        assert_eq!(graver(green.clone(), red.clone()).word, "RED");
        assert_eq!(graver(red.clone(), green).reasons.len(), 1, "what was red stays red after it mended");
        let amber = Verdict::new("warn", "AMBER", "now").because("warn", "slow");
        assert_eq!(graver(red, amber).reasons.iter().map(|r| &*r.text).collect::<Vec<_>>(), ["down", "slow"]);
    }

    #[test]
    fn without_a_gate_run_nothing_is_claimed() {
        assert_eq!(before(None, None).word, "NOT CHECKED");
    }
}
