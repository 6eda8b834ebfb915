//! The policy: seeing, checking, pushing, reloading, explaining.

use std::sync::Arc;

use axum::{Extension, Json, extract::State};

use super::{ApiError, Call, Server, access::Ask, attempts::Attempt, peer::Peer, question, view};
use crate::{
    api::{
        CheckAnswer, ExplainRequest, Explanation, PolicyChange, PolicyFile, PolicySize, PolicyView,
        PushRequest, ReloadRequest,
    },
    session::{
        policy_dir::{Pushed, checked},
        witness::Act,
    },
};

type Peered = Extension<Arc<Peer>>;
type Answer<T> = Result<Json<T>, ApiError>;

/// `GET /v1/policy`.
pub(super) async fn show(
    State(server): State<Server>,
    Extension(peer): Peered,
) -> Answer<PolicyView> {
    server
        .call(peer, Ask::Operate, |server, _| {
            Ok(Json(view::policy(&server.sessions.lock(), server.policy.path())))
        })
        .await
}

/// `POST /v1/policy/check`.
pub(super) async fn check(
    State(server): State<Server>,
    Extension(peer): Peered,
    Json(request): Json<PushRequest>,
) -> Answer<CheckAnswer> {
    server
        .call(peer, Ask::Operate, move |server, call| {
            let policy = checked(&server.policy.merged(&pushed(request.files))?)?;
            server.sessions.lock().try_install(&policy, &call.actor)?;
            let warnings = view::warnings(&policy);
            Ok(Json(CheckAnswer { size: PolicySize::of(&policy), warnings }))
        })
        .await
}

/// `POST /v1/policy`.
pub(super) async fn push(
    State(server): State<Server>,
    Extension(peer): Peered,
    Json(request): Json<PushRequest>,
) -> Answer<PolicyChange> {
    let names: Vec<&str> = request.files.iter().map(|file| file.name.as_str()).collect();
    let attempt = Attempt::new(Act::Push).detail(names.join(", ").chars().take(256).collect());
    server
        .act(peer, Ask::Operate, attempt, move |server, call| {
            if request.files.is_empty() {
                return Err(ApiError::bad("no files to push"));
            }
            let files = pushed(request.files);
            let (installed, policy) = server.policy.push(&files, false, &call.actor)?;
            Ok(Json(view::change(installed, &policy, false)))
        })
        .await
}

/// `POST /v1/policy/reload`.
pub(super) async fn reload(
    State(server): State<Server>,
    Extension(peer): Peered,
    body: axum::body::Bytes,
) -> Answer<PolicyChange> {
    // No body is the plain reload: `curl -X POST` does it.
    let request = if body.is_empty() {
        ReloadRequest::default()
    } else {
        serde_json::from_slice(&body).map_err(|error| ApiError::bad(error.to_string()))?
    };
    let work = move |server: &Server, call: &Call| {
        let (installed, policy) = server.policy.reload(request.dry_run, &call.actor)?;
        Ok(Json(view::change(installed, &policy, request.dry_run)))
    };
    // One that only asks what would change is no act.
    if request.dry_run {
        return server.call(peer, Ask::Operate, work).await;
    }
    server.act(peer, Ask::Operate, Attempt::new(Act::Reload), work).await
}

/// `POST /v1/policy/explain`.
pub(super) async fn explain(
    State(server): State<Server>,
    Extension(peer): Peered,
    Json(request): Json<ExplainRequest>,
) -> Answer<Explanation> {
    server
        .call(peer, Ask::Operate, move |server, _| {
            let asked = question::parse(&request.operation, &request.object)?;
            let registry = server.sessions.lock();
            let session = registry.find(&request.session)?;
            let verdict = registry.explain(session, asked.rights, asked.object());
            Ok(Json(view::explanation(session, request, asked.rights, verdict)))
        })
        .await
}

fn pushed(files: Vec<PolicyFile>) -> Vec<Pushed> {
    files.into_iter().map(|PolicyFile { name, text }| Pushed { name, text }).collect()
}
