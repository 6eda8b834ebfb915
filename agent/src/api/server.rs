//! Answers on the control socket. Decides for each request who asks ([`peer`]) and whether they may
//! ([`access`]); what is done is the registry's.

pub mod access;
mod error;
mod incidents;
mod later;
pub mod log;
pub mod peer;
mod policy;
mod question;
mod sessions;
mod socket;
pub mod users;
mod view;

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    extract::{DefaultBodyLimit, Request},
    http::header,
    response::Response,
    routing::{get, post},
};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::Semaphore,
};

pub use error::ApiError;
pub use socket::{SocketError, bind};

use self::{
    access::{Ask, Standing},
    log::Log,
    peer::Peer,
};
use crate::session::{Actor, Sessions, policy_dir::PolicyDir};

/// Bytes of the largest request: a policy of 100,000 rules, and room.
const BODY_BYTES: usize = 64 << 20;
/// Bytes of the longest refusal.
const REFUSAL_BYTES: usize = 64 << 10;
/// Connections at once.
const CONNECTIONS: usize = 512;
/// How long a client may take for a request's head.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long an answer may take; a stream's first line, too.
const ANSWER_TIME: Duration = Duration::from_secs(120);

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
        let server = self.clone();
        tokio::task::spawn_blocking(move || {
            let standing = server.standing(&peer)?;
            access::allow(&standing, &ask)?;
            let actor = Actor { uid: peer.uid, user: users::name(peer.uid), pid: peer.pid };
            work(&server, &Call { peer, standing, actor })
        })
        .await
        .map_err(|_| ApiError::internal("the request could not be carried out"))?
    }

    /// What a peer is to us.
    fn standing(&self, peer: &Peer) -> Result<Standing, ApiError> {
        // Users and groups are looked up after the registry was given back: that may take its time.
        let (tag, policy) = {
            let registry = self.sessions.lock();
            (registry.enforcer().tag_of(peer.process()), Arc::clone(registry.policy()))
        };
        access::standing(peer, tag, &self.group, &policy)
    }
}

/// Who asks, as far as it was established.
struct Call {
    peer: Arc<Peer>,
    standing: Standing,
    actor: Actor,
}

/// Answers connections, until the future is dropped.
///
/// # Errors
/// Connections can't be accepted any more.
pub async fn serve(listener: UnixListener, server: Server) -> io::Result<()> {
    let router = server.router();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) if is_passing(&error) => {
                tracing::warn!("can't accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        let router = router.clone();
        tokio::spawn(async move {
            if let Err(error) = connection(stream, router).await {
                tracing::debug!("a connection ended: {error}");
            }
            drop(place);
        });
    }
}

/// Whether accepting may work again later: descriptors or memory are short, or the peer was gone.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::EMFILE
                | libc::ENFILE
                | libc::ENOBUFS
                | libc::ENOMEM
                | libc::ECONNABORTED
                | libc::EINTR
        )
    )
}

/// Answers the requests of one connection.
async fn connection(stream: UnixStream, router: Router) -> Result<(), hyper::Error> {
    let peer = match Peer::of(&stream) {
        Ok(peer) => Arc::new(peer),
        Err(error) => {
            tracing::warn!("a connection by nobody who could be established: {error}");
            return Ok(());
        }
    };
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let router = router.clone().layer(Extension(Arc::clone(&peer)));
        async move {
            let answer = answer(router, request.map(axum::body::Body::new));
            match tokio::time::timeout(ANSWER_TIME, answer).await {
                Ok(answer) => answer,
                Err(_) => Ok(ApiError::timeout().into_answer()),
            }
        }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

async fn answer(router: Router, request: Request) -> Result<Response, Infallible> {
    let answer = hyper_util::service::TowerToHyperService::new(router).call(request).await?;
    let is_json = answer
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|content| content.as_bytes().starts_with(b"application/json"));
    if answer.status().as_u16() < 400 || is_json {
        return Ok(answer);
    }
    // The router's own refusals (a body that is too large or not what was asked for) are plain text.
    let (head, body) = answer.into_parts();
    let text = axum::body::to_bytes(body, REFUSAL_BYTES).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    Ok(ApiError::new(head.status, "bad_request", text.trim()).into_answer())
}

#[cfg(test)]
mod tests;
