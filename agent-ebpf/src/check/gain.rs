//! Whether a move or link gives rights to what is moved: the labels of both places are compared.

use agent_common::{
    access::{Right, Rights},
    decision::{self, Reason},
    id::Tag,
    limits::POLICY_SLOTS,
};

use super::{
    file::{judge_by_walk, refuse_without_scratch, report_and_release},
    folder::{FolderLabels, labels_of},
    judge::{Labels, judge},
};
use crate::{
    kernel, matching,
    request::{FileRequest, Flags},
    scratch,
    standing::basis,
    verdict::{EACCES, Outcome},
};

/// Refuses a move or link by which what is moved gains a right: for the contents of a folder, and for what can't be
/// copied. The requests are those of both ends, with [`Flags::COMPARES_LABELS`], and were allowed.
#[inline(always)]
pub(crate) fn refuse_gained_rights(
    tag: &Tag,
    leaving: &FileRequest,
    arriving: &FileRequest,
) -> i32 {
    if kernel::hide_from_optimizer(decide_gain(tag, leaving, arriving)) != 0 { EACCES } else { 0 }
}

/// See [`refuse_gained_rights`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn decide_gain(
    tag: *const Tag,
    leaving: *const FileRequest,
    arriving: *const FileRequest,
) -> u32 {
    deref_or_return!(tag, leaving, arriving; else return 1);
    let is_folder = leaving.flags.has(Flags::MOVES_SUBTREE);
    let basis = basis(tag);
    let generation = basis.generation;
    let from = FolderLabels::of(tag, leaving, &basis);
    if !from.is_unknown() {
        let to = FolderLabels::of(tag, arriving, &basis);
        if to.are_known() && judge_move(tag, generation, from.labels(), to.labels(), is_folder) == 0
        {
            return 0;
        }
    }
    // Only a walk refuses, since a refusal has to name the path.
    let Some(area) = scratch::acquire() else { return refuse_without_scratch(tag) as u32 };
    let mut reason = judge_by_walk(tag, area, arriving, generation).reason();
    let to = labels_of(area.get(), arriving);
    let leads_to = matching::nodes_below(area.get());
    if reason == 0 {
        reason = judge_by_walk(tag, area, leaving, generation).reason();
    }
    if reason == 0 {
        let s = area.get();
        let (from, leads_from) = (labels_of(s, leaving), matching::nodes_below(s));
        reason = if is_folder && leads_from | leads_to != 0 {
            // Rules name something below. What is there keeps its labels if they are the same rules at both places.
            if leads_from == leads_to && from.0 == to.0 { 0 } else { Reason::Guard as u32 }
        } else {
            judge_move(tag, generation, from, to, is_folder)
        };
    }
    report_and_release(
        tag,
        area,
        leaving,
        Outcome::new(generation, reason),
        &raw const arriving.place,
    ) as u32
}

/// Zero if nothing that is moved from a place with the first labels to one with the others gains by it, else the reason's
/// number. What can be copied gains nothing by rights that the session has at the old place, if it may read there.
#[inline(always)]
fn judge_move(tag: &Tag, generation: u32, from: Labels, to: Labels, can_be_copied: bool) -> u32 {
    let gained = rights_gained(generation, from.0, to.0);
    if gained == 0 {
        return 0;
    }
    if !can_be_copied || gained & !u32::from(decision::COPIED.0) != 0 {
        return Reason::Guard as u32;
    }
    match judge(tag, generation, from, Rights(gained as u8).with(Right::Read)) {
        0 => 0,
        _ => Reason::Guard as u32,
    }
}

/// The rights that what is moved from a place with the first labels to one with the others gains; all rights if there are
/// no such labels.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn rights_gained(generation: u32, from: u64, to: u64) -> u32 {
    if from == to {
        return 0;
    }
    let table = generation % POLICY_SLOTS as u32;
    match (Labels(from).find(table), Labels(to).find(table)) {
        (Some(from), Some(to)) => u32::from(decision::gained(from, to).0),
        _ => u32::MAX,
    }
}
