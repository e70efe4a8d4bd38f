//! Steady scraping: each server its own ten targets of 1,000 series at one second, for half a minute. All at once: the
//! machine is idle nine parts of ten, and what else happens on it happens to all.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::routing::get;
use bytes::Bytes;
use tokio::task::JoinHandle;

use super::Result;
use super::answer::Answer;
use super::day::{self, Line};
use super::server::{KINDS, Kind, Server, Work};
use super::table::{Table, median};

const TARGETS: usize = 10;
const WARM: Duration = Duration::from_secs(8);
const MEASURED: Duration = Duration::from_secs(30);
/// Bodies made beforehand: more than are asked for while a server is measured.
const BODIES: usize = 45;

/// Prints the table.
pub async fn measure(dir: &Path) -> Result<Vec<String>> {
    let bodies: Vec<Arc<[Bytes]>> = (0..TARGETS).map(bodies).collect();
    let column = |nth: usize| watch(KINDS[nth], dir.join(format!("scrape-{nth}")), &bodies);
    let (ours, prometheus, victoria_metrics) = tokio::try_join!(column(0), column(1), column(2))?;
    let watched = [ours, prometheus, victoria_metrics];
    let of = |figure: fn(&Watched) -> f64| watched.each_ref().map(|w| w.as_ref().map(figure));
    let mut table = Table::titled("scrape: 10 targets x 1,000 series at 1 s");
    table.row("CPU, per cent of a core", 2, of(|w| w.cpu));
    table.row("memory, MiB, median", 1, of(|w| w.memory));
    table.row("memory, MiB, at most", 1, of(|w| w.memory_peak));
    table.facts("samples held of 200 due", of(|w| w.held).map(|held| held.map(|h| h.to_string())));
    table.print();
    // A second more or less at either end.
    let wrong = |w: &&Watched| (w.held - 200.0).abs() > 20.0;
    let say = |w: &Watched| format!("scrape: {:?} holds {} samples where 200 were due", w.kind, w.held);
    Ok(watched.iter().flatten().filter(wrong).map(say).collect())
}

struct Watched {
    kind: Kind,
    cpu: f64,
    memory: f64,
    memory_peak: f64,
    /// Samples of 20 seconds of one series a target.
    held: f64,
}

/// `None` for a peer that is not here.
async fn watch(kind: Kind, dir: PathBuf, bodies: &[Arc<[Bytes]>]) -> Result<Option<Watched>> {
    let targets = Targets::start(bodies).await?;
    let Some(server) = Server::start(kind, &dir, Work::Scrape(&targets.ports)).await? else { return Ok(None) };
    tokio::time::sleep(WARM).await;
    let (before, started, mut resident) = (server.process.cpu()?, Instant::now(), Vec::new());
    while started.elapsed() < MEASURED {
        tokio::time::sleep(Duration::from_secs(1)).await;
        resident.push(server.process.memory()?);
    }
    Ok(Some(Watched {
        kind,
        cpu: (server.process.cpu()? - before) * 100.0 / started.elapsed().as_secs_f64(),
        memory: median(resident),
        memory_peak: server.process.memory_peak()?,
        held: scrapes(&server).await?,
    }))
}

async fn scrapes(server: &Server) -> Result<f64> {
    let query = "/api/v1/query?query=sum(count_over_time(node_load1%5B20s%5D))";
    Ok(Answer::read(&server.connection().get(query).await?)?.total())
}

struct Targets {
    ports: Vec<u16>,
    tasks: Vec<JoinHandle<()>>,
}

impl Targets {
    /// Each shows its first body to who comes first.
    async fn start(bodies: &[Arc<[Bytes]>]) -> Result<Targets> {
        let mut targets = Targets { ports: Vec::new(), tasks: Vec::new() };
        for bodies in bodies {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
            targets.ports.push(listener.local_addr()?.port());
            let (bodies, turn) = (bodies.clone(), Arc::new(AtomicUsize::new(0)));
            let show = move || {
                let body = bodies[turn.fetch_add(1, Ordering::Relaxed) % BODIES].clone();
                std::future::ready(([("content-type", "text/plain; version=0.0.4")], body))
            };
            let app = axum::Router::new().route("/metrics", get(show));
            targets.tasks.push(tokio::spawn(async move {
                let _ = axum::serve(listener, app).await;
            }));
        }
        Ok(targets)
    }
}

impl Drop for Targets {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// A host's expositions, one a round.
fn bodies(nth: usize) -> Arc<[Bytes]> {
    let lines = day::host(nth, BODIES, &day::WHOLE);
    let starts: Vec<String> = lines.iter().map(|l| shown(&l.0)).collect();
    (0..BODIES).map(|round| exposition(&lines, &starts, round)).collect()
}

fn exposition(lines: &[Line], starts: &[String], round: usize) -> Bytes {
    let (mut text, mut last) = (String::new(), "");
    for ((labels, values), start) in lines.iter().zip(starts) {
        let (family, kind) = family(labels.name());
        if family != last {
            text += &format!("# TYPE {family} {kind}\n");
            last = family;
        }
        text += &format!("{start} {}\n", values[round]);
    }
    text.into()
}

fn family(name: &str) -> (&str, &str) {
    const HISTOGRAM: &str = "http_request_duration_seconds";
    match name {
        _ if name.starts_with(HISTOGRAM) => (HISTOGRAM, "histogram"),
        _ if name.ends_with("_total") => (name, "counter"),
        _ => (name, "gauge"),
    }
}

/// Name and labels, without those that the server adds.
fn shown(labels: &hypercare::domain::metric::Labels) -> String {
    labels.without(&["instance", "job"]).to_string()
}
