//! The moves that time brings: gating at the start, settling into hypercare, closing at the window's end, closed once the
//! report is stored. `due` is pure; the ticker performs what it says.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::launches::{self, LaunchError, Order};
use super::poll::sleep_until;
use super::{LaunchConfig, Setup, gating, tell};
use crate::domain::clock::Timestamp;
use crate::domain::launch::{Launch, LaunchState};
use crate::store::Store;

/// How often launches are looked at; also how soon a `go` from the command line is seen.
const TICK: Duration = Duration::from_secs(1);

/// How long after a failed report the next try comes.
const REPORT_RETRY: Duration = Duration::from_secs(30);

/// What the clock asks of a launch now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    Nothing,
    /// Run the gates.
    Gates,
    Become(LaunchState),
    /// Write the report as of this instant, then close.
    Report(Timestamp),
}

/// Pure: what is due for `launch` at `now`. `resume` is true at the daemon's start: gates that were interrupted run
/// again; later, a launch that is gating is in somebody's hands already.
pub fn due(launch: &Launch, config: &LaunchConfig, now: Timestamp, resume: bool) -> Due {
    match launch.state {
        LaunchState::Planned => Due::Gates,
        LaunchState::Gating if resume => Due::Gates,
        LaunchState::Live if now.since(launch.live_at.unwrap_or(now)) >= config.settle.get() => {
            Due::Become(LaunchState::Hypercare)
        }
        LaunchState::Live | LaunchState::Hypercare if launch.window_end.is_some_and(|end| now >= end) => {
            Due::Become(LaunchState::Closing)
        }
        LaunchState::Closing => {
            // Closed early by a person: the story ends where they ended it.
            let end = launch.window_end.unwrap_or(launch.state_since).min(launch.state_since);
            if now >= end.plus(config.report.delay.get()) { Due::Report(end) } else { Due::Nothing }
        }
        LaunchState::RolledBack => {
            let end = launch.state_since.plus(config.recovery_watch.get());
            if now >= end { Due::Report(end) } else { Due::Nothing }
        }
        _ => Due::Nothing,
    }
}

/// Looks at every open launch each second until shutdown. A launch that cannot be moved is logged and tried again; it
/// never stops the others.
pub async fn tick_forever(store: Store, setup: Arc<Setup>, shutdown: CancellationToken) {
    let mut report_not_before = Timestamp::MIN;
    let mut resume = true;
    loop {
        let now = store.clock.now();
        match store.state.launches().await {
            Ok(all) => {
                for launch in all.into_iter().filter(|l| l.state.is_open()) {
                    let next = due(&launch, &setup.launch_config(&launch.service), now, resume);
                    if matches!(next, Due::Report(_)) && now < report_not_before {
                        continue;
                    }
                    if let Err(error) = perform(&store, &setup, &launch, next, now, &shutdown).await {
                        tracing::error!(launch = %launch.id, error = %format!("{error:#}"), "moving the launch failed");
                        if matches!(next, Due::Report(_)) {
                            report_not_before = now.plus(REPORT_RETRY);
                        }
                    }
                }
            }
            Err(error) => tracing::error!(%error, "reading launches failed"),
        }
        resume = false;
        if sleep_until(now.plus(TICK), &store.clock, &shutdown).await.is_err() {
            return;
        }
    }
}

async fn perform(
    store: &Store,
    setup: &Arc<Setup>,
    launch: &Launch,
    due: Due,
    now: Timestamp,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let order = Order::new("hypercare", now);
    match due {
        Due::Nothing => {}
        Due::Become(state) => {
            launches::step_to(store, setup, launch, state, &order).await?;
            tracing::info!(launch = %launch.id, state = state.word(), "launch moved");
        }
        Due::Gates => run_gates(store, setup, launch, &order, shutdown).await?,
        Due::Report(as_of) => {
            let documents = tell::write(store, setup, launch, as_of, now).await?;
            let order = order.because(Some(format!("report stored, verdict {}", documents.verdict.title())));
            let closing = match launch.state {
                LaunchState::Closing | LaunchState::RolledBack => launch.clone(),
                _ => launches::step_to(store, setup, launch, LaunchState::Closing, &order).await?,
            };
            launches::step_to(store, setup, &closing, LaunchState::Closed, &order).await?;
            tracing::info!(launch = %launch.id, verdict = documents.verdict.title(), "report written, launch closed");
        }
    }
    Ok(())
}

/// Gates of a planned launch, then the decision is a person's (or `auto_go`'s).
async fn run_gates(
    store: &Store,
    setup: &Arc<Setup>,
    launch: &Launch,
    order: &Order,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let launch = match launch.state {
        LaunchState::Planned => launches::step_to(store, setup, launch, LaunchState::Gating, order).await?,
        _ => launch.clone(),
    };
    tracing::info!(launch = %launch.id, "running the gates");
    let run = gating::run(store, setup, &launch.service, shutdown.child_token()).await?;
    if shutdown.is_cancelled() {
        return Ok(());
    }
    let now = store.clock.now();
    // A person may have moved the launch while the gates ran.
    let Some(fresh) = store.state.launch(&launch.id).await?.filter(|l| l.state == LaunchState::Gating) else {
        return Ok(());
    };
    launches::attach_gate_run(store, setup, &fresh, &run, &Order::new("hypercare", now)).await?;
    if setup.launch_config(&launch.service).auto_go && run.decision.clears() {
        let order = Order::new("hypercare", now).because(Some("auto_go".into()));
        match launches::go(store, setup, &launch.service, &launches::Go::default(), &order).await {
            Ok(_) => tracing::info!(launch = %launch.id, "auto_go: live"),
            Err(LaunchError::NotCleared { summary, .. }) => tracing::warn!(%summary, "auto_go refused"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(state: LaunchState) -> Launch {
        let t0 = Timestamp::from_ms(1_000_000);
        Launch {
            id: "shop-1".into(),
            service: "shop".into(),
            version: None,
            commit: None,
            state,
            rev: 3,
            planned_at: t0,
            live_at: Some(t0),
            window_end: Some(t0.plus(Duration::from_secs(3600))),
            state_since: t0,
            window_ms: 3_600_000,
            timezone: "UTC".into(),
            config_hash: String::new(),
            gate_run: None,
        }
    }

    #[test]
    fn time_moves_a_launch_at_its_absolute_instants_only() {
        let config = LaunchConfig::default();
        let t0 = Timestamp::from_ms(1_000_000);
        let at = |s: u64| t0.plus(Duration::from_secs(s));
        for (state, seconds, expect) in [
            (LaunchState::Planned, 0, Due::Gates),
            (LaunchState::Gating, 0, Due::Nothing),
            (LaunchState::AwaitingDecision, 99_999, Due::Nothing),
            (LaunchState::Cleared, 99_999, Due::Nothing),
            (LaunchState::Live, 599, Due::Nothing),
            (LaunchState::Live, 600, Due::Become(LaunchState::Hypercare)),
            (LaunchState::Hypercare, 3599, Due::Nothing),
            (LaunchState::Hypercare, 3600, Due::Become(LaunchState::Closing)),
            (LaunchState::RolledBack, 7199, Due::Nothing),
            (LaunchState::RolledBack, 7200, Due::Report(at(7200))),
            (LaunchState::Closed, 99_999, Due::Nothing),
            (LaunchState::Aborted, 99_999, Due::Nothing),
        ] {
            assert_eq!(due(&launch(state), &config, at(seconds), false), expect, "{state:?} at {seconds} s");
        }
    }

    #[test]
    fn the_report_waits_for_late_samples_and_ends_where_a_person_closed() {
        let config = LaunchConfig::default();
        let mut closing = launch(LaunchState::Closing);
        closing.state_since = closing.live_at.unwrap().plus(Duration::from_secs(1800));
        let closed_at = closing.state_since;
        assert_eq!(due(&closing, &config, closed_at.plus(Duration::from_secs(299)), false), Due::Nothing);
        assert_eq!(due(&closing, &config, closed_at.plus(Duration::from_secs(300)), false), Due::Report(closed_at));
    }
}
