//! The client of the control socket. Single-threaded, since `remit run` may have only one thread when it is tagged.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    env, io,
    path::{Path, PathBuf},
    time::Duration,
};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Method, Request, StatusCode,
    body::{Bytes, Incoming},
    header,
};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{net::UnixStream, runtime::Runtime};

use super::{Failure, FailureBody, WARNING};
use crate::settings::DEFAULT_SOCKET;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(150);

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers on the socket.
    #[error("can't reach the daemon at `{}`: {source}", socket.display())]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The daemon refused.
    #[error("{}", body.message)]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The refusal.
        body: Box<FailureBody>,
    },
    /// There was no answer, or it could not be read.
    #[error("the daemon's answer is not understood: {0}")]
    Answer(String),
    /// The answer could not be written to where it goes.
    #[error(transparent)]
    Output(io::Error),
}

/// A client of the daemon.
pub struct Client {
    socket: PathBuf,
    runtime: Runtime,
    /// The warnings that were printed already.
    warned: RefCell<BTreeSet<String>>,
}

impl Client {
    /// A client of this socket, or else of `$REMIT_SOCKET`, or else of the default one.
    ///
    /// # Errors
    /// The system has no more event queues.
    pub fn new(socket: Option<PathBuf>) -> io::Result<Self> {
        let named = env::var_os("REMIT_SOCKET").filter(|name| !name.is_empty());
        let socket =
            socket.or_else(|| named.map(PathBuf::from)).unwrap_or_else(|| DEFAULT_SOCKET.into());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { socket, runtime, warned: RefCell::default() })
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// `GET`.
    ///
    /// # Errors
    /// There is no answer, or a refusal.
    pub fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.ask(Method::GET, path, None::<&()>)
    }

    /// `DELETE`.
    ///
    /// # Errors
    /// There is no answer, or a refusal.
    pub fn delete(&self, path: &str) -> Result<Value, ClientError> {
        self.ask(Method::DELETE, path, None::<&()>)
    }

    /// `POST`.
    ///
    /// # Errors
    /// There is no answer, or a refusal.
    pub fn post<T: Serialize>(&self, path: &str, body: &T) -> Result<Value, ClientError> {
        self.ask(Method::POST, path, Some(body))
    }

    fn ask<T: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: Option<&T>,
    ) -> Result<Value, ClientError> {
        let answer = async {
            let answer = self.send(method, path, body).await?;
            let status = answer.status();
            let body = answer.into_body().collect().await.map_err(unread)?.to_bytes();
            understood(status, &body)
        };
        let answer = async { tokio::time::timeout(PATIENCE, answer).await };
        self.runtime.block_on(answer).unwrap_or_else(|_| {
            Err(ClientError::Answer(format!("none came within {} s", PATIENCE.as_secs())))
        })
    }

    /// Asks for a stream of lines, and calls `line` with each until it ends.
    ///
    /// # Errors
    /// There is no answer, a refusal, or `line` failed.
    pub fn stream(
        &self,
        path: &str,
        mut line: impl FnMut(&str) -> io::Result<()>,
    ) -> Result<(), ClientError> {
        self.runtime.block_on(async {
            let answer = self.send(Method::GET, path, None::<&()>).await?;
            let status = answer.status();
            let mut body = answer.into_body();
            if !status.is_success() {
                let body = body.collect().await.map_err(unread)?.to_bytes();
                return understood::<Value>(status, &body).map(drop);
            }
            let mut rest = Vec::new();
            while let Some(frame) = body.frame().await {
                let Ok(data) = frame.map_err(unread)?.into_data() else { continue };
                rest.extend_from_slice(&data);
                while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    let whole: Vec<u8> = rest.drain(..=end).collect();
                    let text = String::from_utf8_lossy(&whole);
                    line(text.trim_end()).map_err(ClientError::Output)?;
                }
            }
            Ok(())
        })
    }

    async fn send<T: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: Option<&T>,
    ) -> Result<hyper::Response<Incoming>, ClientError> {
        let unreachable = |source| ClientError::Unreachable { socket: self.socket.clone(), source };
        let stream = UnixStream::connect(&self.socket).await.map_err(unreachable)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(unread)?;
        tokio::spawn(connection);
        let body = match body {
            Some(body) => {
                serde_json::to_vec(body).map_err(|e| ClientError::Answer(e.to_string()))?
            }
            None => Vec::new(),
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "remit")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| ClientError::Answer(error.to_string()))?;
        let answer = sender
            .send_request(request)
            .await
            .map_err(|error| unreachable(io::Error::other(format!("it hung up: {error}"))))?;
        self.warn(answer.headers());
        Ok(answer)
    }

    /// Prints the daemon's warnings, each once.
    fn warn(&self, headers: &header::HeaderMap) {
        for warning in headers.get_all(WARNING) {
            let text = String::from_utf8_lossy(warning.as_bytes()).into_owned();
            if self.warned.borrow_mut().insert(text.clone()) {
                eprintln!("warning: {text}");
            }
        }
    }
}

/// Parses an answer as a type.
///
/// # Errors
/// It does not fit the type: the daemon has another version.
pub fn typed<T: DeserializeOwned>(answer: &Value) -> Result<T, ClientError> {
    T::deserialize(answer).map_err(|error| ClientError::Answer(error.to_string()))
}

fn unread(error: hyper::Error) -> ClientError {
    ClientError::Answer(error.to_string())
}

fn understood<T: DeserializeOwned>(status: StatusCode, body: &[u8]) -> Result<T, ClientError> {
    if status.is_success() {
        return serde_json::from_slice(body).map_err(|e| ClientError::Answer(e.to_string()));
    }
    let body = match serde_json::from_slice::<Failure>(body) {
        Ok(failure) => failure.error,
        // Not JSON, so it is not from the daemon's handlers.
        Err(_) => FailureBody {
            code: "refused".into(),
            message: String::from_utf8_lossy(body).trim().to_owned(),
            ..FailureBody::default()
        },
    };
    Err(ClientError::Refused { status: status.as_u16(), body: Box::new(body) })
}

/// Escapes a word, as one segment of a path or as a value in a query.
pub fn segment(word: &str) -> String {
    let mut text = String::with_capacity(word.len());
    for byte in word.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    // `.` and `..` would have a meaning in the path.
    if text.bytes().all(|byte| byte == b'.') { text.replace('.', "%2E") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_with_any_character_is_one_segment() {
        assert_eq!(segment("fix-42"), "fix-42");
        assert_eq!(segment("a/b c?"), "a%2Fb%20c%3F");
        assert_eq!(segment(".."), "%2E%2E");
    }

    #[test]
    fn refusal_is_read_from_the_body() {
        let body = br#"{"error":{"code":"confined","message":"no"}}"#;
        match understood::<Value>(StatusCode::FORBIDDEN, body) {
            Err(ClientError::Refused { status: 403, body }) => assert_eq!(body.code, "confined"),
            other => panic!("{other:?}"),
        }
        match understood::<Value>(StatusCode::BAD_REQUEST, b"nonsense") {
            Err(ClientError::Refused { body, .. }) => assert_eq!(body.message, "nonsense"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn missing_socket_is_unreachable() {
        let client = Client::new(Some("/nowhere/control.sock".into())).unwrap();
        let error = client.get("/v1/health").unwrap_err();
        assert!(error.to_string().contains("`/nowhere/control.sock`"), "{error}");
        assert!(matches!(error, ClientError::Unreachable { .. }));
    }
}
