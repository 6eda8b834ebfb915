//! Handlers on the policy: show, check, push, reload, explain.

use std::sync::Arc;

use axum::{Extension, Json, extract::State};

use super::{
    ApiError,
    access::Action,
    attempts::Attempt,
    caller::Caller,
    question,
    state::{Call, Server},
    view,
};
use crate::{
    api::{
        CheckAnswer, ExplainRequest, Explanation, PolicyChange, PolicyFile, PolicySize, PolicyView,
        PushRequest, ReloadRequest,
    },
    session::{
        acts::Act,
        policy_dir::{Pushed, checked},
    },
};

type Called = Extension<Arc<Caller>>;
type Answer<T> = Result<Json<T>, ApiError>;

/// `GET /v1/policy`.
pub(super) async fn show(
    State(server): State<Server>,
    Extension(caller): Called,
) -> Answer<PolicyView> {
    server
        .call(caller, Action::Operate, |server, _| {
            Ok(Json(view::policy(&server.sessions.lock(), server.policy.path())))
        })
        .await
}

/// `POST /v1/policy/check`.
pub(super) async fn check(
    State(server): State<Server>,
    Extension(caller): Called,
    Json(request): Json<PushRequest>,
) -> Answer<CheckAnswer> {
    server
        .call(caller, Action::Operate, move |server, call| {
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
    Extension(caller): Called,
    Json(request): Json<PushRequest>,
) -> Answer<PolicyChange> {
    let names: Vec<&str> = request.files.iter().map(|file| file.name.as_str()).collect();
    let attempt = Attempt::new(Act::Push).detail(names.join(", ").chars().take(256).collect());
    server
        .act(caller, Action::Operate, attempt, move |server, call| {
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
    Extension(caller): Called,
    body: axum::body::Bytes,
) -> Answer<PolicyChange> {
    // A request without a body is a plain reload, so `curl -X POST` is enough.
    let request = if body.is_empty() {
        ReloadRequest::default()
    } else {
        serde_json::from_slice(&body).map_err(|error| ApiError::bad(error.to_string()))?
    };
    let work = move |server: &Server, call: &Call| {
        let (installed, policy) = server.policy.reload(request.dry_run, &call.actor)?;
        Ok(Json(view::change(installed, &policy, request.dry_run)))
    };
    // A dry run is no act of control.
    if request.dry_run {
        return server.call(caller, Action::Operate, work).await;
    }
    server.act(caller, Action::Operate, Attempt::new(Act::Reload), work).await
}

/// `POST /v1/policy/explain`.
pub(super) async fn explain(
    State(server): State<Server>,
    Extension(caller): Called,
    Json(request): Json<ExplainRequest>,
) -> Answer<Explanation> {
    server
        .call(caller, Action::Operate, move |server, _| {
            let question = question::parse(&request.operation, &request.object)?;
            let registry = server.sessions.lock();
            let session = registry.find(&request.session)?;
            let verdict = registry.explain(session, question.rights, question.object());
            Ok(Json(view::explanation(session, request, question, verdict)))
        })
        .await
}

fn pushed(files: Vec<PolicyFile>) -> Vec<Pushed> {
    files.into_iter().map(|PolicyFile { name, text }| Pushed { name, text }).collect()
}
