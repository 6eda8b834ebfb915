//! Which hooks are attached. A program that is attached costs every process of the host, whoever it is asked for:
//! so all are loaded and pinned from the start, and attached while something needs them.
//!
//! Owns the links. What is needed more is attached before [`Attachment::set`] returns; what is needed less is taken
//! off later, hook by hook: the kernel waits some hundred milliseconds for each.

use std::{
    fs, io,
    os::fd::AsFd as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use super::{pins::Pins, sys};

/// What hooks have to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Nothing: there is no session.
    Nothing,
    /// What sessions do.
    Acts,
    /// Each use of what is open as well: something may be lost that a session has open.
    Uses,
}

/// The hooks on the data path, which look at each use of what is open.
const USES: [&str; 4] = ["file_permission", "socket_recvmsg", "socket_getsockopt", "socket_accept"];

impl Need {
    fn covers(self, hook: &str) -> bool {
        self >= if USES.contains(&hook) { Self::Uses } else { Self::Acts }
    }
}

/// Whether a hook is on the data path.
pub(super) fn is_of_use(hook: &str) -> bool {
    USES.contains(&hook)
}

/// Ends the name of a pin that has not taken its place yet (the BPF file system allows no dot in names).
pub(super) const NEW: &str = "-new";

/// The hooks of the loaded programs, and which of them are wanted.
pub(super) struct Attachment {
    shared: Arc<Shared>,
}

struct Shared {
    pins: Pins,
    hooks: Vec<String>,
    need: Mutex<Need>,
    /// Held while one hook is attached or taken off.
    turn: Mutex<()>,
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a panic left is looked at again each time.
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Attachment {
    /// Of the programs that are pinned.
    pub(super) fn new(pins: Pins, hooks: Vec<String>) -> Self {
        let (need, turn) = (Mutex::new(Need::Nothing), Mutex::new(()));
        Self { shared: Arc::new(Shared { pins, hooks, need, turn }) }
    }

    /// Attaches what is needed and not attached; has taken off what is not needed any more, after it returned.
    ///
    /// # Errors
    /// What the kernel says; then some of it may be attached.
    pub(super) fn set(&self, need: Need) -> io::Result<()> {
        let shared = &self.shared;
        *lock(&shared.need) = need;
        {
            let _turn = lock(&shared.turn);
            for hook in shared.hooks.iter().filter(|hook| need.covers(hook)) {
                shared.attach(hook)?;
            }
        }
        let is_spare = |hook: &String| !need.covers(hook) && shared.is_attached(hook);
        if shared.hooks.iter().any(is_spare) {
            let shared = Arc::clone(shared);
            let take_off = move || shared.take_off();
            thread::Builder::new().name("detach".into()).spawn(take_off)?;
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

    /// Takes off what is not needed when its turn comes.
    fn take_off(&self) {
        for hook in &self.hooks {
            let _turn = lock(&self.turn);
            if lock(&self.need).covers(hook) || !self.is_attached(hook) {
                continue;
            }
            if let Err(error) = take_off(&self.pins, hook) {
                tracing::warn!(hook, "can't take the program off its hook: {error}");
            }
        }
    }
}

/// Attaches a hook's pinned program and pins the link, in the place of an older one: the new program is there before
/// the old one goes.
///
/// # Errors
/// What the kernel says.
pub(super) fn attach(pins: &Pins, hook: &str) -> io::Result<()> {
    let program = sys::pinned(&pins.programs().join(hook))?;
    let link = sys::attach(program.as_fd())?;
    let new = pins.links().join(format!("{hook}{NEW}"));
    let _ = fs::remove_file(&new);
    sys::pin(link.as_fd(), &new)?;
    fs::rename(&new, pins.links().join(hook))
}

/// Takes a hook's program off.
fn take_off(pins: &Pins, hook: &str) -> io::Result<()> {
    let path = pins.links().join(hook);
    // Whoever drops a link last waits until its program is off: the kernel attaches none that is still on its way.
    let link = sys::pinned(&path)?;
    fs::remove_file(&path)?;
    drop(link);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_path_is_for_uses_alone_and_nothing_for_nothing() {
        for hook in USES {
            assert!(!Need::Nothing.covers(hook) && !Need::Acts.covers(hook));
            assert!(Need::Uses.covers(hook));
        }
        assert!(!Need::Nothing.covers("file_open"));
        assert!(Need::Acts.covers("file_open") && Need::Uses.covers("file_open"));
    }
}
