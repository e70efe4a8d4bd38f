//! The same samples in a real Prometheus and in our evaluator, the same queries to both: label sets and points must be
//! the same, values within 1e-9.
//!
//! Debian's Prometheus is 2.42, whose windows are closed on the left; no sample and no step of this data lies exactly
//! on a window's edge, so the difference cannot show. Three more things changed between 2.42 and 3 and are kept out of
//! the data: the order in which `rate` weighs its zero point and its threshold (matters where a small counter appears
//! after a gap), which of several NaN `topk` keeps, and the name that `atan2` forgot to drop.
//! `tests/promql_conformance.rs` covers all of them with Prometheus 3's own scripts.

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use hypercare::domain::clock::Timestamp;
use hypercare::domain::metric::{Labels, NAME, Sample, Series};
use hypercare::net::{Client, Request};
use hypercare::promql::{self, MemoryReader, Options, number};
use support::prometheus::{Prometheus, create_blocks};

const TOLERANCE: f64 = 1e-9;
/// 2026-11-22T00:00:00Z.
const BASE_S: i64 = 1_795_305_600;
/// Every sample is this far beyond a whole second, every step half a second: they never meet on an edge.
const SAMPLE_OFFSET_MS: i64 = 7_123;
const SCRAPE_MS: i64 = 15_000;
const SCRAPES: i64 = 480;

/// A small generator with a fixed seed: the test is the same every day.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn series(labels: &[(&str, &str)], mut value: impl FnMut(i64) -> Option<f64>) -> Series {
    let at = |i: i64| Timestamp::from_ms(BASE_S * 1000 + SAMPLE_OFFSET_MS + i * SCRAPE_MS);
    let samples = (0..SCRAPES).filter_map(|i| value(i).map(|v| Sample { t: at(i), v })).collect();
    Series { labels: Labels::new(labels.iter().copied()), samples }
}

/// Counters with resets, gaps and late starts; gauges with NaN and infinities; two histograms.
fn data() -> Vec<Series> {
    let mut all = Vec::new();
    let mut dice = Dice(7);
    for (n, (job, instance, code)) in [
        ("shop", "a:1", "200"),
        ("shop", "a:1", "404"),
        ("shop", "a:1", "500"),
        ("shop", "b:1", "200"),
        ("shop", "b:1", "500"),
        ("cart", "c:1", "200"),
        ("cart", "c:1", "500"),
    ]
    .into_iter()
    .enumerate()
    {
        // Series with gaps do not reset and never come near zero; see above.
        let gappy = matches!(n, 3 | 4 | 6);
        let mut total = if gappy { 1e5 } else { 0.0 };
        let labels = [(NAME, "http_requests_total"), ("job", job), ("instance", instance), ("code", code)];
        all.push(series(&labels, |i| {
            let grow = (dice.next() * 40.0).floor() / (n + 1) as f64;
            total = if dice.next() < 0.02 && !gappy { grow } else { total + grow };
            let gap = n == 3 && (100..130).contains(&i) || n == 4 && i % 40 > 30 || n == 6 && i < 200;
            (!gap).then_some(total)
        }));
    }
    for (shift, job, instance) in [(0, "shop", "a:1"), (1, "shop", "b:1"), (2, "cart", "c:1")] {
        let labels = [(NAME, "memory_bytes"), ("job", job), ("instance", instance)];
        all.push(series(&labels, |i| {
            let v = 1e9 + 1e7 * i as f64 + 1e8 * (dice.next() - 0.5);
            Some(if (i + shift) % 97 == 13 { f64::NAN } else { v })
        }));
        let labels = [(NAME, "up"), ("job", job), ("instance", instance)];
        all.push(series(&labels, |_| Some(if dice.next() < 0.1 { 0.0 } else { 1.0 })));
        let labels = [(NAME, "odd"), ("job", job), ("instance", instance)];
        all.push(series(&labels, |i| {
            let v = dice.next() * 10.0 - 5.0;
            Some(match (i + shift) % 61 {
                7 => f64::INFINITY,
                23 => f64::NEG_INFINITY,
                41 => f64::NAN,
                _ => v,
            })
        }));
        let labels = [(NAME, "build_info"), ("job", job), ("instance", instance), ("version", &instance[..1])];
        all.push(series(&labels, |_| Some(1.0)));
    }
    for job in ["shop", "cart"] {
        let mut counts = [0.0; 5];
        let mut rows: Vec<Vec<f64>> = Vec::new();
        for _ in 0..SCRAPES {
            for _ in 0..(dice.next() * 20.0) as usize {
                let v = -dice.next().ln() * 0.3;
                for (bucket, upper) in [0.05, 0.1, 0.5, 1.0, f64::INFINITY].iter().enumerate() {
                    counts[bucket] += f64::from(u8::from(v <= *upper));
                }
            }
            rows.push(counts.to_vec());
        }
        for (bucket, le) in ["0.05", "0.1", "0.5", "1", "+Inf"].iter().enumerate() {
            let labels = [(NAME, "latency_seconds_bucket"), ("job", job), ("le", le)];
            all.push(series(&labels, |i| Some(rows[i as usize][bucket])));
        }
    }
    all.sort_by(|a, b| a.labels.cmp(&b.labels));
    all
}

fn open_metrics(all: &[Series]) -> String {
    let mut families: BTreeMap<&str, Vec<&Series>> = BTreeMap::new();
    for one in all {
        families.entry(one.labels.name()).or_default().push(one);
    }
    let mut text = String::new();
    for (name, members) in families {
        let _ = writeln!(text, "# TYPE {name} unknown");
        for one in members {
            for s in &one.samples {
                let ms = s.t.ms();
                let _ = writeln!(text, "{} {} {}.{:03}", one.labels, number::plain(s.v), ms / 1000, ms % 1000);
            }
        }
    }
    text + "# EOF\n"
}

fn queries() -> Vec<String> {
    let mut all: Vec<String> = [
        "up",
        "http_requests_total{code=~\"4..|5..\"}",
        "http_requests_total{code!~\"2..\",job!=\"cart\"} offset 3m",
        "memory_bytes @ 1795308000.25",
        "memory_bytes offset -2m",
        "sum(rate(http_requests_total[5m])) by (job)",
        "sum without (instance) (rate(http_requests_total[2m]))",
        "sum(rate(http_requests_total{code=~\"5..\"}[5m])) / sum(rate(http_requests_total[5m]))",
        "sum by (job) (rate(http_requests_total{code=\"500\"}[5m])) / on (job) sum by (job) (rate(http_requests_total[5m])) > 0.1",
        "http_requests_total / ignoring (code) group_left sum without (code) (http_requests_total)",
        "rate(http_requests_total[3m]) * on (job, instance) group_left (version) build_info",
        "build_info * on (job, instance) group_right (version) rate(http_requests_total[3m])",
        "http_requests_total{code=\"500\"} - ignoring (code) http_requests_total{code=\"200\"}",
        "up == 0",
        "up == bool 0",
        "1 - up",
        "2 ^ up * 3 % 2",
        "memory_bytes > 3e9 and on (instance) up == 1",
        "memory_bytes unless on (instance) (up == 0)",
        "up == 0 or memory_bytes > 5e9",
        "up or build_info",
        "-odd",
        "odd > bool 0",
        "odd != odd",
        "odd % 3",
        "(odd * 1) atan2 (up * 1)",
        "abs(odd)",
        "ceil(odd) + floor(odd) - round(odd, 0.5)",
        "clamp(odd, -1, 2)",
        "clamp_min(odd, 0) + clamp_max(odd, 0)",
        "sgn(odd) * sqrt(abs(odd)) + exp(odd)",
        "ln(odd) + log2(abs(odd)) + log10(abs(odd))",
        "sin(odd) + cos(odd) + atan(odd) + tanh(odd) + deg(rad(odd))",
        "histogram_quantile(0.95, sum by (le) (rate(latency_seconds_bucket[5m])))",
        "histogram_quantile(0.5, rate(latency_seconds_bucket[10m]))",
        "histogram_quantile(0.99, latency_seconds_bucket)",
        "histogram_quantile(2, latency_seconds_bucket)",
        "histogram_quantile(scalar(sum(up)) / 4, latency_seconds_bucket)",
        "topk(2, memory_bytes)",
        "bottomk by (job) (1, rate(http_requests_total[5m]))",
        "topk(scalar(sum(up)), odd)",
        "quantile(0.75, odd)",
        "quantile by (job) (0.1, memory_bytes)",
        "count_values(\"state\", up)",
        "count_values without (instance) (\"state\", up)",
        "group by (code) (http_requests_total)",
        "stddev(memory_bytes) + stdvar(up)",
        "min(odd) + max(odd)",
        "avg by (job) (odd)",
        "count(http_requests_total) by (job, code)",
        "absent(http_requests_total{job=\"cart\",code=\"500\"})",
        "absent(nothing{job=\"x\",code=~\"5..\"})",
        "absent_over_time(http_requests_total{job=\"cart\",code=\"500\"}[1m])",
        "label_replace(up, \"host\", \"$1\", \"instance\", \"([a-z]):.*\")",
        "label_replace(up, \"job\", \"\", \"instance\", \"a:1\")",
        "label_join(up, \"both\", \"/\", \"job\", \"instance\")",
        "vector(time())",
        "scalar(up)",
        "scalar(sum(up)) + 1",
        "timestamp(up)",
        "timestamp(up offset 1m)",
        "timestamp(up + 0)",
        "hour() * 60 + minute()",
        "day_of_week(memory_bytes) + day_of_month() + month() + year() + days_in_month() + day_of_week()",
        "predict_linear(memory_bytes[10m], 3600)",
        "deriv(memory_bytes[10m])",
        "quantile_over_time(0.9, memory_bytes[7m])",
        "quantile_over_time(scalar(avg(up)), odd[7m])",
        "max_over_time(rate(http_requests_total[2m])[10m:30s])",
        "avg_over_time(sum(up)[5m:1m])",
        "rate(http_requests_total[5m:30s])",
        "sum_over_time(up[5m] offset 2m)",
        "rate(http_requests_total[5m] @ 1795308000.25)",
        "rate(http_requests_total[5m] @ end() offset 1m)",
        "max_over_time(up[10m:1m] @ start())",
        "min_over_time((memory_bytes > 2e9)[5m:20s])",
        "count_over_time((up == 0)[10m:15s])",
        "avg_over_time(rate(http_requests_total[1m])[5m:17s] offset 90s)",
        "max_over_time(max_over_time(odd[1m])[5m:1m])",
        "sum(up) by (job) > bool on (job) sum(build_info) by (job)",
        "1 + 2 * 3 - 4 / 5 ^ 2",
        "1 > bool 2",
        "time() % 60",
        "sort(up)",
        "changes(up[10m]) > 2 or resets(http_requests_total[20m]) > 0",
    ]
    .into_iter()
    .map(str::to_string)
    .collect();
    for function in [
        "rate",
        "increase",
        "irate",
        "delta",
        "idelta",
        "deriv",
        "changes",
        "resets",
        "avg_over_time",
        "min_over_time",
        "max_over_time",
        "sum_over_time",
        "count_over_time",
        "stddev_over_time",
        "stdvar_over_time",
        "last_over_time",
        "present_over_time",
    ] {
        for selector in ["http_requests_total", "memory_bytes", "up{job=\"shop\"}"] {
            all.extend(["40s", "1m", "5m", "23m"].map(|range| format!("{function}({selector}[{range}])")));
        }
    }
    all
}

async fn start(dir: &Path, all: &[Series]) -> Prometheus {
    let metrics = dir.join("metrics.om");
    std::fs::write(&metrics, open_metrics(all)).unwrap();
    create_blocks(dir, &metrics);
    Prometheus::start(dir, "global: {}\n").await
}

/// Labels and points of `query_range`, or the error's text.
async fn theirs(url: &str, query: &str, start: f64, end: f64, step: f64) -> Result<Vec<Series>, String> {
    let form = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("query", query)
        .extend_pairs([("start", start), ("end", end), ("step", step)].map(|(n, v)| (n, v.to_string())))
        .finish();
    let target = format!("{url}/api/v1/query_range").parse().unwrap();
    let mut request = Request::post(target, "application/x-www-form-urlencoded", form);
    request.body_bytes_limit = 64 << 20;
    let response = Client::new().send(request).await.map_err(|e| e.to_string())?;
    let body: serde_json::Value = serde_json::from_slice(&response.body).map_err(|e| e.to_string())?;
    if body["status"] != "success" {
        return Err(body["error"].to_string());
    }
    let point = |p: &serde_json::Value| Sample {
        t: Timestamp::from_seconds(p[0].as_f64().unwrap()),
        v: number::parse(p[1].as_str().unwrap()).unwrap(),
    };
    let mut series: Vec<Series> = body["data"]["result"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| Series {
            labels: serde_json::from_value(r["metric"].clone()).unwrap(),
            samples: r["values"].as_array().unwrap().iter().map(point).collect(),
        })
        .collect();
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(series)
}

fn near(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= TOLERANCE * a.abs().max(b.abs())
}

/// The first difference, in words.
fn difference(ours: &[Series], theirs: &[Series]) -> Option<String> {
    let names = |all: &[Series]| all.iter().map(|s| s.labels.to_string()).collect::<Vec<_>>();
    if names(ours) != names(theirs) {
        return Some(format!("series\n  ours   {:?}\n  theirs {:?}", names(ours), names(theirs)));
    }
    for (a, b) in ours.iter().zip(theirs) {
        let times = |s: &Series| s.samples.iter().map(|s| s.t).collect::<Vec<_>>();
        if times(a) != times(b) {
            let only = |x: &Series, y: &Series| {
                x.samples.iter().filter(|s| !times(y).contains(&s.t)).take(3).copied().collect::<Vec<_>>()
            };
            return Some(format!("points of {}: only ours {:?}, only theirs {:?}", a.labels, only(a, b), only(b, a)));
        }
        if let Some((x, y)) = a.samples.iter().zip(&b.samples).find(|(x, y)| !near(x.v, y.v)) {
            return Some(format!("{} at {:?}: ours {} theirs {}", a.labels, x.t, x.v, y.v));
        }
    }
    None
}

#[tokio::test]
async fn every_query_agrees_with_a_real_prometheus() {
    let dir = tempfile::tempdir().unwrap();
    let all = data();
    let prometheus = start(dir.path(), &all).await;
    let reader = MemoryReader { series: all };

    // Late enough that no window reaches back to before the first sample.
    let start_s = BASE_S as f64 + 1_800.5;
    let mut wrong = Vec::new();
    let mut points = 0;
    let queries = queries();
    assert!(queries.len() > 200);
    for query in &queries {
        // Finer and coarser than the scrape, and to the end where the series go stale.
        for (end, step) in [(1_200.0, 7.0), (6_400.0, 61.0)] {
            let theirs = theirs(&prometheus.url, query, start_s, start_s + end, step).await;
            let expr = promql::parse(query).unwrap_or_else(|e| panic!("{query}: {e}"));
            let (from, to) = (Timestamp::from_seconds(start_s), Timestamp::from_seconds(start_s + end));
            let ours =
                promql::range(&reader, &expr, from, to, Duration::from_secs_f64(step), &Options::default()).await;
            match (ours, theirs) {
                (Ok(ours), Ok(theirs)) => {
                    points += ours.iter().map(|s| s.samples.len()).sum::<usize>();
                    wrong.extend(difference(&ours, &theirs).map(|d| format!("{query} (step {step}): {d}")));
                }
                (Err(ours), Err(theirs)) => {
                    // Version 3 has other words for a parameter that is no number.
                    let theirs = theirs.replace("Scalar value NaN overflows int64", "Parameter value is NaN");
                    assert!(theirs.contains(&ours.to_string()), "{query}: ours {ours}, theirs {theirs}");
                }
                (ours, theirs) => wrong.push(format!("{query}: ours {:?}, theirs {:?}", ours.err(), theirs.err())),
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ\n{}", wrong.len(), queries.len() * 2, wrong.join("\n"));
    assert!(points > 100_000, "only {points} points were compared");
}
