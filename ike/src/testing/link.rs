//! A network between two nodes: sans-IO, seeded, with loss, delay, duplication, reordering, corruption and a NAT.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// What the link does to datagrams. Probabilities are per datagram.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Faults {
    /// Least delay.
    pub delay: Duration,
    /// Up to this much more, at random: datagrams overtake each other.
    pub jitter: Duration,
    /// Probability of loss.
    pub loss: f64,
    /// Probability of a second copy.
    pub duplicate: f64,
    /// Probability of a flipped bit in the copy that arrives.
    pub corrupt: f64,
}

impl Faults {
    /// A good network.
    pub const NONE: Self =
        Self { delay: Duration::from_millis(10), jitter: Duration::ZERO, loss: 0.0, duplicate: 0.0, corrupt: 0.0 };

    /// Loses, duplicates and reorders a good deal.
    pub const ROUGH: Self = Self { jitter: Duration::from_millis(200), loss: 0.15, duplicate: 0.1, ..Self::NONE };

    /// Rough, and flips bits.
    pub const NOISY: Self = Self { corrupt: 0.05, ..Self::ROUGH };
}

/// A datagram or packet in transit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Sender, as the receiver sees it.
    pub from: SocketAddr,
    /// Receiver.
    pub to: SocketAddr,
    /// What it is.
    pub kind: Kind,
    /// Content, without UDP header and non-ESP marker.
    pub bytes: Vec<u8>,
}

/// What a datagram carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// IKE, with the non-ESP marker or without.
    Ike {
        /// Whether the marker is there.
        marker: bool,
    },
    /// ESP, in UDP or raw.
    Esp,
}

/// The network.
#[derive(Debug)]
pub struct Link {
    /// What it does just now.
    pub faults: Faults,
    /// A NAT in front of one host.
    pub nat: Option<Nat>,
    /// A NAT in front of the other one.
    pub other_nat: Option<Nat>,
    /// Nothing gets through.
    pub cut: bool,
    rng: StdRng,
    transit: BTreeMap<(Instant, u64), Packet>,
    count: u64,
}

/// A NAT with address and port translation in front of one host.
#[derive(Debug)]
pub struct Nat {
    inside: IpAddr,
    outside: IpAddr,
    next_port: u16,
    mappings: BTreeMap<u16, u16>,
}

impl Nat {
    /// Hides `inside` behind `outside`.
    pub fn new(inside: IpAddr, outside: IpAddr) -> Self {
        Self { inside, outside, next_port: 61_000, mappings: BTreeMap::new() }
    }

    /// Hides `inside` behind `outside`, where it can be reached at the ports of IKE.
    pub fn forwarding(inside: IpAddr, outside: IpAddr) -> Self {
        let mappings = [500, 4500].map(|port| (port, port)).into();
        Self { mappings, ..Self::new(inside, outside) }
    }

    /// The next packets come from another address.
    pub fn move_to(&mut self, outside: IpAddr) {
        self.outside = outside;
        self.rebind();
    }

    /// Forgets all mappings: the next packets come from other ports.
    pub fn rebind(&mut self) {
        self.mappings.clear();
    }

    fn outbound(&mut self, from: SocketAddr) -> SocketAddr {
        if from.ip() != self.inside {
            return from;
        }
        let known = self.mappings.iter().find(|(_, inside)| **inside == from.port()).map(|(outside, _)| *outside);
        let port = known.unwrap_or_else(|| {
            self.next_port += 1;
            self.mappings.insert(self.next_port, from.port());
            self.next_port
        });
        (self.outside, port).into()
    }

    fn inbound(&self, to: SocketAddr) -> Option<SocketAddr> {
        match to.ip() {
            ip if ip == self.outside => Some((self.inside, *self.mappings.get(&to.port())?).into()),
            _ => Some(to),
        }
    }
}

impl Link {
    /// A link whose faults follow from `seed`.
    pub fn new(seed: u64, faults: Faults) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        Self { faults, nat: None, other_nat: None, cut: false, rng, transit: BTreeMap::new(), count: 0 }
    }

    /// Whether an event of this probability happens.
    pub fn chance(&mut self, probability: f64) -> bool {
        (self.rng.next_u32() as f64) < probability * f64::from(u32::MAX)
    }

    /// A random number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.rng.next_u64() % bound.max(1) as u64) as usize
    }

    /// Takes a packet.
    pub fn send(&mut self, now: Instant, mut packet: Packet) {
        for nat in [&mut self.nat, &mut self.other_nat].into_iter().flatten() {
            packet.from = nat.outbound(packet.from);
        }
        if self.cut || self.chance(self.faults.loss) {
            return;
        }
        let copies = if self.chance(self.faults.duplicate) { 2 } else { 1 };
        for _ in 0..copies {
            let mut copy = packet.clone();
            if self.chance(self.faults.corrupt) && !copy.bytes.is_empty() {
                let at = self.below(copy.bytes.len());
                copy.bytes[at] ^= 1 << self.below(8);
            }
            let jitter = self.faults.jitter.as_micros() as usize;
            let delay = self.faults.delay + Duration::from_micros(self.below(jitter + 1) as u64);
            self.count += 1;
            self.transit.insert((now + delay, self.count), copy);
        }
    }

    /// When the next packet arrives.
    pub fn next(&self) -> Option<Instant> {
        self.transit.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes a packet that has arrived.
    pub fn arrived(&mut self, now: Instant) -> Option<Packet> {
        loop {
            let entry = self.transit.first_entry().filter(|entry| entry.key().0 <= now)?;
            let mut packet = entry.remove();
            let nats = || [&self.nat, &self.other_nat].into_iter().flatten();
            // From the outside, a host behind a NAT cannot be reached by its own address.
            if nats().any(|nat| packet.to.ip() == nat.inside) {
                continue;
            }
            let Some(to) = nats().try_fold(packet.to, |to, nat| nat.inbound(to)) else { continue };
            packet.to = to;
            return Some(packet);
        }
    }
}
