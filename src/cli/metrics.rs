//! `hypercare metrics check FILE|URL`: is this an exposition, what is in it, and what is wrong with it?

use std::collections::BTreeMap;
use std::io::Read as _;

use serde::Serialize;

use super::output::{self, FormatArg, Out, Tone};
use super::{Exit, Failure, Global};
use crate::domain::exposition::{self, Exposition, LIMITS, Lint, ParseError};
use crate::domain::metric::Labels;
use crate::net::{Client, Redirects, Request, redact_url};
use crate::promql::number;
use crate::sources::metric::prometheus::ACCEPT;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hypercare metrics check http://127.0.0.1:9000/metrics
  hypercare metrics check metrics.txt --format json
  curl -s http://127.0.0.1:9000/metrics | hypercare metrics check -

A URL's content type says what it is; a file is OpenMetrics if it has a line # EOF, else Prometheus text; --as overrules.
Exit code 1 when the body is not an exposition; problems in a good one are only listed.")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Parse Prometheus text or OpenMetrics; list families and every problem with its line
    Check {
        /// A file, a URL, or - for standard input
        source: String,
        /// Read it as this, whatever its content type or its last line says
        #[arg(long = "as", value_name = "FORMAT")]
        format_is: Option<Kind>,
        #[command(flatten)]
        format: FormatArg,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// Prometheus text 0.0.4 or 1.0.0
    Text,
    /// OpenMetrics 1.0
    Openmetrics,
}

impl Kind {
    fn content_type(self) -> &'static str {
        match self {
            Kind::Text => "text/plain",
            Kind::Openmetrics => "application/openmetrics-text",
        }
    }
}

/// Rows of a table; the rest is counted. JSON has them all.
const ROWS_MAX: usize = 200;

pub async fn run(args: Args, _: &Global) -> anyhow::Result<Exit> {
    let What::Check { source, format_is, format } = args.what;
    let mut body = fetch(&source).await?;
    if let Some(kind) = format_is {
        body.content_type = Some(kind.content_type().into());
    }
    let parsed = exposition::parse(body.content_type.as_deref(), &body.bytes);
    if format.is_json() {
        output::json(&document(&body.shown, &parsed))?;
    } else {
        let mut out = Out::stdout();
        let lines = match &parsed {
            Ok(good) => page(good, output::width()),
            Err(error) => vec![bad(&body, error)],
        };
        for line in lines {
            out.line(line)?;
        }
        out.flush()?;
    }
    Ok(if parsed.is_ok() { Exit::Yes } else { Exit::No })
}

struct Body {
    shown: String,
    /// `None` for a file: there the content decides.
    content_type: Option<String>,
    bytes: Vec<u8>,
}

async fn fetch(source: &str) -> anyhow::Result<Body> {
    let is_url = source.starts_with("http://") || source.starts_with("https://");
    if !is_url {
        let mut bytes = Vec::new();
        // One byte more than the limit, so that the parser can say that there is more.
        let limit = LIMITS.body_bytes as u64 + 1;
        if source == "-" {
            std::io::stdin().lock().take(limit).read_to_end(&mut bytes)?;
        } else {
            let file = std::fs::File::open(source).map_err(|e| {
                Failure::new(Exit::Io, format!("cannot read {source}: {e}")).hint("name a file or a URL")
            })?;
            file.take(limit).read_to_end(&mut bytes)?;
        }
        return Ok(Body { shown: source.to_string(), content_type: None, bytes });
    }
    let url =
        url::Url::parse(source).map_err(|e| Failure::new(Exit::Usage, format!("{source:?} is not a URL: {e}")))?;
    let shown = redact_url(&url);
    let request = Request { body_bytes_limit: LIMITS.body_bytes, redirects: Redirects::Follow(3), ..Request::get(url) };
    let response = Client::new().send(request.header("accept", ACCEPT)).await?;
    if response.status != 200 {
        let message = format!("{shown} answers {}; only 200 is a scrape", response.status);
        return Err(Failure::new(Exit::No, message).into());
    }
    // As the scraper does: without a content type the oldest format is meant.
    let content_type = response.header("content-type").unwrap_or("text/plain").to_string();
    Ok(Body { shown, content_type: Some(content_type), bytes: response.body.to_vec() })
}

/// The error under the line that has it, as compilers show it.
fn bad(body: &Body, error: &ParseError) -> String {
    let place = format!("{}:{}:{}", output::clean_line(&body.shown), error.line, error.column);
    let mut text = format!("{} {}: {}", output::paint(Tone::Fail, "✘"), place, output::clean_line(&error.message));
    let lines = String::from_utf8_lossy(&body.bytes);
    if let Some(line) = lines.lines().nth(error.line - 1).filter(|l| l.chars().count() <= 400) {
        let before: String = line.chars().take(error.column - 1).collect();
        let indent = output::columns(&output::clean_line(&before));
        text.push_str(&format!("\n    {}\n    {}^", output::clean_line(line), " ".repeat(indent)));
    }
    text
}

fn page(good: &Exposition, width: usize) -> Vec<String> {
    let counts = counts(good);
    let mut lines = vec![format!(
        "{} {}: {}, {}",
        output::paint(Tone::Pass, "✔"),
        good.format.title(),
        counted(good.families.len(), "family", "families"),
        counted(good.samples.len(), "sample", "samples")
    )];
    let name_width = good.families.iter().map(|f| output::columns(&f.family)).max().unwrap_or(0).min(width / 2);
    for (family, count) in good.families.iter().zip(&counts).take(ROWS_MAX) {
        let kind = format!("{:?}", family.kind).to_lowercase();
        let name = output::pad(&output::cut(&output::clean_line(&family.family), name_width), name_width);
        let head = format!("  {name}  {kind:14} {count:>6}  ");
        let room = width.saturating_sub(output::columns(&head)).max(10);
        let help = output::cut(&output::clean_line(&family.help), room);
        lines.push(format!("{head}{}", output::paint(Tone::Soft, help)));
    }
    if good.families.len() > ROWS_MAX {
        lines.push(output::paint(Tone::Soft, format!("  and {} more families", good.families.len() - ROWS_MAX)));
    }
    if good.problems.is_empty() {
        lines.push("no problems".into());
        return lines;
    }
    lines.push(output::paint(Tone::Strong, counted(good.problems.len(), "problem", "problems")));
    for problem in good.problems.iter().take(ROWS_MAX) {
        let text = output::hang(&output::clean_line(&problem.to_string()), 4, width);
        lines.push(format!("  {} {text}", output::paint(Tone::Warn, "▲")));
    }
    if good.problems.len() > ROWS_MAX {
        lines.push(output::paint(Tone::Soft, format!("  and {} more", good.problems.len() - ROWS_MAX)));
    }
    lines
}

fn counted(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// Samples of each family.
fn counts(good: &Exposition) -> Vec<usize> {
    let mut counts = vec![0; good.families.len()];
    for sample in &good.samples {
        counts[sample.family] += 1;
    }
    counts
}

/// `hypercare.metrics_check/v1`. Values are texts, as in Prometheus' API, because JSON has no NaN.
#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    source: &'a str,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Error<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<exposition::Format>,
    families: Vec<Family<'a>>,
    problems: &'a [Lint],
    samples: Vec<Sample<'a>>,
}

#[derive(Serialize)]
struct Error<'a> {
    line: usize,
    column: usize,
    message: &'a str,
}

#[derive(Serialize)]
struct Family<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    kind: crate::domain::metric::MetricKind,
    unit: &'a str,
    help: &'a str,
    samples: usize,
}

#[derive(Serialize)]
struct Sample<'a> {
    name: &'a str,
    labels: BTreeMap<&'a str, &'a str>,
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exemplar: Option<Exemplar<'a>>,
    line: usize,
}

#[derive(Serialize)]
struct Exemplar<'a> {
    labels: &'a Labels,
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp_ms: Option<i64>,
}

fn document<'a>(source: &'a str, parsed: &'a Result<Exposition, ParseError>) -> Document<'a> {
    let schema = "hypercare.metrics_check/v1";
    let good = match parsed {
        Ok(good) => good,
        Err(e) => {
            let error = Some(Error { line: e.line, column: e.column, message: &e.message });
            let (families, samples) = (Vec::new(), Vec::new());
            return Document { schema, source, ok: false, error, format: None, families, problems: &[], samples };
        }
    };
    let families = good.families.iter().zip(counts(good)).map(|(f, samples)| Family {
        name: &f.family,
        kind: f.kind,
        unit: &f.unit,
        help: &f.help,
        samples,
    });
    let samples = good.samples.iter().map(|s| Sample {
        name: s.labels.name(),
        labels: s.labels.iter().filter(|(n, _)| *n != crate::domain::metric::NAME).collect(),
        value: number::api(s.value),
        timestamp_ms: s.timestamp_ms,
        exemplar: s.exemplar.as_ref().map(|e| Exemplar {
            labels: &e.labels,
            value: number::api(e.value),
            timestamp_ms: e.timestamp_ms,
        }),
        line: s.line,
    });
    Document {
        schema,
        source,
        ok: true,
        error: None,
        format: Some(good.format),
        families: families.collect(),
        problems: &good.problems,
        samples: samples.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_body_is_shown_under_its_line() {
        let bytes = b"a 1\nb{x=\"1\" 2\n".to_vec();
        let body = Body { shown: "m.txt".into(), content_type: None, bytes };
        let error = exposition::parse(None, &body.bytes).unwrap_err();
        let plain = anstream::adapter::strip_str(&bad(&body, &error)).to_string();
        assert_eq!(plain, "✘ m.txt:2:9: expected `,` or `}`, found `2`\n    b{x=\"1\" 2\n            ^");
    }

    #[test]
    fn the_document_lists_samples_with_text_values() {
        let parsed = exposition::parse(None, b"# TYPE a gauge\na{x=\"1\"} NaN 5\n# TYPE c counter\nc_total 2\n");
        let text = serde_json::to_string(&document("m", &parsed)).unwrap();
        assert!(
            text.starts_with(
                "{\"schema\":\"hypercare.metrics_check/v1\",\"source\":\"m\",\"ok\":true,\"format\":\"text\""
            ),
            "{text}"
        );
        assert!(
            text.contains("{\"name\":\"a\",\"labels\":{\"x\":\"1\"},\"value\":\"NaN\",\"timestamp_ms\":5,\"line\":2}"),
            "{text}"
        );
        let page = page(parsed.as_ref().unwrap(), 80).join("\n");
        assert!(page.contains("2 families, 2 samples") && page.contains("missing-help"), "{page}");
    }

    #[test]
    fn an_error_has_its_place_in_json_too() {
        let parsed = exposition::parse(None, b"<html>");
        let json = serde_json::to_value(document("m", &parsed)).unwrap();
        assert_eq!((json["ok"].as_bool(), json["error"]["line"].as_u64()), (Some(false), Some(1)));
    }
}
