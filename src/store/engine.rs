//! `[store] engine`: where series are kept. Embedded, or at a Prometheus-compatible store that already is there, for whoever
//! has outgrown one machine: samples leave by remote write, rules and reports read by PromQL. `remote` speaks to it.

use serde::{Deserialize, Serialize};
use url::Url;

use crate::domain::problem::Problem;
use crate::domain::secret::{BasicAuth, Secret};
use crate::domain::units::Span;

#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
pub enum Engine {
    Embedded(Embedded),
    Remote(Box<Remote>),
}

/// Series live in `samples.db`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Embedded {
    Embedded,
}

/// An existing Prometheus, Mimir, Thanos or VictoriaMetrics. What is collected here also stays in `samples.db` for
/// `retention`, so that nothing is lost while the other side is away.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Remote {
    /// Where it answers PromQL: the URL before `/api/v1/query`.
    pub prometheus: Url,
    /// Where it takes remote write 1.0, whole: `…/api/v1/write` or Mimir's `…/api/v1/push`.
    pub write: Url,
    /// Sent as `X-Scope-OrgID`: the tenant of Mimir, Thanos or Loki-like stores.
    #[serde(default)]
    pub tenant: Option<String>,
    /// Sent as `Authorization: Bearer …`.
    #[serde(default)]
    pub bearer_token: Option<Secret>,
    /// Sent as `Authorization: Basic …`.
    #[serde(default)]
    pub basic_auth: Option<BasicAuth>,
    /// From connect to last byte of one request. Default 30 s, Prometheus' own for remote write.
    #[serde(default = "timeout_default")]
    pub timeout: Span,
}

fn timeout_default() -> Span {
    Span::secs(30)
}

impl Default for Engine {
    fn default() -> Engine {
        Engine::Embedded(Embedded::Embedded)
    }
}

impl Engine {
    pub fn remote(&self) -> Option<&Remote> {
        match self {
            Engine::Embedded(_) => None,
            Engine::Remote(remote) => Some(remote),
        }
    }
}

impl Remote {
    /// Finds every problem. Pure.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (key, url) in [("prometheus", &self.prometheus), ("write", &self.write)] {
            if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
                problems.push(Problem::at([key], format!("`{key}` must be an http or https URL with a host")));
            }
        }
        if self.prometheus.path().trim_end_matches('/').ends_with("/api/v1/query") {
            let hint = "leave out /api/v1/query; it is added to each request";
            problems.push(Problem::at(["prometheus"], "`prometheus` is the URL before /api/v1").hint(hint));
        }
        if self.write.path().trim_end_matches('/').is_empty() {
            let hint = "Prometheus and VictoriaMetrics: /api/v1/write, Mimir: /api/v1/push, Thanos: /api/v1/receive";
            problems.push(Problem::at(["write"], "`write` needs its whole path").hint(hint));
        }
        if self.bearer_token.is_some() && self.basic_auth.is_some() {
            problems.push(Problem::at(["basic_auth"], "and bearer_token cannot both be given"));
        }
        if self.timeout.get().is_zero() {
            problems.push(Problem::at(["timeout"], "must be longer than nothing").hint("timeout = \"30s\""));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_found_at_once() {
        let text = "prometheus = \"http://mimir/prometheus/api/v1/query\"\nwrite = \"ftp://mimir\"\ntimeout = \"0s\"\n\
            bearer_token = \"${env:T}\"\nbasic_auth = { username = \"u\", password = \"${env:P}\" }";
        let remote: Remote = toml::from_str(text).unwrap();
        let problems: Vec<String> = remote.problems().iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 5, "{problems:#?}");
        let good = "prometheus = \"http://mimir/prometheus\"\nwrite = \"http://mimir/api/v1/push\"";
        assert!(toml::from_str::<Remote>(good).unwrap().problems().is_empty());
    }
}
