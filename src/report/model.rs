//! What the report says: one model, from which HTML, Markdown, JSON and mail are printed. `hypercare.report/v1`.
//!
//! Every figure carries its number and its print form, every time its instant and its local clock, so that templates
//! format and never compute. Read `verdict.rs` for how the word is found.

use serde::Serialize;

use super::frame::{Figure, Frame, Moment};
use super::gather::{Gathered, gather, input_hash};
use super::postmortem::Postmortem;
use super::{
    Inputs, ReportError, alert_quality, charts, compare, feedback, happened, hindsight, incidents, postmortem, quality,
    risks, scorecard, slo, verdict,
};
use crate::chart::LineChart;
use crate::store::Store;

pub const SCHEMA: &str = "hypercare.report/v1";

/// The verdict's one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Word {
    /// Stable.
    Green,
    /// Stable with named concerns.
    Amber,
    /// Went wrong: a postmortem follows.
    Red,
    /// Not enough data.
    Unknown,
}

impl Word {
    pub fn title(self) -> &'static str {
        match self {
            Word::Green => "GREEN",
            Word::Amber => "AMBER",
            Word::Red => "RED",
            Word::Unknown => "UNKNOWN",
        }
    }
    /// The token of its colour.
    pub fn tone(self) -> &'static str {
        match self {
            Word::Green => "pass",
            Word::Amber => "warn",
            Word::Red => "fail",
            Word::Unknown => "error",
        }
    }
    pub fn mark(self) -> &'static str {
        match self {
            Word::Green => "✔",
            Word::Amber => "▲",
            Word::Red => "✘",
            Word::Unknown => "?",
        }
    }
}

/// One rule that spoke, with what was measured against what.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reason {
    pub rule: String,
    /// The word it calls for.
    pub word: Word,
    pub tone: &'static str,
    pub mark: &'static str,
    /// `Down for 6 min 30 s`.
    pub text: String,
    /// `6 min 30 s`.
    pub value: String,
    /// `≥ 5 min`.
    pub threshold: String,
    /// Anchor of the section that shows it.
    pub link: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct VerdictSection {
    pub word: Word,
    pub title: &'static str,
    pub tone: &'static str,
    pub mark: &'static str,
    /// One sentence why.
    pub sentence: String,
    /// The gravest first, at most five.
    pub reasons: Vec<Reason>,
    /// Reasons beyond the five.
    pub more: usize,
    /// What to do today.
    pub today: Vec<String>,
    /// The window is not over.
    pub so_far: bool,
}

#[derive(Debug, Clone, Serialize)]
pub struct Tile {
    pub id: String,
    pub title: String,
    pub now: Figure,
    pub before: Option<Figure>,
    pub objective: Option<String>,
    /// `pass`, `warn`, `fail`, `skip` (cannot be judged).
    pub tone: &'static str,
    pub mark: &'static str,
    /// `met`, `missed`, `worse than before`, `same as before`, `no data`.
    pub word: String,
    /// 0 to 1.
    pub coverage: Option<f64>,
    /// `coverage 84 %`, only below 90 %.
    pub coverage_note: Option<String>,
    #[serde(skip)]
    pub spark: Vec<f64>,
    pub spark_text: String,
}

/// A small fact of the scorecard: a name and a figure.
#[derive(Debug, Clone, Serialize)]
pub struct Small {
    pub title: String,
    pub text: String,
    pub note: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct Scorecard {
    pub tiles: Vec<Tile>,
    pub small: Vec<Small>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Happening {
    pub time: Moment,
    /// `pass`, `warn`, `fail`, `skip`.
    pub tone: &'static str,
    pub mark: &'static str,
    pub text: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct SloRow {
    pub name: String,
    /// `99.9 %`.
    pub objective: String,
    pub period: String,
    pub compliance: Figure,
    pub met: Option<bool>,
    pub tone: &'static str,
    pub mark: &'static str,
    pub word: String,
    pub bad: Figure,
    pub total: Figure,
    /// Share of the period's budget spent inside the window.
    pub spent: Figure,
    /// `in 12 d at this pace`, `not at this pace`.
    pub exhaustion: String,
    /// Coverage below 90 % puts an asterisk on every figure.
    pub asterisk: bool,
    pub error: Option<String>,
    #[serde(skip)]
    pub spent_ratio: Option<f64>,
}

/// One row of before and after.
#[derive(Debug, Clone, Serialize)]
pub struct CompareRow {
    pub name: String,
    pub title: String,
    pub before: Figure,
    pub after: Figure,
    /// `+3.2 ms`, with its 95 % interval.
    pub shift: String,
    pub interval: String,
    pub n: String,
    pub p: String,
    pub delta: String,
    pub rho: String,
    /// `better`, `same`, `worse`, `insufficient`; `changed` for metrics that are neither.
    pub verdict: String,
    pub tone: &'static str,
    pub mark: &'static str,
    /// Why it is insufficient.
    pub note: String,
    pub numbers: Option<CompareNumbers>,
    pub query: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct CompareNumbers {
    pub n_before: usize,
    pub n_after: usize,
    pub median_before: f64,
    pub median_after: f64,
    pub shift: f64,
    pub interval: (f64, f64),
    pub p: f64,
    pub delta: f64,
    pub rho: f64,
}

#[derive(Debug, Clone, Serialize)]
pub struct Compare {
    pub rows: Vec<CompareRow>,
    /// One sentence: what was compared with what, or why nothing was.
    pub sentence: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct ChartSection {
    /// Content id, stable: anchor and key.
    pub id: String,
    pub title: String,
    pub query: String,
    /// First, highest and last value of each line.
    pub notes: Vec<String>,
    #[serde(skip)]
    pub drawing: LineChart,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TimelineRow {
    pub time: Moment,
    /// `marker`, `alert`, `ack`, `delivery`, `feedback`, `launch`, `gap`.
    pub source: String,
    pub text: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct IncidentRow {
    pub number: i64,
    pub title: String,
    pub severity: String,
    pub tone: &'static str,
    pub from: Moment,
    pub to: Option<Moment>,
    pub duration: String,
    /// What users felt, in numbers; `None` could not be seen.
    pub failed_requests: Figure,
    pub down: String,
    pub degraded: String,
    pub budget: Figure,
    pub mttd: String,
    pub mtta: String,
    pub mttr: String,
    /// `alert Http5xxHigh`, `user`, `person`.
    pub detected_by: String,
    pub alerts: Vec<String>,
    /// `3 min after deploy 1.4.2`.
    pub nearest_change: Option<String>,
    pub timeline: Vec<TimelineRow>,
    #[serde(skip)]
    pub facts: incidents::Facts,
}

#[derive(Debug, Clone, Serialize)]
pub struct Incidents {
    pub rows: Vec<IncidentRow>,
    pub sentence: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct AlertRow {
    pub name: String,
    pub severity: String,
    pub fired: usize,
    pub actionable: usize,
    pub self_resolved: usize,
    pub longest: String,
    pub advice: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct AlertQuality {
    pub sentence: String,
    pub rows: Vec<AlertRow>,
    pub fired: usize,
    pub actionable: usize,
    /// Share of alerts that nobody needed, 0 to 1; `None` without alerts.
    pub noise: Option<f64>,
    pub undelivered: usize,
    pub slowest_delivery: Option<String>,
    pub unacked_critical: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Quote {
    pub text: String,
    pub source: String,
    pub time: Moment,
    pub rating: Option<u8>,
    pub cues: Vec<String>,
    pub url: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct CueRow {
    pub name: String,
    pub items: usize,
    pub people: usize,
    pub before_per_day: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct SourceRow {
    pub source: String,
    pub items: usize,
    pub heard: String,
    pub tone: &'static str,
    pub mark: &'static str,
}

#[derive(Debug, Clone, Serialize)]
pub struct Feedback {
    pub sentence: String,
    pub items: usize,
    pub per_hour: String,
    pub before_per_hour: String,
    pub stars: Option<String>,
    pub cues: Vec<CueRow>,
    pub quotes: Vec<Quote>,
    pub sources: Vec<SourceRow>,
    pub first_report: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct GateRow {
    pub id: String,
    pub line: String,
    pub verdict: String,
    pub tone: &'static str,
    pub mark: &'static str,
    pub summary: String,
    pub waiver: Option<String>,
    /// `came true: Http5xxHigh at 02:12`, `no sign`, `nothing watches this`.
    pub outcome: Option<String>,
    pub came_true: bool,
}

#[derive(Debug, Clone, Serialize)]
pub struct Hindsight {
    pub sentence: String,
    /// Waived, failed, unchecked and warned gates; the rest is counted.
    pub rows: Vec<GateRow>,
    pub counts: String,
    /// Alerts that fired although no gate looked there.
    pub unforeseen: Vec<String>,
    pub waivers_came_true: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Risk {
    pub text: String,
    /// `P1` to `P3`.
    pub priority: &'static str,
    pub tone: &'static str,
    pub owner: String,
    pub due: String,
    pub command: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct TargetRow {
    pub target: String,
    pub coverage: Figure,
    pub up: Figure,
    pub tone: &'static str,
    pub mark: &'static str,
}

#[derive(Debug, Clone, Serialize)]
pub struct GapRow {
    pub target: String,
    pub from: Moment,
    pub to: Moment,
    pub duration: String,
    pub reason: String,
    pub detail: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct Quality {
    pub sentence: String,
    pub targets: Vec<TargetRow>,
    pub gaps: Vec<GapRow>,
    pub more_gaps: usize,
    pub daemon_down: String,
    pub blind: Vec<String>,
    /// The lowest coverage of what the verdict rests on, 0 to 1.
    pub coverage: Option<f64>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Query {
    pub name: String,
    pub query: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct Appendix {
    pub queries: Vec<Query>,
    pub definitions: Vec<Small>,
    pub facts: Vec<Small>,
}

#[derive(Debug, Clone, Serialize)]
pub struct ReportModel {
    pub schema: &'static str,
    pub service: String,
    pub launch: String,
    pub version: Option<String>,
    pub commit: Option<String>,
    pub owner: Option<String>,
    pub state: String,
    pub timezone: String,
    pub live_at: Moment,
    pub as_of: Moment,
    pub until: Moment,
    pub window_end: Moment,
    /// `24 h`, `1 min of 24 h`.
    pub window: String,
    pub verdict: VerdictSection,
    pub scorecard: Scorecard,
    pub happened: Vec<Happening>,
    pub slo: Vec<SloRow>,
    pub compare: Compare,
    pub charts: Vec<ChartSection>,
    pub incidents: Incidents,
    pub alert_quality: AlertQuality,
    pub feedback: Feedback,
    pub hindsight: Hindsight,
    pub risks: Vec<Risk>,
    pub quality: Quality,
    pub appendix: Appendix,
    pub generator: String,
    pub input_hash: String,
    /// A postmortem goes with this report.
    pub has_postmortem: bool,
    #[serde(skip)]
    pub postmortem: Option<Postmortem>,
}

/// Reads the store and says what happened. Pure function of (database, inputs, templates, version).
pub async fn build(store: &Store, inputs: &Inputs) -> Result<ReportModel, ReportError> {
    let gathered = gather(store, inputs).await?;
    Ok(assemble(&gathered, inputs))
}

/// The same without I/O.
pub fn assemble(gathered: &Gathered, inputs: &Inputs) -> ReportModel {
    let frame = Frame::new(gathered, inputs);
    let minutes = incidents::minutes(&frame);
    let slo_rows = slo::rows(&frame);
    let compare = compare::section(&frame);
    let incident_rows = incidents::section(&frame, &minutes);
    let alert_quality = alert_quality::section(&frame);
    let quality = quality::section(&frame);
    let feedback = feedback::section(&frame);
    let hindsight = hindsight::section(&frame);
    let scorecard = scorecard::section(&frame, &slo_rows, &compare, &incident_rows, &feedback, &minutes);
    let risks = risks::list(&frame, &slo_rows, &alert_quality, &hindsight, &quality);
    let verdict = verdict::section(&verdict::Evidence {
        frame: &frame,
        minutes: &minutes,
        slo: &slo_rows,
        compare: &compare,
        incidents: &incident_rows,
        alerts: &alert_quality,
        hindsight: &hindsight,
        quality: &quality,
        risks: &risks,
    });
    let g = gathered;
    let mut model = ReportModel {
        schema: SCHEMA,
        service: g.launch.service.clone(),
        launch: g.launch.id.clone(),
        version: g.launch.version.clone(),
        commit: g.launch.commit.as_deref().map(|c| c.chars().take(7).collect()),
        owner: inputs.service_config.owner.clone(),
        state: g.launch.state.word().replace('_', " "),
        timezone: frame.zone.name().into(),
        live_at: frame.moment(g.live_at),
        as_of: frame.moment(inputs.as_of),
        until: frame.moment(g.end),
        window_end: frame.moment(g.window_end),
        window: frame.window_words(),
        happened: happened::lines(&frame, &incident_rows, &feedback),
        charts: charts::section(&frame, &slo_rows),
        appendix: quality::appendix(&frame),
        generator: format!("hypercare {}", inputs.version),
        input_hash: input_hash(gathered, inputs),
        verdict,
        scorecard,
        slo: slo_rows,
        compare,
        incidents: incident_rows,
        alert_quality,
        feedback,
        hindsight,
        risks,
        quality,
        has_postmortem: false,
        postmortem: None,
    };
    model.postmortem = postmortem::draft(&frame, &model);
    model.has_postmortem = model.postmortem.is_some();
    model
}
