//! Requests to the daemon's control socket, without any program in between.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
};

use super::Outcome;

/// Does the act, if it is one of these.
pub(super) fn act(words: &[&str]) -> Option<Outcome> {
    match words {
        // The status and the body, in one line.
        ["http", socket, method, path] => Some(request(socket, method, path, "")),
        ["http", socket, method, path, body] => Some(request(socket, method, path, body)),
        _ => None,
    }
}

pub(super) fn request(socket: &str, method: &str, path: &str, body: &str) -> Outcome {
    let mut stream = UnixStream::connect(socket)?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: remit\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::InvalidData)?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    Ok(format!("{status} {}", body.trim()))
}
