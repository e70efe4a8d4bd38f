//! Gate `release.announcement`: being built.

use serde::{Deserialize, Serialize};

/// `[gates.release.announcement]`
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {}
