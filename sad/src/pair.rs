//! What both directions of a Child SA share.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

use arc_swap::ArcSwap;
use cygnet_esp::tunnel::Rules;
use cygnet_esp::{Encr, Overhead, Spi};
use cygnet_spd::{Mode, PolicyId, Selector};

use crate::counters::{Counters, DropReason, InboundDrop, OutboundDrop, Traffic};
use crate::generation::Generation;
use crate::lifetime::{Lifetime, Limit, Usage};
use crate::resource::{Place, Resource};
use crate::state::{Standing, State};
use crate::tables::{InboundSa, OutboundSa};

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

/// A pair of SAs (the data items of RFC 4301 §4.4.2.1), without its keys: holding one keeps no key alive.
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
    pub(crate) encr: &'static Encr,
    pub(crate) esn: bool,
    pub(crate) replay_window: u32,
    pub(crate) place: Place,
    pub(crate) lifetime: Lifetime,
    pub(crate) installed: Instant,
    /// Position in the order of installation: of several pairs that fit a flow, the highest is used.
    pub(crate) order: u64,
    pub(crate) path: ArcSwap<Path>,
    /// Octets; 0 is unknown.
    pub(crate) inner_mtu: AtomicU32,
    pub(crate) state: State,
    pub(crate) generation: Arc<Generation>,
    /// The two halves, for their sequence numbers. Weak: their keys go with the tables.
    pub(crate) halves: OnceLock<(Weak<InboundSa>, Weak<OutboundSa>)>,
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

    /// The algorithm, the same in both directions.
    pub fn encr(&self) -> &'static Encr {
        self.encr
    }

    /// Whether sequence numbers have 64 bits (RFC 4303 §2.2.1).
    pub fn esn(&self) -> bool {
        self.esn
    }

    /// Size of the anti-replay window, in packets; 0 if there is none (RFC 4303 §3.4.3).
    pub fn replay_window(&self) -> u32 {
        self.replay_window
    }

    /// Its place among several with the same selectors (RFC 9611).
    pub fn resource(&self) -> Option<Resource> {
        self.place.resource
    }

    /// Whether `resource`, which sends on this pair, is to ask for one of its own: once, and again when the one that it had
    /// is gone.
    #[inline]
    pub fn asks_for(&self, resource: u32) -> bool {
        self.place.tell(resource)
    }

    /// `resource` could not ask: it may try again.
    pub fn ask_again(&self, resource: u32) {
        self.place.forget(resource);
    }

    /// Position in the order of installation, from 1: of several pairs that fit a flow, the highest is used.
    pub fn order(&self) -> u64 {
        self.order
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

    /// How its packets grow, on the path of this moment.
    pub fn overhead(&self) -> Overhead {
        let path = self.path();
        let (ipv6, udp) = (path.remote.is_ipv6(), path.udp_encapsulation);
        match self.mode {
            Mode::Tunnel => Overhead::tunnel(self.encr, ipv6, udp),
            Mode::Transport => Overhead::transport(self.encr, ipv6, udp),
        }
    }

    /// The longest inner packet, IP header included, whose outer packet fits the path (RFC 4301 §8.2), in octets. `None`
    /// is unknown, and no limit.
    #[inline]
    pub fn inner_mtu(&self) -> Option<usize> {
        Some(self.inner_mtu.load(Ordering::Relaxed)).filter(|&mtu| mtu != 0).map(|mtu| mtu as usize)
    }

    /// Sets what [`inner_mtu`](Self::inner_mtu) returns from now on, usually to [`Overhead::inner_mtu`]: when the path's
    /// MTU becomes known or changes, and when the path does. No cached look-up is affected.
    pub fn set_inner_mtu(&self, mtu: Option<usize>) {
        let mtu = mtu.map_or(0, |mtu| u32::try_from(mtu).unwrap_or(u32::MAX).max(1));
        self.inner_mtu.store(mtu, Ordering::Relaxed);
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

    /// Where it is in its life.
    pub fn standing(&self) -> Standing {
        self.state.standing()
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
        let (inbound, outbound) = match self.halves.get() {
            Some((inbound, outbound)) => (inbound.upgrade(), outbound.upgrade()),
            None => (None, None),
        };
        PairStatus {
            inbound: self.inbound.traffic(self.installed),
            outbound: self.outbound.traffic(self.installed),
            inbound_sequence: inbound.map_or(0, |sa| sa.esp.sequence()),
            outbound_sequence: outbound.map_or(0, |sa| sa.esp.sequence()),
            standing: self.standing(),
            pair: self.clone(),
        }
    }

    /// Lets the outbound half be used, on command.
    pub(crate) fn activate(&self) {
        self.state.activate();
        self.generation.advance();
    }

    /// Ends the use of the outbound half.
    pub(crate) fn retire_outbound(&self) {
        self.state.retire();
        self.generation.advance();
    }

    /// Traffic on the inbound half; whether the caller is the one to tell.
    #[inline]
    pub(crate) fn used(&self) -> bool {
        let first = self.state.used();
        if first {
            self.generation.advance();
        }
        first
    }

    /// A limit was reached; whether the caller is the one to tell.
    #[inline]
    pub(crate) fn reached(&self, limit: Limit) -> bool {
        let first = self.state.reached(limit);
        if first && limit == Limit::Hard {
            self.generation.advance();
        }
        first
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
            .field("standing", &self.standing())
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
    /// The highest sequence number received and verified; 0 if none is, or once the SA is gone.
    pub inbound_sequence: u64,
    /// The last sequence number used; 0 if none is, or once the SA is gone.
    pub outbound_sequence: u64,
    /// Where it is in its life.
    pub standing: Standing,
}
