//! A compiled form of ordered policies, in which the first that selects a flow is found without asking all of them.
//!
//! ```text
//!   node ─ remote address ─┬─ /24 ─ hash ─► node ─ local address ─┬─ /16 ─ hash ─► leaf: policies 3, 17
//!                          ├─ /32 ─ hash ─► policy 5               └─ ...
//!                          └─ /0  ─ hash ─► node ─ protocol and ports ─ ...
//! ```
//!
//! A tree over the fields of a selector. A node asks about one field: it has an edge for each prefix length in use
//! there, and a flow follows those edges under which its value is filed, one hash probe each. Ranges are filed under
//! the prefixes around them, so what a leaf names are candidates: [`Selector::contains`] has the last word. Edges and
//! leaves are in the order of precedence, so that the search ends where nothing better can come.
//!
//! The cost of a look-up is thus the number of prefix lengths in use, and not that of policies. One table serves all
//! nodes. Policies come from configuration and can't be multiplied by packets; the hash is seeded all the same.
//!
//! [`Selector::contains`]: crate::Selector::contains

mod file;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;

use crate::flow::{Flow, Ports};
use crate::hash::Seed;

pub(crate) use file::Grain;

/// Remote address, local address, protocol and ports.
const FIELDS: usize = 3;

/// The compiled form of a list of selectors.
#[derive(Clone)]
pub(crate) struct Index {
    /// Where the search starts, by family of the remote address: IPv4, IPv6.
    roots: [Place; 2],
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    /// Positions of selectors, those of each leaf in ascending order.
    leaves: Vec<u32>,
    table: Table,
}

/// Where an edge leads: a node, or with [`ONE`](Self::ONE) set, the only candidate there is.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place(u32);

impl Place {
    const ONE: u32 = 1 << 31;
    /// Nowhere.
    const VACANT: Self = Self(u32::MAX);
}

#[derive(Clone, Copy)]
enum Node {
    /// Asks about a field: these edges.
    Field { field: u8, edges: (u32, u32) },
    /// These positions are all there is.
    Leaf { start: u32, end: u32 },
}

/// One prefix length of a node's field.
#[derive(Clone, Copy)]
struct Edge {
    mask: u128,
    /// The lowest position below.
    first: u32,
}

impl Index {
    /// The lowest position for which `confirm` says yes. It is only asked about candidates, in no order.
    #[inline]
    pub(crate) fn first(&self, flow: &Flow, confirm: impl Fn(usize) -> bool) -> Option<usize> {
        let mut best = u32::MAX;
        let root = self.roots[usize::from(flow.remote.is_ipv6())];
        self.search(root, &values(flow), &confirm, &mut best);
        (best != u32::MAX).then_some(best as usize)
    }

    /// Improves `best` by what is below `place`. Recurses once per field at most.
    fn search(&self, place: Place, values: &[u128; FIELDS], confirm: &impl Fn(usize) -> bool, best: &mut u32) {
        if place.0 & Place::ONE != 0 {
            let position = place.0 & !Place::ONE;
            if position < *best && confirm(position as usize) {
                *best = position;
            }
            return;
        }
        match self.nodes[place.0 as usize] {
            Node::Leaf { start, end } => {
                let candidates = self.leaves[start as usize..end as usize].iter();
                if let Some(found) = candidates.take_while(|n| *n < best).find(|n| confirm(**n as usize)) {
                    *best = *found;
                }
            }
            Node::Field { field, edges: (start, end) } => {
                let value = values[usize::from(field)];
                for (number, edge) in (start..end).zip(&self.edges[start as usize..end as usize]) {
                    if edge.first >= *best {
                        break;
                    }
                    if let Some(child) = self.table.get(number, value & edge.mask) {
                        self.search(child, values, confirm, best);
                    }
                }
            }
        }
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Index({} nodes, {} edges)", self.nodes.len(), self.edges.len())
    }
}

/// The fields of a flow. Addresses are flush left, so that a prefix is a mask whatever the family.
#[inline]
fn values(flow: &Flow) -> [u128; FIELDS] {
    let (local, remote) = match flow.ports {
        Ports::Pair { local, remote } => (local, remote),
        // Filed by no port are those whose types these are, and hidden ports are only within ANY and OPAQUE.
        Ports::Icmp { .. } | Ports::Mobility { .. } | Ports::Opaque | Ports::None => (0, 0),
    };
    let upper = u128::from(flow.protocol) << 32 | u128::from(local) << 16 | u128::from(remote);
    [flush_left(flow.remote), flush_left(flow.local), upper]
}

#[inline]
fn flush_left(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// From an edge and the leading bits of a value to a node: open addressing, at most half full.
#[derive(Clone)]
struct Table {
    /// A power of two of them.
    slots: Vec<Slot>,
    seed: Seed,
}

#[derive(Clone, Copy)]
struct Slot {
    bits: u128,
    edge: u32,
    child: Place,
}

impl Table {
    fn new(entries: &[Slot]) -> Self {
        let len = (entries.len() * 2).next_power_of_two();
        let slots = vec![Slot { bits: 0, edge: 0, child: Place::VACANT }; len];
        let mut table = Self { slots, seed: Seed::random() };
        for entry in entries {
            let mut at = table.start(entry.edge, entry.bits);
            while table.slots[at].child != Place::VACANT {
                at = (at + 1) & (len - 1);
            }
            table.slots[at] = *entry;
        }
        table
    }

    #[inline]
    fn get(&self, edge: u32, bits: u128) -> Option<Place> {
        let mut at = self.start(edge, bits);
        loop {
            let slot = &self.slots[at];
            if slot.child == Place::VACANT {
                return None;
            }
            if slot.edge == edge && slot.bits == bits {
                return Some(slot.child);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    #[inline]
    fn start(&self, edge: u32, bits: u128) -> usize {
        let mut hasher = self.seed.build_hasher();
        hasher.write_u64((bits >> 64) as u64 ^ u64::from(edge));
        hasher.write_u64(bits as u64);
        hasher.finish() as usize & (self.slots.len() - 1)
    }
}
