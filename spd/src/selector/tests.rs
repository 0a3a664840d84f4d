use proptest::prelude::*;

use super::*;
use crate::AddrRange;
use crate::traffic_selector::tests::any_selector;

pub(crate) fn selector(local: &str, remote: &str) -> Selector {
    let list = |text: &str| text.split(' ').map(|ts| ts.parse().unwrap()).collect();
    Selector { local: list(local), remote: list(remote) }
}

fn flow(direction: Direction, protocol: u8, ports: Ports) -> Flow {
    Flow { direction, local: [10, 0, 0, 1].into(), remote: [10, 0, 0, 2].into(), protocol, ports }
}

#[test]
fn sides_do_not_swap() {
    let s = selector("10.0.0.1[tcp]", "10.0.0.2[tcp/80]");
    let to = |local, remote| flow(Direction::Outbound, 6, Ports::Pair { local, remote });
    assert!(s.contains(&to(40000, 80)));
    assert!(!s.contains(&to(80, 40000)));
    assert!(s.contains(&Flow { direction: Direction::Inbound, ..to(40000, 80) }));
    assert!(!s.contains(&Flow { local: [10, 0, 0, 2].into(), remote: [10, 0, 0, 1].into(), ..to(40000, 80) }));
}

#[test]
fn hidden_ports_match_any_and_opaque_only() {
    let fragment = flow(Direction::Outbound, 17, Ports::Opaque);
    assert!(selector("0.0.0.0/0", "0.0.0.0/0").contains(&fragment));
    assert!(selector("0.0.0.0/0[udp/opaque]", "0.0.0.0/0[udp]").contains(&fragment));
    assert!(!selector("0.0.0.0/0[udp/53]", "0.0.0.0/0[udp]").contains(&fragment));
    assert!(!selector("0.0.0.0/0[udp]", "0.0.0.0/0[udp/1-65535]").contains(&fragment));
    let first = flow(Direction::Outbound, 17, Ports::Pair { local: 53, remote: 53 });
    assert!(!selector("0.0.0.0/0[udp/opaque]", "0.0.0.0/0[udp]").contains(&first));
}

#[test]
fn icmp_type_is_the_senders() {
    // The example of RFC 4301 §4.4.1.3: those behind us may send traceroute (30), nobody may send it to them.
    let s = selector("0.0.0.0/0[icmp/30]", "0.0.0.0/0[icmp/opaque]");
    let traceroute = |direction| flow(direction, 1, Ports::Icmp { kind: 30, code: 0 });
    assert!(s.contains(&traceroute(Direction::Outbound)));
    assert!(!s.contains(&traceroute(Direction::Inbound)));
    let mirrored = Selector { local: s.remote, remote: s.local };
    assert!(!mirrored.contains(&traceroute(Direction::Outbound)));
    assert!(mirrored.contains(&traceroute(Direction::Inbound)));

    let ping = selector("0.0.0.0/0[icmp/8]", "0.0.0.0/0[icmp/0]");
    assert!(ping.contains(&flow(Direction::Outbound, 1, Ports::Icmp { kind: 8, code: 0 })));
    assert!(ping.contains(&flow(Direction::Inbound, 1, Ports::Icmp { kind: 0, code: 0 })));
    assert!(!ping.contains(&flow(Direction::Inbound, 1, Ports::Icmp { kind: 8, code: 0 })));
}

#[test]
fn narrowing_drops_what_is_covered_and_keeps_the_order() {
    let list = |text: &str| -> Vec<TrafficSelector> { text.split(' ').map(|ts| ts.parse().unwrap()).collect() };
    assert_eq!(
        narrow(&list("10.0.0.1[tcp/80] 10.0.0.0/8 ::/0"), &list("10.0.0.0/24 2001:db8::/32")),
        list("10.0.0.0/24 2001:db8::/32")
    );
    assert_eq!(narrow(&list("::/0 0.0.0.0/0"), &list("10.0.0.0/24 ::1")), list("::1 10.0.0.0/24"));
    assert_eq!(narrow(&list("10.0.0.0/24"), &list("10.0.1.0/24")), []);
    assert_eq!(narrow(&[], &list("10.0.1.0/24")), []);
    assert_eq!(selector("10.0.0.1", "::/0").intersect(&selector("10.0.0.1", "0.0.0.0/0")), None);
}

#[test]
fn a_flow_is_within_its_own_selectors() {
    let all = [
        flow(Direction::Outbound, 6, Ports::Pair { local: 1, remote: 2 }),
        flow(Direction::Inbound, 1, Ports::Icmp { kind: 3, code: 4 }),
        flow(Direction::Outbound, 135, Ports::Mobility { kind: 5 }),
        flow(Direction::Outbound, 17, Ports::Opaque),
        flow(Direction::Outbound, 50, Ports::None),
    ];
    for f in all {
        let (local, remote) = f.selectors();
        assert!(Selector { local: vec![local], remote: vec![remote] }.contains(&f), "{f:?}");
    }
}

/// The definition of RFC 4301 §4.4.1.1 and §4.4.1.3, one question after the other.
fn oracle(s: &Selector, f: &Flow) -> bool {
    let side = |list: &[TrafficSelector], ours: bool| {
        let address = if ours { f.local } else { f.remote };
        let sends = ours == (f.direction == Direction::Outbound);
        let visible = match f.ports {
            Ports::Pair { local, remote } => Some(if ours { local } else { remote }),
            Ports::Icmp { kind, code } => Some(u16::from(kind) * 256 + u16::from(code)),
            Ports::Mobility { kind } => Some(u16::from(kind) * 256),
            Ports::Opaque | Ports::None => None,
        };
        let one_for_both = matches!(f.ports, Ports::Icmp { .. } | Ports::Mobility { .. });
        list.iter().any(|ts| {
            let range = (ts.ports.start, ts.ports.end);
            let port = match visible {
                _ if one_for_both && !sends => true,
                Some(port) => range.0 <= port && port <= range.1,
                None => range == (0, 65535) || range == (65535, 0),
            };
            let (start, end) = (ts.addresses.start(), ts.addresses.end());
            let family = start.is_ipv4() == address.is_ipv4();
            family && start <= address && address <= end && (ts.protocol == 0 || ts.protocol == f.protocol) && port
        })
    };
    side(&s.local, true) && side(&s.remote, false)
}

pub(crate) fn any_flow() -> impl Strategy<Value = Flow> {
    let direction = prop_oneof![Just(Direction::Outbound), Just(Direction::Inbound)];
    let port = prop_oneof![Just(0u16), Just(1), Just(80), Just(65534), Just(65535), any::<u16>()];
    let upper = prop_oneof![
        (prop_oneof![Just(6u8), Just(17)], port.clone(), port)
            .prop_map(|(protocol, local, remote)| (protocol, Ports::Pair { local, remote })),
        any::<(u8, u8)>().prop_map(|(kind, code)| (1, Ports::Icmp { kind, code })),
        any::<u8>().prop_map(|kind| (135, Ports::Mobility { kind })),
        prop_oneof![Just(1u8), Just(6), Just(17), Just(50)].prop_map(|protocol| (protocol, Ports::Opaque)),
        Just((50, Ports::None)),
    ];
    (direction, 0u8..9, 0u8..9, upper).prop_map(|(direction, local, remote, (protocol, ports))| Flow {
        direction,
        local: [10, 0, 0, local].into(),
        remote: [10, 0, 0, remote].into(),
        protocol,
        ports,
    })
}

pub(crate) fn any_pair() -> impl Strategy<Value = Selector> {
    let side = || prop::collection::vec(any_selector(), 1..4);
    (side(), side()).prop_map(|(local, remote)| Selector { local, remote })
}

fn any_side() -> impl Strategy<Value = Vec<TrafficSelector>> {
    prop::collection::vec(any_selector(), 0..5)
}

fn sorted(mut side: Vec<TrafficSelector>) -> Vec<TrafficSelector> {
    side.sort_unstable();
    side
}

/// Values of a packet, one side: inside and outside of everything that `any_selector` makes.
fn universe() -> impl Iterator<Item = (IpAddr, u8, Seen)> {
    let v4 = (0u8..9).map(|n| IpAddr::from([10, 0, 0, n]));
    let addresses = v4.chain([IpAddr::from([0; 4]), IpAddr::from([0; 16])]);
    let ports = [0, 1, 2, 79, 80, 81, 1000, 65533, 65534, 65535].map(Seen::Port);
    let seen = ports.into_iter().chain([Seen::Opaque]);
    addresses.flat_map(move |address| {
        let seen = seen.clone();
        [1, 2, 6, 17, 50, 135].into_iter().flat_map(move |protocol| seen.clone().map(move |s| (address, protocol, s)))
    })
}

proptest! {
    #[test]
    fn contains_agrees_with_the_definition(s in any_pair(), f in any_flow()) {
        prop_assert_eq!(s.contains(&f), oracle(&s, &f));
    }

    // Narrowing admits nothing that one side does not, and loses nothing that both allow; ICMP and Mobility Headers
    // excepted, of which it may lose what one side only sends and the other only receives.
    #[test]
    fn the_intersection_selects_what_both_select(
        a in any_pair(), b in any_pair(), flows in prop::collection::vec(any_flow(), 32)
    ) {
        let both = a.intersect(&b);
        for f in flows {
            let (common, each) = (both.as_ref().is_some_and(|s| s.contains(&f)), a.contains(&f) && b.contains(&f));
            let one_for_both = matches!(f.ports, Ports::Icmp { .. } | Ports::Mobility { .. });
            prop_assert!(common == each || (one_for_both && each), "{:?}", f);
        }
    }

    // The laws of narrowing (RFC 7296 §2.9), each side for itself. A selector is the set of what it matches, so the
    // universe is every address, protocol and port near an edge of one.
    #[test]
    fn narrowing_is_the_intersection_of_the_sets(a in any_side(), b in any_side()) {
        let both = narrow(&a, &b);
        for (address, protocol, seen) in universe() {
            let matches_some = |side: &[TrafficSelector]| side.iter().any(|ts| matches(ts, address, protocol, seen));
            let expected = matches_some(&a) && matches_some(&b);
            prop_assert_eq!(matches_some(&both), expected, "{} protocol {}", address, protocol);
        }
    }

    #[test]
    fn narrowing_stays_within_both(a in any_side(), b in any_side()) {
        for ts in narrow(&a, &b) {
            prop_assert!(a.iter().any(|outer| outer.contains(&ts)) && b.iter().any(|outer| outer.contains(&ts)));
        }
    }

    #[test]
    fn who_narrows_does_not_matter(a in any_side(), b in any_side(), c in any_side()) {
        prop_assert_eq!(sorted(narrow(&a, &b)), sorted(narrow(&b, &a)));
        prop_assert_eq!(sorted(narrow(&narrow(&a, &b), &c)), sorted(narrow(&a, &narrow(&b, &c))));
    }

    #[test]
    fn what_is_narrow_stays_as_it_is(a in any_side(), b in any_side()) {
        let both = narrow(&a, &b);
        prop_assert_eq!(&narrow(&both, &both), &both);
        prop_assert_eq!(&narrow(&both, &a), &both);
        prop_assert_eq!(&narrow(&both, &b), &both);
        let everything = [AddrRange::ANY_V4, AddrRange::ANY_V6].map(TrafficSelector::any);
        prop_assert_eq!(&narrow(&both, &everything), &both, "a peer that allows all changes nothing");
    }

    #[test]
    fn a_packet_in_common_is_never_lost(a in any_side(), b in any_side(), f in any_flow()) {
        let (own, _) = f.selectors();
        let selects = |side: &[TrafficSelector]| side.iter().any(|ts| ts.contains(&own));
        let both = narrow(&a, &b);
        prop_assert!(!(selects(&a) && selects(&b)) || selects(&both));
    }

    #[test]
    fn nothing_narrowed_covers_another(a in any_pair(), b in any_pair()) {
        let common = narrow(&a.local, &b.local);
        for (i, x) in common.iter().enumerate() {
            prop_assert!(common.iter().enumerate().all(|(j, y)| i == j || !x.contains(y)));
        }
    }
}
