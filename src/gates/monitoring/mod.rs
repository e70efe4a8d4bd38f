//! Section `monitoring`: one file per gate.

pub mod metrics;

pub mod prometheus_api;
pub mod red;

use serde::{Deserialize, Serialize};

/// One table per gate.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub metrics: metrics::Config,
}
