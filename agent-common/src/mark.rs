//! Marks: which kill-on-revoke tools a process has used (`on_revoke = "kill"`). The loss of such a tool kills the
//! processes that used it.
//!
//! The kernel holds pages for a process in ways that no hook sees: mappings, buffers registered with io_uring, pages
//! in pipes, a `sendfile` that waits. So killing follows use. What such a tool allows a task leaves a mark in the
//! task's [tag](crate::id::Tag) and with its process before the operation goes on, and children of the task have the
//! mark too.

use crate::{
    assert_layout,
    authority::ToolSet,
    id::{SessionId, ToolBit},
};

/// How many marks there are. Tools whose bits differ by a multiple of it share a mark: then the loss of one also
/// kills the processes that used the other.
pub const MARKS: u16 = 32;

/// The mark of a tool, as a set of one.
pub const fn mark(tool: ToolBit) -> u32 {
    1 << (tool.0 % MARKS)
}

/// The marks of a set of tools.
#[inline(always)]
pub fn marks(tools: &ToolSet) -> u32 {
    let all = tools.0.iter().fold(0, |all, word| all | word);
    (all | all >> MARKS) as u32
}

/// A task of a session, as the kernel side tells the daemon.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskRecord {
    /// Its session.
    pub session: SessionId,
    /// Address of its memory (`struct mm_struct`), which others may share; zero once it has none, as at its end.
    pub memory: u64,
    /// Address of its descriptors (`struct files_struct`), which others may share; zero once it has none.
    pub descriptors: u64,
    /// Its process.
    pub process: u32,
    /// Its own marks, and those of its process.
    pub marks: u32,
}

assert_layout!(TaskRecord, 32, 8);

impl TaskRecord {
    /// From the bytes that the kernel side wrote.
    pub fn from_bytes(bytes: [u8; size_of::<Self>()]) -> Self {
        // SAFETY: integers alone, without padding (the size is asserted): any bytes are a value.
        unsafe { core::mem::transmute(bytes) }
    }
}

/// Which kill-on-revoke tools the processes of a session have used: one word for each slot.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used(pub u64);

impl Used {
    /// The word for a use of tools with these marks.
    pub const fn by(marks: u32) -> Self {
        Self(marks as u64)
    }

    /// The word for a use by a process for which there was no room.
    pub const fn by_unknown(marks: u32) -> Self {
        Self((marks as u64) << 32)
    }

    /// The marks of all tools that some process used.
    pub const fn marks(self) -> u32 {
        self.0 as u32
    }

    /// Those marks of which not all users are known.
    pub const fn unknown(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_a_set_are_those_of_its_tools() {
        for bit in [0, 1, 31, 32, 63, 64, 200, 255] {
            let tools: ToolSet = [ToolBit(bit)].into_iter().collect();
            assert_eq!(marks(&tools), mark(ToolBit(bit)), "{bit}");
        }
        let tools: ToolSet = [3, 35, 130].into_iter().map(ToolBit).collect();
        assert_eq!(marks(&tools), 1 << 3 | 1 << 2);
        assert_eq!(marks(&ToolSet::EMPTY), 0);
    }

    #[test]
    fn word_of_a_session_tells_known_users_from_unknown() {
        let used = Used(Used::by(5).0 | Used::by_unknown(4).0);
        assert_eq!((used.marks(), used.unknown()), (5, 4));
    }
}
