//! Gate `performance.load`: being built.

use serde::{Deserialize, Serialize};

/// `[gates.performance.load]`
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {}
