//! Lifecycle only: the tasks that poll, evaluate, dispatch, tick, report and stay alive. `tasks.rs` is the full list;
//! `launches.rs` holds the moves that people ask for and `lifecycle.rs` those that time brings.
//!
//! Nothing here measures, decides a verdict or formats: it calls the rooms that do.

pub mod feedback;
pub mod gating;
pub mod launches;
pub mod lifecycle;
pub mod liveness;
pub mod poll;
pub mod tasks;
pub mod tell;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::domain::service::ServiceConfig;
use crate::domain::units::Span;
use crate::store::Remote;
use crate::{alerts, gates, notify, report, sources};

/// `[launch.SERVICE]`: how a service's launch is watched and told.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LaunchConfig {
    /// Length of the hypercare window after go-live.
    pub window: Span,
    /// After go-live: alerts work, the comparison with the baseline is silent.
    pub settle: Span,
    /// After a rollback the recovery is watched this long.
    pub recovery_watch: Span,
    /// How much before go-live counts as normal.
    pub baseline: Span,
    /// Channels that hear of every state change.
    pub notify: Vec<String>,
    pub report: ReportConfig,
    /// Clear the launch by itself when every required gate passes.
    pub auto_go: bool,
}

impl Default for LaunchConfig {
    fn default() -> Self {
        LaunchConfig {
            window: Span::secs(86_400),
            settle: Span::secs(600),
            recovery_watch: Span::secs(7200),
            baseline: Span::secs(86_400),
            notify: Vec::new(),
            report: ReportConfig::default(),
            auto_go: false,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReportConfig {
    /// Channels that get the report at the end of the window.
    pub to: Vec<String>,
    /// html, md, json. (pdf is not built yet.)
    pub formats: Vec<ReportFormat>,
    /// How long after the window's end late samples are waited for.
    pub delay: Span,
}

impl Default for ReportConfig {
    fn default() -> Self {
        ReportConfig {
            to: Vec::new(),
            formats: vec![ReportFormat::Html, ReportFormat::Md, ReportFormat::Json],
            delay: Span::secs(300),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReportFormat {
    Html,
    Md,
    Json,
    Pdf,
}

/// An objective and whose it is; of every service when it names none.
#[derive(Debug, Clone)]
pub struct ServiceObjective {
    pub service: Option<String>,
    pub objective: report::Objective,
}

/// Everything the daemon was configured with: each room's own slice, validated, references to files made absolute.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    pub services: BTreeMap<String, ServiceConfig>,
    pub launches: BTreeMap<String, LaunchConfig>,
    pub gates: gates::Config,
    pub metrics: BTreeMap<String, sources::metric::Config>,
    pub feedback: BTreeMap<String, sources::feedback::Config>,
    pub objectives: Vec<ServiceObjective>,
    pub alerts: alerts::Config,
    pub rule_files: Vec<PathBuf>,
    pub routes: Vec<alerts::RouteConfig>,
    pub channels: BTreeMap<String, notify::channel::Config>,
    pub retention: Span,
    /// Of rollups; zero: none are made.
    pub rollup_retention: Span,
    /// Where samples are sent to, and queries answered, when it is not here.
    pub remote: Option<Remote>,
    /// Hard cap of `samples.db`.
    pub samples_bytes_max: u64,
    /// How people reach the launch room, for links in messages.
    pub external_url: String,
    pub config_hash: String,
    /// Each gate run keeps its request ledger in a folder here.
    pub run_dir: PathBuf,
    /// The command that runs code named in the repository was given `--allow-exec`.
    pub allow_exec: bool,
}

impl Setup {
    /// The launch settings of a service; defaults when the configuration has none.
    pub fn launch_config(&self, service: &str) -> LaunchConfig {
        self.launches.get(service).cloned().unwrap_or_default()
    }

    /// The service that a source belongs to when it names none: the only one there is.
    pub fn only_service(&self) -> Option<String> {
        let mut names = self.services.keys();
        let first = names.next()?;
        names.next().is_none().then(|| first.clone())
    }
}
