//! What both directions of a Child SA share.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use cygnet_esp::Spi;
use cygnet_esp::tunnel::Rules;
use cygnet_spd::{Mode, PolicyId, Selector};

use crate::counters::{Counters, DropReason, InboundDrop, OutboundDrop, Traffic};
use crate::lifetime::{Lifetime, Usage};
use crate::state::State;

/// Names a pair of SAs; chosen by whoever installs it, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PairId(pub u64);

/// Outer addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Path {
    /// Ours. The port counts with UDP encapsulation only.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
    /// ESP in UDP (RFC 3948); else IP protocol 50.
    pub udp_encapsulation: bool,
}

/// The addresses that the peer put its checksums over, where a NAT changed them on the way to us: in transport mode they
/// are corrected after decryption (RFC 3948 §3.1.2, RFC 7296 §2.23.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OriginalAddresses {
    /// Our address, as the peer sees it.
    pub local: IpAddr,
    /// The peer's own address.
    pub remote: IpAddr,
}

/// Who made a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Origin {
    /// IKE negotiated it.
    #[default]
    Negotiated,
    /// An operator configured it, keys and all (RFC 4301 §4.5.1).
    Manual,
}

/// A pair of SAs, without its keys: holding one keeps no key alive.
pub struct Pair {
    pub(crate) id: PairId,
    pub(crate) policy: PolicyId,
    pub(crate) selector: Selector,
    pub(crate) mode: Mode,
    pub(crate) headers: Rules,
    pub(crate) original: Option<OriginalAddresses>,
    pub(crate) origin: Origin,
    pub(crate) inbound_spi: Spi,
    pub(crate) outbound_spi: Spi,
    pub(crate) lifetime: Lifetime,
    pub(crate) installed: Instant,
    /// Position in the order of installation: of several pairs that fit a flow, the highest is used.
    pub(crate) order: u64,
    pub(crate) path: ArcSwap<Path>,
    pub(crate) state: State,
    pub(crate) inbound: Counters<{ InboundDrop::COUNT }>,
    pub(crate) outbound: Counters<{ OutboundDrop::COUNT }>,
}

impl Pair {
    /// Which.
    pub fn id(&self) -> PairId {
        self.id
    }

    /// The policy it serves.
    pub fn policy(&self) -> PolicyId {
        self.policy
    }

    /// The negotiated selectors: what may be sent, and what must be found after decryption (RFC 4301 §5.2 step 4).
    pub fn selector(&self) -> &Selector {
        &self.selector
    }

    /// What ESP wraps.
    #[inline]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// How outer headers are filled in.
    #[inline]
    pub fn headers(&self) -> &Rules {
        &self.headers
    }

    /// Transport mode through a NAT: what the peer's checksums cover.
    #[inline]
    pub fn original(&self) -> Option<OriginalAddresses> {
        self.original
    }

    /// Who made it.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The SPI of packets that we receive.
    pub fn inbound_spi(&self) -> Spi {
        self.inbound_spi
    }

    /// The SPI of packets that we send.
    pub fn outbound_spi(&self) -> Spi {
        self.outbound_spi
    }

    /// Its limits.
    pub fn lifetime(&self) -> &Lifetime {
        &self.lifetime
    }

    /// The outer addresses of this moment.
    #[inline]
    pub fn path(&self) -> Path {
        **self.path.load()
    }

    /// When it was installed.
    pub fn installed(&self) -> Instant {
        self.installed
    }

    /// Whether the outbound half may be used.
    #[inline]
    pub fn is_active(&self) -> bool {
        self.state.is_active()
    }

    /// Whether a hard limit was reached.
    #[inline]
    pub fn is_expired(&self) -> bool {
        self.state.is_expired()
    }

    /// Takes events back that could not be delivered, such as to a full queue: the next traffic tells them again.
    pub fn tell_again(&self, usage: Usage) {
        self.state.tell_again(usage);
    }

    /// Everything that is known of the pair at this moment.
    pub fn status(self: &Arc<Self>) -> PairStatus {
        PairStatus {
            inbound: self.inbound.traffic(self.installed),
            outbound: self.outbound.traffic(self.installed),
            pair: self.clone(),
        }
    }

    /// Packets dropped by the inbound half.
    pub fn inbound_drops(&self, reason: InboundDrop) -> u64 {
        self.inbound.dropped(reason)
    }

    /// Packets dropped by the outbound half.
    pub fn outbound_drops(&self, reason: OutboundDrop) -> u64 {
        self.outbound.dropped(reason)
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair")
            .field("id", &self.id)
            .field("policy", &self.policy)
            .field("inbound", &self.inbound_spi)
            .field("outbound", &self.outbound_spi)
            .field("active", &self.is_active())
            .field("expired", &self.is_expired())
            .finish_non_exhaustive()
    }
}

/// A pair and its traffic at one moment.
#[derive(Debug, Clone)]
pub struct PairStatus {
    /// The pair.
    pub pair: Arc<Pair>,
    /// What was received.
    pub inbound: Traffic,
    /// What was sent.
    pub outbound: Traffic,
}
