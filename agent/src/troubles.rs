//! What the daemon can't do at the moment. It is reported in the daemon's log, by `remit doctor`, and with every answer
//! to an operator, until it is mended. Decides nothing.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// The policy's folder has errors, and another policy is in force.
    Policy,
    /// The state directory can't be written.
    State,
    /// The log can't be written.
    Log,
}

/// The present troubles.
#[derive(Debug, Default)]
pub struct Troubles(Mutex<BTreeMap<Trouble, String>>);

impl Troubles {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Trouble, String>> {
        // Plain values, which a panic leaves whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a trouble, or gives it another message. The log gets it if it is new.
    pub fn begin(&self, what: Trouble, message: impl Into<String>) {
        let message = message.into();
        let mut troubles = self.lock();
        if !troubles.contains_key(&what) {
            tracing::error!("{message}");
        }
        troubles.insert(what, message);
    }

    /// Ends a trouble.
    pub fn end(&self, what: Trouble) {
        if let Some(message) = self.lock().remove(&what) {
            tracing::info!("mended: {message}");
        }
    }

    /// The message of a trouble, if there is one of this kind.
    pub fn of(&self, what: Trouble) -> Option<String> {
        self.lock().get(&what).cloned()
    }

    /// The messages of all troubles, one sentence each.
    pub fn list(&self) -> Vec<String> {
        self.lock().values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_lasts_until_it_is_mended() {
        let troubles = Troubles::default();
        assert!(troubles.list().is_empty());
        troubles.begin(Trouble::Log, "the log is full");
        troubles.begin(Trouble::Policy, "the policy is wrong");
        troubles.begin(Trouble::Log, "the log is still full");
        assert_eq!(troubles.list(), ["the policy is wrong", "the log is still full"]);
        troubles.end(Trouble::Policy);
        assert_eq!(troubles.of(Trouble::Policy), None);
        assert_eq!(troubles.of(Trouble::Log).as_deref(), Some("the log is still full"));
    }
}
