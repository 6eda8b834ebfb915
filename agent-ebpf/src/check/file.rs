//! Decisions on files: by what is kept, by what is known of the folder, or by a walk.

use core::{ffi::c_void, ptr};

use agent_common::{
    access::{Right, Rights},
    decision::Reason,
    event::Operation,
    id::{LabelId, Tag},
    limits::POLICY_SLOTS,
};

use super::{
    folder::by_folder,
    judge::{Labels, Verdict, judge_set_id, judge_use, keeps},
};
use crate::{
    cache::{self, Basis},
    emit, expiry, given,
    kernel::{self, Changes, OpenFile, Place},
    maps::SESSIONS_BY_SLOT,
    matching, member,
    request::{FORBIDDEN, FRESH, FileRequest, INNER, SET_ID, USE, WHOLE},
    scratch,
    standing::{audited, basis, carried_out, generation},
    subject,
    values::Scratch,
    verdict::{EACCES, Found},
    walk,
};

/// Magic number of pidfs (`PID_FS_MAGIC`, include/uapi/linux/magic.h), whose files `pidfd_open` opens: what
/// a descriptor of a process is good for is decided when it is used.
const PIDFS: u64 = 0x5049_4446;

/// Decides an operation on an existing file: by what was found before if that answers, else by one step
/// from its folder if it is known where the rules stand there, else by a walk.
/// `to` is the second place of a rename or link, for the record, or null.
#[inline(never)]
pub(crate) fn file(
    tag: &Tag,
    inode: *const c_void,
    request: &FileRequest,
    to: *const Place,
) -> i32 {
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
pub(crate) fn is_known(file: *const c_void, rights: Rights) -> bool {
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
pub(crate) fn name(tag: &Tag, request: &FileRequest, to: *const Place) -> i32 {
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
pub(crate) fn set_id(tag: &Tag, place: Place) -> i32 {
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
pub(crate) fn allows_any_name(tag: &Tag, request: &FileRequest) -> bool {
    by_folder(tag, request, &basis(tag)).is_some()
}

/// Whether the session may do something at one of several places: no report is made, and nothing kept.
#[inline(always)]
pub(crate) fn allows(tag: &Tag, request: &FileRequest) -> bool {
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
pub(super) fn crowded(tag: &Tag) -> i32 {
    emit::lost(tag);
    EACCES
}

/// Reports a refusal, gives the area back, and says what the hook returns.
#[inline(never)]
pub(super) fn conclude(
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

/// Decides by a walk.
#[inline(always)]
pub(super) fn by_walk(
    tag: &Tag,
    area: *mut Scratch,
    request: &FileRequest,
    generation: u32,
) -> Verdict {
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
