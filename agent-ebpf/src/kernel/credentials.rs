//! Credentials: those of the running task, and those that an exec gives.

use core::ffi::c_void;

use super::{access::load, task::current};

/// Whether the running task has credentials other than its own: the kernel replaced them to do work of its own
/// (`override_creds`), as overlayfs does.
#[inline(always)]
pub(crate) fn has_borrowed_credentials() -> bool {
    let task = untrusted!(task at current().0);
    member!(u64, task, task_cred) != member!(u64, task, task_real_cred)
}

/// Capabilities as two words, since kernels differ in their type.
#[inline(always)]
fn capabilities(cred: *const c_void, offset: u64) -> [u32; 2] {
    [load(cred, offset), load(cred, offset + 4)]
}

/// `CAP_SETGID` and `CAP_SETUID` (include/uapi/linux/capability.h).
const CAP_SETGID: u32 = 6;
const CAP_SETUID: u32 = 7;
/// `SECBIT_NOROOT` (include/uapi/linux/securebits.h).
const NOROOT: u32 = 1;

/// Whether credentials that an exec gives (`struct cred`) have what the running task can't take by itself: a user or
/// group that is none of its own, or capabilities that do not come from being root.
#[inline(always)]
pub(crate) fn gains_privilege(new: *const c_void) -> bool {
    let old: *const c_void = member!(untrusted!(task at current().0), task_cred);
    let [able, _] = capabilities(old, offset!(cred_effective));
    let user: u32 = member!(new, cred_euid);
    let known_user = able >> CAP_SETUID & 1 != 0
        || user == member!(u32, old, cred_euid)
        || user == member!(u32, old, cred_uid)
        || user == member!(u32, old, cred_suid);
    let group: u32 = member!(new, cred_egid);
    let known_group = able >> CAP_SETGID & 1 != 0
        || group == member!(u32, old, cred_egid)
        || group == member!(u32, old, cred_gid)
        || group == member!(u32, old, cred_sgid);
    if !known_user || !known_group {
        return true;
    }
    let is_root = (user == 0 || member!(u32, new, cred_uid) == 0)
        && member!(u32, new, cred_securebits) & NOROOT == 0;
    let had = capabilities(old, offset!(cred_permitted));
    let has = capabilities(new, offset!(cred_permitted));
    !is_root && (has[0] & !had[0] | has[1] & !had[1]) != 0
}

/// `PF_IO_WORKER` (include/linux/sched.h).
const IO_WORKER: u32 = 0x10;

/// Whether the running task is a worker thread of io_uring, with the credentials of whoever made the ring.
#[inline(always)]
pub(crate) fn is_io_uring_worker() -> bool {
    member!(u32, current().0, task_flags) & IO_WORKER != 0
}
