//! Gate `monitoring.metrics`: being built.

use serde::{Deserialize, Serialize};

/// `[gates.monitoring.metrics]`
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {}
