//! Endpoints by the tables and by the rules alone.

use std::net::IpAddr;

use agent_common::rule::{FLOW_TCP_CONNECT, FLOW_TCP_LISTEN, FLOW_UDP_CONNECT};
use ipnet::IpNet;

use super::*;

fn tools(compiled: &Compiled, address: &str, port: u16, flow: u16) -> Vec<u16> {
    let found = compiled.explain_endpoint(address.parse().unwrap(), port, flow);
    let tools: Vec<u16> =
        found.label.tools.iter().flat_map(|set| set.iter().map(|bit| bit.0)).collect();
    assert_eq!(tools.len(), found.rules.len(), "{address} {port}");
    tools
}

fn endpoints(entries: &[&str]) -> Compiled {
    let tools = entries
        .iter()
        .enumerate()
        .map(|(number, entry)| format!("[tool.t{number:02}]\nnetwork = [{{ {entry} }}]\n"));
    compile(&policy(&tools.collect::<String>()))
}

#[test]
fn endpoints_by_rule_are_covered_or_not() {
    let compiled = endpoints(&[
        "cidrs = [\"10.0.0.0/8\"]",
        "cidrs = [\"10.20.0.0/16\"], ports = [443, \"8000-8099\"]",
        "cidrs = [\"::/0\"], ports = [443]",
        "cidrs = [\"::ffff:10.20.0.0/112\"], ports = [53], protocol = \"udp\"",
        "cidrs = [\"0.0.0.0/0\"], ports = [8080], direction = \"listen\"",
        "cidrs = [\"fd00::/8\"], ports = [\"1-65535\"]",
        "cidrs = [\"::/0\"], ports = [\"1024-40000\", \"40001-65535\"], direction = \"listen\"",
        "cidrs = [\"::/0\"], ports = [\"1024-65534\"], direction = \"listen\"",
        "cidrs = [\"::1/128\"], direction = \"listen\"",
    ]);
    let cases: &[(&str, u16, u16, &[u16])] = &[
        ("10.1.1.1", 1, FLOW_TCP_CONNECT, &[0]),
        ("10.20.1.1", 443, FLOW_TCP_CONNECT, &[0, 1]),
        ("::ffff:10.20.1.1", 443, FLOW_TCP_CONNECT, &[0, 1]),
        ("10.20.1.1", 8099, FLOW_TCP_CONNECT, &[0, 1]),
        ("10.20.1.1", 8100, FLOW_TCP_CONNECT, &[0]),
        ("10.20.1.1", 53, FLOW_UDP_CONNECT, &[3]),
        ("10.21.1.1", 53, FLOW_UDP_CONNECT, &[]),
        ("11.0.0.1", 443, FLOW_TCP_CONNECT, &[]),
        ("2001:db8::1", 443, FLOW_TCP_CONNECT, &[2]),
        ("2001:db8::1", 444, FLOW_TCP_CONNECT, &[]),
        ("fd00::1", 443, FLOW_TCP_CONNECT, &[2, 5]),
        ("fd00::1", 65535, FLOW_TCP_CONNECT, &[5]),
        ("fd00::1", 0, FLOW_TCP_CONNECT, &[]),
        ("0.0.0.0", 8080, FLOW_TCP_LISTEN, &[4]),
        ("::", 8080, FLOW_TCP_LISTEN, &[6, 7]),
        // Whichever port the kernel chooses.
        ("::", 0, FLOW_TCP_LISTEN, &[6]),
        ("::1", 0, FLOW_TCP_LISTEN, &[6, 8]),
        ("::", 1023, FLOW_TCP_LISTEN, &[]),
        ("0.0.0.0", 0, FLOW_TCP_LISTEN, &[]),
        ("10.20.1.1", 8100, FLOW_TCP_CONNECT, &[0]),
    ];
    for (address, port, flow, expected) in cases {
        assert_eq!(tools(&compiled, address, *port, *flow), *expected, "{address} {port} {flow}");
    }
}

#[test]
fn endpoint_explained_names_the_rule() {
    let compiled = endpoints(&["cidrs = [\"10.0.0.0/8\"], ports = [5432]"]);
    let found = compiled.explain_endpoint("10.1.2.3".parse().unwrap(), 5432, FLOW_TCP_CONNECT);
    let rule = &found.rules[0];
    assert_eq!((rule.line, rule.column, rule.text.as_str()), (3, 23, "10.0.0.0/8"));
}

#[test]
fn prefixes_with_equal_effects_share_a_class() {
    let cidrs: Vec<_> = (0..200).map(|n| format!("\"10.{n}.0.0/16\"")).collect();
    let entry = format!("cidrs = [{}], ports = [443]", cidrs.join(", "));
    let tables = endpoints(&["cidrs = [\"10.0.0.0/8\"]", &entry]).tables(&[]);
    assert_eq!((tables.addresses.len(), tables.ports.len()), (201, 3));
}

fn random_net(random: &mut Random) -> IpNet {
    let bits = random.below(4) as u8;
    let text = match random.below(3) {
        0 => format!("{}.0.0.0/{bits}", random.below(256)),
        1 => format!("{}.{}.0.0/{}", 10, random.below(4) * 64, 8 + bits),
        _ => format!("{:x}::/{}", random.below(0x10000), bits * 2),
    };
    text.parse::<IpNet>().unwrap().trunc()
}

#[test]
fn random_endpoints_by_tables_and_by_rules_agree() {
    for seed in 0..300 {
        let mut random = Random(seed);
        let rules: Vec<_> = (0..1 + random.below(12))
            .map(|_| {
                let first = 1 + random.below(64);
                let last = first + random.below(3) * random.below(400);
                (random_net(&mut random), first as u16, last as u16)
            })
            .collect();
        let entries: Vec<_> = rules
            .iter()
            .map(|(net, first, last)| format!("cidrs = [\"{net}\"], ports = [\"{first}-{last}\"]"))
            .collect();
        let entries: Vec<_> = entries.iter().map(String::as_str).collect();
        let compiled = endpoints(&entries);
        for _ in 0..100 {
            let (net, ..) = *random.pick(&rules);
            let nudge = random.below(3) as u128;
            let address: IpAddr = match net.addr() {
                IpAddr::V4(a) => IpAddr::V4((u32::from(a).wrapping_add(nudge as u32)).into()),
                IpAddr::V6(a) => IpAddr::V6((u128::from(a).wrapping_add(nudge)).into()),
            };
            let port = random.below(500) as u16;
            let expected: Vec<u16> = (0..)
                .zip(&rules)
                .filter(|(_, (net, first, last))| {
                    net.contains(&address) && (*first..=*last).contains(&port)
                })
                .map(|(number, _)| number)
                .collect();
            let address = address.to_string();
            let found = tools(&compiled, &address, port, FLOW_TCP_CONNECT);
            assert_eq!(found, expected, "seed {seed}: {address} {port} by {rules:?}");
        }
    }
}
