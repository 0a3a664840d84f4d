use proptest::prelude::*;

use super::*;

fn ts(text: &str) -> TrafficSelector {
    text.parse().unwrap()
}

#[test]
fn reads_and_writes_as_strongswan() {
    let cases = [
        ("10.0.0.0/24", 0, PortRange::ANY),
        ("10.0.0.1/32[tcp/80]", 6, PortRange::single(80)),
        ("10.0.0.1..10.0.0.9[udp/1000-2000]", 17, PortRange { start: 1000, end: 2000 }),
        ("::/0[ipv6-icmp/128]", 58, PortRange::single(0x8000)),
        ("0.0.0.0/0[icmp/3(1)-3(4)]", 1, PortRange { start: 0x0301, end: 0x0304 }),
        ("::/0[udp/OPAQUE]", 17, PortRange::OPAQUE),
        ("::/0[200]", 200, PortRange::ANY),
        ("::/0[0/OPAQUE]", 0, PortRange::OPAQUE),
    ];
    for (text, protocol, ports) in cases {
        assert_eq!((ts(text).protocol, ts(text).ports), (protocol, ports), "{text}");
        assert_eq!(ts(text).to_string(), text);
    }
}

#[test]
fn accepts_other_spellings() {
    assert_eq!(ts("10.0.0.1"), ts("10.0.0.1/32"));
    assert_eq!(ts("10.0.0.1-10.0.0.9[17/1000-2000]"), ts("10.0.0.1..10.0.0.9[udp/1000-2000]"));
    assert_eq!(ts("::/0[icmpv6/32769]"), ts("::/0[ipv6-icmp/128(1)]"));
    assert_eq!(ts("::/0[tcp/any]"), ts("::/0[TCP]"));
    assert_eq!(ts("::/0[tcp/0-65535]"), ts("::/0[TCP]"));
    assert_eq!(ts("::/0[any]"), ts("::/0"));
}

#[test]
fn names_the_mistake() {
    use ParseTrafficSelectorError::*;
    let cases = [
        ("10.0.0.1/24", Addresses(ParseAddrRangeError::HostBits)),
        ("10.0.0.0/24[tcp", Bracket),
        ("10.0.0.0/24[tcp]x", Bracket),
        ("10.0.0.0/24[]", Protocol),
        ("10.0.0.0/24[tpc]", Protocol),
        ("10.0.0.0/24[256]", Protocol),
        ("10.0.0.0/24[tcp/]", Ports),
        ("10.0.0.0/24[tcp/+1]", Ports),
        ("10.0.0.0/24[tcp/65536]", Ports),
        ("10.0.0.0/24[tcp/2-1]", Ports),
        ("10.0.0.0/24[icmp/3(256)]", Ports),
        ("10.0.0.0/24[icmp/3(1]", Ports),
        ("10.0.0.0/24[0/80]", PortsWithoutProtocol),
    ];
    for (text, error) in cases {
        assert_eq!(text.parse::<TrafficSelector>(), Err(error), "{text}");
    }
}

/// Selectors that often overlap: eight addresses, few protocols, ports near the special values.
pub(crate) fn any_selector() -> impl Strategy<Value = TrafficSelector> {
    let addresses = (0u8..8, 0u8..8)
        .prop_map(|(a, b)| AddrRange::new([10, 0, 0, a.min(b)].into(), [10, 0, 0, a.max(b)].into()).unwrap());
    let addresses = prop_oneof![8 => addresses, 1 => Just(AddrRange::ANY_V4), 1 => Just(AddrRange::ANY_V6)];
    let protocol = prop_oneof![Just(0u8), Just(1), Just(6), Just(17), Just(50), Just(135)];
    (addresses, protocol, crate::ports::tests::any_ports())
        .prop_map(|(addresses, protocol, ports)| TrafficSelector { addresses, protocol, ports })
        .prop_filter("ports need a protocol", |ts| ts.protocol != 0 || ts.ports.contains_opaque())
}

proptest! {
    #[test]
    fn display_and_parse_are_inverse(ts in any_selector()) {
        prop_assert_eq!(ts.to_string().parse(), Ok(ts));
    }

    #[test]
    fn parsing_never_panics(text in "[0-9a-f:./\\[\\]()tcpuany+ -]{0,40}") {
        let _ = text.parse::<TrafficSelector>();
    }

    #[test]
    fn containing_is_intersecting_to_the_contained(a in any_selector(), b in any_selector()) {
        prop_assert_eq!(a.contains(&b), a.intersect(&b) == Some(b));
        prop_assert_eq!(a.intersect(&b), b.intersect(&a));
    }
}
