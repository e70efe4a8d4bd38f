//! The newest samples of one series, in memory: packed as they come, a fifth of 16 bytes each. Pure.
//!
//! In blocks that a reader keeps a hold of and unpacks in its own time. Within a block a sample is a number of variable
//! length: whether its time is the block's step after the last, then what a whole value differs from the last one by. What
//! is not whole follows in eight bytes. So a steady series takes one byte a sample, a counter two, a measured ratio nine.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::batch::{Point, WHOLE_MAX};
use crate::domain::varint::{unzigzag, zigzag};

/// Bytes of a block's samples: with its counts and what the allocator adds, nine times sixteen. Some forty samples: those
/// before the wanted ones are unpacked in vain.
const BLOCK_BYTES: usize = 106;
/// A sample takes no more than these.
const SAMPLE_BYTES_MAX: usize = 28;

/// Its time is not a step after the last; the difference follows.
const AT_ITS_TIME: u64 = 1;
/// The value is not the last one and a whole number; if no more bits are set, its bits follow.
const BITS: u64 = 2;
/// The last value's bits again.
const SAME_BITS: u64 = BITS | 4;

/// Samples that follow each other.
#[derive(Debug, Clone)]
struct Block {
    start: i64,
    /// Milliseconds between samples; 0 until there are two.
    step: u32,
    count: u8,
    used: u8,
    bytes: [u8; BLOCK_BYTES],
}

/// Ascending.
#[derive(Debug, Default)]
pub(super) struct Head {
    blocks: Vec<Arc<Block>>,
    last: Point,
}

/// Blocks of a head, which the head's further life does not change.
#[derive(Debug, Default)]
pub(super) struct Part(Vec<Arc<Block>>);

impl Head {
    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }
    pub(super) fn len(&self) -> usize {
        self.blocks.iter().map(|block| usize::from(block.count)).sum()
    }
    pub(super) fn last(&self) -> Option<Point> {
        (!self.is_empty()).then_some(self.last)
    }

    /// `point` is later than the last.
    pub(super) fn push(&mut self, point: Point) {
        let taken = self.blocks.last_mut().is_some_and(|block| Arc::make_mut(block).push(self.last, point));
        if !taken {
            // Doubling would leave a third of a hundred thousand heads empty.
            self.blocks.reserve_exact(usize::from(self.blocks.len() == self.blocks.capacity()) * 2);
            self.blocks.push(Arc::new(Block::of(point)));
        }
        self.last = point;
    }

    /// What may have samples in `[start, end]`.
    pub(super) fn part(&self, start: i64, end: i64) -> Part {
        let from = self.blocks.partition_point(|block| block.start <= start).saturating_sub(1);
        let to = self.blocks.partition_point(|block| block.start <= end);
        if self.last.0 < start || from >= to {
            return Part::default();
        }
        Part(self.blocks[from..to].to_vec())
    }

    /// Forgets the samples up to `end`; returns how many.
    pub(super) fn drop_to(&mut self, end: i64) -> usize {
        let before = self.len();
        let passed = self.blocks.partition_point(|block| block.start <= end);
        let Some(cut) = passed.checked_sub(1) else { return 0 };
        let mut points = Vec::new();
        if self.last.0 > end {
            Part(vec![self.blocks[cut].clone()]).read(end.saturating_add(1), i64::MAX, &mut points);
        }
        let mut kept = Head::default();
        points.into_iter().for_each(|point| kept.push(point));
        kept.blocks.extend(self.blocks.drain(passed..));
        kept.blocks.shrink_to_fit();
        self.blocks = kept.blocks;
        before - self.len()
    }
}

impl Part {
    /// A bound of its samples.
    pub(super) fn samples_at_most(&self) -> usize {
        self.0.iter().map(|block| usize::from(block.count)).sum()
    }

    /// So many lie in the range that it was asked for, whatever is in the blocks at its ends.
    pub(super) fn samples_at_least(&self) -> usize {
        let inner = self.0.get(1..self.0.len().saturating_sub(1)).unwrap_or_default();
        inner.iter().map(|block| usize::from(block.count)).sum()
    }

    /// Adds the samples in `[start, end]`.
    pub(super) fn read(&self, start: i64, end: i64, points: &mut Vec<Point>) {
        for block in &self.0 {
            block.each(|point| {
                if point.0 > end {
                    return ControlFlow::Break(());
                }
                if point.0 >= start {
                    points.push(point);
                }
                ControlFlow::Continue(())
            });
        }
    }
}

impl Block {
    fn of(point: Point) -> Block {
        let mut block = Block { start: point.0, step: 0, count: 0, used: 0, bytes: [0; BLOCK_BYTES] };
        let mut coded = Coded::default();
        coded.value(0, 0, point.1);
        block.take(&coded);
        block
    }

    /// `None` of it if there is no room.
    fn push(&mut self, last: Point, point: Point) -> bool {
        let after = point.0.wrapping_sub(last.0) as u64;
        let step = match self.step {
            0 => u32::try_from(after).unwrap_or(0),
            step => step,
        };
        let mut coded = Coded::default();
        if u64::from(step) == after {
            coded.value(0, last.1, point.1);
        } else {
            coded.value(AT_ITS_TIME, last.1, point.1);
            coded.put(after);
        }
        let taken = self.take(&coded);
        if taken && self.step == 0 {
            self.step = step;
        }
        taken
    }

    fn take(&mut self, coded: &Coded) -> bool {
        let (from, to) = (usize::from(self.used), usize::from(self.used) + coded.used);
        let Some(room) = self.bytes.get_mut(from..to) else { return false };
        room.copy_from_slice(&coded.bytes[..coded.used]);
        self.used = to as u8;
        self.count += 1;
        true
    }

    fn each(&self, mut found: impl FnMut(Point) -> ControlFlow<()>) {
        let mut bytes = &self.bytes[..usize::from(self.used)];
        let (mut t, mut bits, mut whole) = (self.start, 0u64, 0i64);
        for nth in 0..self.count {
            let code = take(&mut bytes);
            if code & BITS == 0 {
                whole = whole.wrapping_add(unzigzag(code >> 2));
                bits = (whole as f64).to_bits();
            } else {
                if code & SAME_BITS != SAME_BITS
                    && let Some((raw, rest)) = bytes.split_first_chunk::<8>()
                {
                    bytes = rest;
                    bits = u64::from_le_bytes(*raw);
                }
                whole = 0;
            }
            if code & AT_ITS_TIME != 0 {
                t = t.wrapping_add(take(&mut bytes) as i64);
            } else if nth > 0 {
                t = t.wrapping_add(i64::from(self.step));
            }
            if found((t, bits)).is_break() {
                return;
            }
        }
    }
}

/// One sample on its way into a block.
#[derive(Default)]
struct Coded {
    bytes: [u8; SAMPLE_BYTES_MAX],
    used: usize,
}

impl Coded {
    fn value(&mut self, flags: u64, last: u64, bits: u64) {
        match whole(bits) {
            Some(now) => self.put(zigzag(now - whole(last).unwrap_or(0)) << 2 | flags),
            None if bits == last => self.put(SAME_BITS | flags),
            None => {
                self.put(BITS | flags);
                self.bytes[self.used..self.used + 8].copy_from_slice(&bits.to_le_bytes());
                self.used += 8;
            }
        }
    }

    fn put(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.bytes[self.used] = n as u8 | 0x80;
            self.used += 1;
            n >>= 7;
        }
        self.bytes[self.used] = n as u8;
        self.used += 1;
    }
}

/// The number that these are the bits of, if it is a whole one that a double tells from its neighbours.
fn whole(bits: u64) -> Option<i64> {
    let whole = f64::from_bits(bits) as i64;
    ((whole as f64).to_bits() == bits && whole.unsigned_abs() < WHOLE_MAX).then_some(whole)
}

/// A number as [`Coded::put`] wrote it.
fn take(bytes: &mut &[u8]) -> u64 {
    let (mut n, mut shift) = (0u64, 0);
    while let Some((&byte, rest)) = bytes.split_first() {
        *bytes = rest;
        n |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 || shift > 63 {
            break;
        }
    }
    n
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::metric::STALE_BITS;

    fn bits() -> impl Strategy<Value = u64> {
        prop_oneof![
            any::<u64>(),
            any::<f64>().prop_map(f64::to_bits),
            (0u32..1000).prop_map(|n| f64::from(n).to_bits()),
            (0u32..3).prop_map(|n| (f64::from(n) / 3.0).to_bits()),
            prop_oneof![Just(STALE_BITS), Just((-0.0f64).to_bits()), Just(9007199254740991f64.to_bits())],
        ]
    }

    /// Ascending, mostly in steps.
    fn points() -> impl Strategy<Value = Vec<Point>> {
        let step = prop_oneof![5 => Just(1000u64), 2 => 1u64..100_000, 1 => 1u64..1 << 55];
        let start = prop_oneof![Just(0i64), Just(i64::MIN), any::<i64>()];
        (start, prop::collection::vec((step, bits()), 0..200)).prop_map(|(mut t, steps)| {
            let next = |(step, bits)| {
                t = i64::checked_add_unsigned(t, step)?;
                Some((t, bits))
            };
            steps.into_iter().map_while(next).collect()
        })
    }

    fn head(points: &[Point]) -> Head {
        let mut head = Head::default();
        points.iter().for_each(|p| head.push(*p));
        head
    }

    fn read(head: &Head, start: i64, end: i64) -> Vec<Point> {
        let (part, mut got) = (head.part(start, end), Vec::new());
        part.read(start, end, &mut got);
        assert!((part.samples_at_least()..=part.samples_at_most()).contains(&got.len()));
        got
    }

    proptest! {
        #[test]
        fn samples_come_back_bit_for_bit(points in points(), ends in (any::<prop::sample::Index>(), any::<prop::sample::Index>())) {
            let head = head(&points);
            prop_assert_eq!((head.len(), head.last()), (points.len(), points.last().copied()));
            prop_assert_eq!(read(&head, i64::MIN, i64::MAX), points.clone());
            if !points.is_empty() {
                for (start, end) in [(ends.0.get(&points).0, ends.1.get(&points).0), (ends.0.get(&points).0.wrapping_add(1), i64::MAX)] {
                    let within: Vec<Point> = points.iter().filter(|p| (start..=end).contains(&p.0)).copied().collect();
                    prop_assert_eq!(read(&head, start, end), within);
                }
            }
        }

        #[test]
        fn a_head_that_forgot_goes_on(points in points(), cut in any::<prop::sample::Index>(), more in 0usize..30) {
            if points.is_empty() {
                return Ok(());
            }
            let (at, end) = (cut.index(points.len()), cut.get(&points).0);
            let mut head = head(&points);
            prop_assert_eq!(head.drop_to(end), at + 1);
            let mut left = points[at + 1..].to_vec();
            let Some(last) = points.last().filter(|p| p.0 < i64::MAX - 100) else { return Ok(()) };
            let next = (1..=more as i64).map(|i| (last.0 + i, last.1));
            next.for_each(|p| {
                head.push(p);
                left.push(p);
            });
            prop_assert_eq!(read(&head, i64::MIN, i64::MAX), left);
        }
    }

    #[test]
    fn readers_keep_what_they_saw() {
        let mut head = head(&[(1, 1), (2, 2)]);
        let part = head.part(0, 10);
        head.push((3, 3));
        head.drop_to(2);
        let mut seen = Vec::new();
        part.read(0, 10, &mut seen);
        assert_eq!((seen, read(&head, 0, 10)), (vec![(1, 1), (2, 2)], vec![(3, 3)]));
    }

    #[test]
    fn steady_series_take_a_byte_a_sample() {
        assert_eq!((size_of::<Block>() + 16) % 16, 8, "an allocation adds eight bytes and is a multiple of sixteen");
        let points: Vec<Point> = (0..1000).map(|i| (i * 1000, 42f64.to_bits())).collect();
        assert!(head(&points).blocks.len() <= 1000 / (BLOCK_BYTES - 2) + 1);
        let points: Vec<Point> = (0..1000).map(|i| (i * 15_000, (i as f64 * 1000.0).to_bits())).collect();
        assert!(head(&points).blocks.len() <= 2000 / (BLOCK_BYTES - 3) + 1);
    }
}
