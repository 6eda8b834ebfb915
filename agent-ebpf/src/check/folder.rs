//! Decisions on files by what is cached of their folder: one step of the rules' automaton instead of a walk.

use agent_common::{
    id::{LabelId, Tag},
    limits::POLICY_SLOTS,
};

use super::judge::{Labels, judge_use};
use crate::{
    cache::{self, Allowed, Basis, Folder},
    kernel::{self, Changes},
    matching,
    request::{FileRequest, Flags},
    scratch,
    values::{Component, Scratch},
};

/// What the session is allowed on a file, if the folder's cached entry allows all of the request. Only a walk refuses,
/// since a refusal has to name the path.
#[inline(always)]
pub(super) fn allowed_by_folder(
    tag: &Tag,
    request: &FileRequest,
    basis: &Basis,
) -> Option<Allowed> {
    let found = FolderLabels::of(tag, request, basis);
    if found.is_unknown() {
        return None;
    }
    if found.is_allowed() {
        return Some(Allowed::new(request.rights, found.marks()));
    }
    let verdict = judge_use(tag, basis.generation, found.labels(), request.rights);
    if verdict.reason() != 0 {
        return None;
    }
    let allowed = verdict.allowed(request.rights);
    if found.are_for_every_name() {
        cache::keep_rights(&request.place, tag, basis, allowed.0);
    }
    Some(allowed)
}

/// What is known of a file by its folder: nothing, or that the request is allowed, or the file's labels. One word, as a
/// shared function returns it.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct FolderLabels(u64);

/// Nothing is known.
const UNKNOWN: u64 = u64::MAX;
/// Set if the request is allowed: then the lower half has the marks of that use.
const ALLOWED: u64 = 1 << 62;
/// Set if all names in the folder have the same labels. (The number of a label is too small to have this bit.)
const EVERY_NAME: u64 = 1 << 63;

impl FolderLabels {
    /// What is known of the file of a request.
    #[inline(always)]
    pub(super) fn of(tag: &Tag, request: &FileRequest, basis: &Basis) -> Self {
        Self(labels_by_folder(tag, request, basis))
    }

    /// Whether nothing is known.
    #[inline(always)]
    pub(super) fn is_unknown(self) -> bool {
        self.0 == UNKNOWN
    }

    /// Whether the request is allowed.
    #[inline(always)]
    fn is_allowed(self) -> bool {
        self.0 & ALLOWED != 0
    }

    /// The marks that the allowed use leaves.
    #[inline(always)]
    fn marks(self) -> u32 {
        self.0 as u32
    }

    /// Whether all names in the folder have these labels.
    #[inline(always)]
    fn are_for_every_name(self) -> bool {
        self.0 & EVERY_NAME != 0
    }

    /// The labels.
    #[inline(always)]
    pub(super) fn labels(self) -> Labels {
        Labels(self.0 & !EVERY_NAME)
    }

    /// Whether the labels are known.
    #[inline(always)]
    pub(super) fn are_known(self) -> bool {
        self.labels().0 != UNKNOWN & !EVERY_NAME
    }
}

shared!(fn labels_by_folder(tag: *const Tag, request: *const FileRequest, basis: *const Basis) -> u64, otherwise UNKNOWN);

/// See [`FolderLabels::of`].
#[unsafe(no_mangle)]
#[unsafe(link_section = "freplace/labels_by_folder")]
extern "C" fn shared_labels_by_folder(
    tag: *const Tag,
    request: *const FileRequest,
    basis: *const Basis,
) -> u64 {
    deref_or_return!(tag, request, basis; else return UNKNOWN);
    let place = &request.place;
    if place.parent == 0 || request.flags.has(Flags::FORBIDDEN) {
        return UNKNOWN;
    }
    // The root of a mount has its name in another mount.
    if kernel::mount_root(place.mount) == place.dentry
        || kernel::parent(place.dentry) != place.parent
    {
        return UNKNOWN;
    }
    let Some(folder) = cache::find_folder(place, tag, basis) else { return UNKNOWN };
    let found = if !folder.tells_names_apart() {
        if !request.flags.has(Flags::COMPARES_LABELS) && folder.allows(request.rights, tag, basis) {
            ALLOWED | u64::from(folder.marks())
        } else {
            Labels::new(folder.label_of_any_name(0), folder.label_of_any_name(1)).0 | EVERY_NAME
        }
    } else if !request.flags.has(Flags::EVERY_NAME) {
        labels_by_step(tag, request, basis.generation, folder)
    } else {
        UNKNOWN
    };
    // All of this holds only if nothing was renamed or mounted since before the folder was looked up. If its path was
    // just compared, that was seen after the rest was read, unless a step was taken.
    let is_seen = folder.is_just_renewed && found & ALLOWED != 0;
    if folder.is_unchanged() && (is_seen || Changes::now() == basis.changes) {
        found
    } else {
        UNKNOWN
    }
}

/// The labels of a place, one step from the positions at its folder.
#[inline(always)]
fn labels_by_step(tag: &Tag, request: &FileRequest, generation: u32, folder: Folder) -> u64 {
    let place = &request.place;
    let Some(area) = scratch::acquire() else { return UNKNOWN };
    let s = area.get();
    folder.copy_positions(&mut s.positions);
    let (_, len, name) = kernel::parent_and_name(place.dentry);
    s.table = generation % POLICY_SLOTS as u32;
    s.slot = tag.slot.0;
    s.count = 1;
    s.components[0] = Component { name, dentry: place.dentry, len };
    matching::follow_components(area);
    let s = area.get();
    let is_for_a_walk =
        (takes_along(request) && matching::has_rules_below(s)) || s.is_incomparable != 0;
    let labels = labels_of(s, request);
    scratch::release(area);
    if is_for_a_walk { UNKNOWN } else { labels.0 }
}

/// Whether what is below a place counts for a request too, since it moves along.
#[inline(always)]
fn takes_along(request: &FileRequest) -> bool {
    request.flags.has(Flags::COMPARES_LABELS) && request.flags.has(Flags::MOVES_SUBTREE)
}

/// The labels that count for a request, once the path of its place was matched.
#[inline(always)]
pub(super) fn labels_of(s: &Scratch, request: &FileRequest) -> Labels {
    let [shared, own] = &s.positions;
    if takes_along(request) {
        Labels::new(LabelId(shared.below), LabelId(own.below))
    } else {
        Labels::new(LabelId(shared.here), LabelId(own.here))
    }
}
