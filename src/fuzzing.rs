//! What bytes are thrown at: each function takes any, must return, and checks what has to hold of what it could read. The
//! targets of `fuzz/` call them; so do the bounded tests below, which run everywhere.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::domain::clock::Timestamp;
use crate::domain::exposition::{self, Stream};
use crate::domain::metric::{Labels, NAME, Sample, Series};
use crate::promql::{self, MemoryReader, Options};
use crate::sources::receive::{otlp, remote_write};
use crate::store::samples::fuzzing as samples;

pub use samples::{batch, page};

/// Longest text whose canonical form must be legal, too: that is longer than the text, and texts have a limit.
const TEXT_BYTES_MAX: usize = 2_000;

/// Parses; what is legal is so in its canonical form, and evaluates, if only to an error.
pub fn expression(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(expr) = promql::parse(text) else { return };
    if text.len() <= TEXT_BYTES_MAX {
        let pretty = expr.pretty();
        match promql::parse(&pretty) {
            Ok(again) => assert_eq!(again.pretty(), pretty, "of {text:?}"),
            Err(error) => panic!("{pretty:?} of {text:?}: {error}"),
        }
    }
    let series = |job: &str, n: i64| {
        let samples = (0..20).map(|i| Sample { t: Timestamp::from_ms(i * 15_000), v: (i % 7 * n) as f64 }).collect();
        Series { labels: Labels::new([(NAME, "up"), ("job", job)]), samples }
    };
    let reader = MemoryReader { series: vec![series("a", 1), series("b", 3)] };
    let timeout = Duration::from_millis(100);
    let options = Options { samples_max: 20_000, points_max: 100, timeout, ..Options::default() };
    thread_local! {
        /// For its clock: evaluations have a time limit.
        static RUNTIME: Option<Runtime> = Builder::new_current_thread().enable_time().build().ok();
    }
    RUNTIME.with(|runtime| {
        let at = Timestamp::from_ms(240_000);
        let _ = runtime.as_ref().map(|r| r.block_on(promql::instant(&reader, &expr, at, &options)));
    });
}

/// The first byte chooses the format and the cuts. However a stream is cut, it reads the same.
pub fn exposition(data: &[u8]) {
    let Some((first, body)) = data.split_first() else { return };
    let kind = [
        None,
        Some("text/plain; version=0.0.4"),
        Some("text/plain; version=1.0.0; escaping=allow-utf-8"),
        Some("application/openmetrics-text; version=1.0.0"),
    ][usize::from(first & 3)];
    let _ = exposition::parse(kind, body);
    let read = |step: usize| {
        let mut stream = Stream::new();
        let fed = body.chunks(step).try_for_each(|piece| stream.feed(piece)).and_then(|()| stream.finish());
        let bits = |(labels, samples): (Labels, Vec<Sample>)| {
            (labels, samples.iter().map(|s| (s.t.ms(), s.v.to_bits())).collect::<Vec<_>>())
        };
        (fed, stream.take().into_iter().map(bits).collect::<Vec<_>>())
    };
    assert_eq!(read(usize::from(first >> 2) + 1), read(body.len().max(1)));
}

/// What was taken can be written again, and is taken whole.
pub fn remote_write(data: &[u8]) {
    let Ok(received) = remote_write::decode(data, &mut remote_write::Cache::default()) else { return };
    let body = crate::domain::remote_write::encode(&received.series, &[]);
    let again = remote_write::decode(&body, &mut remote_write::Cache::default());
    let again = again.unwrap_or_else(|error| panic!("{error}: {received:?}"));
    assert_eq!((again.samples(), again.refused.points), (received.samples(), 0));
}

pub fn otlp(data: &[u8]) {
    for encoding in [otlp::Encoding::Protobuf, otlp::Encoding::Json] {
        let _ = otlp::decode(encoding, data, &["shop".into()]);
    }
}

/// Never longer than allowed, whatever the block says of itself.
pub fn snappy(data: &[u8]) {
    const BYTES_MAX: usize = 64 << 10;
    if let Ok(body) = remote_write::unpacked(data, BYTES_MAX) {
        assert!(body.len() <= BYTES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::{Index, select};

    use super::*;

    /// Good inputs with a few bytes replaced, put in, taken out, repeated, or the end cut off.
    fn mutated(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
        let change = |bytes: &mut Vec<u8>, (at, byte, what): (Index, u8, u8)| {
            if bytes.is_empty() {
                return;
            }
            let at = at.index(bytes.len());
            match what {
                0 => bytes[at] = byte,
                1 => bytes[at] ^= 1 << (byte % 8),
                2 => bytes.insert(at, byte),
                3 => drop(bytes.remove(at)),
                4 => {
                    let part = bytes[at..(at + usize::from(byte)).min(bytes.len())].to_vec();
                    bytes.splice(at..at, part);
                }
                _ => bytes.truncate(at),
            }
        };
        (select(seeds), vec((any::<Index>(), any::<u8>(), 0u8..6), 0..6)).prop_map(move |(mut bytes, changes)| {
            changes.into_iter().for_each(|c| change(&mut bytes, c));
            bytes
        })
    }

    fn texts(all: &[&str]) -> Vec<Vec<u8>> {
        all.iter().map(|t| t.as_bytes().to_vec()).collect()
    }

    fn expressions() -> Vec<Vec<u8>> {
        texts(&[
            "sum by (job) (rate(up[1m])) / on(job) group_left(x) (count without (job) (up offset -5m) > bool 2) ^ -1",
            "histogram_quantile(0.9, rate({__name__=~\"u.\", job!~\"b|c\"}[5m:30s] @ end())) or -vector(+Inf) unless absent(up)",
            "label_replace(topk(3, {\"up\", 'job'=`a`}), \"a\\n\\u00e4\", \"$1\", \"job\", \"(.*)\") + 0x1F * 1e-3 % .5",
            "max_over_time((up == 1 and up)[2m + 30s:15s] @ 120.5) atan2 quantile(NaN, up) # comment",
            "count_values(\"v\", up offset (step() * 2)) < bool ignoring(a) group_right() sgn(deriv(up[3m]))",
        ])
    }

    /// By the first byte: any format, OpenMetrics.
    fn bodies() -> Vec<Vec<u8>> {
        texts(&[
            "\u{0}# HELP a x\\n\n# TYPE a counter\na{x=\"\\\"é\",} 1e3 1700000000000\nb +Inf\n",
            "\u{3}# TYPE h histogram\n# UNIT h_s s\nh_bucket{le=\"+Inf\"} 3 1.5 # {t=\"x\"} 0.5 1\nh_count 3\nh_sum 4\n# EOF\n",
            "\u{2}{\"my.metric\",\"l.x\"=\"\\n\"} NaN\n",
            "\u{7}a{x=\"1\"} 1 1\na{x=\"1\"} 0x1p3 2.001\nb{} -Inf 3\n# EOF\n",
        ])
    }

    fn write_requests() -> Vec<Vec<u8>> {
        let samples = |n: i64| (0..n).map(|i| Sample { t: Timestamp::from_ms(i * 1000), v: i as f64 }).collect();
        let all = [
            (Labels::new([(NAME, "up"), ("job", "a")]), samples(3)),
            (Labels::new([(NAME, "down"), ("é", "ü")]), samples(1)),
        ];
        vec![crate::domain::remote_write::encode(&all, &[]), Vec::new()]
    }

    fn otlp_requests() -> Vec<Vec<u8>> {
        let json = r#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},
            "scopeMetrics":[{"metrics":[{"name":"r","unit":"ms","histogram":{"aggregationTemporality":2,"dataPoints":[
            {"timeUnixNano":"1000000","count":"3","sum":1.5,"bucketCounts":["1","2"],"explicitBounds":[0.5]}]}}]}]}]}"#;
        // The same kind of thing in protobuf: a gauge `a` with one point.
        let gauge = b"\x0a\x16\x12\x14\x12\x12\x0a\x01a\x2a\x0d\x0a\x0b\x19\x01\0\0\0\0\0\0\0\x18\0";
        vec![json.as_bytes().to_vec(), gauge.to_vec()]
    }

    fn blocks() -> Vec<Vec<u8>> {
        let pack = |bytes: &[u8]| snap::raw::Encoder::new().compress_vec(bytes).unwrap();
        // The last two say that they are long.
        vec![pack(b"abcabcabcabcabcabc"), pack(&[7; 70_000]), vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0xff, 0, 0, 0]]
    }

    /// Seeds are good inputs: a target that reads none of them would prove nothing.
    #[test]
    fn seeds_are_read() {
        for seed in expressions() {
            let text = String::from_utf8(seed).unwrap();
            promql::parse(&text).unwrap_or_else(|e| panic!("{text}: {e}"));
        }
        for seed in write_requests() {
            remote_write::decode(&seed, &mut remote_write::Cache::default()).unwrap();
        }
        let [json, protobuf] = &otlp_requests()[..] else { panic!() };
        assert_eq!(otlp::decode(otlp::Encoding::Json, json, &[]).unwrap().samples(), 4);
        otlp::decode(otlp::Encoding::Protobuf, protobuf, &[]).unwrap();
        assert!(matches!(remote_write::unpacked(&blocks()[1], 64 << 10), Err(remote_write::Unpacking::TooLong)));
        page(&samples::a_page());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn any_bytes_are_read_or_refused(data in vec(any::<u8>(), 0..300)) {
            for target in [expression, exposition, remote_write, otlp, snappy, page, batch] {
                target(&data);
            }
        }
        #[test]
        fn almost_expressions(data in mutated(expressions())) {
            expression(&data);
        }
        #[test]
        fn almost_expositions(data in mutated(bodies())) {
            exposition(&data);
        }
        #[test]
        fn almost_write_requests(data in mutated(write_requests())) {
            remote_write(&data);
        }
        #[test]
        fn almost_otlp(data in mutated(otlp_requests())) {
            otlp(&data);
        }
        #[test]
        fn almost_snappy(data in mutated(blocks())) {
            snappy(&data);
        }
        #[test]
        fn almost_pages(data in mutated(vec![samples::a_page()])) {
            page(&data);
        }
        #[test]
        fn almost_batches(data in mutated(vec![samples::a_batch()])) {
            batch(&data);
        }
    }
}
