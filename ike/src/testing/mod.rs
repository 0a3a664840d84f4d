//! Two endpoints in memory: a virtual clock, a seeded [`Link`], and ESP probes through the installed SAs.
//!
//! Invariants are checked all the time: no (key, nonce) pair is used twice, for ESP and for IKE; a message that is sent
//! again is sent byte for byte; no inbound SPI is given out twice.

mod link;
mod node;
pub mod operations;
pub mod scenario;

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use cygnet_spd::PolicyId;
use rand::SeedableRng;
use rand::rngs::StdRng;

pub use self::link::{Faults, Kind, Link, Nat, Packet};
pub use self::node::Node;
use crate::config::Config;
use crate::message::Header;
use crate::{Command, Endpoint, Now};

/// Which node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The left one.
    A,
    /// The right one.
    B,
}

impl Side {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// Two nodes and what is between them.
pub struct Pair {
    /// The left node.
    pub a: Node,
    /// The right node.
    pub b: Node,
    /// Between them.
    pub link: Link,
    /// Probe every child in both directions this often.
    pub traffic: Option<Duration>,
    /// Probe only once there is a first pair that both sides have: what a responder sends before is in vain if its response
    /// is lost, and there is nothing yet that would have carried it.
    pub probe_once_up: bool,
    /// How many copies of each packet the network takes: none is loss.
    pub filter: Option<Filter>,
    /// Turns outgoing IKE datagrams into others, for tests of hostile or broken peers.
    pub tamper: Option<Tamper>,
    seed: u64,
    restarts: u64,
    start: Instant,
    now: Instant,
    next_probe: Instant,
    nonces: HashSet<(Vec<u8>, Vec<u8>)>,
    messages: HashMap<MessageKey, Vec<u8>>,
}

/// Sees every IKE datagram before the link does; gives what is sent besides it.
pub type Tamper = Box<dyn FnMut(Side, &[u8]) -> Vec<Vec<u8>>>;

/// Sees every packet before the link does; gives how many copies of it get there.
pub type Filter = Box<dyn FnMut(&Packet) -> usize>;

/// Names one IKE datagram: SPIs, exchange, flags, message ID, fragment number.
type MessageKey = (u64, u64, u8, u8, u32, u16);

impl Pair {
    /// Addresses of the two nodes.
    pub const ADDRESSES: [&'static str; 2] = ["192.0.2.1", "192.0.2.2"];

    /// Two nodes with these configurations; nothing has happened yet.
    pub fn new(seed: u64, a: Config, b: Config) -> Self {
        let now = Instant::now();
        let mut pair = Self {
            a: Node::new(address(0), endpoint(a, seed, 1, now, Duration::ZERO)),
            b: Node::new(address(1), endpoint(b, seed, 2, now, Duration::ZERO)),
            link: Link::new(seed, Faults::NONE),
            traffic: None,
            probe_once_up: false,
            filter: None,
            tamper: None,
            seed,
            restarts: 0,
            start: now,
            now,
            next_probe: now,
            nonces: HashSet::new(),
            messages: HashMap::new(),
        };
        pair.pump(Side::A);
        pair.pump(Side::B);
        pair
    }

    /// A node by its side.
    pub fn node(&self, side: Side) -> &Node {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }

    /// A node by its side.
    pub fn node_mut(&mut self, side: Side) -> &mut Node {
        match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
        }
    }

    /// Time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// Gives a command to a node.
    pub fn command(&mut self, side: Side, command: Command) {
        let now = self.clock();
        self.node_mut(side).endpoint.handle_command(now, command);
        self.pump(side);
    }

    /// The node loses all its state and starts afresh.
    pub fn restart(&mut self, side: Side) {
        let config = self.node(side).config().clone();
        self.reconfigure(side, config);
    }

    /// The node starts afresh with another configuration.
    pub fn reconfigure(&mut self, side: Side, config: Config) {
        self.restarts += 1;
        let salt = 2 + self.restarts * 2 + u64::from(side == Side::B);
        let fresh = endpoint(config, self.seed, salt, self.now, self.elapsed());
        let node = self.node_mut(side);
        *node = Node::new(node.address, fresh);
        self.pump(side);
    }

    /// The node is told of another configuration, and goes on.
    pub fn reload(&mut self, side: Side, config: Config) {
        self.command(side, Command::Reconfigure(Box::new(config)));
    }

    /// Hands a datagram to a node, as if it had come over the link.
    pub fn inject(&mut self, side: Side, packet: Packet) {
        let now = self.clock();
        self.node_mut(side).receive(now, packet);
        self.pump(side);
    }

    /// Runs for this long.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until `done` or this long; says whether it is done.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + limit;
        while !done(self) {
            if !self.step(end) {
                self.now = end;
                return done(self);
            }
        }
        true
    }

    /// Runs until nothing is under way on either side, at most ten minutes.
    pub fn run(&mut self) {
        let quiet = |pair: &Self| pair.link.next().is_none() && !pair.a.is_busy() && !pair.b.is_busy();
        let traffic = self.traffic.take();
        self.run_until(Duration::from_secs(600), quiet);
        self.traffic = traffic;
    }

    /// Probes sent and not arrived, both directions. Those under way count: stop the traffic and run first.
    pub fn probes_lost(&self) -> u64 {
        let lost = |from: &Node, to: &Node| {
            let arrived: HashSet<u64> = to.arrived.iter().copied().collect();
            from.probes - arrived.len() as u64
        };
        lost(&self.a, &self.b) + lost(&self.b, &self.a)
    }

    /// Sends one probe for `policy` from `side`; false if there is no SA for it.
    pub fn probe(&mut self, side: Side, policy: PolicyId) -> bool {
        let Some(probe) = self.node_mut(side).probe(policy) else { return false };
        assert!(self.nonces.insert((probe.key, probe.iv)), "seed {}: an ESP nonce was used twice", self.seed);
        self.send(probe.packet);
        true
    }

    /// Whether a probe for `policy` gets through in both directions.
    pub fn is_open(&mut self, policy: PolicyId) -> bool {
        let before = (self.a.arrived.len(), self.b.arrived.len());
        let sent = self.probe(Side::A, policy) && self.probe(Side::B, policy);
        self.run_for(Duration::from_millis(500));
        sent && self.a.arrived.len() > before.0 && self.b.arrived.len() > before.1
    }

    fn clock(&self) -> Now {
        clock(self.now, self.elapsed())
    }

    /// Does the next thing that is due by `end`.
    fn step(&mut self, end: Instant) -> bool {
        let timeouts = [self.a.endpoint.poll_timeout(), self.b.endpoint.poll_timeout(), self.link.next()];
        let probe = self.traffic.map(|_| self.next_probe);
        let Some(next) = timeouts.into_iter().chain([probe]).flatten().min().filter(|at| *at <= end) else {
            return false;
        };
        self.now = self.now.max(next);
        if let Some(packet) = self.link.arrived(self.now) {
            self.deliver(packet);
            return true;
        }
        let now = self.clock();
        for side in [Side::A, Side::B] {
            if self.node(side).endpoint.poll_timeout().is_some_and(|at| at <= self.now) {
                self.node_mut(side).endpoint.handle_timeout(now);
                self.pump(side);
                return true;
            }
        }
        if let Some(interval) = self.traffic {
            self.next_probe = self.now + interval;
            self.probe_once_up = self.probe_once_up && !self.has_common_pair();
            if self.probe_once_up {
                return true;
            }
            for side in [Side::A, Side::B] {
                let connections = self.node(side).config().connections.clone();
                for child in connections.iter().flat_map(|connection| &connection.children) {
                    self.probe(side, child.policy);
                }
            }
        }
        true
    }

    fn deliver(&mut self, packet: Packet) {
        let side = match packet.to.ip() {
            ip if ip == self.a.address => Side::A,
            ip if ip == self.b.address => Side::B,
            ip if self.a.also.contains(&ip) => Side::A,
            ip if self.b.also.contains(&ip) => Side::B,
            _ => return,
        };
        let now = self.clock();
        self.node_mut(side).receive(now, packet);
        self.pump(side);
    }

    /// Does what a node's endpoint asks for.
    fn pump(&mut self, side: Side) {
        for packet in self.node_mut(side).drain() {
            self.check(&packet.bytes);
            let besides = self.tamper.as_mut().map(|tamper| tamper(side, &packet.bytes)).unwrap_or_default();
            let copies: Vec<Packet> = besides.into_iter().map(|bytes| Packet { bytes, ..packet.clone() }).collect();
            self.send(packet);
            copies.into_iter().for_each(|copy| self.link.send(self.now, copy));
        }
    }

    fn has_common_pair(&self) -> bool {
        let theirs: Vec<_> = self.b.children().iter().map(|child| (child.spi_out, child.spi_in)).collect();
        self.a.children().iter().any(|child| theirs.contains(&(child.spi_in, child.spi_out)))
    }

    fn send(&mut self, packet: Packet) {
        let copies = self.filter.as_mut().map_or(1, |filter| filter(&packet));
        (0..copies).for_each(|_| self.link.send(self.now, packet.clone()));
    }

    /// Nonces are fresh, repetitions exact.
    fn check(&mut self, datagram: &[u8]) {
        const SK: u8 = 46;
        const SKF: u8 = 53;
        let Ok(header) = Header::peek(datagram) else { return };
        let (payload, flags) = (datagram[16], datagram[19]);
        let fragment = if payload == SKF { u16::from_be_bytes([datagram[32], datagram[33]]) } else { 0 };
        let (spi_i, spi_r) = (header.initiator_spi.0, header.responder_spi.0);
        if payload != SK && payload != SKF {
            return;
        }
        let key = (spi_i, spi_r, datagram[18], flags, header.message_id.0, fragment);
        let known = self.messages.get(&key);
        match known {
            Some(before) => assert!(before == datagram, "seed {}: a repetition differs", self.seed),
            None => {
                let start = if payload == SKF { 36 } else { 32 };
                let name = [&spi_i.to_be_bytes()[..], &spi_r.to_be_bytes(), &[flags & 0x08]].concat();
                let iv = datagram[start..start + 8].to_vec();
                assert!(self.nonces.insert((name, iv)), "seed {}: an IKE nonce was used twice", self.seed);
                self.messages.insert(key, datagram.to_vec());
            }
        }
    }
}

/// Address of the left (0) or right (1) node.
pub fn address(index: usize) -> IpAddr {
    Pair::ADDRESSES[index].parse().expect("an address")
}

/// An address of node A or B with a port.
pub fn at(side: Side, port: u16) -> SocketAddr {
    (address(usize::from(side == Side::B)), port).into()
}

fn endpoint(config: Config, seed: u64, salt: u64, now: Instant, elapsed: Duration) -> Endpoint {
    let rng = StdRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt);
    Endpoint::new(config, Box::new(rng), clock(now, elapsed))
}

/// The wall clock starts on 2026-01-01.
fn clock(instant: Instant, elapsed: Duration) -> Now {
    Now { instant, wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600) + elapsed }
}
