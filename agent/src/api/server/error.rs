//! Refusals as HTTP answers.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};

use crate::{
    api::{Failure, FailureBody},
    bpf::KernelError,
    policy::value::Problem,
    session::Error,
};

/// The refusal of a request, which changed nothing.
#[derive(Clone, Debug)]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// What went wrong.
    pub body: FailureBody,
}

impl ApiError {
    /// A refusal with this status and code.
    pub fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        let body =
            FailureBody { code: code.into(), message: message.into(), ..FailureBody::default() };
        Self { status, body }
    }

    /// Adds what would be right.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.body.help = Some(help.into());
        self
    }

    /// The request is malformed.
    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// The peer may not do this.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// The peer belongs to a session, and may only ask about itself.
    pub fn confined() -> Self {
        let message = "a process of a session can only ask about itself";
        Self::new(StatusCode::FORBIDDEN, "confined", message)
            .help("ask an operator, from outside the session")
    }

    /// Puts what the message is about before it.
    pub(super) fn about(mut self, what: &str) -> Self {
        self.body.message = format!("{what}: {}", self.body.message);
        self
    }

    /// Something failed that is not the peer's fault.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    /// The peer has too many connections.
    pub fn too_many() -> Self {
        let message = "too many connections at once";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many", message)
    }

    /// The process has several threads, of which only one can be tagged.
    pub fn threads(count: usize) -> Self {
        let message = format!("the process has {count} threads, and only one can be tagged");
        Self::new(StatusCode::CONFLICT, "threads", message)
            .help("ask from a process with a single thread, as `remit run` does")
    }

    /// The answer took too long.
    pub fn timeout() -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout", "the answer took too long")
    }

    /// The refusal as a response.
    pub fn into_answer(self) -> Response {
        (self.status, Json(Failure { error: self.body })).into_response()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.into_answer()
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let (status, code) = kind(&error);
        if status.is_server_error() {
            tracing::error!("{error}");
        }
        let mut answer = Self::new(status, code, error.to_string());
        answer.body.help = error.help();
        if let Error::Policy(diagnostics) = error {
            answer.body.diagnostics = diagnostics;
        }
        answer
    }
}

impl From<KernelError> for ApiError {
    fn from(error: KernelError) -> Self {
        Error::from(error).into()
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        let mut answer = Self::bad(problem.message);
        answer.body.help = problem.help;
        answer
    }
}

fn kind(error: &Error) -> (StatusCode, &'static str) {
    use StatusCode as S;
    match error {
        Error::NoSession { .. } => (S::NOT_FOUND, "no_session"),
        Error::NoProfile { .. } => (S::NOT_FOUND, "no_profile"),
        Error::NoTool { .. } => (S::NOT_FOUND, "no_tool"),
        Error::NotHeld { .. } => (S::CONFLICT, "not_held"),
        Error::HeldAlready { .. } => (S::CONFLICT, "held_already"),
        Error::NameTaken { .. } => (S::CONFLICT, "name_taken"),
        Error::Ended { .. } => (S::CONFLICT, "ended"),
        Error::WrongState { .. } => (S::CONFLICT, "wrong_state"),
        Error::Full | Error::Occupied | Error::TooMany { .. } => (S::CONFLICT, "full"),
        Error::BadName { .. }
        | Error::BadText { .. }
        | Error::BadWorkdir { .. }
        | Error::MissingVariable { .. }
        | Error::BadVariable { .. }
        | Error::BadFile { .. }
        | Error::ZeroTtl
        | Error::LongTtl { .. } => (S::BAD_REQUEST, "bad_request"),
        Error::Policy(_) => (S::UNPROCESSABLE_ENTITY, "bad_policy"),
        Error::Read(_) => (S::UNPROCESSABLE_ENTITY, "unreadable_policy"),
        Error::Compile(_) => (S::UNPROCESSABLE_ENTITY, "policy_does_not_fit"),
        Error::Limits(_) => (S::CONFLICT, "no_limits"),
        Error::Unfrozen { .. } => (S::CONFLICT, "not_frozen"),
        Error::Left { .. } => (S::INTERNAL_SERVER_ERROR, "processes_left"),
        Error::Kernel(_) => (S::INTERNAL_SERVER_ERROR, "kernel"),
        Error::Store { .. } => (S::INTERNAL_SERVER_ERROR, "state"),
        Error::Folder { .. } => (S::INTERNAL_SERVER_ERROR, "folder"),
        Error::Unlogged { .. } => (S::SERVICE_UNAVAILABLE, "log"),
    }
}
