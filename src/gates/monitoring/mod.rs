//! Section `monitoring`: one file per gate.

pub mod alert_backlog;
pub mod alert_cpu;
pub mod alert_delivery;
pub mod alert_errors;
pub mod alert_memory;
pub mod log_context;
pub mod logging;
pub mod metrics;

pub mod alerts;
pub mod logs;
pub mod prometheus_api;
pub mod red;

use serde::{Deserialize, Serialize};

/// One table per gate.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub metrics: metrics::Config,
    /// For the gates on logging.
    pub logs: logs::source::Config,
    /// For the four gates on alerts.
    pub alerts: alerts::Config,
    pub alert_delivery: alert_delivery::Config,
}
