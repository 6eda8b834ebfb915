//! Answers on the control socket. Decides for each request who asks ([`peer`]) and whether they may
//! ([`access`]); what is done is the registry's.

pub mod access;
mod attempts;
mod connection;
mod error;
mod incidents;
mod later;
pub mod log;
pub mod peer;
mod policy;
mod question;
mod sessions;
mod socket;
mod starting;
pub mod users;
mod view;
mod vitals;

use std::{io, sync::Arc};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{get, post},
};

#[cfg(test)]
use self::connection::GUEST_CONNECTIONS;
use self::{
    access::{Ask, Standing},
    attempts::Attempt,
    log::Log,
    peer::Peer,
};
pub use self::{
    attempts::Attempts,
    connection::serve,
    error::ApiError,
    socket::{SocketError, bind},
    vitals::canary_try,
};
use crate::{
    session::{Actor, Sessions, policy_dir::PolicyDir},
    vitals::Vitals,
};

/// Bytes of an operator's largest request: a policy of 100,000 rules, and room.
const BODY_BYTES: usize = 64 << 20;

/// What the requests are answered with.
#[derive(Clone)]
pub struct Server {
    /// The sessions.
    pub sessions: Sessions,
    /// The policy's folder.
    pub policy: PolicyDir,
    /// The incident log.
    pub log: Arc<dyn Log>,
    /// The group that operates.
    pub group: Arc<str>,
    /// How many threads a process has: [`peer::threads`].
    pub threads: fn(u32) -> io::Result<usize>,
    /// What the daemon measures of itself.
    pub vitals: Arc<Vitals>,
    /// Has the canary run now, and returns when it has.
    pub canary: Arc<dyn Fn() + Send + Sync>,
    /// Acts of control that were refused or failed, lately.
    pub attempts: Attempts,
}

impl Server {
    /// The routes.
    pub fn router(self) -> Router {
        let sessions = Router::new()
            .route("/", get(sessions::list).post(sessions::start))
            .route("/{s}", get(sessions::show).delete(sessions::end))
            .route("/{s}/quarantine", post(sessions::quarantine))
            .route("/{s}/resume", post(sessions::resume))
            .route("/{s}/grants", post(sessions::grant).delete(sessions::revoke_all))
            .route("/{s}/grants/{tool}", axum::routing::delete(sessions::revoke))
            .route("/{s}/tree", get(later::tree))
            .route("/{s}/children", post(later::delegation));
        let policy = Router::new()
            .route("/", get(policy::show).post(policy::push))
            .route("/check", post(policy::check))
            .route("/reload", post(policy::reload))
            .route("/explain", post(policy::explain))
            .route("/learn", post(later::learn))
            .route("/review", get(later::review));
        let incidents = Router::new()
            .route("/", get(incidents::list))
            .route("/summary", get(incidents::summary))
            .route("/verify", get(incidents::verify))
            .route("/{id}", get(incidents::show));
        Router::new()
            .nest("/v1/sessions", sessions)
            .nest("/v1/policy", policy)
            .nest("/v1/incidents", incidents)
            .route("/v1/whoami", get(sessions::whoami))
            .route("/v1/health", get(sessions::health))
            .route("/v1/canary", get(vitals::canary).post(vitals::run_canary))
            .route("/v1/metrics", get(vitals::metrics))
            .route("/v1/requests", get(later::requests).post(later::requests))
            .route("/v1/step", post(later::step))
            .route("/v1/attach", post(later::attach))
            .fallback(later::nowhere)
            .method_not_allowed_fallback(later::wrong_method)
            .layer(DefaultBodyLimit::max(BODY_BYTES))
            .with_state(self)
    }

    /// Does something for a peer that may ask for it, on a thread that may block.
    async fn call<T, F>(&self, peer: Arc<Peer>, ask: Ask, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&Self, &Call) -> Result<T, ApiError> + Send + 'static,
    {
        self.work(peer, ask, None, work).await
    }

    /// As [`Self::call`], for an act of control: one that is refused or fails leaves a line of the log, too.
    async fn act<T, F>(
        &self,
        peer: Arc<Peer>,
        ask: Ask,
        attempt: Attempt,
        work: F,
    ) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&Self, &Call) -> Result<T, ApiError> + Send + 'static,
    {
        self.work(peer, ask, Some(attempt), work).await
    }

    async fn work<T, F>(
        &self,
        peer: Arc<Peer>,
        ask: Ask,
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
            let answer = server.admit(&peer, &ask).and_then(|call| work(&server, &call));
            if let (Err(error), Some(attempt)) = (&answer, attempt) {
                server.note_attempt(&peer, attempt, error);
            }
            answer
        })
        .await
        .map_err(|_| ApiError::internal("the request could not be carried out"))?
    }

    /// Establishes who asks, and that they may.
    fn admit(&self, peer: &Arc<Peer>, ask: &Ask) -> Result<Call, ApiError> {
        let standing = self.standing(peer)?;
        access::allow(&standing, ask)?;
        let actor = Actor { uid: peer.uid, user: users::name(peer.uid), pid: peer.pid };
        Ok(Call { peer: Arc::clone(peer), standing, actor })
    }

    /// What a peer is to us.
    fn standing(&self, peer: &Peer) -> Result<Standing, ApiError> {
        // Users and groups are looked up after the registry was given back: that may take its time.
        let (confinement, policy) = {
            let registry = self.sessions.lock();
            (peer.confinement(registry.enforcer()), Arc::clone(registry.policy()))
        };
        access::standing(peer, confinement, &self.group, &policy)
    }
}

/// Who asks, as far as it was established.
struct Call {
    peer: Arc<Peer>,
    standing: Standing,
    actor: Actor,
}

#[cfg(test)]
mod tests;
