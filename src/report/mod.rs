//! store → [`ReportModel`](model::ReportModel) → text: the go-live report and the postmortem draft.
//!
//! A pure function of (database, configuration, `as_of`, templates, program version): no now, no random number, no hash
//! order, so the same input gives the same bytes. Does not know `net`, sends nothing, writes nothing. In reading order:
//! `gather.rs` (what is read), `model.rs` (what the report says), one file per section, `render.rs` (templates).

mod alert_quality;
pub mod baseline;
mod charts;
mod compare;
mod deliver;
mod feedback;
mod frame;
mod gather;
mod happened;
mod hindsight;
mod incidents;
pub mod lint;
pub mod model;
mod postmortem;
mod quality;
pub mod render;
mod risks;
mod scorecard;
mod signals;
mod slo;
pub mod status;
mod verdict;

#[cfg(test)]
mod story;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::clock::Timestamp;
use crate::domain::launch::LaunchState;
use crate::domain::service::ServiceConfig;
use crate::store::{Store, StoreError};

pub use deliver::{NoticeContext, mail_html, mail_text, notices, stored};
pub use model::{ReportModel, Word};
pub use postmortem::Postmortem;
pub use signals::{Signal, bucket, rate_window, signals};

/// An objective over events, as `[slo.NAME]` gives it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Objective {
    pub name: String,
    /// Percent of good events: 99.9.
    pub objective: f64,
    /// Selector of a counter of bad events.
    pub bad: Option<String>,
    /// Selector of a counter of good events, instead of `bad`.
    pub good: Option<String>,
    /// Selector of a counter of all events.
    pub total: String,
    /// Over which the error budget is spent.
    pub period: Duration,
}

/// Everything but the database that the report depends on.
#[derive(Debug, Clone, Serialize)]
pub struct Inputs {
    /// The launch's id.
    pub launch: String,
    /// Data with an event time up to here is told.
    pub as_of: Timestamp,
    pub service_config: ServiceConfig,
    /// By name.
    pub slos: BTreeMap<String, Objective>,
    /// At which samples arrive; decides the finest buckets.
    pub interval: Duration,
    /// p95 objective, when the service has one.
    pub latency_objective: Option<Duration>,
    /// A person asked for a postmortem.
    pub postmortem_asked: bool,
    /// SHA-256 of the configuration in force.
    pub config_hash: String,
    /// Version of hypercare.
    pub version: String,
}

impl Inputs {
    /// Inputs without objectives, at the usual interval, of this program's version.
    pub fn new(launch: impl Into<String>, as_of: Timestamp, service_config: ServiceConfig) -> Inputs {
        Inputs {
            launch: launch.into(),
            as_of,
            service_config,
            slos: BTreeMap::new(),
            interval: Duration::from_secs(15),
            latency_objective: None,
            postmortem_asked: false,
            config_hash: String::new(),
            version: env!("CARGO_PKG_VERSION").into(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("launch {0} not found")]
    NoLaunch(String),
    #[error("launch {launch} has not gone live (it is {state}); there is nothing to report yet", state = .state.word())]
    NotLive { launch: String, state: LaunchState },
    #[error("{as_of} lies before go-live at {live_at}")]
    TooEarly { as_of: Timestamp, live_at: Timestamp },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("reading samples failed: {0}")]
    Samples(String),
    #[error("rendering {template} failed: {detail}")]
    Render { template: String, detail: String },
}

/// One document in all its formats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    pub html: String,
    pub md: String,
    pub json: String,
}

/// What the end of a window leaves behind.
#[derive(Debug, Clone)]
pub struct Documents {
    pub model: ReportModel,
    pub report: Rendered,
    /// When the verdict calls for one (or somebody asked).
    pub postmortem: Option<Rendered>,
    pub verdict: Word,
}

/// Reads the store once and renders everything. What `run`, `demo` and `report` call.
pub async fn documents(store: &Store, inputs: &Inputs) -> Result<Documents, ReportError> {
    let model = model::build(store, inputs).await?;
    let report = Rendered { html: render::html(&model)?, md: render::markdown(&model)?, json: render::json(&model)? };
    let postmortem = match &model.postmortem {
        Some(draft) => Some(Rendered {
            html: render::postmortem_html(draft)?,
            md: render::postmortem_markdown(draft)?,
            json: render::postmortem_json(draft)?,
        }),
        None => None,
    };
    Ok(Documents { verdict: model.verdict.word, report, postmortem, model })
}
