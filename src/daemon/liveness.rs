//! Someone watches the watcher: a row every five seconds, gaps for the time nobody was here, the service manager's
//! watchdog, and clock jumps.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::clock::Timestamp;
use crate::domain::gap::{Gap, GapReason};
use crate::store::{Store, StoreError};

/// How often the daemon writes that it lives; a restart can place its gap to within this.
pub const BEAT_EVERY: Duration = Duration::from_secs(5);

/// Wall and monotonic clock may part by this much between two beats before it counts as a jump.
const CLOCK_JUMP_MIN: Duration = Duration::from_secs(5);

/// Covers the time since the last sign of life of an earlier boot with a gap.
pub async fn record_downtime(store: &Store, now: Timestamp) -> Result<(), StoreError> {
    let Some((last, clean)) = store.state.last_beat().await? else { return Ok(()) };
    let away = now.since(last);
    if away > BEAT_EVERY * 2 {
        let detail = if clean { "daemon was stopped" } else { "daemon died" };
        let gap = Gap { target: "*".into(), from: last, to: now, reason: GapReason::DaemonDown, detail: detail.into() };
        store.samples.record_gap(gap).await?;
    }
    Ok(())
}

/// Beats until shutdown.
pub async fn beat(store: Store, boot: String, shutdown: CancellationToken) {
    let clock = store.clock.clone();
    let (mut wall, mut mono) = (clock.now(), clock.monotonic());
    loop {
        if let Err(error) = store.state.beat(&boot, clock.now()).await {
            tracing::error!(%error, "writing the liveness row failed");
        } else {
            // Only a daemon that can write may tell the service manager that it is well.
            notify_manager(false);
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(BEAT_EVERY) => {}
        }
        let (now, tick) = (clock.now(), clock.monotonic());
        if let Some(gap) = clock_jump(wall, now, tick.saturating_sub(mono)) {
            tracing::warn!(detail = %gap.detail, "the clock jumped");
            if let Err(error) = store.samples.record_gap(gap).await {
                tracing::error!(%error, "recording the clock jump failed");
            }
        }
        (wall, mono) = (now, tick);
    }
}

/// The gap for a wall clock that moved otherwise than time did, or `None` when they agree.
fn clock_jump(before: Timestamp, now: Timestamp, elapsed: Duration) -> Option<Gap> {
    let expected = before.plus(elapsed);
    let (early, late) = (now.min(expected), now.max(expected));
    let by = late.since(early);
    (by > CLOCK_JUMP_MIN).then(|| Gap {
        target: "*".into(),
        from: early,
        to: late,
        reason: if now > expected { GapReason::Suspended } else { GapReason::ClockJump },
        detail: format!("wall clock {} by {} s", if now > expected { "ahead" } else { "back" }, by.as_secs()),
    })
}

/// Tells systemd that we are ready, or alive; nothing happens elsewhere.
pub fn notify_manager(ready: bool) {
    #[cfg(unix)]
    {
        let state = if ready { sd_notify::NotifyState::Ready } else { sd_notify::NotifyState::Watchdog };
        let _ = sd_notify::notify(&[state]);
    }
    #[cfg(not(unix))]
    let _ = ready;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreeing_clocks_make_no_gap_and_parting_ones_do() {
        let t = Timestamp::from_ms(1_000_000);
        let five = Duration::from_secs(5);
        assert_eq!(clock_jump(t, t.plus(five), five), None);
        let ahead = clock_jump(t, t.plus(Duration::from_secs(3605)), five).unwrap();
        assert_eq!((ahead.from, ahead.to), (t.plus(five), t.plus(Duration::from_secs(3605))));
        assert_eq!(ahead.reason, GapReason::Suspended);
        let back = clock_jump(t, t.minus(Duration::from_secs(3600)), five).unwrap();
        assert_eq!(back.reason, GapReason::ClockJump);
    }
}
