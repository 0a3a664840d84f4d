//! What an [`Endpoint`](crate::Endpoint) is told: connections, their peers and their children.
//!
//! Every value here is already legal: the daemon (or an embedding service) parses and checks its own format and
//! hands over the result. A [`Connection`] is the local half of a Peer Authorization Database entry
//! (RFC 4301 §4.4.3); [`crate::pad`] finds the entry that a peer's identity selects.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use cygnet_esp::tunnel::Rules;
use cygnet_spd::{AddrRange, Mode, Pfp, PolicyId, TrafficSelector};

use crate::auth::{Authorities, Credential};
use crate::identity::{IdPattern, Identity};
use crate::proposal::Proposal;
use crate::secret::Secret;

/// The whole configuration of an endpoint.
#[derive(Debug, Clone)]
pub struct Config {
    /// Connections, in the order in which they are tried for an incoming peer.
    pub connections: Vec<Arc<Connection>>,
    /// Retransmission of requests (RFC 7296 §2.1, §2.4).
    pub retransmit: Retransmit,
    /// Half-open IKE SAs from which on a responder demands a cookie (RFC 7296 §2.6).
    pub cookie_threshold: usize,
    /// Half-open IKE SAs beyond which new IKE_SA_INIT requests are dropped.
    pub max_half_open: usize,
    /// UDP port of plain IKE, 500 unless tests or an embedding choose another.
    pub ike_port: u16,
    /// UDP port of NAT traversal (IKE with the non-ESP marker, ESP in UDP; RFC 3948), normally 4500.
    pub nat_port: u16,
    /// Whether raw ESP (IP protocol 50) can be received and sent; if not, UDP encapsulation is always requested
    /// by reporting a NAT (RFC 7296 §2.23).
    pub raw_esp: bool,
    /// Workers that receive ESP, at least one: a packet goes to worker `SPI % workers`. A Child SA of one resource
    /// (RFC 9611) gets an SPI that leads to the worker of its number, and what replaces an SA one that leads where the
    /// old one did.
    pub workers: u32,
    /// Report session keys as [`Event::Keys`](crate::Event::Keys), for decrypting captures. Off by default.
    pub report_keys: bool,
}

/// Exponential retransmission: try `n` waits `timeout * base^n`, at most `cap`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retransmit {
    /// Wait before the first retransmission.
    pub timeout: Duration,
    /// Factor from one wait to the next.
    pub base: f64,
    /// Longest wait.
    pub cap: Duration,
    /// Retransmissions before the peer is given up.
    pub tries: u32,
}

impl Default for Retransmit {
    /// 2 s, doubling is gentle (1.8), at most 30 s, five retransmissions: about a minute to give up.
    fn default() -> Self {
        Self { timeout: Duration::from_secs(2), base: 1.8, cap: Duration::from_secs(30), tries: 5 }
    }
}

/// One peer relationship: where the peer is, how both sides authenticate, what they may protect.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Name in configuration, status and logs.
    pub name: String,
    /// Local outer addresses; empty is any. The first is the source when we initiate.
    pub local_addrs: Vec<IpAddr>,
    /// Remote outer addresses; empty is any. The first one that is a single host is dialled when we initiate; for a
    /// child in transport mode, each one that traffic goes to, with an IKE SA of its own.
    pub remote_addrs: Vec<AddrRange>,
    /// IKE proposals, most wanted first; never empty.
    pub proposals: Vec<Proposal>,
    /// How we prove who we are.
    pub local: Local,
    /// Who the peer must prove to be.
    pub peer: Peer,
    /// Child SAs that may be negotiated under this connection.
    pub children: Vec<Arc<Child>>,
    /// Soft lifetime of the IKE SA (rekey), before jitter; `None` never rekeys.
    pub rekey_time: Option<Duration>,
    /// Up to this much is randomly taken off `rekey_time`, so that both sides seldom start together.
    pub rekey_jitter: Duration,
    /// After `rekey_time`, how long until an IKE SA that could not be rekeyed is closed.
    pub over_time: Duration,
    /// Idle time after which the peer is probed (RFC 7296 §2.4); `None` never probes.
    pub dpd_delay: Option<Duration>,
    /// Retransmission for established SAs of this connection, if different from [`Config::retransmit`].
    pub retransmit: Option<Retransmit>,
    /// Ask for UDP encapsulation even without a NAT.
    pub force_encap: bool,
    /// Largest IKE message, octets without UDP and IP headers, before it is fragmented (RFC 7383); `None` never
    /// fragments.
    pub fragment_size: Option<usize>,
    /// While a `Start` child is down, wait between attempts; grows from the first to the second value.
    pub retry: (Duration, Duration),
}

/// Our own identity and proof.
#[derive(Debug, Clone)]
pub struct Local {
    /// Sent as IDi or IDr (RFC 7296 §3.5).
    pub id: Identity,
    /// Shared secret, or certificate with private key.
    pub auth: LocalAuth,
}

/// How we authenticate to the peer.
#[derive(Debug, Clone)]
pub enum LocalAuth {
    /// Shared Key Message Integrity Code (RFC 7296 §2.15).
    Psk(Arc<Secret>),
    /// Digital signature by a certified key (RFC 7427, RFC 7296 §3.8).
    Certificate(Arc<Credential>),
}

/// The peer's expected identity and proof.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Which identities this connection accepts.
    pub id: IdPattern,
    /// What the peer must show.
    pub auth: PeerAuth,
}

/// How the peer must authenticate.
#[derive(Debug, Clone)]
pub enum PeerAuth {
    /// With this shared secret.
    Psk(Arc<Secret>),
    /// With a certificate that chains to one of these authorities and carries the peer's identity.
    Certificate(Arc<Authorities>),
}

/// A Child SA template.
#[derive(Debug, Clone)]
pub struct Child {
    /// Name in configuration, status and logs; unique within its connection.
    pub name: String,
    /// The SPD entry that this child serves.
    pub policy: PolicyId,
    /// What lies behind us.
    pub local_ts: Vec<TrafficSelector>,
    /// What lies behind the peer.
    pub remote_ts: Vec<TrafficSelector>,
    /// What ESP wraps. In transport mode the negotiated selectors hold the two outer addresses alone
    /// (RFC 7296 §1.3.1), so that one child with whole networks makes an SA per peer.
    pub mode: Mode,
    /// What an SA takes from its first packet (RFC 4301 §4.4.1.2).
    pub pfp: Pfp,
    /// How outer headers are filled in.
    pub headers: Rules,
    /// ESP proposals, most wanted first; never empty.
    pub proposals: Vec<Proposal>,
    /// When it is brought up.
    pub start: StartAction,
    /// Soft and hard limits.
    pub lifetime: ChildLifetime,
    /// Anti-replay window, packets (RFC 4303 §3.4.3).
    pub replay_window: u32,
    /// Whether there may be more SAs with the same selectors, each for one resource (RFC 9611), if the peer agrees.
    pub per_resource_sas: bool,
}

/// When a child is brought up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAction {
    /// Only on command or by the peer.
    None,
    /// On the first packet that matches its policy.
    Trap,
    /// At start, and again whenever it goes down.
    Start,
}

/// Limits of a Child SA. Soft limits start a rekey, hard limits delete (RFC 4301 §4.4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChildLifetime {
    /// Soft limit by time, before jitter.
    pub rekey_time: Option<Duration>,
    /// Up to this much is randomly taken off `rekey_time`.
    pub rekey_jitter: Duration,
    /// Hard limit by time.
    pub life_time: Option<Duration>,
    /// Soft limit by octets, either direction.
    pub rekey_bytes: Option<u64>,
    /// Hard limit by octets.
    pub life_bytes: Option<u64>,
    /// Soft limit by packets, either direction.
    pub rekey_packets: Option<u64>,
    /// Hard limit by packets.
    pub life_packets: Option<u64>,
}
