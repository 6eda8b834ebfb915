//! The paths of the control interface, and the handler of each.

use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{delete, get, post},
};

use super::{
    incidents, later, policy, sessions,
    state::{OPERATOR_BODY_BYTES, Server},
    vitals,
};

/// The router of all paths.
pub(super) fn router(server: Server) -> Router {
    let session_paths = Router::new()
        .route("/", get(sessions::list).post(sessions::start))
        .route("/{s}", get(sessions::show).delete(sessions::end))
        .route("/{s}/quarantine", post(sessions::quarantine))
        .route("/{s}/resume", post(sessions::resume))
        .route("/{s}/grants", post(sessions::grant).delete(sessions::revoke_all))
        .route("/{s}/grants/{tool}", delete(sessions::revoke))
        .route("/{s}/tree", get(later::tree))
        .route("/{s}/children", post(later::delegation));
    let policy_paths = Router::new()
        .route("/", get(policy::show).post(policy::push))
        .route("/check", post(policy::check))
        .route("/reload", post(policy::reload))
        .route("/explain", post(policy::explain))
        .route("/learn", post(later::learn))
        .route("/review", get(later::review));
    let incident_paths = Router::new()
        .route("/", get(incidents::list))
        .route("/summary", get(incidents::summary))
        .route("/verify", get(incidents::verify))
        .route("/{id}", get(incidents::show));
    Router::new()
        .nest("/v1/sessions", session_paths)
        .nest("/v1/policy", policy_paths)
        .nest("/v1/incidents", incident_paths)
        .route("/v1/whoami", get(sessions::whoami))
        .route("/v1/health", get(sessions::health))
        .route("/v1/canary", get(vitals::canary).post(vitals::run_canary))
        .route("/v1/metrics", get(vitals::metrics))
        .route("/v1/requests", get(later::requests).post(later::requests))
        .route("/v1/step", post(later::step))
        .route("/v1/attach", post(later::attach))
        .fallback(later::unknown_path)
        .method_not_allowed_fallback(later::wrong_method)
        .layer(DefaultBodyLimit::max(OPERATOR_BODY_BYTES))
        .with_state(server)
}
