//! Section `performance`: one file per gate.

pub mod caching;
pub mod db_index;
pub mod load;
pub mod media_offload;
pub mod payload;

use serde::{Deserialize, Serialize};

/// One table per gate.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub db_index: db_index::Config,
    pub caching: caching::Config,
    pub load: load::Config,
    pub media_offload: media_offload::Config,
    pub payload: payload::Config,
}
