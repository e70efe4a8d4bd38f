//! Gate `release.endpoints`: being built.

use serde::{Deserialize, Serialize};

/// `[gates.release.endpoints]`
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {}
