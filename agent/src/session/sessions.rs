//! The registry as its users share it: one caller at a time.

use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use super::Registry;

/// A handle on the registry; clones share it.
#[derive(Clone)]
pub struct Sessions(Arc<Mutex<Registry>>);

impl Sessions {
    /// Shares a registry.
    pub fn new(registry: Registry) -> Self {
        Self(Arc::new(Mutex::new(registry)))
    }

    /// Waits for the registry. Its users write maps and files, so an asynchronous caller does this on a thread that may
    /// block.
    ///
    /// A caller that panicked with the registry in hand may have left it half changed, and nobody can say how. Then the
    /// process ends, and the next daemon takes over what the kernel has.
    pub fn lock(&self) -> MutexGuard<'_, Registry> {
        self.0.lock().unwrap_or_else(|_| abort_half_changed())
    }

    /// The registry, unless another caller has it.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, Registry>> {
        match self.0.try_lock() {
            Ok(registry) => Some(registry),
            Err(TryLockError::Poisoned(_)) => abort_half_changed(),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// Ends the process. Enforcement stays, and the service manager starts another daemon.
fn abort_half_changed() -> ! {
    tracing::error!("a panic left the registry half changed: the daemon ends, enforcement stays");
    std::process::abort()
}
