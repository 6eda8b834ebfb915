//! Files and sockets that a session was given at its start: their open descriptors stay usable.

use crate::{assert_layout, id::SessionId, limits::PASSED};

/// A file that a session was given: by its inode, since every descriptor of the file with the same mode may do the
/// same.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GivenKey {
    /// The session.
    pub session: SessionId,
    /// Address of the inode.
    pub inode: u64,
}

assert_layout!(GivenKey, 16, 8);

/// What tells the inode from a later one at its address, and what the session may do with it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// The inode's number (`i_ino`).
    pub number: u64,
    /// Which of the inodes that had that number (`i_generation`).
    pub generation: u32,
    /// [`crate::access::Rights`] to read and write, as the descriptors were opened.
    pub rights: u32,
}

assert_layout!(Given, 16, 8);

/// Which descriptors of the process that the program `given` runs over are given to which session.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Giving {
    /// The session.
    pub session: SessionId,
    /// How many of `descriptors` are used.
    pub count: u32,
    /// Pipes that the program found beside them; it records [`PASSED`] of these.
    pub pipes: u32,
    /// Their numbers.
    pub descriptors: [u32; PASSED],
}

assert_layout!(Giving, 16 + 4 * 64, 8);
