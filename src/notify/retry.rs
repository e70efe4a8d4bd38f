//! When to try again: pure, seeded by the row, so that a restart computes the same instant. Knows no channel.

use std::time::Duration;

use crate::domain::clock::Timestamp;
use crate::domain::evidence::sha256_hex;

/// Wait after the first, second, … failed try; the last repeats until `give_up_at`. The first try waits for nothing.
const BACKOFF_S: [u64; 6] = [2, 5, 15, 45, 120, 300];
/// A receiver may ask for patience, but not for silence: an alert that waits longer is no alert.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(15 * 60);

/// When try number `attempts` (from 1) of row `id` has failed at `now`: the next try. `asked` is what the receiver said
/// in `Retry-After`; it wins. Otherwise the table, ±50 % so that rows that failed together come back apart.
pub fn next_try(id: &str, attempts: u32, now: Timestamp, asked: Option<Duration>) -> Timestamp {
    if let Some(asked) = asked {
        return now.plus(asked.min(RETRY_AFTER_MAX));
    }
    let index = (attempts.max(1) as usize - 1).min(BACKOFF_S.len() - 1);
    now.plus(Duration::from_secs(BACKOFF_S[index]).mul_f64(jitter(id, attempts)))
}

/// 0.5 to 1.5, the same for the same row and try.
fn jitter(id: &str, attempts: u32) -> f64 {
    let hash = sha256_hex(format!("{id}/{attempts}").as_bytes());
    let n = u32::from_str_radix(&hash[..8], 16).unwrap_or(u32::MAX / 2);
    0.5 + f64::from(n) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn waits_stay_within_half_of_the_table_and_repeat_exactly(id in "[a-z0-9-]{1,36}", attempts in 1u32..40) {
            let now = Timestamp::from_ms(1_000_000);
            let base = BACKOFF_S[(attempts as usize - 1).min(BACKOFF_S.len() - 1)] as f64;
            let wait = next_try(&id, attempts, now, None).since(now).as_secs_f64();
            prop_assert!(wait >= base * 0.499 && wait <= base * 1.501, "{wait} of {base}");
            prop_assert_eq!(next_try(&id, attempts, now, None), next_try(&id, attempts, now, None));
        }
    }

    #[test]
    fn the_receivers_wish_wins_up_to_a_cap() {
        let now = Timestamp::from_ms(0);
        assert_eq!(next_try("a", 1, now, Some(Duration::from_secs(7))), Timestamp::from_ms(7000));
        assert_eq!(next_try("a", 1, now, Some(Duration::from_secs(86_400))), now.plus(RETRY_AFTER_MAX));
    }

    #[test]
    fn rows_that_fail_together_come_back_apart() {
        let at = |id: &str| next_try(id, 5, Timestamp::from_ms(0), None);
        assert_ne!(at("a"), at("b"));
    }
}
