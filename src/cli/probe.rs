//! `hypercare probe try URL|NAME`: one real probe with its phases, judged as the watch would judge it. Nothing is stored.

use super::output::{self, FormatArg, Out, Tone};
use super::scrape::{self, Document, own, quoted};
use super::{Exit, Failure, Global};
use crate::domain::clock::Timestamp;
use crate::domain::metric::is_stale;
use crate::domain::units::{self, Span};
use crate::sources::metric::Batch;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hypercare probe try https://shop.example/
  hypercare probe try https://shop.example/ --status 200 --body Basket --max-latency 800ms
  hypercare probe try home                [metric.home.from.http] as configured

Exit code 0 when the probe succeeds, 1 when the answer is not what is expected, 69 when there is none.")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Probe once and show every phase
    Try {
        /// A URL, or NAME of a [metric.NAME.from.http]
        target: String,
        /// Accepted status, may be repeated [default: any 2xx]
        #[arg(long, value_name = "STATUS")]
        status: Vec<u16>,
        /// Regular expression that the body must contain
        #[arg(long, value_name = "REGEX")]
        body: Option<String>,
        /// Slower than this is a failure
        #[arg(long, value_name = "DURATION")]
        max_latency: Option<Span>,
        #[command(flatten)]
        format: FormatArg,
    },
}

/// Columns of the longest bar.
const BAR_COLUMNS: f64 = 30.0;

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Exit> {
    let What::Try { target, status, body, max_latency, format } = args.what;
    if let Some(kind) = scrape::kind_of(&target, global)?.filter(|kind| *kind != "http") {
        let message = format!("[metric.{target}] is a {kind} source, not a probe");
        return Err(Failure::new(Exit::Usage, message).hint("try it with `hypercare scrape try`").into());
    }
    let from_url = |url: url::Url| {
        let mut expect = vec![format!("status = {status:?}")];
        expect.extend(body.iter().map(|b| format!("body = {}", quoted(b))));
        expect.extend(max_latency.iter().map(|m| format!("max_latency = {}", quoted(&m.to_string()))));
        // Interval and timeout alike leave no room for a second attempt: a trial answers at once.
        let times = "interval = \"10s\"\ntimeout = \"10s\"";
        format!("[from.http]\nurl = {}\n{times}\nexpect = {{ {} }}\n", quoted(url.as_str()), expect.join(", "))
    };
    let mut looked = Vec::new();
    for mut collector in scrape::collectors(&target, global, from_url)? {
        let batch = collector.collect(global.clock.now()).await.flattened();
        looked.push((collector.service.clone(), batch));
    }
    if format.is_json() {
        output::json(&Document::of("hypercare.probe/v1", &target, &looked))?;
    } else {
        let mut out = Out::stdout();
        for (_, batch) in &looked {
            page(batch, global.clock.now(), &mut out)?;
        }
        out.flush()?;
    }
    let failed = looked.iter().find_map(|(_, batch)| reason(batch));
    Ok(match failed.as_deref() {
        Some("status" | "body" | "latency" | "limit" | "protocol") => Exit::No,
        Some("refused") => Exit::Refused,
        Some("secret") => Exit::Usage,
        Some(_) => Exit::Unreachable,
        None => scrape::exit(&looked),
    })
}

fn reason(batch: &Batch) -> Option<String> {
    let failure = batch.samples.iter().find(|s| s.labels.name() == "probe_failure" && !is_stale(s.sample.v))?;
    failure.labels.get("reason").map(String::from)
}

fn page(batch: &Batch, now: Timestamp, out: &mut Out) -> std::io::Result<()> {
    let status = own(batch, "probe_http_status_code").map_or_else(|| "no answer".into(), |s| format!("status {s}"));
    let total = own(batch, "probe_duration_seconds").unwrap_or(0.0);
    let head = match reason(batch) {
        None => format!("{} success: {status}", output::paint(Tone::Pass, "✔")),
        Some(why) => format!("{} failed ({why}): {status}", output::paint(Tone::Fail, "✘")),
    };
    out.line(format!("{head}, {} ms", units::number(total * 1000.0)))?;
    for phase in ["resolve", "connect", "tls", "processing", "transfer"] {
        let found = batch
            .samples
            .iter()
            .find(|s| s.labels.name() == "probe_http_duration_seconds" && s.labels.get("phase") == Some(phase));
        let Some(seconds) = found.map(|s| s.sample.v) else { continue };
        let share = if total > 0.0 { seconds / total } else { 0.0 };
        let bar = "▇".repeat((share * BAR_COLUMNS).round() as usize);
        out.line(format!(
            "  {phase:12} {:>9} ms  {}",
            units::number(seconds * 1000.0),
            output::paint(Tone::Accent, bar)
        ))?;
    }
    if let Some(redirects) = own(batch, "probe_http_redirects").filter(|n| *n > 0.0) {
        out.line(format!("  after {redirects} redirects"))?;
    }
    if let Some(expiry) = own(batch, "probe_ssl_earliest_cert_expiry") {
        let end = Timestamp::from_seconds(expiry);
        out.line(format!("  certificate until {end}, {} left", units::prose(end.since(now))))?;
    }
    Ok(())
}
