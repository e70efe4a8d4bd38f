//! The circuit breaker of one channel: after five failures in a row it lets one row through every 30 s, until one is
//! accepted. Pure.

use std::time::Duration;

use crate::domain::clock::Timestamp;

/// Failures in a row after which the receiver counts as down.
const FAILURES_MAX: u32 = 5;
/// A probe this often while it is down.
const PROBE_EVERY: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Circuit {
    failures: u32,
    /// Set while open: when the next probe may go.
    probe_at: Option<Timestamp>,
}

/// What may be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowance {
    Everything,
    /// Half open: the row of highest priority, to see whether it is back.
    OneProbe,
    NothingUntil(Timestamp),
}

impl Circuit {
    pub fn allows(&self, now: Timestamp) -> Allowance {
        match self.probe_at {
            None => Allowance::Everything,
            Some(at) if at <= now => Allowance::OneProbe,
            Some(at) => Allowance::NothingUntil(at),
        }
    }
    pub fn is_open(&self) -> bool {
        self.probe_at.is_some()
    }
    /// The receiver answered, also with a refusal: it is there.
    pub fn answered(&mut self) {
        *self = Circuit::default();
    }
    pub fn failed(&mut self, now: Timestamp) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES_MAX {
            self.probe_at = Some(now.plus(PROBE_EVERY));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_after_five_probes_every_thirty_seconds_and_closes_on_an_answer() {
        let at = |s: i64| Timestamp::from_ms(s * 1000);
        let mut c = Circuit::default();
        for _ in 0..4 {
            c.failed(at(0));
        }
        assert_eq!(c.allows(at(0)), Allowance::Everything);
        c.failed(at(0));
        assert_eq!(c.allows(at(29)), Allowance::NothingUntil(at(30)));
        assert_eq!(c.allows(at(30)), Allowance::OneProbe);
        c.failed(at(31));
        assert_eq!(c.allows(at(60)), Allowance::NothingUntil(at(61)));
        c.answered();
        assert_eq!(c.allows(at(60)), Allowance::Everything);
        c.failed(at(62));
        assert!(!c.is_open(), "it takes five again");
    }
}
