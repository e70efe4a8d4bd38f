//! What one host is asked to bear: pace, connections at once, and the circuit breaker. Shared by all gates of a run.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::Safety;

/// Results the breaker looks back on.
const BREAKER_WINDOW: usize = 20;
/// Share of 5xx and broken connections in the window that opens it.
const BREAKER_BAD_RATIO: f64 = 0.2;
/// How long an open breaker leaves the host alone before one more try.
pub(super) const BREAKER_PAUSE: Duration = Duration::from_secs(30);

pub(super) struct Host {
    pub(super) slots: Semaphore,
    pace: Mutex<Instant>,
    gap: Duration,
    burst: Duration,
    breaker: Mutex<Breaker>,
}

impl Host {
    pub(super) fn new(safety: &Safety) -> Host {
        let gap = Duration::from_secs(1) / safety.rps.max(1);
        let concurrency = safety.concurrency.max(1);
        Host {
            slots: Semaphore::new(concurrency as usize),
            pace: Mutex::new(Instant::now()),
            gap,
            // A burst as wide as the connections allowed, so that they can be used at all.
            burst: gap * (concurrency - 1),
            breaker: Mutex::new(Breaker::default()),
        }
    }

    /// The instant at which the caller's turn comes. Each call takes one turn (a token bucket as virtual scheduling).
    pub(super) fn turn(&self, now: Instant) -> Instant {
        let mut next = self.pace.lock().unwrap_or_else(|e| e.into_inner());
        let due = (*next).max(now);
        *next = due + self.gap;
        due.checked_sub(self.burst).unwrap_or(now).max(now)
    }

    pub(super) fn before(&self, now: Instant) -> Turn {
        self.breaker.lock().unwrap_or_else(|e| e.into_inner()).before(now)
    }

    pub(super) fn after(&self, bad: bool, now: Instant) {
        self.breaker.lock().unwrap_or_else(|e| e.into_inner()).after(bad, now);
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Go,
    WaitUntil(Instant),
    Stopped,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Closed,
    Paused(Instant),
    /// The pause is over: the next result decides.
    Trial,
    Stopped,
}

/// Too many 5xx or resets: pause, try once more, and stop for good when that fails or it happens again.
#[derive(Debug, Default)]
struct Breaker {
    recent: VecDeque<bool>,
    state: State,
    paused_before: bool,
}

impl Breaker {
    fn before(&mut self, now: Instant) -> Turn {
        match self.state {
            State::Closed | State::Trial => Turn::Go,
            State::Paused(until) if now >= until => {
                self.state = State::Trial;
                Turn::Go
            }
            State::Paused(until) => Turn::WaitUntil(until),
            State::Stopped => Turn::Stopped,
        }
    }

    fn after(&mut self, bad: bool, now: Instant) {
        match self.state {
            State::Closed => {}
            State::Trial => self.state = if bad { State::Stopped } else { State::Closed },
            // An answer to a request that was under way when the breaker opened says nothing new.
            State::Paused(_) | State::Stopped => return,
        }
        if self.recent.len() == BREAKER_WINDOW {
            self.recent.pop_front();
        }
        self.recent.push_back(bad);
        let bad_count = self.recent.iter().filter(|b| **b).count();
        if self.recent.len() == BREAKER_WINDOW && bad_count as f64 >= BREAKER_BAD_RATIO * BREAKER_WINDOW as f64 {
            self.recent.clear();
            self.state = if self.paused_before { State::Stopped } else { State::Paused(now + BREAKER_PAUSE) };
            self.paused_before = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_come_at_the_rate_after_a_small_burst() {
        let host = Host::new(&Safety { rps: 10, concurrency: 4, max_requests: 100 });
        let now = Instant::now() + Duration::from_secs(1);
        let waits: Vec<u128> = (0..7).map(|_| host.turn(now).duration_since(now).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 0, 100, 200, 300]);
    }

    #[test]
    fn the_breaker_pauses_once_and_then_stops() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for i in 0..20 {
            assert_eq!(breaker.before(now), Turn::Go);
            breaker.after(i % 5 == 0, now);
        }
        assert_eq!(breaker.before(now), Turn::WaitUntil(now + BREAKER_PAUSE));
        let later = now + BREAKER_PAUSE;
        assert_eq!(breaker.before(later), Turn::Go);
        breaker.after(false, later);
        assert_eq!(breaker.before(later), Turn::Go);
        for _ in 0..20 {
            breaker.after(true, later);
        }
        assert_eq!(breaker.before(later + BREAKER_PAUSE), Turn::Stopped);
    }

    #[test]
    fn a_failed_trial_stops_and_few_errors_do_not_open() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        (0..200).for_each(|i| breaker.after(i % 10 == 0, now));
        assert_eq!(breaker.before(now), Turn::Go);
        (0..20).for_each(|_| breaker.after(true, now));
        assert_eq!(breaker.before(now + BREAKER_PAUSE), Turn::Go);
        breaker.after(true, now);
        assert_eq!(breaker.before(now + BREAKER_PAUSE), Turn::Stopped);
    }
}
