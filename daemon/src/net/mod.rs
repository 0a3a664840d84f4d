//! The outer network: UDP 500 and 4500, IP protocol 50, and the kernel's routes.
//!
//! [`Net`] is what the rest of the daemon sees. [`sockets`] is the real one, [`memory`] its twin for tests, for the
//! demonstration without privileges, and for embeddings that bring their own transport. Routes, rules and link
//! settings are in [`routing`]; how large a packet to a peer may be, in [`path_mtu`].

pub mod filter;
pub mod frames;
pub mod host;
pub mod memory;
pub mod path_mtu;
pub mod routing;
pub mod sockets;
pub mod steering;
pub mod wake;

use std::io::{self, IoSlice};
use std::net::SocketAddr;

use crate::offload::Offload;

pub use self::host::{Host, HostError, cleanup};
pub use self::memory::{MemoryNet, Wire};
pub use self::path_mtu::{OuterPath, PathMtus};
pub use self::sockets::{Listen, Sockets};

/// The way a datagram takes through the outer network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// The IKE port, normally 500: IKE without marker, never ESP.
    Ike,
    /// The NAT traversal port, normally 4500: ESP, or IKE behind four zero octets (RFC 3948 §2.2).
    NatT,
    /// IP protocol 50. Ports mean nothing here and are zero.
    RawEsp,
    /// A whole IP packet as it is: what a policy lets pass in the clear. Only ever sent.
    Clear,
}

/// A datagram that arrived, in a buffer that may be changed in place.
#[derive(Debug)]
pub struct Received<'a> {
    /// UDP payload, or ESP packet from the SPI on.
    pub bytes: &'a mut [u8],
    /// How it came.
    pub channel: Channel,
    /// The address it was sent to.
    pub local: SocketAddr,
    /// The address it was sent from.
    pub remote: SocketAddr,
    /// TOS octet or traffic class of the outer header: DSCP and ECN.
    pub traffic_class: u8,
    /// Whether it is the first of those that came in one piece, at most [`MAX_SEGMENTS`] as a rule.
    pub first: bool,
}

/// Datagrams to one destination.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// UDP payloads, or ESP packets from the SPI on; at most [`MAX_SEGMENTS`]. Those of UDP are of one size; only the
    /// last may be smaller.
    pub datagrams: &'a [IoSlice<'a>],
    /// Which way.
    pub channel: Channel,
    /// Source. An unspecified address lets the routing table choose; the port chooses the socket.
    pub local: SocketAddr,
    /// Destination.
    pub remote: SocketAddr,
    /// TOS octet or traffic class of the outer header: DSCP and ECN.
    pub traffic_class: u8,
    /// Don't fragment: of an outer IPv4 header the DF bit; over IPv6, no fragmentation by ourselves either.
    pub df: bool,
}

/// Datagrams that one [`Outgoing`] has at most: what the kernel cuts one UDP payload into, UDP_MAX_SEGMENTS.
pub const MAX_SEGMENTS: usize = 64;

/// Octets that one [`Outgoing`] over UDP has at most: with the headers of UDP, IP and link less than 64 KiB, or the kernel
/// cuts them itself, before they reach the device.
pub const MAX_TOGETHER: usize = 65_000;

/// Datagrams that the network did not take.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Unsent {
    /// A bit for each that is lost, the first one's lowest.
    pub lost: u64,
    /// Why, the first of them.
    pub error: io::Error,
}

/// All of them.
impl From<io::Error> for Unsent {
    fn from(error: io::Error) -> Self {
        Self { lost: u64::MAX, error }
    }
}

/// The outer network as the daemon sees it. Used by several threads at once, each of which reads a queue of its own.
pub trait Net: Send + Sync {
    /// Queues to receive from, numbered from 0. [`steering`] says what arrives in which.
    fn queues(&self) -> usize {
        1
    }

    /// Waits until datagrams arrive in `queue`, hands each to `each`, and returns `true`; `false` once stopped.
    ///
    /// # Errors
    /// When the sockets are unusable; what concerns single datagrams is only counted.
    fn receive(&self, queue: usize, buffers: &mut Buffers, each: &mut dyn FnMut(Received<'_>)) -> io::Result<bool>;

    /// Sends, waiting a short while for room.
    ///
    /// # Errors
    /// As the network says: no route, no permission, too big, no room; and about which datagrams.
    fn send(&self, outgoing: &Outgoing<'_>) -> Result<(), Unsent>;

    /// The path MTUs towards the peers.
    fn path_mtus(&self) -> &PathMtus;

    /// What went wrong so far, by name.
    fn counters(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    /// What is left to the system, many packets at a time.
    fn offloads(&self) -> Vec<Offload> {
        Vec::new()
    }

    /// Makes every present and future [`receive`](Net::receive) return `false`.
    fn stop(&self);
}

/// Receive buffers of one thread: room for a batch of coalesced reads.
///
/// How many are filled at once adapts to what comes: many small datagrams, or few large pieces, which are still in the
/// cache when they are worked on.
#[derive(Debug)]
pub struct Buffers {
    storage: Box<[u8]>,
    /// How many the next read may fill.
    depth: usize,
}

impl Buffers {
    /// Largest UDP payload, and so the largest coalesced read.
    const EACH: usize = 65_535;
    /// What one read should not much exceed, octets: less than a core's cache, more than a piece.
    const ENOUGH: usize = 128 << 10;
    /// Buffers that are filled at once while large pieces come.
    const FEW: usize = 4;

    /// Allocates them, once per thread.
    pub fn new() -> Self {
        Self { storage: vec![0; Self::EACH * sockets::BATCH].into_boxed_slice(), depth: sockets::BATCH }
    }

    /// The buffers, one per read of a batch.
    fn each(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.storage.chunks_exact_mut(Self::EACH).take(self.depth)
    }

    /// Learns from a read of `octets` in all.
    fn filled(&mut self, octets: usize) {
        self.depth = if octets >= Self::ENOUGH { Self::FEW } else { sockets::BATCH };
    }
}

impl Default for Buffers {
    fn default() -> Self {
        Self::new()
    }
}
