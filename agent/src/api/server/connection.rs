//! Connections to the control socket, and the limits of each.
//!
//! Everybody may connect, also the processes of sessions. So that nobody can keep operators out, all others get few
//! connections and small requests, and everybody's time for a request is limited.

use std::{
    collections::HashMap,
    convert::Infallible,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Extension, Router,
    body::Body,
    http::{HeaderValue, header},
    response::Response,
};
use http_body_util::Limited;
use hyper::{
    Request,
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::Semaphore,
};

use super::{
    ApiError,
    access::{Account, Standing},
    caller::Caller,
    peer::Peer,
    routes,
    state::{OPERATOR_BODY_BYTES, Server},
};
use crate::{api::WARNING, troubles::Troubles};

/// Connections at once.
const CONNECTIONS: usize = 1024;
/// Connections at once of all peers that are no operators; the rest is reserved for operators.
const NON_OPERATOR_CONNECTIONS: usize = CONNECTIONS - 128;
/// Connections at once of one session, or of one user who is no operator.
pub(super) const ACCOUNT_CONNECTIONS: usize = 16;
/// Refused connections at once that get an answer; others are closed without one.
const REFUSED_WITH_ANSWER: usize = 32;
/// The most bytes of a request on a connection of a peer that is no operator.
const NON_OPERATOR_BODY_BYTES: usize = 64 << 10;
/// The most bytes of a refusal.
const REFUSAL_BYTES: usize = 64 << 10;
/// How long a client may take to send a request's head.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long an answer may take; of a stream, its first line.
const ANSWER_TIME: Duration = Duration::from_secs(120);

/// Limits the connections of peers that are no operators.
#[derive(Clone, Default)]
struct ConnectionLimiter(Arc<Mutex<HashMap<Account, usize>>>);

/// The permit for one connection; returned when dropped.
struct Permit {
    limiter: ConnectionLimiter,
    account: Account,
}

impl ConnectionLimiter {
    /// A permit, unless this account or all together have too many connections.
    fn admit(&self, account: Account) -> Option<Permit> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.values().sum::<usize>() >= NON_OPERATOR_CONNECTIONS {
            return None;
        }
        let count = counts.entry(account).or_default();
        if *count >= ACCOUNT_CONNECTIONS {
            return None;
        }
        *count += 1;
        Some(Permit { limiter: self.clone(), account })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.limiter.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.account) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.account);
            }
        }
    }
}

/// What all connections share.
#[derive(Clone)]
struct Shared {
    server: Server,
    router: Router,
    limiter: ConnectionLimiter,
    /// Limits the answers that refuse a connection.
    refusals: Arc<Semaphore>,
    troubles: Arc<Troubles>,
}

/// Answers connections, until the future is dropped.
///
/// # Errors
/// Connections can't be accepted any more.
pub async fn serve(listener: UnixListener, server: Server) -> io::Result<()> {
    let troubles = Arc::clone(server.sessions.lock().troubles());
    let shared = Shared {
        troubles,
        router: routes::router(server.clone()),
        server,
        limiter: ConnectionLimiter::default(),
        refusals: Arc::new(Semaphore::new(REFUSED_WITH_ANSWER)),
    };
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let permit = Arc::clone(&permits).acquire_owned().await.map_err(io::Error::other)?;
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) if is_temporary(&error) => {
                tracing::warn!("can't accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        let shared = shared.clone();
        tokio::spawn(async move {
            if let Err(error) = shared.serve_connection(stream).await {
                tracing::debug!("a connection ended: {error}");
            }
            drop(permit);
        });
    }
}

/// Whether accepting may work again later: descriptors or memory are short, or the peer was gone.
fn is_temporary(error: &io::Error) -> bool {
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

impl Shared {
    /// Answers the requests of one connection.
    async fn serve_connection(self, stream: UnixStream) -> Result<(), hyper::Error> {
        let peer = match Peer::of(&stream) {
            Ok(peer) => Arc::new(peer),
            Err(error) => {
                tracing::debug!("the peer of a connection has exited: {error}");
                return Ok(());
            }
        };
        // The limits of a connection go by the peer's standing when it was accepted.
        let connecting = Arc::new(Caller::new(Arc::clone(&peer)));
        let (permit, body_bytes) = match self.server.standing(&connecting).await {
            Ok(Standing::Operator) => (None, OPERATOR_BODY_BYTES),
            // A peer of unknown standing gets a connection, and each of its requests is refused.
            _ => match self.limiter.admit(connecting.account()) {
                None => return self.refuse(stream).await,
                permit => (permit, NON_OPERATOR_BODY_BYTES),
            },
        };
        let service = service_fn(move |request| {
            let (shared, caller) = (self.clone(), Arc::new(Caller::new(Arc::clone(&peer))));
            async move {
                let answer = shared.answer(caller, request, body_bytes);
                let answered = tokio::time::timeout(ANSWER_TIME, answer).await;
                Ok::<_, Infallible>(answered.unwrap_or_else(|_| ApiError::timeout().into_answer()))
            }
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .serve_connection(TokioIo::new(stream), service)
            .await;
        drop(permit);
        served
    }

    /// Refuses a connection because there are too many. It gets an answer unless too many others are just getting one.
    async fn refuse(&self, stream: UnixStream) -> Result<(), hyper::Error> {
        let Ok(_permit) = self.refusals.try_acquire() else { return Ok(()) };
        let service = service_fn(|_: Request<Incoming>| async {
            Ok::<_, Infallible>(ApiError::too_many().into_answer())
        });
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(1))
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service)
            .await
    }

    /// Answers one request.
    async fn answer(
        self,
        caller: Arc<Caller>,
        request: Request<Incoming>,
        body_bytes: usize,
    ) -> Response {
        let request = request.map(|body| Body::new(Limited::new(body, body_bytes)));
        let router = self.router.layer(Extension(Arc::clone(&caller)));
        let answer = match TowerToHyperService::new(router).call(request).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        };
        match self.server.standing(&caller).await {
            Ok(Standing::Operator) => with_warnings(as_json(answer).await, &self.troubles),
            Ok(_) => as_json(answer).await,
            Err(error) => error.into_answer(),
        }
    }
}

/// Adds to an answer what the daemon can't do now, so a trouble that the request itself met is included.
fn with_warnings(mut answer: Response, troubles: &Troubles) -> Response {
    for message in troubles.list() {
        let text: String = message
            .chars()
            .map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' })
            .collect();
        if let Ok(value) = HeaderValue::from_str(&text) {
            answer.headers_mut().append(WARNING, value);
        }
    }
    answer
}

/// Turns the router's own refusals (a body that is too large or malformed), which are plain text, into JSON.
async fn as_json(answer: Response) -> Response {
    let is_json = answer
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|content| content.as_bytes().starts_with(b"application/json"));
    if answer.status().as_u16() < 400 || is_json {
        return answer;
    }
    let (head, body) = answer.into_parts();
    let text = axum::body::to_bytes(body, REFUSAL_BYTES).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    ApiError::new(head.status, "bad_request", text.trim()).into_answer()
}
