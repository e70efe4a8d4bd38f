//! What the launch room says: one value read from the store, which the template prints. Where are we, are we well, what
//! burns, what do users say.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono_tz::Tz;
use serde::Serialize;

use super::App;
use super::signals::{self, Frame, Tile};
use super::verdict::{self, Verdict};
use crate::chart;
use crate::domain::alert::{Alert, AlertSeverity, AlertState, NotifGroup, Silence};
use crate::domain::clock::Timestamp;
use crate::domain::feedback::FeedbackItem;
use crate::domain::gap::Gap;
use crate::domain::launch::{Launch, LaunchState};
use crate::domain::units::{percent, prose};
use crate::domain::verdict::GateRun;
use crate::store::StoreError;
use crate::store::state::feedback::FeedbackFreshness;
use crate::store::state::outbox::OutboxDepth;

/// Before go-live the charts show the last hour; after it they start this long before, or at a quarter of the time lived.
const BEFORE: Duration = Duration::from_secs(3600);
const BEFORE_MIN: Duration = Duration::from_secs(60);
/// Charts show at most this much; the report tells the rest.
const SPAN_MAX: Duration = Duration::from_secs(30 * 3600);
/// What users said in the last day, the newest of it.
const FEEDBACK_SPAN: Duration = Duration::from_secs(24 * 3600);
const FEEDBACK_SHOWN: usize = 8;
const FEEDBACK_CHARS: usize = 240;
const GAPS_SHOWN: usize = 5;
const ALERTS_SHOWN: usize = 30;
/// A message that waits this long has a channel that is not well.
const OUTBOX_LATE: Duration = Duration::from_secs(120);
/// Data older than two intervals is stale, but a second's hiccup is not (watch.md 7.1).
const STALE_MIN: Duration = Duration::from_secs(5);

#[derive(Debug, Serialize)]
pub(super) struct Room {
    pub(super) service: String,
    /// Other services of this daemon.
    pub(super) others: Vec<String>,
    pub(super) program: &'static str,
    pub(super) clock: String,
    pub(super) launch: Option<LaunchView>,
    pub(super) data: DataView,
    pub(super) verdict: Verdict,
    pub(super) gates: Option<GatesView>,
    pub(super) tiles: Vec<Tile>,
    pub(super) alerts: AlertsView,
    pub(super) feedback: FeedbackView,
    pub(super) outbox: Vec<Line>,
    pub(super) coverage: CoverageView,
    pub(super) reports: Vec<ReportLink>,
}

#[derive(Debug, Serialize)]
pub(super) struct LaunchView {
    pub(super) id: String,
    pub(super) version: Option<String>,
    pub(super) commit: Option<String>,
    pub(super) state: String,
    /// `T+2 h 10 min`, `T−3 h`.
    pub(super) t: Option<String>,
    pub(super) left: Option<String>,
    /// What T counts from, by the service's clock.
    pub(super) when: String,
    /// Share of the window that is over, in percent.
    pub(super) progress: Option<u8>,
}

#[derive(Debug, Serialize)]
pub(super) struct DataView {
    pub(super) stale: bool,
    /// `data 4 s old`
    pub(super) text: String,
}

#[derive(Debug, Serialize)]
pub(super) struct GatesView {
    pub(super) decision: &'static str,
    pub(super) age: String,
    pub(super) goals: Vec<Line>,
}

/// A marked line with a name.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    pub(super) tone: &'static str,
    pub(super) mark: &'static str,
    pub(super) name: String,
    pub(super) text: String,
}

impl Line {
    fn new(tone: &'static str, name: impl Into<String>, text: impl Into<String>) -> Line {
        Line { tone, mark: verdict::mark(tone), name: name.into(), text: text.into() }
    }
}

#[derive(Debug, Default, Serialize)]
pub(super) struct AlertsView {
    /// `1 firing · 2 pending`, or `none`.
    pub(super) summary: String,
    pub(super) list: Vec<AlertView>,
    pub(super) more: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct AlertView {
    pub(super) tone: &'static str,
    pub(super) mark: &'static str,
    /// `firing`, `pending`, `unknown`; `silenced` beside it.
    pub(super) state: &'static str,
    pub(super) silenced: bool,
    pub(super) severity: &'static str,
    pub(super) name: String,
    pub(super) number: Option<i64>,
    pub(super) age: String,
    pub(super) summary: String,
    pub(super) acked_by: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct FeedbackView {
    pub(super) summary: String,
    pub(super) items: Vec<FeedbackRow>,
    pub(super) sources: Vec<Line>,
}

#[derive(Debug, Serialize)]
pub(super) struct FeedbackRow {
    pub(super) age: String,
    pub(super) source: String,
    pub(super) text: String,
    pub(super) rating: Option<u8>,
    pub(super) cues: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct CoverageView {
    pub(super) summary: String,
    pub(super) tone: &'static str,
    pub(super) gaps: Vec<Line>,
    pub(super) more: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct ReportLink {
    pub(super) id: i64,
    pub(super) text: String,
}

/// Reads everything the page shows. `wanted` is the service the visitor asked for.
pub(super) async fn read(app: &App, wanted: Option<&str>) -> Result<Room, StoreError> {
    let now = app.now();
    let state = &app.store.state;
    let launches = state.launches().await?;
    let service = choose(app, &launches, wanted);
    let launch = launches.iter().filter(|l| l.service == service).max_by_key(|l| (l.state.is_open(), l.planned_at));
    let config = app.services.get(&service).cloned().unwrap_or_default();
    let zone = zone(launch, config.timezone.as_deref());
    let run = state.latest_gate_run(&service).await?;
    let alerts: Vec<Alert> = state.alerts().await?.into_iter().filter(|a| a.service == service).collect();
    let (from, to) = span(launch, now);

    let (interval, newest) = signals::arrivals(&app.store.samples, &service, now).await?;
    let roles = app.store.samples.roles(&config.roles, &service).await?;
    let markers = state.markers(&service, from, to).await?;
    let transitions = state.transitions(Some(&service), from.minus(FEEDBACK_SPAN), to).await?;
    let baseline = match launch {
        Some(launch) => state.baseline(&launch.id).await?,
        None => None,
    };
    let frame = Frame {
        launch,
        from,
        to,
        zone,
        interval,
        markers: &markers,
        transitions: &transitions,
        baseline: baseline.as_ref(),
    };
    let tiles = signals::tiles(&*app.store.reader(), &roles, &frame).await;
    let data = data(newest, interval, now, launch);
    let verdict = match launch.filter(|l| l.live_at.is_some()) {
        Some(launch) => {
            let now = verdict::burning(launch, &alerts, data.stale.then_some(data.text.as_str()));
            match verdict::of_the_report(app, launch).await {
                Ok(so_far) if launch.state.is_open() => verdict::graver(so_far, now),
                Ok(so_far) => so_far,
                Err(error) => {
                    tracing::warn!(%error, "the verdict so far could not be made");
                    verdict::graver(now, Verdict::new("error", "UNKNOWN", "The verdict so far could not be made."))
                }
            }
        }
        None => verdict::before(launch, run.as_ref()),
    };
    let others = app.services.keys().filter(|s| **s != service).cloned().collect();
    Ok(Room {
        others,
        program: env!("CARGO_PKG_VERSION"),
        clock: clock(now, zone),
        launch: launch.map(|l| launch_view(l, now, zone)),
        data,
        verdict,
        gates: run.map(|run| gates(run, now)),
        tiles,
        alerts: alerts_view(alerts, &state.notif_groups().await?, &state.silences(now).await?, now),
        feedback: feedback(
            state.feedback(&service, now.minus(FEEDBACK_SPAN), now).await?,
            state.feedback_freshness(&service).await?,
            now,
        ),
        outbox: state.outbox_depths().await?.iter().map(|depth| outbox_line(depth, now)).collect(),
        coverage: coverage(app.store.samples.gaps(from, to).await?, from, to, zone),
        reports: match launch {
            Some(launch) => reports(state.reports(&launch.id).await?),
            None => Vec::new(),
        },
        service,
    })
}

/// The one asked for, else the one whose launch is open, else the first.
fn choose(app: &App, launches: &[Launch], wanted: Option<&str>) -> String {
    let known: BTreeSet<&str> =
        app.services.keys().map(String::as_str).chain(launches.iter().map(|l| l.service.as_str())).collect();
    let open = || launches.iter().find(|l| l.state.is_open()).map(|l| l.service.as_str());
    let wanted = wanted.filter(|w| known.contains(w));
    wanted.or_else(open).or(known.first().copied()).unwrap_or("").to_string()
}

fn zone(launch: Option<&Launch>, configured: Option<&str>) -> Tz {
    launch.map(|l| l.timezone.as_str()).or(configured).and_then(|z| z.parse().ok()).unwrap_or(Tz::UTC)
}

/// What the charts show. After the launch has ended they stop at its end.
fn span(launch: Option<&Launch>, now: Timestamp) -> (Timestamp, Timestamp) {
    let Some((launch, live)) = launch.and_then(|l| Some((l, l.live_at?))) else { return (now.minus(BEFORE), now) };
    let to = if launch.state.is_open() { now } else { launch.state_since.min(now) };
    let before = (to.since(live) / 4).clamp(BEFORE_MIN, BEFORE);
    (live.minus(before).max(to.minus(SPAN_MAX)), to)
}

fn clock(at: Timestamp, zone: Tz) -> String {
    at.utc().with_timezone(&zone).format("%H:%M:%S %Z").to_string()
}

fn day_and_clock(at: Timestamp, zone: Tz) -> String {
    format!("{} {}", chart::day_label(at, zone), at.utc().with_timezone(&zone).format("%H:%M %Z"))
}

fn launch_view(l: &Launch, now: Timestamp, zone: Tz) -> LaunchView {
    let (t, when) = match l.live_at {
        Some(live) => {
            (Some(format!("T+{}", prose(now.since(live)))), format!("live since {}", day_and_clock(live, zone)))
        }
        None if l.planned_at > now => (
            Some(format!("T−{}", prose(l.planned_at.since(now)))),
            format!("planned for {}", day_and_clock(l.planned_at, zone)),
        ),
        None => (None, format!("planned for {}", day_and_clock(l.planned_at, zone))),
    };
    let open = l.state.is_open();
    let ended = (!open).then(|| format!("ended {}", day_and_clock(l.state_since, zone)));
    let window = l.live_at.zip(l.window_end);
    LaunchView {
        id: l.id.clone(),
        version: l.version.clone(),
        commit: l.commit.as_deref().map(|c| c.chars().take(7).collect()),
        state: l.state.word().replace('_', " "),
        t: t.filter(|_| open),
        left: window.filter(|_| l.state.is_watching()).map(|(_, end)| match end.since(now) {
            left if left.is_zero() => "the window is over".into(),
            left => format!("{} left", prose(left)),
        }),
        when: ended.unwrap_or(when),
        progress: window.filter(|_| open && l.state != LaunchState::RolledBack).map(|(live, end)| {
            let whole = end.since(live).as_secs_f64().max(1.0);
            (now.since(live).as_secs_f64() / whole * 100.0).clamp(0.0, 100.0) as u8
        }),
    }
}

fn data(newest: Option<Timestamp>, interval: Duration, now: Timestamp, launch: Option<&Launch>) -> DataView {
    if launch.is_some_and(|l| !l.state.is_open()) {
        return DataView { stale: false, text: "the launch has ended".into() };
    }
    match newest {
        None => DataView { stale: true, text: "no good sample in the last 15 min".into() },
        Some(at) => {
            let age = now.since(at);
            DataView { stale: age > (interval * 2).max(STALE_MIN), text: format!("data {} old", prose(whole(age))) }
        }
    }
}

/// Fractions of a second are noise to an eye.
fn whole(d: Duration) -> Duration {
    Duration::from_secs(d.as_secs())
}

fn age(since: Timestamp, now: Timestamp) -> String {
    prose(whole(now.since(since)))
}

fn gates(run: GateRun, now: Timestamp) -> GatesView {
    let goal = |g: &crate::domain::verdict::Goal| Line::new(verdict::goal_tone(g.state), &g.title, &g.summary);
    GatesView {
        decision: run.decision.title(),
        age: age(run.started_at, now),
        goals: run.goals.iter().map(goal).collect(),
    }
}

fn alerts_view(mut alerts: Vec<Alert>, groups: &[NotifGroup], silences: &[Silence], now: Timestamp) -> AlertsView {
    let rank = |s: AlertState| match s {
        AlertState::Firing => 0,
        AlertState::Unknown => 1,
        AlertState::Pending => 2,
        AlertState::Resolved => 3,
        AlertState::Inactive => 4,
    };
    alerts.retain(|a| rank(a.state) <= 3);
    alerts.sort_by(|a, b| {
        (rank(a.state), std::cmp::Reverse(a.severity()), a.name(), &a.fingerprint).cmp(&(
            rank(b.state),
            std::cmp::Reverse(b.severity()),
            b.name(),
            &b.fingerprint,
        ))
    });
    let silenced = |a: &Alert| silences.iter().any(|s| s.mutes(&a.labels, now));
    let count = |state| alerts.iter().filter(|a| a.state == state).count();
    let mut parts: Vec<String> = [AlertState::Firing, AlertState::Unknown, AlertState::Pending]
        .into_iter()
        .filter(|s| count(*s) > 0)
        .map(|s| format!("{} {}", count(s), s.word()))
        .collect();
    let muted = alerts.iter().filter(|a| silenced(a)).count();
    if muted > 0 {
        parts.push(format!("{muted} silenced"));
    }
    let view = |a: &Alert| {
        let group = groups.iter().find(|g| g.closed_at.is_none() && g.told.contains_key(&a.fingerprint));
        let tone = match (a.state, a.severity()) {
            (AlertState::Firing, AlertSeverity::Critical) => "fail",
            (AlertState::Firing, AlertSeverity::Warning) => "warn",
            (AlertState::Unknown, _) => "error",
            (AlertState::Resolved, _) => "pass",
            _ => "skip",
        };
        let since = if a.state == AlertState::Resolved { a.resolved_at } else { a.fired_at.or(a.active_at) };
        AlertView {
            tone,
            mark: verdict::mark(tone),
            state: a.state.word(),
            silenced: silenced(a),
            severity: a.severity().word(),
            name: a.name().to_string(),
            number: group.map(|g| g.number),
            age: since.map(|t| age(t, now)).unwrap_or_default(),
            summary: a.annotations.get("summary").or(a.annotations.get("description")).cloned().unwrap_or_default(),
            acked_by: group.filter(|g| g.acked_until.is_some_and(|t| t > now)).and_then(|g| g.acked_by.clone()),
        }
    };
    AlertsView {
        summary: if parts.is_empty() { "nothing fires".into() } else { parts.join(" · ") },
        list: alerts.iter().take(ALERTS_SHOWN).map(view).collect(),
        more: alerts.len().saturating_sub(ALERTS_SHOWN),
    }
}

fn feedback(items: Vec<FeedbackItem>, sources: Vec<FeedbackFreshness>, now: Timestamp) -> FeedbackView {
    let loud = items.iter().filter(|i| !i.cues.is_empty()).count();
    let row = |i: &FeedbackItem| FeedbackRow {
        age: age(i.created_at, now),
        source: i.source.clone(),
        text: short(&[i.title.as_str(), i.text.as_str()]),
        rating: i.rating,
        cues: i.cues.iter().map(|c| c.name.replace('_', " ")).collect::<BTreeSet<_>>().into_iter().collect(),
    };
    let source = |s: &FeedbackFreshness| match (&s.last_error, s.last_ok_poll) {
        (Some(error), _) => Line::new("error", &s.source, error.clone()),
        (None, Some(at)) => Line::new("pass", &s.source, format!("heard {} ago", age(at, now))),
        (None, None) => Line::new("skip", &s.source, "not heard yet"),
    };
    FeedbackView {
        summary: match items.len() {
            0 => "nobody wrote in 24 h".into(),
            n => format!("{n} in 24 h · {loud} {} of harm", if loud == 1 { "speaks" } else { "speak" }),
        },
        items: items.iter().rev().take(FEEDBACK_SHOWN).map(row).collect(),
        sources: sources.iter().map(source).collect(),
    }
}

/// Title and text as one line; the text often repeats the title.
fn short(parts: &[&str]) -> String {
    let title = parts[0].trim();
    let text = parts[1].trim();
    let whole = match (title, text) {
        ("", text) => text.to_string(),
        (title, "") => title.to_string(),
        (title, text) if text.starts_with(title) => text.to_string(),
        (title, text) => format!("{title}: {text}"),
    };
    let line = whole.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(FEEDBACK_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn outbox_line(depth: &OutboxDepth, now: Timestamp) -> Line {
    let late = depth.oldest_pending.filter(|at| now.since(*at) > OUTBOX_LATE);
    let tone = match (depth.dead, late) {
        (1.., _) => "fail",
        (0, Some(_)) => "warn",
        (0, None) => "pass",
    };
    let mut text = format!("{} delivered", depth.delivered);
    if depth.pending > 0 {
        text.push_str(&format!(" · {} waiting", depth.pending));
    }
    if let Some(at) = late {
        text.push_str(&format!(", the oldest for {}", age(at, now)));
    }
    if depth.dead > 0 {
        text.push_str(&format!(" · {} given up", depth.dead));
    }
    Line::new(tone, &depth.channel, text)
}

fn coverage(mut gaps: Vec<Gap>, from: Timestamp, to: Timestamp, zone: Tz) -> CoverageView {
    gaps.sort_by_key(|g| (g.from, g.to));
    // Time in which any target could not be seen: overlapping gaps count once.
    let (mut unseen, mut reached) = (Duration::ZERO, from);
    for gap in &gaps {
        let start = gap.from.max(reached);
        let end = gap.to.min(to);
        unseen += end.since(start);
        reached = reached.max(end);
    }
    let span = to.since(from).as_secs_f64().max(1.0);
    let seen = (1.0 - unseen.as_secs_f64() / span).clamp(0.0, 1.0);
    let tone = if seen >= 0.99 {
        "pass"
    } else if seen >= 0.9 {
        "warn"
    } else {
        "error"
    };
    let line = |g: &Gap| {
        let at = g.from.utc().with_timezone(&zone).format("%H:%M:%S");
        let detail = if g.detail.is_empty() { String::new() } else { format!(": {}", g.detail) };
        let target = if g.target == "*" { "everything" } else { &g.target };
        let text = format!("{at} for {}, {}{detail}", prose(g.to.since(g.from)), g.reason.word().replace('_', " "));
        Line::new("error", target, text)
    };
    CoverageView {
        summary: match gaps.len() {
            0 => "every target was seen all the time".into(),
            _ => format!("all targets were seen {} of the time", percent(seen)),
        },
        tone,
        more: gaps.len().saturating_sub(GAPS_SHOWN),
        gaps: gaps.iter().rev().take(GAPS_SHOWN).map(line).collect(),
    }
}

/// Newest first; HTML is what people open.
fn reports(stored: Vec<crate::store::state::reports::StoredReport>) -> Vec<ReportLink> {
    let name = |kind: &str| if kind == "postmortem" { "postmortem" } else { "go-live report" };
    stored
        .into_iter()
        .filter(|r| r.format == "html")
        .map(|r| ReportLink { id: r.id, text: format!("{}, as of {}", name(&r.kind), r.as_of.rfc3339()) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::gap::GapReason;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_ms(1_760_000_000_000 + s * 1000)
    }

    #[test]
    fn overlapping_gaps_count_once() {
        let gap = |from, to| Gap {
            target: "a".into(),
            from: at(from),
            to: at(to),
            reason: GapReason::Timeout,
            detail: String::new(),
        };
        let view = coverage(vec![gap(10, 20), gap(15, 25), gap(-5, 5)], at(0), at(100), Tz::UTC);
        assert_eq!(view.summary, "all targets were seen 80 % of the time");
        assert_eq!(view.tone, "error");
        assert_eq!(coverage(vec![], at(0), at(100), Tz::UTC).tone, "pass");
    }

    #[test]
    fn old_data_is_said_to_be_old() {
        let interval = Duration::from_secs(15);
        assert!(!data(Some(at(0)), interval, at(30), None).stale);
        let old = data(Some(at(0)), interval, at(31), None);
        assert!(old.stale && old.text == "data 31 s old");
        assert!(data(None, interval, at(0), None).stale);
    }

    #[test]
    fn long_messages_are_cut_at_a_character() {
        let long = "ü".repeat(500);
        assert_eq!(short(&["", &long]).chars().count(), FEEDBACK_CHARS + 1);
        assert_eq!(short(&["crash", "crash on\nstart"]), "crash on start");
        assert_eq!(short(&["crash", "on start"]), "crash: on start");
    }
}
