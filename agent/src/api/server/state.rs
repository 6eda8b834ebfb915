//! What all request handlers share, and the one way in which a request is admitted.

use std::{io, sync::Arc};

use super::{
    ApiError,
    access::{self, Action, Standing},
    attempts::{Attempt, Attempts},
    caller::Caller,
    log::Log,
    peer::Peer,
};
use crate::{
    session::{Actor, Session, Sessions, policy_dir::PolicyDir},
    vitals::Vitals,
};

/// The most bytes of an operator's request: a policy of 100,000 rules, with some room.
pub(super) const OPERATOR_BODY_BYTES: usize = 64 << 20;

/// What requests are answered with.
#[derive(Clone)]
pub struct Server {
    /// The sessions.
    pub sessions: Sessions,
    /// The policy's folder.
    pub policy: PolicyDir,
    /// The incident log.
    pub log: Arc<dyn Log>,
    /// The operators' group.
    pub group: Arc<str>,
    /// Counts the threads of a process: [`super::peer::threads`].
    pub threads: fn(u32) -> io::Result<usize>,
    /// What the daemon measures of itself.
    pub vitals: Arc<Vitals>,
    /// Makes the canary run now, and returns when it has.
    pub canary: Arc<dyn Fn() + Send + Sync>,
    /// Recent acts of control that were refused or failed.
    pub attempts: Attempts,
}

/// A request that was admitted.
pub(super) struct Call {
    /// Who asks.
    pub(super) peer: Arc<Peer>,
    /// The peer's standing.
    pub(super) standing: Standing,
    /// The peer, as the log names it.
    pub(super) actor: Actor,
}

impl Call {
    /// Whether the peer may see a session.
    pub(super) fn sees(&self, session: &Session) -> bool {
        access::may_see(&self.standing, self.peer.uid, session.id.0, session.owner.uid)
    }
}

impl Server {
    /// Runs a handler for a caller that may do this, in a thread that may block.
    pub(super) async fn call<T, F>(
        &self,
        caller: Arc<Caller>,
        action: Action,
        work: F,
    ) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&Self, &Call) -> Result<T, ApiError> + Send + 'static,
    {
        self.admit_and_run(caller, action, None, work).await
    }

    /// As [`Self::call`], for an act of control: if it is refused or fails, that is logged.
    pub(super) async fn act<T, F>(
        &self,
        caller: Arc<Caller>,
        action: Action,
        attempt: Attempt,
        work: F,
    ) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&Self, &Call) -> Result<T, ApiError> + Send + 'static,
    {
        self.admit_and_run(caller, action, Some(attempt), work).await
    }

    async fn admit_and_run<T, F>(
        &self,
        caller: Arc<Caller>,
        action: Action,
        attempt: Option<Attempt>,
        work: F,
    ) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&Self, &Call) -> Result<T, ApiError> + Send + 'static,
    {
        let server = self.clone();
        let runtime = tokio::runtime::Handle::current();
        tokio::task::spawn_blocking(move || {
            let _inside = runtime.enter();
            let answer = server.admit(&caller, &action).and_then(|call| work(&server, &call));
            if let (Err(error), Some(attempt)) = (&answer, attempt) {
                server.attempts.log(&server.sessions, &caller, attempt, error);
            }
            answer
        })
        .await
        .map_err(|_| ApiError::internal("the request could not be carried out"))?
    }

    /// Weighs the caller, and makes sure that it may do this.
    fn admit(&self, caller: &Caller, action: &Action) -> Result<Call, ApiError> {
        let standing = caller.weigh(&self.sessions, &self.group)?;
        access::allow(&standing, action)?;
        Ok(Call { peer: Arc::clone(caller.peer()), standing, actor: caller.actor() })
    }

    /// The caller's standing; weighed in a thread that may block, unless the request was admitted before.
    pub(super) async fn standing(&self, caller: &Arc<Caller>) -> Result<Standing, ApiError> {
        if let Some(standing) = caller.standing() {
            return standing;
        }
        let (server, caller) = (self.clone(), Arc::clone(caller));
        tokio::task::spawn_blocking(move || caller.weigh(&server.sessions, &server.group))
            .await
            .map_err(|_| ApiError::internal("the request could not be carried out"))?
    }
}
