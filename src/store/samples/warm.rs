//! Bodies of pages that were read lately: a dashboard asks for the same ones again and again. A page never changes and its
//! number is never given twice, so nothing here is ever out of date.

use std::collections::HashMap;
use std::sync::Arc;

/// What is kept at most: all pages of a metric with some thousand series over a day.
const BYTES_MAX: usize = 24 << 20;
/// Upkeep rounds that an unused body stays.
const ROUNDS_MAX: u64 = 5;

#[derive(Default)]
pub(super) struct Warm {
    bodies: HashMap<i64, Kept>,
    bytes: usize,
    /// Grows with each use.
    uses: u64,
    round: u64,
}

struct Kept {
    body: Arc<Vec<u8>>,
    used: u64,
    round: u64,
}

impl Warm {
    pub fn get(&mut self, page: i64) -> Option<Arc<Vec<u8>>> {
        self.uses += 1;
        let kept = self.bodies.get_mut(&page)?;
        (kept.used, kept.round) = (self.uses, self.round);
        Some(kept.body.clone())
    }

    /// What is there already stays as it is; the least recently used make room.
    pub fn put(&mut self, page: i64, body: Arc<Vec<u8>>) {
        if body.len() > BYTES_MAX || self.bodies.contains_key(&page) {
            return;
        }
        self.uses += 1;
        self.bytes += body.len();
        let kept = Kept { body, used: self.uses, round: self.round };
        self.bodies.insert(page, kept);
        if self.bytes > BYTES_MAX {
            // A quarter at a time, so that it is seldom looked for.
            let mut oldest: Vec<(u64, i64)> = self.bodies.iter().map(|(id, k)| (k.used, *id)).collect();
            oldest.sort_unstable();
            for (_, id) in oldest {
                if self.bytes <= BYTES_MAX / 4 * 3 {
                    break;
                }
                self.remove(id);
            }
        }
    }

    /// One round of upkeep: what nobody asked for lately goes.
    pub fn cool(&mut self) {
        self.round += 1;
        let oldest = self.round.saturating_sub(ROUNDS_MAX);
        let unused: Vec<i64> = self.bodies.iter().filter(|(_, k)| k.round < oldest).map(|(id, _)| *id).collect();
        unused.into_iter().for_each(|id| self.remove(id));
        if self.bodies.is_empty() {
            self.bodies.shrink_to_fit();
        }
    }

    pub fn remove(&mut self, page: i64) {
        self.bytes -= self.bodies.remove(&page).map_or(0, |old| old.body.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first_and_the_unused_with_time() {
        let mut warm = Warm::default();
        let body = Arc::new(vec![0; BYTES_MAX / 4]);
        (1..=4).for_each(|page| warm.put(page, body.clone()));
        assert!(warm.get(1).is_some());
        warm.put(5, body.clone());
        assert_eq!([1, 2, 3, 4, 5].map(|page| warm.get(page).is_some()), [true, false, false, true, true]);
        for _ in 0..=ROUNDS_MAX {
            warm.get(5);
            warm.cool();
        }
        assert!(warm.get(1).is_none() && warm.get(5).is_some());
        assert_eq!(warm.bytes, body.len());
        warm.put(6, Arc::new(vec![0; BYTES_MAX + 1]));
        assert!(warm.get(6).is_none());
    }
}
