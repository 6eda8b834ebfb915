//! Options of sockets by which packets go to, or come from, elsewhere than was decided.

use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::{
    check::{self, IP, IPV6, ROUTING_HEADERS},
    subject,
};

/// `IP_OPTIONS`, of which a source route is one, and `IP_LOCAL_PORT_RANGE` (since 6.3), by which "a port that the
/// kernel chooses" is one that the session chose.
const REFUSED: [u32; 2] = [4, 51];
/// `IPV6_FLOWLABEL_MGR` (include/uapi/linux/in6.h): a flow label has options, among them a routing header, for each
/// packet with that label.
const FLOW_LABEL: u32 = 32;
/// `SOL_UDP` and its `UDP_CORK` (include/uapi/linux/udp.h), which sends what waits when it is set to zero.
const UDP: u32 = 17;
const UDP_CORK: u32 = 1;

/// `int socket_setsockopt(struct socket *sock, int level, int optname)`: the hook is not told the value, so removing
/// a route is refused too.
#[lsm(hook = "socket_setsockopt")]
pub(crate) fn socket_setsockopt(context: LsmContext) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    let (level, option) = (context.arg::<u32>(1), context.arg::<u32>(2));
    let is_refused = match level {
        IP => REFUSED.contains(&option),
        IPV6 => option == FLOW_LABEL || ROUTING_HEADERS.contains(&option),
        UDP if option == UDP_CORK => return check::send_pending(tag, context.arg(0)),
        _ => false,
    };
    if is_refused { check::refuse_option(tag, level, option) } else { 0 }
}
