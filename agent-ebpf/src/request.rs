//! What hooks ask for: an operation on a file or a network endpoint, or another act. Values alone: nothing is decided here.

use core::ffi::c_void;

use agent_common::{access::Rights, event::Operation};

use crate::{
    kernel::{O_TMPFILE, Place, parent_and_name},
    member,
};

/// [`FileRequest::flags`]: the object is not there yet, or has only just been made.
pub(crate) const FRESH: u32 = 1;
/// [`FileRequest::flags`]: a folder that moves as a whole: refused where rules name what is below it.
pub(crate) const WHOLE: u32 = 2;
/// [`FileRequest::flags`]: let pass what is in a mount of the kernel's own. Either it is a pipe that is
/// opened again by its descriptor, or a memory file that is changed by it, and who can name the descriptor
/// has it; or overlayfs opens a folder, or a file to copy it, in one of its layers, while it works for an
/// operation that was decided.
pub(crate) const INNER: u32 = 4;
/// [`FileRequest::flags`]: the place is where something is renamed or linked to; `to` is where it comes
/// from.
pub(crate) const ARRIVING: u32 = 8;
/// [`FileRequest::flags`]: a descriptor that is open is used. What it is of may have lost its name: then the
/// name counts that it had last. What nobody has a path to (pipes, memory files) is of who holds it, and
/// what the session was given at its start stays usable.
pub(crate) const USE: u32 = 16;
/// [`FileRequest::flags`]: a program that gives its process more privilege: only tools count that let it.
pub(crate) const SET_ID: u32 = 32;
/// [`FileRequest::flags`]: what is asked about the place is asked about every name in its folder.
pub(crate) const ANY_NAME: u32 = 64;
/// [`FileRequest::flags`]: what counts is what the rules say of the place, to compare it with another: with
/// [`WHOLE`], of everything below.
pub(crate) const LABELS: u32 = 128;
/// [`FileRequest::flags`]: no session may do it, whatever it holds.
pub(crate) const FORBIDDEN: u32 = 256;

/// An operation on a file.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct FileRequest {
    /// Where the file is.
    pub(crate) place: Place,
    /// The rights that it needs.
    pub(crate) rights: Rights,
    /// What is done.
    pub(crate) operation: Operation,
    /// A set of the flags above.
    pub(crate) flags: u32,
}

impl FileRequest {
    /// An operation on one existing file.
    #[inline(always)]
    pub(crate) fn new(operation: Operation, place: Place, rights: Rights) -> Self {
        Self { place, rights, operation, flags: 0 }
    }

    /// What the use of an open file asks for. One without a name counts as in the folder that it was made in,
    /// as when it was opened.
    #[inline(always)]
    pub(crate) fn of_descriptor(file: *const c_void, rights: Rights, operation: Operation) -> Self {
        let mut place = Place::of_file(file);
        if member!(u32, file, file_flags) & O_TMPFILE == O_TMPFILE {
            let (folder, ..) = parent_and_name(place.dentry);
            place = Place::at(place.mount, folder);
        }
        let mut request = Self::new(operation, place, rights);
        request.flags = USE;
        request
    }
}

/// An IPv6 address, or an IPv4 one mapped into it: the bytes in network order, as two words.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address(pub(crate) [u64; 2]);

impl Address {
    /// From an IPv4 address as the kernel keeps it, in network order.
    #[inline(always)]
    pub(crate) const fn v4(address: u32) -> Self {
        // Bytes 10 and 11 are 0xff; the target is little-endian.
        Self([0, 0xffff_0000 | (address as u64) << 32])
    }

    /// The bytes in network order.
    #[inline(always)]
    pub(crate) fn octets(self) -> [u8; 16] {
        // SAFETY: sixteen bytes are sixteen bytes.
        unsafe { core::mem::transmute(self.0) }
    }
}

/// A network endpoint.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Endpoint {
    /// Where.
    pub(crate) address: Address,
    /// Native byte order.
    pub(crate) port: u16,
    /// IP protocol number.
    pub(crate) protocol: u8,
    /// What is done.
    pub(crate) operation: Operation,
    /// A `FLOW_` constant of `agent_common::rule`.
    pub(crate) flow: u16,
    /// The right that it needs.
    pub(crate) rights: Rights,
}

/// An act that no session may do, or that needs no more than the session's standing.
#[derive(Clone, Copy)]
pub(crate) struct Act {
    /// What is done.
    pub(crate) operation: Operation,
    /// An `OBJECT_` constant.
    pub(crate) object: u8,
    /// What the object's kind explains.
    pub(crate) arguments: [u32; 3],
}
