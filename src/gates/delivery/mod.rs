//! Section `delivery`: one file per gate.

pub mod naming;
pub mod pipeline;

pub mod ci_commands;
pub mod ci_github;
pub mod ci_gitlab;
pub mod ci_model;
mod refs;

use serde::{Deserialize, Serialize};

/// One table per gate.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub naming: naming::Config,
    pub pipeline: pipeline::Config,
}
