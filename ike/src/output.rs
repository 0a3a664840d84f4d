//! What comes out of an [`Endpoint`](crate::Endpoint), in order: order is meaning.
//!
//! An inbound SA is installed before the message that lets the peer use it is transmitted.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use cygnet_esp::{Encr, Spi};
use cygnet_spd::{Mode, TrafficSelector};

use crate::config::{Child, Connection};
use crate::event::Event;
use crate::secret::Secret;

/// One thing to do. The owner drains the queue after every input.
#[derive(Debug)]
pub enum Output {
    /// Send a datagram.
    Transmit(Transmit),
    /// Install a pair of ESP SAs.
    InstallChild(Box<ChildInstall>),
    /// Start to send on a pair that was installed with [`Activation::OnUse`]; no-op if traffic already did it.
    ActivateChild(ChildId),
    /// Stop sending on a pair, for good, and go on receiving: another one serves, and this one is about to be deleted.
    /// A no-op if it is not there.
    RetireChild(ChildId),
    /// The peer moved: send ESP of this pair to the new remote address and port (RFC 7296 §2.23).
    MoveChild {
        /// The pair.
        child: ChildId,
        /// Its new path.
        path: Path,
    },
    /// Remove a pair of ESP SAs.
    RemoveChild(ChildId),
    /// Report; see [`Event`].
    Event(Event),
}

/// A datagram to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// From and to where.
    pub path: Path,
    /// The IKE message, from its header on. Never includes the non-ESP marker: see [`Path::marker`].
    pub datagram: Vec<u8>,
}

/// The way of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Path {
    /// Our address and port. An unspecified address lets the routing table choose.
    pub local: SocketAddr,
    /// The peer's address and port.
    pub remote: SocketAddr,
    /// Whether four zero octets stand before the IKE header (RFC 3948 §2.2): the socket layer adds and strips them.
    pub marker: bool,
}

/// Names an IKE SA within its endpoint, for its whole life; a rekey makes a new one (RFC 7296 §1.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IkeSaId(pub u64);

/// Names a pair of ESP SAs within its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChildId(pub u64);

/// The place of a Child SA among several with the same selectors (RFC 9611 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Resource {
    /// Names all of them: the first one, which may be gone.
    pub group: ChildId,
    /// The resource that it belongs to, such as a worker that sends. `None`: it serves those that have none of their own.
    pub number: Option<u32>,
}

/// Everything needed to install a negotiated Child SA.
#[derive(Debug)]
pub struct ChildInstall {
    /// The new pair.
    pub id: ChildId,
    /// The IKE SA above it.
    pub ike: IkeSaId,
    /// Its connection.
    pub connection: Arc<Connection>,
    /// Its template: policy, lifetimes, replay window.
    pub child: Arc<Child>,
    /// Packets we receive.
    pub inbound: HalfSa,
    /// Packets we send.
    pub outbound: HalfSa,
    /// The negotiated cipher.
    pub encr: &'static Encr,
    /// Extended sequence numbers (RFC 4303 §2.2.1).
    pub esn: bool,
    /// Negotiated selectors of our side.
    pub local_ts: Vec<TrafficSelector>,
    /// Negotiated selectors of the peer's side.
    pub remote_ts: Vec<TrafficSelector>,
    /// What ESP wraps, as negotiated.
    pub mode: Mode,
    /// Transport mode through a NAT: our and the peer's address before translation, as the peer's checksums cover them
    /// (RFC 7296 §2.23.1).
    pub original: Option<(IpAddr, IpAddr)>,
    /// Outer addresses, and the UDP ports if encapsulated.
    pub path: Path,
    /// ESP in UDP (RFC 3948); else IP protocol 50.
    pub udp_encapsulation: bool,
    /// The pair that this one replaces (rekey).
    pub replaces: Option<ChildId>,
    /// Its place among several with the same selectors, if the peer agreed to have several (RFC 9611).
    pub resource: Option<Resource>,
    /// When the outbound half may be used.
    pub activation: Activation,
    /// Jittered soft limit by time, for display: the endpoint itself starts the rekey.
    pub rekey_in: Option<Duration>,
    /// Hard limit by time, for display: the endpoint itself deletes.
    pub expires_in: Option<Duration>,
}

/// One direction of a Child SA.
#[derive(Debug)]
pub struct HalfSa {
    /// Security Parameters Index.
    pub spi: Spi,
    /// Encryption key, salt included (RFC 7296 §2.17, RFC 4106 §8.1).
    pub encr_key: Secret,
    /// Integrity key; empty for an AEAD.
    pub integ_key: Secret,
}

/// When the outbound half of a new pair takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// At once: the peer already has its inbound half.
    Now,
    /// At the first packet on the inbound half or [`Output::ActivateChild`], whichever comes first: as responder of
    /// a rekey, or of one more SA with the same selectors (RFC 9611), we can't know that our response arrived
    /// (RFC 7296 §2.8).
    OnUse,
}
