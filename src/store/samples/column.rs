//! One column of a page: the values, or the times, of one series, packed to the bit.
//!
//! A column is packed in whichever way its values allow. Most series count or measure in whole numbers or in a few
//! decimals: those become integers, and pco finds the order of differences and the entropy code. The buckets of a
//! histogram move together: a bucket is packed as its difference to the one before it in the page, which leaves only what
//! fell between the two bounds. What fits nowhere (a NaN among whole numbers, a stale marker) is kept beside as an
//! exception. Pure.

use std::ops::Range;

use pco::data_types::Number;
use pco::standalone::{simple_compress, simple_decompress, simple_decompress_into};
use pco::{ChunkConfig, DeltaSpec};

use super::batch::{Damaged, take};
use crate::domain::varint::{put, unzigzag, zigzag};

/// Level 4 costs a third of the default level's time for the same size on our kind of series.
const PCO_LEVEL: usize = 4;
/// Integers of a double are exact up to here; differences of two such fit an `i64`.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
/// Decimals tried: 0 to 4. `node_exporter` rounds to 2, `%` and `ms` to 3.
const SCALES: [f64; 5] = [1.0, 10.0, 100.0, 1000.0, 10_000.0];
/// Exceptions a column may have, as a part of its length, before it counts as floats.
const EXCEPTIONS_PART: usize = 16;
/// Fewer values than this are dearer with pco's header than raw.
const RAW_MAX: usize = 3;
/// A length beyond it in a blob is damage, not data.
pub(super) const VALUES_MAX: usize = 1 << 20;

/// How a column was packed; its first byte.
mod kind {
    /// Every value has the bits that follow.
    pub const CONSTANT: u8 = 0;
    /// Eight bytes each.
    pub const RAW: u8 = 1;
    /// pco of doubles.
    pub const FLOAT: u8 = 2;
    /// pco of differences to the column before, both in units of `10^-scale`.
    pub const BESIDE: u8 = 3;
    /// As the column before.
    pub const SAME: u8 = 4;
    /// pco of integers in units of `10^-scale`; the scale is added to this.
    pub const DECIMAL: u8 = 16;
}

/// A column as integers: `values[i] / SCALES[scale]` unless `i` is an exception.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Integers {
    scale: u8,
    values: Vec<i64>,
    /// (position, bits), ascending.
    exceptions: Vec<(usize, u64)>,
}

/// A column to pack: its bits, and its integers when it has them, for the next one's difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub bits: Vec<u64>,
    integers: Option<Integers>,
}

impl Column {
    pub fn of(bits: Vec<u64>) -> Column {
        let integers = integers(&bits);
        Column { bits, integers }
    }
}

/// The fewest decimals that hold every value but a few.
fn integers(bits: &[u64]) -> Option<Integers> {
    let tolerated = bits.len() / EXCEPTIONS_PART + 1;
    'scales: for (scale, factor) in SCALES.iter().enumerate() {
        let mut found = Integers { scale: scale as u8, values: Vec::with_capacity(bits.len()), exceptions: Vec::new() };
        for (i, &b) in bits.iter().enumerate() {
            let value = f64::from_bits(b);
            let whole = (value * factor).round();
            // By way of the integer: it has no negative zero.
            if whole.abs() < EXACT_MAX && (whole as i64 as f64 / factor).to_bits() == b {
                found.values.push(whole as i64);
                continue;
            }
            if found.exceptions.len() == tolerated {
                continue 'scales;
            }
            found.exceptions.push((i, b));
            // Whatever is cheapest beside its neighbours.
            found.values.push(found.values.last().copied().unwrap_or(0));
        }
        return (found.exceptions.len() < bits.len()).then_some(found);
    }
    None
}

/// Packs `column`, beside `before` when that is shorter. `before` must have as many values.
pub(super) fn pack(column: &Column, before: Option<&Column>, out: &mut Vec<u8>) {
    let bits = &column.bits;
    if before.is_some_and(|b| b.bits == *bits) {
        return out.push(kind::SAME);
    }
    if bits.windows(2).all(|w| w[0] == w[1]) {
        out.push(kind::CONSTANT);
        out.extend_from_slice(&bits.first().copied().unwrap_or(0).to_le_bytes());
        return;
    }
    if bits.len() > RAW_MAX && pack_compressed(column, before, out) {
        return;
    }
    out.push(kind::RAW);
    bits.iter().for_each(|b| out.extend_from_slice(&b.to_le_bytes()));
}

/// False when that would be longer than raw; then `out` is as it was.
fn pack_compressed(column: &Column, before: Option<&Column>, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let packed = match &column.integers {
        Some(own) => {
            let beside = before.and_then(|b| b.integers.as_ref()).filter(|b| b.scale == own.scale);
            let differences = beside.and_then(|b| smaller_differences(&own.values, &b.values));
            let (kind, values) = match &differences {
                Some(differences) => (kind::BESIDE, differences),
                None => (kind::DECIMAL + own.scale, &own.values),
            };
            out.push(kind);
            put(out, own.exceptions.len() as u64);
            let mut at = 0;
            for &(position, bits) in &own.exceptions {
                put(out, (position - at) as u64);
                out.extend_from_slice(&bits.to_le_bytes());
                at = position;
            }
            simple_compress(values, &config(values))
        }
        None => {
            out.push(kind::FLOAT);
            let values: Vec<f64> = column.bits.iter().map(|b| f64::from_bits(*b)).collect();
            simple_compress(&values, &ChunkConfig::default().with_compression_level(PCO_LEVEL))
        }
    };
    let fits = packed.is_ok_and(|bytes| {
        out.extend_from_slice(&bytes);
        out.len() - start < 1 + column.bits.len() * 8
    });
    if !fits {
        out.truncate(start);
    }
    fits
}

/// What only grows is a counter: its differences are what is random in it. pco looks at a sample of the values to find
/// that out, which takes time and misses it for counters that stand still most of the day.
fn config(values: &[i64]) -> ChunkConfig {
    let config = ChunkConfig::default().with_compression_level(PCO_LEVEL);
    if values.is_sorted() { config.with_delta_spec(DeltaSpec::TryConsecutive(1)) } else { config }
}

/// The differences, when they move less than the values do: the next bucket of a histogram, not just any neighbour.
fn smaller_differences(values: &[i64], before: &[i64]) -> Option<Vec<i64>> {
    let moved = |v: &mut dyn Iterator<Item = i64>| {
        let mut last = None;
        v.fold(0u128, |sum, v| sum + u128::from(last.replace(v).map_or(0, |l: i64| v.abs_diff(l))))
    };
    let differences: Vec<i64> = values.iter().zip(before).map(|(v, b)| v - b).collect();
    (moved(&mut differences.iter().copied()) < moved(&mut values.iter().copied())).then_some(differences)
}

/// Does a column need the one before it?
pub(super) fn leans(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(&kind::BESIDE | &kind::SAME))
}

/// Columns that are unpacked one after the other, each perhaps beside the one before, in buffers that serve them all.
#[derive(Debug, Default)]
pub(super) struct Unpacked {
    /// Of `integers`; `None`: `floats` hold the column.
    scale: Option<u8>,
    integers: Vec<i64>,
    /// (position, bits), ascending.
    exceptions: Vec<(usize, u64)>,
    floats: Vec<f64>,
    differences: Vec<i64>,
}

impl Unpacked {
    fn len(&self) -> usize {
        if self.scale.is_some() { self.integers.len() } else { self.floats.len() }
    }

    /// Takes in a column of `count` values. After an error there is none.
    pub fn take(&mut self, bytes: &[u8], count: usize) -> Result<(), Damaged> {
        self.replace(bytes, count).inspect_err(|_| *self = Unpacked::default())
    }

    fn replace(&mut self, bytes: &[u8], count: usize) -> Result<(), Damaged> {
        let (&first, mut rest) = bytes.split_first().ok_or(SHORT)?;
        match first {
            kind::SAME | kind::BESIDE if self.len() != count => Err(Damaged("a column lacks the one before it")),
            kind::SAME => Ok(()),
            kind::CONSTANT => {
                let bits = u64::from_le_bytes(rest.try_into().map_err(|_| SHORT)?);
                // Two of them tell what all of them tell.
                self.hold(Column::of(vec![bits; count.min(2)]));
                self.integers.resize(count, self.integers.first().copied().unwrap_or(0));
                self.floats.resize(count, f64::from_bits(bits));
                Ok(())
            }
            kind::RAW => {
                let (values, torn) = rest.as_chunks::<8>();
                if values.len() != count || !torn.is_empty() {
                    return Err(SHORT);
                }
                self.hold(Column::of(values.iter().map(|v| u64::from_le_bytes(*v)).collect()));
                Ok(())
            }
            kind::FLOAT => {
                // Some other way was not taken when this was packed, so there are no integers to find again.
                self.scale = None;
                decompress(rest, count, &mut self.floats)
            }
            kind::BESIDE => {
                if self.scale.is_none() {
                    return Err(Damaged("a column stands beside floats"));
                }
                exceptions(&mut rest, count, &mut self.exceptions)?;
                decompress(rest, count, &mut self.differences)?;
                self.integers.iter_mut().zip(&self.differences).for_each(|(v, d)| *v = v.wrapping_add(*d));
                Ok(())
            }
            kind => {
                let scale = kind.wrapping_sub(kind::DECIMAL);
                if usize::from(scale) >= SCALES.len() {
                    return Err(Damaged("a column of an unknown kind"));
                }
                self.scale = Some(scale);
                exceptions(&mut rest, count, &mut self.exceptions)?;
                decompress(rest, count, &mut self.integers)
            }
        }
    }

    fn hold(&mut self, column: Column) {
        self.scale = column.integers.as_ref().map(|i| i.scale);
        let Integers { values, exceptions, .. } = column.integers.unwrap_or_default();
        (self.integers, self.exceptions) = (values, exceptions);
        self.floats = column.bits.into_iter().map(f64::from_bits).collect();
    }

    /// Appends the values of these rows.
    pub fn append_to(&self, out: &mut Vec<f64>, rows: Range<usize>) {
        let Some(scale) = self.scale else { return out.extend_from_slice(&self.floats[rows]) };
        let (at, integers) = (out.len(), &self.integers[rows.clone()]);
        match SCALES[usize::from(scale)] {
            1.0 => out.extend(integers.iter().map(|v| *v as f64)),
            factor => out.extend(integers.iter().map(|v| *v as f64 / factor)),
        }
        for &(position, bits) in self.exceptions.iter().filter(|(position, _)| rows.contains(position)) {
            out[at + position - rows.start] = f64::from_bits(bits);
        }
    }
}

const SHORT: Damaged = Damaged("a column ends early");

/// Exactly `count` numbers.
fn decompress<T: Number>(bytes: &[u8], count: usize, into: &mut Vec<T>) -> Result<(), Damaged> {
    // What is there is written over.
    into.resize(count, T::default());
    let progress = simple_decompress_into(bytes, into).map_err(|_| Damaged("numbers do not unpack"))?;
    if progress.n_processed == count && progress.finished { Ok(()) } else { Err(SHORT) }
}

fn exceptions(bytes: &mut &[u8], count: usize, found: &mut Vec<(usize, u64)>) -> Result<(), Damaged> {
    let many = take(bytes)? as usize;
    found.clear();
    found.reserve(many.min(count));
    let mut at = 0usize;
    for _ in 0..many {
        at = at
            .checked_add(take(bytes)? as usize)
            .filter(|at| *at < count)
            .ok_or(Damaged("an exception lies outside"))?;
        let (bits, rest) = bytes.split_first_chunk::<8>().ok_or(Damaged("an exception ends early"))?;
        found.push((at, u64::from_le_bytes(*bits)));
        *bytes = rest;
    }
    Ok(())
}

/// Times in milliseconds, ascending. Regular ones take a few bytes.
pub(super) fn pack_times(times: &[i64], out: &mut Vec<u8>) {
    let (Some(first), Some(step)) = (times.first(), times.get(1).map(|t| t - times[0])) else {
        out.push(0);
        put(out, zigzag(times.first().copied().unwrap_or(0)));
        put(out, 0);
        return;
    };
    if times.windows(2).all(|w| w[1] - w[0] == step) {
        out.push(0);
        put(out, zigzag(*first));
        return put(out, zigzag(step));
    }
    out.push(1);
    let config = ChunkConfig::default().with_compression_level(PCO_LEVEL);
    match simple_compress(times, &config) {
        Ok(bytes) => out.extend_from_slice(&bytes),
        // pco packs any integers of a length it takes, and a page's is far below its limit.
        Err(error) => unreachable!("{} times do not pack: {error}", times.len()),
    }
}

pub(super) fn unpack_times(bytes: &[u8], count: usize) -> Result<Vec<i64>, Damaged> {
    let (&kind, mut rest) = bytes.split_first().ok_or(Damaged("times end early"))?;
    if kind == 0 {
        let (first, step) = (unzigzag(take(&mut rest)?), unzigzag(take(&mut rest)?));
        return Ok((0..count as i64).map(|i| first.wrapping_add(step.wrapping_mul(i))).collect());
    }
    let times: Vec<i64> = simple_decompress(rest).map_err(|_| Damaged("times do not unpack"))?;
    if times.len() == count { Ok(times) } else { Err(Damaged("a page has other times than values")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::metric::stale_marker;
    use proptest::prelude::*;

    fn beside(before: Option<&Column>) -> Unpacked {
        let mut unpacked = Unpacked::default();
        before.into_iter().for_each(|column| unpacked.hold(column.clone()));
        unpacked
    }

    fn packed(column: &Column, before: Option<&Column>) -> Vec<u8> {
        let mut out = Vec::new();
        pack(column, before, &mut out);
        let mut unpacked = beside(before);
        unpacked.take(&out, column.bits.len()).unwrap();
        let mut values = Vec::new();
        unpacked.append_to(&mut values, 0..column.bits.len());
        assert_eq!(values.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), column.bits);
        let (half, mut part) = (column.bits.len() / 2, Vec::new());
        unpacked.append_to(&mut part, half..column.bits.len());
        assert_eq!(part.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), column.bits[half..]);
        out
    }

    fn column(values: impl IntoIterator<Item = f64>) -> Column {
        Column::of(values.into_iter().map(f64::to_bits).collect())
    }

    #[test]
    fn each_kind_of_series_takes_its_way() {
        let n = 1440;
        let noise = |i: u64| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as f64;
        assert_eq!(packed(&column(vec![1.0; n]), None).len(), 9);
        let counter = column((0..n as u64).scan(0.0, |sum, i| {
            *sum += noise(i);
            Some(*sum)
        }));
        assert!(packed(&counter, None).len() < n * 5 / 4, "eight bits of noise each");
        let hundredths = column((0..n as u64).map(|i| (noise(i) + 4000.0) / 100.0));
        assert!(packed(&hundredths, None).len() < n * 5 / 4);
        let floats = column((0..n as u64).map(|i| 1.0 / (noise(i) + 1.5)));
        assert_eq!(packed(&floats, None)[0], kind::FLOAT);
        // A bucket that counts the same and three more: what is new fits in almost nothing.
        let next = column(counter.bits.iter().enumerate().map(|(i, b)| f64::from_bits(*b) + (i / 500) as f64));
        let beside = packed(&next, Some(&counter));
        assert_eq!(beside[0], kind::BESIDE);
        assert!(beside.len() < 80, "{}", beside.len());
        assert_eq!(packed(&counter, Some(&counter)), [kind::SAME]);
        // A stranger as neighbour does no harm.
        assert_ne!(packed(&counter, Some(&hundredths))[0], kind::BESIDE);
    }

    #[test]
    fn a_stale_marker_among_whole_numbers_is_an_exception() {
        let mut values: Vec<f64> = (0..500).map(f64::from).collect();
        values[499] = stale_marker();
        values[7] = -0.0;
        let bytes = packed(&column(values), None);
        assert_eq!(bytes[0], kind::DECIMAL);
        assert!(bytes.len() < 120, "{}", bytes.len());
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic() {
        let counter = column((0..300).map(|i| f64::from(i * i)));
        let bytes = packed(&counter, None);
        for cut in 0..bytes.len() {
            assert!(beside(None).take(&bytes[..cut], 300).is_err(), "cut at {cut}");
        }
        for kind in 0..=255u8 {
            let mut other = bytes.clone();
            other[0] = kind;
            let _ = beside(None).take(&other, 300);
            let _ = beside(Some(&counter)).take(&other, 300);
        }
    }

    #[test]
    fn times() {
        for times in [vec![], vec![5], vec![5, 20], vec![5, 20, 35], vec![-7, 20, 34, 35]] {
            let mut out = Vec::new();
            pack_times(&times, &mut out);
            assert_eq!(unpack_times(&out, times.len()).unwrap(), times);
        }
    }

    proptest! {
        #[test]
        fn any_bits_come_back(bits in prop::collection::vec(any::<u64>(), 1..60), shift in 0u32..60) {
            let near: Vec<u64> = bits.iter().map(|b| ((b >> shift) as f64).to_bits()).collect();
            let (wild, near) = (Column::of(bits), Column::of(near));
            packed(&wild, None);
            packed(&near, None);
            packed(&near, Some(&wild));
            packed(&wild, Some(&near));
        }
    }
}
