//! The moves that people ask for: plan, clear, go, no-go, roll back, abort, close, extend, stage. The command line, the
//! demo and the lifecycle ticker all come through here, so that guards, notices and the audit trail are in one place.

use std::time::Duration;

use super::Setup;
use crate::domain::alert::{AlertSeverity, NotifyReason};
use crate::domain::clock::Timestamp;
use crate::domain::launch::{Launch, LaunchEvent, LaunchState, Move};
use crate::domain::marker::{Marker, MarkerKind};
use crate::domain::notification::{Fact, Message, MessageKind, NewOutbox, Thread};
use crate::domain::units;
use crate::domain::verdict::{GateRun, Verdict};
use crate::store::{Store, StoreError};

/// A go decision must rest on gates run at most this long ago: what was true last week may not be true today.
const GATE_RUN_AGE_MAX: Duration = Duration::from_secs(24 * 3600);

/// An event may be reported this late without saying when it was (`--at`).
const T0_AGE_MAX: Duration = Duration::from_secs(600);

#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The guard of the move is not met. Exit code 1.
    #[error("{summary}")]
    NotCleared { summary: String, blockers: Vec<String> },
    #[error("{0}")]
    Wrong(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("capturing the baseline: {0}")]
    Baseline(String),
}

/// Who asks, when, why.
#[derive(Debug, Clone)]
pub struct Order {
    pub actor: String,
    pub at: Timestamp,
    pub reason: Option<String>,
}

impl Order {
    pub fn new(actor: impl Into<String>, at: Timestamp) -> Order {
        Order { actor: actor.into(), at, reason: None }
    }
    pub fn because(mut self, reason: Option<String>) -> Order {
        self.reason = reason;
        self
    }
}

/// Plans a launch of `service`, or returns the one that is open.
pub async fn plan(store: &Store, setup: &Setup, service: &str, order: &Order) -> Result<Launch, LaunchError> {
    if let Some(open) = store.state.open_launch(service).await? {
        return Ok(open);
    }
    let Some(config) = setup.services.get(service) else {
        return Err(LaunchError::Wrong(format!("no service {service} in the configuration")));
    };
    let day = order.at.utc().format("%Y%m%d");
    let stem = format!("{service}-{day}-");
    let used = store.state.launches().await?.iter().filter(|l| l.id.starts_with(&stem)).count();
    let launch = Launch {
        id: format!("{stem}{}", used + 1),
        service: service.to_string(),
        version: None,
        commit: None,
        state: LaunchState::Planned,
        rev: 1,
        planned_at: order.at,
        live_at: None,
        window_end: None,
        state_since: order.at,
        window_ms: setup.launch_config(service).window.get().as_millis() as i64,
        timezone: config.timezone.clone().unwrap_or_else(|| "UTC".into()),
        config_hash: setup.config_hash.clone(),
        gate_run: None,
    };
    store.state.plan_launch(&launch, &order.actor).await?;
    Ok(launch)
}

/// Records a finished gate run on the launch: … → gating → awaiting_decision.
pub async fn attach_gate_run(
    store: &Store,
    setup: &Setup,
    launch: &Launch,
    run: &GateRun,
    order: &Order,
) -> Result<Launch, LaunchError> {
    let mut launch = launch.clone();
    if launch.state != LaunchState::Gating {
        launch = step(store, setup, &launch, LaunchState::Gating, order, |_| {}).await?;
    }
    let text = format!("gates: {}", run.decision.title());
    let order = Order { reason: order.reason.clone().or(Some(text)), ..order.clone() };
    step(store, setup, &launch, LaunchState::AwaitingDecision, &order, |mv| {
        mv.gate_run = Some(run.run.clone());
        mv.version.clone_from(&run.rid.version);
        mv.commit.clone_from(&run.rid.commit);
    })
    .await
}

/// What `go` was asked for.
#[derive(Debug, Clone, Default)]
pub struct Go {
    /// Go although blockers stand; the reason is recorded as a waiver on everything.
    pub force: Option<String>,
    /// T0, when it was not just now.
    pub live_at: Option<Timestamp>,
}

/// Go-live. Refused unless the newest gate run of the service clears (or `force` gives a reason). Captures and freezes
/// the baseline, sets T0 and the window's absolute end, leaves a deploy marker, tells the launch's channels.
pub async fn go(store: &Store, setup: &Setup, service: &str, go: &Go, order: &Order) -> Result<Launch, LaunchError> {
    let t0 = go.live_at.unwrap_or(order.at);
    if t0 > order.at {
        return Err(LaunchError::Wrong(format!("--at {t0} lies in the future")));
    }
    if go.live_at.is_none() && order.at.since(t0) > T0_AGE_MAX {
        return Err(LaunchError::Wrong("go-live was more than 10 minutes ago: say when with --at".into()));
    }
    let mut launch = plan(store, setup, service, order).await?;
    if launch.state.is_watching() {
        return Err(LaunchError::Wrong(format!(
            "{} is live since {}; nothing to do",
            launch.id,
            launch.live_at.map(|t| t.rfc3339()).unwrap_or_default()
        )));
    }
    if launch.state == LaunchState::Gating && go.force.is_none() {
        return Err(LaunchError::NotCleared {
            summary: format!("the gates of {} are still running", launch.id),
            blockers: vec!["wait for hypercare status to say awaiting_decision".into()],
        });
    }
    let run = store.state.latest_gate_run(service).await?;
    match (&go.force, go_guard(run.as_ref(), order.at)) {
        (None, Err(refusal)) => return Err(refusal),
        (Some(reason), Err(LaunchError::NotCleared { blockers, .. })) => {
            let text = format!("forced past {} blockers: {reason} [{}]", blockers.len(), blockers.join("; "));
            event(store, &launch, "force", order, &text).await?;
            store.state.audit(order.at, &order.actor, "launch.force", &launch.id, Some(&text)).await?;
        }
        (_, Err(other)) => return Err(other),
        (_, Ok(())) => {}
    }
    if let Some(run) = &run
        && launch.gate_run.as_ref() != Some(&run.run)
    {
        launch = attach_gate_run(store, setup, &launch, run, order).await?;
    }
    // A forced launch without any gate run still walks the states, so that the history is whole.
    for via in [LaunchState::Gating, LaunchState::AwaitingDecision, LaunchState::Cleared] {
        if launch.state != LaunchState::Cleared && launch.state.may_become(via) {
            launch = step(store, setup, &launch, via, order, |_| {}).await?;
        }
    }

    let config = setup.services.get(service).cloned().unwrap_or_default();
    let settings = setup.launch_config(service);
    let from = t0.minus(settings.baseline.get());
    let interval = super::tell::interval(setup, service);
    let capture =
        crate::report::baseline::capture(store, (service, &config), (from, t0), interval, order.at, &launch.id);
    let baseline = capture.await.map_err(|e| LaunchError::Baseline(e.to_string()))?;
    store.state.freeze_baseline(&baseline).await?;

    let window_end = t0.plus(Duration::from_millis(launch.window_ms.max(0) as u64));
    let marker = Marker {
        service: service.to_string(),
        kind: MarkerKind::Deploy,
        at: t0,
        received_at: order.at,
        source: "go".into(),
        actor: order.actor.clone(),
        text: format!("go-live {}", launch.version.as_deref().unwrap_or("(version unknown)")),
        dedup_key: format!("go-live:{}", launch.id),
    };
    let mut mv = Move::to(LaunchState::Live, &launch, order.at, &order.actor);
    mv.reason.clone_from(&order.reason);
    mv.live_at = Some(t0);
    mv.window_end = Some(window_end);
    let notices = state_notices(setup, &launch, LaunchState::Live, order, Some(window_end));
    Ok(store.state.move_launch(&launch.id, mv, Some(marker), notices).await?)
}

/// May the service go live on this gate run?
fn go_guard(run: Option<&GateRun>, now: Timestamp) -> Result<(), LaunchError> {
    let refuse = |summary: String, blockers| Err(LaunchError::NotCleared { summary, blockers });
    let Some(run) = run else {
        return refuse("no gate has been run yet: hypercare check".into(), vec!["no gate run".into()]);
    };
    let age = now.since(run.started_at);
    if age > GATE_RUN_AGE_MAX {
        let age = units::prose(age);
        return refuse(format!("the newest gate run is {age} old: hypercare check"), vec!["stale gate run".into()]);
    }
    if run.decision.clears() {
        return Ok(());
    }
    let blockers: Vec<String> = run
        .gates
        .iter()
        .filter(|g| g.blocks())
        .map(|g| format!("{} {}: {}", g.id, g.verdict.word(), g.reason.as_deref().unwrap_or(&g.summary)))
        .collect();
    let failed = run.gates.iter().filter(|g| g.blocks() && g.verdict == Verdict::Fail).count();
    let unknown = blockers.len() - failed;
    refuse(format!("{}: {failed} failed, {unknown} could not be checked", run.decision.title()), blockers)
}

/// Moves the launch to a state that has no guard but its legality: no_go, rolled_back, aborted, closing.
pub async fn step_to(
    store: &Store,
    setup: &Setup,
    launch: &Launch,
    to: LaunchState,
    order: &Order,
) -> Result<Launch, LaunchError> {
    if to == LaunchState::RolledBack {
        let marker = Marker {
            service: launch.service.clone(),
            kind: MarkerKind::Rollback,
            at: order.at,
            received_at: order.at,
            source: "rollback".into(),
            actor: order.actor.clone(),
            text: order.reason.clone().unwrap_or_else(|| "rolled back".into()),
            dedup_key: format!("rollback:{}", launch.id),
        };
        let mut mv = Move::to(to, launch, order.at, &order.actor);
        mv.reason.clone_from(&order.reason);
        let notices = state_notices(setup, launch, to, order, None);
        return Ok(store.state.move_launch(&launch.id, mv, Some(marker), notices).await?);
    }
    step(store, setup, launch, to, order, |_| {}).await
}

/// Lengthens the window; the end moves, go-live does not.
pub async fn extend(store: &Store, launch: &Launch, by: Duration, order: &Order) -> Result<Launch, LaunchError> {
    let Some(end) = launch.window_end else {
        return Err(LaunchError::Wrong(format!(
            "{} is not live yet: set window in [launch.{}]",
            launch.id, launch.service
        )));
    };
    let window_ms = launch.window_ms.saturating_add(by.as_millis() as i64);
    let reason = order.reason.clone().unwrap_or_default();
    Ok(store.state.extend_window(&launch.id, launch.rev, end.plus(by), window_ms, &order.actor, &reason).await?)
}

/// Progressive delivery: `50%` as an event and a marker.
pub async fn stage(store: &Store, launch: &Launch, text: &str, order: &Order) -> Result<(), LaunchError> {
    event(store, launch, "stage", order, text).await?;
    mark(store, &launch.service, MarkerKind::Deploy, &format!("stage {text}"), order).await?;
    Ok(())
}

/// Leaves a marker; false when the same one is there already.
pub async fn mark(
    store: &Store,
    service: &str,
    kind: MarkerKind,
    text: &str,
    order: &Order,
) -> Result<bool, LaunchError> {
    let marker = Marker {
        service: service.to_string(),
        kind,
        at: order.at,
        received_at: order.at,
        source: "cli".into(),
        actor: order.actor.clone(),
        text: text.to_string(),
        dedup_key: format!("{}:{}:{text}", kind.word(), order.at.ms()),
    };
    Ok(store.state.add_marker(marker).await?)
}

async fn event(store: &Store, launch: &Launch, kind: &str, order: &Order, text: &str) -> Result<(), StoreError> {
    store
        .state
        .add_launch_event(LaunchEvent {
            launch: launch.id.clone(),
            at: order.at,
            kind: kind.into(),
            from: None,
            to: None,
            actor: order.actor.clone(),
            text: text.to_string(),
        })
        .await
}

async fn step(
    store: &Store,
    setup: &Setup,
    launch: &Launch,
    to: LaunchState,
    order: &Order,
    fill: impl FnOnce(&mut Move),
) -> Result<Launch, LaunchError> {
    let mut mv = Move::to(to, launch, order.at, &order.actor);
    mv.reason.clone_from(&order.reason);
    fill(&mut mv);
    let notices = state_notices(setup, launch, to, order, None);
    Ok(store.state.move_launch(&launch.id, mv, None, notices).await?)
}

/// States whose entry people are told of; the others are steps on the way.
fn is_news(to: LaunchState) -> bool {
    use LaunchState::*;
    matches!(to, AwaitingDecision | NoGo | Live | RolledBack | Aborted)
}

/// One message per channel in `[launch.X] notify`, in the launch's own thread.
fn state_notices(
    setup: &Setup,
    launch: &Launch,
    to: LaunchState,
    order: &Order,
    window_end: Option<Timestamp>,
) -> Vec<NewOutbox> {
    if !is_news(to) {
        return Vec::new();
    }
    let word = to.word().replace('_', " ");
    let mut facts = vec![Fact::new("by", &order.actor), Fact::new("at", order.at.rfc3339())];
    if let Some(version) = &launch.version {
        facts.push(Fact::new("version", version));
    }
    if let Some(end) = window_end {
        facts.push(Fact::new("window ends", end.rfc3339()));
    }
    if let Some(reason) = &order.reason {
        facts.push(Fact::new("reason", reason));
    }
    let message = Message {
        kind: MessageKind::LaunchStateChanged,
        service: launch.service.clone(),
        severity: AlertSeverity::Info,
        title: format!("[{}] launch {}", launch.service, launch.id),
        headline: format!("{} · {} · {}", word.to_uppercase(), launch.service, launch.id),
        facts,
        alerts: Vec::new(),
        runbook: None,
        rollback: setup.services.get(&launch.service).and_then(|s| s.rollback.clone()),
        thread: Some(Thread { key: launch.id.clone(), root: false }),
        created_at: order.at,
        timezone: launch.timezone.clone(),
        body: String::new(),
        html: None,
        attachments: Vec::new(),
        data: serde_json::json!({
            "launch": launch.id, "service": launch.service, "from": launch.state.word(), "to": to.word(),
            "version": launch.version, "actor": order.actor, "reason": order.reason,
        }),
    };
    let channels = setup.launch_config(&launch.service).notify;
    let row = |channel: String| NewOutbox {
        id: uuid::Uuid::now_v7().to_string(),
        channel,
        group_key: format!("launch:{}", launch.id),
        // One message per move: the revision that the move creates is its number in the thread.
        seq: launch.rev + 1,
        reason: NotifyReason::First,
        priority: AlertSeverity::Info,
        message: message.clone(),
        not_before: order.at,
        give_up_at: order.at.plus(Duration::from_secs(6 * 3600)),
        failover: None,
        enqueued_at: order.at,
    };
    channels.into_iter().map(row).collect()
}
