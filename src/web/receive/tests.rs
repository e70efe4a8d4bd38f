//! Both doors over a real socket with a real store behind them.

use std::io::Write as _;
use std::net::SocketAddr;

use super::*;
use crate::domain::clock::{ManualClock, Timestamp};
use crate::domain::metric::{Labels, Matcher, Metadata, MetricKind, NAME, STALE_BITS, Sample};
use crate::domain::remote_write::encode;
use crate::net::{Client, Request, Response};
use crate::store::{Role, Store};
use crate::web::{App, Parts, serve};

const NOW_MS: i64 = 1_700_000_000_000;

struct Server {
    dir: tempfile::TempDir,
    open: Open,
    store: Store,
    addr: SocketAddr,
}

async fn server(open: Open) -> Server {
    let _ = rustls::crypto::ring::default_provider().install_default();
    serving(tempfile::tempdir().unwrap(), open).await
}

async fn serving(dir: tempfile::TempDir, open: Open) -> Server {
    let clock = ManualClock::at(Timestamp::from_ms(NOW_MS));
    let store = Store::open(dir.path(), Role::Daemon, clock).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let app = App::new(Parts { open: open.clone(), ..Parts::bare(store.clone(), addr) });
    tokio::spawn(serve(listener, app, std::future::pending()));
    Server { dir, open, store, addr }
}

const BOTH: Open = Open { remote_write: true, otlp: true, token: None };

impl Server {
    async fn restarted(self) -> Server {
        self.store.close().await;
        serving(self.dir, self.open).await
    }
    async fn post(&self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Response {
        let url = format!("http://{}{path}", self.addr).parse().unwrap();
        let mut request = Request { body: body.into(), method: "POST".into(), ..Request::get(url) };
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Client::new().send(request).await.unwrap()
    }
    async fn write(&self, body: &[u8]) -> (u16, String) {
        let response = self.post(REMOTE_WRITE, &HEADERS, pack(body)).await;
        (response.status, response.text().into_owned())
    }
    async fn otlp(&self, body: &str) -> (u16, String) {
        let response = self.post(OTLP, &[("content-type", "application/json")], body.into()).await;
        assert_eq!(response.header("content-type"), Some("application/json"));
        (response.status, response.text().into_owned())
    }
    async fn stored(&self, name: &str) -> Vec<(i64, u64)> {
        let all = [Matcher::equal(NAME, name)];
        let found = self.store.samples.select(&all, Timestamp::from_ms(0), Timestamp::from_ms(i64::MAX), 1 << 20).await;
        found.unwrap().iter().flat_map(|s| s.samples.iter().map(|s| (s.t.ms() - NOW_MS, s.v.to_bits()))).collect()
    }
}

const HEADERS: [(&str, &str); 3] = [
    ("content-type", "application/x-protobuf"),
    ("content-encoding", "snappy"),
    ("x-prometheus-remote-write-version", "0.1.0"),
];

fn pack(body: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(body).unwrap()
}

fn batch(name: &str, all: &[(i64, u64)]) -> Vec<u8> {
    let samples =
        all.iter().map(|&(t, v)| Sample { t: Timestamp::from_ms(NOW_MS + t), v: f64::from_bits(v) }).collect();
    let meta = Metadata { family: name.into(), kind: MetricKind::Gauge, help: "H".into(), unit: String::new() };
    encode(&[(Labels::new([(NAME, name), ("job", "x")]), samples)], &[meta])
}

#[tokio::test]
async fn remote_write_stores_every_bit() {
    let server = server(BOTH).await;
    let all = [(-3, 1), (-2, STALE_BITS), (-1, 0x7ff8_0000_0000_0001)];
    assert_eq!(server.write(&batch("m", &all)).await, (204, String::new()));
    assert_eq!(server.write(&batch("m", &all[2..])).await.0, 204, "a repeat is no mistake");
    assert_eq!(server.stored("m").await, all);
    assert_eq!(server.store.samples.metadata().await.unwrap()[0].help, "H");
    assert_eq!(server.write(b"").await.0, 204);
}

#[tokio::test]
async fn remote_write_tells_what_it_did_not_store_and_stores_the_rest() {
    let server = server(BOTH).await;
    let (status, why) = server.write(&batch("m", &[(-2, 1), (-5, 1), (-2, 7), (-1, 1), (700_000, 1)])).await;
    assert_eq!(status, 400);
    for part in ["3 samples were not stored", "1 out of order", "1 duplicate", "1 more than 10 minutes ahead"] {
        assert!(why.contains(part), "{why}");
    }
    assert_eq!(server.stored("m").await, [(-2, 1), (-1, 1)]);
    let unnamed = [encode(&[(Labels::new([("a", "1")]), vec![Sample { t: Timestamp::from_ms(NOW_MS), v: 1.0 }])], &[])];
    let (status, why) = server.write(&[unnamed.concat(), batch("n", &[(0, 1)])].concat()).await;
    assert!(status == 400 && why.contains("without a metric name"), "{why}");
    assert_eq!(server.stored("n").await, [(0, 1)]);
}

#[tokio::test]
async fn remote_write_refuses_what_it_does_not_understand() {
    let server = server(BOTH).await;
    let body = || pack(&batch("m", &[(0, 1)]));
    for (headers, status, part) in [
        (&[("content-type", "text/plain"), HEADERS[1], HEADERS[2]], 415, "text/plain"),
        (
            &[("content-type", "application/x-protobuf;proto=io.prometheus.write.v2.Request"), HEADERS[1], HEADERS[2]],
            415,
            "v2",
        ),
        (&[HEADERS[0], ("content-encoding", "gzip"), HEADERS[2]], 415, "snappy"),
        (&[HEADERS[0], HEADERS[1], ("x-prometheus-remote-write-version", "2.0.0")], 415, "2.0.0"),
        (&[HEADERS[0], HEADERS[1], ("origin", "https://shop.example")], 400, "browser"),
        (&[HEADERS[0], HEADERS[1], ("x-other", "1")], 204, ""),
        (&[("content-type", "application/x-protobuf;proto=prometheus.WriteRequest"), HEADERS[1], HEADERS[2]], 204, ""),
    ] {
        let response = server.post(REMOTE_WRITE, headers, body()).await;
        assert!(response.status == status && response.text().contains(part), "{} {}", response.status, response.text());
    }
    for (body, status, part) in [
        (b"no snappy".to_vec(), 400, "not a snappy block"),
        (pack(b"hello"), 400, "not a protobuf message of the expected kind: byte 2"),
        // It says that it unpacks to 64 MiB.
        (vec![0x80, 0x80, 0x80, 0x20, 0], 413, "longer than 32 MiB"),
        (vec![0; PACKED_BYTES_MAX + 1], 413, "longer than 16 MiB"),
    ] {
        let response = server.post(REMOTE_WRITE, &HEADERS, body).await;
        assert!(response.status == status && response.text().contains(part), "{} {}", response.status, response.text());
    }
}

#[tokio::test]
async fn doors_are_closed_unless_opened() {
    let server = server(Open::default()).await;
    for (path, key) in [(REMOTE_WRITE, "remote_write = true"), (OTLP, "otlp = true")] {
        let response = server.post(path, &HEADERS, pack(&batch("m", &[(0, 1)]))).await;
        assert!(response.status == 403 && response.text().contains(key), "{}", response.text());
    }
    assert_eq!(server.stored("m").await, []);
}

#[tokio::test]
async fn who_does_not_show_the_token_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "s3cret-of-the-door\n").unwrap();
    let server = server(Open { token: Some(Secret::File(file.clone())), ..BOTH }).await;
    let post = async |shown: Option<&str>| {
        let headers: Vec<_> = HEADERS.into_iter().chain(shown.map(|s| ("authorization", s))).collect();
        server.post(REMOTE_WRITE, &headers, pack(&batch("m", &[(0, 1)]))).await
    };
    for (shown, part) in [
        (None, "samples need a token"),
        (Some("Basic czNjcmV0"), "samples need a token"),
        (Some("Bearer s3cret-of-the-doo"), "not the token"),
        (Some("Bearer s3cret-of-the-door2"), "not the token"),
        (Some("Bearer "), "samples need a token"),
    ] {
        let response = post(shown).await;
        assert_eq!((response.status, response.header("www-authenticate")), (401, Some("Bearer")), "{shown:?}");
        assert!(response.text().contains(part), "{}", response.text());
    }
    assert_eq!(server.stored("m").await, []);
    assert_eq!(post(Some("bearer s3cret-of-the-door")).await.status, 204);
    let (status, why) = server.otlp("{}").await;
    assert!(status == 401 && why.contains("\"code\":16"), "{why}");
    // A new token needs no restart; none at all lets nobody in.
    std::fs::write(&file, "another-token").unwrap();
    assert_eq!(post(Some("Bearer s3cret-of-the-door")).await.status, 401);
    assert_eq!(post(Some("Bearer another-token")).await.status, 204);
    std::fs::write(&file, "").unwrap();
    assert_eq!(post(Some("Bearer ")).await.status, 401);
    std::fs::remove_file(&file).unwrap();
    let response = post(Some("Bearer another-token")).await;
    assert!(response.status == 503 && !response.text().contains("token\""), "{}", response.text());
}

#[tokio::test]
async fn a_store_that_cannot_take_it_asks_to_come_back() {
    let server = server(BOTH).await;
    server.store.close().await;
    let response = server.post(REMOTE_WRITE, &HEADERS, pack(&batch("m", &[(0, 1)]))).await;
    assert_eq!((response.status, response.header("retry-after")), (503, Some("5")));
    assert!(!response.text().contains("shut down"), "{}", response.text());
}

#[tokio::test]
async fn otlp_is_stored_and_answered_in_kind() {
    let server = server(BOTH).await;
    let nanos = (NOW_MS as u64) * 1_000_000;
    let body = |temporality: u8, name: &str| {
        format!(
            "{{\"resourceMetrics\":[{{\"scopeMetrics\":[{{\"metrics\":[\
             {{\"name\":\"{name}\",\"sum\":{{\"isMonotonic\":true,\"aggregationTemporality\":{temporality},\
             \"dataPoints\":[{{\"timeUnixNano\":\"{nanos}\",\"asInt\":\"3\"}}]}}}},\
             {{\"name\":\"g\",\"gauge\":{{\"dataPoints\":[]}}}}]}}]}}]}}"
        )
    };
    assert_eq!(server.otlp(&body(2, "req")).await, (200, "{}".into()));
    assert_eq!(server.stored("req_total").await, [(0, 3f64.to_bits())]);
    let (status, why) = server.otlp(&body(0, "req")).await;
    assert!(status == 400 && why.contains("names no aggregation") && why.contains("\"code\":3"), "{why}");
    // The same instant with another value: taken as a whole, but for this.
    let (status, why) = server.otlp(&body(2, "req").replace("\"3\"", "\"4\"")).await;
    assert!(status == 200 && why.contains("\"rejectedDataPoints\":\"1\"") && why.contains("duplicate"), "{why}");
    let (status, why) = server.otlp("{").await;
    assert!(status == 400 && why.contains("line 1 column 1"), "{why}");

    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(body(2, "gz").as_bytes()).unwrap();
    let headers = [("content-type", "application/json"), ("content-encoding", "gzip")];
    assert_eq!(server.post(OTLP, &headers, packed.finish().unwrap()).await.status, 200);
    assert_eq!(server.stored("gz_total").await.len(), 1);
    let protobuf = [("content-type", "application/x-protobuf")];
    let response = server.post(OTLP, &protobuf, b"\x0a\x00".to_vec()).await;
    assert_eq!(
        (response.status, &response.body[..], response.header("content-type")),
        (200, &b""[..], Some("application/x-protobuf"))
    );
    assert_eq!(server.post(OTLP, &[("content-type", "text/plain")], vec![]).await.status, 415);
}

#[tokio::test]
async fn increases_add_up_across_requests_and_restarts() {
    let mut server = server(BOTH).await;
    let body = |from: i64, to: i64, more: i64| {
        let nanos = |t: i64| (NOW_MS + t) * 1_000_000;
        format!(
            "{{\"resourceMetrics\":[{{\"scopeMetrics\":[{{\"metrics\":[{{\"name\":\"req\",\"sum\":{{\"isMonotonic\":true,\
             \"aggregationTemporality\":1,\"dataPoints\":[{{\"startTimeUnixNano\":\"{}\",\"timeUnixNano\":\"{}\",\
             \"asInt\":\"{more}\"}}]}}}}]}}]}}]}}",
            nanos(from),
            nanos(to)
        )
    };
    assert_eq!(server.otlp(&body(-90, -60, 3)).await, (200, "{}".into()));
    // Two at once, as a sender with several connections does.
    let (b, c) = (body(-60, -50, 4), body(-50, -40, 5));
    let (later, latest) = tokio::join!(server.otlp(&b), server.otlp(&c));
    let refused = [&later, &latest].iter().filter(|a| a.1.contains("does not end after the last one")).count();
    assert!(later.0 == 200 && latest.0 == 200 && refused <= 1, "{later:?} {latest:?}");
    let sum = server.stored("req_total").await.last().map(|(_, bits)| f64::from_bits(*bits));
    assert_eq!(sum, Some(if refused == 0 { 12.0 } else { 8.0 }));
    assert_eq!(server.stored("req_total").await[0], (-90, 0), "from nothing, when it began to count");

    server = server.restarted().await;
    assert_eq!(server.otlp(&body(-40, -30, 1)).await, (200, "{}".into()));
    let (status, why) = server.otlp(&body(-40, -30, 1)).await;
    assert!(status == 200 && why.contains("\"rejectedDataPoints\":\"1\""), "{why}");
    let after = server.stored("req_total").await.last().copied();
    assert_eq!(after, sum.map(|sum| (-30, (sum + 1.0).to_bits())));

    // What the store does not take is not counted either.
    let (_, why) = server.otlp(&body(-30, 900_000, 50)).await;
    assert!(why.contains("ahead"), "{why}");
    assert_eq!(server.otlp(&body(-30, -20, 2)).await, (200, "{}".into()));
    let after = server.stored("req_total").await.last().copied();
    assert_eq!(after, sum.map(|sum| (-20, (sum + 3.0).to_bits())));
}
