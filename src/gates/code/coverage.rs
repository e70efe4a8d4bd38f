//! Gate `code.coverage`: being built.

use serde::{Deserialize, Serialize};

/// `[gates.code.coverage]`
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {}
