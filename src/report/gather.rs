//! Everything the report reads, as plain data: the only file of this room that asks the store. What comes out depends
//! on events up to `as_of` alone, never on what the rows became later, so that a report can be made again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use super::signals::{self, Signal};
use super::{Inputs, Objective, ReportError};
use crate::domain::alert::{Ack, AlertSeverity, NotifyReason, Transition};
use crate::domain::clock::Timestamp;
use crate::domain::evidence::sha256_hex;
use crate::domain::feedback::{self, FeedbackItem};
use crate::domain::gap::Gap;
use crate::domain::incident::Incident;
use crate::domain::launch::{Launch, LaunchEvent, LaunchState};
use crate::domain::marker::Marker;
use crate::domain::metric::{Labels, Matcher, NAME, SeriesReader};
use crate::domain::notification::{MessageKind, OutboxState};
use crate::domain::roles::Roles;
use crate::domain::service::ServiceConfig;
use crate::domain::units::Span;
use crate::domain::verdict::GateRun;
use crate::promql::{self, Options, Value};
use crate::store::Store;
use crate::store::state::baseline::Baseline;

/// (instant, value), ascending; steps without data are absent.
pub type Points = Vec<(Timestamp, f64)>;

/// How far before go-live feedback is read, to know its usual volume.
pub const FEEDBACK_BEFORE: Duration = Duration::from_secs(7 * 86_400);
/// Steps of one query; more cannot be seen, and the engine refuses 11,000.
const STEPS_MAX: u32 = 2_000;
/// Polls of feedback sources read: a week of ten sources, each every minute.
const POLLS_MAX: usize = 100_000;
/// Audit rows looked through for the newest one at `as_of`.
const AUDIT_ROWS_MAX: u32 = 10_000;

/// One signal over time.
#[derive(Debug, Clone, Serialize)]
pub struct SignalData {
    #[serde(flatten)]
    pub signal: Signal,
    /// From `chart_from` to the end, every `chart_step`.
    pub chart: Points,
    /// From go-live to the end, in the baseline's buckets and with the baseline's query.
    pub judged: Points,
}

/// Counts of one objective.
#[derive(Debug, Clone, Serialize)]
pub struct SloData {
    #[serde(flatten)]
    pub objective: Objective,
    /// From go-live to the end; `None` without data.
    pub bad: Option<f64>,
    pub total: Option<f64>,
    /// Bad and all events per second, by slot.
    pub bad_rate: Points,
    pub total_rate: Points,
    /// The expression or the data was refused.
    pub error: Option<String>,
}

/// An outbox row as it stood at `as_of`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sent {
    pub id: String,
    pub channel: String,
    pub kind: MessageKind,
    pub reason: NotifyReason,
    pub severity: AlertSeverity,
    pub title: String,
    pub headline: String,
    pub enqueued_at: Timestamp,
    pub accepted_at: Option<Timestamp>,
    /// Given up, and the last error.
    pub dead: Option<String>,
    /// The group's episode.
    pub thread: Option<String>,
    /// Names and label sets of its alerts.
    pub alerts: Vec<(String, Labels)>,
}

/// How long a polled feedback source was heard.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SourceHeard {
    pub source: String,
    /// Last poll that was answered.
    pub heard_until: Option<Timestamp>,
}

/// All that was read.
#[derive(Debug, Clone, Serialize)]
pub struct Gathered {
    /// State as of `as_of`.
    pub launch: Launch,
    pub live_at: Timestamp,
    /// `as_of`, or the window's end when that came first.
    pub end: Timestamp,
    pub window_end: Timestamp,
    pub chart_from: Timestamp,
    pub chart_step: Duration,
    /// Length of the slots by which minutes are called down or degraded.
    pub slot: Duration,
    /// Range of rates.
    pub rate_window: Duration,
    pub events: Vec<LaunchEvent>,
    pub markers: Vec<Marker>,
    pub transitions: Vec<Transition>,
    pub incidents: Vec<Incident>,
    pub acks: Vec<Ack>,
    pub outbox: Vec<Sent>,
    pub feedback: Vec<FeedbackItem>,
    pub sources: Vec<SourceHeard>,
    pub gate_run: Option<GateRun>,
    pub baseline: Option<Baseline>,
    pub gaps: Vec<Gap>,
    /// `up` by target: label set, slots with a value, slots with value 1.
    pub targets: Vec<(Labels, u64, u64)>,
    pub signals: Vec<SignalData>,
    /// Failed and all requests per second, and share of probes that succeed, by slot.
    pub error_rate: Points,
    pub traffic: Points,
    pub probe: Points,
    /// Requests from go-live to the end: failed, all.
    pub requests: (Option<f64>, Option<f64>),
    pub slos: Vec<SloData>,
    /// Number and hash of the newest audit row.
    pub audit_head: Option<(i64, String)>,
}

/// How much of the time before go-live the charts show.
fn lead(duration: Duration) -> Duration {
    // As much of what came before as a twelfth of the window: enough to see the step, not so much that it shrinks.
    (duration / 12).clamp(Duration::from_secs(30), Duration::from_secs(2 * 3600))
}

/// `wished`, or whole seconds that keep a query over `duration` within [`STEPS_MAX`].
fn at_most_steps(duration: Duration, wished: Duration) -> Duration {
    wished.max(Duration::from_secs(duration.as_secs().div_ceil(u64::from(STEPS_MAX))))
}

/// Reads what the report needs.
pub async fn gather(store: &Store, inputs: &Inputs) -> Result<Gathered, ReportError> {
    let state = &store.state;
    let mut launch = state.launch(&inputs.launch).await?.ok_or_else(|| ReportError::NoLaunch(inputs.launch.clone()))?;
    let live_at = launch.live_at.ok_or(ReportError::NotLive { launch: launch.id.clone(), state: launch.state })?;
    if inputs.as_of < live_at {
        return Err(ReportError::TooEarly { as_of: inputs.as_of, live_at });
    }
    let window_end = launch.window_end.unwrap_or(live_at.plus(Duration::from_millis(launch.window_ms.max(0) as u64)));
    let end = inputs.as_of.min(window_end);
    let mut events = state.launch_events(&launch.id).await?;
    events.retain(|e| e.at <= inputs.as_of);
    state_as_of(&mut launch, &events);
    let service = launch.service.clone();

    let length = end.since(live_at).max(Duration::from_secs(1));
    let whole = window_end.since(live_at);
    let chart_from = live_at.minus(lead(whole));
    let chart_bucket = signals::bucket(whole.mul_f64(0.5), inputs.interval);
    let chart_step = at_most_steps(end.since(chart_from), chart_bucket);
    let slot = at_most_steps(
        length,
        (whole / 1440).clamp(Duration::from_secs(1), Duration::from_secs(60)).max(inputs.interval),
    );
    let rate_window = signals::rate_window(chart_step.max(slot), inputs.interval);

    let baseline = state.baseline(&launch.id).await?;
    let roles = roles(store, &service, &inputs.service_config, chart_from, end).await?;
    let reader = store.reader();
    let ask = Ask { reader: &*reader, options: options(rate_window) };
    let mut found = Vec::new();
    for signal in signals::signals(&service, &roles, rate_window) {
        let chart = ask.range(&signal.query, chart_from, end, chart_step).await?;
        let judged = match baseline.as_ref().and_then(|b| b.series.iter().find(|s| s.name == signal.name)) {
            // The frozen query: later edits to roles cannot change what is compared.
            Some(before) => {
                let step = spacing(&before.points).unwrap_or(chart_step);
                // Whole buckets only: the first one ends one step after go-live.
                ask.range(&before.query, live_at.plus(step), end, at_most_steps(length, step)).await?
            }
            None => Vec::new(),
        };
        found.push(SignalData { signal, chart, judged });
    }
    // The window of the slots' rates is as short as the interval allows: minutes are told apart by it.
    let window = Span(signals::rate_window(slot, inputs.interval)).to_string();
    let slots = |query: Option<String>| {
        let ask = &ask;
        async move {
            match query {
                Some(query) => ask.range(&query, live_at.plus(slot), end, slot).await,
                None => Ok(Vec::new()),
            }
        }
    };
    let error_rate = slots(roles.errors(&window)).await?;
    let traffic = slots(roles.traffic(&window)).await?;
    let probe = slots(Some(signals::probe_query(&service))).await?;
    let whole_window = Span(Duration::from_secs(length.as_secs().max(1))).to_string();
    let requests = (
        ask.over_window(roles.errors(&whole_window), end, length).await?,
        ask.over_window(roles.traffic(&whole_window), end, length).await?,
    );
    let mut slos = Vec::new();
    for objective in inputs.slos.values() {
        slos.push(slo(&ask, objective, live_at, end, slot, &window).await?);
    }
    let mut feedback = state.feedback(&service, live_at.minus(FEEDBACK_BEFORE), end).await?;
    feedback.sort_by(|a, b| (a.created_at, &a.source, &a.external_id).cmp(&(b.created_at, &b.source, &b.external_id)));
    let mut incidents = state.incidents(&service, live_at, end).await?;
    incidents.retain(|i| i.opened_at <= end);
    for incident in &mut incidents {
        incident.closed_at = incident.closed_at.filter(|t| *t <= end);
    }
    let gate_run = match &launch.gate_run {
        Some(run) => state.gate_run(run).await?,
        None => state.gate_run_before(&service, live_at).await?,
    };
    let mut gaps = store.samples.gaps(live_at, end).await?;
    gaps.retain(|g| g.from < end && g.to > live_at);
    for gap in &mut gaps {
        gap.from = gap.from.max(live_at);
        gap.to = gap.to.min(end);
    }
    gaps.sort_by(|a, b| (a.from, &a.target, a.reason).cmp(&(b.from, &b.target, b.reason)));
    let targets = targets(&ask, &service, live_at, end, slot).await?;
    let sources = sources(&*reader, &service, chart_from, end).await?;
    // Strictly before: storing this very report is audited at `as_of` or later, and must not change it.
    let audit_head =
        state.audit_log(AUDIT_ROWS_MAX).await?.into_iter().find(|e| e.at < inputs.as_of).map(|e| (e.seq, e.hash));
    Ok(Gathered {
        markers: state.markers(&service, chart_from, end).await?,
        transitions: state.transitions(Some(&service), live_at, end).await?,
        acks: state.acks(live_at, end).await?,
        outbox: outbox(store, &service, live_at, end).await?,
        launch,
        live_at,
        end,
        window_end,
        chart_from,
        chart_step,
        slot,
        rate_window,
        events,
        incidents,
        feedback,
        sources,
        gate_run,
        baseline,
        gaps,
        targets,
        signals: found,
        error_rate,
        traffic,
        probe,
        requests,
        slos,
        audit_head,
    })
}

/// SHA-256 over all that was read, the inputs, the templates and the version: equal hashes, equal bytes.
pub fn input_hash(gathered: &Gathered, inputs: &Inputs) -> String {
    let parts = (gathered, inputs, super::render::templates_hash());
    sha256_hex(&serde_json::to_vec(&parts).unwrap_or_default())
}

fn state_as_of(launch: &mut Launch, events: &[LaunchEvent]) {
    if let Some((at, state)) = events.iter().rev().find_map(|e| e.to.map(|to| (e.at, to))) {
        launch.state = state;
        launch.state_since = at;
    }
    // `rev` counts later moves too, and closing is not part of what happened up to here.
    launch.rev = 0;
    if matches!(launch.state, LaunchState::Closing | LaunchState::Closed) {
        let back =
            events.iter().rev().find_map(|e| e.to.filter(|s| !matches!(s, LaunchState::Closing | LaunchState::Closed)));
        launch.state = back.unwrap_or(launch.state);
    }
}

/// The roles of a service by the series that had samples in `[from, to]`: those that carry its `service` label, else
/// those that carry none. Bounded in time, so that a series which appears later changes no report made again.
pub async fn roles(
    store: &Store,
    service: &str,
    config: &ServiceConfig,
    from: Timestamp,
    to: Timestamp,
) -> Result<Roles, ReportError> {
    let mut found: Option<Roles> = None;
    for value in [service, ""] {
        let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for labels in store.label_sets(&[Matcher::equal("service", value)], from, to).await? {
            let known = names.entry(labels.name().to_string()).or_default();
            for (name, _) in labels.iter() {
                if !known.contains(name) {
                    known.insert(name.to_string());
                }
            }
        }
        let narrowed = format!("service={}", signals::quoted(value));
        let matcher = (!value.is_empty()).then_some(narrowed.as_str());
        let among = Roles::resolve_among(&config.roles, matcher, &|name| names.contains_key(name), &|name| {
            names.get(name).map(|l| l.iter().cloned().collect()).unwrap_or_default()
        });
        found = Some(match found {
            Some(first) => first.or(among),
            None => among,
        });
    }
    Ok(found.unwrap_or_else(|| Roles::resolve(&config.roles, &|_| false, &|_| Vec::new())))
}

/// Distance of neighbouring points: the bucket they were made with.
pub fn spacing(points: &[(Timestamp, f64)]) -> Option<Duration> {
    points.windows(2).map(|w| w[1].0.since(w[0].0)).filter(|d| !d.is_zero()).min()
}

fn options(rate_window: Duration) -> Options {
    // A gauge stands for as long as a rate does; five minutes would paint over the gaps of a short window.
    Options { lookback: rate_window.min(Duration::from_secs(300)), ..Options::default() }
}

/// Queries that yield one number per instant. A refused expression or data that do not fit count as no data (a role
/// may be a typing error, and the rest of the report must still be told); a store that cannot be read is an error.
pub struct Ask<'a> {
    pub reader: &'a dyn SeriesReader,
    pub options: Options,
}

impl<'a> Ask<'a> {
    pub fn new(reader: &'a dyn SeriesReader, rate_window: Duration) -> Ask<'a> {
        Ask { reader, options: options(rate_window) }
    }

    pub async fn range(
        &self,
        query: &str,
        from: Timestamp,
        to: Timestamp,
        step: Duration,
    ) -> Result<Points, ReportError> {
        if to < from {
            return Ok(Vec::new());
        }
        let Ok(expr) = promql::parse(query) else { return Ok(Vec::new()) };
        match promql::range(self.reader, &expr, from, to, step, &self.options).await {
            Ok(series) => Ok(series
                .into_iter()
                .next()
                .map(|s| s.samples.into_iter().filter(|p| p.v.is_finite()).map(|p| (p.t, p.v)).collect())
                .unwrap_or_default()),
            Err(promql::QueryError::Read(detail) | promql::QueryError::Elsewhere(detail)) => {
                Err(ReportError::Samples(detail))
            }
            Err(_) => Ok(Vec::new()),
        }
    }

    pub async fn instant(&self, query: &str, at: Timestamp) -> Result<Option<f64>, ReportError> {
        let Ok(expr) = promql::parse(query) else { return Ok(None) };
        match promql::instant(self.reader, &expr, at, &self.options).await {
            Ok(Value::Vector(rows)) => Ok(rows.first().map(|r| r.1).filter(|v| v.is_finite())),
            Ok(Value::Scalar(v)) => Ok(Some(v).filter(|v| v.is_finite())),
            Ok(_) => Ok(None),
            Err(promql::QueryError::Read(detail) | promql::QueryError::Elsewhere(detail)) => {
                Err(ReportError::Samples(detail))
            }
            Err(_) => Ok(None),
        }
    }

    /// Events from a rate over the whole window.
    async fn over_window(
        &self,
        rate: Option<String>,
        end: Timestamp,
        length: Duration,
    ) -> Result<Option<f64>, ReportError> {
        match rate {
            Some(query) => Ok(self.instant(&query, end).await?.map(|r| r * length.as_secs_f64())),
            None => Ok(None),
        }
    }
}

async fn slo(
    ask: &Ask<'_>,
    objective: &Objective,
    live_at: Timestamp,
    end: Timestamp,
    slot: Duration,
    window: &str,
) -> Result<SloData, ReportError> {
    let length = Span(Duration::from_secs(end.since(live_at).as_secs().max(1))).to_string();
    let total = objective.total.trim();
    // Absent bad events are none as long as there are events at all.
    let bad = |f: &str, w: &str| match (&objective.bad, &objective.good) {
        (Some(bad), _) => format!("(sum({f}({}[{w}])) or 0 * sum({f}({total}[{w}])))", bad.trim()),
        (None, Some(good)) => {
            let all = format!("sum({f}({total}[{w}]))");
            format!("clamp_min({all} - (sum({f}({}[{w}])) or 0 * {all}), 0)", good.trim())
        }
        (None, None) => String::new(),
    };
    let all = |f: &str, w: &str| format!("sum({f}({total}[{w}]))");
    let error =
        [bad("rate", window), all("rate", window)].iter().find_map(|q| promql::parse(q).err()).map(|e| e.to_string());
    Ok(SloData {
        objective: objective.clone(),
        bad: ask.instant(&bad("increase", &length), end).await?,
        total: ask.instant(&all("increase", &length), end).await?,
        bad_rate: ask.range(&bad("rate", window), live_at.plus(slot), end, slot).await?,
        total_rate: ask.range(&all("rate", window), live_at.plus(slot), end, slot).await?,
        error,
    })
}

/// `up` of each target of the service: how many slots it answered.
async fn targets(
    ask: &Ask<'_>,
    service: &str,
    live_at: Timestamp,
    end: Timestamp,
    slot: Duration,
) -> Result<Vec<(Labels, u64, u64)>, ReportError> {
    let query = format!("up{{service={}}}", signals::quoted(service));
    let Ok(expr) = promql::parse(&query) else { return Ok(Vec::new()) };
    if end < live_at.plus(slot) {
        return Ok(Vec::new());
    }
    match promql::range(ask.reader, &expr, live_at.plus(slot), end, slot, &ask.options).await {
        Ok(series) => Ok(series
            .into_iter()
            .map(|s| {
                let up = s.samples.iter().filter(|p| p.v == 1.0).count() as u64;
                (s.labels, s.samples.len() as u64, up)
            })
            .collect()),
        Err(promql::QueryError::Read(detail) | promql::QueryError::Elsewhere(detail)) => {
            Err(ReportError::Samples(detail))
        }
        Err(_) => Ok(Vec::new()),
    }
}

/// Sources that were polled, by the series each poll leaves: unlike the source's own row, it can be read as of any time.
async fn sources(
    samples: &dyn SeriesReader,
    service: &str,
    from: Timestamp,
    end: Timestamp,
) -> Result<Vec<SourceHeard>, ReportError> {
    let wanted = [Matcher::equal(NAME, feedback::UP), Matcher::equal("service", service)];
    let polls = samples.select(&wanted, from, end, POLLS_MAX).await.map_err(|e| ReportError::Samples(e.to_string()))?;
    Ok(polls
        .into_iter()
        .map(|s| SourceHeard {
            source: s.labels.get("source").unwrap_or_default().into(),
            heard_until: s.samples.iter().rev().find(|p| p.v == 1.0).map(|p| p.t),
        })
        .collect())
}

async fn outbox(store: &Store, service: &str, live_at: Timestamp, end: Timestamp) -> Result<Vec<Sent>, ReportError> {
    let mut sent = Vec::new();
    for row in store.state.outbox_between(Some(service), live_at, end).await? {
        let dead = match row.state {
            OutboxState::Dead => {
                let attempts = store.state.delivery_attempts(&row.new.id).await?;
                let settled = attempts.iter().map(|a| a.at).max().unwrap_or(row.new.enqueued_at);
                (settled <= end).then(|| row.last_error.clone().unwrap_or_default())
            }
            _ => None,
        };
        let message = row.new.message;
        if message.kind == MessageKind::ReportReady && row.new.enqueued_at >= end {
            // The announcement of this very report.
            continue;
        }
        sent.push(Sent {
            id: row.new.id,
            channel: row.new.channel,
            kind: message.kind,
            reason: row.new.reason,
            severity: row.new.priority,
            title: message.title,
            headline: message.headline,
            enqueued_at: row.new.enqueued_at,
            accepted_at: row.accepted_at.filter(|t| *t <= end),
            dead,
            thread: message.thread.map(|t| t.key),
            alerts: message.alerts.into_iter().map(|a| (a.name, a.labels)).collect(),
        });
    }
    sent.sort_by(|a, b| (a.enqueued_at, &a.id).cmp(&(b.enqueued_at, &b.id)));
    Ok(sent)
}
