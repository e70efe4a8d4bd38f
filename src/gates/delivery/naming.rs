//! Gate `delivery.naming`: being built.

use serde::{Deserialize, Serialize};

/// `[gates.delivery.naming]`
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {}
