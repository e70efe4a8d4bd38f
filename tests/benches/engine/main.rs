//! The time-series engine beside its peers, Debian's `prometheus` and `victoria-metrics`, in one run: bytes a sample,
//! import, queries, steady scraping. Every server gets the same bytes and the same questions, in turn; what their answers
//! differ by is printed too, and more than that is a failure.
//!
//! `HYPERCARE_BENCH_SERIES` says how many series (default 1,000; a multiple of 1,000). The values are the same on every
//! machine, their times end ten minutes ago. Linux only: CPU and memory are read from `/proc`.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

mod answer;
mod client;
#[path = "../support/day.rs"]
mod day;
mod history;
mod process;
mod queries;
mod scrape;
mod server;
mod table;

use std::path::Path;
use std::time::{Duration, Instant};

use history::History;
use server::{KINDS, Kind, Server, Work};
use table::{Figures, NAMES, Table};

type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Error>;

/// Then everything is ended, whatever it does.
const WITHIN: Duration = Duration::from_secs(30 * 60);

fn main() -> Result<()> {
    let series: usize = match std::env::var("HYPERCARE_BENCH_SERIES") {
        Ok(text) => text.parse().map_err(|_| format!("HYPERCARE_BENCH_SERIES={text}: write a number, like 10000"))?,
        Err(_) => 1_000,
    };
    let dir = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let wrong = runtime.block_on(async {
        let late = |_| format!("not done within {} min", WITHIN.as_secs() / 60);
        tokio::time::timeout(WITHIN, measure(series.div_ceil(1_000).max(1), dir.path())).await.map_err(late)?
    })?;
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(format!("the servers did not do the same:\n  {}", wrong.join("\n  ")).into()),
    }
}

async fn measure(hosts: usize, dir: &Path) -> Result<Vec<String>> {
    // First of all, so that its minute of upkeep has come when the others are done.
    let fleet = Fleet::start(dir).await?;
    let history = History::make(hosts, &dir.join("bodies"))?;
    let cores = std::thread::available_parallelism()?;
    println!(
        "engine: {} series x 24 h every 15 s = {} samples; {cores} cores; ratio: ours to theirs\n",
        history.series, history.samples
    );
    let mut table = Table::titled("import: remote write, two connections");
    fleet.import(&history, &mut table).await?;
    let mut wrong = queries::ask_all(&fleet, &history).await?;
    fleet.weigh(&history, &mut table).await?;
    table.print();
    wrong.extend(scrape::measure(dir).await?);
    Ok(wrong)
}

/// The servers of one run, by column.
struct Fleet([Option<Server>; 3]);

impl Fleet {
    async fn start(dir: &Path) -> Result<Fleet> {
        let mut fleet = Fleet([const { None }; 3]);
        for (column, kind) in KINDS.into_iter().enumerate() {
            fleet.0[column] = Server::start(kind, &dir.join(NAMES[column]), Work::RemoteWrite).await?;
            if fleet.0[column].is_none() {
                println!("{} is not here, so there is no ratio to it; tests/setup.sh installs it", NAMES[column]);
            }
        }
        Ok(fleet)
    }

    fn with_columns(&self) -> impl Iterator<Item = (usize, &Server)> {
        self.0.iter().enumerate().filter_map(|(column, server)| Some((column, server.as_ref()?)))
    }

    fn each(&self) -> impl Iterator<Item = &Server> {
        self.0.iter().flatten()
    }

    fn figures(&self, of: impl Fn(&Server) -> Result<f64>) -> Result<Figures> {
        let mut figures = Figures::default();
        for (column, server) in self.with_columns() {
            figures[column] = Some(of(server)?);
        }
        Ok(figures)
    }

    /// One after the other, ours last.
    async fn import(&self, history: &History, table: &mut Table) -> Result<()> {
        let (mut wall, mut rate, mut peak): (Figures, Figures, Figures) = Default::default();
        let mut by_turns: Vec<(usize, &Server)> = self.with_columns().collect();
        by_turns.sort_by_key(|(_, server)| server.kind == Kind::Hypercare);
        for (column, server) in by_turns {
            server.process.forget_peak()?;
            let (before, started) = (server.process.cpu()?, Instant::now());
            history.send(server.port).await?;
            wall[column] = Some(started.elapsed().as_secs_f64());
            server.settled().await?;
            rate[column] = Some(history.samples as f64 / (server.process.cpu()? - before) / 1e6);
            peak[column] = Some(server.process.memory_peak()?);
        }
        table.row("million samples a second of CPU", 2, rate);
        table.row("seconds until the last was accepted", 2, wall);
        table.row("memory, MiB, at most", 1, peak);
        Ok(())
    }

    /// Bytes a sample, at the end: for that ours stops.
    async fn weigh(self, history: &History, table: &mut Table) -> Result<()> {
        let mut bytes = Figures::default();
        for (column, server) in self.0.into_iter().enumerate() {
            if let Some(server) = server {
                bytes[column] = Some(server.bytes().await? / history.samples as f64);
            }
        }
        table.row("bytes a sample on disk, index included", 3, bytes);
        Ok(())
    }
}
