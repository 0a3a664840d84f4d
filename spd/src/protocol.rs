//! Names of IP protocols, as the IANA registry and `/etc/protocols` write them.

pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const DCCP: u8 = 33;
pub(crate) const FRAGMENT: u8 = 44;
pub(crate) const ICMPV6: u8 = 58;
pub(crate) const SCTP: u8 = 132;
pub(crate) const MOBILITY: u8 = 135;
pub(crate) const UDP_LITE: u8 = 136;

/// Number and name; the first name of a number is the one written.
const NAMES: &[(u8, &str)] = &[
    (ICMP, "icmp"),
    (2, "igmp"),
    (4, "ipencap"),
    (TCP, "tcp"),
    (UDP, "udp"),
    (DCCP, "dccp"),
    (41, "ipv6"),
    (47, "gre"),
    (50, "esp"),
    (51, "ah"),
    (ICMPV6, "ipv6-icmp"),
    (ICMPV6, "icmpv6"),
    (89, "ospf"),
    (SCTP, "sctp"),
    (MOBILITY, "mobility-header"),
    (UDP_LITE, "udplite"),
    (0, "any"),
];

pub(crate) fn name(protocol: u8) -> Option<&'static str> {
    NAMES.iter().find(|(number, _)| *number == protocol).map(|(_, name)| *name)
}

pub(crate) fn from_name(text: &str) -> Option<u8> {
    NAMES.iter().find(|(_, name)| name.eq_ignore_ascii_case(text)).map(|(number, _)| *number)
}

/// Whether the range of a selector carries type and code instead of ports.
pub(crate) fn is_icmp(protocol: u8) -> bool {
    matches!(protocol, ICMP | ICMPV6)
}

/// Whether packets of this protocol have a source and a destination port.
#[inline]
pub(crate) fn has_ports(protocol: u8) -> bool {
    matches!(protocol, TCP | UDP | DCCP | SCTP | UDP_LITE)
}

/// Whether this is an IPv6 header in front of the next layer's (RFC 4301 §4.4.1.1): hop-by-hop options, routing,
/// fragment, destination options. ESP and AH are next layer protocols here.
#[inline]
pub(crate) fn is_extension_header(protocol: u8) -> bool {
    matches!(protocol, 0 | 43 | FRAGMENT | 60)
}
