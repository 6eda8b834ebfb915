//! The canary's session: an entry in the kernel and a tag, and nothing else. It has a slot of its own behind those of
//! users' sessions, is in no list, has no file, and ends with its process.

use std::{os::fd::BorrowedFd, time::Duration};

use agent_common::{
    access::{Right, Rights},
    authority::{self, State},
    id::{BootNanos, SessionId, Slot, Tag},
    limits::TOOLS,
};

use super::{Error, Registry};

/// How long a run may last.
const LIFETIME: Duration = Duration::from_secs(60);

impl Registry {
    /// Tags a process as the canary's. Its session holds no tool, and replaces the canary's session before.
    ///
    /// # Errors
    /// What the kernel refused; the process is untagged then.
    pub fn start_canary(&mut self, process: BorrowedFd<'_>) -> Result<SessionId, Error> {
        self.watch_canary()?;
        let now = self.clock.now();
        let id = self.new_id(now).0;
        self.write_canary(id, State::Active, now.after(LIFETIME).nanos())?;
        self.enforcer.tag(process, Tag { session: id, slot: Slot::CANARY, marks: 0 })?;
        Ok(id)
    }

    /// Ends the canary's session: whatever its process tries from here on is refused.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn end_canary(&mut self, id: SessionId) -> Result<(), Error> {
        let written = self.write_canary(id, State::Ended, BootNanos(0));
        self.unwatch_canary();
        written
    }

    fn write_canary(
        &mut self,
        id: SessionId,
        state: State,
        expires: BootNanos,
    ) -> Result<(), Error> {
        let entry =
            authority::Session { id, expires, state: state as u32, ..authority::Session::FREE };
        let expiries = Box::new([BootNanos(0); TOOLS]);
        self.enforcer.write_session(Slot::CANARY, &entry, &expiries)?;
        Ok(())
    }

    /// Whether the policy in force denies everybody to read a path.
    pub fn denies_reading(&self, path: &str) -> bool {
        let rights = Rights::of(Right::Read);
        let labels = self.compiled.explain_path(path, rights, false, None).labels;
        labels.iter().any(|label| Rights(label.denied).meets(rights))
    }
}
