//! The kernel side, from user space: loading, pinning and writing maps. The only user of aya.

mod attachment;
pub mod doctor;
pub mod events;
mod generation;
#[cfg(feature = "hole")]
mod hole;
mod kernel;
pub mod load;
mod offsets;
pub mod packets;
mod patch;
pub mod pins;
mod shared;
mod sys;
mod vacancies;

use std::os::fd::BorrowedFd;

use agent_common::{
    authority::{Expiries, Session},
    id::{BootNanos, Generation, SessionId, Slot, Tag},
    mark::{TaskRecord, Used},
};

pub use self::{attachment::Need, kernel::Kernel, sys::is_there, vacancies::Vacancies};
use crate::policy::tables::{Rules, Tables};

/// What the session registry and the policy store ask of the kernel. The real one writes BPF maps; a
/// test double records the calls.
///
/// Each method is in force for every operation that begins after it returned.
pub trait Enforcer: Send {
    /// Puts whole tables in force, those of the live sessions' own rules included, by one switch.
    ///
    /// # Errors
    /// What the kernel refused; the tables before stay in force.
    fn activate(&mut self, generation: Generation, tables: &Tables) -> Result<(), KernelError>;

    /// The generation of the tables in force; zero for none.
    ///
    /// # Errors
    /// What the kernel refused.
    fn generation(&self) -> Result<Generation, KernelError>;

    /// Adds a session's own rules (edges, affixes and the labels that they need) to the active tables.
    ///
    /// # Errors
    /// What the kernel refused; nothing was added.
    fn add_rules(&mut self, rules: &Rules) -> Result<(), KernelError>;

    /// Takes a session's own rules out of the active tables. Labels stay.
    ///
    /// # Errors
    /// What the kernel refused.
    fn remove_rules(&mut self, rules: &Rules) -> Result<(), KernelError>;

    /// Writes a session's entry and its expiries, in the order that never shows more than both the old
    /// and the new allow.
    ///
    /// # Errors
    /// What the kernel refused.
    fn write_session(
        &mut self,
        slot: Slot,
        session: &Session,
        expiries: &Expiries,
    ) -> Result<(), KernelError>;

    /// Reads a session's entry and its expiries.
    ///
    /// # Errors
    /// What the kernel refused.
    fn read_session(&self, slot: Slot) -> Result<(Session, Box<Expiries>), KernelError>;

    /// Tags the main thread of the process behind a pidfd.
    ///
    /// # Errors
    /// What the kernel refused: the process is gone, or memory is short.
    fn tag(&mut self, pidfd: BorrowedFd<'_>, tag: Tag) -> Result<(), KernelError>;

    /// Writes down which descriptors of the process behind a pidfd its session was given: they stay usable.
    ///
    /// # Errors
    /// What the kernel refused.
    fn give(
        &mut self,
        pidfd: BorrowedFd<'_>,
        session: SessionId,
        descriptors: &[u32],
    ) -> Result<(), KernelError>;

    /// Forgets what sessions were given.
    ///
    /// # Errors
    /// What the kernel refused.
    fn forget_given(&mut self, sessions: &[SessionId]) -> Result<(), KernelError>;

    /// Has the kernel look at what is needed: at more before this returns, at less some time later.
    ///
    /// # Errors
    /// What the kernel refused; as many programs as before are attached, or some more.
    fn attach(&mut self, need: Need) -> Result<(), KernelError>;

    /// Resets the TCP connections that the sessions that made them may not use any more, where the kernel can. They
    /// are refused to the session in any case.
    ///
    /// # Errors
    /// What the kernel refused.
    fn reset_connections(&mut self) -> Result<(), KernelError>;

    /// Whose the main thread of the process behind a pidfd is.
    fn tag_of(&self, pidfd: BorrowedFd<'_>) -> Confinement;

    /// Tells the kernel which socket is the control socket, before it listens: from then on who connects is written
    /// down on the connection.
    ///
    /// # Errors
    /// What the kernel refused.
    fn note_control_socket(&mut self, socket: BorrowedFd<'_>) -> Result<(), KernelError>;

    /// Whose process made an accepted connection to the control socket, whether it is still there or not.
    fn connector_of(&self, connection: BorrowedFd<'_>) -> Confinement;

    /// Lets a slot's session make no task until then: a fork fails as one that may succeed a moment later.
    ///
    /// # Errors
    /// What the kernel refused.
    fn hold_forks(&mut self, slot: Slot, until: BootNanos) -> Result<(), KernelError>;

    /// The tasks of a session that are there, with the marks of what they used. Whatever was decided before this was
    /// called is in: every program that ran is waited for.
    ///
    /// # Errors
    /// What the kernel refused.
    fn tasks(&self, session: SessionId) -> Result<Vec<TaskRecord>, KernelError>;

    /// Which tools whose loss kills the session in a slot used.
    ///
    /// # Errors
    /// What the kernel refused.
    fn used(&self, slot: Slot) -> Result<Used, KernelError>;

    /// How many live tasks carry the session's tag, as far as the kernel counted.
    ///
    /// # Errors
    /// What the kernel refused.
    fn tasks_of(&self, slot: Slot) -> Result<u64, KernelError>;
}

/// Whose a process or a connection is.
#[derive(Debug)]
#[must_use]
pub enum Confinement {
    /// This session's.
    Of(Tag),
    /// No session's; the kernel said so.
    None,
    /// Not to be known. What asks because of it is refused.
    Unknown(KernelError),
}

impl Confinement {
    /// Whether it is that session's.
    pub fn is_of(&self, tag: Tag) -> bool {
        matches!(self, Self::Of(found) if *found == tag)
    }
}

/// A refusal by the kernel, with what was asked of it.
#[derive(Debug, thiserror::Error)]
#[error("can't {action}: {source}")]
pub struct KernelError {
    /// What was tried, as a verb phrase.
    pub action: String,
    /// What the kernel said.
    #[source]
    pub source: std::io::Error,
}

impl KernelError {
    /// Whether the process that was asked for is gone.
    pub fn is_gone(&self) -> bool {
        self.source.raw_os_error() == Some(libc::ESRCH)
    }
}

#[cfg(test)]
mod tests {
    /// Whoever builds without asking for it gets no daemon that can be told to leave a hook out.
    #[test]
    fn hole_is_in_no_build_by_default() {
        let defaults =
            include_str!("../Cargo.toml").lines().find(|line| line.starts_with("default"));
        assert_eq!(defaults.filter(|line| line.contains("hole")), None);
    }
}
