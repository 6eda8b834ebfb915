//! A compiled policy: the contents of the kernel's maps, as plain data.

use agent_common::{
    authority::ToolSet,
    id::LabelId,
    rule::{AddressKey, AffixKey, Edge, EdgeKey, Label, PortKey},
};

/// Path rules of one owner (the shared ones, or one session's own), compiled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Steps of the path trie.
    pub edges: Vec<(EdgeKey, Edge)>,
    /// Affixes: key, bits of it that count (`AFFIX_HEAD_BITS` + 8 × bytes), number.
    pub affixes: Vec<(AffixKey, u32, u32)>,
    /// Labels that are not in the tables yet, with their numbers.
    pub labels: Vec<(LabelId, Label)>,
}

/// A whole policy, compiled.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// Path rules: the shared ones and those of every live session. `labels` has all labels.
    pub rules: Rules,
    /// Address ranges: key, prefix length in bits (of 128), class.
    pub addresses: Vec<(AddressKey, u32, u32)>,
    /// Port ranges: key, bits of it that count (`PORT_HEAD_BITS` + 0 to 16), label.
    pub ports: Vec<(PortKey, u32, LabelId)>,
    /// The tools with which set-id programs keep their privilege.
    pub set_id: ToolSet,
}
