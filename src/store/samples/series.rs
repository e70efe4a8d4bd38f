//! The series of an index by number, each in a slot of its own, so that who knows the slot finds it at once. Pure.

use super::batch::Point;
use super::head::Head;
use crate::domain::metric::Labels;

/// One series.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: u32,
    pub(super) labels: Labels,
    /// Samples up to here are in pages, or in rollups.
    pub(super) sealed_to: Option<i64>,
    /// All after `sealed_to`.
    pub(super) head: Head,
}

impl Entry {
    /// Time of the newest sample, and its bits when it is still in memory.
    pub(super) fn last(&self) -> Option<(i64, Option<u64>)> {
        self.head.last().map(|(t, v)| (t, Some(v))).or(self.sealed_to.map(|t| (t, None)))
    }
    /// Head samples in `[start, end]`.
    pub(super) fn between(&self, start: i64, end: i64) -> Vec<Point> {
        let mut points = Vec::new();
        self.head.part(start, end).read(start, end, &mut points);
        points
    }
}

/// Where a series was: its slot and its number. Right as long as the series of that number is there.
pub(super) type Place = (u32, u32);

/// Nowhere.
pub(super) const NOWHERE: Place = (u32::MAX, u32::MAX);

#[derive(Debug, Default)]
pub(super) struct SeriesMap {
    slots: Vec<Option<Entry>>,
    free: Vec<u32>,
    /// (number, slot), ascending.
    by_id: Vec<(u32, u32)>,
}

impl SeriesMap {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }
    /// More than any slot's number.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }
    /// Ascending.
    pub(super) fn keys(&self) -> impl Iterator<Item = &u32> {
        self.by_id.iter().map(|(id, _)| id)
    }
    /// By number, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&u32, &Entry)> {
        self.by_id.iter().filter_map(|(id, slot)| Some((id, self.slots.get(*slot as usize)?.as_ref()?)))
    }
    pub(super) fn get(&self, id: &u32) -> Option<&Entry> {
        self.at((self.slot_of(*id)?, *id))
    }
    pub(super) fn get_mut(&mut self, id: &u32) -> Option<&mut Entry> {
        self.at_mut((self.slot_of(*id)?, *id))
    }
    pub(super) fn at(&self, (slot, id): Place) -> Option<&Entry> {
        self.slots.get(slot as usize)?.as_ref().filter(|entry| entry.id == id)
    }
    pub(super) fn at_mut(&mut self, (slot, id): Place) -> Option<&mut Entry> {
        self.slots.get_mut(slot as usize)?.as_mut().filter(|entry| entry.id == id)
    }
    /// Whose slot it is.
    pub(super) fn place(&self, slot: u32) -> Option<Place> {
        Some((slot, self.slots.get(slot as usize)?.as_ref()?.id))
    }

    /// A series without samples; returns its slot.
    pub(super) fn insert(&mut self, id: u32, labels: Labels) -> u32 {
        let entry = Some(Entry { id, labels, sealed_to: None, head: Head::default() });
        if let Some(slot) = self.slot_of(id) {
            self.slots[slot as usize] = entry;
            return slot;
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(None);
                self.slots.len() as u32 - 1
            }
        };
        self.slots[slot as usize] = entry;
        // Numbers grow: at the end, nearly always.
        let at = self.by_id.partition_point(|(known, _)| *known < id);
        self.by_id.insert(at, (id, slot));
        slot
    }

    pub(super) fn remove(&mut self, id: u32) -> Option<Entry> {
        let at = self.by_id.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        let (_, slot) = self.by_id.remove(at);
        self.free.push(slot);
        self.slots.get_mut(slot as usize)?.take()
    }

    fn slot_of(&self, id: u32) -> Option<u32> {
        // Where it is while no number is missing.
        let first = self.by_id.first()?.0;
        if let Some((known, slot)) = self.by_id.get(id.checked_sub(first)? as usize)
            && *known == id
        {
            return Some(*slot);
        }
        let at = self.by_id.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(self.by_id[at].1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map_by_number(steps in prop::collection::vec((1u32..40, any::<bool>()), 0..200)) {
            let (mut map, mut plain) = (SeriesMap::default(), BTreeMap::new());
            let mut places = Vec::new();
            for (id, insert) in steps {
                let labels = Labels::new([("n", id.to_string())]);
                if insert {
                    places.push((map.insert(id, labels.clone()), id));
                    plain.insert(id, labels);
                } else {
                    prop_assert_eq!(map.remove(id).map(|e| e.labels), plain.remove(&id));
                }
                let held: Vec<_> = map.iter().map(|(id, e)| (*id, e.labels.clone())).collect();
                prop_assert_eq!(held, plain.iter().map(|(id, l)| (*id, l.clone())).collect::<Vec<_>>());
                prop_assert!((0..40).all(|id| map.get(&id).map(|e| &e.labels) == plain.get(&id)));
                prop_assert!(places.iter().all(|p| map.at(*p).is_none_or(|e| plain.get(&p.1) == Some(&e.labels))));
                prop_assert!(map.slots() <= 40 && map.len() == plain.len());
            }
        }
    }
}
