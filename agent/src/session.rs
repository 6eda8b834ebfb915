//! Sessions: who runs, what each holds, until when. Owns the registry, the only writer of the
//! kernel's session entries (through [`crate::bpf::Enforcer`]) and of the state directory.
//!
//! Order of writes: authority that grows is written to the state directory first and to the kernel
//! after; authority that shrinks, the other way round. So a crash between the two leaves a session
//! with less than was meant, and never a permission that nobody can name.

pub mod clock;
mod entry;
pub mod error;
pub mod folder;
pub mod id;
pub mod kill;
pub mod mappings;
mod marked;
pub mod model;
mod name;
pub mod policy_dir;
pub mod registry;
mod store;
pub mod witness;

#[cfg(test)]
pub(crate) mod testing;

use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

pub use error::Error;
pub use id::Id;
pub use model::{Actor, Session};
pub use registry::Registry;

/// Ends the process: enforcement stays, and the service manager starts another.
fn half_changed() -> ! {
    tracing::error!("a panic left the registry half changed: the daemon ends, enforcement stays");
    std::process::abort()
}

/// The registry as its users share it: one caller at a time.
#[derive(Clone)]
pub struct Sessions(Arc<Mutex<Registry>>);

impl Sessions {
    /// Shares a registry.
    pub fn new(registry: Registry) -> Self {
        Self(Arc::new(Mutex::new(registry)))
    }

    /// Waits for the registry. It writes maps and files, so an asynchronous caller does this on a
    /// thread that may block.
    ///
    /// Where a caller panicked while it held the registry, that is half changed, and nobody can say how: the process
    /// ends, and the next one takes over what the kernel has.
    pub fn lock(&self) -> MutexGuard<'_, Registry> {
        self.0.lock().unwrap_or_else(|_| half_changed())
    }

    /// The registry, unless somebody has it.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, Registry>> {
        match self.0.try_lock() {
            Ok(registry) => Some(registry),
            Err(TryLockError::Poisoned(_)) => half_changed(),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Deals with what is left of authority that was lost, beside being refused: connections are reset, and
    /// processes that used it are killed where the policy says so. Costs nothing where nothing was lost.
    ///
    /// # Errors
    /// Processes that the policy says are killed live on. The log has it.
    pub fn settle_losses(&self) -> Result<(), Error> {
        self.lock().reset_lost_connections();
        mappings::settle(self)
    }
}
