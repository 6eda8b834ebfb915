//! A timer by the clock of expiries, which goes on while the host sleeps. The runtime's own stands still then, and
//! wakes two or three times on its way to a time that is seconds away.

use std::{io, os::fd::OwnedFd, time::Duration};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::{Interest, unix::AsyncFd};

/// Rings once for each time that it is set.
pub(super) struct Alarm(AsyncFd<OwnedFd>);

impl Alarm {
    /// One that is not set. In the runtime.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Boottime, flags)?;
        // SAFETY: the descriptor is open as long as the value is there.
        let timer = unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) }?;
        Ok(Self(timer))
    }

    /// Has it ring after a time, and at no other; never if none.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn set(&self, after: Option<Duration>) -> io::Result<()> {
        // No time at all would mean never.
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
    pub(super) async fn rung(&self) -> io::Result<()> {
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
    async fn alarm_rings_once_at_the_time_that_it_was_set_to_last() {
        let alarm = Alarm::new().unwrap();
        let brief = Duration::from_millis(50);
        let begin = Instant::now();
        alarm.set(Some(Duration::ZERO)).unwrap();
        alarm.set(Some(brief)).unwrap();
        alarm.rung().await.unwrap();
        assert!(begin.elapsed() >= brief, "{:?}", begin.elapsed());
        assert!(timeout(2 * brief, alarm.rung()).await.is_err(), "it rang twice");
        alarm.set(Some(brief)).unwrap();
        alarm.set(None).unwrap();
        assert!(timeout(2 * brief, alarm.rung()).await.is_err(), "it was not set");
        alarm.set(Some(Duration::ZERO)).unwrap();
        alarm.rung().await.unwrap();
    }
}
