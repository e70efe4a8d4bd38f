//! The web room over a real socket with a real store behind it.

use std::time::Duration;

use super::*;
use crate::domain::alert::{Alert, AlertState};
use crate::domain::clock::{Clock as _, ManualClock};
use crate::domain::feedback::{Cue, FeedbackItem, FeedbackKind, FeedbackPage};
use crate::domain::launch::{Launch, LaunchState, Move};
use crate::domain::metric::{LabelledSample, Labels, NAME, Sample};
use crate::store::Role;
use crate::store::state::alerts::AlertingCommit;
use crate::store::state::reports::StoredReport;

const START: &str = "2026-11-22T10:00:00Z";

struct Server {
    _dir: tempfile::TempDir,
    clock: Arc<ManualClock>,
    store: Store,
    ready: Arc<AtomicBool>,
    addr: SocketAddr,
    stop: CancellationToken,
    served: tokio::task::JoinHandle<std::io::Result<()>>,
}

async fn server() -> Server {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(Timestamp::parse(START).unwrap());
    let store = Store::open(dir.path(), Role::Daemon, clock.clone()).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (addr, ready, stop) =
        (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)), CancellationToken::new());
    let echo: FormHandler = Arc::new(|request: FormRequest| {
        Box::pin(async move {
            match request.origin.as_deref() {
                Some("https://evil.example") => FormAnswer::WrongOrigin,
                _ => FormAnswer::Thanks,
            }
        })
    });
    let app = App::new(Parts {
        services: BTreeMap::from([("shop".to_string(), ServiceConfig::default())]),
        ready: ready.clone(),
        external_url: format!("http://{addr}"),
        forms: BTreeMap::from([("contact".to_string(), echo)]),
        open: Open { remote_write: true, otlp: true, token: None },
        ..Parts::bare(store.clone(), addr)
    });
    let served = tokio::spawn(serve(listener, app, stop.clone().cancelled_owned()));
    Server { _dir: dir, clock, store, ready, addr, stop, served }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Server {
    /// One request on a connection of its own, as written.
    async fn ask(&self, request: &str, host: &str, body: &str) -> Answer {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (line, headers) = request.split_once('\n').unwrap_or((request, ""));
        let headers: String = headers.lines().map(|l| format!("{l}\r\n")).collect();
        let length = body.len();
        let text = format!(
            "{line} HTTP/1.1\r\nhost: {host}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        let mut socket = tokio::net::TcpStream::connect(self.addr).await.unwrap();
        socket.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_ascii_lowercase(), body: body.to_string() }
    }
    async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), &self.addr.to_string(), "").await
    }

    /// A live launch with ten minutes of traffic, a firing alert and an angry user whose words are markup.
    async fn fill(&self) {
        let now = self.clock.now();
        let live = now.minus(Duration::from_secs(300));
        let labels = |name: &str, code: &str| Labels::new([(NAME, name), ("service", "shop"), ("code", code)]);
        let mut batch = Vec::new();
        for i in 0..=40i64 {
            let t = Timestamp::from_ms(now.ms() - 600_000 + i * 15_000);
            let mut add = |labels: Labels, v: f64| batch.push(LabelledSample { labels, sample: Sample { t, v } });
            add(labels("http_requests_total", "200"), i as f64 * 150.0);
            add(labels("http_requests_total", "500"), i as f64 * 15.0);
            add(labels("up", ""), 1.0);
        }
        self.store.samples.append(batch).await.unwrap();
        let launch = Launch {
            id: "shop-20261122-1".into(),
            service: "shop".into(),
            version: Some("v1.4.0".into()),
            commit: None,
            state: LaunchState::Cleared,
            rev: 0,
            planned_at: live,
            live_at: None,
            window_end: None,
            state_since: live,
            window_ms: 86_400_000,
            timezone: "Europe/Berlin".into(),
            config_hash: String::new(),
            gate_run: None,
        };
        self.store.state.plan_launch(&launch, "ana").await.unwrap();
        let go = Move {
            live_at: Some(live),
            window_end: Some(live.plus(Duration::from_secs(86_400))),
            ..Move::to(LaunchState::Live, &launch, live, "ana")
        };
        self.store.state.move_launch(&launch.id, go, None, vec![]).await.unwrap();
        let alert = Alert {
            fingerprint: "0f".into(),
            rule: "pack/Http5xxHigh".into(),
            service: "shop".into(),
            labels: Labels::new([("alertname", "Http5xxHigh"), ("service", "shop"), ("severity", "critical")]),
            annotations: BTreeMap::from([("summary".into(), "9 % <b>fail</b>".into())]),
            state: AlertState::Firing,
            value: Some(0.09),
            active_at: Some(live),
            fired_at: Some(now.minus(Duration::from_secs(61))),
            resolved_at: None,
            last_eval: now,
            data_as_of: None,
            last_true: None,
            missing_since: None,
            episode: None,
            expr: "x".into(),
        };
        let commit = AlertingCommit { alerts: vec![alert], ..AlertingCommit::default() };
        self.store.state.commit_alerting(commit).await.unwrap();
        let item = FeedbackItem {
            source: "contact".into(),
            external_id: "1".into(),
            revision: "1".into(),
            created_at: now.minus(Duration::from_secs(30)),
            updated_at: now,
            fetched_at: now,
            kind: FeedbackKind::Form,
            author_hash: String::new(),
            rating: Some(1),
            title: String::new(),
            text: "<script>alert(1)</script> charged twice {{ 7 * 7 }} \u{202e}".into(),
            url: None,
            app_version: None,
            platform: None,
            labels: Vec::new(),
            redactions: 0,
            sentiment: None,
            cues: vec![Cue { name: "payment".into(), start: 0, end: 1 }],
        };
        let page = FeedbackPage { items: vec![item], ..FeedbackPage::default() };
        self.store.state.save_feedback_page("shop", "contact", &page, now).await.unwrap();
    }
}

#[tokio::test]
async fn the_room_tells_where_we_are_and_escapes_what_people_wrote() {
    let server = server().await;
    server.fill().await;
    let page = server.get("/").await;
    assert_eq!(page.status, 200);
    assert!(page.head.contains("content-security-policy: default-src 'self'"), "{}", page.head);
    for told in [
        "T+5 min",
        "v1.4.0",
        "23 h 55 min left",
        "RED",
        "Http5xxHigh",
        "1 firing",
        "11",
        "req/s",
        "9.09",
        "charged twice",
        "payment",
        "data 0 s old",
        "<svg",
        "go-live v1.4.0",
    ] {
        assert!(page.body.contains(told), "{told} is missing in {}", page.body);
    }
    for unsafe_text in ["<script>alert", "<b>fail", "\u{202e}", " style=", "onload=", "http://www.w3.org/1999/xlink"] {
        assert!(!page.body.contains(unsafe_text), "{unsafe_text}");
    }
    assert!(page.body.contains("{{ 7 * 7 }}"), "shown as written");
    let fragment = server.get("/?fragment=1&service=nobody").await;
    assert!(fragment.status == 200 && !fragment.body.contains("<html"));
    for (path, kind) in [("/assets/room.js", "text/javascript"), ("/assets/room.css", "text/css")] {
        let asset = server.get(path).await;
        assert!(asset.status == 200 && asset.head.contains(kind), "{path}");
    }
}

#[tokio::test]
async fn an_empty_store_makes_an_honest_page() {
    let server = server().await;
    let page = server.get("/").await;
    assert_eq!(page.status, 200, "{}", page.body);
    for told in ["no launch", "NOT CHECKED", "no good sample", "no series plays this part", "Nothing was sent yet"] {
        assert!(page.body.contains(told), "{told}");
    }
    assert!(!page.body.contains("GREEN"));
}

#[tokio::test]
async fn old_data_greys_the_signals() {
    let server = server().await;
    server.fill().await;
    assert!(!server.get("/").await.body.contains("class=\"signals stale\""));
    server.clock.advance(Duration::from_secs(31));
    let page = server.get("/").await.body;
    assert!(page.contains("class=\"signals stale\"") && page.contains("data 31 s old"));
}

#[tokio::test]
async fn strangers_and_writers_are_refused() {
    let server = server().await;
    let own = server.addr.to_string();
    assert_eq!(server.ask("GET /", "evil.example", "").await.status, 421);
    assert_eq!(server.ask("GET /health", "localhost:1", "").await.status, 200);
    for request in ["POST /", "PUT /status", "DELETE /api/v1/series", "POST /api/hc/v1/launches", "OPTIONS /"] {
        let answer = server.ask(request, &own, "").await;
        assert_eq!(answer.status, 403, "{request}");
        assert!(answer.head.contains("application/problem+json"), "{}", answer.head);
    }
    let missing = server.get("/nothing").await;
    assert!(missing.status == 404 && missing.head.contains("application/problem+json"));
    let public: TcpListener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let app = App::new(Parts::bare(server.store.clone(), public.local_addr().unwrap()));
    let refused = serve(public, app, std::future::pending()).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied);
}

#[tokio::test]
async fn forms_take_messages_and_nothing_large() {
    let server = server().await;
    let own = server.addr.to_string();
    let json = "content-type: application/json";
    let taken = server.ask(&format!("POST /f/contact\n{json}\norigin: https://shop.example"), &own, "{}").await;
    assert_eq!(taken.status, 202);
    assert!(taken.head.contains("access-control-allow-origin: https://shop.example"));
    let evil = server.ask(&format!("POST /f/contact\n{json}\norigin: https://evil.example"), &own, "{}").await;
    assert!(evil.status == 403 && !evil.head.contains("access-control-allow-origin"));
    assert_eq!(server.ask("POST /f/other", &own, "{}").await.status, 404);
    let long = "x".repeat(forms::BODY_BYTES_MAX + 1);
    assert_eq!(server.ask(&format!("POST /f/contact\n{json}"), &own, &long).await.status, 413);
    assert_eq!(server.ask("OPTIONS /f/contact\norigin: https://shop.example", &own, "").await.status, 204);
}

#[tokio::test]
async fn health_and_readiness_are_told_apart() {
    let server = server().await;
    for path in ["/health", "/-/healthy"] {
        let answer = server.get(path).await;
        assert!(answer.status == 200 && answer.head.contains("application/health+json"), "{path}");
        let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(body["status"], "pass");
    }
    assert_eq!(server.get("/ready").await.status, 503);
    server.ready.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(server.get("/-/ready").await.status, 200);
    server.store.close().await;
    let ill = server.get("/health").await;
    assert!(ill.status == 503 && ill.body.contains("\"fail\""), "{}", ill.body);
    assert_eq!(server.get("/ready").await.status, 503);
    assert_eq!(server.get("/").await.status, 503, "no page without a store");
}

#[tokio::test]
async fn status_speaks_json_to_programs_and_html_to_browsers() {
    let server = server().await;
    server.fill().await;
    server.store.state.beat("this boot", server.clock.now()).await.unwrap();
    let json = server.get("/status").await;
    let status: serde_json::Value = serde_json::from_str(&json.body).unwrap();
    assert_eq!(status["schema"], "hypercare.status/v1");
    assert_eq!(status["launches"][0]["state"], "live");
    assert_eq!(status["alerts"]["firing"], 1);
    assert_eq!(status["daemon"]["alive"], true, "the one that answers is alive");
    let html = server.ask("GET /status\naccept: text/html,*/*;q=0.8", &server.addr.to_string(), "").await;
    assert!(html.head.contains("text/html") && html.body.contains("1 firing"));
    let version = server.get("/version").await;
    assert!(version.body.contains(env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn own_metrics_pass_our_own_strict_parser() {
    let server = server().await;
    server.fill().await;
    let answer = server.get("/metrics").await;
    assert!(answer.head.contains("application/openmetrics-text"));
    let text = answer.body;
    let kind = Some("application/openmetrics-text; version=1.0.0; charset=utf-8");
    let parsed = crate::domain::exposition::parse(kind, text.as_bytes()).unwrap();
    assert_eq!(parsed.problems, [], "we ship what we ask of others");
    for line in [
        "hypercare_alerts{service=\"shop\",state=\"firing\"} 1.0",
        "hypercare_launches{state=\"live\"} 1.0",
        "hypercare_series 3.0",
        "hypercare_feedback_items{source=\"contact\"} 1.0",
        "# TYPE hypercare_writer_txns counter",
    ] {
        assert!(text.contains(line), "{line} is missing in {text}");
    }
}

#[tokio::test]
async fn the_query_api_answers_beside_the_room() {
    let server = server().await;
    server.fill().await;
    let own = server.addr.to_string();
    let form = "content-type: application/x-www-form-urlencoded";
    let answer = server.ask(&format!("POST /api/v1/query\n{form}"), &own, "query=sum(up)").await;
    let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((&body["status"], &body["data"]["result"][0]["value"][1]), (&"success".into(), &"1".into()));
}

#[tokio::test]
async fn a_stored_report_is_served_as_written() {
    let server = server().await;
    let report = StoredReport {
        id: 0,
        launch: "shop-1".into(),
        kind: "go_live".into(),
        format: "html".into(),
        as_of: Timestamp::from_ms(0),
        input_hash: String::new(),
        bytes_hash: String::new(),
        bytes: b"<!doctype html><title>r</title>".to_vec(),
        made_at: Timestamp::from_ms(0),
    };
    let ids = server.store.state.save_reports(vec![report], Box::new(|_| Vec::new())).await.unwrap();
    let page = server.get(&format!("/reports/{}", ids[0])).await;
    assert_eq!(page.body, "<!doctype html><title>r</title>");
    assert!(page.head.contains("content-security-policy: default-src 'none'"), "no script, whatever it holds");
    assert_eq!(server.get("/reports/99").await.status, 404);
}

#[tokio::test]
async fn a_change_is_pushed_and_shutdown_ends_the_stream() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let server = server().await;
    let mut socket = tokio::net::TcpStream::connect(server.addr).await.unwrap();
    let request = format!("GET /api/hc/v1/events HTTP/1.1\r\nhost: {}\r\n\r\n", server.addr);
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut heard = String::new();
    let mut buffer = [0u8; 4096];
    while !heard.contains("event: change") {
        let n = socket.read(&mut buffer).await.unwrap();
        assert!(n > 0, "closed early: {heard}");
        heard.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
    server.stop.cancel();
    while socket.read(&mut buffer).await.unwrap() > 0 {}
    server.served.await.unwrap().unwrap();
}
