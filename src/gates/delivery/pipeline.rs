//! Gate `delivery.pipeline`: being built.

use serde::{Deserialize, Serialize};

/// `[gates.delivery.pipeline]`
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {}
