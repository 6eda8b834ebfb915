//! Requests on the control socket, without a program in between: where processors are emulated, starting `remit` takes
//! longer than what it asks for.

use std::{
    fmt,
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
};

use serde_json::Value;

/// What the daemon answered.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status: 200.
    pub status: u16,
    /// The body.
    pub body: String,
}

impl Response {
    /// The body of an answer to what was done.
    ///
    /// # Panics
    /// When the daemon refused.
    #[track_caller]
    pub fn done(self) -> String {
        assert_eq!(self.status, 200, "{self}");
        self.body
    }

    /// The same, read as JSON.
    ///
    /// # Panics
    /// When it is none, or the daemon refused.
    #[track_caller]
    pub fn json(self) -> Value {
        let body = self.done();
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}\n{body}"))
    }
}

impl fmt::Display for Response {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.status, self.body.trim())
    }
}

/// Asks over a connection of its own.
///
/// # Errors
/// When there is no connection, or what comes over it is no answer.
pub fn request(
    socket: impl AsRef<Path>,
    method: &str,
    path: &str,
    body: &str,
) -> io::Result<Response> {
    ask(UnixStream::connect(socket)?, method, path, body)
}

/// Asks over a connection, which is closed afterwards.
///
/// # Errors
/// When what comes over it is no answer.
pub fn ask(mut stream: UnixStream, method: &str, path: &str, body: &str) -> io::Result<Response> {
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: remit\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::InvalidData)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or(io::ErrorKind::InvalidData)?;
    Ok(Response { status, body: body.to_owned() })
}
