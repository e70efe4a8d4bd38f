//! `hypercare load URL`: the load generator alone. Asks the same safety engine as the gates: loopback, or a declared
//! target with `load = true`; anything else ends with exit code 4.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use url::Url;

use super::config::Need;
use super::output::{self, FormatArg, Out, Tone};
use super::{Exit, Failure, Global};
use crate::chart::spark_text_in;
use crate::config::Secrets;
use crate::domain::units::{self, Span, number};
use crate::load::{self, Latency, LoadError, Model, Plan, Report, Shot, Snapshot};
use crate::net::Client;
use crate::net::safety::{Guard, Intent};

#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("model").required(true).args(["rate", "max"]),
    after_help = "\
Examples:
  hypercare load http://127.0.0.1:8080/ --rate 10000 --duration 30s
  hypercare load http://127.0.0.1:8080/api --max --connections 32
  hypercare load https://staging.shop.example/ --rate 500 --header 'Authorization: Bearer …' --format json

With --rate, arrivals do not wait for answers, and latency counts from the instant a request was due: what a user
would have waited. With --max, each connection sends when its last answer is in; that hides stalls.

Exit codes: 0 measured, 1 aborted on errors, 3 the generator was too slow to measure, 4 not allowed here, 69 unreachable."
)]
pub struct Args {
    /// What to request; http or https
    url: Url,
    /// Requests per second, whatever the server does (open model)
    #[arg(long, value_name = "PER_SECOND")]
    rate: Option<f64>,
    /// As fast as the connections answer (closed model)
    #[arg(long)]
    max: bool,
    /// Measure for so long
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    duration: Span,
    /// Climb to the rate over so long first; left out of every figure
    #[arg(long, value_name = "DURATION", default_value = "0s", conflicts_with = "max")]
    ramp: Span,
    /// Keep-alive connections
    #[arg(long, value_name = "N", default_value_t = 64)]
    connections: u32,
    /// Threads that send [default: one per 15,000 requests per second]
    #[arg(long, value_name = "N")]
    threads: Option<u32>,
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    method: String,
    /// May be given more than once
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Text to send, or @FILE
    #[arg(long, value_name = "TEXT|@FILE")]
    body: Option<String>,
    /// For one answer, from its sending to its last byte
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    timeout: Span,
    #[command(flatten)]
    format: FormatArg,
}

/// One thread measured holds well above this against a local server.
const RPS_PER_THREAD: f64 = 15_000.0;
/// Share of failing requests that ends the run, after five seconds of it: the answer is known.
const ABORT_ERROR_RATIO: f64 = 0.5;
/// A request body is read into memory.
const BODY_BYTES_MAX: u64 = 16 << 20;
const SPARK_COLUMNS: usize = 40;

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Exit> {
    let plan = plan(&args)?;
    authorise(&args.url, global).await?;

    let bar = progress_bar(&args);
    let shown = bar.clone();
    let told = move |s: Snapshot| {
        shown.set_position(s.elapsed.min(s.total).as_millis() as u64);
        shown.set_message(format!("{} req/s · {} errors", units::group_thousands(&format!("{:.0}", s.rps)), s.errors));
    };
    let report = load::run(plan, told, global.shutdown.clone()).await;
    bar.finish_and_clear();
    let report = report.map_err(|e| {
        let exit = match e {
            LoadError::Plan(_) => Exit::Usage,
            LoadError::Unreachable(..) => Exit::Unreachable,
            LoadError::Thread(_) => Exit::Internal,
        };
        Failure::new(exit, e.to_string())
    })?;
    if args.format.is_json() {
        output::json(&report)?;
    } else {
        let mut out = Out::stdout();
        for line in lines(&report) {
            out.line(line)?;
        }
        out.flush()?;
    }
    Ok(exit(&report))
}

fn exit(report: &Report) -> Exit {
    let interrupted = report.stopped.as_deref() == Some("interrupted");
    match report {
        r if r.generator.saturated => Exit::Undecided,
        r if r.stopped.is_some() && !interrupted => Exit::No,
        r if r.requests > 0 && r.failed() >= r.requests => Exit::No,
        _ => Exit::Yes,
    }
}

fn plan(args: &Args) -> Result<Plan, Failure> {
    let usage = |message: String| Failure::new(Exit::Usage, message);
    let model = args.rate.map_or(Model::Closed, |rate| Model::Open { rate });
    let mut headers = Vec::new();
    for header in &args.headers {
        let (name, value) = header
            .split_once(':')
            .ok_or_else(|| usage(format!("{header:?} is no header")).hint("write 'Name: value'"))?;
        let (name, value) = (name.trim().to_string(), value.trim().to_string());
        let fits = axum::http::HeaderName::try_from(&name).is_ok() && axum::http::HeaderValue::try_from(&value).is_ok();
        if !fits {
            return Err(usage(format!("the header {name:?} cannot be sent")));
        }
        headers.push((name, value));
    }
    if axum::http::Method::try_from(args.method.as_str()).is_err() {
        return Err(usage(format!("{:?} is no HTTP method", args.method)));
    }
    let body = match args.body.as_deref() {
        None => Bytes::new(),
        Some(text) => match text.strip_prefix('@') {
            None => Bytes::copy_from_slice(text.as_bytes()),
            Some(path) => read_body(path.into())?,
        },
    };
    let base = Plan::get(&args.url, model);
    let shots = base.shots.into_iter().map(|s| Shot { method: args.method.clone(), body: body.clone(), ..s }).collect();
    let wanted = (args.rate.unwrap_or(0.0) / RPS_PER_THREAD).ceil();
    let threads = args.threads.unwrap_or((wanted.clamp(1.0, 64.0) as u32).min(args.connections.max(1)));
    Ok(Plan {
        base: base.base,
        shots,
        headers,
        model,
        ramp: args.ramp.get(),
        hold: args.duration.get(),
        connections: args.connections,
        timeout: args.timeout.get(),
        threads,
        abort_error_ratio: Some(ABORT_ERROR_RATIO),
    })
}

fn read_body(path: PathBuf) -> Result<Bytes, Failure> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let read = std::fs::File::open(&path).and_then(|f| f.take(BODY_BYTES_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|e| Failure::new(Exit::Io, format!("{}: {e}", path.display())))?;
    if bytes.len() as u64 > BODY_BYTES_MAX {
        return Err(Failure::new(Exit::Usage, format!("{} is longer than {BODY_BYTES_MAX} bytes", path.display())));
    }
    Ok(bytes.into())
}

/// A refusal carries exit code 4.
async fn authorise(url: &Url, global: &Global) -> anyhow::Result<()> {
    let loaded = global.config(Need::Nothing, Secrets::MayBeMissing)?;
    let gates = loaded.config.gates.clone();
    let run = uuid::Uuid::now_v7().to_string();
    // Without a configuration nothing but loopback is allowed, and nothing needs to stay.
    let (_folder, dir) = if loaded.files.is_empty() {
        let folder = Leftover(std::env::temp_dir().join(format!("hypercare-load-{run}")));
        let dir = folder.0.join(".hypercare/runs").join(&run);
        (Some(folder), dir)
    } else {
        (None, loaded.dir().join(".hypercare/runs").join(&run))
    };
    let guard = Guard::new(Client::new(), gates.safety, gates.target, dir, run, global.clock.clone())?;
    guard.authorise(url, Intent::Load).await?;
    Ok(())
}

/// Removes its folder when it goes.
struct Leftover(PathBuf);

impl Drop for Leftover {
    fn drop(&mut self) {
        // A folder left behind in the system's temporary place is swept by the system.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn progress_bar(args: &Args) -> ProgressBar {
    if !output::is_live() {
        return ProgressBar::hidden();
    }
    let total = args.ramp.get() + args.duration.get();
    let bar = ProgressBar::new(total.as_millis() as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {elapsed} of {prefix}  {msg}") {
        bar.set_style(style);
    }
    bar.set_prefix(Span(Duration::from_secs(total.as_secs())).to_string());
    bar
}

/// The page for people.
fn lines(r: &Report) -> Vec<String> {
    let rate = |v: f64| units::group_thousands(&format!("{v:.0}"));
    let took = units::prose(Duration::from_secs_f64(r.duration_s.max(0.0)));
    let reached = r.target_rate.is_none_or(|target| r.achieved_rate >= load::ACHIEVED_MIN * target);
    let (tone, mark) = match (r.generator.saturated, reached && r.failed() == 0) {
        (true, _) => (Tone::Error, "?"),
        (false, true) => (Tone::Pass, "✔"),
        (false, false) => (Tone::Warn, "▲"),
    };
    let of = r.target_rate.filter(|_| !reached).map(|t| format!(" of {}", rate(t))).unwrap_or_default();
    let mut lines =
        vec![format!("{} for {took}", output::paint(tone, format!("{mark} {}{of} req/s", rate(r.achieved_rate))))];
    if r.generator.saturated {
        let why =
            "generator-saturated: this machine was too slow to send on time; the figures say little of the server";
        lines.push(output::paint(Tone::Error, why));
    }
    if let Some(why) = &r.stopped {
        lines.push(output::paint(Tone::Warn, format!("stopped early: {}", output::clean_line(why))));
    }
    lines.push(String::new());
    let mut row = |name: &str, value: String| lines.push(format!("{}{value}", output::pad(name, 12)));
    row("requests", format!("{}, {}", units::group_thousands(&r.requests.to_string()), units::bytes(r.bytes as f64)));
    let counts = |pairs: Vec<(String, u64)>| {
        let parts: Vec<String> =
            pairs.into_iter().map(|(k, n)| format!("{k} {}", units::group_thousands(&n.to_string()))).collect();
        if parts.is_empty() { "none".to_string() } else { parts.join(", ") }
    };
    row("status", counts(r.by_status.iter().map(|(s, n)| (s.to_string(), *n)).collect()));
    row("errors", counts(r.errors.iter().map(|(k, n)| (k.clone(), *n)).collect()));
    lines.push(String::new());
    lines.extend(latency_table(&r.latency_ms, &r.uncorrected_latency_ms));
    if r.seconds.len() > 1 {
        lines.push(String::new());
        let spark = |name: &str, values: Vec<f64>, unit: &str| {
            let finite = || values.iter().copied();
            let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(0.0, f64::max));
            let range = format!("{} to {} {unit}", number(low), number(high));
            format!(
                "{}{}  {}",
                output::pad(name, 12),
                spark_text_in(&values, SPARK_COLUMNS),
                output::paint(Tone::Soft, range)
            )
        };
        lines.push(spark("each second", r.seconds.iter().map(|s| s.requests as f64).collect(), "requests"));
        lines.push(spark("p95", r.seconds.iter().map(|s| s.p95_ms).collect(), "ms"));
    }
    lines.push(String::new());
    let cpu = match (r.generator.cpu_user_s, r.generator.cpu_system_s) {
        (Some(user), Some(system)) => format!("CPU {} s user, {} s system, ", number(user), number(system)),
        _ => String::new(),
    };
    let generator =
        format!("generator   {cpu}lag p99 {} ms, {} connections", number(r.generator.lag_p99_ms), r.connections);
    lines.push(output::paint(Tone::Soft, generator));
    lines
}

fn latency_table(corrected: &Latency, uncorrected: &Latency) -> Vec<String> {
    let columns = ["min", "mean", "p50", "p90", "p95", "p99", "p99.9", "max"];
    let cells = |l: &Latency| [l.min, l.mean, l.p50, l.p90, l.p95, l.p99, l.p99_9, l.max].map(number);
    let right = |text: &str| format!("{}{text}", " ".repeat(9usize.saturating_sub(output::columns(text))));
    let row = |name: &str, cells: &[String]| {
        format!("{}{}", output::pad(name, 12), cells.iter().map(|c| right(c)).collect::<String>())
    };
    vec![
        output::paint(Tone::Soft, row("", &columns.map(str::to_string))),
        row("latency ms", &cells(corrected)) + &output::paint(Tone::Soft, "  from when it was due"),
        row("uncorrected", &cells(uncorrected)) + &output::paint(Tone::Soft, "  from when it was sent"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_util::sync::CancellationToken;

    use crate::cli::{Cli, Command, GlobalFlags};
    use crate::domain::clock::SystemClock;

    fn args(line: &[&str]) -> Result<Args, clap::Error> {
        match Cli::try_parse_from(["hypercare", "load"].iter().chain(line))?.command {
            Command::Load(args) => Ok(args),
            other => panic!("{other:?}"),
        }
    }

    fn global() -> Global {
        let config = std::env::temp_dir().join("hypercare-test-minimal.toml");
        std::fs::write(&config, "").unwrap();
        let flags = GlobalFlags { config: Some(config), quiet: true, ..GlobalFlags::default() };
        Global { flags, clock: SystemClock::shared(), shutdown: CancellationToken::new() }
    }

    #[test]
    fn the_model_must_be_named() {
        assert!(args(&["http://127.0.0.1/"]).is_err());
        assert!(args(&["http://127.0.0.1/", "--rate", "5", "--max"]).is_err());
        let plan = plan(&args(&["http://127.0.0.1/a?b=c", "--rate", "40000"]).unwrap()).unwrap();
        assert_eq!((plan.threads, plan.shots[0].path.as_str()), (3, "/a?b=c"));
    }

    #[test]
    fn headers_and_method_are_checked_first() {
        for bad in [["--header", "nonsense"], ["--header", "a b: c"], ["--method", "G T"], ["--body", "@/no/such/file"]]
        {
            let line = ["http://127.0.0.1/", "--max", bad[0], bad[1]];
            assert!(plan(&args(&line).unwrap()).is_err(), "{bad:?}");
        }
        let good = args(&["http://127.0.0.1/", "--max", "--header", "X-A: b:c", "--method", "POST", "--body", "x=1"]);
        let plan = plan(&good.unwrap()).unwrap();
        assert_eq!(plan.headers, [("X-A".to_string(), "b:c".to_string())]);
        assert_eq!((plan.shots[0].method.as_str(), &plan.shots[0].body[..]), ("POST", &b"x=1"[..]));
    }

    #[tokio::test]
    async fn a_foreign_host_is_refused_before_anything_is_sent() {
        let args = args(&["http://192.0.2.1/", "--rate", "1", "--duration", "1s"]).unwrap();
        let error = run(args, &global()).await.unwrap_err();
        assert_eq!(super::super::exit::of(&error), Exit::Refused, "{error:#}");
        assert!(error.to_string().contains("192.0.2.1"), "{error:#}");
    }

    async fn measured(answer: &'static str) -> Report {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut buffer = [0u8; 2048];
                    while stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {
                        let _ = stream.write_all(answer.as_bytes()).await;
                    }
                });
            }
        });
        let args = args(&[&url, "--rate", "50", "--duration", "2s", "--connections", "2"]).unwrap();
        authorise(&args.url, &global()).await.unwrap();
        load::run(plan(&args).unwrap(), |_| {}, CancellationToken::new()).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_page_tells_rate_status_and_latency() {
        let report = measured("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
        let page = anstream::adapter::strip_str(&lines(&report).join("\n")).to_string();
        for part in [
            "50 req/s for 2 s",
            "requests    100, 200 B",
            "status      200 100",
            "errors      none",
            "p99.9",
            "lag p99",
        ] {
            assert!(page.contains(part), "{part} in\n{page}");
        }
        let json = serde_json::to_value(&report).unwrap();
        for key in ["schema", "requests", "errors", "target_rate", "achieved_rate", "duration_s", "bytes"] {
            assert!(!json[key].is_null(), "{key}: {json}");
        }
        for key in ["min", "mean", "p50", "p90", "p95", "p99", "p99_9", "max"] {
            assert!(json["latency_ms"][key].is_number() && json["uncorrected_latency_ms"][key].is_number(), "{key}");
        }
        assert!(json["generator"]["lag_p99_ms"].is_number());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_that_only_fails_is_a_no() {
        let report = measured("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n").await;
        // How fast this machine is today is not under test.
        let with = |saturated| {
            let mut report = Report { stopped: None, ..report.clone() };
            report.generator.saturated = saturated;
            exit(&report)
        };
        assert_eq!((with(false), with(true)), (Exit::No, Exit::Undecided));
    }
}
