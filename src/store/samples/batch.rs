//! A batch of the head as it is stored, many series with few samples each; and the numbers of variable length that pages
//! use too.
//!
//! Values travel as bit patterns: a signalling NaN such as the stale marker must not meet arithmetic. Pure; the caller
//! keeps a crc32 beside each blob.

use crate::domain::varint::{put, unzigzag, zigzag};

/// One sample of one series: (series, milliseconds, bits of the f64).
pub(super) type BatchSample = (u32, i64, u64);
/// (milliseconds, bits of the f64).
pub(super) type Point = (i64, u64);

/// Whole numbers below it: exact in a double, and their differences have room for two more bits in 64.
pub(super) const WHOLE_MAX: u64 = 1 << 53;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub(super) struct Damaged(pub &'static str);

/// By series: its samples' number, then each sample's time and value. Numbers are LEB128 of zigzag differences, to the
/// sample before or to the series before. A whole number is the difference to the value before, doubled; what is none is
/// 1 and eight bytes. Most samples of a scrape take five bytes, most of a backfill four.
pub(super) fn encode_batch(samples: &[BatchSample]) -> Vec<u8> {
    let mut out = Vec::with_capacity(samples.len() * 5 + 8);
    put(&mut out, samples.len() as u64);
    let (mut series, mut time) = (0i64, 0i64);
    for run in samples.chunk_by(|a, b| a.0 == b.0) {
        put(&mut out, zigzag(i64::from(run[0].0) - series));
        put(&mut out, run.len() as u64);
        series = i64::from(run[0].0);
        let mut value = 0i64;
        for &(_, t, bits) in run {
            put(&mut out, zigzag(t.wrapping_sub(time)));
            time = t;
            let whole = f64::from_bits(bits) as i64;
            if (whole as f64).to_bits() == bits && whole.unsigned_abs() < WHOLE_MAX {
                put(&mut out, zigzag(whole - value) << 1);
                value = whole;
            } else {
                out.push(1);
                out.extend_from_slice(&bits.to_le_bytes());
            }
        }
    }
    out
}

pub(super) fn decode_batch(mut bytes: &[u8]) -> Result<Vec<BatchSample>, Damaged> {
    let count = take(&mut bytes)? as usize;
    let mut out = Vec::with_capacity(count.min(bytes.len() / 2 + 1));
    let (mut series, mut time) = (0i64, 0i64);
    while out.len() < count {
        series = series.wrapping_add(unzigzag(take(&mut bytes)?));
        let id = u32::try_from(series).map_err(|_| Damaged("a batch names an impossible series"))?;
        let mut value = 0i64;
        for _ in 0..take(&mut bytes)? {
            time = time.wrapping_add(unzigzag(take(&mut bytes)?));
            let coded = take(&mut bytes)?;
            let bits = if coded & 1 == 0 {
                value = value.wrapping_add(unzigzag(coded >> 1));
                (value as f64).to_bits()
            } else {
                let (raw, rest) = bytes.split_first_chunk::<8>().ok_or(Damaged("a batch ends early"))?;
                bytes = rest;
                u64::from_le_bytes(*raw)
            };
            out.push((id, time, bits));
        }
    }
    if bytes.is_empty() && out.len() == count { Ok(out) } else { Err(Damaged("a batch is longer than it says")) }
}

pub(super) fn take(bytes: &mut &[u8]) -> Result<u64, Damaged> {
    let mut n = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(Damaged("a batch ends early"))?;
        *bytes = rest;
        n |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(n);
        }
    }
    Err(Damaged("a number has no end"))
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
            Just(STALE_BITS),
            Just(f64::NAN.to_bits()),
            Just((-0.0f64).to_bits()),
            Just(f64::INFINITY.to_bits()),
        ]
    }

    proptest! {
        #[test]
        fn batches_come_back_bit_for_bit(samples in prop::collection::vec((any::<u32>(), any::<i64>(), bits()), 0..300)) {
            prop_assert_eq!(decode_batch(&encode_batch(&samples)).unwrap(), samples);
        }

        #[test]
        fn damage_is_an_error_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_batch(&bytes);
        }
    }

    #[test]
    fn torn_blobs_are_refused() {
        let batch = encode_batch(&[(1, 2, 3)]);
        assert_eq!(decode_batch(&batch[..batch.len() - 1]), Err(Damaged("a batch ends early")));
    }
}
