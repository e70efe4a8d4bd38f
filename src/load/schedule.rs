//! When each request is due. Pure.

use std::time::Duration;

/// Arrivals of the same millisecond come together, at its beginning: waking up for each of ten thousand a second
/// costs the generator five times what sending it costs. Latency counts from there, so it stays true.
const TOGETHER_S: f64 = 0.001;

/// Arrivals at a rate that climbs linearly over `ramp` and then holds.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    rate: f64,
    ramp_s: f64,
    total_s: f64,
    /// Arrivals that fall into the ramp: the area under its slope.
    in_ramp: f64,
}

impl Schedule {
    /// `rate` per second.
    pub fn new(rate: f64, ramp: Duration, hold: Duration) -> Schedule {
        let ramp_s = ramp.as_secs_f64();
        Schedule { rate, ramp_s, total_s: ramp_s + hold.as_secs_f64(), in_ramp: rate * ramp_s / 2.0 }
    }

    /// Offset of arrival `n` (from 0) from the start; `None` when it lies past the end.
    pub fn due(&self, n: u64) -> Option<Duration> {
        let n = n as f64;
        let at = if n < self.in_ramp {
            (2.0 * n * self.ramp_s / self.rate).sqrt()
        } else {
            self.ramp_s + (n - self.in_ramp) / self.rate
        };
        // Half an arrival of tolerance, so that rounding does not add or drop the last one.
        (at < self.total_s - 0.5e-9).then(|| {
            let dense = self.rate * TOGETHER_S > 1.0;
            Duration::from_secs_f64(if dense { (at / TOGETHER_S + 1e-6).floor() * TOGETHER_S } else { at })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_its_rate_exactly() {
        let schedule = Schedule::new(1000.0, Duration::ZERO, Duration::from_secs(2));
        let count = (0..).take_while(|n| schedule.due(*n).is_some()).count();
        assert_eq!(count, 2000);
        assert_eq!(schedule.due(1500), Some(Duration::from_millis(1500)));
    }

    #[test]
    fn a_dense_schedule_comes_in_handfuls_and_keeps_its_rate() {
        let schedule = Schedule::new(10_000.0, Duration::ZERO, Duration::from_secs(2));
        let all: Vec<Duration> = (0..).map_while(|n| schedule.due(n)).collect();
        assert_eq!(all.len(), 20_000);
        let grain = Duration::from_micros(1000);
        for (nth, due) in all.iter().enumerate() {
            let exact = Duration::from_micros(100 * nth as u64);
            assert!(*due <= exact + Duration::from_nanos(10) && exact < *due + grain, "{nth}: {due:?}");
        }
        assert_eq!(all.chunks(10).filter(|ten| ten[0] != ten[9]).count(), 0);
    }

    #[test]
    fn the_ramp_sends_half_and_never_goes_back() {
        let schedule = Schedule::new(1000.0, Duration::from_secs(2), Duration::from_secs(1));
        let all: Vec<Duration> = (0..).map_while(|n| schedule.due(n)).collect();
        assert_eq!(all.len(), 2000);
        assert!(all.windows(2).all(|w| w[0] <= w[1]));
        let in_ramp = all.iter().filter(|d| **d < Duration::from_secs(2)).count();
        assert_eq!(in_ramp, 1000);
    }
}
