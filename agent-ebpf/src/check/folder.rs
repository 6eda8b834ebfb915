//! What is known of the folder that a file is in: one step from where the rules stand there, in place of a walk.

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

/// What the session may, if it may all of it by what is known of the folder that the file is in. Only a walk refuses: a
/// refusal has to name the path.
#[inline(always)]
pub(super) fn allowed_by_folder(
    tag: &Tag,
    request: &FileRequest,
    basis: &Basis,
) -> Option<Allowed> {
    let found = labels_by_folder(tag, request, basis);
    if found == UNKNOWN {
        return None;
    }
    if found & ALLOWED != 0 {
        return Some(Allowed::new(request.rights, found as u32));
    }
    let labels = Labels(found & !ALIKE);
    let verdict = judge_use(tag, basis.generation, labels, request.rights);
    if verdict.reason() != 0 {
        return None;
    }
    let allowed = verdict.allowed(request.rights);
    if found & ALIKE != 0 {
        cache::keep_rights(&request.place, tag, basis, allowed.0);
    }
    Some(allowed)
}

/// What [`labels_by_folder`] says of what it does not know.
pub(super) const UNKNOWN: u64 = u64::MAX;
/// Set in what it says where it was found before that the session may, beside the marks that it leaves.
const ALLOWED: u64 = 1 << 62;
/// Set in what it says where all names in the folder have the same labels. (A label's number is smaller.)
pub(super) const ALIKE: u64 = 1 << 63;

shared!(pub(super) fn labels_by_folder(tag: *const Tag, request: *const FileRequest, basis: *const Basis) -> u64, otherwise UNKNOWN);

/// The labels of a file, by what is known of the folder that it is in, as one word.
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
    // The root of a mount has its name in another one.
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
            Labels::new(folder.label_of_any_name(0), folder.label_of_any_name(1)).0 | ALIKE
        }
    } else if !request.flags.has(Flags::EVERY_NAME) {
        labels_by_step(tag, request, basis.generation, folder)
    } else {
        UNKNOWN
    };
    // All of it holds only if nothing was renamed or mounted since before the folder was looked up. Where its path
    // was compared just now, that was seen after the rest was read, but for a name that leads on.
    let is_seen = folder.is_just_renewed && found & ALLOWED != 0;
    if folder.is_unchanged() && (is_seen || Changes::now() == basis.changes) {
        found
    } else {
        UNKNOWN
    }
}

/// The labels of a place, one step from where the rules stand at its folder, for [`labels_by_folder`].
#[inline(always)]
fn labels_by_step(tag: &Tag, request: &FileRequest, generation: u32, folder: Folder) -> u64 {
    let place = &request.place;
    let Some(area) = scratch::acquire() else { return UNKNOWN };
    // SAFETY: the area is ours until it is released.
    let s = unsafe { &mut *area };
    folder.copy_positions(&mut s.positions);
    let (_, len, name) = kernel::parent_and_name(place.dentry);
    s.table = generation % POLICY_SLOTS as u32;
    s.slot = tag.slot.0;
    s.count = 1;
    s.components[0] = Component { name, dentry: place.dentry, len };
    matching::follow_components(area);
    // SAFETY: as above; borrowed anew after the loop wrote.
    let s = unsafe { &*area };
    let stays = (request.flags.has(Flags::MOVES_SUBTREE) && matching::has_rules_below(s))
        || s.is_incomparable != 0;
    let labels = labels_of(s, request);
    scratch::release(area);
    if stays { UNKNOWN } else { labels.0 }
}

/// The labels that count for a request, after the path of its place was matched.
#[inline(always)]
pub(super) fn labels_of(s: &Scratch, request: &FileRequest) -> Labels {
    let [shared, own] = &s.positions;
    if request.flags.has(Flags::COMPARES_LABELS) && request.flags.has(Flags::MOVES_SUBTREE) {
        Labels::new(LabelId(shared.below), LabelId(own.below))
    } else {
        Labels::new(LabelId(shared.here), LabelId(own.here))
    }
}
