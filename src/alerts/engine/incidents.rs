//! Incidents: opened by a critical alert, joined by whatever fires on the same service while it is open, closed ten
//! minutes after nothing of it fires any more. Its times are those of the alerts: from first sign to recovery.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Draft, Engine, EngineError, SELF_SERVICE};
use crate::domain::alert::{Alert, AlertSeverity, AlertState};
use crate::domain::clock::Timestamp;
use crate::domain::incident::Incident;

/// Quiet for this long, and it is over; a re-fire before that belongs to the same incident.
const QUIET: Duration = Duration::from_secs(600);
/// An open incident is looked for this far back.
const OPEN_BACK: Duration = Duration::from_secs(30 * 86_400);
/// Alerts that mean users get nothing at all.
const OUTAGES: [&str; 3] = ["Http5xxOutage", "ProbeFailing", "TargetDown"];

impl Engine {
    pub(super) async fn load_incidents(&mut self, now: Timestamp) -> Result<(), EngineError> {
        let mut open = BTreeMap::new();
        for service in self.setup.services.keys() {
            let found = self.store.state.incidents(service, now.minus(OPEN_BACK), now).await?;
            open.extend(found.into_iter().filter(|i| i.closed_at.is_none()).map(|i| (service.clone(), i)));
        }
        self.incidents = open;
        Ok(())
    }

    /// Incidents that begin, grow or end with this draft.
    pub(super) fn changed_incidents(&self, draft: &Draft) -> Vec<Incident> {
        self.setup
            .services
            .keys()
            .filter(|service| *service != SELF_SERVICE)
            .filter_map(|service| {
                let alerts: Vec<&Alert> = draft.alerts.values().filter(|a| a.service == **service).collect();
                next(self.incidents.get(service), service, &alerts, draft.now)
            })
            .collect()
    }
}

/// The incident as it must be stored, when that is different from before. Pure.
fn next(open: Option<&Incident>, service: &str, alerts: &[&Alert], now: Timestamp) -> Option<Incident> {
    let firing: Vec<&&Alert> =
        alerts.iter().filter(|a| a.state == AlertState::Firing && a.severity() > AlertSeverity::Info).collect();
    let episodes = || firing.iter().filter_map(|a| a.episode.clone());
    let sev = || {
        if firing.iter().any(|a| a.severity() == AlertSeverity::Critical && OUTAGES.contains(&a.name())) {
            1
        } else {
            2
        }
    };
    let Some(open) = open else {
        let first =
            firing.iter().filter(|a| a.severity() == AlertSeverity::Critical).min_by_key(|a| (a.fired_at, a.name()))?;
        let summary = first.annotations.get("summary").filter(|s| !s.is_empty());
        return Some(Incident {
            id: 0,
            service: service.into(),
            title: summary.map_or_else(|| first.name().to_string(), |s| format!("{}: {s}", first.name())),
            sev: sev(),
            opened_at: firing.iter().filter_map(|a| a.active_at).min().unwrap_or(now),
            closed_at: None,
            episodes: episodes().collect(),
            opened_by: "alert".into(),
        });
    };
    let mut next = open.clone();
    for episode in episodes() {
        if !next.episodes.contains(&episode) {
            next.episodes.push(episode);
        }
    }
    if firing.iter().any(|a| a.severity() == AlertSeverity::Critical) {
        next.sev = next.sev.min(sev());
    }
    // One opened by a person without any alert is closed by a person.
    if !open.episodes.is_empty() {
        let own = |a: &&&Alert| a.episode.as_ref().is_some_and(|e| open.episodes.contains(e));
        let burning = alerts.iter().filter(own).any(|a| matches!(a.state, AlertState::Firing | AlertState::Unknown));
        let last = alerts.iter().filter(own).filter_map(|a| a.resolved_at).max().unwrap_or(now.minus(QUIET));
        if !burning && firing.is_empty() && now.since(last) >= QUIET {
            next.closed_at = Some(last);
        }
    }
    (next != *open).then_some(next)
}
