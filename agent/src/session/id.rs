//! A session's id as text: 16 hexadecimal digits.

use std::{fmt, str::FromStr};

use agent_common::id::SessionId;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Random bits below the milliseconds.
const RANDOM_BITS: u32 = 20;

/// A session's id: 44 bits of unix milliseconds, then 20 random bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(pub SessionId);

impl Id {
    /// A new id.
    pub fn new(unix_millis: u64, random: u32) -> Self {
        let random = u64::from(random) & ((1 << RANDOM_BITS) - 1);
        Self(SessionId((unix_millis << RANDOM_BITS) | random))
    }

    /// Whether a word could be mistaken for an id.
    pub fn looks_like(word: &str) -> bool {
        word.len() == 16 && word.bytes().all(|byte| byte.is_ascii_hexdigit())
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0.0)
    }
}

/// The word is not 16 hexadecimal digits.
#[derive(Debug, thiserror::Error)]
#[error("not a session id: 16 hexadecimal digits")]
pub struct NotAnId;

impl FromStr for Id {
    type Err = NotAnId;

    fn from_str(word: &str) -> Result<Self, NotAnId> {
        if !Self::looks_like(word) {
            return Err(NotAnId);
        }
        u64::from_str_radix(word, 16).map(|id| Self(SessionId(id))).map_err(|_| NotAnId)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_written_as_text_is_read_back() {
        let id = Id::new(1_764_000_000_000, u32::MAX);
        assert_eq!(id.to_string().len(), 16);
        assert_eq!(id.to_string().parse::<Id>().unwrap(), id);
        assert_eq!(id.0.0 >> 20, 1_764_000_000_000);
        assert!("12".parse::<Id>().is_err());
        assert!("+123456789abcdef".parse::<Id>().is_err());
    }
}
