//! What the state directory and the log can have now, and what that means: where they can't be written, authority only
//! shrinks, and what could not be written follows.

use std::{collections::BTreeSet, sync::Arc};

use super::{Error, Registry};
use crate::{
    policy::Source,
    session::{Id, Session, store::Numbers},
    troubles::{Trouble, Troubles},
};

/// What the state directory does not have as it is, because it could not be written.
#[derive(Default)]
pub(super) struct Unsaved {
    pub(super) sessions: BTreeSet<Id>,
    pub(super) numbers: bool,
}

/// What is said of a state directory that can't be written.
pub(super) fn unwritable(error: &Error) -> String {
    format!(
        "{error}: nothing that gives authority is done until it can be written; sessions can be revoked, quarantined \
         and ended"
    )
}

impl Registry {
    /// What can't be done at the moment.
    pub fn troubles(&self) -> &Arc<Troubles> {
        &self.troubles
    }

    /// Whether authority may be given now: not while the log can't have its line.
    ///
    /// # Errors
    /// It may not.
    pub(super) fn may_grow(&self) -> Result<(), Error> {
        match self.troubles.of(Trouble::Log) {
            Some(reason) => Err(Error::Unlogged { reason }),
            None => Ok(()),
        }
    }

    /// Notes whether the state directory can be written, by what came of a try.
    pub(super) fn noted(&self, written: Result<bool, Error>) -> Result<(), Error> {
        match &written {
            // It said the same already: nothing was tried.
            Ok(false) => {}
            Ok(true) => self.troubles.end(Trouble::State),
            Err(error) => self.troubles.begin(Trouble::State, unwritable(error)),
        }
        written.map(drop)
    }

    /// Writes a session's file that is not needed for what the kernel has; where that fails, it is tried again later.
    pub(super) fn save(&mut self, session: &Session) {
        let written = self.store.write_session(session);
        if written.is_err() {
            self.unsaved.sessions.insert(session.id);
            self.is_unsettled = true;
        } else {
            self.unsaved.sessions.remove(&session.id);
        }
        if let Err(error) = self.noted(written) {
            tracing::error!(session = %session.name, "{error}; the kernel has it");
        }
    }

    /// Writes what could not be written before.
    pub(super) fn save_rest(&mut self) {
        if self.unsaved.numbers {
            let numbers = Numbers { generation: self.generation.0, tools: self.bits.clone() };
            let written = self.store.write_numbers(&numbers);
            self.unsaved.numbers = self.noted(written).is_err();
        }
        for id in std::mem::take(&mut self.unsaved.sessions) {
            if let Some(session) = self.by_id(id).cloned() {
                let written = self.store.write_session(&session);
                if self.noted(written).is_err() {
                    self.unsaved.sessions.insert(id);
                }
            }
        }
        self.is_unsettled |= self.unsaved.numbers || !self.unsaved.sessions.is_empty();
    }

    /// The last policy that was in force, as it is kept; none before the first.
    ///
    /// # Errors
    /// It can't be read, or is not whole.
    pub fn last_policy(&self) -> Result<Option<Vec<Source>>, Error> {
        self.store.policy()
    }

    /// Keeps the policy that is in force, of these files, for a start that finds no good one.
    pub fn keep_policy(&mut self, sources: &[Source]) {
        let written = self.store.write_policy(sources);
        if let Err(error) = self.noted(written) {
            tracing::error!("{error}; it is in force all the same");
        }
    }
}
