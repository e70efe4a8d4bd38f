//! The message `prometheus.WriteRequest` of remote write 1.0, as it is written. Values travel as their bits: a stale marker
//! is a NaN of its own. `sources/receive/remote_write.rs` reads it.
//!
//! Sources: the remote write 1.0 specification; the field numbers of Prometheus' `remote.proto` and `types.proto`.

use super::metric::{Labels, Metadata, MetricKind, Sample};
use super::varint;

// Tags: a field's number and its wire type.
const REQUEST_SERIES: u8 = 1 << 3 | 2;
const REQUEST_METADATA: u8 = 3 << 3 | 2;
const SERIES_LABEL: u8 = 1 << 3 | 2;
const SERIES_SAMPLE: u8 = 2 << 3 | 2;
const LABEL_NAME: u8 = 1 << 3 | 2;
const LABEL_VALUE: u8 = 2 << 3 | 2;
const SAMPLE_VALUE: u8 = 1 << 3 | 1;
const SAMPLE_TIME: u8 = 2 << 3;
const METADATA_KIND: u8 = 1 << 3;
const METADATA_FAMILY: u8 = 2 << 3 | 2;
const METADATA_HELP: u8 = 4 << 3 | 2;
const METADATA_UNIT: u8 = 5 << 3 | 2;

/// Kinds of metrics by their number on the wire.
const KINDS: [MetricKind; 8] = [
    MetricKind::Unknown,
    MetricKind::Counter,
    MetricKind::Gauge,
    MetricKind::Histogram,
    MetricKind::Gaugehistogram,
    MetricKind::Summary,
    MetricKind::Info,
    MetricKind::Stateset,
];

/// The kind of that number.
pub fn kind(number: u64) -> MetricKind {
    usize::try_from(number).ok().and_then(|n| KINDS.get(n)).copied().unwrap_or(MetricKind::Unknown)
}

/// A request before it is packed with snappy.
pub fn encode(series: &[(Labels, Vec<Sample>)], metadata: &[Metadata]) -> Vec<u8> {
    let mut request = Vec::new();
    let (mut message, mut part) = (Vec::new(), Vec::new());
    for (labels, samples) in series {
        message.clear();
        // Sorted by name, as the protocol wants them: a label set is.
        for (name, value) in labels.iter() {
            part.clear();
            put_bytes(LABEL_NAME, name.as_bytes(), &mut part);
            put_bytes(LABEL_VALUE, value.as_bytes(), &mut part);
            put_bytes(SERIES_LABEL, &part, &mut message);
        }
        for sample in samples {
            part.clear();
            part.push(SAMPLE_VALUE);
            part.extend_from_slice(&sample.v.to_bits().to_le_bytes());
            part.push(SAMPLE_TIME);
            varint::put(&mut part, sample.t.ms() as u64);
            put_bytes(SERIES_SAMPLE, &part, &mut message);
        }
        put_bytes(REQUEST_SERIES, &message, &mut request);
    }
    for family in metadata {
        message.clear();
        let kind = KINDS.iter().position(|k| *k == family.kind).unwrap_or(0);
        message.extend([METADATA_KIND, kind as u8]);
        put_bytes(METADATA_FAMILY, family.family.as_bytes(), &mut message);
        put_bytes(METADATA_HELP, family.help.as_bytes(), &mut message);
        put_bytes(METADATA_UNIT, family.unit.as_bytes(), &mut message);
        put_bytes(REQUEST_METADATA, &message, &mut request);
    }
    request
}

/// [`encode`], packed. `None` for more than snappy can pack (4 GiB), which pieces never are.
pub fn packed(series: &[(Labels, Vec<Sample>)]) -> Option<Vec<u8>> {
    snap::raw::Encoder::new().compress_vec(&encode(series, &[])).ok()
}

fn put_bytes(tag: u8, bytes: &[u8], to: &mut Vec<u8>) {
    to.push(tag);
    varint::put(to, bytes.len() as u64);
    to.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Timestamp;
    use crate::domain::metric::{NAME, stale_marker};

    #[test]
    fn bytes_are_those_of_the_schema() {
        let sample = |t, v| Sample { t: Timestamp::from_ms(t), v };
        let series = [(Labels::new([(NAME, "a"), ("b", "c")]), vec![sample(300, 1.0), sample(-1, stale_marker())])];
        let plain = encode(&series, &[]);
        let mut expect = vec![0x0a, 58];
        expect.extend([0x0a, 13, 0x0a, 8]);
        expect.extend(b"__name__");
        expect.extend([0x12, 1, b'a', 0x0a, 6, 0x0a, 1, b'b', 0x12, 1, b'c']);
        expect.extend([0x12, 12, 0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0x10, 0xac, 0x02]);
        expect.extend([0x12, 20, 0x09, 2, 0, 0, 0, 0, 0, 0xf0, 0x7f, 0x10]);
        expect.extend([0xff; 9]);
        expect.push(1);
        expect[1] = (expect.len() - 2) as u8;
        assert_eq!(plain, expect);
    }
}
