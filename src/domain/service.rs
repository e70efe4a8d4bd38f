//! A service: the thing that goes live.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What kind of thing it is; decides which gates apply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Decide from the repository.
    #[default]
    Auto,
    WebApp,
    WebApi,
    Worker,
    StaticSite,
}

impl Profile {
    pub fn word(self) -> &'static str {
        match self {
            Profile::Auto => "auto",
            Profile::WebApp => "web-app",
            Profile::WebApi => "web-api",
            Profile::Worker => "worker",
            Profile::StaticSite => "static-site",
        }
    }
}

/// `[service.NAME]`: a thing that goes live.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceConfig {
    /// What the gates probe: the staging URL. Default: none, and gates that need it say so.
    pub url: Option<url::Url>,
    /// What is watched after go-live. Default: `url`.
    pub live_url: Option<url::Url>,
    /// The repository folder that the static gates read, relative to this file.
    #[schemars(extend("format" = "path"))]
    pub repo: Option<std::path::PathBuf>,
    /// web-app | web-api | worker | static-site; auto looks at the repository.
    pub profile: Profile,
    /// IANA zone in which people read times. Default: UTC.
    pub timezone: Option<String>,
    /// Who owns it, shown in alerts and reports.
    pub owner: Option<String>,
    /// Runbook shown in every alert that brings none of its own.
    pub runbook: Option<url::Url>,
    /// The command that rolls this service back, shown in alerts (never run by hypercare).
    pub rollback: Option<String>,
    /// Which series play which part: `http_requests`, `status_label`, `latency`, `queue_depth`, `cpu`, `memory`.
    /// Values are series selectors (or a label's name for `status_label`); what is not given is guessed from what the
    /// service exports.
    pub roles: BTreeMap<String, String>,
}
