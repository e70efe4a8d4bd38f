//! Gate `security.headers`: being built.

use serde::{Deserialize, Serialize};

/// `[gates.security.headers]`
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {}
