//! Values of maps that only the programs know: their layout, without behaviour.

use agent_common::{
    event::EventHeader,
    id::Tag,
    limits::{CHUNK_BYTES, COMPONENTS, PATH_BYTES},
    rule::{AffixKey, EdgeKey, Position},
};
use aya_ebpf::btf_maps::lpm_trie::Key;

use crate::request::Address;

/// How many work areas there are, a power of two. There can be as many in use as there are tasks inside a program at
/// once.
pub(crate) const SCRATCHES: usize = 64;
/// Bytes of an event that can be addressed: a power of two, with room for the header and three paths.
pub(crate) const EVENT_BYTES: usize = 16_384;

const _: () = assert!(size_of::<EventHeader>() + 3 * PATH_BYTES <= EVENT_BYTES);

/// Words of an [`EdgeKey`].
const KEY_WORDS: usize = size_of::<EdgeKey>() / 8;

const _: () = assert!(core::mem::offset_of!(EdgeKey, bytes) == 8 && CHUNK_BYTES == 24);

/// Words of an [`AffixKey`] behind its length in bits.
const AFFIX_WORDS: usize = size_of::<Key<AffixKey>>() / 4;

const _: () = assert!(core::mem::offset_of!(AffixKey, bytes) == 8);

/// Index in [`Scratch::affix`] of the number of bits that are compared.
pub(crate) const AFFIX_BITS: usize = 0;
/// Index in [`Scratch::affix`] of the node.
pub(crate) const AFFIX_NODE: usize = 1;
/// Index in [`Scratch::affix`] of the kind.
pub(crate) const AFFIX_KIND: usize = 2;

/// One component of a path, by the addresses of its dentry and name.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Component {
    /// Address of the name.
    pub(crate) name: u64,
    /// Address of the dentry.
    pub(crate) dentry: u64,
    /// Length of the name in bytes.
    pub(crate) len: u64,
}

/// A work area ([`crate::scratch`]).
#[repr(C)]
pub(crate) struct Scratch {
    /// One while it is taken.
    pub(crate) busy: u32,
    /// Its index in the map, while it is taken.
    pub(crate) index: u32,
    /// Walk: the dentry reached.
    pub(crate) dentry: u64,
    /// Walk: the mount that the dentry is in.
    pub(crate) mount: u64,
    /// Walk: that mount's root.
    pub(crate) root: u64,
    /// Walk: the root of the mount below, as long as the walk has not climbed since it left that mount.
    pub(crate) covered_root: u64,
    /// Walk: components found, the last of the path first.
    pub(crate) count: u64,
    /// Walk: its result, a constant of [`crate::walk`].
    pub(crate) status: u64,
    /// Walk: not zero if the object's dentry may not be in its parent's list of names, since it does not exist yet
    /// or was only just made.
    pub(crate) may_be_unhashed: u64,
    /// Walk: the mount where it starts.
    pub(crate) start_mount: u64,
    /// Walk: the dentry where it starts.
    pub(crate) start_dentry: u64,
    /// Walk: the kernel's count of renames when it began.
    pub(crate) renames: u32,
    /// Walk: the kernel's count of mount changes when it began.
    pub(crate) mounts: u32,
    /// Matching: index of the policy in the tables.
    pub(crate) table: u32,
    /// Matching: slot of the session whose own rules count.
    pub(crate) slot: u32,
    /// Matching: positions in the automaton, by the shared rules and by the session's own.
    pub(crate) positions: [Position; 2],
    /// Matching: the positions at the folder of the last component.
    pub(crate) folder_positions: [Position; 2],
    /// Walk: the dentry of that folder; zero if there is none.
    pub(crate) folder: u64,
    /// Walk: the mount of that folder.
    pub(crate) folder_mount: u64,
    /// Matching: an [`EdgeKey`], as words.
    pub(crate) key: [u64; KEY_WORDS],
    /// Matching: an [`AffixKey`] behind its length in bits, as words.
    pub(crate) affix: [u32; AFFIX_WORDS],
    /// Alignment.
    pub(crate) reserved: u32,
    /// Matching: address of the rest of the name.
    pub(crate) piece: u64,
    /// Matching: length of the rest in bytes.
    pub(crate) piece_rest: u64,
    /// Matching: the node after the pieces before.
    pub(crate) piece_node: u32,
    /// Matching: not zero while the name is compared in small letters.
    pub(crate) folds_case: u32,
    /// Matching: not zero if some name can't be compared in the way that its file system does.
    pub(crate) is_incomparable: u64,
    /// Matching: the last bytes of a name.
    pub(crate) tail: [u8; 256],
    /// Matching: how many there are.
    pub(crate) tail_len: u64,
    /// Event: bytes that are filled in.
    pub(crate) filled: u64,
    /// Event: where the path begins that is being written.
    pub(crate) path_start: u64,
    /// Walk: the components.
    pub(crate) components: [Component; COMPONENTS],
    /// The event.
    pub(crate) event: [u8; EVENT_BYTES + 512],
}

/// The session that made a socket, and what the session uses it for.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Owner {
    /// The session.
    pub(crate) tag: Tag,
    /// Under which policy and epoch ([`crate::standing::stamp`]) the socket may be used in its roles; zero for none.
    pub(crate) stamp: u64,
    /// The address that it sent to last, by an address that came with the message.
    pub(crate) peer: Address,
    /// The port there.
    pub(crate) port: u16,
    /// The port that it had when it was reset, by which the socket itself lost it.
    pub(crate) local_port: u16,
    /// Its roles, the `ROLE_` constants of [`crate::socket_owner`], and above them a count of their changes. Roles
    /// are only ever added, atomically, so that no race removes one.
    pub(crate) roles: u32,
}

/// A socket and its owner.
#[repr(C)]
pub(crate) struct OwnerEntry {
    /// The socket's cookie; all ones while the entry is being written; zero in an entry that was never used.
    pub(crate) cookie: u64,
    /// The socket's address.
    pub(crate) sock: u64,
    /// Its owner.
    pub(crate) owner: Owner,
}
