//! The values of maps that no other crate knows, as they lie in memory, without behaviour.

use agent_common::{
    event::EventHeader,
    id::Tag,
    limits::{CHUNK_BYTES, COMPONENTS, PATH_BYTES},
    rule::{AffixKey, EdgeKey, Position},
};
use aya_ebpf::btf_maps::lpm_trie::Key;

use crate::request::Address;

/// Areas; a power of two. No more than the tasks that are inside a program at once are in use.
pub(crate) const SCRATCHES: usize = 64;
/// Bytes of an event that are addressed; a power of two above header and three paths.
pub(crate) const EVENT_BYTES: usize = 16_384;

const _: () = assert!(size_of::<EventHeader>() + 3 * PATH_BYTES <= EVENT_BYTES);

/// Words of an [`EdgeKey`].
const KEY_WORDS: usize = size_of::<EdgeKey>() / 8;

const _: () = assert!(core::mem::offset_of!(EdgeKey, bytes) == 8 && CHUNK_BYTES == 24);

/// Words of an [`AffixKey`] behind its length in bits.
const AFFIX_WORDS: usize = size_of::<Key<AffixKey>>() / 4;

const _: () = assert!(core::mem::offset_of!(AffixKey, bytes) == 8);

/// Where [`Scratch::affix`] has the bits that count.
pub(crate) const AFFIX_BITS: usize = 0;
/// Where [`Scratch::affix`] has the node.
pub(crate) const AFFIX_NODE: usize = 1;
/// Where [`Scratch::affix`] has the kind.
pub(crate) const AFFIX_KIND: usize = 2;

/// One component of a path: its dentry and its name, by address.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Component {
    /// Address of the name.
    pub(crate) name: u64,
    /// Address of the dentry.
    pub(crate) dentry: u64,
    /// Bytes of the name.
    pub(crate) len: u64,
}

/// A work area.
#[repr(C)]
pub(crate) struct Scratch {
    /// One while it is taken.
    pub(crate) busy: u32,
    /// Its place in the map, while it is taken.
    pub(crate) index: u32,
    /// Walk: the dentry reached.
    pub(crate) dentry: u64,
    /// Walk: the mount that it is in.
    pub(crate) mount: u64,
    /// Walk: that mount's root.
    pub(crate) root: u64,
    /// Walk: the root of the mount below, while nothing was climbed since.
    pub(crate) covered_root: u64,
    /// Walk: components found, the last of the path first.
    pub(crate) count: u64,
    /// Walk: how it went, a `walk::` constant.
    pub(crate) status: u64,
    /// Walk: the object does not exist yet, or was just made: it may be out of its parent's list.
    pub(crate) may_be_unhashed: u64,
    /// Walk: where it starts.
    pub(crate) start_mount: u64,
    /// Walk: where it starts.
    pub(crate) start_dentry: u64,
    /// Walk: changes when it began.
    pub(crate) renames: u32,
    /// Walk: changes when it began.
    pub(crate) mounts: u32,
    /// Matching: the policy's table.
    pub(crate) table: u32,
    /// Matching: slot of the session whose own rules apply.
    pub(crate) slot: u32,
    /// Matching: against the shared rules and the session's own.
    pub(crate) positions: [Position; 2],
    /// Matching: the same at the folder that the last component is in.
    pub(crate) folder_positions: [Position; 2],
    /// Walk: the dentry of that folder; zero where there is none.
    pub(crate) folder: u64,
    /// Walk: the mount that it was found in.
    pub(crate) folder_mount: u64,
    /// Matching: an [`EdgeKey`], as words.
    pub(crate) key: [u64; KEY_WORDS],
    /// Matching: a key of the affixes with its length in bits, as words.
    pub(crate) affix: [u32; AFFIX_WORDS],
    /// Alignment.
    pub(crate) reserved: u32,
    /// Matching: where the piece of the name that comes next begins.
    pub(crate) piece: u64,
    /// Matching: bytes of the name from there on.
    pub(crate) piece_rest: u64,
    /// Matching: the node that the pieces before led to.
    pub(crate) piece_node: u32,
    /// Matching: not zero where the name is compared in small letters.
    pub(crate) folds_case: u32,
    /// Matching: not zero where a name can't be compared as its file system does.
    pub(crate) is_incomparable: u64,
    /// Matching: the end of a name.
    pub(crate) tail: [u8; 256],
    /// Matching: bytes of it that count.
    pub(crate) tail_len: u64,
    /// Event: bytes filled in.
    pub(crate) filled: u64,
    /// Event: where the path that is being written began.
    pub(crate) path_start: u64,
    /// Components found.
    pub(crate) components: [Component; COMPONENTS],
    /// The event.
    pub(crate) event: [u8; EVENT_BYTES + 512],
}

/// A socket's owner.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Owner {
    /// The session that made it.
    pub(crate) tag: Tag,
    /// For which policy and state of the session's authority it was found usable
    /// ([`crate::check::stamp`]); zero for none.
    pub(crate) stamp: u64,
    /// Where it sent to last, by an address that came with the message.
    pub(crate) peer: Address,
    /// The port there.
    pub(crate) port: u16,
    /// The port that it was bound to when it was reset, which takes it from the socket.
    pub(crate) local_port: u16,
    /// What it is used for; roles are only ever added, atomically, so that no race takes one away. See [`ALL_ROLES`].
    pub(crate) roles: u32,
}

/// The owner of the socket whose cookie that is.
#[repr(C)]
pub(crate) struct OwnerEntry {
    /// The socket's cookie; [`TAKEN`] while somebody writes; zero where nobody did.
    pub(crate) cookie: u64,
    /// The socket's address.
    pub(crate) sock: u64,
    /// Its owner.
    pub(crate) owner: Owner,
}
