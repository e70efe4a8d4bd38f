//! Prometheus remote write 1.0: the message `prometheus.WriteRequest`, already unpacked from snappy.
//!
//! Samples are read without an allocation each. A sender repeats the same label sets every few seconds, so a [`Cache`]
//! keeps them by their bytes: a known series costs one look-up. Exemplars are left out, native histograms refused.
//! `domain/remote_write.rs` writes the same message.

use std::collections::{HashMap, HashSet};

use super::protobuf::{Malformed, Reader, Value};
use super::{METADATA_MAX, ReceiveError, Received, SAMPLES_MAX, SERIES_MAX, unfit};
use crate::domain::clock::Timestamp;
use crate::domain::exposition::LIMITS;
use crate::domain::metric::{Labels, Metadata, MetricKind, Sample, Text};
use crate::domain::{remote_write, varint};

/// Label sets of earlier requests by their bytes on the wire.
#[derive(Debug, Default)]
pub struct Cache {
    labels: HashMap<Box<[u8]>, Labels>,
    /// Names and values, each once.
    texts: HashSet<Text>,
    /// About what all of it takes.
    bytes: usize,
}

/// Ten thousand series of ten labels take a third of it. A full cache starts anew.
const CACHE_BYTES_MAX: usize = 16 << 20;

impl Cache {
    fn share(&mut self, text: &str) -> Text {
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        let text: Text = text.into();
        self.bytes += text.len() + 64;
        self.texts.insert(text.clone());
        text
    }
    fn make_room(&mut self) {
        if self.bytes > CACHE_BYTES_MAX {
            *self = Cache::default();
        }
    }
}

/// Why a snappy block was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum Unpacking {
    #[error("the body is longer than allowed after unpacking")]
    TooLong,
    #[error("the body is not a snappy block: {0}")]
    Malformed(#[from] snap::Error),
}

/// The block says how long it will be: one that says too much is not unpacked at all.
pub fn unpacked(packed: &[u8], bytes_max: usize) -> Result<Vec<u8>, Unpacking> {
    if snap::raw::decompress_len(packed)? > bytes_max {
        return Err(Unpacking::TooLong);
    }
    Ok(snap::raw::Decoder::new().decompress_vec(packed)?)
}

/// Reads one request. A series that cannot be stored is counted and left out; bytes that are no message fail it all.
pub fn decode(body: &[u8], cache: &mut Cache) -> Result<Received, ReceiveError> {
    let mut out = Received::default();
    let (mut all_series, mut all_samples) = (0, 0);
    let mut reader = Reader::new(body);
    while let Some((number, value)) = reader.field()? {
        match number {
            1 => {
                all_series += 1;
                if all_series > SERIES_MAX {
                    return Err(ReceiveError::TooMuch("100,000 series"));
                }
                all_samples += series(value.message(&reader)?, cache, &mut out)?;
                if all_samples > SAMPLES_MAX {
                    return Err(ReceiveError::TooMuch("1,000,000 samples"));
                }
            }
            3 if out.metadata.len() < METADATA_MAX => out.metadata.extend(metadata(value.message(&reader)?)?),
            _ => {}
        }
    }
    Ok(out)
}

/// Tag of field 1, a message: a label within a series.
const LABEL: u8 = 0x0a;
/// What a sample takes on the wire at most, rarely less.
const SAMPLE_BYTES: usize = 18;

/// Reads one `TimeSeries`; returns how many samples it had.
fn series(mut message: Reader, cache: &mut Cache, out: &mut Received) -> Result<usize, ReceiveError> {
    let (start, from) = (message.rest(), message.position());
    while message.peek() == Some(LABEL) {
        message.skip(1);
        message.bytes()?;
    }
    let key = &start[..message.position() - from];
    let mut samples = Vec::with_capacity((message.rest().len() / SAMPLE_BYTES + 1).min(SAMPLES_MAX));
    let mut late_labels: Vec<u8> = Vec::new();
    let mut histograms = 0;
    while let Some((number, value)) = message.field()? {
        match number {
            // Legal protobuf, though nobody writes it: labels behind the samples.
            1 => {
                let label = value.message(&message)?.whole();
                late_labels.push(LABEL);
                varint::put(&mut late_labels, label.len() as u64);
                late_labels.extend_from_slice(label);
            }
            2 => samples.push(sample(value.message(&message)?)?),
            4 => histograms += 1,
            _ => {}
        }
    }
    let labels = if late_labels.is_empty() {
        labels_of(key, from, cache)?
    } else {
        labels_of(&[key, &late_labels].concat(), from, cache)?
    };
    let count = samples.len();
    match labels {
        Ok(labels) => {
            if histograms > 0 {
                let why = || format!("series {}: native histograms are not supported", labels.name().escape_debug());
                out.refused.add(histograms, why);
            }
            if !samples.is_empty() {
                out.series.push((labels, samples));
            }
        }
        Err(why) => out.refused.add((count + histograms).max(1), || why),
    }
    Ok(count)
}

/// The label set written as `wire`, or why it cannot be stored.
fn labels_of(wire: &[u8], base: usize, cache: &mut Cache) -> Result<Result<Labels, String>, Malformed> {
    if let Some(known) = cache.labels.get(wire) {
        return Ok(Ok(known.clone()));
    }
    let mut pairs = Vec::new();
    let mut reader = Reader::with_base(wire, base);
    while let Some((_, value)) = reader.field()? {
        let mut label = value.message(&reader)?;
        let (mut name, mut text) = (&[][..], &[][..]);
        while let Some((number, value)) = label.field()? {
            match number {
                1 => name = value.message(&label)?.whole(),
                2 => text = value.message(&label)?.whole(),
                _ => {}
            }
        }
        let (Ok(name), Ok(text)) = (std::str::from_utf8(name), std::str::from_utf8(text)) else {
            return Ok(Err("a label is not UTF-8".into()));
        };
        pairs.push((name, text));
        // The check below is quadratic; nobody's honest series comes near.
        if pairs.len() > LIMITS.labels + 1 {
            break;
        }
    }
    if let Some(why) = unfit(&pairs) {
        return Ok(Err(why));
    }
    cache.make_room();
    let labels = Labels::new(pairs.iter().map(|(n, v)| (cache.share(n), cache.share(v))).collect::<Vec<_>>());
    cache.bytes += wire.len() + 32 * pairs.len() + 96;
    cache.labels.insert(wire.into(), labels.clone());
    Ok(Ok(labels))
}

#[inline]
fn sample(mut message: Reader) -> Result<Sample, Malformed> {
    // As every sender writes it: value, then time.
    if let Some(([0x09, v @ .., 0x10], _)) = message.rest().split_first_chunk::<10>() {
        let v: [u8; 8] = *v;
        message.skip(10);
        let t = message.varint()?;
        if message.is_empty() {
            return Ok(at(t, f64::from_le_bytes(v)));
        }
        return slow_sample(message, t, f64::from_le_bytes(v));
    }
    slow_sample(message, 0, 0.0)
}

/// Fields in any order, absent ones zero, the last of equals counts.
fn slow_sample(mut message: Reader, mut t: u64, mut v: f64) -> Result<Sample, Malformed> {
    while let Some((number, value)) = message.field()? {
        match number {
            1 => v = value.double(&message)?,
            2 => t = value.number(&message)?,
            _ => {}
        }
    }
    Ok(at(t, v))
}

fn at(t: u64, v: f64) -> Sample {
    // An int64 travels as its two's complement.
    Sample { t: Timestamp::from_ms(t as i64), v }
}

/// One `MetricMetadata`; `None` when it names no family or says more than we keep.
fn metadata(mut message: Reader) -> Result<Option<Metadata>, Malformed> {
    let mut found =
        Metadata { family: String::new(), kind: MetricKind::Unknown, help: String::new(), unit: String::new() };
    while let Some((number, value)) = message.field()? {
        match (number, value) {
            (1, Value::Varint(kind)) => found.kind = remote_write::kind(kind),
            (2, _) => found.family = value.text(&message)?.to_string(),
            (4, _) => found.help = value.text(&message)?.to_string(),
            (5, _) => found.unit = value.text(&message)?.to_string(),
            _ => {}
        }
    }
    let fits = !found.family.is_empty()
        && found.family.len() <= LIMITS.name_bytes
        && found.unit.len() <= LIMITS.name_bytes
        && found.help.len() <= LIMITS.line_bytes;
    Ok(fits.then_some(found))
}

#[cfg(test)]
mod tests;
