//! The checks that hooks ask for: object in, verdict out. The only caller of the decision.
//!
//! **What an error means.** For a tagged task everything that goes wrong on the way (no work area, no
//! table, no session entry) refuses; nothing is ever decided for an untagged one.

mod endpoint;
mod folder;
mod gain;
mod judge;

use core::{ffi::c_void, ptr};

use agent_common::{
    access::{Right, Rights},
    authority::{Mode, State},
    decision::Reason,
    event::Operation,
    id::{LabelId, Tag},
    limits::POLICY_SLOTS,
};

pub use endpoint::{Address, Endpoint, endpoint, is_usable, is_usable_alone, stamp};
use folder::by_folder;
pub use gain::refuse_gain;
use judge::{Labels, Verdict, judge, judge_set_id, judge_use, keeps};

use crate::{
    cache::{self, Basis},
    emit, expiry, given,
    kernel::{self, Changes, OpenFile, Place},
    maps::{self, SESSIONS_BY_SLOT},
    matching, member,
    scratch::{self, Scratch},
    subject, walk,
};

/// What a refused file or network operation returns (`EACCES`).
pub const EACCES: i32 = -13;
/// What a refused privileged act returns (`EPERM`).
pub const EPERM: i32 = -1;

/// [`FileRequest::flags`]: the object is not there yet, or has only just been made.
pub const FRESH: u32 = 1;
/// [`FileRequest::flags`]: a folder that moves as a whole: refused where rules name what is below it.
pub const WHOLE: u32 = 2;
/// [`FileRequest::flags`]: let pass what is in a mount of the kernel's own. Either it is a pipe that is
/// opened again by its descriptor, or a memory file that is changed by it, and who can name the descriptor
/// has it; or overlayfs opens a folder, or a file to copy it, in one of its layers, while it works for an
/// operation that was decided.
pub const INNER: u32 = 4;
/// Magic number of pidfs (`PID_FS_MAGIC`, include/uapi/linux/magic.h), whose files `pidfd_open` opens: what
/// a descriptor of a process is good for is decided when it is used.
const PIDFS: u64 = 0x5049_4446;
/// [`FileRequest::flags`]: the place is where something is renamed or linked to; `to` is where it comes
/// from.
pub const ARRIVING: u32 = 8;
/// [`FileRequest::flags`]: a descriptor that is open is used. What it is of may have lost its name: then the
/// name counts that it had last. What nobody has a path to (pipes, memory files) is of who holds it, and
/// what the session was given at its start stays usable.
pub const USE: u32 = 16;
/// [`FileRequest::flags`]: a program that gives its process more privilege: only tools count that let it.
pub const SET_ID: u32 = 32;
/// [`FileRequest::flags`]: what is asked about the place is asked about every name in its folder.
pub const ANY_NAME: u32 = 64;
/// [`FileRequest::flags`]: what counts is what the rules say of the place, to compare it with another: with
/// [`WHOLE`], of everything below.
pub const LABELS: u32 = 128;
/// [`FileRequest::flags`]: no session may do it, whatever it holds.
pub const FORBIDDEN: u32 = 256;

/// An operation on a file.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct FileRequest {
    /// Where the file is.
    pub place: Place,
    /// The rights that it needs.
    pub rights: Rights,
    /// What is done.
    pub operation: Operation,
    /// A set of the flags above.
    pub flags: u32,
}

impl FileRequest {
    /// An operation on one existing file.
    #[inline(always)]
    pub fn new(operation: Operation, place: Place, rights: Rights) -> Self {
        Self { place, rights, operation, flags: 0 }
    }
}

/// The generation of the policy in force.
#[inline(always)]
fn generation() -> u32 {
    maps::active() as u32
}

/// The epoch of the task's session, if what is kept of its authority answers: not past the nearest expiry of its tools
/// or its own, nor where the slot is another session's.
#[inline(always)]
fn live_epoch(tag: &Tag) -> Option<u32> {
    let session = SESSIONS_BY_SLOT.get(tag.slot.0)?;
    let epoch = cache::epoch(session);
    (session.id == tag.session && expiry::is_to_come(session, epoch)).then_some(epoch)
}

/// What a decision for a session rests on.
#[inline(always)]
fn basis(tag: &Tag) -> Basis {
    let epoch = live_epoch(tag).unwrap_or(0);
    Basis { generation: generation(), epoch, changes: Changes::now() }
}

/// Decides an operation on an existing file: by what was found before if that answers, else by one step
/// from its folder if it is known where the rules stand there, else by a walk.
/// `to` is the second place of a rename or link, for the record, or null.
#[inline(never)]
pub fn file(tag: &Tag, inode: *const c_void, request: &FileRequest, to: *const Place) -> i32 {
    let basis = basis(tag);
    if basis.epoch != 0
        && cache::allows(
            inode,
            &(&request.place, &basis.changes),
            request.rights,
            tag,
            basis.stamp(),
        )
    {
        return 0;
    }
    if request.flags & USE != 0
        && (kernel::is_internal(request.place.mount) || given::is(tag, inode, request.rights))
    {
        return 0;
    }
    if let Some(allowed) = by_folder(tag, request, &basis) {
        if request.flags & INNER == 0 {
            cache::keep(inode, &request.place, allowed, tag, &basis);
        }
        return 0;
    }
    by_walk_for(tag, inode, request, &basis, to)
}

/// Whether it was found before that the running task may use a file so. By plain loads alone, so that it says
/// nothing of a task whose tag has to be looked up.
#[inline(always)]
pub fn is_known(file: *const c_void, rights: Rights) -> bool {
    let Some(tag) = subject::at_a_glance() else { return false };
    let Some(session) = SESSIONS_BY_SLOT.get(tag.slot.0) else { return false };
    let epoch = cache::epoch(session);
    session.id == tag.session
        && expiry::is_unhurried(session, epoch)
        && cache::allows(
            member!(file, file_inode),
            &OpenFile(file),
            rights,
            &tag,
            cache::stamp(generation(), epoch),
        )
}

/// Decides an operation on an existing file by a walk. Inlined: 8 frames are all that the verifier follows.
#[inline(always)]
fn by_walk_for(
    tag: &Tag,
    inode: *const c_void,
    request: &FileRequest,
    basis: &Basis,
    to: *const Place,
) -> i32 {
    let Some(area) = scratch::acquire() else { return crowded(tag) };
    let verdict = by_walk(tag, area, request, basis.generation);
    let reason = verdict.reason();
    // What the walk found holds for the counters that it saw; if they are others than those read before,
    // the next operation decides anew.
    if reason == 0 && request.flags & INNER == 0 && request.place.parent != 0 {
        cache::keep(inode, &request.place, verdict.allowed(request.rights), tag, basis);
    }
    conclude(tag, area, request, Found::new(basis.generation, reason), to)
}

/// Decides an operation on a name that has no inode yet, or of which nothing is to be kept: by one step from
/// its folder, or by a walk. `to` as for [`file`].
#[inline(never)]
pub fn name(tag: &Tag, request: &FileRequest, to: *const Place) -> i32 {
    let basis = basis(tag);
    if by_folder(tag, request, &basis).is_some() {
        return 0;
    }
    let Some(area) = scratch::acquire() else { return crowded(tag) };
    let reason = by_walk(tag, area, request, basis.generation).reason();
    conclude(tag, area, request, Found::new(basis.generation, reason), to)
}

/// Decides whether a program may give its process more privilege. By a walk: nothing that is kept says it.
#[inline(always)]
pub fn set_id(tag: &Tag, place: Place) -> i32 {
    let rights = Rights::of(Right::Exec);
    let mut request = FileRequest::new(Operation::FileExec, place, rights);
    request.flags = SET_ID;
    let generation = generation();
    let Some(area) = scratch::acquire() else { return crowded(tag) };
    let reason = by_walk(tag, area, &request, generation).reason();
    conclude(tag, area, &request, Found::new(generation, reason), ptr::null())
}

/// Whether the session may do something with every name in the folder of a place, as far as that is known.
#[inline(never)]
pub fn allows_any_name(tag: &Tag, request: &FileRequest) -> bool {
    by_folder(tag, request, &basis(tag)).is_some()
}

/// Whether the session may do something at one of several places: no report is made, and nothing kept.
#[inline(always)]
pub fn allows(tag: &Tag, request: &FileRequest) -> bool {
    let basis = basis(tag);
    if by_folder(tag, request, &basis).is_some() {
        return true;
    }
    let Some(area) = scratch::acquire() else { return false };
    let reason = by_walk(tag, area, request, basis.generation).reason();
    scratch::release(area);
    reason == 0
}

/// Refuses because no work area is free, and counts the event that can't be made.
#[inline(always)]
fn crowded(tag: &Tag) -> i32 {
    emit::lost(tag);
    EACCES
}

/// Reports a refusal, gives the area back, and says what the hook returns.
#[inline(never)]
fn conclude(
    tag: &Tag,
    area: *mut Scratch,
    request: &FileRequest,
    found: Found,
    to: *const Place,
) -> i32 {
    let reason = if u64::from(found.reason()) == ONCE { 0 } else { found.reason() };
    if reason != 0 && !is_told_already(tag, request) {
        emit::report_file(tag, area, request, found.0, to);
    }
    scratch::release(area);
    if reason == 0 { 0 } else { carried_out(tag, EACCES) }
}

/// Whether a refusal needs no report: in audit mode, what is used was opened, and that was reported.
#[inline(always)]
fn is_told_already(tag: &Tag, request: &FileRequest) -> bool {
    request.flags & USE != 0
        && request.operation as u8 != Operation::FileReceive as u8
        && audited(tag)
}

/// What a walk led to: the policy's generation and the reason's number (zero for none), in one register
/// (a function here takes five).
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Found(pub u64);

impl Found {
    #[inline(always)]
    fn new(generation: u32, reason: u32) -> Self {
        Self(u64::from(generation) << 32 | u64::from(reason))
    }

    /// The policy that decided.
    #[inline(always)]
    pub fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// A reason's number, or zero.
    #[inline(always)]
    pub fn reason(self) -> u32 {
        self.0 as u32
    }
}

/// Decides by a walk.
#[inline(always)]
fn by_walk(tag: &Tag, area: *mut Scratch, request: &FileRequest, generation: u32) -> Verdict {
    // SAFETY: the area is ours until it is released.
    Verdict(decide_by_walk(tag, unsafe { (*area).index }, request, generation))
}

shared!(fn decide_by_walk(tag: *const Tag, area: u32, request: *const FileRequest, generation: u32) -> u64, otherwise Reason::Unresolved as u64);

/// As [`by_walk`].
#[unsafe(no_mangle)]
#[unsafe(link_section = "freplace/decide_by_walk")]
extern "C" fn shared_decide_by_walk(
    tag: *const Tag,
    area: u32,
    request: *const FileRequest,
    generation: u32,
) -> u64 {
    known!(tag, request; else return Reason::Unresolved as u64);
    let Some(s) = scratch::at(area) else { return Reason::Unresolved as u64 };
    s.table = generation % POLICY_SLOTS as u32;
    s.slot = tag.slot.0;
    walk::resolve(s, &request.place, u64::from(request.flags & (FRESH | USE)));
    let inner = request.flags & INNER != 0 || kernel::magic(request.place.dentry) == PIDFS;
    if s.status == walk::INTERNAL && inner {
        return 0;
    }
    if s.status != walk::FOUND || s.odd != 0 {
        return Reason::Unresolved as u64;
    }
    let stays = request.flags & WHOLE != 0 && matching::has_rules_below(s);
    if stays || request.flags & FORBIDDEN != 0 {
        return Reason::Guard as u64;
    }
    keep_folder(tag, s, &request.place, generation);
    let labels = Labels::new(LabelId(s.positions[0].here), LabelId(s.positions[1].here));
    if request.flags & SET_ID != 0 {
        return u64::from(judge_set_id(tag, generation, labels));
    }
    let (rights, is_use) = (request.rights, request.flags & USE != 0);
    let verdict = judge_use(tag, generation, labels, rights);
    if verdict.reason() != 0 && is_use && keeps(tag, generation, labels, rights) {
        return ONCE;
    }
    verdict.0
}

/// In place of a reason's number: allowed, but not to be kept, since it does not hold for opening.
const ONCE: u64 = 255;

/// Keeps what a walk found of the folder that a place is in. Not below procfs: which process a folder there
/// stands for is no matter of its path.
#[inline(always)]
fn keep_folder(tag: &Tag, s: &mut Scratch, place: &Place, generation: u32) {
    if s.folder != 0
        && s.folder == place.parent
        && s.folder_mount == place.mount
        && kernel::magic(s.folder) != matching::PROCFS
    {
        let changes = Changes { renames: s.renames, mounts: s.mounts };
        let basis = Basis { generation, epoch: 0, changes };
        cache::keep_folder(place, tag, &basis, s);
    }
}

/// The verdict for a refusal: nothing in audit mode, unless the session may do nothing at all.
#[inline(always)]
fn carried_out(tag: &Tag, error: i32) -> i32 {
    if audited(tag) { 0 } else { error }
}

/// Whether a refusal is only reported: in audit mode, while the session is active (one that has ended or
/// is quarantined may do nothing at all).
#[inline(always)]
pub fn audited(tag: &Tag) -> bool {
    SESSIONS_BY_SLOT.get(tag.slot.0).is_some_and(|session| {
        session.id == tag.session
            && session.state == State::Active as u32
            && session.mode == Mode::Audit as u32
    })
}

/// Whether everything is refused to the session until an operator resumes it.
#[inline(always)]
pub fn is_quarantined(tag: &Tag) -> bool {
    SESSIONS_BY_SLOT.get(tag.slot.0).is_some_and(|session| {
        session.id == tag.session && session.state == State::Quarantined as u32
    })
}

/// Whether the session may use its authority at all: it has not ended, its time is not up, and it is not quarantined.
#[inline(always)]
pub fn has_standing(tag: &Tag) -> bool {
    judge::standing(tag) == 0
}

/// An act that no session may do, or that needs no more than the session's standing.
#[derive(Clone, Copy)]
pub struct Act {
    /// What is done.
    pub operation: Operation,
    /// An `OBJECT_` constant.
    pub object: u8,
    /// What the object's kind explains.
    pub arguments: [u32; 3],
}

/// Refuses an act, with `reason`.
#[inline(always)]
pub fn refuse(tag: &Tag, act: &Act, reason: Reason, error: i32) -> i32 {
    // The verifier knows nothing of what a function of that kind returns, and a hook may not return just anything.
    if kernel::opaque(refuse_act(tag, act, reason as u32)) != 0 { error } else { 0 }
}

/// Refuses an act that takes no tool if the session may do nothing at all: it has ended, its time is up, or it is
/// quarantined.
#[inline(always)]
pub fn refuse_without_standing(tag: &Tag, act: &Act, error: i32) -> i32 {
    let reason = judge::standing(tag);
    if reason != 0 && kernel::opaque(refuse_act(tag, act, reason)) != 0 { error } else { 0 }
}

shared!(fn refuse_act(tag: *const Tag, act: *const Act, reason: u32) -> u32, otherwise 1);

/// As [`refuse`]: non-zero if it is to fail.
#[unsafe(no_mangle)]
#[unsafe(link_section = "freplace/refuse_act")]
extern "C" fn shared_refuse_act(tag: *const Tag, act: *const Act, reason: u32) -> u32 {
    known!(tag, act; else return 1);
    emit::act(tag, act, generation(), reason);
    carried_out(tag, 1) as u32
}
