//! Since when what can be read has changed: lets results of queries be kept exactly as long as they are right. Pure.

use std::collections::VecDeque;

/// Changes are noted together when their earliest samples are no farther apart.
const TOGETHER_MS: i64 = 10_000;
/// Entries kept: hours of scraping. Of what is older than the first, everything counts as changed.
const LOG_MAX: usize = 1024;

/// For each revision the earliest sample that a later change touched.
#[derive(Debug, Default)]
pub(super) struct Changes {
    revision: u64,
    /// Before this revision nothing is known.
    forgotten: u64,
    /// (last revision, earliest time), both ascending: a change to old samples swallows those before it to newer ones.
    log: VecDeque<(u64, i64)>,
}

impl Changes {
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Samples at `earliest` milliseconds and perhaps later came or went.
    pub fn note(&mut self, earliest: i64) {
        self.revision += 1;
        while self.log.back().is_some_and(|(_, t)| *t >= earliest) {
            self.log.pop_back();
        }
        if let Some((revision, t)) = self.log.back_mut()
            && earliest.saturating_sub(*t) < TOGETHER_MS
        {
            *revision = self.revision;
            return;
        }
        self.log.push_back((self.revision, earliest));
        if self.log.len() > LOG_MAX {
            self.forgotten = self.log.pop_front().map_or(0, |(revision, _)| revision);
        }
    }

    /// At or before the earliest sample touched since `revision`; `None` when there was no change.
    pub fn since(&self, revision: u64) -> Option<i64> {
        if revision < self.forgotten {
            return Some(i64::MIN);
        }
        self.log.iter().find(|(last, _)| *last > revision).map(|(_, t)| *t)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_long_gone_counts_as_changed() {
        let mut changes = Changes::default();
        (0..2000).for_each(|i| changes.note(i * TOGETHER_MS));
        assert_eq!(changes.since(changes.revision()), None);
        assert_eq!(changes.since(1999), Some(1999 * TOGETHER_MS));
        assert_eq!(changes.since(0), Some(i64::MIN));
    }

    proptest! {
        #[test]
        fn never_later_than_the_earliest_change(notes in prop::collection::vec(0i64..100_000, 1..60)) {
            let mut changes = Changes::default();
            for (i, earliest) in notes.iter().enumerate() {
                changes.note(*earliest);
                for revision in 0..=i as u64 {
                    let truth = notes[revision as usize..=i].iter().min().copied().unwrap();
                    let said = changes.since(revision).unwrap();
                    prop_assert!(said <= truth && truth - said < TOGETHER_MS);
                }
            }
        }
    }
}
