//! Building: under which prefixes a selector is filed, and the tree over them.

use super::{Edge, FIELDS, Index, Node, Place, Slot, Table, flush_left};
use crate::protocol;
use crate::selector::Selector;
use crate::traffic_selector::TrafficSelector;

/// How many candidates are as quick to ask as another field is to probe.
const LEAF: usize = 4;

/// Ways in which the entries of both sides of one selector may combine. Beyond, the shorter side is taken together,
/// so that the index stays proportional to the configuration.
const COMBINATIONS: usize = 64;

/// How finely selectors are filed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grain {
    /// By all they say.
    Ports,
    /// By addresses and protocol: for flows whose ports are not known.
    Protocol,
}

/// Values that share the bits of `mask`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Prefix {
    mask: u128,
    bits: u128,
}

impl Prefix {
    const ANY: Self = Self { mask: 0, bits: 0 };

    /// The smallest around all values from `start` to `end`.
    fn around(start: u128, end: u128) -> Self {
        let free = 128 - (start ^ end).leading_zeros();
        let mask = u128::MAX.checked_shl(free).unwrap_or(0);
        Self { mask, bits: start & mask }
    }

    /// One or two around the values from `start` to `end`, the two together less than twice as many.
    fn cover(start: u128, end: u128) -> impl Iterator<Item = Self> {
        let whole = Self::around(start, end);
        let exact = start == whole.bits && end == whole.bits | !whole.mask;
        // The middle of the smallest prefix around both ends: each part ends or starts there.
        let middle = end & !((!whole.mask) >> 1);
        let parts = if exact {
            [Some(whole), None]
        } else {
            [Some(Self::around(start, middle - 1)), Some(Self::around(middle, end))]
        };
        parts.into_iter().flatten()
    }

    /// The smallest around both.
    fn join(self, other: Self) -> Self {
        let mask = self.mask & other.mask & Self::around(self.bits, other.bits).mask;
        Self { mask, bits: self.bits & mask }
    }
}

/// What one entry of a side is filed under.
#[derive(Clone, Copy)]
struct Piece {
    ipv4: bool,
    address: Prefix,
    /// 0 is any.
    protocol: u8,
    port: Prefix,
}

impl Piece {
    fn of(ts: &TrafficSelector, grain: Grain) -> impl Iterator<Item = Self> {
        let TrafficSelector { addresses, protocol, ports } = *ts;
        let last = if addresses.is_ipv4() { (1 << 96) - 1 } else { 0 };
        let addresses = (addresses.is_ipv4(), flush_left(addresses.start()), flush_left(addresses.end()) | last);
        // Whatever is not a plain range of ports is left to the confirmation: type and code of ICMP are the sender's
        // alone, hidden ports are within two special ranges only.
        let ports = match protocol::has_ports(protocol) && grain == Grain::Ports && ports.start <= ports.end {
            true => (u128::from(ports.start), u128::from(ports.end)),
            false => (0, 0xffff),
        };
        let (ipv4, start, end) = addresses;
        Prefix::cover(start, end).flat_map(move |address| {
            Prefix::cover(ports.0, ports.1).map(move |port| Self { ipv4, address, protocol, port })
        })
    }

    /// One for all of a side.
    fn join(self, other: Self) -> Self {
        let protocol = if self.protocol == other.protocol { self.protocol } else { 0 };
        Self { ipv4: self.ipv4, address: self.address.join(other.address), protocol, port: Prefix::ANY }
    }

    /// With this remote side; `None` if no packet has both protocols.
    fn with(self, remote: Self, position: u32) -> Option<Entry> {
        let (protocol, mask) = match (self.protocol, remote.protocol) {
            (0, 0) => (0, 0),
            (0, p) | (p, 0) => (p, 0xff),
            (p, q) if p == q => (p, 0xff),
            _ => return None,
        };
        let upper =
            |protocol: u128, local: u128, remote: u128| protocol << 32 | (local & 0xffff) << 16 | remote & 0xffff;
        let fields = [
            remote.address,
            self.address,
            Prefix {
                mask: upper(mask, self.port.mask, remote.port.mask),
                bits: upper(protocol.into(), self.port.bits, remote.port.bits),
            },
        ];
        Some(Entry { position, ipv4: remote.ipv4, fields })
    }
}

/// One place in the tree under which the selector at `position` is filed.
struct Entry {
    position: u32,
    /// Family of the remote side.
    ipv4: bool,
    fields: [Prefix; FIELDS],
}

/// The places of one selector.
fn file(selector: &Selector, position: u32, grain: Grain, entries: &mut Vec<Entry>) {
    let pieces = |side: &[TrafficSelector]| side.iter().flat_map(|ts| Piece::of(ts, grain)).collect::<Vec<_>>();
    let (mut local, mut remote) = (pieces(&selector.local), pieces(&selector.remote));
    if local.len() * remote.len() > COMBINATIONS {
        let shorter = if local.len() <= remote.len() { &mut local } else { &mut remote };
        let (ipv4, ipv6): (Vec<Piece>, Vec<Piece>) = shorter.iter().partition(|piece| piece.ipv4);
        *shorter = [ipv4, ipv6].into_iter().filter_map(|family| family.into_iter().reduce(Piece::join)).collect();
    }
    entries.extend(local.iter().flat_map(|l| remote.iter().filter_map(|r| l.with(*r, position))));
}

impl Index {
    /// Of these selectors, in their order of precedence.
    pub(crate) fn new<'a>(selectors: impl Iterator<Item = &'a Selector>, grain: Grain) -> Self {
        let mut entries = Vec::new();
        (0..).zip(selectors).for_each(|(position, selector)| file(selector, position, grain, &mut entries));
        let (mut ipv4, mut ipv6): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.ipv4);
        let mut builder = Builder::default();
        let roots = [builder.place(&mut ipv4, 0), builder.place(&mut ipv6, 0)];
        let Builder { nodes, edges, leaves, slots } = builder;
        Self { roots, nodes, edges, leaves, table: Table::new(&slots) }
    }
}

#[derive(Default)]
struct Builder {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    leaves: Vec<u32>,
    slots: Vec<Slot>,
}

impl Builder {
    /// The place of `entries`, which the fields before `field` do not tell apart.
    fn place(&mut self, entries: &mut [Entry], field: usize) -> Place {
        if let [only] = entries {
            return Place(only.position | Place::ONE);
        }
        let says_something = |field: &usize| entries.iter().any(|entry| entry.fields[*field].mask != 0);
        let node = match (field..FIELDS).find(says_something) {
            Some(field) if entries.len() > LEAF => self.field(entries, field),
            _ => self.leaf(entries),
        };
        self.nodes.push(node);
        Place((self.nodes.len() - 1) as u32)
    }

    fn leaf(&mut self, entries: &[Entry]) -> Node {
        let mut positions: Vec<u32> = entries.iter().map(|entry| entry.position).collect();
        positions.sort_unstable();
        positions.dedup();
        let start = self.leaves.len() as u32;
        self.leaves.extend(positions);
        Node::Leaf { start, end: self.leaves.len() as u32 }
    }

    fn field(&mut self, entries: &mut [Entry], field: usize) -> Node {
        entries.sort_unstable_by_key(|entry| entry.fields[field]);
        let first = |group: &[Entry]| group.iter().map(|entry| entry.position).min().unwrap_or(u32::MAX);
        let mut groups: Vec<&mut [Entry]> =
            entries.chunk_by_mut(|a, b| a.fields[field].mask == b.fields[field].mask).collect();
        groups.sort_unstable_by_key(|group| first(group));
        let start = self.edges.len() as u32;
        self.edges.extend(groups.iter().map(|group| Edge { mask: group[0].fields[field].mask, first: first(group) }));
        let edges = (start, self.edges.len() as u32);
        for (edge, group) in (start..).zip(groups) {
            for same in group.chunk_by_mut(|a, b| a.fields[field].bits == b.fields[field].bits) {
                let bits = same[0].fields[field].bits;
                let child = self.place(same, field + 1);
                self.slots.push(Slot { bits, edge, child });
            }
        }
        Node::Field { field: field as u8, edges }
    }
}
