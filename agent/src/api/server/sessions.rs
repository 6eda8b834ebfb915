//! Handlers on sessions: whoami, health, list, show, start, change, end.

use std::{sync::Arc, time::Instant};

use axum::{
    Extension, Json,
    extract::{Path, Query, State},
    http::StatusCode,
};
use serde::Deserialize;

use agent_common::id::Tag;

use super::{
    ApiError,
    access::{Action, Standing, unseen},
    attempts::Attempt,
    caller::Caller,
    starting,
    state::{Call, Server},
    view,
};
use crate::{
    api::{self, EndAnswer, GrantRequest, Health, SessionList, StartRequest, WhoAmI},
    policy::value::duration,
    session::{Actor, Error, Id, Registry, acts::Act, clearing, kill, losses},
};

type Called = Extension<Arc<Caller>>;
type Answer<T> = Result<Json<T>, ApiError>;

/// Which sessions `GET /v1/sessions` lists.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ListQuery {
    /// Ended ones too.
    all: bool,
}

/// How `POST /v1/sessions/{s}/quarantine` does it.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct QuarantineQuery {
    /// Freeze its processes as well.
    freeze: bool,
}

/// How `DELETE /v1/sessions/{s}` ends it.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct EndQuery {
    /// Kill its processes.
    kill: bool,
}

/// `GET /v1/whoami`.
pub(super) async fn whoami(
    State(server): State<Server>,
    Extension(caller): Called,
) -> Answer<WhoAmI> {
    server
        .call(caller, Action::WhoAmI, |server, call| {
            let registry = server.sessions.lock();
            let (session, operator, may_start) = match &call.standing {
                Standing::Confined(tag) => (registry.by_id(Id(tag.session)), false, Vec::new()),
                Standing::Operator => {
                    (None, true, registry.policy().profiles.keys().cloned().collect())
                }
                Standing::User(profiles) => (None, false, profiles.clone()),
            };
            if session.is_none() && matches!(call.standing, Standing::Confined(_)) {
                return Err(ApiError::new(
                    StatusCode::NOT_FOUND,
                    "no_session",
                    "this process belongs to a session that ended long ago",
                ));
            }
            Ok(Json(WhoAmI {
                session: session.map(|session| view::session(&registry, session)),
                peer: view::actor(&call.actor),
                operator,
                programs: view::programs(&registry, &may_start),
                may_start,
            }))
        })
        .await
}

/// `GET /v1/health`.
pub(super) async fn health(
    State(server): State<Server>,
    Extension(caller): Called,
) -> Answer<Health> {
    server
        .call(caller, Action::Health, |server, call| {
            let registry = server.sessions.lock();
            let warnings = registry.troubles().list();
            Ok(Json(Health {
                status: if warnings.is_empty() { "ok" } else { "degraded" }.into(),
                version: env!("CARGO_PKG_VERSION").into(),
                generation: registry.generation().0,
                sessions: registry.live().count() as u64,
                control_groups: registry.groups().describe(),
                warnings: match call.standing {
                    Standing::Operator => warnings,
                    _ => Vec::new(),
                },
            }))
        })
        .await
}

/// `GET /v1/sessions`.
pub(super) async fn list(
    State(server): State<Server>,
    Extension(caller): Called,
    Query(query): Query<ListQuery>,
) -> Answer<SessionList> {
    server
        .call(caller, Action::List, move |server, call| {
            let registry = server.sessions.lock();
            let ended = registry.ended().filter(|_| query.all);
            let seen = ended.chain(registry.live()).filter(|session| call.sees(session));
            let sessions = seen.map(|session| view::session(&registry, session));
            let is_operator = matches!(call.standing, Standing::Operator);
            let warnings = if is_operator { registry.troubles().list() } else { Vec::new() };
            Ok(Json(SessionList { sessions: sessions.collect(), warnings }))
        })
        .await
}

/// `GET /v1/sessions/{s}`.
pub(super) async fn show(
    State(server): State<Server>,
    Extension(caller): Called,
    Path(word): Path<String>,
) -> Answer<api::Session> {
    server
        .call(caller, Action::Show, move |server, call| {
            let registry = server.sessions.lock();
            if matches!(call.standing, Standing::Operator) {
                return Ok(Json(view::session(&registry, registry.find(&word)?)));
            }
            let session = registry.find_among(&word, |session| call.sees(session));
            let session = session.ok_or_else(|| unseen(&call.standing))?;
            Ok(Json(view::session(&registry, session)))
        })
        .await
}

/// `POST /v1/sessions`.
pub(super) async fn start(
    State(server): State<Server>,
    Extension(caller): Called,
    Json(request): Json<StartRequest>,
) -> Result<(StatusCode, Json<api::Started>), ApiError> {
    let action = Action::Start(request.profile.clone());
    let attempt = Attempt::new(Act::Start).detail(format!("profile `{}`", request.profile));
    let work = move |server: &Server, call: &Call| {
        let process = call.peer.process().ok_or_else(gone)?;
        single(server, call.peer.pid)?;
        let starting::Checked { start, temporary, notes } =
            starting::checked(server, call, request)?;
        // Dropped when the session is live, or will not be.
        let _temporary = temporary;
        let mut registry = server.sessions.lock();
        let session = registry.start(start, call.actor.clone(), process)?;
        let id = session.id;
        call.peer.has_started(Tag { session: id.0, slot: session.slot(), marks: 0 });
        // Only the main thread was tagged. A thread that it made before has no tag; those that it makes from here on
        // have.
        let is_operator = matches!(call.standing, Standing::Operator);
        let has_one_thread = single(server, call.peer.pid)
            .map_err(|error| ("its process has untagged threads", error));
        // A tagged process can't change its mount namespace.
        let mounts = || starting::mounts(&call.peer, is_operator).map(drop);
        let checked = has_one_thread.and_then(|()| {
            mounts().map_err(|error| ("its process went to another mount namespace", error))
        });
        if let Err((why, error)) = checked {
            registry.end(&id.to_string(), why, &call.actor)?;
            return Err(error);
        }
        let session = registry.by_id(id).ok_or_else(|| ApiError::internal("it ended at once"))?;
        let environment = view::environment(&registry, session);
        let session = view::session(&registry, session);
        Ok((StatusCode::CREATED, Json(api::Started { session, environment, notes })))
    };
    let work = move |server: &Server, call: &Call| {
        let started = work(server, call);
        if started.is_err() {
            // In a thread of its own, since there may be much to remove.
            let sessions = server.sessions.clone();
            drop(tokio::task::spawn_blocking(move || clearing::clear(&sessions)));
        }
        started
    };
    server.act(caller, action, attempt, work).await
}

/// Makes sure that a process has one thread: a tag belongs to a thread.
fn single(server: &Server, pid: u32) -> Result<(), ApiError> {
    match (server.threads)(pid) {
        Ok(1) => Ok(()),
        Ok(count) => Err(ApiError::threads(count)),
        Err(_) => Err(gone()),
    }
}

/// The error when the process to be tagged has exited.
fn gone() -> ApiError {
    ApiError::bad("the process that asked is gone")
}

/// `DELETE /v1/sessions/{s}`.
pub(super) async fn end(
    State(server): State<Server>,
    Extension(caller): Called,
    Path(word): Path<String>,
    Query(query): Query<EndQuery>,
) -> Answer<EndAnswer> {
    let attempt = Attempt::on(Act::End, &word);
    server
        .act(caller, Action::Operate, attempt, move |server, call| {
            let (id, slot) = {
                let mut registry = server.sessions.lock();
                let session = registry.find(&word)?;
                let (id, slot) = (session.id, session.slot());
                if session.is_live() {
                    registry.end(&id.to_string(), "an operator ended it", &call.actor)?;
                } else if !query.kill {
                    return Err(Error::Ended { name: session.name.clone() }.into());
                }
                (id, slot)
            };
            let killed = if query.kill {
                kill::all(&server.sessions, Tag { session: id.0, slot, marks: 0 })?
            } else {
                0
            };
            losses::settle(&server.sessions)?;
            let registry = server.sessions.lock();
            let session =
                registry.by_id(id).ok_or_else(|| ApiError::internal("it is not remembered"))?;
            Ok(Json(EndAnswer { session: view::session(&registry, session), killed }))
        })
        .await
}

/// `POST /v1/sessions/{s}/quarantine`.
pub(super) async fn quarantine(
    State(server): State<Server>,
    Extension(caller): Called,
    Path(word): Path<String>,
    Query(query): Query<QuarantineQuery>,
) -> Answer<api::Session> {
    let attempt = Attempt::on(Act::Quarantine, &word);
    let work = move |registry: &mut Registry, actor: &Actor| {
        match registry.quarantine(&word, actor).map(|session| session.id) {
            // A session that is quarantined already can still be frozen.
            Ok(_) | Err(Error::WrongState { .. }) if query.freeze => {
                registry.freeze(&word, actor).map(|session| session.id)
            }
            other => other,
        }
    };
    change(server, caller, attempt, work).await
}

/// `POST /v1/sessions/{s}/resume`.
pub(super) async fn resume(
    State(server): State<Server>,
    Extension(caller): Called,
    Path(word): Path<String>,
) -> Answer<api::Session> {
    let attempt = Attempt::on(Act::Resume, &word);
    let work = move |registry: &mut Registry, actor: &Actor| {
        registry.resume(&word, actor).map(|session| session.id)
    };
    change(server, caller, attempt, work).await
}

/// `POST /v1/sessions/{s}/grants`.
pub(super) async fn grant(
    State(server): State<Server>,
    Extension(caller): Called,
    Path(word): Path<String>,
    Json(request): Json<GrantRequest>,
) -> Answer<api::Session> {
    let ttl = duration(&request.ttl);
    let GrantRequest { tool, reason, .. } = request;
    let asked = Instant::now();
    let attempt = Attempt::on(Act::Grant, &word).tool(&tool).reason(reason.as_deref());
    let work = move |server: &Server, call: &Call| {
        let ttl = ttl?;
        let mut registry = server.sessions.lock();
        let id = registry.grant(&word, &tool, ttl, reason, &call.actor)?.id;
        server.vitals.grants.observe(asked.elapsed());
        Ok(Json(view::session(&registry, registry.find(&id.to_string())?)))
    };
    server.act(caller, Action::Operate, attempt, work).await
}

/// `DELETE /v1/sessions/{s}/grants/{tool}`.
pub(super) async fn revoke(
    State(server): State<Server>,
    Extension(caller): Called,
    Path((word, tool)): Path<(String, String)>,
) -> Answer<api::Session> {
    let attempt = Attempt::on(Act::Revoke, &word).tool(&tool);
    take(server, caller, attempt, move |registry, actor| {
        registry.revoke(&word, Some(&tool), actor).map(|session| session.id)
    })
    .await
}

/// `DELETE /v1/sessions/{s}/grants`.
pub(super) async fn revoke_all(
    State(server): State<Server>,
    Extension(caller): Called,
    Path(word): Path<String>,
) -> Answer<api::Session> {
    let attempt = Attempt::on(Act::Revoke, &word);
    take(server, caller, attempt, move |registry, actor| {
        registry.revoke(&word, None, actor).map(|session| session.id)
    })
    .await
}

/// Revokes tools for an operator, measures how soon that was in force, and then settles the losses.
async fn take<F>(
    server: Server,
    caller: Arc<Caller>,
    attempt: Attempt,
    work: F,
) -> Answer<api::Session>
where
    F: FnOnce(&mut Registry, &Actor) -> Result<Id, Error> + Send + 'static,
{
    let asked = Instant::now();
    server
        .act(caller, Action::Operate, attempt, move |server, call| {
            let id = work(&mut server.sessions.lock(), &call.actor)?;
            server.vitals.revocations.observe(asked.elapsed());
            losses::settle(&server.sessions)?;
            let registry = server.sessions.lock();
            Ok(Json(view::session(&registry, registry.find(&id.to_string())?)))
        })
        .await
}

/// Changes a session for an operator, and returns it.
async fn change<F>(
    server: Server,
    caller: Arc<Caller>,
    attempt: Attempt,
    work: F,
) -> Answer<api::Session>
where
    F: FnOnce(&mut Registry, &Actor) -> Result<Id, Error> + Send + 'static,
{
    server
        .act(caller, Action::Operate, attempt, move |server, call| {
            let id = work(&mut server.sessions.lock(), &call.actor)?;
            losses::settle(&server.sessions)?;
            let registry = server.sessions.lock();
            Ok(Json(view::session(&registry, registry.find(&id.to_string())?)))
        })
        .await
}
