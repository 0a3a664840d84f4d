//! Both sides of a policy or an SA: matching of packets, and narrowing in negotiation (RFC 7296 §2.9).

use std::net::IpAddr;

use crate::flow::{Direction, Flow, Ports};
use crate::traffic_selector::TrafficSelector;

/// What lies on our side and what on the peer's. A packet matches if some entry of each side matches it
/// (RFC 4301 §4.4.1.2, RFC 7296 §2.9).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Selector {
    /// Our side.
    pub local: Vec<TrafficSelector>,
    /// The peer's side.
    pub remote: Vec<TrafficSelector>,
}

impl Selector {
    /// Whether a packet is one of those selected: policy look-up, choice of an SA, and the check after decryption
    /// (RFC 4301 §5.2 step 4) all ask this.
    #[inline]
    pub fn contains(&self, flow: &Flow) -> bool {
        let (local, remote) = ports_seen(flow);
        self.local.iter().any(|ts| matches(ts, flow.local, flow.protocol, local))
            && self.remote.iter().any(|ts| matches(ts, flow.remote, flow.protocol, remote))
    }

    /// Whether a packet of these addresses and this protocol is selected with some ports. Those of `flow` don't count.
    pub(crate) fn may_contain(&self, flow: &Flow) -> bool {
        let side = |side: &[TrafficSelector], address| {
            side.iter().any(|ts| matches(ts, address, flow.protocol, Seen::Undecided))
        };
        side(&self.local, flow.local) && side(&self.remote, flow.remote)
    }

    /// Whether a packet of these addresses and this protocol is selected whatever its ports. `false` may be wrong if
    /// several ranges make up all ports.
    pub(crate) fn contains_all_ports(&self, flow: &Flow) -> bool {
        let side = |side: &[TrafficSelector], address| {
            side.iter().any(|ts| ts.ports.is_any() && matches(ts, address, flow.protocol, Seen::Undecided))
        };
        side(&self.local, flow.local) && side(&self.remote, flow.remote)
    }

    /// What both have in common; `None` if that leaves a side empty. Each side is intersected for itself, as its TS
    /// payload is: entries for ICMP types that have none in common are no match, even if the other direction has.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        let both = Self { local: narrow(&self.local, &other.local), remote: narrow(&self.remote, &other.remote) };
        (!both.local.is_empty() && !both.remote.is_empty()).then_some(both)
    }
}

/// What one side's port range is held against.
#[derive(Clone, Copy)]
enum Seen {
    Port(u16),
    /// Hidden, or the protocol has none: ANY and OPAQUE match (RFC 4301 §4.4.1.1).
    Opaque,
    /// The other side's range decides.
    Undecided,
}

/// Our side and the peer's side. Type and code of ICMP, and the Mobility Header type, are held against the sender's
/// range alone, so that a policy can allow sending a type but not receiving it (RFC 4301 §4.4.1.3).
#[inline]
fn ports_seen(flow: &Flow) -> (Seen, Seen) {
    let sent = match flow.ports {
        Ports::Pair { local, remote } => return (Seen::Port(local), Seen::Port(remote)),
        Ports::Opaque | Ports::None => return (Seen::Opaque, Seen::Opaque),
        Ports::Icmp { kind, code } => Seen::Port(u16::from_be_bytes([kind, code])),
        Ports::Mobility { kind } => Seen::Port(u16::from_be_bytes([kind, 0])),
    };
    match flow.direction {
        Direction::Outbound => (sent, Seen::Undecided),
        Direction::Inbound => (Seen::Undecided, sent),
    }
}

#[inline]
fn matches(ts: &TrafficSelector, address: IpAddr, protocol: u8, seen: Seen) -> bool {
    (ts.protocol == 0 || ts.protocol == protocol)
        && match seen {
            Seen::Port(port) => ts.ports.contains(port),
            Seen::Opaque => ts.ports.contains_opaque(),
            Seen::Undecided => true,
        }
        && ts.addresses.contains(address)
}

/// Narrows a proposed TS payload to what is configured (RFC 7296 §2.9): the intersection of each pair, in the order
/// of `proposed`, without those that another one covers. Empty means TS_UNACCEPTABLE.
pub fn narrow(proposed: &[TrafficSelector], configured: &[TrafficSelector]) -> Vec<TrafficSelector> {
    let mut common: Vec<TrafficSelector> = Vec::new();
    for ts in proposed.iter().flat_map(|p| configured.iter().filter_map(|c| p.intersect(c))) {
        if !common.iter().any(|kept| kept.contains(&ts)) {
            common.retain(|kept| !ts.contains(kept));
            common.push(ts);
        }
    }
    common
}

#[cfg(test)]
pub(crate) mod tests;
