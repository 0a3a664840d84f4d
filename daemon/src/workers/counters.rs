//! Where every packet ends: one counter per fate, and a packet in exactly one of them.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! fates {
    ($(#[$doc:meta])* $name:ident, $prefix:literal { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// Every fate, in order.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The counter's name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($prefix, $text),)+
                }
            }
        }
    };
}

fates! {
    /// What became of a packet from the TUN device.
    Outbound, "outbound." {
        /// Sealed and handed to the outer network.
        Sealed = "sealed",
        /// Not an IP packet that a policy can judge.
        Unreadable = "unreadable",
        /// Policy says DISCARD, or no policy matches (RFC 4301 §4.4.1).
        Discarded = "discarded",
        /// Policy says BYPASS: sent as it is.
        Bypassed = "bypassed",
        /// Policy says PROTECT with level `use`, and there is no SA: sent as it is.
        Clear = "clear",
        /// Waits for its SA at this moment. The one counter that also falls: the packet ends in another.
        Held = "held",
        /// Policy says PROTECT, and no SA is there yet: one is being asked for (RFC 4301 §5.1).
        NoSa = "no_sa",
        /// Policy says PROTECT, and the SA could not be had, or is not brought up by packets.
        Failed = "failed",
        /// As many packets as may be wait for an SA.
        HoldFull = "hold_full",
        /// Waited for an SA in vain.
        HoldExpired = "hold_expired",
        /// A fragment that waits for the others of its packet, or was put together with them. The last one ends as
        /// the packet does.
        Fragment = "fragment",
        /// A fragment that fits no packet (RFC 4301 §7), or that its SA can't carry.
        BadFragment = "bad_fragment",
        /// Transport mode can't carry its IP options or extension headers.
        Options = "options",
        /// The SA has no sequence number left (RFC 4303 §3.3.3).
        Exhausted = "exhausted",
        /// Larger than the path takes, and not to be fragmented: its sender was told (RFC 4301 §8.2.1).
        TooBig = "too_big",
        /// Too long to be sealed.
        NoRoom = "no_room",
        /// The outer network did not take it.
        Unsent = "unsent",
    }
}

fates! {
    /// What became of a datagram from the outer network.
    Inbound, "inbound." {
        /// Opened, checked and handed to the TUN device.
        Delivered = "delivered",
        /// An IKE message, handed to the endpoint.
        Ike = "ike",
        /// An IKE message too many.
        IkeOverflow = "ike_overflow",
        /// A NAT keepalive (RFC 3948 §2.3).
        Keepalive = "keepalive",
        /// Neither ESP nor IKE.
        Malformed = "malformed",
        /// No SA has this SPI.
        UnknownSpi = "unknown_spi",
        /// Not a packet that the SA can open.
        BadEsp = "bad_esp",
        /// Left of the anti-replay window, or received before (RFC 4303 §3.4.3).
        Replayed = "replayed",
        /// The integrity check failed (RFC 4303 §3.4.4).
        Forged = "forged",
        /// A dummy packet (RFC 4303 §2.6).
        Dummy = "dummy",
        /// The payload is not the IP packet that its next header says.
        BadPayload = "bad_payload",
        /// Transport mode: a fragment, or an extension header that belongs before ESP.
        ExtensionHeader = "extension_header",
        /// Outside the SA's selectors (RFC 4301 §5.2).
        Selector = "selector",
        /// Congestion marked on a packet that can't say so (RFC 6040 §4.2).
        Congestion = "congestion",
        /// The TUN device did not take it.
        Undelivered = "undelivered",
    }
}

fates! {
    /// What became of a packet from the outer network that no SA protected. The kernel delivers those, so they are
    /// only seen here when its filter tells of them.
    Clear, "clear." {
        /// A policy with level `require` protects such packets (RFC 4301 §5.2 step 3b).
        Unprotected = "unprotected",
        /// Policy says DISCARD.
        Discarded = "discarded",
        /// An ICMP error about protected traffic, or about our ESP and IKE, of a kind that is not accepted
        /// (RFC 4301 §6.1.1).
        IcmpError = "icmp_error",
    }
}

impl Outbound {
    /// Whether policy let it go nowhere: DISCARD, or PROTECT and the SA is not to be had (RFC 4301 §5.1.1). While one
    /// is being negotiated, the sender does better to try again.
    pub const fn is_prohibited(self) -> bool {
        matches!(self, Self::Discarded | Self::Failed | Self::HoldExpired)
    }

    /// Whether it is an end that is audited.
    pub const fn is_discard(self) -> bool {
        !matches!(self, Self::Sealed | Self::Bypassed | Self::Clear | Self::Held | Self::Fragment)
    }
}

impl Inbound {
    /// Whether it is an end that is audited. A dummy packet isn't (RFC 4303 §2.6).
    pub const fn is_discard(self) -> bool {
        !matches!(self, Self::Delivered | Self::Ike | Self::Keepalive | Self::Dummy)
    }
}

/// The counters of one direction.
#[derive(Debug)]
struct Row<const N: usize> {
    seen: AtomicU64,
    fates: [AtomicU64; N],
}

impl<const N: usize> Row<N> {
    const fn new() -> Self {
        Self { seen: AtomicU64::new(0), fates: [const { AtomicU64::new(0) }; N] }
    }
}

/// Packets by fate, over all workers.
#[derive(Debug)]
pub struct Counters {
    outbound: Row<{ Outbound::ALL.len() }>,
    inbound: Row<{ Inbound::ALL.len() }>,
}

impl Counters {
    /// All zero.
    pub const fn new() -> Self {
        Self { outbound: Row::new(), inbound: Row::new() }
    }

    pub(super) fn saw_outbound(&self, packets: u64) {
        self.outbound.seen.fetch_add(packets, Ordering::Relaxed);
    }

    pub(super) fn saw_inbound(&self, packets: u64) {
        self.inbound.seen.fetch_add(packets, Ordering::Relaxed);
    }

    pub(super) fn outbound(&self, fate: Outbound, packets: u64) {
        self.outbound.fates[fate as usize].fetch_add(packets, Ordering::Relaxed);
    }

    /// A packet that waited goes on.
    pub(super) fn let_go(&self, packets: u64) {
        self.outbound.fates[Outbound::Held as usize].fetch_sub(packets, Ordering::Relaxed);
    }

    pub(super) fn inbound(&self, fate: Inbound, packets: u64) {
        self.inbound.fates[fate as usize].fetch_add(packets, Ordering::Relaxed);
    }

    /// Packets from the TUN device that ended so.
    pub fn outbound_total(&self, fate: Outbound) -> u64 {
        // One that is held may be let go before it is counted, and is missing for a moment.
        self.outbound.fates[fate as usize].load(Ordering::Relaxed).cast_signed().max(0).cast_unsigned()
    }

    /// Datagrams from the outer network that ended so.
    pub fn inbound_total(&self, fate: Inbound) -> u64 {
        self.inbound.fates[fate as usize].load(Ordering::Relaxed)
    }

    /// Every counter with its name, the numbers of packets seen first in each direction.
    pub fn snapshot(&self) -> Vec<(&'static str, u64)> {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut all = vec![("outbound.seen", load(&self.outbound.seen))];
        all.extend(Outbound::ALL.iter().map(|&fate| (fate.name(), self.outbound_total(fate))));
        all.push(("inbound.seen", load(&self.inbound.seen)));
        all.extend(Inbound::ALL.iter().map(|&fate| (fate.name(), self.inbound_total(fate))));
        all
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}

impl From<cygnet_sad::InboundDrop> for Inbound {
    fn from(drop: cygnet_sad::InboundDrop) -> Self {
        use cygnet_sad::InboundDrop as D;
        match drop {
            D::Malformed | D::Padding => Self::BadEsp,
            D::Old | D::Replayed => Self::Replayed,
            D::Forged => Self::Forged,
            D::Dummy => Self::Dummy,
            D::Payload => Self::BadPayload,
            D::ExtensionHeader => Self::ExtensionHeader,
            D::Selector => Self::Selector,
            D::Congestion => Self::Congestion,
        }
    }
}

impl From<cygnet_sad::OutboundDrop> for Outbound {
    fn from(drop: cygnet_sad::OutboundDrop) -> Self {
        use cygnet_sad::OutboundDrop as D;
        match drop {
            D::Exhausted => Self::Exhausted,
            D::TooBig => Self::TooBig,
            D::NoRoom | D::HopLimit => Self::NoRoom,
            D::Options => Self::Options,
            D::Fragment => Self::BadFragment,
            D::Malformed => Self::Unreadable,
            D::Send => Self::Unsent,
        }
    }
}
