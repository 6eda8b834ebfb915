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
    access::Action,
    caller::Caller,
    log::{Follower, LogError},
    state::Server,
};
use crate::api::IncidentQuery;

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

/// `GET /v1/incidents`.
pub(super) async fn list(
    State(server): State<Server>,
    Extension(caller): Called,
    Query(query): Query<IncidentQuery>,
) -> Result<Response, ApiError> {
    if query.follow {
        let follower = server
            .call(caller, Action::Operate, move |server, _| Ok(server.log.follow(&query)?))
            .await?;
        return Ok(stream(follower));
    }
    let lines = query.lines;
    if query.limit.is_none() {
        let work = move |server: &Server, _: &_| {
            let mut follower = server.log.all(&query)?;
            let first = follower.next()?;
            Ok((follower, first))
        };
        let (follower, first) = server.call(caller, Action::Operate, work).await?;
        return Ok(all(follower, first, lines));
    }
    let work = move |server: &Server, _: &_| Ok(server.log.list(&query)?);
    let found = server.call(caller, Action::Operate, work).await?;
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
    let work = move |server: &Server, _: &_| Ok(typed(JSON, server.log.show(&id)?));
    server.call(caller, Action::Operate, work).await
}

/// `GET /v1/incidents/summary`.
pub(super) async fn summary(
    State(server): State<Server>,
    Extension(caller): Called,
    Query(query): Query<IncidentQuery>,
) -> Result<Json<Value>, ApiError> {
    server
        .call(caller, Action::Operate, move |server, _| Ok(Json(server.log.summary(&query)?)))
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
