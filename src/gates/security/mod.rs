//! Section `security`: one file per gate.

pub mod auth;
pub mod authz;
pub mod exposure;
pub mod headers;
pub mod injection;
pub mod rate_limit;

use serde::{Deserialize, Serialize};

/// One table per gate.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub auth: auth::Config,
    pub authz: authz::Config,
    pub exposure: exposure::Config,
    pub headers: headers::Config,
    pub injection: injection::Config,
    pub rate_limit: rate_limit::Config,
}
