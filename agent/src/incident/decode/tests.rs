//! Records whole, cut short and garbled.

use agent_common::event::Operation;

use super::*;
use crate::incident::testing::{Random, encode, event, file_event};

fn samples() -> Vec<Event> {
    let mut rename = file_event(2, "/w/a", Reason::NoTool);
    rename.operation = Operation::FileRename;
    rename.to = Some(b"/w/b".to_vec());
    rename.verdict = Verdict::WouldDeny;
    let with = |operation, object| Event { operation, object, ..event(3) };
    vec![
        event(1),
        rename,
        with(Operation::NetSocket, Object::Socket { family: 17, kind: 3, protocol: 768 }),
        with(Operation::ProcessSignal, Object::Process { pid: 1, signal: 15 }),
        with(Operation::PrivCapability, Object::Number(21)),
        with(Operation::UnixConnect, Object::AbstractSocket(b"a\0b".to_vec())),
        with(Operation::FileOpen, Object::Path(b"/w/\xff\xfe".to_vec())),
        with(Operation::FileExec, Object::SetId(b"/usr/bin/su".to_vec())),
    ]
}

#[test]
fn header_constant_is_the_layouts_size() {
    assert_eq!(HEADER_BYTES, 264);
    let bare = Event { exe: Vec::new(), ..event(1) };
    assert_eq!(encode(&bare).len(), HEADER_BYTES);
}

#[test]
fn record_of_each_object_decodes_to_what_was_sent() {
    for sample in samples() {
        assert_eq!(decode(&encode(&sample)), Ok(sample));
    }
}

#[test]
fn record_with_padding_behind_it_decodes() {
    let mut bytes = encode(&event(1));
    bytes.extend([0; 64]);
    assert_eq!(decode(&bytes), Ok(event(1)));
}

#[test]
fn path_with_a_final_zero_byte_loses_it_and_an_inner_one_is_an_error() {
    let sent = file_event(1, "/etc/passwd\0", Reason::NoTool);
    let decoded = decode(&encode(&sent)).map(|event| event.object);
    assert_eq!(decoded, Ok(Object::Path(b"/etc/passwd".to_vec())));
    let sent = file_event(1, "/etc\0/passwd", Reason::NoTool);
    assert_eq!(decode(&encode(&sent)), Err(DecodeError::ZeroByte { field: "path" }));
}

#[test]
fn record_truncated_anywhere_is_short() {
    for sample in samples() {
        let bytes = encode(&sample);
        for length in 0..bytes.len() {
            let error = decode(&bytes[..length]).unwrap_err();
            assert!(matches!(error, DecodeError::Short { have, .. } if have == length), "{error}");
        }
    }
}

#[test]
fn field_out_of_range_is_named() {
    let cases = [
        (56, 200, "operation"),
        (57, 11, "reason"),
        (58, 2, "verdict"),
        (60, 7, "object"),
        (86, 9, "number of ancestors"),
    ];
    for (offset, value, name) in cases {
        let mut bytes = encode(&event(1));
        bytes[offset] = value;
        match decode(&bytes) {
            Err(DecodeError::Unknown { field, .. }) => assert_eq!(field, name),
            other => panic!("{name}: {other:?}"),
        }
    }
    let nobody = Event { session: SessionId(0), ..event(1) };
    assert!(matches!(decode(&encode(&nobody)), Err(DecodeError::Unknown { field: "session", .. })));
}

#[test]
fn random_bytes_and_garbled_records_never_panic() {
    let mut random = Random(7);
    let samples: Vec<_> = samples().iter().map(encode).collect();
    for _ in 0..20_000 {
        let mut bytes = samples[random.below(samples.len())].clone();
        for _ in 0..=random.below(8) {
            let place = random.below(bytes.len());
            bytes[place] = random.next().to_le_bytes()[0];
        }
        bytes.truncate(random.below(bytes.len() + 1).max(random.below(bytes.len() + 1)));
        let _ = decode(&bytes);
        let noise: Vec<u8> =
            (0..random.below(600)).map(|_| random.next().to_le_bytes()[0]).collect();
        let _ = decode(&noise);
    }
}
