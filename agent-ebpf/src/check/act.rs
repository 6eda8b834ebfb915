//! Refusals of acts that no tool covers.

use agent_common::{decision::Reason, id::Tag};

use crate::{
    emit, kernel,
    request::Act,
    standing::{enforce_or_report, generation, judge_standing},
};

/// Refuses an act for a reason, with an error.
#[inline(always)]
pub(crate) fn refuse(tag: &Tag, act: &Act, reason: Reason, error: i32) -> i32 {
    // To the verifier a shared function returns any number, and a hook may return only some.
    if kernel::hide_from_optimizer(refuse_act(tag, act, reason as u32)) != 0 { error } else { 0 }
}

/// Refuses an act that needs no tool if the session may do nothing at all.
#[inline(always)]
pub(crate) fn refuse_without_standing(tag: &Tag, act: &Act, error: i32) -> i32 {
    let reason = judge_standing(tag);
    if reason != 0 && kernel::hide_from_optimizer(refuse_act(tag, act, reason)) != 0 {
        error
    } else {
        0
    }
}

shared!(fn refuse_act(tag: *const Tag, act: *const Act, reason: u32) -> u32, otherwise 1);

/// Reports a refused act; non-zero if it is to fail.
#[unsafe(no_mangle)]
#[unsafe(link_section = "freplace/refuse_act")]
extern "C" fn shared_refuse_act(tag: *const Tag, act: *const Act, reason: u32) -> u32 {
    deref_or_return!(tag, act; else return 1);
    emit::report_act(tag, act, generation(), reason);
    enforce_or_report(tag, 1) as u32
}
