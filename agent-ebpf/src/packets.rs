//! Packets as they leave the sockets of sessions: a program on the control group that contains the groups of all
//! sessions.
//!
//! An address is decided when it is named, but a packet that carries its own route goes elsewhere. Options of
//! sockets that set a route are refused; yet not every message with such an option is seen, since the kernel does
//! not ask for the second message of a `sendmmsg` to the same address. So no packet with a routing header leaves.

use aya_ebpf::{macros::cgroup_skb, programs::SkBuffContext};

/// `ETH_P_IPV6` (include/uapi/linux/if_ether.h).
const ETH_P_IPV6: u16 = 0x86dd;
/// Bytes of an IPv6 header, and where it has the kind of the next header.
const HEADER: usize = 40;
const NEXT: usize = 6;
/// Kinds of headers (include/uapi/linux/in6.h, include/net/ipv6.h): options for each hop, routing, fragment, options
/// for the destination.
const HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;
/// How many headers before the transport's are looked through; a packet with more is dropped.
const HEADERS: usize = 8;

/// `BPF_CGROUP_INET_EGRESS`. One lets the packet pass; zero drops it, and its sender gets `EPERM`.
#[cgroup_skb(egress)]
pub(crate) fn egress(context: SkBuffContext) -> i32 {
    i32::from(!is_routed(&context))
}

/// Whether a packet carries a routing header, or can't be read.
#[inline(always)]
fn is_routed(context: &SkBuffContext) -> bool {
    // SAFETY: the context is the program's own, and the verifier lets it read this member.
    let protocol = unsafe { (*context.skb.skb).protocol };
    if u16::from_be(protocol as u16) != ETH_P_IPV6 {
        return false;
    }
    let Ok(mut kind) = context.load::<u8>(NEXT) else { return true };
    let mut at = HEADER;
    for _ in 0..HEADERS {
        match kind {
            ROUTING => return true,
            HOP | DESTINATION | FRAGMENT => {}
            _ => return false,
        }
        let Ok([next, len]) = context.load::<[u8; 2]>(at) else { return true };
        // A fragment header has no length.
        at += if kind == FRAGMENT { 8 } else { (len as usize + 1) * 8 };
        kind = next;
    }
    true
}
