//! Section `delivery`: one file per gate.

pub mod env_config;
pub mod naming;
pub mod pipeline;
pub mod rollback;
pub mod staging;

mod chain;
pub mod ci;
mod migrations;
pub mod packages;
mod refs;
pub mod run;

use serde::{Deserialize, Serialize};

/// One table per gate.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub env_config: env_config::Config,
    pub naming: naming::Config,
    pub pipeline: pipeline::Config,
    pub rollback: rollback::Config,
    pub staging: staging::Config,
}
