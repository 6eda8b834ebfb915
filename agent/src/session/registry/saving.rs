//! Writing the state directory. While it or the log can't be written, authority can only shrink; what could not be
//! written is written later.

use std::sync::Arc;

use super::{Registry, unsaved::unwritable};
use crate::{
    policy::Files,
    session::{Error, Session, store::Numbers},
    troubles::{Trouble, Troubles},
};

impl Registry {
    /// The daemon's troubles: what it can't do at the moment.
    pub fn troubles(&self) -> &Arc<Troubles> {
        &self.troubles
    }

    /// Whether authority may be given now: not while the log can't be written.
    ///
    /// # Errors
    /// It may not.
    pub(super) fn may_grow(&self) -> Result<(), Error> {
        match self.troubles.of(Trouble::Log) {
            Some(reason) => Err(Error::Unlogged { reason }),
            None => Ok(()),
        }
    }

    /// Begins or ends the trouble with the state directory, by the result of a write. `Ok(false)` says that the file
    /// was up to date and nothing was written.
    pub(super) fn note_written(&self, written: Result<bool, Error>) -> Result<(), Error> {
        match &written {
            Ok(false) => {}
            Ok(true) => self.troubles.end(Trouble::State),
            Err(error) => self.troubles.begin(Trouble::State, unwritable(error)),
        }
        written.map(drop)
    }

    /// Writes a session's file after the kernel has the change. If that fails, it is tried again later.
    pub(super) fn save(&mut self, session: &Session) {
        let written = self.store.write_session(session);
        if written.is_err() {
            self.unsaved.sessions.insert(session.id);
            self.is_unsettled = true;
        } else {
            self.unsaved.sessions.remove(&session.id);
        }
        if let Err(error) = self.note_written(written) {
            tracing::error!(session = %session.name, "{error}; the kernel has it");
        }
    }

    /// Writes what could not be written before.
    pub(super) fn save_unsaved(&mut self) {
        if self.unsaved.numbers {
            let numbers = Numbers { generation: self.generation.0, tools: self.bits.clone() };
            let written = self.store.write_numbers(&numbers);
            self.unsaved.numbers = self.note_written(written).is_err();
        }
        for id in std::mem::take(&mut self.unsaved.sessions) {
            if let Some(session) = self.by_id(id).cloned() {
                let written = self.store.write_session(&session);
                if self.note_written(written).is_err() {
                    self.unsaved.sessions.insert(id);
                }
            }
        }
        self.is_unsettled |= self.unsaved.numbers || !self.unsaved.sessions.is_empty();
    }

    /// The files of the last good policy; `None` if there was none yet.
    ///
    /// # Errors
    /// It can't be read, or is not whole.
    pub fn last_policy(&self) -> Result<Option<Files>, Error> {
        self.store.policy()
    }

    /// Keeps the policy that is in force, of these files, for a start that finds no good one.
    pub fn keep_policy(&mut self, files: &Files) {
        let written = self.store.write_policy(files);
        if let Err(error) = self.note_written(written) {
            tracing::error!("{error}; it is in force all the same");
        }
    }
}
