//! Gate `security.exposure`: being built.

use serde::{Deserialize, Serialize};

/// `[gates.security.exposure]`
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {}
