//! Section `infrastructure`: one file per gate.

pub mod allowed;
pub mod autoscaling;
pub mod backup_restore;
pub mod env_encrypted;
pub mod restart_health;

pub mod secret_files;
pub mod secret_values;

use serde::{Deserialize, Serialize};

/// One table per gate.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub autoscaling: autoscaling::Config,
    pub backup_restore: backup_restore::Config,
    pub env_encrypted: env_encrypted::Config,
    pub restart_health: restart_health::Config,
}
