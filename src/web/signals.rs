//! The four golden signals as charts: traffic, errors, latency, saturation, with what was normal, go-live and alerts.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono_tz::Tz;
use serde::Serialize;

use crate::chart::{self, Band, Bar, Line, LineChart, Mark, NARROW, Tone, Unit};
use crate::domain::alert::{AlertSeverity, AlertState, Transition};
use crate::domain::clock::Timestamp;
use crate::domain::launch::Launch;
use crate::domain::marker::Marker;
use crate::domain::metric::{Matcher, NAME, SeriesReader};
use crate::domain::roles::{Roles, metric_name};
use crate::promql::{self, Options};
use crate::store::state::baseline::Baseline;
use crate::store::{Samples, StoreError};

/// Steps of a chart: more is finer than a pixel of the phone's drawing.
const STEPS: u32 = 180;
/// Samples one chart may touch: a day of a few thousand series; beyond it the room stays quiet rather than slow.
const SAMPLES_MAX: usize = 5_000_000;
const QUERY_WITHIN: Duration = Duration::from_secs(5);
/// Two charts beside each other on a desk.
const HALF: u32 = 560;
/// When nothing tells how often samples arrive.
const INTERVAL: Duration = Duration::from_secs(15);

/// One chart with its figure.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Tile {
    pub(super) name: &'static str,
    /// `12.4` and `req/s`; `–` without data.
    pub(super) figure: String,
    pub(super) unit: String,
    /// What was normal, or why there is nothing.
    pub(super) note: String,
    /// SVG and table; empty without data.
    pub(super) drawing: String,
    pub(super) query: String,
}

/// What is drawn over all charts of the page.
pub(super) struct Frame<'a> {
    pub(super) launch: Option<&'a Launch>,
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    pub(super) zone: Tz,
    /// How often samples arrive.
    pub(super) interval: Duration,
    pub(super) markers: &'a [Marker],
    pub(super) transitions: &'a [Transition],
    pub(super) baseline: Option<&'a Baseline>,
}

/// How often samples of a service arrive and when the last came, by its `up` and probe series.
pub(super) async fn arrivals(
    samples: &Samples,
    service: &str,
    now: Timestamp,
) -> Result<(Duration, Option<Timestamp>), StoreError> {
    let matchers = [
        Matcher::regex(NAME, "up|probe_success").map_err(|e| StoreError::Database(e.to_string()))?,
        Matcher::equal("service", service),
    ];
    let since = now.minus(Duration::from_secs(900));
    let series = samples
        .select(&matchers, since, now.plus(Duration::from_secs(60)), SAMPLES_MAX)
        .await
        .map_err(|e| StoreError::Database(e.to_string()))?;
    let good = |s: &crate::domain::metric::Series| s.samples.iter().filter(|p| p.v == 1.0).map(|p| p.t).max();
    let steps = series.iter().flat_map(|s| s.samples.windows(2).map(|w| w[1].t.since(w[0].t)));
    let interval = steps.filter(|d| !d.is_zero()).min().unwrap_or(INTERVAL);
    Ok((interval, series.iter().filter_map(good).max()))
}

/// Traffic, errors, latency, saturation, in this order; one without a role says so.
pub(super) async fn tiles(samples: &dyn SeriesReader, roles: &Roles, frame: &Frame<'_>) -> Vec<Tile> {
    let step = Duration::from_secs((frame.to.since(frame.from) / STEPS).as_secs().max(1));
    // Four samples at least, so that one lost scrape leaves a figure.
    let window = format!("{}s", step.max(frame.interval * 4).as_secs().max(4));
    let cpu_counts_cores = roles
        .cpu
        .as_deref()
        .map(metric_name)
        .is_some_and(|name| name.ends_with("_total") && name != "node_cpu_seconds_total");
    let (saturation, unit) = match (roles.cpu_ratio(&window), roles.memory_ratio()) {
        (Some(cpu), _) if cpu_counts_cores => (Some(cpu), Unit::Other("cores".into())),
        (Some(cpu), _) => (Some(cpu), Unit::Ratio),
        (None, memory) => (memory, Unit::Ratio),
    };
    let saturated = if roles.cpu.is_some() { ("CPU", "cpu") } else { ("Memory", "memory") };
    let wanted = [
        ("Traffic", "traffic", roles.traffic(&window), Unit::Other("req/s".into())),
        ("Errors", "error_ratio", roles.error_ratio(&window), Unit::Ratio),
        ("p95 latency", "latency_p95", roles.latency_quantile(0.95, &window), Unit::Seconds),
        (saturated.0, saturated.1, saturation, unit),
    ];
    let mut tiles = Vec::with_capacity(wanted.len());
    for (name, key, query, unit) in wanted {
        tiles.push(match query {
            Some(query) => tile(samples, frame, step, name, key, query, unit).await,
            None => Tile {
                name,
                figure: "–".into(),
                unit: String::new(),
                note: "no series plays this part; see hypercare doctor".into(),
                drawing: String::new(),
                query: String::new(),
            },
        });
    }
    tiles
}

async fn tile(
    samples: &dyn SeriesReader,
    frame: &Frame<'_>,
    step: Duration,
    name: &'static str,
    key: &str,
    query: String,
    unit: Unit,
) -> Tile {
    let empty = |note: String| Tile {
        name,
        figure: "–".into(),
        unit: String::new(),
        note,
        drawing: String::new(),
        query: query.clone(),
    };
    let points = match ask(samples, frame, step, &query).await {
        Ok(points) => points,
        Err(error) => return empty(error.to_string()),
    };
    // The figure is of now: an old one would read as the present.
    let fresh = |p: &&(Timestamp, f64)| frame.to.since(p.0) <= step.max(frame.interval) * 2;
    let now = points.last().filter(fresh).map(|p| p.1);
    if points.is_empty() {
        return empty("no data in this time".into());
    }
    let band = frame.baseline.and_then(|b| normal(b, key, &unit));
    let (figure, unit_text) = now.map_or(("–".into(), String::new()), |v| unit.split(v));
    let mut drawing = LineChart::new(title(name, &points, &unit, frame), unit, frame.from, frame.to, frame.zone);
    let label = name.split(' ').next().unwrap_or(name);
    drawing.lines.push(Line { name: label.into(), points: chart::decimate(&points, chart::POINTS_MAX) });
    drawing.step = step;
    drawing.marks = marks(frame);
    drawing.alerts = bars(frame);
    let note = band.as_ref().map_or(String::new(), |b| b.label.clone());
    drawing.baseline = band;
    Tile { name, figure, unit: unit_text, note, drawing: figure_html(&drawing), query }
}

/// A refused expression counts as an error to show: a role may be a typing mistake.
async fn ask(
    samples: &dyn SeriesReader,
    frame: &Frame<'_>,
    step: Duration,
    query: &str,
) -> Result<Vec<(Timestamp, f64)>, promql::QueryError> {
    let options = Options {
        samples_max: SAMPLES_MAX,
        timeout: QUERY_WITHIN,
        lookback: (frame.interval * 4).min(Duration::from_secs(300)),
        ..Options::default()
    };
    let expr = promql::parse(query)?;
    let series = promql::range(samples, &expr, frame.from, frame.to, step, &options).await?;
    let points = series.into_iter().next().map(|s| s.samples).unwrap_or_default();
    Ok(points.into_iter().filter(|p| p.v.is_finite()).map(|p| (p.t, p.v)).collect())
}

/// The chart's one message: where the figure stands against what it was.
fn title(name: &str, points: &[(Timestamp, f64)], unit: &Unit, frame: &Frame<'_>) -> String {
    let highest = points.iter().copied().reduce(|a, b| if b.1 > a.1 { b } else { a });
    let lowest = points.iter().copied().reduce(|a, b| if b.1 < a.1 { b } else { a });
    let (Some(high), Some(low), Some(last)) = (highest, lowest, points.last()) else { return name.into() };
    let at = chart::clock_label(high.0, frame.zone, frame.to.ms() - frame.from.ms());
    let text = |v: f64| unit.text(v);
    match text(high.1) {
        same if same == text(low.1) => format!("{name}: {same} all the time"),
        peak if peak == text(last.1) => format!("{name}: {peak} is the highest, the lowest was {}", text(low.1)),
        peak => format!("{name}: now {}, at most {peak} at {at}", text(last.1)),
    }
}

/// The middle nine tenths of the time before go-live.
fn normal(baseline: &Baseline, key: &str, unit: &Unit) -> Option<Band> {
    let series = baseline.series.iter().find(|s| s.name == key)?;
    let mut values: Vec<f64> = series.points.iter().map(|p| p.1).filter(|v| v.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let at = |q: f64| values.get(((values.len().saturating_sub(1)) as f64 * q).round() as usize).copied();
    let (low, high) = (at(0.05)?, at(0.95)?);
    let label = match (unit.text(low), unit.text(high)) {
        (low, high) if low == high => format!("normal {low}"),
        (low, high) => format!("normal {low} to {high}"),
    };
    Some(Band { low, high, label })
}

fn marks(frame: &Frame<'_>) -> Vec<Mark> {
    let mut marks: Vec<Mark> = Vec::new();
    if let Some(launch) = frame.launch
        && let Some(at) = launch.live_at
    {
        let version = launch.version.as_deref().map(|v| format!(" {v}")).unwrap_or_default();
        marks.push(Mark { at, label: format!("go-live{version}") });
    }
    for marker in frame.markers {
        if !marks.iter().any(|m| m.at == marker.at) {
            marks.push(Mark { at: marker.at, label: marker.kind.word().into() });
        }
    }
    marks.retain(|m| m.at >= frame.from && m.at <= frame.to);
    marks
}

/// From firing until anything else, per alert.
fn bars(frame: &Frame<'_>) -> Vec<Bar> {
    let mut open: BTreeMap<(&str, &str), &Transition> = BTreeMap::new();
    let mut bars = Vec::new();
    let bar = |since: &Transition, to: Timestamp| Bar {
        from: since.at.max(frame.from),
        to,
        name: since.labels.get("alertname").unwrap_or(&since.rule).to_string(),
        tone: match AlertSeverity::of(&since.labels) {
            AlertSeverity::Critical => Tone::Critical,
            AlertSeverity::Warning => Tone::Warning,
            AlertSeverity::Info => Tone::Info,
        },
    };
    for t in frame.transitions {
        let key = (t.rule.as_str(), t.fingerprint.as_str());
        if t.to == AlertState::Firing {
            open.entry(key).or_insert(t);
        } else if let Some(since) = open.remove(&key) {
            bars.push(bar(since, t.at));
        }
    }
    bars.extend(open.into_values().map(|since| bar(since, frame.to)));
    bars.retain(|b| b.to >= frame.from);
    bars.sort_by(|a, b| (a.from, &a.name).cmp(&(b.from, &b.name)));
    bars
}

/// A wide and a narrow drawing (the style sheet shows one), and the numbers as a table.
fn figure_html(drawing: &LineChart) -> String {
    let sized = |width, height, class| {
        chart::line(&drawing.sized(width, height)).replacen("<svg ", &format!("<svg class=\"{class}\" "), 1)
    };
    format!(
        "<figure class=\"hc-chart\"><figcaption>{}</figcaption>{}{}{}</figure>",
        chart::escape(&drawing.title),
        sized(HALF, 200, "wide"),
        sized(NARROW, 190, "narrow"),
        chart::table(drawing).html()
    )
}
