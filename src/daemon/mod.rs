//! Lifecycle only: the tasks that poll, evaluate, dispatch, tick, report and stay alive.

use serde::{Deserialize, Serialize};

use crate::domain::units::Span;

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
