//! Bytes on disk: a batch of the head (many series, few samples each) and a chunk (one series, many samples).
//!
//! Values travel as bit patterns: a signalling NaN such as the stale marker must not meet arithmetic. Pure; the caller
//! keeps a crc32 beside each blob.

use pco::ChunkConfig;
use pco::standalone::{simple_compress, simple_decompress};

/// One sample of one series: (series, milliseconds, bits of the f64).
pub(super) type BatchSample = (u32, i64, u64);
/// (milliseconds, bits of the f64).
pub(super) type Point = (i64, u64);

/// Level 4 costs a third of the default level's time for the same size on our kind of series (dependencies.md).
const PCO_LEVEL: usize = 4;
/// First byte of a chunk: what follows was packed so. `RAW` wins for a handful of samples, where pco's header is dearer.
const RAW: u8 = 0;
const PCO: u8 = 1;
/// A chunk never holds more (seal cuts at 960); a length beyond it in a blob is damage, not data.
const CHUNK_SAMPLES_MAX: usize = 1 << 20;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub(super) struct Damaged(&'static str);

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

/// Times as integers and values as floats through pco, or both raw when that is smaller.
pub(super) fn encode_chunk(points: &[Point]) -> Vec<u8> {
    let raw_size = 1 + points.len() * 16;
    let times: Vec<i64> = points.iter().map(|p| p.0).collect();
    let values: Vec<f64> = points.iter().map(|p| f64::from_bits(p.1)).collect();
    let config = ChunkConfig::default().with_compression_level(PCO_LEVEL);
    if let (Ok(times), Ok(values)) = (simple_compress(&times, &config), simple_compress(&values, &config))
        && times.len() + values.len() + 5 < raw_size
    {
        let mut out = Vec::with_capacity(times.len() + values.len() + 5);
        out.push(PCO);
        out.extend_from_slice(&(times.len() as u32).to_le_bytes());
        out.extend_from_slice(&times);
        out.extend_from_slice(&values);
        return out;
    }
    let mut out = Vec::with_capacity(raw_size);
    out.push(RAW);
    for &(t, v) in points {
        out.extend_from_slice(&t.to_le_bytes());
        out.extend_from_slice(&v.to_le_bytes());
    }
    out
}

pub(super) fn decode_chunk(bytes: &[u8]) -> Result<Vec<Point>, Damaged> {
    match bytes.split_first() {
        Some((&RAW, rest)) => {
            let (pairs, left) = rest.as_chunks::<16>();
            if !left.is_empty() || pairs.len() > CHUNK_SAMPLES_MAX {
                return Err(Damaged("a raw chunk has a torn end"));
            }
            let half = |b: &[u8]| u64::from_le_bytes(b.try_into().expect("half of sixteen bytes is eight"));
            Ok(pairs.iter().map(|p| (half(&p[..8]) as i64, half(&p[8..]))).collect())
        }
        Some((&PCO, rest)) => {
            let (length, rest) = rest.split_first_chunk::<4>().ok_or(Damaged("a chunk ends early"))?;
            let (times, values) =
                rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or(Damaged("a chunk ends early"))?;
            let times = simple_decompress::<i64>(times).map_err(|_| Damaged("times do not unpack"))?;
            let values = simple_decompress::<f64>(values).map_err(|_| Damaged("values do not unpack"))?;
            if times.len() != values.len() {
                return Err(Damaged("a chunk has more times than values"));
            }
            Ok(times.into_iter().zip(values.into_iter().map(f64::to_bits)).collect())
        }
        _ => Err(Damaged("a chunk of an unknown kind")),
    }
}

fn put(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn take(bytes: &mut &[u8]) -> Result<u64, Damaged> {
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

fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)) as u64
}

fn unzigzag(n: u64) -> i64 {
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
        fn chunks_come_back_bit_for_bit(points in prop::collection::vec((any::<i64>(), bits()), 0..600)) {
            prop_assert_eq!(decode_chunk(&encode_chunk(&points)).unwrap(), points);
        }

        #[test]
        fn regular_chunks_come_back_bit_for_bit(start in 0i64..4e12 as i64, values in prop::collection::vec(bits(), 0..600)) {
            let points: Vec<Point> = values.iter().enumerate().map(|(i, &v)| (start + i as i64 * 15_000, v)).collect();
            prop_assert_eq!(decode_chunk(&encode_chunk(&points)).unwrap(), points);
        }

        #[test]
        fn batches_come_back_bit_for_bit(samples in prop::collection::vec((any::<u32>(), any::<i64>(), bits()), 0..300)) {
            prop_assert_eq!(decode_batch(&encode_batch(&samples)).unwrap(), samples);
        }

        #[test]
        fn damage_is_an_error_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_batch(&bytes);
            let _ = decode_chunk(&bytes);
        }
    }

    #[test]
    fn a_counter_scraped_each_15_s_takes_few_bytes() {
        let points: Vec<Point> =
            (0..480).map(|i| (1_760_000_000_000 + i * 15_000, ((i * 37 + i % 7) as f64).to_bits())).collect();
        let size = encode_chunk(&points).len();
        assert!(size < 480 * 3, "{size} bytes for 480 samples");
    }

    #[test]
    fn torn_blobs_are_refused() {
        let points: Vec<Point> = (0..100).map(|i| (i * 1000, (i as f64).to_bits())).collect();
        let blob = encode_chunk(&points);
        assert!(decode_chunk(&blob[..blob.len() - 3]).is_err());
        let batch = encode_batch(&[(1, 2, 3)]);
        assert_eq!(decode_batch(&batch[..batch.len() - 1]), Err(Damaged("a batch ends early")));
    }
}
