//! Built-in inhibition: the cause mutes its symptoms. An inhibited alert that outlives its source is told. Pure.

use crate::domain::alert::{Alert, AlertState};

/// One family: each mutes those after it, for one service.
const FAMILIES: [&[&str]; 2] =
    [&["Http5xxOutage", "Http5xxHigh", "Http5xxElevated"], &["FeedbackSevere", "FeedbackSpike"]];
/// What a target that is down makes of its own numbers.
const SYMPTOMS: [&str; 8] = [
    "Http5xxOutage",
    "Http5xxHigh",
    "Http5xxElevated",
    "LatencyP95High",
    "CpuHigh",
    "MemoryHigh",
    "QueueBacklogGrowing",
    "CertExpiring",
];

/// The alert that mutes `alert`, when one does. Only what fires and can be seen mutes.
pub fn source<'a>(alert: &Alert, all: impl IntoIterator<Item = &'a Alert>) -> Option<&'a Alert> {
    all.into_iter().find(|other| {
        other.state == AlertState::Firing
            && other.fingerprint != alert.fingerprint
            && other.service == alert.service
            && (target_down(other, alert) || same_family(other, alert) || same_name(other, alert))
    })
}

/// The whole service's symptoms when the target that is down is its only one (no `instance` on the symptom, and the
/// rule says so by `severity="critical"`), else those of that instance.
fn target_down(source: &Alert, alert: &Alert) -> bool {
    if source.name() != "TargetDown" || !SYMPTOMS.contains(&alert.name()) {
        return false;
    }
    match (source.labels.get("instance"), alert.labels.get("instance")) {
        (Some(a), Some(b)) => a == b,
        _ => source.labels.get("severity") == Some("critical"),
    }
}

fn same_family(source: &Alert, alert: &Alert) -> bool {
    FAMILIES.iter().any(|family| {
        let place = |name: &str| family.iter().position(|n| *n == name);
        matches!((place(source.name()), place(alert.name())), (Some(a), Some(b)) if a < b)
    })
}

/// One rule at two severities: critical mutes warning of the same labels otherwise.
fn same_name(source: &Alert, alert: &Alert) -> bool {
    source.name() == alert.name()
        && source.severity() > alert.severity()
        && source.labels.without(&["severity"]) == alert.labels.without(&["severity"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Timestamp;
    use crate::domain::metric::Labels;

    fn alert(name: &str, severity: &str, instance: &str) -> Alert {
        let labels =
            Labels::new([("alertname", name), ("severity", severity), ("service", "shop"), ("instance", instance)]);
        Alert {
            fingerprint: format!("{:016x}", labels.fingerprint()),
            rule: format!("pack/{name}"),
            service: "shop".into(),
            labels,
            annotations: Default::default(),
            state: AlertState::Firing,
            value: None,
            active_at: None,
            fired_at: None,
            resolved_at: None,
            last_eval: Timestamp::from_ms(0),
            data_as_of: None,
            last_true: None,
            missing_since: None,
            episode: None,
            expr: String::new(),
        }
    }

    fn check(source_alert: Alert, muted: Alert, expect: bool) {
        let name = format!("{} -> {}", source_alert.labels, muted.labels);
        assert_eq!(source(&muted, [&source_alert]).is_some(), expect, "{name}");
    }

    #[test]
    fn causes_mute_their_symptoms() {
        check(alert("Http5xxOutage", "critical", ""), alert("Http5xxHigh", "critical", ""), true);
        check(alert("Http5xxHigh", "critical", ""), alert("Http5xxOutage", "critical", ""), false);
        check(alert("TargetDown", "warning", "a:1"), alert("CpuHigh", "warning", "a:1"), true);
        check(alert("TargetDown", "warning", "a:1"), alert("CpuHigh", "warning", "b:1"), false);
        check(alert("TargetDown", "warning", "a:1"), alert("Http5xxHigh", "critical", ""), false);
        check(alert("TargetDown", "critical", "a:1"), alert("Http5xxHigh", "critical", ""), true);
        check(alert("Mine", "critical", "a:1"), alert("Mine", "warning", "a:1"), true);
        let mut resolved = alert("Http5xxOutage", "critical", "");
        resolved.state = AlertState::Resolved;
        check(resolved, alert("Http5xxHigh", "critical", ""), false);
    }
}
