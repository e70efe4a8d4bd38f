//! The built-in rules: what every launch should be watched for, written against roles. One file each; a rule is data
//! (name, what it measures, for, severity, words) and a function from the service's roles to PromQL.
//!
//! A role nobody plays makes its rules blind: they are left out, and [`blind`] names them. To add a rule, copy
//! `http_5xx_high.rs` and add it to [`all`].

mod cert_expiring;
mod cpu_high;
mod dead_mans_switch;
mod http_5xx_elevated;
mod http_5xx_high;
mod http_5xx_outage;
mod latency_p95_high;
mod memory_high;
mod probe_failing;
mod queue_backlog_growing;
mod target_down;

pub mod feedback;

use std::collections::BTreeMap;
use std::time::Duration;

use super::gotmpl::Template;
use super::measure::{Measure, Unit};
use super::rulefile::{AlertRule, Kind, Rule, RuleGroup};
use super::state::OnMissing;
use crate::domain::roles::Roles;
use crate::promql;

/// What a rule is built for.
pub struct Subject<'a> {
    pub service: &'a str,
    pub roles: &'a Roles,
    /// Does a metric of this name have series?
    pub exists: &'a dyn Fn(&str) -> bool,
    /// `service="shop"`, or empty when there is only one service: the matcher for series hypercare collects itself.
    pub own: String,
}

/// One severity of a rule.
pub struct Variant {
    pub expr: String,
    pub severity: &'static str,
    pub wait: Duration,
    pub limit: f64,
}

/// A built-in rule.
pub struct BuiltIn {
    pub name: &'static str,
    /// `5xx ratio`, and how its number reads.
    pub what: &'static str,
    pub unit: Unit,
    pub below: bool,
    pub window: Option<Duration>,
    pub on_missing: OnMissing,
    /// Go template.
    pub summary: &'static str,
    pub description: &'static str,
    /// Fires inside only.
    pub quiet: bool,
    /// Empty: blind for this service.
    pub build: fn(&Subject<'_>) -> Vec<Variant>,
}

/// The registry.
pub fn all() -> [&'static BuiltIn; 11] {
    [
        &http_5xx_outage::RULE,
        &http_5xx_high::RULE,
        &http_5xx_elevated::RULE,
        &latency_p95_high::RULE,
        &cpu_high::RULE,
        &memory_high::RULE,
        &queue_backlog_growing::RULE,
        &target_down::RULE,
        &probe_failing::RULE,
        &cert_expiring::RULE,
        &dead_mans_switch::RULE,
    ]
}

/// Every name that `disable` may hold.
pub fn names() -> Vec<&'static str> {
    all().iter().map(|r| r.name).chain(feedback::NAMES).collect()
}

/// Names of rules that cannot see anything of this service.
pub fn blind(subject: &Subject<'_>) -> Vec<&'static str> {
    all().iter().filter(|r| (r.build)(subject).is_empty()).map(|r| r.name).collect()
}

/// As in Prometheus, templates see the labels of the series and not the rule's own; the service is one of those.
fn named(text: &str, service: &str) -> String {
    text.replace("{{ $labels.service }}", service)
}

/// The name of a service's group; rule ids begin with it.
pub fn group_name(service: &str) -> String {
    format!("hypercare:{service}")
}

/// The pack of one service, without the disabled rules. Expressions are ours, but roles are the user's text: one that
/// does not parse is returned as a problem and left out.
pub fn group(subject: &Subject<'_>, disable: &[String]) -> (RuleGroup, Vec<String>) {
    let name = group_name(subject.service);
    let (mut rules, mut problems) = (Vec::new(), Vec::new());
    for built_in in all().iter().filter(|r| !disable.iter().any(|d| d == r.name)) {
        for (nth, variant) in (built_in.build)(subject).into_iter().enumerate() {
            let expr = match promql::parse(&variant.expr) {
                Ok(expr) => expr,
                Err(e) => {
                    problems
                        .push(format!("built-in rule {} of {}: {e}: {}", built_in.name, subject.service, variant.expr));
                    continue;
                }
            };
            let nth = if nth == 0 { String::new() } else { format!("#{}", nth + 1) };
            rules.push(Rule {
                id: format!("{name}/{}{nth}", built_in.name),
                name: built_in.name.into(),
                expr,
                labels: words(&[("severity", variant.severity), ("service", subject.service)]),
                kind: Kind::Alert(Box::new(AlertRule {
                    wait: variant.wait,
                    keep_firing: Duration::ZERO,
                    on_missing: built_in.on_missing,
                    annotations: words(&[
                        ("summary", &named(built_in.summary, subject.service)),
                        ("description", &named(built_in.description, subject.service)),
                    ]),
                    measure: Measure {
                        what: built_in.what.into(),
                        unit: built_in.unit,
                        limit: Some(variant.limit).filter(|l| l.is_finite()),
                        below: built_in.below,
                        window: built_in.window,
                    },
                    quiet: built_in.quiet,
                })),
                line: 0,
            });
        }
    }
    let group = RuleGroup {
        name,
        file: "built-in".into(),
        interval: None,
        limit: 0,
        offset: Duration::ZERO,
        labels: BTreeMap::new(),
        rules,
    };
    (group, problems)
}

fn words(pairs: &[(&str, &str)]) -> BTreeMap<String, Template> {
    pairs
        .iter()
        .map(|(name, text)| (name.to_string(), Template::parse(text).unwrap_or_else(|_| Template::literal(text))))
        .collect()
}

/// `metric{service="shop"}` for series that hypercare collects itself.
fn own(subject: &Subject<'_>, metric: &str) -> String {
    if subject.own.is_empty() { metric.to_string() } else { format!("{metric}{{{}}}", subject.own) }
}

const fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(config: &[(&str, &str)]) -> Roles {
        let config = config.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        Roles::resolve(&config, &|_| false, &|_| Vec::new())
    }

    #[test]
    fn every_rule_parses_with_every_role_and_templates_are_good() {
        let roles = roles(&[
            ("http_requests", r#"http_requests_total{job="shop"}"#),
            ("latency", "http_request_duration_seconds"),
            ("queue_depth", "queue_depth"),
            ("cpu", "node_cpu_seconds_total"),
            ("memory", "node_memory_MemAvailable_bytes"),
        ]);
        for own in ["", r#"service="shop""#] {
            let subject = Subject { service: "shop", roles: &roles, exists: &|_| true, own: own.into() };
            let (group, problems) = group(&subject, &[]);
            assert_eq!(problems, Vec::<String>::new());
            assert!(blind(&subject).is_empty(), "{:?}", blind(&subject));
            let names: std::collections::BTreeSet<&str> = group.rules.iter().map(|r| r.name.as_str()).collect();
            assert_eq!(names.len(), all().len());
            let ids: std::collections::BTreeSet<&str> = group.rules.iter().map(|r| r.id.as_str()).collect();
            assert_eq!(ids.len(), group.rules.len());
            for rule in &all() {
                for text in [rule.summary, rule.description].map(|t| named(t, "shop")) {
                    assert!(!text.contains("labels.service"), "{}: {text}", rule.name);
                    let template = Template::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", rule.name));
                    assert_eq!(template.unknown_functions(), [] as [&str; 0], "{}", rule.name);
                    assert!(!text.is_empty());
                }
            }
        }
    }

    #[test]
    fn without_roles_only_what_needs_none_is_left_and_disabled_rules_are_out() {
        let roles = roles(&[]);
        let subject = Subject { service: "shop", roles: &roles, exists: &|_| false, own: String::new() };
        let (group, _) = group(&subject, &["DeadMansSwitch".into()]);
        assert_eq!(group.rules.len(), 0);
        assert!(blind(&subject).contains(&"Http5xxHigh"));
    }

    #[test]
    fn a_role_that_is_not_promql_is_a_problem_not_a_panic() {
        let roles = roles(&[("http_requests", "{{{")]);
        let subject = Subject { service: "shop", roles: &roles, exists: &|_| false, own: String::new() };
        assert!(!group(&subject, &[]).1.is_empty());
    }
}
