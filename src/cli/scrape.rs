//! `hypercare scrape try URL|NAME`: one real scrape, told as the collector sees it. Nothing is stored.

use serde::Serialize;

use super::config::Need;
use super::output::{self, FormatArg, Out, Tone};
use super::{Exit, Failure, Global};
use crate::config::Secrets;
use crate::domain::gap::{Gap, GapReason};
use crate::domain::metric::{LabelledSample, Labels, is_stale};
use crate::domain::problem::Problem;
use crate::domain::units;
use crate::net::Client;
use crate::promql::number;
use crate::sources::metric::{self, Batch, Collector, Context, From};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hypercare scrape try http://127.0.0.1:9000/metrics
  hypercare scrape try app                every target of [metric.app.from.prometheus]
  hypercare scrape try app --format json

Exit code 0 when every target was scraped, 69 when one cannot be reached, 1 when its answer is no scrape.")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Scrape once and show what would be stored
    Try {
        /// A URL, or NAME of a [metric.NAME]
        target: String,
        #[command(flatten)]
        format: FormatArg,
    },
}

/// Series shown to people; JSON has them all.
const SERIES_SHOWN_MAX: usize = 40;

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Exit> {
    let What::Try { target, format } = args.what;
    let from_url = |url: url::Url| format!("[from.prometheus]\ntargets = [{}]\n", quoted(url.as_str()));
    let mut looked = Vec::new();
    for mut collector in collectors(&target, global, from_url)? {
        let batch = collector.collect(global.clock.now()).await.flattened();
        looked.push((collector.service.clone(), batch));
    }
    if format.is_json() {
        output::json(&Document::of("hypercare.scrape/v1", &target, &looked))?;
    } else {
        let mut out = Out::stdout();
        for (_, batch) in &looked {
            page(batch, &mut out)?;
        }
        out.flush()?;
    }
    Ok(exit(&looked))
}

/// The collectors behind a URL (configured by `from_url`, as TOML) or a name of the configuration.
pub(super) fn collectors(
    target: &str,
    global: &Global,
    from_url: impl Fn(url::Url) -> String,
) -> anyhow::Result<Vec<Collector>> {
    let mut ctx = Context {
        client: Client::new(),
        clock: global.clock.clone(),
        instance_seed: 0,
        default_service: Some("try".into()),
    };
    if target.starts_with("http://") || target.starts_with("https://") {
        let url =
            url::Url::parse(target).map_err(|e| Failure::new(Exit::Usage, format!("{target:?} is not a URL: {e}")))?;
        let config = toml::from_str(&from_url(url)).map_err(|e| Failure::new(Exit::Usage, e.message().to_string()))?;
        return build("try", &config, &ctx);
    }
    let loaded = global.config(Need::Nothing, Secrets::MayBeMissing)?;
    let Some(config) = loaded.config.metric.get(target) else {
        let known: Vec<&str> = loaded.config.metric.keys().map(String::as_str).collect();
        let hint = match known.is_empty() {
            true => "give a URL, or configure [metric.NAME.from.prometheus]".to_string(),
            false => format!("give a URL, or one of: {}", known.join(", ")),
        };
        return Err(Failure::new(Exit::Usage, format!("no [metric.{target}] is configured")).hint(hint).into());
    };
    let mut services = loaded.config.service.keys();
    if let (Some(only), None) = (services.next(), services.next()) {
        ctx.default_service = Some(only.clone());
    }
    build(target, config, &ctx)
}

fn build(name: &str, config: &metric::Config, ctx: &Context) -> anyhow::Result<Vec<Collector>> {
    metric::build(name, config, ctx).map_err(|problems| {
        let texts: Vec<String> =
            problems.into_iter().map(|p: Problem| p.under(&["metric", name]).to_string()).collect();
        Failure::new(Exit::Usage, texts.join("; ")).into()
    })
}

/// Does `[metric.NAME]` hold this kind of source? A URL has no name and is always right.
pub(super) fn kind_of(target: &str, global: &Global) -> anyhow::Result<Option<&'static str>> {
    if target.contains("://") {
        return Ok(None);
    }
    let loaded = global.config(Need::Nothing, Secrets::MayBeMissing)?;
    Ok(loaded.config.metric.get(target).map(|m: &metric::Config| From::word(&m.from)))
}

/// A TOML string.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_string()).to_string()
}

pub(super) fn exit(looked: &[(String, Batch)]) -> Exit {
    let gaps = looked.iter().filter_map(|(_, b)| b.gap.as_ref());
    let far = |g: &Gap| matches!(g.reason, GapReason::Dns | GapReason::Connect | GapReason::Tls | GapReason::Timeout);
    gaps.map(|g| if far(g) { Exit::Unreachable } else { Exit::No }).next().unwrap_or(Exit::Yes)
}

/// Value of the collector's own series, such as `scrape_duration_seconds`.
pub(super) fn own(batch: &Batch, name: &str) -> Option<f64> {
    batch.samples.iter().find(|s| s.labels.name() == name && !is_stale(s.sample.v)).map(|s| s.sample.v)
}

fn is_report(name: &str) -> bool {
    name == "up" || name.starts_with("scrape_")
}

fn page(batch: &Batch, out: &mut Out) -> std::io::Result<()> {
    let width = output::width();
    let took = own(batch, "scrape_duration_seconds").unwrap_or(0.0);
    let name = output::clean_line(&batch.target);
    if let Some(gap) = &batch.gap {
        let text = format!("{name}: {}: {}", gap.reason.word(), output::clean_line(&gap.detail));
        return out.line(format!("{} {}", output::paint(Tone::Fail, "✘"), output::hang(&text, 2, width - 2)));
    }
    let series: Vec<&LabelledSample> = batch.samples.iter().filter(|s| !is_report(s.labels.name())).collect();
    out.line(format!(
        "{} {name}: {} series, {}, in {} s",
        output::paint(Tone::Pass, "✔"),
        series.len(),
        units::bytes(own(batch, "scrape_body_size_bytes").unwrap_or(0.0)),
        units::number(took)
    ))?;
    for s in series.iter().take(SERIES_SHOWN_MAX) {
        let value = units::number(s.sample.v);
        let room = width.saturating_sub(output::columns(&value) + 4).max(20);
        let shown = output::cut(&output::clean_line(&s.labels.to_string()), room);
        out.line(format!("  {} {value}", output::pad(&shown, room.min(72))))?;
    }
    if series.len() > SERIES_SHOWN_MAX {
        out.line(output::paint(Tone::Soft, format!("  and {} more", series.len() - SERIES_SHOWN_MAX)))?;
    }
    Ok(())
}

/// `hypercare.scrape/v1` and `hypercare.probe/v1`. Values are texts, as in Prometheus' API, because JSON has no NaN.
#[derive(Serialize)]
pub(super) struct Document<'a> {
    schema: &'static str,
    target: &'a str,
    results: Vec<Looked<'a>>,
}

#[derive(Serialize)]
struct Looked<'a> {
    name: &'a str,
    service: &'a str,
    ok: bool,
    gap: Option<&'a Gap>,
    samples: Vec<Shown<'a>>,
}

#[derive(Serialize)]
struct Shown<'a> {
    metric: &'a Labels,
    timestamp_ms: i64,
    value: String,
}

impl<'a> Document<'a> {
    pub(super) fn of(schema: &'static str, target: &'a str, looked: &'a [(String, Batch)]) -> Document<'a> {
        let results = looked.iter().map(|(service, batch)| Looked {
            name: &batch.target,
            service,
            ok: batch.gap.is_none() && own(batch, "probe_success") != Some(0.0),
            gap: batch.gap.as_ref(),
            samples: batch
                .samples
                .iter()
                .filter(|s| !is_stale(s.sample.v))
                .map(|s| Shown { metric: &s.labels, timestamp_ms: s.sample.t.ms(), value: number::api(s.sample.v) })
                .collect(),
        });
        Document { schema, target, results: results.collect() }
    }
}
