//! Gate `code.leftover_debug`: being built.

use serde::{Deserialize, Serialize};

/// `[gates.code.leftover_debug]`
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {}
