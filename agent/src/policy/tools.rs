//! Assigns a bit to each tool.
//!
//! The kernel reads a session's set of tools with the labels of whatever policy is in force. So a tool keeps its bit
//! over reloads, and a bit is not given to another tool while anything may still be read with its old meaning.

use std::collections::{BTreeMap, BTreeSet};

use agent_common::{authority::ToolSet, id::ToolBit, limits::TOOLS};
use serde::{Deserialize, Serialize};

use super::limit::LimitError;

/// The tools of the policies so far, and their bits. Part of the daemon's state: kept over restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, u16>", into = "BTreeMap<String, u16>")]
pub struct ToolBits(BTreeMap<String, u16>);

/// A stored assignment of bits that is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tool `{name}` can't have bit {bit}: out of range, or another tool's")]
pub struct BitError {
    name: String,
    bit: u16,
}

impl TryFrom<BTreeMap<String, u16>> for ToolBits {
    type Error = BitError;

    fn try_from(bits: BTreeMap<String, u16>) -> Result<Self, BitError> {
        let mut taken = BTreeSet::new();
        for (name, bit) in &bits {
            if usize::from(*bit) >= TOOLS || !taken.insert(*bit) {
                return Err(BitError { name: name.clone(), bit: *bit });
            }
        }
        Ok(Self(bits))
    }
}

impl From<ToolBits> for BTreeMap<String, u16> {
    fn from(bits: ToolBits) -> Self {
        bits.0
    }
}

impl ToolBits {
    /// No tools yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Assigns bits to the tools of a policy. Known tools keep their bits, and tools that the policy lacks are
    /// forgotten. A new tool gets the lowest free bit: not another tool's, not in `held` (the bits that live sessions
    /// hold), and not of a tool that this call forgets.
    ///
    /// # Errors
    /// More tools than bits. Nothing was changed.
    pub fn assign<I>(&mut self, names: I, held: &ToolSet) -> Result<(), LimitError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let names: BTreeSet<String> =
            names.into_iter().map(|name| name.as_ref().to_owned()).collect();
        if names.len() > TOOLS {
            return Err(LimitError::Tools { named: names.len() });
        }
        let mut taken = *held;
        for bit in self.0.values() {
            taken.insert(ToolBit(*bit));
        }
        let mut next = BTreeMap::new();
        let mut free = (0..TOOLS as u16).filter(|bit| !taken.contains(ToolBit(*bit)));
        let total = names.len();
        for name in names {
            let bit = match self.0.get(&name) {
                Some(bit) => *bit,
                None => free.next().ok_or(LimitError::ToolBits { named: total })?,
            };
            next.insert(name, bit);
        }
        self.0 = next;
        Ok(())
    }

    /// A tool's bit.
    pub fn bit(&self, name: &str) -> Option<ToolBit> {
        self.0.get(name).copied().map(ToolBit)
    }

    /// The tool that has a bit.
    pub fn name(&self, bit: ToolBit) -> Option<&str> {
        self.iter().find(|(_, other)| *other == bit).map(|(name, _)| name)
    }

    /// The tools by name, with their bits.
    pub fn iter(&self) -> impl Iterator<Item = (&str, ToolBit)> {
        self.0.iter().map(|(name, bit)| (name.as_str(), ToolBit(*bit)))
    }

    /// The set of the tools with these names; unknown names are left out.
    pub fn set<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> ToolSet {
        names.into_iter().filter_map(|name| self.bit(name)).collect()
    }

    /// The names of the tools in a set, by bit.
    pub fn names(&self, set: &ToolSet) -> Vec<&str> {
        set.iter().filter_map(|bit| self.name(bit)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(names: &[&str]) -> ToolBits {
        let mut bits = ToolBits::new();
        bits.assign(names, &ToolSet::EMPTY).unwrap();
        bits
    }

    #[test]
    fn tool_kept_over_a_reload_keeps_its_bit() {
        let mut bits = bits(&["b", "c", "d"]);
        assert_eq!(bits.bit("c"), Some(ToolBit(1)));
        bits.assign(["a", "c", "d"], &ToolSet::EMPTY).unwrap();
        assert_eq!(bits.bit("c"), Some(ToolBit(1)));
        assert_eq!(bits.bit("d"), Some(ToolBit(2)));
        assert_eq!(bits.bit("b"), None);
        assert_eq!(bits.bit("a"), Some(ToolBit(3)), "not the bit dropped by this very call");
        bits.assign(["a", "c", "d", "e"], &ToolSet::EMPTY).unwrap();
        assert_eq!(bits.bit("e"), Some(ToolBit(0)), "free from the next call on");
        assert_eq!(bits.name(ToolBit(0)), Some("e"));
    }

    #[test]
    fn bit_held_by_a_session_is_not_reused() {
        let mut bits = bits(&["a"]);
        bits.assign([""; 0], &ToolSet::EMPTY).unwrap();
        let held = [ToolBit(0)].into_iter().collect();
        bits.assign(["b"], &held).unwrap();
        assert_eq!(bits.bit("b"), Some(ToolBit(1)));
    }

    #[test]
    fn tool_257_is_refused_and_changes_nothing() {
        let names: Vec<_> = (0..257).map(|n| format!("t{n:03}")).collect();
        let mut bits = ToolBits::new();
        bits.assign(&names[..256], &ToolSet::EMPTY).unwrap();
        let before = bits.clone();
        let error = bits.assign(&names, &ToolSet::EMPTY).unwrap_err().to_string();
        assert_eq!(
            error,
            "the policy names 257 tools, one more than the kernel's tables hold: 256"
        );
        let error = bits.assign(&names[1..], &ToolSet::EMPTY).unwrap_err().to_string();
        assert!(error.contains("still in use"), "{error}");
        assert_eq!(bits, before);
    }

    #[test]
    fn stored_bits_out_of_range_or_shared_are_refused() {
        let read = |text: &str| serde_json::from_str::<ToolBits>(text);
        let written = serde_json::to_string(&bits(&["a", "b"])).unwrap();
        assert_eq!(read(&written).unwrap(), bits(&["a", "b"]));
        assert!(read(r#"{"a":256}"#).is_err());
        assert!(read(r#"{"a":1,"b":1}"#).is_err());
    }
}
