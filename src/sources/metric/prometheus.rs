//! Metric source `prometheus`: being built.

use serde::{Deserialize, Serialize};

/// `[metric.NAME.from.prometheus]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {}
