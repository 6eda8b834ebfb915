//! Whether a session's time is up, or a tool's: by the clock, or without it while no expiry is near.
//!
//! Reading the clock takes 50 instructions, the count of ticks two. So what the clock said is remembered for some
//! ticks, if all expiries were farther away than those can last.

use core::ptr;

use agent_common::{authority::Session, id::BootNanos};
use aya_ebpf::helpers::generated::bpf_jiffies64;

use crate::kernel;

/// For how many ticks it is remembered that no expiry is near: 80 milliseconds where ticks are slowest (100 a
/// second). The clock goes on while the host sleeps, and ticks do not: so long a tool may outlive its time then.
const TICKS: u64 = 8;
/// What is near, in nanoseconds: more than those ticks last.
const NEAR: u64 = 100_000_000;

/// The time for a decision on a session, as its entry was at an epoch: before its nearest expiry and its own, if
/// both are to come. Zero where it is only known that neither is near.
#[inline(always)]
pub(crate) fn time(session: &Session, epoch: u32) -> BootNanos {
    if no_expiry_is_near(session, epoch) { BootNanos(0) } else { read_clock(session, epoch) }
}

/// Whether the nearest expiry of a session's tools and its own are to come.
#[inline(always)]
pub(crate) fn is_before_expiries(session: &Session, epoch: u32) -> bool {
    if no_expiry_is_near(session, epoch) {
        return true;
    }
    let now = read_clock(session, epoch);
    now < session.nearest_expiry && now < session.expires
}

/// Whether the clock said lately that no expiry is near.
#[inline(always)]
pub(crate) fn no_expiry_is_near(session: &Session, epoch: u32) -> bool {
    // SAFETY: a reference is valid.
    let seen = unsafe { ptr::read_volatile(&raw const session.no_expiry_near) };
    // An entry that was written since has another epoch: then the difference is large.
    tick_stamp(epoch).wrapping_sub(seen) < TICKS
}

#[inline(always)]
fn read_clock(session: &Session, epoch: u32) -> BootNanos {
    let now = kernel::now();
    let far = BootNanos(now.0 + NEAR);
    if far < session.nearest_expiry && far < session.expires {
        // SAFETY: a map's value is valid; a race leaves one of two stamps that are both true.
        unsafe { (&raw const session.no_expiry_near).cast_mut().write_volatile(tick_stamp(epoch)) };
    }
    now
}

/// The count of ticks, which stays below 2^40 for decades, and above it as much of the epoch as there is room for: an
/// entry that is written forgets the stamp, so that none of many epochs before is met.
#[inline(always)]
fn tick_stamp(epoch: u32) -> u64 {
    // SAFETY: the helper has no precondition.
    let ticks = unsafe { bpf_jiffies64() };
    ticks + (u64::from(epoch) << 40)
}
