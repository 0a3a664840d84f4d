//! Ranges as prefixes, which is all that routes know.

use std::fmt;
use std::net::IpAddr;

use cygnet_spd::AddrRange;

/// A destination of routes: first address and prefix length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    /// First address.
    pub address: IpAddr,
    /// How many leading bits count.
    pub len: u8,
}

impl Prefix {
    /// The prefixes that contain this one, itself first, the widest last.
    pub fn ancestors(self) -> impl Iterator<Item = Self> {
        (0..=self.len).rev().map(move |len| Self { address: masked(self.address, len), len })
    }

    /// All its addresses.
    pub fn range(self) -> Option<AddrRange> {
        AddrRange::prefix(self.address, self.len)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.len)
    }
}

/// The leading `len` bits of an address.
fn masked(address: IpAddr, len: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(len.min(32))).unwrap_or(0);
            IpAddr::V4((u32::from(v4) & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(len.min(128))).unwrap_or(0);
            IpAddr::V6((u128::from(v6) & mask).into())
        }
    }
}

/// The fewest prefixes that make up `range`.
pub fn prefixes(range: &AddrRange) -> Vec<Prefix> {
    let (bits, start, end) = match (range.start(), range.end()) {
        (IpAddr::V4(start), IpAddr::V4(end)) => (32, u128::from(u32::from(start)), u128::from(u32::from(end))),
        (IpAddr::V6(start), IpAddr::V6(end)) => (128, u128::from(start), u128::from(end)),
        _ => return Vec::new(),
    };
    let address = |value: u128| match bits {
        32 => IpAddr::from((value as u32).to_be_bytes()),
        _ => IpAddr::from(value.to_be_bytes()),
    };
    let mut all = Vec::new();
    let mut next = start;
    loop {
        // The largest block that begins at `next` and does not reach beyond `end`.
        let mut host = next.trailing_zeros().min(bits);
        while host > 0 && last_of(next, host) > end {
            host -= 1;
        }
        all.push(Prefix { address: address(next), len: (bits - host) as u8 });
        match last_of(next, host).checked_add(1) {
            Some(following) if following <= end => next = following,
            _ => return all,
        }
    }
}

/// The last address of a block of `host` bits.
fn last_of(start: u128, host: u32) -> u128 {
    start | u128::MAX.checked_shr(128 - host).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(range: &str) -> Vec<String> {
        prefixes(&range.parse().expect("a range")).iter().map(Prefix::to_string).collect()
    }

    #[test]
    fn a_range_becomes_the_fewest_prefixes() {
        assert_eq!(split("10.0.0.0/8"), ["10.0.0.0/8"]);
        assert_eq!(split("0.0.0.0-255.255.255.255"), ["0.0.0.0/0"]);
        assert_eq!(split("::/0"), ["::/0"]);
        assert_eq!(split("10.0.0.1-10.0.0.6"), ["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/31", "10.0.0.6/32"]);
        assert_eq!(split("255.255.255.254-255.255.255.255"), ["255.255.255.254/31"]);
        assert_eq!(split("2001:db8::-2001:db8::1:ffff"), ["2001:db8::/111"]);
        assert_eq!(split("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), ["ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"]);
    }

    #[test]
    fn ancestors_go_from_itself_to_everything() {
        let of = |text: &str| prefixes(&text.parse().expect("a range"))[0].ancestors().map(|p| p.to_string());
        assert_eq!(of("192.0.0.0/3").collect::<Vec<_>>(), ["192.0.0.0/3", "192.0.0.0/2", "128.0.0.0/1", "0.0.0.0/0"]);
        assert_eq!(of("2001:db8::1").count(), 129);
        assert_eq!(of("2001:db8::1").last().as_deref(), Some("::/0"));
        assert_eq!(of("0.0.0.0/0").collect::<Vec<_>>(), ["0.0.0.0/0"]);
    }
}
