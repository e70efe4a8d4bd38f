//! Section `code`: one file per gate.

pub mod coverage;
pub mod leftover_debug;

use serde::{Deserialize, Serialize};

/// One table per gate.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub coverage: coverage::Config,
    pub leftover_debug: leftover_debug::Config,
}
