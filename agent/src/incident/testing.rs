//! Helpers of this module's tests: an event and its bytes, a context, seeded random numbers.

use std::net::IpAddr;

use agent_common::{
    access::{Right, Rights},
    decision::Reason,
    event::Operation,
    id::{BootNanos, Generation, SessionId, Slot},
    limits::ANCESTORS,
};

use super::{
    decode::{Ancestor, Event, Object, Verdict},
    enrich::{Context, Explanation},
    record::{Rule, Session},
};

/// An event of `curl` below `python3` below `sh`, refused a connection.
pub(crate) fn event(sequence: u64) -> Event {
    Event {
        time: BootNanos(1_000_000_000 + sequence * 1_000),
        sequence,
        session: SessionId(42),
        slot: Slot(3),
        generation: Generation(7),
        pid: 4242,
        tid: 4243,
        uid: 1000,
        operation: Operation::NetConnect,
        reason: Reason::NoTool,
        verdict: Verdict::Denied,
        rights: Rights::of(Right::Connect),
        object: Object::Endpoint {
            protocol: 6,
            address: IpAddr::from([203, 0, 113, 7]),
            port: 443,
        },
        to: None,
        exe: b"/usr/bin/curl".to_vec(),
        comm: b"curl".to_vec(),
        ancestors: vec![
            Ancestor { pid: 4200, comm: b"python3".to_vec() },
            Ancestor { pid: 4100, comm: b"sh".to_vec() },
        ],
    }
}

/// An event on a file.
pub(crate) fn file_event(sequence: u64, path: &str, reason: Reason) -> Event {
    Event {
        operation: Operation::FileOpen,
        rights: Rights::of(Right::Read),
        object: Object::Path(path.as_bytes().to_vec()),
        reason,
        ..event(sequence)
    }
}

/// The bytes that the kernel would send.
pub(crate) fn encode(event: &Event) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (kind, arguments, protocol, port, address, path) = object(&event.object);
    let to = event.to.clone().unwrap_or_default();
    bytes.extend(event.time.0.to_ne_bytes());
    bytes.extend(event.sequence.to_ne_bytes());
    bytes.extend(event.session.0.to_ne_bytes());
    for number in [event.slot.0, event.generation.0, event.pid, event.tid, event.uid] {
        bytes.extend(number.to_ne_bytes());
    }
    for number in arguments {
        bytes.extend(number.to_ne_bytes());
    }
    let verdict = u8::from(event.verdict == Verdict::WouldDeny);
    bytes.extend([event.operation as u8, event.reason as u8, verdict, event.rights.0]);
    bytes.extend([kind, protocol]);
    bytes.extend(port.to_ne_bytes());
    bytes.extend(address);
    for length in [path.len(), to.len(), event.exe.len(), event.ancestors.len()] {
        bytes.extend(u16::try_from(length).unwrap().to_ne_bytes());
    }
    bytes.extend(padded(&event.comm));
    for index in 0..ANCESTORS {
        let ancestor = event.ancestors.get(index);
        bytes.extend(ancestor.map_or(0, |ancestor| ancestor.pid).to_ne_bytes());
        bytes.extend(padded(ancestor.map_or(b"", |ancestor| &ancestor.comm)));
    }
    bytes.extend(path);
    bytes.extend(to);
    bytes.extend(&event.exe);
    bytes
}

type Raw = (u8, [u32; 3], u8, u16, [u8; 16], Vec<u8>);

fn object(object: &Object) -> Raw {
    match object {
        Object::Path(path) => (0, [0; 3], 0, 0, [0; 16], path.clone()),
        Object::Endpoint { protocol, address, port } => {
            let address = match address {
                IpAddr::V4(address) => address.to_ipv6_mapped(),
                IpAddr::V6(address) => *address,
            };
            (1, [0; 3], *protocol, *port, address.octets(), Vec::new())
        }
        Object::Socket { family, kind, protocol } => {
            (2, [*family, *kind, *protocol], 0, 0, [0; 16], Vec::new())
        }
        Object::Process { pid, signal } => (3, [*pid, *signal, 0], 0, 0, [0; 16], Vec::new()),
        Object::Number(number) => (4, [*number, 0, 0], 0, 0, [0; 16], Vec::new()),
        Object::SetId(path) => (6, [0; 3], 0, 0, [0; 16], path.clone()),
        Object::AbstractSocket(name) => (5, [0; 3], 0, 0, [0; 16], name.clone()),
    }
}

fn padded(comm: &[u8]) -> [u8; 16] {
    let mut array = [0; 16];
    array[..comm.len()].copy_from_slice(comm);
    array
}

/// A small generator of random numbers (SplitMix64) with a seed, so that a failure can be repeated.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }
}

/// A context with one session, and `github` as the tool that would allow whatever has no tool.
pub(crate) struct TestContext;

impl Context for TestContext {
    fn host(&self) -> &str {
        "h1"
    }

    fn boot_offset(&self) -> i128 {
        // 2026-11-24T09:30:00Z, less the second at which the first event happens.
        1_795_512_600_000_000_000 - 1_000_000_000
    }

    fn session(&self, slot: Slot, id: SessionId) -> Option<Session> {
        (slot == Slot(3) && id == SessionId(42)).then(session)
    }

    fn session_at(&self, slot: Slot) -> Option<Session> {
        (slot == Slot(3)).then(session)
    }

    fn explain(&self, event: &Event) -> Explanation {
        let denied = event.reason == Reason::ExplicitDeny;
        Explanation {
            rule: denied.then(|| Rule {
                file: "/etc/remit/policy.d/10-base.toml".into(),
                line: 12,
                text: "paths = [\"/etc/shadow\"]".into(),
            }),
            would_allow: if event.reason == Reason::NoTool {
                vec!["github".into()]
            } else {
                Vec::new()
            },
            reason: event.reason,
        }
    }

    fn exe(&mut self, pid: u32, _before: BootNanos) -> Option<Vec<u8>> {
        (pid == 4200).then(|| b"/usr/bin/python3".to_vec())
    }
}

pub(crate) fn session() -> Session {
    Session {
        id: "000000000000002a".into(),
        name: "fix-42".into(),
        profile: "coder".into(),
        task: "fix #42".into(),
        lineage: vec!["0000000000000029".into()],
    }
}
