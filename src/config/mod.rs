//! The configuration: reads, expands, parses, validates and merges; composes every room's own `Config`. Only `cli` and
//! `demo` import it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::service::ServiceConfig;
use crate::{alerts, daemon, gates, notify, sources, store, web};

/// `hypercare.toml`, whole.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The things that go live.
    pub service: BTreeMap<String, ServiceConfig>,
    pub gates: gates::Config,
    /// Where series come from.
    pub metric: BTreeMap<String, sources::metric::Config>,
    /// Where users speak.
    pub feedback: BTreeMap<String, sources::feedback::Config>,
    pub slo: BTreeMap<String, alerts::SloConfig>,
    pub alerts: alerts::Config,
    /// Ways to reach people.
    pub channel: BTreeMap<String, notify::channel::Config>,
    /// Who hears what.
    pub route: Vec<alerts::RouteConfig>,
    pub launch: BTreeMap<String, daemon::LaunchConfig>,
    pub web: web::Config,
    pub store: store::Config,
}
