//! (rules, series, previous state, now) → transitions and messages. Pure but for `engine/`, which reads and writes the
//! store; `evaluate.rs` reads series through the trait given to it.
//!
//! In reading order: `rulefile.rs` and `pack/` (what is watched), `state.rs` (the life of an alert), `group.rs` with
//! `route.rs`, `inhibit.rs` and `silence.rs` (who hears of it and when), `message.rs` (what is said), `engine/mod.rs`
//! (one tick). Knows no channel: what is sent is a row in the outbox.

pub mod detect;
pub mod engine;
pub mod evaluate;
pub mod gotmpl;
pub mod group;
pub mod inhibit;
pub mod measure;
pub mod message;
pub mod pack;
pub mod route;
pub mod rulefile;
pub mod silence;
pub mod standing;
pub mod state;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::domain::problem::Problem;
use crate::domain::units::Span;

/// `[alerts]`: rules and timing.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Prometheus rule files, unchanged; globs relative to this file.
    #[schemars(extend("format" = "path"))]
    pub rule_files: Vec<String>,
    /// How often rules are evaluated while a launch is watched.
    pub interval: Span,
    /// The built-in pack: 5xx, CPU, memory, queue, target down, probe failing, certificate, dead-man switch.
    pub pack: bool,
    /// Built-in rules to leave out, by name.
    pub disable: Vec<String>,
    /// A URL pinged every minute while hypercare could page you: an outside dead-man switch.
    pub dead_mans_switch: Option<crate::domain::secret::Secret>,
    pub group_wait: Span,
    pub group_interval: Span,
    pub repeat_interval: Span,
    /// The same for groups with a critical alert.
    pub critical_group_wait: Span,
    pub critical_group_interval: Span,
    pub critical_repeat_interval: Span,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            rule_files: Vec::new(),
            interval: Span::secs(15),
            pack: true,
            disable: Vec::new(),
            dead_mans_switch: None,
            group_wait: Span::secs(30),
            group_interval: Span::secs(300),
            repeat_interval: Span::secs(4 * 3600),
            critical_group_wait: Span::secs(10),
            critical_group_interval: Span::secs(60),
            critical_repeat_interval: Span::secs(1800),
        }
    }
}

/// `[[route]]`: who hears what. The first route whose `match` fits wins unless it says `continue = true`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RouteConfig {
    /// Label matchers, comma-separated: `severity="critical",service=~"shop|pay"`. Empty matches all.
    #[serde(rename = "match")]
    pub matchers: String,
    pub channels: Vec<String>,
    /// Channel that also gets a critical message which the first has not accepted within two minutes.
    pub failover: Option<String>,
    /// Labels that make a group. Default: service, alertname.
    pub group_by: Option<Vec<String>>,
    pub group_wait: Option<Span>,
    pub group_interval: Option<Span>,
    pub repeat_interval: Option<Span>,
    #[serde(rename = "continue")]
    pub continue_: bool,
}

/// Everything wrong with `[alerts]` and the routes that needs no file and no network. Paths start at `alerts` and
/// `route`.
pub fn validate(config: &Config, routes: &[RouteConfig]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let spans = [
        ("interval", config.interval),
        ("group_interval", config.group_interval),
        ("repeat_interval", config.repeat_interval),
        ("critical_group_interval", config.critical_group_interval),
        ("critical_repeat_interval", config.critical_repeat_interval),
    ];
    for (key, span) in spans {
        if span.get().is_zero() {
            problems.push(Problem::at(["alerts", key], "must be longer than zero"));
        }
    }
    let known = pack::names();
    for (i, name) in config.disable.iter().enumerate().filter(|(_, n)| !known.contains(&n.as_str())) {
        let near = known.iter().min_by_key(|k| strsim::levenshtein(k, name)).copied().unwrap_or_default();
        let problem = Problem::at(["alerts", "disable", &i.to_string()], format!("there is no built-in rule `{name}`"));
        problems.push(problem.hint(format!("did you mean `{near}`? all: {}", known.join(", "))));
    }
    for (i, route) in routes.iter().enumerate() {
        if let Err(message) = route::matchers(&route.matchers) {
            problems.push(Problem::at(["route", &i.to_string(), "match"], message));
        }
    }
    problems
}

/// `[slo.NAME]`: an objective over events.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SloConfig {
    /// Default: the only service, or the service of the same name.
    #[serde(default)]
    pub service: Option<String>,
    /// Percent of good events: 99.9.
    pub objective: f64,
    /// Selector of a counter of bad events.
    #[serde(default)]
    pub bad: Option<String>,
    /// Selector of a counter of good events (instead of `bad`).
    #[serde(default)]
    pub good: Option<String>,
    /// Selector of a counter of all events.
    pub total: String,
    #[serde(default = "thirty_days")]
    pub period: Span,
}

fn thirty_days() -> Span {
    Span::secs(30 * 86_400)
}

/// Rule files resolved against the configuration's folder.
#[derive(Debug, Clone, Default)]
pub struct RuleFiles(pub Vec<PathBuf>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_of_rules_and_routes_come_all_at_once() {
        let config =
            Config { interval: Span::default(), disable: vec!["CpuHig".into(), "CpuHigh".into()], ..Config::default() };
        let routes = [RouteConfig { matchers: "severity==x".into(), ..RouteConfig::default() }, RouteConfig::default()];
        let found = validate(&config, &routes);
        let paths: Vec<String> = found.iter().map(|p| p.path.join(".")).collect();
        assert_eq!(paths, ["alerts.interval", "alerts.disable.0", "route.0.match"]);
        assert!(found[1].hint.as_deref().unwrap().starts_with("did you mean `CpuHigh`?"));
    }
}
