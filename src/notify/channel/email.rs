//! Channel `email`: being built.

use serde::{Deserialize, Serialize};

/// `[channel.NAME.via.email]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {}
