//! Which series a target gave last, in its order: nearly every round gives the same ones again, and then nothing has
//! vanished and nothing is new.

use std::collections::HashSet;
use std::sync::Arc;

use crate::domain::metric::{LabelledSample, Labels, Roster, Round};

#[derive(Debug, Default)]
pub(super) struct Memory {
    roster: Arc<Roster>,
    /// Positions of series whose end nobody knows, ascending.
    timed: Vec<usize>,
    /// Positions of series that had come before, ascending.
    repeats: Vec<usize>,
}

/// What a round has that the last one had not, and the other way round.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    pub added: usize,
    /// Sorted, so that runs can be compared.
    pub vanished: Vec<Labels>,
}

impl Memory {
    /// With the last round's roster if it has just these series, so that what a store noted in it stays.
    pub(super) fn round(&self, samples: Vec<LabelledSample>) -> Round {
        let (series, samples): (Vec<_>, Vec<_>) = samples.into_iter().map(|s| (s.labels, s.sample)).unzip();
        let same = self.roster.series() == series;
        let roster = if same { self.roster.clone() } else { Arc::new(Roster::new(series)) };
        Round { roster, samples }
    }

    /// Another round: what is seen is what the next one is compared with. `timed`, ascending: which samples have a time of
    /// their own.
    pub(super) fn turn(&mut self, roster: &Arc<Roster>, timed: Vec<usize>) -> Difference {
        if Arc::ptr_eq(&self.roster, roster) && self.timed == timed {
            return Difference::default();
        }
        let repeats = repeats(roster, &timed);
        let last = std::mem::replace(self, Memory { roster: roster.clone(), timed, repeats });
        let before: HashSet<&Labels> = last.living().collect();
        let after: HashSet<&Labels> = self.living().collect();
        let mut vanished: Vec<Labels> = before.difference(&after).map(|labels| (*labels).clone()).collect();
        vanished.sort();
        Difference { added: after.difference(&before).count(), vanished }
    }

    /// Positions in the last round of samples that are one too many.
    pub(super) fn repeats(&self) -> &[usize] {
        &self.repeats
    }

    fn living(&self) -> impl Iterator<Item = &Labels> {
        let alive = |at: &usize| self.timed.binary_search(at).is_err() && self.repeats.binary_search(at).is_err();
        self.roster.series().iter().enumerate().filter(move |(at, _)| alive(at)).map(|(_, labels)| labels)
    }
}

fn repeats(roster: &Roster, timed: &[usize]) -> Vec<usize> {
    let mut alive = HashSet::with_capacity(roster.series().len());
    let all = roster.series().iter().enumerate();
    all.filter(|(at, labels)| timed.binary_search(at).is_err() && !alive.insert(*labels)).map(|(at, _)| at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Timestamp;
    use crate::domain::metric::{NAME, Sample};

    fn named(name: char) -> LabelledSample {
        let labels = Labels::new([(NAME, name.to_lowercase().to_string())]);
        LabelledSample { labels, sample: Sample { t: Timestamp::from_ms(0), v: 0.0 } }
    }

    /// What was taken of a round, and how it differs.
    fn round(memory: &mut Memory, names: &str) -> (String, usize, String) {
        let roster = memory.round(names.chars().map(named).collect()).roster;
        let timed = names.char_indices().filter(|(_, c)| c.is_uppercase()).map(|(at, _)| at).collect();
        let Difference { added, vanished } = memory.turn(&roster, timed);
        let kept = roster.series().iter().enumerate().filter(|(at, _)| !memory.repeats().contains(at));
        let taken = kept.map(|(_, labels)| labels.name()).collect();
        (taken, added, vanished.iter().map(Labels::name).collect())
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

    #[test]
    fn the_same_series_are_the_same_roster() {
        let mut memory = Memory::default();
        let first = memory.round(vec![named('a')]).roster;
        memory.turn(&first, Vec::new());
        assert!(Arc::ptr_eq(&first, &memory.round(vec![named('a')]).roster));
        assert!(!Arc::ptr_eq(&first, &memory.round(vec![named('b')]).roster));
    }
}
