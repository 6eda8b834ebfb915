//! A timer by the clock of expiries, which goes on while the host sleeps. The runtime's own timers stand still then,
//! and wake the daemon two or three times before a time that is seconds away.

use std::{io, os::fd::OwnedFd, time::Duration};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::{Interest, unix::AsyncFd};

/// A timer that fires once for each time that it is set.
pub(super) struct Alarm(AsyncFd<OwnedFd>);

impl Alarm {
    /// A timer that is not set. To be called in the runtime.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Boottime, flags)?;
        // SAFETY: the descriptor is open as long as the value lives.
        let timer = unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) }?;
        Ok(Self(timer))
    }

    /// Sets when it fires, instead of any earlier setting; `None` for never.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn set(&self, after: Option<Duration>) -> io::Result<()> {
        // Zero would mean never.
        let after = after.map_or(Duration::ZERO, |after| after.max(Duration::from_nanos(1)));
        let seconds = i64::try_from(after.as_secs()).unwrap_or(i64::MAX);
        let it_value = Timespec { tv_sec: seconds, tv_nsec: after.subsec_nanos().into() };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }

    /// Waits until it rings.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) async fn fired(&self) -> io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            match rustix::io::read(self.0.get_ref(), &mut [0; 8]) {
                Ok(_) => return Ok(()),
                // It was set anew since.
                Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn alarm_set_twice_fires_once_at_the_later_setting() {
        let alarm = Alarm::new().unwrap();
        let brief = Duration::from_millis(50);
        let begin = Instant::now();
        alarm.set(Some(Duration::ZERO)).unwrap();
        alarm.set(Some(brief)).unwrap();
        alarm.fired().await.unwrap();
        assert!(begin.elapsed() >= brief, "{:?}", begin.elapsed());
        assert!(timeout(2 * brief, alarm.fired()).await.is_err(), "it fired twice");
        alarm.set(Some(brief)).unwrap();
        alarm.set(None).unwrap();
        assert!(timeout(2 * brief, alarm.fired()).await.is_err(), "it was not set");
        alarm.set(Some(Duration::ZERO)).unwrap();
        alarm.fired().await.unwrap();
    }
}
