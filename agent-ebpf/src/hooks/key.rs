//! Keys and keyrings: a session uses those that its own processes made.

use core::ffi::c_void;

use agent_common::{
    decision::Reason,
    event::{OBJECT_NUMBER, Operation},
};
use aya_ebpf::{
    EbpfContext as _, helpers::generated::bpf_get_func_arg, macros::lsm, programs::LsmContext,
};

use crate::{
    check,
    kernel::{self, peek},
    object_owner, offset,
    request::Act,
    subject,
    verdict::EPERM,
};

/// What making a key returns if its owner can't be recorded (`ENOMEM`).
const ENOMEM: i32 = -12;
/// `KEY_NEED_SEARCH` (include/linux/key.h).
const SEARCH: u32 = 4;
/// First bytes of the names of two types of keys, as words: `keyring` with its end, and `asymmetric`.
const KEYRING: u64 = u64::from_le_bytes(*b"keyring\0");
const ASYMMETRIC: u64 = u64::from_le_bytes(*b"asymmetr");

/// `int key_alloc(struct key *key, const struct cred *cred, unsigned long flags)`. Some kernels do not tell when a
/// key is freed: a key that is made at its address takes over its entry, or removes it.
#[lsm(hook = "key_alloc")]
pub(crate) fn key_alloc(context: LsmContext) -> i32 {
    let address = context.arg::<*const c_void>(0) as u64;
    let Some(tag) = &subject::current() else {
        object_owner::forget(address);
        return 0;
    };
    if object_owner::record(address, tag) { 0 } else { ENOMEM }
}

/// `int key_permission(key_ref_t key_ref, const struct cred *cred, enum key_need_perm need_perm)`: every use. The
/// error is `EPERM`: after `EACCES`, a key that may be searched for could still be read (`keyctl_read_key`,
/// security/keys/keyctl.c).
#[lsm(hook = "key_permission")]
pub(crate) fn key_permission(context: LsmContext) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    let mut reference = 0;
    // The argument has an incomplete type, so the verifier lets no program read it directly.
    // SAFETY: the hook has that argument, and the destination is a word.
    unsafe { bpf_get_func_arg(context.as_ptr(), 0, &raw mut reference) };
    // The lowest bit tells whether the task possesses the key.
    let key = reference & !1;
    if object_owner::is_own(key, tag) {
        return 0;
    }
    // Keys that the kernel looks up for its own work: with other credentials, or in its own keyrings.
    if kernel::has_borrowed_credentials() || context.arg::<u32>(2) == SEARCH && is_kernel_key(key) {
        return 0;
    }
    let arguments = [peek(key + offset!(key_serial)), 0, 0];
    let act = Act { operation: Operation::ProcessKey, object: OBJECT_NUMBER, arguments };
    check::refuse(tag, &act, Reason::Guard, EPERM)
}

/// Whether a key is a keyring by which the kernel verifies signatures (only the names of those can begin with a
/// dot), or a certificate in one.
#[inline(always)]
fn is_kernel_key(key: u64) -> bool {
    let kind: u64 = peek(key + offset!(key_type));
    let name: u64 = peek(peek::<u64>(kind + offset!(key_type_name)));
    if name == ASYMMETRIC {
        return true;
    }
    let description: u64 = peek(key + offset!(key_description));
    name == KEYRING && peek::<u8>(description) == b'.'
}
