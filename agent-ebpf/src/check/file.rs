//! Decisions on files: by the cache, by what is cached of the folder, or by a walk.

use core::{ffi::c_void, ptr};

use agent_common::{
    access::{Right, Rights},
    decision::Reason,
    event::Operation,
    id::{LabelId, Tag},
    limits::POLICY_SLOTS,
};

use super::{
    folder::allowed_by_folder,
    judge::{Labels, Verdict, judge_set_id, judge_use, stays_usable},
};
use crate::{
    cache::{self, Basis},
    emit, expiry, given,
    kernel::{self, Changes, OpenFile, Place},
    maps::SESSIONS_BY_SLOT,
    matching, member,
    request::{FileRequest, Flags},
    scratch::{self, Area},
    standing::{basis, enforce_or_report, generation, is_audited},
    subject,
    verdict::{EACCES, Outcome},
    walk,
};

/// Magic number of pidfs (`PID_FS_MAGIC`, include/uapi/linux/magic.h), the file system of what `pidfd_open` opens.
/// What a session may do by such a descriptor is decided when it is used.
const PIDFS: u64 = 0x5049_4446;
/// Magic numbers of the file systems of pipes and memory files (`PIPEFS_MAGIC`, `TMPFS_MAGIC`, `HUGETLBFS_MAGIC`, in
/// the same file). Whoever can name the descriptor of one is of the session that holds it: procfs asks.
const OWN_DATA: [u64; 3] = [0x5049_5045, 0x0102_1994, 0x9584_58f6];

/// Decides an operation on an existing file: by the cache, else by what is cached of its folder, else by a walk.
/// `to` is the second place of a rename or link, for the report, or null.
#[inline(never)]
pub(crate) fn file(
    tag: &Tag,
    inode: *const c_void,
    request: &FileRequest,
    to: *const Place,
) -> i32 {
    let basis = basis(tag);
    if basis.epoch != 0
        && cache::allows_file(
            inode,
            &(&request.place, &basis.changes),
            request.rights,
            tag,
            basis.stamp(),
        )
    {
        return 0;
    }
    if request.flags.has(Flags::ON_DESCRIPTOR)
        && (kernel::is_internal(request.place.mount) || given::allows(tag, inode, request.rights))
    {
        return 0;
    }
    if let Some(allowed) = allowed_by_folder(tag, request, &basis) {
        if !request.flags.has(Flags::ALLOW_INTERNAL_MOUNT) {
            cache::store_file(inode, &request.place, allowed, tag, &basis);
        }
        return 0;
    }
    walk_and_cache(tag, inode, request, &basis, to)
}

/// Whether the cache allows the running task these rights on a file. By plain loads alone, so it does not answer for
/// a task whose tag has to be looked up.
#[inline(always)]
pub(crate) fn is_cached_as_allowed(file: *const c_void, rights: Rights) -> bool {
    let Some(tag) = subject::tag_from_first_storage() else { return false };
    let Some(session) = SESSIONS_BY_SLOT.get(tag.slot.0) else { return false };
    let epoch = cache::epoch(session);
    session.id == tag.session
        && expiry::no_expiry_is_near(session, epoch)
        && cache::allows_file(
            member!(file, file_inode),
            &OpenFile(file),
            rights,
            &tag,
            cache::stamp(generation(), epoch),
        )
}

/// Decides an operation on an existing file by a walk. Inlined: the verifier follows at most 8 frames.
#[inline(always)]
fn walk_and_cache(
    tag: &Tag,
    inode: *const c_void,
    request: &FileRequest,
    basis: &Basis,
    to: *const Place,
) -> i32 {
    let Some(area) = scratch::acquire() else { return refuse_without_scratch(tag) };
    let verdict = judge_by_walk(tag, area, request, basis.generation);
    let reason = verdict.reason();
    // What the walk found holds for the counts that it saw. If the basis has others, the entry never answers.
    if reason == 0 && !request.flags.has(Flags::ALLOW_INTERNAL_MOUNT) && request.place.parent != 0 {
        cache::store_file(inode, &request.place, verdict.allowed(request.rights), tag, basis);
    }
    // Only now: most files that are opened are not held already.
    if reason != 0
        && request.flags.has(Flags::MAY_BE_HELD)
        && is_held(tag, inode, request.place, request.rights)
    {
        scratch::release(area);
        return 0;
    }
    report_and_release(tag, area, request, Outcome::new(basis.generation, reason), to)
}

/// Whether the session holds a file with these rights by a descriptor, as far as its name tells nothing: what it was
/// given at its start; or a pipe or memory file that it has made, of which it has every end and mode. With another end
/// of a given pipe, it would read what others write into it, or write in their place.
#[inline(always)]
fn is_held(tag: &Tag, inode: *const c_void, place: Place, rights: Rights) -> bool {
    given::allows(tag, inode, rights)
        || (kernel::is_internal(place.mount)
            && OWN_DATA.contains(&kernel::file_system_magic(place.dentry))
            && !given::was_given(tag, inode))
}

/// Decides an operation on a name that has no inode yet, or whose decision is not to be cached: by what is cached of
/// the folder, else by a walk. `to` as for [`file`].
#[inline(never)]
pub(crate) fn name(tag: &Tag, request: &FileRequest, to: *const Place) -> i32 {
    let basis = basis(tag);
    if allowed_by_folder(tag, request, &basis).is_some() {
        return 0;
    }
    let Some(area) = scratch::acquire() else { return refuse_without_scratch(tag) };
    let reason = judge_by_walk(tag, area, request, basis.generation).reason();
    report_and_release(tag, area, request, Outcome::new(basis.generation, reason), to)
}

/// Decides whether a program may give its process more privilege. By a walk: the cache does not say.
#[inline(always)]
pub(crate) fn set_id(tag: &Tag, place: Place) -> i32 {
    let rights = Rights::of(Right::Exec);
    let mut request = FileRequest::new(Operation::FileExec, place, rights);
    request.flags = Flags::GAINS_PRIVILEGE;
    let generation = generation();
    let Some(area) = scratch::acquire() else { return refuse_without_scratch(tag) };
    let reason = judge_by_walk(tag, area, &request, generation).reason();
    report_and_release(tag, area, &request, Outcome::new(generation, reason), ptr::null())
}

/// Whether the cache allows the request for every name in the place's folder.
#[inline(never)]
pub(crate) fn allows_every_name(tag: &Tag, request: &FileRequest) -> bool {
    allowed_by_folder(tag, request, &basis(tag)).is_some()
}

/// Whether the session may do something at one of several places. Nothing is reported or cached.
#[inline(always)]
pub(crate) fn allows(tag: &Tag, request: &FileRequest) -> bool {
    let basis = basis(tag);
    if allowed_by_folder(tag, request, &basis).is_some() {
        return true;
    }
    let Some(area) = scratch::acquire() else { return false };
    let reason = judge_by_walk(tag, area, request, basis.generation).reason();
    scratch::release(area);
    reason == 0
}

/// Refuses since no work area is free, and counts the event that can't be made.
#[inline(always)]
pub(super) fn refuse_without_scratch(tag: &Tag) -> i32 {
    emit::count_lost_event(tag);
    EACCES
}

/// Reports a refusal, releases the work area, and returns the hook's verdict.
#[inline(never)]
pub(super) fn report_and_release(
    tag: &Tag,
    area: Area,
    request: &FileRequest,
    outcome: Outcome,
    to: *const Place,
) -> i32 {
    let reason = if u64::from(outcome.reason()) == ALLOWED_UNCACHED { 0 } else { outcome.reason() };
    if reason != 0 && !was_reported_at_open(tag, request) {
        emit::report_file(tag, area.pointer(), request, outcome.0, to);
    }
    scratch::release(area);
    if reason == 0 { 0 } else { enforce_or_report(tag, EACCES) }
}

/// Whether a refusal needs no report: in audit mode, a descriptor that is used was opened, and that was reported.
#[inline(always)]
fn was_reported_at_open(tag: &Tag, request: &FileRequest) -> bool {
    request.flags.has(Flags::ON_DESCRIPTOR)
        && request.operation as u8 != Operation::FileReceive as u8
        && is_audited(tag)
}

/// Decides by a walk, which stays in the work area.
#[inline(always)]
pub(super) fn judge_by_walk(
    tag: &Tag,
    area: Area,
    request: &FileRequest,
    generation: u32,
) -> Verdict {
    Verdict(decide_by_walk(tag, area.get().index, request, generation))
}

shared!(fn decide_by_walk(tag: *const Tag, area: u32, request: *const FileRequest, generation: u32) -> u64, otherwise Reason::Unresolved as u64);

/// See [`judge_by_walk`].
#[unsafe(no_mangle)]
#[unsafe(link_section = "freplace/decide_by_walk")]
extern "C" fn shared_decide_by_walk(
    tag: *const Tag,
    area: u32,
    request: *const FileRequest,
    generation: u32,
) -> u64 {
    deref_or_return!(tag, request; else return Reason::Unresolved as u64);
    let Some(area) = scratch::by_index(area) else { return Reason::Unresolved as u64 };
    let s = area.get();
    s.table = generation % POLICY_SLOTS as u32;
    s.slot = tag.slot.0;
    walk::find_and_match(area, &request.place, u64::from(request.flags.among(MAY_LACK_NAME)));
    let allows_internal = request.flags.has(Flags::ALLOW_INTERNAL_MOUNT)
        || kernel::file_system_magic(request.place.dentry) == PIDFS;
    if s.status == walk::INTERNAL && allows_internal {
        return 0;
    }
    if s.status != walk::FOUND || s.is_incomparable != 0 {
        return Reason::Unresolved as u64;
    }
    if request.flags.has(Flags::FORBIDDEN) {
        return Reason::Guard as u64;
    }
    store_folder(tag, area, &request.place, generation);
    let labels = Labels::new(LabelId(s.positions[0].here), LabelId(s.positions[1].here));
    if request.flags.has(Flags::GAINS_PRIVILEGE) {
        return u64::from(judge_set_id(tag, generation, labels));
    }
    let (rights, is_use) = (request.rights, request.flags.has(Flags::ON_DESCRIPTOR));
    let verdict = judge_use(tag, generation, labels, rights);
    if verdict.reason() != 0 && is_use && stays_usable(tag, generation, labels, rights) {
        return ALLOWED_UNCACHED;
    }
    verdict.0
}

/// Flags of requests on files whose dentry may not be in its parent's list of names.
const MAY_LACK_NAME: Flags =
    Flags::MAY_BE_UNHASHED.with(Flags::ON_DESCRIPTOR).with(Flags::MAY_BE_HELD);

/// In place of a reason's number: allowed, but not to be cached, since opening the file would be refused.
const ALLOWED_UNCACHED: u64 = 255;

/// Stores what a walk found of the folder that a place is in. Not below procfs: which process a folder there belongs
/// to does not follow from its path.
#[inline(always)]
fn store_folder(tag: &Tag, area: Area, place: &Place, generation: u32) {
    let s = area.get();
    if s.folder != 0
        && s.folder == place.parent
        && s.folder_mount == place.mount
        && kernel::file_system_magic(s.folder) != matching::PROCFS
    {
        let changes = Changes { renames: s.renames, mounts: s.mounts };
        let basis = Basis { generation, epoch: 0, changes };
        cache::store_folder(place, tag, &basis, area.pointer());
    }
}
