//! Endpoints: classes of addresses, and the ports of each class.
//!
//! The kernel finds only the longest prefix that an address matches. So each prefix includes the effects of the shorter
//! ones around it, and likewise for ports within a class. IPv4 addresses are stored as mapped IPv6 addresses, but
//! `::/0` means IPv6 only.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use agent_common::{
    access::{Right, Rights},
    id::{LabelId, ToolBit},
    limits::{NETWORK_RULES, PORTS},
    rule::{
        AddressKey, FLOW_TCP_CONNECT, FLOW_TCP_LISTEN, FLOW_UDP_CONNECT, FLOW_UDP_LISTEN,
        PORT_HEAD_BITS, PortKey,
    },
};
use ipnet::IpNet;

use super::mixer::{Effect, MixId, Mixer};
use crate::policy::{
    limit::LimitError,
    model::{Direction, NetworkRule, Protocol},
    value::PortRange,
};

/// `::ffff:0:0/96`, the mapped IPv4 addresses.
const MAPPED: u128 = 0xffff_0000_0000;
const MAPPED_BITS: u32 = 96;

/// A prefix of some bits.
type Prefix = (u128, u32);
/// The effects on ports.
type Ports = BTreeMap<PortPrefix, MixId>;
/// Flow, first port, and the length of the port's prefix in bits.
type PortPrefix = (u16, u16, u32);
/// The key of a class: the class around it, and the effects on its own ports.
type ClassKey = (u32, Vec<(PortPrefix, MixId)>);
/// Addresses and ports, as in `Tables`.
type Compiled = (Vec<(AddressKey, u32, u32)>, Vec<(PortKey, u32, LabelId)>);

/// The flow of a rule.
pub(super) const fn flow(protocol: Protocol, direction: Direction) -> u16 {
    match (protocol, direction) {
        (Protocol::Tcp, Direction::Connect) => FLOW_TCP_CONNECT,
        (Protocol::Udp, Direction::Connect) => FLOW_UDP_CONNECT,
        (Protocol::Tcp, Direction::Listen) => FLOW_TCP_LISTEN,
        (Protocol::Udp, Direction::Listen) => FLOW_UDP_LISTEN,
    }
}

/// An address as the kernel's tables have it.
pub(super) fn mapped(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_ipv6_mapped()),
        IpAddr::V6(address) => u128::from(address),
    }
}

fn prefix(net: IpNet) -> Prefix {
    let bits = u32::from(net.prefix_len());
    match net {
        IpNet::V4(_) => (mapped(net.network()), MAPPED_BITS + bits),
        IpNet::V6(_) => (mapped(net.network()), bits),
    }
}

/// The leading bits of a value.
fn leading(value: u128, bits: u32) -> u128 {
    value & u128::MAX.checked_shl(128 - bits).unwrap_or(0)
}

fn is_mapped((address, bits): Prefix) -> bool {
    bits >= MAPPED_BITS && leading(address, MAPPED_BITS) == MAPPED
}

/// Compiles the rules of all tools.
///
/// # Errors
/// The tables can't hold them.
pub(super) fn compile<'r>(
    rules: impl Iterator<Item = (ToolBit, &'r NetworkRule)>,
    mixer: &mut Mixer,
) -> Result<Compiled, LimitError> {
    let mut own: BTreeMap<Prefix, Ports> = BTreeMap::new();
    let mut named = 0;
    for (tool, rule) in rules {
        let right = match rule.direction {
            Direction::Connect => Right::Connect,
            Direction::Listen => Right::Listen,
        };
        let mix = mixer.of(Effect::Grant(tool, Rights::of(right)));
        let flow = flow(rule.protocol, rule.direction);
        let prefixes = || rule.ports.iter().flat_map(|range| decompose(*range));
        let chosen = rule.is_on(0).then_some((0, 16));
        named += rule.cidrs.len() * rule.ports.len();
        for cidr in &rule.cidrs {
            let ports = own.entry(prefix(cidr.net)).or_default();
            for (first, bits) in prefixes().chain(chosen) {
                let entry = ports.entry((flow, first, bits)).or_default();
                *entry = mixer.join(*entry, mix);
            }
        }
    }
    if named > NETWORK_RULES {
        return Err(LimitError::NetworkRules { named });
    }
    // An IPv6 range that contains the mapped addresses does not mean IPv4.
    if own.keys().any(|(address, bits)| *bits < MAPPED_BITS && leading(MAPPED, *bits) == *address) {
        own.entry((MAPPED, MAPPED_BITS)).or_default();
    }
    classes(own, mixer)
}

/// Gives each prefix its class. Prefixes with equal effects within the same class share one.
fn classes(own: BTreeMap<Prefix, Ports>, mixer: &mut Mixer) -> Result<Compiled, LimitError> {
    let mut addresses = Vec::with_capacity(own.len());
    let mut ports = Vec::new();
    let mut known: HashMap<ClassKey, u32> = HashMap::new();
    // The full rules of each class, by number from 1.
    let mut all: Vec<Ports> = Vec::new();
    // The prefixes that contain the current one. Sorted, each comes before those that it contains.
    let mut around: Vec<(Prefix, u32)> = Vec::new();
    for (prefix, said) in own {
        while around.last().is_some_and(|(outer, _)| !contains(*outer, prefix)) {
            around.pop();
        }
        let outer = around.iter().rev().find(|(outer, _)| is_mapped(*outer) == is_mapped(prefix));
        let outer = outer.map_or(0, |(_, class)| *class);
        let key = (outer, said.iter().map(|(key, mix)| (*key, *mix)).collect());
        let class = match known.get(&key) {
            Some(class) => *class,
            None => {
                let mut full = match outer.checked_sub(1).and_then(|outer| all.get(outer as usize))
                {
                    Some(outer) => outer.clone(),
                    None => Ports::new(),
                };
                for (key, mix) in said {
                    let entry = full.entry(key).or_default();
                    *entry = mixer.join(*entry, mix);
                }
                let class = all.len() as u32 + 1;
                emit(class, &full, mixer, &mut ports)?;
                all.push(full);
                known.insert(key, class);
                class
            }
        };
        around.push((prefix, class));
        addresses.push((AddressKey { octets: prefix.0.to_be_bytes() }, prefix.1, class));
    }
    Ok((addresses, ports))
}

fn contains(outer: Prefix, inner: Prefix) -> bool {
    outer.1 <= inner.1 && leading(inner.0, outer.1) == outer.0
}

/// Writes a class's ports: each entry includes the effects of the entries around it.
fn emit(
    class: u32,
    full: &Ports,
    mixer: &mut Mixer,
    ports: &mut Vec<(PortKey, u32, LabelId)>,
) -> Result<(), LimitError> {
    let mut around: Vec<(u16, u16, u32, MixId)> = Vec::new();
    for ((flow, first, bits), mix) in full {
        let inside = |(outer_flow, outer, outer_bits, _): &(u16, u16, u32, MixId)| {
            let differ = u32::from(outer ^ first).checked_shr(16 - outer_bits).unwrap_or(0);
            outer_flow == flow && outer_bits <= bits && differ == 0
        };
        while around.last().is_some_and(|outer| !inside(outer)) {
            around.pop();
        }
        let outer = around.last().map_or(MixId::NONE, |(.., mix)| *mix);
        let sum = mixer.join(outer, *mix);
        around.push((*flow, *first, *bits, sum));
        if sum == outer {
            continue;
        }
        if ports.len() >= PORTS {
            return Err(LimitError::Ports);
        }
        let key = PortKey { class, flow: *flow, port: first.to_be_bytes() };
        ports.push((key, PORT_HEAD_BITS + bits, mixer.number(sum)?));
    }
    Ok(())
}

/// The prefixes that a range of ports consists of: first port and length in bits.
fn decompose(range: PortRange) -> Vec<(u16, u32)> {
    let mut prefixes = Vec::new();
    let (mut first, end) = (u32::from(range.first), u32::from(range.last) + 1);
    while first < end {
        let aligned = if first == 0 { 16 } else { first.trailing_zeros() };
        let fits = (end - first).ilog2();
        let free = aligned.min(fits);
        prefixes.push((first as u16, 16 - free));
        first += 1 << free;
    }
    prefixes
}
