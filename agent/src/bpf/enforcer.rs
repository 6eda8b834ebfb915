//! The interface between the session registry and the kernel.

use std::os::fd::BorrowedFd;

use agent_common::{
    authority::{Expiries, Session},
    id::{BootNanos, Generation, SessionId, Slot, Tag},
    mark::{TaskRecord, Used},
};

use super::{attachment::Need, error::KernelError};
use crate::policy::tables::{Rules, Tables};

/// The operations that the session registry needs of the kernel. The real implementation writes BPF maps; a test double
/// records the calls.
///
/// Each method is in force for every operation that begins after it returned.
pub trait Enforcer: Send {
    /// Puts a whole policy's tables in force by one switch. They include the own rules of the live sessions.
    ///
    /// # Errors
    /// What the kernel refused; the tables before stay in force.
    fn activate(&mut self, generation: Generation, tables: &Tables) -> Result<(), KernelError>;

    /// The generation of the tables in force; zero if there are none.
    ///
    /// # Errors
    /// What the kernel refused.
    fn generation(&self) -> Result<Generation, KernelError>;

    /// Adds a session's own rules (edges, affixes and the labels that they need) to the active tables.
    ///
    /// # Errors
    /// What the kernel refused; nothing was added.
    fn add_rules(&mut self, rules: &Rules) -> Result<(), KernelError>;

    /// Removes a session's own rules from the active tables. Labels stay.
    ///
    /// # Errors
    /// What the kernel refused.
    fn remove_rules(&mut self, rules: &Rules) -> Result<(), KernelError>;

    /// Writes a session's entry and its expiries, in an order in which no moment allows more than both the old and the
    /// new entry do.
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
    /// What the kernel refused: the process has exited, or memory is short.
    fn tag(&mut self, pidfd: BorrowedFd<'_>, tag: Tag) -> Result<(), KernelError>;

    /// Records which descriptors of the process behind a pidfd its session was given: these stay usable.
    ///
    /// # Errors
    /// What the kernel refused.
    fn give(
        &mut self,
        pidfd: BorrowedFd<'_>,
        session: SessionId,
        descriptors: &[u32],
    ) -> Result<(), KernelError>;

    /// Removes the records of the descriptors that sessions were given.
    ///
    /// # Errors
    /// What the kernel refused.
    fn forget_given(&mut self, sessions: &[SessionId]) -> Result<(), KernelError>;

    /// Attaches the hooks that are needed, before this returns, and detaches the others, some time later.
    ///
    /// # Errors
    /// What the kernel refused; no hook that was attached is detached, and some more may be attached.
    fn attach(&mut self, need: Need) -> Result<(), KernelError>;

    /// Resets the TCP connections that the sessions that made them may not use any more, where the kernel can. Their
    /// use is refused to the session in any case.
    ///
    /// # Errors
    /// What the kernel refused.
    fn reset_connections(&mut self) -> Result<(), KernelError>;

    /// The session of the main thread of the process behind a pidfd.
    fn tag_of(&self, pidfd: BorrowedFd<'_>) -> Confinement;

    /// Tells the kernel which socket is the control socket, before it listens: from then on the kernel records the
    /// session of whoever connects.
    ///
    /// # Errors
    /// What the kernel refused.
    fn note_control_socket(&mut self, socket: BorrowedFd<'_>) -> Result<(), KernelError>;

    /// The session of the process that made an accepted connection to the control socket, also if that process has
    /// exited.
    fn connector_of(&self, connection: BorrowedFd<'_>) -> Confinement;

    /// Makes every fork of a slot's session fail until then, with an error after which a program may try again.
    ///
    /// # Errors
    /// What the kernel refused.
    fn hold_forks(&mut self, slot: Slot, until: BootNanos) -> Result<(), KernelError>;

    /// A session's tasks, with the marks of the tools that they used. Every decision that was made before this call is
    /// included: programs that are running are waited for.
    ///
    /// # Errors
    /// What the kernel refused.
    fn tasks(&self, session: SessionId) -> Result<Vec<TaskRecord>, KernelError>;

    /// Which of the tools with `on_revoke = "kill"` or `"kill-session"` the session in a slot used.
    ///
    /// # Errors
    /// What the kernel refused.
    fn used(&self, slot: Slot) -> Result<Used, KernelError>;

    /// The kernel's count of live tasks that carry the session's tag.
    ///
    /// # Errors
    /// What the kernel refused.
    fn tasks_of(&self, slot: Slot) -> Result<u64, KernelError>;
}

/// The session of a process or of a connection.
#[derive(Debug)]
#[must_use]
pub enum Confinement {
    /// It belongs to this session.
    Of(Tag),
    /// The kernel said that it belongs to no session.
    None,
    /// The kernel could not tell. Whatever is asked for is refused.
    Unknown(KernelError),
}

impl Confinement {
    /// Whether it belongs to this session.
    pub fn is_of(&self, tag: Tag) -> bool {
        matches!(self, Self::Of(found) if *found == tag)
    }
}
