//! Running and mapping files: executable, by their path; to read or write, as a use of the descriptor. And programs
//! that give their process more privilege. (A program that is started is opened with `__FMODE_EXEC`: see
//! `file_open`.)

use core::{ffi::c_void, ptr};

use agent_common::{
    access::{Right, Rights},
    event::Operation,
    id::Tag,
};
use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::{
    check,
    kernel::{self, FMODE_EXEC, Place, is_backing},
    member,
    request::{FileRequest, place_of_open},
    subject, untrusted,
};

/// `PROT_WRITE` and `PROT_EXEC` (include/uapi/asm-generic/mman-common.h).
const PROT_WRITE: u64 = 2;
const PROT_EXEC: u64 = 4;
/// `MAP_SHARED`, also a bit of `MAP_SHARED_VALIDATE` (include/uapi/linux/mman.h).
const MAP_SHARED: u64 = 1;
/// `MAP_TYPE`: the bits that tell whether a mapping is shared.
const MAP_TYPE: u64 = 0xf;
/// `VM_SHARED` (include/linux/mm.h).
const VM_SHARED: u64 = 8;

/// `int mmap_file(struct file *file, unsigned long reqprot, unsigned long prot, unsigned long flags)`;
/// the file is null for anonymous memory.
#[lsm(hook = "mmap_file")]
pub(crate) fn mmap_file(context: LsmContext) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    let file: *const c_void = context.arg(0);
    if file.is_null() {
        return 0;
    }
    let kind = context.arg::<u64>(3) & MAP_TYPE;
    map(tag, file, context.arg(2), kind & MAP_SHARED != 0)
}

/// `int file_mprotect(struct vm_area_struct *vma, unsigned long reqprot, unsigned long prot)`.
#[lsm(hook = "file_mprotect")]
pub(crate) fn file_mprotect(context: LsmContext) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    let vma: *const c_void = context.arg(0);
    let file: *const c_void = member!(vma, vma_file);
    if file.is_null() {
        return 0;
    }
    map(tag, file, context.arg(2), member!(u64, vma, vma_flags) & VM_SHARED != 0)
}

/// Decides a mapping with this protection. A private one writes to memory, not to the file.
#[inline(always)]
fn map(tag: &Tag, file: *const c_void, protection: u64, is_shared: bool) -> i32 {
    let file = untrusted!(file at file);
    let inode: *const c_void = member!(file, file_inode);
    if protection & PROT_EXEC != 0 {
        let place = place_of_open(file);
        let request = FileRequest::new(Operation::FileMap, place, Rights::of(Right::Exec));
        let verdict = check::file(tag, inode, &request, ptr::null());
        if verdict != 0 || protection & PROT_WRITE == 0 {
            return verdict;
        }
    }
    if protection == 0 || is_backing(file) {
        return 0;
    }
    let read =
        if member!(u32, file, file_flags) & FMODE_EXEC == 0 { Right::Read } else { Right::Exec };
    let mut rights = Rights::of(read);
    if protection & PROT_WRITE != 0 && is_shared {
        rights = rights.with(Right::Write);
    }
    check::file(
        tag,
        inode,
        &FileRequest::of_descriptor(file, rights, Operation::FileMap),
        ptr::null(),
    )
}

/// `int bprm_creds_from_file(struct linux_binprm *bprm, const struct file *file)`: the credentials of the new
/// program are known, and not yet in force. They come from `file`.
#[lsm(hook = "bprm_creds_from_file")]
pub(crate) fn bprm_creds_from_file(context: LsmContext) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    let program: *const c_void = context.arg(0);
    if !kernel::gains_privilege(member!(program, binprm_cred)) {
        return 0;
    }
    check::set_id(tag, Place::of_file(context.arg(1)))
}
