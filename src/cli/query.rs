//! `hypercare query EXPR`: PromQL over the stored samples, at one instant or over a range; a table, a chart in the
//! terminal, or JSON.

use std::time::Duration;

use serde::Serialize;

use super::config::Need;
use super::output::{self, FormatArg, Out, Tone};
use super::{Exit, Failure, Global};
use crate::chart::spark_text_in;
use crate::config::Secrets;
use crate::domain::clock::Timestamp;
use crate::domain::metric::{Labels, NAME, Sample, Series};
use crate::domain::units::{self, Span};
use crate::promql::{self, Options, QueryError, Value, number};
use crate::remote;
use crate::store::{Role, Store};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hypercare query 'up'
  hypercare query 'sum by (code) (rate(http_requests_total[5m]))' --from 1h
  hypercare query 'probe_success' --from 2026-11-22T10:00:00Z --to 2026-11-22T12:00:00Z --step 1m
  hypercare query 'up' --format json")]
pub struct Args {
    /// The expression
    expr: String,
    /// Evaluate at this time instead of now: RFC 3339, epoch seconds, or so long ago (10m)
    #[arg(long, value_name = "TIME", conflicts_with_all = ["from", "to", "step"])]
    at: Option<String>,
    /// Start of a range: as --at
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// End of the range [default: now]
    #[arg(long, value_name = "TIME", requires = "from")]
    to: Option<String>,
    /// Distance of the points [default: about 120 points, at least 15s apart]
    #[arg(long, value_name = "DURATION", requires = "from")]
    step: Option<Span>,
    #[command(flatten)]
    format: FormatArg,
}

/// Points of a range when no step is given: two per column of a narrow terminal.
const POINTS_WANTED: u128 = 120;
/// Finer than the usual scrape there is nothing to see.
const STEP_MIN: Duration = Duration::from_secs(15);
/// Rows of a table; the rest is counted. JSON has them all.
const ROWS_MAX: usize = 200;
/// Columns of a sparkline.
const SPARK_COLUMNS: usize = 40;

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Exit> {
    let expr = promql::parse(&args.expr).map_err(|e| refused(&args.expr, e))?;
    let now = global.clock.now();
    let time = |text: &Option<String>, default: Timestamp| match text {
        None => Ok(default),
        Some(text) => instant(text, now),
    };
    let loaded = global.config(Need::Nothing, Secrets::MayBeMissing)?;
    let dir = loaded.store_dir();
    if !dir.exists() {
        let message = format!("there is no store at {}", dir.display());
        return Err(Failure::new(Exit::Unreachable, message).hint("`hypercare run` makes one").into());
    }
    let store = Store::open(&dir, Role::Client, global.clock.clone()).await?;
    let store = remote::attach(store, &loaded.config.store.engine);
    let reader = store.reader();
    let options = Options::default();
    let answer = match &args.from {
        None => {
            let at = time(&args.at, now)?;
            promql::instant(&*reader, &expr, at, &options).await.map(|value| Answer::Instant { at, value })
        }
        Some(from) => {
            let (from, to) = (instant(from, now)?, time(&args.to, now)?);
            let step = args.step.map_or_else(|| fitting_step(to.since(from)), Span::get);
            let series = promql::range(&*reader, &expr, from, to, step, &options).await;
            series.map(|series| Answer::Range { from, to, step, series })
        }
    };
    store.close().await;
    let answer = answer.map_err(|e| refused(&args.expr, e))?;
    if args.format.is_json() {
        output::json(&answer.document(&args.expr))?;
    } else {
        let mut out = Out::stdout();
        for line in answer.lines(output::width()) {
            out.line(line)?;
        }
        out.flush()?;
    }
    Ok(Exit::Yes)
}

/// RFC 3339, epoch seconds, or a duration before now.
fn instant(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let ago = || text.parse::<Span>().ok().map(|s| now.minus(s.get()));
    Timestamp::parse(text).or_else(ago).ok_or_else(|| {
        Failure::new(Exit::Usage, format!("{text:?} is not a time"))
            .hint("write 2026-11-22T10:00:00Z, epoch seconds, or a duration such as 90m for so long ago")
    })
}

/// A round step that gives about [`POINTS_WANTED`] points.
fn fitting_step(span: Duration) -> Duration {
    let wanted = Duration::from_millis((span.as_millis() / POINTS_WANTED).min(u64::MAX as u128) as u64);
    Duration::from_secs(wanted.max(STEP_MIN).as_secs().next_multiple_of(STEP_MIN.as_secs()))
}

fn refused(expr: &str, error: QueryError) -> Failure {
    let exit = match &error {
        QueryError::Parse { .. } | QueryError::TooManyPoints { .. } => Exit::Usage,
        QueryError::Execution(_) | QueryError::TooManySamples { .. } => Exit::No,
        QueryError::Timeout(_) => Exit::Undecided,
        QueryError::Read(_) => Exit::Io,
        QueryError::Elsewhere(_) => Exit::Unreachable,
    };
    match error {
        QueryError::Parse { message, at: Some(at) } => {
            let line = expr.lines().nth(at.line - 1).unwrap_or("");
            let shown = format!("{message}\n  {line}\n  {}^", " ".repeat(at.column - 1));
            Failure::new(exit, shown)
        }
        other => Failure::new(exit, other.to_string()),
    }
}

enum Answer {
    Instant { at: Timestamp, value: Value },
    Range { from: Timestamp, to: Timestamp, step: Duration, series: Vec<Series> },
}

/// `hypercare.query/v1`. Values are texts, as in Prometheus' API, because JSON has no NaN.
#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    query: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step_ms: Option<u64>,
    #[serde(rename = "type")]
    kind: &'static str,
    result: Outcome<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Outcome<'a> {
    Text(String),
    Vector(Vec<Element<'a>>),
    Matrix(Vec<Points<'a>>),
}

#[derive(Serialize)]
struct Element<'a> {
    metric: &'a Labels,
    value: String,
}

/// Times are epoch milliseconds.
#[derive(Serialize)]
struct Points<'a> {
    metric: &'a Labels,
    values: Vec<(Timestamp, String)>,
}

fn points(series: &[Series]) -> Outcome<'_> {
    let one = |s: &Sample| (s.t, number::api(s.v));
    Outcome::Matrix(
        series.iter().map(|s| Points { metric: &s.labels, values: s.samples.iter().map(one).collect() }).collect(),
    )
}

impl Answer {
    fn document<'a>(&'a self, query: &'a str) -> Document<'a> {
        let schema = "hypercare.query/v1";
        let empty = Document {
            schema,
            query,
            at: None,
            from: None,
            to: None,
            step_ms: None,
            kind: "matrix",
            result: Outcome::Vector(Vec::new()),
        };
        match self {
            Answer::Instant { at, value } => {
                let result = match value {
                    Value::Scalar(v) => Outcome::Text(number::api(*v)),
                    Value::String(text) => Outcome::Text(text.clone()),
                    Value::Matrix(series) => points(series),
                    Value::Vector(elements) => Outcome::Vector(
                        elements.iter().map(|(metric, v)| Element { metric, value: number::api(*v) }).collect(),
                    ),
                };
                Document { at: Some(*at), kind: value.kind(), result, ..empty }
            }
            Answer::Range { from, to, step, series } => Document {
                from: Some(*from),
                to: Some(*to),
                step_ms: Some(step.as_millis() as u64),
                result: points(series),
                ..empty
            },
        }
    }

    fn lines(&self, width: usize) -> Vec<String> {
        match self {
            Answer::Instant { value: Value::Scalar(v), .. } => vec![units::number(*v)],
            Answer::Instant { value: Value::String(text), .. } => vec![output::clean(text)],
            Answer::Instant { at, value: Value::Vector(elements) } => {
                let rows: Vec<(String, Vec<String>)> =
                    elements.iter().map(|(l, v)| (shown(l), vec![units::number(*v)])).collect();
                table(&rows, &["value"], width, &format!("at {at}"))
            }
            Answer::Instant { at, value: Value::Matrix(series) } => charts(series, width, &format!("until {at}")),
            Answer::Range { from, to, step, series } => {
                charts(series, width, &format!("{from} to {to}, every {}", Span(*step)))
            }
        }
    }
}

/// A chart per series, with its first, worst (highest) and last value.
fn charts(series: &[Series], width: usize, when: &str) -> Vec<String> {
    let columns = SPARK_COLUMNS.min(width / 3);
    let rows: Vec<(String, Vec<String>)> = series
        .iter()
        .filter(|s| !s.samples.is_empty())
        .map(|s| {
            let values: Vec<f64> = s.samples.iter().map(|s| s.v).collect();
            let worst = values.iter().copied().filter(|v| !v.is_nan()).fold(f64::NAN, f64::max);
            let figures = [values[0], worst, values[values.len() - 1]].map(units::number);
            (shown(&s.labels), std::iter::once(spark_text_in(&values, columns)).chain(figures).collect())
        })
        .collect();
    table(&rows, &["", "first", "highest", "last"], width, when)
}

fn shown(labels: &Labels) -> String {
    // An unnamed result is told apart by its labels alone.
    let text = if labels.is_empty() { "{}".into() } else { labels.to_string() };
    let braces = labels.get(NAME).is_none() && !labels.is_empty();
    output::clean_line(if braces { text.trim_matches(['{', '}']) } else { &text })
}

/// Name first, figures to the right; the name gives way when the terminal is narrow.
fn table(rows: &[(String, Vec<String>)], heads: &[&str], width: usize, when: &str) -> Vec<String> {
    if rows.is_empty() {
        return vec![output::paint(Tone::Soft, format!("nothing {when}"))];
    }
    let cells = |i: usize| rows.iter().filter_map(move |(_, c)| c.get(i)).map(|c| output::columns(c));
    let widths: Vec<usize> =
        heads.iter().enumerate().map(|(i, h)| cells(i).max().unwrap_or(0).max(output::columns(h))).collect();
    let figures: usize = widths.iter().map(|w| w + 2).sum();
    let longest = rows.iter().map(|(name, _)| output::columns(name)).max().unwrap_or(0);
    let name_width = longest.min(width.saturating_sub(figures).max(16));
    let right = |text: &str, w: usize| format!("  {}{text}", " ".repeat(w.saturating_sub(output::columns(text))));

    let head: String = heads.iter().zip(&widths).map(|(h, w)| right(h, *w)).collect();
    let mut lines = vec![output::paint(Tone::Soft, format!("{}{head}", output::pad("", name_width)))];
    for (name, figures) in rows.iter().take(ROWS_MAX) {
        let figures: String = figures.iter().zip(&widths).map(|(f, w)| right(f, *w)).collect();
        lines.push(format!("{}{figures}", output::pad(&output::cut(name, name_width), name_width)));
    }
    let more = rows.len().saturating_sub(ROWS_MAX);
    let counted = if more > 0 { format!("{more} more not shown; --format json has all. ") } else { String::new() };
    lines.push(output::paint(Tone::Soft, format!("{counted}{} series {when}", rows.len())));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(lines: &[String]) -> String {
        anstream::adapter::strip_str(&lines.join("\n")).to_string()
    }

    #[test]
    fn times_may_be_absolute_or_ago() {
        let now = Timestamp::from_ms(3_600_000);
        assert_eq!(instant("10m", now).unwrap(), Timestamp::from_ms(3_000_000));
        assert_eq!(instant("1970-01-01T00:00:05Z", now).unwrap(), Timestamp::from_ms(5000));
        assert_eq!(instant("12.5", now).unwrap(), Timestamp::from_ms(12_500));
        assert_eq!(instant("noon", now).unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn steps_are_round() {
        for (span, step) in [(60, 15), (3600, 30), (86_400, 720), (7 * 86_400, 5040)] {
            assert_eq!(fitting_step(Duration::from_secs(span)), Duration::from_secs(step), "{span}");
        }
    }

    #[test]
    fn a_mistake_is_pointed_at() {
        let error = promql::parse("sum(nosuch(up))").unwrap_err();
        let failure = refused("sum(nosuch(up))", error);
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.message.ends_with("\n  sum(nosuch(up))\n      ^"), "{}", failure.message);
    }

    #[test]
    fn a_vector_is_a_table_and_hostile_labels_are_harmless() {
        let labels = |job: &str| Labels::new([(NAME, "up"), ("job", job)]);
        let value = Value::Vector(vec![(labels("a"), 1.0), (labels("b\u{1b}[31m"), 12345.678)]);
        let answer = Answer::Instant { at: Timestamp::from_ms(0), value };
        let lines = answer.lines(80);
        assert!(lines.iter().all(|l| !l.contains("[31m") || l.contains("·[31m")), "{lines:?}");
        let text = plain(&lines);
        assert!(text.contains("up{job=\"a\"}") && text.contains("12,346"), "{text}");
        assert!(text.ends_with("2 series at 1970-01-01T00:00:00Z"), "{text}");
    }

    #[test]
    fn a_range_is_a_chart_with_its_figures() {
        let samples = (0..10).map(|i| Sample { t: Timestamp::from_ms(i * 1000), v: f64::from(i as u8 % 7) }).collect();
        let series = vec![Series { labels: Labels::new([("code", "200")]), samples }];
        let (from, to, step) = (Timestamp::from_ms(0), Timestamp::from_ms(9000), Duration::from_secs(1));
        let answer = Answer::Range { from, to, step, series };
        let text = plain(&answer.lines(80));
        let row = text.lines().nth(1).unwrap();
        assert!(row.starts_with("code=\"200\""), "{text}");
        assert_eq!(row.split_whitespace().rev().take(3).collect::<Vec<_>>(), ["2", "6", "0"], "{text}");
        let json = serde_json::to_value(answer.document("x")).unwrap();
        assert_eq!(json["schema"], "hypercare.query/v1");
        assert_eq!(json["result"][0]["values"][1], serde_json::json!([1000, "1"]));
        assert_eq!(json["step_ms"], 1000);
    }

    #[test]
    fn nothing_is_said() {
        let answer = Answer::Instant { at: Timestamp::from_ms(0), value: Value::Vector(Vec::new()) };
        assert_eq!(plain(&answer.lines(80)), "nothing at 1970-01-01T00:00:00Z");
    }
}
