//! Handlers on the incident log.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Extension, Json,
    body::{Body, Bytes},
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use hyper::body::Frame;
use serde_json::Value;
use tokio::sync::mpsc;

use super::{
    ApiError,
    access::{Action, Standing},
    caller::Caller,
    log::{Follower, LogError, Scope},
    state::{Call, Server},
};
use crate::{api::IncidentQuery, session::Id};

/// How often a follower looks for new lines.
const LOOK: Duration = Duration::from_millis(200);

impl From<LogError> for ApiError {
    fn from(error: LogError) -> Self {
        match &error {
            LogError::Query(_) => Self::bad(error.to_string()),
            LogError::Unknown(_) => {
                Self::new(StatusCode::NOT_FOUND, "no_incident", error.to_string())
            }
            LogError::Read(_) => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "log", error.to_string())
            }
        }
    }
}

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

type Called = Extension<Arc<Caller>>;

/// The lines that a caller may see. A follower goes on with the sessions of when it began.
fn scope(server: &Server, call: &Call) -> Scope {
    match &call.standing {
        Standing::Operator => Scope::All,
        Standing::Confined(tag) => Scope::Refusals(Id(tag.session).to_string()),
        Standing::User(_) => {
            let registry = server.sessions.lock();
            let all = registry.live().chain(registry.ended());
            Scope::Sessions(
                all.filter(|session| call.sees(session))
                    .map(|session| session.id.to_string())
                    .collect(),
            )
        }
    }
}

/// `GET /v1/incidents`.
pub(super) async fn list(
    State(server): State<Server>,
    Extension(caller): Called,
    Query(query): Query<IncidentQuery>,
) -> Result<Response, ApiError> {
    if query.follow {
        let follower = server
            .call(caller, Action::Read, move |server, call| {
                Ok(server.log.follow(&query, &scope(server, call))?)
            })
            .await?;
        return Ok(stream(follower));
    }
    let lines = query.lines;
    if query.limit.is_none() {
        let work = move |server: &Server, call: &Call| {
            let mut follower = server.log.all(&query, &scope(server, call))?;
            let first = follower.next()?;
            Ok((follower, first))
        };
        let (follower, first) = server.call(caller, Action::Read, work).await?;
        return Ok(all(follower, first, lines));
    }
    let work =
        move |server: &Server, call: &Call| Ok(server.log.list(&query, &scope(server, call))?);
    let found = server.call(caller, Action::Read, work).await?;
    // The log's lines are JSON, and are passed on without being parsed.
    Ok(if lines {
        let text: String = found.iter().map(|line| format!("{line}\n")).collect();
        typed(NDJSON, text)
    } else {
        typed(JSON, format!("{{\"incidents\":[{}]}}", found.join(",")))
    })
}

/// `GET /v1/incidents/{id}`.
pub(super) async fn show(
    State(server): State<Server>,
    Extension(caller): Called,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let work = move |server: &Server, call: &Call| {
        Ok(typed(JSON, server.log.show(&id, &scope(server, call))?))
    };
    server.call(caller, Action::Read, work).await
}

/// `GET /v1/incidents/summary`.
pub(super) async fn summary(
    State(server): State<Server>,
    Extension(caller): Called,
    Query(query): Query<IncidentQuery>,
) -> Result<Json<Value>, ApiError> {
    server
        .call(caller, Action::Read, move |server, call| {
            Ok(Json(server.log.summary(&query, &scope(server, call))?))
        })
        .await
}

/// `GET /v1/incidents/verify`.
pub(super) async fn verify(
    State(server): State<Server>,
    Extension(caller): Called,
) -> Result<Json<Value>, ApiError> {
    server.call(caller, Action::Operate, |server, _| Ok(Json(server.log.verify()?))).await
}

/// One JSON object a line, until the client goes away.
fn stream(mut follower: Box<dyn Follower>) -> Response {
    let (send, lines) = mpsc::channel(16);
    tokio::task::spawn_blocking(move || {
        while !send.is_closed() {
            let lines = match follower.next() {
                Ok(lines) => lines,
                Err(error) => {
                    tracing::warn!("{error}; a follower of the log ends");
                    return;
                }
            };
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            if text.is_empty() {
                std::thread::sleep(LOOK);
            } else if send.blocking_send(Ok(Bytes::from(text))).is_err() {
                return;
            }
        }
    });
    let body = Body::new(Lines(lines));
    typed(NDJSON, body)
}

/// All lines: one JSON object a line, or an array of them. If reading fails in the middle, the answer is cut short,
/// which the client notices.
fn all(mut follower: Box<dyn Follower>, first: Vec<String>, lines: bool) -> Response {
    let (send, parts) = mpsc::channel(16);
    tokio::task::spawn_blocking(move || {
        let (mut part, mut is_first) = (Ok(first), true);
        loop {
            let (text, is_last) = match part {
                Ok(found) if found.is_empty() => (if lines { "" } else { "]}" }.to_owned(), true),
                Ok(found) if lines => {
                    (found.iter().map(|line| format!("{line}\n")).collect(), false)
                }
                Ok(found) => {
                    (format!("{}{}", if is_first { "" } else { "," }, found.join(",")), false)
                }
                Err(error) => {
                    tracing::error!("{error}: an answer with lines of the log is not whole");
                    let _ = send.blocking_send(Err(io::Error::other("the log can't be read on")));
                    return;
                }
            };
            let head = if is_first && !lines { "{\"incidents\":[" } else { "" };
            let sent = send.blocking_send(Ok(Bytes::from(format!("{head}{text}"))));
            if is_last || sent.is_err() {
                return;
            }
            is_first = false;
            part = follower.next();
        }
    });
    let content = if lines { NDJSON } else { JSON };
    typed(content, Body::new(Lines(parts)))
}

fn typed(content: &'static str, body: impl IntoResponse) -> Response {
    ([(header::CONTENT_TYPE, content)], body).into_response()
}

/// A response body that is read from a channel.
struct Lines(mpsc::Receiver<io::Result<Bytes>>);

impl hyper::body::Body for Lines {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|part| part.map(|part| part.map(Frame::data)))
    }
}
