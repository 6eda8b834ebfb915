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

/// What an act returns that finds no memory (`ENOMEM`).
const ENOMEM: i32 = -12;
/// `KEY_NEED_SEARCH` (include/linux/key.h).
const SEARCH: u32 = 4;
/// The beginnings of the names of two types of keys, as words: `keyring` with its end, and `asymmetric`.
const KEYRING: u64 = u64::from_le_bytes(*b"keyring\0");
const ASYMMETRIC: u64 = u64::from_le_bytes(*b"asymmetr");

/// `int key_alloc(struct key *key, const struct cred *cred, unsigned long flags)`: whoever makes a key. Not
/// every kernel tells when one is freed, so a key that somebody else makes at its address takes its place.
#[lsm(hook = "key_alloc")]
pub(crate) fn key_alloc(context: LsmContext) -> i32 {
    let address = context.arg::<*const c_void>(0) as u64;
    let Some(tag) = &subject::current() else {
        object_owner::forget(address);
        return 0;
    };
    if object_owner::record(address, tag) { 0 } else { ENOMEM }
}

/// `int key_permission(key_ref_t key_ref, const struct cred *cred, enum key_need_perm need_perm)`: every use. A
/// key that may be searched for and is refused with `EACCES` could still be read (`keyctl_read_key`,
/// security/keys/keyctl.c), so it is `EPERM`.
#[lsm(hook = "key_permission")]
pub(crate) fn key_permission(context: LsmContext) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    let mut reference = 0;
    // The type of the argument is incomplete: the verifier gives it to nobody.
    // SAFETY: the hook has that argument, and the destination is a word.
    unsafe { bpf_get_func_arg(context.as_ptr(), 0, &raw mut reference) };
    // The lowest bit says whether the task possesses it.
    let key = reference & !1;
    if object_owner::is_own(key, tag) {
        return 0;
    }
    // What the kernel looks up for work of its own: by other credentials, or in its own rings.
    if kernel::has_borrowed_credentials() || context.arg::<u32>(2) == SEARCH && is_kernel_key(key) {
        return 0;
    }
    let arguments = [peek(key + offset!(key_serial)), 0, 0];
    let act = Act { operation: Operation::ProcessKey, object: OBJECT_NUMBER, arguments };
    check::refuse(tag, &act, Reason::Guard, EPERM)
}

/// Whether it is a keyring of the kernel's, by which it verifies signatures (only their names can begin with a
/// dot), or a certificate, as they have in them.
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
