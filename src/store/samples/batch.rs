//! A batch of the head as it is stored, many series with few samples each; and the numbers of variable length that pages
//! use too.
//!
//! Values travel as bit patterns: a signalling NaN such as the stale marker must not meet arithmetic. Pure; the caller
//! keeps a crc32 beside each blob.

/// One sample of one series: (series, milliseconds, bits of the f64).
pub(super) type BatchSample = (u32, i64, u64);
/// (milliseconds, bits of the f64).
pub(super) type Point = (i64, u64);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub(super) struct Damaged(pub &'static str);

/// LEB128 of the zigzag differences of series and time, then eight bytes of value. Samples of one scrape share a time and
/// have neighbouring series, so most take ten bytes.
pub(super) fn encode_batch(samples: &[BatchSample]) -> Vec<u8> {
    let mut out = Vec::with_capacity(samples.len() * 11 + 8);
    put(&mut out, samples.len() as u64);
    let (mut series, mut time) = (0i64, 0i64);
    for &(s, t, v) in samples {
        put(&mut out, zigzag(i64::from(s) - series));
        put(&mut out, zigzag(t.wrapping_sub(time)));
        out.extend_from_slice(&v.to_le_bytes());
        (series, time) = (i64::from(s), t);
    }
    out
}

pub(super) fn decode_batch(mut bytes: &[u8]) -> Result<Vec<BatchSample>, Damaged> {
    let count = take(&mut bytes)? as usize;
    let mut out = Vec::with_capacity(count.min(bytes.len() / 10 + 1));
    let (mut series, mut time) = (0i64, 0i64);
    for _ in 0..count {
        series = series.wrapping_add(unzigzag(take(&mut bytes)?));
        time = time.wrapping_add(unzigzag(take(&mut bytes)?));
        let (value, rest) = bytes.split_first_chunk::<8>().ok_or(Damaged("a batch ends early"))?;
        bytes = rest;
        let id = u32::try_from(series).map_err(|_| Damaged("a batch names an impossible series"))?;
        out.push((id, time, u64::from_le_bytes(*value)));
    }
    if bytes.is_empty() { Ok(out) } else { Err(Damaged("a batch is longer than it says")) }
}

pub(super) fn put(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
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

pub(super) fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)) as u64
}

pub(super) fn unzigzag(n: u64) -> i64 {
    (n >> 1) as i64 ^ -((n & 1) as i64)
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
