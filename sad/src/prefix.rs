//! Keys under which outbound SAs are found: the network around each of their remote address ranges.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use cygnet_spd::{AddrRange, PolicyId};

/// A policy and a network. Every address of a range lies in the range's network, so that an SA is found under the
/// networks of its remote ranges, and its selector has the last word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PrefixKey {
    policy: PolicyId,
    shape: Shape,
    /// The network's first address.
    network: u128,
}

/// Family and prefix length in one octet: an IPv6 length, or 200 plus an IPv4 length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape(u8);

impl Shape {
    const V4: u8 = 200;

    fn new(ipv4: bool, len: u8) -> Self {
        Self(if ipv4 { Self::V4 + len } else { len })
    }

    #[inline]
    fn is_ipv4(self) -> bool {
        self.0 >= Self::V4
    }

    /// The network of `address`, which is of this family.
    #[inline]
    fn network(self, address: IpAddr) -> u128 {
        let (bits, hosts) = match address {
            IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32 - u32::from(self.0.saturating_sub(Self::V4))),
            IpAddr::V6(v6) => (v6.to_bits(), 128 - u32::from(self.0)),
        };
        bits.checked_shr(hosts).unwrap_or(0)
    }
}

impl PrefixKey {
    /// The key of a remote address range.
    pub(crate) fn around(policy: PolicyId, range: &AddrRange) -> Self {
        let shape = Shape::new(range.is_ipv4(), range.common_prefix_len());
        Self { policy, shape, network: shape.network(range.start()) }
    }
}

impl Hash for PrefixKey {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from(self.policy.0) << 8 | u64::from(self.shape.0));
        state.write_u64(self.network as u64);
        state.write_u64((self.network >> 64) as u64);
    }
}

/// Which prefix lengths the SAs of a policy have, so that a look-up tries only those. Usually one or two.
#[derive(Debug, Clone, Default)]
pub(crate) struct PrefixLengths {
    /// With the number of keys that have it; never zero.
    counts: Vec<(Shape, u32)>,
}

impl PrefixLengths {
    /// Counts a new key.
    pub(crate) fn add(&mut self, key: &PrefixKey) {
        match self.counts.iter_mut().find(|(shape, _)| *shape == key.shape) {
            Some((_, count)) => *count += 1,
            None => self.counts.push((key.shape, 1)),
        }
    }

    /// Forgets a key that was counted.
    pub(crate) fn subtract(&mut self, key: &PrefixKey) {
        if let Some((_, count)) = self.counts.iter_mut().find(|(shape, _)| *shape == key.shape) {
            *count -= 1;
        }
        self.counts.retain(|(_, count)| *count > 0);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// The keys under which an SA for `address` may be.
    #[inline]
    pub(crate) fn keys(&self, policy: PolicyId, address: IpAddr) -> impl Iterator<Item = PrefixKey> {
        self.counts
            .iter()
            .filter(move |(shape, _)| shape.is_ipv4() == address.is_ipv4())
            .map(move |(shape, _)| PrefixKey { policy, shape: *shape, network: shape.network(address) })
    }
}
