//! The launch room, `/status`, `/health`, `/ready`, `/metrics`, `/version`, and Prometheus' query API. Loopback only;
//! writes are refused.

pub mod prometheus_api;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// `[web]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Loopback only for now: a public address is refused.
    pub listen: SocketAddr,
    /// How people reach it, for links in messages. Default: `http://LISTEN`.
    pub external_url: Option<url::Url>,
}

impl Default for Config {
    fn default() -> Self {
        Config { listen: SocketAddr::from(([127, 0, 0, 1], 9095)), external_url: None }
    }
}
