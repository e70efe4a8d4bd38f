//! `rules` and `alerts`: the groups of rule files and packs as they stand, with the alerts of the store.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use serde_json::{Map, Value as Json, json};

use super::params::Params;
use super::{Answer, Backend, Problem, internal, plain};
use crate::alerts::gotmpl::Template;
use crate::alerts::rulefile::{Kind, Rule, RuleGroup};
use crate::alerts::standing::{Evaluation, GroupStanding, RuleStanding};
use crate::domain::alert::{Alert, AlertState};
use crate::domain::clock::Timestamp;
use crate::promql::number;

pub(super) async fn alerts<B: Backend>(State(backend): State<B>) -> Answer {
    let alerts = backend.alerts().await.map_err(internal)?;
    let shown: Vec<Json> = alerts.iter().filter(|a| is_active(a)).map(alert_json).collect();
    Ok(plain(json!({ "alerts": shown })))
}

/// What a rule list can be narrowed to.
struct Wanted<'p> {
    kind: Option<&'p str>,
    names: Vec<&'p str>,
    groups: Vec<&'p str>,
    files: Vec<&'p str>,
    without_alerts: bool,
}

pub(super) async fn rules<B: Backend>(State(backend): State<B>, RawQuery(query): RawQuery) -> Answer {
    let params = Params::read(query.as_deref(), &Bytes::new());
    let kind = params.get("type");
    if let Some(other) = kind.filter(|k| !k.eq_ignore_ascii_case("alert") && !k.eq_ignore_ascii_case("record")) {
        return Err(Problem::bad("type", format!("not supported value {other:?}")));
    }
    let without_alerts = match params.get("exclude_alerts").unwrap_or("").to_ascii_lowercase().as_str() {
        "true" => true,
        "" | "false" => false,
        other => return Err(Problem::bad("exclude_alerts", format!("not supported value {other:?}"))),
    };
    let wanted = Wanted {
        kind,
        names: params.all("rule_name[]"),
        groups: params.all("rule_group[]"),
        files: params.all("file[]"),
        without_alerts,
    };
    let alerts = backend.alerts().await.map_err(internal)?;
    let facts = backend.facts();
    let chosen = |all: &[&str], one: &str| all.is_empty() || all.contains(&one);
    let standing = facts.standing();
    let groups: Vec<Json> = standing
        .iter()
        .filter(|s| chosen(&wanted.groups, &s.group.name) && chosen(&wanted.files, &s.group.file))
        .map(|standing| group_json(standing, &alerts, &wanted))
        .filter(|g| g["rules"].as_array().is_some_and(|r| !r.is_empty()))
        .collect();
    Ok(plain(json!({ "groups": groups })))
}

fn group_json(standing: &GroupStanding, alerts: &[Alert], wanted: &Wanted<'_>) -> Json {
    let group = &standing.group;
    let never = RuleStanding::default();
    let rules: Vec<Json> = group
        .rules
        .iter()
        .enumerate()
        .filter(|(_, r)| wanted.names.is_empty() || wanted.names.contains(&r.name.as_str()))
        .filter(|(_, r)| {
            let word = if matches!(r.kind, Kind::Record) { "record" } else { "alert" };
            wanted.kind.is_none_or(|k| k.eq_ignore_ascii_case(word))
        })
        .map(|(i, rule)| {
            let own: Vec<&Alert> = alerts.iter().filter(|a| a.rule == rule.id).collect();
            let mut shown = rule_json(group, rule, &own, wanted.without_alerts);
            add_standing(&mut shown, standing.rules.get(i).unwrap_or(&never));
            shown
        })
        .collect();
    json!({
        "name": group.name,
        "file": group.file,
        "rules": rules,
        "interval": seconds(standing.interval),
        "limit": group.limit,
        "evaluationTime": seconds(standing.last.map_or(Duration::ZERO, |e| e.took)),
        "lastEvaluation": last_evaluation(standing.last),
    })
}

/// `lastError` only where there is one, as Prometheus has it.
fn add_standing(shown: &mut Json, standing: &RuleStanding) {
    shown["health"] = match (&standing.error, standing.last) {
        (Some(_), _) => "err",
        (None, Some(_)) => "ok",
        (None, None) => "unknown",
    }
    .into();
    shown["evaluationTime"] = seconds(standing.last.map_or(Duration::ZERO, |e| e.took));
    shown["lastEvaluation"] = last_evaluation(standing.last).into();
    if let Some(error) = &standing.error {
        shown["lastError"] = error.clone().into();
    }
}

fn rule_json(group: &RuleGroup, rule: &Rule, alerts: &[&Alert], without_alerts: bool) -> Json {
    let mut labels: Map<String, Json> = group.labels.iter().map(|(n, v)| (n.clone(), json!(v))).collect();
    labels.extend(sources(&rule.labels));
    let Kind::Alert(alert) = &rule.kind else {
        return json!({ "name": rule.name, "query": rule.expr.pretty(), "labels": labels, "type": "recording" });
    };
    let state = match () {
        () if alerts.iter().any(|a| matches!(a.state, AlertState::Firing | AlertState::Unknown)) => "firing",
        () if alerts.iter().any(|a| a.state == AlertState::Pending) => "pending",
        () => "inactive",
    };
    let mut shown = json!({
        "state": state,
        "name": rule.name,
        "query": rule.expr.pretty(),
        "duration": seconds(alert.wait),
        "keepFiringFor": seconds(alert.keep_firing),
        "labels": labels,
        "annotations": sources(&alert.annotations).collect::<Map<_, _>>(),
        "type": "alerting",
    });
    if !without_alerts {
        shown["alerts"] = alerts.iter().filter(|a| is_active(a)).map(|a| alert_json(a)).collect();
    }
    shown
}

fn sources(all: &std::collections::BTreeMap<String, Template>) -> impl Iterator<Item = (String, Json)> + '_ {
    all.iter().map(|(name, template)| (name.clone(), json!(template.source())))
}

/// Whole seconds without a fraction, as Go writes them.
fn seconds(d: Duration) -> Json {
    if d.subsec_nanos() == 0 { json!(d.as_secs()) } else { json!(d.as_secs_f64()) }
}

/// Go's zero time when nothing was evaluated yet.
fn last_evaluation(last: Option<Evaluation>) -> String {
    last.map_or_else(|| "0001-01-01T00:00:00Z".into(), |e| e.at.rfc3339())
}

/// Prometheus knows only pending and firing; one that we can no longer see is still told.
fn is_active(alert: &Alert) -> bool {
    matches!(alert.state, AlertState::Pending | AlertState::Firing | AlertState::Unknown)
}

fn alert_json(alert: &Alert) -> Json {
    let state = if alert.state == AlertState::Pending { "pending" } else { "firing" };
    json!({
        "labels": alert.labels.to_map(),
        "annotations": alert.annotations,
        "state": state,
        "activeAt": alert.active_at.map(Timestamp::rfc3339),
        "value": number::scientific(alert.value.unwrap_or(f64::NAN)),
    })
}
