//! Decisions on network endpoints.

use agent_common::{
    id::{LabelId, Tag},
    limits::POLICY_SLOTS,
    rule::{AddressKey, PORT_HEAD_BITS, PortKey},
};
use aya_ebpf::btf_maps::lpm_trie::Key;

use super::judge::{Labels, judge, stays_usable};
use crate::{
    cache, emit, kernel,
    maps::{ADDRESS_TABLES, PORT_TABLES},
    request::Endpoint,
    standing::{enforce_or_report, generation, stamp},
    verdict::EACCES,
};

/// Decides an operation on a network endpoint.
#[inline(always)]
pub(crate) fn endpoint(tag: &Tag, endpoint: &Endpoint) -> i32 {
    if kernel::hide_from_optimizer(refuse_endpoint(tag, endpoint)) != 0 { EACCES } else { 0 }
}

shared!(fn refuse_endpoint(tag: *const Tag, endpoint: *const Endpoint) -> u32, otherwise 1);

/// Decides an operation on a network endpoint, and reports a refusal; non-zero if it is to fail.
#[unsafe(no_mangle)]
#[unsafe(link_section = "freplace/refuse_endpoint")]
extern "C" fn shared_refuse_endpoint(tag: *const Tag, endpoint: *const Endpoint) -> u32 {
    deref_or_return!(tag, endpoint; else return 1);
    let decided = decide(tag, endpoint);
    if decided.reason == 0 {
        return 0;
    }
    emit::report_endpoint(tag, endpoint, decided.generation, decided.reason);
    enforce_or_report(tag, 1) as u32
}

/// Whether an open socket with this end may be used. Nothing is reported.
#[inline(always)]
pub(super) fn is_usable(tag: &Tag, endpoint: &Endpoint) -> bool {
    may_use_endpoint(tag, endpoint) != 0
}

shared!(fn may_use_endpoint(tag: *const Tag, endpoint: *const Endpoint) -> u32, otherwise 0);

/// See [`is_usable`].
#[unsafe(no_mangle)]
#[unsafe(link_section = "freplace/may_use_endpoint")]
extern "C" fn shared_may_use_endpoint(tag: *const Tag, endpoint: *const Endpoint) -> u32 {
    deref_or_return!(tag, endpoint; else return 0);
    u32::from(is_usable_alone(tag, endpoint))
}

/// As [`is_usable`], for an iterator: the daemon fills the places of shared functions in hooks alone.
#[inline(never)]
pub(super) fn is_usable_alone(tag: &Tag, endpoint: &Endpoint) -> bool {
    let decided = decide(tag, endpoint);
    decided.reason == 0 || stays_usable(tag, decided.generation, decided.labels, endpoint.rights)
}

/// A decision on an endpoint.
struct Decided {
    generation: u32,
    /// A reason's number; zero if it is allowed.
    reason: u32,
    /// The endpoint's labels, if there is a reason.
    labels: Labels,
}

/// Decides on an endpoint: by the cache, else by the tables.
#[inline(always)]
fn decide(tag: &Tag, endpoint: &Endpoint) -> Decided {
    let stamp = stamp(tag);
    let none = Labels::new(LabelId::NONE, LabelId::NONE);
    if stamp != 0 && cache::allows_endpoint(tag, endpoint, stamp) {
        return Decided { generation: 0, reason: 0, labels: none };
    }
    let generation = if stamp != 0 { (stamp >> 32) as u32 } else { generation() };
    let label = endpoint_label(generation % POLICY_SLOTS as u32, endpoint);
    let labels = Labels::new(label, LabelId::NONE);
    let reason = judge(tag, generation, labels, endpoint.rights);
    if reason == 0 && stamp != 0 {
        cache::store_endpoint(tag, endpoint, stamp);
    }
    Decided { generation, reason, labels }
}

/// The label of an endpoint.
#[inline(always)]
fn endpoint_label(table: u32, endpoint: &Endpoint) -> LabelId {
    let address = Key::new(128, AddressKey { octets: endpoint.address.octets() });
    let Some(class) = ADDRESS_TABLES.get(table).and_then(|addresses| addresses.get(&address))
    else {
        return LabelId::NONE;
    };
    let port = PortKey { class: *class, flow: endpoint.flow, port: endpoint.port.to_be_bytes() };
    let port = Key::new(PORT_HEAD_BITS + 16, port);
    match PORT_TABLES.get(table).and_then(|ports| ports.get(&port)) {
        Some(label) => LabelId(*label),
        None => LabelId::NONE,
    }
}
