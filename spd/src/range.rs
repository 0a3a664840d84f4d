//! Inclusive address ranges of one family (RFC 4301 §4.4.1.1, "Local IP Address" and "Remote IP Address").

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// All addresses from `start` to `end`, both included, of one family. Never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddrRange {
    // Same family, start <= end.
    start: IpAddr,
    end: IpAddr,
}

impl AddrRange {
    /// Every IPv4 address.
    pub const ANY_V4: Self = Self { start: IpAddr::V4(Ipv4Addr::UNSPECIFIED), end: IpAddr::V4(Ipv4Addr::BROADCAST) };

    /// Every IPv6 address.
    pub const ANY_V6: Self =
        Self { start: IpAddr::V6(Ipv6Addr::UNSPECIFIED), end: IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)) };

    /// From `start` to `end`; `None` if the families differ or `end` precedes `start`.
    pub fn new(start: IpAddr, end: IpAddr) -> Option<Self> {
        (start.is_ipv4() == end.is_ipv4() && start <= end).then_some(Self { start, end })
    }

    /// One address.
    pub fn host(address: IpAddr) -> Self {
        Self { start: address, end: address }
    }

    /// The network of `address` with `len` leading bits; bits of `address` behind them are ignored. `None` if `len`
    /// exceeds the family's width.
    pub fn prefix(address: IpAddr, len: u8) -> Option<Self> {
        let hosts = host_mask(address, len)?;
        let bits = to_bits(address);
        Some(Self { start: from_bits(bits & !hosts, address), end: from_bits(bits | hosts, address) })
    }

    /// First address.
    pub fn start(&self) -> IpAddr {
        self.start
    }

    /// Last address.
    pub fn end(&self) -> IpAddr {
        self.end
    }

    /// Whether this is an IPv4 range.
    pub fn is_ipv4(&self) -> bool {
        self.start.is_ipv4()
    }

    /// Whether the range is one address.
    pub fn is_host(&self) -> bool {
        self.start == self.end
    }

    /// Whether `address` lies within.
    #[inline]
    pub fn contains(&self, address: IpAddr) -> bool {
        // What comparing `IpAddr`s would say, but in two instructions: every packet asks this.
        match (self.start, self.end, address) {
            (IpAddr::V4(start), IpAddr::V4(end), IpAddr::V4(address)) => {
                (start.to_bits()..=end.to_bits()).contains(&address.to_bits())
            }
            (IpAddr::V6(start), IpAddr::V6(end), IpAddr::V6(address)) => {
                (start.to_bits()..=end.to_bits()).contains(&address.to_bits())
            }
            _ => false,
        }
    }

    /// Whether all of `other` lies within.
    pub fn contains_range(&self, other: &Self) -> bool {
        self.contains(other.start) && self.contains(other.end)
    }

    /// What both have in common; `None` if nothing.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        Self::new(self.start.max(other.start), self.end.min(other.end))
    }

    /// How many leading bits all addresses have in common: the length of the smallest network around the range.
    pub fn common_prefix_len(&self) -> u8 {
        let differing = to_bits(self.start) ^ to_bits(self.end);
        (differing.leading_zeros() - unused_bits(self.start)) as u8
    }

    /// The prefix length, if the range is exactly one network.
    pub fn prefix_len(&self) -> Option<u8> {
        let len = self.common_prefix_len();
        (Self::prefix(self.start, len)? == *self).then_some(len)
    }
}

fn unused_bits(family: IpAddr) -> u32 {
    if family.is_ipv4() { 96 } else { 0 }
}

fn to_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// `bits` as an address of the family of `family`.
fn from_bits(bits: u128, family: IpAddr) -> IpAddr {
    match family {
        IpAddr::V4(_) => Ipv4Addr::from_bits(bits as u32).into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(bits).into(),
    }
}

/// Ones where a network of `len` bits leaves room for hosts.
fn host_mask(family: IpAddr, len: u8) -> Option<u128> {
    let width = 128 - unused_bits(family);
    let hosts = width.checked_sub(u32::from(len))?;
    Some(u128::MAX.checked_shr(128 - hosts).unwrap_or(0))
}

impl From<IpAddr> for AddrRange {
    fn from(address: IpAddr) -> Self {
        Self::host(address)
    }
}

/// `10.0.0.1` for one address, `10.0.0.0/24` for a network, else `10.0.0.1-10.0.0.9`.
impl fmt::Display for AddrRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_host() {
            return write!(f, "{}", self.start);
        }
        match self.prefix_len() {
            Some(len) => write!(f, "{}/{len}", self.start),
            None => write!(f, "{}-{}", self.start, self.end),
        }
    }
}

/// Why a text is not an [`AddrRange`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParseAddrRangeError {
    /// Not an IP address.
    Address,
    /// Not a prefix length of the address's family.
    PrefixLength,
    /// The address has bits set behind the prefix: likely a typing error, so it is not silently widened.
    HostBits,
    /// The last address precedes the first or is of the other family.
    Reversed,
}

impl fmt::Display for ParseAddrRangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "not an IP address",
            Self::PrefixLength => "prefix length is not a number from 0 to 32 (IPv4) or 128 (IPv6)",
            Self::HostBits => "the address has bits set behind its prefix length",
            Self::Reversed => "the range ends before it starts, or in the other address family",
        })
    }
}

impl std::error::Error for ParseAddrRangeError {}

/// What [`Display`](fmt::Display) writes; also `first..last`.
impl FromStr for AddrRange {
    type Err = ParseAddrRangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = |s: &str| s.trim().parse::<IpAddr>().map_err(|_| ParseAddrRangeError::Address);
        if let Some((network, len)) = text.split_once('/') {
            let network = address(network)?;
            let range =
                parse_len(len).and_then(|len| Self::prefix(network, len)).ok_or(ParseAddrRangeError::PrefixLength)?;
            return if range.start == network { Ok(range) } else { Err(ParseAddrRangeError::HostBits) };
        }
        match text.split_once("..").or_else(|| text.split_once('-')) {
            Some((start, end)) => Self::new(address(start)?, address(end)?).ok_or(ParseAddrRangeError::Reversed),
            None => address(text).map(Self::host),
        }
    }
}

/// A prefix length in plain digits; `u8::from_str` would also take a sign.
fn parse_len(text: &str) -> Option<u8> {
    let text = text.trim();
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(text: &str) -> AddrRange {
        text.parse().unwrap()
    }

    #[test]
    fn writes_the_shortest_form() {
        for text in ["10.0.0.0/24", "10.0.0.1-10.0.0.9", "10.0.0.1", "0.0.0.0/0", "::/0", "2001:db8::/32", "::1"] {
            assert_eq!(range(text).to_string(), text);
        }
        assert_eq!(range("10.0.0.0-10.0.0.255").to_string(), "10.0.0.0/24");
        assert_eq!(range("10.0.0.0..10.0.0.2").to_string(), "10.0.0.0-10.0.0.2");
        assert_eq!(range("10.0.0.7/32").to_string(), "10.0.0.7");
        assert_eq!(range("0.0.0.0/0"), AddrRange::ANY_V4);
        assert_eq!(range("::/0"), AddrRange::ANY_V6);
    }

    #[test]
    fn names_the_mistake() {
        use ParseAddrRangeError::*;
        let cases = [
            ("10.0.0", Address),
            ("", Address),
            ("10.0.0.0/33", PrefixLength),
            ("10.0.0.0/+8", PrefixLength),
            ("10.0.0.0/", PrefixLength),
            ("::/129", PrefixLength),
            ("10.0.0.1/24", HostBits),
            ("10.0.0.2-10.0.0.1", Reversed),
            ("10.0.0.2-::1", Reversed),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<AddrRange>(), Err(error), "{text}");
        }
    }

    #[test]
    fn families_never_mix() {
        assert!(!AddrRange::ANY_V6.contains("10.0.0.1".parse().unwrap()));
        assert!(!AddrRange::ANY_V4.contains("::10.0.0.1".parse().unwrap()));
        assert!(!AddrRange::ANY_V4.contains("::ffff:10.0.0.1".parse().unwrap()));
        assert_eq!(AddrRange::ANY_V6.intersect(&AddrRange::ANY_V4), None);
    }

    fn any_range() -> impl Strategy<Value = AddrRange> {
        let v4 = (any::<u32>(), any::<u32>()).prop_map(|(a, b)| (a.min(b), a.max(b)));
        let v6 = (any::<u128>(), any::<u128>()).prop_map(|(a, b)| (a.min(b), a.max(b)));
        prop_oneof![
            v4.prop_map(|(a, b)| AddrRange::new(Ipv4Addr::from(a).into(), Ipv4Addr::from(b).into()).unwrap()),
            v6.prop_map(|(a, b)| AddrRange::new(Ipv6Addr::from(a).into(), Ipv6Addr::from(b).into()).unwrap()),
            (any::<u32>(), 0u8..=32).prop_map(|(a, n)| AddrRange::prefix(Ipv4Addr::from(a).into(), n).unwrap()),
            (any::<u128>(), 0u8..=128).prop_map(|(a, n)| AddrRange::prefix(Ipv6Addr::from(a).into(), n).unwrap()),
        ]
    }

    proptest! {
        #[test]
        fn display_and_parse_are_inverse(r in any_range()) {
            prop_assert_eq!(r.to_string().parse(), Ok(r));
        }

        #[test]
        fn a_prefix_is_the_addresses_that_share_its_leading_bits(a: u32, b: u32, len in 0u8..=32) {
            let shares = (0..u32::from(len)).all(|i| (a >> (31 - i)) & 1 == (b >> (31 - i)) & 1);
            let r = AddrRange::prefix(Ipv4Addr::from(a).into(), len).unwrap();
            prop_assert_eq!(r.contains(Ipv4Addr::from(b).into()), shares);
            prop_assert_eq!(r.prefix_len(), Some(len));
        }

        // Small numbers make every kind of overlap likely; the oracle is the set of members.
        #[test]
        fn intersection_is_that_of_the_sets(a in 0u8..20, b in 0u8..20, c in 0u8..20, d in 0u8..20) {
            let ip = |n: u8| IpAddr::from([10, 0, 0, n]);
            let (x, y) = (AddrRange::new(ip(a), ip(b)), AddrRange::new(ip(c), ip(d)));
            prop_assert_eq!(x.is_some(), a <= b);
            let (Some(x), Some(y)) = (x, y) else { return Ok(()) };
            let both = x.intersect(&y);
            for n in 0..20 {
                let expected = (a..=b).contains(&n) && (c..=d).contains(&n);
                prop_assert_eq!(both.is_some_and(|r| r.contains(ip(n))), expected);
            }
            prop_assert_eq!(x.contains_range(&y), both == Some(y));
        }
    }
}
