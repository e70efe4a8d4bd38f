//! A day of many hosts as remote write bodies in order of time: made once, so that each server is sent the same bytes.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use hypercare::domain::clock::{Clock as _, SystemClock, Timestamp};
use hypercare::domain::metric::{Labels, Sample};
use hypercare::domain::remote_write::packed;

use super::Result;
use super::client::Connection;
use super::day::{self, Line, ROUNDS};

pub const STEP_MS: i64 = 15_000;
/// Ten minutes of each series: what a sender that was cut off catches up with.
const WINDOW: usize = 40;
const SERIES_A_BODY: usize = 500;
/// Scrapes happen between the round times that are asked for. It matters: before version 3 Prometheus counted a sample
/// on a window's left edge, and there would be one.
const OFF_MS: i64 = 8_000;
/// Names of which one series is kept, to be compared bit by bit.
const WITNESSES: [&str; 5] =
    ["app_ratio_0", "http_request_duration_seconds_sum", "node_cpu_seconds_total", "node_load1", "http_requests_total"];

pub struct History {
    pub series: usize,
    pub samples: usize,
    /// A whole minute soon after the last sample: ten minutes ago, so that no server takes it for the unfinished present.
    pub end_ms: i64,
    pub witnesses: Vec<Line>,
    file: File,
    /// Where each body lies, by window.
    windows: Vec<Vec<(u64, usize)>>,
}

impl History {
    pub fn make(hosts: usize, path: &Path) -> Result<History> {
        let lines = lines(hosts);
        let end_ms = (SystemClock.now().ms() - 600_000) / 60_000 * 60_000;
        let mut file = BufWriter::new(File::options().create(true).truncate(true).read(true).write(true).open(path)?);
        let (mut windows, mut at) = (Vec::new(), 0);
        for from in (0..ROUNDS).step_by(WINDOW) {
            let mut window = Vec::new();
            for some in lines.chunks(SERIES_A_BODY) {
                let cut = |(labels, values): &Line| (labels.clone(), samples(values, from, end_ms));
                let series: Vec<(Labels, Vec<Sample>)> = some.iter().map(cut).collect();
                let body = packed(&series).ok_or("a body too long for snappy")?;
                file.write_all(&body)?;
                window.push((at, body.len()));
                at += body.len() as u64;
            }
            windows.push(window);
        }
        let witness = |name: &&str| lines.iter().find(|l| l.0.name() == *name).cloned();
        Ok(History {
            series: lines.len(),
            samples: lines.len() * ROUNDS,
            end_ms,
            witnesses: WITNESSES.iter().filter_map(witness).collect(),
            file: file.into_inner().map_err(|e| e.into_error())?,
            windows,
        })
    }

    /// Everything through two connections; no window before the one before it is through.
    pub async fn send(&self, port: u16) -> Result<()> {
        let mut connections = [Connection::to(port), Connection::to(port)];
        for window in &self.windows {
            let sent = connections.iter_mut().enumerate().map(|(nth, connection)| async move {
                for (at, length) in window.iter().skip(nth).step_by(2) {
                    let mut body = vec![0; *length];
                    self.file.read_exact_at(&mut body, *at)?;
                    connection.write(body).await?;
                }
                Ok::<_, super::Error>(())
            });
            futures_util::future::try_join_all(sent).await?;
        }
        Ok(())
    }
}

/// When round number `nth` was.
pub fn at_ms(end_ms: i64, nth: usize) -> i64 {
    end_ms - OFF_MS - (ROUNDS - 1 - nth) as i64 * STEP_MS
}

fn samples(values: &[f64], from: usize, end_ms: i64) -> Vec<Sample> {
    (from..from + WINDOW).map(|i| Sample { t: Timestamp::from_ms(at_ms(end_ms, i)), v: values[i] }).collect()
}

/// On two threads: ten hosts are seconds of work.
fn lines(hosts: usize) -> Vec<Line> {
    let some = |from: usize, to: usize| (from..to).flat_map(|nth| day::host(nth, ROUNDS, &day::WHOLE)).collect();
    let half = hosts / 2;
    let (mut first, second): (Vec<Line>, Vec<Line>) = std::thread::scope(|scope| {
        let second = scope.spawn(|| some(half, hosts));
        (some(0, half), second.join().unwrap_or_default())
    });
    first.extend(second);
    first
}
