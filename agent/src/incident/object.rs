//! The object of an incident, as the log shows it. Each kind of object has its own keys, by which it is recognized.

use std::fmt::{self, Write as _};

use agent_common::event::Operation;
use serde::{Deserialize, Serialize};

use super::{
    decode::{self, Event},
    names,
};

/// A name, or a number that has none.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Named {
    /// A name.
    Name(String),
    /// A number without a name.
    Number(u32),
}

impl Named {
    /// The name, or the number.
    pub fn new(name: Option<&'static str>, number: u32) -> Self {
        name.map_or(Self::Number(number), |name| Self::Name(name.into()))
    }
}

impl fmt::Display for Named {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => out.write_str(name),
            Self::Number(number) => write!(out, "{number}"),
        }
    }
}

/// The object of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Object {
    /// A file, or a unix socket that has a path.
    Path {
        /// Its path; bytes that are not UTF-8 are shown as U+FFFD.
        path: String,
        /// The path's bytes in hexadecimal, where they are not UTF-8.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path_bytes: Option<String>,
        /// The second path of a rename or link.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
        /// Its bytes in hexadecimal, where they are not UTF-8.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to_bytes: Option<String>,
        /// Whether it is a program that would have given its process more privilege.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        set_id: bool,
    },
    /// A network endpoint.
    Endpoint {
        /// `tcp`, `udp`, or a number.
        protocol: Named,
        /// IPv4 or IPv6 address.
        address: String,
        /// The port.
        port: u16,
    },
    /// A socket about to be made.
    Socket {
        /// Address family, without `AF_`.
        family: Named,
        /// Type, without `SOCK_`.
        r#type: Named,
        /// Protocol within the family.
        protocol: Named,
    },
    /// Another process.
    Process {
        /// Its id in the first namespace.
        pid: u32,
        /// The signal's name without `SIG`, or its number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signal: Option<String>,
    },
    /// An abstract unix socket.
    Abstract {
        /// Its name without the leading zero byte.
        r#abstract: String,
        /// The name's bytes in hexadecimal, where they are not UTF-8.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        abstract_bytes: Option<String>,
    },
    /// A capability.
    Capability {
        /// Its name without `CAP_`.
        capability: Named,
    },
    /// A command of a system call.
    Command {
        /// Its name; of the `bpf` system call, without `BPF_`.
        command: Named,
    },
    /// A system call, or a group of calls that one hook stands for.
    Call {
        /// Its name.
        call: Named,
    },
    /// An option of sockets.
    Option {
        /// Its name.
        option: Named,
    },
    /// A number that only the operation explains.
    Number {
        /// The number.
        number: u32,
    },
}

impl Object {
    /// The object of an event.
    pub fn of(event: &Event) -> Self {
        match &event.object {
            decode::Object::Path(path) => Self::path(path, event.to.as_deref(), false),
            decode::Object::SetId(path) => Self::path(path, None, true),
            decode::Object::Endpoint { protocol, address, port } => Self::Endpoint {
                protocol: Named::new(names::ip_protocol((*protocol).into()), (*protocol).into()),
                address: address.to_string(),
                port: *port,
            },
            decode::Object::Socket { family, kind, protocol } => Self::Socket {
                family: Named::new(names::family(*family), *family),
                r#type: Named::new(names::socket_type(*kind), *kind),
                protocol: Named::new(names::socket_protocol(*family, *protocol), *protocol),
            },
            decode::Object::Process { pid, signal } => {
                let sent = event.operation == Operation::ProcessSignal;
                let name = || Named::new(names::signal(*signal), *signal).to_string();
                Self::Process { pid: *pid, signal: sent.then(name) }
            }
            decode::Object::AbstractSocket(name) => {
                let (text, bytes) = text(name);
                Self::Abstract { r#abstract: text, abstract_bytes: bytes }
            }
            decode::Object::Number(number) => match event.operation {
                Operation::PrivCapability => {
                    Self::Capability { capability: Named::new(names::capability(*number), *number) }
                }
                Operation::PrivBpf => {
                    Self::Command { command: Named::new(names::bpf_command(*number), *number) }
                }
                Operation::ProcessSignal | Operation::FileIoctl => {
                    Self::Command { command: Named::new(names::file_command(*number), *number) }
                }
                Operation::PrivMount => {
                    Self::Call { call: Named::new(names::mount_call(*number), *number) }
                }
                Operation::NetOption => {
                    Self::Option { option: Named::new(names::socket_option(*number), *number) }
                }
                _ => Self::Number { number: *number },
            },
        }
    }

    fn path(path: &[u8], to: Option<&[u8]>, set_id: bool) -> Self {
        let (path, path_bytes) = text(path);
        let (to, to_bytes) = match to.map(text) {
            Some((to, bytes)) => (Some(to), bytes),
            None => (None, None),
        };
        Self::Path { path, path_bytes, to, to_bytes, set_id }
    }
}

/// One line for people: `/etc/shadow`, `/a → /b`, `203.0.113.7:443/tcp`.
impl fmt::Display for Object {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path { path, to: None, .. } => out.write_str(path),
            Self::Path { path, to: Some(to), .. } => write!(out, "{path} → {to}"),
            Self::Endpoint { protocol, address, port } if address.contains(':') => {
                write!(out, "[{address}]:{port}/{protocol}")
            }
            Self::Endpoint { protocol, address, port } => {
                write!(out, "{address}:{port}/{protocol}")
            }
            Self::Socket { family, r#type, protocol } => write!(out, "{family}/{type}/{protocol}"),
            Self::Process { pid, signal: None } => write!(out, "process {pid}"),
            Self::Process { pid, signal: Some(signal) } => write!(out, "process {pid} ({signal})"),
            Self::Abstract { r#abstract, .. } => write!(out, "@{abstract}"),
            Self::Capability { capability } => write!(out, "capability {capability}"),
            Self::Command { command } => write!(out, "command {command}"),
            Self::Call { call } => write!(out, "call {call}"),
            Self::Option { option } => write!(out, "option {option}"),
            // The operation has no object.
            Self::Number { number: 0 } => Ok(()),
            Self::Number { number } => write!(out, "{number}"),
        }
    }
}

/// Bytes as text, and also in hexadecimal if they are not UTF-8.
pub fn text(bytes: &[u8]) -> (String, Option<String>) {
    match str::from_utf8(bytes) {
        Ok(text) => (text.into(), None),
        Err(_) => (String::from_utf8_lossy(bytes).into_owned(), Some(hex(bytes))),
    }
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::testing::event;

    fn json(operation: Operation, object: decode::Object) -> String {
        let object = Object::of(&Event { operation, object, ..event(1) });
        let json = serde_json::to_string(&object).unwrap();
        assert_eq!(serde_json::from_str::<Object>(&json).unwrap(), object, "{json}");
        json
    }

    #[test]
    fn object_of_each_kind_is_written_with_its_keys_and_read_back() {
        let cases = [
            (
                Operation::NetConnect,
                decode::Object::Endpoint {
                    protocol: 6,
                    address: [203, 0, 113, 7].into(),
                    port: 443,
                },
                r#"{"protocol":"tcp","address":"203.0.113.7","port":443}"#,
            ),
            (
                Operation::NetSocket,
                decode::Object::Socket { family: 17, kind: 3, protocol: 768 },
                r#"{"family":"packet","type":"raw","protocol":768}"#,
            ),
            (
                Operation::ProcessSignal,
                decode::Object::Process { pid: 9, signal: 15 },
                r#"{"pid":9,"signal":"TERM"}"#,
            ),
            (
                Operation::ProcessTrace,
                decode::Object::Process { pid: 9, signal: 0 },
                r#"{"pid":9}"#,
            ),
            (
                Operation::PrivCapability,
                decode::Object::Number(21),
                r#"{"capability":"sys_admin"}"#,
            ),
            (Operation::PrivBpf, decode::Object::Number(5), r#"{"command":"prog_load"}"#),
            (Operation::PrivBpf, decode::Object::Number(999), r#"{"command":999}"#),
            (Operation::ProcessSignal, decode::Object::Number(15), r#"{"command":"f_setown_ex"}"#),
            (Operation::FileIoctl, decode::Object::Number(0x5412), r#"{"command":"tiocsti"}"#),
            (Operation::FileIoctl, decode::Object::Number(0x660f), r#"{"command":26127}"#),
            (Operation::PrivMount, decode::Object::Number(1), r#"{"call":"umount"}"#),
            (Operation::NetOption, decode::Object::Number(4), r#"{"option":"ip_options"}"#),
            (Operation::ProcessIpc, decode::Object::Number(4), r#"{"number":4}"#),
            (
                Operation::UnixConnect,
                decode::Object::AbstractSocket(b"dbus".to_vec()),
                r#"{"abstract":"dbus"}"#,
            ),
            (
                Operation::FileExec,
                decode::Object::SetId(b"/usr/bin/su".to_vec()),
                r#"{"path":"/usr/bin/su","set_id":true}"#,
            ),
        ];
        for (operation, object, expected) in cases {
            assert_eq!(json(operation, object), expected);
        }
    }

    #[test]
    fn path_that_is_not_utf8_also_shows_its_bytes() {
        let path = decode::Object::Path(b"/w/\xff".to_vec());
        assert_eq!(
            json(Operation::FileOpen, path),
            "{\"path\":\"/w/\u{fffd}\",\"path_bytes\":\"2f772fff\"}"
        );
    }

    #[test]
    fn rename_shows_both_paths() {
        let object = Object::path(b"/w/a", Some(b"/w/b"), false);
        assert_eq!(serde_json::to_string(&object).unwrap(), r#"{"path":"/w/a","to":"/w/b"}"#);
        assert_eq!(object.to_string(), "/w/a → /w/b");
    }
}
