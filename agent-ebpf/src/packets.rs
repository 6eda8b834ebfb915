//! What leaves a session's sockets, as it leaves: a program on the control group that all sessions' groups are in.
//!
//! An address is decided when it is named, and that is not where a packet goes whose sender lays down its way. Options
//! of sockets that do so are refused, but not every place is seen where a message can have one: the kernel does not ask
//! for the second message of `sendmmsg` to the same address. So no packet with a routing header leaves.

use aya_ebpf::{macros::cgroup_skb, programs::SkBuffContext};

/// `ETH_P_IPV6` (include/uapi/linux/if_ether.h).
const ETH_P_IPV6: u16 = 0x86dd;
/// Bytes of an IPv6 header, and where it has the kind of the next one.
const HEADER: usize = 40;
const NEXT: usize = 6;
/// Kinds of headers (include/uapi/linux/in6.h, include/net/ipv6.h): options for each hop, the way, fragments, options
/// for the destination.
const HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;
/// Headers before the one of the transport that are looked through; of more the packet is dropped.
const HEADERS: usize = 8;

/// Of `BPF_CGROUP_INET_EGRESS`: one lets the packet pass, zero drops it, and its sender gets `EPERM`.
#[cgroup_skb(egress)]
pub(crate) fn egress(context: SkBuffContext) -> i32 {
    i32::from(!is_routed(&context))
}

/// Whether a packet goes a way that its sender laid down, as far as its headers tell; one that can't be read counts
/// as such.
#[inline(always)]
fn is_routed(context: &SkBuffContext) -> bool {
    // SAFETY: the context is the program's, and this one of the members that the verifier lets it read.
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
        // That of a fragment has no length.
        at += if kind == FRAGMENT { 8 } else { (len as usize + 1) * 8 };
        kind = next;
    }
    true
}
