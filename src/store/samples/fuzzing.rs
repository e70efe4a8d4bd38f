//! The decoders of this room for `crate::fuzzing`: any bytes, as a damaged file would hold them.

use super::batch::{decode_batch, encode_batch};
use super::page::Directory;
use super::page::{Reader, Strand, build};
use crate::domain::metric::{Labels, NAME, stale_marker};

/// Columns of one page that are unpacked.
const COLUMNS_MAX: usize = 64;

/// Two bytes say how long the directory is; the body follows it.
pub fn page(data: &[u8]) {
    let Some((length, rest)) = data.split_first_chunk::<2>() else { return };
    let (directory, body) = rest.split_at((u16::from_le_bytes(*length) as usize).min(rest.len()));
    let Ok(directory) = Directory::decode(directory) else { return };
    assert_eq!(Directory::decode(&directory.encode()).as_ref(), Ok(&directory));
    let mut reader = Reader::default();
    for (series, _) in directory.series().take(COLUMNS_MAX) {
        for place in directory.find(series, i64::MIN, i64::MAX).take(COLUMNS_MAX) {
            let rows = directory.count(place) as usize;
            if let Ok(times) = directory.times(body, place.group) {
                assert_eq!(times.len(), rows);
            }
            let mut values = Vec::new();
            if reader.read(&directory, body, place, 0..rows, &mut values).is_ok() {
                assert_eq!(values.len(), rows);
            }
        }
    }
}

/// A row of the head.
pub fn batch(data: &[u8]) {
    if let Ok(samples) = decode_batch(data) {
        assert_eq!(decode_batch(&encode_batch(&samples)).as_ref(), Ok(&samples));
    }
}

/// A page as [`page`] takes it: a counter with a reset, buckets, noise, a constant.
pub fn a_page() -> Vec<u8> {
    let series = |name: &str, le: &str, value: &dyn Fn(u32) -> f64| {
        let labels = Labels::new([(NAME, name), ("le", le)].into_iter().filter(|l| !l.1.is_empty()));
        (labels, (0..40).map(|i| (i64::from(i) * 15_000 + i64::from(i % 3), value(i).to_bits())).collect::<Vec<_>>())
    };
    let all = [
        series("a_total", "", &|i| f64::from(if i < 30 { i * 7 } else { i })),
        series("h_bucket", "0.1", &|i| f64::from(i / 3)),
        series("h_bucket", "+Inf", &|i| f64::from(i)),
        series("noise", "", &|i| (f64::from(i) * 12.9898).sin()),
        series("one", "", &|i| if i == 20 { stale_marker() } else { 1.0 }),
    ];
    let strand = |(id, (labels, points)): (usize, _)| Strand { series: id as u32, labels, points };
    let (directory, body) = build(all.into_iter().enumerate().map(strand).collect());
    let directory = directory.encode();
    [&(directory.len() as u16).to_le_bytes(), &directory[..], &body].concat()
}

/// A row as [`batch`] takes it.
pub fn a_batch() -> Vec<u8> {
    encode_batch(&(0..50).map(|i| (i % 7, i64::from(i) * 1000, u64::from(i) << 40)).collect::<Vec<_>>())
}
