//! Alerts told together: when a group must speak next, why, and what it then has told. Pure; the engine persists
//! `next_flush` with the transition that set it, so that a promise to speak survives a crash.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Config;
use super::route::Route;
use crate::domain::alert::{Ack, Alert, AlertSeverity, AlertState, NotifGroup, NotifyReason};
use crate::domain::clock::Timestamp;

/// A re-fire within this time re-opens the closed episode instead of beginning a new one.
pub const REOPEN: Duration = Duration::from_secs(600);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timings {
    pub wait: Duration,
    pub interval: Duration,
    pub repeat: Duration,
}

/// The route's own timings, else those of the severity.
pub fn timings(config: &Config, route: &Route, severity: AlertSeverity) -> Timings {
    let critical = severity == AlertSeverity::Critical;
    let pick = |own: Option<crate::domain::units::Span>, urgent: crate::domain::units::Span, usual| {
        own.unwrap_or(if critical { urgent } else { usual }).get()
    };
    Timings {
        wait: pick(route.group_wait, config.critical_group_wait, config.group_wait),
        interval: pick(route.group_interval, config.critical_group_interval, config.group_interval),
        repeat: pick(route.repeat_interval, config.critical_repeat_interval, config.repeat_interval),
    }
}

/// One alert of the group as it stands now. Muted: silenced or inhibited.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    pub alert: &'a Alert,
    pub muted: bool,
}

impl Member<'_> {
    /// Something to tell: it fires, or we can no longer see whether it does.
    fn live(&self) -> bool {
        !self.muted && matches!(self.alert.state, AlertState::Firing | AlertState::Unknown)
    }
    fn key(&self) -> &str {
        &self.alert.fingerprint
    }
}

/// What differs between now and what the world was last told.
#[derive(Debug, Default)]
pub struct News<'a> {
    /// Firing or unknown and not muted.
    pub live: Vec<&'a Alert>,
    /// Not told yet, or told as something else.
    pub new: Vec<&'a Alert>,
    /// Told as firing or unknown, over now; an alert that is gone altogether has only its fingerprint in `gone`.
    pub over: Vec<&'a Alert>,
    pub gone: Vec<String>,
    /// Fired and resolved before anything was told of it.
    pub flashes: Vec<&'a Alert>,
}

pub fn news<'a>(group: &NotifGroup, members: &[Member<'a>]) -> News<'a> {
    let by_key: BTreeMap<&str, &Member<'a>> = members.iter().map(|m| (m.key(), m)).collect();
    let told = |m: &Member<'_>| group.told.get(m.key()).copied();
    let live: Vec<&Member<'a>> = members.iter().filter(|m| m.live()).collect();
    let resolved = |m: &Member<'_>| matches!(m.alert.state, AlertState::Resolved | AlertState::Inactive);
    let over: Vec<&'a Alert> = members.iter().filter(|m| resolved(m) && told(m).is_some()).map(|m| m.alert).collect();
    let flash = |m: &&Member<'a>| {
        m.alert.state == AlertState::Resolved
            && !m.muted
            && told(m).is_none()
            && group.closed_at.is_none()
            && m.alert.fired_at.is_some_and(|at| at >= group.opened_at)
            && m.alert.resolved_at.is_some_and(|at| group.last_sent.is_none_or(|sent| at > sent))
    };
    News {
        new: live.iter().filter(|m| told(m) != Some(m.alert.state)).map(|m| m.alert).collect(),
        live: live.into_iter().map(|m| m.alert).collect(),
        over,
        gone: group.told.keys().filter(|k| !by_key.contains_key(k.as_str())).cloned().collect(),
        flashes: members.iter().filter(flash).map(|m| m.alert).collect(),
    }
}

/// Highest severity among what can be spoken of.
pub fn severity(news: &News<'_>) -> AlertSeverity {
    let all = news.live.iter().chain(&news.over).chain(&news.flashes);
    all.map(|a| a.severity()).max().unwrap_or_default()
}

/// Why the group would speak if it had to now, repeats left aside.
pub fn reason(group: &NotifGroup, news: &News<'_>) -> NotifyReason {
    let fires: Vec<&&Alert> = news.new.iter().filter(|a| a.state == AlertState::Firing).collect();
    let over = !news.over.is_empty() || !news.gone.is_empty() || !news.flashes.is_empty();
    if news.live.is_empty() {
        return if over { NotifyReason::AllResolved } else { NotifyReason::None };
    }
    if group.told.is_empty() {
        return if fires.is_empty() { NotifyReason::UnknownState } else { NotifyReason::First };
    }
    let highest = fires.iter().map(|a| a.severity()).max();
    if highest.is_some() && highest > group.told_severity {
        return NotifyReason::SeverityRaised;
    }
    if !fires.is_empty() {
        return NotifyReason::NewInGroup;
    }
    if !news.new.is_empty() {
        return NotifyReason::UnknownState;
    }
    if over { NotifyReason::SomeResolved } else { NotifyReason::None }
}

/// An acknowledgement holds until it ends, or until an alert fires that its giver had not seen.
pub fn acknowledged<'a>(acks: &'a [Ack], group: &NotifGroup, news: &News<'_>, now: Timestamp) -> Option<&'a Ack> {
    let unseen = |ack: &Ack| news.live.iter().any(|a| a.fired_at.is_some_and(|at| at > ack.at));
    acks.iter().rev().find(|a| a.episode == group.episode && a.at <= now && a.until > now && !unseen(a))
}

/// When the group must next decide whether it has something to say.
pub fn next_flush(group: &NotifGroup, news: &News<'_>, t: &Timings, now: Timestamp) -> Option<Timestamp> {
    let repeat = || group.last_sent.unwrap_or(now).plus(t.repeat).max(group.acked_until.unwrap_or(Timestamp::MIN));
    let due = match reason(group, news) {
        NotifyReason::None if news.live.is_empty() => return None,
        NotifyReason::None => return Some(repeat()),
        // Wait for company, counted from when the first came: what was promised stays promised.
        _ if group.told.is_empty() => return Some(group.next_flush.unwrap_or_else(|| now.plus(t.wait))),
        NotifyReason::SeverityRaised => now.plus(t.wait),
        _ => group.last_sent.map_or(now, |sent| sent.plus(t.interval)).max(now),
    };
    // An earlier promise is kept; one that was only the next repeat is not a promise about this.
    Some(group.next_flush.map_or(due, |promised| promised.min(due)))
}

/// Why the group speaks at its flush.
pub fn decide(group: &NotifGroup, news: &News<'_>, t: &Timings, now: Timestamp) -> NotifyReason {
    match reason(group, news) {
        NotifyReason::None if !news.live.is_empty() && !group.told.is_empty() => {
            let acked = group.acked_until.is_some_and(|until| until > now);
            let due = group.last_sent.is_none_or(|sent| now >= sent.plus(t.repeat));
            if due && !acked { NotifyReason::Repeat } else { NotifyReason::None }
        }
        reason => reason,
    }
}

/// The group after its flush: what it has told, and when it decides again.
pub fn after(group: &NotifGroup, news: &News<'_>, reason: NotifyReason, t: &Timings, now: Timestamp) -> NotifGroup {
    let mut next = group.clone();
    if reason != NotifyReason::None {
        next.seq += 1;
        next.last_sent = Some(now);
        next.told_severity = news.live.iter().map(|a| a.severity()).max().max(group.told_severity);
        let muted_still_told = group
            .told
            .iter()
            .filter(|(key, _)| !news.gone.contains(key) && !news.over.iter().any(|a| a.fingerprint == **key));
        next.told = muted_still_told.map(|(k, s)| (k.clone(), *s)).collect();
        next.told.extend(news.live.iter().map(|a| (a.fingerprint.clone(), a.state)));
    }
    next.next_flush = None;
    if next.told.is_empty() {
        next.closed_at = Some(now);
        next.acked_until = None;
        next.acked_by = None;
    } else {
        let rest = News { live: news.live.clone(), ..News::default() };
        next.next_flush = next_flush(&next, &rest, t, now);
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::metric::Labels;

    const T: Timings =
        Timings { wait: Duration::from_secs(10), interval: Duration::from_secs(60), repeat: Duration::from_secs(1800) };

    fn at(s: i64) -> Timestamp {
        Timestamp::from_ms(1_000_000_000 + s * 1000)
    }

    fn alert(name: &str, state: AlertState, severity: &str, fired: i64) -> Alert {
        let labels = Labels::new([("alertname", name), ("severity", severity), ("service", "shop")]);
        Alert {
            fingerprint: format!("{:016x}", labels.fingerprint()),
            rule: format!("g/{name}"),
            service: "shop".into(),
            labels,
            annotations: Default::default(),
            state,
            value: Some(1.0),
            active_at: Some(at(fired)),
            fired_at: Some(at(fired)),
            resolved_at: (state == AlertState::Resolved).then(|| at(fired + 5)),
            last_eval: at(fired),
            data_as_of: None,
            last_true: None,
            missing_since: None,
            episode: None,
            expr: String::new(),
        }
    }

    fn group(opened: i64) -> NotifGroup {
        NotifGroup { channels: vec!["mail".into()], ..NotifGroup::opened("0/x", "shop", "e", 1, at(opened)) }
    }

    /// One evaluation and, when due, one flush: the reason, if it spoke.
    fn run(group: &mut NotifGroup, alerts: &[(&Alert, bool)], s: i64) -> NotifyReason {
        let members: Vec<Member<'_>> = alerts.iter().map(|(alert, muted)| Member { alert, muted: *muted }).collect();
        let what = news(group, &members);
        group.next_flush = next_flush(group, &what, &T, at(s));
        if group.next_flush.is_none_or(|due| due > at(s)) {
            return NotifyReason::None;
        }
        let why = decide(group, &what, &T, at(s));
        *group = after(group, &what, why, &T, at(s));
        why
    }

    #[test]
    fn first_after_the_wait_then_repeats_then_resolved() {
        let (fires, over) =
            (alert("A", AlertState::Firing, "critical", 0), alert("A", AlertState::Resolved, "critical", 0));
        let mut g = group(0);
        let mut spoke = Vec::new();
        for s in (0..=3700).step_by(5) {
            let why = run(&mut g, &[(&fires, false)], s);
            if why != NotifyReason::None {
                spoke.push((s, why));
            }
        }
        assert_eq!(spoke, [(10, NotifyReason::First), (1810, NotifyReason::Repeat), (3610, NotifyReason::Repeat)]);
        assert_eq!(run(&mut g, &[(&over, false)], 3705), NotifyReason::AllResolved);
        assert_eq!((g.closed_at, g.next_flush, g.told.len()), (Some(at(3705)), None, 0));
        assert_eq!(run(&mut g, &[(&over, false)], 3710), NotifyReason::None);
    }

    #[test]
    fn a_second_alert_waits_for_the_interval_and_a_worse_one_only_for_the_wait() {
        let (a, b) = (alert("A", AlertState::Firing, "warning", 0), alert("B", AlertState::Firing, "warning", 15));
        let c = alert("C", AlertState::Firing, "critical", 75);
        let mut g = group(0);
        run(&mut g, &[(&a, false)], 0);
        assert_eq!(run(&mut g, &[(&a, false)], 10), NotifyReason::First);
        assert_eq!(run(&mut g, &[(&a, false), (&b, false)], 15), NotifyReason::None);
        assert_eq!(g.next_flush, Some(at(70)));
        assert_eq!(run(&mut g, &[(&a, false), (&b, false)], 70), NotifyReason::NewInGroup);
        run(&mut g, &[(&a, false), (&b, false), (&c, false)], 75);
        assert_eq!(run(&mut g, &[(&a, false), (&b, false), (&c, false)], 85), NotifyReason::SeverityRaised);
    }

    #[test]
    fn a_silence_hides_and_its_end_tells() {
        let a = alert("A", AlertState::Firing, "critical", 0);
        let mut g = group(0);
        run(&mut g, &[(&a, false)], 0);
        // Silenced during the wait: nothing is said, the group closes.
        assert_eq!(run(&mut g, &[(&a, true)], 10), NotifyReason::None);
        assert!(g.told.is_empty());
        run(&mut g, &[(&a, false)], 100);
        assert_eq!(run(&mut g, &[(&a, false)], 110), NotifyReason::First);
        // Silenced after it was told: no repeat, but the resolve closes the thread.
        assert_eq!(run(&mut g, &[(&a, true)], 5000), NotifyReason::None);
        let over = alert("A", AlertState::Resolved, "critical", 0);
        assert_eq!(run(&mut g, &[(&over, true)], 5010), NotifyReason::AllResolved);
    }

    #[test]
    fn fired_and_resolved_within_the_wait_is_told_once() {
        let (fires, over) =
            (alert("A", AlertState::Firing, "critical", 0), alert("A", AlertState::Resolved, "critical", 0));
        let mut g = group(0);
        run(&mut g, &[(&fires, false)], 0);
        assert_eq!(run(&mut g, &[(&over, false)], 5), NotifyReason::None);
        assert_eq!(run(&mut g, &[(&over, false)], 10), NotifyReason::AllResolved);
        assert_eq!(run(&mut g, &[(&over, false)], 15), NotifyReason::None);
    }

    #[test]
    fn unknown_is_told_once_and_an_ack_stops_repeats() {
        let (fires, unknown) =
            (alert("A", AlertState::Firing, "critical", 0), alert("A", AlertState::Unknown, "critical", 0));
        let mut g = group(0);
        run(&mut g, &[(&fires, false)], 0);
        run(&mut g, &[(&fires, false)], 10);
        assert_eq!(run(&mut g, &[(&unknown, false)], 100), NotifyReason::UnknownState);
        assert_eq!(run(&mut g, &[(&unknown, false)], 200), NotifyReason::None);
        g.acked_until = Some(at(4000));
        assert_eq!(run(&mut g, &[(&unknown, false)], 2000), NotifyReason::None);
        g.acked_until = None;
        assert_eq!(run(&mut g, &[(&unknown, false)], 4000), NotifyReason::Repeat);
    }

    #[test]
    fn an_ack_ends_when_something_new_fires() {
        let a = alert("A", AlertState::Firing, "critical", 0);
        let b = alert("B", AlertState::Firing, "critical", 200);
        let ack = Ack { episode: "e".into(), by: "ana".into(), at: at(100), until: at(4000), comment: String::new() };
        let g = group(0);
        let seen = |alerts: &[&Alert]| {
            let members: Vec<Member<'_>> = alerts.iter().map(|alert| Member { alert, muted: false }).collect();
            acknowledged(std::slice::from_ref(&ack), &g, &news(&g, &members), at(300)).is_some()
        };
        assert!(seen(&[&a]));
        assert!(!seen(&[&a, &b]));
    }
}
