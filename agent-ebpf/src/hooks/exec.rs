//! Running: mapping a file executable. (Starting a program opens it with `__FMODE_EXEC`: `file_open`.)

use core::{ffi::c_void, ptr};

use agent_common::{
    access::{Right, Rights},
    event::Operation,
    id::Tag,
};
use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::{
    check::{self, FileRequest},
    kernel::{Place, load},
    offset, subject,
};

/// `PROT_EXEC` (include/uapi/asm-generic/mman-common.h).
const PROT_EXEC: u64 = 4;

/// `int mmap_file(struct file *file, unsigned long reqprot, unsigned long prot, unsigned long flags)`;
/// the file is null for anonymous memory.
#[lsm(hook = "mmap_file")]
pub fn mmap_file(context: LsmContext) -> i32 {
    if context.arg::<u64>(2) & PROT_EXEC == 0 {
        return 0;
    }
    let Some(tag) = subject::current() else { return 0 };
    let file: *const c_void = context.arg(0);
    if file.is_null() {
        return 0;
    }
    map(tag, file)
}

/// `int file_mprotect(struct vm_area_struct *vma, unsigned long reqprot, unsigned long prot)`.
#[lsm(hook = "file_mprotect")]
pub fn file_mprotect(context: LsmContext) -> i32 {
    if context.arg::<u64>(2) & PROT_EXEC == 0 {
        return 0;
    }
    let Some(tag) = subject::current() else { return 0 };
    let file: *const c_void = load(context.arg::<*const c_void>(0), offset!(vma_file));
    if file.is_null() {
        return 0;
    }
    map(tag, file)
}

#[inline(always)]
fn map(tag: &'static Tag, file: *const c_void) -> i32 {
    let inode: *const c_void = load(file, offset!(file_inode));
    let place = Place::of_path(file, offset!(file_path));
    let rights = Rights::of(Right::Exec);
    check::file(tag, inode, &FileRequest::new(Operation::FileMap, place, rights), ptr::null())
}
