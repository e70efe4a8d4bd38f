//! The generator against real sockets: small rates, so that the arithmetic is under test and not the machine.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::*;

/// Answers every request with `answer`; each connection pauses once, for `stall`, at its first request after `after`.
async fn server(answer: &'static str, after: Duration, stall: Duration) -> Url {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = Url::parse(&format!("http://{}/x?y=1", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move {
        let started = Instant::now();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut buffer = [0u8; 4096];
                loop {
                    let Ok(n) = stream.read(&mut buffer).await else { return };
                    if n == 0 {
                        return;
                    }
                    let since = started.elapsed();
                    if since >= after && since < after + stall {
                        tokio::time::sleep(after + stall - since).await;
                    }
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

async fn shoot(plan: Plan) -> Report {
    run(plan, |_| {}, CancellationToken::new()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_loop_sends_exactly_what_was_scheduled() {
    let url = server(OK, Duration::MAX / 4, Duration::ZERO).await;
    let plan = Plan {
        ramp: Duration::from_millis(200),
        hold: Duration::from_secs(1),
        connections: 8,
        threads: 2,
        ..Plan::get(&url, Model::Open { rate: 300.0 })
    };
    let report = shoot(plan).await;
    assert_eq!(report.requests, 300, "{report:?}");
    assert_eq!(report.by_status.get(&200), Some(&300));
    assert_eq!(report.bytes, 1500);
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    assert_eq!(report.seconds.iter().map(|s| s.requests).sum::<u64>(), 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_server_shows_in_the_corrected_figure_only() {
    let url = server(OK, Duration::from_millis(500), Duration::from_secs(1)).await;
    let plan = Plan { hold: Duration::from_secs(2), connections: 2, ..Plan::get(&url, Model::Open { rate: 200.0 }) };
    let report = shoot(plan).await;
    // Half of all arrivals fell into the stall and waited half of it on average; a closed loop sees two slow requests.
    assert!(report.latency_ms.p95 > 500.0, "{:?}", report.latency_ms);
    assert!(report.uncorrected_latency_ms.p95 < 500.0, "{:?}", report.uncorrected_latency_ms);
    assert_eq!(report.requests, 400);
    let slowest = report.seconds.iter().map(|s| s.p95_ms).fold(0.0, f64::max);
    assert!(slowest > 500.0 && report.p95_ms_thirds[0] > 500.0, "{:?} {:?}", report.seconds, report.p95_ms_thirds);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_told_by_class() {
    let busy = server("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n", Duration::MAX / 4, Duration::ZERO).await;
    let plan = |url: &Url| Plan {
        hold: Duration::from_millis(300),
        connections: 2,
        timeout: Duration::from_millis(100),
        ..Plan::get(url, Model::Open { rate: 100.0 })
    };
    let report = shoot(plan(&busy)).await;
    assert_eq!(report.errors.get("status_5xx"), Some(&30), "{:?}", report.errors);
    assert_eq!(report.failed(), 30);

    let hanging = server(OK, Duration::ZERO, Duration::from_secs(3600)).await;
    let report = shoot(plan(&hanging)).await;
    assert!(report.errors.get("timeout").is_some_and(|n| *n > 0), "{:?}", report.errors);
    assert!(report.by_status.is_empty());

    let garbage = server("not http at all\r\n\r\n", Duration::MAX / 4, Duration::ZERO).await;
    let report = shoot(plan(&garbage)).await;
    assert!(report.errors.contains_key("protocol"), "{:?}", report.errors);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_errors_end_the_run_early() {
    let busy = server("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", Duration::MAX / 4, Duration::ZERO).await;
    let plan = Plan {
        hold: Duration::from_secs(600),
        abort_error_ratio: Some(0.1),
        ..Plan::get(&busy, Model::Open { rate: 50.0 })
    };
    let report = shoot(plan).await;
    assert!(report.stopped.as_deref().is_some_and(|why| why.contains("10 % errors")), "{:?}", report.stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_loop_and_cancelling_work() {
    let url = server(OK, Duration::MAX / 4, Duration::ZERO).await;
    let cancel = CancellationToken::new();
    let plan = Plan { hold: Duration::from_secs(600), connections: 4, ..Plan::get(&url, Model::Closed) };
    let stop = cancel.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        stop.cancel();
    });
    let report = run(plan, |_| {}, cancel).await.unwrap();
    assert!(report.requests > 100 && report.target_rate.is_none(), "{report:?}");
    assert_eq!(report.stopped.as_deref(), Some("interrupted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_address_and_a_wrong_plan_are_errors() {
    let url = Url::parse("http://127.0.0.1:1/").unwrap();
    let dead = run(Plan::get(&url, Model::Closed), |_| {}, CancellationToken::new()).await;
    assert!(matches!(dead, Err(LoadError::Unreachable(..))), "{dead:?}");
    for model in [Model::Open { rate: 0.0 }, Model::Open { rate: f64::NAN }] {
        let wrong = run(Plan::get(&url, model), |_| {}, CancellationToken::new()).await;
        assert!(matches!(wrong, Err(LoadError::Plan(_))));
    }
}
