//! Where are we now? One model for `hypercare status`, the daemon's `/status` and whatever else shows the present.
//! The report tells the past; this reads the same store at `now`.

use std::time::Duration;

use serde::Serialize;

use crate::domain::alert::{AlertSeverity, AlertState};
use crate::domain::clock::Timestamp;
use crate::domain::launch::{Launch, LaunchState};
use crate::domain::verdict::{Decision, Goal};
use crate::store::state::feedback::FeedbackFreshness;
use crate::store::state::outbox::OutboxDepth;
use crate::store::{Store, StoreError};

/// Without a sign of life for this long the daemon counts as gone: three beats.
pub const SILENT_AFTER: Duration = Duration::from_secs(15);

/// `hypercare.status/v1`.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    pub schema: &'static str,
    pub as_of: Timestamp,
    pub daemon: DaemonStatus,
    /// Open launches first, then the newest that ended.
    pub launches: Vec<LaunchStatus>,
    pub alerts: AlertStatus,
    pub outbox: Vec<OutboxDepth>,
    pub feedback: Vec<FeedbackStatus>,
}

#[derive(Debug, Clone, Serialize)]
pub struct DaemonStatus {
    pub alive: bool,
    pub last_seen: Option<Timestamp>,
}

#[derive(Debug, Clone, Serialize)]
pub struct LaunchStatus {
    pub id: String,
    pub service: String,
    pub version: Option<String>,
    pub commit: Option<String>,
    pub state: LaunchState,
    pub rev: i64,
    pub state_since: Timestamp,
    pub live_at: Option<Timestamp>,
    pub window_end: Option<Timestamp>,
    /// Seconds since go-live; `None` before it.
    pub t_plus_s: Option<i64>,
    /// Seconds until the window ends; 0 after it, `None` before go-live.
    pub left_s: Option<i64>,
    /// Of the newest gate run.
    pub decision: Option<Decision>,
    pub gates_at: Option<Timestamp>,
    pub goals: Vec<Goal>,
}

#[derive(Debug, Clone, Serialize)]
pub struct AlertStatus {
    pub firing: usize,
    pub pending: usize,
    pub unknown: usize,
    pub silences: usize,
    /// Firing first, then unknown, then pending; worst first.
    pub list: Vec<AlertRow>,
}

#[derive(Debug, Clone, Serialize)]
pub struct AlertRow {
    pub name: String,
    pub service: String,
    pub state: AlertState,
    pub severity: AlertSeverity,
    pub since: Option<Timestamp>,
    pub summary: String,
    /// Running number of the group's episode.
    pub number: Option<i64>,
    pub acked_by: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct FeedbackStatus {
    pub service: String,
    /// Items of the last 24 hours.
    pub items: usize,
    /// Of these, with a severity cue.
    pub with_cues: usize,
    pub sources: Vec<FeedbackFreshness>,
}

/// Reads the present. `services` are those of the configuration; launches of others are shown too.
pub async fn read(store: &Store, services: &[String], now: Timestamp) -> Result<Status, StoreError> {
    let last = store.state.newest_beat().await?;
    let mut launches = Vec::new();
    for launch in shown(store.state.launches().await?) {
        launches.push(launch_status(store, launch, now).await?);
    }
    let mut feedback = Vec::new();
    for service in services {
        let items = store.state.feedback(service, now.minus(Duration::from_secs(86_400)), now).await?;
        feedback.push(FeedbackStatus {
            service: service.clone(),
            items: items.len(),
            with_cues: items.iter().filter(|i| !i.cues.is_empty()).count(),
            sources: store.state.feedback_freshness(service).await?,
        });
    }
    Ok(Status {
        schema: "hypercare.status/v1",
        as_of: now,
        daemon: DaemonStatus {
            alive: last.is_some_and(|(at, stopped)| !stopped && now.since(at) < SILENT_AFTER),
            last_seen: last.map(|(at, _)| at),
        },
        launches,
        alerts: alerts(store, now).await?,
        outbox: store.state.outbox_depths().await?,
        feedback,
    })
}

/// Every open launch, or the last one that ended per service when none is open. Input is newest first.
fn shown(all: Vec<Launch>) -> Vec<Launch> {
    let open: Vec<String> = all.iter().filter(|l| l.state.is_open()).map(|l| l.service.clone()).collect();
    let mut seen = std::collections::BTreeSet::new();
    let keep = |l: &Launch| l.state.is_open() || (!open.contains(&l.service) && seen.insert(l.service.clone()));
    let mut kept: Vec<Launch> = all.into_iter().filter(keep).collect();
    kept.sort_by_key(|l| !l.state.is_open());
    kept
}

async fn launch_status(store: &Store, launch: Launch, now: Timestamp) -> Result<LaunchStatus, StoreError> {
    let run = store.state.latest_gate_run(&launch.service).await?;
    let seconds = |ms: i64| ms / 1000;
    Ok(LaunchStatus {
        t_plus_s: launch.live_at.map(|t| seconds(now.ms() - t.ms())),
        left_s: launch.window_end.map(|t| seconds(t.ms() - now.ms()).max(0)),
        decision: run.as_ref().map(|r| r.decision),
        gates_at: run.as_ref().map(|r| r.started_at),
        goals: run.map(|r| r.goals).unwrap_or_default(),
        id: launch.id,
        service: launch.service,
        version: launch.version,
        commit: launch.commit,
        state: launch.state,
        rev: launch.rev,
        state_since: launch.state_since,
        live_at: launch.live_at,
        window_end: launch.window_end,
    })
}

async fn alerts(store: &Store, now: Timestamp) -> Result<AlertStatus, StoreError> {
    let groups = store.state.notif_groups().await?;
    let rank = |s: AlertState| match s {
        AlertState::Firing => 0,
        AlertState::Unknown => 1,
        AlertState::Pending => 2,
        AlertState::Resolved | AlertState::Inactive => 3,
    };
    let mut active: Vec<_> = store.state.alerts().await?.into_iter().filter(|a| rank(a.state) < 3).collect();
    active.sort_by(|a, b| {
        let key = |x: &crate::domain::alert::Alert| (rank(x.state), std::cmp::Reverse(x.severity()));
        key(a).cmp(&key(b)).then_with(|| a.name().cmp(b.name())).then_with(|| a.fingerprint.cmp(&b.fingerprint))
    });
    let count = |state| active.iter().filter(|a| a.state == state).count();
    let list = active.iter().map(|a| {
        let group = groups.iter().find(|g| g.closed_at.is_none() && g.told.contains_key(&a.fingerprint));
        let acked = group.filter(|g| g.acked_until.is_some_and(|until| until > now));
        AlertRow {
            name: a.name().to_string(),
            service: a.service.clone(),
            state: a.state,
            severity: a.severity(),
            since: a.fired_at.or(a.active_at),
            summary: a.annotations.get("summary").or(a.annotations.get("description")).cloned().unwrap_or_default(),
            number: group.map(|g| g.number),
            acked_by: acked.and_then(|g| g.acked_by.clone()),
        }
    });
    Ok(AlertStatus {
        firing: count(AlertState::Firing),
        pending: count(AlertState::Pending),
        unknown: count(AlertState::Unknown),
        silences: store.state.silences(now).await?.len(),
        list: list.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(id: &str, service: &str, state: LaunchState) -> Launch {
        Launch {
            id: id.into(),
            service: service.into(),
            version: None,
            commit: None,
            state,
            rev: 1,
            planned_at: Timestamp::from_ms(0),
            live_at: None,
            window_end: None,
            state_since: Timestamp::from_ms(0),
            window_ms: 0,
            timezone: "UTC".into(),
            config_hash: String::new(),
            gate_run: None,
        }
    }

    #[test]
    fn an_ended_launch_is_shown_until_the_next_one_opens() {
        let all = vec![
            launch("pay-2", "pay", LaunchState::Closed),
            launch("shop-2", "shop", LaunchState::Live),
            launch("shop-1", "shop", LaunchState::Closed),
            launch("pay-1", "pay", LaunchState::Aborted),
        ];
        let ids: Vec<String> = shown(all).into_iter().map(|l| l.id).collect();
        assert_eq!(ids, ["shop-2", "pay-2"]);
    }
}
