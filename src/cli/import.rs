//! `hypercare import FILE…`: history in OpenMetrics text with timestamps or VictoriaMetrics' JSON lines, plain or gzip, into the
//! samples store; streaming, in bounded memory. While a daemon holds the store the samples go through its remote write door, if that is open.
//!
//! One thread reads and parses, the other end stores; `reader.rs` is the first, this file the second.

mod reader;
mod target;
mod victoria;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::sync::mpsc;

use super::config::Need;
use super::output::{self, FormatArg, Out, Tone};
use super::{Exit, Failure, Global};
use crate::config::Secrets;
use reader::{Failed, Piece};
use target::Target;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hypercare import history.om
  hypercare import january.om.gz february.om.gz
  promtool tsdb dump-openmetrics data/ | hypercare import -
  curl -sg 'http://victoria:8428/api/v1/export?match[]={__name__!=\"\"}' | hypercare import -
  hypercare import --dry-run history.om            read it all, store nothing

OpenMetrics text: every sample has a timestamp in seconds, the file ends with # EOF. Or JSON lines as VictoriaMetrics
exports them at /api/v1/export (not with reduce_mem_usage=1, which mixes times). A series takes only samples newer
than its last one: import history before live data, older files first. Samples older than [store] retention become
rollups soon after. Exit code 1 when a file is wrong or samples were refused, 75 when a daemon holds the store and
[web] remote_write is not open.")]
pub struct Args {
    /// OpenMetrics or VictoriaMetrics export files, plain or gzip; - for standard input
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Read everything, store nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    format: FormatArg,
}

/// Parsed pieces that wait for the store: one is stored while the next is parsed.
const WAITING_MAX: usize = 1;

/// What came of it all.
#[derive(Debug, Default, Serialize, PartialEq, Eq)]
struct Sum {
    files: u64,
    series: u64,
    samples: u64,
    stored: u64,
    /// Repeats of what is stored already, where it can be told.
    repeated: u64,
    out_of_order: u64,
    duplicate: u64,
    too_far_ahead: u64,
    series_limit: u64,
    /// Refused by the daemon, which says why in words.
    refused: u64,
    /// Older than the retention at the time of the import.
    soon_rolled: u64,
}

impl Sum {
    fn not_stored(&self) -> u64 {
        self.out_of_order + self.duplicate + self.too_far_ahead + self.series_limit + self.refused
    }
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Exit> {
    let loaded = global.config(Need::Nothing, Secrets::MayBeMissing)?;
    let mut target = if args.dry_run { Target::Nothing } else { Target::open(&loaded, global).await? };
    let keep_from = global.clock.now().minus(loaded.config.store.retention.get());
    let mut sum = Sum::default();
    let mut failed = None;
    for file in &args.files {
        match one(file, &mut target, &mut sum, keep_from, global).await {
            Ok(()) => sum.files += 1,
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    let closed = target.close(global.clock.now()).await;
    if args.format.is_json() {
        let error = failed.as_ref().map(|e| e.to_string());
        output::json(
            &serde_json::json!({"schema": "hypercare.import/v1", "dry_run": args.dry_run, "error": error, "sum": sum}),
        )?;
    } else {
        let mut out = Out::stdout();
        for line in page(&sum, args.dry_run) {
            out.line(line)?;
        }
        out.flush()?;
    }
    if let Some(error) = failed {
        return Err(error);
    }
    closed?;
    Ok(if sum.not_stored() == 0 { Exit::Yes } else { Exit::No })
}

/// Reads one file to its end or to its first mistake. What came before the mistake is stored.
async fn one(
    file: &std::path::Path,
    target: &mut Target,
    sum: &mut Sum,
    keep_from: crate::domain::clock::Timestamp,
    global: &Global,
) -> anyhow::Result<()> {
    let shown = if file.as_os_str() == "-" { "standard input".into() } else { file.display().to_string() };
    let position = Arc::new(AtomicU64::new(0));
    let bar = bar(file, &shown, global.flags.quiet);
    let (send, mut pieces) = mpsc::channel::<Piece>(WAITING_MAX);
    let (path, at) = (file.to_path_buf(), position.clone());
    let reading = tokio::task::spawn_blocking(move || reader::read(&path, &at, &send));
    let mut stored = Ok(());
    while let Some(piece) = pieces.recv().await {
        bar.set_position(position.load(Ordering::Relaxed));
        sum.samples += piece.samples as u64;
        sum.soon_rolled += piece.series.iter().map(|(_, s)| s.partition_point(|s| s.t < keep_from) as u64).sum::<u64>();
        stored = target.store(piece, sum, global.clock.now()).await;
        bar.set_message(format!("{} samples", grouped(sum.samples)));
        if stored.is_err() {
            break;
        }
    }
    // The reader ends when nobody takes its pieces.
    drop(pieces);
    bar.finish_and_clear();
    let read = reading.await.map_err(|_| Failure::new(Exit::Internal, "reading the file panicked"))?;
    stored?;
    match read {
        Ok(series) => {
            sum.series += series as u64;
            Ok(())
        }
        Err(Failed::Gone) => Ok(()),
        Err(Failed::Io(error)) => Err(Failure::new(Exit::Io, format!("cannot read {shown}: {error}"))
            .hint("name a readable file, or -")
            .into()),
        Err(Failed::Parse(error)) => {
            let message = format!("{shown}:{}:{}: {}", error.line, error.column, error.message);
            let hint = "what stands before is stored; mend the line and import again: what is stored already is refused and does no harm";
            Err(Failure::new(Exit::No, message).hint(hint).into())
        }
    }
}

/// Bytes of the file, on a terminal only.
fn bar(file: &std::path::Path, shown: &str, quiet: bool) -> ProgressBar {
    if quiet || !output::is_live() {
        return ProgressBar::hidden();
    }
    let length = std::fs::metadata(file).map(|m| m.len()).ok().filter(|l| *l > 0);
    let bar = length.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let template = match length {
        Some(_) => "  {prefix} {wide_bar} {percent}% of {total_bytes}  {msg}  {eta} left",
        None => "  {spinner} {prefix} {bytes}  {msg}  {elapsed}",
    };
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_prefix(output::cut(&output::clean_line(shown), 30));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn page(sum: &Sum, dry_run: bool) -> Vec<String> {
    let (mark, tone) = if sum.not_stored() == 0 { ("✔", Tone::Pass) } else { ("▲", Tone::Warn) };
    let what = if dry_run { "read" } else { "stored" };
    let count = if dry_run { sum.samples } else { sum.stored };
    let whole = match sum.files {
        0 => String::new(),
        1 => format!(", {} series, 1 file", grouped(sum.series)),
        n => format!(", {} series, {n} files", grouped(sum.series)),
    };
    let counted = format!("{what} {} of {} samples{whole}", grouped(count), grouped(sum.samples));
    let mut lines = vec![format!("{} {counted}", output::paint(tone, mark))];
    for (n, why) in [
        (sum.repeated, "there already"),
        (sum.out_of_order, "older than what their series already holds"),
        (sum.duplicate, "with another value than is stored for their time"),
        (sum.too_far_ahead, "more than 10 minutes ahead of this machine's clock"),
        (sum.series_limit, "of new series beyond the limit of live series"),
        (sum.refused, "refused by the daemon; the warnings say why"),
        (sum.soon_rolled, "older than [store] retention: the daemon will roll them up"),
    ] {
        if n > 0 {
            lines.push(format!("  {} {why}", grouped(n)));
        }
    }
    lines
}

#[cfg(test)]
mod tests;
