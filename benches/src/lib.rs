//! What the benchmarks share: made-up policies, peers and packets.
//!
//! Run one group with `cargo bench -p cygnet-benches --bench esp`, all with `cargo bench -p cygnet-benches`.
//! Figures from shared or busy machines are good only as ratios to a neighbour in the same run; each group therefore
//! holds its own yardstick.

use cygnet_spd::{Action, AddrRange, Direction, Flow, Policies, Policy, PolicyId, Ports, Selector, TrafficSelector};
use std::net::{IpAddr, Ipv4Addr};

/// `count` PROTECT policies between 10.0.0.0/16 and a /32 each, so that no two overlap.
pub fn policies(count: u32) -> Policies {
    let local = TrafficSelector::from(AddrRange::prefix(Ipv4Addr::new(10, 0, 0, 0).into(), 16).expect("legal prefix"));
    let entry = |n: u32| Policy {
        name: format!("policy-{n}"),
        selector: Selector { local: vec![local], remote: vec![AddrRange::host(remote(n)).into()] },
        action: Action::Protect(PolicyId(n)),
    };
    Policies::new((0..count).map(entry).collect())
}

/// The remote address of policy `n`.
pub fn remote(n: u32) -> IpAddr {
    Ipv4Addr::from(0x0b00_0000 + n).into()
}

/// A TCP flow that meets policy `n`.
pub fn flow(n: u32) -> Flow {
    Flow {
        direction: Direction::Outbound,
        local: Ipv4Addr::new(10, 0, 1, 1).into(),
        remote: remote(n),
        protocol: 6,
        ports: Ports::Pair { local: 40_000, remote: 443 },
    }
}
