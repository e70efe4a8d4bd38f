//! Metric source `http`: being built.

use serde::{Deserialize, Serialize};

/// `[metric.NAME.from.http]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {}
