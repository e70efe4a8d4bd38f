//! Waits until an instant with better than a millisecond: tokio's timer wheel is a millisecond coarse, which would show
//! up as latency of the server. On Linux a timerfd in the same event loop is exact to tens of microseconds.

use std::time::{Duration, Instant};

/// Waits closer together than this are served by one wake-up.
const GRAIN: Duration = Duration::from_micros(50);

pub struct Pacer {
    #[cfg(target_os = "linux")]
    timer: Option<tokio::io::unix::AsyncFd<rustix::fd::OwnedFd>>,
}

impl Pacer {
    #[cfg(target_os = "linux")]
    #[expect(deprecated, reason = "its successor is unsafe for descriptors that may be borrowed; an OwnedFd is not")]
    pub fn new() -> Pacer {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)
            .ok()
            .and_then(|fd| tokio::io::unix::AsyncFd::new(fd).ok());
        Pacer { timer }
    }

    #[cfg(not(target_os = "linux"))]
    pub fn new() -> Pacer {
        Pacer {}
    }

    /// Returns at `until` or shortly after; at once when it has passed.
    pub async fn wait(&self, until: Instant) {
        let left = until.saturating_duration_since(Instant::now());
        if left <= GRAIN {
            // Others must get their turn even when we are always late.
            tokio::task::yield_now().await;
            return;
        }
        #[cfg(target_os = "linux")]
        if let Some(timer) = &self.timer
            && self.arm(timer, left).await.is_ok()
        {
            return;
        }
        tokio::time::sleep(left).await;
    }

    #[cfg(target_os = "linux")]
    async fn arm(&self, timer: &tokio::io::unix::AsyncFd<rustix::fd::OwnedFd>, left: Duration) -> std::io::Result<()> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        let value = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        timerfd_settime(timer, TimerfdTimerFlags::empty(), &once)?;
        let mut expirations = [0u8; 8];
        loop {
            let mut ready = timer.readable().await?;
            if ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut expirations)?)).is_ok() {
                return Ok(());
            }
        }
    }
}
