//! Samples from outside, beside the real thing: a Prometheus sends by remote write, and what it holds is what we stored;
//! promtool and `hypercare import` read the same file, and hold the same; what a VictoriaMetrics exports comes back as it was sent.

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use hypercare::domain::clock::{SystemClock, Timestamp};
use hypercare::domain::metric::{Labels, Matcher, NAME, STALE_BITS, Sample, SeriesReader as _, stale_marker};
use hypercare::domain::remote_write;
use hypercare::net::{Client, Request};
use hypercare::promql::number;
use hypercare::store::{Role, Store};
use hypercare::web::{self, App, Open, Parts};
use support::engine::{Engine, Kind};
use support::prometheus::{Prometheus, create_blocks};

/// Looks again and again, for half a minute.
async fn until(what: &str, mut look: impl AsyncFnMut() -> bool) {
    for _ in 0..300 {
        if look().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("waited 30 s: {what}");
}

/// By series: time in milliseconds and the value's bits, NaN as one of them.
type Held = BTreeMap<String, Vec<(i64, u64)>>;

fn bits(v: f64) -> u64 {
    if v.is_nan() { f64::NAN.to_bits() } else { v.to_bits() }
}

/// What Prometheus holds of `selector` in the `seconds` before `at`; stale markers are not shown by its API.
async fn theirs(prometheus: &Prometheus, selector: &str, seconds: i64, at: i64) -> Held {
    let form = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("query", &format!("{selector}[{seconds}s]"))
        .append_pair("time", &at.to_string())
        .finish();
    let url = format!("{}/api/v1/query?{form}", prometheus.url).parse().unwrap();
    let mut request = Request::get(url);
    request.body_bytes_limit = 64 << 20;
    let body: serde_json::Value = serde_json::from_slice(&Client::new().send(request).await.unwrap().body).unwrap();
    let point = |p: &serde_json::Value| {
        let ms = (p[0].as_f64().unwrap() * 1000.0).round() as i64;
        (ms, bits(number::parse(p[1].as_str().unwrap()).unwrap()))
    };
    let one = |r: &serde_json::Value| {
        let labels: Labels = serde_json::from_value(r["metric"].clone()).unwrap();
        (labels.to_string(), r["values"].as_array().unwrap().iter().map(point).collect())
    };
    body["data"]["result"].as_array().unwrap_or_else(|| panic!("{body}")).iter().map(one).collect()
}

/// What we hold, and how many stale markers besides.
async fn ours(store: &Store, matcher: Matcher) -> (Held, usize) {
    let (from, to) = (Timestamp::from_ms(0), Timestamp::from_ms(i64::MAX));
    let series = store.samples.select(&[matcher], from, to, 10_000_000).await.unwrap();
    let (mut held, mut stale) = (Held::new(), 0);
    for one in series {
        let samples = held.entry(one.labels.to_string()).or_default();
        for s in one.samples {
            if s.v.to_bits() == STALE_BITS {
                stale += 1;
            } else {
                samples.push((s.t.ms(), bits(s.v)));
            }
        }
    }
    (held, stale)
}

/// Serves an exposition as long as it lives.
struct Target(Arc<std::net::TcpListener>);

impl Target {
    fn start(body: &'static str) -> (Target, SocketAddr) {
        let listener = Arc::new(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let (addr, held) = (listener.local_addr().unwrap(), Arc::downgrade(&listener));
        std::thread::spawn(move || {
            while let Some(listener) = held.upgrade() {
                let Ok((mut socket, _)) = listener.accept() else { return };
                // The last look is `stop` knocking.
                if Arc::strong_count(&listener) == 1 {
                    return;
                }
                let _ = socket.read(&mut [0; 4096]);
                let _ = write!(
                    socket,
                    "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
            }
        });
        (Target(listener), addr)
    }
    fn stop(self) {
        let addr = self.0.local_addr().unwrap();
        drop(self.0);
        let _ = std::net::TcpStream::connect(addr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_prometheus_sends_is_stored_as_it_holds_it() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("data"), Role::Daemon, SystemClock::shared()).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let app =
        App::new(Parts { open: Open { remote_write: true, ..Open::default() }, ..Parts::bare(store.clone(), addr) });
    tokio::spawn(web::serve(listener, app, std::future::pending()));

    let (target, target_addr) = Target::start(
        "# HELP a_total Ä.\n# TYPE a_total counter\na_total{x=\"\\\"ü\\\\\"} 0.1\n# TYPE b gauge\nb NaN\nb{x=\"1\"} -Inf\n",
    );
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
         scrape_configs:\n  - job_name: it\n    static_configs: [{{targets: ['{target_addr}']}}]\n\
         \x20 - job_name: we\n    static_configs: [{{targets: ['{addr}']}}]\n\
         remote_write:\n  - url: http://{addr}/api/v1/write\n    queue_config: {{batch_send_deadline: 500ms}}\n\
         \x20   metadata_config: {{send_interval: 1s}}\n"
    );
    let prometheus = Prometheus::start(dir.path(), &config).await;
    let of = |job: &str| Matcher::equal("job", job);
    until("samples arrive", async || ours(&store, of("we")).await.0.values().any(|s| s.len() >= 4)).await;
    target.stop();
    until("the target goes stale", async || ours(&store, of("it")).await.1 >= 3).await;

    let at = SystemClock::shared().now().ms() / 1000 + 1;
    for job in ["it", "we"] {
        let theirs = theirs(&prometheus, &format!("{{job=\"{job}\"}}"), 300, at).await;
        let (ours, _) = ours(&store, of(job)).await;
        assert!(ours.len() >= 3, "{ours:?}");
        for (labels, samples) in &ours {
            // Theirs is ahead by what is still on its way.
            let known = theirs.get(labels).unwrap_or_else(|| panic!("{labels} is not in {:?}", theirs.keys()));
            let upto = samples.len().min(known.len());
            assert_eq!(samples[..upto], known[..upto], "{labels}");
            assert!(known.len() - upto <= 5, "{labels}: {} of {}", samples.len(), known.len());
        }
    }
    until("metadata arrive", async || store.samples.metadata().await.unwrap().iter().any(|m| m.help == "Ä.")).await;
}

/// What a query answers now, by labels.
async fn asked(addr: SocketAddr, query: &str) -> BTreeMap<String, f64> {
    let form = url::form_urlencoded::Serializer::new(String::new()).append_pair("query", query).finish();
    let url = format!("http://{addr}/api/v1/query?{form}").parse().unwrap();
    let body: serde_json::Value =
        serde_json::from_slice(&Client::new().send(Request::get(url)).await.unwrap().body).unwrap();
    let result = body["data"]["result"].as_array().unwrap_or_else(|| panic!("{query}: {body}"));
    let one = |r: &serde_json::Value| {
        let labels: Labels = serde_json::from_value(r["metric"].clone()).unwrap();
        (labels.to_string(), number::parse(r["value"][1].as_str().unwrap()).unwrap())
    };
    result.iter().map(one).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_opentelemetry_sdk_measures_can_be_asked_for() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    for temporality in ["delta", "cumulative"] {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Role::Daemon, SystemClock::shared()).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let app = App::new(Parts { open: Open { otlp: true, ..Open::default() }, ..Parts::bare(store.clone(), addr) });
        tokio::spawn(web::serve(listener, app, std::future::pending()));
        let script = support::root().join("tests/support/otlp.py");
        let service = tokio::process::Command::new(support::python())
            .args([script.as_os_str(), format!("http://{addr}/api/v1/otlp/v1/metrics").as_ref(), temporality.as_ref()])
            .output()
            .await
            .unwrap();
        // The SDK tells of what was not taken on its standard error.
        assert!(service.status.success() && service.stderr.is_empty(), "{}", String::from_utf8_lossy(&service.stderr));
        let measured: serde_json::Value = serde_json::from_slice(&service.stdout).unwrap();

        let of = "instance=\"one\",job=\"shop\"";
        let one = |labels: &str, value: f64| BTreeMap::from([(labels.to_string(), value)]);
        assert_eq!(asked(addr, "orders_total").await, one(&format!("orders_total{{{of},kind=\"tea\"}}"), 12.0));
        assert_eq!(asked(addr, "baskets").await, one(&format!("baskets{{{of}}}"), -6.0));
        let count = asked(addr, "latency_seconds_count").await;
        assert_eq!(count, one(&format!("latency_seconds_count{{{of}}}"), measured["count"].as_f64().unwrap()));
        let sum = asked(addr, "sum(latency_seconds_sum)").await["{}"];
        assert!((sum / measured["sum"].as_f64().unwrap() - 1.0).abs() < 1e-9, "{sum} {measured}");
        if temporality == "delta" {
            // The first of three exports counts: it began at zero.
            let increase = asked(addr, "increase(orders_total[1m])").await;
            assert!(increase.values().all(|v| *v > 11.9), "{increase:?}");
            continue;
        }
        for (quantile, true_value) in measured["quantiles"].as_object().unwrap() {
            let query = format!("histogram_quantile({quantile}, latency_seconds_bucket)");
            let found = asked(addr, &query).await.into_values().next().unwrap();
            let off = (found / true_value.as_f64().unwrap() - 1.0).abs();
            assert!(off < 0.19, "{query}: {found}, and it was {true_value}");
        }
        let help = store.samples.metadata().await.unwrap().into_iter().find(|m| m.family == "latency_seconds");
        assert!(help.is_some_and(|m| m.help.contains("within 19 %")));
    }
}

/// Series with resets, gaps, odd numbers and times with and without fractions.
fn history() -> String {
    let mut text = String::from("# HELP h_total Help.\n# TYPE h_total counter\n");
    for series in 0..40i64 {
        let mut value = series as f64 * 0.1;
        for i in (0..600i64).filter(|i| (i + series) % 50 != 7) {
            value = if i % 211 == 200 { 0.0 } else { value + ((i * 7 + series) % 13) as f64 / 8.0 };
            let ms = 1_700_000_000_000 + i * 15_000 + series;
            let time = if ms % 1000 == 0 { (ms / 1000).to_string() } else { format!("{}.{:03}", ms / 1000, ms % 1000) };
            let _ = writeln!(text, "h_total{{s=\"{series}\",l=\"a\\\\\\\"b\\n\"}} {value} {time}");
        }
    }
    text.push_str("# TYPE odd gauge\n");
    let odd = ["NaN", "+Inf", "-Inf", "-0.0", "5e-324", "1.7976931348623157e308", "1e3", "0.30000000000000004"];
    for (i, value) in odd.iter().enumerate() {
        let _ = writeln!(text, "odd {value} {}", 1_700_000_000 + i);
    }
    text + "# EOF\n"
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_holds_what_promtool_makes_of_the_same_file() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("history.om");
    std::fs::write(&file, history()).unwrap();
    std::fs::write(dir.path().join("hypercare.toml"), "[store]\npath = \"data\"\n").unwrap();
    create_blocks(dir.path(), &file);
    let imported = Command::new(env!("CARGO_BIN_EXE_hypercare"))
        .args(["import", "history.om", "--format", "json"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
    let sum: serde_json::Value = serde_json::from_slice(&imported.stdout).unwrap();
    assert_eq!(sum["sum"]["stored"], sum["sum"]["samples"], "{sum}");

    let prometheus = Prometheus::start(dir.path(), "global: {}\n").await;
    let store = Store::open(&dir.path().join("data"), Role::Client, SystemClock::shared()).await.unwrap();
    for name in ["h_total", "odd"] {
        let theirs = theirs(&prometheus, name, 20_000, 1_700_010_000).await;
        let (ours, stale) = ours(&store, Matcher::equal(NAME, name)).await;
        assert_eq!(ours.len(), theirs.len());
        assert_eq!((ours, stale), (theirs, 0), "{name}");
    }
    store.close().await;
}

/// Numbers that VictoriaMetrics keeps whole: it rounds others to some fifteen digits.
fn shop() -> Vec<(Labels, Vec<Sample>)> {
    let at = |i: i64| Timestamp::from_ms(1_700_000_000_000 + i * 15_000 + i % 3);
    let series = (0..30i64).map(|n| {
        let value = |i: i64| match (n, i % 60) {
            (0, 50) => f64::INFINITY,
            (0, 51) => f64::NEG_INFINITY,
            (_, 52) => stale_marker(),
            _ => (i * 7 + n) as f64 / 8.0,
        };
        let labels = [(NAME, "shop".to_string()), ("n", n.to_string()), ("l", "a\\\"b\n/ü".to_string())];
        (Labels::new(labels), (0..500).map(|i| Sample { t: at(i), v: value(i) }).collect())
    });
    series.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_victoria_metrics_exports_is_imported() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::start(Kind::VictoriaMetrics, dir.path()).await;
    let url = |path: &str| format!("{}/{path}", engine.url).parse().unwrap();
    let body = remote_write::packed(&shop()).unwrap();
    let write = Request::post(url("api/v1/write"), "application/x-protobuf", body).header("content-encoding", "snappy");
    assert_eq!(Client::new().send(write).await.unwrap().status, 204);
    // Nobody reads what lies in its buffers.
    Client::new().send(Request::get(url("internal/force_flush"))).await.unwrap();
    let held: usize = shop().iter().map(|(_, samples)| samples.len()).sum();
    for (form, lines) in [("", 30), ("&max_rows_per_line=100", 150)] {
        let path = format!("api/v1/export?match[]=shop&start=1600000000&end=1800000000{form}");
        let mut text = String::new();
        until("it shows what it has", async || {
            text = Client::new().send(Request::get(url(&path))).await.unwrap().text().into_owned();
            text.lines().count() == lines
        })
        .await;
        let home = dir.path().join(lines.to_string());
        std::fs::create_dir(&home).unwrap();
        std::fs::write(home.join("shop.jsonl"), &text).unwrap();
        std::fs::write(home.join("hypercare.toml"), "[store]\npath = \"data\"\n").unwrap();
        let mut import = Command::new(env!("CARGO_BIN_EXE_hypercare"));
        let done = import.args(["import", "shop.jsonl", "--format", "json"]).current_dir(&home).output().unwrap();
        let sum: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        assert!(done.status.success(), "{sum} {}", String::from_utf8_lossy(&done.stderr));
        assert_eq!((&sum["sum"]["stored"], &sum["sum"]["series"]), (&held.into(), &30.into()), "{sum}");

        let store = Store::open(&home.join("data"), Role::Client, SystemClock::shared()).await.unwrap();
        let all = [Matcher::equal(NAME, "shop")];
        let found = store.samples.select(&all, Timestamp::from_ms(0), Timestamp::from_ms(i64::MAX), 1 << 20).await;
        let bits = |all: Vec<(Labels, Vec<Sample>)>| -> BTreeMap<Labels, Vec<(i64, u64)>> {
            let of = |samples: Vec<Sample>| samples.iter().map(|s| (s.t.ms(), s.v.to_bits())).collect();
            all.into_iter().map(|(labels, samples)| (labels, of(samples))).collect()
        };
        let found = found.unwrap().into_iter().map(|s| (s.labels, s.samples)).collect();
        assert_eq!(bits(found), bits(shop()), "{form}");
        store.close().await;
    }
}
