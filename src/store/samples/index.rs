//! Which series exist, by label; and the head: their newest samples, in memory. Pure; `mod.rs` keeps it equal to the file.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::batch::BatchSample;
use super::changes::Changes;
use super::load::Item;
use super::page::Directory;
use super::rollup::Rollups;
use super::series::{Entry, NOWHERE, Place, SeriesMap};
use crate::domain::metric::{Labels, MatchOp, Matcher, Places, Roster, Text};

/// What the writer refuses above: more label sets than one machine's memory should answer for (watch.md 0.3).
pub(super) const SERIES_MAX: usize = 200_000;

/// A stored page: all but its body.
#[derive(Debug, Clone)]
pub(super) struct Page {
    /// 0: as sealed; 1: compacted.
    pub(super) level: u8,
    /// Start of its window.
    pub(super) slot: i64,
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) samples: u64,
    pub(super) bytes: u64,
    pub(super) directory: Arc<Directory>,
}

impl Page {
    pub(super) fn new(level: u8, slot: i64, bytes: u64, directory: Directory) -> Page {
        let (start, end) = directory.span();
        Page { level, slot, start, end, samples: directory.samples(), bytes, directory: Arc::new(directory) }
    }
}

/// One stored batch of the head, oldest first.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchInfo {
    pub(super) id: i64,
    pub(super) max_t: i64,
    pub(super) count: u64,
}

#[derive(Debug)]
pub(super) struct Index {
    /// Of no other index of this process: places noted by another mean nothing here.
    mark: u64,
    pub(super) series: SeriesMap,
    /// In which slot they are.
    by_labels: HashMap<Labels, u32>,
    /// label -> value -> series, ascending.
    postings: BTreeMap<Text, BTreeMap<Text, Vec<u32>>>,
    strings: HashSet<Text>,
    pub(super) next_id: u32,
    pub(super) batches: VecDeque<BatchInfo>,
    /// By number, which grows with every page written.
    pub(super) pages: BTreeMap<i64, Page>,
    pub(super) rollups: Rollups,
    pub(super) head_samples: u64,
    pub(super) changes: Changes,
}

impl Default for Index {
    fn default() -> Index {
        static MADE: AtomicU64 = AtomicU64::new(0);
        Index {
            mark: MADE.fetch_add(1, Ordering::Relaxed),
            series: SeriesMap::default(),
            by_labels: HashMap::default(),
            postings: BTreeMap::default(),
            strings: HashSet::default(),
            next_id: 0,
            batches: VecDeque::default(),
            pages: BTreeMap::default(),
            rollups: Rollups::default(),
            head_samples: 0,
            changes: Changes::default(),
        }
    }
}

impl Index {
    pub(super) fn find(&self, labels: &Labels) -> Option<Place> {
        self.series.place(*self.by_labels.get(labels)?)
    }

    /// Where each series of a roster is, as far as they are known.
    pub(super) fn places(&self, roster: &Roster) -> Places {
        if let Some(places) = roster.places(self.mark) {
            return places;
        }
        let found = roster.series().iter().map(|labels| self.find(labels).unwrap_or(NOWHERE)).collect();
        let places = Places::new(found);
        if !places.contains(&NOWHERE) {
            roster.note(self.mark, Some(places.clone()));
        }
        places
    }

    /// One of them is there no more, or by another number.
    pub(super) fn forget_places(&self, roster: &Roster) {
        roster.note(self.mark, None);
    }

    /// Names and values repeat in thousands of series: each text is kept once.
    pub(super) fn insert(&mut self, id: u32, labels: &Labels) {
        let mut kept = |text: &Text| match self.strings.get(&**text) {
            Some(known) => known.clone(),
            None => {
                self.strings.insert(text.clone());
                text.clone()
            }
        };
        let pairs: Vec<_> = labels.pairs().iter().map(|(n, v)| (kept(n), kept(v))).collect();
        self.adopt(id, Labels::new(pairs));
    }

    /// [`Index::insert`] for labels whose texts are shared already, and that somebody else keeps too: no second copy.
    pub(super) fn adopt(&mut self, id: u32, labels: Labels) {
        for (name, value) in labels.pairs() {
            let ids = self.postings.entry(name.clone()).or_default().entry(value.clone()).or_default();
            let at = ids.partition_point(|&known| known < id);
            ids.insert(at, id);
        }
        let slot = self.series.insert(id, labels.clone());
        self.by_labels.insert(labels, slot);
        self.next_id = self.next_id.max(id + 1);
    }

    pub(super) fn remove(&mut self, id: u32) {
        let Some(entry) = self.series.remove(id) else { return };
        self.changes.note(i64::MIN);
        self.head_samples -= entry.head.len() as u64;
        self.by_labels.remove(&entry.labels);
        for (name, value) in entry.labels.pairs() {
            let Some(values) = self.postings.get_mut(name) else { continue };
            if let Some(ids) = values.get_mut(value) {
                ids.retain(|&other| other != id);
                if ids.is_empty() {
                    values.remove(value);
                }
            }
            if values.is_empty() {
                self.postings.remove(name);
            }
        }
    }

    pub(super) fn apply(&mut self, item: Item) {
        match item {
            Item::Series(id, labels) => self.insert(id, &labels),
            Item::Page(id, page) => self.add_page(id, page),
            Item::Rollup(part) => self.rollups.insert(part),
            Item::RolledTo(id, end) => self.sealed(id, end),
            Item::Batch(info, samples) => self.replay(info, &samples, &[]),
        }
    }

    /// Takes in a stored page: what is in it leaves the head.
    pub(super) fn add_page(&mut self, id: i64, page: Page) {
        for (series, end) in page.directory.series() {
            self.sealed(series, end);
        }
        self.pages.insert(id, page);
    }

    /// Takes in a stored batch; `slots`: where the series of its samples are, as far as that is known. Samples that a seal
    /// already moved to pages are skipped: a crash between the slices of a seal leaves the batch behind.
    pub(super) fn replay(&mut self, info: BatchInfo, samples: &[BatchSample], slots: &[u32]) {
        let mut at = 0;
        for run in samples.chunk_by(|a, b| a.0 == b.0) {
            let id = run[0].0;
            let place = slots.get(at).map(|slot| (*slot, id)).filter(|place| self.series.at(*place).is_some());
            at += run.len();
            let found = match place {
                Some(place) => self.series.at_mut(place),
                None => self.series.get_mut(&id),
            };
            let Some(entry) = found else { continue };
            let last = entry.last().map_or(i64::MIN, |(last, _)| last);
            // Ascending within a series, as an append took them.
            for &(_, t, v) in run.iter().filter(|s| s.1 > last) {
                entry.head.push((t, v));
                self.head_samples += 1;
            }
        }
        self.batches.push_back(info);
        if let Some(earliest) = samples.iter().map(|s| s.1).min() {
            self.changes.note(earliest);
        }
    }

    fn sealed(&mut self, id: u32, sealed_to: i64) {
        if let Some(entry) = self.series.get_mut(&id) {
            self.head_samples -= entry.head.drop_to(sealed_to) as u64;
            entry.sealed_to = entry.sealed_to.max(Some(sealed_to));
        }
    }

    /// Has it raw samples, or might it?
    pub(super) fn is_live(&self, entry: &Entry) -> bool {
        !entry.head.is_empty() || entry.sealed_to.is_some_and(|t| self.rollups.until().is_none_or(|until| t >= until))
    }

    /// Those that have raw samples, as far as the last upkeep knows.
    pub(super) fn live_series(&self) -> usize {
        self.series.len().saturating_sub(self.rollups.only)
    }

    /// Series that match all matchers, ascending.
    pub(super) fn select(&self, matchers: &[Matcher]) -> Vec<u32> {
        let mut narrowed: Option<Vec<u32>> = None;
        for matcher in matchers {
            // A matcher that the empty value satisfies also selects series without the label: no posting says which.
            if matcher.matches_value("") {
                continue;
            }
            let found = self.postings_of(matcher);
            narrowed = Some(match narrowed {
                None => found,
                Some(before) => before.into_iter().filter(|id| found.binary_search(id).is_ok()).collect(),
            });
        }
        let matches = |id: &u32| self.series.get(id).is_some_and(|e| matchers.iter().all(|m| m.matches(&e.labels)));
        match narrowed {
            Some(ids) => ids.into_iter().filter(matches).collect(),
            None => self.series.keys().copied().filter(matches).collect(),
        }
    }

    /// Ascending.
    fn postings_of(&self, matcher: &Matcher) -> Vec<u32> {
        let Some(values) = self.postings.get(matcher.label.as_str()) else { return Vec::new() };
        if let MatchOp::Equal(value) = &matcher.op {
            return values.get(value.as_str()).cloned().unwrap_or_default();
        }
        // A series has one value per label, so the lists are disjoint.
        let mut ids: Vec<u32> =
            values.iter().filter(|(v, _)| matcher.matches_value(v)).flat_map(|(_, ids)| ids).copied().collect();
        ids.sort_unstable();
        ids
    }

    pub(super) fn label_names(&self) -> Vec<String> {
        self.postings.keys().map(|n| n.to_string()).collect()
    }

    pub(super) fn label_values(&self, name: &str) -> Vec<String> {
        self.postings.get(name).into_iter().flat_map(|values| values.keys()).map(|v| v.to_string()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::metric::NAME;

    fn index() -> Index {
        let mut index = Index::default();
        for (id, code) in [(1, "200"), (2, "500"), (3, "503")] {
            index.insert(id, &Labels::new([(NAME, "http_requests_total"), ("code", code)]));
        }
        index.insert(4, &Labels::new([(NAME, "up"), ("job", "shop")]));
        index
    }

    #[test]
    fn matchers_select_by_posting_and_by_absence() {
        let index = index();
        let code = |p| Matcher::regex("code", p).unwrap();
        assert_eq!(index.select(&[Matcher::equal(NAME, "http_requests_total"), code("5..")]), [2, 3]);
        assert_eq!(index.select(&[Matcher::equal("code", "")]), [4]);
        assert_eq!(index.select(&[code(".*")]), [1, 2, 3, 4]);
        assert_eq!(index.select(&[Matcher { label: "code".into(), op: MatchOp::NotEqual("200".into()) }]), [2, 3, 4]);
        assert_eq!(index.select(&[Matcher::equal("nothing", "x")]), [0u32; 0]);
    }

    #[test]
    fn a_removed_series_leaves_nothing_behind() {
        let mut index = index();
        index.remove(4);
        assert_eq!(index.label_values("job"), [""; 0]);
        assert_eq!(index.label_names(), [NAME, "code"]);
        assert_eq!(index.find(&Labels::new([(NAME, "up"), ("job", "shop")])), None);
    }
}
