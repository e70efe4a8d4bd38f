//! Section `release`: one file per gate.

pub mod announcement;
pub mod changelog;
pub mod endpoints;
pub mod fallback_ui;
pub mod post_deploy;
pub mod qa;

pub mod endpoint_answers;
pub mod shown;
pub mod smoke;

use serde::{Deserialize, Serialize};

/// One table per gate.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub announcement: announcement::Config,
    pub changelog: changelog::Config,
    pub endpoints: endpoints::Config,
    pub fallback_ui: fallback_ui::Config,
    pub post_deploy: post_deploy::Config,
    pub qa: qa::Config,
}
