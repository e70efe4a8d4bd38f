//! Gate `release.changelog`: being built.

use serde::{Deserialize, Serialize};

/// `[gates.release.changelog]`
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {}
