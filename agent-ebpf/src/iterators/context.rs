//! Contexts of iterators, and what an iterator writes.

use core::ffi::c_void;

use aya_ebpf::{bindings::seq_file, helpers::generated::bpf_seq_write};

/// The context of an iterator: a `struct bpf_iter__task` (kernel/bpf/task_iter.c) and the like. Its members have a word of
/// 64 bits each; the first is common to all, a pointer to a `struct bpf_iter_meta` (include/linux/bpf.h).
#[repr(C)]
pub(super) struct Context(u64);

impl Context {
    /// A member, by its place. (One by one: the verifier knows each by itself.)
    #[inline(always)]
    pub(super) fn member<T: Copy>(context: *const Self, place: usize) -> T {
        // SAFETY: the verifier checks that the context has such a member, and of which type.
        unsafe { context.add(place).cast::<T>().read_volatile() }
    }

    /// The member of the context that every iterator has.
    #[inline(always)]
    pub(super) fn meta(context: *const Self) -> Meta {
        Meta(Self::member(context, 0))
    }
}

/// A `struct bpf_iter_meta`: its first member is the file that is read.
#[derive(Clone, Copy)]
pub(super) struct Meta(*const *mut seq_file);

impl Meta {
    /// Writes a value into the file that is read. If there is no room any more, the kernel runs the program for the same
    /// object again, with more.
    #[inline(always)]
    pub(super) fn write<T>(self, value: &T) {
        let value: *const T = value;
        // SAFETY: the verifier has typed the pointer, and the value has as many bytes.
        unsafe {
            let file = self.0.read_volatile();
            bpf_seq_write(file, value.cast::<c_void>(), size_of::<T>() as u32);
        }
    }
}
