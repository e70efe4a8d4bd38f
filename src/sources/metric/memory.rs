//! Which series a target gave last, in its order: nearly every round gives the same ones again, and then nothing is looked
//! up, nothing has vanished and nothing is new.

use std::collections::{HashMap, HashSet};

use crate::domain::metric::Labels;

#[derive(Debug, Default)]
pub(super) struct Memory {
    last: Vec<Seen>,
    /// Samples of this round that were as in the last.
    same: usize,
    /// From the first that was not.
    odd: Option<Odd>,
}

/// One sample of a round.
#[derive(Debug, Clone)]
struct Seen {
    /// By the target.
    given: Labels,
    stored: Labels,
    /// Its end will be marked.
    alive: bool,
    /// There was one with the same labels before it.
    repeats: bool,
}

#[derive(Debug)]
struct Odd {
    now: Vec<Seen>,
    /// Where `given` stood in the last round.
    places: HashMap<Labels, usize>,
    alive: HashSet<Labels>,
}

/// What a round has that the last one had not, and the other way round.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    pub added: usize,
    /// Sorted, so that runs can be compared.
    pub vanished: Vec<Labels>,
}

impl Memory {
    /// The labels to store for a series, which `complete` works out if nobody knows them; `None` when a series that is
    /// `alive` came twice.
    pub(super) fn see(&mut self, given: Labels, alive: bool, complete: impl Fn(&Labels) -> Labels) -> Option<Labels> {
        if self.odd.is_none() {
            if let Some(seen) = self.last.get(self.same).filter(|seen| seen.alive == alive && seen.given == given) {
                self.same += 1;
                return (!seen.repeats).then(|| seen.stored.clone());
            }
            let now = self.last[..self.same].to_vec();
            let alive = living(&now).cloned().collect();
            let places = self.last.iter().enumerate().map(|(at, seen)| (seen.given.clone(), at)).collect();
            self.odd = Some(Odd { now, places, alive });
        }
        let odd = self.odd.as_mut()?;
        let known = odd.places.get(&given).map(|at| self.last[*at].stored.clone());
        let stored = known.unwrap_or_else(|| complete(&given));
        let repeats = alive && !odd.alive.insert(stored.clone());
        odd.now.push(Seen { given, stored: stored.clone(), alive, repeats });
        (!repeats).then_some(stored)
    }

    /// Ends a round: what was seen is what the next one is compared with.
    pub(super) fn turn(&mut self) -> Difference {
        let same = std::mem::take(&mut self.same);
        let now = match self.odd.take() {
            None if same == self.last.len() => return Difference::default(),
            None => self.last[..same].to_vec(),
            Some(odd) => odd.now,
        };
        let last = std::mem::replace(&mut self.last, now);
        let before: HashSet<&Labels> = living(&last).collect();
        let after: HashSet<&Labels> = living(&self.last).collect();
        let mut vanished: Vec<Labels> = before.difference(&after).map(|labels| (*labels).clone()).collect();
        vanished.sort();
        Difference { added: after.difference(&before).count(), vanished }
    }
}

fn living(round: &[Seen]) -> impl Iterator<Item = &Labels> {
    round.iter().filter(|seen| seen.alive && !seen.repeats).map(|seen| &seen.stored)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::metric::NAME;

    fn named(name: &str) -> Labels {
        Labels::new([(NAME, name)])
    }

    /// What was taken of a round, and how it differs.
    fn round(memory: &mut Memory, names: &str) -> (String, usize, String) {
        let complete = |given: &Labels| given.with("job", "shop");
        let seen = names.chars().map(|c| (named(&c.to_lowercase().to_string()), c.is_lowercase()));
        let taken: String = seen.filter_map(|(given, alive)| memory.see(given, alive, complete)).map(name).collect();
        let Difference { added, vanished } = memory.turn();
        (taken, added, vanished.into_iter().map(name).collect())
    }

    fn name(labels: Labels) -> String {
        assert_eq!(labels.get("job"), Some("shop"));
        labels.name().to_string()
    }

    #[test]
    fn rounds_are_compared_whatever_their_order() {
        let mut memory = Memory::default();
        let mut next = |names: &str| round(&mut memory, names);
        let is = |taken: &str, added: usize, vanished: &str| (taken.to_string(), added, vanished.to_string());
        assert_eq!(next("abc"), is("abc", 3, ""));
        assert_eq!(next("abc"), is("abc", 0, ""));
        assert_eq!(next("ab"), is("ab", 0, "c"));
        assert_eq!(next("abc"), is("abc", 1, ""));
        assert_eq!(next("cxa"), is("cxa", 1, "b"));
        // Twice, again and again.
        assert_eq!(next("cxax"), is("cxa", 0, ""));
        assert_eq!(next("cxax"), is("cxa", 0, ""));
        // Capital: with a time of its own, so nobody knows when it ends.
        assert_eq!(next("cXa"), is("cxa", 0, "x"));
        assert_eq!(next("cXa"), is("cxa", 0, ""));
        assert_eq!(next("c"), is("c", 0, "a"));
        assert_eq!(next(""), is("", 0, "c"));
        assert_eq!(next(""), is("", 0, ""));
    }
}
