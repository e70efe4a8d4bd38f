//! `[store] engine` beside the real things: what is collected here arrives at a Prometheus and at a VictoriaMetrics whatever
//! stops in between, and queries answered there come back as they are asked there.

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, StatusCode};
use hypercare::alerts::engine as alerts;
use hypercare::domain::clock::{SystemClock, Timestamp};
use hypercare::domain::metric::{
    LabelledSample, Labels, Matcher, NAME, STALE_BITS, Sample, SeriesReader as _, stale_marker,
};
use hypercare::net::{Client, Request};
use hypercare::promql::number;
use hypercare::remote::{self, Sender};
use hypercare::sources::receive::remote_write;
use hypercare::store::{Remote, Role, Store};
use hypercare::web::{self, App, Parts};
use tokio_util::sync::CancellationToken;

use support::engine::{Engine, Kind};

const SERIES: usize = 30;
const STEP_MS: i64 = 15_000;

/// By series: time in milliseconds and value.
type Held = BTreeMap<String, Vec<(i64, f64)>>;

fn remote(prometheus: &str, write: &str) -> Remote {
    toml::from_str(&format!("prometheus = \"{prometheus}\"\nwrite = \"{write}\"\ntimeout = \"10s\"")).unwrap()
}

fn of(engine: &Engine) -> Remote {
    remote(&engine.url, &format!("{}/api/v1/write", engine.url))
}

async fn open(dir: &Path) -> Store {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Store::open(&dir.join("data"), Role::Daemon, SystemClock::shared()).await.unwrap()
}

/// Sends in the background; stopped, like by a kill, when it is dropped.
struct Sending(tokio::task::JoinHandle<()>);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn sending(store: &Store, remote: &Remote) -> Sending {
    let sender = Sender::new(store.samples.clone(), remote, Client::new(), store.clock.clone());
    Sending(tokio::spawn(sender.run(CancellationToken::new())))
}

/// Looks again and again, for half a minute.
async fn until(what: &str, mut look: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(30) {
        if look().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("waited 30 s: {what}");
}

async fn all_sent(store: &Store) {
    until("all is sent", async || store.samples.waiting().await.unwrap().is_some_and(|w| w.samples == 0)).await;
}

/// Scrape number `i`, as it would come from a shop: counters, gauges, odd numbers, and a series that ends at 100.
fn scrape(base: i64, i: i64) -> Vec<LabelledSample> {
    let t = Timestamp::from_ms(base + i * STEP_MS + 123);
    let one = |labels: Labels, v: f64| LabelledSample { labels, sample: Sample { t, v } };
    let mut all: Vec<_> = (0..SERIES as i64)
        .map(|s| {
            let labels = Labels::new([(NAME, "http_requests_total"), ("job", "shop"), ("path", "/ü\"\\\n")]);
            one(labels.with("code", &(200 + s).to_string()), (i * (s + 1)) as f64 / 8.0)
        })
        .collect();
    let odd = [0.1 + 0.2, f64::NAN, -0.0, f64::INFINITY, 5e-324, 1.797e308, 1.0 / 3.0];
    all.push(one(Labels::new([(NAME, "odd"), ("job", "shop")]), odd[i as usize % odd.len()]));
    if i <= 100 {
        let v = if i == 100 { stale_marker() } else { i as f64 };
        all.push(one(Labels::new([(NAME, "ends"), ("job", "shop")]), v));
    }
    all
}

async fn collect(store: &Store, base: i64, scrapes: std::ops::Range<i64>) {
    for i in scrapes {
        let batch = scrape(base, i);
        let wanted = batch.len() as u64;
        assert_eq!(store.samples.append(batch).await.unwrap().accepted, wanted);
    }
}

async fn ask(url: &str, path: &str, pairs: &[(&str, &str)]) -> (u16, serde_json::Value) {
    let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let mut request = Request::get(format!("{url}/api/v1/{path}?{form}").parse().unwrap());
    request.body_bytes_limit = 64 << 20;
    let response = Client::new().send(request).await.unwrap();
    (response.status, serde_json::from_slice(&response.body).unwrap())
}

/// What the engine holds before `at`; its API does not show stale markers.
async fn theirs(engine: &Engine, at: i64) -> Held {
    let query = "{job=\"shop\"}[1d]";
    let (_, body) = ask(&engine.url, "query", &[("query", query), ("time", &at.to_string()), ("nocache", "1")]).await;
    let point = |p: &serde_json::Value| {
        let ms = (p[0].as_f64().unwrap() * 1000.0).round() as i64;
        (ms, number::parse(p[1].as_str().unwrap()).unwrap())
    };
    let one = |r: &serde_json::Value| {
        let labels: Labels = serde_json::from_value(r["metric"].clone()).unwrap();
        (labels.to_string(), r["values"].as_array().unwrap().iter().map(point).collect())
    };
    body["data"]["result"].as_array().unwrap_or_else(|| panic!("{body}")).iter().map(one).collect()
}

async fn ours(store: &Store) -> Held {
    let (from, to) = (Timestamp::from_ms(0), Timestamp::from_ms(i64::MAX));
    let all = store.samples.select(&[Matcher::equal("job", "shop")], from, to, 10_000_000).await.unwrap();
    let live = |s: &Sample| (s.v.to_bits() != STALE_BITS).then_some((s.t.ms(), s.v));
    all.iter().map(|s| (s.labels.to_string(), s.samples.iter().filter_map(live).collect())).collect()
}

/// VictoriaMetrics keeps some 15 digits, and nothing of a NaN, of a zero's sign or of the far ends.
fn same(kind: Kind, a: f64, b: f64) -> bool {
    match kind {
        Kind::Prometheus => a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(),
        Kind::VictoriaMetrics => a == b || (a - b).abs() <= a.abs() * 1e-12,
    }
}

/// Nothing missing, nothing twice, every value as it was sent.
async fn holds_what_we_hold(engine: &Engine, store: &Store, at: i64) {
    let mut ours = ours(store).await;
    let mut theirs = theirs(engine, at).await;
    if engine.kind == Kind::VictoriaMetrics {
        let odd = |held: &mut Held| held.retain(|labels, _| !labels.starts_with("odd"));
        odd(&mut ours);
        odd(&mut theirs);
        // Here its API shows the marker, as a NaN.
        theirs.values_mut().for_each(|samples| samples.retain(|s| !s.1.is_nan()));
    }
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    for (labels, samples) in ours {
        let held = &theirs[&labels];
        let times = |all: &[(i64, f64)]| all.iter().map(|s| s.0).collect::<Vec<_>>();
        assert_eq!(times(&samples), times(held), "{labels}");
        for (a, b) in samples.iter().zip(held) {
            assert!(same(engine.kind, a.1, b.1), "{labels} at {}: {} became {}", a.0, a.1, b.1);
        }
    }
}

/// hypercare's own HTTP API over the store.
async fn api(store: &Store) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = listener.local_addr().unwrap();
    let app = App::new(Parts::bare(store.clone(), listen));
    tokio::spawn(web::serve(listener, app, std::future::pending()));
    format!("http://{listen}")
}

/// Without the order of series, which means nothing; and without last digits, where sums are not the same twice.
fn settled(kind: Kind, mut data: serde_json::Value) -> serde_json::Value {
    if matches!(kind, Kind::VictoriaMetrics) {
        round(&mut data);
    }
    for list in [data.pointer_mut("/result"), None].into_iter().flatten() {
        if let Some(all) = list.as_array_mut() {
            all.sort_by_key(|e| e["metric"].to_string());
        }
    }
    if let Some(all) = data.as_array_mut() {
        all.sort_by_key(ToString::to_string);
    }
    data
}

/// Texts that are numbers keep twelve digits.
fn round(data: &mut serde_json::Value) {
    match data {
        serde_json::Value::String(text) => {
            if let Ok(number) = text.parse::<f64>() {
                *text = format!("{number:.11e}");
            }
        }
        serde_json::Value::Array(all) => all.iter_mut().for_each(round),
        serde_json::Value::Object(all) => all.values_mut().for_each(round),
        _ => {}
    }
}

async fn outlives_an_outage(kind: Kind) {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = Engine::start(kind, dir.path()).await;
    let store = open(dir.path()).await;
    let remote = of(&engine);
    // Old enough that sealing takes what was not sent yet out of the head.
    let now = SystemClock::shared().now().ms();
    let base = now - 4 * 3_600_000;
    let at = now / 1000;
    let (start, end) = ((base / 1000).to_string(), (base / 1000 + 3600).to_string());
    let first = sending(&store, &remote);
    collect(&store, base, 0..120).await;
    all_sent(&store).await;
    until("it is searchable", async || theirs(&engine, at).await.len() > SERIES).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    holds_what_we_hold(&engine, &store, at).await;

    let attached = store.clone().read_from(Arc::new(remote::Reader::new(&remote, Client::new())));
    let api = api(&attached).await;
    let middle = (base / 1000 + 101 * 15).to_string();
    let before = (base / 1000 + 99 * 15 + 1).to_string();
    let range = |query| [("query", query), ("start", start.as_str()), ("end", end.as_str()), ("step", "60")];
    for (path, pairs) in [
        ("query", vec![("query", "sum by (code) (rate(http_requests_total[5m]))"), ("time", &middle)]),
        ("query", vec![("query", "{job=\"shop\"}"), ("time", &middle)]),
        ("query", vec![("query", "ends"), ("time", &before)]),
        // The marker arrived as one: nothing is left of the series.
        ("query", vec![("query", "ends"), ("time", &middle)]),
        ("query", vec![("query", "topk(3, http_requests_total)"), ("time", &middle)]),
        ("query", vec![("query", "http_requests_total{code=\"201\"}[1m]"), ("time", &middle)]),
        ("query", vec![("query", "scalar(sum(http_requests_total))"), ("time", &middle)]),
        ("query_range", range("sum(rate(http_requests_total[5m]))").to_vec()),
        ("query_range", range("ends").to_vec()),
        ("labels", vec![("start", &start), ("end", &end)]),
        ("label/code/values", vec![("start", &start), ("end", &end), ("match[]", "http_requests_total")]),
        ("series", vec![("start", &start), ("end", &end), ("match[]", "{__name__=~\"ends|odd\"}")]),
    ] {
        let mut there = pairs.clone();
        if path.starts_with("query") {
            there.extend([("nocache", "1"), ("max_lookback", "300s"), ("latency_offset", "1ms")]);
        }
        let (status, expect) = ask(&engine.url, path, &there).await;
        let (own, found) = ask(&api, path, &pairs).await;
        assert_eq!((own, status), (200, 200), "{path} {pairs:?}: {found} {expect}");
        assert_eq!(settled(kind, found["data"].clone()), settled(kind, expect["data"].clone()), "{path} {pairs:?}");
        let nothing = pairs[0].1 == "ends" && pairs[1].1 == middle;
        assert_eq!(found["data"]["result"] == serde_json::json!([]), nothing, "{path} {pairs:?}: {found}");
    }

    engine.stop();
    collect(&store, base, 120..400).await;
    let (status, body) = ask(&api, "query", &[("query", "up")]).await;
    assert_eq!((status, &body["errorType"]), (503, &"unavailable".into()), "{body}");
    assert!(body["error"].as_str().unwrap().contains(&format!("{}/api/v1/query", engine.url)), "{body}");
    // What needs no sample is answered all the same.
    assert_eq!(ask(&api, "query", &[("query", "vector(1)")]).await.0, 200);
    // A restart of ours in the middle of it, and upkeep that seals what waits.
    drop(first);
    store.close().await;
    drop((store, attached));
    let store = open(dir.path()).await;
    store.samples.maintain(SystemClock::shared().now(), Timestamp::from_ms(0)).await.unwrap();
    assert!(store.samples.stats().await.unwrap().page_samples > 1000);
    let waiting = store.samples.waiting().await.unwrap().unwrap();
    assert_eq!(waiting.samples, 280 * (SERIES as u64 + 1), "{waiting:?}");
    let _second = sending(&store, &remote);
    collect(&store, base, 400..420).await;
    engine.again().await;
    all_sent(&store).await;
    let newest = base + 419 * STEP_MS + 123;
    until("it is searchable", async || {
        theirs(&engine, at).await.values().any(|s| s.last().is_some_and(|s| s.0 == newest))
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    holds_what_we_hold(&engine, &store, at).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_gets_and_answers_all() {
    outlives_an_outage(Kind::Prometheus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_victoria_metrics_gets_and_answers_all() {
    outlives_an_outage(Kind::VictoriaMetrics).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_is_killed_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::start(Kind::Prometheus, dir.path()).await;
    let store = open(dir.path()).await;
    let base = SystemClock::shared().now().ms() - 3_600_000;
    store.samples.keep_outgoing().await.unwrap();
    let (mut kills, mut done) = (0, false);
    while !done || kills < 12 {
        if kills < 12 {
            collect(&store, base, kills * 15..(kills + 1) * 15).await;
        }
        let sender = sending(&store, &of(&engine));
        tokio::time::sleep(Duration::from_millis(20 + 31 * (kills as u64 % 5))).await;
        drop(sender);
        kills += 1;
        done = store.samples.waiting().await.unwrap().unwrap().samples == 0;
        assert!(kills < 500, "it never ends");
    }
    holds_what_we_hold(&engine, &store, SystemClock::shared().now().ms() / 1000).await;
}

/// Sends `samples` past hypercare.
async fn push(engine: &Engine, labels: Labels, samples: Vec<Sample>) {
    let body = hypercare::domain::remote_write::packed(&[(labels, samples)]).unwrap();
    let request = Request::post(of(engine).write, "application/x-protobuf", body).header("content-encoding", "snappy");
    let response = Client::new().send(request).await.unwrap();
    assert_eq!(response.status, 204, "{}", response.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_and_commands_read_what_only_the_other_side_has() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::start(Kind::Prometheus, dir.path()).await;
    let config = dir.path().join("hypercare.toml");
    let remote = of(&engine);
    let text = "[service.shop]\n[store]\npath = \"data\"\n[store.engine]\n".to_string();
    let text = format!("{text}prometheus = \"{}\"\nwrite = \"{}\"\n", remote.prometheus, remote.write);
    std::fs::write(&config, text).unwrap();
    let store = open(dir.path()).await;
    let store = store.clone().read_from(Arc::new(remote::Reader::new(&remote, Client::new())));
    let _sending = sending(&store, &remote);
    let now = store.clock.now();
    push(&engine, Labels::new([(NAME, "only_there"), ("service", "shop")]), vec![Sample { t: now, v: 7.0 }]).await;

    let rules = dir.path().join("rules.yml");
    let group = "groups:\n- name: g\n  rules:\n  - {record: 'a:sum', expr: 'sum(only_there) * 6'}\n";
    // A rule sees what the rule before it recorded a moment ago, over there.
    std::fs::write(&rules, format!("{group}  - {{alert: Answer, expr: 'a:sum == 42'}}\n")).unwrap();
    let setup = alerts::Setup { rule_files: vec![rules.clone()], ..alerts::Setup::default() };
    let mut rules_engine = alerts::Engine::open(store.clone(), setup, store.clock.clone()).await.unwrap();
    let report = rules_engine.tick(store.clock.now()).await.unwrap();
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    let names: Vec<_> = rules_engine.alerts().map(|a| a.labels.get("alertname").unwrap().to_string()).collect();
    assert_eq!(names, ["Answer"]);

    let run = |args: &[&str]| {
        let out = std::process::Command::new(env!("CARGO_BIN_EXE_hypercare"))
            .args(["--config", config.to_str().unwrap()])
            .args(args)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (out.status.code().unwrap(), text(&out.stdout), text(&out.stderr))
    };
    let (code, out, err) = run(&["query", "only_there * 2", "--format", "json"]);
    assert_eq!(code, 0, "{out}{err}");
    let found: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(found["result"][0]["value"], "14", "{out}");
    let (code, out, err) = run(&["rules", "eval", rules.to_str().unwrap()]);
    assert!(code == 0 && out.contains("true for 1"), "{out}{err}");
    drop(engine);
    let (code, out, err) = run(&["query", "only_there"]);
    assert!(code == 69 && err.contains("/api/v1/query: cannot connect"), "{code} {out}{err}");
    let report = rules_engine.tick(store.clock.now().plus(Duration::from_secs(60))).await.unwrap();
    assert_eq!(report.errors.len(), 2, "{:?}", report.errors);
    assert_eq!(rules_engine.alerts().count(), 1, "an alert stays as it was while nobody answers");
}

/// One request: when, its headers, the status it was answered with, its body.
type Got = (Instant, HeaderMap, u16, Vec<u8>);

/// A receiver that answers by script and keeps what it took.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<Vec<(u16, &'static str)>>>,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Script {
    async fn start(answers: &[(u16, &'static str)]) -> (Script, Remote) {
        let script = Script::default();
        script.answers.lock().unwrap().extend(answers.iter().rev());
        let shared = script.clone();
        let push = move |headers: HeaderMap, body: axum::body::Bytes| {
            let (status, after) = shared.answers.lock().unwrap().pop().unwrap_or((204, ""));
            shared.got.lock().unwrap().push((Instant::now(), headers, status, body.to_vec()));
            let mut out = HeaderMap::new();
            if !after.is_empty() {
                out.insert("retry-after", after.parse().unwrap());
            }
            std::future::ready((StatusCode::from_u16(status).unwrap(), out, "out of order sample"))
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = axum::Router::new().route("/api/v1/push", axum::routing::post(push));
        tokio::spawn(async move { axum::serve(listener, app).await });
        (script, remote(&url, &format!("{url}/api/v1/push")))
    }

    /// (status it was answered with, samples) of each request.
    fn requests(&self) -> Vec<(u16, usize)> {
        let decoded = |body: &[u8]| {
            let plain = snap::raw::Decoder::new().decompress_vec(body).unwrap();
            remote_write::decode(&plain, &mut remote_write::Cache::default()).unwrap().samples()
        };
        self.got.lock().unwrap().iter().map(|(_, _, status, body)| (*status, decoded(body))).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_waited_out_and_refusals_left_behind() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let (script, mut remote) = Script::start(&[(503, "2"), (500, ""), (429, "1"), (400, ""), (408, "")]).await;
    let secret = dir.path().join("token");
    std::fs::write(&secret, "hunter2-hunter2\n").unwrap();
    remote.bearer_token = hypercare::domain::secret::Secret::parse(&format!("${{file:{}}}", secret.display()));
    remote.tenant = Some("shop".into());
    let base = SystemClock::shared().now().ms() - 3 * 3_600_000;
    store.samples.keep_outgoing().await.unwrap();
    collect(&store, base, 0..1).await;
    let _sending = sending(&store, &remote);
    all_sent(&store).await;
    collect(&store, base, 1..2).await;
    all_sent(&store).await;
    let many = SERIES + 2;
    // The refused one is not sent again; the next is, after the time-out it was answered with.
    assert_eq!(script.requests(), [(503, many), (500, many), (429, many), (400, many), (408, many), (204, many)],);
    let got = script.got.lock().unwrap().clone();
    let pause = |i: usize| got[i].0 - got[i - 1].0;
    assert!(pause(1) >= Duration::from_secs(2) && pause(3) >= Duration::from_secs(1), "{:?} {:?}", pause(1), pause(3));
    assert!(pause(2) < Duration::from_secs(2), "{:?}", pause(2));
    for (name, value) in [
        ("content-encoding", "snappy"),
        ("content-type", "application/x-protobuf"),
        ("x-prometheus-remote-write-version", "0.1.0"),
        ("authorization", "Bearer hunter2-hunter2"),
        ("x-scope-orgid", "shop"),
    ] {
        assert_eq!(got[0].1.get(name).unwrap(), value);
    }
    assert!(got[0].1["user-agent"].to_str().unwrap().starts_with("hypercare/"));

    // A backlog goes in pieces, in order; whoever waits for the other side does not wait for one that is silent.
    let begun = Instant::now();
    script.answers.lock().unwrap().push((503, "3"));
    collect(&store, base, 2..3).await;
    until("it is refused", async || script.requests().len() == 7).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    store.samples.arrived(Duration::from_secs(60)).await;
    assert!(begun.elapsed() < Duration::from_secs(10));
    collect(&store, base, 3..400).await;
    store.samples.arrived(Duration::from_secs(60)).await;
    all_sent(&store).await;
    let pieces: Vec<usize> = script.requests().into_iter().skip(8).map(|(_, n)| n).collect();
    assert!(pieces.iter().all(|n| *n <= 5000) && pieces.contains(&5000), "{pieces:?}");
    assert_eq!(pieces.iter().sum::<usize>(), ours(&store).await.values().map(Vec::len).sum::<usize>() + 1 - 3 * many);
}
