//! Gate `infrastructure.env_encrypted`: being built.

use serde::{Deserialize, Serialize};

/// `[gates.infrastructure.env_encrypted]`
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {}
