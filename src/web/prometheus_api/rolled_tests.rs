//! Queries that reach back to before raw samples, from the store's file to the client: beside what the same queries said
//! while the samples were there.

use super::*;
use crate::domain::clock::ManualClock;
use crate::domain::metric::{Labels, NAME, Sample, Series};
use crate::net::{Client, Request};
use crate::promql::{MemoryReader, answer_instant, answer_range, parse, range};
use crate::store::{Role, Store};

const DAY: i64 = 86_400_000;
const HOUR: i64 = 3_600_000;
/// A midnight.
const T0: i64 = 20_371 * DAY;
/// From here on samples are raw.
const RAW: i64 = T0 + 2 * DAY;
const STEP: i64 = 30_000;
const STEPS: i64 = 3 * DAY / STEP;

#[derive(Clone)]
struct Stored(Samples);

impl Backend for Stored {
    fn reader(&self) -> Arc<dyn SeriesReader> {
        Arc::new(self.0.clone())
    }
    fn clock(&self) -> SharedClock {
        ManualClock::at(ms(T0 + 3 * DAY))
    }
    fn samples(&self) -> Option<Samples> {
        Some(self.0.clone())
    }
}

fn ms(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms)
}

/// Steady, with resets, up and down, and only half of the time; each at every step that it has.
fn series() -> Vec<Series> {
    let of = |name: &str, instance: &str, value: &dyn Fn(i64) -> Option<f64>| {
        let sample = |i: i64| value(i).map(|v| Sample { t: ms(T0 + i * STEP), v });
        Series {
            labels: Labels::new([(NAME, name), ("instance", instance)]),
            samples: (0..STEPS).filter_map(sample).collect(),
        }
    };
    vec![
        of("hits_total", "a", &|i| Some((i * 60) as f64)),
        of("hits_total", "b", &|i| Some((i % 1000 * 60) as f64)),
        of("load", "a", &|i| Some((i * 7919 % 101) as f64 / 4.0)),
        of("load", "b", &|i| (i / 1000 % 2 == 1).then_some((i % 17) as f64)),
    ]
}

struct Bench {
    _dir: tempfile::TempDir,
    samples: Samples,
    /// All samples as they were.
    memory: MemoryReader,
}

impl Bench {
    async fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(ms(T0 + 3 * DAY));
        let samples = Store::open(dir.path(), Role::Daemon, clock).await.unwrap().samples;
        let batch = series().into_iter().map(|s| (s.labels, s.samples)).collect();
        samples.append_series(batch).await.unwrap();
        samples.maintain(ms(T0 + 3 * DAY + 3 * HOUR), ms(RAW)).await.unwrap();
        Bench { _dir: dir, samples, memory: MemoryReader { series: series() } }
    }

    /// What rollups and raw samples together say, what all samples did say, and what is said beside it.
    async fn both(&self, query: &str, (start, end, step): (i64, i64, i64)) -> [(Vec<Series>, Notes); 2] {
        let expr = parse(query).unwrap();
        let (step, options) = (Duration::from_millis(step as u64), Options::default());
        let now = answer_range(&self.samples, &expr, ms(start), ms(end), step, &options).await.unwrap();
        let then = answer_range(&self.memory, &expr, ms(start), ms(end), step, &options).await.unwrap();
        [(now.value, now.notes), (then.value, then.notes)]
    }

    async fn compare(&self, query: &str, grid: (i64, i64, i64), tolerance: f64) {
        let [(now, _), (then, _)] = self.both(query, grid).await;
        let shape = |all: &[Series]| all.iter().map(|s| (s.labels.clone(), s.samples.len())).collect::<Vec<_>>();
        assert_eq!(shape(&now), shape(&then), "{query}");
        for (now, then) in now.iter().zip(&then) {
            for (now, then) in now.samples.iter().zip(&then.samples) {
                assert_eq!(now.t, then.t, "{query}");
                let near = (now.v - then.v).abs() <= tolerance * then.v.abs().max(1.0);
                assert!(near, "{query} at {:?}: {} and not {}", now.t, now.v, then.v);
            }
        }
    }
}

#[tokio::test]
async fn whole_buckets_say_what_their_samples_said() {
    let bench = Bench::new().await;
    for query in [
        "sum_over_time(load[1h])",
        "count_over_time(load[30m])",
        "avg_over_time(load[2h])",
        "min_over_time(load[1h])",
        "max_over_time(load[25m])",
        "last_over_time(load[1h])",
        "present_over_time(load[1h])",
        "load",
        "sum by (instance) (hits_total)",
        "max(max_over_time(load[3h]))",
        "sum_over_time(load[1h] offset 6h)",
        "absent_over_time(load{instance=\"b\"}[1h])",
        "max_over_time(sum(count_over_time(load[1h]))[6h:30m])",
    ] {
        // Over the whole time, across the instant at which raw samples begin, and before it only.
        for grid in [(T0 + 6 * HOUR, T0 + 3 * DAY, HOUR / 2), (T0 + 6 * HOUR, T0 + DAY, 600_000)] {
            bench.compare(query, grid, 1e-12).await;
        }
    }
    for query in ["sum_over_time(load[6h])", "max_over_time(load[2h])", "count(hits_total)", "last_over_time(load[1h])"]
    {
        bench.compare(query, (T0 + 6 * HOUR, T0 + 3 * DAY, 2 * HOUR), 1e-12).await;
    }
}

#[tokio::test]
async fn counters_grow_as_they_grew() {
    let bench = Bench::new().await;
    let whole = (T0 + 3 * HOUR, T0 + 3 * DAY, HOUR / 2);
    bench.compare("rate(hits_total{instance=\"a\"}[1h])", whole, 1e-9).await;
    bench.compare("increase(hits_total{instance=\"a\"}[1h])", whole, 1e-9).await;
    // Raw samples are extrapolated over a reset's edges, rollups have nothing to extrapolate.
    bench.compare("rate(hits_total[1h])", whole, 0.01).await;
    bench.compare("sum(rate(hits_total[2h]))", (T0 + 6 * HOUR, T0 + 3 * DAY, HOUR), 0.01).await;
    for (end, name) in [(T0 + DAY + 5 * HOUR, "rolled up"), (RAW + 5 * HOUR, "across")] {
        let expr = parse("increase(hits_total{instance=\"b\"}[1d])").unwrap();
        let found = answer_instant(&bench.samples, &expr, ms(end), &Options::default()).await.unwrap();
        let crate::promql::Value::Vector(found) = found.value else { panic!("{name}") };
        let within = |s: &&Sample| s.t.ms() >= end - DAY && s.t.ms() <= end;
        let values: Vec<f64> = bench.memory.series[1].samples.iter().filter(within).map(|s| s.v).collect();
        let grew: f64 = values.windows(2).map(|w| if w[1] < w[0] { w[1] } else { w[1] - w[0] }).sum();
        assert_eq!(found[0].1, grew, "{name}: not one lost, not one twice");
    }
}

#[tokio::test]
async fn an_answer_says_where_it_comes_from() {
    let bench = Bench::new().await;
    let raw = "2025-10-12T00:00:00Z";
    assert_eq!(ms(RAW).rfc3339(), raw);
    let day = |step| (T0 + HOUR, T0 + DAY, step);
    let [(fine, notes), _] = bench.both("rate(load[10m])", day(HOUR)).await;
    assert!(!fine.is_empty());
    assert!(notes.infos.contains(&format!("PromQL info: before {raw}: from rollups of 5m (1:1)")), "{notes:?}");
    let [(_, notes), _] = bench.both("load + avg_over_time(load[1h])", day(HOUR)).await;
    assert_eq!(notes.infos, [format!("PromQL info: before {raw}: from rollups of 1h (1:1)")]);
    let [(rough, notes), (true_, _)] = bench.both("quantile_over_time(0.5, load[6h])", day(HOUR)).await;
    assert_eq!(rough.len(), true_.len());
    assert!(notes.infos.iter().any(|i| i.contains("the last one in 1h")), "{notes:?}");

    let [(none, notes), _] = bench.both("load", day(60_000)).await;
    assert_eq!((none.len(), notes.infos.len(), notes.warnings.len()), (0, 0, 1));
    let [(recent, notes), (then, _)] = bench.both("load", (RAW + HOUR, T0 + 3 * DAY, 60_000)).await;
    assert_eq!((recent, notes), (then, Notes::default()), "what is raw is as it was");
    let expr = parse("load[1h]").unwrap();
    let samples = answer_instant(&bench.samples, &expr, ms(RAW + HOUR / 2), &Options::default()).await.unwrap();
    let crate::promql::Value::Matrix(series) = samples.value else { panic!("{samples:?}") };
    assert_eq!(series[0].samples.len(), 5 + 61, "half an hour of buckets, half an hour of samples");
}

#[tokio::test]
async fn kept_results_stay_what_a_fresh_evaluation_says() {
    let bench = Bench::new().await;
    let (cache, options) = (Cache::default(), Options::default());
    for query in ["sum(rate(hits_total[1h]))", "load", "quantile_over_time(0.9, load[1h])"] {
        let expr = parse(query).unwrap();
        for round in 0..12 {
            let (start, end) = (RAW - 3 * HOUR + round * HOUR / 2, RAW + 2 * HOUR + round * HOUR / 2);
            let step = Duration::from_secs(900);
            let kept = cache.range(&bench.samples, &expr, ms(start), ms(end), step, &options).await.unwrap();
            let fresh = answer_range(&bench.samples, &expr, ms(start), ms(end), step, &options).await.unwrap();
            assert_eq!((kept.value, kept.notes), (fresh.value, fresh.notes), "{query} {round}");
        }
    }
    // What is rolled up later is not what was kept.
    let expr = parse("load").unwrap();
    let grid = (ms(RAW + HOUR), ms(RAW + 2 * HOUR), Duration::from_secs(420));
    cache.range(&bench.samples, &expr, grid.0, grid.1, grid.2, &options).await.unwrap();
    bench.samples.maintain(ms(T0 + 4 * DAY), ms(T0 + 3 * DAY)).await.unwrap();
    let kept = cache.range(&bench.samples, &expr, grid.0, grid.1, grid.2, &options).await.unwrap();
    assert_eq!(kept.value, range(&bench.samples, &expr, grid.0, grid.1, grid.2, &options).await.unwrap());
    assert!(!kept.notes.infos.is_empty());
}

#[tokio::test]
async fn clients_read_it_in_infos_and_warnings() {
    let bench = Bench::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = router(Stored(bench.samples.clone()));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let get = async |path: String| {
        let url = format!("http://{address}/api/v1/{path}").parse().unwrap();
        Client::new().send(Request::get(url)).await.unwrap().text().into_owned()
    };
    let (start, end) = ((T0 + DAY) / 1000, (T0 + DAY + 2 * HOUR) / 1000);
    let body = get(format!("query_range?query=sum(load)&start={start}&end={end}&step=5m")).await;
    let info = r#""infos":["PromQL info: before 2025-10-12T00:00:00Z: from rollups of 5m (1:1)"]"#;
    assert!(body.contains(info) && body.contains(r#""values":[["#), "{body}");
    let body = get(format!("query_range?query=sum(load)&start={start}&end={end}&step=1m")).await;
    let warning = "raw samples before 2025-10-12T00:00:00Z are gone; a step of 5m or more is answered from rollups";
    assert!(body.contains(warning) && body.contains(r#""result":[]"#), "{body}");
    let body = get(format!("query?query=load{{instance=\"a\"}}&time={start}")).await;
    assert!(body.contains(info) && body.contains(r#""value":["#), "{body}");
    let body = get(format!("series?match[]=hits_total&start={start}&end={end}")).await;
    assert!(body.contains(r#""instance":"b""#), "{body}");
}
