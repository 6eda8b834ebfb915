//! Programs for hooks at which no session may act: it would undo its confinement, or act through a process outside
//! of it.

use core::{ffi::c_void, ptr};

use agent_common::{
    access::{Right, Rights},
    decision::Reason,
    event::{OBJECT_NUMBER, OBJECT_PROCESS, Operation},
};
use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::{
    check,
    kernel::{self, Place, SignalOwner, Task},
    member,
    request::{Act, FileRequest, Flags},
    standing, subject, terminal, untrusted,
    verdict::EPERM,
};

/// Refuses an act of the running task, if the task is tagged.
#[inline(always)]
fn forbid(operation: Operation, number: u32) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    let act = Act { operation, object: OBJECT_NUMBER, arguments: [number, 0, 0] };
    check::refuse(tag, &act, Reason::Guard, EPERM)
}

/// Refuses an act of the running task on a task outside of its session.
#[inline(always)]
fn forbid_outside(operation: Operation, other: Task, number: u32) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    if subject::of(other).is_some_and(|theirs| theirs.session == tag.session) {
        return 0;
    }
    let pid: u32 = member!(other.0, task_tgid);
    let act = Act { operation, object: OBJECT_PROCESS, arguments: [pid, number, 0] };
    check::refuse(tag, &act, Reason::Guard, EPERM)
}

/// `int ptrace_access_check(struct task_struct *child, unsigned int mode)`: also for `process_vm_*`, `pidfd_getfd`,
/// and files of procfs that need the same permission.
#[lsm(hook = "ptrace_access_check")]
pub(crate) fn ptrace_access_check(context: LsmContext) -> i32 {
    forbid_outside(Operation::ProcessTrace, Task(context.arg(0)), 0)
}

/// `int ptrace_traceme(struct task_struct *parent)`: makes the parent the tracer, which is told of each stop of this
/// task, and without which nobody can end it.
#[lsm(hook = "ptrace_traceme")]
pub(crate) fn ptrace_traceme(context: LsmContext) -> i32 {
    forbid_outside(Operation::ProcessTrace, Task(context.arg(0)), 0)
}

/// `int task_kill(struct task_struct *p, struct kernel_siginfo *info, int sig, const struct cred *cred)`: a signal
/// from user space. Signal zero only asks whether the process exists.
#[lsm(hook = "task_kill")]
pub(crate) fn task_kill(context: LsmContext) -> i32 {
    let signal: i32 = context.arg(2);
    if signal == 0 {
        return 0;
    }
    forbid_outside(Operation::ProcessSignal, Task(context.arg(0)), signal as u32)
}

/// `int task_setnice(struct task_struct *p, int nice)`.
#[lsm(hook = "task_setnice")]
pub(crate) fn task_setnice(context: LsmContext) -> i32 {
    forbid_outside(Operation::ProcessControl, Task(context.arg(0)), 0)
}

/// `int task_setioprio(struct task_struct *p, int ioprio)`.
#[lsm(hook = "task_setioprio")]
pub(crate) fn task_setioprio(context: LsmContext) -> i32 {
    forbid_outside(Operation::ProcessControl, Task(context.arg(0)), 0)
}

/// `int task_setscheduler(struct task_struct *p)`: scheduling policy and processors.
#[lsm(hook = "task_setscheduler")]
pub(crate) fn task_setscheduler(context: LsmContext) -> i32 {
    forbid_outside(Operation::ProcessControl, Task(context.arg(0)), 0)
}

/// `int task_setrlimit(struct task_struct *p, unsigned int resource, struct rlimit *new_rlim)`.
#[lsm(hook = "task_setrlimit")]
pub(crate) fn task_setrlimit(context: LsmContext) -> i32 {
    forbid_outside(Operation::ProcessControl, Task(context.arg(0)), 0)
}

/// `int task_movememory(struct task_struct *p)`: moves its memory to another node.
#[lsm(hook = "task_movememory")]
pub(crate) fn task_movememory(context: LsmContext) -> i32 {
    forbid_outside(Operation::ProcessControl, Task(context.arg(0)), 0)
}

/// `int uring_override_creds(const struct cred *new)`: a request of io_uring names credentials that were registered
/// before. With those, a task would look like one that works for the kernel ([`is_borrowed`]).
#[lsm(hook = "uring_override_creds")]
pub(crate) fn uring_override_creds(_context: LsmContext) -> i32 {
    forbid(Operation::PrivCredentials, 0)
}

/// `F_SETFL`, `F_SETOWN`, `F_SETSIG` and `F_SETOWN_EX` (include/uapi/asm-generic/fcntl.h).
const F_SETFL: u32 = 4;
const F_SETOWN: u32 = 8;
const F_SETSIG: u32 = 10;
const F_SETOWN_EX: u32 = 15;
/// `O_ASYNC`: the descriptor sends signals.
const O_ASYNC: u32 = 0o20_000;
/// The signal that a descriptor sends by default (include/uapi/asm-generic/signal.h).
const SIGIO: u32 = 29;

/// `F_SETLEASE` and `F_SETDELEG` (include/uapi/linux/fcntl.h), and `F_UNLCK`, which releases a lease.
const F_SETLEASE: u32 = 1024;
const F_SETDELEG: u32 = 1040;
const F_UNLCK: u32 = 2;

/// `int file_fcntl(struct file *file, unsigned int cmd, unsigned long arg)`: the kernel sends a descriptor's signals
/// in nobody's name, so their receiver is decided when it is set. Only the own process is allowed, and the own thread.
#[lsm(hook = "file_fcntl")]
pub(crate) fn file_fcntl(context: LsmContext) -> i32 {
    let command: u32 = context.arg(1);
    if command == F_SETLEASE && context.arg::<u32>(2) != F_UNLCK || command == F_SETDELEG {
        return lease(context.arg(0));
    }
    let argument: u32 = context.arg(2);
    match command {
        F_SETFL if argument & O_ASYNC != 0 => return signal_by(context.arg(0), command),
        F_SETSIG => return signal_by(context.arg(0), command),
        // The receiver is named in the caller's memory, which another thread can change meanwhile.
        F_SETOWN_EX => return forbid(Operation::ProcessSignal, command),
        F_SETOWN => {}
        _ => return 0,
    }
    let own = kernel::current().0;
    let to = argument;
    if to == member!(u32, own, task_tgid) || to == member!(u32, own, task_pid) {
        return 0;
    }
    // A terminal without an owner gets one outside when it starts to signal, which may be at this moment.
    if to == 0 {
        return if kernel::is_character_device(context.arg(0)) { refuse_silently() } else { 0 };
    }
    let Some(tag) = &subject::current() else { return 0 };
    let act = Act {
        operation: Operation::ProcessSignal,
        object: OBJECT_PROCESS,
        arguments: [to, SIGIO, 0],
    };
    check::refuse(tag, &act, Reason::Guard, EPERM)
}

/// Decides whether a descriptor may start to signal, or get another signal: only if the own session receives it.
#[inline(always)]
fn signal_by(file: *const c_void, command: u32) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    let is_fine = match command {
        F_SETSIG if kernel::signal_owner(file) == SignalOwner::Nobody => true,
        // The flag changes nothing if the descriptor signals already.
        F_SETFL if member!(u32, file, file_flags) & O_ASYNC != 0 => true,
        _ => terminal::signals_own_session_only(tag, file),
    };
    if is_fine { 0 } else { forbid(Operation::ProcessSignal, command) }
}

/// Decides a lease, which delays whoever opens the file next, by 45 seconds unless it is released: only on files
/// that the session may write.
#[inline(always)]
fn lease(file: *const c_void) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    let file = untrusted!(file at file);
    let inode: *const c_void = member!(file, file_inode);
    if member!(u32, inode, inode_nlink) == 0 {
        return 0;
    }
    let place = Place::of_file(file);
    let mut request = FileRequest::new(Operation::FileUse, place, Rights::of(Right::Write));
    request.flags = Flags::ALLOW_INTERNAL_MOUNT;
    check::file(tag, inode, &request, ptr::null())
}

/// `int bpf(int cmd, union bpf_attr *attr, unsigned int size)`; later kernels add an argument.
#[lsm(hook = "bpf")]
pub(crate) fn bpf(context: LsmContext) -> i32 {
    forbid(Operation::PrivBpf, context.arg(0))
}

/// `int perf_event_open(struct perf_event_attr *attr, int type)`.
#[lsm(hook = "perf_event_open")]
pub(crate) fn perf_event_open(context: LsmContext) -> i32 {
    forbid(Operation::PrivPerf, context.arg(1))
}

/// `int sb_mount(const char *dev_name, const struct path *path, const char *type, unsigned long flags,
/// void *data)`.
#[lsm(hook = "sb_mount")]
pub(crate) fn sb_mount(_context: LsmContext) -> i32 {
    forbid(Operation::PrivMount, 0)
}

/// `int sb_umount(struct vfsmount *mnt, int flags)`.
#[lsm(hook = "sb_umount")]
pub(crate) fn sb_umount(_context: LsmContext) -> i32 {
    forbid(Operation::PrivMount, 1)
}

/// `int sb_pivotroot(const struct path *old_path, const struct path *new_path)`.
#[lsm(hook = "sb_pivotroot")]
pub(crate) fn sb_pivotroot(_context: LsmContext) -> i32 {
    forbid(Operation::PrivMount, 2)
}

/// `int move_mount(const struct path *from_path, const struct path *to_path)`.
#[lsm(hook = "move_mount")]
pub(crate) fn move_mount(_context: LsmContext) -> i32 {
    forbid(Operation::PrivMount, 3)
}

/// `int userns_create(const struct cred *cred)`, since 6.1.
#[lsm(hook = "userns_create")]
pub(crate) fn userns_create(_context: LsmContext) -> i32 {
    forbid(Operation::PrivUserns, 0)
}

/// `int kernel_load_data(enum kernel_load_data_id id, bool contents)`: modules and kernels from memory.
#[lsm(hook = "kernel_load_data")]
pub(crate) fn kernel_load_data(context: LsmContext) -> i32 {
    forbid(Operation::PrivModule, context.arg(0))
}

/// `int syslog(int type)`: reading and controlling the kernel's log, also by opening `/dev/kmsg` and `/proc/kmsg`.
/// The kernel asks for the capability first, but not if everybody may read the log (`kernel.dmesg_restrict`).
#[lsm(hook = "syslog")]
pub(crate) fn syslog(_context: LsmContext) -> i32 {
    forbid(Operation::PrivCapability, CAP_SYSLOG)
}

/// `CAP_SYSLOG`.
const CAP_SYSLOG: u32 = 34;

/// `int kernel_read_file(struct file *file, enum kernel_read_file_id id, bool contents)`: modules and
/// kernels from files.
#[lsm(hook = "kernel_read_file")]
pub(crate) fn kernel_read_file(context: LsmContext) -> i32 {
    forbid(Operation::PrivModule, context.arg(1))
}

/// Capabilities that would undo the confinement, by number (include/uapi/linux/capability.h): DAC_READ_SEARCH (2),
/// LINUX_IMMUTABLE (9), NET_ADMIN (12), NET_RAW (13), SYS_MODULE (16), SYS_RAWIO (17), SYS_PTRACE (19), SYS_PACCT
/// (20), SYS_ADMIN (21), SYS_BOOT (22), SYS_NICE (23), SYS_RESOURCE (24), SYS_TIME (25), SYS_TTY_CONFIG (26), MKNOD
/// (27), AUDIT_CONTROL (30), MAC_OVERRIDE (32), MAC_ADMIN (33), SYSLOG (34), PERFMON (38), BPF (39),
/// CHECKPOINT_RESTORE (40). (AUDIT_WRITE and AUDIT_READ need a kind of socket that no session can make.)
const WITHHELD: u64 = 1 << 2
    | 1 << 9
    | 1 << 12
    | 1 << 13
    | 1 << 16
    | 1 << 17
    | 1 << 19
    | 1 << 20
    | 1 << 21
    | 1 << 22
    | 1 << 23
    | 1 << 24
    | 1 << 25
    | 1 << 26
    | 1 << 27
    | 1 << 30
    | 1 << 32
    | 1 << 33
    | 1 << 34
    | 1 << 38
    | 1 << 39
    | 1 << 40;
/// Those of them that overlayfs uses with its mounter's credentials while it works for a task: DAC_READ_SEARCH (2),
/// SYS_ADMIN (21) and MKNOD (27).
const BORROWED: u64 = 1 << 2 | 1 << 21 | 1 << 27;
/// `CAP_DAC_READ_SEARCH`: the kernel asks for it at each look-up by root, before `CAP_DAC_OVERRIDE`.
const DAC_READ_SEARCH: u32 = 2;
/// `CAP_SYS_RESOURCE`: the kernel asks for it whenever root makes a message queue, or a file system is nearly full.
/// Without it, the limits of ordinary users hold.
const SYS_RESOURCE: u32 = 24;
/// `CAP_OPT_NOAUDIT` (include/linux/security.h): the caller only probes for the capability.
const NOAUDIT: u32 = 2;

/// `int capable(const struct cred *cred, struct user_namespace *ns, int cap, unsigned int opts)`.
#[lsm(hook = "capable")]
pub(crate) fn capable(context: LsmContext) -> i32 {
    let capability: u32 = context.arg(2);
    if capability > 63 || WITHHELD >> capability & 1 == 0 {
        return 0;
    }
    if BORROWED >> capability & 1 != 0 && is_borrowed(context.arg(0)) {
        return 0;
    }
    if capability == DAC_READ_SEARCH
        || capability == SYS_RESOURCE
        || context.arg::<u32>(3) & NOAUDIT != 0
    {
        return refuse_silently();
    }
    forbid(Operation::PrivCapability, capability)
}

/// Whether the credentials are not the running task's own ([`kernel::has_borrowed_credentials`]), so that the task
/// can't use them. Worker threads of io_uring always have credentials of the session: of whoever made the ring, or
/// the request.
#[inline(always)]
fn is_borrowed(credentials: u64) -> bool {
    credentials != member!(u64, untrusted!(task at kernel::current().0), task_real_cred)
        && !kernel::is_io_uring_worker()
}

/// Refuses without an incident: capability probes that fail harmlessly and would flood the log.
#[inline(always)]
fn refuse_silently() -> i32 {
    match &subject::current() {
        Some(tag) if !standing::is_audited(tag) => EPERM,
        _ => 0,
    }
}
