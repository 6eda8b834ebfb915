//! Handlers on the daemon's measurements and its canary, for operators.

use std::sync::Arc;

use axum::{Extension, Json, extract::State, http::header, response::IntoResponse};

use super::{ApiError, access::Action, caller::Caller, state::Server};
use crate::{
    api::{self, CanaryTry},
    canary::Tried,
};

/// The content type of the page: Prometheus' text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `GET /v1/canary`.
pub(super) async fn canary(
    State(server): State<Server>,
    Extension(caller): Extension<Arc<Caller>>,
) -> Result<Json<api::Canary>, ApiError> {
    server.call(caller, Action::Operate, |server, _| Ok(Json(last_run(server)))).await
}

/// `POST /v1/canary`.
pub(super) async fn run_canary(
    State(server): State<Server>,
    Extension(caller): Extension<Arc<Caller>>,
) -> Result<Json<api::Canary>, ApiError> {
    server
        .call(caller, Action::Operate, |server, _| {
            if server.vitals.canary().interval.is_some() {
                (server.canary)();
            }
            Ok(Json(last_run(server)))
        })
        .await
}

/// The canary's last report.
fn last_run(server: &Server) -> api::Canary {
    let canary = server.vitals.canary();
    let last = canary.last.as_ref();
    api::Canary {
        state: canary.state().into(),
        interval_seconds: canary.interval.map(|interval| interval.as_secs()),
        last_run: last.map(|run| run.at),
        age_seconds: last.map(|_| canary.age().as_secs_f64()),
        message: last.map(|run| run.report.message()),
        runs: canary.runs,
        failures: canary.failures,
        tries: last.map_or_else(Vec::new, |run| run.report.tried.iter().map(canary_try).collect()),
    }
}

/// `GET /v1/metrics`.
pub(super) async fn metrics(
    State(server): State<Server>,
    Extension(caller): Extension<Arc<Caller>>,
) -> Result<impl IntoResponse, ApiError> {
    let page = server
        .call(caller, Action::Operate, |server, _| {
            let (sessions, generation) = {
                let registry = server.sessions.lock();
                (registry.live().count() as u64, registry.generation().0)
            };
            Ok(server.vitals.page(sessions, generation))
        })
        .await?;
    Ok(([(header::CONTENT_TYPE, TEXT)], page))
}

/// A try of the canary, as the interface and the log show it.
pub fn canary_try(tried: &Tried) -> CanaryTry {
    CanaryTry {
        operation: tried.what.operation.name().into(),
        call: tried.what.call.name().into(),
        outcome: tried.outcome.name().into(),
        errno: tried.errno,
    }
}
