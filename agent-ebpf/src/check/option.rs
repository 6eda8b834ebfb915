//! Options of sockets, and of single messages, by which packets take another route than was decided.

use core::ffi::c_void;

use agent_common::{
    decision::Reason,
    event::{OBJECT_NUMBER, Operation},
    id::Tag,
};

use super::act::refuse;
use crate::{kernel::peek, member, request::Act, verdict::EACCES};

/// `IPPROTO_IP` (include/uapi/linux/in.h).
pub(crate) const IP: u32 = 0;
/// `IPPROTO_IPV6` (include/uapi/linux/in6.h).
pub(crate) const IPV6: u32 = 41;
/// `IPV6_RTHDR`, `IPV6_2292RTHDR`, and `IPV6_2292PKTOPTIONS`, which can have the former in it.
pub(crate) const ROUTING_HEADERS: [u32; 3] = [57, 5, 6];

/// `IP_RETOPTS` (include/uapi/linux/in.h): options of a single packet, in a message's control data.
const IP_RETOPTS: u32 = 7;
/// Elements of control data that are looked through; a message with more is refused.
const ELEMENTS: usize = 16;
/// Bytes of a `struct cmsghdr`: length, level, type (include/linux/socket.h).
const HEAD: u64 = 16;

/// The option in a message's control data that sets the packet's route, for a socket of the internet families: its level
/// and number, and [`FOUND`]; zero if there is none. The kernel has already copied the control data.
#[inline(never)]
pub(crate) fn routing_option(message: *const c_void) -> u64 {
    let mut at: u64 = member!(message, msghdr_control);
    let end = at.wrapping_add(member!(message, msghdr_controllen));
    let mut tries = 0;
    while at != 0 && at.wrapping_add(HEAD) <= end {
        let [len, kind]: [u64; 2] = peek(at);
        let (level, option) = (kind as u32, (kind >> 32) as u32);
        let routes = (level == IP && option == IP_RETOPTS)
            || (level == IPV6 && ROUTING_HEADERS.contains(&option))
            || tries == ELEMENTS;
        if routes {
            return u64::from(level) << 32 | u64::from(option) | FOUND;
        }
        if len < HEAD {
            return 0;
        }
        at = at.wrapping_add((len + 7) & !7);
        tries += 1;
    }
    0
}

/// Set in what [`routing_option`] returns, since level and number can be zero.
const FOUND: u64 = 1 << 63;

/// Refuses what [`routing_option`] found.
#[inline(always)]
pub(crate) fn refuse_routing_option(tag: &Tag, found: u64) -> i32 {
    refuse_option(tag, (found >> 32) as u32 & 0xffff, found as u32)
}

/// Refuses an option.
#[inline(always)]
pub(crate) fn refuse_option(tag: &Tag, level: u32, option: u32) -> i32 {
    // As incidents name it: the level, then the number.
    let arguments = [level << 16 | option, 0, 0];
    let act = Act { operation: Operation::NetOption, object: OBJECT_NUMBER, arguments };
    refuse(tag, &act, Reason::Guard, EACCES)
}
