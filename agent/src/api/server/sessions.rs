//! Sessions: who asks, starting, seeing, changing, ending.

use std::{sync::Arc, time::Instant};

use axum::{
    Extension, Json,
    extract::{Path, Query, State},
    http::StatusCode,
};
use serde::Deserialize;

use agent_common::id::Tag;

use super::{
    ApiError, Server,
    access::{Ask, Standing, allow_session},
    attempts::Attempt,
    peer::Peer,
    starting, view,
};
use crate::{
    api::{self, EndAnswer, GrantRequest, Health, SessionList, StartRequest, WhoAmI},
    policy::value::duration,
    session::{Actor, Error, Id, Registry, kill, witness::Act},
};

type Peered = Extension<Arc<Peer>>;
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
    Extension(peer): Peered,
) -> Answer<WhoAmI> {
    server
        .call(peer, Ask::WhoAmI, |server, call| {
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
                may_start,
            }))
        })
        .await
}

/// `GET /v1/health`.
pub(super) async fn health(
    State(server): State<Server>,
    Extension(peer): Peered,
) -> Answer<Health> {
    server
        .call(peer, Ask::Health, |server, call| {
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
    Extension(peer): Peered,
    Query(query): Query<ListQuery>,
) -> Answer<SessionList> {
    server
        .call(peer, Ask::Operate, move |server, _| {
            let registry = server.sessions.lock();
            let ended = registry.ended().filter(|_| query.all);
            let sessions =
                ended.chain(registry.live()).map(|session| view::session(&registry, session));
            let warnings = registry.troubles().list();
            Ok(Json(SessionList { sessions: sessions.collect(), warnings }))
        })
        .await
}

/// `GET /v1/sessions/{s}`.
pub(super) async fn show(
    State(server): State<Server>,
    Extension(peer): Peered,
    Path(word): Path<String>,
) -> Answer<api::Session> {
    server
        .call(peer, Ask::Show, move |server, call| {
            let registry = server.sessions.lock();
            let session = registry.find(&word);
            allow_session(&call.standing, session.as_ref().ok().map(|session| session.id.0))?;
            Ok(Json(view::session(&registry, session?)))
        })
        .await
}

/// `POST /v1/sessions`.
pub(super) async fn start(
    State(server): State<Server>,
    Extension(peer): Peered,
    Json(request): Json<StartRequest>,
) -> Result<(StatusCode, Json<api::Session>), ApiError> {
    let ask = Ask::Start(request.profile.clone());
    let attempt = Attempt::new(Act::Start).detail(format!("profile `{}`", request.profile));
    let work = move |server: &Server, call: &super::Call| {
        let start = starting::checked(server, call, request)?;
        let process = call.peer.process().ok_or_else(gone)?;
        single(server, call.peer.pid)?;
        let mut registry = server.sessions.lock();
        let session = registry.start(start, call.actor.clone(), process)?;
        let id = session.id;
        call.peer.has_started(Tag { session: id.0, slot: session.slot(), marks: 0 });
        // Only the main thread was tagged; one that it made before that is free. From here on all that
        // it makes have the tag.
        let is_operator = matches!(call.standing, Standing::Operator);
        let whole = single(server, call.peer.pid)
            .map_err(|error| ("its process has untagged threads", error));
        // From here on it can't go to another mount namespace either.
        let mounts = || starting::mounts(&call.peer, is_operator).map(drop);
        let sound = whole.and_then(|()| {
            mounts().map_err(|error| ("its process went to another mount namespace", error))
        });
        if let Err((why, error)) = sound {
            registry.end(&id.to_string(), why, &call.actor)?;
            return Err(error);
        }
        let session = registry.by_id(id).ok_or_else(|| ApiError::internal("it ended at once"))?;
        Ok((StatusCode::CREATED, Json(view::session(&registry, session))))
    };
    server.act(peer, ask, attempt, work).await
}

/// Makes sure that a process has one thread: tags are a thread's.
fn single(server: &Server, pid: u32) -> Result<(), ApiError> {
    match (server.threads)(pid) {
        Ok(1) => Ok(()),
        Ok(count) => Err(ApiError::threads(count)),
        Err(_) => Err(gone()),
    }
}

/// Who asked can't be tagged any more.
fn gone() -> ApiError {
    ApiError::bad("the process that asked is gone")
}

/// `DELETE /v1/sessions/{s}`.
pub(super) async fn end(
    State(server): State<Server>,
    Extension(peer): Peered,
    Path(word): Path<String>,
    Query(query): Query<EndQuery>,
) -> Answer<EndAnswer> {
    let attempt = Attempt::on(Act::End, &word);
    server
        .act(peer, Ask::Operate, attempt, move |server, call| {
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
            server.sessions.settle_losses()?;
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
    Extension(peer): Peered,
    Path(word): Path<String>,
    Query(query): Query<QuarantineQuery>,
) -> Answer<api::Session> {
    let attempt = Attempt::on(Act::Quarantine, &word);
    let work = move |registry: &mut Registry, actor: &Actor| {
        match registry.quarantine(&word, actor).map(|session| session.id) {
            // One that is quarantined already can be frozen.
            Ok(_) | Err(Error::WrongState { .. }) if query.freeze => {
                registry.freeze(&word, actor).map(|session| session.id)
            }
            other => other,
        }
    };
    change(server, peer, attempt, work).await
}

/// `POST /v1/sessions/{s}/resume`.
pub(super) async fn resume(
    State(server): State<Server>,
    Extension(peer): Peered,
    Path(word): Path<String>,
) -> Answer<api::Session> {
    let attempt = Attempt::on(Act::Resume, &word);
    let work = move |registry: &mut Registry, actor: &Actor| {
        registry.resume(&word, actor).map(|session| session.id)
    };
    change(server, peer, attempt, work).await
}

/// `POST /v1/sessions/{s}/grants`.
pub(super) async fn grant(
    State(server): State<Server>,
    Extension(peer): Peered,
    Path(word): Path<String>,
    Json(request): Json<GrantRequest>,
) -> Answer<api::Session> {
    let ttl = duration(&request.ttl);
    let GrantRequest { tool, reason, .. } = request;
    let asked = Instant::now();
    let attempt = Attempt::on(Act::Grant, &word).tool(&tool).reason(reason.as_deref());
    let work = move |server: &Server, call: &super::Call| {
        let ttl = ttl?;
        let mut registry = server.sessions.lock();
        let id = registry.grant(&word, &tool, ttl, reason, &call.actor)?.id;
        server.vitals.grants.observe(asked.elapsed());
        Ok(Json(view::session(&registry, registry.find(&id.to_string())?)))
    };
    server.act(peer, Ask::Operate, attempt, work).await
}

/// `DELETE /v1/sessions/{s}/grants/{tool}`.
pub(super) async fn revoke(
    State(server): State<Server>,
    Extension(peer): Peered,
    Path((word, tool)): Path<(String, String)>,
) -> Answer<api::Session> {
    let attempt = Attempt::on(Act::Revoke, &word).tool(&tool);
    take(server, peer, attempt, move |registry, actor| {
        registry.revoke(&word, Some(&tool), actor).map(|session| session.id)
    })
    .await
}

/// `DELETE /v1/sessions/{s}/grants`.
pub(super) async fn revoke_all(
    State(server): State<Server>,
    Extension(peer): Peered,
    Path(word): Path<String>,
) -> Answer<api::Session> {
    let attempt = Attempt::on(Act::Revoke, &word);
    take(server, peer, attempt, move |registry, actor| {
        registry.revoke(&word, None, actor).map(|session| session.id)
    })
    .await
}

/// Takes authority back for an operator, and notes how soon it was in force; then looks at what the session has
/// mapped.
async fn take<F>(server: Server, peer: Arc<Peer>, attempt: Attempt, work: F) -> Answer<api::Session>
where
    F: FnOnce(&mut Registry, &Actor) -> Result<Id, Error> + Send + 'static,
{
    let asked = Instant::now();
    server
        .act(peer, Ask::Operate, attempt, move |server, call| {
            let id = work(&mut server.sessions.lock(), &call.actor)?;
            server.vitals.revocations.observe(asked.elapsed());
            server.sessions.settle_losses()?;
            let registry = server.sessions.lock();
            Ok(Json(view::session(&registry, registry.find(&id.to_string())?)))
        })
        .await
}

/// Changes a session for an operator, and shows it.
async fn change<F>(
    server: Server,
    peer: Arc<Peer>,
    attempt: Attempt,
    work: F,
) -> Answer<api::Session>
where
    F: FnOnce(&mut Registry, &Actor) -> Result<Id, Error> + Send + 'static,
{
    server
        .act(peer, Ask::Operate, attempt, move |server, call| {
            let id = work(&mut server.sessions.lock(), &call.actor)?;
            server.sessions.settle_losses()?;
            let registry = server.sessions.lock();
            Ok(Json(view::session(&registry, registry.find(&id.to_string())?)))
        })
        .await
}
