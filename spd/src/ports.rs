//! Port ranges with the two special values of RFC 4301 §4.4.1.1, in their wire form of RFC 7296 §3.13.1.

use std::ops::RangeInclusive;

/// An inclusive range of ports or, for ICMP, of `type << 8 | code`; for Mobility Headers, of `type << 8`.
///
/// A range that ends before it starts contains nothing, [`OPAQUE`](Self::OPAQUE) excepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortRange {
    /// First port.
    pub start: u16,
    /// Last port.
    pub end: u16,
}

impl PortRange {
    /// Every port, and also packets whose port can't be seen: ANY encompasses OPAQUE (RFC 4301 §4.4.1.1).
    pub const ANY: Self = Self { start: 0, end: u16::MAX };

    /// Only packets whose port can't be seen: other than first fragments, and protocols that have no ports.
    pub const OPAQUE: Self = Self { start: u16::MAX, end: 0 };

    /// From `start` to `end`; `None` if it is neither a range nor [`OPAQUE`](Self::OPAQUE).
    pub fn new(start: u16, end: u16) -> Option<Self> {
        let range = Self { start, end };
        range.is_valid().then_some(range)
    }

    /// One port.
    pub const fn single(port: u16) -> Self {
        Self { start: port, end: port }
    }

    /// Whether this is ANY.
    pub fn is_any(&self) -> bool {
        *self == Self::ANY
    }

    /// Whether this is OPAQUE.
    pub fn is_opaque(&self) -> bool {
        *self == Self::OPAQUE
    }

    /// Whether this is a range or OPAQUE. Values from the network may be neither.
    pub fn is_valid(&self) -> bool {
        self.start <= self.end || self.is_opaque()
    }

    /// Whether a visible `port` lies within. OPAQUE contains none.
    #[inline]
    pub fn contains(&self, port: u16) -> bool {
        RangeInclusive::new(self.start, self.end).contains(&port)
    }

    /// Whether a packet matches whose port can't be seen.
    #[inline]
    pub fn contains_opaque(&self) -> bool {
        self.is_any() || self.is_opaque()
    }

    /// Whether everything that matches `other` matches `self`.
    pub fn contains_range(&self, other: &Self) -> bool {
        self.intersect(other) == Some(*other)
    }

    /// What both have in common; `None` if nothing.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        if self.contains_opaque() && other.contains_opaque() {
            return Some(if self.is_any() { *other } else { *self });
        }
        let (start, end) = (self.start.max(other.start), self.end.min(other.end));
        (start <= end).then_some(Self { start, end })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn any_encompasses_opaque() {
        assert!(PortRange::ANY.contains_opaque() && PortRange::OPAQUE.contains_opaque());
        assert!(!PortRange { start: 0, end: 65534 }.contains_opaque());
        assert_eq!(PortRange::ANY.intersect(&PortRange::OPAQUE), Some(PortRange::OPAQUE));
        assert_eq!(PortRange::OPAQUE.intersect(&PortRange::OPAQUE), Some(PortRange::OPAQUE));
        assert_eq!(PortRange::OPAQUE.intersect(&PortRange { start: 0, end: 65534 }), None);
        assert!(PortRange::ANY.contains_range(&PortRange::OPAQUE));
        assert!(!PortRange::OPAQUE.contains_range(&PortRange::ANY));
        assert_eq!(PortRange::new(2, 1), None);
        assert_eq!(PortRange::new(65535, 0), Some(PortRange::OPAQUE));
    }

    /// Edges and neighbours of the special values, and anything else.
    pub(crate) fn any_ports() -> impl Strategy<Value = PortRange> {
        let edge = prop_oneof![Just(0u16), Just(1), Just(80), Just(65534), Just(65535), any::<u16>()];
        prop_oneof![
            Just(PortRange::ANY),
            Just(PortRange::OPAQUE),
            (edge.clone(), edge).prop_map(|(a, b)| PortRange { start: a.min(b), end: a.max(b) }),
        ]
    }

    proptest! {
        // The oracle is the pair of predicates, which say what a range means.
        #[test]
        fn intersection_is_that_of_the_sets(a in any_ports(), b in any_ports(), port: u16) {
            let both = a.intersect(&b);
            for port in [0, 1, 80, 65534, 65535, port] {
                let expected = a.contains(port) && b.contains(port);
                prop_assert_eq!(both.is_some_and(|r| r.contains(port)), expected);
            }
            let opaque = a.contains_opaque() && b.contains_opaque();
            prop_assert_eq!(both.is_some_and(|r| r.contains_opaque()), opaque);
        }
    }
}
