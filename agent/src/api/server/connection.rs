//! Connections: how many, of whom, how long, how much.
//!
//! Everybody may connect, the processes of a session too. So that none of them can keep operators out,
//! all but operators get few connections and small requests, and nobody gets to be slow.

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

use super::{ApiError, BODY_BYTES, Server, access::Standing, peer::Peer};
use crate::{api::WARNING, troubles::Troubles};

/// Connections at once.
const CONNECTIONS: usize = 1024;
/// Connections at once of all who are no operators: the other places are kept for operators.
const GUESTS: usize = CONNECTIONS - 128;
/// Connections at once of one session, or of one user who is no operator.
pub(super) const GUEST_CONNECTIONS: usize = 16;
/// Connections at once that are told that they are too many; more are only closed.
const TURNED_AWAY: usize = 32;
/// Bytes of the largest request of all but operators.
const GUEST_BYTES: usize = 64 << 10;
/// Bytes of the longest refusal.
const REFUSAL_BYTES: usize = 64 << 10;
/// How long a client may take for a request's head.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long an answer may take; a stream's first line, too.
const ANSWER_TIME: Duration = Duration::from_secs(120);

/// Who is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Guest {
    /// The processes of a session.
    Session(u64),
    /// A user's.
    User(u32),
}

/// Connections of all but operators.
#[derive(Clone, Default)]
struct Guests(Arc<Mutex<HashMap<Guest, usize>>>);

/// A guest's place; given back when dropped.
struct Place {
    guests: Guests,
    guest: Guest,
}

impl Guests {
    /// A place, unless the guest has too many already.
    fn admit(&self, guest: Guest) -> Option<Place> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.values().sum::<usize>() >= GUESTS {
            return None;
        }
        let count = counts.entry(guest).or_default();
        if *count >= GUEST_CONNECTIONS {
            return None;
        }
        *count += 1;
        Some(Place { guests: self.clone(), guest })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.guests.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.guest) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.guest);
            }
        }
    }
}

/// What all connections share.
#[derive(Clone)]
struct Hall {
    server: Server,
    router: Router,
    guests: Guests,
    door: Arc<Semaphore>,
    troubles: Arc<Troubles>,
}

/// Answers connections, until the future is dropped.
///
/// # Errors
/// Connections can't be accepted any more.
pub async fn serve(listener: UnixListener, server: Server) -> io::Result<()> {
    let troubles = Arc::clone(server.sessions.lock().troubles());
    let hall = Hall {
        troubles,
        router: server.clone().router(),
        server,
        guests: Guests::default(),
        door: Arc::new(Semaphore::new(TURNED_AWAY)),
    };
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
        let hall = hall.clone();
        tokio::spawn(async move {
            if let Err(error) = hall.receive(stream).await {
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

impl Hall {
    /// Answers the requests of one connection.
    async fn receive(self, stream: UnixStream) -> Result<(), hyper::Error> {
        let peer = match Peer::of(&stream) {
            Ok(peer) => Arc::new(peer),
            Err(error) => {
                tracing::debug!("a connection by somebody who is gone: {error}");
                return Ok(());
            }
        };
        let guest = match self.weigh(&peer).await {
            Ok(Standing::Operator) => None,
            Ok(Standing::Confined(tag)) => Some(Guest::Session(tag.session.0)),
            // One whose standing can't be told is refused with each request.
            Ok(Standing::User(_)) | Err(_) => Some(Guest::User(peer.uid)),
        };
        let place = guest.map(|guest| self.guests.admit(guest));
        if matches!(place, Some(None)) {
            return self.turn_away(stream).await;
        }
        let service = service_fn(move |request| {
            let (hall, peer) = (self.clone(), Arc::clone(&peer));
            async move {
                let answered = tokio::time::timeout(ANSWER_TIME, hall.answer(peer, request)).await;
                Ok::<_, Infallible>(answered.unwrap_or_else(|_| ApiError::timeout().into_answer()))
            }
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .serve_connection(TokioIo::new(stream), service)
            .await;
        drop(place);
        served
    }

    /// Says that there are too many connections, as long as not too many have to be told.
    async fn turn_away(&self, stream: UnixStream) -> Result<(), hyper::Error> {
        let Ok(_told) = self.door.try_acquire() else { return Ok(()) };
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

    /// What the peer is now.
    async fn weigh(&self, peer: &Arc<Peer>) -> Result<Standing, ApiError> {
        let (server, peer) = (self.server.clone(), Arc::clone(peer));
        tokio::task::spawn_blocking(move || server.standing(&peer))
            .await
            .map_err(|_| ApiError::internal("the request could not be carried out"))?
    }

    async fn answer(self, peer: Arc<Peer>, request: Request<Incoming>) -> Response {
        let (limit, operates) = match self.weigh(&peer).await {
            Ok(Standing::Operator) => (BODY_BYTES, true),
            Ok(_) => (GUEST_BYTES, false),
            Err(error) => return error.into_answer(),
        };
        let request = request.map(|body| Body::new(Limited::new(body, limit)));
        let troubles = Arc::clone(&self.troubles);
        let router = self.router.layer(Extension(peer));
        match TowerToHyperService::new(router).call(request).await {
            Ok(answer) if operates => warn(as_json(answer).await, &troubles),
            Ok(answer) => as_json(answer).await,
            Err(never) => match never {},
        }
    }
}

/// Says beside an answer what the daemon can't do: as it is now, so what the request came upon is in it.
fn warn(mut answer: Response, troubles: &Troubles) -> Response {
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

/// The router's own refusals (a body that is too large or not what was asked for) are plain text: they
/// become JSON like the others.
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
