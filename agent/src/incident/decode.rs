//! Decodes a record of the ring buffer into an [`Event`]. Pure: no state, no I/O.
//!
//! The records come from Remit's own kernel programs, but perhaps from those of another version. So every field is
//! checked, and no input panics.

use std::net::{IpAddr, Ipv6Addr};

use agent_common::{
    access::Rights,
    decision::Reason,
    event::{
        EventHeader, OBJECT_ABSTRACT, OBJECT_ENDPOINT, OBJECT_NUMBER, OBJECT_PATH, OBJECT_PROCESS,
        OBJECT_SET_ID, OBJECT_SOCKET, Operation, VERDICT_DENIED, VERDICT_WOULD_DENY,
    },
    id::{BootNanos, Generation, SessionId, Slot},
    limits::ANCESTORS,
};

/// Bytes of the fixed part of a record.
pub const HEADER_BYTES: usize = size_of::<EventHeader>();

/// Whether the operation was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It was refused.
    Denied,
    /// It passed, because the session's profile is in audit mode.
    WouldDeny,
}

impl Verdict {
    /// The name that incidents use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::WouldDeny => "would_deny",
        }
    }
}

/// The object of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Object {
    /// A file, or a unix socket that has a path. Bytes, since a file name need not be UTF-8.
    Path(Vec<u8>),
    /// A network endpoint.
    Endpoint {
        /// IP protocol number.
        protocol: u8,
        /// The address; an IPv4 address that came mapped into IPv6 is given as IPv4.
        address: IpAddr,
        /// The port.
        port: u16,
    },
    /// A socket about to be made, by the numbers that `socket(2)` takes.
    Socket {
        /// Address family.
        family: u32,
        /// Type, its flags included.
        kind: u32,
        /// Protocol.
        protocol: u32,
    },
    /// Another process.
    Process {
        /// Its id in the first namespace.
        pid: u32,
        /// The signal; zero if none was sent.
        signal: u32,
    },
    /// A number that the operation explains: a capability, a `bpf` command.
    Number(u32),
    /// An abstract unix socket, by its name without the leading zero byte.
    AbstractSocket(Vec<u8>),
    /// A program that would have given its process more privilege, by its path.
    SetId(Vec<u8>),
}

/// A process in an event's ancestry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ancestor {
    /// Process id in the first namespace.
    pub pid: u32,
    /// Command name.
    pub comm: Vec<u8>,
}

/// One refusal, as the kernel reported it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub time: BootNanos,
    /// Its sequence number; a number that was seen before means that the event is delivered again.
    pub sequence: u64,
    /// The session.
    pub session: SessionId,
    /// The session's slot.
    pub slot: Slot,
    /// The generation of the policy that was in force.
    pub generation: Generation,
    /// Process id in the first namespace.
    pub pid: u32,
    /// Thread id in the first namespace.
    pub tid: u32,
    /// User id in the first namespace.
    pub uid: u32,
    /// The operation.
    pub operation: Operation,
    /// Why it was refused.
    pub reason: Reason,
    /// Whether it was refused, or passed in audit mode.
    pub verdict: Verdict,
    /// The rights asked for.
    pub rights: Rights,
    /// The object.
    pub object: Object,
    /// The second path of a rename or link.
    pub to: Option<Vec<u8>>,
    /// The program's path; empty if it could not be established.
    pub exe: Vec<u8>,
    /// The process's command name.
    pub comm: Vec<u8>,
    /// The process's ancestors, the parent first.
    pub ancestors: Vec<Ancestor>,
}

/// Why a record is no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It ends too early.
    #[error("record of {have} bytes, {need} needed")]
    Short {
        /// Bytes that its fields call for.
        need: usize,
        /// Bytes that it has.
        have: usize,
    },
    /// A field has an unknown value.
    #[error("unknown {field} {value}")]
    Unknown {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// A path holds a zero byte.
    #[error("a zero byte inside the {field}")]
    ZeroByte {
        /// The field.
        field: &'static str,
    },
}

/// Reads fields one after the other.
struct Reader<'a> {
    rest: &'a [u8],
    taken: usize,
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(DecodeError::Short {
            need: self.taken.saturating_add(count),
            have: self.taken + self.rest.len(),
        })?;
        self.rest = rest;
        self.taken += count;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_ne_bytes)
    }

    fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_ne_bytes)
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_ne_bytes)
    }

    fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_ne_bytes)
    }
}

/// The header's fields from which an object is made.
struct RawObject {
    object: u8,
    arguments: [u32; 3],
    protocol: u8,
    port: u16,
    address: [u8; 16],
}

/// Decodes one record. Bytes behind its last field are padding and are ignored.
///
/// # Errors
/// What is wrong with the record.
pub fn decode(record: &[u8]) -> Result<Event, DecodeError> {
    let mut reader = Reader { rest: record, taken: 0 };
    let time = BootNanos(reader.u64()?);
    let sequence = reader.u64()?;
    let session = SessionId(reader.u64()?);
    let slot = Slot(reader.u32()?);
    let generation = Generation(reader.u32()?);
    let (pid, tid, uid) = (reader.u32()?, reader.u32()?, reader.u32()?);
    let arguments = [reader.u32()?, reader.u32()?, reader.u32()?];
    let operation = known("operation", Operation::try_from(reader.u8()?))?;
    let reason = known("reason", Reason::try_from(reader.u8()?))?;
    let verdict = verdict(reader.u8()?)?;
    let rights = Rights(reader.u8()?);
    let (object, protocol, port) = (reader.u8()?, reader.u8()?, reader.u16()?);
    let address = reader.array()?;
    let (path_len, to_len, exe_len) = (reader.u16()?, reader.u16()?, reader.u16()?);
    let ancestors_len = reader.u16()?;
    let comm = comm(&reader.array::<16>()?);
    let ancestors = ancestors(&mut reader, ancestors_len)?;
    let path = reader.bytes(path_len.into())?;
    let to = reader.bytes(to_len.into())?;
    let exe = path_bytes("program", reader.bytes(exe_len.into())?)?;
    if session.0 == 0 {
        return Err(DecodeError::Unknown { field: "session", value: 0 });
    }
    let raw = RawObject { object, arguments, protocol, port, address };
    Ok(Event {
        time,
        sequence,
        session,
        slot,
        generation,
        pid,
        tid,
        uid,
        operation,
        reason,
        verdict,
        rights,
        object: raw.typed(path)?,
        to: Some(path_bytes("second path", to)?).filter(|path| !path.is_empty()),
        exe,
        comm,
        ancestors,
    })
}

fn known<T>(field: &'static str, value: Result<T, u8>) -> Result<T, DecodeError> {
    value.map_err(|value| DecodeError::Unknown { field, value: value.into() })
}

fn verdict(number: u8) -> Result<Verdict, DecodeError> {
    match number {
        VERDICT_DENIED => Ok(Verdict::Denied),
        VERDICT_WOULD_DENY => Ok(Verdict::WouldDeny),
        other => Err(DecodeError::Unknown { field: "verdict", value: other.into() }),
    }
}

/// The header has room for all ancestors: all entries are read, and the first `count` kept.
fn ancestors(reader: &mut Reader<'_>, count: u16) -> Result<Vec<Ancestor>, DecodeError> {
    if usize::from(count) > ANCESTORS {
        return Err(DecodeError::Unknown { field: "number of ancestors", value: count.into() });
    }
    let mut ancestors = Vec::with_capacity(count.into());
    for index in 0..ANCESTORS {
        let pid = reader.u32()?;
        let comm = comm(&reader.array::<16>()?);
        if index < usize::from(count) && pid != 0 {
            ancestors.push(Ancestor { pid, comm });
        }
    }
    Ok(ancestors)
}

/// A command name up to its first zero byte.
fn comm(bytes: &[u8; 16]) -> Vec<u8> {
    bytes.iter().copied().take_while(|byte| *byte != 0).collect()
}

/// A path without the zero bytes that may end it.
fn path_bytes(field: &'static str, bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let path = bytes.get(..end).unwrap_or_default();
    if path.contains(&0) {
        return Err(DecodeError::ZeroByte { field });
    }
    Ok(path.to_vec())
}

impl RawObject {
    fn typed(&self, path: &[u8]) -> Result<Object, DecodeError> {
        let [first, second, third] = self.arguments;
        Ok(match self.object {
            OBJECT_PATH => Object::Path(path_bytes("path", path)?),
            OBJECT_ENDPOINT => Object::Endpoint {
                protocol: self.protocol,
                address: Ipv6Addr::from(self.address).to_canonical(),
                port: self.port,
            },
            OBJECT_SOCKET => Object::Socket { family: first, kind: second, protocol: third },
            OBJECT_PROCESS => Object::Process { pid: first, signal: second },
            OBJECT_NUMBER => Object::Number(first),
            OBJECT_SET_ID => Object::SetId(path_bytes("path", path)?),
            // Zero bytes are part of an abstract name.
            OBJECT_ABSTRACT => Object::AbstractSocket(path.to_vec()),
            other => return Err(DecodeError::Unknown { field: "object", value: other.into() }),
        })
    }
}

#[cfg(test)]
mod tests;
