//! A page: sealed samples of many series over one stretch of time. Series with the same times share them, and stand
//! beside their next of kin (the buckets of one histogram), so that a column can be packed as a difference.
//!
//! A page has a directory, which is kept in memory, and a body, which is read when a query needs it. Pure; the caller
//! keeps a crc32 beside the body.

use std::collections::HashMap;

use super::batch::{Damaged, Point, put, take, unzigzag, zigzag};
use super::column::{self, Column, VALUES_MAX};
use crate::domain::metric::{Labels, NAME};

/// Series that share their times, in the order of their columns.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    /// Where its times begin in the body.
    at: u32,
    count: u32,
    start: i64,
    end: i64,
    columns: Vec<(u32, u32)>,
}

/// What is in a page and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Directory {
    groups: Vec<Group>,
    /// (series, group, column), ascending.
    by_series: Vec<(u32, u32, u32)>,
    body_bytes: u32,
}

impl Directory {
    fn new(groups: Vec<Group>, body_bytes: u32) -> Directory {
        let mut by_series: Vec<(u32, u32, u32)> = groups
            .iter()
            .enumerate()
            .flat_map(|(g, group)| group.columns.iter().enumerate().map(move |(c, (id, _))| (*id, g as u32, c as u32)))
            .collect();
        by_series.sort_unstable();
        Directory { groups, by_series, body_bytes }
    }

    /// Every series with the time of its last sample here.
    pub fn series(&self) -> impl Iterator<Item = (u32, i64)> {
        self.by_series.iter().map(|&(id, group, _)| (id, self.groups[group as usize].end))
    }

    /// Where the samples of `series` that may lie in `[start, end]` are: a page may have several stretches of one series.
    pub fn find(&self, series: u32, start: i64, end: i64) -> impl Iterator<Item = Place> {
        let from = self.by_series.partition_point(|e| e.0 < series);
        let mine = self.by_series[from..].iter().take_while(move |e| e.0 == series);
        mine.filter(move |e| {
            let group = &self.groups[e.1 as usize];
            group.start <= end && group.end >= start
        })
        .map(|&(_, group, column)| Place { group, column })
    }

    /// Calls `found` with the position in `wanted` (series, ascending) and the place of each column that may have samples
    /// in `[start, end]`. The shorter of both lists is walked.
    pub fn each(&self, wanted: &[u32], (start, end): (i64, i64), mut found: impl FnMut(usize, Place)) {
        if wanted.len() < self.by_series.len() {
            for (at, &series) in wanted.iter().enumerate() {
                self.find(series, start, end).for_each(|place| found(at, place));
            }
            return;
        }
        for &(series, group, column) in &self.by_series {
            let Ok(at) = wanted.binary_search(&series) else { continue };
            let group_of = &self.groups[group as usize];
            if group_of.start <= end && group_of.end >= start {
                found(at, Place { group, column });
            }
        }
    }

    /// Samples of a column.
    pub fn count(&self, place: Place) -> u64 {
        self.groups.get(place.group as usize).map_or(0, |g| u64::from(g.count))
    }

    pub fn samples(&self) -> u64 {
        self.groups.iter().map(|g| u64::from(g.count) * g.columns.len() as u64).sum()
    }

    pub fn span(&self) -> (i64, i64) {
        let start = self.groups.iter().map(|g| g.start).min();
        let end = self.groups.iter().map(|g| g.end).max();
        (start.unwrap_or(i64::MAX), end.unwrap_or(i64::MIN))
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.by_series.len() * 4 + self.groups.len() * 16);
        put(&mut out, self.groups.len() as u64);
        let mut offset = 0;
        for group in &self.groups {
            put(&mut out, u64::from(group.count));
            put(&mut out, zigzag(group.start));
            put(&mut out, (group.end - group.start) as u64);
            put(&mut out, u64::from(group.at - offset));
            offset = group.at;
            put(&mut out, group.columns.len() as u64);
            let mut last = 0;
            for &(id, at) in &group.columns {
                put(&mut out, zigzag(i64::from(id) - last));
                put(&mut out, u64::from(at - offset));
                (last, offset) = (i64::from(id), at);
            }
        }
        put(&mut out, u64::from(self.body_bytes - offset));
        out
    }

    pub fn decode(mut bytes: &[u8]) -> Result<Directory, Damaged> {
        const TORN: Damaged = Damaged("a page's directory makes no sense");
        let bytes = &mut bytes;
        let mut next = || take(bytes);
        let many = next()? as usize;
        let mut groups = Vec::with_capacity(many.min(1 << 16));
        let mut offset = 0u32;
        let step = |offset: u32, by: u64| u32::try_from(u64::from(offset).saturating_add(by)).map_err(|_| TORN);
        for _ in 0..many {
            let count = u32::try_from(next()?).ok().filter(|n| *n as usize <= VALUES_MAX).ok_or(TORN)?;
            let start = unzigzag(next()?);
            let end = start.checked_add_unsigned(next()?).ok_or(TORN)?;
            offset = step(offset, next()?)?;
            let mut group = Group { at: offset, count, start, end, columns: Vec::new() };
            let columns = next()? as usize;
            group.columns.reserve(columns.min(1 << 16));
            let mut id = 0i64;
            for _ in 0..columns {
                id = id.wrapping_add(unzigzag(next()?));
                offset = step(offset, next()?)?;
                group.columns.push((u32::try_from(id).map_err(|_| TORN)?, offset));
            }
            groups.push(group);
        }
        let body_bytes = step(offset, next()?)?;
        if bytes.is_empty() { Ok(Directory::new(groups, body_bytes)) } else { Err(TORN) }
    }
}

/// A column of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    group: u32,
    column: u32,
}

/// Unpacks columns of one page. Remembers the last one of each kind: columns asked for in their order are unpacked once,
/// although each may stand beside the one before.
#[derive(Debug, Default)]
pub(super) struct Reader {
    times: Option<(u32, Vec<i64>)>,
    last: Option<(Place, Column)>,
}

impl Reader {
    /// Appends the samples of `place` in `[start, end]`.
    pub fn read(
        &mut self,
        directory: &Directory,
        body: &[u8],
        place: Place,
        (start, end): (i64, i64),
        out: &mut Vec<Point>,
    ) -> Result<(), Damaged> {
        let torn = || Damaged("a page is shorter than its directory says");
        let group = directory.groups.get(place.group as usize).ok_or_else(torn)?;
        let slice = |from: u32, to: u32| body.get(from as usize..to as usize).ok_or_else(torn);
        let column_bytes = |nth: u32| {
            let from = group.columns.get(nth as usize).ok_or_else(torn)?.1;
            let next_group = || directory.groups.get(place.group as usize + 1).map_or(directory.body_bytes, |g| g.at);
            let to = group.columns.get(nth as usize + 1).map_or_else(next_group, |c| c.1);
            slice(from, to)
        };
        let count = group.count as usize;
        if self.times.as_ref().is_none_or(|(of, _)| *of != place.group) {
            let times = column::unpack_times(slice(group.at, group.columns.first().ok_or_else(torn)?.1)?, count)?;
            self.times = Some((place.group, times));
        }
        let known = self.last.as_ref().filter(|(at, _)| at.group == place.group && at.column <= place.column);
        // The nearest column that stands alone, unless the one remembered is nearer.
        let mut first = place.column;
        while first > 0 && known.is_none_or(|(at, _)| at.column < first) && column::leans(column_bytes(first)?) {
            first -= 1;
        }
        let mut column = match known {
            Some((at, column)) if at.column >= first => {
                first = at.column + 1;
                Some(column.clone())
            }
            _ => None,
        };
        for nth in first..=place.column {
            column = Some(column::unpack(column_bytes(nth)?, count, column.as_ref())?);
        }
        let column = column.ok_or_else(torn)?;
        let times = self.times.as_ref().map(|(_, times)| times.as_slice()).unwrap_or_default();
        let from = times.partition_point(|t| *t < start);
        let to = times.partition_point(|t| *t <= end).max(from);
        out.extend(times[from..to].iter().copied().zip(column.bits[from..to].iter().copied()));
        self.last = Some((place, column));
        Ok(())
    }
}

/// Samples of one series on their way into a page.
pub(super) struct Strand {
    pub series: u32,
    pub labels: Labels,
    /// Ascending in time, at least one.
    pub points: Vec<Point>,
}

/// Packs strands into one page; those with equal times share them.
pub(super) fn build(strands: Vec<Strand>) -> (Directory, Vec<u8>) {
    let mut strands: Vec<(Kin, Strand)> = strands.into_iter().map(|s| (Kin::of(&s.labels), s)).collect();
    strands.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.labels.cmp(&b.1.labels)));
    let mut known: HashMap<Vec<i64>, usize> = HashMap::new();
    let mut families: Vec<Vec<(Kin, Strand)>> = Vec::new();
    for (kin, strand) in strands {
        let times = strand.points.iter().map(|p| p.0).collect();
        let at = *known.entry(times).or_insert_with(|| {
            families.push(Vec::new());
            families.len() - 1
        });
        families[at].push((kin, strand));
    }
    let (mut groups, mut body) = (Vec::with_capacity(families.len()), Vec::new());
    for family in &families {
        let times: Vec<i64> = family[0].1.points.iter().map(|p| p.0).collect();
        let at = body.len() as u32;
        column::pack_times(&times, &mut body);
        let mut columns = Vec::with_capacity(family.len());
        let mut before: Option<(&Kin, Column)> = None;
        for (kin, strand) in family {
            columns.push((strand.series, body.len() as u32));
            let column = Column::of(strand.points.iter().map(|p| p.1).collect());
            let beside = before.as_ref().filter(|(other, _)| kin.follows(other)).map(|(_, column)| column);
            column::pack(&column, beside, &mut body);
            before = Some((kin, column));
        }
        let (start, end) = (times[0], times[times.len() - 1]);
        groups.push(Group { at, count: times.len() as u32, start, end, columns });
    }
    let body_bytes = body.len() as u32;
    (Directory::new(groups, body_bytes), body)
}

/// What tells a histogram's series from all others, and their order: buckets by rising bound, then the count, which is
/// the last bucket's twin.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kin {
    family: String,
    rest: Labels,
    rank: u8,
    /// `le` as an integer of the same order.
    bound: i64,
}

impl Kin {
    const BUCKET: u8 = 0;
    const COUNT: u8 = 1;
    const OTHER: u8 = 2;

    pub fn of(labels: &Labels) -> Kin {
        let name = labels.name();
        let le = labels.get("le").and_then(|le| if le == "+Inf" { Some(f64::INFINITY) } else { le.parse().ok() });
        let (family, rank, bound) = match (name.strip_suffix("_bucket"), le, name.strip_suffix("_count")) {
            (Some(family), Some(le), _) => {
                let bits = le.to_bits() as i64;
                (family, Kin::BUCKET, bits ^ ((bits >> 63) as u64 >> 1) as i64)
            }
            (_, _, Some(family)) => (family, Kin::COUNT, 0),
            _ => (name, Kin::OTHER, 0),
        };
        Kin { family: family.into(), rest: labels.without(&[NAME, "le"]), rank, bound }
    }

    /// Is this the next series of the histogram of `before`?
    fn follows(&self, before: &Kin) -> bool {
        before.rank == Kin::BUCKET
            && self.rank != Kin::OTHER
            && (&self.family, &self.rest) == (&before.family, &before.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A counter that grows by up to 255.
    fn grown(i: i64) -> f64 {
        (0..=i as u64).map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as f64).sum()
    }

    fn strand(series: u32, labels: Labels, value: impl Fn(i64) -> f64) -> Strand {
        Strand { series, labels, points: (0..200).map(|i| (i * 15_000, value(i).to_bits())).collect() }
    }

    /// A histogram whose series came in any order, a gauge, and a series with times of its own.
    fn strands() -> Vec<Strand> {
        let bucket = |le: &str| Labels::new([(NAME, "rt_bucket"), ("job", "shop"), ("le", le)]);
        let mut strands = vec![
            strand(9, Labels::new([(NAME, "rt_count"), ("job", "shop")]), grown),
            strand(4, bucket("+Inf"), grown),
            strand(2, bucket("0.5"), |i| grown(i) - (i / 9) as f64),
            strand(7, bucket("0.1"), |i| (grown(i) / 2.0).floor()),
            strand(1, Labels::new([(NAME, "load"), ("job", "shop")]), |i| 1.0 / (i + 1) as f64),
        ];
        strands.push(strand(5, Labels::new([(NAME, "late")]), |_| 3.0));
        strands[5].points.drain(..150);
        strands
    }

    #[test]
    fn a_page_gives_back_every_sample_whatever_the_order_of_asking() {
        let (directory, body) = build(strands());
        assert_eq!(Directory::decode(&directory.encode()).unwrap(), directory);
        assert_eq!(directory.samples(), 5 * 200 + 50);
        assert_eq!(directory.span(), (0, 199 * 15_000));
        for order in [[1, 2, 4, 5, 7, 9], [9, 7, 5, 4, 2, 1], [4, 9, 7, 2, 1, 5]] {
            let mut reader = Reader::default();
            for id in order {
                let wanted = strands().into_iter().find(|s| s.series == id).unwrap().points;
                let places: Vec<Place> = directory.find(id, 0, i64::MAX).collect();
                assert_eq!(places.len(), 1);
                let mut got = Vec::new();
                reader.read(&directory, &body, places[0], (0, i64::MAX), &mut got).unwrap();
                assert_eq!(got, wanted, "series {id}");
                got.clear();
                reader.read(&directory, &body, places[0], (2_400_000, 2_430_000), &mut got).unwrap();
                assert_eq!(got.iter().map(|p| p.0).collect::<Vec<_>>(), [2_400_000, 2_415_000, 2_430_000]);
            }
        }
        assert_eq!(directory.find(3, 0, i64::MAX).count(), 0);
        assert_eq!(directory.find(5, 0, 1000).count(), 0);
    }

    #[test]
    fn buckets_that_move_together_are_cheap() {
        let (_, body) = build(strands().into_iter().filter(|s| s.labels.name().starts_with("rt")).collect());
        let (_, alone) = build(strands().into_iter().filter(|s| s.series == 4).collect());
        assert!(body.len() < alone.len() * 3, "{} against {} for one", body.len(), alone.len());
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic() {
        let (directory, body) = build(strands());
        let encoded = directory.encode();
        for cut in 0..encoded.len() {
            assert!(Directory::decode(&encoded[..cut]).is_err(), "cut at {cut}");
        }
        for cut in 0..body.len() {
            for id in [1, 2, 4, 5, 7, 9] {
                for place in directory.find(id, 0, i64::MAX) {
                    let _ = Reader::default().read(&directory, &body[..cut], place, (0, i64::MAX), &mut Vec::new());
                }
            }
        }
    }
}
