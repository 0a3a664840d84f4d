//! What the benchmarks share: made-up policies, peers and packets.
//!
//! Run one group with `cargo bench -p cygnet-benches --bench esp`, all with `cargo bench -p cygnet-benches`.
//! Figures from shared or busy machines are good only as ratios to a neighbour in the same run; each group therefore
//! holds its own yardstick.

pub mod gateways;
pub mod peers;

use cygnet_esp::tunnel::Rules;
use cygnet_esp::{ENCR, Inbound, Outbound, Spi};
use cygnet_sad::{Activation, Lifetime, NewPair, Origin, PairId, Path};
use cygnet_spd::{
    Action, AddrRange, Direction, Flow, Mode, Policies, Policy, PolicyId, Ports, Selector, Terms, TrafficSelector,
};
use std::net::{IpAddr, Ipv4Addr};

/// `count` PROTECT policies between 10.0.0.0/16 and a /32 each, so that no two overlap.
pub fn policies(count: u32) -> Policies {
    let entry = |n: u32| Policy {
        name: format!("policy-{n}"),
        selector: Selector { local: vec![local_net()], remote: vec![AddrRange::host(remote(n)).into()] },
        action: Action::Protect(PolicyId(n)),
        terms: Terms::default(),
    };
    Policies::new((0..count).map(entry).collect())
}

fn local_net() -> TrafficSelector {
    AddrRange::prefix(Ipv4Addr::new(10, 0, 0, 0).into(), 16).expect("legal prefix").into()
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

/// The inbound SPI of pair `n`: as spread out as random ones.
pub fn spi(n: u32) -> Spi {
    Spi(n.wrapping_add(1).wrapping_mul(0x9e37_79b1))
}

/// The pair of SAs that serves policy `n`.
pub fn pair(n: u32) -> NewPair {
    let encr = ENCR.iter().find(|row| row.name == "aes128gcm16").expect("a row of the registry");
    let keys = vec![7; encr.encryption_len()];
    NewPair {
        id: PairId(n.into()),
        policy: PolicyId(n),
        selector: Selector { local: vec![local_net()], remote: vec![AddrRange::host(remote(n)).into()] },
        mode: Mode::Tunnel,
        headers: Rules::default(),
        original: None,
        origin: Origin::Negotiated,
        inbound: Inbound::new(spi(n), encr, &keys, &[], true, 1024).expect("legal keys"),
        outbound: Outbound::new(spi(n), encr, &keys, &[], true).expect("legal keys"),
        path: Path {
            local: ([192, 0, 2, 1], 4500).into(),
            remote: ([192, 0, 2, 2], 4500).into(),
            udp_encapsulation: true,
        },
        lifetime: Lifetime::default(),
        resource: None,
        replaces: None,
        activation: Activation::Now,
    }
}
