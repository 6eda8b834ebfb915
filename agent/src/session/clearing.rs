//! Removes the temporary folders of sessions that are over: at the session's end, and what another daemon left.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{Arc, TryLockError, atomic::Ordering},
};

use super::{
    Id, Session, Sessions,
    private::{PrivateFolders, locked, names, read},
};

/// Removes the temporary folders of sessions that are over. Those that can't be removed are tried again by the next
/// call. Costs one listing of a folder if there are none. While another thread does it, that one goes over them again.
pub fn clear(sessions: &Sessions) {
    let folders = Arc::clone(sessions.lock().private());
    folders.is_wanted.store(true, Ordering::SeqCst);
    while folders.is_wanted.load(Ordering::SeqCst) {
        let mut left = match folders.left.try_lock() {
            Ok(left) => left,
            Err(TryLockError::Poisoned(left)) => left.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        folders.is_wanted.store(false, Ordering::SeqCst);
        clear_once(sessions, &folders, &mut left);
    }
}

fn clear_once(sessions: &Sessions, folders: &PrivateFolders, left: &mut BTreeMap<String, String>) {
    for name in names(&folders.records) {
        let file = folders.record(&name);
        // In this order: a session that is no longer being started is live, or never will be.
        if locked(&folders.starting).contains(&name) {
            continue;
        }
        let Some(record) = read(&file) else { continue };
        let state = state_of(sessions, &record.path);
        if state == State::Live {
            continue;
        }
        match folders.remove(&name, &record) {
            // Processes of a session in audit mode can still make files.
            Ok(()) if state == State::Lingering => {}
            Ok(()) => {
                left.remove(&name);
                if let Err(error) = fs::remove_file(&file) {
                    tracing::warn!("can't remove `{}`: {error}", file.display());
                }
            }
            Err(error) => {
                let why = error.to_string();
                if left.insert(name, why.clone()).as_ref() != Some(&why) {
                    let path = record.path.display();
                    tracing::warn!("can't remove all of `{path}`: {why}; it is tried again");
                }
            }
        }
    }
}

/// What has become of the session of a temporary folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Live,
    /// It has ended, and processes of it are left.
    Lingering,
    Over,
}

fn state_of(sessions: &Sessions, path: &Path) -> State {
    let registry = sessions.lock();
    let has_it =
        |session: &&Session| session.variables.get("tmp").is_some_and(|tmp| Path::new(tmp) == path);
    if registry.live().any(|session| has_it(&session)) {
        return State::Live;
    }
    let ended: Option<Id> = registry.ended().find(has_it).map(|session| session.id);
    if ended.is_some_and(|id| registry.has_survivors(id)) { State::Lingering } else { State::Over }
}
