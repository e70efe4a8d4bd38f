//! Pure schedule arithmetic: next due time, snapping, backoff after failure. Knows no clock, no task, no source.

use std::time::Duration;

use crate::domain::clock::Timestamp;

/// No wait after a failure is longer than this, so that a source that comes back is noticed soon.
pub const BACKOFF_MAX: Duration = Duration::from_secs(15 * 60);

/// Offsets are multiples of this. Targets that are due at the same moment share a wake-up and a commit, and their series
/// the times.
const GRID: Duration = Duration::from_millis(250);

/// A timestamp this close to its slot is the slot: regular timestamps compress to nearly nothing.
const SNAP_MAX: Duration = Duration::from_millis(2);

/// Where within `interval` the target's slots lie: stable for a name and a seed, spread over targets and instances, so
/// that neither all targets nor all daemons poll in step: those of one daemon on one [`GRID`], which the seed places.
pub fn offset(name: &str, seed: u64, interval: Duration) -> Duration {
    let (interval, grid) = (interval_ms(interval), interval_ms(GRID));
    let steps = (interval / grid).max(1);
    Duration::from_millis(hash(name, seed) % steps * grid + hash("", seed) % grid.min(interval))
}

/// The first slot after `after`: an absolute multiple of `interval` plus `offset`.
pub fn next_slot(after: Timestamp, interval: Duration, offset: Duration) -> Timestamp {
    let (step, offset) = (interval_ms(interval) as i64, offset.as_millis() as i64);
    let into = after.ms().saturating_sub(offset).rem_euclid(step);
    Timestamp::from_ms(after.ms().saturating_add(step - into))
}

/// `at`, or `slot` when `at` lies within min(interval / 100, 2 ms) of it.
pub fn snap(at: Timestamp, slot: Timestamp, interval: Duration) -> Timestamp {
    let near = (interval / 100).min(SNAP_MAX).as_millis() as u64;
    if at.ms().abs_diff(slot.ms()) <= near { slot } else { at }
}

/// How long to wait after the `failures`th failure in a row (counts from 1): `base`, doubled each time up to
/// [`BACKOFF_MAX`], less up to a quarter by name and count, so that many sources do not come back together.
pub fn backoff(base: Duration, failures: u32, name: &str) -> Duration {
    let doubled = base.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1))).min(BACKOFF_MAX.max(base));
    let quarter = doubled.as_millis() as u64 / 4;
    let less = if quarter == 0 { 0 } else { hash(name, failures.into()) % quarter };
    doubled - Duration::from_millis(less)
}

/// At least a millisecond, so that nothing is divided by zero.
fn interval_ms(interval: Duration) -> u64 {
    (interval.as_millis() as u64).max(1)
}

fn hash(name: &str, seed: u64) -> u64 {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(&seed.to_le_bytes());
    context.update(name.as_bytes());
    u64::from_le_bytes(context.finish().as_ref()[..8].try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S15: Duration = Duration::from_secs(15);

    #[test]
    fn slots_are_absolute_multiples_with_an_offset() {
        let at = |ms| Timestamp::from_ms(ms);
        let offset = Duration::from_secs(4);
        assert_eq!(next_slot(at(0), S15, offset), at(4000));
        assert_eq!(next_slot(at(4000), S15, offset), at(19_000), "after, never at");
        assert_eq!(next_slot(at(18_999), S15, offset), at(19_000));
        assert_eq!(next_slot(at(-20_000), S15, offset), at(-11_000));
    }

    #[test]
    fn offsets_are_stable_and_spread() {
        assert_eq!(offset("app/a", 1, S15), offset("app/a", 1, S15));
        let all: std::collections::BTreeSet<_> = (0..100).map(|i| offset(&format!("t{i}"), 7, S15)).collect();
        assert!(all.len() > 40 && all.iter().all(|o| *o < S15));
        let first = all.first().unwrap();
        assert!(*first < GRID && all.iter().all(|o| (*o - *first).as_millis() % GRID.as_millis() == 0));
        let daemons: std::collections::BTreeSet<_> = (0..100).map(|seed| offset("app", seed, GRID)).collect();
        assert!(daemons.len() > 50 && daemons.iter().all(|o| *o < GRID));
        assert!(offset("app", 1, Duration::from_millis(1)) < Duration::from_millis(1));
    }

    #[test]
    fn only_what_is_near_snaps() {
        let slot = Timestamp::from_ms(10_000);
        assert_eq!(snap(Timestamp::from_ms(10_002), slot, S15), slot);
        assert_eq!(snap(Timestamp::from_ms(10_003), slot, S15).ms(), 10_003);
        assert_eq!(snap(Timestamp::from_ms(10_002), slot, Duration::from_millis(100)).ms(), 10_002);
    }

    proptest! {
        #[test]
        fn the_next_slot_lies_within_one_interval(after in -1_000_000_000_000i64..4_000_000_000_000, step in 1u64..1_000_000, o in 0u64..1_000_000) {
            let step_d = Duration::from_millis(step);
            let next = next_slot(Timestamp::from_ms(after), step_d, Duration::from_millis(o % step));
            prop_assert!(next.ms() > after && next.ms() <= after + step as i64);
            prop_assert_eq!((next.ms() - (o % step) as i64).rem_euclid(step as i64), 0);
        }

        #[test]
        fn backoff_grows_and_ends(base_ms in 1u64..600_000, failures in 1u32..1000) {
            let base = Duration::from_millis(base_ms);
            let wait = backoff(base, failures, "x");
            prop_assert!(wait <= BACKOFF_MAX && wait >= base * 3 / 4);
        }
    }
}
