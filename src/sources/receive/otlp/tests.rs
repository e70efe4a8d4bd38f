//! Requests in both encodings, and what becomes of them.

use proptest::prelude::*;

use super::*;
use crate::domain::metric::{MetricKind, STALE_BITS};

fn json(body: serde_json::Value) -> Received {
    decode(Encoding::Json, body.to_string().as_bytes(), &[]).unwrap()
}
fn shown(received: &Received) -> Vec<String> {
    let one = |(labels, samples): &(crate::domain::metric::Labels, Vec<crate::domain::metric::Sample>)| {
        let samples: Vec<String> = samples.iter().map(|s| format!("{}@{}", s.v, s.t.ms())).collect();
        format!("{labels} {}", samples.join(" "))
    };
    received.series.iter().map(one).collect()
}
fn request(resource: serde_json::Value, metrics: serde_json::Value) -> serde_json::Value {
    serde_json::json!({"resourceMetrics": [{"resource": {"attributes": resource}, "scopeMetrics": [{"metrics": metrics}]}]})
}
fn attribute(key: &str, value: &str) -> serde_json::Value {
    serde_json::json!({"key": key, "value": {"stringValue": value}})
}

#[test]
fn a_resource_becomes_job_instance_and_target_info() {
    let resource = serde_json::json!([
        attribute("service.namespace", "acme"),
        attribute("service.name", "shop"),
        attribute("service.instance.id", "i-1"),
        attribute("host.name", "h"),
        {"key": "cpus", "value": {"intValue": "4"}},
        {"key": "args", "value": {"arrayValue": {"values": [{"stringValue": "-x"}, {"boolValue": true}, {"intValue": 1}]}}},
    ]);
    let points = serde_json::json!([
        {"timeUnixNano": "1500000000", "asInt": "7", "attributes": [attribute("http.route", "/a"), attribute("http_route", "/b")]},
        {"timeUnixNano": 301_500_000_000u64, "asDouble": 0.5, "attributes": [attribute("http.route", "/a"), attribute("http_route", "/b")]},
    ]);
    let found = json(request(
        resource,
        serde_json::json!([{"name": "queue.size", "unit": "{items}", "description": "D", "gauge": {"dataPoints": points}}]),
    ));
    let same = "http_route=\"/a;/b\",instance=\"i-1\",job=\"acme/shop\"";
    let target =
        "target_info{args=\"[\\\"-x\\\",true,1]\",cpus=\"4\",host_name=\"h\",instance=\"i-1\",job=\"acme/shop\"}";
    assert_eq!(
        shown(&found),
        [format!("queue_size{{{same}}} 7@1500 0.5@301500"), format!("{target} 1@1500 1@151500 1@301500")]
    );
    assert_eq!((found.metadata[0].kind, &*found.metadata[0].help), (MetricKind::Gauge, "D"));
    assert!(found.refused.is_empty());
}

#[test]
fn the_label_service_names_a_configured_service() {
    let labels = |name: Option<&str>, own: Option<&str>, services: &[&str]| {
        let resource: Vec<_> = name.iter().map(|n| attribute("service.name", n)).collect();
        let own: Vec<_> = own.iter().map(|s| attribute("service", s)).collect();
        let points = serde_json::json!([{"timeUnixNano": "1000000", "asInt": 1, "attributes": own}]);
        let body = request(resource.into(), serde_json::json!([{"name": "a", "gauge": {"dataPoints": points}}]));
        let services: Vec<String> = services.iter().map(ToString::to_string).collect();
        let found = decode(Encoding::Json, body.to_string().as_bytes(), &services).unwrap();
        found.series[0].0.to_string()
    };
    assert_eq!(labels(Some("shop"), None, &["mail", "shop"]), "a{job=\"shop\",service=\"shop\"}");
    assert_eq!(labels(Some("other"), None, &["mail", "shop"]), "a{job=\"other\"}");
    assert_eq!(labels(Some("other"), None, &["shop"]), "a{job=\"other\",service=\"shop\"}");
    assert_eq!(labels(None, None, &["shop"]), "a{service=\"shop\"}");
    assert_eq!(labels(Some("shop"), Some("basket"), &["shop"]), "a{job=\"shop\",service=\"basket\"}");
    assert_eq!(labels(None, None, &[]), "a");
}

#[test]
fn sums_histograms_and_summaries() {
    let found = json(request(
        serde_json::json!([attribute("service.name", "shop")]),
        serde_json::json!([
            {"name": "req", "unit": "1", "sum": {"aggregationTemporality": 2, "isMonotonic": true, "dataPoints": [{"timeUnixNano": "1000000", "asInt": 3}]}},
            {"name": "level", "sum": {"aggregationTemporality": "AGGREGATION_TEMPORALITY_CUMULATIVE", "dataPoints": [{"timeUnixNano": "1000000", "asDouble": "NaN"}]}},
            {"name": "d", "unit": "s", "histogram": {"aggregationTemporality": 2, "dataPoints": [
                {"timeUnixNano": "1000000", "count": "6", "sum": 1.5, "bucketCounts": ["1", 2, "3"], "explicitBounds": [0.005, 10]}]}},
            {"name": "s", "summary": {"dataPoints": [
                {"timeUnixNano": "1000000", "count": 2, "sum": 3, "quantileValues": [{"quantile": 0.5, "value": 1}, {"quantile": 1, "value": 2}]}]}},
        ]),
    ));
    let expect = [
        "req_total{job=\"shop\"} 3@1",
        "level{job=\"shop\"} NaN@1",
        "d_seconds_sum{job=\"shop\"} 1.5@1",
        "d_seconds_count{job=\"shop\"} 6@1",
        "d_seconds_bucket{job=\"shop\",le=\"0.005\"} 1@1",
        "d_seconds_bucket{job=\"shop\",le=\"10\"} 3@1",
        "d_seconds_bucket{job=\"shop\",le=\"+Inf\"} 6@1",
        "s_sum{job=\"shop\"} 3@1",
        "s_count{job=\"shop\"} 2@1",
        "s{job=\"shop\",quantile=\"0.5\"} 1@1",
        "s{job=\"shop\",quantile=\"1\"} 2@1",
    ];
    assert_eq!(shown(&found), expect, "a resource with nothing but its name has no target_info");
}

#[test]
fn increases_are_handed_on_with_their_beginning() {
    let point = serde_json::json!({"startTimeUnixNano": "1000000", "timeUnixNano": "3000000", "asInt": 3});
    let buckets =
        serde_json::json!({"timeUnixNano": "4000000", "count": 3, "bucketCounts": [1, 2], "explicitBounds": [0.5]});
    let found = json(request(
        serde_json::json!([]),
        serde_json::json!([
            {"name": "n", "sum": {"aggregationTemporality": 1, "isMonotonic": true, "dataPoints": [point]}},
            {"name": "h", "histogram": {"aggregationTemporality": 1, "dataPoints": [buckets]}},
        ]),
    ));
    assert!(found.series.is_empty() && found.refused.is_empty());
    let shown: Vec<String> = found
        .increases
        .iter()
        .flat_map(|(labels, all)| all.iter().map(move |i| (labels, i)))
        .map(|(labels, i)| format!("{labels} {}@{:?}-{}", i.sample.v, i.from.map(|t| t.ms()), i.sample.t.ms()))
        .collect();
    let expect =
        ["n_total 3@Some(1)-3", "h_count 3@None-4", "h_bucket{le=\"0.5\"} 1@None-4", "h_bucket{le=\"+Inf\"} 3@None-4"];
    assert_eq!(shown, expect);
}

#[test]
fn exponential_histograms_get_buckets_and_say_how_exact_they_are() {
    let point = serde_json::json!({"timeUnixNano": "1000000", "count": "7", "sum": 9, "scale": 1, "zeroCount": 2,
        "positive": {"offset": -2, "bucketCounts": ["1", "4"]}});
    let found = json(request(
        serde_json::json!([]),
        serde_json::json!([{"name": "d", "unit": "s", "description": "Latency.",
            "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [point]}}]),
    ));
    let expect = [
        "d_seconds_sum 9@1",
        "d_seconds_count 7@1",
        "d_seconds_bucket{le=\"0\"} 2@1",
        "d_seconds_bucket{le=\"0.5\"} 2@1",
        "d_seconds_bucket{le=\"0.7071067811865476\"} 3@1",
        "d_seconds_bucket{le=\"1\"} 7@1",
        "d_seconds_bucket{le=\"+Inf\"} 7@1",
    ];
    assert_eq!(shown(&found), expect);
    assert_eq!(found.metadata[0].help, "Latency. (from an exponential histogram, quantiles within 19 %)");
}

#[test]
fn what_we_do_not_take_is_counted_and_told() {
    let point = serde_json::json!({"timeUnixNano": "1000000", "asInt": 3});
    let found = json(request(
        serde_json::json!([]),
        serde_json::json!([
            {"name": "expdelta", "exponentialHistogram": {"aggregationTemporality": 1, "dataPoints": [{}, {}]}},
            {"name": "none", "histogram": {"dataPoints": [{"timeUnixNano": "1"}]}},
            {"name": "exp", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [{"scale": 21}, {"scale": -11}, {"scale": 99}]}},
            {"name": "late", "gauge": {"dataPoints": [{"asInt": 1}]}},
            {"name": "torn", "histogram": {"aggregationTemporality": 2, "dataPoints": [{"timeUnixNano": "1", "bucketCounts": [1], "explicitBounds": [1]}]}},
            {"name": "ok", "gauge": {"dataPoints": [point, {"timeUnixNano": "2000000", "flags": 1}]}},
        ]),
    ));
    assert_eq!(found.refused.points, 8);
    for (why, part) in found.refused.why.iter().zip([
        "metric expdelta: exponential histograms with delta temporality are not supported; set the exporter to cum",
        "metric none: it names no aggregation temporality",
        "metric exp: its scale is not between -10 and 20",
        "metric late: a data point without a time",
        "metric torn: bucket counts and bounds",
    ]) {
        assert!(why.starts_with(part), "{why}");
    }
    assert_eq!(found.series.len(), 1);
    let bits: Vec<u64> = found.series[0].1.iter().map(|s| s.v.to_bits()).collect();
    assert_eq!(bits, [3f64.to_bits(), STALE_BITS], "no recorded value is a stale marker");
}

#[test]
fn json_errors_have_a_place() {
    for (body, part) in [
        ("{\"resourceMetrics\": 5}", "line 1 column"),
        ("[", "line 1 column"),
        (
            "{\"resourceMetrics\":[{\"scopeMetrics\":[{\"metrics\":[{\"gauge\":{\"dataPoints\":[{\"timeUnixNano\":\"x\"}]}}]}]}]}",
            "a whole number",
        ),
    ] {
        let error = decode(Encoding::Json, body.as_bytes(), &[]).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let many = format!("[{}]", "{},".repeat(2 * ITEMS_MAX));
    assert!(matches!(decode(Encoding::Json, many.as_bytes(), &[]), Err(ReceiveError::TooMuch(_))));
}

#[test]
fn protobuf_reads_as_json_does() {
    // Written by hand: field by field, with the numbers of the .proto files.
    let f = |number: u8, content: &[u8]| [&[number << 3 | 2, content.len() as u8][..], content].concat();
    let fixed = |number: u8, bits: u64| [&[number << 3 | 1][..], &bits.to_le_bytes()].concat();
    let text = |key: &str, value: &str| [f(1, key.as_bytes()), f(2, &f(1, value.as_bytes()))].concat();
    let number =
        [f(7, &text("l", "v")), fixed(2, 1), fixed(3, 2_000_000), fixed(4, 1.5f64.to_bits()), vec![8 << 3, 0]].concat();
    let gauge = [f(1, b"g"), f(2, b"help"), f(3, b"By"), f(5, &f(1, &number))].concat();
    let integer = [fixed(3, 3_000_000), fixed(6, (-4i64) as u64)].concat();
    let sum = [f(1, b"c"), f(7, &[f(1, &integer), vec![2 << 3, 2, 3 << 3, 1]].concat())].concat();
    let packed: Vec<u8> = [1u64, 2].iter().flat_map(|n| n.to_le_bytes()).collect();
    let histogram = [
        fixed(3, 4_000_000),
        fixed(4, 3),
        fixed(5, 9f64.to_bits()),
        f(6, &packed),
        fixed(7, 0.25f64.to_bits()),
        vec![10 << 3, 0],
    ]
    .concat();
    let histogram = [f(1, b"h"), f(9, &[f(1, &histogram), vec![2 << 3, 2]].concat())].concat();
    let quantile = f(6, &[fixed(1, 0.5f64.to_bits()), fixed(2, 7f64.to_bits())].concat());
    let summary =
        [f(1, b"s"), f(11, &f(1, &[fixed(3, 5_000_000), fixed(4, 2), fixed(5, 8f64.to_bits()), quantile].concat()))]
            .concat();
    let scope = [f(2, &gauge), f(2, &sum), f(2, &histogram), f(2, &summary)].concat();
    let body = f1(&[f(1, &f(1, &text("service.name", "shop"))), f1_as(2, &scope)].concat());
    let found = decode(Encoding::Protobuf, &body, &[]).unwrap();
    let expect = [
        "g_bytes{job=\"shop\",l=\"v\"} 1.5@2",
        "c_total{job=\"shop\"} -4@3",
        "h_sum{job=\"shop\"} 9@4",
        "h_count{job=\"shop\"} 3@4",
        "h_bucket{job=\"shop\",le=\"0.25\"} 1@4",
        "h_bucket{job=\"shop\",le=\"+Inf\"} 3@4",
        "s_sum{job=\"shop\"} 8@5",
        "s_count{job=\"shop\"} 2@5",
        "s{job=\"shop\",quantile=\"0.5\"} 7@5",
    ];
    assert_eq!(shown(&found), expect);
    assert_eq!(found.metadata[0].unit, "bytes");
    assert!(decode(Encoding::Protobuf, &body[..body.len() - 1], &[]).is_err());
}

/// A message field of any length.
fn f1_as(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = content.len();
    while length > 0x7f {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(content);
    out
}
fn f1(content: &[u8]) -> Vec<u8> {
    f1_as(1, content)
}

#[test]
fn answers_in_both_encodings() {
    assert_eq!(response(Encoding::Json, 0, ""), b"{}");
    assert_eq!(response(Encoding::Protobuf, 0, ""), b"");
    let partial = String::from_utf8(response(Encoding::Json, 2, "no")).unwrap();
    assert_eq!(partial, "{\"partialSuccess\":{\"rejectedDataPoints\":\"2\",\"errorMessage\":\"no\"}}");
    assert_eq!(response(Encoding::Protobuf, 2, "no"), b"\x0a\x06\x08\x02\x12\x02no");
    assert_eq!(status(Encoding::Protobuf, 3, "no"), b"\x08\x03\x12\x02no");
}

#[test]
fn values_nest_only_so_deep() {
    let mut value = f1(b"x");
    for _ in 0..40 {
        // An array value with one element.
        value = f1_as(5, &f1(&value));
    }
    let attribute = [f1(b"k"), f1_as(2, &value)].concat();
    let body = f1(&f1(&f1(&attribute)));
    assert!(matches!(decode(Encoding::Protobuf, &body, &[]), Err(ReceiveError::Malformed(_))));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(Encoding::Protobuf, &body, &[]);
        let _ = decode(Encoding::Json, &body, &[]);
    }
}
