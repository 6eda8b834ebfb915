//! System V memory, semaphores and message queues: a session uses those that its own processes made. (Those of POSIX
//! are files.)

use core::ffi::c_void;

use agent_common::{
    decision::Reason,
    event::{OBJECT_NUMBER, Operation},
};
use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::{check, kernel::peek, object_owner, offset, request::Act, subject, verdict::EACCES};

/// What making an object returns if its owner can't be recorded (`ENOMEM`).
const ENOMEM: i32 = -12;
/// Commands that ask about all objects and name none: `IPC_INFO`, `MSG_INFO`, `SHM_INFO`, `SEM_INFO`
/// (include/uapi/linux/ipc.h, msg.h, shm.h, sem.h).
const IPC_INFO: u32 = 3;
const MSG_INFO: u32 = 12;
const SHM_INFO: u32 = 14;
const SEM_INFO: u32 = 19;

/// Refuses to use an object that the session of the running task did not make, with the error that the kernel gives
/// for a lack of permission.
#[inline(always)]
fn use_of(context: &LsmContext) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    let address = context.arg::<*const c_void>(0) as u64;
    if object_owner::is_own(address, tag) {
        return 0;
    }
    let arguments = [peek(address + offset!(ipc_id)), 0, 0];
    let act = Act { operation: Operation::ProcessIpc, object: OBJECT_NUMBER, arguments };
    check::refuse(tag, &act, Reason::Guard, EACCES)
}

/// `int ipc_permission(struct kern_ipc_perm *ipcp, short flag)`: finding by key, attaching, sending, receiving,
/// changing a semaphore, asking for its state.
#[lsm(hook = "ipc_permission")]
pub(crate) fn ipc_permission(context: LsmContext) -> i32 {
    use_of(&context)
}

/// `int shm_shmctl(struct kern_ipc_perm *perm, int cmd)`: also removing and locking, for which the kernel asks for
/// the owner and not for the mode.
#[lsm(hook = "shm_shmctl")]
pub(crate) fn shm_shmctl(context: LsmContext) -> i32 {
    match context.arg::<u32>(1) {
        IPC_INFO | SHM_INFO => 0,
        _ => use_of(&context),
    }
}

/// `int msg_queue_msgctl(struct kern_ipc_perm *perm, int cmd)`.
#[lsm(hook = "msg_queue_msgctl")]
pub(crate) fn msg_queue_msgctl(context: LsmContext) -> i32 {
    match context.arg::<u32>(1) {
        IPC_INFO | MSG_INFO => 0,
        _ => use_of(&context),
    }
}

/// `int sem_semctl(struct kern_ipc_perm *perm, int cmd)`.
#[lsm(hook = "sem_semctl")]
pub(crate) fn sem_semctl(context: LsmContext) -> i32 {
    match context.arg::<u32>(1) {
        IPC_INFO | SEM_INFO => 0,
        _ => use_of(&context),
    }
}

/// Records the session that makes an object.
#[inline(always)]
fn make(context: &LsmContext) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    if object_owner::record(context.arg::<*const c_void>(0) as u64, tag) { 0 } else { ENOMEM }
}

/// `int shm_alloc_security(struct kern_ipc_perm *perm)`.
#[lsm(hook = "shm_alloc_security")]
pub(crate) fn shm_alloc_security(context: LsmContext) -> i32 {
    make(&context)
}

/// `int msg_queue_alloc_security(struct kern_ipc_perm *perm)`.
#[lsm(hook = "msg_queue_alloc_security")]
pub(crate) fn msg_queue_alloc_security(context: LsmContext) -> i32 {
    make(&context)
}

/// `int sem_alloc_security(struct kern_ipc_perm *perm)`.
#[lsm(hook = "sem_alloc_security")]
pub(crate) fn sem_alloc_security(context: LsmContext) -> i32 {
    make(&context)
}

/// Forgets an object that is freed, by whatever task.
#[inline(always)]
fn free(context: &LsmContext) -> i32 {
    object_owner::forget(context.arg::<*const c_void>(0) as u64);
    0
}

/// `void shm_free_security(struct kern_ipc_perm *perm)`: when nobody can find it any more.
#[lsm(hook = "shm_free_security")]
pub(crate) fn shm_free_security(context: LsmContext) -> i32 {
    free(&context)
}

/// `void msg_queue_free_security(struct kern_ipc_perm *perm)`.
#[lsm(hook = "msg_queue_free_security")]
pub(crate) fn msg_queue_free_security(context: LsmContext) -> i32 {
    free(&context)
}

/// `void sem_free_security(struct kern_ipc_perm *perm)`.
#[lsm(hook = "sem_free_security")]
pub(crate) fn sem_free_security(context: LsmContext) -> i32 {
    free(&context)
}
