//! How long a report over 24 hours of 200 series takes, from the store to the three documents, beside what it takes
//! Chromium to print the finished page (its peer: who writes the 2 a.m. document by hand prints one).

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hypercare::domain::clock::{ManualClock, Timestamp};
use hypercare::domain::launch::{Launch, LaunchState, Move};
use hypercare::domain::metric::{LabelledSample, Labels, NAME, Sample};
use hypercare::domain::service::ServiceConfig;
use hypercare::report::{self, Inputs, baseline};
use hypercare::store::{Role, Store};

const SERIES: usize = 200;
const INTERVAL: Duration = Duration::from_secs(15);
const DAY: Duration = Duration::from_secs(86_400);
const RUNS: usize = 5;
const LAUNCH: &str = "shop-20261122-1";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (times, html) = runtime.block_on(measure(dir.path()))?;
    let ours = median(times);
    println!("report: 24 h x {SERIES} series every {} s to html + md + json", INTERVAL.as_secs());
    println!("  hypercare          median {:8.1} ms of {RUNS}   (page {} KB)", ours * 1e3, html.len() / 1024);
    let page = dir.path().join("report.html");
    std::fs::write(&page, html)?;
    match (0..RUNS).map(|_| print_to_pdf(&page, dir.path())).collect::<Option<Vec<f64>>>() {
        Some(peer) => {
            let peer = median(peer);
            println!("  chromium, printing median {:8.1} ms of {RUNS}   ratio {:.2}", peer * 1e3, ours / peer);
        }
        None => println!("  chromium           not here: no ratio"),
    }
    Ok(())
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Seconds; `None` without a Chromium that prints.
fn print_to_pdf(page: &Path, dir: &Path) -> Option<f64> {
    let started = Instant::now();
    let ended = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer"])
        .arg(format!("--user-data-dir={}", dir.join("profile").display()))
        .arg(format!("--print-to-pdf={}", dir.join("report.pdf").display()))
        .arg(format!("file://{}", page.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .ok()?;
    ended.success().then(|| started.elapsed().as_secs_f64())
}

async fn measure(dir: &Path) -> Result<(Vec<f64>, String), Box<dyn std::error::Error>> {
    let t0 = Timestamp::from_ms(1_795_340_000_000);
    let store = Store::open(dir, Role::Daemon, ManualClock::at(t0.plus(DAY))).await?;
    fill(&store, t0).await?;
    go(&store, t0).await?;
    let mut inputs = Inputs::new(LAUNCH, t0.plus(DAY), ServiceConfig::default());
    inputs.interval = INTERVAL;
    let mut times = Vec::new();
    let mut html = String::new();
    for _ in 0..=RUNS {
        let started = Instant::now();
        let made = report::documents(&store, &inputs).await?;
        times.push(started.elapsed().as_secs_f64());
        assert!(html.is_empty() || html == made.report.html, "two reports from one database differ");
        html = made.report.html;
    }
    times.remove(0);
    store.close().await;
    Ok((times, html))
}

/// A day before go-live and the day after it: ten instances with a request counter by code, a latency histogram, two
/// gauges and `up`.
async fn fill(store: &Store, t0: Timestamp) -> Result<(), Box<dyn std::error::Error>> {
    let mut series: Vec<(Labels, f64)> = Vec::new();
    for instance in 0..10 {
        let instance = format!("shop-{instance}:9000");
        let labels = |name: &str, more: &[(&str, &str)]| {
            let base = [(NAME, name), ("job", "shop"), ("instance", instance.as_str()), ("service", "shop")];
            Labels::new(base.iter().chain(more).map(|(n, v)| (n.to_string(), v.to_string())))
        };
        series.push((labels("up", &[]), 0.0));
        series.push((labels("process_cpu_seconds_total", &[]), 4.0));
        series.push((labels("queue_depth", &[("queue", "mail")]), 0.0));
        for (code, pace) in [("200", 1500.0), ("201", 40.0), ("404", 9.0), ("500", 0.6)] {
            series.push((labels("http_requests_total", &[("code", code)]), pace));
        }
        for (le, pace) in
            [("0.005", 300.0), ("0.01", 700.0), ("0.025", 1000.0), ("0.05", 1200.0), ("0.1", 1350.0), ("0.25", 1450.0)]
                .into_iter()
                .chain([("0.5", 1500.0), ("1", 1530.0), ("2.5", 1545.0), ("5", 1549.0), ("+Inf", 1549.6)])
        {
            series.push((labels("http_request_duration_seconds_bucket", &[("le", le)]), pace));
        }
        series.push((labels("http_request_duration_seconds_count", &[]), 1549.6));
        series.push((labels("http_request_duration_seconds_sum", &[]), 61.7));
    }
    assert_eq!(series.len(), SERIES);
    let mut at = t0.minus(DAY);
    let (mut n, mut values) = (0u64, vec![0.0f64; SERIES]);
    let mut batch = Vec::new();
    while at <= t0.plus(DAY) {
        let hour = (at.ms() as f64 / 3_600_000.0).rem_euclid(24.0);
        let season = 1.0 + 0.45 * ((hour / 24.0 - 0.3) * std::f64::consts::TAU).sin();
        for (i, (labels, pace)) in series.iter().enumerate() {
            // Deterministic noise: the low bits of a multiplicative hash.
            let noise = ((n * 200 + i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f64 / f64::from(1 << 24);
            let v = match labels.name() {
                "up" => 1.0,
                "queue_depth" => (noise * 12.0 * season).floor(),
                _ => {
                    values[i] += pace * season * (0.9 + 0.2 * noise);
                    values[i].floor()
                }
            };
            batch.push(LabelledSample { labels: labels.clone(), sample: Sample { t: at, v } });
        }
        if batch.len() >= 20_000 {
            store.samples.append(std::mem::take(&mut batch)).await?;
        }
        n += 1;
        at = at.plus(INTERVAL);
    }
    store.samples.append(batch).await?;
    Ok(())
}

async fn go(store: &Store, t0: Timestamp) -> Result<(), Box<dyn std::error::Error>> {
    let launch = Launch {
        id: LAUNCH.into(),
        service: "shop".into(),
        version: Some("v1.4.0".into()),
        commit: None,
        state: LaunchState::Planned,
        rev: 0,
        planned_at: t0.minus(DAY),
        live_at: None,
        window_end: None,
        state_since: t0.minus(DAY),
        window_ms: DAY.as_millis() as i64,
        timezone: "Europe/Berlin".into(),
        config_hash: String::new(),
        gate_run: None,
    };
    store.state.plan_launch(&launch, "bench").await?;
    let service = ServiceConfig::default();
    let before = (t0.minus(DAY), t0.minus(DAY / 48));
    let frozen = baseline::capture(store, ("shop", &service), before, INTERVAL, t0, LAUNCH).await?;
    store.state.freeze_baseline(&frozen).await?;
    for state in [LaunchState::Gating, LaunchState::AwaitingDecision, LaunchState::Cleared, LaunchState::Live] {
        let now = store.state.launch(LAUNCH).await?.ok_or("the launch is gone")?;
        let mut step = Move::to(state, &now, t0, "bench");
        if state == LaunchState::Live {
            (step.live_at, step.window_end) = (Some(t0), Some(t0.plus(DAY)));
        }
        store.state.move_launch(LAUNCH, step, None, vec![]).await?;
    }
    Ok(())
}
