//! The chain of hashes: each line of the log has the hash of the one before. Pure.

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::incident::{object::hex, record::Record};

/// The `prev` of the very first line.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The hash of a line, without its newline, in hexadecimal.
pub fn hash(line: &[u8]) -> String {
    hex(&Sha256::digest(line))
}

/// A record as a line, without newline: its JSON with `prev` as the last key.
///
/// # Errors
/// When the record can't be written as JSON.
pub fn seal(record: &Record, prev: &str) -> Result<String, serde_json::Error> {
    let mut line = serde_json::to_string(record)?;
    // A record is a JSON object with at least its kind, so it ends in a brace, and a comma comes before the new key.
    line.pop();
    line.push_str(",\"prev\":\"");
    line.push_str(prev);
    line.push_str("\"}");
    Ok(line)
}

/// The hash of the line before, as a line has it; `None` if it is no line of the log.
pub fn prev_of(line: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Link {
        prev: String,
    }
    serde_json::from_slice::<Link>(line).ok().map(|link| link.prev)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::record::{Act, Actor, Control};

    #[test]
    fn sealed_line_is_json_with_the_hash_of_the_line_before() {
        let by = Actor { uid: 0, user: None, pid: 1, session: None };
        let record = Record::Control(Box::new(Control::new("h", Act::Reload, by)));
        let first = seal(&record, GENESIS).unwrap();
        let second = seal(&record, &hash(first.as_bytes())).unwrap();
        assert_eq!(prev_of(first.as_bytes()).as_deref(), Some(GENESIS));
        assert_eq!(prev_of(second.as_bytes()), Some(hash(first.as_bytes())));
        assert_eq!(Record::parse(&second).unwrap(), record);
        assert_eq!(prev_of(b"{}"), None);
    }

    #[test]
    fn hash_of_a_line_is_its_sha256() {
        assert_eq!(
            hash(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
