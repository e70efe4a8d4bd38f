//! A day of series into the store, as a backfill brings them: samples a second, bytes a sample on disk, and how fast they
//! come out again; beside `promtool`, which makes Prometheus' own blocks of the same day.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hypercare::domain::clock::{ManualClock, Timestamp};
use hypercare::domain::metric::{Columns, Labels, Matcher, NAME, Sample, SeriesReader as _};
use hypercare::store::{Role, Store};

const T0: i64 = 1_795_305_600_000;
const STEP: i64 = 15_000;
const SAMPLES: usize = 5_760;
/// A backfill's request: ten minutes of every series.
const RUN: usize = 40;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let day = day();
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

/// What a small web product shows: histograms, counters of many paces, constants, gauges with few decimals and with all.
fn day() -> Vec<(Labels, Vec<f64>)> {
    let mut noise = Noise(7);
    let mut day = Vec::new();
    let labels = |name: &str, more: &[(&str, &str)]| {
        let base = [(NAME, name), ("instance", "host-0:9100"), ("job", "shop")];
        Labels::new(base.iter().chain(more).map(|(n, v)| (n.to_string(), v.to_string())))
    };
    let season = |i: usize| 1.0 + 0.6 * ((i as f64 / SAMPLES as f64 - 0.3) * std::f64::consts::TAU).sin();
    for handler in 0..6 {
        let pace = [0.3, 1.0, 3.0, 10.0, 30.0, 100.0][handler];
        let handler = format!("/{handler}");
        let mut buckets = vec![vec![0.0; SAMPLES]; 12];
        let mut sum = vec![0.0; SAMPLES];
        for i in 0..SAMPLES {
            let mut below = 0.0;
            for (k, bucket) in buckets.iter_mut().enumerate() {
                let share = [0.02, 0.1, 0.3, 0.3, 0.15, 0.08, 0.03, 0.01, 0.005, 0.003, 0.001, 0.001][k];
                below += noise.poisson(pace * share * season(i));
                bucket[i] = below + if i > 0 { bucket[i - 1] } else { 0.0 };
            }
            sum[i] = if i > 0 { sum[i - 1] } else { 0.0 } + below * 0.03 * (0.5 + noise.next());
        }
        for (le, bucket) in
            ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"].iter().zip(&buckets)
        {
            day.push((labels("rt_seconds_bucket", &[("handler", &handler), ("le", le)]), bucket.clone()));
        }
        day.push((labels("rt_seconds_sum", &[("handler", &handler)]), sum));
        day.push((labels("rt_seconds_count", &[("handler", &handler)]), buckets[11].clone()));
    }
    let mut push = |name: String, f: &mut dyn FnMut(&mut Noise, usize, f64) -> f64| {
        let mut last = 0.0;
        let values = (0..SAMPLES)
            .map(|i| {
                last = f(&mut noise, i, last);
                last
            })
            .collect();
        day.push((labels(&name, &[]), values));
    };
    for k in 0..40 {
        let pace = 10f64.powf(f64::from(k) / 8.0 - 1.0);
        push(format!("io_{k}_total"), &mut |n, i, last| last + n.poisson(pace * season(i)));
    }
    for k in 0..15 {
        push(format!("errors_{k}_total"), &mut |n, _, last| last + f64::from(n.next() < 0.002));
    }
    for k in 0..40 {
        push(format!("constant_{k}"), &mut |_, _, _| f64::from(k) * 1.25);
    }
    for k in 0..15 {
        push(format!("memory_{k}_bytes"), &mut |n, _, _| 1e9 + 4096.0 * (n.next() * 400.0).floor());
    }
    for k in 0..10 {
        push(format!("load_{k}"), &mut |n, _, last| ((last * 0.9 + n.next() * 0.2) * 100.0).round() / 100.0);
    }
    for k in 0..5 {
        push(format!("ratio_{k}"), &mut |n, _, _| n.next());
    }
    day
}

/// splitmix64: the same day on every machine.
struct Noise(u64);

impl Noise {
    /// In `[0, 1)`.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Knuth's way for small means, a rounded normal for large ones.
    fn poisson(&mut self, mean: f64) -> f64 {
        if mean > 30.0 {
            let normal = (0..12).map(|_| self.next()).sum::<f64>() - 6.0;
            return (mean + mean.sqrt() * normal).round().max(0.0);
        }
        let (limit, mut product, mut n) = ((-mean).exp(), self.next(), 0.0);
        while product > limit {
            product *= self.next();
            n += 1.0;
        }
        n
    }
}

async fn ours(dir: &Path, day: &[(Labels, Vec<f64>)]) -> Result<(f64, f64, f64)> {
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
    let scan = store.samples.scan(&every, at(0), at(SAMPLES), usize::MAX).await?;
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
fn promtool(dir: &Path, day: &[(Labels, Vec<f64>)]) -> Result<Option<(f64, f64)>> {
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
