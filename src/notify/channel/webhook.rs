//! Channel `webhook`: being built.

use serde::{Deserialize, Serialize};

/// `[channel.NAME.via.webhook]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {}
