//! The state of one alert: one total pure function from (state, observation, now) to (state, change). Nothing here
//! knows an expression, a group or a clock. `restart` is the same for time in which nobody looked.
//!
//! `inactive → pending → firing → resolved`, and `unknown` when we can no longer see it. No data is not recovery (P2).

use std::time::Duration;

use crate::domain::alert::AlertState;
use crate::domain::clock::Timestamp;

/// Held at most this long without data, then `unknown`, which is told once.
pub const HOLD_MAX: Duration = Duration::from_secs(15 * 60);
/// A resolved alert is remembered this long, as in Prometheus.
pub const RESOLVED_KEPT: Duration = Duration::from_secs(15 * 60);
/// Gaps up to this leave every timer as it is.
pub const GAP_SHORT: Duration = Duration::from_secs(120);
/// After a longer gap than this nothing that was known still counts.
pub const GAP_LONG: Duration = Duration::from_secs(3600);

/// What data that is missing means (D1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnMissing {
    /// As Prometheus: no data is not true.
    Resolve,
    /// Keep the state for [`HOLD_MAX`], then `unknown`.
    Hold,
}

/// A rule's timing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    pub wait: Duration,
    pub keep_firing: Duration,
    pub on_missing: OnMissing,
}

/// What one evaluation saw of one alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    True,
    False,
    /// A selector had no fresh sample and a gap covers it.
    Missing,
}

/// What is remembered of one alert between evaluations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    pub state: AlertState,
    pub active_at: Option<Timestamp>,
    pub fired_at: Option<Timestamp>,
    pub resolved_at: Option<Timestamp>,
    pub last_true: Option<Timestamp>,
    pub missing_since: Option<Timestamp>,
}

impl Memory {
    pub const NEW: Memory = Memory {
        state: AlertState::Inactive,
        active_at: None,
        fired_at: None,
        resolved_at: None,
        last_true: None,
        missing_since: None,
    };
}

/// A change of state and its reason in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    pub from: AlertState,
    pub to: AlertState,
    pub reason: &'static str,
}

/// The next state. At most one change per observation; `Inactive` means the alert may be forgotten.
pub fn step(old: &Memory, seen: Seen, timing: &Timing, now: Timestamp) -> (Memory, Option<Change>) {
    use AlertState::{Firing, Inactive, Pending, Resolved, Unknown};
    let mut new = *old;
    let seen = if seen == Seen::Missing && timing.on_missing == OnMissing::Resolve { Seen::False } else { seen };
    let was_missing = old.missing_since.is_some();
    new.missing_since = (seen == Seen::Missing).then(|| old.missing_since.unwrap_or(now));
    if seen == Seen::True {
        new.last_true = Some(now);
    }
    let held_out = new.missing_since.is_some_and(|since| now.since(since) >= HOLD_MAX);
    let mut reason = "condition";
    let to = match (old.state, seen) {
        (Inactive | Resolved, Seen::True) => {
            new.active_at = Some(now);
            new.fired_at = None;
            new.resolved_at = None;
            if timing.wait.is_zero() { Firing } else { Pending }
        }
        (Inactive, Seen::False | Seen::Missing) => Inactive,
        (Resolved, Seen::False | Seen::Missing) => {
            let over = old.resolved_at.is_none_or(|at| now.since(at) >= RESOLVED_KEPT);
            if over { Inactive } else { Resolved }
        }
        (Pending, Seen::True) => {
            let active_at = *new.active_at.get_or_insert(now);
            if now.since(active_at) >= timing.wait { Firing } else { Pending }
        }
        (Pending, Seen::False) => Inactive,
        (Firing, Seen::True) => Firing,
        (Firing, Seen::False) => {
            let held =
                !timing.keep_firing.is_zero() && old.last_true.is_some_and(|at| now.since(at) < timing.keep_firing);
            if held { Firing } else { Resolved }
        }
        (Pending | Firing, Seen::Missing) if held_out => {
            reason = "data_missing";
            Unknown
        }
        (Pending | Firing, Seen::Missing) => old.state,
        (Unknown, Seen::True) if old.fired_at.is_some() => {
            reason = "data_back";
            Firing
        }
        (Unknown, Seen::True) => {
            reason = "data_back";
            new.active_at = Some(now);
            if timing.wait.is_zero() { Firing } else { Pending }
        }
        (Unknown, Seen::False) => {
            reason = "data_back";
            if old.fired_at.is_some() { Resolved } else { Inactive }
        }
        (Unknown, Seen::Missing) => Unknown,
    };
    new.state = to;
    match to {
        Firing if new.fired_at.is_none() => new.fired_at = Some(now),
        Resolved if old.state != Resolved => new.resolved_at = Some(now),
        Inactive => new = Memory { last_true: new.last_true, ..Memory::NEW },
        _ => {}
    }
    if was_missing && seen == Seen::False && timing.on_missing == OnMissing::Hold && to == Resolved {
        reason = "data_back";
    }
    let change = (to != old.state).then_some(Change { from: old.state, to, reason });
    (new, change)
}

/// What a gap in which the daemon did not run does to one alert. `now` is when it runs again, `gap` how long it did not.
///
/// Up to max(2 × interval, 2 min): nothing. Up to 1 h: time unseen is time not served, and at least two evaluations are
/// still to serve; what fires goes on firing. Longer: pending is dropped, firing becomes unknown until seen once.
pub fn restart(
    old: &Memory,
    gap: Duration,
    interval: Duration,
    timing: &Timing,
    now: Timestamp,
) -> (Memory, Option<Change>) {
    use AlertState::{Firing, Inactive, Pending, Unknown};
    if gap <= GAP_SHORT.max(interval * 2) {
        return (*old, None);
    }
    let mut new = *old;
    match old.state {
        Pending if gap <= GAP_LONG => {
            let shifted = old.active_at.unwrap_or(now).plus(gap);
            let two_to_serve = now.minus(timing.wait.saturating_sub(interval * 2));
            new.active_at = Some(shifted.max(two_to_serve).min(now));
        }
        Pending => new = Memory { last_true: old.last_true, ..Memory::NEW },
        Firing if gap > GAP_LONG => {
            new.state = Unknown;
            new.missing_since = Some(old.missing_since.unwrap_or(now.minus(gap)));
        }
        _ => {}
    }
    let change = (new.state != old.state).then_some(Change { from: old.state, to: new.state, reason: "restart" });
    debug_assert!(matches!((old.state, new.state), (Pending, Inactive) | (Firing, Unknown)) || change.is_none());
    (new, change)
}

/// The rule is gone from the files: what fired resolves and says why, the rest is forgotten.
pub fn rule_removed(old: &Memory, now: Timestamp) -> (Memory, Option<Change>) {
    use AlertState::{Firing, Inactive, Resolved, Unknown};
    let to = match old.state {
        Firing => Resolved,
        Unknown if old.fired_at.is_some() => Resolved,
        Resolved => Resolved,
        _ => Inactive,
    };
    let mut new = Memory { state: to, missing_since: None, ..*old };
    if to == Resolved && old.state != Resolved {
        new.resolved_at = Some(now);
    }
    if to == Inactive {
        new = Memory::NEW;
    }
    (new, (to != old.state).then_some(Change { from: old.state, to, reason: "rule_removed" }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use AlertState::{Firing, Inactive, Pending, Resolved, Unknown};
    use proptest::prelude::*;

    const INTERVAL: i64 = 15;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_ms(1_000_000_000 + s * 1000)
    }

    fn timing(wait: u64, keep: u64, on_missing: OnMissing) -> Timing {
        Timing { wait: Duration::from_secs(wait), keep_firing: Duration::from_secs(keep), on_missing }
    }

    /// `T`, `F`, `-` each 15 s; the states after each.
    fn check(timing: Timing, seen: &str, expect: &[AlertState]) -> Memory {
        let mut memory = Memory::NEW;
        let mut states = Vec::new();
        for (i, c) in seen.chars().enumerate() {
            let seen = match c {
                'T' => Seen::True,
                'F' => Seen::False,
                _ => Seen::Missing,
            };
            memory = step(&memory, seen, &timing, at(i as i64 * INTERVAL)).0;
            states.push(memory.state);
        }
        assert_eq!(states, expect, "{seen}");
        memory
    }

    #[test]
    fn the_usual_lives() {
        let resolve = OnMissing::Resolve;
        check(timing(30, 0, resolve), "TTTF", &[Pending, Pending, Firing, Resolved]);
        check(timing(30, 0, resolve), "TFTT", &[Pending, Inactive, Pending, Pending]);
        check(timing(0, 0, resolve), "TF", &[Firing, Resolved]);
        check(timing(0, 30, resolve), "TFFF", &[Firing, Firing, Resolved, Resolved]);
        let again = check(timing(0, 0, resolve), "TFT", &[Firing, Resolved, Firing]);
        assert_eq!(again.fired_at, Some(at(30)));
    }

    #[test]
    fn one_failed_scrape_in_the_middle_of_for() {
        check(timing(30, 0, OnMissing::Hold), "T-T", &[Pending, Pending, Firing]);
        check(timing(30, 0, OnMissing::Resolve), "T-T", &[Pending, Inactive, Pending]);
    }

    #[test]
    fn held_for_fifteen_minutes_then_unknown_once() {
        let hold = timing(0, 0, OnMissing::Hold);
        let mut memory = step(&Memory::NEW, Seen::True, &hold, at(0)).0;
        let mut changes = Vec::new();
        for i in 1..=100 {
            let (next, change) = step(&memory, Seen::Missing, &hold, at(i * INTERVAL));
            changes.extend(change.map(|c| (i, c.to, c.reason)));
            memory = next;
        }
        assert_eq!(changes, [(61, Unknown, "data_missing")]);
        let (back, change) = step(&memory, Seen::True, &hold, at(2000));
        assert_eq!((back.state, back.fired_at, change.unwrap().reason), (Firing, Some(at(0)), "data_back"));
        assert_eq!(step(&memory, Seen::False, &hold, at(2000)).0.state, Resolved);
    }

    #[test]
    fn resolved_is_remembered_and_then_forgotten() {
        let t = timing(0, 0, OnMissing::Resolve);
        let memory = check(t, "TF", &[Firing, Resolved]);
        assert_eq!(step(&memory, Seen::False, &t, at(15 + 899)).0.state, Resolved);
        assert_eq!(step(&memory, Seen::False, &t, at(15 + 900)).0.state, Inactive);
    }

    #[test]
    fn a_restart_keeps_moves_or_drops_timers_by_the_length_of_the_gap() {
        let t = timing(300, 0, OnMissing::Hold);
        let interval = Duration::from_secs(15);
        let pending = step(&Memory::NEW, Seen::True, &t, at(0)).0;
        let short = restart(&pending, Duration::from_secs(100), interval, &t, at(200));
        assert_eq!(short, (pending, None));
        let middle = restart(&pending, Duration::from_secs(200), interval, &t, at(400)).0;
        assert_eq!(middle.active_at, Some(at(200)));
        // Two evaluations are still to serve, however much was served before.
        let nearly = restart(&pending, Duration::from_secs(130), interval, &t, at(600)).0;
        assert_eq!(nearly.active_at, Some(at(600 - 270)));
        let long = restart(&pending, Duration::from_secs(4000), interval, &t, at(4000));
        assert_eq!((long.0.state, long.1.unwrap().reason), (Inactive, "restart"));
        let firing = step(&Memory::NEW, Seen::True, &timing(0, 0, OnMissing::Hold), at(0)).0;
        assert_eq!(restart(&firing, Duration::from_secs(3000), interval, &t, at(3000)).0.state, Firing);
        assert_eq!(restart(&firing, Duration::from_secs(4000), interval, &t, at(4000)).0.state, Unknown);
    }

    #[test]
    fn a_removed_rule_resolves_what_fired_and_forgets_the_rest() {
        let firing = step(&Memory::NEW, Seen::True, &timing(0, 0, OnMissing::Hold), at(0)).0;
        let (memory, change) = rule_removed(&firing, at(10));
        assert_eq!(
            (memory.state, memory.resolved_at, change.unwrap().reason),
            (Resolved, Some(at(10)), "rule_removed")
        );
        let pending = step(&Memory::NEW, Seen::True, &timing(60, 0, OnMissing::Hold), at(0)).0;
        assert_eq!(rule_removed(&pending, at(10)).0.state, Inactive);
    }

    fn seen() -> impl Strategy<Value = Seen> {
        prop_oneof![Just(Seen::True), Just(Seen::False), Just(Seen::Missing)]
    }

    proptest! {
        /// Whatever is seen: fired_at exactly in states that fired, no firing before `for` was served by sight, changes
        /// only where the state changes, and time stamps in order.
        #[test]
        fn invariants(
            wait in 0u64..120, keep in 0u64..120, hold in any::<bool>(),
            story in proptest::collection::vec((seen(), 1i64..400), 1..80),
        ) {
            let t = timing(wait, keep, if hold { OnMissing::Hold } else { OnMissing::Resolve });
            let (mut memory, mut now) = (Memory::NEW, 0i64);
            for (seen, gap) in story {
                now += gap;
                let (next, change) = step(&memory, seen, &t, at(now));
                prop_assert_eq!(change.is_some(), next.state != memory.state);
                prop_assert_eq!(change.map(|c| (c.from, c.to)), change.map(|_| (memory.state, next.state)));
                match next.state {
                    Inactive => prop_assert_eq!(next.active_at, None),
                    Pending => prop_assert!(next.active_at.is_some() && next.fired_at.is_none()),
                    Firing => {
                        prop_assert!(next.fired_at.is_some() && next.active_at <= next.fired_at);
                        if memory.state != Firing {
                            prop_assert_eq!(seen, Seen::True);
                        }
                        if memory.state == Pending {
                            prop_assert!(at(now).since(memory.active_at.unwrap()) >= t.wait);
                        }
                    }
                    Resolved => prop_assert!(next.resolved_at >= next.fired_at),
                    Unknown => prop_assert!(hold),
                }
                // No data is never recovery.
                if hold && seen == Seen::Missing {
                    prop_assert!(!matches!((memory.state, next.state), (Firing | Unknown, Resolved | Inactive)));
                }
                // The same observation at the same instant changes nothing more, unless a zero `for` or a hold is served.
                let (again, second) = step(&next, seen, &t, at(now));
                if seen == Seen::True || next.state == Inactive {
                    prop_assert!(second.is_none() || (next.state == Pending && wait == 0), "{:?} {:?}", again, second);
                }
                memory = next;
            }
        }
    }
}
