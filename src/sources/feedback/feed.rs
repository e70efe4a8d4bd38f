//! Feedback source `feed`: being built.

use serde::{Deserialize, Serialize};

/// `[feedback.NAME.from.feed]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {}
