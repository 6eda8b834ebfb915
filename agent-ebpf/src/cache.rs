//! What was found before: the basis of an answer, and how entries are written.
//!
//! An entry answers only for the policy, the place, the session and the state of its authority for which
//! it was decided, and only while nothing on the host was renamed or mounted since. Readers and writers
//! race: an entry is written under an odd sequence number, and a reader that saw the number move looks
//! elsewhere.

use agent_common::{access::Rights, authority::Session};

use crate::{atomic, kernel::Changes};

pub use endpoint::{allows_endpoint, keep_endpoint};
pub use file::{allows, keep};
pub use folder::{Folder, folder, keep_folder, keep_rights};

/// Reads a field that another processor may be writing.
macro_rules! field {
    ($entry:ident.$($field:tt)+) => {
        // SAFETY: a reference is valid.
        unsafe { core::ptr::read_volatile(&raw const $entry.$($field)+) }
    };
}

/// Writes a field of an entry that is ours. Field by field, since a whole entry is too much for the stack.
macro_rules! write {
    ($entry:ident: $($field:ident $(. $part:ident)? = $value:expr;)*) => {
        // SAFETY: a reference is valid.
        $(unsafe { core::ptr::write_volatile(&raw mut $entry.$field $(. $part)?, $value) };)*
    };
}

mod endpoint;
mod file;
mod folder;

/// What a decision rests on beside the rules: read before it is made, kept with what it found.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Basis {
    /// The policy.
    pub generation: u32,
    /// The session's epoch; zero where nothing that is kept of its authority answers, since an expiry is past.
    pub epoch: u32,
    /// The kernel's counters.
    pub changes: Changes,
}

impl Basis {
    /// The policy and the epoch, as an entry has them.
    #[inline(always)]
    pub fn stamp(&self) -> u64 {
        stamp(self.generation, self.epoch)
    }
}

/// What a decision allowed, in one register (a function here takes five): rights, and the marks that using them leaves.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Allowed(pub u64);

impl Allowed {
    #[inline(always)]
    pub fn new(rights: Rights, marks: u32) -> Self {
        Self(u64::from(marks) << 32 | u64::from(rights.0))
    }

    #[inline(always)]
    fn rights(self) -> u32 {
        self.0 as u32
    }

    #[inline(always)]
    fn marks(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// A policy's generation, and a session's epoch.
#[inline(always)]
pub fn stamp(generation: u32, epoch: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(epoch)
}

/// The session's epoch, read anew.
#[inline(always)]
pub fn epoch(session: &Session) -> u32 {
    // SAFETY: a reference is valid; volatile, so that it comes before what is read of the entry later.
    unsafe { core::ptr::read_volatile(&raw const session.epoch) }
}

/// A place, of a power of two many, for what is not spread evenly.
#[inline(always)]
fn place(numbers: u64, many: usize) -> u32 {
    // Fibonacci hashing: the upper bits of a product with 2^64 divided by the golden ratio.
    let mixed = numbers.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (64 - many.trailing_zeros())) as u32
}

/// Begins to write an entry, whose sequence number that is: the number of before; `None` while another writes.
#[inline(always)]
fn begin(sequence: *mut u32) -> Option<u32> {
    // SAFETY: a map's value is valid.
    let before = unsafe { sequence.read_volatile() };
    (before & 1 == 0 && atomic::replace(sequence, before, before + 1)).then_some(before)
}

/// Ends what [`begin`] began.
#[inline(always)]
fn end(sequence: *mut u32, before: u32) {
    atomic::replace(sequence, before + 1, before + 2);
}
