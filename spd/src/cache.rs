//! A flow cache: what was found for the packets before, so that the next one of the same flow asks neither the
//! database nor the SAD (RFC 4301 §4.4.1 allows caches, as long as they agree with the database).

use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;

use crate::flow::{Direction, Flow, Ports};
use crate::hash::Seed;

/// Places a flow can be in. A flow is only pushed out by that many others that fall into the same set.
const WAYS: usize = 4;

/// What was decided for the flows seen last, a fixed number of them.
///
/// For one worker: no lock, and no allocation after construction. What is cached is valid for the databases it was
/// taken from; whoever replaces them calls [`clear`](Self::clear). Flows come from the network: the hash is seeded, so
/// that nobody can aim at a set, and a flood of flows costs each of them a miss, but no memory.
pub struct FlowCache<T> {
    /// A power of two of them.
    sets: Box<[Set<T>]>,
    seed: Seed,
    used: usize,
}

struct Set<T> {
    /// Sixteen bits of the hash of each way's flow; [`VACANT`] where there is none. Most misses end here.
    tags: [u16; WAYS],
    /// The way to be replaced next: the one filled longest ago.
    next: u8,
    ways: [Option<(Key, T)>; WAYS],
}

const VACANT: u16 = 0;

impl<T> FlowCache<T> {
    /// Room for at least `capacity` flows: rounded up to a power of two.
    pub fn new(capacity: usize) -> Self {
        let sets = capacity.div_ceil(WAYS).next_power_of_two();
        let vacant = || Set { tags: [VACANT; WAYS], next: 0, ways: [const { None }; WAYS] };
        Self { sets: (0..sets).map(|_| vacant()).collect(), seed: Seed::random(), used: 0 }
    }

    /// What was inserted for `flow`, unless other flows have pushed it out since.
    #[inline]
    pub fn get(&self, flow: &Flow) -> Option<&T> {
        let key = Key::new(flow);
        let (set, tag) = self.place(&key);
        let set = &self.sets[set];
        (0..WAYS).filter(|&way| set.tags[way] == tag).find_map(|way| match &set.ways[way] {
            Some((found, value)) if *found == key => Some(value),
            _ => None,
        })
    }

    /// Keeps `value` for `flow` instead of what was kept for it, or for the flow that came first into its set.
    pub fn insert(&mut self, flow: &Flow, value: T) {
        let key = Key::new(flow);
        let (set, tag) = self.place(&key);
        let set = &mut self.sets[set];
        let same = |way: &Option<(Key, T)>| way.as_ref().is_some_and(|(kept, _)| *kept == key);
        let way = match set.ways.iter().position(same).or_else(|| set.ways.iter().position(Option::is_none)) {
            Some(way) => way,
            None => {
                let way = usize::from(set.next);
                set.next = ((way + 1) % WAYS) as u8;
                way
            }
        };
        self.used += usize::from(set.ways[way].is_none());
        set.tags[way] = tag;
        set.ways[way] = Some((key, value));
    }

    /// Forgets everything, and lets go of the values.
    pub fn clear(&mut self) {
        if self.used == 0 {
            return;
        }
        for set in &mut self.sets {
            if set.tags != [VACANT; WAYS] {
                set.tags = [VACANT; WAYS];
                set.next = 0;
                set.ways = [const { None }; WAYS];
            }
        }
        self.used = 0;
    }

    /// How many flows are kept.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// How many flows fit, if they spread evenly.
    pub fn capacity(&self) -> usize {
        self.sets.len() * WAYS
    }

    /// The set of a flow, and its tag there.
    #[inline]
    fn place(&self, key: &Key) -> (usize, u16) {
        let hash = key.hash(self.seed);
        (hash as usize & (self.sets.len() - 1), (hash >> 48) as u16 | 1)
    }
}

impl<T> fmt::Debug for FlowCache<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FlowCache({} of {})", self.used, self.capacity())
    }
}

/// A flow in words, which are quicker to hash and to compare than its enums.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Key {
    /// Protocol, ports and which variants the enums have.
    upper: u64,
    /// IPv4: both in the first word. IPv6: local, then remote.
    addresses: [u64; 4],
}

impl Key {
    /// No bit of `upper` has two meanings: 32 of ports, 8 of protocol, 3 of the ports' variant, direction, families.
    const V6: u64 = 1 << 44;

    #[inline]
    fn new(flow: &Flow) -> Self {
        let (variant, ports) = match flow.ports {
            Ports::Pair { local, remote } => (0, u64::from(local) << 16 | u64::from(remote)),
            Ports::Icmp { kind, code } => (1, u64::from(u16::from_be_bytes([kind, code]))),
            Ports::Mobility { kind } => (2, u64::from(kind)),
            Ports::Opaque => (3, 0),
            Ports::None => (4, 0),
        };
        let direction = u64::from(flow.direction == Direction::Inbound);
        let upper = ports | u64::from(flow.protocol) << 32 | variant << 40 | direction << 43;
        match (flow.local, flow.remote) {
            (IpAddr::V4(local), IpAddr::V4(remote)) => {
                let both = u64::from(local.to_bits()) << 32 | u64::from(remote.to_bits());
                Self { upper, addresses: [both, 0, 0, 0] }
            }
            (local, remote) => {
                let family = |address: IpAddr| u64::from(address.is_ipv6());
                let bits = |address| match address {
                    IpAddr::V4(v4) => u128::from(v4.to_bits()),
                    IpAddr::V6(v6) => v6.to_bits(),
                };
                let (l, r) = (bits(local), bits(remote));
                Self {
                    upper: upper | Self::V6 | family(local) << 45 | family(remote) << 46,
                    addresses: [l as u64, (l >> 64) as u64, r as u64, (r >> 64) as u64],
                }
            }
        }
    }

    #[inline]
    fn hash(&self, seed: Seed) -> u64 {
        let mut hasher = seed.build_hasher();
        hasher.write_u64(self.upper);
        hasher.write_u64(self.addresses[0]);
        if self.upper & Self::V6 != 0 {
            self.addresses[1..].iter().for_each(|word| hasher.write_u64(*word));
        }
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::selector::tests::any_flow;

    fn numbered(n: u32) -> Flow {
        Flow {
            direction: Direction::Outbound,
            local: [10, 0, 0, 1].into(),
            remote: std::net::Ipv4Addr::from_bits(n).into(),
            protocol: 6,
            ports: Ports::Pair { local: 40000, remote: 443 },
        }
    }

    #[test]
    fn as_many_flows_fit_as_it_has_room_for() {
        let mut cache = FlowCache::new(1000);
        assert_eq!(cache.capacity(), 1024);
        for n in 0..100_000 {
            cache.insert(&numbered(n), n);
            assert_eq!(cache.get(&numbered(n)), Some(&n), "the latest is there");
        }
        assert_eq!(cache.len(), 1024, "a flood fills it and no more");
        let kept: Vec<u32> = (0..100_000).filter_map(|n| cache.get(&numbered(n)).copied()).collect();
        assert_eq!(kept.len(), 1024);
        assert!(kept.iter().all(|n| *n > 60_000), "the oldest of a set leaves first");
    }

    #[test]
    fn clearing_lets_go_of_the_values() {
        let value = Arc::new(());
        let mut cache = FlowCache::new(64);
        (0..1000).for_each(|n| cache.insert(&numbered(n), Arc::clone(&value)));
        assert_eq!(Arc::strong_count(&value), 1 + cache.len());
        cache.clear();
        assert_eq!((Arc::strong_count(&value), cache.len()), (1, 0));
        assert!((0..1000).all(|n| cache.get(&numbered(n)).is_none()));
        cache.insert(&numbered(7), value);
        assert!(cache.get(&numbered(7)).is_some());
    }

    #[test]
    fn the_same_flow_is_kept_once() {
        let mut cache = FlowCache::new(4);
        (0..10).for_each(|n| cache.insert(&numbered(1), n));
        assert_eq!((cache.len(), cache.get(&numbered(1))), (1, Some(&9)));
    }

    fn any_address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            (0u8..2).prop_map(|n| IpAddr::from([0, 0, 0, n])),
            (0u128..2).prop_map(|n| std::net::Ipv6Addr::from_bits(n).into()),
            (0u128..2).prop_map(|n| std::net::Ipv6Addr::from_bits(n << 64).into()),
        ]
    }

    fn any_flow_of_any_family() -> impl Strategy<Value = Flow> {
        (any_flow(), any_address(), any_address()).prop_map(|(flow, local, remote)| Flow { local, remote, ..flow })
    }

    proptest! {
        #[test]
        fn words_tell_flows_apart(a in any_flow_of_any_family(), b in any_flow_of_any_family()) {
            let mixed = [
                Flow { local: b.local, ..a },
                Flow { remote: b.remote, ..a },
                Flow { protocol: b.protocol, ..a },
                Flow { ports: b.ports, ..a },
                Flow { direction: b.direction, ..a },
                b,
            ];
            for other in mixed {
                prop_assert_eq!(Key::new(&a) == Key::new(&other), a == other);
            }
        }

        // The oracle is a list of all insertions: a hit is always the last of its flow.
        #[test]
        fn a_hit_is_what_was_inserted_last(flows in prop::collection::vec(any_flow_of_any_family(), 1..60)) {
            let mut cache = FlowCache::new(16);
            for (n, flow) in flows.iter().enumerate() {
                cache.insert(flow, n);
                for seen in &flows {
                    let last = flows[..=n].iter().rposition(|f| f == seen);
                    prop_assert!(cache.get(seen).is_none_or(|hit| Some(*hit) == last));
                }
                prop_assert_eq!(cache.get(flow), Some(&n));
            }
        }
    }
}
