//! Who makes a request: a peer, and its standing at that moment.

use std::sync::{Arc, OnceLock};

use super::{
    ApiError,
    access::{self, Account, Standing},
    peer::Peer,
    users,
};
use crate::session::{Actor, Id, Sessions};

/// The caller of one request. Its standing is weighed once: all that decides on the request goes by the same answer.
pub(super) struct Caller {
    peer: Arc<Peer>,
    standing: OnceLock<Result<Standing, ApiError>>,
}

impl Caller {
    /// A caller that was not weighed yet.
    pub(super) fn new(peer: Arc<Peer>) -> Self {
        Self { peer, standing: OnceLock::new() }
    }

    /// The peer.
    pub(super) fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// The standing, which is established at the first call. That may block, and must come after the request was read:
    /// a peer can become a session's process meanwhile.
    ///
    /// # Errors
    /// The kernel does not tell whether the peer belongs to a session.
    pub(super) fn weigh(&self, sessions: &Sessions, group: &str) -> Result<Standing, ApiError> {
        let weigh = || {
            // Users and groups are looked up after the registry was unlocked, since that may take a while.
            let (confinement, policy) = {
                let registry = sessions.lock();
                (self.peer.confinement(registry.enforcer()), Arc::clone(registry.policy()))
            };
            access::standing(&self.peer, confinement, group, &policy)
        };
        self.standing.get_or_init(weigh).clone()
    }

    /// The standing, if it was weighed.
    pub(super) fn standing(&self) -> Option<Result<Standing, ApiError>> {
        self.standing.get().cloned()
    }

    /// The account of the caller: that of its user as long as no session is known.
    pub(super) fn account(&self) -> Account {
        match self.standing.get() {
            Some(Ok(Standing::Confined(tag))) => Account::Session(tag.session),
            _ => Account::User(self.peer.uid),
        }
    }

    /// The session that the caller belongs to, if one is known.
    pub(super) fn session(&self) -> Option<Id> {
        match self.account() {
            Account::Session(session) => Some(Id(session)),
            Account::User(_) => None,
        }
    }

    /// The caller, as the log names it.
    pub(super) fn actor(&self) -> Actor {
        Actor { uid: self.peer.uid, user: users::name(self.peer.uid), pid: self.peer.pid }
    }
}
