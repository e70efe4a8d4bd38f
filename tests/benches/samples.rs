//! A day of series into the store, as a backfill brings them: samples a second, bytes a sample on disk, and how fast they
//! come out again; beside `promtool`, which makes Prometheus' own blocks of the same day.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

#[path = "support/day.rs"]
mod day;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hypercare::domain::clock::{ManualClock, Timestamp};
use hypercare::domain::metric::{Columns, Matcher, NAME, Need, Sample, SeriesReader as _};
use hypercare::store::{Role, Store};

const T0: i64 = 1_795_305_600_000;
const STEP: i64 = 15_000;
const SAMPLES: usize = day::ROUNDS;
/// A backfill's request: ten minutes of every series.
const RUN: usize = 40;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let day = day::host(0, SAMPLES, &day::SMALL);
    let all = day.len() * SAMPLES;
    println!("samples: {} series x 24 h every 15 s = {} samples", day.len(), all);
    let dir = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (took, bytes, scanned) = runtime.block_on(ours(dir.path(), &day))?;
    let rate = all as f64 / took;
    println!("  hypercare  in {took:6.2} s, {:.2} M/s, {:.3} bytes a sample on disk", rate / 1e6, bytes / all as f64);
    println!("             out again in {scanned:.3} s, {:.1} ns a sample", scanned * 1e9 / all as f64);
    match promtool(dir.path(), &day)? {
        Some((took_theirs, theirs)) => println!(
            "  promtool   in {took_theirs:6.2} s, {:.3} bytes a sample   ratio: time {:.2}, bytes {:.2}",
            theirs / all as f64,
            took / took_theirs,
            bytes / theirs
        ),
        None => println!("  promtool   not here: no ratio"),
    }
    Ok(())
}

async fn ours(dir: &Path, day: &[day::Line]) -> Result<(f64, f64, f64)> {
    let dir = dir.join("store");
    std::fs::create_dir(&dir)?;
    let end = T0 + SAMPLES as i64 * STEP;
    let now = Timestamp::from_ms(end).plus(Duration::from_secs(12 * 3600));
    let store = Store::open(&dir, Role::Daemon, ManualClock::at(now)).await?;
    let at = |i: usize| Timestamp::from_ms(T0 + i as i64 * STEP);
    let started = Instant::now();
    for from in (0..SAMPLES).step_by(RUN) {
        let run = |values: &[f64]| (from..from + RUN).map(|i| Sample { t: at(i), v: values[i] }).collect();
        let batch = day.iter().map(|(labels, values)| (labels.clone(), run(values))).collect();
        store.samples.append_series(batch).await?;
    }
    store.samples.maintain(now, Timestamp::from_ms(0)).await?;
    let took = started.elapsed().as_secs_f64();

    let started = Instant::now();
    let every = [Matcher::regex(NAME, ".+")?];
    let need = Need { start: at(0), end: at(SAMPLES), limit: usize::MAX, rolled: None };
    let scan = store.samples.scan(&every, need).await?;
    let (mut reader, mut columns, mut seen) = (scan.reader(), Columns::default(), 0);
    for nth in 0..scan.count() {
        let labels = scan.labels(nth);
        reader.read(nth, &mut columns)?;
        let wanted = day.iter().find(|(l, _)| l == labels).map(|(_, v)| v).ok_or("a stranger came out")?;
        assert!(columns.values.iter().zip(wanted).all(|(v, w)| v.to_bits() == w.to_bits()), "{labels} changed");
        seen += columns.values.len();
    }
    let scanned = started.elapsed().as_secs_f64();
    assert_eq!(seen, day.len() * SAMPLES);
    store.close().await;
    Ok((took, folder_bytes(&dir, "samples.db")?, scanned))
}

/// Bytes of the files whose name begins so, in all folders below.
fn folder_bytes(dir: &Path, prefix: &str) -> Result<f64> {
    let mut sum = 0.0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sum += folder_bytes(&entry.path(), prefix)?;
        } else if entry.file_name().to_string_lossy().starts_with(prefix) {
            sum += entry.metadata()?.len() as f64;
        }
    }
    Ok(sum)
}

/// Seconds and bytes of the blocks; `None` without promtool.
fn promtool(dir: &Path, day: &[day::Line]) -> Result<Option<(f64, f64)>> {
    let (text, blocks) = (dir.join("day.om"), dir.join("blocks"));
    let mut file = std::io::BufWriter::new(std::fs::File::create(&text)?);
    for (labels, values) in day {
        for (i, v) in values.iter().enumerate() {
            writeln!(file, "{labels} {v} {}", (T0 + i as i64 * STEP) / 1000)?;
        }
    }
    writeln!(file, "# EOF")?;
    file.flush()?;
    let started = Instant::now();
    let ended = Command::new("promtool")
        .args(["tsdb", "create-blocks-from", "openmetrics"])
        .args([&text, &blocks])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let took = started.elapsed().as_secs_f64();
    Ok(match ended {
        Ok(status) if status.success() => Some((took, folder_bytes(&blocks, "")?)),
        _ => None,
    })
}
