//! A page: sealed samples of many series over one stretch of time. Series with the same times share them, and stand
//! beside their next of kin (the buckets of one histogram), so that a column can be packed as a difference.
//!
//! A page has a directory, which is kept in memory, and a body, which is read when a query needs it. Pure; the caller
//! keeps a crc32 beside the body.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::ops::Range;

use super::batch::{Damaged, Point, take};
use super::column::{self, Column, Unpacked, VALUES_MAX};
use crate::domain::metric::{Labels, NAME, Text};
use crate::domain::varint::{put, unzigzag, zigzag};

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

    /// The times of a group, of which `body` has the bytes.
    pub fn times(&self, body: &[u8], group: u32) -> Result<Vec<i64>, Damaged> {
        let group = self.groups.get(group as usize).ok_or(TORN)?;
        let to = group.columns.first().ok_or(TORN)?.1;
        column::unpack_times(body.get(group.at as usize..to as usize).ok_or(TORN)?, group.count as usize)
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
    pub group: u32,
    column: u32,
}

/// Unpacks columns of one page. Remembers the last: columns asked for in their order are unpacked once, although each may
/// stand beside the one before.
#[derive(Debug, Default)]
pub(super) struct Reader {
    last: Option<Place>,
    column: Unpacked,
}

impl Reader {
    /// Appends the values of `place` in these rows of its group.
    pub fn read(
        &mut self,
        directory: &Directory,
        body: &[u8],
        place: Place,
        rows: Range<usize>,
        out: &mut Vec<f64>,
    ) -> Result<(), Damaged> {
        let group = directory.groups.get(place.group as usize).ok_or(TORN)?;
        let bytes = |nth: u32| {
            let from = group.columns.get(nth as usize).ok_or(TORN)?.1;
            let next_group = || directory.groups.get(place.group as usize + 1).map_or(directory.body_bytes, |g| g.at);
            let to = group.columns.get(nth as usize + 1).map_or_else(next_group, |c| c.1);
            body.get(from as usize..to as usize).ok_or(TORN)
        };
        // The nearest column that stands alone, unless the one after the last is nearer.
        let next = self.last.take().filter(|last| last.group == place.group && last.column <= place.column);
        let next = next.map(|last| last.column + 1);
        let mut first = place.column;
        while first > 0 && next.is_none_or(|next| next < first) && column::leans(bytes(first)?) {
            first -= 1;
        }
        if next == Some(place.column + 1) {
            first = place.column + 1;
        }
        for nth in first..=place.column {
            self.column.take(bytes(nth)?, group.count as usize)?;
        }
        self.column.append_to(out, rows);
        self.last = Some(place);
        Ok(())
    }
}

const TORN: Damaged = Damaged("a page is shorter than its directory says");

/// Samples of one series on their way into a page.
pub(super) struct Strand {
    pub series: u32,
    pub labels: Labels,
    /// Ascending in time, at least one.
    pub points: Vec<Point>,
}

/// Packs strands into one page; those with equal times share them.
pub(super) fn build(mut strands: Vec<Strand>) -> (Directory, Vec<u8>) {
    strands.sort_by(|a, b| Kin::of(&a.labels).cmp(&Kin::of(&b.labels)));
    let mut known: HashMap<Vec<i64>, usize> = HashMap::new();
    let mut families: Vec<Vec<Strand>> = Vec::new();
    for strand in strands {
        let times = strand.points.iter().map(|p| p.0).collect();
        let at = *known.entry(times).or_insert_with(|| {
            families.push(Vec::new());
            families.len() - 1
        });
        families[at].push(strand);
    }
    let (mut groups, mut body) = (Vec::with_capacity(families.len()), Vec::new());
    for family in &families {
        let times: Vec<i64> = family[0].points.iter().map(|p| p.0).collect();
        let at = body.len() as u32;
        column::pack_times(&times, &mut body);
        let mut columns = Vec::with_capacity(family.len());
        let mut before: Option<(Kin<'_>, Column)> = None;
        for strand in family {
            columns.push((strand.series, body.len() as u32));
            let kin = Kin::of(&strand.labels);
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
#[derive(Clone, Copy)]
pub(super) struct Kin<'l> {
    pub family: &'l str,
    /// All labels: see [`Kin::rest`].
    labels: &'l Labels,
    rank: u8,
    /// `le` as an integer of the same order.
    bound: i64,
}

impl<'l> Kin<'l> {
    const BUCKET: u8 = 0;
    const COUNT: u8 = 1;
    const OTHER: u8 = 2;

    pub fn of(labels: &'l Labels) -> Kin<'l> {
        let name = labels.name();
        let bucket = name.strip_suffix("_bucket").and_then(|family| Some((family, bound(labels.get("le")?)?)));
        let (family, rank, bound) = match (bucket, name.strip_suffix("_count")) {
            (Some((family, bound)), _) => (family, Kin::BUCKET, bound),
            (None, Some(family)) => (family, Kin::COUNT, 0),
            (None, None) => (name, Kin::OTHER, 0),
        };
        Kin { family, labels, rank, bound }
    }

    /// Labels that all series of a histogram have in common.
    fn rest(&self) -> impl Iterator<Item = &'l (Text, Text)> {
        self.labels.pairs().iter().filter(|(name, _)| !matches!(&**name, NAME | "le"))
    }

    fn cmp_rest(&self, other: &Kin<'_>) -> Ordering {
        // Texts of one index are kept once: most pairs that are equal are the same.
        let same = |a: &Text, b: &Text| a.cmp(b);
        let (mut mine, mut theirs) = (self.rest(), other.rest());
        loop {
            match (mine.next(), theirs.next()) {
                (None, None) => return Ordering::Equal,
                (None, Some(_)) => return Ordering::Less,
                (Some(_), None) => return Ordering::Greater,
                (Some(a), Some(b)) => match same(&a.0, &b.0).then_with(|| same(&a.1, &b.1)) {
                    Ordering::Equal => {}
                    unequal => return unequal,
                },
            }
        }
    }

    /// The same for all places where a series is stored: the order of columns, and of a scan.
    pub fn cmp(&self, other: &Kin<'_>) -> Ordering {
        let place = |kin: &Kin<'_>| (kin.rank, kin.bound);
        let rest = || self.cmp_rest(other).then_with(|| place(self).cmp(&place(other)));
        self.family.cmp(other.family).then_with(rest).then_with(|| self.labels.cmp(other.labels))
    }

    /// Is this the next series of the histogram of `before`?
    fn follows(&self, before: &Kin<'_>) -> bool {
        before.rank == Kin::BUCKET
            && self.rank != Kin::OTHER
            && self.family == before.family
            && self.cmp_rest(before).is_eq()
    }
}

/// A bucket's upper bound.
fn bound(le: &str) -> Option<i64> {
    let le = if le == "+Inf" { f64::INFINITY } else { le.parse().ok()? };
    let bits = le.to_bits() as i64;
    Some(bits ^ ((bits >> 63) as u64 >> 1) as i64)
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
                let times = directory.times(&body, places[0].group).unwrap();
                reader.read(&directory, &body, places[0], 0..times.len(), &mut got).unwrap();
                let points: Vec<Point> = times.into_iter().zip(got.iter().map(|v| v.to_bits())).collect();
                assert_eq!(points, wanted, "series {id}");
                reader.read(&directory, &body, places[0], 10..13, &mut got).unwrap();
                assert_eq!(got[wanted.len()..], got[10..13]);
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
                    let _ = directory.times(&body[..cut], place.group);
                    let _ = Reader::default().read(&directory, &body[..cut], place, 0..1, &mut Vec::new());
                }
            }
        }
    }
}
