//! Handlers of paths that are not implemented yet, and of paths that do not exist.

use axum::http::{Method, StatusCode, Uri};

use super::ApiError;

fn not_there_yet(what: &str) -> ApiError {
    ApiError::new(StatusCode::NOT_IMPLEMENTED, "not_there_yet", format!("{what} not there yet"))
}

pub(super) async fn requests() -> ApiError {
    not_there_yet("requests for tools are")
}

pub(super) async fn step() -> ApiError {
    not_there_yet("single steps with a tool more are")
}

pub(super) async fn attach() -> ApiError {
    not_there_yet("attaching to a running process is")
}

pub(super) async fn tree() -> ApiError {
    not_there_yet("the tree of a session's children is")
}

pub(super) async fn delegation() -> ApiError {
    not_there_yet("child sessions are")
}

pub(super) async fn learn() -> ApiError {
    not_there_yet("learning a policy from a session is")
}

pub(super) async fn review() -> ApiError {
    not_there_yet("the review of a policy's use is")
}

pub(super) async fn unknown_path(uri: Uri) -> ApiError {
    let message = format!("there is nothing at `{}`", uri.path());
    ApiError::new(StatusCode::NOT_FOUND, "no_such_path", message)
}

pub(super) async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    let message = format!("`{}` does not take {method}", uri.path());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", message)
}
