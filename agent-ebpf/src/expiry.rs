//! Whether a session's time is up, or a tool's: by the clock, or without it while no expiry is near.
//!
//! Reading the clock takes 50 instructions, the count of ticks two. So when the clock shows that all expiries are
//! further away than a few ticks can last, the session's entry says so for these ticks.

use agent_common::{authority::Session, id::BootNanos};
use aya_ebpf::helpers::generated::bpf_jiffies64;

use crate::{kernel, volatile};

/// For how many ticks the clock is not read again: 80 ms where ticks are slowest (100 a second). The clock goes on
/// while the host sleeps, and ticks do not: for so long, a tool may outlive its time after the host woke up.
const TICKS: u64 = 8;
/// An expiry is near if it comes within so many nanoseconds: more than those ticks last.
const NEAR: u64 = 100_000_000;

/// The time for a decision on a session whose entry has this epoch. Zero if it is only known that no expiry is near.
#[inline(always)]
pub(crate) fn time(session: &Session, epoch: u32) -> BootNanos {
    if no_expiry_is_near(session, epoch) { BootNanos(0) } else { read_clock(session, epoch) }
}

/// Whether the session's own expiry and the nearest of its tools are still to come.
#[inline(always)]
pub(crate) fn is_before_expiries(session: &Session, epoch: u32) -> bool {
    if no_expiry_is_near(session, epoch) {
        return true;
    }
    let now = read_clock(session, epoch);
    now < session.nearest_expiry && now < session.expires
}

/// Whether the clock showed within the last few ticks that no expiry is near.
#[inline(always)]
pub(crate) fn no_expiry_is_near(session: &Session, epoch: u32) -> bool {
    let seen = volatile::read(&session.no_expiry_near);
    // An entry that was written since has another epoch: then the difference is large.
    tick_stamp(epoch).wrapping_sub(seen) < TICKS
}

/// Reads the clock, and notes in the session's entry if no expiry is near.
#[inline(always)]
fn read_clock(session: &Session, epoch: u32) -> BootNanos {
    let now = kernel::now();
    let far = BootNanos(now.0 + NEAR);
    if far < session.nearest_expiry && far < session.expires {
        // SAFETY: the entry is a map's value; a race leaves one of two stamps that are both true.
        unsafe { (&raw const session.no_expiry_near).cast_mut().write_volatile(tick_stamp(epoch)) };
    }
    now
}

/// The count of ticks, which stays below 2^40 for decades, and in the bits above it the epoch's low bits: a stamp is
/// void once the daemon writes the entry.
#[inline(always)]
fn tick_stamp(epoch: u32) -> u64 {
    // SAFETY: the helper has no precondition.
    let ticks = unsafe { bpf_jiffies64() };
    ticks + (u64::from(epoch) << 40)
}
