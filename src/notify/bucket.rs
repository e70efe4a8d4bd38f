//! A token bucket for one channel, with a share that only critical messages may use. Pure.

use std::time::Duration;

use crate::domain::clock::Timestamp;

/// How much a channel takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Messages at once.
    pub burst: u32,
    /// Messages per second over time.
    pub per_second: f64,
}

/// Of the burst; kept for critical messages, so that a flood of warnings never delays a page.
const RESERVED_SHARE: f64 = 0.3;

#[derive(Debug, Clone)]
pub struct Bucket {
    rate: Rate,
    tokens: f64,
    at: Option<Timestamp>,
}

impl Bucket {
    pub fn new(rate: Rate) -> Bucket {
        Bucket { rate, tokens: f64::from(rate.burst), at: None }
    }

    fn fill(&mut self, now: Timestamp) {
        // A clock that went back fills nothing and loses nothing.
        let passed = self.at.map_or(Duration::ZERO, |at| now.since(at));
        self.tokens = (self.tokens + passed.as_secs_f64() * self.rate.per_second).min(f64::from(self.rate.burst));
        self.at = Some(now);
    }

    fn reserve(&self) -> f64 {
        f64::from(self.rate.burst) * RESERVED_SHARE
    }

    /// Messages of any priority that may go now.
    pub fn free(&mut self, now: Timestamp) -> u32 {
        self.fill(now);
        (self.tokens - self.reserve()).max(0.0) as u32
    }

    /// Critical messages that may go now.
    pub fn free_critical(&mut self, now: Timestamp) -> u32 {
        self.fill(now);
        self.tokens.max(0.0) as u32
    }

    pub fn take(&mut self, n: u32) {
        self.tokens -= f64::from(n);
    }

    /// When the next message of any priority may go.
    pub fn refilled_at(&mut self, now: Timestamp) -> Timestamp {
        self.fill(now);
        let missing = (self.reserve() + 1.0 - self.tokens).max(0.0);
        now.plus(Duration::from_secs_f64(missing / self.rate.per_second.max(0.001)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_leave_the_reserve_to_critical_messages() {
        let at = |s: i64| Timestamp::from_ms(s * 1000);
        let mut b = Bucket::new(Rate { burst: 10, per_second: 1.0 });
        assert_eq!(b.free(at(0)), 7);
        b.take(7);
        assert_eq!((b.free(at(0)), b.free_critical(at(0))), (0, 3));
        assert_eq!(b.refilled_at(at(0)), at(1));
        assert_eq!(b.free(at(2)), 2);
        assert_eq!(b.free_critical(at(1000)), 10, "never above the burst");
        assert_eq!(b.free(at(5)), 7, "a clock that goes back changes nothing");
    }
}
