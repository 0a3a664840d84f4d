use std::cell::Cell;
use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use proptest::sample::Index as Choice;

use super::*;
use crate::ports::tests::any_ports;
use crate::selector::tests::selector;
use crate::{Action, AddrRange, Direction, Policies, Policy, PolicyId, PortRange, Selector, Terms, TrafficSelector};

fn policies(selectors: Vec<Selector>) -> Policies {
    let policy = |(n, selector)| Policy {
        name: format!("{n}"),
        selector,
        action: Action::Protect(PolicyId(n)),
        terms: Terms::default(),
    };
    Policies::new((0..).zip(selectors).map(policy).collect())
}

/// Addresses of both families that share leading bits of every length.
fn any_address(ipv4: bool) -> impl Strategy<Value = IpAddr> {
    (0u32..32, any::<u8>(), any::<bool>()).prop_map(move |(shift, low, left)| {
        let bits = u32::from(low).rotate_left(if left { shift } else { 0 });
        if ipv4 { Ipv4Addr::from_bits(bits).into() } else { Ipv6Addr::from_bits(u128::from(bits) << 60).into() }
    })
}

fn any_range(ipv4: bool) -> impl Strategy<Value = AddrRange> {
    let address = || any_address(ipv4);
    let any = if ipv4 { AddrRange::ANY_V4 } else { AddrRange::ANY_V6 };
    prop_oneof![
        1 => Just(any),
        2 => address().prop_map(AddrRange::host),
        3 => (address(), 0u8..=32)
            .prop_map(move |(a, n)| AddrRange::prefix(a, if ipv4 { n } else { n * 4 }).unwrap()),
        3 => (address(), address()).prop_map(|(a, b)| AddrRange::new(a.min(b), a.max(b)).unwrap()),
    ]
}

/// Any selector there can be, whatever sense it makes.
fn any_entry(ipv4: bool) -> impl Strategy<Value = TrafficSelector> {
    let protocol =
        prop_oneof![3 => Just(0u8), 3 => Just(6), 1 => Just(17), 1 => Just(1), 1 => Just(135), 1 => Just(50)];
    let narrow = (any::<u16>(), 0u16..40).prop_map(|(start, n)| PortRange { start, end: start.saturating_add(n) });
    let reversed = Just(PortRange { start: 9, end: 3 });
    let ports = prop_oneof![6 => any_ports(), 2 => narrow, 1 => reversed];
    (any_range(ipv4), protocol, ports).prop_map(|(addresses, protocol, ports)| TrafficSelector {
        addresses,
        protocol,
        ports,
    })
}

fn any_selector() -> impl Strategy<Value = Selector> {
    let side = || {
        let one = |ipv4| prop::collection::vec(any_entry(ipv4), 1..3);
        let both = (prop::collection::vec(any_entry(true), 0..14), prop::collection::vec(any_entry(false), 0..4));
        (one(true), one(false), both.prop_map(|(a, b)| [a, b].concat()))
    };
    (side(), side(), 0..8).prop_map(|(local, remote, kind)| match kind {
        0..4 => Selector { local: local.0, remote: remote.0 },
        4..7 => Selector { local: local.1, remote: remote.1 },
        _ => Selector { local: local.2, remote: remote.2 },
    })
}

/// A flow at or near the edges of some entry of the policies, so that it often matches.
fn near(selectors: &[Selector], which: Choice, edge: [bool; 4], other: &Flow, keep: [bool; 4]) -> Flow {
    let chosen = &selectors[which.index(selectors.len())];
    let pick = |side: &[TrafficSelector]| side.get(which.index(side.len().max(1))).copied();
    let (Some(local), Some(remote)) = (pick(&chosen.local), pick(&chosen.remote)) else { return *other };
    let end = |range: AddrRange, first: bool| if first { range.start() } else { range.end() };
    let port = |range: PortRange, first: bool| if first { range.start } else { range.end };
    let mut flow = *other;
    if keep[0] {
        flow.local = end(local.addresses, edge[0]);
    }
    if keep[1] {
        flow.remote = end(remote.addresses, edge[1]);
    }
    if keep[2] {
        flow.protocol = local.protocol.max(remote.protocol);
    }
    if keep[3] {
        flow.ports = Ports::Pair { local: port(local.ports, edge[2]), remote: port(remote.ports, edge[3]) };
    }
    flow
}

fn any_flow() -> impl Strategy<Value = Flow> {
    let port = || prop_oneof![Just(0u16), Just(1), Just(80), Just(65535), any::<u16>()];
    let ports = prop_oneof![
        4 => (port(), port()).prop_map(|(local, remote)| Ports::Pair { local, remote }),
        1 => any::<(u8, u8)>().prop_map(|(kind, code)| Ports::Icmp { kind, code }),
        1 => any::<u8>().prop_map(|kind| Ports::Mobility { kind }),
        1 => Just(Ports::Opaque),
        1 => Just(Ports::None),
    ];
    let protocol = prop_oneof![4 => Just(6u8), 1 => Just(17), 1 => Just(1), 1 => Just(135), 1 => Just(50)];
    let address = || any::<bool>().prop_flat_map(any_address);
    (any::<bool>(), address(), address(), protocol, ports).prop_map(|(out, local, remote, protocol, ports)| Flow {
        direction: if out { Direction::Outbound } else { Direction::Inbound },
        local,
        remote,
        protocol,
        ports,
    })
}

proptest! {
    // The index against its specification, on everything the types admit, sensible or not.
    #[test]
    fn the_index_finds_what_the_ordered_scan_finds(
        selectors in prop::collection::vec(any_selector(), 1..40),
        flows in prop::collection::vec((any::<Choice>(), any::<[bool; 4]>(), any_flow(), any::<[bool; 4]>()), 60),
    ) {
        let policies = policies(selectors.clone());
        for (which, edge, other, keep) in flows {
            for flow in [near(&selectors, which, edge, &other, keep), near(&selectors, which, edge, &other, [true; 4])] {
                let (found, expected) = (policies.find(&flow), policies.scan(&flow));
                prop_assert_eq!(found.map(|p| &p.name), expected.map(|p| &p.name), "{:?}", flow);
            }
        }
    }
}

/// How much a look-up asks: edges tried and candidates confirmed.
fn cost(index: &Index, selectors: &[Selector], flow: &Flow) -> usize {
    let asked = Cell::new(0);
    let count = |n: usize| {
        asked.set(asked.get() + 1);
        selectors[n].contains(flow)
    };
    let found = index.first(flow, count);
    assert_eq!(found, selectors.iter().position(|s| s.contains(flow)));
    let edges = index.nodes.iter().map(|node| match node {
        Node::Field { edges: (start, end), .. } => end - start,
        Node::Leaf { .. } => 0,
    });
    asked.get() + edges.max().unwrap_or(0) as usize * FIELDS
}

fn tcp(local: IpAddr, remote: IpAddr, port: u16) -> Flow {
    let ports = Ports::Pair { local: 40000, remote: port };
    Flow { direction: Direction::Outbound, local, remote, protocol: 6, ports }
}

/// Shapes that gateways have, and some that only a test has: how they look, and a flow for the n-th.
type Shape = (&'static str, fn(u32) -> Selector, fn(u32) -> Flow);

fn v4(bits: u32) -> IpAddr {
    Ipv4Addr::from_bits(bits).into()
}

fn scattered(n: u32) -> u32 {
    n.wrapping_mul(0x9e37_79b1)
}

const LOCAL: &str = "10.0.0.0/16";
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 1, 1));

const SHAPES: [Shape; 6] = [
    ("a host each", |n| selector(LOCAL, &v4(0x0b00_0000 + n).to_string()), |n| tcp(HERE, v4(0x0b00_0000 + n), 80)),
    ("a port each", |n| selector(LOCAL, &format!("11.0.0.0/8[tcp/{n}]")), |n| tcp(HERE, v4(0x0b01_0203), n as u16)),
    (
        "a range of ports each",
        |n| selector(LOCAL, &format!("11.0.0.0/8[tcp/{}-{}]", n * 6, n * 6 + 4)),
        |n| tcp(HERE, v4(0x0b01_0203), (n * 6 + 3) as u16),
    ),
    (
        "a range of addresses each",
        |n| selector(LOCAL, &format!("{}-{}", v4(0x0b00_0003 + n * 100), v4(0x0b00_0003 + n * 100 + 70))),
        |n| tcp(HERE, v4(0x0b00_0003 + n * 100 + 69), 80),
    ),
    (
        "scattered networks of every length",
        |n| {
            let net = |bits: u32, len: u32| AddrRange::prefix(v4(bits), len as u8).unwrap().into();
            Selector { local: vec![net(scattered(n + 7), 12 + n % 17)], remote: vec![net(scattered(n), 10 + n % 23)] }
        },
        |n| tcp(v4(scattered(n + 7)), v4(scattered(n)), 80),
    ),
    (
        "one side tells apart, either",
        |n| {
            let host = v4(0x0b00_0000 + n).to_string();
            if n % 2 == 0 { selector(&host, "0.0.0.0/0") } else { selector("0.0.0.0/0", &host) }
        },
        |n| {
            let (host, far) = (v4(0x0b00_0000 + n), v4(0x0c00_0000));
            if n % 2 == 0 { tcp(host, far, 80) } else { tcp(far, host, 80) }
        },
    ),
];

#[test]
fn a_look_up_asks_no_more_of_ten_thousand_policies_than_of_a_hundred() {
    for (name, selector, flow) in SHAPES {
        let worst = |count: u32| {
            let selectors: Vec<Selector> = (0..count).map(selector).collect();
            let index = Index::new(selectors.iter(), Grain::Ports);
            let flows = (0..count + 50).step_by(count as usize / 50).map(flow);
            flows.map(|flow| cost(&index, &selectors, &flow)).max().unwrap()
        };
        let (few, many) = (worst(100), worst(10_000));
        assert!(many <= 2 * few.max(20), "{name}: {few} at 100, {many} at 10,000");
    }
}

#[test]
fn long_lists_on_both_sides_do_not_multiply() {
    let list = |net: u32| (0..200).map(|n| AddrRange::host(v4(net + n * 2)).into()).collect::<Vec<TrafficSelector>>();
    let wide = Selector { local: list(0x0a00_0000), remote: list(0x0b00_0000) };
    let selectors = vec![wide; 10];
    let index = Index::new(selectors.iter(), Grain::Ports);
    assert!(index.leaves.len() <= 10 * 200, "{} places", index.leaves.len());
    for (local, remote) in [(0, 0), (2, 398), (3, 4), (4, 3)] {
        cost(&index, &selectors, &tcp(v4(0x0a00_0000 + local), v4(0x0b00_0000 + remote), 80));
    }
}
