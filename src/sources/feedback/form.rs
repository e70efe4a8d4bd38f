//! Feedback source `form`: being built.

use serde::{Deserialize, Serialize};

/// `[feedback.NAME.from.form]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {}
