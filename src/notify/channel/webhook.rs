//! Channel `webhook`: Standard Webhooks 1.0.0, signed when a secret is given, or Alertmanager's version-4 payload.

use serde::{Deserialize, Serialize};
use url::Url;

use crate::domain::problem::Problem;
use crate::domain::secret::Secret;

/// `[channel.NAME.via.webhook]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to POST. Redirects are a failure, never followed.
    pub url: Url,
    /// Signing key, `whsec_` and base64 of 24 to 64 bytes, by reference. Default: none, and the receiver cannot tell
    /// who sent it.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// `standard` (Standard Webhooks 1.0.0) or `alertmanager` (its version-4 payload, for receivers that exist).
    #[serde(default)]
    pub mode: Mode,
    /// Private and loopback addresses may be reached. Default: false, so that a URL from elsewhere cannot make
    /// hypercare speak to the inside.
    #[serde(default)]
    pub allow_private: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    #[default]
    Standard,
    Alertmanager,
}

impl Config {
    pub fn problems(&self) -> Vec<Problem> {
        Vec::new()
    }
}
