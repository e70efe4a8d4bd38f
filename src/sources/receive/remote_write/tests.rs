//! Requests as agents write them, as nobody writes them, and as nobody should.

use proptest::prelude::*;

use super::*;
use crate::domain::metric::{NAME, STALE_BITS};

type Batch = Vec<(Labels, Vec<Sample>)>;

fn read(body: &[u8]) -> Result<Received, ReceiveError> {
    decode(body, &mut Cache::default())
}

fn samples(all: &[(i64, u64)]) -> Vec<Sample> {
    all.iter().map(|&(t, bits)| Sample { t: Timestamp::from_ms(t), v: f64::from_bits(bits) }).collect()
}

/// A message field.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    varint::put(&mut out, content.len() as u64);
    out.extend_from_slice(content);
    out
}
fn label(name: &str, value: &str) -> Vec<u8> {
    field(1, &[field(1, name.as_bytes()), field(2, value.as_bytes())].concat())
}
fn series_of(parts: &[Vec<u8>]) -> Vec<u8> {
    field(1, &parts.concat())
}

#[test]
fn values_come_back_bit_for_bit() {
    let bits =
        [0, STALE_BITS, 0x7ff8_0000_0000_0001, 0xfff0_0000_0000_0003, f64::INFINITY.to_bits(), (-0.0f64).to_bits()];
    let times = [i64::MIN, -1, 0, 1, 1_700_000_000_000, i64::MAX];
    let all: Vec<_> = times.into_iter().zip(bits).collect();
    let batch: Batch = vec![(Labels::new([(NAME, "m"), ("a", "ü")]), samples(&all))];
    let found = read(&remote_write::encode(&batch, &[])).unwrap();
    assert_eq!(found.series, batch);
    assert!(found.refused.is_empty());
}

#[test]
fn metadata_and_known_series() {
    let meta = Metadata { family: "m".into(), kind: MetricKind::Counter, help: "h".into(), unit: "s".into() };
    let batch: Batch = vec![(Labels::new([(NAME, "m")]), samples(&[(1, 2)]))];
    let body = remote_write::encode(&batch, std::slice::from_ref(&meta));
    let mut cache = Cache::default();
    let (first, second) = (decode(&body, &mut cache).unwrap(), decode(&body, &mut cache).unwrap());
    assert_eq!((&first, &first.metadata), (&second, &vec![meta]));
    assert_eq!(cache.labels.len(), 1);
}

#[test]
fn odd_but_legal_messages() {
    // Labels out of order and behind the samples; fields of a sample turned round, absent, unknown.
    let turned = field(2, &[&[0x10, 5, 0x09][..], &7.5f64.to_le_bytes()].concat());
    let absent = field(2, &[]);
    let unknown = field(2, &[0x10, 6, 0x18, 1, 0x2a, 1, b'x']);
    let exemplar = field(3, b"");
    let body = series_of(&[label("z", "1"), label(NAME, "m"), turned, absent, unknown, exemplar, label("a", "2")]);
    let found = read(&body).unwrap();
    assert_eq!(found.series[0].0.to_string(), "m{a=\"2\",z=\"1\"}");
    assert_eq!(found.series[0].1, samples(&[(5, 7.5f64.to_bits()), (0, 0), (6, 0)]));
}

#[test]
fn what_cannot_be_stored_is_counted_and_the_rest_stands() {
    let one = || field(2, &[0x10, 5]);
    let good = series_of(&[label(NAME, "good"), one()]);
    for (bad, points, why) in [
        (series_of(&[label("a", "1"), one(), one()]), 2, "without a metric name"),
        (series_of(&[label(NAME, ""), one()]), 1, "without a metric name"),
        (
            series_of(&[label(NAME, "m"), label("a", "1"), label("a", "1"), one()]),
            1,
            "series m: label a is given twice",
        ),
        (series_of(&[label(NAME, "m"), label("", "1"), one()]), 1, "a label without a name"),
        (series_of(&[label(NAME, "m"), label("a", &"x".repeat(1025)), one()]), 1, "more than 1024 bytes"),
        (series_of(&[field(1, &field(1, b"\xff")), one()]), 1, "not UTF-8"),
        (series_of(&[label(NAME, "m"), field(4, b"")]), 1, "series m: native histograms"),
        (
            series_of(&(0..70).map(|i| label(&format!("l{i}"), "1")).chain([label(NAME, "m")]).collect::<Vec<_>>()),
            1,
            "",
        ),
    ] {
        let found = read(&[bad, good.clone()].concat()).unwrap();
        assert_eq!(found.series.len(), 1, "{why}");
        assert_eq!(found.refused.points, points, "{why}");
        assert!(found.refused.why[0].contains(why), "{:?}", found.refused.why);
    }
}

#[test]
fn bytes_that_are_no_message_fail_with_their_place() {
    for (body, at) in [(&b"\x0a\x05abc"[..], 2), (b"\x0b", 0), (b"\x0a\x04\x12\x02\x09\x00", 5), (b"hello", 2)] {
        match read(body) {
            Err(ReceiveError::Malformed(error)) => assert_eq!(error.at, at, "{body:?}: {error}"),
            other => panic!("{body:?}: {other:?}"),
        }
    }
    let many = field(1, &[]).repeat(SERIES_MAX + 1);
    assert!(matches!(read(&many), Err(ReceiveError::TooMuch(_))));
    let many = series_of(&[label(NAME, "m"), field(2, &[]).repeat(SAMPLES_MAX + 1)]);
    assert!(matches!(read(&many), Err(ReceiveError::TooMuch(_))));
}

#[test]
fn a_full_cache_starts_anew() {
    let mut cache = Cache::default();
    for i in 0..40_000 {
        let value = format!("{i}-{}", "x".repeat(900));
        decode(&series_of(&[label(NAME, "m"), label("a", &value), field(2, &[])]), &mut cache).unwrap();
    }
    assert!(cache.bytes <= CACHE_BYTES_MAX + 10_000 && cache.labels.len() < 40_000);
}

proptest! {
    #[test]
    fn any_batch_survives(batch in proptest::collection::vec((
        proptest::collection::btree_map("[a-z]{1,8}", "\\PC{1,12}", 0..5),
        proptest::collection::vec((any::<i64>(), any::<u64>()), 1..20)), 0..6)
    ) {
        let batch: Batch = batch
            .into_iter()
            .map(|(labels, all)| (Labels::new(labels.into_iter().chain([(NAME.into(), "m".into())])), samples(&all)))
            .collect();
        let found = read(&remote_write::encode(&batch, &[])).unwrap();
        prop_assert_eq!(found.series, batch);
    }

    #[test]
    fn random_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&body);
    }

    #[test]
    fn almost_requests_never_panic(cut in 0usize..60, at in 0usize..60, byte in any::<u8>()) {
        let batch: Batch = vec![(Labels::new([(NAME, "metric"), ("a", "b")]), samples(&[(1, 2), (300, 4)]))];
        let mut body = remote_write::encode(&batch, &[]);
        let at = at % body.len();
        body[at] = byte;
        body.truncate(cut.max(1));
        let _ = read(&body);
    }
}
