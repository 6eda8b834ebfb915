//! Which hooks are attached. An attached program costs every process of the host, also those outside of all sessions.
//! So all programs are loaded and pinned from the start, and attached only while a session needs them.
//!
//! Owns the links. Hooks that are needed are attached before [`Attachment::set`] returns. Hooks that are not are
//! detached later, one by one: the kernel takes some hundred milliseconds for each.

use std::{
    fs, io,
    os::fd::AsFd as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use super::{
    pins::{self, Pins},
    sys,
};

/// Which operations the hooks have to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// None: there is no session.
    Nothing,
    /// What sessions open, run, connect to and change.
    Acts,
    /// Each use of an open file or socket too: a session may lose a tool that it has something open by.
    Uses,
}

/// The hooks on the data path, which see each use of an open file or socket.
const USE_HOOKS: [&str; 4] =
    ["file_permission", "socket_recvmsg", "socket_getsockopt", "socket_accept"];

impl Need {
    fn covers(self, hook: &str) -> bool {
        self >= if USE_HOOKS.contains(&hook) { Self::Uses } else { Self::Acts }
    }
}

/// Whether a hook is on the data path.
pub(super) fn is_use_hook(hook: &str) -> bool {
    USE_HOOKS.contains(&hook)
}

/// The hooks of the pinned programs, and which of them have to be attached.
pub(super) struct Attachment {
    shared: Arc<Shared>,
}

struct Shared {
    pins: Pins,
    hooks: Vec<String>,
    need: Mutex<Need>,
    /// Held while one hook is attached or detached.
    changing: Mutex<()>,
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic leaves nothing half changed that matters: which hooks are attached is read from the pins each time.
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Attachment {
    /// For the hooks whose programs are pinned.
    pub(super) fn new(pins: Pins, hooks: Vec<String>) -> Self {
        let (need, changing) = (Mutex::new(Need::Nothing), Mutex::new(()));
        Self { shared: Arc::new(Shared { pins, hooks, need, changing }) }
    }

    /// Attaches the hooks that are needed, and starts to detach the others.
    ///
    /// # Errors
    /// What the kernel says; some hooks may be attached then.
    pub(super) fn set(&self, need: Need) -> io::Result<()> {
        let shared = &self.shared;
        *lock(&shared.need) = need;
        {
            let _changing = lock(&shared.changing);
            for hook in shared.hooks.iter().filter(|hook| need.covers(hook)) {
                shared.attach(hook)?;
            }
        }
        let is_spare = |hook: &String| !need.covers(hook) && shared.is_attached(hook);
        if shared.hooks.iter().any(is_spare) {
            let shared = Arc::clone(shared);
            thread::Builder::new().name("detach".into()).spawn(move || shared.detach_unneeded())?;
        }
        Ok(())
    }
}

impl Shared {
    fn is_attached(&self, hook: &str) -> bool {
        self.pins.links().join(hook).exists()
    }

    fn attach(&self, hook: &str) -> io::Result<()> {
        if self.is_attached(hook) { Ok(()) } else { attach(&self.pins, hook) }
    }

    /// Detaches the hooks that are not needed, each unless it is needed again by then.
    fn detach_unneeded(&self) {
        for hook in &self.hooks {
            let _changing = lock(&self.changing);
            if lock(&self.need).covers(hook) || !self.is_attached(hook) {
                continue;
            }
            if let Err(error) = detach(&self.pins, hook) {
                tracing::warn!(hook, "can't take the program off its hook: {error}");
            }
        }
    }
}

/// Attaches a hook's pinned program and pins the link, in place of an older one. The new program is attached before the
/// old one is detached.
///
/// # Errors
/// What the kernel says.
pub(super) fn attach(pins: &Pins, hook: &str) -> io::Result<()> {
    let program = sys::pinned(&pins.programs().join(hook))?;
    let link = sys::attach(program.as_fd())?;
    pins::replace(link.as_fd(), &pins.links(), hook)
}

/// Detaches a hook's program.
fn detach(pins: &Pins, hook: &str) -> io::Result<()> {
    let path = pins.links().join(hook);
    // Closing the last reference waits until the program is detached. Without this one the kernel would detach it at
    // some later time, and refuse to attach it again until then.
    let link = sys::pinned(&path)?;
    fs::remove_file(&path)?;
    drop(link);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn need_covers_data_path_hooks_for_uses_alone() {
        for hook in USE_HOOKS {
            assert!(!Need::Nothing.covers(hook) && !Need::Acts.covers(hook));
            assert!(Need::Uses.covers(hook));
        }
        assert!(!Need::Nothing.covers("file_open"));
        assert!(Need::Acts.covers("file_open") && Need::Uses.covers("file_open"));
    }
}
