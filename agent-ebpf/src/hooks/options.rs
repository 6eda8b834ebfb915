//! Options of sockets by which packets go to, or come from, elsewhere than was decided.

use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::{
    check::{self, IP, IPV6, ROUTING_HEADERS},
    subject,
};

/// Its `IP_OPTIONS`, of which a source route is one, and `IP_LOCAL_PORT_RANGE` (since 6.3), by which the port that
/// "the kernel chooses" is one of the session's choice.
const REFUSED: [u32; 2] = [4, 51];
/// `IPV6_FLOWLABEL_MGR` (include/uapi/linux/in6.h): a flow label brings its options, a routing header among them, to
/// each packet that has it.
const FLOW_LABEL: u32 = 32;
/// `SOL_UDP` and its `UDP_CORK` (include/uapi/linux/udp.h): zero sends what waits.
const UDP: u32 = 17;
const UDP_CORK: u32 = 1;

/// `int socket_setsockopt(struct socket *sock, int level, int optname)`: the value is not told, so one that
/// would take a route away is refused too.
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
