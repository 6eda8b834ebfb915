//! Requests: what hooks ask the checks for. Values only; nothing is decided here.

use core::ffi::c_void;

use agent_common::{access::Rights, event::Operation};

use crate::{
    kernel::{O_TMPFILE, Place, parent_and_name},
    member,
};

/// What a file request asks for besides rights.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct Flags(u32);

impl Flags {
    /// Nothing.
    pub(crate) const NONE: Self = Self(0);
    /// The object does not exist yet or was only just made, so its dentry may not be in its parent's list of names.
    pub(crate) const MAY_BE_UNHASHED: Self = Self(1);
    /// A folder moves with everything below it.
    pub(crate) const MOVES_SUBTREE: Self = Self(2);
    /// Allow objects in a mount that only the kernel has. Either a memory file is changed by its descriptor: whoever can
    /// name that holds it. Or overlayfs opens something in one of its layers while it works for an operation that was
    /// decided.
    pub(crate) const ALLOW_INTERNAL_MOUNT: Self = Self(4);
    /// The place is the destination of a rename or link; the second place is its source.
    pub(crate) const IS_DESTINATION: Self = Self(8);
    /// An open descriptor is used. If its file lost its name, the last name counts. A file that nobody has a path to
    /// (a pipe, a memory file) belongs to the session that holds the descriptor, and what the session was given at its
    /// start stays usable.
    pub(crate) const ON_DESCRIPTOR: Self = Self(16);
    /// A program gives its process more privilege: only tools count that allow this.
    pub(crate) const GAINS_PRIVILEGE: Self = Self(32);
    /// The request is for every name in the place's folder.
    pub(crate) const EVERY_NAME: Self = Self(64);
    /// The place's labels are compared with those of another place. With [`Self::MOVES_SUBTREE`] the labels of
    /// everything below it count.
    pub(crate) const COMPARES_LABELS: Self = Self(128);
    /// No session may do it, whatever it holds.
    pub(crate) const FORBIDDEN: Self = Self(256);
    /// The file may be one that the session holds, named by its descriptor (`/proc/self/fd/N`). If it lost its name, the
    /// last name counts. What the session was given at its start is opened again as it was given; so are pipes and
    /// memory files, and as one likes if the session made them.
    pub(crate) const MAY_BE_HELD: Self = Self(512);

    /// These flags and others.
    #[inline(always)]
    pub(crate) const fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether one of the flags is set.
    #[inline(always)]
    pub(crate) const fn has(self, flags: Self) -> bool {
        self.0 & flags.0 != 0
    }

    /// The bits of those of the flags that are set: not zero where one is.
    #[inline(always)]
    pub(crate) const fn among(self, flags: Self) -> u32 {
        self.0 & flags.0
    }
}

/// An operation on a file.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct FileRequest {
    /// The file's place.
    pub(crate) place: Place,
    /// The rights that it needs.
    pub(crate) rights: Rights,
    /// What is done.
    pub(crate) operation: Operation,
    /// What else it asks for.
    pub(crate) flags: Flags,
}

impl FileRequest {
    /// An operation on an existing file.
    #[inline(always)]
    pub(crate) fn new(operation: Operation, place: Place, rights: Rights) -> Self {
        Self { place, rights, operation, flags: Flags::NONE }
    }

    /// The use of an open file by a descriptor. A file without a name counts as in the folder that it was made in,
    /// as when it was opened.
    #[inline(always)]
    pub(crate) fn of_descriptor(file: *const c_void, rights: Rights, operation: Operation) -> Self {
        let mut request = Self::new(operation, place_of_open(file), rights);
        request.flags = Flags::ON_DESCRIPTOR;
        request
    }
}

/// The place of an open file: for one that was made without a name (`O_TMPFILE`), its folder.
#[inline(always)]
pub(crate) fn place_of_open(file: *const c_void) -> Place {
    let place = Place::of_file(file);
    if member!(u32, file, file_flags) & O_TMPFILE != O_TMPFILE {
        return place;
    }
    let (folder, ..) = parent_and_name(place.dentry);
    Place::at(place.mount, folder)
}

/// An IPv6 address, or an IPv4 one mapped into it, as two words: its bytes in network order.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address(pub(crate) [u64; 2]);

impl Address {
    /// From an IPv4 address in network order.
    #[inline(always)]
    pub(crate) const fn v4(address: u32) -> Self {
        // Bytes 10 and 11 are 0xff; the target is little-endian.
        Self([0, 0xffff_0000 | (address as u64) << 32])
    }

    /// The bytes in network order.
    #[inline(always)]
    pub(crate) fn octets(self) -> [u8; 16] {
        // SAFETY: both types have sixteen bytes, and any bytes are a value.
        unsafe { core::mem::transmute(self.0) }
    }
}

/// An operation on a network endpoint.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Endpoint {
    /// Its address.
    pub(crate) address: Address,
    /// Its port, in native byte order.
    pub(crate) port: u16,
    /// An IP protocol number.
    pub(crate) protocol: u8,
    /// What is done.
    pub(crate) operation: Operation,
    /// A `FLOW_` constant of `agent_common::rule`.
    pub(crate) flow: u16,
    /// The right that it needs.
    pub(crate) rights: Rights,
}

/// An act that no session may do, or that takes no more than standing.
#[derive(Clone, Copy)]
pub(crate) struct Act {
    /// What is done.
    pub(crate) operation: Operation,
    /// What it is done to: an `OBJECT_` constant.
    pub(crate) object: u8,
    /// Numbers that describe the object, by its kind.
    pub(crate) arguments: [u32; 3],
}
